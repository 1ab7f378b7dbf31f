#include "vault/vault.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "vault/inner.h"
#include "vault/wrap.h"

/* --- Plain settings -------------------------------------------------------------------------- */

int vault_meta_get(struct vault *v, const char *key, struct buf *out)
{
    if (v->dead)
        return v->dead;
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, STORE_META_GET, &st);
    if (r < 0)
        return r;
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    r = store_step(&v->store, st);
    if (r <= 0)
        return r < 0 ? r : 1;
    const void *p = sqlite3_column_blob(st, 0);
    size_t n = (size_t)sqlite3_column_bytes(st, 0);
    buf_put(out, p ? p : "", n);
    return buf_error(out);
}

int vault_meta_write(struct vault *v, const char *key, const void *p, size_t n)
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, STORE_META_PUT, &st);
    if (r < 0)
        return r;
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    store_bind(st, 2, p, n);
    return store_step(&v->store, st);
}

int vault_meta_put(struct vault *v, const char *key, const void *p, size_t n)
{
    if (!*key || n > VAULT_META_MAX)
        return n > VAULT_META_MAX ? -EMSGSIZE : -EINVAL;
    bool own;
    int r = vault_write_begin(v, &own);
    return r < 0 ? r : vault_write_end(v, own, vault_meta_write(v, key, p, n));
}

/* --- Opening --------------------------------------------------------------------------------- */

static int load_config(struct vault *v)
{
    _cleanup_buf_ struct buf id = BUF_INIT(VAULT_META_MAX);
    int r = vault_meta_get(v, VAULT_META_INSTANCE, &id);
    if (r)
        return r < 0 ? r : 0; /* absent: not initialised */
    if (id.len != ENCODE_UUID_LEN)
        return -EBADMSG;
    memcpy(v->instance, id.data, ENCODE_UUID_LEN);
    _cleanup_buf_ struct buf config = BUF_INIT(VAULT_META_MAX);
    r = vault_meta_get(v, VAULT_META_CONFIG, &config);
    struct span s = {config.data, config.len};
    uint32_t shares = 0, threshold = 0, kind = VAULT_SEAL_HOST;
    if (r < 0)
        return r;
    if (span_u32(&s, &shares) < 0 || span_u32(&s, &threshold) < 0 ||
        (s.left && (span_u32(&s, &kind) < 0 || kind > VAULT_SEAL_SHARES)))
        return -EBADMSG;
    v->shares = shares;
    v->threshold = threshold;
    v->kind = (enum vault_seal_kind)kind;
    return 0;
}

int vault_reload(struct vault *v)
{
    memset(v->instance, 0, sizeof(v->instance));
    v->shares = v->threshold = 0;
    v->dead = 0;
    v->suspect = false;
    return load_config(v);
}

int vault_open(const char *path, struct vault **out, char *why, size_t whylen)
{
    *out = NULL;
    if (whylen)
        *why = '\0';
    if (sodium_init() < 0) {
        snprintf(why, whylen, "libsodium: no source of randomness");
        return -EIO;
    }
    struct vault *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->scratch = BUF_INIT(VAULT_SCRATCH_MAX);
    v->audit.lines = BUF_INIT(VAULT_SCRATCH_MAX / 2);
    v->audit.fresh = BUF_INIT(AUDIT_FRESH_MAX);
    v->audit.fd = -1;
    v->store_reserve.fd = v->audit_reserve.fd = -1;
    int r = store_open(&v->store, path, why, whylen);
    if (r == 0)
        r = load_config(v);
    if (r < 0) {
        if (whylen && !*why)
            snprintf(why, whylen, "%s: %s", path, strerror(-r));
        vault_close(v);
        return r;
    }
    *out = v;
    return 0;
}

void vault_close(struct vault *v)
{
    if (!v)
        return;
    vault_rollback(v);
    vault_seal(v);
    audit_export_close(v);
    store_close(&v->store);
    vault_lend(v, false);
    reserve_close(&v->store_reserve);
    reserve_close(&v->audit_reserve);
    buf_clear(&v->scratch);
    buf_clear(&v->audit.lines);
    buf_clear(&v->audit.fresh);
    free(v->audit.path);
    free(v);
}

enum vault_state vault_state(const struct vault *v)
{
    if (!*v->instance)
        return VAULT_UNINITIALISED;
    return v->ring ? VAULT_UNSEALED : VAULT_SEALED;
}

const char *vault_path(const struct vault *v)
{
    const char *path = v->store.db ? sqlite3_db_filename(v->store.db, "main") : NULL;
    return path ? path : "";
}

const char *vault_instance(const struct vault *v)
{
    return v->instance;
}

