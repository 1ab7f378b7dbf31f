#!/usr/bin/env bash
# Goal: the built PAM module talks to the real agent: codes right, wrong, used and spent; strangers; passphrases;
# guessing; bindings; an agent that is sealed or away. Without root: libpam-wrapper puts the services and the
# module in place of /etc/pam.d, and pamtester stands for sshd and sudo.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/agent.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/agent.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-pam.XXXXXX")
ME=$(id -un)
# People of every Debian system, none of whom can log in really.
ADA=games BEA=news CAL=uucp DAN=proxy EVE=backup
SAID="" CODE=0 TOOK=0

api() { # METHOD PATH [BODY]: prints the answer; fails when it is an error
    curl -fsS --max-time 20 --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $(cat "$DIR/dev/root-token")" \
        -X "$1" ${3+--data "$3"} "http://localhost/v1/$2"
}

# --- PAM -------------------------------------------------------------------------------------------------

service() { # NAME MODULE-ARGS...
    local name=$1 kind
    shift
    for kind in auth account session; do
        printf '%s required %s socket=%s %s\n' "$kind" "$COUNTERSIGN_BUILD/pam_countersign.so" "$DIR/dev/pam.sock" "$*"
        [[ $kind == auth ]] || printf '%s required pam_permit.so\n' "$kind"
    done >"$DIR/services/$name"
}

