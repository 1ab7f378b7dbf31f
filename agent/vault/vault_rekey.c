/* Other keys for the same store: a new root key, a new unseal key. The last part of vault.h. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "vault/inner.h"
#include "vault/wrap.h"

enum vault_seal_kind vault_seal_kind(const struct vault *v)
{
    return v->kind;
}

bool vault_root_is(const struct vault *v, const uint8_t root_key[VAULT_KEY_LEN])
{
    if (!v->ring)
        return false;
    sodium_mprotect_readonly(v->root);
    bool same = mem_equal(v->root, VAULT_KEY_LEN, root_key, VAULT_KEY_LEN);
    sodium_mprotect_noaccess(v->root);
    return same;
}

/* The seal's rows, as they are to be. */
struct rows {
    struct buf root, wrapper, ring;
};

#define ROWS_INIT                                                                                  \
    {                                                                                              \
        BUF_INIT(VAULT_META_MAX), BUF_INIT(VAULT_META_MAX), BUF_INIT(VAULT_META_MAX)               \
    }

static void rows_clear(struct rows *rows)
{
    buf_clear(&rows->root);
    buf_clear(&rows->wrapper);
    buf_clear(&rows->ring);
}

static int write_none(struct vault *v, const char *meta)
{
    return vault_meta_write(v, meta, "", 0);
}

static int forget_next(struct vault *v)
{
    int r = write_none(v, VAULT_META_ROOT_NEXT);
    return r < 0 ? r : write_none(v, VAULT_META_WRAPPER_NEXT);
}

/* What the rows held before still stands in the log, and perhaps in the database, until the log is
 * emptied into it. When that fails now, the next opening of the store does it. */
static void forget_pages(struct vault *v)
{
    (void)store_checkpoint(&v->store);
}

/* --- Rekey ----------------------------------------------------------------------------------- */

/* What wraps for the unseal key, opened with the root key there is. 0, VAULT_E_NO_WRAP, -errno. */
static int load_wrap(struct vault *v, struct wrap *out)
{
    _cleanup_buf_ struct buf box = BUF_INIT(VAULT_META_MAX);
    int r = vault_meta_get(v, VAULT_META_WRAPPER, &box);
    if (r < 0)
        return r;
    if (r > 0 || !box.len)
        return VAULT_E_NO_WRAP;
    sodium_mprotect_readonly(v->root);
    r = wrap_kept(v->root, v->instance, box.data, box.len, out);
    sodium_mprotect_noaccess(v->root);
    return r == KEYRING_E_WRONG ? -EBADMSG : r;
}

static int rewrap(struct vault *v, const uint8_t *root, struct rows *rows)
{
    struct wrap w = {0};
    if (v->kind == VAULT_SEAL_SHARES)
        return 0;
    int r = load_wrap(v, &w);
    if (r == 0)
        r = wrap_root(&w, v->instance, root, &rows->root);
    if (r == 0)
        r = wrap_keep(&w, root, v->instance, &rows->wrapper);
    mem_wipe(&w, sizeof(w));
    return r;
}

static int write_rows(struct vault *v, const char *root, const char *wrapper,
                      const struct rows *rows)
{
    int r = vault_meta_write(v, root, rows->root.data, rows->root.len);
    return r < 0 ? r : vault_meta_write(v, wrapper, rows->wrapper.data, rows->wrapper.len);
}

static int write_rekeyed(struct vault *v, const struct rows *rows, unsigned shares,
                         unsigned threshold)
{
    int r = vault_own_begin(v);
    if (r < 0)
        return r;
    r = vault_meta_write(v, VAULT_META_KEYRING, rows->ring.data, rows->ring.len);
    if (r == 0)
        r = write_rows(v, VAULT_META_ROOT, VAULT_META_WRAPPER, rows);
    if (r == 0)
        r = forget_next(v);
    if (r == 0)
        r = vault_config_write(v, shares, threshold, v->kind);
    return vault_own_end(v, r);
}

int vault_rekey(struct vault *v, const uint8_t root_key[VAULT_KEY_LEN], unsigned shares,
                unsigned threshold)
{
    if (!v->ring)
        return -EACCES;
    if (v->in_turn || !threshold || threshold > shares || shares > 255)
        return -EINVAL;
    _cleanup_(rows_clear) struct rows rows = ROWS_INIT;
    _cleanup_(keyring_freep) struct keyring *ring = NULL;
    _cleanup_(keyring_key_freep) uint8_t *root = keyring_key_new();
    if (!root)
        return -ENOMEM;
    memcpy(root, root_key, VAULT_KEY_LEN);
    /* A new data key as well: what is written from now on is not for shares of before, even where
     * they open a copy of the store of before. */
    int r = keyring_grow(v->ring, &ring);
    if (r == 0)
        r = keyring_wrap(ring, root, v->instance, &rows.ring);
    if (r == 0)
        r = rewrap(v, root, &rows);
    if (r == 0)
        r = write_rekeyed(v, &rows, shares, threshold);
    if (r != 0)
        return r;
    struct keyring *old_ring = v->ring;
    uint8_t *old_root = v->root;
    v->ring = ring;
    v->root = root;
    sodium_mprotect_noaccess(v->root);
    ring = old_ring;
    root = old_root;
    v->shares = shares;
    v->threshold = threshold;
    forget_pages(v);
    return 0;
}

