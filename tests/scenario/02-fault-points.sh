#!/usr/bin/env bash
# Goal: every crash point of the table (agent/base/fault.h) is passed somewhere, and a release has none of them:
# neither their names nor a call. (A name that is passed and not in the table does not compile.)
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "$COUNTERSIGN_SOURCE/tests/lib/tap.sh"
cd "$COUNTERSIGN_SOURCE"

FLAGS=(-std=gnu17 -D_GNU_SOURCE -O2 -Iagent -Iinclude -isystem /usr/include/postgresql)
OBJECT=$TMPDIR/object.o

compiled() { # SOURCE FLAGS...: what in its object speaks of crash points
    local source=$1
    shift
    "${CC:-gcc}" "${FLAGS[@]}" "$@" -c -o "$OBJECT" "$source" || echo "$source does not compile"
    { nm "$OBJECT"; strings "$OBJECT"; } | grep -E 'fault_|FAULT_|turn_begun|connector_query_sent' || true
}

table() {
    sed -n '/define FAULT_TABLE/,/clang-format on/p' agent/base/fault.h | grep -oE '\bX\([a-z_]+\)' | tr -d 'X()' | sort
}

placed() {
    grep -rhoE 'FAULT_POINT\([a-z_]+\)' agent --include='*.c' | sed -E 's/.*\((.*)\)/\1/' | sort -u
}

is "each crash point of the table is passed somewhere" "$(comm -23 <(table) <(placed))" ""
is "no name is in it twice" "$(table | uniq -d)" ""
like "with the define a point is a call" "$(compiled agent/server/turn.c -DCOUNTERSIGN_FAULTS)" 'fault_pass'
for source in agent/base/fault.c agent/server/turn.c agent/connector/job.c agent/vault/store.c; do
    is "without it $source has none" "$(compiled "$source")" ""
done
finish
