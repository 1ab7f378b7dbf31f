/* create and renew. */
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "connector/job.h"
#include "connector/sql.h"

static void put_expiry(struct job *j, char stamp[CLOCK_STAMP_LEN])
{
    clock_stamp(json_int(j->frame.body, "expires", 0) * 1000, 0, stamp);
}

/* --- create: one transaction. ---------------------------------------------------------------- */

static enum verdict ask_create(struct job *j, struct pgconn_query *q)
{
    const json_t *groups = json_object_get(j->frame.body, "groups"), *group;
    PGconn *conn = pgconn_raw(j->conn);
    char stamp[CLOCK_STAMP_LEN];
    size_t i;

    FAULT_POINT(connector_before_create);
    if (job_has_statements(j))
        return STEP_NEXT;
    put_expiry(j, stamp);
    sql_put(&q->sql, conn, "CREATE ROLE %I LOGIN PASSWORD %L VALID UNTIL %L CONNECTION LIMIT %N",
            job_str(j, "role"), job_str(j, "verifier"), stamp,
            json_int(j->frame.body, "connection_limit", -1));
    json_array_foreach(groups, i, group)
        sql_put(&q->sql, conn, i == 0 ? " IN ROLE %I" : ", %I", json_string_value(group));
    return STEP_SEND;
}

static enum verdict ask_expiry(struct job *j, struct pgconn_query *q)
{
    char stamp[CLOCK_STAMP_LEN];

    put_expiry(j, stamp);
    sql_put(&q->sql, pgconn_raw(j->conn), "ALTER ROLE %I VALID UNTIL %L", job_str(j, "role"),
            stamp);
    return STEP_SEND;
}

/* The server's own expiry is the net for when the agent dies, so a template can't do without. */
static enum verdict ask_template_expiry(struct job *j, struct pgconn_query *q)
{
    return job_has_statements(j) ? ask_expiry(j, q) : STEP_NEXT;
}

static enum verdict ask_comment(struct job *j, struct pgconn_query *q)
{
    sql_put(&q->sql, pgconn_raw(j->conn), "COMMENT ON ROLE %I IS %L", job_str(j, "role"),
            job_str(j, "comment"));
    return STEP_SEND;
}

/* Who creates a role without being superuser may neither end its sessions nor DROP OWNED, unless it
 * is a member. From 16 on the creator is one, but only to administer. */
static enum verdict ask_join(struct job *j, struct pgconn_query *q)
{
    PGconn *conn = pgconn_raw(j->conn);

    sql_put(&q->sql, conn,
            PQserverVersion(conn) >= 160000 ? "GRANT %I TO CURRENT_USER WITH INHERIT TRUE, SET TRUE"
                                            : "GRANT %I TO CURRENT_USER",
            job_str(j, "role"));
    return STEP_SEND;
}

const struct step job_steps_create[] = {
    {.ask = job_ask_begin},
    {.ask = ask_create},
    {.ask = job_ask_statement, .take = job_take_statement, .failed = job_statement_failed},
    {.ask = ask_template_expiry},
    {.ask = ask_comment},
    {.ask = ask_join},
    {.ask = job_ask_commit, .take = job_take_commit, .commits = true},
    {.ask = NULL},
};

/* --- renew. ---------------------------------------------------------------------------------- */

static enum verdict ask_exists(struct job *j, struct pgconn_query *q)
{
    if (!job_has_statements(j))
        return STEP_NEXT;
    buf_puts(&q->sql, "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1");
    q->param[q->params++] = job_str(j, "role");
    return STEP_SEND;
}

static enum verdict gone(struct job *j)
{
    return job_fail(j, FAILURE_GONE, "the role does not exist");
}

static enum verdict take_exists(struct job *j, const PGresult *result)
{
    return PQntuples(result) == 1 ? STEP_NEXT : gone(j);
}

static enum verdict expiry_failed(struct job *j)
{
    return strcmp(j->why.sqlstate, "42704") == 0 ? gone(j) : STEP_FAIL;
}

const struct step job_steps_renew[] = {
    {.ask = job_ask_begin_if_statements},
    {.ask = ask_exists, .take = take_exists},
    {.ask = job_ask_statement, .take = job_take_statement, .failed = job_statement_failed},
    {.ask = ask_expiry, .failed = expiry_failed},
    {.ask = job_ask_commit_if_statements, .take = job_take_commit, .commits = true},
    {.ask = NULL},
};
