#!/usr/bin/env bash
# Goal: programs that log in by themselves go on working: what people type once is enough for Ansible, rsync, git and
# scp; robots with a key alone come in from where they may; and each line of the README's table of what sudo, tmux,
# cron, su, the console and screen lockers are asked is true. A session ends when logind says so.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15
ALONE=(-S none -o ControlMaster=no) # each connection a login of its own

# A robot has a key and neither password nor factor. bea has a second key.
more_people() {
    inside bash -c 'set -e
        useradd --create-home --shell /bin/bash robot
        ssh-keygen -q -t ed25519 -N "" -C robot -f /root/.ssh/robot
        ssh-keygen -q -t ed25519 -N "" -C bea2 -f /root/.ssh/bea2
        install -d -m 0700 -o robot -g robot /home/robot/.ssh
        install -m 0600 -o robot -g robot /root/.ssh/robot.pub /home/robot/.ssh/authorized_keys
        cat /root/.ssh/bea2.pub >>/home/bea/.ssh/authorized_keys
        for user in bea robot; do
            su $user -c "git init -q --bare ~/words.git && echo lantern >~/word"
        done' &&
        printf '%s\n' 'Match User robot' '    AuthenticationMethods publickey' | stage_sshd
}

set_up() {
    ok "a host boots" stage_boot machines
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "a robot" more_people
    ok "the store is made" rules_init
    ok "bindings" ops <<'END'
PUT sys/bindings/shells {"principals":["group:dba"],"services":["sshd"],"mfa":{"max_age":"5m","scope":"source"}}
PUT sys/bindings/robots {"principals":["user:robot"],"services":["sshd"],"from":["127.0.0.2/32"]}
PUT sys/bindings/others {"principals":["user:dan"],"services":["sshd"],"mfa":true}
PUT sys/bindings/sudo {"principals":["group:sudo"],"services":["sudo"],"mfa":{"max_age":"5m"}}
POST sys/mounts/secret {"type":"kv","options":{"version":"2"}}
POST secret/data/word {"data":{"word":"halberd"}}
POST secret/data/jobs {"data":{"word":"lantern"}}
POST sys/policies/acl/word {"policy":"path \"secret/data/word\" { capabilities = [\"read\"] }"}
POST sys/policies/acl/jobs {"policy":"path \"secret/data/jobs\" { capabilities = [\"read\"] }"}
PUT sys/bindings/words {"principals":["user:dan","user:bea"],"policies":["word"],"mfa":true}
PUT sys/bindings/jobs {"principals":["user:dan"],"policies":["jobs"]}
END
    # Debian's sshd_config has PermitRootLogin prohibit-password.
    ok "the module is switched on" rules_pam bea dan
    like "root is told that a code is nothing for them" "$OUT" 'root can.t answer a code'
    ok "at su and login as well" inside countersign pam enable su login
    inside sed -i 's/pam_unix\.so/& nodelay/' /etc/pam.d/common-auth
    inside sed -i 's/delay=3000000/delay=0/' /etc/pam.d/login
}

# --- scope = source ------------------------------------------------------------------------------------------

# Nothing is typed: who asks gets no answer, and the exit code is 99.
unasked() { # CMD...
    dialogue -t 20 "$@" </dev/null
}

copy() { # USER [SSH-OPTIONS...]
    local user=$1
    shift
    unasked scp -q "${ALONE[@]:2}" -o ControlPath=none "$@" "$user@127.0.0.1:word" /root/word.copy
}

# Ansible turns keyboard-interactive off unless it is told otherwise; nothing has to be typed in it here.
ANSIBLE_PERSON='-o ControlMaster=no -o KbdInteractiveAuthentication=yes
    -o PreferredAuthentications=publickey,keyboard-interactive'

ansible_by() { # USER SSH-ARGS MODULE [-a ARGUMENTS]
    inside env HOME=/root ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3 \
        "ANSIBLE_SSH_ARGS=${2//$'\n'/ }" ansible all -i 127.0.0.1, -u "$1" -T 10 -m "${@:3}"
}

one_code() {
    local i
    next_code bea
    ok "scp: the first asks for a code" dialogue scp -q -o ControlPath=none bea@127.0.0.1:word /root/word.copy \
        < <(code_answer "$TOTP")
    for i in 2 3 4 5; do ok "scp: number $i asks for nothing" copy bea; done
    ok "rsync: nothing" unasked rsync -e "ssh -S none" bea@127.0.0.1:word /root/word.rsync
    ok "git clone: nothing" unasked env "GIT_SSH_COMMAND=ssh -S none" git clone -q bea@127.0.0.1:words.git /root/words
    ok "Ansible: nothing, with keyboard-interactive in its ssh_args" ansible_by bea "$ANSIBLE_PERSON" ping
    like "it says pong" "$OUT" '"ping": "pong"'
    exits 99 "another key is asked" copy bea -i /root/.ssh/bea2 -o IdentityFile=none
    exits 99 "another address is asked" copy bea -o BindAddress=127.0.0.3
    ok "another user's proof is theirs" op PUT sys/bindings/shells \
        '{"principals":["*"],"services":["sshd"],"mfa":{"max_age":"5m","scope":"source"}}'
    exits 99 "so cal, with the same address, is asked" unasked ssh "${ALONE[@]}" -o PubkeyAuthentication=no cal@127.0.0.1 true
    ok "when the proof is too old" op PUT sys/bindings/shells \
        '{"principals":["group:dba"],"services":["sshd"],"mfa":{"max_age":"1s","scope":"source"}}'
    exits 99 "the next scp asks again" copy bea
    op PUT sys/bindings/shells '{"principals":["group:dba"],"services":["sshd"],"mfa":{"max_age":"5m","scope":"source"}}'
}

