# Goal: the main job from beginning to end, in ten steps, told so that a newcomer understands it. The demo
# shows it, tests/host/10-story.sh checks it; both run exactly this.
#
# Sourced after stage.sh and after the words of tap.sh (or the demo's own of the same names), with three
# more: `step NUMBER TITLE`, `say TEXT` for one line of narration, and `typed WHO COMMAND` for what a
# person would type where the next check runs it in its own way.
#
# Who plays: ada is an operator (group sre) who logs in by password and code; bea may read the database
# (group dba) and logs in by key and code; cal is of her group and has no factor; dan lost his
# authenticator; eve is being guessed at. shop and batch are services.
# shellcheck shell=bash

CREDS=database/creds/shop-ro
LEASE=""
NAME=""
PASSWORD=""

# The values of an answer, from the command line's table or from JSON.
take_lease() { # TEXT
    if [[ $1 == "{"* ]]; then
        LEASE=$(jq -r '.lease_id // ""' <<<"$1")
        NAME=$(jq -r '.data.username // ""' <<<"$1")
        PASSWORD=$(jq -r '.data.password // ""' <<<"$1")
    else
        LEASE=$(awk '$1 == "lease_id" {print $2}' <<<"$1")
        NAME=$(awk '$1 == "username" {print $2}' <<<"$1")
        PASSWORD=$(awk '$1 == "password" {print $2}' <<<"$1")
    fi
}

# --- 1. ------------------------------------------------------------------------------------------------

story_init() {
    step 1 "The store is made, and from then on opens by itself"
    say "The agent keeps its secrets encrypted. Whoever sets it up names the operators (here everybody in the"
    say "group sre) and gets recovery shares for the day when this host can't open its own store."
    typed root "countersign operator init --operator group:sre"
    ok "it is initialised" inside countersign operator init --operator group:sre
    SHARES=$(grep -oE '^ +[1-5]  [A-Za-z0-9+/=]{40,}$' <<<"$OUT" | awk '{print $2}') || true
    is "five recovery shares are shown" "$(wc -l <<<"$SHARES")" 5
    like "and what to do with them" "$OUT" 'Give each to a different person'
    typed root "countersign status"
    ok "the agent is unsealed" inside countersign status
    fails "a second init is refused" inside countersign operator init --operator group:sre
    say "Nobody has to be there when it starts again: systemd hands it a key that only this host can decrypt."
    typed root "systemctl restart countersignd; countersign status"
    ok "it restarts" inside systemctl restart countersignd
    eventually 20 "and is unsealed, unattended" inside countersign status
    typed root "reboot"
    ok "the host reboots" host reboot "$STAGE_HOST"
    typed root "countersign status"
    eventually 20 "and the agent is unsealed again, unattended" inside countersign status
}

# --- 2. ------------------------------------------------------------------------------------------------

story_enrol() {
    step 2 "People enrol a second factor"
    say "Ada, an operator, logs in by password, for the last time by that alone, and enrols her authenticator."
    typed anybody "ssh ada@127.0.0.1"
    ok "she is in" login_with ada < <(password_answer ada)
    typed ada "countersign factor enroll"
    ok "she scans the code, mistypes once, and is enrolled" as_on_terminal ada "countersign factor enroll" \
        < <(printf 'from the authenticator\t000000\nfrom the authenticator\t^T\n')
    take_enrolment ada "$OUT"
    like "the QR code is drawn in half blocks" "$OUT" '[▀▄█]{10}'
    like "the secret can be typed instead" "${SECRET[ada]}" '^[A-Z2-7]{32}$'
    like "a wrong code does not count" "$OUT" 'not right'
    is "ten recovery codes are shown" "$(wc -w <<<"${RECOVERY[ada]}")" 10
    typed ada "countersign factor list"
    ok "the factor counts" as ada "countersign factor list"
    like "and so do the recovery codes" "$OUT" '10 left'
    logout ada >/dev/null 2>&1 || true
    say "Root can do it for somebody else, who then types the code."
    typed root "countersign factor enroll --user bea"
    ok "bea is enrolled" dialogue countersign factor enroll --user bea < <(printf 'from the authenticator\t^T\n')
    take_enrolment bea "$OUT"
    ok "so are dan and eve, through the HTTP API this time" enrol_others
}

enrol_others() {
    enrol dan && enrol eve
}

