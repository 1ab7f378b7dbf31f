/* token create, lookup, renew, revoke, capabilities. */
#include <errno.h>
#include <string.h>

#include "cli/families.h"
#include "cli/prompt.h"
#include "cli/show.h"

/* The token or accessor that a command is about: "-" asks for it (hidden), or reads it. *id is NULL
 * when none was named. Returns an exit code. */
static int take_id(const char *arg, const char *question, char **id)
{
    int r;

    *id = NULL;
    if (!arg)
        return EXIT_CODE_OK;
    r = strcmp(arg, "-") == 0 ? prompt_line(question, true, id)
                              : ((*id = mem_dup(arg, strlen(arg))) ? 0 : -ENOMEM);
    if (r == 0 && (*id)[0])
        return EXIT_CODE_OK;
    output_error("no token was given");
    return EXIT_CODE_LOCAL;
}

/* --- create -------------------------------------------------------------------------------------
 */

static int put_strings(struct cli *c, json_t *body)
{
    static const char *const rows[][2] = {{"ttl", "ttl"},
                                          {"period", "period"},
                                          {"explicit-max-ttl", "explicit_max_ttl"},
                                          {"display-name", "display_name"},
                                          {"type", "type"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *v = args_str(&c->args, rows[i][0]);

        if (v && json_set_str(body, rows[i][1], v) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int put_bools(struct cli *c, json_t *body)
{
    static const char *const rows[][2] = {{"orphan", "no_parent"},
                                          {"no-default-policy", "no_default_policy"},
                                          {"renewable", "renewable"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (args_has(&c->args, rows[i][0]) &&
            json_set_bool(body, rows[i][1], args_bool(&c->args, rows[i][0])) < 0)
            return -ENOMEM;
    return 0;
}

static int put_metadata(struct cli *c, json_t *body)
{
    _cleanup_json_ json_t *list = args_list(&c->args, "metadata"), *meta = json_object();
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *s = json_string_value(v), *eq = strchr(s, '=');
        _cleanup_secret_ char *key = mem_dup(s, eq ? (size_t)(eq - s) : strlen(s));

        if (!key || json_set_str(meta, key, eq ? eq + 1 : "") < 0)
            return -ENOMEM;
    }
    if (json_object_size(meta) == 0)
        return list ? 0 : -ENOMEM;
    return json_object_set(body, "meta", meta) < 0 ? -ENOMEM : 0;
}

static json_t *create_request(struct cli *c)
{
    _cleanup_json_ json_t *body = json_object(), *policies = args_list(&c->args, "policy");

    if (!body || !policies || put_strings(c, body) < 0 || put_bools(c, body) < 0 ||
        put_metadata(c, body) < 0)
        return NULL;
    if (json_array_size(policies) > 0 && json_object_set(body, "policies", policies) < 0)
        return NULL;
    if (args_has(&c->args, "use-limit") &&
        json_set_int(body, "num_uses", args_int(&c->args, "use-limit", 0)) < 0)
        return NULL;
    return json_incref(body);
}

static int run_create(struct cli *c)
{
    _cleanup_json_ json_t *body = create_request(c);
    _cleanup_reply_ struct reply r = {0};
    int code = body ? call(c, "POST", "auth/token/create", NULL, body, &r) : call_no_memory();

    return code ? code : show_reply(c, &r);
}

/* --- lookup, renew, revoke ----------------------------------------------------------------------
 */

struct verb {
    const char *self_method, *self, *token, *accessor; /* paths */
};

/* Calls the verb for oneself, a token or an accessor, as the arguments say. */
static int about_token(struct cli *c, const struct verb *v, json_t *body, struct reply *r)
{
    bool by_accessor = args_bool(&c->args, "accessor");
    _cleanup_secret_ char *id = NULL;
    int code = take_id(args_pos(&c->args, 0), by_accessor ? "Accessor: " : "Token (hidden): ", &id);

    if (code != EXIT_CODE_OK)
        return code;
    if (!id && by_accessor) {
        output_error("-accessor needs the accessor behind it");
        return EXIT_CODE_LOCAL;
    }
    if (!id)
        return call(c, v->self_method, v->self, NULL, json_object_size(body) ? body : NULL, r);
    if (json_set_str(body, by_accessor ? "accessor" : "token", id) < 0)
        return call_no_memory();
    return call(c, strcmp(v->self_method, "GET") == 0 ? "POST" : v->self_method,
                by_accessor ? v->accessor : v->token, NULL, body, r);
}

static int run_lookup(struct cli *c)
{
    static const struct verb verb = {"GET", "auth/token/lookup-self", "auth/token/lookup",
                                     "auth/token/lookup-accessor"};
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code = body ? about_token(c, &verb, body, &r) : call_no_memory();

    return code ? code : show_reply(c, &r);
}

static int run_renew(struct cli *c)
{
    static const struct verb verb = {"PUT", "auth/token/renew-self", "auth/token/renew",
                                     "auth/token/renew-accessor"};
    const char *increment = args_str(&c->args, "increment");
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!body || (increment && json_set_str(body, "increment", increment) < 0))
        return call_no_memory();
    code = about_token(c, &verb, body, &r);
    return code ? code : show_reply(c, &r);
}

static int run_revoke(struct cli *c)
{
    static const struct verb verb = {"PUT", "auth/token/revoke-self", "auth/token/revoke",
                                     "auth/token/revoke-accessor"};
    bool self = args_bool(&c->args, "self");
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!body)
        return call_no_memory();
    if (self == (c->args.n_pos > 0)) {
        output_error(self ? "-self and a token exclude each other"
                          : "say which: a token, -accessor ACCESSOR, or -self for the one in use");
        return EXIT_CODE_LOCAL;
    }
    code = about_token(c, &verb, body, &r);
    return code ? code : show_done(c, &r, "Success! Revoked token (if it existed)");
}

/* --- capabilities -------------------------------------------------------------------------------
 */

static int print_capabilities(struct cli *c, const struct reply *r, const char *path)
{
    const json_t *caps = json_object_get(reply_data(r), path), *v;
    size_t i;

    if (!caps)
        caps = json_object_get(reply_data(r), "capabilities");
    if (c->out.format == OUTPUT_JSON)
        return output_json(caps) < 0 ? call_no_memory() : EXIT_CODE_OK;
    json_array_foreach(caps, i, v)
        printf("%s%s", i ? ", " : "", json_is_string(v) ? json_string_value(v) : "?");
    putchar('\n');
    return EXIT_CODE_OK;
}

static int run_capabilities(struct cli *c)
{
    const char *token = c->args.n_pos == 2 ? args_pos(&c->args, 0) : NULL;
    _cleanup_secret_ char *id = NULL, *path = call_path("", args_pos(&c->args, c->args.n_pos - 1));
    _cleanup_json_ json_t *body = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code = take_id(token, "Token (hidden): ", &id);

    if (code != EXIT_CODE_OK)
        return code;
    body = path ? json_pack("{s:[s]}", "paths", path) : NULL;
    if (!body || (id && json_set_str(body, "token", id) < 0))
        return call_no_memory();
    code = call(c, "POST", id ? "sys/capabilities" : "sys/capabilities-self", NULL, body, &r);
    return code ? code : print_capabilities(c, &r, path);
}

static const struct flag create_flags[] = {
    {"policy", FLAG_LIST, "NAME", "A policy of the token; may be given several times"},
    {"ttl", FLAG_STRING, "TIME", "How long it lives, as 30m or 1h"},
    {"period", FLAG_STRING, "TIME", "Renewable without end, this long each time"},
    {"explicit-max-ttl", FLAG_STRING, "TIME", "The end that no renewal passes"},
    {"orphan", FLAG_BOOL, NULL, "Lives on when its parent ends"},
    {"no-default-policy", FLAG_BOOL, NULL, "Without the policy \"default\""},
    {"display-name", FLAG_STRING, "NAME", "For the audit record"},
    {"metadata", FLAG_LIST, "KEY=VALUE", "For the audit record; may be given several times"},
    {"type", FLAG_STRING, "service", "The kind of token"},
    {"use-limit", FLAG_INT, "N", "How many times it can be used"},
    {"renewable", FLAG_BOOL, NULL, "Whether it can be renewed (-renewable=false)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag accessor_flags[] = {
    {"accessor", FLAG_BOOL, NULL, "The argument is an accessor"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag renew_flags[] = {
    {"increment", FLAG_STRING, "TIME", "For how long"},
    {"i", FLAG_STRING, "TIME", "The same"},
    {"accessor", FLAG_BOOL, NULL, "The argument is an accessor"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag revoke_flags[] = {
    {"self", FLAG_BOOL, NULL, "The token in use"},
    {"accessor", FLAG_BOOL, NULL, "The argument is an accessor"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

#define TOKEN_DETAILS                                                                              \
    "Without an argument the token in use. With - the token is asked for, hidden (or read from\n"  \
    "standard input): on the command line others on this host can see it."

const struct command cmd_token_rows[] = {
    {.name = "token create",
     .args = "",
     .purpose = "Make a token for a client that wants one",
     .details = "Local programs need none: the agent knows who calls.",
     .example = "countersign token create -policy=db-read -ttl=1h",
     .flags = create_flags,
     .run = run_create},
    {.name = "token lookup",
     .args = "[TOKEN | ACCESSOR | -]",
     .purpose = "Show what a token is worth",
     .details = TOKEN_DETAILS,
     .example = "countersign token lookup -accessor 8609694a-cdbc-db9b-d345-e782dbb562ed",
     .flags = accessor_flags,
     .max_args = 1,
     .run = run_lookup},
    {.name = "token renew",
     .args = "[TOKEN | ACCESSOR | -]",
     .purpose = "Prolong a token",
     .details = TOKEN_DETAILS,
     .example = "countersign token renew -increment=30m",
     .flags = renew_flags,
     .max_args = 1,
     .run = run_renew},
    {.name = "token revoke",
     .args = "TOKEN | ACCESSOR | - | -self",
     .purpose = "End a token, its children and what they hold",
     .details = "With - the token is asked for, hidden (or read from standard input): on the "
                "command line\n"
                "others on this host can see it.",
     .example = "countersign token revoke -self",
     .flags = revoke_flags,
     .max_args = 1,
     .run = run_revoke},
    {.name = "token capabilities",
     .args = "[TOKEN | -] PATH",
     .purpose = "Show what may be done with a path",
     .example = "countersign token capabilities database/creds/shop-ro",
     .min_args = 1,
     .max_args = 2,
     .run = run_capabilities},
    {.name = "capabilities",
     .args = "PATH",
     .purpose = "Show what you may do with a path",
     .example = "countersign capabilities database/creds/shop-ro",
     .min_args = 1,
     .max_args = 1,
     .run = run_capabilities},
    {.name = NULL},
};
