/* revoke: the order is what makes it safe.
 *
 *   1  NOLOGIN and a past VALID UNTIL, committed: nobody comes in any more
 *   2  its sessions are ended, and looked for again until there are none: a session outlives even
 *      DROP ROLE, with all rights of a group it has SET ROLE to
 *   3  the template's statements, if there are any
 *   4  once more: does it own something, is a session there that slipped in before 1?
 *   5  DROP OWNED takes back what was granted to it in this database. It would also drop what the
 *      role owns, so it is only run when 4 found nothing
 *   6  DROP ROLE, memberships with it
 *
 * Where objects depend on the role it stays, without login. It also loses its memberships then: a
 * SECURITY DEFINER function or a view that it left behind works with its owner's rights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/fault.h"
#include "connector/job.h"
#include "connector/sql.h"

#define OBJECTS_MAX 50
#define OBJECT_TEXT_MAX 200

enum revoke_step {
    FIND,
    LOCK,
    JOIN,
    CUT,
    BEGIN,
    STATEMENTS,
    COMMIT,
    FIND_AGAIN,
    SURVEY,
    DISOWN,
    DROP,
    DROPPED,
    LIST,
    GROUPS,
    LEAVE,
    DEPENDENT,
};

static enum verdict jump(struct job *j, enum revoke_step to)
{
    j->step = to;
    return STEP_JUMP;
}

static bool has_state(const struct job *j, const char *sqlstate)
{
    return strcmp(j->why.sqlstate, sqlstate) == 0;
}

/* The answer's "gone" tells whether the role was there at all. */
static enum verdict succeed(struct job *j, bool gone)
{
    json_decref(j->answer);
    j->answer = json_pack("{s:I, s:b}", "terminated", (json_int_t)j->pids, "gone", gone ? 1 : 0);
    return j->answer ? STEP_DONE : job_fail(j, FAILURE_UNREACHABLE, "out of memory");
}

static enum verdict put_role(struct job *j, struct pgconn_query *q, const char *fmt)
{
    sql_put(&q->sql, pgconn_raw(j->conn), fmt, job_str(j, "role"));
    return STEP_SEND;
}

static enum verdict put_by_oid(struct job *j, struct pgconn_query *q, const char *sql)
{
    buf_puts(&q->sql, sql);
    q->param[q->params++] = j->oid;
    return STEP_SEND;
}

/* --- 1: nobody comes in. --------------------------------------------------------------------- */

static enum verdict ask_find(struct job *j, struct pgconn_query *q)
{
    buf_puts(&q->sql, "SELECT r.oid, r.rolname OPERATOR(pg_catalog.=) current_user, "
                      "pg_catalog.pg_has_role(current_user, r.oid, 'USAGE') "
                      "FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1");
    q->param[q->params++] = job_str(j, "role");
    return STEP_SEND;
}

static enum verdict take_find(struct job *j, const PGresult *result)
{
    if (PQntuples(result) == 0)
        return succeed(j, true);
    if (PQgetvalue(result, 0, 1)[0] == 't')
        return job_fail(j, FAILURE_INVALID, "the role is the account this connection uses");
    (void)snprintf(j->oid, sizeof(j->oid), "%s", PQgetvalue(result, 0, 0));
    j->is_member = PQgetvalue(result, 0, 2)[0] == 't';
    return STEP_NEXT;
}

static enum verdict ask_lock(struct job *j, struct pgconn_query *q)
{
    return put_role(j, q, "ALTER ROLE %I NOLOGIN VALID UNTIL '1970-01-01T00:00:00Z'");
}

static enum verdict lock_failed(struct job *j)
{
    return has_state(j, "42704") ? succeed(j, true) : STEP_FAIL;
}

/* The membership that creating it gave us may have been taken, or the account changed since. */
static enum verdict ask_join(struct job *j, struct pgconn_query *q)
{
    bool sets = PQserverVersion(pgconn_raw(j->conn)) >= 160000;

    FAULT_POINT(connector_locked);
    if (j->is_member)
        return STEP_NEXT;
    return put_role(j, q,
                    sets ? "GRANT %I TO CURRENT_USER WITH INHERIT TRUE, SET TRUE"
                         : "GRANT %I TO CURRENT_USER");
}

static enum verdict join_failed(struct job *j _unused_)
{
    return STEP_NEXT; /* what really needs it will say so */
}

/* --- 2: nobody stays. ------------------------------------------------------------------------ */

static enum verdict ask_cut(struct job *j, struct pgconn_query *q)
{
    return put_by_oid(j, q,
                      "SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) "
                      "FROM pg_catalog.pg_stat_activity a "
                      "WHERE a.usesysid OPERATOR(pg_catalog.=) $1::pg_catalog.oid");
}

