#!/usr/bin/env bash
# Goal: a store that may not know best ends nothing that people use: a clone of the host beside it on the same
# PostgreSQL, an older store put back, a snapshot on another host, a clock set forward and back and reset at a reboot.
# Logins work all the while, and an operator's word sets it going again.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15
STORE=/var/lib/countersign/agent.db
LOG=/var/log/countersign/audit.log
DAY=86400

# --- One PostgreSQL for all hosts: outside of them, its socket in a folder that each of them sees -------------------

share() {
    SHARE=$(mktemp -d /var/tmp/countersign-share.XXXXXX)
    chmod 0755 "$SHARE"
    export COUNTERSIGN_HOST_SHARE=$SHARE
    PGBIN=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
    install -d -o nobody -m 0700 "$SHARE/data"
    install -d -o nobody -m 0755 "$SHARE/socket"
    install -o nobody -m 0600 /dev/null "$SHARE/boss" && echo "$ADMIN_PASSWORD" >"$SHARE/boss"
    as_nobody "$PGBIN/initdb" -D "$SHARE/data" -U boss --auth=scram-sha-256 --no-sync -E UTF8 --locale=C \
        --pwfile="$SHARE/boss" &&
        as_nobody "$PGBIN/pg_ctl" -s -w -D "$SHARE/data" -l "$SHARE/data/log" \
            -o "-k $SHARE/socket -c listen_addresses='' -c fsync=off" start &&
        sql "CREATE DATABASE shop" postgres &&
        sql "CREATE ROLE shop_readers NOLOGIN; CREATE ROLE countersign_admin LOGIN CREATEROLE PASSWORD '$ADMIN_PASSWORD';
            GRANT shop_readers TO countersign_admin WITH ADMIN OPTION; CREATE TABLE orders (id int);
            GRANT SELECT ON orders TO shop_readers"
}

as_nobody() {
    (cd / && setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups -- "$@")
}

at_exit() {
    local name
    for name in "${HOSTS[@]}"; do host stop "$name"; done
    [[ ! -e $SHARE/data/postmaster.pid ]] || as_nobody "$PGBIN/pg_ctl" -s -m immediate -D "$SHARE/data" stop || true
    rm -rf "$SHARE"
}
SHARE=""
HOSTS=()

sql() { # SQL [DATABASE]
    psql_to boss "$ADMIN_PASSWORD" "$1" "${2:-shop}"
}

psql_to() { # USER PASSWORD SQL DATABASE
    PGPASSWORD=$2 psql -X -q -A -t -w -v ON_ERROR_STOP=1 -h "$SHARE/socket" -U "$1" -d "$4" -c "$3"
}

psql_as() { # NAME PASSWORD SQL
    psql_to "$1" "$2" "$3" shop
}

lives() { # NAME
    account_exists "$1"
}

# --- Hosts ---------------------------------------------------------------------------------------------------------

name_of() { # SHORT
    printf '%s-%s\n' "${COUNTERSIGN_HOST_PREFIX:-s$$}" "$1"
}

on() { # SHORT: everything from here on is done there
    STAGE_HOST=$(name_of "$1")
}

make_host() { # SHORT
    on "$1" && host boot "$STAGE_HOST" --while $$ && stage_install && stage_people && stage_sshd </dev/null
}

set_up() {
    trap at_exit EXIT
    HOSTS=("$(name_of main)" "$(name_of clone)" "$(name_of other)")
    ok "a PostgreSQL for all of them" share
    passed || bail "nothing can be tried without it"
    make_host other >"$SHARE/other.log" 2>&1 &
    OTHER=$!
    ok "a host with Countersign" make_host main
    passed || bail "nothing can be tried without a host"
    ok "the store is made" rules_init
    ok "the engine is configured" configure
    ok "the module is switched on" rules_pam ada
}

configure() {
    ops <<END
POST sys/mounts/database {"type":"database"}
POST database/config/shop {"plugin_name":"postgresql-database-plugin","connection_url":"host=/srv/shared/socket dbname=shop","allowed_roles":"*","username":"countersign_admin","password":"$ADMIN_PASSWORD"}
POST database/roles/shop-ro {"db_name":"shop","groups":"shop_readers","default_ttl":"1h","max_ttl":"8h"}
POST database/roles/shop-brief {"db_name":"shop","groups":"shop_readers","default_ttl":"5s","max_ttl":"1m"}
POST database/roles/shop-soon {"db_name":"shop","groups":"shop_readers","default_ttl":"9s","max_ttl":"1m"}
POST sys/policies/acl/db-read {"policy":"path \"database/creds/shop-*\" { capabilities = [\"read\"] }"}
PUT sys/bindings/shop-app {"principals":["user:shop"],"policies":["db-read"],"ttl":"1h","max_ttl":"8h"}
END
}