find_wrapper() {
    local so
    for so in /usr/lib/*/libpam_wrapper.so /usr/lib/libpam_wrapper.so /usr/lib64/libpam_wrapper.so; do
        if [[ -e $so ]]; then
            WRAPPER=$so
            return 0
        fi
    done
    return 1
}

pam() { # SERVICE USER [from=ADDRESS] OPERATIONS...: answers from stdin; leaves SAID, CODE and TOOK (milliseconds)
    local begin service=$1 user=$2 from=""
    shift 2
    if [[ $1 == from=* ]]; then
        from=${1#from=}
        shift
    fi
    begin=$(date +%s%3N)
    CODE=0
    LD_PRELOAD=$WRAPPER PAM_WRAPPER=1 PAM_WRAPPER_SERVICE_DIR="$DIR/services" ASAN_OPTIONS=verify_asan_link_order=0 \
        timeout 60 pamtester ${from:+"-Irhost=$from"} "$service" "$user" "$@" >"$DIR/said" 2>&1 || CODE=$?
    TOOK=$(($(date +%s%3N) - begin))
    SAID=$(tr -d '\000' <"$DIR/said")
}

lets_in() { # TEXT ANSWER SERVICE USER [from=ADDRESS] OPERATIONS...
    local text=$1 answer=$2
    shift 2
    pam "$@" <<<"$answer"
    is "$text" "$CODE" 0
    passed || note "$SAID"
}

keeps_out() { # TEXT ANSWER WHAT-PAM-SAYS SERVICE USER [from=ADDRESS] OPERATIONS...
    local text=$1 answer=$2 says=$3
    shift 3
    pam "$@" <<<"$answer"
    is "$text" "$CODE $(grep -cE "$says" <<<"$SAID")" "1 1"
    passed || note "$SAID"
}

DENIED='pamtester: Authentication failure'
UNAVAILABLE='pamtester: Authentication service cannot retrieve'

# --- One-time codes ----------------------------------------------------------------------------------------

totp() { # SECRET STEPS-FROM-NOW
    oathtool --totp -b -N "@$(($(date +%s) + 30 * $2))" "$1"
}

early_in_step() { # so that the step doesn't change between here and the agent
    local left=$((30 - $(date +%s) % 30))
    [[ $left -gt 6 ]] || sleep "$((left + 1))"
}

enrol() { # USER: leaves SECRET and RECOVERY; the code of the step before counts as used then
    SECRET=$(api POST "sys/factors/$1/totp" '{}' | jq -r .data.secret)
    early_in_step
    mapfile -t RECOVERY < <(api POST "sys/factors/$1/totp/confirm" "{\"code\":\"$(totp "$SECRET" -1)\"}" |
        jq -r '.data.recovery_codes[]')
    [[ ${#RECOVERY[@]} == 10 ]]
}

# --- The cases -----------------------------------------------------------------------------------------------

check_strangers() {
    keeps_out "who has no factor is asked, and refused" 123456 "$DENIED" sshd "$BEA" authenticate
    local known=$SAID
    keeps_out "so is who does not exist" 123456 "$DENIED" sshd no-such-person authenticate
    is "in the same words" "${SAID//no-such-person/$BEA}" "$known"
    like "it is the code that is asked for" "$SAID" '^Verification code: '
    keeps_out "so is what can't be a name" 123456 "$DENIED" sshd 'a/b:c' authenticate
    keeps_out "and a name that looks for trouble" 123456 "$DENIED" sshd '../../root' authenticate
    keeps_out "no answer is a wrong answer" "" "$DENIED" sshd "$CAL" authenticate
}

check_codes() {
    ok "$ADA enrols" enrol "$ADA"
    early_in_step
    local now next
    now=$(totp "$SECRET" 0)
    next=$(totp "$SECRET" 1)
    keeps_out "the code that confirmed is used" "$(totp "$SECRET" -1)" "$DENIED" sshd "$ADA" authenticate
    like "a refusal takes its second" "$TOOK" '^[1-9][0-9]{3}'
    lets_in "the right code lets in, through all hooks" "$now" sshd "$ADA" authenticate acct_mgmt open_session close_session
    keeps_out "once" "$now" "$DENIED" sshd "$ADA" authenticate
    keeps_out "also at another service" "$now" "$DENIED" sudo "$ADA" authenticate
    stop_agent TERM
    ok "the agent starts again" start_agent
    keeps_out "and after a restart" "$now" "$DENIED" sshd "$ADA" from=192.0.2.1 authenticate
    lets_in "the next one lets in" "$next" sudo "$ADA" authenticate
    keeps_out "a wrong one does not" 000000 "$DENIED" sshd "$ADA" from=192.0.2.2 authenticate
    keeps_out "nor one that is too short" 12345 "$DENIED" sshd "$ADA" from=192.0.2.3 authenticate
    lets_in "a recovery code lets in" "${RECOVERY[0]}" sshd "$ADA" authenticate
    keeps_out "once" "${RECOVERY[0]}" "$DENIED" sshd "$ADA" from=192.0.2.4 authenticate
    lets_in "written without dashes and in capitals, too" "$(tr -d - <<<"${RECOVERY[1]^^}")" sshd "$ADA" authenticate
    is "eight are left" "$(api GET "sys/factors/$ADA" | jq '.data.factors[] | select(.type == "recovery").remaining')" 8
    keeps_out "$BEA can't use them" "${RECOVERY[2]}" "$DENIED" sshd "$BEA" from=192.0.2.5 authenticate
}

# Two at once with one code: the agent has one clock and one writer.
check_twins() {
    ok "$DAN enrols" enrol "$DAN"
    early_in_step
    local code i in=0 pids=()
    code=$(totp "$SECRET" 0)
    for i in 1 2 3; do
        (pam sshd "$DAN" from=192.0.2.$i authenticate <<<"$code" && exit "$CODE") >/dev/null 2>&1 &
        pids+=($!)
        cp "$DIR/said" "$DIR/said.$i" 2>/dev/null || true
    done
    for i in "${pids[@]}"; do if wait "$i"; then in=$((in + 1)); fi; done
    is "of three with the same code one gets in" "$in" 1
}

check_guessing() {
    ok "$CAL enrols" enrol "$CAL"
    lets_in "and logs in from where they always do" "${RECOVERY[0]}" sshd "$CAL" from=198.51.100.1 authenticate
    local i
    for i in 1 2 3 4 5; do pam sshd "$CAL" from=203.0.113.9 authenticate <<<00000"$i"; done
    like "guesses get slower" "$TOOK" '^[0-9]{4,}'
    keeps_out "and then nobody is even asked" "${RECOVERY[1]}" 'pamtester: Have exhausted maximum number of retries' \
        sshd "$CAL" from=203.0.113.9 authenticate
    like "but told for how long" "$SAID" 'Try again in [0-9]+m'
    unlike "without a prompt" "$SAID" 'code: '
    lets_in "the usual place is not touched" "${RECOVERY[1]}" sshd "$CAL" from=198.51.100.1 authenticate
    is "the lock can be seen" "$(api GET "sys/factors/$CAL" | jq '.data.locked_until != null')" true
}

check_passphrases() {
    local long="correcthorsebatt" digits="31415926535897" other="an honest passphrase, with words"
    api PUT sys/bindings/vault '{"principals":["*"],"services":["vault-door"],"mfa":{"factors":["passphrase"]}}' >/dev/null
    api POST "sys/factors/$EVE/passphrase" "{\"passphrase\":\"$other\"}"
    lets_in "a passphrase lets in where it is asked for" "$other" vault-door "$EVE" authenticate
    like "it is the passphrase that is asked for" "$SAID" '^Passphrase: '
    keeps_out "a wrong one does not" "an honest passphrase, with word" "$DENIED" vault-door "$EVE" authenticate
    api POST "sys/factors/$EVE/passphrase" "{\"passphrase\":\"$long\"}"
    lets_in "one that has the length of a recovery code does, too" "$long" vault-door "$EVE" authenticate
    api POST "sys/factors/$EVE/passphrase" "{\"passphrase\":\"$digits\"}"
    lets_in "and one of digits" "$digits" vault-door "$EVE" authenticate
    api PUT sys/bindings/codes '{"principals":["*"],"services":["codes-door"],"mfa":{"factors":["totp","recovery"]}}' >/dev/null
    keeps_out "where a code is asked for, it is none" "$digits" "$DENIED" codes-door "$EVE" authenticate
    fails "a short one is not taken" api POST "sys/factors/$EVE/passphrase" '{"passphrase":"short"}'
}

check_bindings() {
    local group
    group=$(id -gn "$EVE")
    api PUT sys/bindings/door "{\"principals\":[\"group:$group\"],\"services\":[\"door\"]}" >/dev/null
    lets_in "who is bound without a factor gets in without a prompt" "" door "$EVE" authenticate acct_mgmt
    unlike "(nothing was asked)" "$SAID" 'code: |Passphrase: '
    keeps_out "who is not bound is asked and refused" "${RECOVERY[2]}" "$DENIED" door "$CAL" authenticate
    keeps_out "and has no account there" "" 'pamtester: Permission denied' door "$CAL" acct_mgmt
    lets_in "an account at a service that nobody named is not our business" "" cron "$CAL" acct_mgmt
    api PUT sys/enrolment '{"mode":"grace","until":"2099-01-01"}'
    lets_in "within their grace people without a factor get in" "" sshd "$BEA" from=192.0.2.77 authenticate
    keeps_out "those with one are asked" 000000 "$DENIED" sshd "$DAN" from=192.0.2.77 authenticate
    api PUT sys/enrolment '{"mode":"required"}'
    keeps_out "and then it is over" 000000 "$DENIED" sshd "$BEA" from=192.0.2.78 authenticate
}

check_user_socket() {
    sed "s,/pam.sock,/pam-user.sock," "$DIR/services/sshd" >"$DIR/services/locker"
    enrol "$ME"
    early_in_step
    lets_in "a screen locker's own user" "$(totp "$SECRET" 0)" locker "$ME" authenticate
    keeps_out "may not speak for others" "${RECOVERY[3]}" 'pamtester: ' locker "$ADA" authenticate
    unlike "they are not even asked" "$SAID" 'code: '
    keeps_out "nor open sessions" "" 'pamtester: ' locker "$ME" open_session
}

check_bad_peers() {
    sed 's/ agent_uid=[0-9]*//' "$DIR/services/sshd" >"$DIR/services/strict"
    if [[ $(id -u) == 0 ]]; then
        skip "the module takes root's agent only" "this runs as root"
    else
        keeps_out "the module takes root's agent, or the one it was told of, only" "" "$DENIED" strict "$ADA" authenticate
    fi
    # Whoever reaches the socket without being PAM gets no verdict, and does no harm.
    local junk
    for junk in 'GET / HTTP/1.1' '{"id":1}' $'\x01' $'\x01\x01' $'\x01\x03' $'\x09\x01'; do
        printf '%s\n' "$junk" >"$DIR/junk"
        exits 3 "junk gets no answer: $(cat -v "$DIR/junk")" \
            "$COUNTERSIGN_BUILD/frame-client" ask "$DIR/dev/pam.sock" 5 <"$DIR/junk"
    done
}

