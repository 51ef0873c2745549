#!/bin/sh
# Deletes 10,000 tokens from other processes while clients ask with them, and looks for a request that
# started after the deletion returned and was allowed all the same. Takes some minutes.
#
#   scripts/revocation.sh [deletions]
set -eu
cd "$(dirname "$0")/.."
OPENCODE_AUTH_TEST_DELETIONS="${1:-10000}" exec cargo test --release --test it -- --exact --nocapture \
    store::revocation::no_request_that_started_after_delete_returned_is_allowed