void vault_seal_config(const struct vault *v, unsigned *shares, unsigned *threshold)
{
    *shares = v->shares;
    *threshold = v->threshold;
}

/* --- Seal ------------------------------------------------------------------------------------ */

int vault_own_begin(struct vault *v)
{
    if (v->in_turn)
        return -EINVAL;
    int r = vault_has_room(v);
    return r < 0 ? r : vault_begin(v);
}

int vault_own_end(struct vault *v, int r)
{
    if (r >= 0)
        r = store_run(&v->store, STORE_COMMIT);
    vault_note_write(v, r);
    if (r < 0) {
        v->suspect |= store_sync_failed(&v->store);
        if (!sqlite3_get_autocommit(v->store.db))
            store_run(&v->store, STORE_ROLLBACK);
    }
    v->in_turn = false;
    v->dead = 0;
    return r;
}

/* Takes over keys (root and ring become the vault's, or are freed). */
static int adopt(struct vault *v, uint8_t *root, struct keyring *ring)
{
    vault_seal(v);
    sodium_mprotect_noaccess(root);
    v->root = root;
    v->ring = ring;
    int r = audit_load(v);
    if (r < 0)
        vault_seal(v);
    return r;
}

int vault_config_write(struct vault *v, unsigned shares, unsigned threshold,
                       enum vault_seal_kind kind)
{
    _cleanup_buf_ struct buf config = BUF_INIT(64);
    buf_put_u32(&config, shares);
    buf_put_u32(&config, threshold);
    buf_put_u32(&config, (uint32_t)kind);
    int r = buf_error(&config);
    return r < 0 ? r : vault_meta_write(v, VAULT_META_CONFIG, config.data, config.len);
}

/* The root key by the unseal key, and what it takes to do that again. */
static int wrap_rows(const uint8_t *unseal_key, const uint8_t *root, const char *instance,
                     struct buf *wrapped, struct buf *wrapper)
{
    struct wrap w;
    if (!unseal_key)
        return 0;
    wrap_of(unseal_key, &w);
    int r = wrap_root(&w, instance, root, wrapped);
    if (r == 0)
        r = wrap_keep(&w, root, instance, wrapper);
    mem_wipe(&w, sizeof(w));
    return r;
}

static int init_rows(struct vault *v, const uint8_t *unseal_key, const uint8_t *root,
                     const struct keyring *ring, const char *instance, unsigned shares,
                     unsigned threshold)
{
    _cleanup_buf_ struct buf wrapped_root = BUF_INIT(VAULT_META_MAX);
    _cleanup_buf_ struct buf wrapper = BUF_INIT(VAULT_META_MAX);
    _cleanup_buf_ struct buf wrapped_ring = BUF_INIT(VAULT_META_MAX);
    int r = wrap_rows(unseal_key, root, instance, &wrapped_root, &wrapper);
    if (r == 0)
        r = keyring_wrap(ring, root, instance, &wrapped_ring);
    if (r == 0)
        r = vault_own_begin(v);
    if (r < 0)
        return r;
    r = vault_meta_write(v, VAULT_META_INSTANCE, instance, ENCODE_UUID_LEN);
    if (r == 0)
        r = vault_config_write(v, shares, threshold,
                               unseal_key ? VAULT_SEAL_HOST : VAULT_SEAL_SHARES);
    if (r == 0)
        r = vault_meta_write(v, VAULT_META_ROOT, wrapped_root.data, wrapped_root.len);
    if (r == 0)
        r = vault_meta_write(v, VAULT_META_WRAPPER, wrapper.data, wrapper.len);
    if (r == 0)
        r = vault_meta_write(v, VAULT_META_KEYRING, wrapped_ring.data, wrapped_ring.len);
    return vault_own_end(v, r);
}

int vault_init(struct vault *v, const uint8_t *unseal_key, unsigned shares, unsigned threshold,
               uint8_t root_out[VAULT_KEY_LEN])
{
    if (*v->instance)
        return -EALREADY;
    if (v->in_turn || threshold > shares || shares > 255)
        return -EINVAL;
    _cleanup_(keyring_key_freep) uint8_t *root = keyring_key_new();
    _cleanup_(keyring_freep) struct keyring *ring = keyring_new();
    if (!root || !ring)
        return -ENOMEM;
    randombytes_buf(root, VAULT_KEY_LEN);
    char instance[ENCODE_UUID_LEN + 1];
    encode_random_uuid(instance);
    FAULT_POINT(init_begun);
    int r = init_rows(v, unseal_key, root, ring, instance, shares, threshold);
    FAULT_POINT(init_committed);
    if (r < 0)
        return r;
    memcpy(v->instance, instance, sizeof(instance));
    v->shares = shares;
    v->threshold = threshold;
    v->kind = unseal_key ? VAULT_SEAL_HOST : VAULT_SEAL_SHARES;
    memcpy(root_out, root, VAULT_KEY_LEN);
    uint8_t *own_root = root;
    struct keyring *own_ring = ring;
    root = NULL;
    ring = NULL;
    return adopt(v, own_root, own_ring);
}

