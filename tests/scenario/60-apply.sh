#!/usr/bin/env bash
# Goal: a configuration kept as files becomes the agent's, once and again: what changed is told, nothing is
# changed where anything is wrong, nobody locks themselves out, and leavers lose what they have.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/agent.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/agent.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-apply.XXXXXX")
CONF=$DIR/conf
ME=$(id -un)
export COUNTERSIGN_ADDR=unix://$DIR/dev/agent.sock
export PATH=$COUNTERSIGN_BUILD:$PATH
unset COUNTERSIGN_TOKEN VAULT_TOKEN VAULT_ADDR


root() { # CMD...: with the root token
    COUNTERSIGN_TOKEN=$TOKEN countersign "$@"
}

apply() { # FLAGS...: JSON into ANSWER as well
    local code=0
    ANSWER=$(root apply -f "$CONF" -format=json "$@" 2>"$DIR/err") || code=$?
    cat "$DIR/err"
    printf '%s\n' "$ANSWER"
    return "$code"
}

apply_text() { # FLAGS...
    root apply -f "$CONF" "$@"
}

get() { # JQ-FILTER
    jq -rc "$1" <<<"$ANSWER"
}

put() { # FILE < CONTENT
    mkdir -p "$(dirname "$CONF/$1")"
    cat >"$CONF/$1"
    chmod go-w "$CONF/$1"
}

write_config() {
    mkdir -p "$CONF/.git"
    echo "anything" >"$CONF/.git/HEAD"
    echo "What this is." >"$CONF/README.md"
    printf 'wonderland\n' >"$DIR/password"
    chmod 0600 "$DIR/password"
    put mounts/database.json <<<'{"type": "database", "config": {"max_lease_ttl": "24h"}}'
    put mounts/notes.json <<<'{"type": "kv-v2", "description": "notes"}'
    put policies/db-read.hcl <<<'path "database/creds/*" { capabilities = ["read"] }'
    put policies/operators.hcl <<<'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'
    put database/database/config/shop.json <<END
{"plugin_name": "postgresql-database-plugin", "allowed_roles": ["*"], "username": "alice",
 "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/shop",
 "password_file": "$DIR/password", "verify_connection": false}
END
    put database/database/roles/shop-ro.json <<<'{"db_name": "shop", "groups": "readers", "default_ttl": "1h"}'
    put bindings/dba.json <<<'{"principals": ["group:dba"], "policies": ["db-read"], "mfa": {"max_age": "15m"}}'
    put bindings/operators.json <<<"{\"principals\": [\"user:$ME\"], \"policies\": [\"operators\"]}"
    put enrolment.json <<<'{"mode": "required", "exempt_groups": ["robots"]}'
    chmod -R go-w "$CONF"
}

# --- The round trip ------------------------------------------------------------------------------------

round_trip() {
    ok "a check of a new configuration" apply -check
    is "says that it would change things" "$(get '.changed, .check, (.changes | length), .unchanged')" $'true\ntrue\n9\n0'
    exits 3 "-detailed-exitcode tells by its code" apply -check -detailed-exitcode
    exits 2 "nothing of it is there yet" root read sys/mounts/database
    ok "it is applied" apply_text
    like "each thing has its line" "$OUT" '^\+ policy +db-read$'
    like "and the sum stands below" "$OUT" 'Done: 9 made, 0 changed, 0 removed; 0 as before'
    is "the policy is there" "$(root policy read db-read)" 'path "database/creds/*" { capabilities = ["read"] }'
    is "the role is there" "$(root read -field=groups -format=json database/roles/shop-ro | jq -c .)" '["readers"]'
    is "the binding is there" "$(root binding read -format=json dba | jq -c .data.mfa.max_age)" 900
    is "and the enrolment rule" "$(root read -format=json sys/enrolment | jq -c .data.exempt_groups)" '["robots"]'
    ok "applied again" apply
    is "nothing changes" "$(get '.changed, (.changes | length), .unchanged')" $'false\n0\n9'
    ok "and a check says so" apply -check -detailed-exitcode
    ok "without a token, by the binding that came with it" countersign apply -f "$CONF"
    like "as well" "$OUT" 'Nothing changed: all 9 stand as in the files'
}

