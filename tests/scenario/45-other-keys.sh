#!/usr/bin/env bash
# Goal: other keys for the same store, through the API and the command line: a root token from shares, new shares,
# a new unseal key; what each refuses; and emergency codes at PAM, sealed, locked out and in everyday use.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/agent.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/agent.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-keys.XXXXXX")
PORT=$((20000 + RANDOM % 20000))
# People of every Debian system, none of whom can log in really.
ADA=games BEA=news
AGENT_ARGS=(--listen "127.0.0.1:$PORT")
STATUS="" ANSWER="" SAID="" CODE=0
SHARE="" NONCE="" ENCODED="" OTP="" TOKEN="" CODES=() GUESSERS=()

restart() {
    stop_agent TERM
    start_agent
}

# --- Calls: leave STATUS and ANSWER; nobody needs a token here ---------------------------------------------

call() { # METHOD PATH [BODY]
    STATUS=$(curl -sS --max-time 30 --unix-socket "$DIR/dev/agent.sock" -X "$1" -o "$DIR/answer" -w '%{http_code}' \
        ${3+--data-binary "$3"} "http://localhost/v1/$2") || STATUS=000
    ANSWER=$(cat "$DIR/answer")
    : >"$DIR/answer"
}

get() { # JQ-FILTER: of the last answer
    jq -r "$1" <<<"$ANSWER" 2>/dev/null || printf 'no JSON: %.200s\n' "$ANSWER"
}

answers() { # TEXT STATUS
    is "$1" "$STATUS" "$2"
    passed || note "$(printf '%.500s' "$ANSWER")"
}

cs() { # ARGS...: the command line, as the agent's own user
    COUNTERSIGN_ADDR="unix://$DIR/dev/agent.sock" "$COUNTERSIGN_BUILD/countersign" "$@"
}

with_token() { # TOKEN: what it can do
    curl -sS -o /dev/null -w '%{http_code}' --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $1" \
        http://localhost/v1/sys/mounts
}

wrong_share() {
    head -c 33 /dev/urandom | base64 -w0
}

# --- A root token ------------------------------------------------------------------------------------------

check_root_api() {
    SHARE=$(cat "$DIR/dev/recovery-share")
    call GET sys/seal-status
    is "the seal is the host's, with shares for recovery" "$(get '[.type, .recovery_seal, .recovery_seal_type] | join(" ")')" \
        "host true shamir"
    call GET sys/generate-root/attempt
    is "no attempt is under way" "$(get '[.started, .progress, .required, .complete, .otp_length] | map(tostring) | join(" ")')" \
        "false 0 1 false 32"
    call PUT sys/generate-root/update '{"key":"x","nonce":"y"}'
    answers "without one there is nothing to go on with" 400
    call PUT sys/generate-root/attempt '{"pgp_key":"abc"}'
    answers "PGP is refused, not ignored" 400
    call PUT sys/generate-root/attempt '{"otp":"short"}'
    answers "so is a password of another length" 400
    call PUT sys/generate-root/attempt '{}'
    is "an attempt starts, with a password made here" "$(get '[.started, (.otp | length)] | map(tostring) | join(" ")')" "true 32"
    NONCE=$(get .nonce) OTP=$(get .otp)
    call GET sys/generate-root/attempt
    is "which is shown once" "$(get '.started') $(get '.otp')" "true "
    call PUT sys/generate-root/attempt '{}'
    answers "a second attempt is refused" 400
    call PUT sys/generate-root/update "{\"key\":\"$SHARE\",\"nonce\":\"another\"}"
    answers "so is a share for another attempt" 400
    call PUT sys/generate-root/update "{\"key\":\"nonsense\",\"nonce\":\"$NONCE\"}"
    answers "and what is no share" 400
    call PUT sys/generate-root/update "{\"key\":\"$(wrong_share)\",\"nonce\":\"$NONCE\"}"
    answers "a wrong share gives no token" 400
    call GET sys/generate-root/attempt
    is "and the progress begins anew" "$(get .started) $(get .progress)" "true 0"
    call PUT sys/generate-root/update "{\"key\":\"$SHARE\",\"nonce\":\"$NONCE\"}"
    ENCODED=$(get .encoded_token)
    is "the right one does" "$STATUS $(get .complete)" "200 true"
    unlike "encoded without padding" "$ENCODED" '='
    TOKEN=$(printf '%s\n' "$OTP" | cs operator generate-root -decode="$ENCODED")
    like "the password decodes it" "$TOKEN" '^hvs\.[0-9A-Za-z]{28}$'
    is "it is a root token" "$(with_token "$TOKEN")" 200
    is "it was an alert" "$(grep -c '"type":"alert".*a root token was generated with shares' "$DIR/dev/audit.log")" 1
    call PUT sys/generate-root/attempt '{}'
    call DELETE sys/generate-root/attempt
    answers "an attempt can be called off" 204
    STATUS=$(curl -sS -o /dev/null -w '%{http_code}' -X PUT -d '{}' "http://127.0.0.1:$PORT/v1/sys/generate-root/attempt")
    answers "in dev mode clients over TCP do the same, without a token" 200
    call DELETE sys/generate-root/attempt
}

