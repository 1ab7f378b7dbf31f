/* Speaking HTTP with the agent, over its Unix socket or a loopback port. */
#ifndef COUNTERSIGN_CLI_CLIENT_H
#define COUNTERSIGN_CLI_CLIENT_H

#include "base/json.h"

#define CLIENT_BODY_MAX (32u * 1024 * 1024) /* the largest answer taken */
#define CLIENT_TIMEOUT_S 120                /* a whole request */
#define CLIENT_ALIVE_S 10                   /* sys/seal-status: whether the agent answers at all */

struct client;

struct reply {
    long status;     /* HTTP status */
    struct buf body; /* as received */
    json_t *json;    /* the body parsed; NULL for an empty one */
};

/* Wipes and frees what a reply holds (not the struct). */
void reply_clear(struct reply *r);
#define _cleanup_reply_ _cleanup_(reply_clear)

/* The object that matters: "data" where the answer is in Vault's envelope, else the whole (NULL if
 * it is no object). Borrowed. */
const json_t *reply_data(const struct reply *r);

/* Makes a client for an address: unix:///PATH, /PATH, http://127.0.0.1:PORT (also localhost,
 * [::1]). token may be NULL; it is copied. 0, -EINVAL (why says what is wrong with the address),
 * -ENOMEM. */
int client_new(const char *address, const char *token, struct client **out, char *why,
               size_t whylen);
void client_free(struct client *c);
DEFINE_CLEANUP(struct client *, client_free)

const char *client_address(const struct client *c);
/* Whether requests carry a token. */
bool client_has_token(const struct client *c);

/* How many seconds a request may take from now on (CLIENT_TIMEOUT_S at first). */
void client_limit(struct client *c, long seconds);

/* One request. path is below /v1/ and not yet escaped ("secret/a b"); query is ready ("limit=5") or
 * NULL; body may be NULL. 0 when any HTTP answer came; else -errno with why: -ENOENT,
 * -ECONNREFUSED, -EACCES for a socket that is not there, not listened to, not ours; -ETIMEDOUT;
 * -EBADMSG for an answer that is not JSON; -EMSGSIZE; -ENOMEM; -EIO else. */
int client_request(struct client *c, const char *method, const char *path, const char *query,
                   const json_t *body, struct reply *r, char *why, size_t whylen);

/* Appends s percent-encoded, all but RFC 3986's unreserved characters (and '/' when slashes). */
void client_escape(struct buf *b, const char *s, bool slashes);

#endif