# Spelled otherwise, it is still the same.
spelling() {
    put bindings/dba.json <<<'{"policies": "db-read", "mfa": {"max_age": 900}, "principals": "group:dba"}'
    ok "other words for the same binding" apply
    is "change nothing" "$(get .changed)" false
}

one_change() {
    put bindings/dba.json <<<'{"principals": ["group:dba"], "policies": ["db-read"], "mfa": {"max_age": "5m"}}'
    ok "one binding is changed" apply -check
    is "and only that one is named" "$(get '[.changes[] | [.kind, .name, .change, .file]]')" \
        '[["binding","dba","update","bindings/dba.json"]]'
    is "a check changes nothing" "$(root binding read -format=json dba | jq .data.mfa.max_age)" 900
    ok "it is applied" apply
    is "and there" "$(root binding read -format=json dba | jq .data.mfa.max_age)" 300
    put database/database/roles/shop-ro.json <<<'{"db_name": "shop", "groups": "readers"}'
    ok "a field that is in the file no more" apply
    is "is changed back" "$(root read -format=json database/roles/shop-ro | jq .data.default_ttl)" 0
    put mounts/database.json <<<'{"type": "database", "config": {"max_lease_ttl": "12h"}}'
    ok "a mount is tuned" apply
    is "by an update" "$(get '[.changes[] | [.kind, .name, .change]]')" '[["mount","database","update"]]'
    is "which is there" "$(root read -format=json sys/mounts/database/tune | jq .data.max_lease_ttl)" 43200
    ok "somebody changes a policy by hand" root policy write db-read - <<<'path "x" { capabilities = ["read"] }'
    ok "apply puts it right" apply
    is "and tells" "$(get '[.changes[] | [.kind, .name, .change]]')" '[["policy","db-read","update"]]'
}

passwords() {
    printf 'looking-glass' >"$DIR/password"
    ok "a new password is noticed" apply
    is "as a change of the configuration" "$(get '[.changes[] | .name]')" '["database/config/shop"]'
    unlike "and shown nowhere" "$ANSWER$(cat "$DIR/err")" 'looking-glass|wonderland'
    ok "once" apply
    is "only" "$(get .changed)" false
    chmod 0644 "$DIR/password"
    exits 2 "a password that others can read is refused" apply
    like "with the reason" "$OUT" 'password_file .*others may read'
    chmod 0600 "$DIR/password"
    jq 'del(.password_file)' "$CONF/database/database/config/shop.json" >"$DIR/shop.json"
    put database/database/config/shop.json <"$DIR/shop.json"
    ok "without password_file the agent's stays" apply
    is "unchanged" "$(get .changed)" false
    unlike "no password is in the audit log" "$(cat "$DIR/dev/audit.log")" 'looking-glass|wonderland'
}

# --- Mistakes ------------------------------------------------------------------------------------------

mistake() { # TEXT FILE CONTENT EXIT-CODE REGEX
    put "$2" <<<"$3"
    exits "$4" "$1 is refused" apply
    like "… with the file and the reason" "$OUT" "$2.*$5"
    rm "$CONF/$2"
}