check_hang_up() {
    local i
    for i in 1 2 3 4 5; do
        (sleep 20 | LD_PRELOAD=$WRAPPER PAM_WRAPPER=1 PAM_WRAPPER_SERVICE_DIR="$DIR/services" \
            ASAN_OPTIONS=verify_asan_link_order=0 exec timeout -s KILL 0.5 pamtester sshd "$DAN" authenticate) >/dev/null 2>&1 &
    done
    sleep 1
    lets_in "callers that die in the middle keep nobody else out" "${TWIN_RECOVERY[0]}" sshd "$DAN" from=192.0.2.99 \
        authenticate
}

check_away() {
    api PUT sys/seal '{}'
    keeps_out "sealed: not to be had" "" "$UNAVAILABLE" sshd "$ADA" authenticate
    keeps_out "nor at the account hook" "" "$UNAVAILABLE" sshd "$ADA" acct_mgmt
    curl -fsS --unix-socket "$DIR/dev/agent.sock" -X PUT --data "{\"credential\":\"$(base64 -w0 "$DIR/dev/unseal-key")\"}" \
        http://localhost/v1/sys/unseal >/dev/null
    lets_in "unsealed, it goes on" "${TWIN_RECOVERY[1]}" sshd "$DAN" from=192.0.2.99 authenticate
    stop_agent TERM
    keeps_out "away: not to be had" "" "$UNAVAILABLE" sshd "$ADA" authenticate
    keeps_out "nor at the account hook" "" "$UNAVAILABLE" sshd "$ADA" acct_mgmt
}

