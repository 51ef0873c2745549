#!/bin/bash
# Requests per second on loopback, as wrk counts them: a bare router, one static token, and the layer, in
# turn, round by round. Prints the medians, and the medians of the ratios within a round.
#
#   scripts/e2e.sh [rounds] [seconds for each measurement]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-15} seconds=${2:-1}
command -v wrk >/dev/null || { echo "wrk is not installed" >&2; exit 1; }
cargo build --quiet --release --example load_server

directory=$(mktemp -d)
mkfifo "$directory/input" "$directory/output"
target/release/examples/load_server <"$directory/input" >"$directory/output" &
exec 8>"$directory/input" 9<"$directory/output"
# The server ends when its input does.
trap 'exec 8>&-; wait; rm -r "$directory"' EXIT
read -r _ token <&9
read -r _ bare <&9
read -r _ fixed <&9
read -r _ guarded <&9

rate() {
    local answer
    answer=$(wrk -t 1 -c 16 -d "$seconds" -H "Authorization: Bearer $token" "$1/config")
    if grep -q 'Non-2xx' <<<"$answer"; then
        echo "refused: $answer" >&2
        return 1
    fi
    sed -n 's/^Requests\/sec: *//p' <<<"$answer"
}

for url in "$bare" "$fixed" "$guarded"; do rate "$url" >/dev/null; done
for ((round = 0; round < rounds; round++)); do
    # Nobody is always the first.
    case $((round % 3)) in
        0) a=$(rate "$bare") b=$(rate "$fixed") c=$(rate "$guarded") ;;
        1) b=$(rate "$fixed") c=$(rate "$guarded") a=$(rate "$bare") ;;
        2) c=$(rate "$guarded") a=$(rate "$bare") b=$(rate "$fixed") ;;
    esac
    echo "$a $b $c"
done | awk '
    function median(values,   i, j, value) {
        for (i = 2; i <= NR; i++) {
            value = values[i]
            for (j = i; j > 1 && values[j - 1] > value; j--) values[j] = values[j - 1]
            values[j] = value
        }
        return values[int((NR + 1) / 2)]
    }
    { bare[NR] = $1; fixed[NR] = $2; guarded[NR] = $3; s[NR] = $2 / $1; g[NR] = $3 / $1; t[NR] = $3 / $2 }
    END {
        printf "| | requests/s | bare = 1 | static = 1 |\n|---|--:|--:|--:|\n"
        printf "| bare | %d | 1.00 | |\n", median(bare)
        printf "| static | %d | %.3f | 1.00 |\n", median(fixed), median(s)
        printf "| guarded | %d | %.3f | %.3f |\n", median(guarded), median(g), median(t)
    }'
