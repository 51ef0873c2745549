#!/bin/sh
# Kills a writer before and after each of its system calls, and makes each of them fail with ENOSPC, EIO,
# EDQUOT and EINTR. Takes about half a minute. Needs strace and the permission to trace.
set -eu
cd "$(dirname "$0")/.."
OPENCODE_AUTH_TEST_CRASHES=all exec cargo test --test crash