root_in_one_go() {
    TOKEN=$(cs operator generate-root <"$DIR/dev/recovery-share" 2>"$DIR/err") && [[ $(with_token "$TOKEN") == 200 ]]
}

root_by_two() {
    OTP=$(cs operator generate-root -init -format=json | jq -r .otp) || return 1
    ENCODED=$(cs operator generate-root <"$DIR/dev/recovery-share" 2>/dev/null) || return 1
    TOKEN=$(printf '%s\n%s\n' "$ENCODED" "$OTP" | cs operator generate-root -decode=-) && [[ $(with_token "$TOKEN") == 200 ]]
}

check_root_cli() {
    ok "the command asks for the shares and prints the token" root_in_one_go
    unlike "no share is echoed" "$(cat "$DIR/err")" "$SHARE"
    ok "or one starts, others give shares, and the first decodes" root_by_two
    exits 1 "too few shares end it with what to do" cs operator generate-root </dev/null
    like "(others go on)" "$OUT" 'Others go on'
    ok "-status tells" cs operator generate-root -status
    ok "-cancel calls it off" cs operator generate-root -cancel
    exits 1 "a token that doesn't decode is said to be none" sh -c "echo aaaa | $COUNTERSIGN_BUILD/countersign operator generate-root -decode=bbbb"
}

# --- New shares --------------------------------------------------------------------------------------------

check_rekey_api() {
    local new check
    call PUT sys/rekey/init '{"secret_shares":2,"secret_threshold":3}'
    answers "a threshold above the shares is refused" 400
    call PUT sys/rekey/init '{"secret_shares":3,"secret_threshold":2,"pgp_keys":["x","y","z"]}'
    answers "so is PGP" 400
    call PUT sys/rekey/init '{"secret_shares":3,"secret_threshold":2,"require_verification":true}'
    is "a rekey starts" "$(get '[.started, .t, .n, .progress, .required, .verification_required] | map(tostring) | join(" ")')" \
        "true 2 3 0 1 true"
    NONCE=$(get .nonce)
    call PUT sys/rekey/init '{"secret_shares":3,"secret_threshold":2}'
    answers "one at a time" 400
    call PUT sys/rekey/update "{\"key\":\"$(wrong_share)\",\"nonce\":\"$NONCE\"}"
    answers "wrong shares make no new ones" 400
    call PUT sys/rekey/update "{\"key\":\"$SHARE\",\"nonce\":\"$NONCE\"}"
    is "right ones do: they are handed out" "$(get '[.complete, (.keys | length), (.keys_base64 | length), .verification_required] | map(tostring) | join(" ")')" \
        "true 3 3 true"
    mapfile -t new < <(get '.keys_base64[]')
    check=$(get .verification_nonce)
    ok "the old one still holds" root_in_one_go
    call PUT sys/rekey/verify "{\"key\":\"${new[0]}\",\"nonce\":\"$NONCE\"}"
    answers "giving them back has a nonce of its own" 400
    call PUT sys/rekey/verify "{\"key\":\"${new[0]}\",\"nonce\":\"$check\"}"
    is "one of two" "$(get .progress)/$(get .t)" 1/2
    call PUT sys/rekey/verify "{\"key\":\"$(wrong_share)\",\"nonce\":\"$check\"}"
    answers "a wrong second one puts nothing in force" 400
    call PUT sys/rekey/verify "{\"key\":\"${new[2]}\",\"nonce\":\"$check\"}"
    call PUT sys/rekey/verify "{\"key\":\"${new[1]}\",\"nonce\":\"$check\"}"
    is "two of them do" "$STATUS $(get .complete)" "200 true"
    call GET sys/seal-status
    is "the sizes are the new ones" "$(get '"\(.t)/\(.n)"')" 2/3
    fails "the old one is void" root_in_one_go
    cs operator generate-root -cancel >/dev/null
    printf '%s\n' "${new[2]}" "${new[0]}" >"$DIR/dev/recovery-share"
    ok "any two of the new ones are good" root_in_one_go
    ok "the unseal key of before opens the store" restart
    call PUT sys/rekey-recovery-key/init '{"secret_shares":1,"secret_threshold":1,"require_verification":true}'
    answers "Vault's other path does the same" 200
    ok "a restart forgets it" restart
    call GET sys/rekey/init
    is "(nothing is under way)" "$(get .started)" false
}

