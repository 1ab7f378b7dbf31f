/* check and sweep: looking only. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "connector/job.h"
#include "connector/sql.h"

#define OLDEST_VERSION 100000 /* the first with SCRAM-SHA-256 */
#define PROBLEM_MAX 512

/* --- check. ---------------------------------------------------------------------------------- */

static int add_problem(struct job *j, const char *fmt, const char *who, const char *group)
{
    struct buf text _cleanup_buf_ = BUF_INIT(PROBLEM_MAX * 4);
    struct buf shown _cleanup_buf_ = BUF_INIT(PROBLEM_MAX);
    json_t *problems = json_object_get(j->answer, "problems");

    sql_put(&text, pgconn_raw(j->conn), fmt, group ? group : who, who);
    encode_printable(&shown, buf_str(&text), PROBLEM_MAX);
    if (buf_error(&text) < 0 || buf_error(&shown) < 0)
        return -ENOMEM;
    return json_array_append_new(problems, json_string(buf_str(&shown))) < 0 ? -ENOMEM : 0;
}

static enum verdict ask_account(struct job *j _unused_, struct pgconn_query *q)
{
    buf_puts(&q->sql,
             "SELECT r.rolname, r.rolsuper, r.rolcreaterole, pg_catalog.pg_is_in_recovery() "
             "FROM pg_catalog.pg_roles r "
             "WHERE r.rolname OPERATOR(pg_catalog.=) current_user");
    return STEP_SEND;
}

static enum verdict take_account(struct job *j, const PGresult *result)
{
    int version = PQserverVersion(pgconn_raw(j->conn)), r = 0;
    const char *who;

    if (PQntuples(result) != 1)
        return job_fail(j, FAILURE_DENIED, "the account can't see itself in pg_roles");
    who = PQgetvalue(result, 0, 0);
    j->answer = json_pack("{s:i, s:[]}", "version", version, "problems");
    if (!j->answer)
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    if (PQgetvalue(result, 0, 1)[0] != 't' && PQgetvalue(result, 0, 2)[0] != 't')
        r = add_problem(j,
                        "The account %I may not create roles; a superuser has to run: "
                        "ALTER ROLE %I CREATEROLE",
                        who, NULL);
    if (r == 0 && PQgetvalue(result, 0, 3)[0] == 't')
        r = add_problem(j, "The server that %I reaches is a standby, which can't create roles.",
                        who, NULL);
    if (r == 0 && version < OLDEST_VERSION)
        r = add_problem(j, "The server that %I reaches is too old for SCRAM-SHA-256.", who, NULL);
    return r < 0 ? job_fail(j, FAILURE_UNREACHABLE, "out of memory") : STEP_NEXT;
}

/* Who may put a role into a group: up to 15 CREATEROLE is enough, from 16 on it takes the group's
 * admin option. A superuser group is nobody's to give but a superuser's. */
static enum verdict ask_group(struct job *j, struct pgconn_query *q)
{
    const char *name =
        json_string_value(json_array_get(json_object_get(j->frame.body, "groups"), j->at));

    if (!name)
        return STEP_NEXT;
    buf_puts(&q->sql,
             "SELECT current_user, g.rolname IS NOT NULL, COALESCE(g.rolsuper, false), "
             "COALESCE(me.rolsuper, false) OR COALESCE(pg_catalog.pg_has_role(current_user, g.oid, "
             "'MEMBER WITH ADMIN OPTION'), false) "
             "FROM pg_catalog.pg_roles me LEFT JOIN pg_catalog.pg_roles g "
             "ON g.rolname OPERATOR(pg_catalog.=) $1 "
             "WHERE me.rolname OPERATOR(pg_catalog.=) current_user");
    q->param[q->params++] = name;
    return STEP_SEND;
}

static enum verdict take_group(struct job *j, const PGresult *result)
{
    const char *name =
        json_string_value(json_array_get(json_object_get(j->frame.body, "groups"), j->at));
    bool admin_needed = PQserverVersion(pgconn_raw(j->conn)) >= 160000;
    const char *who;
    int r = 0;

