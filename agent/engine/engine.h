/* Secret engines: what is released. Each is one vtable; one file (or few) behind it.
 *
 * An engine sees a request that has been parsed, identified and allowed; a store view that is its
 * mount's own space; and nothing of sockets, SQL or tokens. What needs another machine it asks for
 * by a frame (countersign/connector.h) and goes on when the answer is there. */
#ifndef COUNTERSIGN_ENGINE_ENGINE_H
#define COUNTERSIGN_ENGINE_ENGINE_H

#include "base/json.h"
#include "vault/vault.h"

enum engine_op {
    ENGINE_READ,
    ENGINE_WRITE, /* POST or PUT: create or update */
    ENGINE_PATCH, /* JSON merge patch, RFC 7396 */
    ENGINE_DELETE,
    ENGINE_LIST,
};

/* Outcomes of handle() and answered(), beside -errno. */
#define ENGINE_DONE 0
#define ENGINE_CALL 1 /* send r->frame to the connector, then call answered() with its answer */

struct engine_lease {
    bool wanted;
    int64_t ttl, max_ttl; /* seconds */
    bool renewable;
    json_t *recipe; /* owned: all that lease_revoke()/lease_renew() below need, no secret */
};

struct engine_request {
    /* given */
    struct vault *vault;
    const char *space; /* the mount's own space (its UUID) */
    const char *mount; /* "database/" */
    const char
        *path; /* behind the mount, without leading slash; a LIST path ends in '/' or is "" */
    enum engine_op op;
    json_t *body;    /* the parsed object, or NULL; may be normalised in place */
    const char *raw; /* the body's bytes */
    size_t raw_len;
    const json_t *query;   /* the query string's names and values (strings) */
    int64_t now_ms;        /* wall time */
    int64_t lease_ms;      /* lease time (base/clock.h): for what is told to end */
    const char *principal; /* for names and comments: "user:alice" */
    int64_t ttl, max_ttl;  /* bounds of the binding that allowed it, seconds; 0 = none */
    int64_t wish_ttl;      /* what the caller asked for, 0 = nothing */
    const char *lease_id;  /* of the lease, should one be wanted */
    bool check;            /* only tried out: what is written is taken back afterwards */

    /* answer; all owned by the request */
    int status;          /* HTTP status; 0 = 200 with data, else 204 */
    json_t *data;        /* the envelope's data, or … */
    struct buf raw_data; /* … its JSON text, when not empty (bytes that must stay as they are) */
    json_t *warnings;    /* array of strings, or NULL */
    char error[512];     /* for status >= 400: one sentence: what, why, what to do next */
    struct engine_lease lease;
    json_t *frame; /* for ENGINE_CALL: without id; may hold secrets, wiped when freed */
    void *state;   /* the engine's own between handle() and answered() */
    void (*state_free)(void *state);
};

struct engine {
    const char *type; /* "kv", "database" */
    const char *description;
    const char *const *root_paths; /* paths (with '*' suffix) that need sudo, NULL-ended; or NULL */

    /* Answers. Errors for the caller go into status and error with ENGINE_DONE. */
    int (*handle)(struct engine_request *r);
    /* The connector's answer (borrowed; {"ok":false,"kind":"unreachable",…} also when the connector
     * itself is away), in a later turn. May be NULL if handle() never calls. */
    int (*answered)(struct engine_request *r, const json_t *answer);
    /* Whether what a WRITE names exists (create or update capability): 1, 0, -errno. NULL: always
     * update. */
    int (*exists)(struct engine_request *r);
    /* Frames for a lease's renewal and revocation. *frame NULL: nothing to do outside. 0, -errno;
     * -ENOENT: the configuration it needs is gone (the lease then waits with that error). */
    int (*lease_renew)(struct vault *v, const char *space, const json_t *recipe, int64_t expires_s,
                       json_t **frame);
    int (*lease_revoke)(struct vault *v, const char *space, const json_t *recipe, json_t **frame);
    /* Frames that list this instance's accounts, one per configured database: fn(frame, name).
     * After the answers the agent revokes what no lease knows. NULL: nothing to sweep. */
    int (*sweep)(struct vault *v, const char *space,
                 int (*fn)(json_t *frame, const char *name, void *data), void *data);
    /* A recipe for an account that was found without a lease. */
    json_t *(*orphan)(const char *name, const char *account);
    /* Called when a mount is made, with its options object (may be NULL); refuses by why[] and
     * -EINVAL. */
    int (*mounted)(struct vault *v, const char *space, json_t *options, char *why, size_t whylen);
};

/* By type; NULL when unknown. */
const struct engine *engine_find(const char *type);
/* All, NULL-ended. */
const struct engine *const *engine_all(void);

/* Frees what the request owns (not the struct). */
void engine_request_clear(struct engine_request *r);
/* status and a formatted sentence; returns ENGINE_DONE. */
int engine_error(struct engine_request *r, int status, const char *fmt, ...) _printf_(3, 4);
/* One more warning for the answer. 0 or -ENOMEM. */
int engine_warn(struct engine_request *r, const char *fmt, ...) _printf_(2, 3);
/* Takes the data over (NULL: -ENOMEM). ENGINE_DONE or -ENOMEM. */
int engine_data(struct engine_request *r, json_t *data);
/* 404 without a sentence: what is asked for is not there. ENGINE_DONE. */
int engine_none(struct engine_request *r);
/* Answers a LIST: {"keys": […]} of a folder of the space, or 404 when there is nothing in it. The
 * query's "after" and "limit" page through it. */
int engine_list(struct engine_request *r, const char *folder);
/* A query parameter, NULL when absent. */
const char *engine_query(const struct engine_request *r, const char *name);

#endif
