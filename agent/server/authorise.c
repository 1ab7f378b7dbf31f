/* Stage 3: may they. Deny is what a zeroed decision says. */
#include <string.h>

#include "server/pipeline.h"
#include "server/polling.h"
#include "server/rules.h"

static void set_why(struct decision *d, const char *text)
{
    mem_text(d->why, sizeof(d->why), text);
}

static int decide_token(struct request *r, unsigned caps, bool sudo)
{
    struct decision *d = &r->decision;
    if (r->token.root) {
        d->verdict = DECIDE_ALLOW;
        set_why(d, "allowed: the token has the root policy");
        return 0;
    }
    int e = request_token_check(r, r->path, &d->acl);
    if (e < 0)
        return e;
    bool granted =
        !(d->acl.caps & ACL_DENY) && (d->acl.caps & caps) && (!sudo || (d->acl.caps & ACL_SUDO));
    if (d->acl.policy)
        mem_text(d->policy, sizeof(d->policy), acl_name(d->acl.policy));
    if (d->acl.path)
        mem_text(d->rule, sizeof(d->rule), d->acl.path);
    set_why(d, granted ? "allowed by the token's policies"
                       : "denied: no policy of the token allows it");
    if (granted)
        d->verdict = DECIDE_ALLOW;
    return 0;
}

static int decide(struct request *r, unsigned caps, bool sudo)
{
    if (r->has_token)
        return decide_token(r, caps, sudo);
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    int e = request_facts(r, &f, proofs);
    if (e < 0)
        return e;
    decide_path(rules_view(r->agent->rules), &f, r->path, caps, sudo, false, &r->decision);
    return 0;
}

/* The policy's allowed_parameters and their like. */
static bool params_fine(struct request *r, char *why, size_t whylen)
{
    if (!r->decision.acl.policy || !(r->verb & (VERB_PUT | VERB_PATCH)))
        return true;
    return acl_check_params(&r->decision.acl, r->body, why, whylen) == 0;
}

/* What everybody may do for themselves can still be denied them by a policy. 0, 1, -errno. */
static int admit_self(struct request *r)
{
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    struct acl_result acl = {0};
    int e = 0;
    if (r->has_token && !r->token.root)
        e = request_token_check(r, r->path, &acl);
    else if (!r->has_token && (e = request_facts(r, &f, proofs)) == 0)
        acl.caps = decide_caps(rules_view(r->agent->rules), &f, r->path);
    if (e < 0)
        return e;
    r->allowed = !(acl.caps & ACL_DENY);
    if (!r->allowed && r->locked[0])
        return pipeline_refuse(request_error(r, 403, "permission denied: you are %s", r->locked));
    return r->allowed ? 0
                      : pipeline_refuse(request_error(
                            r, 403, "permission denied: a policy denies %.200s", r->path));
}

static int deny(struct request *r)
{
    const char *hint = "";
    if (r->decision.mfa_would_help)
        hint = "; prove a second factor first, for example with: sudo -v";
    return pipeline_refuse(
        request_error(r, 403, "permission denied: %s%s",
                      r->decision.why[0] ? r->decision.why : "no rule allows this", hint));
}

int pipeline_authorise(struct request *r)
{
    unsigned flags = r->route->flags, caps = r->route->caps;
    bool sudo = flags & ROUTE_SUDO;
    if (flags & ROUTE_ROOT_PEER) {
        if (!r->root_peer)
            return pipeline_refuse(request_error(r, 403,
                                                 "only root may do this, on this host, through the "
                                                 "Unix socket"));
        request_alert(r, "root used a root-only route");
        r->allowed = true;
        return 0;
    }
    if (flags & ROUTE_SELF)
        return admit_self(r);
    int e = flags & ROUTE_ENGINE ? pipeline_engine_caps(r, &caps, &sudo) : 0;
    if (e == 0 && caps)
        e = decide(r, caps, sudo);
    if (e != 0)
        return e;
    r->allowed = r->decision.verdict == DECIDE_ALLOW;
    if (r->decision.locked) /* not even for themselves, or as root on their behalf */
        return deny(r);
    if (!r->allowed && (flags & ROUTE_ROOT_OR_CAP) && r->root_peer && !r->has_token) {
        bool looks = (flags & ROUTE_WATCH) && (flags & ROUTE_QUIET);
        if (!looks && !polling_again(r))
            request_alert(r, "root used a route without a binding");
        r->allowed = true;
        return 0;
    }
    char why[256];
    bool fine = r->allowed && params_fine(r, why, sizeof(why));
    if (r->allowed && !fine && !(flags & ROUTE_SELF_OR_CAP))
        return pipeline_refuse(request_error(r, 403, "permission denied: %s", why));
    r->allowed = fine;
    return fine || (flags & ROUTE_SELF_OR_CAP) ? 0 : deny(r);
}
