/* Rows of the table `entry`:
 *
 *     k       keyed hash of (u8 length of space, space, path); a folder's path ends in '/'
 *     parent  the k of the folder it is in (the root folder "" has a k but no row)
 *     name    sealed: the last segment, with its '/' for a folder; bound to "n" and k
 *     body    sealed: the value; bound to "b" and k. NULL for a folder
 *
 * A folder's row exists just as long as it has children. parent is checked when a folder is listed:
 * the folder's path and the name inside must hash to k again. */
#include "vault/entry.h"

#include <errno.h>
#include <string.h>

#include "vault/inner.h"

#define SPACE_MAX 64

/* --- Names ----------------------------------------------------------------------------------- */

static bool segment_ok(const char *p, size_t n)
{
    if (!n || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
        return false;
    return true;
}

static int check_space(const char *space)
{
    size_t n = strnlen(space, SPACE_MAX + 1);
    return n && n <= SPACE_MAX ? 0 : -EINVAL;
}

static int check_path(const char *space, const char *path)
{
    size_t n = strnlen(path, ENTRY_PATH_MAX + 1);
    if (check_space(space) < 0 || !n || n > ENTRY_PATH_MAX || !encode_is_utf8(path, n))
        return -EINVAL;
    for (const char *p = path;; p++) {
        size_t l = strcspn(p, "/");
        if (!segment_ok(p, l))
            return -EINVAL;
        p += l;
        if (!*p)
            return 0;
    }
}

/* "" or a path with '/' behind it. */
static int check_folder(const char *space, const char *folder)
{
    size_t n = strnlen(folder, ENTRY_PATH_MAX + 2);
    if (!n)
        return check_space(space);
    if (n > ENTRY_PATH_MAX + 1 || folder[n - 1] != '/')
        return -EINVAL;
    char path[ENTRY_PATH_MAX + 1];
    memcpy(path, folder, n - 1);
    path[n - 1] = '\0';
    return check_path(space, path);
}

/* The length of the folder part of a path of n bytes: "a/b/c" and "a/b/c/" give 4. */
static size_t parent_len(const char *path, size_t n)
{
    if (n && path[n - 1] == '/')
        n--;
    while (n && path[n - 1] != '/')
        n--;
    return n;
}

static void hash(struct vault *v, const char *space, const char *path, size_t n, const char *more,
                 uint8_t out[VAULT_HASH_LEN])
{
    uint8_t l = (uint8_t)strlen(space);
    struct keyring_part parts[] = {{&l, 1}, {space, l}, {path, n}, {more, strlen(more)}};
    known_hash(&v->known, v->ring, KEYRING_NAME_ENTRY, "entry", parts, ARRAY_LEN(parts), out);
}

/* What a sealed column is bound to. */
struct bound {
    char column;
    uint8_t k[VAULT_HASH_LEN];
};
_Static_assert(sizeof(struct bound) == 1 + VAULT_HASH_LEN, "no padding");

static int seal(struct vault *v, char column, const uint8_t k[VAULT_HASH_LEN], const void *p,
                size_t n, struct buf *out)
{
    struct bound b = {.column = column};
    memcpy(b.k, k, VAULT_HASH_LEN);
    return keyring_seal(v->ring, KEYRING_ENTRY, &b, sizeof(b), &(struct keyring_part){p, n}, 1,
                        out);
}

static int unseal(struct vault *v, char column, const uint8_t k[VAULT_HASH_LEN], sqlite3_stmt *st,
                  int col, struct buf *out)
{
    struct bound b = {.column = column};
    memcpy(b.k, k, VAULT_HASH_LEN);
    const void *p = sqlite3_column_blob(st, col);
    size_t n = (size_t)sqlite3_column_bytes(st, col);
    if (!p)
        return -EBADMSG;
    return keyring_open(v->ring, KEYRING_ENTRY, &b, sizeof(b), p, n, out);
}

/* --- One entry ------------------------------------------------------------------------------- */

int entry_get(struct vault *v, const char *space, const char *path, struct buf *out)
{
    int r = vault_ready(v);
    if (r == 0)
        r = check_path(space, path);
    if (r < 0)
        return r;
    uint8_t k[VAULT_HASH_LEN];
    hash(v, space, path, strlen(path), "", k);
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    r = store_stmt(&v->store, STORE_ENTRY_GET, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, k, sizeof(k));
    r = store_step(&v->store, st);
    if (r <= 0)
        return r < 0 ? r : ENTRY_E_NONE;
    r = unseal(v, 'b', k, st, 0, &v->scratch);
    if (r == 0) {
        buf_put(out, v->scratch.data, v->scratch.len);
        r = buf_error(out);
    }
    vault_scratch_done(v);
    return r;
}

static int update(struct vault *v, const uint8_t k[VAULT_HASH_LEN], const struct buf *body)
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, STORE_ENTRY_UPDATE, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, k, VAULT_HASH_LEN);
    store_bind(st, 2, body->data, body->len);
    r = store_step(&v->store, st);
    if (r < 0)
        return r;
    return sqlite3_changes(v->store.db) ? 0 : ENTRY_E_NONE;
}

