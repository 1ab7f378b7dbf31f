/* kv put, get, patch, delete, undelete, destroy, list. */
#include <errno.h>
#include <string.h>

#include "cli/families.h"
#include "cli/fields.h"
#include "cli/kvpath.h"
#include "cli/show.h"

/* Finds the secret that the first argument names, and its API path for a kind of request. */
static int locate(struct cli *c, const char *kind, struct kvpath *k, char **path)
{
    int code = kvpath_find(c, args_pos(&c->args, 0), k);

    if (code != EXIT_CODE_OK)
        return code;
    *path = kvpath_api(k, kind);
    return *path ? EXIT_CODE_OK : call_no_memory();
}

static int needs_v2(const struct kvpath *k, const char *what)
{
    if (k->v2)
        return EXIT_CODE_OK;
    output_error("%s needs version 2 of kv; %s is version 1, which keeps no versions", what,
                 k->mount);
    return EXIT_CODE_LOCAL;
}

static int nothing_at(const char *path)
{
    output_note("No value found at %s", path);
    return EXIT_CODE_REFUSED;
}

/* --- put ----------------------------------------------------------------------------------------
 */

static int take_fields(struct cli *c, json_t *fields)
{
    char why[512];

    if (!fields)
        return call_no_memory();
    if (fields_parse(c->args.pos + 1, c->args.n_pos - 1, &c->stdin_used, fields, why,
                     sizeof(why)) == 0)
        return EXIT_CODE_OK;
    output_error("%s", why);
    return EXIT_CODE_LOCAL;
}

/* v2's envelope around the fields: {"data": …, "options": {"cas": n}}. cas < 0: not asked. */
static json_t *wrap(json_t *fields, int64_t cas)
{
    if (cas < 0)
        return json_pack("{s:O, s:{}}", "data", fields, "options");
    return json_pack("{s:O, s:{s:I}}", "data", fields, "options", "cas", (json_int_t)cas);
}

static int show_written(struct cli *c, const struct reply *r, const char *path)
{
    int code;

    if (!r->json || !json_is_object(json_object_get(r->json, "data")))
        return show_done(c, r, "Success! Data written to: %s", path);
    call_warnings(r);
    if (show_plainly(c, r, &code))
        return code;
    show_title(c, "Secret Path", strlen(path));
    printf("%s\n\n", path);
    show_title(c, "Metadata", 34);
    return show_object(c, reply_data(r));
}

static int run_put(struct cli *c)
{
    _cleanup_json_ json_t *fields = json_object(), *body = NULL;
    _cleanup_kvpath_ struct kvpath k = {0};
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code = take_fields(c, fields);

    if (code == EXIT_CODE_OK)
        code = locate(c, "data", &k, &path);
    if (code == EXIT_CODE_OK && args_has(&c->args, "cas"))
        code = needs_v2(&k, "-cas");
    if (code != EXIT_CODE_OK)
        return code;
    body = k.v2 ? wrap(fields, args_int(&c->args, "cas", -1)) : json_incref(fields);
    code = body ? call(c, "PUT", path, NULL, body, &r) : call_no_memory();
    return code ? code : show_written(c, &r, path);
}

/* --- get ----------------------------------------------------------------------------------------
 */

/* -field means a field of the secret itself, one level below what v2 answers. */
static int show_secret_field(struct cli *c, const struct reply *r, const struct kvpath *k)
{
    const json_t *data = reply_data(r), *secret = k->v2 ? json_object_get(data, "data") : data;
    const json_t *v = json_object_get(secret, c->out.field);

    if (!v && strcmp(c->out.field, "data") == 0)
        v = secret;
    if (v && !json_is_null(v))
        return output_raw(&c->out, v) < 0 ? call_no_memory() : EXIT_CODE_OK;
    output_error("the secret has no field \"%s\"", c->out.field);
    return EXIT_CODE_LOCAL;
}

