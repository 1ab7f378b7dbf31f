#!/usr/bin/env bash
# Goal: a connector that was taken over can lie about the databases it serves, and do no more: whatever it sends, the
# agent answers everybody else, gives out nothing, keeps every lease that nobody undid, and undoes it with the next connector.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/agent.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/agent.sh"

SOURCE=${COUNTERSIGN_SOURCE:-$(realpath "$(dirname "$0")/../..")}
DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-badcon.XXXXXX")
AGENT_PROGRAM=$DIR/bin/countersignd
STATUS="" ANSWER=""

# Beside its own copy of the agent the fake one is taken for the connector.
start_mode() { # MODE
    echo "$1" >"$DIR/bin/mode"
    echo 0 >"$DIR/bin/asked"
    start_agent
}

api() { # METHOD PATH [BODY]: leaves STATUS and ANSWER
    ANSWER=$(curl -sS --max-time 20 --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $(cat "$DIR/dev/root-token")" \
        -X "$1" ${3+--data "$3"} -w '\n%{http_code}' "http://localhost/v1/$2")
    STATUS=${ANSWER##*$'\n'}
    ANSWER=${ANSWER%$'\n'*}
}

set_up() {
    mkdir "$DIR/bin"
    cp "$COUNTERSIGN_BUILD/countersignd" "$DIR/bin/"
    cp "$SOURCE/tests/lib/fake-connector" "$DIR/bin/countersign-connector"
    start_mode good || return 1
    api PUT secret/data/keep '{"data":{"word":"halberd"}}'
    api POST sys/mounts/database '{"type":"database"}'
    api POST database/config/shop '{"plugin_name":"postgresql-database-plugin","allowed_roles":"*","username":"u",
        "password":"p","connection_url":"postgresql://{{username}}:{{password}}@h/d"}'
    echo "$ANSWER"
    api POST database/roles/ro '{"db_name":"shop","groups":"readers","default_ttl":"1h"}'
    echo "$ANSWER"
    [[ $STATUS == 204 ]] && stop_agent
}

leases() {
    api GET sys/leases
    jq '.data.leases | length' <<<"$ANSWER"
}

# Nothing that is broken: what was asked for is refused with a reason, and a lease is left that is to be undone.
attacked_by() { # MODE WANTED
    local before begun status
    start_mode "$1" || return 1
    before=$(leases)
    begun=$(date +%s%3N)
    api GET database/creds/ro
    status=$STATUS
    echo "$ANSWER"
    is "$1: credentials are refused with a reason" "$status $(jq '.errors[0] | length > 10' <<<"$ANSWER")" "$2 true"
    unlike "$1: nothing of it moves a terminal" "$ANSWER" $'[\001-\010\013-\037]|u001b'
    ok "$1: without waiting for a time-out" test $(($(date +%s%3N) - begun)) -lt 9500
    is "$1: others are answered" "$(api GET secret/data/keep; jq -r .data.data.word <<<"$ANSWER")" halberd
    ok "$1: a lease is left that nobody undid" test "$(leases)" -ge $((before + ${3:-1}))
    stop_agent
}

# It is asked for one page, and not for ever.
sweeps() { # MODE PAGES
    start_mode "$1"
    sleep 0.3
    is "$1: the sweep ends" "$(cat "$DIR/bin/asked")" "$2"
    is "$1: others are answered" "$(api GET secret/data/keep; jq -r .data.data.word <<<"$ANSWER")" halberd
    stop_agent
}

none_left() {
    [[ $(leases) == 0 ]]
}

ok "an agent with a connector of our own" set_up
passed || bail "nothing can be tried without an agent"
for mode in text array cut twice deep nul utf8 large empty types number unknown long escapes flood again version silent; do
    attacked_by "$mode" 502
done
sweeps endless 2 # the second page is what the first was
for mode in backwards strangers longname; do sweeps "$mode" 1; done
ok "a connector comes that does what it is told" start_mode good
eventually 20 "and all that was left is undone" none_left
finish
