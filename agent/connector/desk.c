#include "connector/desk.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "connector/pool.h"

struct desk {
    struct pool pool;
    desk_send_fn send;
    void *data;
    size_t jobs;
};

static const struct job_events job_events;
static const struct pgconn_events conn_events;

static void dispatch(struct pool_database *db);

/* --- Jobs. ----------------------------------------------------------------------------------- */

static void send_frame(struct desk *d, int64_t id, bool ok, const struct failure *why,
                       json_t *members)
{
    struct buf frame _cleanup_buf_ = BUF_INIT(CONNECTOR_FRAME_MAX);
    int r = ok ? frame_success(id, members, &frame) : frame_failure(id, why, members, &frame);

    if (r == -EMSGSIZE) {
        struct failure large;

        buf_reset(&frame);
        failure_set(&large, ok ? FAILURE_INVALID : why->kind, "the answer is too large");
        r = frame_failure(id, &large, NULL, &frame);
    }
    d->send(d->data, r == 0 ? &frame : NULL);
}

static void refuse(struct desk *d, int64_t id, const char *kind, const char *message)
{
    struct failure why;

    failure_set(&why, kind, "%s", message);
    send_frame(d, id, false, &why, NULL);
}

static void answer(struct job *j, bool ok)
{
    struct pool_database *db = j->owner;

    if (ok && j->claimed && !j->answer)
        j->answer = json_object();
    if (ok && j->claimed) /* where memory is short the agent learns it from the next answer */
        (void)json_set_bool(j->answer, "claimed", true);
    if (!j->answered)
        send_frame(db->pool->desk, j->frame.id, ok, &j->why, ok ? j->answer : j->objects);
    j->answered = true;
}

static void end_job(struct job *j)
{
    struct pool_database *db = j->owner;

    db->pool->desk->jobs--;
    job_free(j);
}

/* After a job has ended, others may go on: those for the same role may wait for another database.
 */
static void dispatch_all(struct desk *d)
{
    for (struct pool_database *db = d->pool.databases; db; db = db->next)
        dispatch(db);
}

static void on_job_over(struct job *j, bool ok)
{
    struct pool_database *db = j->owner;
    struct pool_slot *s = pool_slot_of(j);

    answer(j, ok);
    pool_release(s, j->dirty);
    end_job(j);
    dispatch_all(db->pool->desk);
}

static void on_job_again(struct job *j)
{
    struct pool_database *db = j->owner;
    struct pool_slot *s = pool_slot_of(j);

    pool_release(s, j->dirty);
    pool_enqueue(db, j, true);
    dispatch(db);
}

/* The job's connection is gone. A connection that had lain idle may have died long before: then
 * the job is begun once more on a new one, unless something of it may have been committed. */
static void connection_lost(struct pool_slot *s, const struct failure *why)
{
    struct pool_database *db = s->db;
    struct job *j = s->job;
    bool again = j && s->used && !j->retried && !j->committed && !j->answered;

    pool_close(s);
    if (!j) {
        dispatch(db);
        return;
    }
    if (again) {
        j->retried = true;
        for (size_t i = 0; i < POOL_CONNECTIONS; i++) {
            if (db->slot[i].ready && !db->slot[i].job)
                pool_close(&db->slot[i]);
        }
        pool_enqueue(db, j, true);
    } else {
        j->why = *why;
        answer(j, false);
        end_job(j);
    }
    dispatch_all(db->pool->desk);
}

static void on_job_broken(struct job *j)
{
    struct failure why;

    failure_set(&why, FAILURE_UNREACHABLE, "the connection to the database broke");
    connection_lost(pool_slot_of(j), &why);
}

static const struct job_events job_events = {on_job_over, on_job_again, on_job_broken};

/* --- What connections tell. ------------------------------------------------------------------ */

static void on_conn_ready(void *owner)
{
    struct pool_slot *s = owner;

    s->ready = true;
    if (s->job) {
        job_begin(s->job, s->conn);
    } else {
        pool_rest(s);
        dispatch_all(s->db->pool->desk);
    }
}

static void on_conn_result(void *owner, const PGresult *result)
{
    struct pool_slot *s = owner;

    job_result(s->job, result);
}

static void on_conn_lost(void *owner, const struct failure *why)
{
    connection_lost(owner, why);
}

static const struct pgconn_events conn_events = {on_conn_ready, on_conn_result, on_conn_lost};

/* --- Handing jobs to connections. ------------------------------------------------------------ */

static void fail_job(struct job *j, const char *kind, const char *message)
{
    (void)job_fail(j, kind, message);
    answer(j, false);
    end_job(j);
}

/* Opens a connection for the job to begin on. */
static void open_for(struct pool_slot *s, struct job *j)
{
    const json_t *o = json_object_get(j->frame.body, "db");
    char why[160];
    struct dsn dsn;
    int r;

    r = dsn_build(json_str_or(o, "url", ""), json_str_or(o, "username", ""),
                  json_str_or(o, "password", ""), &dsn, why, sizeof(why));
    if (r == -EINVAL) {
        fail_job(j, FAILURE_INVALID, why);
        return;
    }
    if (r == 0)
        r = pgconn_open(s->db->pool->event, &dsn, &conn_events, s, &s->conn);
    if (r < 0) {
        s->conn = NULL;
        fail_job(j, FAILURE_UNREACHABLE, "out of memory");
        return;
    }
    s->job = j;
}

