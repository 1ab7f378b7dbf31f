#!/usr/bin/env bash
# Goal: a leased account of a real PostgreSQL ends when it must: on time, on revocation, with its holder,
# through outages and crashes of each part, and never leaves an account that no lease knows.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15

SLOW='CREATE ROLE \"{{name}}\" LOGIN PASSWORD '"'{{password}}'"' VALID UNTIL '"'{{expiration}}'"' IN ROLE shop_readers; SELECT pg_sleep(2);'

more_rules() {
    ops <<END
POST database/roles/shop-rw {"db_name":"shop","groups":"shop_writers","default_ttl":"1h","max_ttl":"8h"}
POST database/roles/shop-slow {"db_name":"shop","creation_statements":["$SLOW"],"default_ttl":"1h","max_ttl":"8h"}
PUT sys/bindings/dba {"principals":["group:dba","group:sre"],"policies":["db-read"],"mfa":{"max_age":"15m"},"ttl":"1h","max_ttl":"8h"}
END
}

writers() {
    sql "CREATE ROLE shop_writers NOLOGIN; GRANT shop_writers TO countersign_admin WITH ADMIN OPTION;
        CREATE SCHEMA work; GRANT USAGE, CREATE ON SCHEMA work TO shop_writers"
}

set_up() {
    ok "a host boots" stage_boot database
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "a database" stage_database
    ok "writers" writers
    ok "the store is made" rules_init
    ok "the engine is configured" rules_database
    passed || bail "nothing can be tried without the engine"
    ok "and more of it" more_rules
    stage_sshd </dev/null >/dev/null
    ok "the module is switched on" rules_pam ada bea
}

lease_state() { # ID: its state, or nothing
    op GET "sys/leases" | jq -r --arg id "$1" '.data.leases[] | select(.id == $id) | .state'
}

state_is() { # ID STATE
    [[ $(lease_state "$1") == "$2" ]]
}

of_account() { # NAME COLUMN
    sql "SELECT $2 FROM pg_roles WHERE rolname = '$1'" postgres
}

# --- The account ---------------------------------------------------------------------------------------

account() {
    ok "a service gets a lease without a token" lease_of shop
    ok "its account logs in" psql_as "$NAME" "$PASSWORD" "SELECT item FROM orders"
    is "it is no superuser and makes no roles" "$(of_account "$NAME" 'rolsuper, rolcreaterole, rolcreatedb, rolreplication')" "f|f|f|f"
    is "it ends by itself, within two minutes of its lease" \
        "$(of_account "$NAME" "rolvaliduntil BETWEEN now() + '58 min' AND now() + '62 min'")" t
    like "its comment names the lease" "$(of_account "$NAME" "shobj_description(oid, 'pg_authid')")" "lease=$LEASE\$"
    like "its password is kept as SCRAM" "$(sql "SELECT rolpassword FROM pg_authid WHERE rolname = '$NAME'" postgres)" \
        '^SCRAM-SHA-256\$'
    fails "another password does not fit" psql_as "$NAME" "x$PASSWORD" "SELECT 1"
    fails "the account is not the admin's to give away" psql_as "$NAME" "$PASSWORD" "GRANT shop_readers TO countersign_admin"
    ok "the lease is renewed" op PUT sys/leases/renew "{\"lease_id\":\"$LEASE\",\"increment\":7200}"
    is "and so is the account" "$(of_account "$NAME" "rolvaliduntil BETWEEN now() + '118 min' AND now() + '122 min'")" t
    fails "nobody else may renew it" inside -u batch curl -sS --fail-with-body --unix-socket "$SOCKET" -X PUT \
        -d "{\"lease_id\":\"$LEASE\"}" http://localhost/v1/sys/leases/renew
    fails "or revoke it" inside -u batch curl -sS --fail-with-body --unix-socket "$SOCKET" -X PUT \
        -d "{\"lease_id\":\"$LEASE\"}" http://localhost/v1/sys/leases/revoke
    KEPT_NAME=$NAME KEPT_PASSWORD=$PASSWORD KEPT_LEASE=$LEASE
}

# --- Open sessions ---------------------------------------------------------------------------------------

psql_open() {
    kill -0 "$PSQL" 2>/dev/null
}

revoke_it() { # ID
    op PUT sys/leases/revoke "{\"lease_id\":\"$1\"}"
}

cut_and_expiry() {
    local begin
    ok "another lease" lease_of shop
    ok "an open psql" open_psql "$NAME" "$PASSWORD"
    ok "is still open when the lease is revoked" revoke_it "$LEASE"
    ok "and is cut" psql_cut 5
    like "by the server" "$OUT" 'terminating connection'
    ok "the account is gone" account_gone "$NAME"
    fails "and the lease" state_is "$LEASE" active
    begin=$(date +%s%3N)
    ok "a lease of five seconds" lease_of shop shop-brief
    ok "with an open psql" open_psql "$NAME" "$PASSWORD"
    eventually 9 "expires by itself" account_gone "$NAME"
    begin=$(ms_since "$begin")
    ok "on time (after $begin ms)" test "$begin" -ge 4500 -a "$begin" -le 8000
    ok "and the psql is cut" psql_cut 3
}

