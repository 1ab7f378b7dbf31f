#include "policy/binding_parts.h"

#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "policy/text.h"

#define NAME_CHARS "._@+-"
#define POLICY_CHARS "._@:/+-"

struct parse {
    const json_t *in; /* checked and with lists as arrays */
    struct binding *b;
    bool (*zone_known)(const char *zone);
    char *why;
    size_t whylen;
};

/* --- Life --------------------------------------------------------------------------------------
 */

void binding_free(struct binding *b)
{
    if (!b)
        return;
    json_decref(b->object);
    free(b->principals);
    free(b->policies);
    free(b->from);
    free(b->hours);
    free(b);
}

const char *binding_name(const struct binding *b)
{
    return b->name;
}

json_t *binding_to_json(const struct binding *b)
{
    return json_deep_copy(b->object);
}

/* --- Lists -------------------------------------------------------------------------------------
 */

/* Adds the string to the normalised list under `field`, once; *kept is the list's own copy, NULL
 * when it was there already. */
static int keep(struct binding *b, const char *field, const char *s, const char **kept)
{
    json_t *list = json_object_get(b->object, field);
    json_t *item;

    *kept = NULL;
    if (!list) {
        list = json_array();
        if (json_object_set_new_nocheck(b->object, field, list) < 0)
            return -ENOMEM;
    }
    if (!s || json_has_str(list, s))
        return 0;
    item = json_string(s);
    if (json_array_append_new(list, item) < 0)
        return -ENOMEM;
    *kept = json_string_value(item);
    return 0;
}

static int read_uid(const char *digits, uint32_t *uid)
{
    uint64_t v = 0;

    if (digits[0] == '\0' || (digits[0] == '0' && digits[1] != '\0'))
        return -EINVAL;
    for (; *digits; digits++) {
        if (*digits < '0' || *digits > '9')
            return -EINVAL;
        v = v * 10 + (uint64_t)(*digits - '0');
        if (v >= UINT32_MAX) /* (uid_t)-1 is nobody's */
            return -EINVAL;
    }
    *uid = (uint32_t)v;
    return 0;
}

static int check_account(const struct parse *x, const char *principal, const char *name)
{
    _cleanup_buf_ struct buf shown = BUF_INIT(BINDING_PRINCIPAL_MAX);
    size_t n = strlen(name);

    if (n == 0 || n > BINDING_PRINCIPAL_MAX)
        return text_refuse(x->why, x->whylen, "principal '%.64s': a name of %zu bytes", principal,
                           n);
    if (strpbrk(name, ":*,"))
        return text_refuse(x->why, x->whylen,
                           "principal '%.64s': ':', '*' and ',' are not possible in a name",
                           principal);
    encode_printable(&shown, name, shown.max);
    if (buf_error(&shown) < 0)
        return buf_error(&shown);
    if (strcmp(buf_str(&shown), name) != 0 || name[0] == ' ' || name[n - 1] == ' ')
        return text_refuse(x->why, x->whylen, "principal '%.64s': the name isn't printable",
                           principal);
    return 0;
}

static int read_principal(const struct parse *x, const char *text, struct binding_principal *p)
{
    static const struct {
        const char *prefix;
        enum binding_principal_kind kind;
    } kinds[] = {{"user:", BINDING_USER}, {"group:", BINDING_GROUP}, {"uid:", BINDING_UID}};

    p->text = p->name = text;
    if (strcmp(text, "*") == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = strlen(kinds[i].prefix);

        if (strncmp(text, kinds[i].prefix, n) != 0)
            continue;
        p->kind = kinds[i].kind;
        p->name = text + n;
        p->hash = text_hash(p->name);
        if (p->kind != BINDING_UID)
            return check_account(x, text, p->name);
        if (read_uid(p->name, &p->uid) == 0)
            return 0;
        return text_refuse(x->why, x->whylen, "principal '%.64s': no user id", text);
    }
    return text_refuse(x->why, x->whylen,
                       "principal '%.64s': user:NAME, group:NAME, uid:N or * is expected", text);
}

