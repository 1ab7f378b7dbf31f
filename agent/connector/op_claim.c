/* The claim: before anything is done to a database's accounts, is it still ours to do?
 *
 * The marker is a role without login, made by us, since a CREATEROLE account may comment on that (a
 * setting of its own role it may not make, and from 16 on not even comment on itself). Who writes
 * the comment first changes the role's row: a second agent doing the same waits for that row, fails
 * with "tuple concurrently updated", and looks again. So of two, one always sees the other. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "connector/job.h"
#include "connector/sql.h"

#define PREFIX "Countersign claim="

enum claim_step { LOOK, MAKE, BEGIN, LOCK, LOOK_AGAIN, WRITE, COMMIT };

static const json_t *claim(const struct job *j)
{
    return json_object_get(j->frame.body, "claim");
}

static const char *marker(const struct job *j)
{
    return json_str_or(claim(j), "marker", "");
}

static enum verdict jump(struct job *j, enum claim_step to)
{
    j->step = to;
    return STEP_JUMP;
}

static enum verdict ask_look(struct job *j, struct pgconn_query *q)
{
    buf_puts(&q->sql,
             "SELECT pg_catalog.shobj_description(r.oid, 'pg_authid') FROM pg_catalog.pg_roles r "
             "WHERE r.rolname OPERATOR(pg_catalog.=) $1");
    q->param[q->params++] = marker(j);
    return STEP_SEND;
}

enum whose { OURS, OURS_BEFORE, FOREIGN };

/* A marker without a token was made a moment ago, or lost its comment: nobody's. */
static enum whose whose(const struct job *j, const char *comment)
{
    const json_t *known = json_object_get(claim(j), "known"), *one;
    char token[CONNECTOR_CLAIM_LEN + 1] = "";
    size_t n = strlen(PREFIX), i;

    if (strncmp(comment, PREFIX, n) == 0)
        (void)snprintf(token, sizeof(token), "%s", comment + n);
    if (strcmp(token, json_str_or(claim(j), "next", "")) == 0)
        return OURS;
    if (!token[0] || json_bool(claim(j), "take", false))
        return OURS_BEFORE;
    json_array_foreach(known, i, one)
    {
        if (strcmp(token, json_string_value(one)) == 0)
            return OURS_BEFORE;
    }
    return FOREIGN;
}

static enum verdict superseded(struct job *j, const char *comment)
{
    const char *by = strstr(comment, " by ");
    struct buf shown _cleanup_buf_ = BUF_INIT(256);

    encode_printable(&shown, by ? by + 4 : "an agent that left no name", 200);
    if (buf_error(&shown) < 0)
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    failure_set(&j->why, FAILURE_SUPERSEDED,
                "another agent with a copy of this store has claimed the database: %s",
                buf_str(&shown));
    return STEP_FAIL;
}

static enum verdict take_look(struct job *j, const PGresult *result)
{
    const char *comment = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "";

    if (PQntuples(result) == 0)
        return jump(j, MAKE);
    switch (whose(j, comment)) {
    case OURS:
        return jump(j, COMMIT + 1);
    case OURS_BEFORE:
        return jump(j, BEGIN);
    default:
        return superseded(j, comment);
    }
}

static enum verdict ask_make(struct job *j, struct pgconn_query *q)
{
    sql_put(&q->sql, pgconn_raw(j->conn), "CREATE ROLE %I NOLOGIN CONNECTION LIMIT 0", marker(j));
    return STEP_SEND;
}

/* Somebody else made it at the same time. */
static enum verdict make_failed(struct job *j)
{
    if (strcmp(j->why.sqlstate, "42710") == 0 || strcmp(j->why.sqlstate, "23505") == 0)
        return jump(j, LOOK);
    return STEP_FAIL;
}

static enum verdict ask_lock(struct job *j, struct pgconn_query *q)
{
    sql_put(&q->sql, pgconn_raw(j->conn), "ALTER ROLE %I CONNECTION LIMIT 0", marker(j));
    return STEP_SEND;
}

static enum verdict take_again(struct job *j, const PGresult *result)
{
    const char *comment = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "";

    return whose(j, comment) == FOREIGN ? superseded(j, comment) : STEP_NEXT;
}

static enum verdict ask_write(struct job *j, struct pgconn_query *q)
{
    char stamp[CLOCK_STAMP_LEN];
    _cleanup_buf_ struct buf text = BUF_INIT(1024), by = BUF_INIT(256);

    clock_stamp(clock_wall_ms(), 0, stamp);
    encode_printable(&by, json_str_or(claim(j), "by", ""), 200);
    buf_putf(&text, PREFIX "%s by %s, %s", json_str_or(claim(j), "next", ""), buf_str(&by), stamp);
    if (buf_error(&text) < 0 || buf_error(&by) < 0)
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    sql_put(&q->sql, pgconn_raw(j->conn), "COMMENT ON ROLE %I IS %L", marker(j), buf_str(&text));
    return STEP_SEND;
}

/* That COMMIT may be done twice: the token is ours then already. */
const struct step job_steps_claim[] = {
    [LOOK] = {.ask = ask_look, .take = take_look},
    [MAKE] = {.ask = ask_make, .failed = make_failed},
    [BEGIN] = {.ask = job_ask_begin},
    [LOCK] = {.ask = ask_lock},
    [LOOK_AGAIN] = {.ask = ask_look, .take = take_again},
    [WRITE] = {.ask = ask_write},
    [COMMIT] = {.ask = job_ask_commit, .take = job_take_commit},
    {.ask = NULL},
};