/* Counts a session once, however often it is seen before it is gone. */
static int note_pid(struct job *j, int pid)
{
    int *grown;

    for (size_t i = 0; i < j->pids; i++) {
        if (j->pid[i] == pid)
            return 0;
    }
    grown = reallocarray(j->pid, j->pids + 1, sizeof(*grown));
    if (!grown)
        return -1;
    j->pid = grown;
    j->pid[j->pids++] = pid;
    return 0;
}

static enum verdict take_cut(struct job *j, const PGresult *result)
{
    int n = PQntuples(result);

    for (int i = 0; i < n; i++) {
        if (note_pid(j, atoi(PQgetvalue(result, i, 0))) < 0)
            return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    }
    return n > 0 ? STEP_PAUSE : STEP_NEXT;
}

/* --- 3: the template. ------------------------------------------------------------------------ */

static enum verdict ask_begin(struct job *j, struct pgconn_query *q)
{
    /* Coming here again from the survey: they have been run. */
    FAULT_POINT(connector_cut);
    if (j->expanded)
        return jump(j, SURVEY);
    return job_ask_begin_if_statements(j, q);
}

static enum verdict ask_find_again(struct job *j, struct pgconn_query *q)
{
    if (!job_has_statements(j))
        return STEP_NEXT;
    return put_by_oid(j, q,
                      "SELECT 1 FROM pg_catalog.pg_roles WHERE oid OPERATOR(pg_catalog.=) "
                      "$1::pg_catalog.oid");
}

static enum verdict take_find_again(struct job *j, const PGresult *result)
{
    return PQntuples(result) == 0 ? succeed(j, false) : STEP_NEXT;
}

/* --- 4 to 6: nothing is left. ---------------------------------------------------------------- */

#define OF_ROLE                                                                                    \
    "d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass "             \
    "AND d.refobjid OPERATOR(pg_catalog.=) $1::pg_catalog.oid"
#define HERE                                                                                       \
    "(d.dbid OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR d.dbid OPERATOR(pg_catalog.=) "           \
    "(SELECT b.oid FROM pg_catalog.pg_database b "                                                 \
    "WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"

static enum verdict ask_survey(struct job *j, struct pgconn_query *q)
{
    return put_by_oid(
        j, q,
        "SELECT pg_catalog.count(*) FILTER (WHERE d.deptype OPERATOR(pg_catalog.=) 'o'), "
        "pg_catalog.count(*) FILTER (WHERE d.deptype OPERATOR(pg_catalog.<>) 'o' AND " HERE "), "
        "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a "
        "WHERE a.usesysid OPERATOR(pg_catalog.=) $1::pg_catalog.oid) "
        "FROM pg_catalog.pg_shdepend d WHERE " OF_ROLE);
}

static enum verdict take_survey(struct job *j, const PGresult *result)
{
    if (strcmp(PQgetvalue(result, 0, 2), "0") != 0)
        return jump(j, CUT);
    if (strcmp(PQgetvalue(result, 0, 0), "0") != 0)
        return jump(j, LIST);
    return jump(j, strcmp(PQgetvalue(result, 0, 1), "0") != 0 ? DISOWN : DROP);
}

static enum verdict ask_disown(struct job *j, struct pgconn_query *q)
{
    return put_role(j, q, "DROP OWNED BY %I RESTRICT");
}

static enum verdict ask_drop(struct job *j, struct pgconn_query *q)
{
    FAULT_POINT(connector_before_drop);
    return put_role(j, q, "DROP ROLE %I");
}

static enum verdict drop_failed(struct job *j)
{
    if (has_state(j, "42704"))
        return succeed(j, false);
    return has_state(j, "2BP01") ? jump(j, LIST) : STEP_FAIL;
}

static enum verdict ask_dropped(struct job *j, struct pgconn_query *q _unused_)
{
    FAULT_POINT(connector_dropped);
    return succeed(j, false);
}

/* --- Otherwise: say what holds it. ----------------------------------------------------------- */

