# Goal: what scenarios need that talk to an agent of their own: one in dev mode, below the script's DIR. Sourced
# after tap.sh; AGENT_ARGS are more arguments for it, AGENT_PROGRAM another program than the one built.
#
#   start_agent           starts it in DIR/dev; AGENT is its process, DIR/out what it says
#   stop_agent [SIGNAL]   ends it (TERM), and waits until it has
#
# At the script's end the agent and DIR go; a script with more to clean up says at_exit anew.
# shellcheck shell=bash

AGENT=0
AGENT_ARGS=()

start_agent() {
    local i
    : >"$DIR/out" # what the one before said is not to be taken for this one's
    "${AGENT_PROGRAM:-$COUNTERSIGN_BUILD/countersignd}" --dev --dir "$DIR/dev" "${AGENT_ARGS[@]}" >"$DIR/out" 2>&1 &
    AGENT=$!
    for ((i = 0; i < 400; i++)); do
        grep -q '^Root Token: ' "$DIR/out" && return 0
        kill -0 "$AGENT" || break
        sleep 0.05
    done
    cat "$DIR/out"
    return 1
}

stop_agent() { # [SIGNAL]
    kill "-${1:-TERM}" "$AGENT"
    wait "$AGENT" 2>/dev/null || true
    AGENT=0
}

at_exit() {
    [[ $AGENT == 0 ]] || kill -KILL "$AGENT" 2>/dev/null || true
    rm -rf "$DIR"
}
trap at_exit EXIT
