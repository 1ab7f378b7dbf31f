#!/usr/bin/env bash
# Goal: a full disk keeps nobody out and loses nothing: ssh with a code and sudo go on, everything else is
# refused clearly or waits, and all goes on by itself once there is room; a read-only disk refuses clearly.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15
SERVICES="countersignd.service countersign-connector.service countersign-unseal.service"
SOCKETS="countersign-agent.socket countersign-pam.socket countersign-pam-user.socket countersign-connector.socket"

# /var as a small file system, and the audit log on another one.
# systemd keeps no key on a file system in memory, so /var/lib/systemd stays where it was.
# shellcheck disable=SC2016
SMALL_VAR='
set -e
systemctl stop $1 $2
mkdir -p /etc/systemd/journald.conf.d
printf "[Journal]\nStorage=volatile\n" >/etc/systemd/journald.conf.d/volatile.conf
systemctl restart systemd-journald
mkdir /small
mount -t tmpfs -o size=48m,mode=0755 small-var /small
cd /var
mkdir -p /small/log/countersign /small/lib/systemd /small/spool /small/mail
mkdir -m 1777 /small/tmp
touch /small/log/wtmp /small/log/btmp /small/log/lastlog
for d in lib/countersign lib/dbus lib/pam lib/sudo run lock; do
    if [ -e $d ] || [ -L $d ]; then cp -a --parents $d /small/; fi
done
cd /
mkdir /kept
mount --bind /var/lib/systemd /kept
mount --bind /small /var
mount --bind /kept /var/lib/systemd
mount -t tmpfs -o size=24m,mode=0750 small-log /var/log/countersign
chown countersign: /var/log/countersign
systemctl start countersign.target'

set_up() {
    ok "a host boots" stage_boot disk
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "its /var is small" inside sh -c "$SMALL_VAR" sh "$SERVICES" "$SOCKETS"
    passed || bail "no disk can be filled"
    ok "the store is made" rules_init
    passed || bail "nothing can be tried without a store"
    stage_sshd </dev/null >/dev/null
    ok "the module is switched on" rules_pam ada
    ok "a place for secrets" op POST sys/mounts/secret '{"type":"kv","options":{"version":"2"}}'
    ok "a secret" put_secret before
    ok "room is kept back" reserves_whole
}

# --- What is asked again and again -----------------------------------------------------------------------

put_secret() { # VALUE
    op POST secret/data/thing "{\"data\":{\"v\":\"$1\"}}"
}

# More lines than the last block of the file may have room for.
put_secrets() {
    ops < <(for _ in $(seq 20); do echo 'POST secret/data/thing {"data":{"v":"logfull"}}'; done)
}

secret_is() { # VALUE
    [[ $(op GET secret/data/thing | jq -r .data.data.v) == "$1" ]]
}

status_json() {
    inside countersign status -format=json | jq -c '.data // .'
}

reserves_whole() {
    status_json | jq -e '.disk.store.reserve == .disk.store.reserve_whole and .disk.store.reserve > 0 and
        .disk.audit.reserve == .disk.audit.reserve_whole and .disk.audit.reserve > 0 and (.disk.store.full | not)'
}

fill() { # DIR: to the last byte
    # shellcheck disable=SC2016
    inside sh -c '[ "$(df -k --output=avail "$1" | tail -n 1)" -lt 65536 ] || exit 1
        cat /dev/zero >"$1/fill" 2>/dev/null; cat /dev/zero >"$1/fill2" 2>/dev/null; df -k --output=avail "$1"' sh "$1"
}

nothing_free() { # DIR
    [[ $(inside df -k --output=avail "$1" | tail -n 1) -lt 8 ]]
}

# ssh with password and code, then sudo with both: a whole way in for whoever has to make room.
way_in() {
    next_code ada
    { password_answer ada && code_answer "$TOTP"; } | login_with ada &&
        next_code ada &&
        { password_answer ada && code_answer "$TOTP"; } | as_on_terminal ada "sudo id -un" &&
        logout ada
}

chain_whole() {
    inside countersign audit verify
}

