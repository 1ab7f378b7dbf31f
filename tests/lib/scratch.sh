# Goal: the story of story.sh as far as it goes where no host can be booted: the real agent, connector, command
# line, module and PostgreSQL, from a scratch folder and without privileges. What stands in for a host's
# parts is said at each step.
#
# Sourced after stage.sh and the demo's words: scratch_story WHY plays it, scratch_end cleans up.
# shellcheck shell=bash

# shellcheck source=story.sh
. "$STAGE_LIB/story.sh"

ME=$(id -un)
DIR=""
AGENT=""
CREDS=database/creds/shop-ro

# One person is all there is here: -u is heard and not obeyed.
inside() { # [-u USER] CMD...
    if [[ ${1-} == -u ]]; then shift 2; fi
    "$@"
}

prompt_of() { # WHO
    if [[ $1 == guesser ]]; then printf 'elsewhere$'; else printf '%s$' "$ME"; fi
}

dialogue() {
    "$STAGE_LIB/dialogue" "$@" | tr -d '\r'
    return "${PIPESTATUS[0]}"
}

sql() { # SQL [DATABASE]
    psql -h "$DIR/pg" -U postgres -qAtX -v ON_ERROR_STOP=1 "${2:-shop}" -c "$1"
}

operator() { # CMD...: with the root token
    COUNTERSIGN_TOKEN=$(cat "$DIR/agent/root-token") countersign "$@"
}

# --- The folder ------------------------------------------------------------------------------------------

# As root all of it is done as nobody, who needs a copy of the programs where they may be read.
scratch_as_nobody() { # WHY
    local code=0
    DIR=$(mktemp -d /tmp/countersign-demo.XXXXXX)
    mkdir -p "$DIR/source/build/release"
    cp -r "$STAGE_SOURCE/tests" "$DIR/source/"
    cp "$STAGE_BUILD"/{countersign,countersignd,countersign-connector,pam_countersign.so} "$DIR/source/build/release/"
    chown -R nobody: "$DIR"
    chmod 0755 "$DIR"
    setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups --inh-caps=-all -- env -i PATH="$PATH" \
        TERM="${TERM:-dumb}" LANG=C.UTF-8 HOME="$DIR" TMPDIR="$DIR" COUNTERSIGN_DEMO_SCRATCH="$1" \
        "$DIR/source/tests/host/demo" || code=$?
    exit "$code"
}

scratch_end() {
    local postgres
    postgres=$(head -n 1 "$DIR/pg/postmaster.pid" 2>/dev/null) || true
    if [[ -n $AGENT ]]; then kill -TERM "$AGENT" 2>/dev/null || true; fi
    if [[ -n $postgres ]]; then kill -QUIT "$postgres" 2>/dev/null || true; fi
    wait
    if [[ -n $DIR ]]; then rm -rf "$DIR"; fi
    rm -f "$OUTPUT"
}

start_agent() {
    "$STAGE_BUILD/countersignd" --dev --dir "$DIR/agent" >"$DIR/agent.out" 2>&1 &
    AGENT=$!
    for _ in $(seq 100); do
        countersign status >/dev/null 2>&1 && break
        sleep 0.1
    done
    cat "$DIR/agent.out"
    countersign status >/dev/null
}

agent_ends() { # SIGNAL
    kill "-$1" "$AGENT"
    wait "$AGENT" 2>/dev/null || true
}

start_postgres() {
    local bin
    bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    "$bin/initdb" --no-sync -A scram-sha-256 --auth-local=trust -U postgres -E UTF8 --pwfile=<(echo "$ADMIN_PASSWORD") \
        -D "$DIR/pg" >"$DIR/pg.out" 2>&1 &&
        "$bin/pg_ctl" -w -D "$DIR/pg" -l "$DIR/pg.log" -o "-p $PGPORT -k $DIR/pg -c listen_addresses=127.0.0.1 -c fsync=off" \
            start >>"$DIR/pg.out" 2>&1 || { cat "$DIR/pg.out"; return 1; }
    sql "CREATE DATABASE shop" postgres &&
        sql "CREATE ROLE shop_readers NOLOGIN;
            CREATE ROLE countersign_admin LOGIN CREATEROLE PASSWORD '$ADMIN_PASSWORD';
            GRANT shop_readers TO countersign_admin WITH ADMIN OPTION;
            CREATE TABLE orders (id int PRIMARY KEY, item text);
            INSERT INTO orders VALUES (1, 'lantern'), (2, 'whistle');
            GRANT SELECT ON orders TO shop_readers"
}

