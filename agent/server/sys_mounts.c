/* sys/mounts, and what clients ask before they read: sys/internal/ui/mounts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/mount.h"
#include "server/routes.h"

const struct json_field route_fields_mount[] = {
    {.name = "type", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {.name = "description", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "options", .kind = JSON_KIND_OBJECT},
    {.name = "config", .kind = JSON_KIND_OBJECT},
    {0},
};

static const struct json_field config_fields[] = {
    {.name = "default_lease_ttl", .kind = JSON_KIND_DURATION},
    {.name = "max_lease_ttl", .kind = JSON_KIND_DURATION},
    {0},
};

static const struct mount *named(struct request *r)
{
    const char *path = request_param(r, "path");
    size_t n = strlen(path);
    if (n > 0 && path[n - 1] == '/')
        n--;
    for (size_t i = 0; i < mounts_count(r->agent->mounts); i++) {
        const struct mount *m = mounts_at(r->agent->mounts, i);
        if (strlen(m->path) == n + 1 && strncmp(m->path, path, n) == 0)
            return m;
    }
    return NULL;
}

static int no_such_mount(struct request *r)
{
    return request_error(r, 400, "No secret engine mount at %.200s/", request_param(r, "path"));
}

int route_mounts(struct request *r)
{
    _cleanup_json_ json_t *out = json_object();
    for (size_t i = 0; out && i < mounts_count(r->agent->mounts); i++) {
        const struct mount *m = mounts_at(r->agent->mounts, i);
        if (json_object_set_new(out, m->path, mounts_json(m)) < 0)
            return -ENOMEM;
    }
    return request_data(r, out ? json_incref(out) : NULL);
}

int route_mount_read(struct request *r)
{
    const struct mount *m = named(r);
    return m ? request_data(r, mounts_json(m)) : no_such_mount(r);
}

/* "kv-v2" is short for kv with version 2; KV version 1 has no options. */
static int settle_options(struct request *r, const char **type, json_t **options)
{
    json_t *given = json_object_get(r->body, "options");
    *options = json_is_object(given) ? json_deep_copy(given) : NULL;
    if (strcmp(*type, "kv-v2") != 0 && strcmp(*type, "kv-v1") != 0)
        return 0;
    const char *version = (*type)[4] == '2' ? "2" : "1";
    *type = "kv";
    if (!*options)
        *options = json_object();
    return *options ? json_set_str(*options, "version", version) : -ENOMEM;
}

int route_mount_enable(struct request *r)
{
    char why[300];
    const char *type = json_str(r->body, "type");
    json_t *config = json_object_get(r->body, "config");
    int e = json_is_object(config) ? json_check(config, config_fields, false, why, sizeof(why)) : 0;
    if (e == -EINVAL)
        return request_error(r, 400, "config: %s", why);
    _cleanup_json_ json_t *options = NULL;
    if (e == 0)
        e = settle_options(r, &type, &options);
    if (e == 0)
        e = mounts_enable(r->agent->mounts, r->agent->vault, turn_effects(r->agent->turn),
                          request_param(r, "path"), type, json_str(r->body, "description"), options,
                          json_int(config, "default_lease_ttl", 0),
                          json_int(config, "max_lease_ttl", 0), why, sizeof(why));
    if (e == MOUNT_E_REFUSED)
        return request_error(r, 400, "%s", why);
    r->status = e == 0 ? 204 : 0;
    return e;
}

static int count_lease(const json_t *lease _unused_, void *data)
{
    ++*(size_t *)data;
    return 0;
}

/* A mount goes only when nothing that it gave out is left: its configuration is what revokes it. */
int route_mount_disable(struct request *r)
{
    const struct mount *m = named(r);
    char why[300];
    size_t n = 0, left = 0;
    if (!m) { /* as Vault: gone is gone */
        r->status = 204;
        return 0;
    }
    int e = lease_revoke_prefix(r->agent->leases, m->path, "its mount is being disabled",
                                r->lease_ms, &n, NULL);
    if (e == 0)
        e = lease_each(r->agent->leases, NULL, m->path, 1, count_lease, &left);
    if (e < 0)
        return e;
    if (left > 0)
        return request_error(r, 400,
                             "%zu leases of this mount are being revoked now; disable it again "
                             "when they are gone (countersign lease list)",
                             n > left ? n : left);
    e = mounts_disable(r->agent->mounts, r->agent->vault, turn_effects(r->agent->turn), m->path,
                       why, sizeof(why));
    if (e == MOUNT_E_REFUSED)
        return request_error(r, 400, "%s", why);
    r->status = 204;
    return e < 0 ? e : 0;
}