rekey_by_cli() {
    cs operator rekey -key-shares=1 -key-threshold=1 -format=json <"$DIR/dev/recovery-share" >"$DIR/new" 2>"$DIR/err" &&
        jq -re '.keys_base64[0]' "$DIR/new" >"$DIR/dev/new-share"
}

check_rekey_cli() {
    ok "the command takes the old shares and prints the new one" rekey_by_cli
    exits 1 "which is not in force before it was given back" cs operator rekey -verify </dev/null
    ok "the old ones hold until then" root_in_one_go
    ok "it is given back" cs operator rekey -verify <"$DIR/dev/new-share"
    like "and in force" "$OUT" 'in force'
    mv "$DIR/dev/new-share" "$DIR/dev/recovery-share"
    ok "it is good" root_in_one_go
    exits 1 "nothing waits any more" cs operator rekey -verify </dev/null
}

# --- A new unseal key --------------------------------------------------------------------------------------

unseal_with() { # FILE
    cs operator unseal -key-file="$1"
}

check_reseal() {
    base64 -w0 "$DIR/dev/unseal-key" >"$DIR/old-key"
    exits 1 "a file that is there is not overwritten" cs operator reseal -unseal-key-file="$DIR/old-key"
    exits 1 "this agent's key never takes the place of the host's own" cs operator reseal
    like "and says why" "$OUT" "unix://$DIR/dev/agent.sock is not the host's own"
    ok "a new unseal key is made, kept and proved" cs operator reseal -unseal-key-file="$DIR/new-key"
    cs operator seal >/dev/null
    exits 2 "the old one opens nothing any more" unseal_with "$DIR/old-key"
    ok "the new one does" unseal_with "$DIR/new-key"
    call PUT sys/reseal/init '{}'
    answers "one that is only begun" 200
    call PUT sys/reseal/update "{\"credential\":\"$(cat "$DIR/new-key")\"}"
    answers "is not finished by another key" 400
    cs operator seal >/dev/null
    ok "and leaves the one of before good" unseal_with "$DIR/new-key"
    call DELETE sys/reseal/init
    answers "it can be called off" 204
    base64 -d "$DIR/new-key" >"$DIR/dev/unseal-key"
    ok "the agent starts with it" restart
    is "each was an alert" "$(grep -c '"type":"alert".*the unseal key is replaced' "$DIR/dev/audit.log")" 1
}

