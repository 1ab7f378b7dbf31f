/* read, write, list, delete: any path of the API. */
#include <string.h>

#include "cli/families.h"
#include "cli/fields.h"
#include "cli/show.h"

static char *clean_path(const char *arg)
{
    char *path = call_path("", arg);
    size_t n = path ? strlen(path) : 0;

    while (n > 0 && path[n - 1] == '/')
        path[--n] = '\0';
    return path;
}

static int nothing_at(const char *path)
{
    output_note("No value found at %s", path);
    return EXIT_CODE_REFUSED;
}

/* A 404 that carries data or warnings is an answer (Vault's deleted versions); a bare one is not.
 */
static int read_or_list(struct cli *c, const char *method,
                        int (*show)(struct cli *, const struct reply *))
{
    _cleanup_secret_ char *path = clean_path(args_pos(&c->args, 0));
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!path)
        return call_no_memory();
    code = call_any(c, method, path, NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (r.status == 404 && json_is_object(json_object_get(r.json, "data")))
        return show(c, &r);
    if (r.status == 404)
        return nothing_at(path);
    if (r.status < 200 || r.status > 299)
        return call_refused(c, method, path, &r);
    if (!r.json)
        return nothing_at(path);
    return show(c, &r);
}

static int run_read(struct cli *c)
{
    return read_or_list(c, "GET", show_reply);
}

static int run_list(struct cli *c)
{
    return read_or_list(c, "LIST", show_keys);
}

static int run_write(struct cli *c)
{
    _cleanup_secret_ char *path = clean_path(args_pos(&c->args, 0));
    _cleanup_reply_ struct reply r = {0};
    _cleanup_json_ json_t *body = json_object();
    char why[512];
    int code;

    if (!path || !body)
        return call_no_memory();
    if (fields_parse(c->args.pos + 1, c->args.n_pos - 1, &c->stdin_used, body, why, sizeof(why)) <
        0) {
        output_error("%s", why);
        return EXIT_CODE_LOCAL;
    }
    if (c->args.n_pos < 2 && !args_bool(&c->args, "force") && !args_bool(&c->args, "f")) {
        output_error(
            "nothing to write: give KEY=VALUE, @FILE.json or -; or -force to write nothing");
        return EXIT_CODE_LOCAL;
    }
    code = call(c, "PUT", path, NULL, body, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (!r.json)
        return show_done(c, &r, "Success! Data written to: %s", path);
    return show_reply(c, &r);
}

static int run_delete(struct cli *c)
{
    _cleanup_secret_ char *path = clean_path(args_pos(&c->args, 0));
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!path)
        return call_no_memory();
    code = call(c, "DELETE", path, NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    return show_done(c, &r, "Success! Data deleted (if it existed) at: %s", path);
}

static const struct flag write_flags[] = {
    {"force", FLAG_BOOL, NULL, "Write without any field"},
    {"f", FLAG_BOOL, NULL, "The same as -force"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_generic_rows[] = {
    {.name = "read",
     .args = "PATH",
     .purpose = "Read a path: a stored value, or a new leased credential",
     .details =
         "What is leased comes with lease_id, lease_duration and lease_renewable in front of its\n"
         "data. It ends with its time, or with the session or token it was given to.",
     .example = "countersign read database/creds/shop-ro\n"
                "countersign read -field=password database/creds/shop-ro",
     .exits = "0 read; 1 wrong usage or a local problem; 2 the agent refused, or nothing is there.",
     .min_args = 1,
     .max_args = 1,
     .run = run_read},
    {.name = "write",
     .args = "PATH [KEY=VALUE | KEY=@FILE | KEY=- | @FILE.json | -]...",
     .purpose = "Write fields to a path",
     .details = "KEY=@FILE takes the value from a file, KEY=- from standard input: a secret need "
                "not stand\n"
                "on the command line, where others on this host can see it.",
     .example = "countersign write database/config/shop plugin_name=postgresql-database-plugin \\\n"
                "    connection_url=@shop.url username=vault password=- < password.txt",
     .flags = write_flags,
     .min_args = 1,
     .max_args = -1,
     .run = run_write},
    {.name = "list",
     .args = "PATH",
     .purpose = "List the names below a path",
     .example = "countersign list database/roles",
     .exits =
         "0 listed; 1 wrong usage or a local problem; 2 the agent refused, or nothing is there.",
     .min_args = 1,
     .max_args = 1,
     .run = run_list},
    {.name = "delete",
     .args = "PATH",
     .purpose = "Delete what is at a path",
     .example = "countersign delete database/roles/shop-ro",
     .min_args = 1,
     .max_args = 1,
     .run = run_delete},
    {.name = NULL},
};
