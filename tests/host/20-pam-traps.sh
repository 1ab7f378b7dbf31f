#!/usr/bin/env bash
# Goal: what breaks PAM modules in the field does not break this one, on a real sshd, sudo, su and cron stack:
# other ways to authenticate, processes that don't share state, tickets that skip hooks, outages, crashes,
# two logins at once, people who don't exist or are not enrolled.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15 # nobody waits for the next code here

# gus has a key that suffices for sshd, fay must give a password twice over, may has NOPASSWD.
more_people() {
    inside bash -c 'set -e
        for user in gus fay may; do
            useradd --create-home --shell /bin/bash --groups sudo $user
            printf "%s:watchword-%s\n" $user $user | chpasswd
        done
        echo "may ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/may
        install -d -m 0700 -o gus -g gus /home/gus/.ssh
        install -m 0600 -o gus -g gus /root/.ssh/bea.pub /home/gus/.ssh/authorized_keys
        cp /root/.ssh/bea /root/.ssh/gus' &&
        printf '%s\n' 'Match User gus' '    AuthenticationMethods publickey' 'Match User fay' \
            '    PasswordAuthentication yes' '    AuthenticationMethods password,keyboard-interactive' | stage_sshd
}

bind_services() {
    ops <<'END'
PUT sys/bindings/login {"principals":["*"],"services":["sshd"],"mfa":true}
PUT sys/bindings/sudo {"principals":["*"],"services":["sudo"],"mfa":{"max_age":"3s"}}
PUT sys/bindings/vault {"principals":["group:dba","group:sre"],"policies":["kv"],"mfa":true}
POST sys/mounts/secret {"type":"kv","options":{"version":"2"}}
POST secret/data/word {"data":{"word":"halberd"}}
POST sys/policies/acl/kv {"policy":"path \"secret/*\" { capabilities = [\"read\"] }"}
END
}

set_up() {
    ok "a host boots" stage_boot traps
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "more people" more_people
    ok "the store is made" rules_init
    ok "bindings" bind_services
    ok "the module is switched on" rules_pam ada bea dan eve gus fay may
    # A hanging agent is given up sooner here; and only the agent's own delays are wanted, not pam_unix's.
    inside sed -i 's/pam_countersign\.so/& timeout=4/' /etc/pam.d/sshd /etc/pam.d/sudo
    inside sed -i 's/pam_unix\.so/& nodelay/' /etc/pam.d/common-auth
}

# --- sshd's ways to authenticate -----------------------------------------------------------------------

# With a new code. (Not in a process substitution: which codes are used up must be remembered here.)
enter() { # USER [SSH-ARGS...]
    next_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | try_login "$@"
}

sudo_as() { # USER COMMAND: on a terminal; password and a new code
    next_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | as_on_terminal "$@"
}

ways_in() {
    ok "keyboard-interactive: password and code" enter ada
    ok "publickey,keyboard-interactive: key and code" enter bea
    unlike "no password is asked for beside the key" "$OUT" 'assword'
    exits 255 "publickey alone is refused, since a binding asks for a factor" try_login gus </dev/null
    unlike "and asks for nothing" "$OUT" 'ode'
    exits 255 "password,keyboard-interactive: a password is no code, and nobody gets past" try_login fay \
        < <(password_answer fay && password_answer fay && code_answer 123456)
    next_code ada
    exits 255 "a right code does not mend a wrong password" try_login ada \
        < <(printf 'assword\twrong\n' && code_answer "$TOTP")
    exits 255 "an empty code is refused" try_login dan < <(password_answer dan && printf 'code\t\n')
    exits 255 "so is an overlong one" try_login dan < <(password_answer dan && printf 'code\t%0600d\n' 1)
    ok "and then a right one is not" enter dan
}