static enum verdict ask_list(struct job *j, struct pgconn_query *q)
{
    return put_by_oid(
        j, q,
        "SELECT CASE d.deptype WHEN 'o' THEN '' WHEN 'r' THEN 'named in ' ELSE 'privileges on ' "
        "END "
        "OPERATOR(pg_catalog.||) COALESCE(pg_catalog.pg_describe_object(d.classid, d.objid, "
        "d.objsubid), 'an object that is gone') "
        "FROM pg_catalog.pg_shdepend d WHERE " OF_ROLE " AND " HERE " UNION ALL "
        "SELECT pg_catalog.count(*)::pg_catalog.text OPERATOR(pg_catalog.||) "
        "CASE d.deptype WHEN 'o' THEN ' owned in database ' ELSE ' privileges in database ' END "
        "OPERATOR(pg_catalog.||) b.datname::pg_catalog.text "
        "FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b "
        "ON b.oid OPERATOR(pg_catalog.=) d.dbid WHERE " OF_ROLE " AND NOT " HERE
        " GROUP BY d.deptype, b.datname LIMIT 51");
}

static int append_object(json_t *list, const char *text)
{
    struct buf shown _cleanup_buf_ = BUF_INIT(OBJECT_TEXT_MAX);

    encode_printable(&shown, text, OBJECT_TEXT_MAX);
    return buf_error(&shown) < 0 ? -1 : json_array_append_new(list, json_string(buf_str(&shown)));
}

static enum verdict take_list(struct job *j, const PGresult *result)
{
    int n = PQntuples(result);

    json_decref(j->objects);
    j->objects = json_array();
    for (int i = 0; i < n; i++) {
        const char *text = i < OBJECTS_MAX ? PQgetvalue(result, i, 0) : "and more";

        if (append_object(j->objects, text) < 0)
            return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    }
    return STEP_NEXT;
}

static enum verdict ask_groups(struct job *j, struct pgconn_query *q)
{
    return put_by_oid(j, q,
                      "SELECT DISTINCT g.rolname FROM pg_catalog.pg_auth_members m "
                      "JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) m.roleid "
                      "WHERE m.member OPERATOR(pg_catalog.=) $1::pg_catalog.oid LIMIT 1000");
}

static enum verdict take_groups(struct job *j, const PGresult *result)
{
    int n = PQntuples(result);

    json_decref(j->names);
    j->names = json_array();
    for (int i = 0; i < n; i++) {
        if (json_array_append_new(j->names, json_string(PQgetvalue(result, i, 0))) < 0)
            return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    }
    return STEP_NEXT;
}

static enum verdict ask_leave(struct job *j, struct pgconn_query *q)
{
    const json_t *name;
    size_t i;

    if (json_array_size(j->names) == 0)
        return STEP_NEXT;
    json_array_foreach(j->names, i, name) sql_put(
        &q->sql, pgconn_raw(j->conn), i == 0 ? "REVOKE %I" : ", %I", json_string_value(name));
    return put_role(j, q, " FROM %I");
}

static enum verdict dependent(struct job *j, const char *and_what, const char *detail)
{
    failure_set(&j->why, FAILURE_DEPENDENT,
                "objects depend on the role: it stays, without login, until they are dropped or "
                "given to someone else%s%s",
                and_what, detail);
    (void)snprintf(j->why.sqlstate, sizeof(j->why.sqlstate), "2BP01");
    return STEP_FAIL;
}

static enum verdict ask_dependent(struct job *j, struct pgconn_query *q _unused_)
{
    return dependent(j, "", "");
}

/* It keeps its groups' rights for what it left behind: that has to be seen. */
static enum verdict leave_failed(struct job *j)
{
    struct failure why = j->why;

    return dependent(j, "; its memberships could not be revoked: ", why.message);
}

const struct step job_steps_revoke[] = {
    [FIND] = {.ask = ask_find, .take = take_find},
    [LOCK] = {.ask = ask_lock, .failed = lock_failed},
    [JOIN] = {.ask = ask_join, .failed = join_failed},
    [CUT] = {.ask = ask_cut, .take = take_cut},
    [BEGIN] = {.ask = ask_begin},
    [STATEMENTS] = {.ask = job_ask_statement,
                    .take = job_take_statement,
                    .failed = job_statement_failed},
    [COMMIT] = {.ask = job_ask_commit_if_statements, .take = job_take_commit, .commits = true},
    [FIND_AGAIN] = {.ask = ask_find_again, .take = take_find_again},
    [SURVEY] = {.ask = ask_survey, .take = take_survey},
    [DISOWN] = {.ask = ask_disown, .failed = drop_failed},
    [DROP] = {.ask = ask_drop, .failed = drop_failed},
    [DROPPED] = {.ask = ask_dropped},
    [LIST] = {.ask = ask_list, .take = take_list},
    [GROUPS] = {.ask = ask_groups, .take = take_groups},
    [LEAVE] = {.ask = ask_leave, .failed = leave_failed},
    [DEPENDENT] = {.ask = ask_dependent},
};