    if (PQntuples(result) != 1)
        return job_fail(j, FAILURE_DENIED, "the account can't see itself in pg_roles");
    who = PQgetvalue(result, 0, 0);
    if (PQgetvalue(result, 0, 1)[0] != 't')
        r = add_problem(j, "The group %I does not exist.", who, name);
    else if (PQgetvalue(result, 0, 2)[0] == 't')
        r = add_problem(j, "The group %I is a superuser, which no leased account may become.", who,
                        name);
    else if (admin_needed && PQgetvalue(result, 0, 3)[0] != 't')
        r = add_problem(j,
                        "The group %I can't be given out; a superuser has to run: GRANT the group "
                        "TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
                        who, name);
    if (r < 0)
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    j->at++;
    return STEP_AGAIN;
}

const struct step job_steps_check[] = {
    {.ask = ask_account, .take = take_account},
    {.ask = ask_group, .take = take_group},
    {.ask = NULL},
};

/* --- sweep. ---------------------------------------------------------------------------------- */

#define SWEEP_LIMIT 500
#define SWEEP_BYTES                                                                                \
    (CONNECTOR_FRAME_MAX - 1024) /* of rows; the rest is for what is around them                   \
                                  */

static enum verdict ask_sweep(struct job *j, struct pgconn_query *q)
{
    sql_put(&q->sql, pgconn_raw(j->conn),
            "SELECT r.rolname, pg_catalog.left(pg_catalog.split_part(d.description, ' lease=', 2), "
            "128) FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_shdescription d "
            "ON d.objoid OPERATOR(pg_catalog.=) r.oid AND d.classoid OPERATOR(pg_catalog.=) "
            "'pg_catalog.pg_authid'::pg_catalog.regclass "
            "WHERE pg_catalog.strpos(d.description, 'countersign instance=' "
            "OPERATOR(pg_catalog.||) $1::pg_catalog.text OPERATOR(pg_catalog.||) ' lease=') "
            "OPERATOR(pg_catalog.=) 1 "
            "AND r.rolname OPERATOR(pg_catalog.>) $2::pg_catalog.name ORDER BY r.rolname LIMIT %N",
            json_int(j->frame.body, "limit", SWEEP_LIMIT) + 1);
    q->param[q->params++] = job_str(j, "instance");
    q->param[q->params++] = job_str(j, "after");
    return STEP_SEND;
}

/* Appends a row if it still fits into the packet: 1, 0 if it doesn't, or -ENOMEM. A database with
 * the encoding SQL_ASCII hands out any bytes: a name that is no text can't be one of ours. */
static int append_row(json_t *roles, const char *role, const char *lease, size_t *bytes)
{
    struct buf text _cleanup_buf_ = BUF_INIT(4096);
    json_t *row _cleanup_json_ = NULL;

    if (!encode_is_utf8(role, strlen(role)))
        return 1;
    if (!encode_is_utf8(lease, strlen(lease)))
        lease = "";
    row = json_pack("{s:s, s:s}", "role", role, "lease", lease);
    if (!row)
        return -ENOMEM;
    json_put(&text, row);
    if (buf_error(&text) < 0)
        return -ENOMEM;
    if (*bytes + text.len + 1 > SWEEP_BYTES)
        return 0;
    *bytes += text.len + 1;
    return json_array_append(roles, row) < 0 ? -ENOMEM : 1;
}

static enum verdict take_sweep(struct job *j, const PGresult *result)
{
    int n = PQntuples(result), limit = (int)json_int(j->frame.body, "limit", SWEEP_LIMIT), r = 1, i;
    json_t *roles = json_array();
    size_t bytes = 0;

    for (i = 0; i < n && i < limit && r > 0; i += r > 0)
        r = append_row(roles, PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), &bytes);
    if (r < 0) {
        json_decref(roles);
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    }
    j->answer = json_pack("{s:o, s:b}", "roles", roles, "more", i < n);
    return j->answer ? STEP_NEXT : job_fail(j, FAILURE_UNREACHABLE, "out of memory");
}

const struct step job_steps_sweep[] = {
    {.ask = ask_sweep, .take = take_sweep},
    {.ask = NULL},
};
