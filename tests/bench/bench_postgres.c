/* The bare limit of a database lease: what the connector says to PostgreSQL for one account, by
 * libpq alone, on one connection that stays open. The accounts are dropped again, unmeasured. */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "bench/bench.h"
#include "base/buf.h"
#include "engine/scram.h"

static bool run(PGconn *c, const char *sql)
{
    PGresult *r = PQexec(c, sql);
    bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;
    PQclear(r);
    return ok;
}

static void name_of(char out[64], uint64_t i)
{
    snprintf(out, 64, "bench-%ld-%llu", (long)getpid(), (unsigned long long)i);
}

static bool create(PGconn *c, const char *group, uint64_t i)
{
    char name[64], sql[1024];
    _cleanup_buf_ struct buf verifier = BUF_INIT(512);
    name_of(name, i);
    if (scram_verifier("a-password-of-the-bench", &verifier) < 0 || !run(c, "BEGIN"))
        return false;
    snprintf(sql, sizeof(sql),
             "CREATE ROLE \"%s\" LOGIN PASSWORD '%s' VALID UNTIL '2099-01-01T00:00:00Z' "
             "CONNECTION LIMIT 10 IN ROLE %s",
             name, buf_str(&verifier), group);
    if (!run(c, sql))
        return false;
    snprintf(sql, sizeof(sql), "COMMENT ON ROLE \"%s\" IS 'bench lease=%s'", name, name);
    if (!run(c, sql))
        return false;
    snprintf(sql, sizeof(sql), "GRANT \"%s\" TO CURRENT_USER", name);
    return run(c, sql) && run(c, "COMMIT");
}

static void drop_all(PGconn *c, uint64_t n)
{
    char name[64], sql[128];
    for (uint64_t i = 0; i < n; i++) {
        name_of(name, i);
        snprintf(sql, sizeof(sql), "DROP ROLE IF EXISTS \"%s\"", name);
        (void)run(c, sql);
    }
}

int bench_postgres(const struct bench *b)
{
    static struct tally t;
    PGconn *c = PQconnectdb(b->arg[0]);
    uint64_t done = 0;
    int r = 0;
    errno = 0;
    int64_t began = tally_now();
    if (PQstatus(c) != CONNECTION_OK)
        r = bench_failed(PQerrorMessage(c));
    for (; r == 0 && bench_goes_on(b, began, done); done++) {
        int64_t at = tally_now();
        if (!create(c, b->arg[1], done))
            r = bench_failed(PQerrorMessage(c));
        tally_add(&t, tally_now() - at);
    }
    if (r == 0)
        tally_print(&t, 0, (double)(tally_now() - began) / 1e9);
    drop_all(c, done);
    PQfinish(c);
    return r;
}
