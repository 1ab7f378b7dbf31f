#!/usr/bin/env bash
# Goal: what an attacker on this host tries comes to nothing: shedding a denial, using a code many times at
# once, other people's factors, tokens and sessions, what is left behind after a logout, planted environments,
# crowds on the sockets, malformed requests, names that deceive whoever reads them, deleted accounts.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=../lib/tap.sh
. ../lib/tap.sh
# shellcheck source=../lib/stage.sh
. ../lib/stage.sh
# shellcheck source=../lib/rules.sh
. ../lib/rules.sh
STAGE_AHEAD=15 # nobody waits for the next code here

TOOLS=/usr/local/lib/attack
PLACE=$(mktemp)

# Standing in for a program of the attacker's own: perl is on every Debian host.
#   speak USER CODE                 a whole dialogue on pam-user.sock; prints the verdict's number
#   crowd SOCKET TYPE N SECONDS     holds as many idle connections as it gets, up to N, and comes again
#   knock SOCKET                    whether a packet socket can be connected to, and stays so for a second
#   raw                             sends standard input to agent.sock; prints the answer's first line
tools() {
    inside mkdir -p "$TOOLS"
    inside tee "$TOOLS/crowd" <<'PERL' >/dev/null
use Socket; use IO::Handle;
my ($path, $type, $n, $seconds) = @ARGV;
my (@held, $made, $end); $end = time + $seconds;
while (time < $end) {
    for (1 .. 200) {
        last if @held >= $n;
        socket(my $s, AF_UNIX, $type eq 'packet' ? SOCK_SEQPACKET : SOCK_STREAM, 0) or last;
        $s->blocking(0);
        connect($s, pack_sockaddr_un($path)) or last;
        $made++; push @held, $s;
    }
    my @alive;
    for my $s (@held) {
        my $r = ''; vec($r, fileno $s, 1) = 1;
        push @alive, $s unless select($r, undef, undef, 0) && !sysread($s, my $b, 100);
    }
    @held = @alive;
}
print "$path: made $made, holds " . @held . "\n";
PERL
    inside tee "$TOOLS/speak" <<'PERL' >/dev/null
use Socket;
my ($user, $code) = @ARGV;
sub field { pack("Cv", $_[0], length $_[1]) . $_[1] }
socket(S, AF_UNIX, SOCK_SEQPACKET, 0) or die;
connect(S, pack_sockaddr_un("/run/countersign/pam-user.sock")) or die $!;
send(S, pack("CC", 1, 1) . field(1, chr 1) . field(2, chr 0) . field(3, "sshd") . field(4, $user), 0);
for (1 .. 5) {
    recv(S, my $b, 4096, 0);
    last unless length $b;
    my $type = ord substr $b, 1, 1;
    if ($type == 18) { print "verdict ", ord(substr $b, 5, 1), "\n"; exit }
    if ($type == 16) { sleep 1; send(S, pack("CC", 1, 2) . field(12, $code), 0) }
}
print "hung up\n";
PERL
    inside tee "$TOOLS/knock" <<'PERL' >/dev/null
use Socket;
socket(S, AF_UNIX, SOCK_SEQPACKET, 0) or die;
connect(S, pack_sockaddr_un($ARGV[0])) or do { print "$!\n"; exit 1 };
my $r = ''; vec($r, fileno S, 1) = 1;
if (select($r, undef, undef, 1)) { print "closed\n"; exit 1 }
print "open\n";
PERL
    inside tee "$TOOLS/raw" <<'PERL' >/dev/null
use Socket;
$SIG{PIPE} = 'IGNORE'; $SIG{ALRM} = sub { print "no answer\n"; exit 1 }; alarm 5;
for (<STDIN>) {
    chomp; s/\\r/\r/g; s/\\n/\n/g; s/\\0/\0/g; s/\{(.)x(\d+)\}/$1 x $2/e;
    socket(S, AF_UNIX, SOCK_STREAM, 0) or die;
    connect(S, pack_sockaddr_un("/run/countersign/agent.sock")) or die $!;
    syswrite S, $_; my $o = '';
    while (sysread S, my $b, 9000) { $o .= $b; last if $o =~ /\n\r\n.*\n/s }
    print $o =~ /^HTTP\/1.1 (\d+)/ ? "$1\n" : "closed\n";
}
PERL
}

attack() { # USER TOOL [ARGS...]
    local user=$1 tool=$2
    shift 2
    inside -u "$user" perl "$TOOLS/$tool" "$@"
}

