#!/usr/bin/env bash
# Goal: the agent can be watched: its metrics page is what a strict reader of Prometheus' form takes, who may
# read it and what it leaves out, and `countersign top` on a real terminal, with a lease of a real PostgreSQL whose
# time runs down and that one key revokes.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/stage.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/stage.sh"
# shellcheck source=../lib/scratch.sh
. "$STAGE_LIB/scratch.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-watch.XXXXXX")
export PATH=$STAGE_BUILD:$PATH VAULT_ADDR=unix://$DIR/agent/agent.sock LANG=C.UTF-8
export PGPORT
PGPORT=$(free_port)
LISTEN=127.0.0.1:$(free_port)

at_exit() {
    local postgres
    tmux_do kill-server 2>/dev/null || true
    [[ -z $AGENT ]] || kill -KILL "$AGENT" 2>/dev/null || true
    postgres=$(head -n 1 "$DIR/pg/postmaster.pid" 2>/dev/null) || true
    [[ -z $postgres ]] || kill -QUIT "$postgres" 2>/dev/null || true
    wait
    rm -rf "$DIR"
}
trap at_exit EXIT

# --- Calls ---------------------------------------------------------------------------------------------

local_get() { # PATH: as the kernel knows us, which is root's place in dev mode
    curl -sS --fail-with-body --unix-socket "$DIR/agent/agent.sock" "http://localhost/v1/$1"
}

far_get() { # PATH [TOKEN]: leaves the page in $DIR/page; prints status and type
    curl -sS -o "$DIR/page" -w '%{http_code} %{content_type}' ${2:+-H "X-Vault-Token: $2"} "http://$LISTEN/v1/$1"
}

watch_agent() {
    "$STAGE_BUILD/countersignd" --dev --dir "$DIR/agent" --listen "$LISTEN" >"$DIR/agent.out" 2>&1 &
    AGENT=$!
    for _ in $(seq 100); do
        if countersign status >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    cat "$DIR/agent.out"
    return 1
}

database() {
    operator secrets enable database &&
        operator write database/config/shop plugin_name=postgresql-database-plugin \
            "connection_url=postgresql://{{username}}:{{password}}@127.0.0.1:$PGPORT/shop" 'allowed_roles=*' \
            username=countersign_admin "password=$ADMIN_PASSWORD" &&
        operator write database/roles/shop-ro db_name=shop groups=shop_readers default_ttl=1h max_ttl=8h
}

# --- Metrics -------------------------------------------------------------------------------------------

page_has() { # REGEX: leases are counted once a second
    far_get 'sys/metrics?format=prometheus' "$(cat "$DIR/agent/root-token")" && grep -E "$1" "$DIR/page"
}

metrics() {
    local reader
    is "Prometheus gets its own form" "$(far_get 'sys/metrics?format=prometheus' "$(cat "$DIR/agent/root-token")")" \
        "200 text/plain; version=0.0.4; charset=utf-8"
    ok "which a strict reader takes" "$STAGE_LIB/check-metrics" <"$DIR/page"
    eventually 3 "the lease is counted" page_has '^countersign_leases\{state="active"\} 1$'
    like "commits are measured" "$(cat "$DIR/page")" '^countersign_commit_seconds_count [1-9]'
    like "requests by family and status" "$(cat "$DIR/page")" '^countersign_requests_total\{family="engine",status="200"\} [1-9]'
    unlike "no name and no address is in it" "$(grep -v '^#' "$DIR/page")" "$ME|127\.0\.0\.1|shop"
    ok "the reader does find faults" bash -c '! { cat "$2"; echo "countersign_leases 1"; } | "$1" >/dev/null' \
        sh "$STAGE_LIB/check-metrics" "$DIR/page"
    like "without a token it is nobody's" "$(far_get 'sys/metrics?format=prometheus')" '^40[03] '
    ok "a policy" operator policy write metrics - <<<'path "sys/metrics" { capabilities = ["read"] }'
    reader=$(operator token create -policy=metrics -field=token)
    like "that allows it lets a token read it" "$(far_get 'sys/metrics?format=prometheus' "$reader")" '^200 '
    like "and not the logins" "$(far_get sys/logins "$reader")" '^403 '
    like "another form is refused" "$(far_get 'sys/metrics?format=xml' "$reader")" '^400 '
    like "Vault's JSON is there, too" "$(far_get sys/metrics "$reader" && jq -c '.data.Gauges[0]' "$DIR/page")" 'countersign_build_info'
}

sealed() {
    ok "the store is sealed" operator operator seal
    ok "root still sees what can be seen" local_get 'sys/metrics?format=prometheus'
    printf '%s\n' "$OUT" >"$DIR/page"
    ok "in the same form" "$STAGE_LIB/check-metrics" <"$DIR/page"
    like "that it is sealed" "$(cat "$DIR/page")" '^countersign_sealed 1$'
    unlike "and nothing of what is inside" "$(cat "$DIR/page")" '^countersign_(leases|tokens|sessions)'
}

