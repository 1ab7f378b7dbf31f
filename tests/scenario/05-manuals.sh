#!/usr/bin/env bash
# Goal: the manuals read well, tell of every command, flag, setting, argument and field there is, and are
# where `make install` puts them; every command's help has an example.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "$COUNTERSIGN_SOURCE/tests/lib/tap.sh"
PAGES=("$COUNTERSIGN_BUILD/countersign.1" "$COUNTERSIGN_SOURCE"/packaging/man/*.[1-9])
CS=$COUNTERSIGN_BUILD/countersign
export LC_ALL=C.UTF-8 MANPAGER=cat

page() { # NAME.SECTION: as text, without the overstriking
    local path
    for path in "${PAGES[@]}"; do
        [[ ${path##*/} != "$1" ]] || mandoc -Tutf8 "$path" | col -bx
    done
}

# Manuals of other packages need not be on this machine.
lint() { # FILE
    mandoc -Tlint -W style "$1" 2>&1 | grep -vE 'referenced manual not found|operating system explicitly|outdated mandoc.db' || true
}

reads_well() {
    local path name
    for path in "${PAGES[@]}"; do
        name=${path##*/}
        is "$name: lint has nothing to say" "$(lint "$path")" ""
        is "$name: nor has man" "$(man --warnings=w -l "$path" 2>&1 >/dev/null)" ""
        like "$name: what it is" "$(page "$name")" '^NAME'
        like "$name: has an example" "$(page "$name")" '^EXAMPLES'
    done
    is "pages" "${#PAGES[@]}" 6
}

each_is_in() { # PAGE WHAT NAME...
    local page=$1 what=$2 text missing="" name
    text=$(page "$page")
    shift 2
    for name in "$@"; do
        grep -qF -- "$name" <<<"$text" || missing+=" $name"
    done
    is "$page tells of every $what ($#)" "$missing" ""
    [[ $# -gt 0 ]] || bail "no $what was found"
}

commands() {
    local name flags missing="" n=0
    while IFS=$'\t' read -r name flags; do
        [[ -n $name ]] || continue
        n=$((n + 1))
        # shellcheck disable=SC2086
        "$CS" $name -help | grep -q '^Example:' || missing+=" $name;"
    done < <("$CS" completion-data | sed 's/^\t.*//')
    is "every command's help has an example" "$missing" ""
    ok "and there are many" test "$n" -gt 40
    mapfile -t names < <("$CS" completion-data | cut -f1 | sed '/^$/d')
    each_is_in countersign.1 command "${names[@]}"
    mapfile -t names < <("$CS" completion-data | cut -f2 | tr ' ' '\n' | sed 's/=$//;/^$/d' | sort -u)
    each_is_in countersign.1 flag "${names[@]}"
}

programs() {
    mapfile -t names < <("$COUNTERSIGN_BUILD/countersignd" --help | grep -oE -- '--[a-z-]+' | sort -u)
    each_is_in countersignd.8 flag "${names[@]}"
    mapfile -t names < <("$COUNTERSIGN_BUILD/countersignd" --help | grep -oE '^  --[a-z-]+' | grep -vE 'version|help' |
        sed 's/^  --//;s/-/_/g')
    each_is_in countersign-agent.hcl.5 setting "${names[@]}"
    mapfile -t names < <("$COUNTERSIGN_BUILD/countersign-connector" --help | grep -oE -- '--[a-z-]+' | sort -u)
    each_is_in countersign-connector.8 flag "${names[@]}"
}

languages() {
    mapfile -t names < <(sed -n '/^} known\[\] = {/,/^};/s/.*{"\([^"]*\)".*/\1/p' "$COUNTERSIGN_SOURCE/pam/modargs.c")
    each_is_in pam_countersign.8 argument "${names[@]}"
    mapfile -t names < <(grep -ohE '\{"(principals|services|policies|mfa|from|hours|assurance|ttl|max_ttl|factors|max_age|scope)"' \
        "$COUNTERSIGN_SOURCE"/agent/policy/*.c | tr -d '{"' | sort -u)
    each_is_in countersign-bindings.7 field "${names[@]}" principals services policies mfa ttl max_ttl scope
}

reads_well
commands
programs
languages
finish
