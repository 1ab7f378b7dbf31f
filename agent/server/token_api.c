/* auth/token: Vault's token routes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/routes.h"
#include "server/rules.h"

const struct json_field route_fields_token_create[] = {
    {.name = "id", .kind = JSON_KIND_STRING, .max = TOKEN_TEXT_MAX - 1},
    {.name = "policies", .kind = JSON_KIND_STRINGS, .max = 64},
    {.name = "meta", .kind = JSON_KIND_OBJECT},
    {.name = "metadata", .kind = JSON_KIND_OBJECT},
    {.name = "no_parent", .kind = JSON_KIND_BOOL},
    {.name = "no_default_policy", .kind = JSON_KIND_BOOL},
    {.name = "renewable", .kind = JSON_KIND_BOOL},
    {.name = "lease", .kind = JSON_KIND_DURATION},
    {.name = "ttl", .kind = JSON_KIND_DURATION},
    {.name = "explicit_max_ttl", .kind = JSON_KIND_DURATION},
    {.name = "period", .kind = JSON_KIND_DURATION},
    {.name = "display_name", .kind = JSON_KIND_STRING, .max = 100},
    {.name = "num_uses", .kind = JSON_KIND_INT, .min = 0, .max = 1000000000},
    {.name = "type", .kind = JSON_KIND_STRING, .max = 16},
    {0},
};
const struct json_field route_fields_token[] = {
    {.name = "token", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "increment", .kind = JSON_KIND_DURATION},
    {0},
};
const struct json_field route_fields_accessor[] = {
    {.name = "accessor", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {.name = "increment", .kind = JSON_KIND_DURATION},
    {0},
};

static const char *const no_such_token = "bad token";

/* --- Create
 * ------------------------------------------------------------------------------------------ */

static bool is_root_caller(const struct request *r)
{
    return r->has_token && r->token.root;
}

/* What a child may have: what the caller has. A host principal gives the policies of the bindings
 * that are satisfied right now. */
static json_t *own_policies(struct request *r)
{
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    if (r->has_token)
        return json_incref(r->token.policies);
    return request_facts(r, &f, proofs) == 0 ? decide_policies(rules_view(r->agent->rules), &f)
                                             : NULL;
}

static int add_once(json_t *list, const char *name)
{
    return json_has_str(list, name) ? 0 : json_array_append_new(list, json_string(name));
}

/* Denials can't be left behind: of a policy that isn't wished for, what it denies still goes along,
 * as "!name". */
