/* KV version 2: versions written, read, deleted, brought back, destroyed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/kv_inner.h"

#define VERSIONS_MAX 1024 /* of one request */

static void version_path(char out[KV_PATH_LEN], const json_t *meta, int64_t n)
{
    (void)snprintf(out, KV_PATH_LEN, "v/%.24s/%lld", json_str_or(meta, "id", ""), (long long)n);
}

static bool is_deleted(const json_t *version, int64_t now_ms)
{
    int64_t at = json_int(version, "deleted", 0);
    return json_bool(version, "destroyed", false) || (at && at <= now_ms);
}

/* What Vault tells of a version, with its data and after writing it. */
static json_t *describe(const json_t *meta, int64_t n)
{
    const json_t *v = kv_meta_version(meta, n);
    return json_pack("{s:o, s:O, s:o, s:b, s:I}", "created_time",
                     kv_meta_stamp(json_int(v, "created", 0)), "custom_metadata",
                     json_object_get(meta, "custom"), "deletion_time",
                     kv_meta_stamp(json_int(v, "deleted", 0)), "destroyed",
                     json_bool(v, "destroyed", false), "version", (json_int_t)n);
}

/* --- Reading -------------------------------------------------------------------------------------
 */

/* 0 = the current one. 1: an error answer stands in r. */
static int wanted_version(struct engine_request *r, int64_t *n)
{
    const char *text = engine_query(r, "version");
    char *end;
    *n = 0;
    if (!text || !text[0])
        return 0;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || *end || v < 0 || text[0] < '0' || text[0] > '9') {
        engine_error(r, 400, "version must be a number");
        return 1;
    }
    *n = v;
    return 0;
}

/* Deleted and destroyed versions: 404, and yet what is known of them. */
static int answer_deleted(struct engine_request *r, const json_t *meta, int64_t n, const char *what)
{
    r->status = 404;
    r->error[0] = '\0';
    return engine_data(r, json_pack("{s:n, s:o}", what, "metadata", describe(meta, n)));
}

/* The metadata (shared: not to be changed) and the number of a version that can be read; *meta
 * NULL: the answer stands in r. */
static int find_version(struct engine_request *r, const char *key, int64_t n, const char *what,
                        json_t **meta, int64_t *found)
{
    int e = kv_meta_peek(r, key, meta);
    if (e != 0)
        return e < 0 ? e : engine_none(r);
    *found = n ? n : json_int(*meta, "current", 0);
    const json_t *version = kv_meta_version(*meta, *found);
    if (version && !is_deleted(version, r->now_ms))
        return 0;
    e = version ? answer_deleted(r, *meta, *found, what) : engine_none(r);
    json_decref(*meta);
    *meta = NULL;
    return e;
}

static int get_bytes(struct engine_request *r, const json_t *meta, int64_t n, struct buf *out)
{
    char path[KV_PATH_LEN];
    version_path(path, meta, n);
    int e = entry_get(r->vault, r->space, path, out);
    return e == ENTRY_E_NONE ? -EBADMSG : e; /* its metadata says that it is there */
}

static void put_stamp(struct buf *b, const char *name, int64_t ms)
{
    char text[CLOCK_STAMP_LEN] = "";
    if (ms)
        clock_stamp(ms, 1, text);
    buf_puts(b, name);
    buf_puts(b, text);
}

/* describe() as text: this stands in each answer. */
static void put_description(struct buf *b, const json_t *meta, int64_t n)
{
    const json_t *v = kv_meta_version(meta, n);
    put_stamp(b, "{\"created_time\":\"", json_int(v, "created", 0));
    buf_puts(b, "\",\"custom_metadata\":");
    json_put(b, json_object_get(meta, "custom"));
    put_stamp(b, ",\"deletion_time\":\"", json_int(v, "deleted", 0));
    buf_puts(b, json_bool(v, "destroyed", false) ? "\",\"destroyed\":true,\"version\":"
                                                 : "\",\"destroyed\":false,\"version\":");
    buf_put_dec(b, n);
    buf_putc(b, '}');
}

