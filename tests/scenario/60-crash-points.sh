#!/usr/bin/env bash
# Goal: whenever the agent or its connector is killed in the middle of an operation, that operation took place
# as a whole or not at all, nothing acknowledged is lost, and no account is left that no lease knows.
# A sample for the minute that this check has: each point and each operation, then as many pairs as fit.
# `make check-crash` runs all of them, at every passing.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "$COUNTERSIGN_SOURCE/tests/lib/tap.sh"
# shellcheck source=../lib/trial.sh
. "$COUNTERSIGN_SOURCE/tests/lib/trial.sh"

if grep -q __tsan_init "$COUNTERSIGN_BUILD/countersignd"; then
    echo "1..0 # SKIP ThreadSanitizer is too slow for a sample that meets each operation: this runs in the other flavours"
    exit 0
fi
TRIAL_SECONDS=${TRIAL_SECONDS-25} trial_run trial-crash
