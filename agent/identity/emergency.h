/* Emergency codes: how they look, and how they are kept. Pure functions.
 *
 * A code is 19 random characters of 32 (95 bits) and a check character, in groups of four:
 * "7k3m-q2xw-…". The alphabet has no i, l, o and u; capitals, dashes and spaces don't matter, and o
 * counts as 0, i and l as 1. The check character shows every single wrong character and every swap
 * of two, so that a typing error is told apart from a wrong code: anybody can compute it.
 *
 * Kept is a salted BLAKE2b-256 (RFC 7693) of person and code, for it must be checked while there
 * are no keys. Against 95 random bits a slow hash would add nothing: whoever has a copy of the
 * store has 2^95 to try. */
#ifndef COUNTERSIGN_IDENTITY_EMERGENCY_H
#define COUNTERSIGN_IDENTITY_EMERGENCY_H

#include "base/mem.h"

#include <stdint.h>

#define EMERGENCY_CODE 20 /* characters */
#define EMERGENCY_TEXT (EMERGENCY_CODE + EMERGENCY_CODE / 4 - 1)
#define EMERGENCY_SALT 16
#define EMERGENCY_HASH 32

/* A new code as it is printed. Wipe it. */
void emergency_new(char text[EMERGENCY_TEXT + 1]);
/* What was typed, in the one form that is hashed. 0; EMERGENCY_E_OTHER: this is something else (of
 * another length or alphabet); EMERGENCY_E_TYPO: a character is wrong. Wipe it. */
#define EMERGENCY_E_OTHER 1
#define EMERGENCY_E_TYPO 2
int emergency_parse(const char *typed, char code[EMERGENCY_CODE + 1]);
void emergency_hash(const uint8_t salt[EMERGENCY_SALT], const char *user, const char *code,
                    uint8_t out[EMERGENCY_HASH]);

#endif
