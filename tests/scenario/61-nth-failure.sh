#!/usr/bin/env bash
# Goal: when memory, the disk or the connection between the programs fails at the nth time, the answer is an
# error, nothing is half done, nobody is let in, nothing crashes, and the agent serves on.
# A sample for the seconds that this check has, evenly spread; `make check-nth` makes each call fail.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "$COUNTERSIGN_SOURCE/tests/lib/tap.sh"
# shellcheck source=../lib/trial.sh
. "$COUNTERSIGN_SOURCE/tests/lib/trial.sh"

if [[ ! -e $COUNTERSIGN_BUILD/trial-nth ]]; then
    echo "1..0 # SKIP the sanitizers have an allocator of their own: this runs in the flavour check"
    exit 0
fi
TRIAL_SECONDS=${TRIAL_SECONDS-12} trial_run trial-nth