# --- 3. ------------------------------------------------------------------------------------------------

story_pam() {
    step 3 "The sentry is put before sshd and sudo"
    say "sshd must let PAM ask, and a key alone must not do."
    typed root "cat /etc/ssh/sshd_config.d/10-countersign.conf; systemctl reload ssh"
    ok "sshd is told" stage_sshd </dev/null
    say "The PAM files are changed with a way back: without a confirmation they are put back after ten minutes."
    typed root "countersign pam enable sshd sudo --rollback 10m"
    ok "it is switched on" inside countersign pam enable sshd sudo --rollback 10m
    is "in these two files only" "$(inside grep -l pam_countersign -r /etc/pam.d | sort | tr '\n' ' ')" \
        "/etc/pam.d/sshd /etc/pam.d/sudo "
    typed root "countersign pam confirm"
    ok "and confirmed" inside countersign pam confirm
}

# --- 4. ------------------------------------------------------------------------------------------------

story_login() {
    step 4 "Logging in takes two things"
    typed anybody "ssh eve@127.0.0.1"
    ok "password and code: eve is in" login eve
    logout eve >/dev/null 2>&1 || true
    guesses_begin
    typed anybody "ssh ada@127.0.0.1"
    ok "so is ada" login ada
    ADA_CODE=$TOTP
    typed anybody "ssh bea@127.0.0.1"
    ok "key and code: bea is in" login bea
    typed bea "env | grep -ci countersign"
    fails "nothing of it is left in the environment" as bea "env | grep -i countersign"
    story_refusals
    story_recovery
    story_guesses
}

story_refusals() {
    say "A wrong code, a used one, a used one at another service, a used one after a restart: all refused."
    typed anybody "ssh dan@127.0.0.1"
    exits 255 "a wrong code is refused" try_login dan < <(password_answer dan && code_answer 000000)
    typed anybody "ssh ada@127.0.0.1"
    exits 255 "a used code is refused" try_login ada < <(password_answer ada && code_answer "$ADA_CODE")
    typed ada "sudo id -un"
    exits 1 "it is refused at sudo as well" as_on_terminal ada "sudo id -un" \
        < <(password_answer ada && code_answer "$ADA_CODE" && printf 'assword\t^C\t^C\n')
    typed root "systemctl restart countersignd"
    ok "the agent restarts" inside systemctl restart countersignd
    eventually 20 "and is unsealed" inside countersign status
    typed anybody "ssh ada@127.0.0.1"
    exits 255 "the used code is still refused" try_login ada < <(password_answer ada && code_answer "$ADA_CODE")
}

story_recovery() {
    say "Dan lost his authenticator. He has his recovery codes on paper; each works once."
    next_recovery_code dan
    typed anybody "ssh dan@127.0.0.1"
    ok "a recovery code lets him in" try_login dan < <(password_answer dan && code_answer "$TOTP")
    typed anybody "ssh dan@127.0.0.1"
    exits 255 "once" try_login dan < <(password_answer dan && code_answer "$TOTP")
}

# Somebody at 127.0.0.2 knows eve's password and guesses at her code while the story goes on.
guesses_begin() {
    GUESSES=$(mktemp)
    for try in 1 2 3 4 5 6; do guess "11111$try"; done >"$GUESSES" 2>&1 &
    GUESSER=$!
}

guess() { # CODE: one line that says how it went
    local begin text
    begin=$(date +%s%3N)
    text=$({ password_answer eve && code_answer "$1"; } | try_login eve -b 127.0.0.2 2>&1 || true)
    begin=$(($(date +%s%3N) - begin))
    printf '%s  %s, refused after %d.%d s\n' "$1" \
        "$(grep -q 'Verification code' <<<"$text" && echo 'asked for' || echo 'not even asked for')" \
        $((begin / 1000)) $((begin % 1000 / 100))
}

story_guesses() {
    say "Meanwhile somebody at 127.0.0.2, who knows eve's password, has been guessing at her code."
    wait "$GUESSER" || true
    typed "guesser" "ssh -b 127.0.0.2 eve@127.0.0.1     # six times"
    ok "the guesses took longer and longer, and then were stopped" cat "$GUESSES"
    like "the sixth was not even asked for" "$OUT" '^111116  not even asked for'
    rm -f "$GUESSES"
    next_code eve
    typed "guesser" "ssh -b 127.0.0.2 eve@127.0.0.1"
    exits 255 "now even the right code is refused there" try_login eve -b 127.0.0.2 < <(password_answer eve)
    typed anybody "ssh eve@127.0.0.1"
    ok "but eve gets in from where she always does" try_login eve < <(password_answer eve && code_answer "$TOTP")
}

