#include "engine/kv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/kv_inner.h"

void kv_path(char out[KV_PATH_LEN], const char *prefix, const char *key)
{
    size_t n = strnlen(prefix, 3);
    memcpy(out, prefix, n);
    mem_text(out + n, ENTRY_PATH_MAX - 1, key);
}

/* --- Version 1 -----------------------------------------------------------------------------------
 */

static int v1_read(struct engine_request *r, const char *key)
{
    char path[KV_PATH_LEN];
    kv_path(path, "d/", key);
    int e = entry_get(r->vault, r->space, path, &r->raw_data);
    return e == ENTRY_E_NONE ? engine_none(r) : e;
}

static int v1_write(struct engine_request *r, const char *key)
{
    char path[KV_PATH_LEN];
    if (json_object_size(r->body) == 0)
        return engine_error(r, 400, "missing data fields");
    if (r->raw_len > ENTRY_VALUE_MAX)
        return engine_error(r, 413, "the value is larger than %d bytes", ENTRY_VALUE_MAX);
    kv_path(path, "d/", key);
    int e = entry_put(r->vault, r->space, path, r->raw, r->raw_len);
    r->status = 204;
    return e;
}

static int v1_delete(struct engine_request *r, const char *key)
{
    char path[KV_PATH_LEN];
    kv_path(path, "d/", key);
    int e = entry_delete(r->vault, r->space, path);
    r->status = 204;
    return e < 0 ? e : ENGINE_DONE;
}

static int v1_list(struct engine_request *r, const char *folder)
{
    char path[KV_PATH_LEN];
    kv_path(path, "d/", folder);
    return engine_list(r, path);
}

/* --- Routes --------------------------------------------------------------------------------------
 */

struct route {
    const char *prefix; /* without a '/' at its end: the whole path */
    kv_handler by_op[ENGINE_LIST + 1];
};

static const struct route v1_routes[] = {
    {"",
     {[ENGINE_READ] = v1_read,
      [ENGINE_WRITE] = v1_write,
      [ENGINE_DELETE] = v1_delete,
      [ENGINE_LIST] = v1_list}},
    {0},
};

static const struct route v2_routes[] = {
    {"config", {[ENGINE_READ] = kv_config_read, [ENGINE_WRITE] = kv_config_write}},
    {"data/",
     {[ENGINE_READ] = kv_data_read,
      [ENGINE_WRITE] = kv_data_write,
      [ENGINE_PATCH] = kv_data_patch,
      [ENGINE_DELETE] = kv_data_delete_latest}},
    {"delete/", {[ENGINE_WRITE] = kv_data_delete}},
    {"undelete/", {[ENGINE_WRITE] = kv_data_undelete}},
    {"destroy/", {[ENGINE_WRITE] = kv_data_destroy}},
    {"subkeys/", {[ENGINE_READ] = kv_data_subkeys}},
    {"metadata/",
     {[ENGINE_READ] = kv_meta_read,
      [ENGINE_WRITE] = kv_meta_write,
      [ENGINE_PATCH] = kv_meta_patch,
      [ENGINE_DELETE] = kv_meta_delete,
      [ENGINE_LIST] = kv_meta_list}},
    {0},
};

static bool matches(const struct route *t, const char *path)
{
    size_t n = strlen(t->prefix);
    if (n > 0 && t->prefix[n - 1] != '/')
        return strcmp(path, t->prefix) == 0;
    return strncmp(path, t->prefix, n) == 0;
}

static int dispatch(struct engine_request *r, const struct route *t)
{
    while (t->prefix && !matches(t, r->path))
        t++;
    if (!t->prefix)
        return engine_error(r, 404,
                            "no handler for \"%.200s\": this is KV version 2, its paths "
                            "begin with data/, metadata/, delete/, undelete/, destroy/ or subkeys/",
                            r->path);
    kv_handler handler = t->by_op[r->op];
    if (!handler)
        return engine_error(r, 405, "unsupported operation");
    const char *key = r->path + strlen(t->prefix);
    size_t n = strlen(key);
    bool whole = t->prefix[0] && t->prefix[strlen(t->prefix) - 1] != '/';
    if (n > KV_KEY_MAX)
        return engine_error(r, 400, "the path is longer than %d bytes", KV_KEY_MAX);
    if (r->op != ENGINE_LIST && !whole && (n == 0 || key[n - 1] == '/'))
        return r->op == ENGINE_READ
                   ? engine_none(r)
                   : engine_error(r, 400, "the path must name a key, not a folder");
    return handler(r, key);
}

/* --- The mount -----------------------------------------------------------------------------------
 */

static int mount_version(struct engine_request *r, int *version)
{
    _cleanup_json_ json_t *kept = NULL;
    int e = entry_peek_json(r->vault, r->space, "version", &kept);
    *version = e == 0 && json_integer_value(kept) == 2 ? 2 : 1;
    return e < 0 ? e : 0;
}

static int handle(struct engine_request *r)
{
    int version, e = mount_version(r, &version);
    return e < 0 ? e : dispatch(r, version == 2 ? v2_routes : v1_routes);
}

/* For create or update. */
static int exists(struct engine_request *r)
{
    char path[KV_PATH_LEN];
    int version, e = mount_version(r, &version);
    bool data = strncmp(r->path, "data/", 5) == 0;
    const char *key = version == 2 && data ? r->path + 5 : r->path;
    size_t n = strlen(key);
    if (e < 0)
        return e;
    if (version == 2 && !data)
        return 1;
    if (n == 0 || n > KV_KEY_MAX || key[n - 1] == '/')
        return 1; /* refused later */
    _cleanup_buf_ struct buf b = BUF_INIT(ENTRY_VALUE_MAX);
    _cleanup_json_ json_t *meta = NULL;
    kv_path(path, version == 2 ? "m/" : "d/", key);
    e = version == 2 ? entry_peek_json(r->vault, r->space, path, &meta)
                     : entry_get(r->vault, r->space, path, &b);
    return e < 0 ? e : e == 0;
}

static int mounted(struct vault *v, const char *space, json_t *options, char *why, size_t whylen)
{
    const char *version = json_str_or(options, "version", "1");
    const json_t *given = json_object_get(options, "version");
    if (json_is_integer(given))
        version = json_integer_value(given) == 2 ? "2" : json_integer_value(given) == 1 ? "1" : "?";
    if (strcmp(version, "1") != 0 && strcmp(version, "2") != 0) {
        (void)snprintf(why, whylen, "the option version of a kv mount is \"1\" or \"2\"");
        return -EINVAL;
    }
    return entry_put(v, space, "version", version, 1);
}

const struct engine kv_engine = {
    .type = "kv",
    .description = "keys and values, with versions if wanted",
    .handle = handle,
    .exists = exists,
    .mounted = mounted,
};