int kv_data_read(struct engine_request *r, const char *key)
{
    int64_t n;
    _cleanup_json_ json_t *meta = NULL;
    int e = wanted_version(r, &n);
    if (e == 0)
        e = find_version(r, key, n, "data", &meta, &n);
    if (e < 0 || !meta)
        return e < 0 ? e : ENGINE_DONE;
    buf_puts(&r->raw_data, "{\"data\":");
    e = get_bytes(r, meta, n, &r->raw_data);
    if (e < 0)
        return e;
    buf_puts(&r->raw_data, ",\"metadata\":");
    put_description(&r->raw_data, meta, n);
    buf_putc(&r->raw_data, '}');
    return buf_error(&r->raw_data);
}

/* --- Writing -------------------------------------------------------------------------------------
 */

static int refuse(struct engine_request *r, const char *reason)
{
    (void)engine_error(r, 400, "%s", reason);
    return 1;
}

/* 1: an error answer stands in r. */
static int check_cas(struct engine_request *r, const struct kv_config *c, const json_t *meta)
{
    static const struct json_field fields[] = {
        {.name = "cas", .kind = JSON_KIND_INT, .min = 0, .max = INT64_MAX}, {0}};
    char why[200];
    json_t *options = json_object_get(r->body, "options");
    if (options && !json_is_object(options) && !json_is_null(options))
        return refuse(r, "options must be an object");
    if (!json_is_object(options))
        options = NULL;
    int e = json_check(options, fields, false, why, sizeof(why));
    if (e == -EINVAL)
        return refuse(r, why);
    if (e < 0)
        return e;
    int64_t cas = json_int(options, "cas", -1);
    if (cas < 0 && (c->cas_required || json_bool(meta, "cas_required", false)))
        return refuse(r, "check-and-set parameter required for this call");
    if (cas >= 0 && cas != json_int(meta, "current", 0))
        return refuse(r, "check-and-set parameter did not match the current version");
    return 0;
}

/* 1: an error answer stands in r. */
static int check_data(struct engine_request *r)
{
    const json_t *data = json_object_get(r->body, "data");
    if (!data || json_is_null(data))
        return refuse(r, "no data provided");
    if (!json_is_object(data))
        return refuse(r, "data must be an object");
    return 0;
}

/* Versions beyond the bound go for good. */
static int prune(struct engine_request *r, const struct kv_config *c, json_t *meta)
{
    int64_t max = json_int(meta, "max_versions", 0);
    if (max == 0)
        max = c->max_versions ? c->max_versions : KV_VERSIONS_DEFAULT;
    int64_t oldest = json_int(meta, "current", 0) - max + 1;
    if (oldest <= 1)
        return 0;
    json_t *versions = json_object_get(meta, "versions"), *version;
    const char *name;
    void *next;
    json_object_foreach_safe(versions, next, name, version)
    {
        char path[KV_PATH_LEN];
        int64_t n = strtoll(name, NULL, 10);
        if (n >= oldest)
            continue;
        version_path(path, meta, n);
        int e = entry_delete(r->vault, r->space, path);
        if (e < 0)
            return e;
        (void)json_object_del(versions, name);
    }
    return json_set_int(meta, "oldest", oldest);
}

static int64_t deletion_time(const struct engine_request *r, const struct kv_config *c,
                             const json_t *meta)
{
    int64_t after = json_int(meta, "delete_after", 0);
    if (after == 0)
        after = c->delete_after;
    return after ? r->now_ms + after * 1000 : 0;
}

static int add_version(struct engine_request *r, const char *key, const struct kv_config *c,
                       json_t *meta, const char *bytes, size_t n)
{
    char path[KV_PATH_LEN], name[24];
    int64_t number = json_int(meta, "current", 0) + 1;
    if (n > ENTRY_VALUE_MAX)
        return engine_error(r, 413, "the data are larger than %d bytes", ENTRY_VALUE_MAX);
    version_path(path, meta, number);
    (void)snprintf(name, sizeof(name), "%lld", (long long)number);
    int e = entry_put(r->vault, r->space, path, bytes, n);
    if (e < 0)
        return e;
    json_t *version = json_pack("{s:I, s:I, s:b}", "created", (json_int_t)r->now_ms, "deleted",
                                (json_int_t)deletion_time(r, c, meta), "destroyed", 0);
    if (json_object_set_new(json_object_get(meta, "versions"), name, version) < 0)
        return -ENOMEM;
    e = json_set_int(meta, "current", number);
    if (e == 0)
        e = json_set_int(meta, "updated", r->now_ms);
    if (e == 0)
        e = prune(r, c, meta);
    if (e == 0)
        e = kv_meta_store(r, key, meta);
    return e < 0 ? e : engine_data(r, describe(meta, number));
}