# --- 5. ------------------------------------------------------------------------------------------------

story_sudo() {
    step 5 "sudo asks for a proof that is fresh"
    say "A binding says who may do what under which conditions. Here: sudo wants a proof at most 10 seconds old"
    say "(on a real host rather 15 minutes)."
    typed ada "countersign binding write sudo-sre principals=group:sre services=sudo mfa.max_age=10s"
    ok "ada, an operator, writes it" as ada \
        "countersign binding write sudo-sre principals=group:sre services=sudo mfa.max_age=10s"
    typed ada "sudo id -un"
    next_code ada
    ok "her login is longer ago: sudo asks for a code" as_on_terminal ada "sudo id -un" \
        < <(password_answer ada && code_answer "$TOTP")
    typed ada "sudo -k; sudo id -un"
    ok "now it does not: the proof is fresh" as_on_terminal ada "sudo -k; sudo id -un" < <(password_answer ada)
    next_recovery_code ada
    typed ada "sudo -v; sleep 11; sudo id -un"
    ok "with a valid sudo ticket but a lapsed proof it asks for the code alone" \
        as_on_terminal ada "sudo -v; sleep 11; sudo id -un" < <(password_answer ada && code_answer "$TOTP")
    like "and is root" "$OUT" 'root'
}

# --- 6. ------------------------------------------------------------------------------------------------

story_configure() {
    step 6 "The operator connects a database, in Vault's words"
    say "The paths and fields are Vault's, so existing tools and habits fit. The database's admin account is no"
    say "superuser: it may create roles and hand out one group."
    typed ada "countersign secrets enable database"
    ok "the engine is there" as ada "countersign secrets enable database"
    typed ada "countersign write database/config/shop plugin_name=postgresql-database-plugin \\
        connection_url='postgresql://{{username}}:{{password}}@127.0.0.1:5432/shop' \\
        allowed_roles='*' username=countersign_admin password=-"
    ok "the connection is tried and kept" config_shop
    typed ada "countersign write database/roles/shop-ro db_name=shop groups=shop_readers default_ttl=1h max_ttl=8h"
    ok "a role for readers" as ada \
        "countersign write database/roles/shop-ro db_name=shop groups=shop_readers default_ttl=1h max_ttl=8h"
    ok "one that lives five seconds" as ada \
        "countersign write database/roles/shop-brief db_name=shop groups=shop_readers default_ttl=5s max_ttl=1m"
    story_rules
}

config_shop() {
    printf '%s' "$ADMIN_PASSWORD" | inside ssh -o BatchMode=yes ada@127.0.0.1 \
        "countersign write database/config/shop plugin_name=postgresql-database-plugin \
            connection_url='postgresql://{{username}}:{{password}}@127.0.0.1:5432/shop' \
            allowed_roles='*' username=countersign_admin password=-"
}

DB_READ='path "database/creds/shop-*" { capabilities = ["read"] }'
DBA='{"principals": ["group:dba"], "policies": ["db-read"], "mfa": {"factors": ["totp", "recovery"], "max_age": "15m", "scope": "session"}, "ttl": "1h", "max_ttl": "8h"}'

story_rules() {
    say "Who may have it: people of the group dba with a factor proved in the last 15 minutes, and the service"
    say "account shop, whom the kernel names."
    typed ada "echo '$DB_READ' | countersign policy write db-read -"
    ok "a policy" as ada "echo '$DB_READ' | countersign policy write db-read -"
    typed ada "cat dba.json; countersign binding write dba @dba.json"
    ok "a binding for people" as ada "echo '$DBA' >dba.json; cat dba.json; countersign binding write dba @dba.json"
    typed ada "countersign binding write shop-app principals=user:shop policies=db-read ttl=1h max_ttl=8h"
    ok "and one for the service" as ada \
        "countersign binding write shop-app principals=user:shop policies=db-read ttl=1h max_ttl=8h"
}

# --- 7. ------------------------------------------------------------------------------------------------

