#!/bin/sh
# Waits the default 10 s for a lock whose holder is stopped (SIGSTOP), and sees it freed by a kill at once.
set -eu
cd "$(dirname "$0")/.."
OPENCODE_AUTH_TEST_LOCK_SECONDS=10 exec cargo test --test it -- --exact --nocapture \
    store::concurrency::a_stopped_lock_holder_gives_an_error_and_a_killed_one_frees_the_lock_at_once