# Both requests wait for the agent when it looks again: the sealing must not pull the attempt away under the share.
check_sealed_meanwhile() {
    local i pids seal=(curl -sS -o /dev/null --max-time 30 --unix-socket "$DIR/dev/agent.sock" -X PUT -d '{}' http://localhost/v1/sys/seal)
    for i in 1 2 3 4; do
        call PUT sys/rekey/init '{"secret_shares":1,"secret_threshold":1,"require_verification":true}'
        NONCE=$(get .nonce) pids=()
        kill -STOP "$AGENT"
        [[ $((i % 2)) == 1 ]] || { "${seal[@]}" & pids+=($!); sleep 0.1; }
        curl -sS -o /dev/null --max-time 30 --unix-socket "$DIR/dev/agent.sock" -X PUT \
            -d "{\"key\":\"$(cat "$DIR/dev/recovery-share")\",\"nonce\":\"$NONCE\"}" http://localhost/v1/sys/rekey/update &
        pids+=($!)
        sleep 0.1
        [[ $((i % 2)) == 0 ]] || { "${seal[@]}" & pids+=($!); sleep 0.1; }
        kill -CONT "$AGENT"
        wait "${pids[@]}" || true
        unseal_with "$DIR/new-key" >/dev/null || break
    done
    is "a rekey and a sealing at once: the agent lives, four times" "$i" 4
    ok "and the old share holds" root_in_one_go
}

# --- Emergency codes ---------------------------------------------------------------------------------------

service() { # NAME
    local kind
    for kind in auth account session; do
        printf '%s required %s socket=%s agent_uid=%s\n' "$kind" "$COUNTERSIGN_BUILD/pam_countersign.so" "$DIR/dev/pam.sock" "$(id -u)"
        [[ $kind == auth ]] || printf '%s required pam_permit.so\n' "$kind"
    done >"$DIR/services/$1"
}

pam() { # SERVICE USER OPERATIONS...: answers from stdin; leaves SAID and CODE
    local service=$1 user=$2 said=$DIR/said.$BASHPID
    shift 2
    CODE=0
    LD_PRELOAD=$WRAPPER PAM_WRAPPER=1 PAM_WRAPPER_SERVICE_DIR="$DIR/services" ASAN_OPTIONS=verify_asan_link_order=0 \
        timeout 60 pamtester "-Irhost=${FROM:-192.0.2.1}" "$service" "$user" "$@" >"$said" 2>&1 || CODE=$?
    SAID=$(tr -d '\000' <"$said" | sed '/PWRAP_ERROR/s/PWRAP_ERROR.*//')
}

lets_in() { # TEXT ANSWERS SERVICE USER OPERATIONS...
    local text=$1 answer=$2
    shift 2
    pam "$@" <<<"$answer"
    is "$text" "$CODE" 0
    passed || note "$SAID"
}

keeps_out() { # TEXT ANSWERS WHAT-PAM-SAYS SERVICE USER OPERATIONS...
    local text=$1 answer=$2 says=$3
    shift 3
    pam "$@" <<<"$answer"
    is "$text" "$CODE $(grep -cE "$says" <<<"$SAID")" "1 1"
    passed || note "$SAID"
}

DENIED='pamtester: Authentication failure'
UNAVAILABLE='pamtester: Authentication service cannot retrieve'

make_codes() { # USER COUNT: leaves CODES
    local made
    made=$(cs operator break-glass generate -user="$1" -count="$2" -format=json) || return 1
    mapfile -t CODES < <(jq -r '.data.codes[].code // .codes[].code' <<<"$made")
    [[ ${#CODES[@]} == "$2" ]]
}

mistype() { # CODE: another first character
    local first=${1:0:1}
    if [[ $first == 7 ]]; then first=8; else first=7; fi
    printf '%s%s' "$first" "${1:1}"
}

check_everyday() {
    guess_aside
    ok "five emergency codes for $ADA" make_codes "$ADA" 5
    exits 1 "nobody else has any: there is no such person" cs operator break-glass generate -user=no-such-person
    like "the status lists them, unused" "$(cs operator break-glass status)" "$ADA .*unused"
    keeps_out "unsealed, they are $ADA's alone" "${CODES[0]}" "$DENIED" sshd "$BEA" authenticate
    lets_in "where the code is asked for, one opens the login, through all hooks" "${CODES[0]}" sshd "$ADA" \
        authenticate acct_mgmt open_session close_session
    keeps_out "once" "${CODES[0]}" "$DENIED" sshd "$ADA" authenticate
    keeps_out "a typing error is told apart" "$(mistype "${CODES[1]}")" "mistyped" sshd "$ADA" authenticate
    is "its use is in the log as an alert" \
        "$(grep -c "\"type\":\"alert\",\"event\":\"an emergency code was used\".*\"user\":\"$ADA\".*\"sealed\":false" "$DIR/dev/audit.log")" 1
    is "so is the second try" "$(grep -c '"type":"alert","event":"a used emergency code was given again"' "$DIR/dev/audit.log")" 1
    is "no proof for policies came of it" "$(grep -c "\"user\":\"$ADA\".*\"factor\":\"" "$DIR/dev/audit.log")" 0
}

# What they wait for is their delay only: they count at once.
guess_aside() {
    local i
    for i in 1 2 3 4 5; do
        (FROM=203.0.113.9 pam sshd "$BEA" authenticate <<<00000$i) &
        GUESSERS+=($!)
    done
}

is_locked_out() {
    curl -fsS --unix-socket "$DIR/dev/agent.sock" "http://localhost/v1/sys/factors/$BEA" |
        jq -e '.data.locked_until != null' >/dev/null
}

check_locked() {
    eventually 20 "five wrong codes lock a guesser out" is_locked_out
    FROM=203.0.113.9 pam sshd "$BEA" authenticate </dev/null
    like "who is locked out is asked for an emergency code, and told why" "$SAID" 'Too many wrong codes.*Only an emergency code'
    FROM=203.0.113.9 keeps_out "$ADA's is not $BEA's" "${CODES[2]}" "$DENIED" sshd "$BEA" authenticate
    wait "${GUESSERS[@]}"
}

check_sealed() {
    cs operator seal >/dev/null
    pam sshd "$ADA" authenticate </dev/null
    like "sealed: $ADA is told why, and asked for an emergency code" "$SAID" 'sealed and can.t check'
    local ada=$SAID
    pam sshd "$BEA" authenticate </dev/null
    is "who has none is asked the same" "${SAID//$BEA/$ADA}" "$ada"
    pam sshd no-such-person authenticate </dev/null
    is "so is who does not exist" "${SAID//no-such-person/$ADA}" "$ada"
    keeps_out "the account hook alone lets nobody in" "" "$UNAVAILABLE" sshd "$ADA" acct_mgmt
    keeps_out "a used code opens nothing" "${CODES[0]}" "$DENIED" sshd "$ADA" authenticate
    lets_in "a mistyped one may be typed again; the right one opens all hooks" "$(mistype "${CODES[1]}")"$'\n'"${CODES[1]}" \
        sshd "$ADA" authenticate acct_mgmt open_session
    stop_agent KILL
    ok "the agent is killed and starts again" start_agent
    eventually 3 "what happened while sealed comes into the log" grep -q '"event":"an emergency code was used"' "$DIR/dev/audit.log"
    is "as what it was" \
        "$(grep -c "\"type\":\"alert\",\"event\":\"an emergency code was used\",\"at\":.*\"user\":\"$ADA\".*\"sealed\":true" "$DIR/dev/audit.log")" 1
    cs operator seal >/dev/null
    keeps_out "it is still used" "${CODES[1]}" "$DENIED" sshd "$ADA" authenticate
    ok "unsealed" unseal_with "$DIR/new-key"
    is "and told once" \
        "$(grep -c "\"event\":\"an emergency code was used\",\"at\":.*\"sealed\":true" "$DIR/dev/audit.log")" 1
    eventually 3 "wrong ones are told of as well" grep -q 'wrong emergency codes' "$DIR/dev/audit.log"
    like "the status says where and when" "$(cs operator break-glass status)" "$ADA .*20[0-9]{2}.*sshd +192.0.2.1"
}

