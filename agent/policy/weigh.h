/* The rules as one caller meets them: which bindings name the caller, what each still asks for, and
 * which policies that puts in force. Internal to policy/. */
#ifndef COUNTERSIGN_POLICY_WEIGH_H
#define COUNTERSIGN_POLICY_WEIGH_H

#include "policy/condition.h"

struct weigh_view {
    const struct binding *binding;
    const struct binding_principal *matched; /* NULL: the binding doesn't name the caller */
    unsigned failed;                         /* of those that do: the conditions not met */
};

struct weigh {
    const struct decide_rules *rules;
    struct condition_case asked; /* by whom, and for which service if any */
    struct weigh_view *views;    /* one for each binding, in their order */
    /* Finding policies by name: an open-addressed table of their numbers from 1 up. */
    uint32_t *slots;
    size_t n_slots;  /* a power of two; 0 until it is needed */
    uint8_t *levels; /* for each policy: enum below */
    struct acl_use *uses;
};

/* 0 or -ENOMEM. In either case weigh_clear() it. Everything given is borrowed. */
int weigh_init(struct weigh *w, const struct decide_rules *rules, const struct decide_facts *f,
               const char *service);
void weigh_clear(struct weigh *w);
#define _cleanup_weigh_ _cleanup_(weigh_clear)

/* Puts the policies of the bindings that name the caller into w->uses and sets *n: in full where no
 * condition fails but `forgiven` ones, else their denials only (rule 3). 0 or -ENOMEM. */
int weigh_policies(struct weigh *w, unsigned forgiven, size_t *n);
/* The policy a binding names, NULL when there is none; only after weigh_policies(). */
const struct acl_policy *weigh_find(const struct weigh *w, const struct binding_policy *name);

static inline bool weigh_satisfied(const struct weigh_view *v)
{
    return v->matched && v->failed == 0;
}

/* Whether nothing but mfa is missing. */
static inline bool weigh_lacks_mfa(const struct weigh_view *v)
{
    return v->matched && v->failed == BINDING_MFA;
}

#endif