int kv_data_write(struct engine_request *r, const char *key)
{
    struct kv_config c;
    const char *bytes;
    size_t n;
    _cleanup_json_ json_t *meta = NULL;
    int e = check_data(r);
    if (e == 0)
        e = kv_config_load(r, &c);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    e = kv_meta_load(r, key, &meta);
    if (e == ENTRY_E_NONE)
        meta = kv_meta_new(r->now_ms);
    if (e < 0 || !meta)
        return e < 0 ? e : -ENOMEM;
    e = check_cas(r, &c, meta);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    e = json_raw_member(r->raw, r->raw_len, "data", &bytes, &n);
    return e < 0 ? e : add_version(r, key, &c, meta, bytes, n);
}

/* The current version's data with the patch laid over them. */
static int patched(struct engine_request *r, const json_t *meta, int64_t n, struct buf *out)
{
    const char *patch;
    size_t len;
    _cleanup_buf_ struct buf old = BUF_INIT(ENTRY_VALUE_MAX);
    int e = get_bytes(r, meta, n, &old);
    if (e == 0)
        e = json_raw_member(r->raw, r->raw_len, "data", &patch, &len);
    return e < 0 ? e : kv_merge(buf_str(&old), old.len, patch, len, out);
}

int kv_data_patch(struct engine_request *r, const char *key)
{
    struct kv_config c;
    int64_t n;
    _cleanup_json_ json_t *shared = NULL, *meta = NULL;
    int e = check_data(r);
    if (e == 0)
        e = kv_config_load(r, &c);
    if (e == 0)
        e = find_version(r, key, 0, "data", &shared, &n);
    if (e != 0 || !shared)
        return e < 0 ? e : ENGINE_DONE;
    meta = json_deep_copy(shared);
    e = meta ? check_cas(r, &c, meta) : -ENOMEM;
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    _cleanup_buf_ struct buf data = BUF_INIT(4 * ENTRY_VALUE_MAX);
    e = patched(r, meta, n, &data);
    return e < 0 ? e : add_version(r, key, &c, meta, buf_str(&data), data.len);
}

/* --- Deleting ------------------------------------------------------------------------------------
 */

int kv_data_delete_latest(struct engine_request *r, const char *key)
{
    _cleanup_json_ json_t *meta = NULL;
    int e = kv_meta_load(r, key, &meta);
    r->status = 204;
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    json_t *version = kv_meta_version(meta, json_int(meta, "current", 0));
    if (!version || is_deleted(version, r->now_ms))
        return ENGINE_DONE;
    e = json_set_int(version, "deleted", r->now_ms);
    return e < 0 ? e : kv_meta_store(r, key, meta);
}

/* Reads one number of "versions": an integer, or a string of digits. */
static int64_t read_number(const char *s, size_t n)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || v > INT64_MAX / 20)
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return n ? v : -1;
}

static int read_text(const char *s, int64_t *list, size_t *n)
{
    for (;;) {
        size_t len = strcspn(s, ",");
        if (*n >= VERSIONS_MAX)
            return -EINVAL;
        list[*n] = read_number(s, len);
        if (list[(*n)++] < 0)
            return -EINVAL;
        if (!s[len])
            return 0;
        s += len + 1;
    }
}

static int read_item(const json_t *v, int64_t *list, size_t *n)
{
    if (json_is_string(v))
        return read_text(json_string_value(v), list, n);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || *n >= VERSIONS_MAX)
        return -EINVAL;
    list[(*n)++] = json_integer_value(v);
    return 0;
}

/* An array of numbers, one number, or a comma-separated string, as Vault takes them. */
static int read_versions(const json_t *given, int64_t *list, size_t *n)
{
    const json_t *item;
    size_t i;
    *n = 0;
    if (!json_is_array(given))
        return read_item(given, list, n);
    json_array_foreach((json_t *)(uintptr_t)given, i, item)
    {
        if (read_item(item, list, n) < 0)
            return -EINVAL;
    }
    return 0;
}

/* What is to be done with one version: 1 it was changed, 0 nothing to do. */
typedef int (*change_fn)(struct engine_request *r, const json_t *meta, json_t *version, int64_t n);

