/* The agent's parts, as the server's files see each other. Put together by assemble.c. */
#ifndef COUNTERSIGN_SERVER_AGENT_H
#define COUNTERSIGN_SERVER_AGENT_H

#include <systemd/sd-event.h>
#include <sys/types.h>

#include "base/encode.h"
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

struct break_glass;
struct quorum;
struct quorum_rooting;
struct quorum_rekeying;
struct rules;  /* server/rules.h */
struct mounts; /* server/mount.h */
struct hold;   /* server/hold.h */
struct saving; /* server/sys_snapshot.c */
struct restoring;
struct sessions_watch;

/* What is known of people who are locked out: server/lockout.c. */
enum agent_locks { AGENT_LOCKS_UNKNOWN = 0, AGENT_LOCKS_NONE, AGENT_LOCKS_SOME };
/* For status and metrics: how often, since when, and what the last one was. */
struct alerts {
    uint64_t n;
    int64_t first_ms, last_ms; /* wall time */
    char last[64];
};

/* Random bytes for the ids of requests to come. */
struct agent_ids {
    uint8_t raw[64 * ENCODE_UUID_RAW];
    size_t left; /* of raw, from its beginning on */
};

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
    enum agent_locks locks;
    struct link *link;
    struct hold *hold;       /* server/hold.h */
    struct watch *watch;     /* server/watch.h: timers and session leaders */
    struct pam_server *pam;  /* server/pam.h */
    struct restart *restart; /* server/restart.h: restarts */
    char *audit_path;        /* NULL: no export */
    uid_t root_uid;          /* whose peers are root peers: 0, in dev mode the agent's own uid */
    bool dev;
    bool activated; /* systemd passed the sockets */
    int64_t started_ms;
    struct lease_counts counts; /* for sys/status, which anybody may ask */
    int64_t counted_ms;         /* boot clock; 0: never */
    struct alerts alerts;
    struct agent_ids ids;
    struct vault_alarm disk_told; /* server/disk.h: what was said of the disks */
    /* server/quorum.h: shares given so far; NULL: none */
    struct quorum *unsealing;
    struct quorum_rooting *rooting;
    struct quorum_rekeying *rekeying;
    struct break_glass *break_glass; /* server/break_glass.h */
    struct saving *saving;           /* a snapshot that is being taken, or NULL */
    struct restoring *restoring;
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
/* Brings a->counts up to date. Counting looks at every lease that waits, and anybody may ask for
 * it: once a second is enough. 0 or -errno. Needs an unsealed vault. */
int agent_count_leases(struct agent *a);
/* An alert: a journal entry at warning level with fields, and (in a turn, unsealed) an audit line.
 */
void agent_alert(struct agent *a, const char *event, const char *text);
/* Counts an alert that the journal was told of in another way: for status and metrics. */
void agent_count_alert(struct agent *a, const char *event);

#endif
