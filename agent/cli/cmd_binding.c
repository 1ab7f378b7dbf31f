/* binding list, read, write, delete. */
#include <errno.h>
#include <string.h>

#include "cli/families.h"
#include "cli/fields.h"
#include "cli/show.h"

static char *binding_path(struct cli *c)
{
    return call_path("sys/bindings/", args_pos(&c->args, 0));
}

static int run_list(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = call_any(c, "LIST", "sys/bindings", NULL, NULL, &r);

    if (code != EXIT_CODE_OK)
        return code;
    if (r.status == 404)
        return show_done(c, &r, "There is no binding yet: countersign binding write -help");
    if (r.status != 200)
        return call_refused(c, "LIST", "sys/bindings", &r);
    return show_keys(c, &r);
}

static int run_read(struct cli *c)
{
    _cleanup_secret_ char *path = binding_path(c);
    _cleanup_reply_ struct reply r = {0};
    int code = path ? call(c, "GET", path, NULL, NULL, &r) : call_no_memory(), shown;

    if (code != EXIT_CODE_OK)
        return code;
    return show_plainly(c, &r, &shown) ? shown : show_object(c, reply_data(&r));
}

/* "a, b" becomes ["a", "b"]. */
static json_t *split(const char *s)
{
    _cleanup_json_ json_t *list = json_array();

    if (!list)
        return NULL;
    while (*s) {
        size_t n = strcspn(s, ","), lead = strspn(s, " ");

        if (lead < n && json_array_append_new(list, json_stringn(s + lead, n - lead)) < 0)
            return NULL;
        s += n;
        s += *s == ',';
    }
    return json_incref(list);
}

static bool is_list_field(const char *key)
{
    static const char *const names[] = {"principals", "services", "policies", "from", "factors"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], key) == 0)
            return true;
    return false;
}

/* Moves one KEY=VALUE to where it belongs: mfa.KEY into the object mfa, lists split at commas. */
static int place(json_t *binding, const char *key, json_t *value)
{
    const char *inner = strncmp(key, "mfa.", 4) == 0 ? key + 4 : NULL;
    json_t *target = binding, *v;

    if (inner) {
        target = json_object_get(binding, "mfa");
        if (!target) {
            target = json_object();
            if (json_object_set_new(binding, "mfa", target) < 0)
                return -ENOMEM;
        }
        key = inner;
    }
    v = json_is_string(value) && is_list_field(key) ? split(json_string_value(value))
                                                    : json_incref(value);
    return json_object_set_new(target, key, v) < 0 ? -ENOMEM : 0;
}

static json_t *arrange(json_t *fields)
{
    _cleanup_json_ json_t *binding = json_object();
    const char *key;
    json_t *v;

    if (!binding)
        return NULL;
    json_object_foreach(fields, key, v) if (place(binding, key, v) < 0) return NULL;
    return json_incref(binding);
}

static int run_write(struct cli *c)
{
    _cleanup_json_ json_t *fields = json_object(), *binding = NULL;
    _cleanup_secret_ char *path = binding_path(c);
    _cleanup_reply_ struct reply r = {0};
    char why[512];
    int code;

    if (!fields || !path)
        return call_no_memory();
    if (fields_parse(c->args.pos + 1, c->args.n_pos - 1, &c->stdin_used, fields, why, sizeof(why)) <
        0) {
        output_error("%s", why);
        return EXIT_CODE_LOCAL;
    }
    binding = arrange(fields);
    if (!binding)
        return call_no_memory();
    code = call(c, "PUT", path, NULL, binding, &r);
    return code ? code : show_done(c, &r, "Success! Written: binding %s", args_pos(&c->args, 0));
}

static int run_delete(struct cli *c)
{
    _cleanup_secret_ char *path = binding_path(c);
    _cleanup_reply_ struct reply r = {0};
    int code = path ? call(c, "DELETE", path, NULL, NULL, &r) : call_no_memory();

    return code ? code
                : show_done(c, &r, "Success! Deleted (if it existed): binding %s",
                            args_pos(&c->args, 0));
}

const struct command cmd_binding_rows[] = {
    {.name = "binding list",
     .args = "",
     .purpose = "List the role bindings",
     .example = "countersign binding list",
     .run = run_list},
    {.name = "binding read",
     .args = "NAME",
     .purpose = "Show a role binding",
     .example = "countersign binding read dba\ncountersign binding read -field=data dba > dba.json",
     .min_args = 1,
     .max_args = 1,
     .run = run_read},
    {.name = "binding write",
     .args = "NAME @FILE.json | - | KEY=VALUE...",
     .purpose = "Tie principals to services and policies, under conditions",
     .details =
         "Fields: principals, services, policies, from (lists, split at commas), mfa.factors,\n"
         "mfa.max_age, mfa.scope, hours, assurance, ttl, max_ttl. What is not named is not asked "
         "for.\n"
         "Principals: user:NAME, group:NAME, uid:NUMBER, or * for everybody.",
     .example =
         "countersign binding write dba @dba.json\n"
         "countersign binding write dba principals=group:dba services=sshd,sudo \\\n"
         "    policies=db-read mfa.factors=totp,recovery mfa.max_age=15m mfa.scope=session ttl=1h",
     .min_args = 2,
     .max_args = -1,
     .run = run_write},
    {.name = "binding delete",
     .args = "NAME",
     .purpose = "Delete a role binding",
     .example = "countersign binding delete dba",
     .min_args = 1,
     .max_args = 1,
     .run = run_delete},
    {.name = NULL},
};