commands() {
    next_code dan
    ok "ssh -T with a command is a session with its proof" dialogue ssh -S none -T dan@127.0.0.1 \
        "countersign session list" < <(password_answer dan && code_answer "$TOTP")
    like "which the agent knows" "$OUT" 'totp .*ago'
    echo lantern | inside tee /root/parcel >/dev/null
    next_code dan
    ok "scp asks as well, and copies" dialogue scp -q -o ControlPath=none /root/parcel dan@127.0.0.1:parcel \
        < <(password_answer dan && code_answer "$TOTP")
    is "the parcel is there" "$(inside cat /home/dan/parcel)" lantern
    ok "a connection can be shared: one code" login ada
    ok "its first command" as ada "countersign session list -format=json >one"
    ok "its second" as ada "countersign session list -format=json >two"
    is "both in one session" "$(as ada 'jq -r "(.data // .).sessions[].id" one two | sort -u | wc -l')" 1
    unlike "no handle in its environment" "$(as ada env)" 'COUNTERSIGN'
    ok "it reads a secret that asks for a factor" as ada "countersign kv get -field=word secret/word"
}

# --- Prompts -------------------------------------------------------------------------------------------

prompts_of() { # TEXT: what was asked, without whom and what was answered
    sed -nE 's/^\([^)]*\) ?([^:]*):.*/\1/p' <<<"$1" | tr '\n' ','
}

strangers() {
    local known unknown begin
    begin=$(date +%s%3N)
    exits 255 "a wrong password" try_login may < <(printf 'assword\twrong\ncode\t111111\n')
    known=$(prompts_of "$OUT") && KNOWN_MS=$(ms_since "$begin")
    begin=$(date +%s%3N)
    exits 255 "somebody who does not exist" try_login nobody-here < <(printf 'assword\twrong\ncode\t111111\n')
    unknown=$(prompts_of "$OUT") && UNKNOWN_MS=$(ms_since "$begin")
    is "is asked the same" "$unknown" "$known"
    ok "and waits as long (${KNOWN_MS} and ${UNKNOWN_MS} ms)" \
        test $((KNOWN_MS - UNKNOWN_MS)) -lt 1500 -a $((UNKNOWN_MS - KNOWN_MS)) -lt 1500
    exits 255 "somebody who is not enrolled is refused" try_login cal \
        < <(password_answer cal && printf 'code\t111111\n')
    is "and is asked the same" "$(prompts_of "$OUT")" "$known"
    fails "Ctrl-C at the code leaves one outside" try_login eve < <(password_answer eve && printf 'code\t^C\t^C\n')
}

unenrolled() {
    ok "a time of grace is declared" op PUT sys/enrolment \
        "{\"mode\":\"grace\",\"until\":\"$(date -u -d '+2 days' +%Y-%m-%d)\"}"
    ok "then who is not enrolled gets in by password" try_login cal < <(password_answer cal)
    ok "until it is over" op PUT sys/enrolment '{"mode":"required","exempt_groups":["dba"]}'
    ok "an exempt group needs no factor for services" login_with cal < <(password_answer cal)
    exits 2 "but for secrets it does" as cal "countersign kv get secret/word"
    logout cal >/dev/null 2>&1 || true
    ok "and is required again" op PUT sys/enrolment '{"mode":"required","exempt_groups":[]}'
    exits 255 "so that cal stays outside" try_login cal < <(password_answer cal && printf 'code\t111111\n')
}

# --- sudo ----------------------------------------------------------------------------------------------

# ada is logged in (commands). Each check but the last leaves her with a proof that has lapsed.
sudo_traps() {
    local first
    sleep 4
    ok "sudo asks for password and code" sudo_as ada "sudo id -un"
    exits 1 "the code it took is worth nothing a second time" as_on_terminal ada "sleep 4; sudo -k; sudo id -un" \
        < <(password_answer ada && code_answer "$TOTP" && printf 'assword\t^C\t^C\n')
    exits 1 "with a valid ticket sudo -n works, until the proof lapses" sudo_as ada \
        "sudo -v && sudo -n id -un && sleep 4 && sudo -n id -u"
    like "it did work" "$OUT" '^root'
    next_code ada
    first=$TOTP
    next_code ada
    ok "without -n the code alone is asked for" as_on_terminal ada "sudo -v; sleep 4; sudo id -un" \
        < <(password_answer ada && code_answer "$first" && code_answer "$TOTP")
    exits 1 "Ctrl-C at the code gives no root" as_on_terminal ada "sleep 4; sudo id -un" \
        < <(password_answer ada && printf 'code\t^C\t^C\n')
    unlike "none at all" "$OUT" '^root'
    exits 1 "a code is no password" as_on_terminal ada "sudo id -un" \
        < <(printf 'assword\t123456\ncode\t123456\nassword\t^C\t^C\n')
    nopasswd
}

nopasswd() {
    ok "may, who needs no password for sudo, logs in" login may
    sleep 4
    exits 1 "sudo -n is refused all the same" as may "sudo -n id -un"
    next_code may
    ok "and with a terminal the code is asked for" as_on_terminal may "sudo id -un" < <(code_answer "$TOTP")
    unlike "sudo's command has no handle" "$(as may 'sudo -n env')" 'COUNTERSIGN'
    logout may >/dev/null 2>&1 || true
}

# --- Who one is inside a session -----------------------------------------------------------------------

switching() {
    ok "root by sudo in ada's session is still ada" sudo_as ada "sudo -k; sudo countersign kv get -field=word secret/word"
    like "and reads what she may" "$OUT" 'halberd'
    exits 2 "bea, by su in ada's session, has not proved anything" as_on_terminal ada \
        "su bea -c 'countersign read secret/data/word'" < <(printf 'assword\twatchword-bea\n')
    like "and is told so" "$OUT" 'factor'
    exits 2 "nor has ada in a user service of hers" as ada \
        "systemd-run --user --quiet --wait --pipe --collect countersign kv get secret/word"
    ok "su itself was not touched" inside su ada -c true
}

other_services() {
    inside bash -c 'for service in cron systemd-user; do
        [[ -e /etc/pam.d/$service ]] || cp "/usr/lib/pam.d/$service" /etc/pam.d/ 2>/dev/null ||
            echo "@include common-account" >"/etc/pam.d/$service"
        echo "account required pam_countersign.so" >>"/etc/pam.d/$service"; done'
    ok "cron's account hook is none of our business" inside pamtester cron dan acct_mgmt
    ok "nor is systemd-user's" inside pamtester systemd-user dan acct_mgmt
    ok "so that logins, which start a user manager, go on" enter dan
}

# --- Two at once, and again ------------------------------------------------------------------------------

one_of_two() {
    local first second one=0 two=0
    next_code dan
    first=$(mktemp) second=$(mktemp)
    { password_answer dan && code_answer "$TOTP"; } | try_login dan >"$first" 2>&1 &
    one=$!
    { password_answer dan && code_answer "$TOTP"; } | try_login dan >"$second" 2>&1 &
    two=$!
    wait "$one" && one=in || one=out
    wait "$two" && two=in || two=out
    note "$(cat "$first" "$second")"
    rm -f "$first" "$second"
    is "two logins with the same code at once: one gets in" "$(printf '%s\n' "$one" "$two" | sort | tr '\n' ' ')" "in out "
}

used_up() {
    ok "a code" enter dan
    exits 255 "twice" try_login dan < <(password_answer dan && code_answer "$TOTP")
    next_recovery_code ada
    ok "a recovery code" try_login ada < <(password_answer ada && code_answer "${TOTP^^}")
    exits 1 "is used up at sudo, too" as_on_terminal ada "sleep 4; sudo -k; sudo id -un" \
        < <(password_answer ada && code_answer "$TOTP" && printf 'assword\t^C\t^C\n')
    ok "the agent is killed" inside systemctl kill --signal=KILL countersignd
    eventually 20 "and is back" inside countersign status
    exits 255 "the recovery code is still used up" try_login ada < <(password_answer ada && code_answer "$TOTP")
}

# --- Guessing --------------------------------------------------------------------------------------------

# eve, whose usual source is 127.0.0.1, is guessed at from 127.0.0.3 while other things are tried.
guesses_begin() {
    ok "eve logs in where she always does" enter eve
    for code in 111111 222222 333333 444444 555555; do
        { password_answer eve && code_answer "$code"; } | try_login eve -b 127.0.0.3 || true
    done >/dev/null 2>&1 &
    GUESSER=$!
}

guesses_end() {
    wait "$GUESSER" || true
    next_code eve
    exits 255 "after five guesses the right code is refused at their source" try_login eve -b 127.0.0.3 \
        < <(password_answer eve && code_answer "$TOTP")
    ok "the agent restarts" inside systemctl restart countersignd
    eventually 20 "and is unsealed" inside countersign status
    exits 255 "the lock outlives that" try_login eve -b 127.0.0.3 < <(password_answer eve && code_answer "$TOTP")
    ok "her usual source is not locked" try_login eve < <(password_answer eve && code_answer "$TOTP")
    ok "nor is anybody else at theirs" enter dan -b 127.0.0.3
}

# --- Outages ---------------------------------------------------------------------------------------------

refused_within() { # SECONDS TEXT
    local begin
    begin=$(date +%s%3N)
    exits 255 "$2" try_login dan < <(password_answer dan && code_answer 123456)
    ok "within $1 s" test "$(ms_since "$begin")" -lt $(($1 * 1000))
}

outages() {
    ok "the agent hangs" inside systemctl kill --signal=STOP countersignd
    refused_within 9 "a hanging agent: refused"
    exits 1 "at sudo, too" as may "sudo -n true"
    ok "it goes on" inside systemctl kill --signal=CONT countersignd
    ok "the agent and its sockets are stopped" inside systemctl stop countersign.target countersignd.service
    refused_within 6 "no agent: refused, not let through"
    like "the journal says why" "$(inside journalctl -q -t sshd --since=-20s)" 'pam_countersign.*no agent'
    exits 255 "a key alone is refused as well" try_login gus </dev/null
    exits 1 "so is sudo" as may "sudo -n true"
    ok "root's own su goes on working" inside su -s /bin/sh dan -c true
    ok "and so does a login of root at the console" inside pamtester login root acct_mgmt
    ok "they are started again" inside systemctl start countersign.target
    eventually 20 "and unsealed" inside countersign status
    ok "the agent is sealed" inside countersign operator seal
    refused_within 6 "a sealed agent: refused"
    ok "it is unsealed" inside systemctl start countersign-unseal
    ok "all is well again" enter dan
}

set_up
guesses_begin
ways_in
strangers
commands
sudo_traps
switching
other_services
guesses_end
one_of_two
used_up
unenrolled
ok "may logs in before the outages" login may
outages
finish
