#include "policy/decide.h"

#include <errno.h>
#include <string.h>

#include "policy/acl_rule.h"
#include "policy/explain.h"

_Static_assert(BINDING_NAME_MAX <= ACL_NAME_MAX, "a decision holds a binding's name");

void decision_clear(struct decision *d)
{
    json_decref(d->trace);
    *d = (struct decision){0};
}

static void note(char *out, const char *name)
{
    memcpy(out, name, strlen(name) + 1);
}

/* --- PAM ---------------------------------------------------------------------------------------
 */

/* What the bindings say of a service. */
struct service_case {
    bool named;                         /* by any binding, whoever it is for */
    const struct weigh_view *satisfied; /* the first one */
    const struct weigh_view *challenge; /* the best of those that lack mfa only */
    const struct weigh_view *blocked;   /* the first of those that lack something else */
};

/* Which of two bindings to ask a factor for: first one that the person can prove at all, then the
 * one whose proof lasts longest. */
static bool rather(const struct weigh_view *a, const struct weigh_view *b, unsigned enrolled)
{
    bool can_a = a->binding->mfa.factors & enrolled, can_b = b->binding->mfa.factors & enrolled;
    int64_t age_a = a->binding->mfa.max_age, age_b = b->binding->mfa.max_age;

    if (can_a != can_b)
        return can_a;
    if (age_b == 0)
        return false;
    return age_a == 0 || age_a > age_b;
}

static struct service_case survey_service(const struct weigh *w)
{
    struct service_case c = {0};

    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        const struct weigh_view *v = &w->views[i];

        if (!json_has_str(v->binding->services, w->asked.service))
            continue;
        c.named = true;
        if (!v->matched)
            continue;
        if (weigh_satisfied(v))
            c.satisfied = c.satisfied ? c.satisfied : v;
        else if (!weigh_lacks_mfa(v))
            c.blocked = c.blocked ? c.blocked : v;
        else if (!c.challenge || rather(v, c.challenge, w->asked.facts->enrolled))
            c.challenge = v;
    }
    return c;
}

/* Rule 5. */
static void judge_service(const struct weigh *w, enum decide_hook hook, struct decision *d,
                          const struct service_case *c)
{
    bool unbound_exempt =
        !c->named && hook == DECIDE_PAM_AUTH && w->asked.facts->exempt && w->asked.facts->user;

    if (c->satisfied || unbound_exempt) {
        d->verdict = DECIDE_ALLOW;
    } else if (c->named && c->challenge) {
        d->verdict = DECIDE_CHALLENGE;
        d->factors = c->challenge->binding->mfa.factors;
    } else if (!c->named && hook == DECIDE_PAM_AUTH) {
        d->verdict = DECIDE_CHALLENGE;
        d->factors = FACTOR_ALL;
    } else if (!c->named) {
        d->verdict = DECIDE_IGNORE;
    }
}

static void explain_service(const struct weigh *w, struct decision *d, const struct service_case *c)
{
    const struct weigh_view *v = c->satisfied   ? c->satisfied
                                 : c->challenge ? c->challenge
                                                : c->blocked;

    if (v)
        note(d->binding, v->binding->name);
    if (!c->named)
        explain_service_unbound(d, w);
    else if (!v)
        explain_service_strange(d, w);
    else if (v == c->satisfied)
        explain_service_allowed(d, w, v);
    else if (v == c->challenge)
        explain_service_challenge(d, w, v);
    else
        explain_blocked(d, w, v);
}

void decide_pam(const struct decide_rules *rules, const struct decide_facts *f, const char *service,
                enum decide_hook hook, bool trace, struct decision *d)
{
    _cleanup_weigh_ struct weigh w = {0};
    struct service_case c;

    *d = (struct decision){0};
    if (!service) {
        note(d->why, "denied: no service is named");
        return;
    }
    if (weigh_init(&w, rules, f, service) < 0) {
        explain_memory(d);
        return;
    }
    c = survey_service(&w);
    judge_service(&w, hook, d, &c);
    explain_service(&w, d, &c);
    if (trace)
        d->trace = explain_trace(&w, d);
}

