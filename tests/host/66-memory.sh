#!/usr/bin/env bash
# Goal: after use, no secret is left: not in the agent's or the connector's memory (all of it, guarded pages
# included), in no file of theirs, not in the journal. Nothing of theirs can be dumped or looked into by others, and the
# keys are in locked memory.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15

SEARCH=/usr/local/lib/memory-search
PASSPHRASE="lantern-$RANDOM-whistle-$RANDOM-heron"
KV="halberd-$RANDOM$RANDOM-$RANDOM$RANDOM"
PLANTED="planted$RANDOM$RANDOM$RANDOM"
SECRETS=$(mktemp)

secret() { # LABEL TEXT
    [[ -n $2 ]] || { echo "no $1"; return 1; }
    printf '%s\t%s\n' "$1" "$2" >>"$SECRETS"
}

pid_of() { # UNIT
    inside systemctl show --property=MainPID --value "$1"
}

search() { # pid|files ARGS... < SECRETS
    inside "$SEARCH" "$@"
}

set_up() {
    ok "a host boots" stage_boot memory
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "a database" stage_database
    ok "the store is made" rules_init
    stage_sshd </dev/null >/dev/null
    install -m 0755 "$STAGE_BUILD/memory-search" "$(host root "$STAGE_HOST")$SEARCH"
}

# The tool finds what is there, in each form.
search_finds() {
    local form encoded
    local -A forms
    forms[as it is]=$KV
    forms[hex]=$(printf %s "$KV" | od -An -tx1 | tr -d ' \n')
    forms[base64]=$(printf 'xx%s' "$KV" | base64 -w0)
    forms[utf-16]=$(printf %s "$KV" | sed 's/./&\x00/g' | base64 -w0)
    for form in "${!forms[@]}"; do
        encoded=${forms[$form]}
        # shellcheck disable=SC2016
        exits 1 "the search finds a secret that another process holds, $form" inside bash -c '
            if [[ $2 == utf-16 ]]; then printf %s "$3" | base64 -d; else printf %s "$3"; fi | "$1" hold >/dev/null &
            for _ in {1..50}; do holder=$(pgrep -nf "$1 hold") && break; sleep 0.05; done
            sleep 0.2
            code=0
            printf "kv\t%s\n" "$4" | "$1" pid "$holder" || code=$?
            kill "$holder"
            exit $code' bash "$SEARCH" "$form" "$encoded" "$KV"
        like "and says as what: $form" "$OUT" "kv, $form"
    done
}

# --- What a process of ours lets be seen -------------------------------------------------------------

closed() { # UNIT
    local pid
    pid=$(pid_of "$1")
    is "$1: what /proc shows of it is root's, as of all that can't be dumped" \
        "$(inside stat -c %u "/proc/$pid/mem" "/proc/$pid/environ" "/proc/$pid/maps" | sort -u)" 0
    is "$1: it leaves no core" "$(inside sed -n 's/^Max core file size *\([0-9]*\) *\([0-9]*\) .*/\1 \2/p' "/proc/$pid/limits")" "0 0"
    fails "$1: its own user can't look into it" inside setpriv --reuid="$(inside stat -c %u "/proc/$pid")" --clear-groups \
        head -c 1 "/proc/$pid/environ"
    is "$1: it has no capabilities" "$(inside sed -n 's/^Cap\(Prm\|Eff\|Bnd\):\t*0*$/none/p' "/proc/$pid/status" | uniq -c | xargs)" "3 none"
}