mistakes() {
    local version
    version=$(root read -field=version sys/managed)
    put policies/new.hcl <<<'path "y" { capabilities = ["read"] }'
    mistake "a file that belongs nowhere" extra.json '{}' 1 'nothing of this name belongs here'
    mistake "a wrong ending" bindings/dba.hcl '{}' 1 'nothing of this name belongs here'
    mistake "an editor's copy" policies/old.hcl~ '' 1 'its name has something else'
    mistake "a broken JSON file" bindings/broken.json '{"principals": [' 1 'not valid JSON'
    mistake "a key given twice" bindings/twice.json '{"policies": "a", "policies": "b"}' 1 'not valid JSON'
    mistake "an unknown field of a role" database/database/roles/odd.json '{"db_name": "shop", "group": "x"}' 1 'group'
    mistake "an unknown field of a binding" bindings/odd.json '{"principals": "*", "policies": "x", "mfaa": true}' 2 'mfaa'
    mistake "a policy that is none" policies/bad.hcl 'path "x" { capabilities = ["raed"] }' 2 'raed'
    mistake "a role without a database engine" database/nowhere/roles/x.json '{"db_name": "x", "groups": "y"}' 2 'no database engine'
    mistake "a password in a file" database/database/config/p.json '{"password": "x"}' 1 'password never stands'
    mistake "a mount of another type" mounts/notes.json '{"type": "database"}' 2 'another type'
    put mounts/notes.json <<<'{"type": "kv-v2", "description": "notes"}'
    ln -s /etc/passwd "$CONF/bindings/link.json"
    exits 1 "a symbolic link is refused" apply
    rm "$CONF/bindings/link.json"
    chmod o+w "$CONF/bindings/dba.json"
    exits 1 "a file that everybody may write is refused" apply
    like "with the reason" "$OUT" 'bindings/dba.json: everybody may write'
    chmod o-w "$CONF/bindings/dba.json"
    is "programs are told, too" "$(get '.changed, (.problems | length)')" $'false\n1'
    fails "with all that nothing was changed" root policy read new
    is "not even the record" "$(root read -field=version sys/managed)" "$version"
    rm "$CONF/policies/new.hcl"
    exits 1 "no folder" root apply
    exits 1 "a folder that is not there" root apply -f "$DIR/nowhere"
}

# What is below a mount that is yet to be made can only be checked once that is there.
new_mount_undone() {
    put mounts/other.json <<<'{"type": "database"}'
    put database/other/roles/x.json <<<'{"db_name": "x"}'
    exits 2 "a bad role below a new mount" apply
    like "is named" "$OUT" 'database/other/roles/x.json.*groups'
    exits 2 "and the mount is taken back" root read sys/mounts/other
    rm -r "$CONF/mounts/other.json" "$CONF/database/other"
}

# --- Deleting, racing, locking oneself out ------------------------------------------------------------------

pruning() {
    ok "something is made by hand" root policy write by-hand - <<<'path "h" { capabilities = ["read"] }'
    rm "$CONF/bindings/dba.json" "$CONF/policies/db-read.hcl" "$CONF/database/database/roles/shop-ro.json" \
        "$CONF/database/database/config/shop.json"
    ok "files are gone: without -prune" apply
    is "nothing is deleted" "$(get .changed)" false
    ok "a check with -prune" apply -check -prune
    is "names what would go" "$(get '[.changes[] | [.change, .name]] | sort')" \
        '[["delete","database/config/shop"],["delete","database/roles/shop-ro"],["delete","db-read"],["delete","dba"]]'
    ok "and takes nothing away" root read database/config/shop
    ok "it goes" apply -prune
    exits 2 "the configuration" root read database/config/shop
    fails "the binding" root binding read dba
    fails "the policy" root policy read db-read
    ok "what was made by hand stays" root policy read by-hand
    ok "again" apply -prune
    is "there is nothing left to do" "$(get .changed)" false
    rm "$CONF/mounts/notes.json"
    ok "a mount can go, too" apply -prune
    exits 2 "and is gone" root read sys/mounts/notes
}

locked_out() {
    ok "as the operator by binding, not by token" countersign apply -f "$CONF"
    put policies/operators.hcl <<<'path "secret/*" { capabilities = ["read"] }'
    exits 2 "a policy that would take the right to apply away is refused" countersign apply -f "$CONF"
    like "and told" "$OUT" 'you could not write it any more'
    like "with what it was before" "$(root policy read operators)" 'sudo'
    ok "with -force it is done" countersign apply -f "$CONF" -force
    exits 2 "and then it is so" countersign apply -f "$CONF"
    put policies/operators.hcl <<<'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'
    ok "a token that still may puts it right" apply
    rm "$CONF/bindings/operators.json"
    exits 2 "pruning one's own binding is refused" countersign apply -f "$CONF" -prune
    ok "the binding stays" root binding read operators
    put bindings/operators.json <<<"{\"principals\": [\"user:$ME\"], \"policies\": [\"operators\"]}"
}

