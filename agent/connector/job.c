#include "connector/job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"

#define RACES_MAX                                                                                  \
    64 /* of those that meet one always wins, so this ends; the deadline holds besides */
#define PAUSE_FIRST_MS 5
#define PAUSE_MAX_MS 200

static const struct step *const tables[FRAME_OPS] = {
    [FRAME_CHECK] = job_steps_check, [FRAME_CREATE] = job_steps_create,
    [FRAME_RENEW] = job_steps_renew, [FRAME_REVOKE] = job_steps_revoke,
    [FRAME_SWEEP] = job_steps_sweep,
};

struct job *job_new(struct frame *frame, sd_event *event, const struct job_events *events,
                    void *owner)
{
    struct job *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->frame = *frame;
    *frame = (struct frame){0};
    j->event = event;
    j->events = events;
    j->owner = owner;
    j->deadline_ms = clock_boot_ms() + j->frame.timeout_ms;
    return j;
}

/* Forgets everything that was learned on the way. */
static void forget(struct job *j)
{
    j->pause = sd_event_source_disable_unref(j->pause);
    template_clear(&j->list);
    free(j->pid);
    json_decref(j->names);
    json_decref(j->answer);
    json_decref(j->objects);
    j->pid = NULL;
    j->names = j->answer = j->objects = NULL;
    j->pids = j->at = 0;
    j->expanded = j->is_member = j->claimed = false;
    j->oid[0] = '\0';
    j->pause_ms = 0;
    j->why = (struct failure){0};
}

void job_free(struct job *j)
{
    if (!j)
        return;
    forget(j);
    sd_event_source_disable_unref(j->deadline);
    frame_clear(&j->frame);
    free(j);
}

const char *job_str(const struct job *j, const char *key)
{
    return json_str_or(j->frame.body, key, "");
}

int64_t job_left_ms(const struct job *j)
{
    int64_t left = j->deadline_ms - clock_boot_ms();

    return left > 0 ? left : 1;
}

enum verdict job_fail(struct job *j, const char *kind, const char *message)
{
    failure_set(&j->why, kind, "%s", message);
    return STEP_FAIL;
}

/* --- Running. -------------------------------------------------------------------------------- */

static void run(struct job *j);

static int on_pause(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct job *j = data;

    j->pause = sd_event_source_disable_unref(j->pause);
    run(j);
    return 0;
}

static int start_pause(struct job *j)
{
    j->pause_ms = j->pause_ms ? j->pause_ms * 2 : PAUSE_FIRST_MS;
    if (j->pause_ms > PAUSE_MAX_MS)
        j->pause_ms = PAUSE_MAX_MS;
    return sd_event_add_time_relative(j->event, &j->pause, CLOCK_MONOTONIC,
                                      (uint64_t)j->pause_ms * 1000, 1000, on_pause, j);
}

/* Acts on a verdict; true when the next step is to be asked at once. */
static bool go_on(struct job *j, enum verdict v)
{
    switch (v) {
    case STEP_NEXT:
        j->step++;
        return true;
    case STEP_AGAIN:
    case STEP_JUMP:
        return true;
    case STEP_PAUSE:
        if (start_pause(j) >= 0)
            return false;
        (void)job_fail(j, FAILURE_UNREACHABLE, "out of memory");
        break;
    case STEP_DONE:
        j->events->over(j, true);
        return false;
    case STEP_SEND:
    case STEP_FAIL:
        break;
    }
    j->events->over(j, false);
    return false;
}

static enum verdict send_query(struct job *j, const struct step *step, const struct pgconn_query *q)
{
    int r = buf_error(&q->sql);

    if (r == -EINVAL || r == -EMSGSIZE)
        return job_fail(j, FAILURE_INVALID, "a value can't be written as SQL");
    if (r < 0)
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    j->committing = step->commits;
    j->committed = j->committed || step->commits;
    int sent = pgconn_query(j->conn, q);
    FAULT_POINT(connector_query_sent);
    return sent == 0 ? STEP_SEND : STEP_FAIL;
}

/* A table has ended: the op's own comes behind the claim's. False when that was all. */
static bool next_table(struct job *j)
{
    if (j->steps != job_steps_claim)
        return false;
    j->claimed = true;
    j->steps = tables[j->frame.op];
    j->step = 0;
    return true;
}

static void run(struct job *j)
{
    enum verdict v;

    do {
        const struct step *step = &j->steps[j->step];
        struct pgconn_query q = {.sql = BUF_INIT(TEMPLATE_TEXT_MAX)};

        if (!step->ask) {
            if (next_table(j)) {
                v = STEP_JUMP;
                continue;
            }
            j->events->over(j, true);
            return;
        }
        j->why.kind = NULL;
        v = step->ask(j, &q);
        if (v == STEP_SEND)
            v = send_query(j, step, &q);
        buf_clear(&q.sql);
        if (v == STEP_SEND)
            return;
        if (v == STEP_FAIL && !j->why.kind) {
            j->events->broken(j);
            return;
        }
    } while (go_on(j, v));
}

void job_begin(struct job *j, struct pgconn *conn)
{
    forget(j);
    j->conn = conn;
    j->steps = json_object_get(j->frame.body, "claim") ? job_steps_claim : tables[j->frame.op];
    j->step = 0;
    run(j);
}