ask() { # USER METHOD PATH [JSON] [TOKEN]: prints the answer; fails on an HTTP error
    inside -u "$1" curl -sS --fail-with-body --path-as-is --unix-socket "$SOCKET" -X "$2" ${4:+-d "$4"} \
        ${5:+-H "X-Vault-Token: $5"} "http://localhost/v1/$3"
}

bind_all() {
    ops <<'END'
PUT sys/bindings/login {"principals":["*"],"services":["sshd"],"mfa":true}
PUT sys/bindings/sudo {"principals":["*"],"services":["sudo"],"mfa":{"max_age":"3s"}}
POST sys/mounts/secret {"type":"kv","options":{"version":"2"}}
POST secret/data/word {"data":{"word":"halberd"}}
POST secret/data/proved {"data":{"word":"pike"}}
POST sys/policies/acl/wide {"policy":"path \"secret/*\" { capabilities = [\"read\", \"list\"] }\npath \"sys/policies/*\" { capabilities = [\"read\"] }\npath \"auth/token/create\" { capabilities = [\"update\"] }"}
POST sys/policies/acl/barred {"policy":"path \"secret/data/word\" { capabilities = [\"deny\"] }\npath \"sys/policies/acl/wide\" { capabilities = [\"deny\"] }"}
POST sys/policies/acl/proved {"policy":"path \"secret/data/proved\" { capabilities = [\"read\"] }\npath \"auth/token/create\" { capabilities = [\"update\"] }"}
POST secret/data/console {"data":{"word":"lantern"}}
POST sys/policies/acl/console {"policy":"path \"secret/data/console\" { capabilities = [\"read\"] }"}
PUT sys/bindings/console {"principals":["user:dan"],"policies":["console"],"from":["local"]}
PUT sys/bindings/cal {"principals":["user:cal"],"policies":["wide","barred"]}
PUT sys/bindings/proved {"principals":["user:dan","user:bea"],"policies":["proved"],"mfa":true}
END
}

set_up() {
    ok "a host boots" stage_boot attacks
    passed || bail "nothing can be tried without a host"
    ok "Countersign is installed" stage_install
    passed || bail "nothing can be tried without the programs"
    ok "people" stage_people
    ok "root has a key" inside sh -c 'ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/root &&
        cp /root/.ssh/root.pub /root/.ssh/authorized_keys'
    ok "sshd asks PAM" stage_sshd < <(printf 'PermitRootLogin yes\nMaxStartups 100\n')
    ok "the store is made" rules_init
    ok "bindings" bind_all
    ok "the module is switched on" rules_pam ada bea dan eve root
    ok "the attacker's tools" tools
    inside sed -i 's/pam_unix\.so/& nodelay/' /etc/pam.d/common-auth
}

# --- Denials ---------------------------------------------------------------------------------------------

denials() {
    local path token
    ok "cal reads what nothing denies" ask cal GET secret/data/proved
    for path in secret/data/word secret/data/word/ secret/data/%77ord secret/data%2Fword 'secret/data/word?version=1' \
        secret/data//word secret/data/./word secret/data/x/../word sys/policies/acl/wide sys/policies/acl/wide/; do
        fails "a denial holds however it is spelled: $path" ask cal GET "$path"
    done
    token=$(ask cal POST auth/token/create '{"policies":["wide"]}' | jq -r .auth.client_token)
    ok "a token without the policy that denies works" ask cal GET secret/data/proved "" "$token"
    fails "but what that policy denies stays denied" ask cal GET secret/data/word "" "$token"
    token=$(ask cal POST auth/token/create '{"policies":["wide"],"no_default_policy":true}' "$token" |
        jq -r .auth.client_token)
    ok "a token made with that token works" ask cal GET secret/data/proved "" "$token"
    fails "and sheds nothing either" ask cal GET secret/data/word "" "$token"
    fails "somebody else's token is of no use" ask eve GET secret/data/proved "" "$token"
    like "and says so" "$OUT" 'bound to uid'
    fails "nor can more be had than one has" ask cal POST auth/token/create '{"policies":["root"]}'
    fails "nor a token that outlives all" ask cal POST auth/token/create '{"period":"24h"}'
}

# --- One code, many doors at once ------------------------------------------------------------------------

