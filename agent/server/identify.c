/* Stage 2: who calls. A token alone counts where there is one; else the kernel's uid, its login
 * session and NSS. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/people.h"
#include "server/pipeline.h"

struct identify {
    struct request *request;
    void (*then)(struct request *r);
};

void pipeline_free_groups(struct request *r)
{
    for (size_t i = 0; i < r->n_groups; i++)
        free(r->groups[i]);
    free(r->groups);
    r->groups = NULL;
    r->n_groups = 0;
}

int pipeline_copy_groups(struct request *r, const struct person *p)
{
    r->groups = calloc(p->n_groups ? p->n_groups : 1, sizeof(char *));
    if (!r->groups)
        return -ENOMEM;
    for (; r->n_groups < p->n_groups; r->n_groups++) {
        r->groups[r->n_groups] = strdup(p->groups[r->n_groups]);
        if (!r->groups[r->n_groups])
            return -ENOMEM;
    }
    return 0;
}

static void be_uid(struct request *r)
{
    snprintf(r->principal, sizeof(r->principal), "uid:%u", (unsigned)r->uid);
}

static void take_person(struct request *r, const struct person *p)
{
    /* Root in a recorded session: the name must still be that person's. */
    if (!p->exists || (r->has_session && p->uid != r->session.uid)) {
        r->has_session = false;
        be_uid(r);
        return;
    }
    if (pipeline_copy_groups(r, p) < 0) {
        (void)request_error(r, 500, "the agent is out of memory");
        return;
    }
    r->has_person = true;
    r->uid = p->uid;
    mem_text(r->user, sizeof(r->user), p->name);
    snprintf(r->principal, sizeof(r->principal), "user:%s", p->name);
}

static void finish(struct identify *i)
{
    struct request *r = i->request;
    void (*then)(struct request *) = i->then;
    free(i);
    then(r);
}

static void on_person(const struct person *p, int error, void *data)
{
    struct identify *i = data;
    if (error)
        (void)request_error(i->request, 503,
                            "the host's user database did not answer (%s); try again",
                            strerror(-error));
    else
        take_person(i->request, p);
    finish(i);
}

static void ask(struct identify *i, const char *name, uid_t uid)
{
    struct people *people = i->request->agent->people;
    const struct person *p = people_known(people, name, uid);
    int e = 0;
    if (p)
        on_person(p, 0, i);
    else
        e = people_ask(people, name, uid, on_person, i);
    if (e < 0)
        on_person(NULL, e, i);
}

/* --- root: a person only if their login session was recorded and the login uid agrees
 * ------------- */

static int find_root_session(void *data)
{
    struct identify *i = data;
    struct request *r = i->request;
    char id[SESSION_ID_MAX];
    if (vault_state(r->agent->vault) != VAULT_UNSEALED)
        return 0;
    session_make_id(r->peer.audit_session, id);
    int e = session_get(r->agent->vault, id, &r->session);
    r->has_session = e == 0 && r->session.uid == r->peer.loginuid && session_alive(&r->session);
    return e < 0 ? e : 0;
}

static void root_session_found(void *data, int error)
{
    struct identify *i = data;
    struct request *r = i->request;
    if (!error && r->has_session && r->session.uid != 0) {
        ask(i, r->session.user, r->session.uid);
        return;
    }
    r->has_session = false;
    be_uid(r);
    finish(i);
}

static void identify_host(struct identify *i)
{
    struct request *r = i->request;
    if (r->uid != 0) {
        ask(i, NULL, r->uid);
        return;
    }
    if (r->peer.audit_session == PEER_NO_SESSION) {
        be_uid(r);
        finish(i);
        return;
    }
    if (turn_add(r->agent->turn, TURN_API, find_root_session, root_session_found, i) < 0)
        root_session_found(i, -ENOMEM);
}

/* Whether the kernel names a host principal; else an error answer stands in r. */
static bool is_host_peer(struct request *r)
{
    const struct http_request *h = http_request_of(r->exchange);
    const char *why = NULL;
    if (!h->unix_peer)
        why = "a caller over TCP needs a token (header X-Vault-Token)";
    else if (peer_read(h->fd, &r->peer) < 0)
        why = "the kernel does not say who calls";
    else if (r->peer.foreign)
        why = "a caller from inside a container needs a token";
    if (why)
        (void)request_error(r, 403, "permission denied: %s", why);
    return !why;
}

void pipeline_identify(struct request *r, void (*then)(struct request *r))
{
    if (r->has_token || !is_host_peer(r)) {
        then(r);
        return;
    }
    struct identify *i = calloc(1, sizeof(*i));
    if (!i) {
        (void)request_error(r, 500, "the agent is out of memory");
        then(r);
        return;
    }
    *i = (struct identify){.request = r, .then = then};
    r->uid = r->peer.uid;
    identify_host(i);
}

/* --- In the turn
 * ---------------------------------------------------------------------------------- */

static int last_use_gone(const char *id, void *data)
{
    struct request *r = data;
    size_t n;
    return lease_revoke_token(r->agent->leases, id, "token used up", r->lease_ms, &n);
}

static int token_rows(struct request *r)
{
    int e = token_find(r->agent->vault, r->token_text, r->lease_ms, &r->token);
    if (e == TOKEN_E_NONE)
        return pipeline_refuse(
            request_error(r, 403, "permission denied: the token is unknown, expired or revoked"));
    if (e != 0)
        return e;
    if (r->token.has_uid && (!r->peer.known || r->peer.uid != r->token.uid)) {
        request_alert(r, "a token was used by another uid than it was issued to");
        return pipeline_refuse(
            request_error(r, 403, "permission denied: this token is bound to uid %u of this host",
                          (unsigned)r->token.uid));
    }
    mem_text(r->principal, sizeof(r->principal), "token:");
    mem_text(r->principal + 6, sizeof(r->principal) - 6, r->token.accessor);
    e = token_use(r->agent->vault, &r->token, &r->last_use);
    if (e == 0 && r->last_use)
        e = token_revoke(r->agent->vault, r->token.id, false, last_use_gone, r);
    return e;
}

/* The session as it is in this very turn: what is given out now must find its end with it. */
int pipeline_identity_rows(struct request *r)
{
    char id[SESSION_ID_MAX];
    bool as_root = r->has_session; /* a person only by that session, see above */
    if (r->has_token)
        return token_rows(r);
    if (r->peer.audit_session == PEER_NO_SESSION || (r->uid == 0 && !as_root))
        return 0;
    session_make_id(r->peer.audit_session, id);
    int e = session_get(r->agent->vault, id, &r->session);
    r->has_session = e == 0 && r->session.uid == r->uid && session_alive(&r->session);
    if (e >= 0 && as_root && !r->has_session)
        return pipeline_refuse(
            request_error(r, 403, "permission denied: your login session has just ended"));
    return e < 0 ? e : 0;
}
