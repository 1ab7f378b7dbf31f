/* Inside the vault room: how the unseal key opens the root key.
 *
 * The agent does not keep the unseal key, yet it must be able to wrap another root key for it (a
 * rekey leaves the host's credential good). So from the unseal key come, by crypto_kdf
 * ("CSunseal", 1 and 2), a key pair and a key for authenticating:
 *
 *     seal.root     box, label "root2", under the authenticating key: crypto_box_seal() of the root
 *                   key for the public key
 *     seal.wrapper  box, label "wrapper", under the root key: public key 32 | authenticating key 32
 *
 * Whoever has the wrapper (the root key, by way of recovery shares) can make such a wrap, but not
 * open one: shares of before a rekey, even with a copy of the store of then, don't lead to the new
 * root key. Whoever can only write to the store can't make one: it would not authenticate.
 *
 * Stores made before have the root key in a box under the unseal key itself, label "root", and no
 * wrapper until the unseal key opened them once more. */
#ifndef COUNTERSIGN_VAULT_WRAP_H
#define COUNTERSIGN_VAULT_WRAP_H

#include "vault/keyring.h"

#define WRAP_PUBLIC 32

struct wrap {
    uint8_t public[WRAP_PUBLIC];
    uint8_t auth[KEYRING_KEY];
};

/* What the agent needs of an unseal key. Wipe it. */
void wrap_of(const uint8_t unseal_key[KEYRING_KEY], struct wrap *out);
/* Appends the root key, wrapped. 0 or -errno. */
int wrap_root(const struct wrap *w, const char *instance, const uint8_t root[KEYRING_KEY],
              struct buf *out);
/* Opens a wrap of either form. 0, KEYRING_E_WRONG, -errno. */
int wrap_open(const uint8_t unseal_key[KEYRING_KEY], const char *instance, const void *p, size_t n,
              uint8_t root[KEYRING_KEY]);
/* The wrapper in its box, and out of it. 0, KEYRING_E_WRONG (open), -errno. */
int wrap_keep(const struct wrap *w, const uint8_t root[KEYRING_KEY], const char *instance,
              struct buf *out);
int wrap_kept(const uint8_t root[KEYRING_KEY], const char *instance, const void *p, size_t n,
              struct wrap *out);

#endif