race() {
    local wins i code
    next_code ada
    code=$TOTP
    wins=$(mktemp -d)
    for i in $(seq 7); do
        { attack ada speak ada "$code" | grep -qx 'verdict 1' && touch "$wins/u$i"; } &
        { printf 'watchword-ada\n%s\n' "$code" | inside pamtester sudo ada authenticate && touch "$wins/s$i"; } &
        [[ $i == 7 ]] || { try_login ada < <(password_answer ada && code_answer "$code") && touch "$wins/l$i"; } &
    done >/dev/null 2>&1
    wait
    is "twenty tries with one code at sshd, sudo and the user socket: one gets in" "$(ls "$wins" | wc -l)" 1
    rm -rf "$wins"
}

# --- What is other people's ------------------------------------------------------------------------------

others() {
    local line before
    is "the user socket believes the kernel, not the name" "$(attack eve speak ada 123456)" "verdict 0"
    is "nor another name of one's own" "$(attack eve speak EVE 123456)" "verdict 0"
    while read -r line; do
        # shellcheck disable=SC2086
        fails "eve: ${line%% \{*}" ask eve $line
    done <<'END'
GET sys/factors/ada
POST sys/factors/ada/totp {}
POST sys/factors/ada%2f..%2feve/totp {}
POST sys/factors/EVE/totp {}
DELETE sys/factors/ada
DELETE sys/factors/ada/totp
POST sys/factors/self/totp {}
POST sys/factors/self/passphrase {"passphrase":"correct-horse-battery"}
POST sys/factors/self/recovery {}
DELETE sys/factors/self
PUT sys/leases/revoke-principal {"principal":"user:ada"}
PUT sys/leases/lookup {"lease_id":"database/creds/shop-ro/x"}
PUT sys/bindings/mine {"principals":["*"],"policies":["wide"]}
PUT sys/enrolment {"mode":"grace","until":"2099-01-01"}
PUT sys/explain {"principal":"user:ada","operation":"read","path":"secret/data/word"}
PUT sys/seal {}
PUT sys/init {}
PUT sys/unseal {"key":"x"}
GET sys/bindings
GET sys/audit/head
END
    unlike "being turned away does not look like root's doing" "$(inside journalctl -q -u countersignd -o cat)" \
        "root used .* by uid $(inside id -u eve) "
    before=$(ask eve GET 'sys/sessions?user=root' | jq -c .data.sessions)
    is "nobody else's sessions are listed" "$before" "[]"
    fails "sudo as oneself does not make one root to the agent" inside -u eve sudo -n countersign status
}

private_things() {
    local pid command
    pid=$(inside pgrep -x countersignd)
    for command in "cat /proc/$pid/environ" "cat /proc/$pid/maps" "ls /proc/$pid/fd" "head -c 1 /proc/$pid/mem" \
        "kill -ABRT $pid" "ls /var/lib/countersign" "cat /var/log/countersign/audit.log" \
        "ls /etc/credstore.encrypted" "rm -f /run/countersign/agent.sock" "touch /run/countersign/x" \
        "perl $TOOLS/knock /run/countersign/pam.sock" "perl $TOOLS/knock /run/countersign/connector.sock"; do
        fails "eve: ${command//$pid/AGENT}" inside -u eve sh -c "$command"
    done
    is "the agent has no capabilities" "$(inside grep -c 'Cap...:.0000000000000000' "/proc/$pid/status")" 5
    is "nor dumps its memory" "$(inside sh -c "grep 'core file' /proc/$pid/limits" | tr -s ' ' | cut -d' ' -f5,6)" "0 0"
    fails "the connector is not root's to play" inside perl "$TOOLS/knock" /run/countersign/connector.sock
}

# --- Malformed requests ----------------------------------------------------------------------------------

