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

static int hash(struct vault *v, enum record_table t, uint8_t slot, const char *value,
                uint8_t out[VAULT_HASH_LEN])
{
    size_t n = value ? strnlen(value, RECORD_ID_MAX + 1) : 0;
    if (!n || n > RECORD_ID_MAX)
        return -EINVAL;
    uint8_t where[2] = {(uint8_t)t, slot};
    struct keyring_part parts[] = {{where, sizeof(where)}, {value, n}};
    if (slot == SLOT_ID)
        known_hash(&v->known, v->ring, KEYRING_NAME_RECORD, "record", parts, ARRAY_LEN(parts), out);
    else
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
        return sqlite3_errcode(v->store.db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
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

static int make_row(struct vault *v, enum record_table t, const struct record *r, struct row *w)
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
    peek_drop(&v->peek, w->id);
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
    peek_drop(&v->peek, k);
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
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct found *more = reallocarray(l->v, cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        l->v = more;
        l->cap = cap;
    }
    struct found *f = &l->v[l->n++];
    *f = (struct found){.n = sqlite3_column_int64(st, 0)};
    if (sqlite3_column_bytes(st, 1) == VAULT_HASH_LEN) /* else read_found() says it */
        memcpy(&f->id, sqlite3_column_blob(st, 1), sizeof(f->id));
    return 0;
}

/* 0 found, RECORD_E_NONE gone by now, RECORD_E_BROKEN: this row, and not the store, is at fault. */
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
        return RECORD_E_BROKEN;
    if (memcmp(&f->id, sqlite3_column_blob(st, 0), sizeof(f->id)) != 0)
        return RECORD_E_NONE;
    e = open_row(v, t, st, plain, r);
    /* longer than any that we write, so that it did not fit */
    return e == -EBADMSG || e == -EMSGSIZE ? RECORD_E_BROKEN : e;
}

#define SHOWN_ROWS 8
#define PLAIN_KEPT (16 * 1024)

/* A visit: what it does with each row, and with those that are broken. */
struct tour {
    record_fn fn;
    void *data;
    bool pass;                  /* go on behind a broken row; else it ends the visit */
    bool park;                  /* and take it out of the queue */
    struct record_slice *slice; /* or NULL */
    size_t broken;
    int64_t shown[SHOWN_ROWS]; /* the first broken ones */
};

static int park_row(struct vault *v, enum record_table t, int64_t n)
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_record_stmt(&v->store, t, STORE_REC_PARK, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, n);
    return store_step(&v->store, st);
}

static int pass_over(struct vault *v, enum record_table t, const struct found *f, struct tour *to)
{
    bool own;
    if (!to->pass)
        return -EBADMSG;
    if (to->broken < SHOWN_ROWS)
        to->shown[to->broken] = f->n;
    to->broken++;
    v->passed_over++;
    if (!to->park)
        return 0;
    int r = vault_write_begin(v, &own);
    return r < 0 ? r : vault_write_end(v, own, park_row(v, t, f->n));
}

/* Outside of a turn there is no log; the count is all there is. */
static int tell_broken(struct vault *v, enum record_table t, const struct tour *to)
{
    if (to->broken == 0 || !v->in_turn)
        return 0;
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; i < to->broken && i < SHOWN_ROWS; i++) {
        if (json_array_append_new(rows, json_integer(to->shown[i])) < 0)
            return -ENOMEM;
    }
    _cleanup_json_ json_t *line =
        json_pack("{s:s, s:s, s:I, s:O, s:s}", "event", "broken rows", "table",
                  store_record_name(t), "broken", (json_int_t)to->broken, "rows", rows, "text",
                  "rows of the store failed their authentication (damaged, or changed by somebody "
                  "else) and were passed over");
    return line ? audit_append(v, "alert", line) : -ENOMEM;
}

static int visit(struct vault *v, enum record_table t, const struct found_list *l, struct tour *to)
{
    _cleanup_buf_ struct buf plain = BUF_INIT(RECORD_BODY_MAX + RECORD_ID_MAX + 64);
    for (size_t i = 0; i < l->n; i++) {
        struct record r;
        if (plain.cap > PLAIN_KEPT) /* wiped as a whole each time: one long row, slow for all */
            buf_clear(&plain);
        else
            buf_reset(&plain);
        int e = vault_ready(v); /* fn may have sealed or lost the turn */
        if (e == 0)
            e = read_found(v, t, &l->v[i], &plain, &r);
        bool sound = e == 0;
        if (sound)
            e = to->fn(&r, to->data);
        if (e == RECORD_E_BROKEN && (!sound || to->pass))
            e = pass_over(v, t, &l->v[i], to);
        if (e < 0)
            return e;
    }
    return tell_broken(v, t, to);
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
                const int64_t *until, size_t limit, struct tour *to)
{
    _cleanup_(found_clear) struct found_list l = {0};
    struct record_slice *slice = to->slice;
    {
        _cleanup_stmt_ sqlite3_stmt *st = NULL;
        int r = store_record_stmt(&v->store, t, op, &st);
        if (r < 0)
            return r;
        if (key)
            store_bind(st, 2, key, VAULT_HASH_LEN);
        if (until)
            sqlite3_bind_int64(st, 2, *until);
        else
            sqlite3_bind_int64(st, 3, slice ? slice->after : INT64_MIN);
        r = collect(v, st, limit, &l);
        if (r < 0)
            return r;
    }
    if (slice) {
        slice->more = limit && l.n >= limit;
        slice->after = l.n ? l.v[l.n - 1].n : slice->after;
    }
    return visit(v, t, &l, to);
}