races() {
    local version
    version=$(root read -field=version sys/managed)
    ok "a record of what is managed is kept" test "$version" -gt 1
    exits 2 "who applies on an older one is stopped" root write sys/managed - <<<"{\"cas\": $((version - 1)), \"names\": {}}"
    like "which says so" "$OUT" 'somebody else has applied'
    side_by_side
}

# Several at once: one changes things, the others find nothing left to do or are stopped before they start.
side_by_side() {
    local i pids=() codes="" code
    put bindings/race.json <<<'{"principals": ["user:daemon"], "policies": ["db-read"]}'
    for i in 1 2 3 4; do
        root apply -f "$CONF" -format=json >"$DIR/race.$i" 2>"$DIR/race.err.$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        code=0
        wait "$i" || code=$?
        codes+=$code
    done
    like "four at once end well or are told to come again ($codes)" "$codes" '^[02]*0[02]*$'
    like "the change is made" "$(jq -r .changed "$DIR"/race.?)" true
    is "nothing else stopped one" "$(grep -h '^Error:' "$DIR"/race.err.? | grep -vc 'somebody else has applied' || true)" 0
    rm "$CONF/bindings/race.json"
    ok "and all is whole: the change is taken back" apply -prune
    is "as the only one" "$(get '[.changes[] | [.name, .change]]')" '[["race","delete"]]'
}

trying_out() {
    exits 2 "what can't be tried out is refused, not done" call_check PUT auth/token/create
    like "and says so" "$OUT" "can't be tried out"
    exits 2 "neither true nor false" call_raw PUT 'sys/policies/acl/z?check=maybe' '{"policy": "path \"z\" { capabilities = [\"read\"] }"}'
    ok "false is a write like any other" call_raw PUT 'sys/policies/acl/z?check=false' '{"policy": "path \"z\" { capabilities = [\"read\"] }"}'
    ok "and it is there" root policy read z
    ok "a deletion is tried out" call_raw DELETE 'sys/policies/acl/z?check=true'
    like "and told" "$OUT" '"change":"delete"'
    ok "and it is still there" root policy read z
    eventually 10 "the audit log has it, as a check" \
        grep -q '"operation":"delete","path":"sys/policies/acl/z".*"check":true' "$DIR/dev/audit.log"
    ok "the chain is whole" countersign audit verify "$DIR/dev/audit.log"
}

call_raw() { # METHOD PATH [BODY]
    curl -sS --fail-with-body --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -X "$1" ${3:+-d "$3"} \
        "http://localhost/v1/$2" || return 2
}

call_check() { # METHOD PATH
    call_raw "$1" "$2?check=true" '{}'
}

# --- PAM files, in a folder of our own -------------------------------------------------------------------

pam_files() {
    mkdir -p "$DIR/pam.d" "$DIR/state"
    printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n' >"$DIR/pam.d/su"
    cp "$DIR/pam.d/su" "$DIR/before"
    put pam.json <<<'{"services": ["su"]}'
    local flags=(-pam-dir "$DIR/pam.d" -state-dir "$DIR/state" -force)
    ok "a service that is not enabled" apply -check "${flags[@]}"
    is "would be" "$(get '[.changes[] | [.kind, .name, .change]]')" '[["pam","su","create"]]'
    ok "the file is as it was" cmp "$DIR/before" "$DIR/pam.d/su"
    ok "it is enabled" apply "${flags[@]}"
    like "the module is in it" "$(cat "$DIR/pam.d/su")" 'pam_countersign.so'
    ok "again" apply "${flags[@]}"
    is "nothing changes" "$(get .changed)" false
    put pam.json <<<'{"services": ["su", "nosuch"]}'
    exits 2 "a service that has no file" apply "${flags[@]}"
    like "is a problem" "$OUT" 'nosuch'
    rm "$CONF/pam.json"
    ok "pruned" apply -prune "${flags[@]}"
    ok "the file is as it was, byte for byte" cmp "$DIR/before" "$DIR/pam.d/su"
}

