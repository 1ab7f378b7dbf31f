#!/usr/bin/env bash
# Goal: the real connector makes, renews, cuts off and drops accounts in a real PostgreSQL, without being
# superuser; it says what went wrong in the right word, and nothing that is sent to it makes it fall.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/postgres.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/postgres.sh"

SOURCE=${COUNTERSIGN_SOURCE:-$(realpath "$(dirname "$0")/../..")}
DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-pg.XXXXXX")
CONNECTOR=$COUNTERSIGN_BUILD/countersign-connector
FRAMES=$COUNTERSIGN_BUILD/frame-client
INSTANCE=01234567-89ab-4cde-8f01-23456789abcd
PORT=$((20000 + RANDOM % 20000))
PIDS=()

# --- A PostgreSQL of our own ---------------------------------------------------------------------------

at_exit() {
    local pid
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    [[ ! -e $DIR/data/postmaster.pid ]] || pg pg_ctl -s -w -m immediate -D "$DIR/data" stop || true
    rm -rf "$DIR"
}

make_certificate() { # so that TLS and the check of the name are real
    command -v openssl >/dev/null || return 1
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$DIR/data/server.key" -out "$DIR/data/server.crt" 2>/dev/null || return 1
    chmod 0600 "$DIR/data/server.key"
    printf 'ssl = on\n' >>"$DIR/data/postgresql.conf"
}

make_postgres() {
    mkdir "$DIR/run"
    pg initdb -D "$DIR/data" -U boss -A trust --no-sync -E UTF8 --locale=C >/dev/null
    cat >"$DIR/data/pg_hba.conf" <<END
local all boss trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
END
    cat >>"$DIR/data/postgresql.conf" <<END
listen_addresses = 'localhost'
port = $PORT
unix_socket_directories = '$DIR/run'
max_connections = 60
fsync = off
log_statement = all
END
    TLS=1
    make_certificate || TLS=0
    start_postgres
}

sql() { # SQL: as the superuser
    pg psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$DIR/run" -p "$PORT" -U boss -d postgres -c "$1"
}

as_role() { # ROLE SQL: with the password that every account of this test has
    PGPASSWORD=$PASSWORD "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -w \
        "host=$DIR/run port=$PORT user=$1 dbname=postgres" -c "$2"
}

role_fact() { # ROLE COLUMN
    sql "SELECT $2 FROM pg_roles WHERE rolname = '$1'"
}

make_accounts() {
    PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
    ADMIN_PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
    sql "CREATE ROLE cs_admin LOGIN CREATEROLE PASSWORD '$ADMIN_PASSWORD'"
    sql "CREATE ROLE weak LOGIN PASSWORD '$ADMIN_PASSWORD'"
    sql "CREATE ROLE shop_ro; CREATE ROLE other_ro; CREATE ROLE sample PASSWORD '$PASSWORD'"
    sql "CREATE TABLE stock (n int); INSERT INTO stock VALUES (42); GRANT SELECT ON stock TO shop_ro"
    sql "CREATE SCHEMA yard; GRANT USAGE, CREATE ON SCHEMA yard TO other_ro"
    # PostgreSQL's own verifier of the password, as the agent would compute one.
    VERIFIER=$(sql "SELECT rolpassword FROM pg_authid WHERE rolname = 'sample'")
    DB=$(database "host=$DIR/run port=$PORT dbname=postgres" cs_admin)
}

database() { # URL ACCOUNT [PASSWORD]
    jq -cn --arg url "$1" --arg user "$2" --arg pw "${3-$ADMIN_PASSWORD}" \
        '{name: "shop", url: $url, username: $user, password: $pw}'
}

# --- The connector and its agent -----------------------------------------------------------------------

build_frames() {
    [[ ! -x $FRAMES ]] || return 0
    FRAMES=$DIR/frame-client
    cc -std=gnu17 -D_GNU_SOURCE -O1 -o "$FRAMES" "$SOURCE/tests/lib/frame-client.c"
}

