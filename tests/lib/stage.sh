# Goal: what every story and case on a booted host needs: the host with Countersign installed, people who
# log in to it by ssh, their one-time codes, and a database. Sourced after tap.sh, or after something
# with the same words.
#
#   stage_boot NAME            boots PREFIX-NAME; it goes when this script ends
#   stage_install              `make install` into it, and starts countersign.target
#   stage_people               ada (sre, sudo), bea (dba; logs in by key), cal (dba), dan, eve; the services shop
#                              and batch
#   stage_sshd < MORE          sshd lets PAM ask
#   stage_database             the database shop, its readers, an admin account that is no superuser
#   inside [-u USER] CMD...    a command in the host, in no login session
#   dialogue CMD... < ANSWERS  a command on a terminal (see tests/lib/dialogue)
#   enrol USER                 gives USER a TOTP factor through the API, as root; recovery codes are kept
#   next_code USER             sets TOTP to a code that USER has not used yet, waiting for it if need be
#   login USER [SSH-ARGS...]   logs in (password or key, and code) and stays logged in; `login_with` < ANSWERS
#   as USER CMD                runs a shell command in that login
#   logout USER                ends it
# shellcheck shell=bash

STAGE_LIB=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
STAGE_SOURCE=${COUNTERSIGN_SOURCE:-$(realpath "$STAGE_LIB/../..")}
STAGE_BUILD=${COUNTERSIGN_BUILD:-$STAGE_SOURCE/build/release}
STAGE_HOST=""
SOCKET=/run/countersign/agent.sock
ADMIN_PASSWORD=$(tr -dc a-z0-9 </dev/urandom | head -c 20) || true
STAGE_AHEAD=1
TOTP=""
[[ -t 1 && -z ${NO_COLOR-} ]] || export TERM=dumb # what programs print on their terminal is read, and shown as it is
declare -A SECRET STEP SKEW RECOVERY

host() {
    "$STAGE_LIB/../host/host" "$@"
}

inside() { # [-u USER] CMD...
    host exec "$STAGE_HOST" "$@"
}

dialogue() { # [-t SECONDS] CMD... < ANSWERS
    inside /srv/countersign/tests/lib/dialogue "$@" | tr -d '\r'
    return "${PIPESTATUS[0]}"
}

# --- The host ------------------------------------------------------------------------------------------

stage_boot() { # NAME
    STAGE_HOST=${COUNTERSIGN_HOST_PREFIX:-s$$}-$1
    trap stage_end EXIT
    host boot "$STAGE_HOST" --while $$
}

stage_end() {
    host stop "$STAGE_HOST"
}

stage_install() {
    local root
    root=$(host root "$STAGE_HOST")
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory -s -C "$STAGE_SOURCE" \
        "FLAVOR=$(basename "$STAGE_BUILD")" "DESTDIR=$root" install &&
        inside sh -c 'systemd-sysusers && systemd-tmpfiles --create countersign.conf && systemctl daemon-reload &&
            systemctl enable --now --quiet countersign.target'
}

# `stage_people` is told to a shell in the host in one go: each way in costs a fifth of a second.
# shellcheck disable=SC2016
STAGE_PEOPLE='
set -e
groupadd sre; groupadd dba
person() { useradd --create-home --shell /bin/bash --groups "$2" "$1"; printf "%s:watchword-%s\n" "$1" "$1" | chpasswd; }
person ada sre,sudo; person bea dba,sudo; person cal dba; person dan sudo; person eve sudo
useradd --system --shell /usr/sbin/nologin shop; useradd --system --shell /usr/sbin/nologin batch
mkdir -p /root/.ssh
cat >/root/.ssh/config <<"END"
Host *
    StrictHostKeyChecking accept-new
    UpdateHostKeys no
    LogLevel ERROR
    NumberOfPasswordPrompts 1
    PreferredAuthentications publickey,keyboard-interactive,password
    IdentityFile ~/.ssh/%r
    IdentitiesOnly yes
    ControlPath ~/.ssh/live-%r
END
ssh-keygen -q -t ed25519 -N "" -C bea -f /root/.ssh/bea
install -d -m 0700 -o bea -g bea /home/bea/.ssh
install -m 0600 -o bea -g bea /root/.ssh/bea.pub /home/bea/.ssh/authorized_keys'

