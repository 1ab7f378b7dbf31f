/* Shares that people give one after the other, until there are enough of them; and the three things
 * they are given for. At most one attempt of each kind at a time, in memory only: a restart or
 * sealing forgets it. */
#ifndef COUNTERSIGN_SERVER_QUORUM_H
#define COUNTERSIGN_SERVER_QUORUM_H

#include "base/json.h"
#include "identity/token.h"
#include "vault/vault.h"

struct agent;
struct request;

#define QUORUM_SHARES_MAX 255
#define QUORUM_SHARE_LEN (VAULT_KEY_LEN + 1)

struct quorum {
    uint8_t share[QUORUM_SHARES_MAX][QUORUM_SHARE_LEN];
    unsigned n;
    char nonce[40]; /* UUID: who gives a share says for which attempt */
};

/* A new, empty one with a nonce of its own. NULL on lack of memory. */
struct quorum *quorum_new(void);
/* Wipes and frees. NULL is allowed. */
void quorum_free(struct quorum *q);
/* Forgets the shares; the nonce stays. */
void quorum_reset(struct quorum *q);
/* Adds a share, hex or base64; one that was given already changes nothing. 0, or QUORUM_E_TEXT: it
 * is not a share. */
#define QUORUM_E_TEXT 1
int quorum_add(struct quorum *q, const char *text);
/* The secret of the first t shares; with wrong ones it is a wrong secret. 0, or -EINVAL when they
 * don't fit together. Wipe it. */
int quorum_join(const struct quorum *q, unsigned t, uint8_t out[VAULT_KEY_LEN]);

/* Splits a root key: sets keys (hex) and keys_base64 of an object; for_recovery: also under the
 * names recovery_keys. 0 or -errno. */
int quorum_split(const uint8_t root[VAULT_KEY_LEN], unsigned n, unsigned t, bool for_recovery,
                 json_t *out);
/* Whether n shares of which t are needed make sense. */
bool quorum_sizes_ok(unsigned n, unsigned t);

/* sys/generate-root */
struct quorum_rooting {
    struct quorum *given;
    char otp[TOKEN_TEXT_MAX];
};

/* sys/rekey */
struct quorum_rekeying {
    struct quorum *given; /* shares of the root key there is */
    struct quorum *check; /* shares of the new one, given back as a proof; NULL before */
    unsigned n, t;
    bool verify;
    uint8_t root[VAULT_KEY_LEN]; /* the new root key, once check is there */
};

/* How many shares open this store. */
unsigned quorum_needed(const struct agent *a);
/* Whether the first quorum_needed() shares are those of the root key there is (unsealed). */
bool quorum_is_ours(const struct agent *a, const struct quorum *q);
/* Takes the share in a request's body, "key" with the "nonce" of the attempt. 0, 1 when an error
 * answer stands in r, -ENOMEM. */
int quorum_take(struct request *r, struct quorum *q);

/* Ends these attempts; what they held is wiped. */
void quorum_end_unsealing(struct agent *a);
void quorum_end_rooting(struct agent *a);
void quorum_end_rekeying(struct agent *a);

#endif