/* --- API paths ---------------------------------------------------------------------------------
 */

struct request {
    const char *path;
    unsigned need;
    bool need_sudo;
};

static bool grants(const struct acl_result *r, const struct request *q)
{
    if ((r->caps & ACL_DENY) || (q->need_sudo && !(r->caps & ACL_SUDO)))
        return false;
    return (r->caps & q->need) != 0;
}

/* The binding's first policy that gives, at the pattern that decided, one of what is needed. */
static const struct acl_policy *giver(const struct weigh *w, const struct binding *b,
                                      const struct acl_result *r, const struct request *q)
{
    for (size_t i = 0; i < b->n_policies; i++) {
        const struct acl_policy *p = weigh_find(w, &b->policies[i]);

        if (p && (acl_rule_caps(p, r) & r->caps & q->need & ~(unsigned)ACL_DENY))
            return p;
    }
    return NULL;
}

/* Rule 4: the largest max_ttl. One that is named comes before none, since a limit that somebody
 * wrote down is not lifted by a binding that says nothing. */
static bool lasts_longer(const struct binding *a, const struct binding *b)
{
    if (a->max_ttl != b->max_ttl)
        return a->max_ttl > b->max_ttl;
    return a->ttl > b->ttl;
}

static const struct weigh_view *choose_giver(const struct weigh *w, const struct acl_result *r,
                                             const struct request *q,
                                             const struct acl_policy **policy)
{
    const struct weigh_view *best = NULL;

    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        const struct weigh_view *v = &w->views[i];
        const struct acl_policy *p;

        if (!weigh_satisfied(v) || (best && !lasts_longer(v->binding, best->binding)))
            continue;
        p = giver(w, v->binding, r, q);
        if (p) {
            best = v;
            *policy = p;
        }
    }
    return best;
}

/* Whether it is forgiven conditions alone that this binding lacks. */
static bool lacks_only(const struct weigh_view *v, unsigned forgiven)
{
    return v->matched && v->failed != 0 && (v->failed & ~forgiven) == 0;
}

static bool any_lacks_only(const struct weigh *w, unsigned forgiven)
{
    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        if (lacks_only(&w->views[i], forgiven))
            return true;
    }
    return false;
}

/* What would be if the forgiven conditions were met: one of the bindings that would then give the
 * path (of several the one to prove a factor for); NULL if the path would stay closed. */
static const struct weigh_view *find_blocked(struct weigh *w, const struct request *q,
                                             unsigned forgiven)
{
    const struct weigh_view *best = NULL;
    struct acl_result r;
    size_t n;

    if (!any_lacks_only(w, forgiven) || weigh_policies(w, forgiven, &n) < 0)
        return NULL;
    acl_check(w->uses, n, q->path, &r);
    if (!grants(&r, q))
        return NULL;
    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        const struct weigh_view *v = &w->views[i];

        if (lacks_only(v, forgiven) && (!best || rather(v, best, w->asked.facts->enrolled)) &&
            giver(w, v->binding, &r, q))
            best = v;
    }
    return best;
}

static void note_rule(struct decision *d, const char *policy)
{
    note(d->policy, policy);
    note(d->rule, d->acl.path);
}

/* Which binding brought in the policy that denied. */
static void note_denier(const struct weigh *w, struct decision *d)
{
    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        const struct binding *b = w->views[i].binding;

        for (size_t k = 0; w->views[i].matched && k < b->n_policies; k++) {
            if (weigh_find(w, &b->policies[k]) == d->acl.policy) {
                note(d->binding, b->name);
                return;
            }
        }
    }
}