/* Two transactions of ours met on one catalogue row: the loser has changed nothing. */
static bool lost_race(const struct job *j)
{
    static const char *const states[] = {"40001", "40P01"};

    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(j->why.sqlstate, states[i]) == 0)
            return true;
    }
    return strcmp(j->why.sqlstate, "XX000") == 0 && strstr(j->why.message, "concurrently");
}

static void failed(struct job *j, const struct step *step, const PGresult *result)
{
    const char *secrets[] = {json_str_or(json_object_get(j->frame.body, "db"), "password", ""),
                             job_str(j, "verifier"), NULL};

    failure_from_result(&j->why, result, secrets);
    if (lost_race(j) && !j->committed && j->races++ < RACES_MAX)
        j->events->again(j);
    else if (go_on(j, step->failed ? step->failed(j) : STEP_FAIL))
        run(j);
}

void job_result(struct job *j, const PGresult *result)
{
    const struct step *step = &j->steps[j->step];
    ExecStatusType status = PQresultStatus(result);

    j->committing = false;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
        failed(j, step, result);
    else if (go_on(j, step->take ? step->take(j, result) : STEP_NEXT))
        run(j);
}

/* --- Shared steps. --------------------------------------------------------------------------- */

bool job_has_statements(const struct job *j)
{
    return json_array_size(json_object_get(j->frame.body, "statements")) > 0;
}

enum verdict job_ask_begin(struct job *j, struct pgconn_query *q)
{
    /* Templates are written for the account's own search_path. */
    const char *path = job_has_statements(j) ? "; SET LOCAL search_path TO DEFAULT" : "";

    q->script = true;
    buf_putf(&q->sql, "BEGIN; SET LOCAL statement_timeout = %lld%s", (long long)job_left_ms(j),
             path);
    return STEP_SEND;
}

enum verdict job_ask_begin_if_statements(struct job *j, struct pgconn_query *q)
{
    return job_has_statements(j) ? job_ask_begin(j, q) : STEP_NEXT;
}

static enum verdict expand(struct job *j)
{
    const char *role = job_str(j, "role"), *verifier = json_str(j->frame.body, "verifier");
    int64_t expires = json_int(j->frame.body, "expires", 0);
    struct template_value values[5] = {{"name", role, true}, {"username", role, true}};
    char stamp[CLOCK_STAMP_LEN], fault[128], message[192];
    size_t n = 2, i;
    const json_t *text;
    int r = 0;

    clock_stamp(expires * 1000, 0, stamp);
    if (verifier)
        values[n++] = (struct template_value){"password", verifier, false};
    if (expires > 0)
        values[n++] = (struct template_value){"expiration", stamp, false};
    json_array_foreach(json_object_get(j->frame.body, "statements"), i, text)
    {
        r = template_expand(pgconn_raw(j->conn), json_string_value(text), values, &j->list, fault,
                            sizeof(fault));
        if (r < 0)
            break;
    }
    if (r == -ENOMEM)
        return job_fail(j, FAILURE_UNREACHABLE, "out of memory");
    if (r < 0) {
        (void)snprintf(message, sizeof(message), "statements[%zu]: %s", i,
                       r == -EINVAL ? fault : "too much text");
        return job_fail(j, FAILURE_INVALID, message);
    }
    j->expanded = true;
    j->dirty = true;
    return STEP_AGAIN;
}

enum verdict job_ask_statement(struct job *j, struct pgconn_query *q)
{
    if (!job_has_statements(j))
        return STEP_NEXT;
    if (!j->expanded)
        return expand(j);
    if (j->at > j->list.count)
        return STEP_NEXT;
    if (j->at == j->list.count) {
        /* What comes behind them is ours again, and as ourselves. */
        q->script = true;
        buf_puts(&q->sql, "RESET SESSION AUTHORIZATION; RESET ROLE; "
                          "SET search_path = pg_catalog, pg_temp");
        return STEP_SEND;
    }
    buf_puts(&q->sql, j->list.sql[j->at]);
    return STEP_SEND;
}

enum verdict job_take_statement(struct job *j, const PGresult *result _unused_)
{
    if (PQtransactionStatus(pgconn_raw(j->conn)) != PQTRANS_INTRANS)
        return job_fail(j, FAILURE_STATEMENT, "a statement ended the transaction");
    j->at++;
    return STEP_AGAIN;
}

enum verdict job_statement_failed(struct job *j)
{
    struct failure why = j->why;

    failure_set(&j->why, why.kind, "statement %zu: %s", j->at + 1, why.message);
    memcpy(j->why.sqlstate, why.sqlstate, sizeof(why.sqlstate));
    return STEP_FAIL;
}

enum verdict job_ask_commit(struct job *j _unused_, struct pgconn_query *q)
{
    FAULT_POINT(connector_committing);
    buf_puts(&q->sql, "COMMIT");
    return STEP_SEND;
}

enum verdict job_ask_commit_if_statements(struct job *j, struct pgconn_query *q)
{
    return job_has_statements(j) ? job_ask_commit(j, q) : STEP_NEXT;
}

enum verdict job_take_commit(struct job *j, const PGresult *result)
{
    /* COMMIT of a failed transaction succeeds as ROLLBACK; libpq takes a non-const result here. */
    PGresult *r = (PGresult *)(uintptr_t)result;

    FAULT_POINT(connector_committed);
    if (strcmp(PQcmdStatus(r), "COMMIT") != 0)
        return job_fail(j, FAILURE_STATEMENT, "the transaction was rolled back");
    return STEP_NEXT;
}