int route_mount_tune_read(struct request *r)
{
    const struct mount *m = named(r);
    if (!m)
        return no_such_mount(r);
    return request_data(
        r, json_pack("{s:I, s:I, s:s, s:b, s:O*}", "default_lease_ttl",
                     (json_int_t)(m->default_ttl ? m->default_ttl : TOKEN_TTL_DEFAULT),
                     "max_lease_ttl", (json_int_t)(m->max_ttl ? m->max_ttl : TOKEN_TTL_MAX),
                     "description", m->description, "force_no_cache", 0, "options", m->options));
}

int route_mount_tune(struct request *r)
{
    char why[300];
    const struct mount *m = named(r);
    int e = m ? mounts_tune(r->agent->mounts, r->agent->vault, turn_effects(r->agent->turn),
                            m->path, r->body, why, sizeof(why))
              : MOUNT_E_NONE;
    if (e == MOUNT_E_NONE)
        return no_such_mount(r);
    if (e == MOUNT_E_REFUSED)
        return request_error(r, 400, "%s", why);
    r->status = 204;
    return e;
}

int route_auth_mounts(struct request *r)
{
    return request_data(r,
                        json_pack("{s:{s:s, s:s, s:s, s:{s:I, s:I, s:s}, s:n, s:b, s:b}}", "token/",
                                  "type", "token", "description", "token based credentials",
                                  "accessor", "auth_token_builtin", "config", "default_lease_ttl",
                                  (json_int_t)0, "max_lease_ttl", (json_int_t)0, "token_type",
                                  "default-service", "options", "local", 0, "seal_wrap", 0));
}

/* --- The preflight
 * ---------------------------------------------------------------------------------- */

/* Whether the caller may do anything at or below the path: what lets them see that the mount
 * exists. */
static bool may_see(struct request *r, const struct mount *m, const char *path)
{
    static const unsigned any =
        ACL_CREATE | ACL_READ | ACL_UPDATE | ACL_DELETE | ACL_LIST | ACL_PATCH;
    char inner[2300];
    if (request_may(r, path, any) || request_may(r, m->path, any))
        return true;
    static const char *const below[] = {"data", "metadata"};
    const char *rest = strncmp(path, m->path, strlen(m->path)) == 0 ? path + strlen(m->path) : "";
    for (size_t i = 0; i < ARRAY_LEN(below); i++) {
        snprintf(inner, sizeof(inner), "%s%s/%s", m->path, below[i], rest);
        if (request_may(r, inner, any))
            return true;
    }
    return false;
}

int route_ui_mount(struct request *r)
{
    char path[2200];
    snprintf(path, sizeof(path), "%s", request_param(r, "path"));
    const struct mount *m = mounts_find(r->agent->mounts, path);
    if (!m) { /* the mount itself, without its slash */
        size_t n = strlen(path);
        snprintf(path + n, sizeof(path) - n, "/");
        m = mounts_find(r->agent->mounts, path);
    }
    if (!m || !may_see(r, m, path))
        return request_error(r, 403,
                             "preflight capability check returned 403, please ensure client's "
                             "policies grant access to path \"%.200s\"",
                             path);
    json_t *out = mounts_json(m);
    if (out && json_set_str(out, "path", m->path) < 0) {
        json_decref(out);
        out = NULL;
    }
    return request_data(r, out);
}

int route_ui_mounts(struct request *r)
{
    _cleanup_json_ json_t *secret = json_object();
    for (size_t i = 0; secret && i < mounts_count(r->agent->mounts); i++) {
        const struct mount *m = mounts_at(r->agent->mounts, i);
        if (may_see(r, m, m->path) && json_object_set_new(secret, m->path, mounts_json(m)) < 0)
            return -ENOMEM;
    }
    return request_data(r, secret ? json_pack("{s:O, s:{}}", "secret", secret, "auth") : NULL);
}
