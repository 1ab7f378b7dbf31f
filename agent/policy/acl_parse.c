/* Reading policies. What is not understood is refused, never dropped. */
#include "policy/acl_rule.h"

#include <errno.h>
#include <string.h>

#include "base/hcl.h"
#include "policy/text.h"

#define NAME_CHARS "._@:/+-"

struct parse {
    struct acl_policy *policy;
    size_t room;           /* rules allocated */
    struct acl_rule *rule; /* the one being read */
    char *why;
    size_t whylen;
};

static void params_free(struct acl_rule_params *p)
{
    if (!p)
        return;
    json_decref(p->allowed);
    json_decref(p->denied);
    json_decref(p->required);
    free(p);
}

void acl_free(struct acl_policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        free(p->rules[i].text);
        params_free(p->rules[i].params);
    }
    free(p->rules);
    free(p);
}

static struct acl_rule_params *params_of(struct acl_rule *r)
{
    if (!r->params)
        r->params = calloc(1, sizeof(*r->params));
    return r->params;
}

/* --- What a path block may carry ---------------------------------------------------------------
 */

static int read_capabilities(struct parse *x, const char *field, const json_t *v)
{
    static const enum acl_cap all[] = {ACL_CREATE, ACL_READ, ACL_UPDATE, ACL_DELETE,
                                       ACL_LIST,   ACL_SUDO, ACL_PATCH,  ACL_DENY};

    if (!json_is_array(v))
        return text_refuse(x->why, x->whylen, "path '%.128s': %s must be a list", x->rule->text,
                           field);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *name = json_string_value(json_array_get(v, i));
        size_t k = 0;

        while (k < ARRAY_LEN(all) && (!name || strcmp(acl_cap_name(all[k]), name) != 0))
            k++;
        if (k == ARRAY_LEN(all))
            return text_refuse(x->why, x->whylen, "path '%.128s': unknown capability '%.32s'",
                               x->rule->text, name ? name : "(not a string)");
        x->rule->caps |= (uint8_t)all[k];
    }
    return 0;
}

/* The shorthand from before there were capabilities. */
static int read_shorthand(struct parse *x, const char *field, const json_t *v)
{
    static const struct {
        const char *name;
        unsigned caps;
    } words[] = {
        {"deny", ACL_DENY},
        {"read", ACL_READ | ACL_LIST},
        {"write", ACL_CREATE | ACL_READ | ACL_UPDATE | ACL_DELETE | ACL_LIST},
        {"sudo", ACL_CREATE | ACL_READ | ACL_UPDATE | ACL_DELETE | ACL_LIST | ACL_SUDO},
    };
    const char *word = json_string_value(v);

    for (size_t i = 0; word && i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].name, word) == 0) {
            x->rule->caps |= (uint8_t)words[i].caps;
            return 0;
        }
    }
    return text_refuse(x->why, x->whylen, "path '%.128s': %s must be read, write, sudo or deny",
                       x->rule->text, field);
}

/* A parameter's name in lower case; "*" only where it is allowed. */
static int read_key(const struct parse *x, const char *field, const char *key, bool star,
                    char out[ACL_NAME_MAX + 1])
{
    size_t n = strlen(key);

    if (n == 0 || n > ACL_NAME_MAX)
        return text_refuse(x->why, x->whylen, "path '%.128s': %s: a name of %zu bytes",
                           x->rule->text, field, n);
    if (strchr(key, '*') && !(star && n == 1))
        return text_refuse(x->why, x->whylen, "path '%.128s': %s: '*' in the name '%.64s'",
                           x->rule->text, field, key);
    memcpy(out, key, n + 1);
    text_lower(out);
    return 0;
}

static int add_values(const struct parse *x, const char *field, const char *key, json_t *values,
                      json_t *table)
{
    char low[ACL_NAME_MAX + 1];
    int r;

    r = read_key(x, field, key, true, low);
    if (r < 0)
        return r;
    if (!json_is_array(values))
        return text_refuse(x->why, x->whylen, "path '%.128s': %s: '%.64s' must be a list of values",
                           x->rule->text, field, key);
    if (strcmp(key, "*") == 0 && json_array_size(values) > 0)
        return text_refuse(x->why, x->whylen, "path '%.128s': %s: '*' takes only []", x->rule->text,
                           field);
    if (json_object_get(table, low))
        return text_refuse(x->why, x->whylen, "path '%.128s': %s: '%.64s' a second time",
                           x->rule->text, field, key);
    return json_object_set_nocheck(table, low, values) < 0 ? -ENOMEM : 0;
}

