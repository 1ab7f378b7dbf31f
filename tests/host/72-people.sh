#!/usr/bin/env bash
# Goal: joiners and leavers on a booted host whose configuration is kept as files: Ansible applies it (changed,
# then ok), factors come over from google-authenticator and open ssh, and who leaves loses everything at once.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh

CONF=/etc/countersign.d

set_up() {
    ok "a host boots" stage_boot people
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "a database" stage_database
    ok "the store is made" rules_init
    passed || bail "nothing can be tried without a store"
    stage_sshd </dev/null >/dev/null
    ROOT=$(host root "$STAGE_HOST")
}

# --- Joiners: factors come over --------------------------------------------------------------------------

# As pam_google_authenticator keeps it. NAME SECRET KIND
google_file() {
    local file=/home/$1/.google_authenticator
    printf '%s\n" RATE_LIMIT 3 30\n" WINDOW_SIZE 17\n" DISALLOW_REUSE\n" %s\n12345678\n87654321\n' "$2" "$3" |
        inside sh -c "umask 077; cat >$file && chown $1: $file"
}

random_secret() {
    tr -dc A-Z2-7 </dev/urandom | head -c 26 || true
}

joiners() {
    local user
    for user in ada bea cal; do
        SECRET[$user]=$(random_secret)
        SKEW[$user]=0
        STEP[$user]=0
        google_file "$user" "${SECRET[$user]}" "$([[ $user == cal ]] && echo "HOTP_COUNTER 1" || echo TOTP_AUTH)"
    done
    inside ln -s /home/ada/.google_authenticator /home/dan/.google_authenticator
    exits 2 "root imports what stands in the homes" inside countersign factor import -all-homes
    like "ada's" "$OUT" '^ada +imported'
    like "bea's" "$OUT" '^bea +imported'
    like "cal's is counter based, and refused" "$OUT" '^cal +refused +.*HOTP'
    like "dan's is a link to somebody else's, and refused" "$OUT" '^dan +refused +.*symbolic link'
    unlike "no secret is shown" "$OUT" "${SECRET[ada]}|${SECRET[bea]}"
    exits 2 "once more" inside countersign factor import -all-homes
    like "nothing is imported twice" "$OUT" '^ada +kept'
}

# --- Configuration as files --------------------------------------------------------------------------------

write_config() {
    mkdir -p "$ROOT$CONF"/{mounts,policies,bindings,database/database/{config,roles}}
    echo "$ADMIN_PASSWORD" >"$ROOT/etc/shop.password"
    chmod 0600 "$ROOT/etc/shop.password"
    cd "$ROOT$CONF"
    echo '{"type": "database"}' >mounts/database.json
    cat >database/database/config/shop.json <<'END'
{"plugin_name": "postgresql-database-plugin", "allowed_roles": ["*"], "username": "countersign_admin",
 "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:5432/shop", "password_file": "/etc/shop.password"}
END
    echo '{"db_name": "shop", "groups": ["shop_readers"], "default_ttl": "1h", "max_ttl": "8h"}' >database/database/roles/shop-ro.json
    echo 'path "database/creds/shop-*" { capabilities = ["read"] } path "auth/token/create" { capabilities = ["update"] }' \
        >policies/db-read.hcl
    echo 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }' >policies/operators.hcl
    echo '{"principals": ["uid:0"], "policies": ["operators"]}' >bindings/ansible.json
    echo '{"principals": ["group:dba"], "policies": ["db-read"], "mfa": {"max_age": "15m"}}' >bindings/dba.json
    echo '{"principals": ["user:shop"], "policies": ["db-read"]}' >bindings/shop-app.json
    echo '{"services": ["sshd", "sudo"]}' >pam.json
    cat >"$ROOT/etc/play.yml" <<'END'
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: the configuration of this host
      ansible.builtin.command: countersign apply -f /etc/countersign.d -prune -format=json
      environment: { COUNTERSIGN_TOKEN: "{{ lookup('ansible.builtin.env', 'FIRST_TOKEN') }}" }
      register: applied
      changed_when: (applied.stdout | from_json).changed
END
    chmod -R go-w "$ROOT$CONF"
    cd - >/dev/null
}