start_agent() {
    "$FRAMES" agent "$DIR/agent.sock" "$DIR/control.sock" >>"$DIR/agent.log" &
    AGENT=$!
    PIDS+=("$AGENT")
}

start_connector() {
    "$CONNECTOR" --socket "$DIR/agent.sock" 2>>"$DIR/connector.log" &
    CONNECTOR_PID=$!
    PIDS+=("$CONNECTOR_PID")
}

hellos() { # COUNT
    [[ $(grep -c '"hello":1' "$DIR/agent.log") == "$1" ]]
}

request() { # JSON: the whole line, with an id and the database unless it has its own
    jq -c --argjson db "$DB" --argjson id "$(date +%s%N)" '{id: $id, db: $db} + .' <<<"$1"
}

ask() { # JSON
    request "$1" | "$FRAMES" ask "$DIR/control.sock" || true
}

create() { # ROLE [JSON]
    ask "$(jq -cn --arg role "$1" --arg v "$VERIFIER" --arg c "countersign instance=$INSTANCE lease=$1" \
        --argjson more "${2-{\}}" '{op: "create", role: $role, verifier: $v, expires: 4102444800,
        groups: ["shop_ro"], connection_limit: 3, comment: $c} + $more')"
}

revoke() { # ROLE [JSON]
    ask "$(jq -cn --arg role "$1" --argjson more "${2-{\}}" '{op: "revoke", role: $role} + $more')"
}

field() { # JSON FILTER
    jq -r "$2" <<<"$1"
}

# --- The cases -----------------------------------------------------------------------------------------

life() { # one account's whole life
    local a
    a=$(create v-one)
    is "create" "$(field "$a" .ok)" true
    is "login with the password, rights of the group" "$(as_role v-one 'SELECT n FROM stock')" 42
    is "VALID UNTIL" "$(role_fact v-one "extract(epoch from rolvaliduntil)::bigint")" 4102444800
    is "the connection limit" "$(role_fact v-one rolconnlimit)" 3
    is "the comment" "$(role_fact v-one "shobj_description(oid, 'pg_authid')")" \
        "countersign instance=$INSTANCE lease=v-one"
    is "no more than it should be" \
        "$(role_fact v-one 'rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication')" f
    is "a second create of the name is a failed statement" "$(field "$(create v-one)" '"\(.kind) \(.sqlstate)"')" \
        "statement 42710"
    a=$(ask '{"op":"renew","role":"v-one","expires":4102448400}')
    is "renew" "$(field "$a" .ok) $(role_fact v-one "extract(epoch from rolvaliduntil)::bigint")" "true 4102448400"
    a=$(ask '{"op":"renew","role":"v-nobody","expires":4102448400}')
    is "renew of what is not there" "$(field "$a" '"\(.ok) \(.kind)"')" "false gone"
    a=$(revoke v-one)
    is "revoke" "$(field "$a" '"\(.ok) \(.terminated) \(.gone)"')" "true 0 false"
    is "the role is gone" "$(role_fact v-one 1)" ""
    is "revoke again" "$(field "$(revoke v-one)" '"\(.ok) \(.gone)"')" "true true"
}

session_of() { # ROLE FILE: opens one that has taken the group's place, and waits for it
    printf "SET ROLE shop_ro;\nSELECT 'in';\nSELECT pg_sleep(60);\n" | PGPASSWORD=$PASSWORD "$PGBIN/psql" -X -q -A -t -w \
        "host=$DIR/run port=$PORT user=$1 dbname=postgres" >"$2" 2>&1 &
    PIDS+=("$!")
    eventually 5 "a session of $1 is open" grep -q in "$2"
}