# --- Robots --------------------------------------------------------------------------------------------------

robots() {
    local from="-o BindAddress=127.0.0.2"
    ok "a robot's key alone: ssh" inside ssh "${ALONE[@]}" -b 127.0.0.2 -o BatchMode=yes robot@127.0.0.1 true
    ok "scp" inside scp -q -o ControlPath=none -o BatchMode=yes -o BindAddress=127.0.0.2 robot@127.0.0.1:word /root/r1
    ok "rsync" inside rsync -e "ssh -S none -o BatchMode=yes $from" robot@127.0.0.1:word /root/r2
    ok "git" inside env "GIT_SSH_COMMAND=ssh -S none -o BatchMode=yes $from" \
        git clone -q robot@127.0.0.1:words.git /root/r3
    ok "Ansible, as it comes" ansible_by robot "-o ControlMaster=no $from" raw -a "id -un"
    like "it is the robot" "$OUT" '^robot'
    exits 255 "from elsewhere the key is worth nothing: ssh" \
        inside ssh "${ALONE[@]}" -o BatchMode=yes robot@127.0.0.1 true
    fails "nor for Ansible" ansible_by robot "-o ControlMaster=no" raw -a true
    like "which says it is unreachable" "$OUT" 'UNREACHABLE'
    like "the journal says why" "$(inside journalctl -q -u countersignd --since=-60s)" 'sshd for robot.*denied.*from'
}

# --- What is asked where -------------------------------------------------------------------------------------

max_age() { # SECONDS
    op PUT sys/bindings/sudo "{\"principals\":[\"group:sudo\"],\"services\":[\"sudo\"],\"mfa\":{\"max_age\":\"$1s\"}}"
}

sudo_lines() {
    ok "dan logs in: password and code" login dan
    ok "ControlMaster: a second channel asks for nothing" as dan true
    ok "sudo -S with a fresh proof: the password is enough" as dan "echo watchword-dan | sudo -S -p '' id -un"
    ok "sudo -n with a ticket: nothing" \
        as dan "echo watchword-dan | sudo -S -p '' -v; sudo -n id -un; exit \$?"
    max_age 1
    sleep 1.2
    exits 1 "sudo -n with a proof too old: refused" as dan "sudo -n id -un"
    exits 1 "sudo -S: the password alone is no longer enough" as dan "echo watchword-dan | sudo -S -p '' id -un"
    next_code dan
    ok "the code is its second line" as dan "printf 'watchword-dan\n$TOTP\n' | sudo -S -p '' id -un"
    like "then it is root" "$OUT" 'root'
    max_age 300
}

su_lines() {
    ok "su by root: nothing" inside su bea -c true
    next_code bea
    ok "su by somebody else: the other's password and code" as_on_terminal dan "su bea -c 'id -un'" \
        < <(printf 'assword\twatchword-bea\n' && code_answer "$TOTP")
    like "and is the other" "$OUT" '^bea'
    exits 1 "without that code it is refused" as_on_terminal dan "su bea -c 'id -un'" \
        < <(printf 'assword\twatchword-bea\ncode\t000000\n')
}

# Plays the person at the console. login asks for the name itself.
# shellcheck disable=SC2016
CONSOLE='set timeout 20
    spawn -noecho login
    expect "login:" { send "dan\r" }
    expect "assword:" { send "watchword-dan\r" }
    expect "code:" { send "$env(CODE)\r" } timeout { exit 3 }
    expect -re {\$ $} { send "countersign session list; exit\r" } timeout { exit 4 }
    expect eof'

# vlock waits for Enter before it asks, and drops what was typed before it asked.
# shellcheck disable=SC2016
VLOCK='set timeout 10
    spawn -noecho ssh -tt -o BatchMode=yes bea@127.0.0.1 vlock -c
    expect -nocase "enter" { after 300; send "\r" } timeout { exit 3 }
    expect -nocase "assword:" { after 300; send "watchword-bea\r" } timeout { exit 4 }
    expect -nocase "code:" { after 300; send "$env(CODE)\r" } timeout { exit 5 }
    expect eof {} timeout { exit 6 }
    exit [lindex [wait] 3]'

at_the_console() {
    next_code dan
    ok "console login: password and code" inside env "CODE=$TOTP" expect -c "$CONSOLE"
    like "it is a local session" "$OUT" 'dan +login +local'
}