# --- Objects that depend on the account -------------------------------------------------------------------

quarantine() {
    ok "a lease that may create" lease_of shop shop-rw
    ok "creates a table" psql_as "$NAME" "$PASSWORD" "CREATE TABLE work.ledger (id int)"
    note "$(revoke_it "$LEASE" 2>&1 || true)"
    eventually 5 "its revocation ends in quarantine" state_is "$LEASE" quarantined
    is "the account stays, without login" "$(of_account "$NAME" rolcanlogin)" f
    is "the table is still its own, handed to nobody" \
        "$(sql "SELECT tableowner FROM pg_tables WHERE tablename = 'ledger'")" "$NAME"
    like "what depends on it is listed" "$(op GET sys/leases | jq -c ".data.leases[] | select(.id == \"$LEASE\")")" 'ledger'
    ok "status counts it" inside countersign status
    like "and says what to do" "$OUT" "can't be dropped"
    ok "which is to list them" inside countersign lease list -quarantined
    like "with what depends on each" "$OUT" 'ledger'
    ok "somebody clears it up" sql "DROP TABLE work.ledger"
    ok "and revokes it again" revoke_it "$LEASE"
    eventually 5 "now it goes" account_gone "$NAME"
}

# --- Outages ---------------------------------------------------------------------------------------------

status_of_request() { # USER PATH: the HTTP status
    inside -u "$1" curl -s -o /dev/null -w '%{http_code}' --unix-socket "$SOCKET" "http://localhost/v1/$2"
}

status_says() { # REGEX: as root
    inside countersign status | tee /dev/stderr | grep -qE "$1"
}

postgres_away() {
    local begin
    ok "two leases" lease_of shop
    AWAY_NAME=$NAME AWAY_LEASE=$LEASE
    ok "PostgreSQL is stopped" inside systemctl stop postgresql@15-main
    begin=$(date +%s%3N)
    is "asking for another is answered by 502" "$(status_of_request shop database/creds/shop-ro)" 502
    ok "within 5 s" test "$(ms_since "$begin")" -lt 5000
    note "$(revoke_it "$AWAY_LEASE" 2>&1 || true)"
    ok "a revocation is recorded and waits" state_is "$AWAY_LEASE" revoking
    eventually 5 "status tells how many wait, since when and why" status_says \
        '[12] revocations? waits?, the oldest for [0-9ms]+, and (is|are) tried again without end: .*[a-z]'
    ok "and so does the journal" inside journalctl -q -n 1 COUNTERSIGN_LEASE="$AWAY_LEASE" COUNTERSIGN_RESULT=waits
    like "with the lease in a field of its own" "$OUT" 'its revocation waits'
    ok "the agent is killed meanwhile" inside systemctl kill --signal=KILL countersignd
    eventually 20 "and is back" inside countersign status
    ok "it still knows" state_is "$AWAY_LEASE" revoking
    ok "PostgreSQL comes back" inside systemctl start postgresql@15-main
    eventually 20 "the revocation goes on by itself" account_gone "$AWAY_NAME"
    is "no half-made account is left of the request in between" "$(strange_accounts)" "$KEPT_NAME"
}

connector_away() {
    ok "the connector is killed" inside systemctl kill --signal=KILL countersign-connector
    ok "leases that live are left alone" psql_as "$KEPT_NAME" "$KEPT_PASSWORD" "SELECT 1"
    eventually 10 "it comes back, and leases are had again" lease_of shop
    ok "and are revoked" revoke_it "$LEASE"
    ok "to the end" account_gone "$NAME"
}

agent_restarts() {
    ok "an open psql" open_psql "$KEPT_NAME" "$KEPT_PASSWORD"
    ok "the agent restarts" inside systemctl restart countersignd
    eventually 20 "and is unsealed" inside countersign status
    eventually 10 "and connected" connector_up
    sleep 1
    ok "the psql is still open" psql_open
    ok "the account still there" account_exists "$KEPT_NAME"
    ok "the lease still active" state_is "$KEPT_LEASE" active
    inside -u postgres psql -qAtX -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '$KEPT_NAME'" >/dev/null
    psql_cut 5 >/dev/null || true
}

connector_up() {
    [[ $(inside countersign status -format=json | jq -r '.connector // .data.connector') == up ]]
}

# --- Crashes in the middle ---------------------------------------------------------------------------------

only_kept() {
    [[ $(strange_accounts) == "$KEPT_NAME" ]]
}

another_appears() {
    [[ $(strange_accounts | grep -cv "^$KEPT_NAME\$") != 0 ]]
}

