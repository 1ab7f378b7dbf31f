# Goal: what both kinds of trials (tests/trial/) stand on: a folder, and a PostgreSQL with an admin account
# that is no superuser. Sourced after tap.sh.
#
#   trial_run PROGRAM ARGS...   runs BUILD/PROGRAM BUILD FOLDER ARGS... DATABASE-URL PASSWORD; its TAP is ours
# shellcheck shell=bash

# shellcheck source=postgres.sh
. "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-trial.XXXXXX")
PORT=$((20000 + RANDOM % 20000))

trial_end() {
    [[ ! -e $DIR/data/postmaster.pid ]] || pg pg_ctl -s -w -m immediate -D "$DIR/data" stop || true
    [[ -n ${TRIAL_KEEP-} ]] || rm -rf "$DIR"
}

trial_postgres() {
    mkdir "$DIR/run" && pg initdb -D "$DIR/data" -U boss -A trust --no-sync -E UTF8 --locale=C >/dev/null || return 1
    cat >>"$DIR/data/postgresql.conf" <<END
listen_addresses = ''
port = $PORT
unix_socket_directories = '$DIR/run'
fsync = off
END
    printf 'local all boss trust\nlocal all all scram-sha-256\n' >"$DIR/data/pg_hba.conf"
    TRIAL_PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
    start_postgres && pg psql -X -q -v ON_ERROR_STOP=1 -h "$DIR/run" -p "$PORT" -U boss -d postgres \
        -c "CREATE ROLE cs_admin LOGIN CREATEROLE PASSWORD '$TRIAL_PASSWORD'" -c "CREATE ROLE shop_ro NOLOGIN"
}

trial_run() { # PROGRAM ARGS...
    local program=$1 home=$DIR/trial
    shift
    mkdir -p "$home"
    trap trial_end EXIT
    if ! find_postgres; then
        echo "# no PostgreSQL is installed: the trials go without databases"
        TRIAL_USER=$(id -un) "$COUNTERSIGN_BUILD/$program" "$COUNTERSIGN_BUILD" "$home" "$@"
        return
    fi
    trial_postgres || { echo "Bail out! PostgreSQL does not start"; return 1; }
    TRIAL_USER=$(id -un) TRIAL_PG="host=$DIR/run port=$PORT user=boss dbname=postgres" \
        "$COUNTERSIGN_BUILD/$program" "$COUNTERSIGN_BUILD" "$home" "$@" \
        "postgresql://{{username}}:{{password}}@/postgres?host=$DIR/run&port=$PORT" "$TRIAL_PASSWORD"
}