/* Why the path is closed, beginning with what the caller can do about it. */
static void explain_closed(struct weigh *w, const struct request *q, struct decision *d)
{
    const unsigned all = BINDING_MFA | BINDING_FROM | BINDING_HOURS | BINDING_ASSURANCE;
    const struct weigh_view *v = find_blocked(w, q, BINDING_MFA);

    d->mfa_would_help = v != NULL;
    if (!v && !(d->acl.caps & ACL_DENY))
        v = find_blocked(w, q, all);
    if (v) {
        note(d->binding, v->binding->name);
        explain_blocked(d, w, v);
    } else if (!d->acl.policy) {
        explain_path_uncovered(d, w, q->path);
    } else {
        bool only_sudo = (d->acl.caps & q->need) != 0;

        note_rule(d, acl_name(d->acl.policy));
        note_denier(w, d);
        if (d->acl.caps & ACL_DENY)
            explain_path_denied(d);
        else
            explain_path_lacks(d, only_sudo ? (unsigned)ACL_SUDO : q->need);
    }
}

static void judge_path(struct weigh *w, const struct request *q, struct decision *d)
{
    const struct acl_policy *policy = NULL;
    const struct weigh_view *v = NULL;
    size_t n;

    if (weigh_policies(w, 0, &n) < 0) {
        explain_memory(d);
        return;
    }
    acl_check(w->uses, n, q->path, &d->acl);
    if (grants(&d->acl, q))
        v = choose_giver(w, &d->acl, q, &policy);
    if (!v) {
        explain_closed(w, q, d);
        return;
    }
    d->verdict = DECIDE_ALLOW;
    d->ttl = v->binding->ttl;
    d->max_ttl = v->binding->max_ttl;
    note(d->binding, v->binding->name);
    note_rule(d, acl_name(policy));
    explain_path_allowed(d);
}

void decide_path(const struct decide_rules *rules, const struct decide_facts *f, const char *path,
                 unsigned need, bool need_sudo, bool trace, struct decision *d)
{
    const struct request q = {.path = path, .need = need, .need_sudo = need_sudo};
    _cleanup_weigh_ struct weigh w = {0};

    *d = (struct decision){0};
    if (weigh_init(&w, rules, f, NULL) < 0) {
        explain_memory(d);
        return;
    }
    judge_path(&w, &q, d);
    if (trace)
        d->trace = explain_trace(&w, d);
}

/* --- What is in force --------------------------------------------------------------------------
 */

/* Adds a binding's policies that aren't in the list yet. denials: only those that deny something,
 * as
 * "!name". */
static int add_policies(const struct weigh *w, const struct binding *b, bool denials, json_t *seen,
                        json_t *names)
{
    for (size_t k = 0; k < b->n_policies; k++) {
        const char *name = b->policies[k].name;
        const struct acl_policy *policy = denials ? weigh_find(w, &b->policies[k]) : NULL;

        if (json_object_get(seen, name) || (denials && (!policy || !acl_denies(policy))))
            continue;
        if (json_object_set_new_nocheck(seen, name, json_true()) < 0 ||
            json_array_append_new(names, json_sprintf("%s%s", denials ? "!" : "", name)) < 0)
            return -ENOMEM;
    }
    return 0;
}

json_t *decide_policies(const struct decide_rules *rules, const struct decide_facts *f)
{
    _cleanup_json_ json_t *names = json_array();
    _cleanup_json_ json_t *seen = json_object();
    _cleanup_weigh_ struct weigh w = {0};
    size_t n;

    if (!names || !seen || weigh_init(&w, rules, f, NULL) < 0 || weigh_policies(&w, 0, &n) < 0)
        return NULL;
    for (int denials = 0; denials < 2; denials++) {
        for (size_t i = 0; i < rules->n_bindings; i++) {
            const struct weigh_view *v = &w.views[i];

            if (v->matched && weigh_satisfied(v) != (denials != 0) &&
                add_policies(&w, v->binding, denials != 0, seen, names) < 0)
                return NULL;
        }
    }
    return json_incref(names);
}

unsigned decide_caps(const struct decide_rules *rules, const struct decide_facts *f,
                     const char *path)
{
    _cleanup_weigh_ struct weigh w = {0};
    struct acl_result r;
    size_t n;

    if (weigh_init(&w, rules, f, NULL) < 0 || weigh_policies(&w, 0, &n) < 0)
        return 0;
    acl_check(w.uses, n, path, &r);
    return r.caps;
}
