/* config/NAME: a database, and the account it is administered with. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/database_inner.h"

#define FOLDER "config"

static const struct json_field fields[] = {
    {.name = "plugin_name", .kind = JSON_KIND_STRING, .max = 128},
    {.name = "connection_url", .kind = JSON_KIND_STRING, .min = 1, .max = 4096},
    {.name = "username", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "password", .kind = JSON_KIND_STRING, .max = 1024},
    {.name = "allowed_roles", .kind = JSON_KIND_STRINGS},
    {.name = "verify_connection", .kind = JSON_KIND_BOOL},
    {.name = "password_authentication", .kind = JSON_KIND_STRING, .max = 32},
    {0},
};

/* Ignoring these would connect in another way than the operator meant. */
static const struct {
    const char *name, *instead;
} refused[] = {
    {"tls_ca", "give the file in connection_url: sslrootcert=/path"},
    {"tls_certificate", "give the file in connection_url: sslcert=/path"},
    {"private_key", "give the file in connection_url: sslkey=/path"},
    {"auth_type", "log in by user name and password, or by a certificate"},
    {"service_account_json", "log in by user name and password, or by a certificate"},
    {"self_managed", "the agent needs an account that may create roles"},
};

int database_config_load(struct vault *v, const char *space, const char *name, json_t **out)
{
    return database_load(v, space, FOLDER, name, out);
}

json_t *database_config_db(const char *name, const json_t *config)
{
    json_t *db =
        json_pack("{s:s, s:s}", "name", name, "url", json_str_or(config, "connection_url", ""));
    static const char *const optional[] = {"username", "password"};
    for (size_t i = 0; db && i < ARRAY_LEN(optional); i++) {
        const char *value = json_str(config, optional[i]);
        if (value && value[0] && json_set_str(db, optional[i], value) < 0) {
            json_decref(db);
            return NULL;
        }
    }
    return db;
}

/* Vault's globs: a '*' at the beginning, at the end, or both. */
static bool glob(const char *pattern, const char *s)
{
    size_t n = strlen(pattern), len = strlen(s);
    bool front = n > 0 && pattern[0] == '*', back = n > 1 && pattern[n - 1] == '*';
    char middle[DATABASE_NAME_MAX + 1];
    if (n == 1 && front)
        return true;
    const char *from = pattern + front;
    size_t m = n - front - back;
    if (m >= sizeof(middle) || m > len)
        return false;
    memcpy(middle, from, m);
    middle[m] = '\0';
    if (front && back)
        return strstr(s, middle) != NULL;
    if (front)
        return strcmp(s + len - m, middle) == 0;
    return back ? strncmp(s, middle, m) == 0 : strcmp(s, middle) == 0;
}

bool database_config_allows(const json_t *config, const char *role)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(config, "allowed_roles"), i, one)
    {
        if (json_is_string(one) && glob(json_string_value(one), role))
            return true;
    }
    return false;
}

/* --- Reading -------------------------------------------------------------------------------------
 */

int database_config_read(struct engine_request *r, const char *name)
{
    _cleanup_json_ json_t *config = NULL;
    _cleanup_buf_ struct buf url = BUF_INIT(32 * 1024);
    int e = database_config_load(r->vault, r->space, name, &config);
    if (e != 0)
        return e < 0 ? e : engine_none(r);
    e = database_url_mask(json_str_or(config, "connection_url", ""), &url);
    if (e < 0)
        return e;
    return engine_data(r, json_pack("{s:s, s:{s:s, s:s, s:s}, s:O, s:b, s:[], s:s, s:s}",
                                    "plugin_name", json_str_or(config, "plugin_name", ""),
                                    "connection_details", "connection_url", buf_str(&url),
                                    "username", json_str_or(config, "username", ""),
                                    "password_authentication", "scram-sha-256", "allowed_roles",
                                    json_object_get(config, "allowed_roles"), "verify_connection",
                                    json_bool(config, "verify_connection", true),
                                    "root_credentials_rotate_statements", "password_policy", "",
                                    "plugin_version", ""));
}

int database_config_list(struct engine_request *r, const char *name _unused_)
{
    return engine_list(r, FOLDER "/");
}

/* --- Writing -------------------------------------------------------------------------------------
 */

static int refuse(struct engine_request *r, const char *field, const char *reason)
{
    (void)engine_error(r, 400, "%s: %s", field, reason);
    return 1;
}

/* 1: an error answer stands in r. */
static int check_fields(struct engine_request *r)
{
    char why[256];
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (json_object_get(r->body, refused[i].name))
            return refuse(r, refused[i].name, refused[i].instead);
    }
    int e = json_check(r->body, fields, false, why, sizeof(why));
    if (e == -EINVAL) {
        (void)engine_error(r, 400, "%s", why);
        return 1;
    }
    return e;
}

static bool printable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    }
    return true;
}

/* 1: an error answer stands in r. */
static int check_config(struct engine_request *r, const json_t *config)
{
    const char *plugin = json_str_or(config, "plugin_name", "");
    const char *url = json_str_or(config, "connection_url", "");
    const char *how = json_str_or(config, "password_authentication", "scram-sha-256");
    if (!plugin[0])
        return refuse(r, "plugin_name", "empty plugin name: it is \"" DATABASE_PLUGIN "\"");
    if (strcmp(plugin, DATABASE_PLUGIN) != 0)
        return refuse(r, "plugin_name", "the only one is \"" DATABASE_PLUGIN "\"");
    if (!url[0])
        return refuse(r, "connection_url", "connection_url cannot be empty");
    if (!printable(url) || !printable(json_str_or(config, "username", "")) ||
        !printable(json_str_or(config, "password", "")))
        return refuse(r, "connection_url, username, password", "control characters are refused");
    if (strcmp(how, "scram-sha-256") != 0)
        return refuse(r, "password_authentication",
                      "only \"scram-sha-256\": the database is never told a password");
    return 0;
}

