#!/bin/sh
# Deletes tokens under load from two server processes that share a PostgreSQL database, 10,000 by default.
# None may be late. Directly, and then through PgBouncer. Starts a cluster of its own.
set -eu
cd "$(dirname "$0")/.."
OPENCODE_AUTH_TEST_DELETIONS=${1:-10000} cargo test --all-features --test postgres \
    no_deletion_is_late -- --nocapture --test-threads=1