# --- People --------------------------------------------------------------------------------------------

SECRET=GEZDGNBVGY3TQOJQGEZDGNBVGY

imports() {
    printf '%s\n" RATE_LIMIT 3 30\n" TOTP_AUTH\n12345678\n' $SECRET >"$DIR/ga"
    chmod 0600 "$DIR/ga"
    code=$(oathtool --totp --base32 $SECRET)
    ok "one's own file, with a code" root_less factor import "$DIR/ga" <<<"$code"
    like "gives recovery codes" "$OUT" '([a-z2-7]{4}-){3}[a-z2-7]{4}'
    unlike "and never shows the secret" "$OUT" $SECRET
    is "it counts" "$(countersign factor list -format=json | jq -c '[.data.factors[] | select(.type == "totp") | .confirmed]')" '[true]'
    ok "the file is left alone" test -s "$DIR/ga"
    exits 2 "a wrong code does not do" root_less factor import -replace - <<<"otpauth://totp/x?secret=$SECRET
000000"
    printf '%s\n" HOTP_COUNTER 1\n' $SECRET >"$DIR/ga"
    exits 1 "a counter-based one is refused" countersign factor import "$DIR/ga"
    like "with what to do" "$OUT" 'HOTP.*factor enroll'
    printf 'otpauth://totp/x?secret=%s&period=60\n' $SECRET >"$DIR/ga"
    exits 2 "another period is refused" countersign factor import -replace "$DIR/ga"
    like "with the reason" "$OUT" 'every 30 seconds'
    exits 1 "somebody else's file is refused" countersign factor import /etc/hostname
    like "with the reason" "$OUT" 'belongs to somebody else|no file of google'
}

root_less() { # CMD...
    countersign "$@"
}

leavers() {
    ok "daemon gets a factor" root factor import -user=daemon -replace - <<<"otpauth://totp/x?secret=$SECRET"
    ok "and leaves" root person offboard daemon -yes -keep-logins -reason="left on Friday"
    like "what was taken is told" "$OUT" 'factors removed +totp'
    like "and what this does not do" "$OUT" 'usermod --lock'
    is "the factor is gone" "$(root factor list -user=daemon -format=json | jq -c .data.factors)" '[]'
    exits 2 "explain says why no login is let in" root explain user:daemon service sshd
    like "by the lock" "$OUT" 'locked out.*left on Friday'
    ok "the list shows it" root person list
    like "with the reason" "$OUT" 'daemon .*left on Friday'
    ok "again is fine" root person offboard daemon -yes -keep-logins
    like "and said" "$OUT" 'was locked already'
    stop_and_start
    exits 2 "a restart forgets nothing" root explain user:daemon service sshd
    ok "the lock is taken back" root person unlock daemon
    exits 2 "once" root person unlock daemon
    unlike "then nothing is said of it" "$(root explain user:daemon service sshd 2>&1 || true)" 'locked out'
    ok "somebody whom this host does not know" root person offboard nosuchperson -yes -format=json
    is "is locked all the same" "$(jq -c '[.known, .already]' <<<"$OUT")" '[false,false]'
    exits 2 "nobody locks themselves out" countersign person offboard "$ME" -yes
    exits 2 "nor root" root person offboard root -yes
}

stop_and_start() {
    stop_agent
    start_agent
}

ok "an agent runs" start_agent
passed || bail "nothing can be tried without it"
TOKEN=$(sed -n 's/^Root Token: //p' "$DIR/out")
write_config
round_trip
spelling
one_change
passwords
mistakes
new_mount_undone
locked_out
races
trying_out
pruning
pam_files
imports
leavers
finish