/* --- Reseal ---------------------------------------------------------------------------------- */

static int may_reseal(const struct vault *v)
{
    if (!v->ring)
        return -EACCES;
    return v->in_turn || v->kind != VAULT_SEAL_HOST ? -EINVAL : 0;
}

static int make_rows(struct vault *v, const uint8_t *unseal_key, struct rows *rows)
{
    struct wrap w;
    wrap_of(unseal_key, &w);
    sodium_mprotect_readonly(v->root);
    int r = wrap_root(&w, v->instance, v->root, &rows->root);
    if (r == 0)
        r = wrap_keep(&w, v->root, v->instance, &rows->wrapper);
    sodium_mprotect_noaccess(v->root);
    mem_wipe(&w, sizeof(w));
    return r;
}

int vault_reseal_begin(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN])
{
    _cleanup_(rows_clear) struct rows rows = ROWS_INIT;
    int r = may_reseal(v);
    if (r == 0)
        r = make_rows(v, unseal_key, &rows);
    if (r == 0)
        r = vault_own_begin(v);
    if (r < 0)
        return r;
    return vault_own_end(v, write_rows(v, VAULT_META_ROOT_NEXT, VAULT_META_WRAPPER_NEXT, &rows));
}

/* It is when it opens what begin wrote. */
int vault_reseal_check(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN])
{
    _cleanup_buf_ struct buf box = BUF_INIT(VAULT_META_MAX);
    uint8_t root[VAULT_KEY_LEN];
    int r = may_reseal(v);
    if (r < 0)
        return r;
    r = vault_meta_get(v, VAULT_META_ROOT_NEXT, &box);
    if (r != 0 || !box.len)
        return r < 0 ? r : VAULT_E_WRONG_KEY;
    r = wrap_open(unseal_key, v->instance, box.data, box.len, root);
    if (r >= 0)
        r = r == 0 && vault_root_is(v, root) ? 0 : VAULT_E_WRONG_KEY;
    mem_wipe(root, sizeof(root));
    return r;
}

static int write_wrapped(struct vault *v, const struct rows *rows)
{
    int r = vault_own_begin(v);
    if (r < 0)
        return r;
    r = write_rows(v, VAULT_META_ROOT, VAULT_META_WRAPPER, rows);
    if (r == 0)
        r = forget_next(v);
    return vault_own_end(v, r);
}

int vault_reseal_finish(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN])
{
    _cleanup_(rows_clear) struct rows rows = ROWS_INIT;
    int r = vault_reseal_check(v, unseal_key);
    if (r == 0)
        r = make_rows(v, unseal_key, &rows);
    if (r == 0)
        r = write_wrapped(v, &rows);
    if (r == 0)
        forget_pages(v);
    return r;
}

int vault_new_unseal_key(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN])
{
    _cleanup_(rows_clear) struct rows rows = ROWS_INIT;
    int r = may_reseal(v);
    if (r == 0)
        r = make_rows(v, unseal_key, &rows);
    return r < 0 ? r : write_wrapped(v, &rows);
}

int vault_reseal_cancel(struct vault *v)
{
    int r = may_reseal(v);
    if (r == 0)
        r = vault_own_begin(v);
    return r < 0 ? r : vault_own_end(v, forget_next(v));
}

/* --- After unsealing -------------------------------------------------------------------------- */

/* A store of an earlier version gets its wrapper now that the unseal key is at hand. The row with
 * the root key stays as it is: the program of before goes on opening it. */
static void keep_wrapper(struct vault *v, const uint8_t *unseal_key)
{
    _cleanup_(rows_clear) struct rows rows = ROWS_INIT;
    struct wrap w;
    if (load_wrap(v, &w) != VAULT_E_NO_WRAP || make_rows(v, unseal_key, &rows) < 0) {
        mem_wipe(&w, sizeof(w));
        return;
    }
    (void)vault_meta_put(v, VAULT_META_WRAPPER, rows.wrapper.data, rows.wrapper.len);
}

/* Best effort: a full disk must not keep the store closed, and the next time does it as well. */
void vault_unsealed_with(struct vault *v, const uint8_t *unseal_key, bool next)
{
    if (next)
        (void)vault_reseal_finish(v, unseal_key);
    else
        keep_wrapper(v, unseal_key);
}
