#include "vault/keyring.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define HEAD (4 + NONCE)

_Static_assert(KEYRING_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key length");
_Static_assert(KEYRING_KEY == crypto_kdf_KEYBYTES, "key length");

struct version {
    uint64_t made;
    uint8_t key[KEYRING_KEY];
    uint8_t use[KEYRING_USES][KEYRING_KEY];
};

/* Version i+1 is at v[i]. */
struct keyring {
    uint64_t count;
    uint8_t stable[KEYRING_KEY];
    uint8_t name[KEYRING_NAMES][KEYRING_KEY];
    struct version v[];
};

/* --- Memory ---------------------------------------------------------------------------------- */

static struct keyring *alloc(uint64_t count)
{
    /* libsodium puts the block at the end of a page: only sizes that are a multiple of the
     * alignment come out aligned, and this one is. */
    _Static_assert(sizeof(struct keyring) % _Alignof(struct keyring) == 0 &&
                       sizeof(struct version) % _Alignof(struct keyring) == 0,
                   "sizes keep the alignment");
    if (!count || count > KEYRING_VERSIONS_MAX)
        return NULL;
    struct keyring *k = sodium_malloc(sizeof(*k) + count * sizeof(k->v[0]));
    if (k) {
        memset(k, 0, sizeof(*k) + count * sizeof(k->v[0]));
        k->count = count;
    }
    return k;
}

void keyring_free(struct keyring *k)
{
    sodium_free(k); /* wipes */
}

uint8_t *keyring_key_new(void)
{
    return sodium_malloc(KEYRING_KEY);
}

void keyring_key_free(uint8_t *key)
{
    sodium_free(key);
}

/* Derives what is used from what is kept, and write-protects it all. */
static void finish(struct keyring *k)
{
    for (unsigned i = 0; i < KEYRING_NAMES; i++)
        crypto_kdf_derive_from_key(k->name[i], KEYRING_KEY, i + 1, "CSstable", k->stable);
    for (uint64_t n = 0; n < k->count; n++)
        for (unsigned i = 0; i < KEYRING_USES; i++)
            crypto_kdf_derive_from_key(k->v[n].use[i], KEYRING_KEY, i + 1, "CS-data-", k->v[n].key);
    sodium_mprotect_readonly(k);
}

struct keyring *keyring_new(void)
{
    struct keyring *k = alloc(1);
    if (!k)
        return NULL;
    randombytes_buf(k->stable, KEYRING_KEY);
    randombytes_buf(k->v[0].key, KEYRING_KEY);
    k->v[0].made = (uint64_t)clock_wall_ms();
    finish(k);
    return k;
}

int keyring_grow(const struct keyring *k, struct keyring **out)
{
    if (k->count >= KEYRING_VERSIONS_MAX)
        return -EOVERFLOW;
    struct keyring *more = alloc(k->count + 1);
    if (!more)
        return -ENOMEM;
    memcpy(more->stable, k->stable, KEYRING_KEY);
    memcpy(more->v, k->v, k->count * sizeof(k->v[0]));
    randombytes_buf(more->v[k->count].key, KEYRING_KEY);
    more->v[k->count].made = (uint64_t)clock_wall_ms();
    finish(more);
    *out = more;
    return 0;
}

/* --- Boxes ----------------------------------------------------------------------------------- */

static int box_aad(const char *label, const char *instance, uint8_t out[KEYRING_AAD_MAX], size_t *n)
{
    size_t l = strlen(label) + 1, i = strlen(instance);
    if (l + i > KEYRING_AAD_MAX)
        return -EINVAL;
    memcpy(out, label, l);
    memcpy(out + l, instance, i);
    *n = l + i;
    return 0;
}

int keyring_box(const uint8_t key[KEYRING_KEY], const char *label, const char *instance,
                const void *p, size_t n, struct buf *out)
{
    uint8_t aad[KEYRING_AAD_MAX];
    size_t naad;
    int r = box_aad(label, instance, aad, &naad);
    if (r < 0)
        return r;
    uint8_t *c = buf_extend(out, NONCE + 1 + n + TAG);
    if (!c)
        return buf_error(out);
    randombytes_buf(c, NONCE);
    c[NONCE] = KEYRING_FORMAT;
    memcpy(c + NONCE + 1, p, n);
    crypto_aead_xchacha20poly1305_ietf_encrypt(c + NONCE, NULL, c + NONCE, n + 1, aad, naad, NULL,
                                               c, key);
    return 0;
}

/* Decrypts into out, where the format byte is dropped. Leaves nothing behind on failure. */
static int decrypt(const uint8_t *nonce, const uint8_t *c, size_t n, const uint8_t *aad,
                   size_t naad, const uint8_t key[KEYRING_KEY], struct buf *out)
{
    size_t len = n - TAG, at = out->len;
    uint8_t *m = buf_extend(out, len);
    if (!m)
        return buf_error(out);
    int bad =
        crypto_aead_xchacha20poly1305_ietf_decrypt(m, NULL, NULL, c, n, aad, naad, nonce, key);
    if (bad || m[0] != KEYRING_FORMAT) {
        mem_wipe(m, len);
        out->len = at;
        return -EBADMSG;
    }
    memmove(m, m + 1, len - 1);
    m[len - 1] = '\0';
    out->len--;
    return 0;
}

int keyring_unbox(const uint8_t key[KEYRING_KEY], const char *label, const char *instance,
                  const void *p, size_t n, struct buf *out)
{
    uint8_t aad[KEYRING_AAD_MAX];
    size_t naad;
    int r = box_aad(label, instance, aad, &naad);
    if (r < 0)
        return r;
    if (n < NONCE + TAG + 1)
        return KEYRING_E_WRONG;
    const uint8_t *b = p;
    r = decrypt(b, b + NONCE, n - NONCE, aad, naad, key, out);
    return r == -EBADMSG ? KEYRING_E_WRONG : r;
}

int keyring_wrap(const struct keyring *k, const uint8_t root[KEYRING_KEY], const char *instance,
                 struct buf *out)
{
    _cleanup_buf_ struct buf plain = BUF_INIT(64 + KEYRING_VERSIONS_MAX * 44);
    buf_put(&plain, k->stable, KEYRING_KEY);
    buf_put_u32(&plain, (uint32_t)k->count);
    for (uint64_t i = 0; i < k->count; i++) {
        buf_put_u32(&plain, (uint32_t)(i + 1));
        buf_put_u64(&plain, k->v[i].made);
        buf_put(&plain, k->v[i].key, KEYRING_KEY);
    }
    int r = buf_error(&plain);
    return r < 0 ? r : keyring_box(root, "keyring", instance, plain.data, plain.len, out);
}

static int parse(struct span s, struct keyring **out)
{
    const uint8_t *stable, *key;
    uint32_t count;
    if (span_bytes(&s, KEYRING_KEY, &stable) < 0 || span_u32(&s, &count) < 0 || !count ||
        count > KEYRING_VERSIONS_MAX)
        return -EBADMSG;
    _cleanup_(keyring_freep) struct keyring *k = alloc(count);
    if (!k)
        return -ENOMEM;
    memcpy(k->stable, stable, KEYRING_KEY);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t version;
        if (span_u32(&s, &version) < 0 || version != i + 1 || span_u64(&s, &k->v[i].made) < 0 ||
            span_bytes(&s, KEYRING_KEY, &key) < 0)
            return -EBADMSG;
        memcpy(k->v[i].key, key, KEYRING_KEY);
    }
    if (s.left)
        return -EBADMSG;
    finish(k);
    *out = k;
    k = NULL;
    return 0;
}