pretty() { # CMD...: what a command prints, with its JSON laid out
    local text code=0
    text=$("$@") || code=$?
    jq . <<<"$text" 2>/dev/null || printf '%s\n' "$text"
    return "$code"
}

story_lease() {
    step 7 "A password for an hour, without a secret to ask for it"
    typed shop "curl --unix-socket $SOCKET http://localhost/v1/$CREDS"
    ok "the service just asks: the kernel says who it is" pretty ask_api shop "$CREDS"
    take_lease "$OUT"
    SHOP_NAME=$NAME SHOP_PASSWORD=$PASSWORD SHOP_LEASE=$LEASE
    typed shop "psql -h 127.0.0.1 -U $NAME shop -c 'SELECT item FROM orders'"
    ok "the account works" psql_as "$NAME" "$PASSWORD" "SELECT item FROM orders"
    like "and reads" "$OUT" '^lantern$'
    fails "but does not write" psql_as "$NAME" "$PASSWORD" "DELETE FROM orders"
    typed bea "countersign read $CREDS"
    ok "bea gets one: her proof is fresh enough" as bea "countersign read $CREDS"
    take_lease "$OUT"
    BEA_NAME=$NAME BEA_PASSWORD=$PASSWORD BEA_LEASE=$LEASE
    ok "hers works, too" psql_as "$NAME" "$PASSWORD" "SELECT item FROM orders"
    story_refused
}

story_refused() {
    say "Cal is in the same group, but has proved no factor. The service batch is not bound."
    typed cal "countersign read $CREDS"
    exits 2 "cal is refused" inside -u cal countersign read "$CREDS"
    like "with the reason" "$OUT" 'mfa|factor|proof|proved'
    typed batch "countersign read $CREDS"
    exits 2 "batch is refused" inside -u batch countersign read "$CREDS"
    typed root "countersign explain user:cal read $CREDS"
    exits 2 "explain says why" inside countersign explain user:cal read "$CREDS"
    like "it names the rule" "$OUT" 'dba'
    typed root "countersign explain user:bea read $CREDS"
    ok "and why bea may" inside countersign explain user:bea read "$CREDS"
    like "by the same rule" "$OUT" 'dba'
}

# --- 8. ------------------------------------------------------------------------------------------------

story_end() {
    step 8 "Every lease has a holder and an end"
    typed ada "countersign lease list"
    ok "who holds what, since when, until when, tied to what" as ada "countersign lease list"
    like "the service's" "$OUT" 'user:shop'
    like "bea's, tied to her login session" "$OUT" 'session'
    story_revoke
    story_expire
    story_logout
    story_principal
}

story_revoke() {
    say "The service's psql is open while its lease is revoked."
    ok "psql is connected" open_psql "$SHOP_NAME" "$SHOP_PASSWORD"
    typed ada "countersign lease revoke $SHOP_LEASE"
    ok "the lease is revoked" as ada "countersign lease revoke $SHOP_LEASE"
    typed shop "psql ...     # still open"
    ok "the open psql is cut" psql_cut 5
    like "by the server" "$OUT" 'terminating connection'
    ok "and the account is gone" account_gone "$SHOP_NAME"
}

story_expire() {
    local begin
    typed shop "curl --unix-socket $SOCKET http://localhost/v1/database/creds/shop-brief"
    begin=$(date +%s%3N)
    ok "another lease, for five seconds" pretty ask_api shop database/creds/shop-brief
    take_lease "$OUT"
    ok "its account is there" account_exists "$NAME"
    eventually 9 "it expires by itself" account_gone "$NAME"
    in_time $(($(date +%s%3N) - begin)) 4500 8000
}

in_time() { # MS FROM TO
    ok "after $(($1 / 1000)).$(printf %01d $(($1 % 1000 / 100))) s, on time" test "$1" -ge "$2" -a "$1" -le "$3"
}

story_logout() {
    say "Bea's password is tied to her login: it goes when she goes."
    ok "it is still there" account_exists "$BEA_NAME"
    typed bea "logout"
    ok "bea logs out" logout bea
    eventually 5 "her account is gone" account_gone "$BEA_NAME"
}

