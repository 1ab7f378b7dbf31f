/* Shamir's secret sharing over GF(2^8) with the polynomial 0x11b (AES's), as Vault's shares are
 * made: a share is the secret's length in bytes, then one byte, the x-coordinate (1..255).
 * Arithmetic is constant-time (no tables, no branches on secrets). A. Shamir, "How to Share a
 * Secret", 1979. */
#ifndef COUNTERSIGN_VAULT_SHAMIR_H
#define COUNTERSIGN_VAULT_SHAMIR_H

#include <stddef.h>
#include <stdint.h>

#define SHAMIR_SECRET_MAX 64
#define SHAMIR_SHARES_MAX 255

/* Splits len bytes (1..SHAMIR_SECRET_MAX) into n shares of len+1 bytes each, laid out one behind
 * the other in out (n * (len+1) bytes), any t of which give the secret back. 2 <= t <= n <= 255, or
 * t = n = 1 (the share is then the secret itself and an x). 0 or -EINVAL. x-coordinates are
 * distinct and random. */
int shamir_split(const uint8_t *secret, size_t len, unsigned n, unsigned t, uint8_t *out);
/* Joins t shares of share_len bytes each (one behind the other) into out (share_len-1 bytes). 0, or
 * -EINVAL: bad lengths, an x of 0 or twice the same x. With too few shares the result is random. */
int shamir_join(const uint8_t *shares, size_t share_len, unsigned t, uint8_t *out);

#endif
