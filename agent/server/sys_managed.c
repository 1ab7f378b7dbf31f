/* sys/managed: what configuration kept as files (countersign apply) has made, and whether a change
 * would leave whoever applies it able to apply the next one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/routes.h"
#include "server/rules.h"
#include "vault/entry.h"

#define SPACE_CONFIG "config"
#define MANAGED "managed"
#define NAMES_MAX 4096 /* of one kind */

const struct json_field route_fields_managed[] = {
    {.name = "cas", .kind = JSON_KIND_INT, .required = true, .min = 0, .max = INT64_MAX},
    {.name = "names", .kind = JSON_KIND_OBJECT, .required = true},
    {0},
};

const struct json_field route_fields_preview[] = {
    {.name = "policies", .kind = JSON_KIND_OBJECT},
    {.name = "bindings", .kind = JSON_KIND_OBJECT},
    {0},
};

/* --- The record
 * ---------------------------------------------------------------------------------- */

/* {"version", "names": {kind: [name …]}, "by", "at"}; version 0 when nothing was ever applied. */
static int load(struct request *r, json_t **out)
{
    int e = entry_get_json(r->agent->vault, SPACE_CONFIG, MANAGED, out);
    if (e == ENTRY_E_NONE) {
        *out = json_pack("{s:i, s:{}}", "version", 0, "names");
        e = *out ? 0 : -ENOMEM;
    }
    return e;
}

int route_managed_read(struct request *r)
{
    json_t *managed = NULL;
    int e = load(r, &managed);
    return e < 0 ? e : request_data(r, managed);
}

static bool good_names(const json_t *names)
{
    const char *kind;
    json_t *list, *name;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)names, kind, list)
    {
        if (!json_is_array(list) || json_array_size(list) > NAMES_MAX)
            return false;
        json_array_foreach(list, i, name)
        {
            if (!json_is_string(name))
                return false;
        }
    }
    return true;
}

int route_managed_write(struct request *r)
{
    _cleanup_json_ json_t *old = NULL;
    const json_t *names = json_object_get(r->body, "names");
    char stamp[CLOCK_STAMP_LEN];
    if (!good_names(names))
        return request_error(r, 400, "names has lists of at most %d names, by kind", NAMES_MAX);
    int e = load(r, &old);
    if (e < 0)
        return e;
    int64_t version = json_int(old, "version", 0);
    if (json_int(r->body, "cas", -1) != version)
        return request_error(r, 400,
                             "check-and-set parameter did not match the current version: somebody "
                             "else has applied a configuration meanwhile");
    clock_stamp(r->now_ms, 0, stamp);
    _cleanup_json_ json_t *managed =
        json_pack("{s:I, s:O, s:s, s:s}", "version", (json_int_t)(version + 1), "names", names,
                  "by", r->principal, "at", stamp);
    e = managed ? entry_put_json(r->agent->vault, SPACE_CONFIG, MANAGED, managed) : -ENOMEM;
    return e < 0 ? e : request_data(r, json_pack("{s:I}", "version", (json_int_t)(version + 1)));
}

/* --- The preview
 * --------------------------------------------------------------------------------- */

/* The rules as they would be. What is made for it is owned; the rest is borrowed from the rules in
 * force. */
struct preview {
    const struct acl_policy **policies;
    const struct binding **bindings;
    struct acl_policy **new_policies;
    struct binding **new_bindings;
    size_t n_policies, n_bindings, n_new_policies, n_new_bindings;
};

static void preview_clear(struct preview *p)
{
    for (size_t i = 0; i < p->n_new_policies; i++)
        acl_free(p->new_policies[i]);
    for (size_t i = 0; i < p->n_new_bindings; i++)
        binding_free(p->new_bindings[i]);
    free(p->policies);
    free(p->bindings);
    free(p->new_policies);
    free(p->new_bindings);
}

static int preview_room(struct preview *p, const struct decide_rules *now, size_t policies,
                        size_t bindings)
{
    p->policies = calloc(now->n_policies + policies + 1, sizeof(*p->policies));
    p->bindings = calloc(now->n_bindings + bindings + 1, sizeof(*p->bindings));
    p->new_policies = calloc(policies + 1, sizeof(*p->new_policies));
    p->new_bindings = calloc(bindings + 1, sizeof(*p->new_bindings));
    return p->policies && p->bindings && p->new_policies && p->new_bindings ? 0 : -ENOMEM;
}

/* 1: an error answer stands in r. */
static int wrong(struct request *r, const char *kind, const char *name, const char *why)
{
    return request_error(r, 400, "%s %.128s: %s", kind, name, why) < 0 ? -ENOMEM : 1;
}