static int for_versions(struct engine_request *r, const char *key, change_fn change)
{
    int64_t list[VERSIONS_MAX];
    size_t n;
    bool changed = false;
    _cleanup_json_ json_t *meta = NULL;
    const json_t *given = json_object_get(r->body, "versions");
    if (!given || json_is_null(given) || (json_is_array(given) && json_array_size(given) == 0))
        return engine_error(r, 400, "No version number provided");
    if (read_versions(given, list, &n) < 0)
        return engine_error(r, 400, "versions must be a list of at most %d numbers", VERSIONS_MAX);
    int e = kv_meta_load(r, key, &meta);
    r->status = 204;
    for (size_t i = 0; e == 0 && i < n; i++) {
        json_t *version = kv_meta_version(meta, list[i]);
        e = version ? change(r, meta, version, list[i]) : 0;
        changed = changed || e > 0;
        e = e < 0 ? e : 0;
    }
    if (e != 0 || !changed)
        return e < 0 ? e : ENGINE_DONE;
    return kv_meta_store(r, key, meta);
}

static int delete_one(struct engine_request *r, const json_t *meta _unused_, json_t *version,
                      int64_t n _unused_)
{
    if (is_deleted(version, r->now_ms))
        return 0;
    int e = json_set_int(version, "deleted", r->now_ms);
    return e < 0 ? e : 1;
}

static int undelete_one(struct engine_request *r _unused_, const json_t *meta _unused_,
                        json_t *version, int64_t n _unused_)
{
    if (json_bool(version, "destroyed", false))
        return 0;
    int e = json_set_int(version, "deleted", 0);
    return e < 0 ? e : 1;
}

static int destroy_one(struct engine_request *r, const json_t *meta, json_t *version, int64_t n)
{
    char path[KV_PATH_LEN];
    if (json_bool(version, "destroyed", false))
        return 0;
    version_path(path, meta, n);
    int e = entry_delete(r->vault, r->space, path);
    if (e >= 0)
        e = json_set_bool(version, "destroyed", true);
    return e < 0 ? e : 1;
}

int kv_data_delete(struct engine_request *r, const char *key)
{
    return for_versions(r, key, delete_one);
}

int kv_data_undelete(struct engine_request *r, const char *key)
{
    return for_versions(r, key, undelete_one);
}

int kv_data_destroy(struct engine_request *r, const char *key)
{
    return for_versions(r, key, destroy_one);
}

/* --- Names without values ------------------------------------------------------------------------
 */

/* Puts null in the place of everything below depth that is no object, and of what lies deeper. */
static int strip(json_t *obj, long depth)
{
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(obj, next, name, value)
    {
        bool deeper = json_is_object(value) && json_object_size(value) > 0 && depth != 1;
        int e = deeper ? strip(value, depth > 0 ? depth - 1 : 0)
                       : json_object_set_new(obj, name, json_null());
        if (e < 0)
            return -ENOMEM;
    }
    return 0;
}

static int show_subkeys(struct engine_request *r, const json_t *meta, int64_t n, long depth)
{
    char why[128];
    _cleanup_buf_ struct buf bytes = BUF_INIT(ENTRY_VALUE_MAX);
    _cleanup_json_ json_t *data = NULL;
    int e = get_bytes(r, meta, n, &bytes);
    if (e == 0)
        e = json_parse(buf_str(&bytes), bytes.len, &data, why, sizeof(why));
    if (e == 0)
        e = strip(data, depth);
    if (e < 0)
        return e;
    return engine_data(r, json_pack("{s:O, s:o}", "subkeys", data, "metadata", describe(meta, n)));
}

int kv_data_subkeys(struct engine_request *r, const char *key)
{
    int64_t n;
    _cleanup_json_ json_t *meta = NULL;
    const char *text = engine_query(r, "depth");
    char *end = NULL;
    long depth = text && text[0] ? strtol(text, &end, 10) : 0;
    if (depth < 0 || depth > JSON_DEPTH_MAX || (end && *end))
        return engine_error(r, 400, "depth must be a number from 0 to %d", JSON_DEPTH_MAX);
    int e = wanted_version(r, &n);
    if (e == 0)
        e = find_version(r, key, n, "subkeys", &meta, &n);
    if (e < 0 || !meta)
        return e < 0 ? e : ENGINE_DONE;
    return show_subkeys(r, meta, n, depth);
}
