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

struct rules; /* server/rules.h */
struct mounts; /* server/mount.h */
struct sessions_watch;

struct agent {
    sd_event *loop;
    struct vault *vault;
    struct turn *turn;
    struct leases *leases;
    struct rules *rules;
    struct mounts *mounts;
    struct http_server *http;
    struct workers *nss;       /* people and groups */
    struct workers *kdf;       /* Argon2id */
    struct link *link;
    struct people *people;     /* server/people.h: NSS with a short memory */
    struct watch *watch;       /* server/watch.h: timers and session leaders */
    struct pam_server *pam;    /* server/pam.h */
    char *audit_path;          /* NULL: no export */
    uid_t root_uid;            /* whose peers are root peers: 0, in dev mode the agent's own uid */
    bool dev;
    int64_t started_ms;
    struct unseal_progress {   /* recovery shares given so far */
        uint8_t share[255][VAULT_KEY_LEN + 1];
        unsigned n;
        char nonce[40];
    } *unsealing;
};

/* Called after init and unseal: loads rules and mounts, opens the audit export, starts timers, re-drives
 * leases. Outside of a turn. And before seal: forgets them. */
int agent_unsealed(struct agent *a);
void agent_sealing(struct agent *a);
/* Opens the audit log's file (again, on SIGHUP), and says what is wrong with it. */
void agent_open_audit(struct agent *a);
/* An alert: a journal entry at warning level with fields, and (in a turn, unsealed) an audit line. */
void agent_alert(struct agent *a, const char *event, const char *text);

#endif