lockers() {
    inside sh -c 'for service in vlock swaylock; do printf "@include common-auth\n@include common-account\n@include common-session\n" \
        >/etc/pam.d/$service; done'
    ok "screen lockers are switched on like any service" inside countersign pam enable vlock swaylock
    ok "bea, who has proved herself from here, logs in without a code" login_with bea </dev/null
    next_code bea
    ok "vlock, which is set-uid root: password and code" inside env "CODE=$TOTP" expect -c "$VLOCK"
    next_code dan
    ok "a locker without privileges: the same, through pam-user.sock" locker "$TOTP"
    exits 1 "with a wrong code it stays locked" locker 000000
    ok "a binding for screen-lock makes it forget less" op PUT sys/bindings/lock \
        '{"principals":["*"],"services":["screen-lock"],"mfa":{"max_age":"8h"}}'
    ok "then within hours the password is enough" as_on_terminal dan "pamtester swaylock dan authenticate" \
        < <(password_answer dan)
    ok "nobody unlocks for somebody else" op DELETE sys/bindings/lock
    next_recovery_code dan # of the app's codes none may be left out
    exits 1 "whoever knows their password and code" as_on_terminal bea "pamtester swaylock dan authenticate" \
        < <(password_answer dan && code_answer "$TOTP")
}

# pamtester stands for swaylock and its kind: the caller's own uid, no privileges.
locker() { # CODE
    as_on_terminal dan "pamtester swaylock dan authenticate" < <(password_answer dan && code_answer "$1")
}

# --- What goes on by itself ----------------------------------------------------------------------------------

# @reboot jobs begin with the daemon: no minute is waited for.
cron_begins() {
    inside -u dan sh -c '{ echo "@reboot countersign kv get -field=word secret/jobs >jobs.out 2>&1"
        echo "@reboot countersign kv get -field=word secret/word >word.out 2>&1"; } | crontab -'
    inside sh -c 'rm -f /var/run/crond.reboot /run/crond.reboot; systemctl start cron'
}

# What the command line says to who lacks a proof.
refused() { # FILE
    inside grep -E 'permission denied|mfa|proved|factor' "$1" || { inside cat "$1"; return 1; }
}

cron_ends() {
    eventually 10 "cron runs its jobs without asking: they read what their uid may" inside grep -q lantern /home/dan/jobs.out
    eventually 10 "and not what takes a proof" refused /home/dan/word.out
}

tmux_lines() {
    ok "in tmux the login's proof counts" as dan "tmux new-session -d -s work 'while sleep 0.2; do
        countersign kv get -field=word secret/word >now.tmp 2>&1; mv now.tmp now; done'"
    eventually 5 "like outside of it" inside grep -q halberd /home/dan/now
    ok "dan logs out" logout dan
    eventually 5 "tmux lives on, and gets nothing more" refused /home/dan/now
    ok "it does live on" inside -u dan tmux has-session -t work
    ok "dan logs in again" login dan
    ok "and comes back to it" as dan "tmux has-session -t work"
    sleep 0.5
    ok "its old shells have nothing of the new login" refused /home/dan/now
    inside -u dan tmux kill-server
}

# --- logind's closing ----------------------------------------------------------------------------------------

session_of() { # USER SERVICE
    op GET sys/sessions | jq -re --arg user "$1" --arg service "$2" \
        '.data.sessions[] | select(.user == $user and .service == $service) | .id'
}

# A kiosk: a service with a PAM session of its own, whose process doesn't end when it is told to.
closing() {
    local id pid
    ok "a policy for the kiosk" op PUT sys/bindings/kiosk '{"principals":["user:dan"],"services":["login"]}'
    ok "a database" stage_database
    ok "the engine" rules_database
    ok "dan may have accounts" op PUT sys/bindings/dan-db '{"principals":["user:dan"],"policies":["db-read"]}'
    inside systemd-run --quiet --unit=kiosk -p PAMName=login -p User=dan \
        bash -c 'trap "" TERM HUP; countersign read -format=json database/creds/shop-ro >/home/dan/lease.json
            while :; do sleep 0.2; done'
    eventually 10 "the kiosk's session is recorded" session_of dan login
    id=$OUT
    eventually 10 "and holds an account" inside jq -re .data.username /home/dan/lease.json
    NAME=$OUT
    pid=$(inside systemctl show -P MainPID kiosk)
    ok "the account is there" account_exists "$NAME"
    is "logind knows the session" "$(inside loginctl show-session "$id" -P State)" active
    inside loginctl terminate-session "$id"
    eventually 5 "the account is gone" account_gone "$NAME"
    is "while logind is closing" "$(inside loginctl show-session "$id" -P State)" closing
    ok "and the session's leader lives" inside kill -0 "$pid"
    fails "the agent has no such session any more" session_of dan login
    like "and says why" "$(inside grep '"event":"close"' /var/log/countersign/audit.log | tail -n 1)" 'logind is closing'
    inside systemctl kill --signal=KILL kiosk || true
}

set_up
cron_begins
one_code
robots
sudo_lines
su_lines
at_the_console
lockers
cron_ends
tmux_lines
closing
finish
