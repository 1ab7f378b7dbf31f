#include "server/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/entry.h"

#define SPACE_POLICY "policy"
#define SPACE_BINDING "binding"
#define SPACE_CONFIG "config"
#define ENROLMENT "enrolment"
#define TEXT_MAX (256 * 1024)

struct rules {
    struct acl_policy **policies;
    size_t n_policies, policy_room;
    struct binding **bindings;
    size_t n_bindings, binding_room;
    size_t coming; /* changes of this turn: there is room for all of them */
    struct decide_rules view;
    struct rules_enrolment enrolment;
    size_t broken;
};

static int own_zone_variable(void);

/* --- The parsed form
 * ------------------------------------------------------------------------------ */

struct rules *rules_new(void)
{
    return own_zone_variable() == 0 ? calloc(1, sizeof(struct rules)) : NULL;
}

void rules_clear(struct rules *r)
{
    for (size_t i = 0; i < r->n_policies; i++)
        acl_free(r->policies[i]);
    for (size_t i = 0; i < r->n_bindings; i++)
        binding_free(r->bindings[i]);
    free(r->policies);
    free(r->bindings);
    json_decref(r->enrolment.exempt_groups);
    *r = (struct rules){.coming = r->coming};
}

void rules_free(struct rules *r)
{
    if (!r)
        return;
    rules_clear(r);
    free(r);
}

static void refresh_view(struct rules *r)
{
    r->view = (struct decide_rules){
        .bindings = (const struct binding *const *)r->bindings,
        .n_bindings = r->n_bindings,
        .policies = (const struct acl_policy *const *)r->policies,
        .n_policies = r->n_policies,
    };
}

const struct decide_rules *rules_view(const struct rules *r)
{
    return &r->view;
}

size_t rules_broken(const struct rules *r)
{
    return r->broken;
}

const struct acl_policy *rules_policy(const struct rules *r, const char *name)
{
    for (size_t i = 0; i < r->n_policies; i++) {
        if (strcmp(acl_name(r->policies[i]), name) == 0)
            return r->policies[i];
    }
    return NULL;
}

int rules_uses(const struct rules *r, const json_t *names, struct acl_use **uses, size_t *n)
{
    size_t i;
    json_t *name;
    *n = 0;
    *uses = calloc(json_array_size(names) + 1, sizeof(**uses));
    if (!*uses)
        return -ENOMEM;
    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);
        bool deny_only = text[0] == '!'; /* see decide_policies() */
        const struct acl_policy *p = rules_policy(r, text + deny_only);
        if (p)
            (*uses)[(*n)++] = (struct acl_use){.policy = p, .deny_only = deny_only};
    }
    return 0;
}

/* Makes room for that many more behind n. */
static int array_reserve(void ***array, size_t n, size_t *room, size_t more)
{
    if (n + more <= *room)
        return 0;
    void **grown = reallocarray(*array, n + more, sizeof(void *));
    if (!grown)
        return -ENOMEM;
    *array = grown;
    *room = n + more;
    return 0;
}

/* Replaces, adds (old NULL) or removes (new NULL) one pointer. */
static int array_swap(void ***array, size_t *n, size_t *room, void *old, void *new)
{
    for (size_t i = 0; i < *n; i++) {
        if ((*array)[i] != old)
            continue;
        if (new)
            (*array)[i] = new;
        else
            (*array)[i] = (*array)[--*n];
        return 0;
    }
    if (!new)
        return 0;
    int e = array_reserve(array, *n, room, 1);
    if (e == 0)
        (*array)[(*n)++] = new;
    return e;
}

static struct binding *find_binding(const struct rules *r, const char *name)
{
    for (size_t i = 0; i < r->n_bindings; i++) {
        if (strcmp(binding_name(r->bindings[i]), name) == 0)
            return r->bindings[i];
    }
    return NULL;
}