static int show_secret(struct cli *c, const struct reply *r, const struct kvpath *k,
                       const char *path)
{
    const json_t *data = reply_data(r), *metadata = json_object_get(data, "metadata");
    const json_t *secret = k->v2 ? json_object_get(data, "data") : data;
    int code = EXIT_CODE_OK;

    call_warnings(r);
    if (c->out.field)
        return show_secret_field(c, r, k);
    if (show_plainly(c, r, &code))
        return code;
    if (k->v2) {
        show_title(c, "Secret Path", strlen(path));
        printf("%s\n\n", path);
        show_title(c, "Metadata", 34);
        code = show_object(c, metadata);
    }
    if (code != EXIT_CODE_OK || !json_is_object(secret))
        return code;
    if (k->v2) {
        putchar('\n');
        show_title(c, "Data", 17);
    }
    return show_object(c, secret);
}

static int run_get(struct cli *c)
{
    _cleanup_kvpath_ struct kvpath k = {0};
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    char query[64];
    int code = locate(c, "data", &k, &path);

    if (code == EXIT_CODE_OK && args_has(&c->args, "version"))
        code = needs_v2(&k, "-version");
    if (code != EXIT_CODE_OK)
        return code;
    snprintf(query, sizeof(query), "version=%" JSON_INTEGER_FORMAT,
             (json_int_t)args_int(&c->args, "version", 0));
    code = call_any(c, "GET", path, args_has(&c->args, "version") ? query : NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (r.status == 404 && !json_is_object(json_object_get(r.json, "data")))
        return nothing_at(path);
    if (r.status != 404 && (r.status < 200 || r.status > 299))
        return call_refused(c, "GET", path, &r);
    return show_secret(c, &r, &k, path);
}

/* --- patch --------------------------------------------------------------------------------------
 */

/* Reads, changes, writes with the version read as the condition: never over somebody else's write.
 */
static int run_patch(struct cli *c)
{
    _cleanup_json_ json_t *fields = json_object(), *merged = NULL, *body = NULL;
    _cleanup_kvpath_ struct kvpath k = {0};
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    const json_t *metadata;
    int code = take_fields(c, fields);

    if (code == EXIT_CODE_OK)
        code = locate(c, "data", &k, &path);
    if (code == EXIT_CODE_OK)
        code = needs_v2(&k, "kv patch");
    if (code == EXIT_CODE_OK)
        code = call(c, "GET", path, NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    metadata = json_object_get(reply_data(&r), "metadata");
    merged = json_deep_copy(json_object_get(reply_data(&r), "data"));
    if (!json_is_object(merged) || !json_is_integer(json_object_get(metadata, "version")))
        return nothing_at(path);
    if (json_object_update(merged, fields) < 0)
        return call_no_memory();
    body = wrap(merged, json_integer_value(json_object_get(metadata, "version")));
    code = body ? call(c, "PUT", path, NULL, body, &r) : call_no_memory();
    return code ? code : show_written(c, &r, path);
}

/* --- delete, undelete, destroy ------------------------------------------------------------------
 */

/* -versions=1,2 as {"versions": [1, 2]}. NULL when one is no number (said), or on lack of memory.
 */
static json_t *versions_body(struct cli *c)
{
    _cleanup_json_ json_t *list = args_list(&c->args, "versions"), *numbers = json_array();
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *s = json_string_value(v);

        if (strlen(s) > 15 || strspn(s, "0123456789") != strlen(s)) {
            output_error("-versions takes numbers, as 1,2; not \"%s\"", s);
            return NULL;
        }
        if (json_array_append_new(numbers, json_integer(strtoll(s, NULL, 10))) < 0)
            return NULL;
    }
    return json_pack("{s:O}", "versions", numbers);
}

static int change_versions(struct cli *c, const char *kind, const char *done)
{
    _cleanup_json_ json_t *body = versions_body(c);
    _cleanup_kvpath_ struct kvpath k = {0};
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!body)
        return EXIT_CODE_LOCAL;
    if (json_array_size(json_object_get(body, "versions")) == 0) {
        output_error("say which versions: -versions=1,2");
        return EXIT_CODE_LOCAL;
    }
    code = locate(c, kind, &k, &path);
    if (code == EXIT_CODE_OK)
        code = needs_v2(&k, "-versions");
    if (code == EXIT_CODE_OK)
        code = call(c, "PUT", path, NULL, body, &r);
    return code ? code : show_done(c, &r, "Success! Data %s at: %s", done, path);
}

