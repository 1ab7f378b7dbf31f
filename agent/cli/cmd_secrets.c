/* secrets list, enable, disable. */
#include <string.h>

#include "cli/families.h"
#include "cli/show.h"

static const char *str_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void add_mount(struct table *t, const char *path, const json_t *m)
{
    const char *version = str_of(json_object_get(m, "options"), "version");
    char type[96];

    snprintf(type, sizeof(type), "%.64s%s%.8s", str_of(m, "type"), version[0] ? " v" : "", version);
    table_add(
        t, (const char *const[]){path, type, str_of(m, "accessor"),
                                 str_of(m, "description")[0] ? str_of(m, "description") : "n/a"});
}

/* Mounts stand in "data", or (old form) at the top; an entry without a type is no mount. */
static int run_list(struct cli *c)
{
    static const char *const heads[] = {"Path", "Type", "Accessor", "Description"};
    _cleanup_reply_ struct reply r = {0};
    struct table *t;
    const char *path;
    json_t *m;
    int code = call(c, "GET", "sys/mounts", NULL, NULL, &r), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    t = table_new(heads, ARRAY_LEN(heads));
    json_object_foreach((json_t *)(uintptr_t)reply_data(&r), path, m) if (str_of(m, "type")[0])
        add_mount(t, path, m);
    return show_table(c, t);
}

static int run_enable(struct cli *c)
{
    const char *type = args_pos(&c->args, 0), *path = args_str(&c->args, "path");
    const char *description = args_str(&c->args, "description");
    bool v2 = strcmp(type, "kv-v2") == 0 || args_int(&c->args, "version", 0) == 2;
    _cleanup_secret_ char *full = call_path("sys/mounts/", path ? path : type);
    _cleanup_json_ json_t *body = json_object(), *options = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (strcmp(type, "kv-v2") == 0 || strcmp(type, "kv-v1") == 0)
        type = "kv";
    if (!full || json_set_str(body, "type", type) < 0 ||
        (description && json_set_str(body, "description", description) < 0) ||
        (v2 && json_set_str(options, "version", "2") < 0) ||
        (args_int(&c->args, "version", 0) == 1 && json_set_str(options, "version", "1") < 0) ||
        (json_object_size(options) > 0 && json_object_set(body, "options", options) < 0))
        return call_no_memory();
    code = call(c, "POST", full, NULL, body, &r);
    return code ? code
                : show_done(c, &r, "Success! Enabled the %s secrets engine at: %s/", type,
                            path ? path : args_pos(&c->args, 0));
}

static int run_disable(struct cli *c)
{
    _cleanup_secret_ char *full = call_path("sys/mounts/", args_pos(&c->args, 0));
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!full)
        return call_no_memory();
    if (full[strlen(full) - 1] == '/')
        full[strlen(full) - 1] = '\0';
    code = call(c, "DELETE", full, NULL, NULL, &r);
    return code ? code
                : show_done(c, &r, "Success! Disabled the secrets engine (if it existed) at: %s",
                            args_pos(&c->args, 0));
}

static const struct flag enable_flags[] = {
    {"path", FLAG_STRING, "PATH", "Where (default: the type's name)"},
    {"version", FLAG_INT, "1|2", "Of kv: 2 keeps versions"},
    {"description", FLAG_STRING, "TEXT", "For people"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_secrets_rows[] = {
    {.name = "secrets list",
     .args = "",
     .purpose = "List the secrets engines and where they are",
     .example = "countersign secrets list",
     .run = run_list},
    {.name = "secrets enable",
     .args = "TYPE",
     .purpose = "Enable a secrets engine at a path",
     .example = "countersign secrets enable database\n"
                "countersign secrets enable -path=secret -version=2 kv",
     .flags = enable_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_enable},
    {.name = "secrets disable",
     .args = "PATH",
     .purpose = "Disable a secrets engine: what it leased is revoked, what it stored is deleted",
     .example = "countersign secrets disable database",
     .min_args = 1,
     .max_args = 1,
     .run = run_disable},
    {.name = NULL},
};
