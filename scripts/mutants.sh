#!/bin/sh
# Mutation testing: changes the code in every small way that `cargo-mutants` knows, and expects a test
# to fail each time. Needs `cargo install cargo-mutants`. Takes half an hour or more.
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
        src/service.rs src/store/format.rs 'src/store/format/*.rs' src/timestamp.rs src/token.rs
fi
for file; do
    set -- "$@" --file "$file"
    shift
done

# Doc tests are left out: they take longer than all others together. `MUTANTS_TEST_ARGS` may name
# arguments for the test binaries, such as `--skip crash`.
# shellcheck disable=SC2086
exec cargo mutants --jobs 1 --timeout 60 --no-shuffle "$@" \
    -- --lib --test it -- ${MUTANTS_TEST_ARGS-}
