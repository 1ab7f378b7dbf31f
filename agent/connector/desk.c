#include "connector/desk.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "connector/job.h"

#define KEY_LEN crypto_generichash_BYTES

struct database;

/* A place for one connection. */
struct slot {
    struct database *db;
    struct pgconn *conn; /* NULL: free */
    struct job *job;     /* on it; NULL: idle, or being tidied */
    sd_event_source *idle;
    bool ready;
    bool used; /* has served a job before this one: it may have died unnoticed */
    bool forget;
};

struct database {
    struct database *next;
    struct desk *desk;
    uint8_t key[KEY_LEN];
    struct slot slot[DESK_CONNECTIONS];
    struct job *first; /* waiting */
    size_t waiting;
};

struct desk {
    sd_event *event;
    desk_send_fn send;
    void *data;
    uint8_t key[crypto_generichash_KEYBYTES];
    struct database *databases;
    size_t jobs;
};

static const struct job_events job_events;
static const struct pgconn_events conn_events;

static void dispatch(struct database *db);

/* --- Databases. ------------------------------------------------------------------------------ */

static void hash_part(crypto_generichash_state *state, const char *s)
{
    size_t n = strlen(s) + 1; /* the NUL keeps the parts apart */

    (void)crypto_generichash_update(state, (const uint8_t *)s, n);
}

static void database_key(const struct desk *d, const struct frame *f, uint8_t key[KEY_LEN])
{
    const json_t *db = json_object_get(f->body, "db");
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, d->key, sizeof(d->key), KEY_LEN);
    hash_part(&state, json_str_or(db, "url", ""));
    hash_part(&state, json_str_or(db, "username", ""));
    hash_part(&state, json_str_or(db, "password", ""));
    (void)crypto_generichash_final(&state, key, KEY_LEN);
    mem_wipe(&state, sizeof(state));
}

static struct database *find_database(const struct desk *d, const uint8_t key[KEY_LEN])
{
    struct database *db = d->databases;

    while (db && !mem_equal(db->key, KEY_LEN, key, KEY_LEN))
        db = db->next;
    return db;
}

static struct database *get_database(struct desk *d, const struct frame *f)
{
    uint8_t key[KEY_LEN];
    struct database *db;

    database_key(d, f, key);
    db = find_database(d, key);
    if (db)
        return db;
    db = calloc(1, sizeof(*db));
    if (!db)
        return NULL;
    memcpy(db->key, key, KEY_LEN);
    db->desk = d;
    db->next = d->databases;
    d->databases = db;
    for (size_t i = 0; i < DESK_CONNECTIONS; i++)
        db->slot[i].db = db;
    return db;
}

static bool in_use(const struct database *db)
{
    bool used = db->first != NULL;

    for (size_t i = 0; i < DESK_CONNECTIONS; i++)
        used = used || db->slot[i].conn;
    return used;
}

/* Databases without connections and jobs are not remembered. Called from the loop's end of a turn
 * only, when nobody holds a pointer to one. */
static void sweep_databases(struct desk *d)
{
    for (struct database **at = &d->databases; *at;) {
        struct database *db = *at;

        if (in_use(db)) {
            at = &db->next;
            continue;
        }
        *at = db->next;
        free(db);
    }
}

/* --- Slots. ---------------------------------------------------------------------------------- */

/* Closes the connection; its job, if it has one, is the caller's. */
static void close_slot(struct slot *s)
{
    s->idle = sd_event_source_disable_unref(s->idle);
    pgconn_free(s->conn);
    s->conn = NULL;
    s->job = NULL;
    s->ready = s->used = s->forget = false;
}

static int on_idle(sd_event_source *source _unused_, uint64_t usec _unused_, void *data)
{
    struct slot *s = data;

    close_slot(s);
    return 0;
}

/* The connection has no job and nothing to do. */
static void rest(struct slot *s)
{
    s->ready = true;
    if (s->forget ||
        sd_event_add_time_relative(s->db->desk->event, &s->idle, CLOCK_MONOTONIC,
                                   DESK_IDLE_SECONDS * UINT64_C(1000000), 1000000, on_idle, s) < 0)
        close_slot(s);
}

/* Parts the connection from its job. */
static void release(struct slot *s, bool dirty)
{
    int r;

    s->job = NULL;
    s->used = true;
    s->ready = false;
    r = pgconn_tidy(s->conn, dirty);
    if (r == PGCONN_IDLE)
        rest(s);
    else if (r < 0)
        close_slot(s);
}

