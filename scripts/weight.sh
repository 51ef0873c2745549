#!/bin/bash
# What the library adds to a plain axum server: the crates, and with --time the seconds of a first build
# with one job. The server has what `axum::serve` takes, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
library=$PWD
directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT

# server <name> <dependency>...
server() {
    local name=$1
    shift
    mkdir -p "$directory/$name/src"
    {
        printf '[package]\nname = "server"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[dependencies]\n'
        printf '%s\n' 'axum = "0.8"' 'tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }' "$@"
    } >"$directory/$name/Cargo.toml"
    echo 'fn main() {}' >"$directory/$name/src/main.rs"
    cp Cargo.lock "$directory/$name/"
}

crates() {
    cargo tree --offline --manifest-path "$directory/$1/Cargo.toml" --edges "$2" --prefix none --format '{p}' |
        sed 's/ (.*//' | sort -u
}

seconds() {
    local started
    started=$(date +%s%N)
    cargo build --offline --quiet --release --jobs 1 --manifest-path "$directory/$1/Cargo.toml" >&2
    echo $((($(date +%s%N) - started) / 1000000))
}

server plain
server guarded "opencode-auth = { path = \"$library\" }"
echo "in the program:"
comm -13 <(crates plain normal,no-proc-macro) <(crates guarded normal,no-proc-macro)
echo
echo "for the build alone:"
comm -13 <(crates plain normal,build) <(crates guarded normal,build) |
    comm -23 - <(crates guarded normal,no-proc-macro)
if [ "${1-}" = --time ]; then
    plain=$(seconds plain) guarded=$(seconds guarded)
    echo
    echo "first build, one job: $plain ms without, $guarded ms with"
fi