ask_slowly() {
    ask_api shop database/creds/shop-slow >/dev/null 2>&1 &
    ASKER=$!
}

crashes() {
    ask_slowly
    eventually 10 "an account is being made" slow_creation_runs
    inside systemctl kill --signal=STOP countersignd
    eventually 10 "it is made, and the agent doesn't know it" another_appears
    ok "the agent is killed" inside systemctl kill --signal=KILL countersignd
    wait "$ASKER" || true
    eventually 20 "after its restart the account goes" only_kept
    eventually 10 "the agent is back" inside countersign status
    ask_slowly
    eventually 10 "another is being made" slow_creation_runs
    ok "the agent is killed before the database is done" inside systemctl kill --signal=KILL countersignd
    wait "$ASKER" || true
    eventually 20 "the agent is back" inside countersign status
    sleep 3
    eventually 20 "no account is left of that either" only_kept
    ask_slowly
    eventually 10 "another is being made" slow_creation_runs
    ok "the connector is killed" inside systemctl kill --signal=KILL countersign-connector
    wait "$ASKER" || true
    sleep 2
    eventually 20 "no account is left of that" only_kept
    ok "leases are had again" lease_of shop
    ok "and revoked" revoke_it "$LEASE"
}

impatient() {
    ok "a client that waits no longer than a second" bash -c '! "$@"' not inside -u shop curl -sS -m 1 \
        --unix-socket "$SOCKET" http://localhost/v1/database/creds/shop-slow
    sleep 2
    eventually 10 "leaves no account behind" only_kept
}

# --- Accounts without a lease --------------------------------------------------------------------------------

# As if a crash, or a store put back from yesterday, had left it.
lost_account() { # NAME INSTANCE
    sql "CREATE ROLE \"$1\" LOGIN IN ROLE shop_readers; GRANT \"$1\" TO countersign_admin;
        COMMENT ON ROLE \"$1\" IS 'countersign instance=$2 lease=database/creds/shop-ro/000000000000000000000000'" postgres
}

sweeping() {
    local instance
    instance=$(inside countersign status -format=json | jq -r '.instance // .data.instance')
    ok "an account of ours that no lease knows" lost_account lost-ours "$instance"
    ok "one of another instance" lost_account lost-theirs 00000000-0000-4000-8000-000000000000
    ok "one that is nobody's" sql "CREATE ROLE \"v-shop-someone\" LOGIN" postgres
    ok "the agent restarts" inside systemctl restart countersignd
    eventually 20 "the first is swept away" account_gone lost-ours
    ok "the second is not ours to touch" account_exists lost-theirs
    ok "nor is the third" account_exists v-shop-someone
    ok "and what has a lease stays" account_exists "$KEPT_NAME"
    ok "they are cleared up" sql 'DROP ROLE "lost-theirs"; DROP ROLE "v-shop-someone"' postgres
}

# --- Lifetimes ---------------------------------------------------------------------------------------------

leader_of() { # USER: the process that leads the login
    inside loginctl show-session "$(as "$1" 'echo $XDG_SESSION_ID')" -p Leader --value
}

lifetimes() {
    ok "ada logs in" login ada
    ok "and gets a lease" lease_in_session ada
    ok "whose account works" psql_as "$NAME" "$PASSWORD" "SELECT 1"
    ok "a psql of hers is open" open_psql "$NAME" "$PASSWORD"
    ok "the process that leads her login is killed" inside kill -KILL "$(leader_of ada)"
    eventually 8 "her account goes" account_gone "$NAME"
    ok "and the psql is cut" psql_cut 3
    ok "bea logs in" login bea
    ok "and gets a lease" lease_in_session bea
    ok "the agent is stopped" inside systemctl stop countersignd.service countersign-agent.socket countersign-pam.socket \
        countersign-pam-user.socket countersign-connector.socket
    logout bea >/dev/null 2>&1 || true
    ok "bea logs out, and the agent comes back later" inside systemctl start countersign.target
    eventually 20 "it learns what it missed: her account goes" account_gone "$NAME"
}

leases_match() {
    local accounts leases
    accounts=$(sql "SELECT split_part(shobj_description(oid, 'pg_authid'), 'lease=', 2) FROM pg_roles
        WHERE shobj_description(oid, 'pg_authid') LIKE 'countersign %' ORDER BY 1" postgres)
    leases=$(op GET sys/leases | jq -r '.data.leases[].id' | sort)
    is "at the end there is one lease" "$leases" "$KEPT_LEASE"
    is "and one account, which is its" "$accounts" "$KEPT_LEASE"
    ok "the audit chain is whole" inside countersign audit verify
}

set_up
account
cut_and_expiry
quarantine
connector_away
agent_restarts
crashes
impatient
sweeping
postgres_away
lifetimes
leases_match
finish
