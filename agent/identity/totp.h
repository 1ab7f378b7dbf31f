/* Time-based one-time passwords: RFC 6238 over liboath, base32 of RFC 4648, the Key URI format.
 * Pure. */
#ifndef COUNTERSIGN_IDENTITY_TOTP_H
#define COUNTERSIGN_IDENTITY_TOTP_H

#include "base/buf.h"

#define TOTP_PERIOD 30
#define TOTP_SECRET_MIN 10 /* 80 bits: what the oldest authenticators made */
#define TOTP_SECRET_MAX 64
#define TOTP_CODE_MAX 8
#define TOTP_WINDOW 1 /* steps before and after that are accepted */

struct totp {
    uint8_t secret[TOTP_SECRET_MAX];
    size_t secret_len;
    const char *algorithm; /* one of totp_algorithm()'s */
    int digits;            /* 6 or 8 */
    int64_t last_step;     /* the newest step that was used, -1 none */
    int64_t skew;          /* steps that the device is ahead of us */
};
void totp_clear(struct totp *t);

/* The constant name of an algorithm ("SHA1", "SHA256", "SHA512", any case) and its secret's length;
 * NULL for another. */
const char *totp_algorithm(const char *name, size_t *secret_len);

/* Compares with the codes of all steps of the window, always all of them. 0 and *step, the newest
 * step after last_step that matches; TOTP_E_WRONG; TOTP_E_USED when only used steps match; -errno.
 */
#define TOTP_E_WRONG 1
#define TOTP_E_USED 2
int totp_check(const struct totp *t, const char *code, int64_t now_s, int64_t *step);

/* Appends base32 in capitals without padding; time depends on the length only. */
void totp_base32(struct buf *b, const void *p, size_t n);
/* Decodes base32 (RFC 4648 section 6): capitals or not, spaces and dashes as people write them,
 * padding or none; time depends on the text's form only. Bits that fill no byte are dropped, as
 * authenticators do. 0 and the length; -EBADMSG for anything else; -EMSGSIZE when it does not fit.
 */
int totp_from_base32(const char *text, uint8_t *out, size_t max, size_t *n);
/* Appends "otpauth://totp/ISSUER:ACCOUNT?…". */
void totp_url(struct buf *b, const struct totp *t, const char *issuer, const char *account);

#endif