static void dispatch(struct pool_database *db)
{
    struct job *j;
    struct pool_slot *s;

    while ((j = pool_next_job(db)) && (s = pool_find_slot(db))) {
        pool_unqueue(db, j);
        if (!s->conn) {
            open_for(s, j);
            continue;
        }
        s->idle = sd_event_source_disable_unref(s->idle);
        s->job = j;
        job_begin(j, s->conn);
    }
}

/* --- Deadlines. ------------------------------------------------------------------------------ */

static int on_deadline(sd_event_source *source _unused_, uint64_t usec _unused_, void *data)
{
    struct job *j = data;
    struct pool_database *db = j->owner;
    struct pool_slot *s = pool_slot_of(j);
    bool linger = s && j->committing && !j->answered;

    failure_set(&j->why, FAILURE_TIMEOUT, "no end within %lld ms%s", (long long)j->frame.timeout_ms,
                s ? "" : " (it waited for a connection)");
    answer(j, false);
    /* Whether it was committed, only the server's answer tells; until then nothing else may be done
     * to this role. */
    if (linger &&
        sd_event_source_set_time_relative(j->deadline, DESK_LINGER_SECONDS * UINT64_C(1000000)) >=
            0 &&
        sd_event_source_set_enabled(j->deadline, SD_EVENT_ONESHOT) >= 0)
        return 0;
    if (s)
        pool_close(s);
    else
        pool_unqueue(db, j);
    end_job(j);
    dispatch_all(db->pool->desk);
    return 0;
}

/* --- Requests. ------------------------------------------------------------------------------- */

/* forget: idle connections now, busy ones once they are done. */
static void forget_database(struct desk *d, const struct frame *f)
{
    struct pool_database *db = pool_find(&d->pool, json_object_get(f->body, "db"));

    for (size_t i = 0; db && i < POOL_CONNECTIONS; i++) {
        struct pool_slot *s = &db->slot[i];

        s->forget = s->conn != NULL;
        if (s->ready && !s->job)
            pool_close(s);
    }
    send_frame(d, f->id, true, NULL, NULL);
}

static int add_job(struct desk *d, struct frame *f)
{
    struct pool_database *db = pool_get(&d->pool, json_object_get(f->body, "db"));
    struct job *j;
    int r;

    if (!db)
        return -ENOMEM;
    if (d->jobs >= DESK_JOBS_MAX || db->waiting >= DESK_QUEUE_MAX) {
        refuse(d, f->id, FAILURE_BUSY, "too many requests are waiting for this database");
        return 0;
    }
    j = job_new(f, d->pool.event, &job_events, db);
    if (!j)
        return -ENOMEM;
    r = sd_event_add_time_relative(d->pool.event, &j->deadline, CLOCK_BOOTTIME,
                                   (uint64_t)j->frame.timeout_ms * 1000, 1000, on_deadline, j);
    if (r < 0) {
        job_free(j);
        return r;
    }
    d->jobs++;
    pool_enqueue(db, j, false);
    dispatch(db);
    return 0;
}

static int take(struct desk *d, struct frame *f)
{
    if (pool_has_id(&d->pool, f->id)) {
        refuse(d, f->id, FAILURE_INVALID, "a request with this id is under way");
        return 0;
    }
    if (f->op == FRAME_FORGET) {
        forget_database(d, f);
        return 0;
    }
    return add_job(d, f);
}

int desk_take(struct desk *d, const char *text, size_t n)
{
    struct frame f;
    char why[256];
    int r;

    pool_sweep(&d->pool);
    r = frame_read(text, n, &f, why, sizeof(why));
    if (r == FRAME_INVALID) {
        refuse(d, f.id, FAILURE_INVALID, why);
        return 0;
    }
    if (r < 0)
        return r;
    r = take(d, &f);
    frame_clear(&f);
    return r;
}

/* --- The whole. ------------------------------------------------------------------------------ */

int desk_new(sd_event *event, desk_send_fn send, void *data, struct desk **out)
{
    struct desk *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->pool.desk = d;
    d->pool.event = event;
    d->send = send;
    d->data = data;
    crypto_generichash_keygen(d->pool.key);
    *out = d;
    return 0;
}

/* Ends all jobs of a database without a word; with spare, not those in the middle of a COMMIT. */
static void drop_jobs(struct pool_database *db, bool spare)
{
    struct job *j;

    while ((j = db->first)) {
        pool_unqueue(db, j);
        end_job(j);
    }
    for (size_t i = 0; i < POOL_CONNECTIONS; i++) {
        struct pool_slot *s = &db->slot[i];

        j = s->job;
        if (j && spare && j->committing) {
            j->answered = true;
        } else if (j) {
            pool_close(s);
            end_job(j);
        }
    }
}

void desk_abandon(struct desk *d)
{
    for (struct pool_database *db = d->pool.databases; db; db = db->next)
        drop_jobs(db, true);
}

size_t desk_jobs(const struct desk *d)
{
    return d->jobs;
}

void desk_free(struct desk *d)
{
    struct pool_database *db;

    if (!d)
        return;
    while ((db = d->pool.databases)) {
        drop_jobs(db, false);
        for (size_t i = 0; i < POOL_CONNECTIONS; i++)
            pool_close(&db->slot[i]);
        d->pool.databases = db->next;
        free(db);
    }
    mem_free(d, sizeof(*d));
}