status_says() { # REGEX
    inside countersign status | grep -E -- "$1"
}

accept() {
    inside countersign operator accept-rollback -yes
}

state_of() { # LEASE
    op GET sys/leases | jq -r --arg id "$1" '.data.leases[] | select(.id == $id) | .state'
}

is_in_state() { # LEASE STATE
    [[ $(state_of "$1") == "$2" ]]
}

recovery_login() { # USER
    next_recovery_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | try_login "$1"
}

code_login() { # USER
    next_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | try_login "$1"
}

# --- An older store --------------------------------------------------------------------------------------------------

put_back_older() {
    inside sh -c "systemctl stop countersignd && cp -p $1 $STORE && rm -f $STORE-wal && systemctl start countersignd"
}

older_store() {
    ok "a lease of an hour, and one of nine seconds" eval 'lease_of shop && KEPT=$NAME && lease_of shop shop-soon'
    BRIEF=$NAME BRIEF_LEASE=$LEASE
    ok "the store is copied" inside sh -c "systemctl stop countersignd && cp -p $STORE /root/older.db && systemctl start countersignd"
    eventually 20 "a lease that the copy knows nothing of" lease_of shop
    NEWER=$NAME
    eventually 20 "the brief one ends" account_gone "$BRIEF"
    sql "CREATE ROLE \"$BRIEF\" NOLOGIN; GRANT \"$BRIEF\" TO countersign_admin WITH ADMIN OPTION"
    ok "the older store is put back" put_back_older /root/older.db
    eventually 20 "it is held, and status says why" status_says 'held: .*older store was put back'
    like "and what to do" "$OUT" 'operator accept-rollback'
    like "the journal has the alert" "$(inside journalctl -q -o cat -u countersignd COUNTERSIGN_ALERT=held)" 'older store'
    ok "people log in" recovery_login ada
    fails "no lease is made" lease_of shop
    like "the refusal says why" "$OUT" 'held: .*accept-rollback'
    fails "none is revoked" op PUT sys/leases/revoke-prefix/database '{}'
    sleep 1
    ok "what it knows nothing of lives on" lives "$NEWER"
    is "what is overdue is still listed" "$(state_of "$BRIEF_LEASE")" active
    ok "and lives on" lives "$BRIEF"
    ok "an operator accepts it" accept
    eventually 15 "then it is swept" account_gone "$NEWER"
    eventually 15 "what is overdue is revoked" account_gone "$BRIEF"
    ok "what it knows lives on" lives "$KEPT"
    ok "leases are made" lease_of shop
    like "the log of before is kept" "$(inside ls /var/log/countersign)" 'audit.log.superseded-'
    ok "the log has the acceptance" inside grep -q 'a hold was accepted' $LOG
    ok "and is whole" inside countersign audit verify
}

# --- A clone of the host, beside it ------------------------------------------------------------------------------------

both_boot() {
    host boot "$(name_of main)" &
    host boot "$(name_of clone)" --while $$
    wait $!
}

