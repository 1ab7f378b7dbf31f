#!/usr/bin/env bash
# Goal: restarts, a reboot and a power cut: the store opens unattended, what ended meanwhile is revoked, what did
# not end lives on, used codes stay used. And without the host's key only enough recovery shares open it.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15
KEY_FILE=/etc/credstore.encrypted/countersign.unseal-key

set_up() {
    ok "a host boots" stage_boot reboot
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "a database" stage_database
    exits 2 "status of a store that is not made" inside countersign status
    like "says how to make it" "$OUT" 'operator init'
    ok "the store is made" rules_init
    ok "the engine is configured" rules_database
    ok "people of the group sre may read" op PUT sys/bindings/sre \
        '{"principals":["group:sre"],"policies":["db-read"],"mfa":{"max_age":"15m"}}'
    stage_sshd </dev/null >/dev/null
    ok "the module is switched on" rules_pam ada dan
}

unsealed() { # WHAT-HAPPENED
    eventually 20 "$1: unsealed, unattended" inside countersign status
}

restarts() {
    is "the key's file is root's alone" "$(inside stat -c '%u %a' "$KEY_FILE")" "0 600"
    fails "and not the key itself" inside grep -qE '^[A-Za-z0-9+/]{43}=$' "$KEY_FILE"
    ok "a restart" inside systemctl restart countersignd
    unsealed "after a restart"
    ok "a crash" inside systemctl kill --signal=KILL countersignd
    unsealed "after a crash"
    ok "a stop and a start" inside sh -c 'systemctl stop countersignd && systemctl start countersignd'
    unsealed "after a stop and a start"
}

state_is() { # ID STATE
    [[ $(op GET sys/leases | jq -r --arg id "$1" '.data.leases[] | select(.id == $id) | .state') == "$2" ]]
}

sessions() {
    op GET sys/sessions | jq '.data.sessions | length'
}

reboots() {
    ok "a service takes a lease" lease_of shop
    KEPT_NAME=$NAME KEPT_PASSWORD=$PASSWORD KEPT_LEASE=$LEASE
    ok "ada logs in" login ada
    USED=$TOTP
    ok "and takes one" lease_in_session ada
    ADA_NAME=$NAME
    is "one session is known" "$(sessions)" 1
    ok "the host reboots" host reboot "$STAGE_HOST"
    unsealed "after a reboot"
    is "the session of the former boot is gone" "$(sessions)" 0
    eventually 20 "and so is what it held" account_gone "$ADA_NAME"
    ok "what the service held is not" psql_as "$KEPT_NAME" "$KEPT_PASSWORD" "SELECT 1"
    ok "and is still leased" state_is "$KEPT_LEASE" active
    exits 255 "a code used before is still used" try_login ada < <(password_answer ada && code_answer "$USED")
    ok "a new one is good" enter ada
}

enter() { # USER
    next_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | try_login "$1"
}

power_cut() {
    ok "ada logs in again" login ada
    ok "and takes a lease" lease_in_session ada
    ADA_NAME=$NAME
    ok "the power is cut" host poweroff-hard "$STAGE_HOST"
    ok "and comes back" host boot "$STAGE_HOST"
    unsealed "after a power cut"
    eventually 20 "what the session held is gone" account_gone "$ADA_NAME"
    ok "what the service held is not" psql_as "$KEPT_NAME" "$KEPT_PASSWORD" "SELECT 1"
    is "no account is there beside it" "$(leased_accounts)" "$KEPT_NAME"
    ok "the audit chain is whole" inside countersign audit verify
    ok "people log in" enter dan
}

# --- Without the host's key ----------------------------------------------------------------------------------

give_shares() { # NUMBER...: which of the recovery shares
    local number
    for number in "$@"; do sed -n "${number}p" <<<"$SHARES"; done | inside countersign operator unseal
}

http_status() { # PATH
    inside curl -s -o /dev/null -w '%{http_code}' --unix-socket "$SOCKET" "http://localhost/v1/$1"
}

without_key() {
    ok "the key is taken away" inside mv "$KEY_FILE" /root/kept-key
    ok "the host reboots" host reboot "$STAGE_HOST"
    eventually 20 "the agent runs" inside systemctl is-active countersignd
    exits 2 "but is sealed" inside countersign status
    like "and says what to do" "$OUT" 'operator unseal'
    is "the API answers 503" "$(http_status database/creds/shop-ro)" 503
    is "so does its health" "$(http_status sys/health)" 503
    exits 255 "a code opens nothing" try_login dan < <(password_answer dan && code_answer 123456)
    ok "the database account lives on: nobody can undo it now, nor need they" \
        psql_as "$KEPT_NAME" "$KEPT_PASSWORD" "SELECT 1"
    fails "two of three shares don't open it" give_shares 1 4
    exits 2 "it is still sealed" inside countersign status
    ok "the shares are forgotten" inside countersign operator unseal -reset
    fails "one share three times doesn't" give_shares 2 2 2
    inside countersign operator unseal -reset >/dev/null 2>&1 || true
    fails "nor do three of which one is wrong" wrong_shares
    inside countersign operator unseal -reset >/dev/null 2>&1 || true
    fails "nor does anybody but root bring shares" inside -u ada sh -c 'echo x | countersign operator unseal'
    ok "any three do" give_shares 5 1 3
    ok "it is open" inside countersign status
    ok "people log in again" enter dan
    ok "and services get leases" lease_of shop
}

# A well-formed share of another store.
wrong_shares() {
    {
        sed -n '1,2p' <<<"$SHARES"
        head -c 33 /dev/urandom | base64 -w 0
        echo
    } | inside countersign operator unseal
}

set_up
restarts
reboots
power_cut
without_key
finish
