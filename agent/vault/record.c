/* Rows of the seven record tables:
 *
 *     n       rowid: the order of insertion (replacing a record keeps it)
 *     id      keyed hash of (u8 table, 0xff, id)
 *     due     plain; 0 = none
 *     k0..k3  keyed hash of (u8 table, u8 slot, value), or NULL
 *     body    sealed: u16 length of id (little-endian), id, NUL, the body; bound to all of the
 * above but n: u8 table | id 32 | due i64 | four times (u8 is there, 32 bytes)
 *
 * The numbers of enum record_table are therefore part of the format: never renumber them. */
#include "vault/record.h"

#include <errno.h>
#include <string.h>

#include "vault/inner.h"

#define SLOT_ID 0xff
#define BOUND_LEN (1 + VAULT_HASH_LEN + 8 + RECORD_KEYS * (1 + VAULT_HASH_LEN))
_Static_assert(BOUND_LEN <= KEYRING_AAD_MAX, "fits");

/* The plain columns, in the form they are bound in. */
struct row {
    uint8_t id[VAULT_HASH_LEN];
    int64_t due;
    bool has[RECORD_KEYS];
    uint8_t key[RECORD_KEYS][VAULT_HASH_LEN];
};

static void bind_row(enum record_table t, const struct row *w, uint8_t out[BOUND_LEN])
{
    *out++ = (uint8_t)t;
    memcpy(out, w->id, VAULT_HASH_LEN);
    out += VAULT_HASH_LEN;
    for (int i = 0; i < 8; i++)
        *out++ = (uint8_t)((uint64_t)w->due >> (8 * i));
    for (int i = 0; i < RECORD_KEYS; i++) {
        *out++ = w->has[i];
        memcpy(out, w->key[i], VAULT_HASH_LEN); /* zeros where there is none */
        out += VAULT_HASH_LEN;
    }
}

static int hash(const struct vault *v, enum record_table t, uint8_t slot, const char *value,
                uint8_t out[VAULT_HASH_LEN])
{
    size_t n = value ? strnlen(value, RECORD_ID_MAX + 1) : 0;
    if (!n || n > RECORD_ID_MAX)
        return -EINVAL;
    uint8_t where[2] = {(uint8_t)t, slot};
    struct keyring_part parts[] = {{where, sizeof(where)}, {value, n}};
    keyring_hash(v->ring, KEYRING_NAME_RECORD, "record", parts, ARRAY_LEN(parts), out);
    return 0;
}

static int ready(const struct vault *v, enum record_table t)
{
    return (unsigned)t < RECORD_TABLES ? vault_ready(v) : -EINVAL;
}

/* --- Reading a row --------------------------------------------------------------------------- */

static int read_columns(sqlite3_stmt *st, struct row *w)
{
    *w = (struct row){0};
    if (sqlite3_column_bytes(st, 0) != VAULT_HASH_LEN)
        return -EBADMSG;
    memcpy(w->id, sqlite3_column_blob(st, 0), VAULT_HASH_LEN);
    w->due = sqlite3_column_int64(st, 1);
    for (int i = 0; i < RECORD_KEYS; i++) {
        w->has[i] = sqlite3_column_type(st, 2 + i) != SQLITE_NULL;
        if (!w->has[i])
            continue;
        if (sqlite3_column_bytes(st, 2 + i) != VAULT_HASH_LEN)
            return -EBADMSG;
        memcpy(w->key[i], sqlite3_column_blob(st, 2 + i), VAULT_HASH_LEN);
    }
    return 0;
}

/* Authenticates and opens the row under st into plain; r points into it. */
static int open_row(struct vault *v, enum record_table t, sqlite3_stmt *st, struct buf *plain,
                    struct record *r)
{
    struct row w;
    int e = read_columns(st, &w);
    if (e < 0)
        return e;
    uint8_t bound[BOUND_LEN];
    bind_row(t, &w, bound);
    const void *p = sqlite3_column_blob(st, 6);
    size_t n = (size_t)sqlite3_column_bytes(st, 6);
    if (!p)
        return -EBADMSG;
    e = keyring_open(v->ring, KEYRING_RECORD, bound, sizeof(bound), p, n, plain);
    if (e < 0)
        return e;
    struct span s = {plain->data, plain->len};
    uint16_t idlen;
    const uint8_t *id;
    if (span_u16(&s, &idlen) < 0 || span_bytes(&s, (size_t)idlen + 1, &id) < 0 || id[idlen] != 0)
        return -EBADMSG;
    *r = (struct record){
        .id = (const char *)id, .due = w.due, .body = (const char *)s.p, .body_len = s.left};
    return 0;
}

