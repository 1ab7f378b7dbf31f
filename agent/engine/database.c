#include "engine/database.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "engine/database_inner.h"

#define MESSAGE_MAX 300
#define SWEEP_LIMIT 150 /* so that a page fits into a frame */

/* --- Between the turns ---------------------------------------------------------------------------
 */

static void state_free(void *data)
{
    struct database_state *s = data;
    json_decref(s->config);
    mem_free_str(s->account);
    mem_free_str(s->password);
    mem_free(s, sizeof(*s));
}

struct database_state *database_state_new(struct engine_request *r, const char *name)
{
    struct database_state *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    (void)snprintf(s->name, sizeof(s->name), "%s", name);
    r->state = s;
    r->state_free = state_free;
    return s;
}

static int answered(struct engine_request *r, const json_t *answer)
{
    struct database_state *s = r->state;
    return s ? s->answered(r, s, answer) : -EINVAL;
}

int database_failed(struct engine_request *r, const char *name, const json_t *answer)
{
    static const struct {
        const char *kind, *what, *hint;
        int status;
    } row[] = {
        {"unreachable", "can't be reached", "try again when it is up", 502},
        {"busy", "has too many requests waiting", "try again", 502},
        {"timeout", "did not answer in time", "try again", 502},
        {"denied", "refused the agent's account", "check its password and what it was granted",
         502},
        {"statement", "refused a statement", "check the role's statements and groups", 400},
        {"superseded", "is held",
         "an operator decides which of the two goes on: countersign operator accept-rollback", 503},
        {"invalid", "could not be asked", "check the configuration and the role", 400},
        {NULL, "could not do it", "try again", 502},
    };
    const char *kind = json_str_or(answer, "kind", "");
    size_t i = 0;
    while (row[i].kind && strcmp(row[i].kind, kind) != 0)
        i++;
    _cleanup_buf_ struct buf shown = BUF_INIT(MESSAGE_MAX);
    encode_printable(&shown, json_str_or(answer, "message", "no reason given"), MESSAGE_MAX);
    if (buf_error(&shown) < 0)
        return buf_error(&shown);
    return engine_error(r, row[i].status, "the database %s %s: %s; %s", name, row[i].what,
                        buf_str(&shown), row[i].hint);
}

static bool in_schema(const struct json_field *schema, const char *name)
{
    for (; schema->name; schema++) {
        if (strcmp(schema->name, name) == 0)
            return true;
    }
    return false;
}

void database_path(char out[DATABASE_PATH_LEN], const char *folder, const char *name)
{
    (void)snprintf(out, DATABASE_PATH_LEN, "%s/%.*s", folder, DATABASE_NAME_MAX, name);
}

int database_load(struct vault *v, const char *space, const char *folder, const char *name,
                  json_t **out)
{
    char path[DATABASE_PATH_LEN];
    database_path(path, folder, name);
    return entry_get_json(v, space, path, out);
}

int database_overlay(struct engine_request *r, const char *folder, const char *name,
                     const struct json_field *fields, json_t *empty, json_t **out)
{
    _cleanup_json_ json_t *first = empty;
    int e = database_load(r->vault, r->space, folder, name, out);
    if (e == ENTRY_E_NONE) {
        *out = json_incref(first);
        e = first ? 0 : -ENOMEM;
    }
    for (size_t i = 0; e == 0 && fields[i].name; i++) {
        json_t *v = json_object_get(r->body, fields[i].name);
        if (v && !json_is_null(v) && json_object_set(*out, fields[i].name, v) < 0)
            e = -ENOMEM;
    }
    return e;
}

int database_warn_unknown(struct engine_request *r, const struct json_field *schema)
{
    const char *name;
    json_t *value;
    _cleanup_buf_ struct buf names = BUF_INIT(MESSAGE_MAX);
    json_object_foreach(r->body, name, value)
    {
        size_t room = MESSAGE_MAX - names.len;
        if (in_schema(schema, name) || strlen(name) + 3 > room)
            continue;
        if (names.len)
            buf_puts(&names, ", ");
        buf_puts(&names, name);
    }
    if (buf_error(&names) < 0 || names.len == 0)
        return buf_error(&names);
    return engine_warn(r, "these fields mean nothing here and were ignored: %s", buf_str(&names));
}

/* --- Routes --------------------------------------------------------------------------------------
 */

static const struct route {
    const char *prefix;
    int (*load)(struct vault *v, const char *space, const char *name, json_t **out);
    database_handler by_op[ENGINE_LIST + 1];
} routes[] = {
    {"config/",
     database_config_load,
     {[ENGINE_READ] = database_config_read,
      [ENGINE_WRITE] = database_config_write,
      [ENGINE_DELETE] = database_config_delete,
      [ENGINE_LIST] = database_config_list}},
    {"roles/",
     database_role_load,
     {[ENGINE_READ] = database_role_read,
      [ENGINE_WRITE] = database_role_write,
      [ENGINE_DELETE] = database_role_delete,
      [ENGINE_LIST] = database_role_list}},
    {"creds/", NULL, {[ENGINE_READ] = database_creds_read}},
    {"reset/", NULL, {[ENGINE_WRITE] = database_config_reset}},
};