static int run_delete(struct cli *c)
{
    _cleanup_kvpath_ struct kvpath k = {0};
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (args_has(&c->args, "versions"))
        return change_versions(c, "delete", "deleted (if it existed)");
    code = locate(c, "data", &k, &path);
    if (code == EXIT_CODE_OK)
        code = call(c, "DELETE", path, NULL, NULL, &r);
    return code ? code : show_done(c, &r, "Success! Data deleted (if it existed) at: %s", path);
}

static int run_undelete(struct cli *c)
{
    return change_versions(c, "undelete", "brought back");
}

static int run_destroy(struct cli *c)
{
    return change_versions(c, "destroy", "destroyed (if it existed)");
}

static int run_list(struct cli *c)
{
    _cleanup_kvpath_ struct kvpath k = {0};
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code = locate(c, "metadata", &k, &path);

    if (code == EXIT_CODE_OK)
        code = call_any(c, "LIST", path, NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (r.status == 404)
        return nothing_at(path);
    if (r.status != 200)
        return call_refused(c, "LIST", path, &r);
    return show_keys(c, &r);
}

#define MOUNT_FLAG                                                                                 \
    {                                                                                              \
        "mount", FLAG_STRING, "MOUNT", "Where the engine is; the path is then below it"            \
    }
#define END_FLAG                                                                                   \
    {                                                                                              \
        NULL, FLAG_BOOL, NULL, NULL                                                                \
    }

static const struct flag mount_flags[] = {MOUNT_FLAG, END_FLAG};
static const struct flag put_flags[] = {
    {"cas", FLAG_INT, "N", "Only if the current version is N (0: only if there is none)"},
    MOUNT_FLAG,
    END_FLAG,
};
static const struct flag get_flags[] = {
    {"version", FLAG_INT, "N", "An older version"},
    MOUNT_FLAG,
    END_FLAG,
};
static const struct flag versions_flags[] = {
    {"versions", FLAG_LIST, "N,N", "Which versions"},
    MOUNT_FLAG,
    END_FLAG,
};

#define GET_EXITS                                                                                  \
    "0 done; 1 wrong usage or a local problem; 2 the agent refused, or nothing is there."

const struct command cmd_kv_rows[] = {
    {.name = "kv put",
     .args = "PATH [KEY=VALUE | KEY=@FILE | KEY=- | @FILE.json | -]...",
     .purpose = "Store a secret (a new version of it)",
     .details = "KEY=- reads the value from standard input, KEY=@FILE from a file: it need not "
                "stand on the\n"
                "command line, where others on this host can see it.",
     .example = "countersign kv put secret/app user=shop password=- < password.txt",
     .flags = put_flags,
     .min_args = 2,
     .max_args = -1,
     .run = run_put},
    {.name = "kv get",
     .args = "PATH",
     .purpose = "Show a stored secret",
     .example = "countersign kv get secret/app\n"
                "countersign kv get -mount=secret -field=password app",
     .exits = GET_EXITS,
     .flags = get_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_get},
    {.name = "kv patch",
     .args = "PATH [KEY=VALUE | ...]...",
     .purpose = "Change some fields of a stored secret",
     .example = "countersign kv patch secret/app user=shop2",
     .flags = mount_flags,
     .min_args = 2,
     .max_args = -1,
     .run = run_patch},
    {.name = "kv delete",
     .args = "PATH",
     .purpose = "Delete the newest version, or the versions named; undelete brings them back",
     .example = "countersign kv delete secret/app",
     .flags = versions_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_delete},
    {.name = "kv undelete",
     .args = "PATH",
     .purpose = "Bring deleted versions back",
     .example = "countersign kv undelete -versions=2 secret/app",
     .flags = versions_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_undelete},
    {.name = "kv destroy",
     .args = "PATH",
     .purpose = "Delete versions for good",
     .example = "countersign kv destroy -versions=1,2 secret/app",
     .flags = versions_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_destroy},
    {.name = "kv list",
     .args = "PATH",
     .purpose = "List the names below a path",
     .example = "countersign kv list secret/",
     .exits = GET_EXITS,
     .flags = mount_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_list},
    {.name = NULL},
};