sessions() {
    local a
    ok "create for the sessions" create v-busy
    session_of v-busy "$DIR/session-1"
    session_of v-busy "$DIR/session-2"
    a=$(revoke v-busy)
    is "revoke ends the open sessions" "$(field "$a" '"\(.ok) \(.terminated) \(.gone)"')" "true 2 false"
    is "none is left" "$(sql "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")" 0
    like "the client was cut off" "$(cat "$DIR/session-1")" 'terminating connection'
    is "the role is gone with its sessions" "$(role_fact v-busy 1)" ""
}

estranged() { # someone took back the membership that lets us end its sessions
    create v-stray >/dev/null
    sql 'REVOKE "v-stray" FROM cs_admin'
    session_of v-stray "$DIR/session-3"
    is "it is taken again" "$(field "$(revoke v-stray)" '"\(.ok) \(.terminated) \(.gone)"')" "true 1 false"
    is "the account itself is never revoked" "$(field "$(revoke cs_admin)" .kind)" invalid
    is "nor a superuser" "$(field "$(revoke boss)" .kind) $(role_fact boss rolcanlogin)" "denied t"
}

owned() { # it owns things: they are never dropped
    local a
    create v-owner '{"groups":["shop_ro","other_ro"]}' >/dev/null
    as_role v-owner 'CREATE TABLE yard.mine (n int)'
    as_role v-owner 'CREATE FUNCTION yard.peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ SELECT n FROM public.stock $$'
    a=$(revoke v-owner)
    is "revoke of an owner is dependent" "$(field "$a" '"\(.ok) \(.kind) \(.sqlstate)"')" "false dependent 2BP01"
    like "it names the table" "$(field "$a" '.objects[]')" '^table yard\.mine$'
    like "and the function" "$(field "$a" '.objects[]')" '^function yard\.peek\(\)$'
    is "the role stays, without login" "$(role_fact v-owner rolcanlogin)" f
    fails "login is refused" as_role v-owner 'SELECT 1'
    is "the table is still there" "$(sql "SELECT count(*) FROM pg_class WHERE relname = 'mine'")" 1
    fails "what it left behind has lost the group's rights" sql 'SELECT yard.peek()'
    like "for want of permission" "$OUT" 'permission denied'
    sql 'DROP FUNCTION yard.peek(); DROP TABLE yard.mine'
    is "once they are gone, so is the role" "$(field "$(revoke v-owner)" '"\(.ok) \(.gone)"')" "true false"
}

granted() { # direct grants, here and in another database
    local a
    create v-here >/dev/null
    sql 'ALTER TABLE stock OWNER TO cs_admin'
    pg psql -X -q "host=$DIR/run port=$PORT user=boss dbname=postgres" -c 'SET ROLE cs_admin' -c 'GRANT SELECT ON stock TO "v-here"'
    is "direct grants in this database go with the role" "$(field "$(revoke v-here)" '"\(.ok) \(.gone)"')" "true false"
    sql 'ALTER TABLE stock OWNER TO boss; GRANT SELECT ON stock TO shop_ro'
    sql 'CREATE DATABASE depot'
    create v-there >/dev/null
    pg psql -X -q "host=$DIR/run port=$PORT user=boss dbname=depot" -c 'CREATE TABLE t (n int); GRANT SELECT ON t TO "v-there"'
    a=$(revoke v-there)
    is "grants in another database are dependent" "$(field "$a" '"\(.kind) \(.objects[0])"')" \
        "dependent 1 privileges in database depot"
    pg psql -X -q "host=$DIR/run port=$PORT user=boss dbname=depot" -c 'DROP TABLE t'
    is "until they are gone" "$(field "$(revoke v-there)" .ok)" true
}

