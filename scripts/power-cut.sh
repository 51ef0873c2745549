#!/bin/sh
# Copies the image of a loop-mounted file system (ext4, ext3, xfs, btrfs) right after each change returned,
# as a power cut would leave it, and looks for the change in the copy. Requires root, mkfs and loop devices;
# says so and passes where they are missing. Its mounts are private and end with the process.
#
#   scripts/power-cut.sh [changes]
set -eu
cd "$(dirname "$0")/.."
OPENCODE_AUTH_TEST_POWER_CUTS="${1:-40}" exec cargo test --test it -- --exact --nocapture \
    store::mounts::a_power_cut_after_a_change_returned_does_not_undo_it