static int carry_denials(const struct request *r, const json_t *own, json_t *list)
{
    char text[ACL_NAME_MAX + 2];
    const json_t *name;
    size_t i;
    json_array_foreach(own, i, name)
    {
        const char *had = json_string_value(name);
        bool denial = had[0] == '!';
        const struct acl_policy *p = denial ? NULL : rules_policy(r->agent->rules, had);
        snprintf(text, sizeof(text), "%s%s", denial ? "" : "!", had);
        bool left = denial || (p && acl_denies(p) && !json_has_str(list, had));
        if (left && add_once(list, text) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* The new token's policies in *out; 1 when a refusal stands in r. */
static int choose_policies(struct request *r, bool sudo, json_t **out)
{
    json_t *wish = json_object_get(r->body, "policies"), *name;
    size_t i;
    _cleanup_json_ json_t *own = own_policies(r);
    _cleanup_json_ json_t *list = json_array();
    if (!own || !list)
        return -ENOMEM;
    if (json_array_size(wish) == 0)
        wish = own;
    json_array_foreach(wish, i, name)
    {
        const char *text = json_string_value(name);
        bool has = json_has_str(own, text) || strcmp(text, "default") == 0;
        if (!has && (!sudo || (strcmp(text, "root") == 0 && !is_root_caller(r))))
            return request_error(r, 400,
                                 "child policies must be subset of parent: \"%.100s\" is not among "
                                 "the caller's policies",
                                 text) < 0
                       ? -ENOMEM
                       : 1;
        if (add_once(list, text) < 0)
            return -ENOMEM;
    }
    if (!json_has_str(list, "root") && !json_bool(r->body, "no_default_policy", false) &&
        add_once(list, "default") < 0)
        return -ENOMEM;
    if (carry_denials(r, own, list) < 0)
        return -ENOMEM;
    *out = json_incref(list);
    return 0;
}

static int answer_token(struct request *r, const struct token *t, const char *text, int64_t ttl)
{
    r->auth = json_pack("{s:s, s:s, s:O, s:O, s:[], s:O?, s:I, s:b, s:s, s:s, s:b, s:n, s:I}",
                        "client_token", text, "accessor", t->accessor, "policies", t->policies,
                        "token_policies", t->policies, "identity_policies", "metadata", t->meta,
                        "lease_duration", (json_int_t)ttl, "renewable", t->renewable, "entity_id",
                        "", "token_type", "service", "orphan", t->parent[0] == '\0',
                        "mfa_requirement", "num_uses", (json_int_t)t->num_uses);
    return r->auth ? 0 : -ENOMEM;
}

static int fill_spec(struct request *r, bool orphan, bool sudo, struct token_spec *s, char *display,
                     size_t n)
{
    const char *name = json_str(r->body, "display_name");
    snprintf(display, n, name ? "token-%s" : "token", name);
    json_t *meta = json_object_get(r->body, "meta");
    bool no_parent = orphan || json_bool(r->body, "no_parent", false);
    s->meta = meta ? meta : json_object_get(r->body, "metadata");
    s->parent = r->has_token && !no_parent ? r->token.id : NULL;
    s->display_name = display;
    s->path = orphan ? "auth/token/create-orphan" : "auth/token/create";
    s->root = json_has_str(s->policies, "root");
    s->ttl = json_int(r->body, "ttl", json_int(r->body, "lease", 0));
    s->period = json_int(r->body, "period", 0);
    s->explicit_max_ttl = json_int(r->body, "explicit_max_ttl", 0);
    s->num_uses = json_int(r->body, "num_uses", 0);
    s->renewable = json_bool(r->body, "renewable", true) && !(s->root && !s->ttl && !s->period);
    s->given_id = json_str(r->body, "id");
    /* Over the Unix socket a token is the kernel-attested caller's; it dies with their session. */
    s->has_uid = r->peer.known && !is_root_caller(r);
    s->uid = r->peer.uid;
    s->session = !r->has_token && r->has_session ? r->session.id
                 : r->has_token                  ? r->token.session
                                                 : NULL;
    if (s->session && !s->session[0])
        s->session = NULL;
    if ((no_parent && !orphan && r->has_token && !sudo) || (s->given_id && !sudo))
        return request_error(
                   r, 400,
                   "root or sudo privileges required to create orphan tokens or to choose a "
                   "token's id") < 0
                   ? -ENOMEM
                   : 1;
    if (s->period && !sudo)
        return request_error(r, 400, "root or sudo privileges required to create periodic token") <
                       0
                   ? -ENOMEM
                   : 1;
    return 0;
}

/* What the binding that let a host principal in says about time also holds for what is made of it,
 * renewals included. */
static void bound_by_binding(const struct request *r, struct token_spec *s)
{
    int64_t ttl = r->decision.ttl, most = r->decision.max_ttl;
    if (r->has_token)
        return;
    if (s->ttl == 0)
        s->ttl = ttl;
    if (most && (s->ttl == 0 || s->ttl > most))
        s->ttl = most;
    if (most && (s->explicit_max_ttl == 0 || s->explicit_max_ttl > most))
        s->explicit_max_ttl = most;
}

static int create(struct request *r, bool orphan)
{
    char why[256], display[129], text[TOKEN_TEXT_MAX];
    _cleanup_json_ json_t *policies = NULL;
    struct token t = {0};
    bool shortened = false, sudo = request_may(r, r->path, ACL_SUDO);
    const char *type = json_str_or(r->body, "type", "service");
    if (strcmp(type, "service") != 0 && strcmp(type, "default-service") != 0)
        return request_error(r, 400, "only tokens of type \"service\" are supported");
    if (r->has_token && (r->token.num_uses > 0 || r->last_use))
        return request_error(r, 400, "restricted use token cannot generate child tokens");
    int e = choose_policies(r, sudo, &policies);
    struct token_spec s = {.policies = policies};
    if (e == 0)
        e = fill_spec(r, orphan, sudo, &s, display, sizeof(display));
    if (e != 0)
        return e < 0 ? e : 0;
    bound_by_binding(r, &s);
    e = token_create(r->agent->vault, &s, r->lease_ms, text, &t, &shortened, why, sizeof(why));
    if (e == TOKEN_E_REFUSED)
        return request_error(r, 400, "%s", why);
    if (e == 0)
        e = answer_token(r, &t, text, t.expires_ms ? (t.expires_ms - r->lease_ms) / 1000 : 0);
    if (e == 0 && shortened)
        e = request_warn(r, "the TTL was shortened to the maximum that is allowed");
    mem_wipe(text, sizeof(text));
    token_clear(&t);
    return e;
}

int route_token_create(struct request *r)
{
    return create(r, false);
}

int route_token_create_orphan(struct request *r)
{
    return create(r, true);
}

/* --- Lookup
 * ------------------------------------------------------------------------------------------ */

int route_token_lookup_self(struct request *r)
{
    if (!r->has_token)
        return request_error(
            r, 403,
            "permission denied: there is no token to look up; the kernel says you are "
            "%s",
            r->principal);
    return request_data(r, token_to_json(&r->token, r->token_text, r->lease_ms));
}

/* The token a request is about, by its text or accessor; else an answer stands in r and *found is
 * false. */
static int find(struct request *r, struct token *t, bool *found)
{
    const char *text = json_str(r->body, "token"), *accessor = json_str(r->body, "accessor");
    *found = false;
    if (!text && !accessor)
        return request_error(r, 400, "missing token");
    int e = text ? token_find(r->agent->vault, text, r->lease_ms, t)
                 : token_find_accessor(r->agent->vault, accessor, r->lease_ms, t);
    if (e == TOKEN_E_NONE)
        return request_error(r, 403, "%s", text ? no_such_token : "invalid accessor");
    *found = e == 0;
    return e;
}

int route_token_lookup(struct request *r)
{
    struct token t = {0};
    bool found;
    int e = find(r, &t, &found);
    if (e == 0 && found)
        e = request_data(r, token_to_json(&t, json_str(r->body, "token"), r->lease_ms));
    token_clear(&t);
    return e;
}

int route_token_lookup_accessor(struct request *r)
{
    return route_token_lookup(r);
}

/* --- Renew
 * ------------------------------------------------------------------------------------------- */

static int renew(struct request *r, struct token *t, const char *text)
{
    char why[256];
    int64_t ttl = 0;
    int e = token_renew(r->agent->vault, t, json_int(r->body, "increment", 0), r->lease_ms, &ttl,
                        why, sizeof(why));
    if (e == TOKEN_E_REFUSED)
        return request_error(r, 400, "%s", why);
    return e < 0 ? e : answer_token(r, t, text, ttl);
}

int route_token_renew_self(struct request *r)
{
    if (!r->has_token)
        return request_error(r, 403, "permission denied: there is no token to renew");
    return renew(r, &r->token, r->token_text);
}

int route_token_renew(struct request *r)
{
    struct token t = {0};
    bool found;
    int e = find(r, &t, &found);
    if (e == 0 && found)
        e = renew(r, &t, json_str_or(r->body, "token", ""));
    token_clear(&t);
    return e;
}

int route_token_renew_accessor(struct request *r)
{
    return route_token_renew(r);
}

/* --- Revoke
 * ------------------------------------------------------------------------------------------ */

/* A token's leases die with it. */
static int token_gone(const char *id, void *data)
{
    struct request *r = data;
    size_t n;
    return lease_revoke_token(r->agent->leases, id, "its token was revoked", r->lease_ms, &n);
}

static int revoke_id(struct request *r, const char *id, bool orphan_children)
{
    int e = token_revoke(r->agent->vault, id, orphan_children, token_gone, r);
    r->status = 204;
    return e < 0 ? e : 0;
}

int route_token_revoke_self(struct request *r)
{
    if (!r->has_token)
        return request_error(r, 403, "permission denied: there is no token to revoke");
    return revoke_id(r, r->token.id, false);
}

static int revoke_found(struct request *r, bool orphan_children)
{
    struct token t = {0};
    bool found;
    int e = find(r, &t, &found);
    if (e == 0 && found)
        e = revoke_id(r, t.id, orphan_children);
    else if (e == 0 && json_str(r->body, "token")) { /* as Vault: gone is gone */
        json_decref(r->errors);
        r->errors = NULL;
        r->status = 204;
    }
    token_clear(&t);
    return e;
}

int route_token_revoke(struct request *r)
{
    return revoke_found(r, false);
}

int route_token_revoke_orphan(struct request *r)
{
    return revoke_found(r, true);
}

int route_token_revoke_accessor(struct request *r)
{
    return revoke_found(r, false);
}

int route_token_accessors(struct request *r)
{
    json_t *list = NULL;
    int e = token_accessors(r->agent->vault, &list);
    return e < 0 ? e : request_keys(r, list);
}
