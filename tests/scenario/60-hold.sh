#!/usr/bin/env bash
# Goal: of two agents with copies of one store only one touches the accounts of a real PostgreSQL, whichever comes
# first, until an operator says which goes on; an older store put back makes and revokes nothing before that.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-hold.XXXXXX")
AGENTS=()
PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
LEASE="" NAME=""

at_exit() {
    local pid
    for pid in "${AGENTS[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    wait
    [[ ! -e $DIR/pg/postmaster.pid ]] || "$PGBIN/pg_ctl" -s -w -m immediate -D "$DIR/pg" stop || true
    rm -rf "$DIR"
}

make_postgres() {
    PGBIN=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
    "$PGBIN/initdb" -D "$DIR/pg" -U boss -A trust --no-sync -E UTF8 --locale=C >/dev/null &&
        "$PGBIN/pg_ctl" -s -w -D "$DIR/pg" -l "$DIR/pg.log" -o "-k $DIR -c listen_addresses='' -c fsync=off" start &&
        sql "CREATE ROLE cs_admin LOGIN CREATEROLE PASSWORD '$PASSWORD'" &&
        sql "CREATE ROLE readers NOLOGIN; GRANT readers TO cs_admin WITH ADMIN OPTION"
}

sql() { # SQL
    psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$DIR" -U boss -d postgres -c "$1"
}

leased() { # the accounts there are
    sql "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE 'countersign instance=%'"
}

marker() {
    sql "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname LIKE 'countersign-%'"
}

# --- Agents ----------------------------------------------------------------------------------------------

start() { # NAME
    launch "$1"
    await "$1"
}

launch() { # NAME
    "$COUNTERSIGN_BUILD/countersignd" --dev --dir "$DIR/$1" >"$DIR/$1.out" 2>&1 &
    PID_OF[$1]=$!
    AGENTS+=("$!")
}

await() { # NAME
    local _
    for _ in $(seq 100); do
        if cs "$1" status >/dev/null 2>&1 && grep -q '^Root Token: ' "$DIR/$1.out"; then return 0; fi
        sleep 0.1
    done
    cat "$DIR/$1.out"
    return 1
}

stop() { # NAME
    kill -TERM "${PID_OF[$1]}" && wait "${PID_OF[$1]}"
}
declare -A PID_OF

cs() { # NAME COMMAND...
    local agent=$1
    shift
    COUNTERSIGN_ADDR=unix://$DIR/$agent/agent.sock COUNTERSIGN_TOKEN=$(cat "$DIR/$agent/root-token") \
        "$COUNTERSIGN_BUILD/countersign" "$@"
}

lease_from() { # NAME
    local answer
    answer=$(cs "$1" read -format=json database/creds/ro) || { echo "$answer"; return 1; }
    LEASE=$(jq -r .lease_id <<<"$answer")
    NAME=$(jq -r .data.username <<<"$answer")
}

lives() { # ACCOUNT
    grep -qx -- "$1" <<<"$(leased)"
}

gone() { # ACCOUNT
    ! lives "$1"
}

status_says() { # NAME REGEX
    grep -qE -- "$2" <<<"$(cs "$1" status)"
}

accept() { # NAME
    cs "$1" operator accept-rollback -yes
}

configure() { # NAME
    cs "$1" secrets enable database >/dev/null &&
        cs "$1" write database/config/main plugin_name=postgresql-database-plugin allowed_roles='*' \
            connection_url="host=$DIR dbname=postgres" username=cs_admin password="$PASSWORD" >/dev/null &&
        cs "$1" write database/roles/ro db_name=main groups=readers default_ttl=1h max_ttl=2h >/dev/null
}

# --- A clone beside the original ---------------------------------------------------------------------------