templates() {
    local a name statements
    statements=$(jq -cn '["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '\''{{password}}'\'' VALID UNTIL '\''{{expiration}}'\''; GRANT shop_ro TO {{name}}",
        "DO $$ BEGIN EXECUTE '\''SELECT 1'\''; END $$; -- {{name}}; DROP\n"]')
    # Names made to break out of every kind of quote.
    for name in "v-t" 'a"; DROP TABLE stock; --' "b'; DROP TABLE stock; --" 'c\"x\' 'd {{password}}' 'e$$;DROP TABLE stock$$' 'ü£'; do
        a=$(create "$name" "{\"statements\":$statements}")
        is "creation_statements with the name $name" "$(field "$a" .ok)" true
        is "login as $name" "$(PGPASSWORD=$PASSWORD PGUSER=$name "$PGBIN/psql" -X -q -A -t -w \
            "host=$DIR/run port=$PORT dbname=postgres" -c 'SELECT n FROM stock' 2>&1)" 42
        is "revoke $name" "$(field "$(revoke "$name")" '"\(.ok) \(.gone)"')" "true false"
    done
    a=$(create 'a"b' '{"statements":["DO $$ BEGIN EXECUTE format('\''CREATE ROLE \"{{name}}\"'\''); END $$"]}')
    is "a hostile name in a dollar quote is refused" "$(field "$a" .kind)" invalid
    a=$(create v-x '{"statements":["CREATE ROLE {{name}} IN ROLE {{group}}"]}')
    is "an unknown placeholder is refused" "$(field "$a" .kind)" invalid
    a=$(create v-x '{"statements":["CREATE ROLE {{name}}","SELECT broken from nowhere"]}')
    is "a failing statement" "$(field "$a" '"\(.kind) \(.sqlstate)"')" "statement 42P01"
    is "leaves nothing behind" "$(role_fact v-x 1)" ""
    a=$(create v-x '{"statements":["CREATE ROLE {{name}} PASSWORD {{password}} {{password}}"]}')
    is "a syntax error" "$(field "$a" '"\(.kind) \(.sqlstate)"')" "statement 42601"
    unlike "does not quote the verifier" "$a" 'SCRAM|4096'
    a=$(create v-x '{"statements":["CREATE ROLE {{name}} VALID UNTIL {{password}}"]}')
    like "a message that would quote it" "$(field "$a" .message)" '\*\*\*'
    unlike "does not" "$a" 'SCRAM|4096'
    a=$(create v-x '{"statements":["CREATE ROLE {{name}}; COMMIT; DROP TABLE stock"]}')
    is "statements can't leave their transaction" "$(field "$a" .kind)" invalid
    a=$(create v-x '{"statements":["CREATE ROLE {{name}} LOGIN PASSWORD {{password}}; COPY stock FROM STDIN"]}')
    is "nor make it wait for data" "$(field "$a" .ok)" false
    create v-r >/dev/null
    a=$(revoke v-r '{"statements":["REVOKE shop_ro FROM {{name}}; DROP ROLE \"{{name}}\""]}')
    is "revocation_statements" "$(field "$a" '"\(.ok) \(.gone)"') $(role_fact v-r 1)" "true false "
    create v-r >/dev/null
    a=$(ask '{"op":"renew","role":"v-r","expires":4102448400,"statements":["ALTER ROLE {{name}} CONNECTION LIMIT 7"]}')
    is "renew_statements" "$(field "$a" .ok) $(role_fact v-r rolconnlimit)" "true 7"
    is "VALID UNTIL all the same" "$(role_fact v-r "extract(epoch from rolvaliduntil)::bigint")" 4102448400
    a=$(revoke v-r '{"statements":["SET ROLE {{name}}; SET search_path = yard"]}')
    is "statements that leave the role don't keep it" "$(field "$a" '"\(.ok) \(.gone)"') $(role_fact v-r 1)" "true false "
    ask '{"op":"forget"}' >/dev/null
    is "a session's settings don't outlive the job" "$(field "$(create v-r)$(revoke v-r)" .ok | sort -u)" true
}

