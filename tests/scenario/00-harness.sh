#!/usr/bin/env bash
# Goal: the check itself can fail. A house with planted offences is told of each, and a test that dies,
# hangs on to nothing, or says less than it planned is counted as failed.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "$COUNTERSIGN_SOURCE/tests/lib/tap.sh"

house() { # a small tree with the check's own scripts
    mkdir -p house/agent/{base,vault,lease,policy,server,cli} house/include/countersign house/pam house/tests/unit
    cp -r "$COUNTERSIGN_SOURCE/tests/lib" "$COUNTERSIGN_SOURCE/tests/run-check" house/tests/
    cd house
    : >agent/base/buf.h
    : >agent/vault/store.h
    : >agent/policy/decide.h
    : >include/countersign/api.h
}

floors() {
    printf '#include <countersign/api.h>\n#include "base/buf.h"\n#include <string.h>\n' >agent/vault/store.c
    ok "a clean house passes" tests/lib/check-floors .
    printf '#include "vault/store.h"\n' >agent/base/buf.c
    printf '\n  #  include "policy/decide.h"\n' >agent/lease/lease.c
    printf '#include "../base/buf.h"\n#include <sqlite3.h>\n#include <policy/decide.h>\n' >agent/server/api.c
    printf '#include "vault/store.h"\n' >agent/cli/main.c
    printf '#include "base/buf.h"\n' >pam/hooks.c
    fails "one with offences does not" tests/lib/check-floors .
    like "an include that climbs" "$OUT" 'agent/base/buf\.c:1: base may not include vault'
    like "a room of the same floor" "$OUT" 'agent/lease/lease\.c:2: lease may not include policy'
    like "a path out of the room" "$OUT" 'agent/server/api\.c:1: write it from agent/'
    like "SQL above the vault" "$OUT" 'agent/server/api\.c:2: server may not include <sqlite3\.h>'
    like "one of ours in angle brackets" "$OUT" 'agent/server/api\.c:3: write it as'
    like "the command line in the agent's rooms" "$OUT" 'agent/cli/main\.c:1: cli may not include vault'
    like "the module in the agent's" "$OUT" 'pam/hooks\.c:1: pam/ includes its own headers'
    rm -f agent/base/buf.c agent/lease/lease.c agent/server/api.c agent/cli/main.c pam/hooks.c
}

unit() { # NAME SCRIPT: a unit test that does just that
    : >"tests/unit/test_$1.c"
    printf '#!/bin/sh\n%s\n' "$2" >"build/tests/unit/test_$1"
    chmod +x "build/tests/unit/test_$1"
}

counts() {
    mkdir -p build/tests/unit
    unit good 'echo 1..2; echo ok 1 - a; echo "ok 2 - b # SKIP no c"'
    ok "a good test passes" tests/run-check build --fast
    like "its skip is told with the reason" "$OUT" 'SKIPPED  unit/test_good: b: no c'
    like "the last line counts" "$(tail -n 1 <<<"$OUT")" '^[0-9]+ passed, 0 failed, 1 skipped$'
    unit dies 'echo 1..2; echo ok 1 - a; kill -SEGV $$'
    unit stops 'echo 1..2; echo ok 1 - a'
    unit silent 'exit 0'
    unit lies 'echo 1..1; echo ok 1 - a; exit 3'
    : >tests/unit/test_unbuilt.c
    exits 1 "bad ones do not" tests/run-check build --fast
    like "one that is killed" "$OUT" 'unit/test_dies was killed by signal 11'
    like "one that says too little" "$OUT" 'unit/test_stops gave 1 of 2 planned results'
    like "one that says nothing" "$OUT" 'unit/test_silent ended with exit code 0 and without a plan'
    like "one whose exit code disagrees" "$OUT" 'unit/test_lies ended with exit code 3'
    like "one that was not built" "$OUT" 'FAIL unit/test_unbuilt '
    like "each counts once" "$(tail -n 1 <<<"$OUT")" ' passed, 5 failed, 1 skipped$'
}

header() {
    printf 'struct b { struct a x; };\n' >agent/base/alone.h
    fails "a header that can't stand alone is found" tests/lib/check-headers
    like "by its name" "$OUT" '^not ok [0-9]+ - agent/base/alone\.h'
}

house
floors
counts
header
finish
