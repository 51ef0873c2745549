#!/bin/sh
# Counts the instructions of one run of each case of `cargo bench --bench auth`, with valgrind: the difference of
# two runs of different length. Other work on the machine does not change the figures.
#
#   scripts/instructions.sh                         the usual cases
#   scripts/instructions.sh 'layer, 1 token' ...    these
set -eu
cd "$(dirname "$0")/.."
executable=$(cargo bench --bench auth --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$executable" --case "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

if [ $# = 0 ]; then
    set -- 'bare router' 'tower-http, one static token' 'layer, 1 token' 'around the router, 1 token' \
        'denied: absent' 'denied: unknown' 'denied: insufficient' \
        'one SHA-256 of a token' 'decision, 1 token'
fi
for name; do
    few=$(count "$name" 1000)
    many=$(count "$name" 3000)
    printf '%8d  %s\n' $(((many - few) / 2000)) "$name"
done