stage_people() {
    inside bash -c "$STAGE_PEOPLE"
}

# As `countersign pam enable` advises. Standard input: more lines, such as Match blocks.
stage_sshd() {
    { cat <<"END" && cat; } | inside sh -c 'cat >/etc/ssh/sshd_config.d/10-countersign.conf &&
        cat /etc/ssh/sshd_config.d/10-countersign.conf && sshd -t && systemctl reload ssh'
UsePAM yes
KbdInteractiveAuthentication yes
PasswordAuthentication no
AuthenticationMethods publickey,keyboard-interactive keyboard-interactive
END
}

# --- The database --------------------------------------------------------------------------------------

sql() { # SQL [DATABASE]: as the database's superuser
    inside -u postgres psql -qAtX -v ON_ERROR_STOP=1 "${2:-shop}" -c "$1"
}

stage_database() {
    inside -u postgres psql -qX -v ON_ERROR_STOP=1 -f - <<END
CREATE DATABASE shop;
CREATE ROLE shop_readers NOLOGIN;
CREATE ROLE countersign_admin LOGIN CREATEROLE PASSWORD '$ADMIN_PASSWORD';
GRANT shop_readers TO countersign_admin WITH ADMIN OPTION;
\\connect shop
CREATE TABLE orders (id int PRIMARY KEY, item text);
INSERT INTO orders VALUES (1, 'lantern'), (2, 'whistle');
GRANT SELECT ON orders TO shop_readers;
END
}

# A leased account's login. NAME PASSWORD SQL
psql_as() {
    inside env "PGPASSWORD=$2" psql -qAtX -w -h 127.0.0.1 -U "$1" -d shop -c "$3"
}

account_exists() { # NAME
    [[ $(sql "SELECT count(*) FROM pg_roles WHERE rolname = '$1'" postgres) == 1 ]]
}

account_gone() { # NAME
    [[ -n $1 && $(sql "SELECT count(*) FROM pg_roles WHERE rolname = '$1'" postgres) == 0 ]]
}

# Accounts that a lease made, by the comment each one carries.
leased_accounts() {
    sql "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE 'countersign %'" postgres
}

# All that are neither the database's own nor the stage's.
strange_accounts() {
    sql "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND
        rolname !~ '^countersign-' AND
        rolname NOT IN ('postgres', 'countersign_admin', 'shop_readers', 'shop_writers')" postgres
}