static int set_policy(struct rules *r, const char *name, struct acl_policy *p)
{
    struct acl_policy *old = NULL;
    for (size_t i = 0; i < r->n_policies && !old; i++)
        old = strcmp(acl_name(r->policies[i]), name) == 0 ? r->policies[i] : NULL;
    int e = array_swap((void ***)&r->policies, &r->n_policies, &r->policy_room, old, p);
    if (e == 0)
        acl_free(old);
    refresh_view(r);
    return e;
}

static int set_binding(struct rules *r, const char *name, struct binding *b)
{
    struct binding *old = find_binding(r, name);
    int e = array_swap((void ***)&r->bindings, &r->n_bindings, &r->binding_room, old, b);
    if (e == 0)
        binding_free(old);
    refresh_view(r);
    return e;
}

/* --- Loading
 * -------------------------------------------------------------------------------------- */

struct loading {
    struct rules *rules;
    struct vault *vault;
};

static int load_policy(const char *name, void *data)
{
    struct loading *l = data;
    _cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
    _cleanup_(acl_freep) struct acl_policy *p = NULL;
    char why[256];
    int e = entry_get(l->vault, SPACE_POLICY, name, &text);
    if (e < 0 && e != -EBADMSG)
        return e;
    if (e == 0)
        e = acl_parse(name, buf_str(&text), text.len, &p, why, sizeof(why));
    if (e == -ENOMEM)
        return e;
    if (e != 0) {
        l->rules->broken++;
        return 0;
    }
    e = set_policy(l->rules, name, p);
    if (e == 0)
        p = NULL;
    return e;
}

static int load_binding(const char *name, void *data)
{
    struct loading *l = data;
    _cleanup_json_ json_t *obj = NULL;
    _cleanup_(binding_freep) struct binding *b = NULL;
    char why[256];
    int e = entry_get_json(l->vault, SPACE_BINDING, name, &obj);
    if (e < 0 && e != -EBADMSG)
        return e;
    if (e == 0)
        e = binding_parse(name, obj, rules_zone_known, &b, why, sizeof(why));
    if (e == -ENOMEM)
        return e;
    if (e != 0) {
        l->rules->broken++;
        return 0;
    }
    e = set_binding(l->rules, name, b);
    if (e == 0)
        b = NULL;
    return e;
}

static const struct json_field enrolment_fields[] = {
    {.name = "mode", .kind = JSON_KIND_STRING, .required = true, .max = 16},
    {.name = "until", .kind = JSON_KIND_STRING, .max = 39},
    {.name = "exempt_groups", .kind = JSON_KIND_STRINGS, .max = 64},
    {0},
};

static int enrolment_parse(const json_t *given, struct rules_enrolment *out, char *why, size_t n)
{
    *out = (struct rules_enrolment){0};
    _cleanup_json_ json_t *obj = json_deep_copy(given);
    if (!obj)
        return -ENOMEM;
    int e = json_check(obj, enrolment_fields, true, why, n);
    if (e < 0)
        return e == -EINVAL ? RULES_E_REFUSED : e;
    const char *mode = json_str(obj, "mode");
    const char *until = json_str(obj, "until");
    out->grace = strcmp(mode, "grace") == 0;
    if (!out->grace && strcmp(mode, "required") != 0) {
        snprintf(why, n, "mode must be \"required\" or \"grace\"");
        return RULES_E_REFUSED;
    }
    int64_t until_ms = 0;
    if (out->grace != (until != NULL) || (until && clock_parse_stamp(until, &until_ms) < 0)) {
        snprintf(why, n, "\"until\" must be a date (2026-12-31) and goes with mode \"grace\" only");
        return RULES_E_REFUSED;
    }
    out->until_s = until_ms / 1000;
    snprintf(out->until, sizeof(out->until), "%s", until ? until : "");
    json_t *groups = json_object_get(obj, "exempt_groups");
    out->exempt_groups = groups ? json_incref(groups) : json_array();
    return out->exempt_groups ? 0 : -ENOMEM;
}

