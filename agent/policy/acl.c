/* Asking policies: which pattern decides, and what it says. */
#include "policy/acl_rule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/text.h"

static const struct {
    enum acl_cap cap;
    const char *name;
} cap_names[] = {
    {ACL_CREATE, "create"}, {ACL_DELETE, "delete"}, {ACL_DENY, "deny"}, {ACL_LIST, "list"},
    {ACL_PATCH, "patch"},   {ACL_READ, "read"},     {ACL_SUDO, "sudo"}, {ACL_UPDATE, "update"},
};

const char *acl_cap_name(enum acl_cap cap)
{
    for (size_t i = 0; i < ARRAY_LEN(cap_names); i++) {
        if (cap_names[i].cap == cap)
            return cap_names[i].name;
    }
    return NULL;
}

json_t *acl_caps_json(unsigned caps)
{
    _cleanup_json_ json_t *names = json_array();

    if (caps == 0 || (caps & ACL_DENY))
        caps = ACL_DENY;
    for (size_t i = 0; names && i < ARRAY_LEN(cap_names); i++) {
        if ((caps & (unsigned)cap_names[i].cap) &&
            json_array_append_new(names, json_string(cap_names[i].name)) < 0)
            return NULL;
    }
    return json_incref(names);
}

const char *acl_name(const struct acl_policy *p)
{
    return p->name;
}

bool acl_denies(const struct acl_policy *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->rules[i].caps & ACL_DENY)
            return true;
    }
    return false;
}

/* --- Patterns ----------------------------------------------------------------------------------
 */

int acl_rule_order(const struct acl_rule *a, const struct acl_rule *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->pattern, b->pattern, a->len);
}

/* The five rules of "Priority matching" in Vault's documentation, in its order. */
int acl_rule_priority(const struct acl_rule *a, const struct acl_rule *b)
{
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    if (a->glob != b->glob)
        return a->glob ? -1 : 1;
    if (a->segments != b->segments)
        return a->segments > b->segments ? -1 : 1;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->pattern, b->pattern, a->len);
}

/* Both stand at the beginning of the pattern's first '+' segment. A '+' ends at the next slash, so
 * there is never a second way to try. */
static bool match_segments(const char *p, const char *p_end, bool glob, const char *s,
                           const char *s_end)
{
    bool begins = true;

    while (p < p_end) {
        if (begins && *p == '+' && (p + 1 == p_end || p[1] == '/')) {
            while (s < s_end && *s != '/')
                s++;
        } else {
            if (s == s_end || *s != *p)
                return false;
            s++;
        }
        begins = *p == '/';
        p++;
    }
    return glob || s == s_end;
}

static bool match_wild(const struct acl_rule *r, const char *path, size_t n)
{
    if (n < r->first || memcmp(r->pattern, path, r->first) != 0)
        return false;
    if (r->segments == 0)
        return true;
    return match_segments(r->pattern + r->first, r->pattern + r->len - r->glob, r->glob,
                          path + r->first, path + n);
}

/* The first of the policy's rules for exactly this path; n when there is none. */
static size_t find_exact(const struct acl_policy *p, const struct acl_rule *key)
{
    size_t low = 0, high = p->n_exact;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (acl_rule_order(&p->rules[mid], key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < p->n_exact && acl_rule_order(&p->rules[low], key) == 0 ? low : p->n;
}

/* --- Deciding ----------------------------------------------------------------------------------
 */

struct probe {
    const struct acl_use *uses;
    size_t n_uses;
    const char *path;
    size_t len;
};

static bool counts(const struct acl_use *use, const struct acl_rule *r)
{
    return !use->deny_only || (r->caps & ACL_DENY);
}

/* Unites one more rule of the deciding pattern with what there is. */
static void take(struct acl_result *out, const struct acl_policy *policy, const struct acl_rule *r)
{
    bool deny = r->caps & ACL_DENY;

    if (out->caps & ACL_DENY)
        return;
    if (!out->policy || deny) {
        out->policy = policy;
        out->path = r->text;
        out->rule = r;
    }
    out->caps = deny ? ACL_DENY : out->caps | r->caps;
    if (!deny && r->params) {
        if (out->n_params < ACL_PARAMS_MAX)
            out->params[out->n_params] = r->params;
        out->n_params++;
    }
}

static bool check_exact(const struct probe *q, struct acl_result *out)
{
    const struct acl_rule key = {.pattern = q->path, .len = (uint16_t)q->len};

    if (q->len > ACL_PATH_MAX)
        return false;
    for (size_t i = 0; i < q->n_uses; i++) {
        const struct acl_policy *p = q->uses[i].policy;

        for (size_t k = find_exact(p, &key);
             k < p->n_exact && acl_rule_order(&p->rules[k], &key) == 0; k++) {
            if (counts(&q->uses[i], &p->rules[k]))
                take(out, p, &p->rules[k]);
        }
    }
    return out->policy != NULL;
}

static bool check_wild(const struct probe *q, struct acl_result *out)
{
    const struct acl_rule *best = NULL;

    for (size_t i = 0; i < q->n_uses; i++) {
        const struct acl_policy *p = q->uses[i].policy;

        for (size_t k = p->n_exact; k < p->n; k++) {
            const struct acl_rule *r = &p->rules[k];
            int order = best ? acl_rule_priority(r, best) : 1;

            if (order < 0)
                break; /* the rest of this policy is lower still */
            if (!counts(&q->uses[i], r) || !match_wild(r, q->path, q->len))
                continue;
            if (order > 0) {
                *out = (struct acl_result){0};
                best = r;
            }
            take(out, p, r);
        }
    }
    return best != NULL;
}

void acl_check(const struct acl_use *uses, size_t n, const char *path, struct acl_result *out)
{
    const struct probe as_is = {uses, n, path, strlen(path)};
    bool lists = as_is.len > 1 && path[as_is.len - 1] == '/';
    const struct probe trimmed = {uses, n, path, as_is.len - lists};

    *out = (struct acl_result){0};
    if (check_exact(&as_is, out))
        return;
    if (!lists) {
        (void)check_wild(&as_is, out);
        return;
    }
    if (!check_exact(&trimmed, out)) {
        if (check_wild(&as_is, out) || !check_wild(&trimmed, out))
            return;
    }
    out->caps &= ACL_LIST | ACL_SUDO | ACL_DENY;
}

unsigned acl_rule_caps(const struct acl_policy *p, const struct acl_result *decided)
{
    const struct acl_rule *rule = decided->rule;
    unsigned caps = 0;

    if (!rule)
        return 0;
    if (acl_rule_is_exact(rule)) {
        for (size_t i = find_exact(p, rule);
             i < p->n_exact && acl_rule_order(&p->rules[i], rule) == 0; i++)
            caps |= p->rules[i].caps;
    } else {
        for (size_t i = p->n_exact; i < p->n; i++) {
            if (acl_rule_priority(&p->rules[i], rule) == 0)
                caps |= p->rules[i].caps;
        }
    }
    return caps & ACL_DENY ? (unsigned)ACL_DENY : caps;
}