many() { # COUNT FILTER: so many requests in one go, each made by the filter from its number; answers in $DIR/answers
    jq -cn --argjson db "$DB" --argjson id "$(date +%s%N)" --arg v "$VERIFIER" --arg instance "$INSTANCE" \
        "def create(\$role; \$lease): {op: \"create\", role: \$role, verifier: \$v, expires: 4102444800, groups: [\"shop_ro\"],
            comment: \"countersign instance=\(\$instance) lease=\(\$lease)\"};
        def revoke(\$role): {op: \"revoke\", role: \$role};
        [range($1) | $2] | to_entries[] | {id: (\$id + .key * 1000), db: \$db} + .value" >"$DIR/requests"
    "$FRAMES" ask "$DIR/control.sock" <"$DIR/requests" >"$DIR/answers" || true
}

tally() { # FILTER: what the answers come to
    jq -r "$1" "$DIR/answers" | LC_ALL=C sort | uniq -c | tr -s ' \n' ' '
}

crowd() { # 50 at once over four connections
    many 50 'create("v-c\(.)"; "c\(.)")'
    is "50 creates at once all succeed" "$(tally .ok)" " 50 true "
    is "50 roles" "$(sql "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-c%'")" 50
    is "over four connections" "$(sql "SELECT count(*) FROM pg_stat_activity WHERE usename = 'cs_admin'")" 4
    sweeping
    many 50 'revoke("v-c\(.)")'
    is "50 revokes at once" "$(tally .ok)" " 50 true "
    # A create and the revoke sent right behind it, without waiting: in that order.
    many 20 'create("v-p\(.)"; "p\(.)"), revoke("v-p\(.)")'
    is "a revoke waits for the create before it" "$(tally '"\(.ok) \(.gone)"')" " 20 true false 20 true null "
    many 80 'create("v-q"; "q") + {statements: ["CREATE ROLE {{name}}; SELECT pg_sleep(1)"]}'
    is "one is done, some wait, the others are told to come again" \
        "$(tally 'if .ok then "done" else .kind + .sqlstate end')" " 15 busy 1 done 64 statement42710 "
    revoke v-q >/dev/null
    many 260 'revoke("v-z\(.)") + {db: ($db + {name: "x", url: "\($db.url) application_name=x\(. % 6)"})}'
    is "nobody is left without an answer" "$(jq -s length "$DIR/answers")" 260
}

races() { # what eight clients at once can't do elsewhere: GRANT on the same table rewrites the same row
    sql 'ALTER TABLE stock OWNER TO cs_admin'
    many 40 'create("v-g\(.)"; "") + {statements: ["CREATE ROLE {{name}} LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{name}}"]}'
    is "grants on one table don't trip over each other" "$(tally '.ok, .message // empty')" " 40 true "
    many 40 'revoke("v-g\(.)")'
    is "nor do revokes" "$(tally '.ok, .message // empty')" " 40 true "
    sql 'ALTER TABLE stock OWNER TO boss; GRANT SELECT ON stock TO shop_ro'
}

sweeping() {
    local a after="" names="" pages=0
    sql "CREATE ROLE decoy; COMMENT ON ROLE decoy IS 'countersign instance=99999999-89ab-4cde-8f01-23456789abcd lease=x'"
    while :; do
        a=$(ask "{\"op\":\"sweep\",\"instance\":\"$INSTANCE\",\"limit\":20,\"after\":\"$after\"}")
        [[ $(field "$a" .ok) == true ]] || { note "$a"; break; }
        names+=$(field "$a" '.roles[] | "\(.role)=\(.lease)"')$'\n'
        pages=$((pages + 1))
        [[ $(field "$a" .more) == true && $pages -lt 10 ]] || break
        after=$(field "$a" '.roles[-1].role')
    done
    is "sweep in pages" "$pages" 3
    is "finds each of ours once, with its lease" "$(sort -u <<<"$names" | grep -c '^v-c\([0-9]*\)=c\1$')" 50
    is "and nobody else's" "$(grep -cv '^v-c\|^$' <<<"$names" || true)" 0
    # Leases as long as a comment can make them: the page ends before the packet is full.
    sql "DO \$\$ BEGIN FOR i IN 0..49 LOOP EXECUTE format('COMMENT ON ROLE %I IS %L', 'v-c' || i,
        'countersign instance=$INSTANCE lease=' || repeat(chr(1), 200)); END LOOP; END \$\$"
    a=$(ask "{\"op\":\"sweep\",\"instance\":\"$INSTANCE\",\"limit\":1000}")
    is "overlong comments make no overlong answer" "$(field "$a" .ok) $((${#a} < 65536))" "true 1"
}