int keyring_unwrap(const uint8_t root[KEYRING_KEY], const char *instance, const void *p, size_t n,
                   struct keyring **out)
{
    _cleanup_buf_ struct buf plain = BUF_INIT(64 + KEYRING_VERSIONS_MAX * 44);
    int r = keyring_unbox(root, "keyring", instance, p, n, &plain);
    return r ? r : parse((struct span){plain.data, plain.len}, out);
}

/* --- Values ---------------------------------------------------------------------------------- */

struct bound {
    uint8_t p[5 + KEYRING_AAD_MAX];
    size_t n;
};

static int bind_aad(struct bound *b, enum keyring_use use, uint32_t version, const void *aad,
                    size_t naad)
{
    if (naad > KEYRING_AAD_MAX || (unsigned)use >= KEYRING_USES)
        return -EINVAL;
    b->p[0] = (uint8_t)use;
    for (int i = 0; i < 4; i++)
        b->p[1 + i] = (uint8_t)(version >> (8 * i));
    memcpy(b->p + 5, aad, naad);
    b->n = 5 + naad;
    return 0;
}

int keyring_seal(const struct keyring *k, enum keyring_use use, const void *aad, size_t naad,
                 const struct keyring_part *parts, size_t nparts, struct buf *out)
{
    struct bound b;
    int r = bind_aad(&b, use, (uint32_t)k->count, aad, naad);
    if (r < 0)
        return r;
    size_t n = 1;
    for (size_t i = 0; i < nparts; i++)
        n += parts[i].n;
    uint8_t *c = buf_extend(out, HEAD + n + TAG);
    if (!c)
        return buf_error(out);
    memcpy(c, b.p + 1, 4);
    randombytes_buf(c + 4, NONCE);
    uint8_t *m = c + HEAD;
    *m++ = KEYRING_FORMAT;
    for (size_t i = 0; i < nparts; m += parts[i].n, i++)
        if (parts[i].n)
            memcpy(m, parts[i].p, parts[i].n);
    crypto_aead_xchacha20poly1305_ietf_encrypt(c + HEAD, NULL, c + HEAD, n, b.p, b.n, NULL, c + 4,
                                               k->v[k->count - 1].use[use]);
    return 0;
}

int keyring_open(const struct keyring *k, enum keyring_use use, const void *aad, size_t naad,
                 const void *p, size_t n, struct buf *out)
{
    struct span s = {p, n};
    uint32_t version;
    const uint8_t *nonce;
    if (span_u32(&s, &version) < 0 || span_bytes(&s, NONCE, &nonce) < 0 || s.left < TAG + 1)
        return -EBADMSG;
    if (!version || version > k->count)
        return -EBADMSG;
    struct bound b;
    int r = bind_aad(&b, use, version, aad, naad);
    if (r < 0)
        return r;
    return decrypt(nonce, s.p, s.left, b.p, b.n, k->v[version - 1].use[use], out);
}

void keyring_hash(const struct keyring *k, enum keyring_name name, const char *personal,
                  const struct keyring_part *parts, size_t nparts, uint8_t out[KEYRING_HASH])
{
    uint8_t pad[crypto_generichash_blake2b_PERSONALBYTES] = {0};
    uint8_t salt[crypto_generichash_blake2b_SALTBYTES] = {0};
    memcpy(pad, personal, strnlen(personal, sizeof(pad)));
    crypto_generichash_blake2b_state st;
    crypto_generichash_blake2b_init_salt_personal(&st, k->name[name], KEYRING_KEY, KEYRING_HASH,
                                                  salt, pad);
    for (size_t i = 0; i < nparts; i++)
        crypto_generichash_blake2b_update(&st, parts[i].p, parts[i].n);
    crypto_generichash_blake2b_final(&st, out, KEYRING_HASH);
    mem_wipe(&st, sizeof(st));
}
