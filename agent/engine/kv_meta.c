/* KV version 2: the mount's configuration and the keys' metadata. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "engine/kv_inner.h"

#define ID_LEN 24
#define CUSTOM_MAX 64
#define CUSTOM_KEY_MAX 128
#define CUSTOM_VALUE_MAX 512

static const struct json_field settings[] = {
    {.name = "max_versions", .kind = JSON_KIND_INT, .min = 0, .max = KV_VERSIONS_MAX},
    {.name = "cas_required", .kind = JSON_KIND_BOOL},
    {.name = "delete_version_after", .kind = JSON_KIND_DURATION},
    {.name = "custom_metadata", .kind = JSON_KIND_OBJECT},
    {0},
};

/* A duration as Go prints it: "0s", "1m30s", "2h0m0s". */
static json_t *go_duration(int64_t s)
{
    char text[48];
    if (s < 60)
        (void)snprintf(text, sizeof(text), "%llds", (long long)s);
    else if (s < 3600)
        (void)snprintf(text, sizeof(text), "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
    else
        (void)snprintf(text, sizeof(text), "%lldh%lldm%llds", (long long)(s / 3600),
                       (long long)(s % 3600 / 60), (long long)(s % 60));
    return json_string(text);
}

json_t *kv_meta_stamp(int64_t ms)
{
    char text[CLOCK_STAMP_LEN];
    if (ms == 0)
        return json_string("");
    clock_stamp(ms, 1, text);
    return json_string(text);
}

/* Lays what the body gives over obj, which has the stored names. Absent: left as it is. */
static int overlay(json_t *obj, const json_t *body)
{
    static const char *const names[][2] = {{"max_versions", "max_versions"},
                                           {"cas_required", "cas_required"},
                                           {"delete_version_after", "delete_after"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_t *v = json_object_get(body, names[i][0]);
        if (v && !json_is_null(v) && json_object_set(obj, names[i][1], v) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* 1: an error answer stands in r. */
static int check_settings(struct engine_request *r)
{
    char why[256];
    int e = json_check(r->body, settings, false, why, sizeof(why));
    if (e == -EINVAL) {
        engine_error(r, 400, "%s", why);
        return 1;
    }
    return e;
}

/* --- The mount's configuration -------------------------------------------------------------------
 */

static int config_get(struct engine_request *r, json_t **out)
{
    int e = entry_get_json(r->vault, r->space, "config", out);
    if (e != ENTRY_E_NONE)
        return e;
    *out = json_object();
    return *out ? 0 : -ENOMEM;
}

int kv_config_load(struct engine_request *r, struct kv_config *c)
{
    _cleanup_json_ json_t *obj = NULL;
    int e = config_get(r, &obj);
    *c = (struct kv_config){.max_versions = json_int(obj, "max_versions", 0),
                            .cas_required = json_bool(obj, "cas_required", false),
                            .delete_after = json_int(obj, "delete_after", 0)};
    return e;
}

int kv_config_read(struct engine_request *r, const char *key _unused_)
{
    struct kv_config c;
    int e = kv_config_load(r, &c);
    if (e < 0)
        return e;
    return engine_data(r, json_pack("{s:b, s:o, s:I}", "cas_required", c.cas_required,
                                    "delete_version_after", go_duration(c.delete_after),
                                    "max_versions", (json_int_t)c.max_versions));
}

int kv_config_write(struct engine_request *r, const char *key _unused_)
{
    _cleanup_json_ json_t *obj = NULL;
    int e = check_settings(r);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    e = config_get(r, &obj);
    if (e == 0)
        e = overlay(obj, r->body);
    if (e == 0)
        e = entry_put_json(r->vault, r->space, "config", obj);
    r->status = 204;
    return e;
}

/* --- A key's metadata ----------------------------------------------------------------------------
 */

int kv_meta_load(struct engine_request *r, const char *key, json_t **out)
{
    char path[KV_PATH_LEN];
    _cleanup_json_ json_t *shared = NULL;
    kv_path(path, "m/", key);
    *out = NULL;
    int e = entry_peek_json(r->vault, r->space, path, &shared);
    if (e != 0)
        return e;
    *out = json_deep_copy(shared);
    return *out ? 0 : -ENOMEM;
}

int kv_meta_peek(struct engine_request *r, const char *key, json_t **out)
{
    char path[KV_PATH_LEN];
    kv_path(path, "m/", key);
    return entry_peek_json(r->vault, r->space, path, out);
}

int kv_meta_store(struct engine_request *r, const char *key, json_t *meta)
{
    char path[KV_PATH_LEN];
    kv_path(path, "m/", key);
    return entry_put_peek(r->vault, r->space, path, meta);
}

json_t *kv_meta_new(int64_t now_ms)
{
    char id[ID_LEN + 1];
    encode_random_base62(id, ID_LEN);
    return json_pack("{s:s, s:i, s:i, s:I, s:I, s:i, s:b, s:i, s:n, s:{}}", "id", id, "current", 0,
                     "oldest", 0, "created", (json_int_t)now_ms, "updated", (json_int_t)now_ms,
                     "max_versions", 0, "cas_required", 0, "delete_after", 0, "custom", "versions");
}

json_t *kv_meta_version(const json_t *meta, int64_t n)
{
    char name[24];
    (void)snprintf(name, sizeof(name), "%lld", (long long)n);
    return json_object_get(json_object_get(meta, "versions"), name);
}

static json_t *show_versions(const json_t *meta)
{
    json_t *out = json_object(), *version;
    const char *n;
    json_object_foreach(json_object_get(meta, "versions"), n, version)
    {
        json_t *one = json_pack("{s:o, s:o, s:b}", "created_time",
                                kv_meta_stamp(json_int(version, "created", 0)), "deletion_time",
                                kv_meta_stamp(json_int(version, "deleted", 0)), "destroyed",
                                json_bool(version, "destroyed", false));
        if (json_object_set_new(out, n, one) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

int kv_meta_read(struct engine_request *r, const char *key)
{
    _cleanup_json_ json_t *meta = NULL;
    int e = kv_meta_load(r, key, &meta);
    if (e != 0)
        return e < 0 ? e : engine_none(r);
    return engine_data(r, json_pack("{s:b, s:o, s:I, s:O, s:o, s:I, s:I, s:o, s:o}", "cas_required",
                                    json_bool(meta, "cas_required", false), "created_time",
                                    kv_meta_stamp(json_int(meta, "created", 0)), "current_version",
                                    (json_int_t)json_int(meta, "current", 0), "custom_metadata",
                                    json_object_get(meta, "custom"), "delete_version_after",
                                    go_duration(json_int(meta, "delete_after", 0)), "max_versions",
                                    (json_int_t)json_int(meta, "max_versions", 0), "oldest_version",
                                    (json_int_t)json_int(meta, "oldest", 0), "updated_time",
                                    kv_meta_stamp(json_int(meta, "updated", 0)), "versions",
                                    show_versions(meta)));
}

/* NULL, or what is wrong. removable: a null removes. */
static const char *custom_fault(const json_t *custom, bool removable)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)custom, name, value)
    {
        size_t n = strlen(name);
        if (n == 0 || n > CUSTOM_KEY_MAX)
            return "custom_metadata: a key has 1 to 128 bytes";
        if (json_is_null(value) && removable)
            continue;
        if (!json_is_string(value) || json_string_length(value) == 0 ||
            json_string_length(value) > CUSTOM_VALUE_MAX)
            return "custom_metadata: a value is a string of 1 to 512 bytes";
    }
    return json_object_size(custom) > CUSTOM_MAX ? "custom_metadata: at most 64 keys" : NULL;
}

/* RFC 7396 on one level: null removes. */
static int patch_custom(json_t *meta, const json_t *change)
{
    json_t *old = json_object_get(meta, "custom"), *value;
    const char *name;
    json_t *custom = json_is_object(old) ? json_deep_copy(old) : json_object();
    json_object_foreach((json_t *)(uintptr_t)change, name, value)
    {
        if (json_is_null(value))
            (void)json_object_del(custom, name);
        else if (json_object_set(custom, name, value) < 0) {
            json_decref(custom);
            return -ENOMEM;
        }
    }
    return json_object_set_new(meta, "custom", custom) < 0 ? -ENOMEM : 0;
}

/* 1: an error answer stands in r. */
static int change_custom(struct engine_request *r, json_t *meta)
{
    json_t *given = json_object_get(r->body, "custom_metadata");
    bool patch = r->op == ENGINE_PATCH;
    if (!json_is_object(given))
        return 0;
    const char *fault = custom_fault(given, patch);
    int e = fault   ? 0
            : patch ? patch_custom(meta, given)
                    : (json_object_set(meta, "custom", given) < 0 ? -ENOMEM : 0);
    if (e == 0 && !fault)
        fault = custom_fault(json_object_get(meta, "custom"), false);
    if (!fault)
        return e;
    engine_error(r, 400, "%s", fault);
    return 1;
}

static int change(struct engine_request *r, const char *key, json_t *meta)
{
    int e = overlay(meta, r->body);
    if (e == 0)
        e = json_set_int(meta, "updated", r->now_ms);
    if (e == 0)
        e = change_custom(r, meta);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    r->status = 204;
    return kv_meta_store(r, key, meta);
}

int kv_meta_write(struct engine_request *r, const char *key)
{
    _cleanup_json_ json_t *meta = NULL;
    int e = check_settings(r);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    e = kv_meta_load(r, key, &meta);
    if (e < 0)
        return e;
    if (e == ENTRY_E_NONE)
        meta = kv_meta_new(r->now_ms);
    return meta ? change(r, key, meta) : -ENOMEM;
}

int kv_meta_patch(struct engine_request *r, const char *key)
{
    _cleanup_json_ json_t *meta = NULL;
    int e = check_settings(r);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    e = kv_meta_load(r, key, &meta);
    if (e != 0)
        return e < 0 ? e : engine_none(r);
    return change(r, key, meta);
}

int kv_meta_delete(struct engine_request *r, const char *key)
{
    char path[KV_PATH_LEN], folder[ID_LEN + 8];
    _cleanup_json_ json_t *meta = NULL;
    int e = kv_meta_load(r, key, &meta);
    r->status = 204;
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    (void)snprintf(folder, sizeof(folder), "v/%.*s/", ID_LEN, json_str_or(meta, "id", ""));
    kv_path(path, "m/", key);
    e = entry_delete_tree(r->vault, r->space, folder);
    if (e >= 0)
        e = entry_delete(r->vault, r->space, path);
    return e < 0 ? e : ENGINE_DONE;
}

int kv_meta_list(struct engine_request *r, const char *folder)
{
    char path[KV_PATH_LEN];
    kv_path(path, "m/", folder);
    return engine_list(r, path);
}