checking() {
    local a weak
    a=$(ask '{"op":"check","groups":["shop_ro"]}')
    is "check of a good account" "$(field "$a" '.ok, (.problems | length)' | tr '\n' ' ')" "true 0 "
    is "the server's version" "$(field "$a" .version)" "$(sql 'SHOW server_version_num')"
    a=$(ask '{"op":"check","groups":["nothing","boss"]}')
    like "a group that is not there" "$(field "$a" '.problems[0]')" '"nothing" does not exist'
    like "a group that is superuser" "$(field "$a" '.problems[1]')" '"boss" is a superuser'
    weak=$(DB=$(database "host=$DIR/run port=$PORT dbname=postgres" weak) && ask '{"op":"check"}')
    like "an account that may not create roles" "$(field "$weak" '.problems[0]')" 'ALTER ROLE "?weak"? CREATEROLE'
    a=$(DB=$(database "host=$DIR/run port=$PORT dbname=postgres" weak) && create v-weak)
    is "and can't" "$(field "$a" '"\(.kind) \(.sqlstate)"')" "denied 42501"
}

logins() {
    local a
    a=$(DB=$(database "host=$DIR/run port=$PORT dbname=postgres" cs_admin wrong-password-here) && ask '{"op":"check"}')
    is "a wrong password" "$(field "$a" '"\(.kind) \(.sqlstate)"')" "denied 28P01"
    unlike "is not repeated" "$a" 'wrong-password-here'
    a=$(DB=$(database "host=$DIR/run port=$PORT dbname=nowhere" cs_admin) && ask '{"op":"check"}')
    is "a database that is not there" "$(field "$a" '"\(.kind) \(.sqlstate)"')" "denied 3D000"
    a=$(DB=$(database "postgresql://{{username}}:{{password}}@localhost:$PORT/postgres?sslmode=disable" cs_admin) && ask '{"op":"check"}')
    is "a URI with placeholders, over TCP, by host name" "$(field "$a" .ok)" true
    a=$(DB=$(database "host=no-such-host.invalid port=$PORT dbname=postgres" cs_admin) && ask '{"op":"check"}')
    is "a host without address" "$(field "$a" .kind)" unreachable
    a=$(DB=$(database "host=no-such-host.invalid,127.0.0.1 port=$PORT,$PORT dbname=postgres" cs_admin) && ask '{"op":"check"}')
    is "the second of two hosts" "$(field "$a" .ok)" true
    a=$(DB=$(database "host=127.0.0.1 port=1 dbname=postgres" cs_admin) && ask '{"op":"check"}')
    is "nobody listens" "$(field "$a" .kind)" unreachable
    a=$(DB=$(database "service=prod" cs_admin) && ask '{"op":"check"}')
    is "a service file is not read" "$(field "$a" .kind)" invalid
    a=$(DB=$(database "host={{password}} dbname=postgres" cs_admin) && ask '{"op":"check"}')
    is "the password goes nowhere but where passwords go" "$(field "$a" .kind)" invalid
    tls
}

tls() {
    local a ca=$DIR/data/server.crt
    if [[ $TLS == 0 ]]; then
        skip "TLS" "no certificate could be made"
        return
    fi
    a=$(DB=$(database "host=localhost port=$PORT dbname=postgres sslmode=verify-full sslrootcert=$ca" cs_admin) && ask '{"op":"check"}')
    is "verify-full by the host's name, looked up beforehand" "$(field "$a" .ok)" true
    a=$(DB=$(database "host=127.0.0.1 port=$PORT dbname=postgres sslmode=verify-full sslrootcert=$ca" cs_admin) && ask '{"op":"check"}')
    is "a name that the certificate has not" "$(field "$a" .kind)" unreachable
}

