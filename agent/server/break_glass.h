/* Break glass: emergency codes that open a login when all else fails.
 *
 * They must work while the store is sealed, so what checks them lies outside of the barrier, in a
 * plain setting of the store: per code a salt, a hash (identity/emergency.h), whose it is, and
 * whether it was used. That row is no secret. It carries a keyed hash per code as well, which is
 * checked whenever there are keys: a code that somebody wrote into the file works only while the
 * store is sealed, and unsealing raises the alarm. (Who can write to that file can as well change
 * /etc/pam.d.)
 *
 * A code is one person's, opens one login, and is durably used before that login is let through.
 * Each use is an alert in the journal at once, and in the audit log: in the same transaction, or,
 * sealed, kept in the row and written into the log in the turn that follows the unsealing. */
#ifndef COUNTERSIGN_SERVER_BREAK_GLASS_H
#define COUNTERSIGN_SERVER_BREAK_GLASS_H

#include <countersign/dialogue.h>

#include "base/json.h"
#include "vault/vault.h"

#define BREAK_GLASS_SET_MAX 16  /* codes made at once */
#define BREAK_GLASS_ALL_MAX 256 /* codes kept */

/* --- The codes. In a turn. ---------------------------------------------------------------------
 */

/* Makes a person's codes, in place of those they had. *codes: a new array of what to print. 0;
 * BREAK_GLASS_E_FULL; -errno. Needs the keys. */
#define BREAK_GLASS_E_FULL 1
int break_glass_make(struct vault *v, const char *user, unsigned count, int64_t now_ms,
                     json_t **codes);
/* Forgets a person's codes, used ones as well. *n: how many were unused. */
int break_glass_revoke(struct vault *v, const char *user, size_t *n);
/* A new array without secrets: {"id", "user", "made", "used": stamp or null, "service", "source",
 * "genuine": bool or null (sealed: nobody can tell)}. */
int break_glass_list(struct vault *v, json_t **out);

/* Uses a code. line: what the audit log is to say (borrowed; "code" is added to it). known: there
 * is such a person; the cost is the same. 0: it was unused and theirs, and counts as used once the
 * turn is committed; BREAK_GLASS_E_WRONG; BREAK_GLASS_E_USED; -errno. */
#define BREAK_GLASS_E_WRONG 2
#define BREAK_GLASS_E_USED 3
int break_glass_spend(struct vault *v, const char *user, bool known, const char *code, json_t *line,
                      int64_t now_ms);

/* For sys/status and for whoever asks whether it is worth asking. Sealed or not, in a turn or not.
 */
struct break_glass_summary {
    size_t left, used;    /* of all people */
    int64_t last_used_ms; /* wall; 0: never */
    size_t strange;       /* not written by this store's agent (0 while sealed) */
};
int break_glass_summary(struct vault *v, struct break_glass_summary *out);

/* --- In memory ---------------------------------------------------------------------------------
 */

struct break_glass;
struct agent;

int break_glass_new(struct break_glass **out);
void break_glass_free(struct break_glass *b);

/* After unsealing, outside of a turn: what happened while sealed goes into the log. */
void break_glass_unsealed(struct agent *a);

/* From the hook that took the code to the ones that follow. As session.h's handles, but in memory,
 * so that they work while sealed. user NULL: anybody (sudo's session hook names another). take: it
 * is gone afterwards. */
int break_glass_handle(struct break_glass *b, const char *user, const char *service,
                       char out[DIALOGUE_HANDLE_LEN + 1]);
bool break_glass_passed(struct break_glass *b, const char *handle, const char *user,
                        const char *service, bool take);

/* A fixed budget of wrong codes a minute, for each person and for all of them, where the throttle's
 * rows can't be kept. Unknown names have buckets like everybody. */
#define BREAK_GLASS_TRIES 10
#define BREAK_GLASS_TRIES_ALL 60
bool break_glass_may_try(struct break_glass *b, const char *user);
void break_glass_failed(struct break_glass *b, const char *user);

#endif
