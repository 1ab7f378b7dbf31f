# Goal: a PostgreSQL of a test's own, in $DIR/data, its socket in $DIR/run; its superuser is boss.
#
# Sourced; expects DIR and PORT. find_postgres has to come first.
# shellcheck shell=bash disable=SC2154

find_postgres() {
    local bin
    for bin in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin; do
        if [[ -x $bin/initdb && -x $bin/postgres ]]; then
            PGBIN=$bin
            return 0
        fi
    done
    return 1
}

pg() { # PROGRAM ARGS...: nothing of the caller's environment
    local program=$1
    shift
    env -u PGHOST -u PGPORT -u PGUSER -u PGPASSWORD -u PGDATABASE "$PGBIN/$program" "$@"
}

start_postgres() {
    pg pg_ctl -s -w -t 30 -D "$DIR/data" -l "$DIR/postgres.log" start
}

stop_postgres() { # MODE
    pg pg_ctl -s -w -t 30 -m "$1" -D "$DIR/data" stop
}