static struct slot *slot_of(const struct job *j)
{
    struct database *db = j->owner;

    for (size_t i = 0; i < DESK_CONNECTIONS; i++) {
        if (db->slot[i].job == j)
            return &db->slot[i];
    }
    return NULL;
}

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
    struct database *db = j->owner;

    if (ok && j->claimed && !j->answer)
        j->answer = json_object();
    if (ok && j->claimed) /* where memory is short the agent learns it from the next answer */
        (void)json_set_bool(j->answer, "claimed", true);
    if (!j->answered)
        send_frame(db->desk, j->frame.id, ok, &j->why, ok ? j->answer : j->objects);
    j->answered = true;
}

static void end_job(struct job *j)
{
    struct database *db = j->owner;

    db->desk->jobs--;
    job_free(j);
}

static void unqueue(struct database *db, struct job *j)
{
    struct job **at = &db->first;

    while (*at && *at != j)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = j->next;
    db->waiting--;
}

static void enqueue(struct database *db, struct job *j, bool front)
{
    struct job **at = &db->first;

    while (!front && *at)
        at = &(*at)->next;
    j->next = *at;
    *at = j;
    db->waiting++;
}

/* After a job has ended, others may go on: those for the same role may wait for another database.
 */
static void dispatch_all(struct desk *d)
{
    for (struct database *db = d->databases; db; db = db->next)
        dispatch(db);
}

static void on_job_over(struct job *j, bool ok)
{
    struct database *db = j->owner;
    struct slot *s = slot_of(j);

    answer(j, ok);
    release(s, j->dirty);
    end_job(j);
    dispatch_all(db->desk);
}

static void on_job_again(struct job *j)
{
    struct database *db = j->owner;
    struct slot *s = slot_of(j);

    release(s, j->dirty);
    enqueue(db, j, true);
    dispatch(db);
}

/* The job's connection is gone. A connection that had lain idle may have died long before: then
 * the job is begun once more on a new one, unless something of it may have been committed. */
static void connection_lost(struct slot *s, const struct failure *why)
{
    struct database *db = s->db;
    struct job *j = s->job;
    bool again = j && s->used && !j->retried && !j->committed && !j->answered;

    close_slot(s);
    if (!j) {
        dispatch(db);
        return;
    }
    if (again) {
        j->retried = true;
        for (size_t i = 0; i < DESK_CONNECTIONS; i++) {
            if (db->slot[i].ready && !db->slot[i].job)
                close_slot(&db->slot[i]);
        }
        enqueue(db, j, true);
    } else {
        j->why = *why;
        answer(j, false);
        end_job(j);
    }
    dispatch_all(db->desk);
}

static void on_job_broken(struct job *j)
{
    struct failure why;

    failure_set(&why, FAILURE_UNREACHABLE, "the connection to the database broke");
    connection_lost(slot_of(j), &why);
}

static const struct job_events job_events = {on_job_over, on_job_again, on_job_broken};

/* --- What connections tell. ------------------------------------------------------------------ */

static void on_conn_ready(void *owner)
{
    struct slot *s = owner;

    s->ready = true;
    if (s->job) {
        job_begin(s->job, s->conn);
    } else {
        rest(s);
        dispatch_all(s->db->desk);
    }
}

static void on_conn_result(void *owner, const PGresult *result)
{
    struct slot *s = owner;

    job_result(s->job, result);
}

static void on_conn_lost(void *owner, const struct failure *why)
{
    connection_lost(owner, why);
}

static const struct pgconn_events conn_events = {on_conn_ready, on_conn_result, on_conn_lost};

/* --- Handing jobs to connections. ------------------------------------------------------------ */

static bool same_role(const struct job *a, const struct job *b)
{
    const char *role = job_str(a, "role");

    return *role && strcmp(role, job_str(b, "role")) == 0;
}

static bool role_is_busy(const struct desk *d, const struct job *j)
{
    for (const struct database *db = d->databases; db; db = db->next) {
        for (size_t i = 0; i < DESK_CONNECTIONS; i++) {
            if (db->slot[i].job && same_role(db->slot[i].job, j))
                return true;
        }
    }
    return false;
}

static struct job *next_job(const struct database *db)
{
    struct job *j = db->first;

    while (j && role_is_busy(db->desk, j))
        j = j->next;
    return j;
}

static struct slot *find_slot(struct database *db)
{
    struct slot *empty = NULL;

