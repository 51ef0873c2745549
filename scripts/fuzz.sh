#!/bin/sh
# Fuzzes each target for some seconds (60 by default), one after the other.
# Needs `cargo install cargo-fuzz`; works with a stable compiler.
#
#     scripts/fuzz.sh [seconds] [target ...]
set -eu
cd "$(dirname "$0")/.."

seconds=${1-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- credentials path store_format token_text

# The sanitizer's flags are nightly ones.
export RUSTC_BOOTSTRAP=1
for target; do
    mkdir -p "fuzz/corpus/$target"
    echo "== $target for $seconds s"
    dictionary=
    [ ! -f "fuzz/seeds/$target.dict" ] || dictionary=-dict=fuzz/seeds/$target.dict
    cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- $dictionary \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