/* body NULL: a folder. path has n bytes. */
static int insert(struct vault *v, const char *space, const char *path, size_t n,
                  const uint8_t k[VAULT_HASH_LEN], const struct buf *body)
{
    size_t at = parent_len(path, n);
    uint8_t parent[VAULT_HASH_LEN];
    hash(v, space, path, at, "", parent);
    _cleanup_buf_ struct buf name = BUF_INIT(ENTRY_PATH_MAX + 128);
    int r = seal(v, 'n', k, path + at, n - at, &name);
    if (r < 0)
        return r;
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    r = store_stmt(&v->store, STORE_ENTRY_INSERT, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, k, VAULT_HASH_LEN);
    store_bind(st, 2, parent, VAULT_HASH_LEN);
    store_bind(st, 3, name.data, name.len);
    if (body)
        store_bind(st, 4, body->data, body->len);
    return store_step(&v->store, st);
}

/* 1 there is such a row, 0 there is none. */
static int probe(struct vault *v, enum store_sql which, const uint8_t k[VAULT_HASH_LEN])
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, which, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, k, VAULT_HASH_LEN);
    return store_step(&v->store, st);
}

/* Makes the missing folders above path, from the bottom up to the first that is there. */
static int make_folders(struct vault *v, const char *space, const char *path)
{
    size_t n = parent_len(path, strlen(path));
    for (; n; n = parent_len(path, n)) {
        uint8_t k[VAULT_HASH_LEN];
        hash(v, space, path, n, "", k);
        int r = probe(v, STORE_ENTRY_HAS, k);
        if (r)
            return r < 0 ? r : 0;
        r = insert(v, space, path, n, k, NULL);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put(struct vault *v, const char *space, const char *path, const void *p, size_t n)
{
    uint8_t k[VAULT_HASH_LEN];
    hash(v, space, path, strlen(path), "", k);
    peek_drop(&v->peek, k);
    int r = seal(v, 'b', k, p, n, &v->scratch);
    if (r == 0)
        r = update(v, k, &v->scratch);
    if (r != ENTRY_E_NONE)
        return r;
    r = insert(v, space, path, strlen(path), k, &v->scratch);
    return r < 0 ? r : make_folders(v, space, path);
}

/* --- Counting what would change
 * ----------------------------------------------------------------- */

void entry_watch(struct vault *v, struct entry_watch *w)
{
    v->watch = w;
}

/* Whether both are JSON of the same value; else the bytes have to agree. */
static bool same_value(const struct buf *a, const void *p, size_t n)
{
    char why[96];
    _cleanup_json_ json_t *one = NULL;
    _cleanup_json_ json_t *other = NULL;
    if (mem_equal(a->data, a->len, p, n))
        return true;
    return json_parse(buf_str(a), a->len, &one, why, sizeof(why)) == 0 &&
           json_parse(p, n, &other, why, sizeof(why)) == 0 && json_equal(one, other);
}

static int watch_put(struct vault *v, const char *space, const char *path, const void *p, size_t n)
{
    _cleanup_buf_ struct buf old = BUF_INIT(ENTRY_VALUE_MAX);
    int r = v->watch ? entry_get(v, space, path, &old) : 0;
    if (!v->watch || r < 0)
        return r;
    if (r == ENTRY_E_NONE)
        v->watch->created++;
    else if (!same_value(&old, p, n))
        v->watch->replaced++;
    return 0;
}

int entry_put(struct vault *v, const char *space, const char *path, const void *p, size_t n)
{
    bool own;
    int r = vault_ready(v);
    if (r == 0)
        r = check_path(space, path);
    if (r == 0 && n > ENTRY_VALUE_MAX)
        r = -EMSGSIZE;
    if (r == 0)
        r = watch_put(v, space, path, p, n);
    if (r == 0)
        r = vault_write_begin(v, &own);
    return r < 0 ? r : vault_write_end(v, own, put(v, space, path, p, n));
}

/* 0 or ENTRY_E_NONE. */
static int delete_row(struct vault *v, const uint8_t k[VAULT_HASH_LEN])
{
    peek_drop(&v->peek, k);
    int r = probe(v, STORE_ENTRY_DELETE, k);
    if (r < 0)
        return r;
    return sqlite3_changes(v->store.db) ? 0 : ENTRY_E_NONE;
}

/* Removes the folders above path that have become empty. */
static int drop_folders(struct vault *v, const char *space, const char *path, size_t n)
{
    for (n = parent_len(path, n); n; n = parent_len(path, n)) {
        uint8_t k[VAULT_HASH_LEN];
        hash(v, space, path, n, "", k);
        int r = probe(v, STORE_ENTRY_CHILD, k);
        if (r)
            return r < 0 ? r : 0;
        r = delete_row(v, k);
        if (r < 0)
            return r;
    }
    return 0;
}

static int delete_entry(struct vault *v, const char *space, const char *path)
{
    uint8_t k[VAULT_HASH_LEN];
    hash(v, space, path, strlen(path), "", k);
    int r = delete_row(v, k);
    if (r == 0 && v->watch)
        v->watch->deleted++;
    return r ? r : drop_folders(v, space, path, strlen(path));
}

int entry_delete(struct vault *v, const char *space, const char *path)
{
    bool own;
    int r = vault_ready(v);
    if (r == 0)
        r = check_path(space, path);
    if (r == 0)
        r = vault_write_begin(v, &own);
    return r < 0 ? r : vault_write_end(v, own, delete_entry(v, space, path));
}

static int delete_tree(struct vault *v, const char *space, const char *folder)
{
    size_t n = strlen(folder);
    uint8_t k[VAULT_HASH_LEN];
    hash(v, space, folder, n, "", k);
    peek_clear(&v->peek);
    int r = probe(v, STORE_ENTRY_TREE, k);
    if (r < 0 || !n)
        return r;
    r = delete_row(v, k);
    if (r)
        return r < 0 ? r : 0;
    return drop_folders(v, space, folder, n);
}

int entry_delete_tree(struct vault *v, const char *space, const char *folder)
{
    bool own;
    int r = vault_ready(v);
    if (r == 0)
        r = check_folder(space, folder);
    if (r == 0)
        r = vault_write_begin(v, &own);
    return r < 0 ? r : vault_write_end(v, own, delete_tree(v, space, folder));
}

/* --- Listing --------------------------------------------------------------------------------- */

struct names {
    char **v;
    size_t n, cap;
    bool any; /* the folder has children, wanted or not */
};

static void names_clear(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free_str(l->v[i]);
    free(l->v);
}

static int names_add(struct names *l, const struct buf *name)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 32;
        char **more = reallocarray(l->v, cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        l->v = more;
        l->cap = cap;
    }
    l->v[l->n] = mem_dup(name->data, name->len);
    if (!l->v[l->n])
        return -ENOMEM;
    l->n++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One child: its name must belong to its row, and its row to this folder. */
static int add_child(struct vault *v, const char *space, const char *folder, const char *after,
                     sqlite3_stmt *st, struct names *l)
{
    uint8_t k[VAULT_HASH_LEN], again[VAULT_HASH_LEN];
    if (sqlite3_column_bytes(st, 0) != VAULT_HASH_LEN)
        return -EBADMSG;
    memcpy(k, sqlite3_column_blob(st, 0), VAULT_HASH_LEN);
    vault_scratch_done(v);
    int r = unseal(v, 'n', k, st, 1, &v->scratch);
    if (r < 0)
        return r;
    const char *name = buf_str(&v->scratch);
    hash(v, space, folder, strlen(folder), name, again);
    if (!mem_equal(k, sizeof(k), again, sizeof(again)))
        return -EBADMSG;
    l->any = true;
    return after && strcmp(name, after) <= 0 ? 0 : names_add(l, &v->scratch);
}

static int collect(struct vault *v, const char *space, const char *folder, const char *after,
                   struct names *l)
{
    uint8_t parent[VAULT_HASH_LEN];
    hash(v, space, folder, strlen(folder), "", parent);
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, STORE_ENTRY_NAMES, &st);
    if (r < 0)
        return r;
    store_bind(st, 1, parent, sizeof(parent));
    while ((r = store_step(&v->store, st)) == 1) {
        r = add_child(v, space, folder, after, st, l);
        if (r < 0)
            break;
    }
    vault_scratch_done(v);
    return r;
}

int entry_list(struct vault *v, const char *space, const char *folder, const char *after,
               size_t limit, entry_name_fn fn, void *data)
{
    int r = vault_ready(v);
    if (r == 0)
        r = check_folder(space, folder);
    if (r < 0)
        return r;
    _cleanup_(names_clear) struct names l = {0};
    r = collect(v, space, folder, after, &l);
    if (r < 0)
        return r;
    if (!l.any)
        return ENTRY_E_NONE;
    if (l.n)
        qsort(l.v, l.n, sizeof(*l.v), by_name);
    for (size_t i = 0; i < l.n && (!limit || i < limit); i++) {
        r = fn(l.v[i], data);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static int get_json(struct vault *v, const char *space, const char *path, json_t **out, size_t *len)
{
    *out = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(ENTRY_VALUE_MAX);
    int r = entry_get(v, space, path, &text);
    if (r)
        return r;
    char why[96];
    *len = text.len;
    return json_parse(buf_str(&text), text.len, out, why, sizeof(why));
}

int entry_get_json(struct vault *v, const char *space, const char *path, json_t **out)
{
    size_t len;
    return get_json(v, space, path, out, &len);
}

int entry_peek_json(struct vault *v, const char *space, const char *path, json_t **out)
{
    uint8_t k[VAULT_HASH_LEN];
    size_t len;
    *out = NULL;
    int r = vault_ready(v);
    if (r == 0)
        r = check_path(space, path);
    if (r < 0)
        return r;
    hash(v, space, path, strlen(path), "", k);
    *out = peek_find(&v->peek, k);
    if (*out)
        return 0;
    r = get_json(v, space, path, out, &len);
    if (r == 0 && len <= PEEK_BODY_MAX)
        peek_keep(&v->peek, k, *out);
    return r;
}

/* What json_parse() would refuse to read back must not be written. */
static bool too_deep(const json_t *j, unsigned left)
{
    if (!json_is_object(j) && !json_is_array(j))
        return false;
    if (!left)
        return true;
    const char *key;
    json_t *child;
    size_t i;
    json_array_foreach(j, i, child) if (too_deep(child, left - 1)) return true;
    void *it = json_object_iter((json_t *)(uintptr_t)j);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)j, it)) {
        key = json_object_iter_key(it);
        if (key && too_deep(json_object_iter_value(it), left - 1))
            return true;
    }
    return false;
}

static int put_json(struct vault *v, const char *space, const char *path, const json_t *value,
                    size_t *len)
{
    if (!value || too_deep(value, JSON_DEPTH_MAX))
        return -EINVAL;
    _cleanup_buf_ struct buf text = BUF_INIT(ENTRY_VALUE_MAX);
    json_put(&text, value);
    int r = buf_error(&text);
    *len = text.len;
    return r < 0 ? r : entry_put(v, space, path, text.data, text.len);
}

int entry_put_json(struct vault *v, const char *space, const char *path, const json_t *value)
{
    size_t len;
    return put_json(v, space, path, value, &len);
}

int entry_put_peek(struct vault *v, const char *space, const char *path, json_t *value)
{
    uint8_t k[VAULT_HASH_LEN];
    size_t len;
    int r = put_json(v, space, path, value, &len);
    if (r < 0 || len > PEEK_BODY_MAX)
        return r;
    hash(v, space, path, strlen(path), "", k);
    peek_keep(&v->peek, k, value);
    return 0;
}