int record_get(struct vault *v, enum record_table t, const char *id, struct buf *out, int64_t *due)
{
    uint8_t k[VAULT_HASH_LEN];
    int r = ready(v, t);
    if (r == 0)
        r = hash(v, t, SLOT_ID, id, k);
    if (r < 0)
        return r;
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    r = store_record_stmt(&v->store, t, STORE_REC_GET, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, k, sizeof(k));
    r = store_step(&v->store, st);
    if (r <= 0)
        return r < 0 ? r : RECORD_E_NONE;
    struct record found;
    r = open_row(v, t, st, &v->scratch, &found);
    if (r == 0) {
        buf_put(out, found.body, found.body_len);
        r = buf_error(out);
    }
    if (r == 0 && due)
        *due = found.due;
    vault_scratch_done(v);
    return r;
}

/* --- Writing --------------------------------------------------------------------------------- */

static int make_row(const struct vault *v, enum record_table t, const struct record *r,
                    struct row *w)
{
    *w = (struct row){.due = r->due};
    int e = hash(v, t, SLOT_ID, r->id, w->id);
    for (unsigned i = 0; e == 0 && i < RECORD_KEYS; i++) {
        w->has[i] = r->key[i];
        if (r->key[i])
            e = hash(v, t, (uint8_t)i, r->key[i], w->key[i]);
    }
    return e;
}

static int put(struct vault *v, enum record_table t, const struct record *r, const struct row *w)
{
    uint8_t bound[BOUND_LEN];
    bind_row(t, w, bound);
    size_t idlen = strlen(r->id);
    uint8_t head[2] = {(uint8_t)idlen, (uint8_t)(idlen >> 8)};
    struct keyring_part parts[] = {{head, 2}, {r->id, idlen + 1}, {r->body, r->body_len}};
    int e = keyring_seal(v->ring, KEYRING_RECORD, bound, sizeof(bound), parts, ARRAY_LEN(parts),
                         &v->scratch);
    if (e < 0)
        return e;
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    e = store_record_stmt(&v->store, t, STORE_REC_PUT, &st);
    if (e < 0)
        return e;
    store_bind(st, 1, w->id, VAULT_HASH_LEN);
    sqlite3_bind_int64(st, 2, w->due);
    for (int i = 0; i < RECORD_KEYS; i++)
        if (w->has[i])
            store_bind(st, 3 + i, w->key[i], VAULT_HASH_LEN);
    store_bind(st, 7, v->scratch.data, v->scratch.len);
    return store_step(&v->store, st);
}

int record_put(struct vault *v, enum record_table t, const struct record *r)
{
    struct row w;
    bool own;
    int e = ready(v, t);
    if (e == 0 && r->body_len > RECORD_BODY_MAX)
        e = -EMSGSIZE;
    if (e == 0)
        e = make_row(v, t, r, &w);
    if (e == 0)
        e = vault_write_begin(v, &own);
    return e < 0 ? e : vault_write_end(v, own, put(v, t, r, &w));
}

static int delete_row(struct vault *v, enum record_table t, const uint8_t k[VAULT_HASH_LEN])
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_record_stmt(&v->store, t, STORE_REC_DELETE, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, k, VAULT_HASH_LEN);
    r = store_step(&v->store, st);
    if (r < 0)
        return r;
    return sqlite3_changes(v->store.db) ? 0 : RECORD_E_NONE;
}

int record_delete(struct vault *v, enum record_table t, const char *id)
{
    uint8_t k[VAULT_HASH_LEN];
    bool own;
    int r = ready(v, t);
    if (r == 0)
        r = hash(v, t, SLOT_ID, id, k);
    if (r == 0)
        r = vault_write_begin(v, &own);
    return r < 0 ? r : vault_write_end(v, own, delete_row(v, t, k));
}

/* --- Visits ---------------------------------------------------------------------------------- */

/* A rowid, and some of the id: a rowid may come to belong to another record during the visit. */
struct found {
    int64_t n;
    uint64_t id;
};

struct found_list {
    struct found *v;
    size_t n, cap;
};

static void found_clear(struct found_list *l)
{
    free(l->v);
}

static int found_add(struct found_list *l, sqlite3_stmt *st)
{
    if (sqlite3_column_bytes(st, 1) != VAULT_HASH_LEN)
        return -EBADMSG;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct found *more = reallocarray(l->v, cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        l->v = more;
        l->cap = cap;
    }
    l->v[l->n].n = sqlite3_column_int64(st, 0);
    memcpy(&l->v[l->n].id, sqlite3_column_blob(st, 1), sizeof(l->v[0].id));
    l->n++;
    return 0;
}

/* 0 found, RECORD_E_NONE gone by now. */
static int read_found(struct vault *v, enum record_table t, const struct found *f,
                      struct buf *plain, struct record *r)
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int e = store_record_stmt(&v->store, t, STORE_REC_AT, &st);
    if (e < 0)
        return e;
    sqlite3_bind_int64(st, 1, f->n);
    e = store_step(&v->store, st);
    if (e <= 0)
        return e < 0 ? e : RECORD_E_NONE;
    if (sqlite3_column_bytes(st, 0) != VAULT_HASH_LEN)
        return -EBADMSG;
    if (memcmp(&f->id, sqlite3_column_blob(st, 0), sizeof(f->id)) != 0)
        return RECORD_E_NONE;
    return open_row(v, t, st, plain, r);
}

