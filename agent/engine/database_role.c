/* roles/NAME: what kind of account is made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <countersign/connector.h>

#include "engine/database_inner.h"

#define FOLDER "role"
#define STATEMENTS_MAX 64            /* of one list */
#define STATEMENTS_BYTES (24 * 1024) /* of one list, as JSON: it must fit into a frame */
#define GROUPS_MAX 32

static const struct json_field fields[] = {
    {.name = "db_name", .kind = JSON_KIND_STRING, .min = 1, .max = DATABASE_NAME_MAX},
    {.name = "creation_statements", .kind = JSON_KIND_STATEMENTS, .max = STATEMENTS_MAX},
    {.name = "revocation_statements", .kind = JSON_KIND_STATEMENTS, .max = STATEMENTS_MAX},
    {.name = "renew_statements", .kind = JSON_KIND_STATEMENTS, .max = STATEMENTS_MAX},
    {.name = "rollback_statements", .kind = JSON_KIND_STATEMENTS, .max = STATEMENTS_MAX},
    {.name = "default_ttl", .kind = JSON_KIND_DURATION},
    {.name = "max_ttl", .kind = JSON_KIND_DURATION},
    {.name = "groups", .kind = JSON_KIND_STRINGS, .max = GROUPS_MAX},
    {.name = "connection_limit", .kind = JSON_KIND_INT, .min = 1, .max = 10000},
    {.name = "credential_type", .kind = JSON_KIND_STRING, .max = 64},
    {0},
};

static const char *const statement_lists[] = {"creation_statements", "revocation_statements",
                                              "renew_statements", "rollback_statements"};

int database_role_load(struct vault *v, const char *space, const char *name, json_t **out)
{
    return database_load(v, space, FOLDER, name, out);
}

int database_role_list(struct engine_request *r, const char *name _unused_)
{
    return engine_list(r, FOLDER "/");
}

int database_role_read(struct engine_request *r, const char *name)
{
    _cleanup_json_ json_t *role = NULL;
    int e = database_role_load(r->vault, r->space, name, &role);
    if (e != 0)
        return e < 0 ? e : engine_none(r);
    return engine_data(r, json_incref(role));
}

int database_role_delete(struct engine_request *r, const char *name)
{
    char path[DATABASE_PATH_LEN];
    database_path(path, FOLDER, name);
    int e = entry_delete(r->vault, r->space, path);
    r->status = 204;
    return e < 0 ? e : ENGINE_DONE;
}

/* --- Writing -------------------------------------------------------------------------------------
 */

static json_t *empty_role(void)
{
    return json_pack("{s:s, s:[], s:[], s:[], s:[], s:i, s:i, s:[], s:i, s:s}", "db_name", "",
                     "creation_statements", "revocation_statements", "renew_statements",
                     "rollback_statements", "default_ttl", 0, "max_ttl", 0, "groups",
                     "connection_limit", DATABASE_CONNECTION_LIMIT, "credential_type", "password");
}

static bool any(const json_t *role, const char *list)
{
    return json_array_size(json_object_get(role, list)) > 0;
}

static int too_long(const json_t *role, bool *yes)
{
    *yes = false;
    for (size_t i = 0; i < ARRAY_LEN(statement_lists) && !*yes; i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(STATEMENTS_BYTES);
        json_put(&b, json_object_get(role, statement_lists[i]));
        *yes = buf_error(&b) == -EMSGSIZE;
        if (buf_error(&b) < 0 && !*yes)
            return buf_error(&b);
    }
    return 0;
}

static const char *groups_fault(const json_t *role)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(role, "groups"), i, one)
    {
        size_t n = json_string_length(one);
        if (n == 0 || n > CONNECTOR_ROLE_MAX)
            return "groups: the name of a PostgreSQL role has 1 to 63 bytes";
    }
    return NULL;
}

/* NULL, or what is wrong with it. */
static const char *fault_of(const json_t *role)
{
    bool template = any(role, "creation_statements"), groups = any(role, "groups");
    int64_t ttl = json_int(role, "default_ttl", 0), max = json_int(role, "max_ttl", 0);
    if (!json_str_or(role, "db_name", "")[0])
        return "empty database name attribute: db_name names a configuration (config/NAME)";
    if (!template && !groups)
        return "a role needs groups (PostgreSQL roles that the account becomes a member of) or "
               "creation_statements; without either the account could do nothing";
    if (template && groups)
        return "groups belong to accounts the agent makes itself; with creation_statements write "
               "GRANT \"group\" TO \"{{name}}\" there";
    if (ttl && max && ttl > max)
        return "default_ttl is greater than max_ttl";
    if (strcmp(json_str_or(role, "credential_type", "password"), "password") != 0)
        return "credential_type: only \"password\"";
    return groups_fault(role);
}

/* Whether the placeholder stands in one of the statements. */
static bool mentions(const json_t *role, const char *list, const char *placeholder)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(role, list), i, one)
    {
        if (strstr(json_string_value(one), placeholder))
            return true;
    }
    return false;
}

static int warn(struct engine_request *r, const json_t *role)
{
    int e = database_warn_unknown(r, fields);
    if (e == 0 && any(role, "rollback_statements"))
        e = engine_warn(r, "rollback_statements are kept but never run: an account is made in one "
                           "transaction");
    if (e == 0 && any(role, "creation_statements") && json_object_get(r->body, "connection_limit"))
        e = engine_warn(r, "connection_limit is ignored with creation_statements: write CONNECTION "
                           "LIMIT there");
    if (e == 0 && any(role, "creation_statements") &&
        !mentions(role, "creation_statements", "{{name}}") &&
        !mentions(role, "creation_statements", "{{username}}"))
        e = engine_warn(r, "creation_statements never say {{name}}: they can't make the account");
    return e;
}

int database_role_write(struct engine_request *r, const char *name)
{
    char path[DATABASE_PATH_LEN], why[256];
    bool large = false;
    _cleanup_json_ json_t *role = NULL;
    int e = json_check(r->body, fields, false, why, sizeof(why));
    if (e == -EINVAL)
        return engine_error(r, 400, "%s", why);
    if (e == 0)
        e = database_overlay(r, FOLDER, name, fields, empty_role(), &role);
    if (e == 0)
        e = too_long(role, &large);
    if (e < 0)
        return e;
    const char *fault = fault_of(role);
    if (fault || large)
        return engine_error(r, 400, "%s", fault ? fault : "the statements are too long");
    database_path(path, FOLDER, name);
    e = warn(r, role);
    if (e == 0 && !r->warnings)
        r->status = 204;
    return e < 0 ? e : entry_put_json(r->vault, r->space, path, role);
}