static int load_enrolment(struct rules *r, struct vault *v)
{
    _cleanup_json_ json_t *obj = NULL;
    char why[160];
    int e = entry_get_json(v, SPACE_CONFIG, ENROLMENT, &obj);
    if (e == 0)
        e = enrolment_parse(obj, &r->enrolment, why, sizeof(why));
    return e < 0 ? e : 0;
}

int rules_load(struct rules *r, struct vault *v)
{
    struct rules fresh = {.coming = r->coming};
    struct loading l = {.rules = &fresh, .vault = v};
    int e = entry_list(v, SPACE_POLICY, "", NULL, 0, load_policy, &l);
    if (e >= 0)
        e = entry_list(v, SPACE_BINDING, "", NULL, 0, load_binding, &l);
    if (e >= 0)
        e = load_enrolment(&fresh, v);
    if (e < 0) {
        rules_clear(&fresh);
        return e;
    }
    rules_clear(r);
    *r = fresh;
    refresh_view(r);
    return 0;
}

/* --- Changing
 * ------------------------------------------------------------------------------------- */

/* The effect of a change: the store has it, now the parsed form follows. Room for it was made
 * before the commit: a denial that is in the store must not fail to come into force. */
struct change {
    struct rules *rules;
    char name[ACL_NAME_MAX + 1];
    bool is_binding;
    struct acl_policy *policy;
    struct binding *binding;
};

static void change_drop(void *data)
{
    struct change *c = data;
    c->rules->coming--;
    acl_free(c->policy);
    binding_free(c->binding);
    free(c);
}

static void change_run(void *data)
{
    struct change *c = data;
    int e = c->is_binding ? set_binding(c->rules, c->name, c->binding)
                          : set_policy(c->rules, c->name, c->policy);
    if (e == 0) {
        c->policy = NULL;
        c->binding = NULL;
    } else {
        c->rules->broken++; /* sealed meanwhile */
    }
    change_drop(c);
}

static int push_change(struct rules *r, struct effects *e, const char *name, bool is_binding,
                       struct acl_policy *p, struct binding *b)
{
    size_t more = r->coming + 1;
    struct change *c = calloc(1, sizeof(*c));
    if (c && array_reserve((void ***)&r->policies, r->n_policies, &r->policy_room, more) == 0 &&
        array_reserve((void ***)&r->bindings, r->n_bindings, &r->binding_room, more) == 0) {
        *c = (struct change){.rules = r, .is_binding = is_binding, .policy = p, .binding = b};
        snprintf(c->name, sizeof(c->name), "%s", name);
        if (effects_push(e, change_run, change_drop, c) == 0) {
            r->coming++;
            refresh_view(r); /* the arrays may have moved */
            return 0;
        }
    }
    free(c);
    refresh_view(r);
    acl_free(p);
    binding_free(b);
    return -ENOMEM;
}

static bool valid_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= ACL_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.@") == n && name[0] != '.';
}

static int check_name(const char *name, char *why, size_t whylen)
{
    if (valid_name(name))
        return 0;
    snprintf(why, whylen, "a name has 1 to %d of a-z, 0-9, '-', '_', '.', '@'", ACL_NAME_MAX);
    return RULES_E_REFUSED;
}

int rules_policy_put(struct rules *r, struct vault *v, struct effects *e, const char *name,
                     const char *text, char *why, size_t whylen)
{
    struct acl_policy *p = NULL;
    if (strcmp(name, "root") == 0) {
        snprintf(why, whylen, "the policy \"root\" is built in and can't be changed");
        return RULES_E_REFUSED;
    }
    int x = check_name(name, why, whylen);
    if (x == 0)
        x = acl_parse(name, text, strlen(text), &p, why, whylen);
    if (x != 0)
        return x == -EINVAL ? RULES_E_REFUSED : x;
    x = push_change(r, e, name, false, p, NULL);
    return x < 0 ? x : entry_put(v, SPACE_POLICY, name, text, strlen(text));
}

