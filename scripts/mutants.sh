#!/bin/sh
# Mutation testing: changes the code in every small way that `cargo-mutants` knows, and expects a test
# to fail each time. Needs `cargo install cargo-mutants cargo-nextest`. Takes an hour or two.
#
#     scripts/mutants.sh                      the modules that decide
#     scripts/mutants.sh src/token.rs ...     these files
#
# The result is in mutants.out/: missed.txt should hold only what TESTING.md explains.
set -eu
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    set -- src/credentials.rs src/decision.rs src/event.rs src/layer.rs src/permission.rs \
        src/policy.rs 'src/policy/*.rs' src/principal.rs src/record.rs src/redact.rs src/response.rs \
        src/service.rs src/store/file/format.rs 'src/store/file/format/*.rs' src/timestamp.rs src/token.rs
fi
for file; do
    set -- "$@" --file "$file"
    shift
done

# Doc tests, and tests that start programs or take long, are left out. Without debug information, and with
# dependencies that were optimized, a mutant takes some seconds instead of a minute.
export CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES="${PROPTEST_CASES:-64}"
slow='cli|store::concurrency|store::revocation|store::editing|store::editors|store::mounts|store::races|example_server'
exec cargo mutants --jobs 1 --timeout 90 --no-shuffle --test-tool nextest \
    --cargo-arg=--lib --cargo-arg=--test=it --cargo-arg='--config=profile.dev.package."*".opt-level=2' \
    "$@" -- -E "not test(/^($slow)/)"
