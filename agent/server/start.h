/* What a new store begins with. */
#ifndef COUNTERSIGN_SERVER_START_H
#define COUNTERSIGN_SERVER_START_H

#include "identity/token.h"
#include "server/agent.h"

/* Whether the principal that is to become operator can be one (NULL: nobody is named). 0, or 1 with
 * the reason in why[]. */
int start_operator_ok(const char *principal, char *why, size_t whylen);
/* Writes the default policy and, for a named operator, the policy and binding "operator"
 * (everything, with a second factor at most an hour old); without one, makes a root token into
 * token[]. Runs a turn of its own. 0 or -errno. */
int start_first_rules(struct agent *a, const char *operator, char token[TOKEN_TEXT_MAX]);
/* Makes a root token, in a turn. Wipe the text. 0 or -errno. */
int start_root_token(struct vault *v, char token[TOKEN_TEXT_MAX]);
/* Dev mode: a root token, KV v2 at secret/. */
int start_dev(struct agent *a, char token[TOKEN_TEXT_MAX]);

#endif