static int visit(struct vault *v, enum record_table t, const struct found_list *l, record_fn fn,
                 void *data)
{
    _cleanup_buf_ struct buf plain = BUF_INIT(RECORD_BODY_MAX + RECORD_ID_MAX + 64);
    for (size_t i = 0; i < l->n; i++) {
        struct record r;
        buf_reset(&plain);
        int e = vault_ready(v); /* fn may have sealed or lost the turn */
        if (e == 0)
            e = read_found(v, t, &l->v[i], &plain, &r);
        if (e == 0)
            e = fn(&r, data);
        if (e < 0)
            return e;
    }
    return 0;
}

/* st has its other parameters bound; the first is the limit. */
static int collect(struct vault *v, sqlite3_stmt *st, size_t limit, struct found_list *l)
{
    sqlite3_bind_int64(st, 1, limit && limit < INT64_MAX ? (int64_t)limit : -1);
    int r;
    while ((r = store_step(&v->store, st)) == 1) {
        r = found_add(l, st);
        if (r < 0)
            return r;
    }
    return r;
}

/* What a visit selects by: a key (32 bytes), a deadline, or nothing. */
static int each(struct vault *v, enum record_table t, unsigned op, const uint8_t *key,
                const int64_t *until, size_t limit, record_fn fn, void *data)
{
    _cleanup_(found_clear) struct found_list l = {0};
    {
        _cleanup_stmt_ sqlite3_stmt *st = NULL;
        int r = store_record_stmt(&v->store, t, op, &st);
        if (r < 0)
            return r;
        if (key)
            store_bind(st, 2, key, VAULT_HASH_LEN);
        if (until)
            sqlite3_bind_int64(st, 2, *until);
        r = collect(v, st, limit, &l);
        if (r < 0)
            return r;
    }
    return visit(v, t, &l, fn, data);
}

int record_each_due(struct vault *v, enum record_table t, int64_t until, size_t limit, record_fn fn,
                    void *data)
{
    int r = ready(v, t);
    return r < 0 ? r : each(v, t, STORE_REC_EACH_DUE, NULL, &until, limit, fn, data);
}

int record_each_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                    size_t limit, record_fn fn, void *data)
{
    uint8_t k[VAULT_HASH_LEN];
    int r = slot < RECORD_KEYS ? ready(v, t) : -EINVAL;
    if (r == 0)
        r = hash(v, t, (uint8_t)slot, value, k);
    return r < 0 ? r : each(v, t, STORE_REC_EACH_KEY + slot, k, NULL, limit, fn, data);
}

int record_each(struct vault *v, enum record_table t, size_t limit, record_fn fn, void *data)
{
    int r = ready(v, t);
    return r < 0 ? r : each(v, t, STORE_REC_EACH, NULL, NULL, limit, fn, data);
}

/* --- Numbers --------------------------------------------------------------------------------- */

/* The first column of the first row; RECORD_E_NONE without one. */
static int number(struct vault *v, enum record_table t, unsigned op, const uint8_t *key,
                  int64_t *out)
{
    *out = 0;
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_record_stmt(&v->store, t, op, &st);
    if (r < 0)
        return r;
    if (key)
        store_bind(st, 1, key, VAULT_HASH_LEN);
    r = store_step(&v->store, st);
    if (r <= 0)
        return r < 0 ? r : RECORD_E_NONE;
    *out = sqlite3_column_int64(st, 0);
    return 0;
}

int record_next_due(struct vault *v, enum record_table t, int64_t *due)
{
    int r = ready(v, t);
    return r < 0 ? r : number(v, t, STORE_REC_NEXT_DUE, NULL, due);
}

int record_count(struct vault *v, enum record_table t, int64_t *n)
{
    return v->dead ? v->dead : number(v, t, STORE_REC_COUNT, NULL, n);
}

int record_count_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                     int64_t *n)
{
    uint8_t k[VAULT_HASH_LEN];
    int r = slot < RECORD_KEYS ? ready(v, t) : -EINVAL;
    if (r == 0)
        r = hash(v, t, (uint8_t)slot, value, k);
    return r < 0 ? r : number(v, t, STORE_REC_COUNT_KEY + slot, k, n);
}

int record_get_json(struct vault *v, enum record_table t, const char *id, json_t **out)
{
    *out = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(RECORD_BODY_MAX);
    int r = record_get(v, t, id, &text, NULL);
    if (r)
        return r;
    char why[96];
    return json_parse(buf_str(&text), text.len, out, why, sizeof(why));
}
