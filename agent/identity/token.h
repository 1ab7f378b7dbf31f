/* Tokens, as Vault's service tokens: policies, parent, TTLs, accessor. Only keyed hashes are kept.
 * Works inside the caller's turn. Documents: Vault's "Token auth method (API)". */
#ifndef COUNTERSIGN_IDENTITY_TOKEN_H
#define COUNTERSIGN_IDENTITY_TOKEN_H

#include <sys/types.h>

#include "base/json.h"
#include "vault/vault.h"

#define TOKEN_E_NONE 1    /* no such token, expired, revoked or used up */
#define TOKEN_E_FOREIGN 2 /* bound to another uid */
#define TOKEN_E_REFUSED 3 /* the request makes no sense: why[] says it */

#define TOKEN_TEXT_MAX 64 /* "hvs." and 28..40 base62 characters */
#define TOKEN_ID_LEN 64   /* hex of the keyed hash: how the store and leases know it */
#define TOKEN_TTL_DEFAULT (32 * 86400LL) /* Vault's system default and maximum: 768h */
#define TOKEN_TTL_MAX (32 * 86400LL)

struct token {
    char id[TOKEN_ID_LEN + 1];
    char accessor[40];
    char parent[TOKEN_ID_LEN + 1]; /* "" = orphan or root */
    json_t *policies;              /* owned array of names; ["root"] is the root token */
    json_t *meta;                  /* owned object or NULL */
    char display_name[129];
    char path[129]; /* where it was made: "auth/token/create" */
    bool root;
    bool renewable;
    bool has_uid; /* bound to the uid it was issued to */
    uid_t uid;
    char session[64];                             /* dies with this login session, "" = no */
    int64_t num_uses;                             /* 0 = unlimited; else what is left */
    int64_t created_ms, expires_ms;               /* wall; expires 0 = never (root) */
    int64_t issued_ttl, period, explicit_max_ttl; /* seconds, 0 none */
    int64_t last_renewal_ms;
};

struct token_spec {
    const json_t *policies; /* borrowed array; already checked against the parent's */
    const json_t *meta;
    const char *parent;       /* token id or NULL */
    const char *display_name; /* NULL: "token" */
    const char *path;
    bool root, renewable;
    bool has_uid;
    uid_t uid;
    const char *session;
    int64_t ttl, period, explicit_max_ttl, num_uses; /* seconds; ttl 0 = the default */
    const char *given_id; /* a token text chosen by the caller (root only), or NULL */
};

/* Makes a token; text gets the only copy of the token itself (wipe it). ttl above the maximum is
 * shortened (*shortened tells). 0, TOKEN_E_REFUSED, -errno. */
int token_create(struct vault *v, const struct token_spec *spec, int64_t now_ms,
                 char text[TOKEN_TEXT_MAX], struct token *out, bool *shortened, char *why,
                 size_t whylen);
void token_clear(struct token *t);

/* Finds a token by its text, its accessor or its id; TOKEN_E_NONE when expired. */
int token_find(struct vault *v, const char *text, int64_t now_ms, struct token *out);
int token_find_accessor(struct vault *v, const char *accessor, int64_t now_ms, struct token *out);
int token_find_id(struct vault *v, const char *id, int64_t now_ms, struct token *out);
/* Counts one use of a token with num_uses; the last use revokes it after (*last = true: the caller
 * revokes it in the same turn). */
int token_use(struct vault *v, struct token *t, bool *last);
/* New expiry: increment (0 = the issued ttl), bounded by explicit_max_ttl and the system maximum,
 * period as Vault's. *ttl is what was granted. TOKEN_E_REFUSED when not renewable. */
int token_renew(struct vault *v, struct token *t, int64_t increment, int64_t now_ms, int64_t *ttl,
                char *why, size_t whylen);
/* Deletes the token and all its descendants; calls gone(id) for each (the caller revokes their
 * leases). orphan_children: children stay and become orphans (revoke-orphan). */
typedef int (*token_gone_fn)(const char *id, void *data);
int token_revoke(struct vault *v, const char *id, bool orphan_children, token_gone_fn gone,
                 void *data);
/* Tokens whose expiry is past: revoked as above. At most limit. Here, in trees and in listings,
 * rows that fail their authentication are passed over, with an alert in the log; they hold up
 * nobody. */
int token_expire(struct vault *v, int64_t now_ms, size_t limit, token_gone_fn gone, void *data);
/* Revokes the tokens bound to a login session. */
int token_session_ended(struct vault *v, const char *session, token_gone_fn gone, void *data);
int token_next_due(struct vault *v, int64_t *due_ms); /* 0, TOKEN_E_NONE */
/* What lookup answers: Vault's fields. shown_text NULL leaves "id" out as "". A new object. */
json_t *token_to_json(const struct token *t, const char *shown_text, int64_t now_ms);
/* Visits the tokens that are bound to a uid (expired ones that wait for their end included). A
 * negative value from fn ends it and is returned. */
typedef int (*token_fn)(const struct token *t, void *data);
int token_each_uid(struct vault *v, uid_t uid, token_fn fn, void *data);
/* Accessors of all tokens, a new array. */
int token_accessors(struct vault *v, json_t **out);

#endif