free_port() {
    local port
    for port in $(shuf -i 20000-29999 -n 20); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return 0; }
    done
    return 1
}

scratch_stage() { # WHY
    step 0 "A scratch folder, for one evening"
    say "No host can be booted here ($1)."
    say "So the story is played below $DIR, as $ME and without privileges."
    say "Changed are steps 1 (no systemd, no reboot), 3, 4 and 5 (a PAM stack of our own instead of sshd's and"
    say "sudo's), and there is only one person, $ME, who is the operator and the service as well."
    export PGPORT
    PGPORT=$(free_port)
    ok "a program that uses PAM as sshd does" cc -O2 -o "$DIR/gate" "$STAGE_LIB/gate.c" -lpam -lpam_misc
    ok "a PostgreSQL of its own, with a database named shop" start_postgres
}

# --- The steps -------------------------------------------------------------------------------------------

scratch_init() {
    step 1 "The store is made, and opens by itself"
    say "--dev makes a store with its key beside it: for trying things out, and not for production."
    typed "$ME" "countersignd --dev --dir $DIR/agent"
    ok "the agent runs" start_agent
    typed "$ME" "countersign status"
    ok "it is unsealed" countersign status
    typed "$ME" "kill \$(pidof countersignd); countersignd --dev --dir $DIR/agent"
    agent_ends TERM
    ok "it is unsealed again after a restart" start_agent
}

scratch_enrol() {
    step 2 "A second factor is enrolled"
    typed "$ME" "countersign factor enroll"
    ok "$ME scans the code, mistypes once, and is enrolled" dialogue countersign factor enroll \
        < <(printf 'from the authenticator\t000000\nfrom the authenticator\t^T\n')
    take_enrolment "$ME" "$OUT"
    is "ten recovery codes are shown" "$(wc -w <<<"${RECOVERY[$ME]}")" 10
}

scratch_pam() {
    local stack service
    step 3 "The sentry is put before a door"
    say "Here it is a stack of our own: the same module, the same dialogue, no pam_unix."
    mkdir -p "$DIR/pam.d"
    stack="pam_countersign.so socket=$DIR/agent/pam.sock agent_uid=$(id -u)"
    for service in door sudo; do
        printf "%s required $STAGE_BUILD/$stack\n" auth account session >"$DIR/pam.d/$service"
        echo "account required pam_permit.so" >>"$DIR/pam.d/$service" # "no opinion" alone is a refusal
    done
    typed "$ME" "cat $DIR/pam.d/door"
    ok "it stands" cat "$DIR/pam.d/door"
}

gate() { # [-a] [-r RHOST] SERVICE [CMD...]; standard input: the answers
    local flags=()
    while [[ $1 == -* ]]; do
        flags+=("$1")
        if [[ $1 == -r ]]; then flags+=("$2") && shift; fi
        shift
    done
    dialogue "$DIR/gate" "${flags[@]}" "$DIR/pam.d" "$1" "$ME" "${@:2}"
}

scratch_login() {
    local used
    step 4 "Coming in takes a code"
    next_code "$ME"
    used=$TOTP
    typed "$ME" "gate -r 127.0.0.1 pam.d door $ME"
    ok "a code lets one in" gate -r 127.0.0.1 door true < <(code_answer "$used")
    exits 1 "a used one does not" gate -r 127.0.0.1 door true < <(code_answer "$used")
    exits 1 "nor at another service" gate sudo true < <(code_answer "$used")
    agent_ends TERM
    ok "the agent restarts" start_agent
    exits 1 "nor after that" gate -r 127.0.0.1 door true < <(code_answer "$used")
    next_recovery_code "$ME"
    ok "a recovery code does" gate -r 127.0.0.1 door true < <(code_answer "$TOTP")
    exits 1 "once" gate -r 127.0.0.1 door true < <(code_answer "$TOTP")
    scratch_guesses
}

