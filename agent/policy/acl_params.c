/* Parameter constraints: allowed_parameters, denied_parameters, required_parameters. */
#include "policy/acl_rule.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/text.h"

/* A scalar as text, so that 5 and "5" are the same to a rule as they are to a field. */
struct scalar {
    const char *p;
    size_t n;
    char digits[40];
};

static bool scalar_of(const json_t *v, struct scalar *s)
{
    s->p = s->digits;
    switch (json_typeof(v)) {
    case JSON_STRING:
        s->p = json_string_value(v);
        break;
    case JSON_INTEGER:
        (void)snprintf(s->digits, sizeof(s->digits), "%" JSON_INTEGER_FORMAT,
                       json_integer_value(v));
        break;
    case JSON_REAL:
        (void)snprintf(s->digits, sizeof(s->digits), "%.17g", json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        s->p = json_is_true(v) ? "true" : "false";
        break;
    default:
        return false;
    }
    s->n = strlen(s->p);
    return true;
}

/* A '*' at either end stands for anything. */
static bool matches_glob(const char *glob, const char *s, size_t n)
{
    size_t len = strlen(glob);
    bool lead = len > 0 && glob[0] == '*';
    bool trail = len > 1 && glob[len - 1] == '*';

    if (len == 1 && lead)
        return true;
    glob += lead;
    len -= (size_t)lead + trail;
    if (n < len)
        return false;
    if (lead && trail)
        return len == 0 || memmem(s, n, glob, len) != NULL;
    if (!lead && !trail && n != len)
        return false;
    return len == 0 || memcmp(lead ? s + n - len : s, glob, len) == 0;
}

static bool listed(const json_t *list, const char *s, size_t n)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct scalar item;

        if (scalar_of(json_array_get(list, i), &item) && matches_glob(item.p, s, n))
            return true;
    }
    return false;
}

static bool listed_as_is(const json_t *list, const json_t *v)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), v))
            return true;
    }
    return false;
}

/* Whether any (or every) part between the commas is listed. Empty parts don't count. */
static bool parts_listed(const json_t *list, const struct scalar *s, bool every)
{
    const char *p = s->p, *end = s->p + s->n;
    bool seen = false;

    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end, *next = comma ? comma + 1 : end;

        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        if (stop > p) {
            seen = true;
            if (listed(list, p, (size_t)(stop - p)) != every)
                return !every;
        }
        p = next;
    }
    return every && seen;
}

static bool value_denied(const json_t *list, const json_t *v)
{
    struct scalar s;

    if (listed_as_is(list, v))
        return true;
    if (scalar_of(v, &s))
        return listed(list, s.p, s.n) || parts_listed(list, &s, false);
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (value_denied(list, json_array_get(v, i)))
            return true;
    }
    return false;
}

static bool value_allowed(const json_t *list, const json_t *v)
{
    struct scalar s;

    if (listed_as_is(list, v))
        return true;
    if (scalar_of(v, &s))
        return memchr(s.p, ',', s.n) ? parts_listed(list, &s, true) : listed(list, s.p, s.n);
    if (!json_is_array(v))
        return false;
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (!value_allowed(list, json_array_get(v, i)))
            return false;
    }
    return true;
}

/* --- One request -------------------------------------------------------------------------------
 */

/* Rules keep their keys in lower case and at most ACL_NAME_MAX long: longer ones match none. */
static bool lower_key(const char *key, char out[ACL_NAME_MAX + 1])
{
    if (strlen(key) > ACL_NAME_MAX)
        return false;
    (void)strcpy(out, key);
    text_lower(out);
    return true;
}

static bool key_denied(const struct acl_rule_params *p, const char *key, const json_t *v)
{
    const json_t *list = key ? json_object_get(p->denied, key) : NULL;

    if (json_object_get(p->denied, "*"))
        return true;
    return list && (json_array_size(list) == 0 || value_denied(list, v));
}

/* The value lists of one key in all rules, as if they were one. */
static bool key_allowed(const struct acl_result *r, const char *key, const json_t *v)
{
    bool constrained = false, named = false, any = false;

    for (size_t i = 0; i < r->n_params; i++) {
        const struct acl_rule_params *p = r->params[i];
        const json_t *list = key ? json_object_get(p->allowed, key) : NULL;

        if (!p->allowed)
            continue;
        constrained = true;
        any |= json_object_get(p->allowed, "*") != NULL;
        if (!list)
            continue;
        named = true;
        if (json_array_size(list) == 0 || value_allowed(list, v))
            return true;
    }
    return !constrained || (any && !named);
}

static int check_key(const struct acl_result *r, const char *key, const json_t *v, char *why,
                     size_t whylen)
{
    char lowered[ACL_NAME_MAX + 1];
    const char *low = lower_key(key, lowered) ? lowered : NULL;

    for (size_t i = 0; i < r->n_params; i++) {
        if (key_denied(r->params[i], low, v))
            return text_refuse(why, whylen, "parameter '%.64s' is denied by the policy", key);
    }
    if (!key_allowed(r, low, v))
        return text_refuse(why, whylen, "parameter '%.64s' is not allowed by the policy", key);
    return 0;
}

static bool has_key(json_t *body, const char *lowered)
{
    const char *key;
    json_t *v;

    json_object_foreach(body, key, v)
    {
        char low[ACL_NAME_MAX + 1];

        if (lower_key(key, low) && strcmp(low, lowered) == 0)
            return true;
    }
    return false;
}

static int check_required(const struct acl_result *r, json_t *body, char *why, size_t whylen)
{
    for (size_t i = 0; i < r->n_params; i++) {
        const struct acl_rule_params *p = r->params[i];

        for (size_t k = 0; k < json_array_size(p->required); k++) {
            const char *name = json_string_value(json_array_get(p->required, k));

            if (!has_key(body, name))
                return text_refuse(why, whylen, "parameter '%.64s' is required by the policy",
                                   name);
        }
    }
    return 0;
}

static int check_body(const struct acl_result *r, json_t *body, char *why, size_t whylen)
{
    const char *key;
    json_t *v;

    if (r->n_params > ACL_PARAMS_MAX)
        return text_refuse(why, whylen, "too many rules constrain the parameters of '%.256s'",
                           r->path);
    if (body && !json_is_object(body))
        return text_refuse(why, whylen, "the policy constrains the parameters of '%.256s'",
                           r->path);
    if (check_required(r, body, why, whylen) < 0)
        return -EINVAL;
    json_object_foreach(body, key, v)
    {
        if (check_key(r, key, v, why, whylen) < 0)
            return -EINVAL;
    }
    return 0;
}

int acl_check_params(const struct acl_result *r, const json_t *body, char *why, size_t whylen)
{
    if (r->n_params == 0)
        return 0;
    /* jansson's iteration takes no const; nothing is changed. */
    return check_body(r, (json_t *)(uintptr_t)body, why, whylen) < 0 ? -EACCES : 0;
}
