/* Shares: showing new ones, and asking people for theirs. */
#ifndef COUNTERSIGN_CLI_SHARES_H
#define COUNTERSIGN_CLI_SHARES_H

#include "cli/call.h"

/* The shares of an answer ("keys_base64", else "keys"). Borrowed; NULL when there are none. */
const json_t *shares_of(const json_t *answer);
/* Prints new shares and what to do with them. recovery: the host opens the store by itself, too. */
void shares_print(struct cli *c, const json_t *shares, int64_t threshold, bool recovery);

/* Asks for one share after the other, hidden, or a line each from a pipe, and sends each with the
 * nonce to path, until the answer says "complete" (r is that answer) or nothing more is given.
 * status: where progress and the number needed can be read ("progress", "required" or "t"). Returns
 * an exit code; done tells whether it is complete. */
int shares_give(struct cli *c, const char *path, const char *status, const char *nonce,
                struct reply *r, bool *done);

#endif