locked() {
    local kb
    kb=$(inside sed -n 's/^VmLck:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$(pid_of countersignd)/status")
    echo "VmLck: $kb kB"
    [[ $kb -gt 0 ]]
}

# --- Use of everything ---------------------------------------------------------------------------------

keys() {
    local key share
    key=$(inside systemd-creds decrypt --name=countersign.unseal-key /etc/credstore.encrypted/countersign.unseal-key -)
    secret "unseal key" "$key" && secret "unseal key (bytes)" "hex:$(base64 -d <<<"$key" | od -An -tx1 | tr -d ' \n')" || return 1
    for share in $SHARES; do
        secret "recovery share" "$share" &&
            secret "recovery share (bytes)" "hex:$(base64 -d <<<"$share" | od -An -tx1 | tr -d ' \n')" || return 1
    done
    secret "root token" "$TOKEN"
}

unseals_by_shares() {
    local share
    inside systemctl stop countersign-unseal.service countersignd.service &&
        inside mv /etc/credstore.encrypted/countersign.unseal-key /root/ &&
        inside systemctl start countersignd.service || return 1
    for share in $(head -n 3 <<<"$SHARES"); do
        api PUT sys/unseal "{\"key\":\"$share\"}" || return 1
    done
    inside mv /root/countersign.unseal-key /etc/credstore.encrypted/
}

uses_kv() {
    ops <<END && uses_kv_again
POST sys/mounts/secret {"type":"kv","options":{"version":"2"}}
END
}

uses_kv_again() {
    ops <<END && patch_kv && [[ $(op GET secret/data/word | jq -r .data.data.word) == "$KV" ]]
POST secret/data/word {"data":{"word":"$KV"}}
POST sys/policies/acl/planted {"policy":"path \"$PLANTED/*\" { capabilities = [\"read\"] }"}
END
}

uses_factors() {
    local answer
    enrol bea && secret "TOTP secret" "${SECRET[bea]}" &&
        secret "TOTP secret (bytes)" "hex:$(base32 -d <<<"$(pad "${SECRET[bea]}")" | od -An -tx1 | tr -d ' \n')" &&
        op PUT sys/factors/bea/passphrase "{\"passphrase\":\"$PASSPHRASE\"}" && secret passphrase "$PASSPHRASE" || return 1
    for answer in ${RECOVERY[bea]}; do secret "recovery code" "$answer" && secret "recovery code" "${answer//-/}" || return 1; done
}

patch_kv() {
    inside curl -s --fail-with-body --unix-socket "$SOCKET" -H "X-Vault-Token: $TOKEN" -X PATCH \
        -H 'Content-Type: application/merge-patch+json' -d "{\"data\":{\"other\":\"$KV-2\"}}" http://localhost/v1/secret/data/word
}

pad() { # BASE32
    printf '%s%*s' "$1" $(((8 - ${#1} % 8) % 8)) '' | tr ' ' =
}

logs_in() { # with a code, a recovery code, the passphrase; and wrong ones
    local wrong="wrong-passphrase-$RANDOM$RANDOM"
    next_code bea
    printf 'code\t%s\t*\n' "$TOTP" | try_login bea || return 1
    next_recovery_code bea
    printf 'code\t%s\t*\n' "$TOTP" | try_login bea || return 1
    op PUT sys/bindings/phrase '{"principals":["user:bea"],"services":["sshd"],"mfa":{"factors":["passphrase"]}}' >/dev/null || return 1
    printf 'phrase\t%s\t*\n' "$wrong" | try_login bea && return 1
    printf 'phrase\t%s\t*\n' "$PASSPHRASE" | try_login bea || return 1
    op DELETE sys/bindings/phrase || return 1
    secret "wrong passphrase" "$wrong"
}

# ada has no key: her account's password is typed as well, in front of the module's prompt.
logs_in_with_password() {
    enrol ada && next_code ada && { password_answer ada && code_answer "$TOTP"; } | try_login ada &&
        secret "account password" watchword-ada
}

uses_tokens() {
    local token
    token=$(op POST auth/token/create '{"policies":["default"],"ttl":"1h"}' | jq -re .auth.client_token) &&
        secret token "$token" && inside curl -s --fail --unix-socket "$SOCKET" -H "X-Vault-Token: $token" \
        http://localhost/v1/auth/token/lookup-self
}

uses_database() {
    rules_database && lease_of shop && psql_as "$NAME" "$PASSWORD" "SELECT 1" && secret "leased password" "$PASSWORD" &&
        secret "its verifier" "$(sql "SELECT rolpassword FROM pg_authid WHERE rolname = '$NAME'" postgres)" &&
        secret "database admin's password" "$ADMIN_PASSWORD"
}

# Secrets in what is refused: a wrong password for the database (in the url as well), broken JSON, half a request,
# a token that is none, a key that is none.
refused() {
    local lost="lost-$RANDOM$RANDOM-$RANDOM$RANDOM" body
    # shellcheck disable=SC2089
    body='"plugin_name":"postgresql-database-plugin","allowed_roles":"*"'
    op POST database/config/bad1 "{$body,\"connection_url\":\"postgresql://{{username}}:{{password}}@127.0.0.1:5432/shop\",\"username\":\"countersign_admin\",\"password\":\"$lost-1\"}" && return 1
    op POST database/config/bad2 "{$body,\"connection_url\":\"postgresql://countersign_admin:$lost-2@127.0.0.1:5432/shop\"}" && return 1
    op POST secret/data/broken "{\"data\":{\"word\":\"$lost-3\"}" && return 1
    op POST secret/data/broken "{\"data\":{\"word\":\"$lost-4\"},\"data\":{}}" && return 1
    inside curl -s --fail --unix-socket "$SOCKET" -H "X-Vault-Token: hvs.$lost-5" http://localhost/v1/secret/data/word && return 1
    api PUT sys/unseal "{\"key\":\"$(base64 -w0 <<<"$lost-6")\"}" >/dev/null || true
    # shellcheck disable=SC2016
    inside perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[1])) or die;
        syswrite S, "PUT /v1/secret/data/half HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{\"data\":{\"word\":\"$ARGV[0]\"";
        sleep 1' "$lost-7" "$SOCKET" || return 1
    secret "what was refused" "$lost"
}

finds_nothing() { # MESSAGE UNIT
    local pid
    pid=$(pid_of "$2")
    ok "$1" search pid "$pid" <"$SECRETS"
}

# What systemd says of the commands that this test runs is left out: their arguments are the secrets.
files_hold_nothing() {
    inside journalctl --sync
    inside sh -c 'journalctl --no-pager -o export -b _COMM=countersignd + _COMM=countersign-con + _COMM=countersign \
        + _COMM=sshd + _COMM=sudo >/run/all-they-said && wc -c /run/all-they-said && grep -c countersignd /run/all-they-said' &&
        search files /var/lib/countersign /var/log/countersign /run/countersign /run/all-they-said <"$SECRETS"
}

planted_is_there() { # the control: the search sees this very process's memory
    printf 'planted\t%s\n' "$PLANTED" | search pid "$(pid_of countersignd)"
}

set_up
ok "keys are known" keys
search_finds
secret "KV value" "$KV"
ok "a KV value is written and read" uses_kv
sleep 1
finds_nothing "the agent that made the store holds neither its keys nor the value" countersignd
ok "an agent is unsealed by recovery shares" unseals_by_shares
sleep 1
finds_nothing "and holds neither them nor the root token" countersignd
ok "another, by the host's key" inside sh -c 'systemctl restart countersignd && sleep 1 && countersign status >/dev/null'
ok "the value is written and read again, and a policy planted" uses_kv_again
ok "factors are enrolled" uses_factors
ok "the module is switched on" inside countersign pam enable sshd
ok "bea logs in by code, recovery code and passphrase" logs_in
ok "ada logs in by password and code" logs_in_with_password
ok "a token is made and used" uses_tokens
ok "a database account is leased and used" uses_database
ok "secrets are in requests that are refused, too" refused
for unit in countersignd countersign-connector; do closed "$unit"; done
ok "the keys are in locked memory" locked

exits 1 "the search finds what the agent does hold: a policy's path" planted_is_there
like "in its heap" "$OUT" 'planted, as it is'
exits 1 "the connector holds its admin's password as long as libpq's connection lives" \
    search pid "$(pid_of countersign-connector)" <<<"admin	$ADMIN_PASSWORD"
ok "its connections are closed" op POST database/reset/shop
sleep 1
finds_nothing "none of the secrets is in the agent's memory" countersignd
finds_nothing "nor in the connector's" countersign-connector
ok "nor in a file that either wrote, or in the journal" files_hold_nothing
rm -f "$SECRETS"
finish