check_revoked() {
    is "three are left" "$(cs operator break-glass status -format=json | jq '.data.left // .left')" 3
    ok "they are revoked" cs operator break-glass revoke -user="$ADA"
    keeps_out "a revoked one opens nothing" "${CODES[3]}" "$DENIED" sshd "$ADA" authenticate
    cs operator seal >/dev/null
    keeps_out "sealed, with none left, nothing is asked: not to be had" "" "$UNAVAILABLE" sshd "$ADA" authenticate
    unlike "(no prompt)" "$SAID" 'code: '
    unseal_with "$DIR/new-key" >/dev/null
    ok "the chain of the log is whole" cs audit verify "$DIR/dev/audit.log"
}

check_secrets() {
    local all
    all="${CODES[*]}"
    unlike "no share, key, token or code is in the log or said by the agent" "$(cat "$DIR/dev/audit.log" "$DIR/out")" \
        "$(cat "$DIR/new-key")|$SHARE|$TOKEN|${all// /|}"
}

main() {
    local so
    WRAPPER=""
    for so in /usr/lib/*/libpam_wrapper.so /usr/lib/libpam_wrapper.so /usr/lib64/libpam_wrapper.so; do
        [[ ! -e $so ]] || WRAPPER=$so
    done
    [[ -n $WRAPPER ]] || bail "libpam-wrapper is not installed"
    mkdir "$DIR/services"
    printf 'auth required pam_deny.so\naccount required pam_deny.so\nsession required pam_deny.so\n' >"$DIR/services/other"
    service sshd
    ok "the agent starts" start_agent
    passed || bail "nothing more can be tried"
    check_root_api
    check_root_cli
    check_rekey_api
    check_rekey_cli
    check_reseal
    check_sealed_meanwhile
    check_everyday
    check_locked
    check_sealed
    check_revoked
    check_secrets
    finish
}

main "$@"