/* Leases that are out are revoked at what is written here by then. */
static int warn_moved(struct engine_request *r, const char *name, const json_t *config)
{
    _cleanup_json_ json_t *old = NULL;
    int e = database_config_load(r->vault, r->space, name, &old);
    if (e != 0)
        return e < 0 ? e : 0;
    if (strcmp(json_str_or(old, "connection_url", ""), json_str_or(config, "connection_url", "")) ==
        0)
        return 0;
    return engine_warn(r, "connection_url was changed: accounts that are out are looked for, and "
                          "revoked, at the new one");
}

static int save(struct engine_request *r, const char *name, const json_t *config)
{
    char path[DATABASE_PATH_LEN];
    database_path(path, FOLDER, name);
    int e = warn_moved(r, name, config);
    if (e == 0 && json_array_size(json_object_get(config, "allowed_roles")) == 0)
        e = engine_warn(r, "allowed_roles is empty: no role may use this database yet");
    if (e == 0)
        e = entry_put_json(r->vault, r->space, path, config);
    return e;
}

static int verified(struct engine_request *r, struct database_state *s, const json_t *answer)
{
    const json_t *problem;
    size_t i;
    if (!json_bool(answer, "ok", false))
        return engine_error(r, 400,
                            "error verifying connection: %.300s; nothing was changed "
                            "(verify_connection=false writes it unverified)",
                            json_str_or(answer, "message", "no reason given"));
    int e = save(r, s->name, s->config);
    json_array_foreach(json_object_get(answer, "problems"), i, problem)
    {
        if (e == 0 && json_is_string(problem))
            e = engine_warn(r, "%s", json_string_value(problem));
    }
    return e;
}

static int verify(struct engine_request *r, const char *name, json_t *config)
{
    struct database_state *s = database_state_new(r, name);
    if (!s)
        return -ENOMEM;
    s->answered = verified;
    s->config = json_incref(config);
    r->frame = json_pack("{s:s, s:o}", "op", "check", "db", database_config_db(name, config));
    return r->frame ? ENGINE_CALL : -ENOMEM;
}

/* Nothing new need not be tried out on the database, which may be away. */
static int is_stored(struct engine_request *r, const char *name, const json_t *config, bool *same)
{
    _cleanup_json_ json_t *old = NULL;
    int e = database_config_load(r->vault, r->space, name, &old);
    *same = e == 0 && json_equal(old, config);
    return e < 0 ? e : 0;
}

int database_config_write(struct engine_request *r, const char *name)
{
    _cleanup_json_ json_t *config = NULL;
    int e = check_fields(r);
    if (e == 0)
        e = database_overlay(r, FOLDER, name, fields, json_pack("{s:[]}", "allowed_roles"),
                             &config);
    if (e == 0)
        e = check_config(r, config);
    if (e != 0)
        return e < 0 ? e : ENGINE_DONE;
    e = database_warn_unknown(r, fields);
    if (e < 0)
        return e;
    bool same = false;
    if (r->check)
        e = is_stored(r, name, config, &same);
    if (e < 0)
        return e;
    if (json_bool(config, "verify_connection", true) && !same)
        return verify(r, name, config);
    return save(r, name, config);
}

/* --- Deleting, and closing connections -----------------------------------------------------------
 */

static int forgotten(struct engine_request *r _unused_, struct database_state *s _unused_,
                     const json_t *answer _unused_)
{
    return ENGINE_DONE; /* idle connections end by themselves, too */
}

static int closed(struct engine_request *r, struct database_state *s, const json_t *answer)
{
    if (!json_bool(answer, "ok", false))
        return database_failed(r, s->name, answer);
    r->status = 204;
    return ENGINE_DONE;
}

static int forget(struct engine_request *r, const char *name, const json_t *config,
                  int (*then)(struct engine_request *, struct database_state *, const json_t *))
{
    struct database_state *s = database_state_new(r, name);
    if (!s)
        return -ENOMEM;
    s->answered = then;
    r->frame = json_pack("{s:s, s:o}", "op", "forget", "db", database_config_db(name, config));
    return r->frame ? ENGINE_CALL : -ENOMEM;
}

int database_config_delete(struct engine_request *r, const char *name)
{
    char path[DATABASE_PATH_LEN];
    _cleanup_json_ json_t *config = NULL;
    int e = database_config_load(r->vault, r->space, name, &config);
    if (e == ENTRY_E_NONE) {
        r->status = 204;
        return ENGINE_DONE;
    }
    database_path(path, FOLDER, name);
    if (e == 0)
        e = entry_delete(r->vault, r->space, path);
    if (e >= 0)
        e = engine_warn(r,
                        "accounts of this database that are still out can't be revoked until "
                        "config/%s is written again",
                        name);
    return e < 0 ? e : forget(r, name, config, forgotten);
}

int database_config_reset(struct engine_request *r, const char *name)
{
    _cleanup_json_ json_t *config = NULL;
    int e = database_config_load(r->vault, r->space, name, &config);
    if (e == ENTRY_E_NONE)
        return engine_error(r, 400, "failed to find entry for connection with name: \"%s\"", name);
    return e < 0 ? e : forget(r, name, config, closed);
}