int rules_policy_get(struct vault *v, const char *name, struct buf *text)
{
    return valid_name(name) ? entry_get(v, SPACE_POLICY, name, text) : RULES_E_NONE;
}

int rules_policy_delete(struct rules *r, struct vault *v, struct effects *e, const char *name)
{
    if (!valid_name(name))
        return RULES_E_NONE;
    int x = entry_delete(v, SPACE_POLICY, name);
    return x == 0 ? push_change(r, e, name, false, NULL, NULL) : x;
}

int rules_binding_put(struct rules *r, struct vault *v, struct effects *e, const char *name,
                      const json_t *obj, char *why, size_t whylen)
{
    struct binding *b = NULL;
    int x = check_name(name, why, whylen);
    if (x == 0)
        x = binding_parse(name, obj, rules_zone_known, &b, why, whylen);
    if (x != 0)
        return x == -EINVAL ? RULES_E_REFUSED : x;
    _cleanup_json_ json_t *normal = binding_to_json(b);
    if (!normal) {
        binding_free(b);
        return -ENOMEM;
    }
    x = push_change(r, e, name, true, NULL, b);
    return x < 0 ? x : entry_put_json(v, SPACE_BINDING, name, normal);
}

int rules_binding_get(struct vault *v, const char *name, json_t **out)
{
    return valid_name(name) ? entry_get_json(v, SPACE_BINDING, name, out) : RULES_E_NONE;
}

int rules_binding_delete(struct rules *r, struct vault *v, struct effects *e, const char *name)
{
    if (!valid_name(name))
        return RULES_E_NONE;
    int x = entry_delete(v, SPACE_BINDING, name);
    return x == 0 ? push_change(r, e, name, true, NULL, NULL) : x;
}

static int add_name(const char *name, void *data)
{
    return json_array_append_new(data, json_string(name)) < 0 ? -ENOMEM : 0;
}

int rules_names(struct vault *v, bool bindings, json_t **out)
{
    _cleanup_json_ json_t *names = json_array();
    if (!names)
        return -ENOMEM;
    int e = entry_list(v, bindings ? SPACE_BINDING : SPACE_POLICY, "", NULL, 0, add_name, names);
    if (e < 0)
        return e;
    *out = json_incref(names);
    return 0;
}

int rules_defaults(struct vault *v)
{
    static const char text[] = "# What every token may do: look after itself.\n"
                               "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }\n"
                               "path \"auth/token/renew-self\" { capabilities = [\"update\"] }\n"
                               "path \"auth/token/revoke-self\" { capabilities = [\"update\"] }\n"
                               "path \"sys/capabilities-self\" { capabilities = [\"update\"] }\n"
                               "path \"sys/internal/ui/mounts/*\" { capabilities = [\"read\"] }\n"
                               "path \"sys/leases/renew\" { capabilities = [\"update\"] }\n"
                               "path \"sys/leases/lookup\" { capabilities = [\"update\"] }\n";
    _cleanup_buf_ struct buf old = BUF_INIT(TEXT_MAX);
    int e = entry_get(v, SPACE_POLICY, "default", &old);
    return e == ENTRY_E_NONE ? entry_put(v, SPACE_POLICY, "default", text, sizeof(text) - 1) : e;
}

/* --- Enrolment
 * ------------------------------------------------------------------------------------ */

const struct rules_enrolment *rules_enrolment(const struct rules *r)
{
    return &r->enrolment;
}

struct enrolment_change {
    struct rules *rules;
    struct rules_enrolment value;
};

static void enrolment_drop(void *data)
{
    struct enrolment_change *c = data;
    json_decref(c->value.exempt_groups);
    free(c);
}

static void enrolment_run(void *data)
{
    struct enrolment_change *c = data;
    struct rules_enrolment old = c->rules->enrolment;
    c->rules->enrolment = c->value;
    c->value = old;
    enrolment_drop(c);
}

