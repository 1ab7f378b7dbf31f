/* Stage 1: what the wire said, checked before anybody looks at who sent it. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "server/path.h"
#include "server/pipeline.h"

static unsigned verb_of(const char *method)
{
    static const struct {
        const char *method;
        unsigned verb;
    } verbs[] = {
        {"GET", VERB_GET},       {"HEAD", VERB_GET},  {"PUT", VERB_PUT},     {"POST", VERB_PUT},
        {"DELETE", VERB_DELETE}, {"LIST", VERB_LIST}, {"PATCH", VERB_PATCH},
    };
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].method, method) == 0)
            return verbs[i].verb;
    }
    return 0;
}

/* Vault's list: GET with ?list=true, or LIST; both with the folder's '/' at the end. */
static int settle_list(struct request *r)
{
    const char *list = request_query(r, "list");
    if (r->verb == VERB_GET && list && (strcasecmp(list, "true") == 0 || strcmp(list, "1") == 0))
        r->verb = VERB_LIST;
    size_t n = strlen(r->path);
    if (r->verb != VERB_LIST || n == 0 || r->path[n - 1] == '/')
        return 0;
    char *longer = realloc(r->path, n + 2);
    if (!longer)
        return -ENOMEM;
    r->path = longer;
    memcpy(longer + n, "/", 2);
    return 0;
}

/* Headers that ask for something we don't do must not be passed over: the caller relies on them. */
static int check_headers(struct request *r)
{
    const char *ns = http_header(r->exchange, "X-Vault-Namespace");
    if (ns && ns[0] && strcmp(ns, "root") != 0 && strcmp(ns, "/") != 0)
        return pipeline_refuse(request_error(r, 400, "namespaces are not supported"));
    const char *wrap = http_header(r->exchange, "X-Vault-Wrap-TTL");
    if (wrap && wrap[0] && strcmp(wrap, "0") != 0 && strcmp(wrap, "0s") != 0)
        return pipeline_refuse(request_error(r, 400, "response wrapping is not supported"));
    return 0;
}

static int take_token(struct request *r)
{
    const char *token = http_header(r->exchange, "X-Vault-Token");
    const char *bearer = http_header(r->exchange, "Authorization");
    if ((!token || !token[0]) && bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
        token = bearer + 7;
    if (!token || !token[0])
        return 0;
    r->token_text = strdup(token);
    r->has_token = true;
    return r->token_text ? 0 : -ENOMEM;
}

static int parse_body(struct request *r, const struct http_request *h)
{
    char why[256];
    if (!(r->verb & (VERB_PUT | VERB_PATCH)))
        return 0;
    if (r->verb == VERB_PATCH) {
        const char *type = http_header(r->exchange, "Content-Type");
        size_t n = type ? strcspn(type, "; \t") : 0;
        if (n != 28 || strncasecmp(type, "application/merge-patch+json", n) != 0)
            return pipeline_refuse(request_error(r, 415,
                                                 "PATCH requires Content-Type "
                                                 "application/merge-patch+json"));
    }
    if (h->body_len == 0) {
        r->body = json_object();
        return r->body ? 0 : -ENOMEM;
    }
    int e = json_parse(h->body, h->body_len, &r->body, why, sizeof(why));
    if (e == -EBADMSG)
        return pipeline_refuse(
            request_error(r, 400, "the request's body is not valid JSON: %s", why));
    if (e == 0 && !json_is_object(r->body))
        return pipeline_refuse(request_error(r, 400, "the request's body must be a JSON object"));
    return e;
}

/* A slash at the end of one of our own paths means nothing, so the decision must not see it either:
 * a rule for the path without it would be passed by. Where a {path...} ends the pattern it is the
 * caller's. */
static int settle_path(struct request *r)
{
    size_t n = strlen(r->path), end = strlen(r->route->pattern);
    bool rest = end > 4 && strcmp(r->route->pattern + end - 4, "...}") == 0;
    if (r->verb != VERB_LIST && !rest && n > 1 && r->path[n - 1] == '/')
        r->path[n - 1] = '\0';
    return 0;
}

/* "?check=true" must never be taken for the deed itself: where it can't be honoured it is refused.
 */
static int settle_check(struct request *r)
{
    const char *check = request_query(r, "check");
    if (!check || !(r->verb & (VERB_PUT | VERB_PATCH | VERB_DELETE)))
        return 0;
    if (strcmp(check, "true") != 0 && strcmp(check, "false") != 0)
        return pipeline_refuse(request_error(r, 400, "check is true or false"));
    r->check = strcmp(check, "true") == 0;
    if (!r->check || (r->route->flags & ROUTE_CHECK))
        return 0;
    return pipeline_refuse(
        request_error(r, 400, "this can't be tried out without doing it: leave check=true away"));
}

static int find_route(struct request *r)
{
    unsigned verbs = 0;
    r->route = routes_find(r->verb, r->path, r, &verbs);
    /* HEAD asks without wanting the answer: for load balancers, not for what a read would release.
     */
    bool head = strcmp(http_request_of(r->exchange)->method, "HEAD") == 0;
    if (r->route && (!head || (r->route->flags & ROUTE_NO_IDENTITY)))
        return settle_path(r);
    if (verbs)
        return pipeline_refuse(request_error(r, 405, "unsupported operation on %.200s", r->path));
    return pipeline_refuse(request_error(r, 404, "no handler for route \"%.200s\"", r->path));
}

static int parse_target(struct request *r, const struct http_request *h)
{
    char why[256];
    r->verb = verb_of(h->method);
    if (!r->verb)
        return pipeline_refuse(request_error(r, 405, "unsupported method"));
    int e = path_decode(h->path, &r->path, why, sizeof(why));
    if (e == 0)
        e = path_query(h->query, &r->query, why, sizeof(why));
    if (e == -ENOENT)
        return pipeline_refuse(request_none(r));
    if (e == -EINVAL)
        return pipeline_refuse(request_error(r, 400, "%s", why));
    return e < 0 ? e : settle_list(r);
}

/* Who the kernel says, as far as one call tells: enough for token requests and root peers. */
static void first_look(struct request *r, const struct http_request *h)
{
    if (!h->unix_peer) {
        r->root_peer = r->agent->dev;
        return;
    }
    if (!h->has_cred)
        return;
    r->peer.known = true;
    r->peer.uid = r->uid = h->cred.uid;
    r->peer.gid = h->cred.gid;
    r->peer.pid = h->cred.pid;
    r->peer.assurance = ASSURANCE_UID;
    r->peer.audit_session = PEER_NO_SESSION;
    r->peer.loginuid = PEER_NO_LOGINUID;
    r->root_peer = h->cred.uid == 0 || h->cred.uid == r->agent->root_uid;
}

int pipeline_parse(struct request *r)
{
    const struct http_request *h = http_request_of(r->exchange);
    first_look(r, h);
    int e = parse_target(r, h);
    if (e == 0)
        e = check_headers(r);
    if (e == 0)
        e = take_token(r);
    if (e == 0)
        e = find_route(r);
    if (e == 0)
        e = settle_check(r);
    if (e == 0)
        e = parse_body(r, h);
    return e;
}
