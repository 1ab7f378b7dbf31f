/* One API request on its way through the pipeline:
 *
 *   parse -> route row -> body against the row's schema -> peer -> token or host identity ->
 *   policy decision -> handler -> audit line -> commit -> effects and reply
 *
 * Handlers get a request that has passed everything before them, and fill in the answer. They never
 * see a socket. Everything they do to the store is inside the turn. */
#ifndef COUNTERSIGN_SERVER_REQUEST_H
#define COUNTERSIGN_SERVER_REQUEST_H

#include "identity/session.h"
#include "identity/token.h"
#include "server/agent.h"
#include "server/lockout.h"
#include "vault/entry.h"

enum verb {
    VERB_GET = 1,
    VERB_PUT = 2, /* POST and PUT alike, as Vault */
    VERB_DELETE = 4,
    VERB_LIST = 8, /* LIST, or GET with ?list=true */
    VERB_PATCH = 16,
};

enum route_flag {
    ROUTE_NO_IDENTITY = 1 << 1, /* anybody (seal-status, health) */
    ROUTE_ROOT_PEER = 1 << 2,   /* the kernel says uid 0; recorded as an alert */
    ROUTE_SELF = 1 << 3, /* any identified caller: it concerns only themselves (lookup-self) */
    ROUTE_ROOT_OR_CAP = 1 << 4, /* a root peer (alert), or by capability */
    ROUTE_SELF_OR_CAP =
        1 << 5,              /* the handler looks: the caller about themselves, else r->allowed */
    ROUTE_SUDO = 1 << 6,     /* the capability sudo as well */
    ROUTE_BARE = 1 << 7,     /* bare JSON, no envelope */
    ROUTE_TOP = 1 << 8,      /* data's keys are repeated at the top level */
    ROUTE_QUIET = 1 << 9,    /* no audit line (status polling) */
    ROUTE_OUTSIDE = 1 << 10, /* runs outside a turn, sealed or not (status, init, unseal) */
    ROUTE_ENGINE = 1 << 11,  /* an engine answers: the capability follows from the verb */
    ROUTE_CHECK = 1 << 12,   /* takes ?check=true: done in full, compared, and taken back again */
    ROUTE_WATCH =
        1 << 13, /* looked at again and again: the same process leaves a line (and root
                  * an alert) a minute. With ROUTE_QUIET: none, and root may, sealed too */
};

struct request;
/* 0: the answer stands in the request. REQUEST_WAIT (no other module's outcome): it comes later by
 * request_resume(). -errno. */
#define REQUEST_WAIT 1000
typedef int (*request_fn)(struct request *r);

struct route {
    unsigned verbs;      /* VERB_ bits */
    const char *pattern; /* "sys/bindings/{name}"; {name} one segment, {name...} the rest */
    unsigned caps;       /* ACL_ bits of which one is needed; 0 only with an exempting flag */
    unsigned flags;
    const struct json_field *fields; /* the body's schema; NULL: no body is looked at */
    request_fn handler;
};

#define REQUEST_PARAMS 3
struct request {
    struct agent *agent;
    struct http_exchange *exchange;
    const struct route *route;
    unsigned verb;
    char id[40];   /* request_id, UUID */
    char *path;    /* decoded, without "/v1/" and without leading slash */
    json_t *query; /* object of strings, or NULL */
    json_t *body;  /* checked against the route's fields; never NULL for PUT/PATCH */
    struct {
        char name[24];
        char *value;
    } param[REQUEST_PARAMS];
    bool check;               /* ?check=true: only say what it would change */
    bool checked;             /* … and that is known now */
    struct entry_watch would; /* … which is this */
    int64_t now_ms;           /* wall time */
    int64_t lease_ms;         /* lease time (base/clock.h): for leases and tokens */

    /* who */
    struct peer peer;
    bool root_peer; /* the kernel says root (or dev mode's own uid) */
    bool has_token;
    char *token_text; /* as sent; wiped */
    struct token token;
    bool last_use;   /* of a token with num_uses: it is gone by the end of this request */
    bool has_person; /* a host principal that is a person (not uid:0) */
    char user[257];  /* its name */
    uid_t uid;       /* the host principal's uid */
    char **groups;   /* owned */
    size_t n_groups;
    bool has_session;
    struct session session;
    char locked[LOCKOUT_TEXT]; /* why this person is locked out, behind request_facts() */
    char principal[300];       /* "user:alice", "uid:0", "token:<accessor>" */
    bool allowed;              /* the policy decision (true for exempting flags) */
    struct decision decision;