/* Letters, digits, '_', and inside also '-' and '.'. */
static bool name_ok(const char *name)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t n = strlen(name);
    return n > 0 && n <= DATABASE_NAME_MAX && strspn(name, word) == n && !strchr("-.", name[0]) &&
           !strchr("-.", name[n - 1]);
}

static const struct route *find_route(const char *path, const char **name)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        size_t n = strlen(routes[i].prefix);
        if (strncmp(path, routes[i].prefix, n) == 0) {
            *name = path + n;
            return &routes[i];
        }
    }
    return NULL;
}

static int handle(struct engine_request *r)
{
    const char *name;
    const struct route *t = find_route(r->path, &name);
    if (!t)
        return engine_error(r, 404,
                            "no handler for \"%.200s\": there are config/, roles/, creds/ "
                            "and reset/",
                            r->path);
    database_handler handler = t->by_op[r->op];
    if (!handler)
        return engine_error(r, 405, "unsupported operation");
    if (r->op == ENGINE_LIST ? name[0] != '\0' : !name_ok(name))
        return engine_error(r, r->op == ENGINE_LIST ? 404 : 400,
                            "a name has letters, digits, '_', '-' and '.', at most %d",
                            DATABASE_NAME_MAX);
    return handler(r, name);
}

/* For create or update. */
static int exists(struct engine_request *r)
{
    const char *name;
    const struct route *t = find_route(r->path, &name);
    _cleanup_json_ json_t *obj = NULL;
    if (!t || !name_ok(name))
        return 1; /* refused later */
    if (!t->load)
        return 1;
    int e = t->load(r->vault, r->space, name, &obj);
    return e < 0 ? e : e == 0;
}

/* --- Leases --------------------------------------------------------------------------------------
 */

static int load_db(struct vault *v, const char *space, const json_t *recipe, json_t **db)
{
    const char *name = json_str_or(recipe, "db", "");
    _cleanup_json_ json_t *config = NULL;
    *db = NULL;
    if (!name_ok(name) || !json_str(recipe, "role"))
        return -EINVAL;
    int e = database_config_load(v, space, name, &config);
    if (e != 0)
        return e < 0 ? e : -ENOENT;
    *db = database_config_db(name, config);
    return *db ? 0 : -ENOMEM;
}

static int renew(struct vault *v, const char *space, const json_t *recipe, int64_t expires_s,
                 json_t **frame)
{
    _cleanup_json_ json_t *db = NULL;
    int e = load_db(v, space, recipe, &db);
    if (e < 0)
        return e;
    *frame =
        json_pack("{s:s, s:O, s:s, s:I, s:O*}", "op", "renew", "db", db, "role",
                  json_str(recipe, "role"), "expires", (json_int_t)(expires_s + DATABASE_GRACE),
                  "statements", json_object_get(recipe, "renew_statements"));
    return *frame ? 0 : -ENOMEM;
}

static int revoke(struct vault *v, const char *space, const json_t *recipe, json_t **frame)
{
    _cleanup_json_ json_t *db = NULL;
    int e = load_db(v, space, recipe, &db);
    if (e < 0)
        return e;
    *frame = json_pack("{s:s, s:O, s:s, s:O*}", "op", "revoke", "db", db, "role",
                       json_str(recipe, "role"), "statements",
                       json_object_get(recipe, "revocation_statements"));
    return *frame ? 0 : -ENOMEM;
}

static json_t *orphan(const char *name, const char *account)
{
    return json_pack("{s:s, s:s, s:[], s:[]}", "db", name, "role", account, "revocation_statements",
                     "renew_statements");
}

struct sweeping {
    struct vault *vault;
    const char *space;
    int (*fn)(json_t *frame, const char *name, void *data);
    void *data;
};

static int sweep_one(const char *name, void *data)
{
    struct sweeping *s = data;
    _cleanup_json_ json_t *config = NULL;
    int e = database_config_load(s->vault, s->space, name, &config);
    if (e != 0)
        return e < 0 ? e : 0;
    json_t *frame =
        json_pack("{s:s, s:o, s:s, s:i}", "op", "sweep", "db", database_config_db(name, config),
                  "instance", vault_instance(s->vault), "limit", SWEEP_LIMIT);
    return frame ? s->fn(frame, name, s->data) : -ENOMEM;
}

static int sweep(struct vault *v, const char *space,
                 int (*fn)(json_t *frame, const char *name, void *data), void *data)
{
    struct sweeping s = {.vault = v, .space = space, .fn = fn, .data = data};
    int e = entry_list(v, space, "config/", NULL, 0, sweep_one, &s);
    return e < 0 ? e : 0;
}

const struct engine database_engine = {
    .type = "database",
    .description = "database accounts, made on demand and leased",
    .handle = handle,
    .answered = answered,
    .exists = exists,
    .lease_renew = renew,
    .lease_revoke = revoke,
    .sweep = sweep,
    .orphan = orphan,
};