/* Written as `name = { … }` or as the block `name { … }`, which HCL reads as a list. */
static int read_table(const struct parse *x, const char *field, const json_t *v, json_t **out)
{
    json_t *from = json_is_array(v) && json_array_size(v) == 1
                       ? json_array_get(v, 0)
                       : (json_t *)(uintptr_t)v; /* jansson's iteration takes no const */
    _cleanup_json_ json_t *table = json_object();
    const char *key;
    json_t *values;

    if (!table)
        return -ENOMEM;
    if (!json_is_object(from))
        return text_refuse(x->why, x->whylen, "path '%.128s': %s must map names to lists",
                           x->rule->text, field);
    if (*out)
        return text_refuse(x->why, x->whylen, "path '%.128s': %s a second time", x->rule->text,
                           field);
    json_object_foreach(from, key, values)
    {
        int r = add_values(x, field, key, values, table);

        if (r < 0)
            return r;
    }
    *out = json_incref(table);
    return 0;
}

static int read_allowed(struct parse *x, const char *field, const json_t *v)
{
    struct acl_rule_params *p = params_of(x->rule);
    int r;

    if (!p)
        return -ENOMEM;
    r = read_table(x, field, v, &p->allowed);
    if (r == 0 && json_object_size(p->allowed) == 0)
        return text_refuse(x->why, x->whylen,
                           "path '%.128s': %s is empty; to allow none, deny \"*\"", x->rule->text,
                           field);
    return r;
}

static int read_denied(struct parse *x, const char *field, const json_t *v)
{
    struct acl_rule_params *p = params_of(x->rule);

    return p ? read_table(x, field, v, &p->denied) : -ENOMEM;
}

static int read_required(struct parse *x, const char *field, const json_t *v)
{
    struct acl_rule_params *p = params_of(x->rule);

    if (p && !p->required)
        p->required = json_array();
    if (!p || !p->required)
        return -ENOMEM;
    if (!json_is_array(v))
        return text_refuse(x->why, x->whylen, "path '%.128s': %s must be a list", x->rule->text,
                           field);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *name = json_string_value(json_array_get(v, i));
        char low[ACL_NAME_MAX + 1];
        int r = read_key(x, field, name ? name : "", false, low);

        if (r < 0)
            return r;
        if (json_array_append_new(p->required, json_string_nocheck(low)) < 0)
            return -ENOMEM;
    }
    return 0;
}

static const struct {
    const char *name;
    int (*read)(struct parse *x, const char *field, const json_t *v);
} fields[] = {
    {"capabilities", read_capabilities},    {"policy", read_shorthand},
    {"allowed_parameters", read_allowed},   {"denied_parameters", read_denied},
    {"required_parameters", read_required},
};

/* --- Path blocks -------------------------------------------------------------------------------
 */

static bool is_segment(const char *pattern, const char *plus, const char *end)
{
    return (plus == pattern || plus[-1] == '/') && (plus + 1 == end || plus[1] == '/');
}

/* Finds the wildcards. A '+' that isn't a whole segment is a plain character, as in Vault. */
static void survey(struct acl_rule *r)
{
    const char *p = r->pattern, *end;

    r->glob = p[r->len - 1] == '*';
    end = p + r->len - r->glob;
    r->first = (uint16_t)(end - p);
    for (const char *at = p; at < end; at++) {
        if (*at != '+' || !is_segment(p, at, end))
            continue;
        if (r->segments == 0)
            r->first = (uint16_t)(at - p);
        r->segments++;
    }
}

static int read_pattern(struct parse *x, const char *text)
{
    const char *pattern = text[0] == '/' ? text + 1 : text;
    size_t n = strlen(pattern);
    const char *star = strchr(pattern, '*');

    if (n == 0 || strlen(text) > ACL_PATH_MAX)
        return text_refuse(x->why, x->whylen, "a path of %zu bytes (1 to %d are possible)", n,
                           ACL_PATH_MAX);
    if (pattern[0] == '/')
        return text_refuse(x->why, x->whylen, "path '%.128s' begins with two slashes", text);
    if (star && star[1] != '\0')
        return text_refuse(x->why, x->whylen, "path '%.128s': '*' is possible at the end only",
                           text);
    if (strstr(pattern, "{{"))
        return text_refuse(x->why, x->whylen, "path '%.128s': templates are not supported", text);
    x->rule->text = mem_dup(text, strlen(text));
    if (!x->rule->text)
        return -ENOMEM;
    x->rule->pattern = x->rule->text + (pattern - text);
    x->rule->len = (uint16_t)n;
    survey(x->rule);
    return 0;
}

