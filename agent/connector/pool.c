#include "connector/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- Databases. ------------------------------------------------------------------------------ */

static void hash_part(crypto_generichash_state *state, const char *s)
{
    size_t n = strlen(s) + 1; /* the NUL keeps the parts apart */

    (void)crypto_generichash_update(state, (const uint8_t *)s, n);
}

static void make_key(const struct pool *p, const json_t *db, uint8_t key[POOL_KEY_LEN])
{
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, p->key, sizeof(p->key), POOL_KEY_LEN);
    hash_part(&state, json_str_or(db, "url", ""));
    hash_part(&state, json_str_or(db, "username", ""));
    hash_part(&state, json_str_or(db, "password", ""));
    (void)crypto_generichash_final(&state, key, POOL_KEY_LEN);
    mem_wipe(&state, sizeof(state));
}

static struct pool_database *find(const struct pool *p, const uint8_t key[POOL_KEY_LEN])
{
    struct pool_database *db = p->databases;

    while (db && !mem_equal(db->key, POOL_KEY_LEN, key, POOL_KEY_LEN))
        db = db->next;
    return db;
}

struct pool_database *pool_find(const struct pool *p, const json_t *db)
{
    uint8_t key[POOL_KEY_LEN];

    make_key(p, db, key);
    return find(p, key);
}

struct pool_database *pool_get(struct pool *p, const json_t *of)
{
    uint8_t key[POOL_KEY_LEN];
    struct pool_database *db;

    make_key(p, of, key);
    db = find(p, key);
    if (db)
        return db;
    db = calloc(1, sizeof(*db));
    if (!db)
        return NULL;
    memcpy(db->key, key, POOL_KEY_LEN);
    db->pool = p;
    db->next = p->databases;
    p->databases = db;
    for (size_t i = 0; i < POOL_CONNECTIONS; i++)
        db->slot[i].db = db;
    return db;
}

static bool in_use(const struct pool_database *db)
{
    bool used = db->first != NULL;

    for (size_t i = 0; i < POOL_CONNECTIONS; i++)
        used = used || db->slot[i].conn;
    return used;
}

void pool_sweep(struct pool *p)
{
    for (struct pool_database **at = &p->databases; *at;) {
        struct pool_database *db = *at;

        if (in_use(db)) {
            at = &db->next;
            continue;
        }
        *at = db->next;
        free(db);
    }
}

/* --- Slots. ---------------------------------------------------------------------------------- */

void pool_close(struct pool_slot *s)
{
    s->idle = sd_event_source_disable_unref(s->idle);
    pgconn_free(s->conn);
    s->conn = NULL;
    s->job = NULL;
    s->ready = s->used = s->forget = false;
}

static int on_idle(sd_event_source *source _unused_, uint64_t usec _unused_, void *data)
{
    struct pool_slot *s = data;

    pool_close(s);
    return 0;
}

void pool_rest(struct pool_slot *s)
{
    s->ready = true;
    if (s->forget ||
        sd_event_add_time_relative(s->db->pool->event, &s->idle, CLOCK_MONOTONIC,
                                   POOL_IDLE_SECONDS * UINT64_C(1000000), 1000000, on_idle, s) < 0)
        pool_close(s);
}

void pool_release(struct pool_slot *s, bool dirty)
{
    int r;

    s->job = NULL;
    s->used = true;
    s->ready = false;
    r = pgconn_tidy(s->conn, dirty);
    if (r == PGCONN_IDLE)
        pool_rest(s);
    else if (r < 0)
        pool_close(s);
}

struct pool_slot *pool_slot_of(const struct job *j)
{
    struct pool_database *db = j->owner;

    for (size_t i = 0; i < POOL_CONNECTIONS; i++) {
        if (db->slot[i].job == j)
            return &db->slot[i];
    }
    return NULL;
}

/* --- Queues. ------------------------------------------------------------------------------------
 */

void pool_unqueue(struct pool_database *db, struct job *j)
{
    struct job **at = &db->first;

    while (*at && *at != j)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = j->next;
    db->waiting--;
}

void pool_enqueue(struct pool_database *db, struct job *j, bool front)
{
    struct job **at = &db->first;

    while (!front && *at)
        at = &(*at)->next;
    j->next = *at;
    *at = j;
    db->waiting++;
}

static bool same_role(const struct job *a, const struct job *b)
{
    const char *role = job_str(a, "role");

    return *role && strcmp(role, job_str(b, "role")) == 0;
}

static bool role_is_busy(const struct pool *p, const struct job *j)
{
    for (const struct pool_database *db = p->databases; db; db = db->next) {
        for (size_t i = 0; i < POOL_CONNECTIONS; i++) {
            if (db->slot[i].job && same_role(db->slot[i].job, j))
                return true;
        }
    }
    return false;
}

struct job *pool_next_job(const struct pool_database *db)
{
    struct job *j = db->first;

    while (j && role_is_busy(db->pool, j))
        j = j->next;
    return j;
}

struct pool_slot *pool_find_slot(struct pool_database *db)
{
    struct pool_slot *empty = NULL;

    for (size_t i = 0; i < POOL_CONNECTIONS; i++) {
        struct pool_slot *s = &db->slot[i];

        if (s->ready && !s->job)
            return s;
        if (!s->conn)
            empty = s;
    }
    return empty;
}

static bool id_in_list(const struct job *j, int64_t id)
{
    for (; j; j = j->next) {
        if (j->frame.id == id)
            return true;
    }
    return false;
}

bool pool_has_id(const struct pool *p, int64_t id)
{
    for (const struct pool_database *db = p->databases; db; db = db->next) {
        if (id_in_list(db->first, id))
            return true;
        for (size_t i = 0; i < POOL_CONNECTIONS; i++) {
            const struct job *j = db->slot[i].job;

            if (j && !j->answered && j->frame.id == id)
                return true;
        }
    }
    return false;
}
