#!/bin/sh
# Mutation testing: changes the code in every small way that `cargo-mutants` knows, and expects a test
# to fail each time. Needs `cargo install cargo-mutants cargo-nextest`. Takes two to four hours.
#
#     scripts/mutants.sh                      the modules that decide
#     scripts/mutants.sh src/token.rs ...     these files
#
# The result is in mutants.out/: missed.txt should hold only what TESTING.md explains.
set -eu
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    set -- src/carrier.rs 'src/credentials/*.rs' src/decision.rs src/drain.rs src/event.rs src/future.rs \
        src/guard.rs src/hex.rs src/layer.rs src/origin.rs src/permission.rs src/policy.rs 'src/policy/*.rs' \
        src/principal.rs src/record.rs 'src/record/*.rs' src/redact.rs src/response.rs src/service.rs \
        src/store/document.rs src/store/file/format.rs 'src/store/file/format/*.rs' src/store/memory.rs \
        src/store/pair.rs src/store/records.rs src/store/snapshot.rs src/stream.rs src/timestamp.rs \
        src/token.rs src/unguarded.rs src/upload.rs src/watch.rs
fi
for file; do
    set -- "$@" --file "$file"
    shift
done

# Doc tests, and tests that start programs or take long, are left out. Without debug information, and with
# dependencies that were optimized, a mutant takes some seconds instead of a minute.
export CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES="${PROPTEST_CASES:-64}"
slow='cli|store::concurrency|store::revocation|store::editing|store::editors|store::mounts|store::races|example_server'
status=0
cargo mutants --jobs 1 --timeout 90 --no-shuffle --test-tool nextest \
    --cargo-arg=--lib --cargo-arg=--test=allocations --cargo-arg=--test=it \
    --cargo-arg='--config=profile.dev.package."*".opt-level=2' \
    "$@" -- -E "not test(/^($slow)/)" || status=$?

# Incremental builds can crash the compiler, and a mutant that did not compile counts as one that cannot.
if grep -l 'internal compiler error' mutants.out/log/*.log; then
    echo "The compiler crashed on these: run their files again with CARGO_INCREMENTAL=0." >&2
    exit 1
fi
exit "$status"