story_principal() {
    local first
    say "Somebody leaves: everything they have is taken at once."
    ok "the service takes a password" ask_api shop "$CREDS"
    take_lease "$OUT"
    first=$NAME
    ok "and another" ask_api shop "$CREDS"
    take_lease "$OUT"
    typed ada "countersign lease revoke --principal user:shop"
    ok "both are taken" as ada "countersign lease revoke --principal user:shop"
    eventually 5 "the first account is gone" account_gone "$first"
    eventually 5 "and the second" account_gone "$NAME"
    is "no leased account is left" "$(leased_accounts)" ""
}

# --- 9. ------------------------------------------------------------------------------------------------

SLOW="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE shop_readers; SELECT pg_sleep(2);"

an_account_appears() {
    NAME=$(strange_accounts | head -n 1)
    [[ -n $NAME ]]
}

# Every account in the database that is not of the stage is some lease's.
all_accounts_have_leases() {
    local name leases
    leases=$(api GET sys/leases) || return 1
    for name in $(leased_accounts) $(strange_accounts); do
        lease=$(sql "SELECT split_part(shobj_description(oid, 'pg_authid'), 'lease=', 2) FROM pg_roles
            WHERE rolname = '$name'" postgres)
        jq -e --arg id "$lease" '.data.leases | any(.id == $id)' <<<"$leases" >/dev/null || {
            echo "$name: no lease knows it"
            return 1
        }
    done
}

story_kill() {
    step 9 "A crash at the worst moment leaves nothing behind"
    say "The agent is killed after the database has made an account and before anybody was told. To hit that"
    say "moment this role's SQL takes two seconds, and the agent is stopped meanwhile."
    typed ada "countersign write database/roles/shop-slow db_name=shop creation_statements=@slow.sql default_ttl=1h"
    ok "a role with SQL of its own" as ada "cat >slow.sql <<'END'
$SLOW
END
countersign write database/roles/shop-slow db_name=shop creation_statements=@slow.sql default_ttl=1h max_ttl=8h"
    typed shop "curl --unix-socket $SOCKET http://localhost/v1/database/creds/shop-slow &"
    ask_api shop database/creds/shop-slow >/dev/null 2>&1 &
    SLOW_ASKER=$!
    eventually 10 "the database is making the account" slow_creation_runs
    typed root "kill -STOP \$(pidof countersignd)"
    ok "the agent hears nothing any more" inside systemctl kill --signal=STOP countersignd
    eventually 10 "the account is there" an_account_appears
    VICTIM=$(strange_accounts | head -n 1)
    typed root "kill -KILL \$(pidof countersignd)"
    ok "the agent is killed" inside systemctl kill --signal=KILL countersignd
    wait "$SLOW_ASKER" || true
    eventually 20 "systemd starts it again, and it is unsealed" inside countersign status
    eventually 20 "the account ${VICTIM:-?} is gone" account_gone "${VICTIM:-?}"
    ok "no account exists that no lease knows" all_accounts_have_leases
}

# --- 10. -----------------------------------------------------------------------------------------------

AUDIT=/var/log/countersign/audit.log
COPY=/root/copy.log

# The hour of a record in the middle becomes another one.
flip_a_byte() { # FROM TO
    # shellcheck disable=SC2016
    inside sh -c 'cp "$1" "$2" && line=$(($(wc -l <"$2") / 2)) &&
        sed -i -E "${line}s/(\"time\":\"[0-9-]+T[0-9]).(:?)/\\1x\\2/" "$2" && ! cmp "$1" "$2"' sh "$1" "$2"
}

story_audit() { # [FILE]: where it is not in its usual place
    step 10 "What happened can't be rewritten"
    say "Each audit record carries a keyed hash of itself and of the one before."
    typed root "tail -n 1 $AUDIT"
    ok "all of this was recorded" inside tail -n 1 "$AUDIT"
    typed root "countersign audit verify $*"
    ok "the chain is whole" inside countersign audit verify "$@"
    typed root "cp $AUDIT copy.log; # one byte is changed in it"
    ok "somebody edits a copy" flip_a_byte "$AUDIT" "$COPY"
    typed root "countersign audit verify copy.log"
    exits 2 "that is found" inside countersign audit verify "$COPY"
    like "and the record named" "$OUT" '[Rr]ecord [0-9]+|line [0-9]+|seq(uence)? [0-9]+'
}

story() {
    story_init
    story_enrol
    story_pam
    story_login
    story_sudo
    story_configure
    story_lease
    story_end
    story_kill
    story_audit
}