scratch_guesses() {
    local try begin
    say "Somebody guesses from elsewhere."
    for try in 1 2 3 4 5; do
        begin=$(date +%s%3N)
        exits 1 "guess $try is refused" gate -r 192.0.2.7 door true < <(code_answer "11111$try")
        say "  after $(($(date +%s%3N) - begin)) ms"
    done
    typed guesser "gate -r 192.0.2.7 pam.d door $ME"
    exits 1 "the sixth is not even asked for" gate -r 192.0.2.7 door true </dev/null
    like "and is told why" "$OUT" 'Too many wrong codes'
    next_code "$ME"
    ok "$ME gets in from where they always do" gate -r 127.0.0.1 door true < <(code_answer "$TOTP")
}

# Whether a process here can begin an audit session, by which the agent knows a login.
can_log_in() {
    [[ $(cat /proc/self/loginuid 2>/dev/null) == 4294967295 ]]
}

scratch_sudo() {
    step 5 "sudo asks for a proof that is fresh"
    typed operator "countersign binding write sudo-me principals=user:$ME services=sudo mfa.max_age=3s"
    ok "a binding asks for a proof of three seconds" \
        operator binding write sudo-me "principals=user:$ME" services=sudo mfa.max_age=3s
    can_log_in || {
        say "This process belongs to a login of somebody else's: what a login session proves can't be shown."
        return 0
    }
    # shellcheck disable=SC2016
    typed "$ME" "gate pam.d door $ME sh -c 'gate -a pam.d sudo $ME && sleep 4 && gate -a pam.d sudo $ME'"
    ok "within three seconds nothing is asked; after them the account hook asks for a code" scratch_two_sudos
}

scratch_two_sudos() {
    local first
    next_code "$ME"
    first=$TOTP
    next_recovery_code "$ME"
    # shellcheck disable=SC2016
    gate door sh -c '"$1" -a "$2" sudo "$3" && echo "nothing was asked" && sleep 4 && "$1" -a "$2" sudo "$3"' sh \
        "$DIR/gate" "$DIR/pam.d" "$ME" < <(code_answer "$first" && code_answer "$TOTP")
}

scratch_configure() {
    step 6 "A database is connected, in Vault's words"
    ok "the engine is there" operator secrets enable database
    typed operator "countersign write database/config/shop plugin_name=postgresql-database-plugin \\
        connection_url='postgresql://{{username}}:{{password}}@127.0.0.1:$PGPORT/shop' \\
        allowed_roles='*' username=countersign_admin password=-"
    ok "the connection is tried and kept" operator write database/config/shop plugin_name=postgresql-database-plugin \
        "connection_url=postgresql://{{username}}:{{password}}@127.0.0.1:$PGPORT/shop" 'allowed_roles=*' \
        username=countersign_admin password=- < <(printf '%s' "$ADMIN_PASSWORD")
    ok "a role for readers" operator write database/roles/shop-ro db_name=shop groups=shop_readers default_ttl=1h max_ttl=8h
    ok "one for people" operator write database/roles/people db_name=shop groups=shop_readers default_ttl=1h max_ttl=8h
    ok "one that lives five seconds" operator write database/roles/shop-brief db_name=shop groups=shop_readers \
        default_ttl=5s max_ttl=1m
    ok "policies" scratch_policies
    ok "a binding for the service" operator binding write app "principals=user:$ME" policies=db-app
    ok "and one that asks for a factor" operator binding write people "principals=user:$ME" policies=db-people \
        mfa.max_age=15m
}

scratch_policies() {
    echo 'path "database/creds/shop-*" { capabilities = ["read"] }' | operator policy write db-app - &&
        echo 'path "database/creds/people" { capabilities = ["read"] }' | operator policy write db-people -
}

