/* PostgreSQL's SCRAM-SHA-256 verifier (RFC 5802 section 3, RFC 7677): what the server keeps in
 * place of a password. The database is only ever told the verifier, so the password itself leaves
 * the agent for its holder alone. */
#ifndef COUNTERSIGN_ENGINE_SCRAM_H
#define COUNTERSIGN_ENGINE_SCRAM_H

#include <stdint.h>

#include "base/buf.h"

#define SCRAM_SALT_LEN 16
#define SCRAM_ITERATIONS 4096 /* RFC 7677 section 4; PostgreSQL's own default */
#define SCRAM_PASSWORD_MAX 1024

/* Appends "SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>" (the three in base64) with a fresh
 * random salt. The password is 1 to SCRAM_PASSWORD_MAX printable ASCII characters, for which
 * SASLprep (RFC 4013) changes nothing; anything else is refused. 0, -EINVAL, or the buffer's error.
 */
int scram_verifier(const char *password, struct buf *out);

/* The same with the salt and the number of iterations (at least 1) given, for the test vectors. */
int scram_verifier_salted(const char *password, const uint8_t salt[SCRAM_SALT_LEN],
                          unsigned iterations, struct buf *out);

#endif