play() { # [TOKEN]
    inside env "FIRST_TOKEN=${1-}" ANSIBLE_NOCOLOR=1 HOME=/root ansible-playbook -i localhost, /etc/play.yml
}

configuration() {
    write_config
    ok "Ansible applies it, the first time with the root token" play "$TOKEN"
    like "which changes the host" "$OUT" 'ok=1 +changed=1 .*failed=0'
    ok "the second time it comes as root, by the binding that it made" play
    like "and changes nothing" "$OUT" 'ok=1 +changed=0 .*failed=0'
    ok "the module is before sshd" inside grep -q pam_countersign.so /etc/pam.d/sshd
    ok "a service gets a lease" lease_of shop
    ok "which works: the password came from its file" psql_as "$NAME" "$PASSWORD" "SELECT item FROM orders"
    SHOP_NAME=$NAME
    rm "$ROOT$CONF/bindings/shop-app.json"
    ok "a file is deleted" play
    like "which is a change" "$OUT" 'changed=1'
    fails "and the service gets nothing any more" ask_api shop database/creds/shop-ro
}

# --- Leavers ---------------------------------------------------------------------------------------------

has_login() { # USER
    inside loginctl list-sessions --no-legend | grep -qw "$1"
}

leaver() {
    ok "ada logs in with the code of her old authenticator" login ada
    ok "bea logs in with hers" login bea
    ok "and takes a lease" lease_in_session bea
    ok "with an open psql" open_psql "$NAME" "$PASSWORD"
    ok "bea makes herself a token, too" as bea "countersign token create -ttl=1h -policy=default -format=json"
    ok "bea leaves" inside countersign person offboard bea -yes -reason="left on Friday"
    like "one session ended" "$OUT" 'sessions ended +1'
    like "one lease" "$OUT" 'leases revoked +1 of 1'
    like "one token" "$OUT" 'tokens revoked +1'
    like "her factors" "$OUT" 'factors removed +totp'
    like "and what stays hers elsewhere is told" "$OUT" '/home/bea/.ssh/authorized_keys'
    ok "the open psql is cut" psql_cut 5
    ok "the account is gone" account_gone "$NAME"
    eventually 5 "her login is gone" no_login bea
    exits 255 "her connection is dead" as bea true
    ok "even with a new factor" enrol bea
    next_code bea
    exits 255 "the next login is refused, key and code being right" try_login bea < <(code_answer "$TOTP")
    ok "whoever may log in passes the account hook" inside pamtester sshd ada acct_mgmt
    fails "she does not" inside pamtester sshd bea acct_mgmt
    like "and is told" "$OUT" 'taken away from bea'
    exits 2 "explain says why" inside countersign explain user:bea service sshd
    like "by the lock" "$OUT" 'bea is locked out.*left on Friday'
    fails "nor does a process of hers get anything" ask_api bea sys/sessions
    like "and it says why" "$OUT" 'locked'
    ok "ada goes on" as ada true
    ok "the audit log has it" grep -q '"event":"offboard","user":"bea"' "$ROOT/var/log/countersign/audit.log"
}

no_login() { # USER
    ! has_login "$1"
}

database_away() {
    ok "PostgreSQL is stopped" inside systemctl stop postgresql@15-main
    exits 3 "a service account is given up: its lease can't be revoked yet" \
        inside countersign person offboard shop -yes -wait=5s
    like "which is told, with its end" "$OUT" 'Not gone yet'
    like "lease by lease" "$OUT" 'database/creds/shop-ro/.* revoking +in [0-9]+m'
    ok "PostgreSQL comes back" inside systemctl start postgresql@15-main
    eventually 30 "and the account goes by itself" account_gone "$SHOP_NAME"
}

back_again() {
    ok "bea comes back" inside countersign person unlock bea
    next_recovery_code bea
    ok "and logs in with what she has now" login_with bea < <(code_answer "$TOTP")
    fails "to nothing that she had" as bea "countersign lease list -format=json | jq -e '.data.leases[0]'"
    ok "the audit chain is whole" inside countersign audit verify
}

set_up
joiners
configuration
leaver
database_away
back_again
finish
