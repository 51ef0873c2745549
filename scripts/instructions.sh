#!/bin/sh
# Counts the instructions that one run of each case of `cargo bench --bench auth` takes, with valgrind:
# what two runs of different length differ by. Other work on the machine does not change the figures.
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
        'refused: absent' 'refused: unknown' 'refused: insufficient' \
        'one SHA-256 of a token' 'decision, 1 token'
fi
for name; do
    few=$(count "$name" 1000)
    many=$(count "$name" 3000)
    printf '%8d  %s\n' $(((many - few) / 2000)) "$name"
done