static int each_due(struct vault *v, enum record_table t, int64_t until, size_t limit,
                    struct tour *to)
{
    int r = ready(v, t);
    return r < 0 ? r : each(v, t, STORE_REC_EACH_DUE, NULL, &until, limit, to);
}

static int each_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                    size_t limit, struct tour *to)
{
    uint8_t k[VAULT_HASH_LEN];
    int r = slot < RECORD_KEYS ? ready(v, t) : -EINVAL;
    if (r == 0)
        r = hash(v, t, (uint8_t)slot, value, k);
    return r < 0 ? r : each(v, t, STORE_REC_EACH_KEY + slot, k, NULL, limit, to);
}

static int each_row(struct vault *v, enum record_table t, size_t limit, struct tour *to)
{
    int r = ready(v, t);
    return r < 0 ? r : each(v, t, STORE_REC_EACH, NULL, NULL, limit, to);
}

int record_each_due(struct vault *v, enum record_table t, int64_t until, size_t limit, record_fn fn,
                    void *data)
{
    return each_due(v, t, until, limit, &(struct tour){.fn = fn, .data = data});
}

int record_each_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                    size_t limit, record_fn fn, void *data)
{
    return each_key(v, t, slot, value, limit, &(struct tour){.fn = fn, .data = data});
}

int record_each(struct vault *v, enum record_table t, size_t limit, record_fn fn, void *data)
{
    return each_row(v, t, limit, &(struct tour){.fn = fn, .data = data});
}

static int passed(const struct tour *to, int r, size_t *broken)
{
    if (broken)
        *broken = to->broken;
    return r;
}

int record_pass_due(struct vault *v, enum record_table t, int64_t until, size_t limit, record_fn fn,
                    void *data, size_t *broken)
{
    struct tour to = {.fn = fn, .data = data, .pass = true, .park = true};
    return passed(&to, each_due(v, t, until, limit, &to), broken);
}

int record_pass_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                    size_t limit, record_fn fn, void *data, size_t *broken)
{
    struct tour to = {.fn = fn, .data = data, .pass = true};
    return passed(&to, each_key(v, t, slot, value, limit, &to), broken);
}

int record_pass(struct vault *v, enum record_table t, size_t limit, record_fn fn, void *data,
                size_t *broken)
{
    struct tour to = {.fn = fn, .data = data, .pass = true};
    return passed(&to, each_row(v, t, limit, &to), broken);
}

int record_pass_slice(struct vault *v, enum record_table t, int slot, const char *value,
                      struct record_slice *s, record_fn fn, void *data)
{
    struct tour to = {.fn = fn, .data = data, .pass = true, .slice = s};
    if (s->after == 0) /* from the start: whatever number the first row has */
        s->after = INT64_MIN;
    return slot < 0 ? each_row(v, t, s->limit, &to)
                    : each_key(v, t, (unsigned)slot, value, s->limit, &to);
}

uint64_t record_passed_over(const struct vault *v)
{
    return v->passed_over;
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

static int get_json(struct vault *v, enum record_table t, const char *id, json_t **out, size_t *len)
{
    *out = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(RECORD_BODY_MAX);
    int r = record_get(v, t, id, &text, NULL);
    if (r)
        return r;
    char why[96];
    *len = text.len;
    return json_parse(buf_str(&text), text.len, out, why, sizeof(why));
}

int record_get_json(struct vault *v, enum record_table t, const char *id, json_t **out)
{
    size_t len;
    return get_json(v, t, id, out, &len);
}

int record_peek_json(struct vault *v, enum record_table t, const char *id, json_t **out)
{
    uint8_t k[VAULT_HASH_LEN];
    size_t len;
    *out = NULL;
    int r = ready(v, t);
    if (r == 0)
        r = hash(v, t, SLOT_ID, id, k);
    if (r < 0)
        return r;
    *out = peek_find(&v->peek, k);
    if (*out)
        return 0;
    r = get_json(v, t, id, out, &len);
    if (r == 0 && len <= PEEK_BODY_MAX)
        peek_keep(&v->peek, k, *out);
    return r;
}