scratch_lease() {
    step 7 "A password for an hour, without a secret to ask for it"
    typed "$ME" "curl --unix-socket $SOCKET http://localhost/v1/$CREDS"
    ok "the program just asks: the kernel says who it is" pretty ask_api "$ME" "$CREDS"
    take_lease "$OUT"
    SHOP_NAME=$NAME SHOP_PASSWORD=$PASSWORD SHOP_LEASE=$LEASE
    ok "the account works" psql_as "$NAME" "$PASSWORD" "SELECT item FROM orders"
    typed "$ME" "countersign read database/creds/people"
    exits 2 "where a factor is asked for, it is refused" countersign read database/creds/people
    typed "$ME" "countersign explain self read database/creds/people"
    exits 2 "explain names the rule" countersign explain self read database/creds/people
    like "by its name" "$OUT" 'people'
    can_log_in || return 0
    next_recovery_code "$ME"
    typed "$ME" "gate pam.d door $ME countersign read database/creds/people"
    ok "inside a login that proved one, it is given" gate door countersign read database/creds/people < <(code_answer "$TOTP")
    take_lease "$OUT"
    ok "and that login being over," test -n "$NAME"
    eventually 5 "its account goes" account_gone "$NAME"
}

scratch_leases_end() {
    step 8 "Every lease has a holder and an end"
    typed operator "countersign lease list"
    ok "who holds what, since when, until when" operator lease list
    ok "psql is connected" open_psql "$SHOP_NAME" "$SHOP_PASSWORD"
    typed operator "countersign lease revoke $SHOP_LEASE"
    ok "the lease is revoked" operator lease revoke "$SHOP_LEASE"
    ok "the open psql is cut" psql_cut 5
    ok "and the account is gone" account_gone "$SHOP_NAME"
    story_expire
    ok "the program takes a password" ask_api "$ME" "$CREDS"
    take_lease "$OUT"
    typed operator "countersign lease revoke --principal user:$ME"
    ok "everything $ME has is taken" operator lease revoke --principal "user:$ME"
    eventually 5 "the account is gone" account_gone "$NAME"
    is "no leased account is left" "$(leased_accounts)" ""
}

scratch_kill() {
    step 9 "A crash at the worst moment leaves nothing behind"
    ok "a role whose SQL takes two seconds" operator write database/roles/shop-slow db_name=shop \
        "creation_statements=$SLOW" default_ttl=1h max_ttl=8h
    ask_api "$ME" database/creds/shop-slow >/dev/null 2>&1 &
    SLOW_ASKER=$!
    eventually 10 "the database is making the account" slow_creation_runs
    typed "$ME" "kill -STOP \$(pidof countersignd)"
    ok "the agent hears nothing any more" kill -STOP "$AGENT"
    eventually 10 "the account is there" an_account_appears
    VICTIM=$NAME
    typed "$ME" "kill -KILL \$(pidof countersignd); countersignd --dev --dir $DIR/agent"
    agent_ends KILL
    wait "$SLOW_ASKER" || true
    ok "the agent is started again" start_agent
    eventually 20 "the account $VICTIM is gone" account_gone "$VICTIM"
    is "no account is left that no lease knows" "$(strange_accounts)" ""
}

scratch_story() { # WHY
    [[ $(id -u) != 0 ]] || scratch_as_nobody "$1"
    DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs.XXXXXX")
    SOCKET=$DIR/agent/agent.sock
    AUDIT=$DIR/agent/audit.log
    COPY=$DIR/copy.log
    export PATH=$STAGE_BUILD:$PATH COUNTERSIGN_ADDR=unix://$SOCKET
    mkdir -p "$DIR/agent"
    scratch_stage "$1"
    scratch_init
    scratch_enrol
    scratch_pam
    scratch_login
    scratch_sudo
    scratch_configure
    scratch_lease
    scratch_leases_end
    scratch_kill
    story_audit "$AUDIT"
}
