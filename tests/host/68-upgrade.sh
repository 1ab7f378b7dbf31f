#!/usr/bin/env bash
# Goal: binaries are replaced under load: no login fails, no request fails, no lease is lost, and a module loaded
# before talks to the agent after. A store written by a newer program is refused unchanged.
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
DAEMON=/usr/sbin/countersignd
MODULE_GLOB='/usr/lib/*/security/pam_countersign.so'

set_up() {
    ok "a host boots" stage_boot upgrade
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "a database" stage_database
    ok "the store is made" rules_init
    ok "the engine is configured" rules_database
    ok "bindings" ops <<'END'
POST sys/mounts/secret {"type":"kv","options":{"version":"2"}}
POST secret/data/w {"data":{"n":1}}
POST sys/policies/acl/kv {"policy":"path \"secret/*\" { capabilities = [\"create\",\"read\",\"update\"] }"}
PUT sys/bindings/batch {"principals":["user:batch"],"policies":["kv"]}
PUT sys/bindings/shells {"principals":["group:dba"],"services":["sshd"],"mfa":{"max_age":"1h","scope":"source"}}
PUT sys/bindings/others {"principals":["user:ada","user:dan"],"services":["sshd"],"mfa":true}
END
    stage_sshd </dev/null >/dev/null
    ok "the module is switched on" rules_pam ada bea dan
}

# --- Load ----------------------------------------------------------------------------------------------------

# One of these runs in the host until the file "stop" is there. Each line of its log is one failure, and the last
# one "done N" tells how often it tried; what one try is, $1 says.
# shellcheck disable=SC2016
LOAD='
try=$1; n=0
while [[ ! -e /root/load/stop ]]; do
    n=$((n + 1))
    why=$(eval "$try" 2>&1) || printf "%s try %d: %s\n" "$(date +%T.%N)" "$n" "${why//$'"'\\n'"'/; }"
done
echo "done $n"'

load() { # NAME USER SHELL-COMMAND
    inside -u "$2" bash -c "$LOAD" load "$3" >"$LOGS/$1" 2>&1 &
    LOADS+=($!)
}

# A login with a code, each time a new one, for as long as there are any that the agent takes.
load_logins() { # USER
    local n=0 code
    while [[ ! -e $LOGS/stop ]]; do
        n=$((n + 1))
        next_recovery_or_code "$1"
        code=$TOTP
        { password_answer "$1" && code_answer "$code"; } | try_login "$1" >"$LOGS/one-$1" 2>&1 ||
            { echo "try $n: $(tail -n 3 "$LOGS/one-$1" | tr '\n' ';')"; }
    done
    echo "done $n"
}

