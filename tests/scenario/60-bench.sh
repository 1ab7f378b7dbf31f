#!/usr/bin/env bash
# Goal: `make bench` still measures everything it says it does: all of it in small, and every row has a figure. How
# good the figures are is not this test's business.
set -euo pipefail
SOURCE=${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}
# shellcheck source=../lib/tap.sh
. "$SOURCE/tests/lib/tap.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-bench.XXXXXX")
chmod 0755 "$DIR" # as root, the bench goes on as nobody
FIGURES=(
    "KV read by token, 16 connections" "KV write, durable, 1 connection" "KV write, durable, 16 connections"
    "token create" "token lookup" "lease on PostgreSQL" "issue, store alone" "revoke, store alone"
    "issue, API and PostgreSQL" "revoke, API and PostgreSQL" "memory of the agent" "restart to first answer"
    "the same after SIGKILL" "PAM auth hook" "PAM account hook" "PAM session hook" "leases are revoked" "leases revoked at once, until gone"
    "idle: memory of the agent"
)

run_bench() { # GROUP...
    BENCH_SECONDS=0.1 BENCH_ROUNDS=1 BENCH_LEASES=700 BENCH_FEW=600 BENCH_CALLS=5 BENCH_BURST=700 BENCH_DIR="$DIR" \
        timeout 100 "$SOURCE/tests/bench/run" "$COUNTERSIGN_BUILD" "$@"
}

measured() { # FIGURE: its row has a number
    grep -F -- "$1" <<<"$TABLE" | grep -Eq '  +[0-9][0-9,.]* (/s|us|ms|MB) '
}

main() {
    local figure
    trap 'rm -rf "$DIR"' EXIT
    ok "it runs to its end" run_bench
    TABLE=$OUT
    passed || note "$TABLE"
    for figure in "${FIGURES[@]}"; do ok "measured: $figure" measured "$figure"; done
    unlike "no row is broken" "$TABLE" 'BROKEN'
    like "the machine is named" "$TABLE" '^machine: .+, [0-9]+ cores'
    like "and what its disk takes to sync" "$TABLE" 'synced: p50 [0-9]'
    exits 2 "an unknown group is refused" run_bench no-such-group
    finish
}

main "$@"
