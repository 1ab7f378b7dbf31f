#!/usr/bin/env bash
# Goal: the throwaway host is a real Debian host: people log in to its sshd with an audit session and a logind
# session, sudo and PostgreSQL work, credentials are sealed to it, files outlive a reboot, and nothing of
# it is left when it is stopped.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh

NAME=${COUNTERSIGN_HOST_PREFIX:-t}-host
PASSWORD=watchword-$RANDOM$RANDOM

host() {
    ./host "$@"
}

inside() { # [-u USER] CMD...
    host exec "$NAME" "$@"
}

ssh_in() { # CMD...: as the person, by password, over the host's loopback
    inside sshpass -p "$PASSWORD" ssh -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR \
        -o PreferredAuthentications=password gate@127.0.0.1 "$@"
}

boots() {
    local machine
    ok "a host boots" host boot "$NAME" --while $$
    passed || bail "nothing can be tried without a host"
    machine=$(inside cat /etc/machine-id)
    unlike "it has an identity of its own" "$machine" "$(cat /etc/machine-id 2>/dev/null || echo none)"
    is "its name is its own" "$(inside hostname)" "$NAME"
    is "no unit failed" "$(inside systemctl --failed --no-legend --plain)" ""
    is "loopback is its only network" "$(inside ip -o link show | wc -l)" 1
    fails "it is booted once only" host boot "$NAME"
}

runs_commands() {
    is "root's home is empty and its own" "$(inside sh -c 'cd ~ && ls | wc -l')" 0
    is "a command runs as another user" "$(inside -u nobody id -un)" nobody
    is "and has no login session" "$(inside -u nobody cat /proc/self/loginuid)" 4294967295
    like "its cgroup is that of a process of the host" "$(inside cat /proc/self/cgroup)" \
        '^0::/system\.slice/[^/]+\.scope$'
    exits 42 "an exit code is passed on" inside sh -c 'exit 42'
    is "so is standard input" "$(echo spoken | inside cat)" spoken
    exits 125 "an unknown user is refused" inside -u nobody-of-that-name true
    ok "the sources are there" inside test -x /srv/countersign/tests/host/host
    fails "and can't be written" inside touch /srv/countersign/touched
}

login() {
    inside useradd --create-home --shell /bin/bash --groups sudo gate
    printf 'gate:%s\n' "$PASSWORD" | inside chpasswd
    ok "sshd lets a person in by password" ssh_in true
    like "with an audit session" "$(ssh_in cat /proc/self/sessionid)" '^[0-9]{1,9}$'
    is "a login uid" "$(ssh_in cat /proc/self/loginuid)" "$(inside id -u gate)"
    # shellcheck disable=SC2016
    is "and a logind session" "$(ssh_in 'loginctl show-session "$XDG_SESSION_ID" -p Name --value')" gate
    like "whose scope it runs in" "$(ssh_in cat /proc/self/cgroup)" \
        '^0::/user\.slice/user-[0-9]+\.slice/session-[^/]+\.scope$'
    is "sudo asks for the password and works" "$(echo "$PASSWORD" | ssh_in "sudo -S -p '' id -u")" 0
    PASSWORD=wrong fails "a wrong password is refused" ssh_in true
}

serves() {
    ok "PostgreSQL answers" inside -u postgres psql -qAtc 'CREATE ROLE kept LOGIN'
    echo secret | inside systemd-creds encrypt --name=x - /root/x 2>/dev/null
    is "systemd-creds seals and unseals" "$(inside systemd-creds decrypt --name=x /root/x -)" secret
    unlike "to this host alone" "$(inside sha256sum /var/lib/systemd/credential.secret)" \
        "^$(sha256sum /var/lib/systemd/credential.secret 2>/dev/null | cut -c1-64)[^0-9a-f]"
    ok "the journal is kept" inside journalctl --quiet --boot --unit ssh.service --grep 'Accepted password'
}

keeps() { # HOW-IT-WAS-RESTARTED
    is "$1: files stay" "$(inside cat /root/kept)" kept
    is "$1: the database stays" \
        "$(inside -u postgres psql -qAtc "SELECT rolname FROM pg_roles WHERE rolname='kept'")" kept
    ok "$1: people log in again" ssh_in true
}

restarts() {
    local boot
    echo kept | inside tee /root/kept >/dev/null
    boot=$(inside cat /proc/sys/kernel/random/boot_id)
    ok "it reboots" host reboot "$NAME"
    unlike "into another boot" "$(inside cat /proc/sys/kernel/random/boot_id)" "$boot"
    keeps "after a reboot"
    ok "its power can be cut" host poweroff-hard "$NAME"
    fails "then nothing runs in it" inside true
    ok "and it boots again" host boot "$NAME"
    keeps "after a power cut"
}

# What this machine has of hosts: mounts, cgroups, processes, files.
traces() { # NAME
    grep -F "/run/countersign-hosts/$1/" /proc/self/mountinfo || true
    find /sys/fs/cgroup -type d -name "countersign-host-$1" 2>/dev/null || true
    pgrep -af -- "--machine=$1( |$)" || true
    find /run/countersign-hosts -maxdepth 1 -name "$1" 2>/dev/null || true
}

no_traces() {
    [[ -z $(traces "$1") ]]
}

goes() {
    local other=${NAME%-host}-watched
    ok "another boots beside it" bash -c './host boot "$1" --while $$ && ./host exec "$1" true' bash "$other"
    eventually 20 "and goes when whoever booted it ends" no_traces "$other"
    ok "the first one still runs" inside true
    ok "it is stopped" host stop "$NAME"
    is "and leaves nothing behind" "$(traces "$NAME")" ""
    ok "stopping it twice does no harm" host stop "$NAME"
}

trap 'host stop "$NAME"' EXIT
boots
runs_commands
login
serves
restarts
goes
finish
