#include "policy/weigh.h"

#include <errno.h>
#include <string.h>

#include "policy/acl_rule.h"
#include "policy/text.h"

enum level { LEVEL_NONE, LEVEL_DENY_ONLY, LEVEL_FULL };

/* --- Principals --------------------------------------------------------------------------------
 */

/* The caller's names, hashed once for all bindings. */
struct caller {
    const struct decide_facts *facts;
    uint64_t user;
    uint64_t *groups;
};

static bool in_group(const struct caller *c, const struct binding_principal *p)
{
    for (size_t i = 0; i < c->facts->n_groups; i++) {
        if (c->groups[i] == p->hash && strcmp(c->facts->groups[i], p->name) == 0)
            return true;
    }
    return false;
}

static bool names(const struct binding_principal *p, const struct caller *c)
{
    const struct decide_facts *f = c->facts;

    switch (p->kind) {
    case BINDING_ANYBODY:
        return f->user || f->has_uid;
    case BINDING_USER:
        return f->user && p->hash == c->user && strcmp(p->name, f->user) == 0;
    case BINDING_GROUP:
        return f->user && in_group(c, p);
    case BINDING_UID:
        return f->has_uid && f->uid == p->uid;
    }
    return false;
}

static const struct binding_principal *match(const struct binding *b, const struct caller *c)
{
    for (size_t i = 0; i < b->n_principals; i++) {
        if (names(&b->principals[i], c))
            return &b->principals[i];
    }
    return NULL;
}

static int hash_caller(struct caller *c, const struct decide_facts *f)
{
    *c = (struct caller){.facts = f, .user = f->user ? text_hash(f->user) : 0};
    c->groups = calloc(f->n_groups + 1, sizeof(*c->groups));
    if (!c->groups)
        return -ENOMEM;
    for (size_t i = 0; i < f->n_groups; i++)
        c->groups[i] = text_hash(f->groups[i]);
    return 0;
}

int weigh_init(struct weigh *w, const struct decide_rules *rules, const struct decide_facts *f,
               const char *service)
{
    struct caller c;

    *w = (struct weigh){.rules = rules};
    condition_case_init(&w->asked, f, service);
    w->views = calloc(rules->n_bindings + 1, sizeof(*w->views));
    if (!w->views || hash_caller(&c, f) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < rules->n_bindings; i++) {
        struct weigh_view *v = &w->views[i];

        v->binding = rules->bindings[i];
        v->matched = match(v->binding, &c);
        if (v->matched)
            v->failed = condition_failed(v->binding, &w->asked);
    }
    free(c.groups);
    return 0;
}

void weigh_clear(struct weigh *w)
{
    free(w->views);
    free(w->slots);
    free(w->levels);
    free(w->uses);
    *w = (struct weigh){0};
}

/* --- Policies ----------------------------------------------------------------------------------
 */

/* The slot of this name: where it stands, or the free one where it would. */
static size_t slot_of(const struct weigh *w, uint64_t hash, const char *name)
{
    size_t at = (size_t)(hash ^ hash >> 32) & (w->n_slots - 1);

    while (w->slots[at] != 0) {
        const struct acl_policy *p = w->rules->policies[w->slots[at] - 1];

        if (p->hash == hash && strcmp(p->name, name) == 0)
            break;
        at = (at + 1) & (w->n_slots - 1);
    }
    return at;
}

static int index_policies(struct weigh *w)
{
    size_t n = w->rules->n_policies, slots = 8;

    if (n > UINT32_MAX / 4)
        return -ENOMEM;
    while (slots < 2 * n)
        slots *= 2;
    w->slots = calloc(slots, sizeof(*w->slots));
    w->levels = calloc(n + 1, sizeof(*w->levels));
    w->uses = calloc(n + 1, sizeof(*w->uses));
    if (!w->slots || !w->levels || !w->uses)
        return -ENOMEM;
    w->n_slots = slots;
    for (size_t i = 0; i < n; i++) {
        const struct acl_policy *p = w->rules->policies[i];
        size_t at = slot_of(w, p->hash, p->name);

        if (w->slots[at] == 0)
            w->slots[at] = (uint32_t)i + 1;
    }
    return 0;
}

const struct acl_policy *weigh_find(const struct weigh *w, const struct binding_policy *name)
{
    uint32_t number = w->slots[slot_of(w, name->hash, name->name)];

    return number ? w->rules->policies[number - 1] : NULL;
}

static void raise_levels(struct weigh *w, const struct weigh_view *v, uint8_t level)
{
    for (size_t i = 0; i < v->binding->n_policies; i++) {
        const struct binding_policy *p = &v->binding->policies[i];
        uint32_t number = w->slots[slot_of(w, p->hash, p->name)];

        if (number && w->levels[number - 1] < level)
            w->levels[number - 1] = level;
    }
}

int weigh_policies(struct weigh *w, unsigned forgiven, size_t *n)
{
    *n = 0;
    if (w->n_slots == 0 && index_policies(w) < 0)
        return -ENOMEM;
    memset(w->levels, LEVEL_NONE, w->rules->n_policies);
    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        const struct weigh_view *v = &w->views[i];

        if (v->matched)
            raise_levels(w, v, v->failed & ~forgiven ? LEVEL_DENY_ONLY : LEVEL_FULL);
    }
    for (size_t i = 0; i < w->rules->n_policies; i++) {
        if (w->levels[i] != LEVEL_NONE)
            w->uses[(*n)++] = (struct acl_use){.policy = w->rules->policies[i],
                                               .deny_only = w->levels[i] == LEVEL_DENY_ONLY};
    }
    return 0;
}