# Recovery codes first: they need no waiting for the next half minute.
next_recovery_or_code() { # USER
    if [[ -n ${RECOVERY[$1]// /} ]]; then next_recovery_code "$1"; else next_code "$1"; fi
}

CURL="curl -sS --fail-with-body --max-time 20 --unix-socket $SOCKET"

start_load() {
    LOGS=$(mktemp -d)
    LOADS=()
    inside sh -c 'mkdir -p /root/load && chmod 755 /root /root/load && rm -f /root/load/stop'
    load write batch "$CURL -d '{\"data\":{\"n\":1}}' http://localhost/v1/secret/data/w >/dev/null"
    # Three requests on one connection, then the next one.
    load read batch "$CURL -H Expect: http://localhost/v1/secret/data/w http://localhost/v1/secret/data/w \
        http://localhost/v1/secret/data/w | grep -c '\"n\":1' >/dev/null"
    load creds shop "o=\$($CURL http://localhost/v1/database/creds/shop-ro) || echo \"\$o\" | grep . >&2 && sleep 0.2; [[ \$o == *password* ]]"
    load source root "ssh -S none -o BatchMode=no -o PasswordAuthentication=no bea@127.0.0.1 true </dev/null"
    load_logins ada >"$LOGS/codes" 2>&1 &
    LOADS+=($!)
}

stop_load() {
    touch "$LOGS/stop"
    inside touch /root/load/stop
    wait "${LOADS[@]}" || true
}

load_was_fine() { # NAME LEAST WHAT
    local n
    is "$3: none failed" "$(grep -v '^done' "$LOGS/$1" | head -n 5)" ""
    n=$(sed -n 's/^done //p' "$LOGS/$1")
    note "$1: $n"
    ok "and there were $2 at least" test "${n:-0}" -ge "$2"
}

# --- Replacing -----------------------------------------------------------------------------------------------

install_again() {
    local root
    root=$(host root "$STAGE_HOST")
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory -s -C "$STAGE_SOURCE" \
        "FLAVOR=$(basename "$STAGE_BUILD")" "DESTDIR=$root" install &&
        inside sh -c 'systemctl daemon-reload && systemctl restart countersignd'
}

install_next() {
    local root
    root=$(host root "$STAGE_HOST")
    install -m 0755 "$STAGE_BUILD/countersignd-next" "$root$DAEMON.new" && mv -fT "$root$DAEMON.new" "$root$DAEMON" &&
        inside systemctl restart countersignd
}

agent_pid() {
    inside systemctl show -P MainPID countersignd
}

leases_known() {
    op GET sys/leases | jq '.data.leases | map(select(.state == "active")) | length'
}

# bea's first login proves the factor from 127.0.0.1; the load's logins need none.
prove_source() {
    next_code bea
    code_answer "$TOTP" | try_login bea
}

# A login whose person sits at the prompt while the agent is replaced. (The code must be known beforehand: what is
# told in the background is not remembered here.)
slow_typist() {
    # shellcheck disable=SC2016
    inside expect -c 'set timeout 30
        spawn -noecho ssh -S none dan@127.0.0.1 echo inside-$env(HOME)
        expect assword: { send "watchword-dan\r" }
        expect code:
        exec touch /root/load/asked
        while {![file exists /root/load/replaced]} { after 50 }
        send "'"$TOTP"'\r"
        expect { inside-/home/dan { exit 0 } eof { exit 1 } timeout { exit 2 } }' >"$LOGS/typist" 2>&1
}

under_load() {
    local before i held
    ok "a service holds a lease" lease_of shop
    HELD_NAME=$NAME HELD_PASSWORD=$PASSWORD
    ok "dan is logged in" login dan
    ok "bea proves herself once" prove_source
    inside rm -f /root/load/asked /root/load/replaced
    start_load
    next_code dan
    slow_typist &
    TYPIST=$!
    eventually 20 "a person is asked for a code" inside test -e /root/load/asked
    for i in 1 2; do
        before=$(agent_pid)
        ok "all files are put again, and the agent restarted ($i)" install_again
        is "it is another one" "$([[ $(agent_pid) != "$before" ]] && echo yes)" yes
        sleep 1
    done
    inside touch /root/load/replaced
    ok "the person typed on, and is in" wait "$TYPIST"
    passed || note "$(cat "$LOGS/typist")"
    ok "the agent of the next version comes" install_next
    sleep 2
    stop_load
    load_was_fine write 50 "durable writes"
    load_was_fine read 20 "reads on connections that are kept"
    load_was_fine creds 10 "database accounts"
    load_was_fine source 8 "logins by key that need no code"
    load_was_fine codes 3 "logins with a code"
    ok "the lease is there" psql_as "$HELD_NAME" "$HELD_PASSWORD" "SELECT 1"
    held=$(sed -n 's/^done //p' "$LOGS/creds")
    is "and so is each that was given meanwhile" "$(leases_known)" "$((held + 1))"
    is "each with its account, and no account without" "$(leased_accounts | wc -l)" "$((held + 1))"
    rm -rf "$LOGS"
}

# --- Old and new ---------------------------------------------------------------------------------------------

# The agent is the next one now, whose dialogue is version 2; the module is version 1, on the disk as in the sshd of
# dan's login, which holds the file of two installations ago.
old_module() {
    local leader
    ok "the module before logs people in at the agent after" enter dan
    next_code dan
    ok "so does sudo" as_on_terminal dan "sudo -k; sudo id -un" < <(password_answer dan && code_answer "$TOTP")
    like "as root" "$OUT" 'root'
    leader=$(op GET sys/sessions | jq -r '.data.sessions[] | select(.user == "dan") | .leader' | head -n 1)
    like "the sshd of a long login has a module that is no longer on the disk" \
        "$(inside cat "/proc/$leader/maps")" 'pam_countersign.so \(deleted\)'
    ok "dan logs out" logout dan
    eventually 5 "and that module's word ends the session" inside grep \
        '"type":"session".*"event":"close".*"user":"dan".*"reason":"logged out"' /var/log/countersign/audit.log
    ok "the agent of before comes back" install_again
    ok "people log in at once" enter dan
}

enter() { # USER
    next_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | try_login "$1"
}

# --- A newer store -------------------------------------------------------------------------------------------

# PRAGMA user_version is the big-endian number at byte 60.
set_version() { # NUMBER
    inside bash -c "printf '\\x00\\x00\\x00\\x$(printf %02x "$1")' | dd of=$STORE bs=1 seek=60 conv=notrunc status=none"
}

newer_store() {
    local before version
    ok "the agent is stopped" inside systemctl stop countersign.target countersignd.service
    version=$(inside od -An -tu1 -j63 -N1 "$STORE" | tr -d " ")
    ok "a newer program has been at the store (schema $version)" set_version $((version + 1))
    before=$(inside sh -c "cat $STORE* | sha256sum")
    inside systemctl start countersign.target || true
    eventually 10 "the agent refuses to start" inside sh -c 'journalctl -q -u countersignd --since=-60s | grep "written by a newer"'
    like "saying which versions" "$OUT" "version $((version + 1)), this program knows $version"
    exits 1 "status gives up soon" inside timeout 30 countersign status
    like "and where to look" "$OUT" 'journalctl -u countersignd'
    ok "it is stopped" inside systemctl stop countersign.target countersignd.service
    is "not a byte of the store was changed" "$(inside sh -c "cat $STORE* | sha256sum")" "$before"
    ok "the newer program takes its mark back" set_version "$version"
    ok "and it starts" inside systemctl start countersign.target
    eventually 20 "unsealed" inside countersign status
    ok "the lease is still there" psql_as "$HELD_NAME" "$HELD_PASSWORD" "SELECT 1"
    ok "the audit chain is whole" inside countersign audit verify
}

set_up
under_load
old_module
newer_store
finish
