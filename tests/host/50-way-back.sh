#!/usr/bin/env bash
# Goal: the way in is safe to open: what `countersign pam enable` changed is put back byte for byte when nobody
# confirms, by the deadline and by a reboot alike; a confirmed change stays; disable undoes it.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
FILES=(/etc/pam.d/sshd /etc/pam.d/sudo)

sums() {
    inside sha256sum "${FILES[@]}"
}

as_before() {
    [[ $(sums) == "$BEFORE" ]]
}

set_up() {
    ok "a host boots" stage_boot way-back
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "the store is made" inside countersign operator init --operator group:sre
    stage_sshd </dev/null >/dev/null
    BEFORE=$(sums)
}

deadline() {
    ok "enabled for five seconds" inside countersign pam enable sshd sudo --rollback 5s
    unlike "nothing is said of a timer that was not there" "$OUT" 'Failed to stop'
    fails "the files are changed" as_before
    exits 2 "a change waits" inside countersign pam status
    eventually 15 "nobody confirms: the files are as they were, byte for byte" as_before
    exits 0 "nothing waits any more" inside countersign pam status
}

reboot() {
    ok "enabled for ten minutes" inside countersign pam enable sshd sudo --rollback 10m
    fails "the files are changed" as_before
    ok "the host reboots" host reboot "$STAGE_HOST"
    eventually 20 "after a reboot without a confirmation they are as they were" as_before
}

confirmed() {
    ok "enabled again" inside countersign pam enable sshd sudo --rollback 5s
    ok "and confirmed" inside countersign pam confirm
    sleep 7
    fails "it stays past the deadline" as_before
    ok "the host reboots" host reboot "$STAGE_HOST"
    eventually 20 "the agent is unsealed" inside countersign status
    fails "it stays past a reboot" as_before
    ok "disable undoes it" inside countersign pam disable sshd sudo
    ok "byte for byte" as_before
}

set_up
deadline
reboot
confirmed
finish