static int read_principals(struct parse *x)
{
    const json_t *list = json_object_get(x->in, "principals");
    size_t n = json_array_size(list);

    x->b->principals = calloc(n, sizeof(*x->b->principals));
    if (!x->b->principals)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct binding_principal *p = &x->b->principals[x->b->n_principals];
        const char *text;
        int r = keep(x->b, "principals", json_string_value(json_array_get(list, i)), &text);

        if (r < 0)
            return r;
        if (!text)
            continue;
        r = read_principal(x, text, p);
        if (r < 0)
            return r;
        x->b->n_principals++;
    }
    return 0;
}

static int read_services(struct parse *x)
{
    const json_t *list = json_object_get(x->in, "services");
    const char *kept;
    int r = keep(x->b, "services", NULL, &kept);

    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));

        if (!text_is_name(name, BINDING_SERVICE_MAX, "._-"))
            return text_refuse(x->why, x->whylen,
                               "service '%.64s': a name has 1 to %d of [A-Za-z0-9._-]", name,
                               BINDING_SERVICE_MAX);
        r = keep(x->b, "services", name, &kept);
    }
    x->b->services = json_object_get(x->b->object, "services");
    return r;
}

static int read_policy(struct parse *x, const char *given)
{
    char name[BINDING_NAME_MAX + 1];
    struct binding_policy *p = &x->b->policies[x->b->n_policies];
    int r;

    if (!text_is_name(given, BINDING_NAME_MAX, POLICY_CHARS))
        return text_refuse(x->why, x->whylen, "policy '%.64s': a name has 1 to %d of [a-z0-9%s]",
                           given, BINDING_NAME_MAX, POLICY_CHARS);
    memcpy(name, given, strlen(given) + 1);
    text_lower(name);
    if (strcmp(name, "root") == 0)
        return text_refuse(x->why, x->whylen, "the policy 'root' can't be bound");
    r = keep(x->b, "policies", name, &p->name);
    if (r < 0 || !p->name)
        return r;
    p->hash = text_hash(p->name);
    x->b->n_policies++;
    return 0;
}

static int read_policies(struct parse *x)
{
    const json_t *list = json_object_get(x->in, "policies");
    size_t n = json_array_size(list);
    const char *kept;
    int r = keep(x->b, "policies", NULL, &kept);

    x->b->policies = calloc(n + 1, sizeof(*x->b->policies));
    if (!x->b->policies)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_policy(x, json_string_value(json_array_get(list, i)));
    return r;
}

/* --- Conditions --------------------------------------------------------------------------------
 */

static int refuse_nulls(const struct parse *x, const json_t *obj)
{
    json_t *members = (json_t *)(uintptr_t)obj; /* jansson's iteration takes no const */
    const char *key;
    json_t *v;

    json_object_foreach(members, key, v)
    {
        if (json_is_null(v))
            return text_refuse(x->why, x->whylen, "field '%.64s' is null: leave it out", key);
    }
    return 0;
}

static int read_factors(const struct parse *x, const json_t *list, unsigned *factors)
{
    *factors = list ? 0 : FACTOR_ALL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        unsigned f = factor_from_name(name);

        if (f == 0)
            return text_refuse(x->why, x->whylen, "mfa: unknown factor '%.32s'", name);
        *factors |= f;
    }
    return 0;
}

static int read_scope(const struct parse *x, const char *name, enum binding_scope *scope)
{
    *scope = name && strcmp(name, "source") == 0 ? BINDING_SCOPE_SOURCE : BINDING_SCOPE_SESSION;
    if (name && *scope == BINDING_SCOPE_SESSION && strcmp(name, "session") != 0)
        return text_refuse(x->why, x->whylen, "mfa: scope must be \"session\" or \"source\"");
    return 0;
}

/* A proof from elsewhere than the session is only good where no session exists yet: at sshd. */
static int check_source_scope(const struct parse *x)
{
    const char *service = json_string_value(json_array_get(x->b->services, 0));

    if (x->b->mfa.max_age == 0)
        return text_refuse(x->why, x->whylen, "mfa: scope \"source\" needs a max_age");
    if (json_array_size(x->b->services) != 1 || strcmp(service, "sshd") != 0 ||
        x->b->n_policies > 0)
        return text_refuse(x->why, x->whylen,
                           "mfa: scope \"source\" is for the one service sshd, without policies");
    return 0;
}