int vault_unseal_root(struct vault *v, const uint8_t root_key[VAULT_KEY_LEN])
{
    if (!*v->instance || v->in_turn)
        return -EINVAL;
    _cleanup_buf_ struct buf box = BUF_INIT(VAULT_META_MAX);
    int r = vault_meta_get(v, VAULT_META_KEYRING, &box);
    if (r)
        return r < 0 ? r : -EBADMSG;
    uint8_t *root = keyring_key_new();
    if (!root)
        return -ENOMEM;
    memcpy(root, root_key, VAULT_KEY_LEN);
    struct keyring *ring = NULL;
    r = keyring_unwrap(root, v->instance, box.data, box.len, &ring);
    if (r) {
        keyring_key_free(root);
        return r < 0 ? r : VAULT_E_WRONG_KEY;
    }
    return adopt(v, root, ring);
}

/* One of the two rows that may hold the root key. */
static int open_root(struct vault *v, const char *meta, const uint8_t *unseal_key, uint8_t *root)
{
    _cleanup_buf_ struct buf box = BUF_INIT(VAULT_META_MAX);
    int r = vault_meta_get(v, meta, &box);
    if (r != 0 || !box.len)
        return r < 0 ? r : VAULT_E_WRONG_KEY;
    r = wrap_open(unseal_key, v->instance, box.data, box.len, root);
    return r <= 0 ? r : VAULT_E_WRONG_KEY;
}

int vault_unseal(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN])
{
    if (!*v->instance || v->in_turn)
        return -EINVAL;
    uint8_t root[VAULT_KEY_LEN];
    bool next = false;
    int r = open_root(v, VAULT_META_ROOT, unseal_key, root);
    if (r == VAULT_E_WRONG_KEY) {
        next = true;
        r = open_root(v, VAULT_META_ROOT_NEXT, unseal_key, root);
    }
    if (r == 0) {
        r = vault_unseal_root(v, root);
        if (r == VAULT_E_WRONG_KEY)
            r = -EBADMSG; /* the key was right: the keyring was changed */
    }
    mem_wipe(root, sizeof(root));
    FAULT_POINT(unseal_opened);
    if (r == 0)
        vault_unsealed_with(v, unseal_key, next);
    return r;
}

void vault_seal(struct vault *v)
{
    if (v->in_turn && v->ring)
        v->dead = -EACCES; /* its audit lines can't be written any more, so neither can the rest */
    keyring_free(v->ring);
    keyring_key_free(v->root); /* libsodium lifts the protection by itself */
    v->ring = NULL;
    v->root = NULL;
    buf_clear(&v->scratch);
    peek_clear(&v->peek);
    known_clear(&v->known);
    audit_forget(v);
}

int vault_rotate(struct vault *v)
{
    if (!v->ring)
        return -EACCES;
    if (v->in_turn)
        return -EINVAL;
    struct keyring *more = NULL;
    int r = keyring_grow(v->ring, &more);
    if (r < 0)
        return r;
    _cleanup_buf_ struct buf box = BUF_INIT(VAULT_META_MAX);
    sodium_mprotect_readonly(v->root);
    r = keyring_wrap(more, v->root, v->instance, &box);
    sodium_mprotect_noaccess(v->root);
    FAULT_POINT(rotate_begun);
    if (r == 0)
        r = vault_own_begin(v);
    if (r == 0)
        r = vault_own_end(v, vault_meta_write(v, VAULT_META_KEYRING, box.data, box.len));
    FAULT_POINT(rotate_committed);
    if (r == 0) {
        struct keyring *old = v->ring;
        v->ring = more;
        more = old;
    }
    keyring_free(more);
    return r;
}

int vault_hash(const struct vault *v, const char *purpose, const void *p, size_t n,
               uint8_t out[VAULT_HASH_LEN])
{
    memset(out, 0, VAULT_HASH_LEN);
    size_t l = strlen(purpose);
    if (!l || l > 16)
        return -EINVAL;
    if (!v->ring)
        return -EACCES;
    keyring_hash(v->ring, KEYRING_NAME_PURPOSE, purpose, &(struct keyring_part){p, n}, 1, out);
    return 0;
}