static int read_fields(struct parse *x, json_t *body)
{
    const char *key;
    json_t *v;

    json_object_foreach(body, key, v)
    {
        size_t i = 0;
        int r;

        while (i < ARRAY_LEN(fields) && strcmp(fields[i].name, key) != 0)
            i++;
        if (i == ARRAY_LEN(fields))
            return text_refuse(x->why, x->whylen, "path '%.128s': '%.64s' is not supported",
                               x->rule->text, key);
        r = fields[i].read(x, fields[i].name, v);
        if (r < 0)
            return r;
    }
    if (x->rule->caps == 0)
        return text_refuse(x->why, x->whylen, "path '%.128s' names no capability", x->rule->text);
    return 0;
}

static int grow(struct parse *x)
{
    size_t room = x->room ? 2 * x->room : 16;
    struct acl_rule *rules;

    if (x->policy->n < x->room)
        return 0;
    rules = reallocarray(x->policy->rules, room, sizeof(*rules));
    if (!rules)
        return -ENOMEM;
    x->policy->rules = rules;
    x->room = room;
    return 0;
}

static int read_rule(struct parse *x, const char *text, json_t *body)
{
    int r;

    if (x->policy->n == ACL_RULES_MAX)
        return text_refuse(x->why, x->whylen, "more than %d paths", ACL_RULES_MAX);
    if (!json_is_object(body))
        return text_refuse(x->why, x->whylen, "path '%.128s' is not a block", text);
    r = grow(x);
    if (r < 0)
        return r;
    x->rule = &x->policy->rules[x->policy->n++];
    *x->rule = (struct acl_rule){0};
    r = read_pattern(x, text);
    if (r == 0)
        r = read_fields(x, body);
    if (x->rule->caps & ACL_DENY)
        x->rule->caps = ACL_DENY;
    return r;
}

/* {"a/b": {…}, "c": {…}} or, of the same path twice in HCL, {"a/b": [{…}, {…}]}. */
static int read_paths(struct parse *x, json_t *paths)
{
    const char *text;
    json_t *body;

    if (!json_is_object(paths))
        return text_refuse(x->why, x->whylen, "\"path\" must be followed by a path and a block");
    json_object_foreach(paths, text, body)
    {
        size_t n = json_is_array(body) ? json_array_size(body) : 1;

        for (size_t i = 0; i < n; i++) {
            int r = read_rule(x, text, json_is_array(body) ? json_array_get(body, i) : body);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int read_document(struct parse *x, json_t *doc)
{
    const char *key;
    json_t *v;

    if (!json_is_object(doc))
        return text_refuse(x->why, x->whylen, "a policy is an object");
    json_object_foreach(doc, key, v)
    {
        size_t n = json_is_array(v) ? json_array_size(v) : 1;

        if (strcmp(key, "path") != 0)
            return text_refuse(x->why, x->whylen, "'%.64s' is not supported; only path blocks are",
                               key);
        for (size_t i = 0; i < n; i++) {
            int r = read_paths(x, json_is_array(v) ? json_array_get(v, i) : v);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* --- The whole policy --------------------------------------------------------------------------
 */

static int compare_rules(const void *pa, const void *pb)
{
    const struct acl_rule *a = pa, *b = pb;
    bool exact = acl_rule_is_exact(a);

    if (exact != acl_rule_is_exact(b))
        return exact ? -1 : 1;
    return exact ? acl_rule_order(a, b) : acl_rule_priority(b, a);
}

static void compile(struct acl_policy *p)
{
    if (p->n > 0)
        qsort(p->rules, p->n, sizeof(*p->rules), compare_rules);
    while (p->n_exact < p->n && acl_rule_is_exact(&p->rules[p->n_exact]))
        p->n_exact++;
    p->hash = text_hash(p->name);
}

static int read_text(const char *text, size_t n, json_t **doc, char *why, size_t whylen)
{
    int r = hcl_parse(text, n, doc, why, whylen);

    if (r == -EMSGSIZE)
        return text_refuse(why, whylen, "the policy is longer than %d bytes", HCL_TEXT_MAX);
    return r == -EBADMSG ? -EINVAL : r;
}

int acl_parse(const char *name, const char *text, size_t n, struct acl_policy **out, char *why,
              size_t whylen)
{
    _cleanup_(acl_freep) struct acl_policy *p = calloc(1, sizeof(*p));
    struct parse x = {.policy = p, .why = why, .whylen = whylen};
    _cleanup_json_ json_t *doc = NULL;
    int r;

    *out = NULL;
    if (!p)
        return -ENOMEM;
    if (!text_is_name(name, ACL_NAME_MAX, NAME_CHARS))
        return text_refuse(why, whylen, "a policy's name has 1 to %d characters of [a-z0-9%s]",
                           ACL_NAME_MAX, NAME_CHARS);
    memcpy(p->name, name, strlen(name));
    text_lower(p->name);
    r = read_text(text, n, &doc, why, whylen);
    if (r == 0)
        r = read_document(&x, doc);
    if (r < 0)
        return r;
    compile(p);
    *out = p;
    p = NULL;
    return 0;
}