# --- The audit log's disk --------------------------------------------------------------------------------

log_full() {
    ok "the audit log's disk is filled" fill /var/log/countersign
    ok "to the brim" nothing_free /var/log/countersign
    ok "changes go on: their lines wait in the store" put_secrets
    eventually 5 "status says since when, and what to do" status_says 'audit log.s disk has been full for .*: free [0-9]+ MiB'
    ok "it is an alert" inside journalctl -q -n 1 COUNTERSIGN_ALERT="audit log not written"
    like "told in the journal" "$OUT" 'wait in the store'
    ok "people get in" way_in
    ok "there is room again" inside rm /var/log/countersign/fill /var/log/countersign/fill2
    eventually 10 "the lines go to the file by themselves" waiting_is_none
    ok "the chain is whole" chain_whole
    eventually 40 "the room is kept back again" reserves_whole
}

status_says() { # REGEX: as root
    inside countersign status | tr '\n' ' ' | tr -s ' ' | grep -E "$1"
}

waiting_is_none() {
    status_json | jq -e '.audit.failing_since == null'
}

# --- All of /var -----------------------------------------------------------------------------------------

var_full() {
    local answer
    ok "/var is filled" fill /var
    ok "and the log's disk" fill /var/log/countersign
    ok "to the brim" nothing_free /var
    until_refused
    ok "a change is refused" test "$REFUSED" = 500
    like "in Vault's form, with what to do" "$(cat "$TAP_OUTPUT.put" 2>/dev/null)" '"errors":.*full; nothing was changed: free space'
    ok "ssh with a code and sudo work" way_in
    like "and sudo was root's" "$OUT" root
    ok "out of what was kept back" status_says "store.s disk has been full for .* of 8 MiB kept back"
    ok "a change is still refused" refused_clearly
    ok "that is an alert" inside journalctl -q -n 1 COUNTERSIGN_ALERT="store disk full"
    ok "the agent restarts on the full disk" inside systemctl restart countersignd
    eventually 20 "and is unsealed" inside countersign status
    ok "people get in after that, too" way_in
    ok "the metrics say so" inside curl -sf --unix-socket "$SOCKET" "http://localhost/v1/sys/metrics?format=prometheus"
    like "in a number" "$OUT" '^countersign_disk_full\{what="store"\} 1$'
    answer=$(inside journalctl -q COUNTERSIGN_USER=ada COUNTERSIGN_SERVICE=sudo COUNTERSIGN_HOOK=auth -o json -n 1)
    like "the journal can be asked for a person" "$answer" '"COUNTERSIGN_RESULT" *: *"allowed"'
    like "and tells from where" "$(inside journalctl -q COUNTERSIGN_USER=ada COUNTERSIGN_SERVICE=sshd -o json -n 1)" \
        '"COUNTERSIGN_RHOST" *: *"127.0.0.1"'
}