clone() {
    ok "a lease" lease_from one
    KEPT=$NAME
    like "the database is marked as this agent's" "$(marker)" '^Countersign claim=[0-9a-f]{16} by '
    ok "the agent stops" stop one
    ok "its folder is copied" cp -a "$DIR/one" "$DIR/two"
    ok "the original starts first" start one
    ok "and makes another lease" lease_from one
    OWN=$NAME OWN_LEASE=$LEASE
    ok "the clone starts beside it" start two
    eventually 10 "and is told that it is not the one" status_says two 'main is held: another agent .* claimed'
    ok "the account that it knows nothing of lives on" lives "$OWN"
    fails "it makes no account" lease_from two
    like "and says why" "$OUT" '503|held'
    is "none at all" "$(leased | sort)" "$(printf '%s\n' "$KEPT" "$OWN" | sort)"
    ok "what it is told to revoke is recorded" cs two lease revoke -prefix database/
    sleep 1
    ok "but the account lives on" lives "$KEPT"
    ok "the clone serves what it keeps itself" cs two kv put secret/x a=b
    ok "the original revokes as ever" cs one lease revoke "$OWN_LEASE"
    eventually 10 "and its account goes" gone "$OWN"
}

take_over() {
    fails "without a yes nothing is accepted" cs two operator accept-rollback </dev/null
    ok "an operator lets the clone go on" accept two
    like "which says what it means" "$OUT" 'main is taken over'
    eventually 15 "what it was told to revoke is revoked" gone "$KEPT"
    ok "it makes accounts" lease_from two
    OWN=$NAME
    fails "the original does not any more" lease_from one
    ok "and says so in its status" status_says one 'main is held'
    fails "twice is nothing" accept two
    ok "the former original is stopped twice, and started" eval 'stop one && start one && stop one && start one'
    fails "and is held still, however often it starts" lease_from one
    ok "the account of the other lives on" lives "$OWN"
    ok "the clone starts again" eval 'stop two && start two'
    ok "and goes on without a question" lease_from two
    ok "the alert stands in the log" grep -q 'a hold was accepted' "$DIR/two/audit.log"
}

# A copy that neither side used: whoever starts first has it, be it the copy.
race() {
    local winners=0
    stop one
    stop two
    rm -rf "$DIR/one"
    cp -a "$DIR/two" "$DIR/one"
    ok "both start at once" start_both
    { lease_from one >/dev/null 2>&1 && winners=$((winners + 1)); } || true
    { lease_from two >/dev/null 2>&1 && winners=$((winners + 1)); } || true
    is "one of the two is served" "$winners" 1
}

start_both() {
    launch one
    launch two
    await one && await two
}

# --- An older store ------------------------------------------------------------------------------------------

older() {
    local winner=$DIR/two
    stop two
    rm -rf "$DIR/old"
    cp -a "$winner" "$DIR/old"
    start two >/dev/null
    accept two >/dev/null 2>&1 || true
    ok "a lease that the older store knows nothing of" lease_from two
    NEWER=$NAME
    stop two
    cp "$DIR/old/agent.db" "$DIR/two/agent.db"
    rm -f "$DIR/two"/agent.db-*
    ok "an older store is put back" start two
    ok "it is held" status_says two 'held: .* an older store was put back'
    like "in JSON as well" "$(cs two status -format=json)" '"cause": "rollback"'
    sleep 1
    ok "the newer account lives on" lives "$NEWER"
    fails "no lease is made" lease_from two
    like "the refusal says what to do" "$OUT" 'accept-rollback'
    fails "none is revoked" cs two lease revoke -prefix database/
    ok "secrets are read" cs two kv get secret/x
    ok "it is held after a restart as well" eval 'stop two && start two && status_says two "older store"'
    stop two
    cp -a "$DIR/two" "$DIR/kept"
    rm "$DIR/two/audit.log"
    ok "and when the log is gone" eval 'start two && status_says two "older store"'
    stop two
    rm -rf "$DIR/two"
    mv "$DIR/kept" "$DIR/two"
    start two >/dev/null
    ok "until an operator accepts it" accept two
    eventually 10 "then what the store knows nothing of is swept" gone "$NEWER"
    ok "leases are made" lease_from two
    ok "the log of before is kept aside" eval 'ls "$DIR"/two/audit.log.superseded-*'
    ok "the new one is whole" cs two audit verify "$DIR/two/audit.log"
    unlike "nothing is held any more" "$(cs two status)" 'held'
}

main() {
    trap at_exit EXIT
    ok "a PostgreSQL" make_postgres
    passed || bail "nothing can be tried without one"
    ok "an agent" start one
    ok "with a database" configure one
    clone
    take_over
    race
    older
    finish
}
main