    /* the answer */
    int status; /* 0: 200 with data, 204 without */
    json_t *data;
    struct buf raw_data; /* JSON text in place of data */
    json_t *auth;        /* the envelope's auth */
    json_t *warnings;
    json_t *errors; /* array of strings; status is then >= 400 */
    char lease_id[LEASE_ID_MAX];
    int64_t lease_duration;
    bool renewable;
    const char *content_type; /* not NULL: raw_data is the whole body, of this type */
    bool gone;                /* the client hung up */
    bool partly;              /* turns before this one have done a part of it, which stands */
    unsigned items;           /* turn items that will still come back to it */
    void *state;              /* the handler's own, while it waits */
    void (*state_free)(void *state);
    request_fn resume; /* what request_resume() runs, in a turn */
};

/* --- For handlers --------------------------------------------------------------------------------
 */

/* The value of {name} in the route's pattern; never NULL. */
const char *request_param(const struct request *r, const char *name);
const char *request_query(const struct request *r, const char *name); /* NULL when absent */
/* An error answer: one sentence of what, why and what to do (made printable, since it may quote
 * what the caller sent). Returns 0, or -ENOMEM; the status stands in either case, so nothing is
 * granted by it. */
int request_error(struct request *r, int status, const char *fmt, ...) _printf_(3, 4);
/* 404 with an empty list of errors, as Vault answers what isn't there. Returns 0. */
int request_none(struct request *r);
int request_warn(struct request *r, const char *fmt, ...) _printf_(2, 3);
/* Gives data (taken over); NULL = -ENOMEM. Returns 0 or -ENOMEM. */
int request_data(struct request *r, json_t *data);
/* {"keys": array (taken over)}, or 404 when it is empty. */
int request_keys(struct request *r, json_t *array);
/* Goes on with fn in a new turn; for a handler that returned REQUEST_WAIT. From the loop (an effect
 * counts: what comes back to a request may only be started by an effect, since a failed turn frees
 * the request). */
void request_resume(struct request *r, request_fn fn);
/* Whether the caller, as identified, has one of the capabilities on some other path. */
bool request_may(struct request *r, const char *path, unsigned caps);
/* What the policies of a request with a token say of a path. 0 or -ENOMEM (then nothing is
 * granted). */
int request_token_check(struct request *r, const char *path, struct acl_result *out);
/* Facts of the caller for policy/decide.h; proofs has room for REQUEST_PROOFS. */
#define REQUEST_PROOFS 32
int request_facts(struct request *r, struct decide_facts *f, struct decide_proof *proofs);
/* A proof as the decision takes it. now_ms: of the boot clock. */
struct decide_proof request_proof(const struct proof *p, int64_t now_ms, bool by_session,
                                  bool by_source);
/* Whether an error answer stands in the request already. */
static inline bool request_refused(const struct request *r)
{
    return r->status >= 400;
}
/* For a handler that runs outside of a turn: 0 when unsealed, 1 when the answer is that it is not,
 * -ENOMEM. */
int request_unsealed(struct request *r);
/* Records an alert with this request's origin (root peers, break glass). */
void request_alert(struct request *r, const char *event);
/* The same for a handler that runs outside of a turn: in one of its own, committed before this
 * returns, so that the deed that follows is never without its record. 0 or -errno (then don't). */
int request_alert_now(struct request *r, const char *event);

/* --- The pipeline itself
 * --------------------------------------------------------------------------- */
int pipeline_start(struct agent *a, struct http_server **out); /* makes the HTTP server */
const struct route *routes_all(size_t *n);
/* The row for a path, its parameters filled in. NULL: no such path; *verbs tells which verbs it
 * has. */
const struct route *routes_find(unsigned verb, const char *path, struct request *r,
                                unsigned *verbs);

#endif
