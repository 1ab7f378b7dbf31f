#!/usr/bin/env bash
# Goal: the services stay locked up as tight as they are, without the settings that would hide callers from
# the agent, and every socket leads to the agent under the name it knows.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "$COUNTERSIGN_SOURCE/tests/lib/tap.sh"
cd "$COUNTERSIGN_SOURCE/packaging"

setting() { # FILE NAME: its value
    sed -n "s/^$2=//p" "$1"
}

sandbox() {
    local unit
    for unit in *.service; do
        ok "$unit is rated 1.5 or better" \
            systemd-analyze security --no-pager --offline=true --threshold=15 "$PWD/$unit"
        is "$unit dumps no core" "$(setting "$unit" LimitCORE)" 0
        is "$unit keeps no capability" "$(grep -c '^CapabilityBoundingSet=$' "$unit")" 1
    done
    for unit in PrivateUsers ProtectProc ProcSubset; do
        is "the agent is without $unit=" "$(setting countersignd.service "$unit")" ""
    done
    is "the agent has no network" "$(setting countersignd.service PrivateNetwork)" yes
    is "and speaks to local sockets only" "$(setting countersignd.service RestrictAddressFamilies)" AF_UNIX
}

sockets() {
    local row name path mode owner unit
    for row in 'agent agent.sock 0666 -' 'pam pam.sock 0600 root' 'pam-user pam-user.sock 0666 -' \
        'connector connector.sock 0600 countersign-connector'; do
        read -r name path mode owner <<<"$row"
        unit=countersign-$name.socket
        is "$unit: name" "$(setting "$unit" FileDescriptorName)" "$name"
        like "$unit: path" "$(cat "$unit")" "^Listen(Stream|SequentialPacket)=/run/countersign/$path\$"
        is "$unit: mode" "$(setting "$unit" SocketMode)" "$mode"
        is "$unit: owner" "$(setting "$unit" SocketUser)" "${owner#-}"
        is "$unit: service" "$(setting "$unit" Service)" countersignd.service
        like "$unit: the agent takes it" "$(setting countersignd.service Sockets)" "(^| )$unit( |\$)"
        like "$unit: the target wants it" "$(setting countersign.target Wants)" "(^| )$unit( |\$)"
    done
}

sandbox
sockets
finish