backends_running() { # TEXT: as many queries with it
    [[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%$1%' AND state = 'active' AND pid <> pg_backend_pid()") == "$2" ]]
}

slow() {
    local a start
    start=$(date +%s%3N)
    a=$(create v-slow '{"timeout_ms":700,"statements":["CREATE ROLE {{name}} LOGIN; SELECT pg_sleep(40)"]}')
    is "a statement that takes too long" "$(field "$a" .kind)" timeout
    ok "is given up in time" test $(($(date +%s%3N) - start)) -lt 3000
    is "nothing is left of it" "$(role_fact v-slow 1)" ""
    eventually 5 "the server gives it up as well" backends_running 'pg_sleep(40)' 0
    is "the next one works" "$(field "$(create v-slow)$(revoke v-slow)" .ok | sort -u)" true
    many 5 'create("v-s\(.)"; "") + {timeout_ms: 600, statements: ["CREATE ROLE {{name}}; SELECT pg_sleep(41)"]}'
    is "waiting for a connection counts" "$(tally .kind)" " 5 timeout "
}

server_away() {
    local a start pid
    ask '{"op":"check"}' >/dev/null
    stop_postgres fast
    start=$(date +%s%3N)
    a=$(ask '{"op":"check","timeout_ms":3000}')
    is "the server is down" "$(field "$a" .kind)" unreachable
    ok "which is told at once" test $(($(date +%s%3N) - start)) -lt 3000
    start_postgres
    is "it is back" "$(field "$(ask '{"op":"check"}')" .ok)" true
    sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cs_admin'" >/dev/null
    is "connections that died while idle are not noticed outside" "$(field "$(create v-again)$(revoke v-again)" .ok | sort -u)" true
    create v-mid '{"statements":["CREATE ROLE {{name}}; SELECT pg_sleep(42)"]}' >"$DIR/mid" &
    pid=$!
    eventually 5 "a statement is under way" backends_running 'pg_sleep(42)' 1
    stop_postgres immediate
    wait "$pid"
    is "the server dies in the middle" "$(field "$(cat "$DIR/mid")" .kind)" unreachable
    start_postgres
    is "and comes back" "$(field "$(ask '{"op":"check"}')" .ok) $(role_fact v-mid 1)" "true "
    ask '{"op":"forget"}' >/dev/null
    pid=$(head -n 1 "$DIR/data/postmaster.pid")
    kill -STOP "$pid"
    start=$(date +%s%3N)
    a=$(ask '{"op":"check","timeout_ms":800}')
    kill -CONT "$pid"
    is "a server that takes the connection and says nothing" "$(field "$a" .kind)" timeout
    ok "in time, too" test $(($(date +%s%3N) - start)) -lt 3000
}

hostile() {
    local a id
    a=$(ask '{"op":"explode"}')
    is "an unknown op" "$(field "$a" '"\(.ok) \(.kind)"')" "false invalid"
    is "a missing field" "$(field "$(ask '{"op":"create","role":"x"}')" .kind)" invalid
    is "a field of the wrong type" "$(field "$(revoke x '{"role":["x"]}')" .kind)" invalid
    is "a name that is too long" "$(field "$(create "$(printf '%064d' 1)")" .kind)" invalid
    is "a clear password in place of the verifier" "$(field "$(create x '{"verifier":"hunter2"}')" .kind)" invalid
    id=$(date +%s%N)
    a=$({
        request "{\"id\":$id,\"op\":\"create\",\"role\":\"v-i\",\"verifier\":\"$VERIFIER\",\"expires\":1,\"comment\":\"\",\"statements\":[\"CREATE ROLE {{name}}; SELECT pg_sleep(1)\"]}"
        request "{\"id\":$id,\"op\":\"check\"}"
    } | "$FRAMES" ask "$DIR/control.sock")
    is "an id that is under way" "$(jq -r '.kind // .ok' <<<"$a" | tr '\n' ' ')" "invalid true "
    revoke v-i >/dev/null
    hangs_up "what is not JSON" 'frame!'
    hangs_up "a request without id" '{"op":"check"}'
    hangs_up "a packet that is too large" "$(head -c 70000 /dev/zero | tr '\0' ' ')"
    hangs_up "nesting without end" "{\"id\":1,\"op\":$(head -c 30000 /dev/zero | tr '\0' '[')"
    ok "the connector is the same as ever" kill -0 "$CONNECTOR_PID"
}

hangs_up() { # TEXT PACKET: told by hanging up; then it comes again
    local count
    count=$(grep -c '"hello":1' "$DIR/agent.log")
    exits 3 "$1 ends the connection" "$FRAMES" ask "$DIR/control.sock" 10 <<<"$2"
    eventually 10 "and it comes back" hellos $((count + 1))
}

agent_away() {
    local count
    create v-left >/dev/null
    create v-lost '{"statements":["CREATE ROLE {{name}}; SELECT pg_sleep(43)"]}' >/dev/null &
    eventually 5 "a create is under way" backends_running 'pg_sleep(43)' 1
    count=$(grep -c '"hello":1' "$DIR/agent.log")
    kill -KILL "$AGENT"
    wait "$AGENT" 2>/dev/null || true
    eventually 5 "without its agent the connector gives it up" backends_running 'pg_sleep(43)' 0
    is "nothing is left of it" "$(role_fact v-lost 1)" ""
    start_agent
    eventually 10 "an agent that comes back is found" hellos $((count + 1))
    is "and served" "$(field "$(revoke v-left)" .ok)" true
}

secrets() {
    unlike "no secret in what the connector says" "$(cat "$DIR/connector.log")" "$PASSWORD|$ADMIN_PASSWORD|SCRAM"
    unlike "the password itself is never sent to the server" \
        "$(grep -v "CREATE ROLE sample\|LOGIN CREATEROLE\|CREATE ROLE weak" "$DIR/postgres.log")" "$PASSWORD|$ADMIN_PASSWORD"
    ok "it ends when told to" stop_connector
}

inherited() { # --fd: one socket, and the end with it
    local a
    a=$(request '{"op":"check"}' | "$FRAMES" spawn "$CONNECTOR")
    is "over an inherited socket" "$(field "$a" .ok)" true
    ok "it ends with the socket" "$FRAMES" spawn "$CONNECTOR" </dev/null
    fails "what is no such socket is refused" "$CONNECTOR" --fd 3 3</dev/null
    exits 2 "both at once are" "$CONNECTOR" --fd 3 --socket x
    like "--version" "$("$CONNECTOR" --version)" '^countersign-connector [0-9]'
    like "--help" "$("$CONNECTOR" --help)" '--socket PATH'
}

stop_connector() {
    kill "$CONNECTOR_PID"
    wait "$CONNECTOR_PID"
}

if ! find_postgres; then
    skip "the connector" "there is no PostgreSQL server on this machine"
    finish
fi
if [[ $(id -u) == 0 ]]; then
    chown nobody: "$DIR"
    rm -f "$TAP_OUTPUT"
    CODE=0
    setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups \
        env HOME="$DIR" TMPDIR="$DIR" COUNTERSIGN_SOURCE="$SOURCE" bash "$0" || CODE=$?
    rm -rf "$DIR"
    exit "$CODE"
fi
trap at_exit EXIT
cd "$DIR"
build_frames
make_postgres
make_accounts
start_agent
start_connector
eventually 10 "the connector greets the agent" hellos 1
for part in life sessions estranged owned granted templates crowd races checking logins slow server_away hostile agent_away inherited secrets; do
    note "$part"
    $part
done
finish