static int write_mfa(const struct parse *x)
{
    const struct binding_mfa *m = &x->b->mfa;
    const char *scope = m->scope == BINDING_SCOPE_SOURCE ? "source" : "session";
    _cleanup_json_ json_t *names = json_array();
    json_t *out = json_object();

    if (json_object_set_new(x->b->object, "mfa", out) < 0)
        return -ENOMEM;
    for (unsigned f = 1; f <= FACTOR_ALL; f <<= 1) {
        if ((m->factors & f) &&
            json_array_append_new(names, json_string(factor_name((enum factor)f))) < 0)
            return -ENOMEM;
    }
    if (json_object_set(out, "factors", names) < 0 ||
        (m->max_age > 0 && json_set_int(out, "max_age", m->max_age) < 0))
        return -ENOMEM;
    return json_set_str(out, "scope", scope);
}

static int read_mfa(struct parse *x)
{
    static const struct json_field schema[] = {
        {.name = "factors", .kind = JSON_KIND_STRINGS, .min = 1, .max = BINDING_ITEMS_MAX},
        {.name = "max_age", .kind = JSON_KIND_DURATION, .min = 1},
        {.name = "scope", .kind = JSON_KIND_STRING},
        {.name = NULL},
    };
    struct binding_mfa *m = &x->b->mfa;
    json_t *v = json_object_get(x->in, "mfa");
    int r = 0;

    if (json_is_true(v))
        *m = (struct binding_mfa){.factors = FACTOR_ALL};
    else if (!json_is_object(v) || json_object_size(v) == 0)
        return text_refuse(x->why, x->whylen,
                           "mfa must name factors, a max_age or a scope, or be true");
    else {
        char why[128] = "";

        r = refuse_nulls(x, v);
        if (r < 0)
            return r;
        r = json_check(v, schema, true, why, sizeof(why));
        if (r == -EINVAL)
            return text_refuse(x->why, x->whylen, "mfa: %s", why);
        if (r == 0)
            r = read_factors(x, json_object_get(v, "factors"), &m->factors);
        if (r == 0)
            r = read_scope(x, json_str(v, "scope"), &m->scope);
        m->max_age = json_int(v, "max_age", 0);
    }
    if (r == 0 && m->scope == BINDING_SCOPE_SOURCE)
        r = check_source_scope(x);
    return r < 0 ? r : write_mfa(x);
}

static int read_from(struct parse *x)
{
    const json_t *list = json_object_get(x->in, "from");
    size_t n = json_array_size(list);

    x->b->from = calloc(n, sizeof(*x->b->from));
    if (!x->b->from)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        _cleanup_buf_ struct buf normal = BUF_INIT(64);
        struct cidr *c = &x->b->from[x->b->n_from];
        const char *kept;
        int r = cidr_parse(json_string_value(json_array_get(list, i)), c, x->why, x->whylen);

        if (r < 0)
            return r;
        cidr_put(&normal, c);
        r = buf_error(&normal);
        if (r == 0)
            r = keep(x->b, "from", buf_str(&normal), &kept);
        if (r < 0)
            return r;
        x->b->n_from += kept != NULL;
    }
    return 0;
}

static int read_hours(struct parse *x)
{
    _cleanup_buf_ struct buf normal = BUF_INIT(4 * HOURS_TEXT_MAX);
    int r;

    x->b->hours = calloc(1, sizeof(*x->b->hours));
    if (!x->b->hours)
        return -ENOMEM;
    r = hours_parse(json_str(x->in, "hours"), x->zone_known, x->b->hours, x->why, x->whylen);
    if (r < 0)
        return r;
    hours_put(&normal, x->b->hours);
    r = buf_error(&normal);
    return r < 0 ? r : json_set_str(x->b->object, "hours", buf_str(&normal));
}

static int read_assurance(struct parse *x)
{
    const char *name = json_str(x->in, "assurance");

    for (unsigned level = ASSURANCE_UID; level <= ASSURANCE_MANAGER; level++) {
        if (strcmp(assurance_name((enum assurance)level), name) == 0) {
            x->b->assurance = (enum assurance)level;
            return json_set_str(x->b->object, "assurance", name);
        }
    }
    return text_refuse(x->why, x->whylen, "assurance must be uid, pid, pidfd or manager");
}

