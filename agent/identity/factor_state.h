/* What factor.c and factor_check.c share: one record a person, all their factors in its body.
 *
 *     {"v": 1, "user", "totp": T, "totp_new": T (under way), "recovery": R, "passphrase": P}
 *     T {"secret" (hex), "algorithm", "digits", "step", "skew", "created", "last_used"}
 *     R {"hashes": [hex], "created", "last_used"}    P {"hash", "created", "last_used"}
 *
 * Times are wall ms, 0 never. */
#ifndef COUNTERSIGN_IDENTITY_FACTOR_STATE_H
#define COUNTERSIGN_IDENTITY_FACTOR_STATE_H

#include "identity/factor.h"
#include "identity/totp.h"

#define FACTOR_STATE_CODE 16 /* base32 characters of a recovery code: 80 bits */

/* The person's state, a new object; an empty one for a person without factors, and for a name that
 * can't be one. */
int factor_state_load(struct vault *v, const char *user, json_t **out);
/* Writes it; deletes the record when no factor is left in it. */
int factor_state_save(struct vault *v, const char *user, json_t *state);
/* A TOTP as it is kept, a new object; NULL on lack of memory. */
json_t *factor_state_totp_body(const struct totp *t);
/* Reads a TOTP out of it; -EBADMSG. */
int factor_state_totp(const json_t *t, struct totp *out);
/* The keyed hash (hex) of a person's recovery code, given in lower case without dashes. */
int factor_state_code_hash(struct vault *v, const char *user, const char *code,
                           char out[2 * VAULT_HASH_LEN + 1]);
/* A new set of codes for the state; *codes is a new array of what to show. */
int factor_state_new_codes(struct vault *v, const char *user, json_t *state, json_t **codes);
/* Whether recovery codes are left in it. */
bool factor_state_has_codes(const json_t *state);

#endif
