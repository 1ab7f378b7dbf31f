#include "vault/wrap.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define SEALED (crypto_box_SEALBYTES + KEYRING_KEY)
#define BOX_MAX 512

_Static_assert(crypto_box_SEEDBYTES == KEYRING_KEY && crypto_box_PUBLICKEYBYTES == WRAP_PUBLIC,
               "key lengths");

/* The secret half never leaves this file. */
struct pair {
    uint8_t seed[crypto_box_SEEDBYTES];
    uint8_t secret[crypto_box_SECRETKEYBYTES];
};

static void derive(const uint8_t unseal_key[KEYRING_KEY], struct wrap *w, struct pair *p)
{
    crypto_kdf_derive_from_key(p->seed, sizeof(p->seed), 1, "CSunseal", unseal_key);
    crypto_kdf_derive_from_key(w->auth, sizeof(w->auth), 2, "CSunseal", unseal_key);
    crypto_box_seed_keypair(w->public, p->secret, p->seed);
}

void wrap_of(const uint8_t unseal_key[KEYRING_KEY], struct wrap *out)
{
    struct pair p;
    derive(unseal_key, out, &p);
    mem_wipe(&p, sizeof(p));
}

int wrap_root(const struct wrap *w, const char *instance, const uint8_t root[KEYRING_KEY],
              struct buf *out)
{
    uint8_t sealed[SEALED];
    if (crypto_box_seal(sealed, root, KEYRING_KEY, w->public) != 0)
        return -EIO;
    return keyring_box(w->auth, "root2", instance, sealed, sizeof(sealed), out);
}

static int open_new(const uint8_t unseal_key[KEYRING_KEY], const char *instance, const void *p,
                    size_t n, uint8_t root[KEYRING_KEY])
{
    _cleanup_buf_ struct buf sealed = BUF_INIT(BOX_MAX);
    struct wrap w;
    struct pair pair;
    derive(unseal_key, &w, &pair);
    int r = keyring_unbox(w.auth, "root2", instance, p, n, &sealed);
    if (r == 0 && (sealed.len != SEALED ||
                   crypto_box_seal_open(root, sealed.data, SEALED, w.public, pair.secret) != 0))
        r = KEYRING_E_WRONG;
    mem_wipe(&w, sizeof(w));
    mem_wipe(&pair, sizeof(pair));
    return r;
}

static int open_old(const uint8_t unseal_key[KEYRING_KEY], const char *instance, const void *p,
                    size_t n, uint8_t root[KEYRING_KEY])
{
    _cleanup_buf_ struct buf plain = BUF_INIT(BOX_MAX);
    int r = keyring_unbox(unseal_key, "root", instance, p, n, &plain);
    if (r != 0)
        return r;
    if (plain.len != KEYRING_KEY)
        return -EBADMSG;
    memcpy(root, plain.data, KEYRING_KEY);
    return 0;
}

int wrap_open(const uint8_t unseal_key[KEYRING_KEY], const char *instance, const void *p, size_t n,
              uint8_t root[KEYRING_KEY])
{
    int r = open_new(unseal_key, instance, p, n, root);
    return r == KEYRING_E_WRONG ? open_old(unseal_key, instance, p, n, root) : r;
}

int wrap_keep(const struct wrap *w, const uint8_t root[KEYRING_KEY], const char *instance,
              struct buf *out)
{
    uint8_t both[WRAP_PUBLIC + KEYRING_KEY];
    memcpy(both, w->public, WRAP_PUBLIC);
    memcpy(both + WRAP_PUBLIC, w->auth, KEYRING_KEY);
    int r = keyring_box(root, "wrapper", instance, both, sizeof(both), out);
    mem_wipe(both, sizeof(both));
    return r;
}

int wrap_kept(const uint8_t root[KEYRING_KEY], const char *instance, const void *p, size_t n,
              struct wrap *out)
{
    _cleanup_buf_ struct buf both = BUF_INIT(BOX_MAX);
    int r = keyring_unbox(root, "wrapper", instance, p, n, &both);
    if (r != 0)
        return r;
    if (both.len != WRAP_PUBLIC + KEYRING_KEY)
        return -EBADMSG;
    memcpy(out->public, both.data, WRAP_PUBLIC);
    memcpy(out->auth, both.data + WRAP_PUBLIC, KEYRING_KEY);
    return 0;
}
