/* Second factors: TOTP (RFC 6238, liboath), recovery codes, passphrases (Argon2id).
 *
 * State is durable in the store (one for every service on the host): the last used time step, the
 * learned skew, which recovery codes are left. Every function works inside the caller's turn.
 * People are NSS names. A check costs the same whether the person exists and has the factor or not.
 */
#ifndef COUNTERSIGN_IDENTITY_FACTOR_H
#define COUNTERSIGN_IDENTITY_FACTOR_H

#include "base/json.h"
#include "base/terms.h"
#include "vault/vault.h"

#define FACTOR_E_NONE 1    /* the person has no such factor */
#define FACTOR_E_WRONG 2   /* the answer is wrong */
#define FACTOR_E_USED 3    /* the code is right but was used already */
#define FACTOR_E_REFUSED 4 /* the request makes no sense: why[] says it */

#define FACTOR_CODES 10           /* recovery codes in a set */
#define FACTOR_SKEW_MAX 20        /* steps of learned skew at most, either way */
#define FACTOR_PASSPHRASE_MIN 12  /* characters */
#define FACTOR_PASSPHRASE_MAX 256 /* bytes */
#define FACTOR_HASH_MAX 128       /* crypto_pwhash_STRBYTES */

/* Confirmed factors of a person as FACTOR_ bits. */
int factor_enrolled(struct vault *v, const char *user, unsigned *mask);
/* A new array: {"type","created","last_used","confirmed"[,"algorithm","digits"][,"remaining"]}, no
 * secrets. */
int factor_list(struct vault *v, const char *user, json_t **out);
/* Names of all people with a factor, a new array. */
int factor_people(struct vault *v, json_t **out);

/* Starts a TOTP enrolment: makes the secret (20, 32 or 64 bytes for SHA1, SHA256, SHA512), keeps it
 * beside an existing confirmed factor, and answers {"secret","url","algorithm","digits","period"}.
 * FACTOR_E_REFUSED for an unknown algorithm or digits other than 6 and 8. */
int factor_totp_begin(struct vault *v, const char *user, const char *algorithm, int digits,
                      const char *issuer, json_t **out, char *why, size_t whylen);
/* Confirms it with one code, replacing the former TOTP; that code counts as used. *codes: ten
 * recovery codes when the person had none (a new array), else an empty array. 0, FACTOR_E_NONE (no
 * enrolment under way), FACTOR_E_WRONG. */
int factor_totp_confirm(struct vault *v, const char *user, const char *code, int64_t now_s,
                        json_t **codes);
/* A TOTP that was made elsewhere and is in a person's hands already. */
struct factor_import {
    const char *secret;    /* base32; 80 to 512 bits */
    const char *algorithm; /* as above */
    int digits, period;    /* 6 or 8; 30 only */
    int64_t skew;          /* steps that the device is known to be ahead, at most FACTOR_SKEW_MAX */
    bool confirmed; /* it counts at once; else once a code of it was right, as an enrolment */
    bool replace;   /* a confirmed TOTP may be there already, and goes */
};
/* Takes it over. *weak: its secret has fewer than the 128 bits that RFC 4226 asks for. 0;
 * FACTOR_E_REFUSED with why[]; FACTOR_E_USED: one is there already, and it was not to be replaced.
 */
int factor_totp_import(struct vault *v, const char *user, const struct factor_import *i, bool *weak,
                       char *why, size_t whylen);
/* A new set of recovery codes, "xxxx-xxxx-xxxx-xxxx" (80 random bits in base32), only keyed hashes
 * of which are kept; replaces the old set. */
int factor_recovery_new(struct vault *v, const char *user, json_t **codes);
/* Keeps the hash that factor_passphrase_hash() made. */
int factor_passphrase_set(struct vault *v, const char *user, const char *hash);
int factor_remove(struct vault *v, const char *user, enum factor f); /* 0, FACTOR_E_NONE */
/* Removes all, an unconfirmed enrolment too. recovery codes go when the last other factor goes. */
int factor_reset(struct vault *v, const char *user);

/* Checks a typed answer against TOTP and recovery codes, as far as `allowed` has them: digits only
 * is a TOTP code, the other form a recovery code; spaces and dashes don't matter. On 0 the state
 * moved on (step used, code spent, skew learned) and *which tells the factor. 0, FACTOR_E_WRONG,
 * FACTOR_E_USED. */
int factor_check_code(struct vault *v, const char *user, unsigned allowed, const char *answer,
                      int64_t now_s, enum factor *which);

/* Passphrases, in two halves so that Argon2id runs on a worker: the stored hash of a person (or a
 * made-up one of the same cost: *real = false), then the pure comparison. */
int factor_passphrase_get(struct vault *v, const char *user, char hash[FACTOR_HASH_MAX],
                          bool *real);
int factor_passphrase_hash(const char *passphrase,
                           char hash[FACTOR_HASH_MAX]); /* worker; -ENOMEM */
bool factor_passphrase_matches(const char hash[FACTOR_HASH_MAX],
                               const char *passphrase); /* worker */
/* Whether a new passphrase is long enough and UTF-8 without control bytes. */
int factor_passphrase_ok(const char *passphrase, char *why,
                         size_t whylen); /* 0, FACTOR_E_REFUSED */
int factor_touch(struct vault *v, const char *user, enum factor f, int64_t now_s); /* last_used */

#endif
