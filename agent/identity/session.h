/* Login sessions and what was proved in them.
 *
 * A session is (boot id, kernel audit session id), recorded at open_session by the process that
 * leads the login (its leader). It ends at close_session by that leader, at the leader's exit, or
 * when logind says closing, whichever is first. A proof is a row of its own: who, which factor,
 * when (boot clock), by which service, from where; it counts for its session, or for its source.
 * Works inside the caller's turn. */
#ifndef COUNTERSIGN_IDENTITY_SESSION_H
#define COUNTERSIGN_IDENTITY_SESSION_H

#include <sys/types.h>

#include "base/json.h"
#include "base/terms.h"
#include "vault/vault.h"

#define SESSION_E_NONE 1
#define SESSION_E_TAKEN 2 /* recorded already, for another leader or person */
#define SESSION_ID_MAX 64
#define SESSION_PROOF_KEEP_S (7 * 24 * 3600LL)

struct session {
    char id[SESSION_ID_MAX]; /* "<boot id>/<audit session>" */
    char user[257];
    uid_t uid;
    char service[257];
    char source[64]; /* numeric address, "" local, "?" remote but not numeric */
    char tty[65];
    pid_t leader;
    uint64_t leader_start; /* field 22 of /proc/PID/stat, to tell a reused pid after a restart */
    int64_t started_ms;    /* wall */
    char key[65];          /* fingerprint (hex) of the SSH key that was shown, "" none */
};

/* The id of an audit session in this boot. */
void session_make_id(uint32_t audit_session, char out[SESSION_ID_MAX]);
/* Records it. 0, SESSION_E_TAKEN, -errno. Again by the same leader and person: 0, nothing changes.
 */
int session_open(struct vault *v, const struct session *s);
int session_get(struct vault *v, const char *id, struct session *out); /* 0, SESSION_E_NONE */
/* Forgets it and its session-scoped use of proofs. 0, SESSION_E_NONE. */
int session_close(struct vault *v, const char *id);
/* All of them. A broken row is passed over, with an alert in the log (record_pass()). */
typedef int (*session_fn)(const struct session *s, void *data);
int session_each(struct vault *v, session_fn fn, void *data);
/* Whether the leader (pid and start time) still runs and the boot id is this boot's. */
bool session_alive(const struct session *s);
/* When a process started: field 22 of proc(5)'s /proc/PID/stat. 0, or -ESRCH. */
int session_leader_start(pid_t pid, uint64_t *start);

struct proof {
    enum factor factor;
    char user[257];
    char service[257];
    char session[SESSION_ID_MAX]; /* "" until open_session attaches it */
    char source[64];
    char key[65];
    int64_t boot_ms; /* when, on the boot clock of boot_id */
    char boot_id[40];
};
/* Adds a proof; it is indexed by its session (if any) and by (user, source, key). Only the newest
 * per (factor, session or source) is kept. */
int session_prove(struct vault *v, const struct proof *p);
/* Visits this boot's proofs that count for the session (id may be NULL) or, for (user, source, key)
 * (source NULL: none). by_session/by_source say which. */
typedef int (*proof_fn)(const struct proof *p, bool by_session, bool by_source, void *data);
int session_proofs(struct vault *v, const char *session_id, const char *user, const char *source,
                   const char *key, proof_fn fn, void *data);

/* --- Handles: from the authenticate hook to open_session, which may be another process -----------
 */
#define SESSION_HANDLE_LEN 32
#define SESSION_HANDLE_TTL_MS (5 * 60 * 1000LL)
/* Makes a single-use handle that stands for a proof not yet attached. */
int session_handle_make(struct vault *v, const struct proof *p, int64_t now_ms,
                        char out[SESSION_HANDLE_LEN + 1]);
/* Takes it (it is gone afterwards, whatever the outcome): 0 and the proof when user and service are
 * the ones it was made for and it has not expired; else SESSION_E_NONE. peek: leave it in place
 * (the account hook looks, open_session takes). */
int session_handle_take(struct vault *v, const char *handle, const char *user, const char *service,
                        int64_t now_ms, bool peek, struct proof *out);
/* Forgets all that a person has proved, in whatever session, source or handle. */
int session_forget_proofs(struct vault *v, const char *user);
/* Deletes proofs and handles past their deadline. */
int session_sweep(struct vault *v, int64_t now_ms, size_t limit);

#endif