check_log() {
    local log
    log=$(cat "$DIR/dev/audit.log")
    like "the log has who was refused and why" "$log" "\"type\":\"login\".*\"user\":\"$ADA\".*\"outcome\":\"denied\".*used already"
    like "and who got in, by what" "$log" "\"user\":\"$ADA\".*\"outcome\":\"allowed\",\"factor\":\"recovery\""
    unlike "no code, passphrase or secret is in it" "$log" \
        "${RECOVERY[0]}|${TWIN_RECOVERY[0]}|correcthorsebatt|31415926535897|honest passphrase|$SECRET|\"000000\""
    unlike "the agent had nothing to complain of" "$(cat "$DIR/out")" 'rror|anitizer'
}

main() {
    local tool
    for tool in jq oathtool pamtester; do
        command -v "$tool" >/dev/null || bail "$tool is not installed"
    done
    find_wrapper || bail "libpam-wrapper is not installed"
    mkdir "$DIR/services"
    printf 'auth required pam_deny.so\naccount required pam_deny.so\nsession required pam_deny.so\n' >"$DIR/services/other"
    for tool in sshd sudo cron door vault-door codes-door; do service "$tool" "agent_uid=$(id -u)"; done
    ok "the agent starts" start_agent
    passed || bail "nothing more can be tried"
    check_strangers
    check_codes
    check_twins
    TWIN_RECOVERY=("${RECOVERY[@]}")
    check_guessing
    check_passphrases
    check_bindings
    check_user_socket
    check_bad_peers
    check_hang_up
    check_away
    check_log
    finish
}

main "$@"
