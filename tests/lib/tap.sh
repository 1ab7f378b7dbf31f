# Goal: what a scenario script says about what it saw, as TAP (Test Anything Protocol). Sourced:
#
#   . "$(dirname "$0")/../lib/tap.sh"
#   ok "the agent starts" start_agent            a command that must succeed
#   fails "a wrong code is refused" try 000000   a command that must fail
#   exits 2 "sealed is told by the exit code" countersign status
#   is "one lease is left" "$(count)" 1          GOT, then what it must be
#   like "the reason is named" "$OUT" 'wrong (code|passphrase)'      as grep -E would
#   unlike "no secret in the log" "$(cat log)" "$secret"
#   eventually 5 "the account goes" gone         repeats a command for at most so many seconds
#   skip "over TLS" "this machine has no certificate"
#   note "anything worth reading in the log"
#   bail "nothing more can be tried"             ends the script as a failure
#   finish                                       the last line: prints the plan, sets the exit code
#
# `plan N` at the start is optional; a script without it must reach `finish`. What the last command of ok,
# fails, exits or eventually printed is in $OUT, its exit code in $CODE. None of them ends the script:
# `passed` tells whether the last check was met.
# shellcheck shell=bash

TAP_COUNT=0
TAP_FAILED=0
TAP_PLAN=""
TAP_LAST=0
TAP_OUTPUT=$(mktemp)
OUT=""
CODE=0

plan() { # NUMBER
    TAP_PLAN=$1
    printf '1..%d\n' "$1"
}

note() { # TEXT...
    printf '%s\n' "$*" | sed 's/^/# /'
}

bail() { # WHY
    printf 'Bail out! %s\n' "$*"
    exit 1
}

passed() {
    [[ $TAP_LAST == 0 ]]
}

tap_result() { # 0|1 TEXT: 0 is good, as with exit codes
    local word="ok"
    TAP_LAST=$1
    TAP_COUNT=$((TAP_COUNT + 1))
    if [[ $1 != 0 ]]; then
        word="not ok"
        TAP_FAILED=$((TAP_FAILED + 1))
    fi
    printf '%s %d - %s\n' "$word" "$TAP_COUNT" "${2//#/\\#}"
}

tap_run() { # CMD...: leaves OUT and CODE
    CODE=0
    "$@" >"$TAP_OUTPUT" 2>&1 || CODE=$?
    OUT=$(tr -d '\000' <"$TAP_OUTPUT")
}

tap_explain_command() { # CMD...
    note "command: $(printf '%q ' "$@")"
    note "exit code: $CODE"
    [[ -z $OUT ]] || printf '%s\n' "$OUT" | tail -n 40 | sed 's/^/# | /'
}

ok() { # TEXT CMD...
    local text=$1
    shift
    tap_run "$@"
    if [[ $CODE == 0 ]]; then
        tap_result 0 "$text"
    else
        tap_result 1 "$text"
        tap_explain_command "$@"
    fi
}

# A command that could not be run at all (126, 127) or was killed has not refused anything.
fails() { # TEXT CMD...
    local text=$1
    shift
    tap_run "$@"
    if [[ $CODE != 0 && $CODE -lt 124 ]]; then
        tap_result 0 "$text"
    else
        tap_result 1 "$text"
        tap_explain_command "$@"
    fi
}

exits() { # EXIT-CODE TEXT CMD...
    local want=$1 text=$2
    shift 2
    tap_run "$@"
    if [[ $CODE == "$want" ]]; then
        tap_result 0 "$text"
    else
        tap_result 1 "$text"
        note "wanted exit code: $want"
        tap_explain_command "$@"
    fi
}

eventually() { # SECONDS TEXT CMD...
    local end=$((SECONDS + $1)) text=$2
    shift 2
    while tap_run "$@" && [[ $CODE != 0 && $SECONDS -lt $end ]]; do sleep 0.1; done
    if [[ $CODE == 0 ]]; then
        tap_result 0 "$text"
    else
        tap_result 1 "$text"
        tap_explain_command "$@"
    fi
}

is() { # TEXT GOT WANT
    if [[ $2 == "$3" ]]; then
        tap_result 0 "$1"
    else
        tap_result 1 "$1"
        note "got:    $2"
        note "wanted: $3"
    fi
}

like() { # TEXT GOT REGEX
    if grep -qE -e "$3" <<<"$2"; then
        tap_result 0 "$1"
    else
        tap_result 1 "$1"
        note "got:           $2"
        note "wanted a match of: $3"
    fi
}

unlike() { # TEXT GOT REGEX
    if ! grep -qE -e "$3" <<<"$2"; then
        tap_result 0 "$1"
    else
        tap_result 1 "$1"
        note "got:          $2"
        note "wanted no match of: $3"
    fi
}

skip() { # TEXT WHY
    TAP_LAST=0
    TAP_COUNT=$((TAP_COUNT + 1))
    printf 'ok %d - %s # SKIP %s\n' "$TAP_COUNT" "${1//#/\\#}" "$2"
}

finish() {
    [[ -n $TAP_PLAN ]] || printf '1..%d\n' "$TAP_COUNT"
    rm -f "$TAP_OUTPUT"
    [[ $TAP_FAILED == 0 ]] || exit 1
    exit 0
}