    for (size_t i = 0; i < DESK_CONNECTIONS; i++) {
        struct slot *s = &db->slot[i];

        if (s->ready && !s->job)
            return s;
        if (!s->conn)
            empty = s;
    }
    return empty;
}

static void fail_job(struct job *j, const char *kind, const char *message)
{
    (void)job_fail(j, kind, message);
    answer(j, false);
    end_job(j);
}

/* Opens a connection for the job to begin on. */
static void open_for(struct slot *s, struct job *j)
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
        r = pgconn_open(s->db->desk->event, &dsn, &conn_events, s, &s->conn);
    if (r < 0) {
        s->conn = NULL;
        fail_job(j, FAILURE_UNREACHABLE, "out of memory");
        return;
    }
    s->job = j;
}

static void dispatch(struct database *db)
{
    struct job *j;
    struct slot *s;

    while ((j = next_job(db)) && (s = find_slot(db))) {
        unqueue(db, j);
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
    struct database *db = j->owner;
    struct slot *s = slot_of(j);
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
        close_slot(s);
    else
        unqueue(db, j);
    end_job(j);
    dispatch_all(db->desk);
    return 0;
}

/* --- Requests. ------------------------------------------------------------------------------- */

static bool id_in_list(const struct job *j, int64_t id)
{
    for (; j; j = j->next) {
        if (j->frame.id == id)
            return true;
    }
    return false;
}

static bool id_in_use(const struct desk *d, int64_t id)
{
    for (const struct database *db = d->databases; db; db = db->next) {
        if (id_in_list(db->first, id))
            return true;
        for (size_t i = 0; i < DESK_CONNECTIONS; i++) {
            const struct job *j = db->slot[i].job;

            if (j && !j->answered && j->frame.id == id)
                return true;
        }
    }
    return false;
}

/* forget: idle connections now, busy ones once they are done. */
static void forget_database(struct desk *d, const struct frame *f)
{
    uint8_t key[KEY_LEN];
    struct database *db;

    database_key(d, f, key);
    db = find_database(d, key);
    for (size_t i = 0; db && i < DESK_CONNECTIONS; i++) {
        struct slot *s = &db->slot[i];

        s->forget = s->conn != NULL;
        if (s->ready && !s->job)
            close_slot(s);
    }
    send_frame(d, f->id, true, NULL, NULL);
}

static int add_job(struct desk *d, struct frame *f)
{
    struct database *db = get_database(d, f);
    struct job *j;
    int r;

    if (!db)
        return -ENOMEM;
    if (d->jobs >= DESK_JOBS_MAX || db->waiting >= DESK_QUEUE_MAX) {
        refuse(d, f->id, FAILURE_BUSY, "too many requests are waiting for this database");
        return 0;
    }
    j = job_new(f, d->event, &job_events, db);
    if (!j)
        return -ENOMEM;
    r = sd_event_add_time_relative(d->event, &j->deadline, CLOCK_BOOTTIME,
                                   (uint64_t)j->frame.timeout_ms * 1000, 1000, on_deadline, j);
    if (r < 0) {
        job_free(j);
        return r;
    }
    d->jobs++;
    enqueue(db, j, false);
    dispatch(db);
    return 0;
}

static int take(struct desk *d, struct frame *f)
{
    if (id_in_use(d, f->id)) {
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

    sweep_databases(d);
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
    d->event = event;
    d->send = send;
    d->data = data;
    crypto_generichash_keygen(d->key);
    *out = d;
    return 0;
}

/* Ends all jobs of a database without a word; with spare, not those in the middle of a COMMIT. */
static void drop_jobs(struct database *db, bool spare)
{
    struct job *j;

    while ((j = db->first)) {
        unqueue(db, j);
        end_job(j);
    }
    for (size_t i = 0; i < DESK_CONNECTIONS; i++) {
        struct slot *s = &db->slot[i];

        j = s->job;
        if (j && spare && j->committing) {
            j->answered = true;
        } else if (j) {
            close_slot(s);
            end_job(j);
        }
    }
}

void desk_abandon(struct desk *d)
{
    for (struct database *db = d->databases; db; db = db->next)
        drop_jobs(db, true);
}

size_t desk_jobs(const struct desk *d)
{
    return d->jobs;
}

void desk_free(struct desk *d)
{
    struct database *db;

    if (!d)
        return;
    while ((db = d->databases)) {
        drop_jobs(db, false);
        for (size_t i = 0; i < DESK_CONNECTIONS; i++)
            close_slot(&db->slot[i]);
        d->databases = db->next;
        free(db);
    }
    mem_free(d, sizeof(*d));
}