# The role shop-slow of some cases sleeps two seconds within its creation statements.
slow_creation_runs() {
    [[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ 'pg_sleep\\(2\\)' AND
        usename = 'countersign_admin'" postgres) != 0 ]]
}

# A psql that stays open until something cuts it. Leaves PSQL (its process) and PSQL_LOG.
open_psql() { # NAME PASSWORD
    PSQL_LOG=$(mktemp)
    psql_as "$1" "$2" "SELECT pg_sleep(120)" >"$PSQL_LOG" 2>&1 &
    PSQL=$!
    for _ in $(seq 50); do
        [[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE usename = '$1'" postgres) == 0 ]] || return 0
        sleep 0.1
    done
    return 1
}

# Whether the open psql ends within SECONDS, and with an error, which is shown.
psql_cut() { # SECONDS
    local code=0
    timeout "$1" tail --pid="$PSQL" -f /dev/null || return 1
    wait "$PSQL" || code=$?
    cat "$PSQL_LOG"
    rm -f "$PSQL_LOG"
    [[ $code != 0 ]]
}

# --- Codes ---------------------------------------------------------------------------------------------

api() { # METHOD PATH [JSON]: as root, without a session
    inside curl -s --fail-with-body --unix-socket "$SOCKET" -X "$1" ${3:+-d "$3"} "http://localhost/v1/$2"
}

ask_api() { # USER PATH: as a plain program of that user, without a token
    inside -u "$1" curl -sS --fail-with-body --unix-socket "$SOCKET" "http://localhost/v1/$2"
}

code_of() { # USER STEP
    oathtool --totp --base32 --now="@$(($2 * 30))" "${SECRET[$1]}"
}

# A person's authenticator: each code is of a later step than the one before. The agent takes the step
# before and after the one it expects and learns a clock that runs ahead, so STAGE_AHEAD codes can be had
# at once before one must wait for the next.
next_code() { # USER
    local now want
    while :; do
        now=$(($(date +%s) / 30))
        want=$((now + ${SKEW[$1]:-0}))
        if [[ $want -le ${STEP[$1]:-0} ]]; then want=$((${STEP[$1]} + 1)); fi
        [[ $want -gt $((now + STAGE_AHEAD)) ]] || break
        sleep 0.3
    done
    SKEW[$1]=$((want - now))
    STEP[$1]=$want
    TOTP=$(code_of "$1" "$want")
}

# The first code is the one of the step before, as long as it surely still counts: so this step's is left.
first_code() { # USER
    local now
    now=$(date +%s)
    SKEW[$1]=0
    STEP[$1]=$((now / 30 - (now % 30 < 25 ? 1 : 0)))
    TOTP=$(code_of "$1" "${STEP[$1]}")
}

# The same for an enrolment on a terminal, from what was seen on it.
take_enrolment() { # USER TEXT
    local code now
    SECRET[$1]=$(grep -oE '^ +([A-Z2-7]{4} ){3,}[A-Z2-7]{1,4}$' <<<"$2" | tail -n 1 | tr -d ' ')
    code=$(sed -nE 's/.*Code from the authenticator: *([0-9]{6}).*/\1/p' <<<"$2" | tail -n 1)
    now=$(($(date +%s) / 30))
    SKEW[$1]=0
    STEP[$1]=$now
    if [[ $(code_of "$1" $((now - 1))) == "$code" ]]; then STEP[$1]=$((now - 1)); fi
    take_recovery_codes "$1" "$2"
}

take_recovery_codes() { # USER TEXT: keeps what looks like one
    RECOVERY[$1]=$(grep -oE '\b[a-zA-Z2-7]{4}(-[a-zA-Z2-7]{4}){3}\b' <<<"$2" | tr '\n' ' ')
}

# Each is used once: sets TOTP to the next one.
next_recovery_code() { # USER
    local rest
    read -r TOTP rest <<<"${RECOVERY[$1]}"
    RECOVERY[$1]=$rest
}

enrol() { # USER
    local answer
    answer=$(api POST "sys/factors/$1/totp" '{}') || return 1
    SECRET[$1]=$(jq -re '.data.secret // .secret' <<<"$answer") || return 1
    first_code "$1"
    answer=$(api POST "sys/factors/$1/totp/confirm" "{\"code\":\"$TOTP\"}") || return 1
    take_recovery_codes "$1" "$answer"
}

# --- Logging in ------------------------------------------------------------------------------------------

password_answer() { # USER
    [[ $1 == bea ]] || printf 'assword\twatchword-%s\twatchword of %s\n' "$1" "$1"
}

code_answer() { # CODE
    printf 'code\t%s\t%s\n' "$1" "$1"
}

# The standard input is the answers. It leaves a connection behind that `as` goes through. The client is
# content as soon as it is authenticated; the session is open when a command runs in it.
login_with() { # USER [SSH-ARGS...]
    local user=$1
    shift
    dialogue bash -c 'trap "" HUP; exec ssh -f -N -M "$@"' ssh "$@" "$user@127.0.0.1" && as "$user" true
}

login() { # USER [SSH-ARGS...]
    next_code "$1"
    { password_answer "$1" && code_answer "$TOTP"; } | login_with "$@"
}

# A login that only tries: no connection stays. Standard input: the answers. Ends with 255 if refused.
try_login() { # USER [SSH-ARGS...]
    local user=$1
    shift
    dialogue ssh -S none "$@" "$user@127.0.0.1" true
}

as() { # USER SHELL-COMMAND
    inside ssh -n -o BatchMode=yes "$1@127.0.0.1" "$2"
}

# On a terminal; the standard input is the answers.
as_on_terminal() { # USER SHELL-COMMAND
    dialogue ssh -tt -o BatchMode=yes "$1@127.0.0.1" "$2"
}

logged_in() { # USER
    inside ssh -O check "$1@127.0.0.1"
}

logout() { # USER
    inside ssh -O exit "$1@127.0.0.1"
}