malformed() {
    local answers
    answers=$(attack eve raw <<'END' | sort | uniq -c | tr -s ' \n' ' '
GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab
POST /v1/sys/init HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n
GET /v1/sys/health HTTP/1.1\nHost: a\n\n
GET /v1/sys/health\0x HTTP/1.1\r\nHost: a\r\n\r\n
GET /v1/secret/data/word%00 HTTP/1.1\r\nHost: a\r\n\r\n
GET /v1/secret/data/%0aword HTTP/1.1\r\nHost: a\r\n\r\n
GET /v1/sys/factors/%1b%5b31m HTTP/1.1\r\nHost: a\r\n\r\n
GET /v1/sys/factors/%ff HTTP/1.1\r\nHost: a\r\n\r\n
GET http://x/v1/sys/health HTTP/1.1\r\nHost: a\r\n\r\n
GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX-Vault-Token: a\r\nX-Vault-Token: b\r\n\r\n
GET /v1/sys/health HTTP/1.1\r\nHost : a\r\n\r\n
GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n
POST /v1/sys/capabilities-self HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{[x9000}
END
    )
    is "thirteen malformed requests are refused, one by one" "$answers" " 13 400 "
    ok "and the agent is well" ask eve GET sys/health
}

# --- A crowd ---------------------------------------------------------------------------------------------

root_login_ms() { # sets MS
    local begin
    next_code root
    begin=$(date +%s%3N)
    ok "$1" try_login root < <(code_answer "$TOTP")
    MS=$(ms_since "$begin")
}

crowd() {
    local calm busy crowds=() log
    log=$(mktemp)
    root_login_ms "root logs in by key and code"
    calm=$MS
    for socket in "agent.sock stream" "pam-user.sock packet"; do
        # shellcheck disable=SC2086
        inside -u eve bash -c "ulimit -n 8000; exec perl $TOOLS/crowd /run/countersign/$socket 5000 6" >>"$log" &
        crowds+=($!)
    done
    sleep 1.5
    root_login_ms "and with thousands of eve's connections on every socket she may open"
    busy=$MS
    ok "without delay ($calm ms, then $busy ms)" test "$busy" -lt $((calm + 2000))
    ok "root's own questions are answered" timeout 5 "$STAGE_LIB/../host/host" exec "$STAGE_HOST" countersign status
    ok "and other people's" timeout 5 "$STAGE_LIB/../host/host" exec "$STAGE_HOST" -u cal curl -sS \
        --unix-socket "$SOCKET" http://localhost/v1/sys/health
    wait "${crowds[@]}" || true
    like "there were thousands" "$(cat "$log")" 'made [0-9]{4}'
    rm -f "$log"
}

# --- A planted environment -------------------------------------------------------------------------------

# Debian's sshd reads ~/.pam_environment after the factor was proved, before the session opens.
planted() {
    local stolen
    # shellcheck disable=SC2016
    inside sh -c 'echo "STOLEN DEFAULT=\${COUNTERSIGN_HANDLE}" >/home/dan/.pam_environment'
    ok "dan logs in with a variable planted that copies the handle" login dan
    stolen=$(as dan 'echo $STOLEN')
    like "his session is proved all the same" "$(as dan 'countersign session list')" 'totp'
    logout dan >/dev/null 2>&1 || true
    inside sh -c "echo 'COUNTERSIGN_HANDLE OVERRIDE=${stolen:-0123456789abcdef0123456789abcdef}' >/home/dan/.pam_environment"
    login dan >/dev/null 2>&1 || true
    unlike "that handle has been used up: with it nothing is read" "$(as dan 'countersign kv get secret/proved' 2>&1)" pike
    logout dan >/dev/null 2>&1 || true
    inside sh -c 'echo "SSH_AUTH_INFO_0 OVERRIDE=\"publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIII\"" \
        >/home/dan/.pam_environment'
    exits 255 "a planted SSH_AUTH_INFO_0 is no key" try_login dan \
        < <(password_answer dan && printf 'code\t123456\n')
    inside rm -f /home/dan/.pam_environment
    exits 255 "nor is one that the client sends" try_login dan -o SendEnv=SSH_AUTH_INFO_0 \
        -o 'SetEnv=COUNTERSIGN_HANDLE=0123456789abcdef0123456789abcdef' < <(printf 'assword\twrong\ncode\t123456\n')
}

# --- Where one comes from --------------------------------------------------------------------------------

# A user's manager has an audit session of its own, which nobody recorded: sudo to oneself opens one there.
whence() {
    ok "dan logs in from afar" login dan
    fails "what is for the console is not for him" as dan "countersign kv get secret/console"
    next_code dan
    # shellcheck disable=SC2016
    as_on_terminal dan 'export XDG_RUNTIME_DIR=/run/user/$(id -u)
        systemd-run --user --pty --quiet sudo -u dan sh -c "id -un; countersign session list
            countersign kv get -field=word secret/console"' \
        < <(password_answer dan && code_answer "$TOTP") >"$PLACE" 2>&1 || true
    like "he asks from within a service of his own, through sudo" "$(tr -d '\r' <"$PLACE")" '^dan$'
    unlike "which does not make him local" "$(cat "$PLACE")" ' local |lantern'
    rm -f "$PLACE"
    logout dan >/dev/null 2>&1 || true
}

# --- What is left behind ---------------------------------------------------------------------------------

LEFT='exec >"$HOME/$1" 2>&1; sleep "${2:-0}"; api="curl -sS --unix-socket /run/countersign/agent.sock"
at=http://localhost/v1
$api $at/secret/data/proved; $api -d "{}" $at/auth/token/create
$api -H "X-Vault-Token: $(cat "$HOME/token")" $at/secret/data/proved'

left_behind() {
    local way
    ok "dan logs in" login dan
    inside -u dan tee /home/dan/left <<<"$LEFT" >/dev/null
    ok "and takes a token" as dan "curl -sS --unix-socket $SOCKET -d '{}' http://localhost/v1/auth/token/create |
        jq -re .auth.client_token >token"
    as dan 'sh left here' || true
    is "in his session he reads, gets tokens, and uses them" "$(as dan 'grep -c -e pike -e client_token here')" 3
    # A user's manager starts outside of the login.
    as dan 'export XDG_RUNTIME_DIR=/run/user/$(id -u)
        nohup sh left nohup 3 >/dev/null 2>&1 & setsid sh left setsid 3 >/dev/null 2>&1 &
        systemd-run --user --quiet --scope sh left scope 3 >/dev/null 2>&1 &
        systemd-run --user --quiet sh /home/dan/left unit 3; tmux new-session -d "sh left tmux 3" ||
        (setsid sh left tmux 3 &) >/dev/null 2>&1' || true
    ok "he logs out" logout dan
    sleep 4.5
    for way in nohup setsid scope unit tmux; do
        like "left behind by $way: refused" "$(inside cat "/home/dan/$way")" 'permission denied'
        unlike "for everything" "$(inside cat "/home/dan/$way")" 'pike|client_token'
    done
    fails "nor is anything had by what runs without a session" ask dan GET secret/data/proved
}

# --- Names -----------------------------------------------------------------------------------------------

names() {
    local evil=$'x\e[31m\nsudo for ada: allowed\u202ey' log
    inside pamtester sshd "$evil" acct_mgmt >/dev/null 2>&1 || true
    ask cal GET 'secret/data/a%C2%9B31m%E2%80%AEb' >/dev/null 2>&1 || true
    ask eve GET 'secret/data/a%C2%9B31m%E2%80%AEb' "" hvs.x >/dev/null 2>&1 || true
    log=$(inside journalctl -q -u countersignd -o cat)
    like "a name with a line of its own was tried" "$log" 'sudo for ada: allowed'
    unlike "it does not begin one in the journal" "$log" '^sudo for ada: allowed'
    is "no journal line steers the terminal" "$(LC_ALL=C grep -cP '\x1b|\xc2\x9b|\xe2\x80\xae' <<<"$log" || true)" 0
    log=$(inside cat /var/log/countersign/audit.log)
    like "the audit log has it" "$log" 'sudo for ada: allowed'
    is "every line of it is JSON" "$(jq -c . <<<"$log" | wc -l)" "$(wc -l <<<"$log")"
    is "and none steers the terminal" "$(LC_ALL=C grep -cP '\x1b|\xc2\x9b|\xe2\x80\xae' <<<"$log" || true)" 0
    ok "its chain is whole" inside countersign audit verify
    inside sh -c 'printf "\033[31mw\342\200\256:x:3001:3001::/tmp:/bin/sh\n" >>/etc/passwd'
    fails "an account with such a name is nobody to the agent" inside setpriv --reuid=3001 --regid=3001 \
        --clear-groups curl -sS --fail-with-body --unix-socket "$SOCKET" http://localhost/v1/sys/factors/self
    inside sed -i '/:3001:/d' /etc/passwd
}

# The agent believes NSS for half a minute: what is looked at last has long begun.
deleting() {
    ok "bea logs in" login bea
    ok "and reads" as bea "countersign kv get -field=word secret/proved"
    inside sh -c 'userdel --force bea >/dev/null 2>&1; useradd --uid "$(stat -c %u /home/bea)" \
        --home-dir /home/bea --shell /bin/bash mal' || true
    is "her account is deleted while she is logged in, and another gets its number" "$(inside id -un mal)" mal
}

deleted() {
    local read="curl -sS --fail-with-body --unix-socket $SOCKET http://localhost/v1/secret/data/proved"
    eventually 30 "soon nothing is read in her session" as bea "! $read >/dev/null"
    fails "nor by the next one of her number" ask mal GET secret/data/proved
    logout bea >/dev/null 2>&1 || true
}

set_up
denials
others
private_things
malformed
crowd
deleting
planted
whence
left_behind
race
names
deleted
finish