host_clone() {
    ok "a lease" lease_of shop
    KEPT=$NAME KEPT_PASSWORD=$PASSWORD KEPT_LEASE=$LEASE
    ok "the host is powered off" host poweroff "$(name_of main)"
    ok "and cloned" host clone "$(name_of main)" "$(name_of clone)"
    sed -i 's/auto/disabled/' "$(host root "$(name_of clone)")"/etc/postgresql/*/main/start.conf
    ok "both boot" both_boot
    on main
    eventually 20 "one of them is unsealed" inside countersign status
    on clone
    eventually 20 "the other too, unattended: it is a clone" inside countersign status
    is "they have one instance" "$(inside countersign status -format=json | jq -r .instance)" \
        "$(on main && inside countersign status -format=json | jq -r .instance)"
    # Whoever came first has the database.
    WINNER=main LOSER=clone
    on main
    eventually 15 "one of them is held" one_is_held
    on "$WINNER"
    ok "the other makes leases" lease_of shop
    OWN=$NAME OWN_LEASE=$LEASE
    on "$LOSER"
    fails "the held one makes none" lease_of shop
    like "and says whose the database is" "$OUT" 'database shop is held: another agent'
    ok "people log in to it" recovery_login ada
    ok "a lease is revoked there" op PUT sys/leases/revoke "{\"lease_id\":\"$KEPT_LEASE\"}"
    sleep 1
    ok "but its account lives on" psql_as "$KEPT" "$KEPT_PASSWORD" "SELECT 1"
    ok "so does the one that it knows nothing of" lives "$OWN"
    on "$WINNER"
    ok "the other revokes what is its own" op PUT sys/leases/revoke "{\"lease_id\":\"$OWN_LEASE\",\"sync\":true}"
    ok "and it is gone" account_gone "$OWN"
    on "$LOSER"
    ok "an operator says that the held one goes on" accept
    eventually 15 "what was revoked there is revoked" account_gone "$KEPT"
    ok "it makes leases" lease_of shop
    OWN=$NAME
    on "$WINNER"
    fails "the other does not any more" lease_of shop
    ok "and is held" status_says 'database shop is held'
    ok "it is restarted" inside systemctl restart countersignd
    eventually 20 "held it stays" status_says 'database shop is held'
    ok "and the other's account lives on" lives "$OWN"
    host stop "$(name_of clone)"
    on main
    if [[ $LOSER == clone ]]; then ok "the clone is gone: the host takes over again" accept; fi
    eventually 10 "and makes leases" lease_of shop
}

one_is_held() {
    local name other
    for name in main clone; do
        if (on "$name" && status_says 'database shop is held'); then
            LOSER=$name
            other=$([[ $name == main ]] && echo clone || echo main)
            WINNER=$other
            return 0
        fi
    done
    return 1
}

# --- A snapshot on another host ------------------------------------------------------------------------------------------

restore() { # FILE FLAGS...: standard input: shares
    inside_with_input countersign operator snapshot restore "$@"
}

# `inside` has no standard input.
inside_with_input() {
    local shares
    shares=$(cat)
    inside bash -c 'shares=$1; shift; "$@" <<<"$shares"' bash "$shares" "$@"
}

some_shares() { # NUMBER...
    local number
    for number in "$@"; do sed -n "${number}p" <<<"$SHARES"; done
}

other_shares() {
    for _ in 1 2 3; do head -c 33 /dev/urandom | base64 -w 0 && echo; done
}

snapshot() {
    local root
    ok "a lease on the first host" lease_of shop
    KEPT=$NAME KEPT_PASSWORD=$PASSWORD KEPT_LEASE=$LEASE
    ok "a snapshot of the running agent" inside countersign operator snapshot save /root/store.snap
    like "size and checksum are told" "$OUT" 'SHA-256 [0-9a-f]{64}'
    is "the file is root's alone" "$(inside stat -c %a /root/store.snap)" 600
    fails "a second one does not overwrite it" inside countersign operator snapshot save /root/store.snap
    ok "a lease that the snapshot knows nothing of" lease_of shop
    NEWER=$NAME
    root=$(host root "$(name_of main)")
    ok "another host" wait "$OTHER"
    on other
    root=$(host root "$(name_of main)")/../layer/roothome
    cp "$root/store.snap" "$SHARE/store.snap"
    head -c -100 "$SHARE/store.snap" >"$SHARE/short.snap"
    { head -c 3000 "$SHARE/store.snap" && printf x && tail -c +3002 "$SHARE/store.snap"; } >"$SHARE/changed.snap"
    chmod 0644 "$SHARE"/*.snap
    ok "it says what it is" inside countersign operator snapshot inspect /srv/shared/store.snap
    fails "wrong shares don't open it" restore /srv/shared/store.snap < <(other_shares)
    like "and that is said" "$OUT" "don't open this snapshot"
    fails "cut short it is refused" restore /srv/shared/short.snap < <(some_shares 1 2 3)
    like "with the reason" "$OUT" 'damaged: it was cut short or changed'
    fails "changed it is refused" restore /srv/shared/changed.snap < <(some_shares 1 2 3)
    exits 2 "the host has no store yet" inside countersign status
    ok "three shares restore it" restore /srv/shared/store.snap < <(some_shares 5 1 3)
    like "and what that means is said" "$OUT" 'held: logins and reads work'
    ok "it is held" status_says 'restored from a snapshot'
    is "leases are listed" "$(state_of "$KEPT_LEASE")" active
    ok "the module is switched on there" inside countersign pam enable sshd
    ok "people log in there" recovery_login ada
    fails "no lease is made there" lease_of shop
    ok "it restarts" inside systemctl restart countersignd
    eventually 20 "is unsealed unattended, by a key of its own, and still held" status_says 'restored from a snapshot'
    ok "the accounts live on" eval 'psql_as "$KEPT" "$KEPT_PASSWORD" "SELECT 1" && lives "$NEWER"'
    fails "a second restore needs force" restore /srv/shared/store.snap < <(some_shares 1 2 3)
    like "and says what is lost" "$OUT" 'has a store already .*-force'
    ok "with it the store is put aside" restore /srv/shared/store.snap -force < <(some_shares 1 2 3)
    like "where" "$OUT" 'before-restore-'
    on main
    ok "meanwhile the first host makes leases" lease_of shop
    on other
    ok "an operator accepts it" accept
    eventually 15 "what it knows nothing of is swept" account_gone "$NEWER"
    ok "what it knows lives on" psql_as "$KEPT" "$KEPT_PASSWORD" "SELECT 1"
    ok "and leases are made there" lease_of shop
    on main
    fails "but on the first host no more" lease_of shop
    like "since the database is the other's" "$OUT" 'is held: another agent'
    host stop "$(name_of other)"
    ok "it takes the database back" accept
}

# --- Clocks ------------------------------------------------------------------------------------------------------------

clock_is_off() { # SECONDS SYNCHRONISED(0|1)
    inside sh -c "echo $1 $2 >/etc/wrong-clock.new && mv /etc/wrong-clock.new /etc/wrong-clock"
}

# On a booted container two settings of the unit show the agent the machine's boot id in place of the host's own.
wrong_clock() {
    install -m 0644 "$STAGE_BUILD/wrong-clock.so" "$(host root "$STAGE_HOST")/usr/local/lib/"
    inside sh -c 'mkdir -p /etc/systemd/system/countersignd.service.d && cd /etc/systemd/system/countersignd.service.d &&
        printf "[Service]\nEnvironment=LD_PRELOAD=/usr/local/lib/wrong-clock.so WRONG_CLOCK=/etc/wrong-clock\nProtectKernelTunables=no\nProtectControlGroups=no\n" >clock.conf &&
        echo 0 1 >/etc/wrong-clock && systemctl daemon-reload && systemctl restart countersignd'
}

ttl_of() { # LEASE
    op GET sys/leases | jq -r --arg id "$1" '.data.leases[] | select(.id == $id) | .ttl'
}

server_clock() {
    inside curl -s --unix-socket "$SOCKET" http://localhost/v1/sys/health | jq .server_time_utc
}

is_about() { # TEXT SECONDS-FROM-NOW
    local off=$(($(server_clock) - $(date +%s) - $2))
    ok "$1" test "${off#-}" -le 5
}

# A lease of five seconds begins and ends on time.
ends_on_time() { # TEXT
    local begin
    begin=$(date +%s%3N)
    ok "$1: a lease of five seconds" lease_of shop shop-brief
    ok "its account can log in" psql_as "$NAME" "$PASSWORD" "SELECT 1"
    eventually 20 "and is gone" account_gone "$NAME"
    ok "no sooner than it must (after $(ms_since "$begin") ms)" test "$(ms_since "$begin")" -ge 4900
}

clocks() {
    ok "a wall clock that can be set" wrong_clock
    eventually 20 "the agent is back" lease_of shop
    KEPT=$NAME KEPT_LEASE=$LEASE
    clock_is_off $DAY 1
    is_about "the clock is set forward by a day" $DAY
    ends_on_time "forward"
    ok "nothing else was revoked: within a boot no clock but the boot's counts" is_in_state "$KEPT_LEASE" active
    exits 255 "a code of the real time is refused" code_login ada
    ok "a recovery code opens" recovery_login ada
    clock_is_off -$DAY 0
    is_about "the clock is set back by a day" -$DAY
    ends_on_time "back"
    ok "the lease of an hour has no more than an hour" test "$(ttl_of "$KEPT_LEASE")" -le 3600
    ok "a recovery code opens" recovery_login ada
}

reset_at_boot() {
    local before
    ok "a lease of five seconds" lease_of shop shop-brief
    BRIEF=$NAME
    before=$(ttl_of "$KEPT_LEASE")
    clock_is_off "-$(date +%s)" 0
    ok "the host reboots, its clock at 1970" host reboot "$STAGE_HOST"
    eventually 20 "it is unsealed" inside countersign status
    ok "it is 1970 there" test "$(server_clock)" -lt 1000000
    eventually 15 "what was due soon is revoked" account_gone "$BRIEF"
    ok "what was not, is not" lives "$KEPT"
    ok "and has no longer to live than before" test "$(ttl_of "$KEPT_LEASE")" -le "$before"
    ends_on_time "in 1970"
    exits 255 "a code of the real time is refused" code_login ada
    ok "a recovery code opens" recovery_login ada
    clock_is_off $DAY 0
    ok "the host reboots, its clock a day ahead" host reboot "$STAGE_HOST"
    eventually 20 "it is unsealed" inside countersign status
    ok "a lease of five seconds" lease_of shop shop-brief
    eventually 20 "is gone" account_gone "$NAME"
    ok "the lease of an hour lives on: that clock is not synchronised" lives "$KEPT"
    clock_is_off $DAY 1
    ok "and another" lease_of shop shop-brief
    eventually 40 "once that clock is synchronised, its hour is over" account_gone "$KEPT"
    ok "leases are made" lease_of shop
    ok "the audit chain is whole" inside countersign audit verify
}

for part in set_up older_store host_clone snapshot clocks reset_at_boot; do
    BEGIN=$(date +%s%3N)
    "$part"
    note "$part: $(ms_since "$BEGIN") ms"
done
finish
