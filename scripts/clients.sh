#!/bin/sh
# Runs opencode's own clients (SDK, `run --attach`, `attach` in tmux, the web page in Chromium) through the gateway,
# in front of opencode 1.18. Installs them from npm into a directory; a second run with it is faster.
#
#   scripts/clients.sh [directory]
set -eu
directory="${1:-$(mktemp -d)}"
mkdir -p "$directory"
directory="$(cd "$directory" && pwd)"
cd "$(dirname "$0")/.."
echo "The clients are in $directory."
OPENCODE_AUTH_TEST_CLIENTS="$directory" exec cargo test --features gateway --test gateway -- --nocapture clients::