static const struct {
    const char *field;
    enum binding_condition condition;
    int (*read)(struct parse *x);
} conditions[] = {
    {"mfa", BINDING_MFA, read_mfa},
    {"from", BINDING_FROM, read_from},
    {"hours", BINDING_HOURS, read_hours},
    {"assurance", BINDING_ASSURANCE, read_assurance},
};

static int read_conditions(struct parse *x)
{
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        int r;

        if (!json_object_get(x->in, conditions[i].field))
            continue;
        x->b->conditions |= conditions[i].condition;
        r = conditions[i].read(x);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- The whole object --------------------------------------------------------------------------
 */

static int read_ttls(struct parse *x)
{
    x->b->ttl = json_int(x->in, "ttl", 0);
    x->b->max_ttl = json_int(x->in, "max_ttl", 0);
    if (x->b->max_ttl > 0 && x->b->ttl > x->b->max_ttl)
        return text_refuse(x->why, x->whylen, "ttl is above max_ttl");
    if (x->b->ttl > 0 && json_set_int(x->b->object, "ttl", x->b->ttl) < 0)
        return -ENOMEM;
    if (x->b->max_ttl > 0 && json_set_int(x->b->object, "max_ttl", x->b->max_ttl) < 0)
        return -ENOMEM;
    return 0;
}

static int read_all(struct parse *x)
{
    static int (*const steps[])(struct parse * x) = {read_principals, read_services, read_policies,
                                                     read_conditions, read_ttls};

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int r = steps[i](x);

        if (r < 0)
            return r;
    }
    if (json_array_size(x->b->services) == 0 && x->b->n_policies == 0)
        return text_refuse(x->why, x->whylen, "the binding gives neither services nor policies");
    return 0;
}

static const struct json_field binding_schema[] = {
    {.name = "principals",
     .kind = JSON_KIND_STRINGS,
     .required = true,
     .min = 1,
     .max = BINDING_ITEMS_MAX},
    {.name = "services", .kind = JSON_KIND_STRINGS, .max = BINDING_ITEMS_MAX},
    {.name = "policies", .kind = JSON_KIND_STRINGS, .max = BINDING_ITEMS_MAX},
    {.name = "mfa", .kind = JSON_KIND_ANY},
    {.name = "from", .kind = JSON_KIND_STRINGS, .min = 1, .max = BINDING_ITEMS_MAX},
    {.name = "hours", .kind = JSON_KIND_STRING, .min = 1, .max = HOURS_TEXT_MAX},
    {.name = "assurance", .kind = JSON_KIND_STRING, .min = 1},
    {.name = "ttl", .kind = JSON_KIND_DURATION, .min = 1},
    {.name = "max_ttl", .kind = JSON_KIND_DURATION, .min = 1},
    {.name = NULL},
};

int binding_parse(const char *name, const json_t *obj, bool (*zone_known)(const char *zone),
                  struct binding **out, char *why, size_t whylen)
{
    _cleanup_(binding_freep) struct binding *b = calloc(1, sizeof(*b));
    _cleanup_json_ json_t *in = NULL;
    struct parse x = {.b = b, .zone_known = zone_known, .why = why, .whylen = whylen};
    int r;

    *out = NULL;
    if (!b)
        return -ENOMEM;
    if (!text_is_name(name, BINDING_NAME_MAX, NAME_CHARS))
        return text_refuse(why, whylen, "a binding's name has 1 to %d characters of [A-Za-z0-9%s]",
                           BINDING_NAME_MAX, NAME_CHARS);
    memcpy(b->name, name, strlen(name));
    if (!json_is_object(obj))
        return text_refuse(why, whylen, "a binding is a JSON object");
    r = refuse_nulls(&x, obj);
    if (r < 0)
        return r;
    b->object = json_object();
    x.in = in = json_deep_copy(obj);
    if (!b->object || !in)
        return -ENOMEM;
    r = json_check(in, binding_schema, true, why, whylen);
    if (r == 0)
        r = read_all(&x);
    if (r < 0)
        return r;
    *out = b;
    b = NULL;
    return 0;
}
