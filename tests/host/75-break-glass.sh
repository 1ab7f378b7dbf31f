#!/usr/bin/env bash
# Goal: when nobody gets in. Emergency codes open ssh and sudo once each, also while the store is sealed, and raise
# the alarm at once; a new unseal key opens the store after restarts and a reboot, and the old one does not; new
# shares leave the host's key good; a store sealed by shares waits for people.
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
CODES=()

set_up() {
    ok "a host boots" stage_boot glass
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "the store is made" rules_init
    stage_sshd </dev/null >/dev/null
    ok "the module is switched on" rules_pam ada dan
    inside sed -i 's/pam_unix\.so/& nodelay/' /etc/pam.d/common-auth
    ok "sshd and sudo ask for a factor, in office hours that never are" op PUT sys/bindings/doors \
        '{"principals":["*"],"services":["sshd","sudo"],"mfa":true,"hours":"Mon 03:00-03:01 Etc/UTC"}'
}

make_codes() { # USER COUNT: leaves CODES
    local made
    made=$(inside countersign operator break-glass generate "-user=$1" "-count=$2" -format=json) || return 1
    mapfile -t CODES < <(jq -r '(.data // .).codes[].code' <<<"$made")
    [[ ${#CODES[@]} == "$2" ]]
}

with_code() { # CODE
    printf 'assword\twatchword-ada\twatchword of ada\n'
    printf 'code: $\t%s\tan emergency code\n' "$1"
}

sudo_with() { # CODE: on ada's terminal
    with_code "$1" | as_on_terminal ada "sudo -k; sudo id -un"
}

alarms() { # TEXT: alerts in the journal
    inside journalctl -q --no-pager -p alert -u countersignd -g "$1" -o cat | wc -l
}

sealed() {
    ! inside countersign status >/dev/null
}

everyday() {
    ok "six codes for ada" make_codes ada 6
    exits 255 "her authenticator opens nothing outside of the hours" try_login ada < <(with_code 000000)
    ok "an emergency code does" try_login ada < <(with_code "${CODES[0]}")
    exits 255 "once" try_login ada < <(with_code "${CODES[0]}")
    is "it was an alert at once" "$(alarms 'an emergency code was used.*of ada, at sshd')" 1
    exits 255 "dan's logins are not opened by it" try_login dan \
        < <(password_answer dan && printf 'code: $\t%s\tan emergency code\n' "${CODES[1]}")
}

while_sealed() {
    ok "the store is sealed" inside countersign operator seal
    exits 255 "the password alone is not enough" try_login ada < <(with_code 111111 && printf 'code: $\t\nco\t\n')
    like "she is told why, and what helps" "$OUT" 'sealed and can.t check.*emergency code'
    ok "an emergency code opens ssh" login_with ada < <(with_code "${CODES[1]}")
    exits 255 "once" try_login ada < <(with_code "${CODES[1]}")
    ok "another one opens sudo" sudo_with "${CODES[2]}"
    like "as root" "$OUT" '^root'
    fails "once" sudo_with "${CODES[2]}"
    is "each was an alert at once" "$(alarms 'an emergency code was used.*while sealed')" 2
    ok "the agent is killed, and kept from being unsealed" inside sh -c \
        'systemctl mask --runtime --now countersign-unseal; systemctl kill --signal=KILL countersignd'
    eventually 20 "it runs again" inside systemctl is-active countersignd
    ok "and is sealed" sealed
    exits 255 "used is used" try_login ada < <(with_code "${CODES[1]}")
    ok "a fresh one opens ssh" try_login ada < <(with_code "${CODES[3]}")
    inside systemctl unmask --runtime countersign-unseal
    ok "unsealed" inside systemctl start countersign-unseal
    ok "all is well" inside countersign status
    is "the audit log has them, with their own time" \
        "$(inside grep -c '"type":"alert","event":"an emergency code was used","at":.*"user":"ada".*"sealed":true' \
            /var/log/countersign/audit.log)" 3
    ok "its chain is whole" inside countersign audit verify
    ok "the status tells" inside countersign operator break-glass status
    like "how many are left" "$OUT" '^2 left, 4 used'
    like "and where one was used" "$OUT" 'ada.*sudo'
}

new_unseal_key() {
    local folder=/etc/credstore.encrypted
    inside sh -c "mount --bind $folder $folder && mount -o remount,bind,ro $folder"
    exits 2 "where the new key can't be kept, nothing is changed" inside countersign operator reseal
    like "and that is said" "$OUT" 'All is as it was'
    inside umount "$folder"
    ok "the credential is still there" inside test -s "$KEY_FILE"
    ok "and opens the store" inside sh -c 'countersign operator seal && systemctl start countersign-unseal && countersign status'
    ok "(the old credential is kept for the test)" inside cp "$KEY_FILE" /root/old-key
    ok "a new unseal key" inside countersign operator reseal
    fails "it is another file" inside cmp "$KEY_FILE" /root/old-key
    is "the old one is gone" "$(inside sh -c 'ls /etc/credstore.encrypted | wc -l')" 1
    ok "the agent restarts" inside systemctl restart countersignd
    eventually 20 "the new key opened it" inside countersign status
    ok "the old key is put back" inside sh -c "cp $KEY_FILE /root/new-key; cp /root/old-key $KEY_FILE; systemctl restart countersignd"
    eventually 20 "its unit fails" inside sh -c 'systemctl is-failed countersign-unseal'
    ok "it opens nothing" sealed
    ok "the new one is put back" inside sh -c "cp /root/new-key $KEY_FILE; systemctl start countersign-unseal"
    ok "and opens it" inside countersign status
}

new_shares() {
    local fresh
    fresh=$(head -n 3 <<<"$SHARES" | inside countersign operator rekey -key-shares=3 -key-threshold=2 -format=json) || true
    is "three new shares for three of the old ones" "$(jq '.keys_base64 | length' <<<"$fresh")" 3
    jq -r '.keys_base64[1:][]' <<<"$fresh" >"$TAP_OUTPUT.new"
    ok "two of them are given back" inside countersign operator rekey -verify <"$TAP_OUTPUT.new"
    ok "the host reboots" host reboot "$STAGE_HOST"
    eventually 20 "the host's key opens the store" inside countersign status
    inside countersign operator seal >/dev/null
    fails "the old shares don't" inside countersign operator unseal < <(head -n 3 <<<"$SHARES")
    ok "the new ones do" inside countersign operator unseal <"$TAP_OUTPUT.new"
    rm -f "$TAP_OUTPUT.new"
}

sealed_by_shares() {
    local made
    ok "another store" inside sh -c 'systemctl stop countersignd; rm -f /var/lib/countersign/agent.db* /var/log/countersign/*
        systemctl start countersignd'
    made=$(inside countersign operator init -seal=shamir -key-shares=3 -key-threshold=2 -format=json) || true
    is "is sealed by three shares" "$(jq '[(.keys_base64 | length), has("unseal_key"), has("recovery_keys")]' -c <<<"$made")" \
        "[3,false,false]"
    fails "no key is kept" inside test -e "$KEY_FILE"
    ok "the agent restarts" inside systemctl restart countersignd
    eventually 10 "it is sealed, and says by what" inside sh -c \
        "curl -s --unix-socket $SOCKET http://x/v1/sys/seal-status | grep '\"type\":\"shamir\".*\"sealed\":true,\"t\":2,\"n\":3'"
    jq -r '.keys_base64[:2][]' <<<"$made" >"$TAP_OUTPUT.new"
    ok "two people open it" inside countersign operator unseal <"$TAP_OUTPUT.new"
    rm -f "$TAP_OUTPUT.new"
    ok "it is open" inside countersign status
    exits 2 "there is no unseal key to be replaced" inside countersign operator reseal
}

set_up
everyday
while_sealed
new_unseal_key
new_shares
sealed_by_shares
finish