# A few writes may still fit into the log that SQLite has already.
until_refused() {
    REFUSED=200
    for _ in $(seq 40); do
        REFUSED=$(inside curl -s -o /dev/stderr -w '%{http_code}' --unix-socket "$SOCKET" -H "X-Vault-Token: $TOKEN" -X POST \
            -d "{\"data\":{\"v\":\"$(head -c 48000 /dev/zero | tr '\0' x)\"}}" http://localhost/v1/secret/data/big 2>"$TAP_OUTPUT.put")
        [[ $REFUSED == 200 ]] || return 0
    done
}

refused_clearly() {
    ! put_secret during >"$TAP_OUTPUT.put" && grep -q 'full; nothing was changed' "$TAP_OUTPUT.put"
}

room_again() {
    ok "whoever got in makes room" inside rm -f /var/fill /var/fill2 /var/log/countersign/fill /var/log/countersign/fill2
    eventually 10 "changes work by themselves" put_secret after
    ok "what was refused left nothing behind" secret_is after
    eventually 10 "the room is kept back again" reserves_whole
    eventually 10 "the log is written again" waiting_is_none
    ok "the chain is whole" chain_whole
    ok "the logins of those days are in it" inside grep -c '"event":"store disk full"' /var/log/countersign/audit.log
    unlike "status has nothing to complain about" "$(status_json | jq -c .problems)" 'full|written'
}

# --- A disk that turned read-only --------------------------------------------------------------------------

in_mounts() { # CMD...: in the host's mount namespace only, with this machine's devices
    local init
    init=$(pgrep -P "$(cat "/run/countersign-hosts/$STAGE_HOST/nspawn")" | head -n 1)
    nsenter -t "$init" --mount -- "$@"
}

at_exit() {
    stage_end
    [[ -z ${LOOP-} ]] || losetup -d "$LOOP" 2>/dev/null || true
    rm -f "${IMAGE-}" "$TAP_OUTPUT.put"
}

# The store moves to an ext4 of its own, mounted as Debian mounts its root: errors=remount-ro.
move_store() {
    IMAGE=$(mktemp)
    truncate -s 64M "$IMAGE"
    mkfs.ext4 -q "$IMAGE" && LOOP=$(losetup -f --show "$IMAGE") || return 1
    inside systemctl stop countersignd.service &&
        in_mounts mknod "/dev/cs-disk" b "$((16#$(stat -c %t "$LOOP")))" "$((16#$(stat -c %T "$LOOP")))" &&
        mount_store &&
        inside systemctl start countersignd
}

mount_store() {
    in_mounts sh -c 'mkdir -p /run/old && cp -a /var/lib/countersign/. /run/old/ &&
        mount -t ext4 -o errors=remount-ro /dev/cs-disk /var/lib/countersign && rmdir /var/lib/countersign/lost+found &&
        cp -a /run/old/. /var/lib/countersign/ && chown --reference=/run/old/agent.db /var/lib/countersign &&
        chmod 0700 /var/lib/countersign && sync -f /var/lib/countersign'
}

mend_disk() {
    inside systemctl stop countersignd.service &&
        in_mounts sh -c 'umount /var/lib/countersign; fsck.ext4 -p -f /dev/cs-disk >/dev/null; [ $? -le 1 ] &&
            mount -t ext4 -o errors=remount-ro /dev/cs-disk /var/lib/countersign' &&
        inside systemctl start countersignd
}

read_only() {
    local trigger
    trap at_exit EXIT
    ok "the store moves to a disk of its own" move_store
    trigger=/sys/fs/ext4/$(basename "${LOOP-none}")/trigger_fs_error
    if ! passed || [[ ! -w $trigger ]]; then
        skip "a read-only store" "no loop device, or the kernel can't be told to fail one"
        return
    fi
    eventually 20 "and is unsealed" inside countersign status
    ok "people get in" way_in
    ok "the disk has an error: the kernel makes it read-only" bash -c 'echo 1 >"$1"' sh "$trigger"
    fails "a change is refused" put_secret readonly
    like "clearly" "$OUT" '(read-only file system|store failed); nothing was changed'
    next_code ada
    exits 255 "a code can't be spent, so nobody gets in by one" try_login ada < <(password_answer ada && code_answer "$TOTP")
    ok "status says what it is" status_says 'store has not been writable for '
    ok "and so does the journal" inside journalctl -q -n 1 COUNTERSIGN_ALERT="store not written"
    ok "the disk is mended" mend_disk
    eventually 20 "the agent is back" inside countersign status
    ok "the code was not spent: it lets her in now" login_with ada < <(password_answer ada && code_answer "$TOTP")
    ok "what was there is there" secret_is after
    ok "the chain is whole" chain_whole
}

# --- Who may watch while it is sealed ----------------------------------------------------------------------

watch_sealed() {
    ok "the store is sealed" op PUT sys/seal
    ok "root sees that it is" api GET "sys/metrics?format=prometheus"
    like "in the metrics" "$OUT" '^countersign_sealed 1$'
    fails "nobody else does" ask_api shop "sys/metrics?format=prometheus"
    like "and is told why" "$OUT" 'only root'
}

set_up
log_full
var_full
room_again
read_only
watch_sealed
finish
