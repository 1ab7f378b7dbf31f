/* The agent's parts, as the server's files see each other. Made by main.c, once. */
#ifndef COUNTERSIGN_SERVER_AGENT_H
#define COUNTERSIGN_SERVER_AGENT_H

#include <systemd/sd-event.h>
#include <sys/types.h>

#include "base/json.h"
#include "engine/engine.h"
#include "identity/peer.h"
#include "identity/person.h"
#include "lease/lease.h"
#include "policy/decide.h"
#include "server/http.h"
#include "server/link.h"
#include "server/turn.h"
#include "server/worker.h"
#include "vault/vault.h"

struct rules;  /* server/rules.h */
struct mounts; /* server/mount.h */
struct hold;   /* server/hold.h */
struct saving; /* server/sys_snapshot.c */
struct restoring;
struct sessions_watch;

struct agent {
    sd_event *loop;
    struct vault *vault;
    struct turn *turn;
    struct leases *leases;
    struct rules *rules;
    struct mounts *mounts;
    struct http_server *http;
    /* Root's PAM callers have workers of their own: what anybody can make the others do must not
     * keep a login waiting. */
    struct workers *nss, *login_nss;       /* people and groups */
    struct workers *enrol_kdf, *login_kdf; /* Argon2id */
    struct people *people, *login_people;  /* server/people.h: NSS with a short memory */
    struct link *link;
    struct hold *hold;
    struct watch *watch;    /* server/watch.h: timers and session leaders */
    struct pam_server *pam; /* server/pam.h */
    char *audit_path;       /* NULL: no export */
    uid_t root_uid;         /* whose peers are root peers: 0, in dev mode the agent's own uid */
    bool dev;
    int64_t started_ms;
    struct lease_counts counts; /* for sys/status, which anybody may ask */
    int64_t counted_ms;         /* boot clock; 0: never */
    struct saving *saving;      /* a snapshot that is being taken, or NULL */
    struct restoring *restoring;
    struct unseal_progress { /* recovery shares given so far */
        uint8_t share[255][VAULT_KEY_LEN + 1];
        unsigned n;
        char nonce[40];
    } * unsealing;
};

/* Called after init and unseal: loads rules and mounts, opens the audit export, starts timers,
 * re-drives leases. Outside of a turn. When that fails the vault is sealed again: an agent that
 * can't let leases end must not give any. */
int agent_unsealed(struct agent *a);
/* After an operator accepted a hold (server/hold.h), outside of a turn: all of it, or databases
 * only. What was held back is done. */
void agent_accepted(struct agent *a, bool all);
/* Seals: what is on disk of the audit log is made whole, timers, rules, mounts and keys are
 * forgotten, waiting requests answered. Outside of a turn, or as an effect (then it happens behind
 * the turn's other effects). */
void agent_seal(struct agent *a);
/* Opens the audit log's file (again, on SIGHUP), and says what is wrong with it. */
void agent_open_audit(struct agent *a);
/* An alert: a journal entry at warning level with fields, and (in a turn, unsealed) an audit line.
 */
void agent_alert(struct agent *a, const char *event, const char *text);

#endif