static int preview_policies(struct request *r, struct preview *p, const struct decide_rules *now,
                            json_t *given)
{
    const char *name;
    json_t *text;
    char why[256];
    for (size_t i = 0; i < now->n_policies; i++) {
        if (!json_object_get(given, acl_name(now->policies[i])))
            p->policies[p->n_policies++] = now->policies[i];
    }
    json_object_foreach(given, name, text)
    {
        struct acl_policy *made = NULL;
        if (json_is_null(text))
            continue;
        if (!json_is_string(text))
            return wrong(r, "policy", name, "a text, or null for one that goes");
        int e = acl_parse(name, json_string_value(text), json_string_length(text), &made, why,
                          sizeof(why));
        if (e < 0)
            return e == -EINVAL ? wrong(r, "policy", name, why) : e;
        p->new_policies[p->n_new_policies++] = made;
        p->policies[p->n_policies++] = made;
    }
    return 0;
}

static int preview_bindings(struct request *r, struct preview *p, const struct decide_rules *now,
                            json_t *given)
{
    const char *name;
    json_t *obj;
    char why[256];
    for (size_t i = 0; i < now->n_bindings; i++) {
        if (!json_object_get(given, binding_name(now->bindings[i])))
            p->bindings[p->n_bindings++] = now->bindings[i];
    }
    json_object_foreach(given, name, obj)
    {
        struct binding *made = NULL;
        if (json_is_null(obj))
            continue;
        int e = binding_parse(name, obj, rules_zone_known, &made, why, sizeof(why));
        if (e < 0)
            return e == -EINVAL ? wrong(r, "binding", name, why) : e;
        p->new_bindings[p->n_new_bindings++] = made;
        p->bindings[p->n_bindings++] = made;
    }
    return 0;
}

/* A token's policies, looked up among the rules as they would be. */
static int token_may(struct request *r, const struct decide_rules *rules, const char *path,
                     bool *may)
{
    struct acl_result result = {0};
    size_t i, n = 0;
    json_t *name;
    _cleanup_(freep) struct acl_use *uses =
        calloc(json_array_size(r->token.policies) + 1, sizeof(*uses));
    if (!uses)
        return -ENOMEM;
    json_array_foreach(r->token.policies, i, name)
    {
        const char *text = json_string_value(name);
        bool deny_only = text[0] == '!'; /* see decide_policies() */
        for (size_t k = 0; k < rules->n_policies; k++) {
            if (strcmp(acl_name(rules->policies[k]), text + deny_only) == 0)
                uses[n++] = (struct acl_use){.policy = rules->policies[k], .deny_only = deny_only};
        }
    }
    acl_check(uses, n, path, &result);
    *may = !(result.caps & ACL_DENY) && (result.caps & (ACL_CREATE | ACL_UPDATE));
    return 0;
}

static int may_write(struct request *r, const struct decide_rules *rules, const char *path,
                     bool *may)
{
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    struct decision d;
    *may = r->has_token && r->token.root;
    if (*may)
        return 0;
    if (r->has_token)
        return token_may(r, rules, path, may);
    int e = request_facts(r, &f, proofs);
    if (e < 0)
        return e;
    decide_path(rules, &f, path, ACL_CREATE | ACL_UPDATE, false, false, &d);
    *may = d.verdict == DECIDE_ALLOW;
    decision_clear(&d);
    return 0;
}

/* Adds the path to the list when the caller may write it now and then could not any more. */
static int compare(struct request *r, const struct decide_rules *then, const char *path,
                   json_t *lost)
{
    bool now_may = false, then_may = false;
    int e = may_write(r, rules_view(r->agent->rules), path, &now_may);
    if (e == 0)
        e = may_write(r, then, path, &then_may);
    if (e == 0 && now_may && !then_may && json_array_append_new(lost, json_string(path)) < 0)
        e = -ENOMEM;
    return e;
}

static int compare_all(struct request *r, const struct decide_rules *then, const char *prefix,
                       json_t *given, json_t *lost)
{
    const char *name;
    json_t *value;
    char path[300];
    json_object_foreach(given, name, value)
    {
        snprintf(path, sizeof(path), "%s%.200s", prefix, name);
        int e = compare(r, then, path, lost);
        if (e < 0)
            return e;
    }
    return 0;
}

int route_managed_preview(struct request *r)
{
    json_t *policies = json_object_get(r->body, "policies");
    json_t *bindings = json_object_get(r->body, "bindings");
    const struct decide_rules *now = rules_view(r->agent->rules);
    _cleanup_(preview_clear) struct preview p = {0};
    int e = preview_room(&p, now, json_object_size(policies), json_object_size(bindings));
    if (e == 0)
        e = preview_policies(r, &p, now, policies);
    if (e == 0)
        e = preview_bindings(r, &p, now, bindings);
    if (e != 0)
        return e < 0 ? e : 0;
    const struct decide_rules then = {.bindings = p.bindings,
                                      .n_bindings = p.n_bindings,
                                      .policies = p.policies,
                                      .n_policies = p.n_policies};
    _cleanup_json_ json_t *lost = json_array();
    e = lost ? compare(r, &then, "sys/managed", lost) : -ENOMEM;
    if (e == 0)
        e = compare_all(r, &then, "sys/policies/acl/", policies, lost);
    if (e == 0)
        e = compare_all(r, &then, "sys/bindings/", bindings, lost);
    return e < 0 ? e : request_data(r, json_pack("{s:O}", "lost", lost));
}