# --- The screen ----------------------------------------------------------------------------------------

# Of its own shell: the account that runs this may have none.
tmux_do() {
    env -u TMUX SHELL=/bin/bash tmux -S "$DIR/tmux" -f /dev/null "$@"
}

screen() {
    tmux_do capture-pane -p
}

screen_has() { # REGEX
    screen | grep -E "$1"
}

start_top() { # WIDTH HEIGHT
    tmux_do new-session -d -x "$1" -y "$2" "TERM=screen exec bash --norc --noprofile" &&
        tmux_do send-keys "PS1='ready> '; stty -a >$DIR/stty.before; COUNTERSIGN_TOKEN=\$(cat $DIR/agent/root-token) countersign top" Enter
}

ttl_shown() { # in seconds
    screen | sed -nE 's/^[> ]*(([0-9]+)m([0-9]+)s|1h) +active .*/\2 \3/p' | awk '{ print $1 == "" ? 3600 : $1 * 60 + $2 }'
}

falls() { # FROM
    local now
    now=$(ttl_shown)
    [[ -n $now && $now -lt $1 ]]
}

top_shows() {
    local first
    ok "top starts on 80 by 24" start_top 80 24
    eventually 5 "the lease is there, with its holder" screen_has 'active +token:'
    first=$(ttl_shown)
    ok "and its time (${first:-none})" test "${first:-0}" -gt 3000
    eventually 5 "which runs down" falls "${first:-0}"
    is "no line is too long, none too many" "$(screen | awk 'length > 80' | wc -l) $(screen | wc -l)" "0 24"
    like "the last line tells the keys" "$(screen | tail -n 1)" 'q quit.*r revoke.*\? help'
    tmux_do send-keys '/' nosuch
    eventually 3 "a filter takes it away" screen_has 'Leases \(0\) with nosuch'
    tmux_do send-keys Escape
    eventually 3 "and Escape brings it back" screen_has 'Leases \(1\)'
    tmux_do resize-window -x 60 -y 16
    eventually 3 "a smaller window is drawn anew" screen_has '^q quit'
    is "within its bounds" "$(screen | awk 'length > 60' | wc -l) $(screen | wc -l)" "0 16"
    tmux_do resize-window -x 80 -y 24
}

top_revokes() {
    tmux_do send-keys r
    eventually 3 "r asks" screen_has 'Revoke it\? y/n: .*shop-ro/.* of token:'
    tmux_do send-keys n
    eventually 3 "n does nothing" screen_has 'Nothing was revoked'
    ok "the account is still there" account_exists "$NAME"
    tmux_do send-keys r y
    eventually 5 "y revokes it" screen_has 'Leases \(0\)'
    eventually 5 "and the account goes" account_gone "$NAME"
    tmux_do send-keys q
    eventually 3 "q gives the terminal back" screen_has '^ready>'
    tmux_do send-keys "clear; stty -a >$DIR/stty.after; echo do''ne" Enter
    eventually 3 "and the shell" screen_has '^done'
    ok "as it was" cmp "$DIR/stty.before" "$DIR/stty.after"
    tmux_do send-keys "clear; countersign top" Enter
    eventually 3 "started again" screen_has '^q quit'
    ok "and killed" kill "$(pgrep -x -f 'countersign top' -u "$(id -u)" -n)"
    eventually 3 "it gives it back as well" screen_has '^ready>'
    tmux_do send-keys "clear; stty -a >$DIR/stty.after; echo do''ne" Enter
    eventually 3 "(the shell answers)" screen_has '^done'
    ok "as it was" cmp "$DIR/stty.before" "$DIR/stty.after"
}

lines_of_top() {
    jq -r 'select(.path == "sys/leases") | .pid' "$DIR/agent/audit.log" | sort | uniq -c |
        awk '$1 > max { max = $1 } END { print max + 0 }'
}

no_screen() {
    ok "without a terminal it prints one look" operator top
    like "with the lease" "$OUT" 'database/creds/shop-ro/'
    ok "and for programs" operator top -format=json
    is "in JSON" "$(jq -c '[.status.sealed, (.leases | length), (.logins | type)]' <<<"$OUT")" '[false,1,"array"]'
    is "a screen that looks each second leaves a line a minute" "$(lines_of_top)" 1
}

ok "a PostgreSQL of its own" start_postgres
passed || bail "nothing can be tried without a database"
ok "an agent" watch_agent
passed || bail "nothing can be tried without an agent"
ok "the engine is configured" database
ok "a lease" operator read -format=json database/creds/shop-ro
NAME=$(jq -r .data.username <<<"$OUT")
metrics
if tmux -V >/dev/null 2>&1; then
    top_shows
    no_screen
    top_revokes
else
    skip "countersign top" "tmux is missing"
fi
sealed
finish