int rules_enrolment_put(struct rules *r, struct vault *v, struct effects *e, const json_t *obj,
                        char *why, size_t whylen)
{
    struct enrolment_change *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->rules = r;
    int x = enrolment_parse(obj, &c->value, why, whylen);
    if (x == 0)
        x = entry_put_json(v, SPACE_CONFIG, ENROLMENT, obj);
    if (x == 0)
        x = effects_push(e, enrolment_run, enrolment_drop, c);
    if (x != 0)
        enrolment_drop(c);
    return x;
}

json_t *rules_enrolment_json(const struct rules *r)
{
    const struct rules_enrolment *e = &r->enrolment;
    json_t *out = json_pack("{s:s, s:O*}", "mode", e->grace ? "grace" : "required", "exempt_groups",
                            e->exempt_groups);
    if (out && e->grace && json_set_str(out, "until", e->until) < 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

void rules_exemption(const struct rules *r, struct decide_facts *f, char *text, size_t n)
{
    const struct rules_enrolment *e = &r->enrolment;
    for (size_t i = 0; i < f->n_groups && !f->exempt; i++) {
        if (!json_has_str(e->exempt_groups, f->groups[i]))
            continue;
        snprintf(text, n, "exempt group %s", f->groups[i]);
        f->exempt = true;
    }
    /* Grace is for those who have not enrolled yet; who has a factor is asked for it. */
    if (!f->exempt && e->grace && f->user && !f->enrolled && f->now < e->until_s) {
        snprintf(text, n, "grace until %s", e->until);
        f->exempt = true;
    }
    f->exempt_why = f->exempt ? text : NULL;
}

/* --- Time zones
 * ----------------------------------------------------------------------------------- */

#define ZONES "/usr/share/zoneinfo/"
#define ZONE_MAX 128

/* A file of the database: other things lie beside them, and libc takes what it can't read for UTC.
 */
bool rules_zone_known(const char *zone)
{
    char path[sizeof(ZONES) + ZONE_MAX], magic[4];
    if (strcmp(zone, "UTC") == 0)
        return true;
    if (!zone[0] || strstr(zone, "..") || zone[0] == '/' || strlen(zone) > ZONE_MAX)
        return false;
    snprintf(path, sizeof(path), ZONES "%s", zone);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool known =
        fd >= 0 && read(fd, magic, sizeof(magic)) == sizeof(magic) && memcmp(magic, "TZif", 4) == 0;
    if (fd >= 0)
        close(fd);
    return known;
}

/* libc has no local time of a zone of one's own choosing but that of TZ. Other threads read the
 * environment at any time (NSS does), so it is changed in one place that never moves: TZ is this
 * array, from before the first thread asks. Only the loop's thread looks at local time, so that it
 * is UTC in between. */
static char zone_variable[4 + ZONE_MAX] = "TZ=UTC";

static void set_zone(const char *zone)
{
    snprintf(zone_variable + 3, sizeof(zone_variable) - 3, "%s%s",
             strcmp(zone, "UTC") == 0 ? "" : ":", zone);
    tzset();
}

static int own_zone_variable(void)
{
    static bool ours;
    if (!ours && putenv(zone_variable) != 0)
        return -ENOMEM;
    ours = true;
    return 0;
}

int rules_zone_offset(const char *zone, int64_t when, int *offset)
{
    struct tm tm;
    time_t t = (time_t)when;
    *offset = 0;
    if (!rules_zone_known(zone))
        return -ENOENT;
    if (strcmp(zone, "UTC") == 0)
        return 0;
    if (own_zone_variable() < 0)
        return -ENOMEM;
    set_zone(zone);
    bool ok = localtime_r(&t, &tm) != NULL;
    set_zone("UTC");
    *offset = ok ? (int)tm.tm_gmtoff : 0;
    return ok ? 0 : -EOVERFLOW;
}
