/* lease list, lookup, renew, revoke. */
#include <string.h>

#include "cli/families.h"
#include "cli/show.h"

static const char *str_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static char *list_query(const char *principal, bool quarantined, int64_t limit)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    buf_putf(&b, "limit=%" JSON_INTEGER_FORMAT, (json_int_t)limit);
    if (quarantined)
        buf_puts(&b, "&state=quarantined");
    if (principal) {
        buf_puts(&b, "&principal=");
        client_escape(&b, principal, false);
    }
    return buf_error(&b) < 0 ? NULL : buf_steal(&b);
}

static void put_holder(const json_t *lease, char *out, size_t size)
{
    const json_t *life = json_object_get(lease, "lifetime");
    const char *kind = str_of(life, "kind"), *name = str_of(life, "name");
    const char *number = strrchr(str_of(life, "id"), '/'); /* of a session: behind its boot id */

    if (!kind[0] || strcmp(kind, "none") == 0)
        snprintf(out, size, "its time only");
    else if (strcmp(kind, "session") == 0 && number)
        snprintf(out, size, "session %.20s (%.60s)", number + 1, name);
    else
        snprintf(out, size, "%.32s %.100s", kind, name[0] ? name : str_of(life, "id"));
}

/* The state, with what keeps a revocation from coming to its end. */
static void put_state(const json_t *lease, char *out, size_t size)
{
    json_int_t attempts = json_integer_value(json_object_get(lease, "attempts"));
    const char *error = str_of(lease, "last_error");

    if (error[0])
        snprintf(out, size, "%.32s (tried %" JSON_INTEGER_FORMAT ": %.200s)",
                 str_of(lease, "state"), attempts, error);
    else
        snprintf(out, size, "%.32s", str_of(lease, "state"));
}

static void add_lease(struct table *t, const json_t *lease)
{
    char since[64], until[64], holder[160], state[300];

    output_when(json_object_get(lease, "issued"), since, sizeof(since));
    output_when(json_object_get(lease, "expires"), until, sizeof(until));
    put_holder(lease, holder, sizeof(holder));
    put_state(lease, state, sizeof(state));
    table_add(t, (const char *const[]){str_of(lease, "id"), str_of(lease, "principal"), state,
                                       since, until, holder});
}

/* What depends on an account that can't be dropped, below the table. */
static void put_objects(const json_t *leases)
{
    const json_t *l, *o;
    size_t i, k;

    json_array_foreach(leases, i, l)
    {
        const json_t *objects = json_object_get(l, "objects");

        if (json_array_size(objects) == 0)
            continue;
        _cleanup_buf_ struct buf id = BUF_INIT(8192);
        output_clean(&id, str_of(l, "id"));
        printf("\n%s can't be dropped while these depend on its account:\n", buf_str(&id));
        json_array_foreach(objects, k, o)
        {
            _cleanup_buf_ struct buf raw = BUF_INIT(4096), clean = BUF_INIT(8192);

            output_value(&raw, o);
            output_clean(&clean, buf_str(&raw));
            printf("  %s\n", buf_str(&clean));
        }
    }
    if (json_array_size(leases) > 0)
        printf("\nDrop them, or give them to another role (REASSIGN OWNED BY ... TO ...), and it "
               "goes by itself;\nat once with: countersign lease revoke ID\n");
}

static int print_quarantined(struct cli *c, const json_t *leases)
{
    static const char *const heads[] = {"Lease", "Held by", "State", "Since", "Until", "Tied to"};
    struct table *t = table_new(heads, ARRAY_LEN(heads));
    const json_t *l;
    size_t i;
    int code;

    json_array_foreach(leases, i, l) add_lease(t, l);
    code = show_table(c, t);
    if (code == EXIT_CODE_OK)
        put_objects(leases);
    return code;
}

static int list_quarantined(struct cli *c, const json_t *answer)
{
    const json_t *list = json_object_get(answer, "leases");

    return json_array_size(list) ? print_quarantined(c, list)
                                 : show_done(c, NULL, "No quarantined leases.");
}

static int print_leases(struct cli *c, const json_t *answer, const char *prefix)
{
    static const char *const heads[] = {"Lease", "Held by", "State", "Since", "Until", "Tied to"};
    const json_t *leases = json_object_get(answer, "leases"), *l;
    struct table *t = table_new(heads, ARRAY_LEN(heads));
    size_t i;
    int code;

    json_array_foreach(leases, i, l) if (!prefix || strncmp(str_of(l, "id"), prefix,
                                                            strlen(prefix)) == 0) add_lease(t, l);
    if (t && table_rows(t) == 0) {
        table_free(t);
        return show_done(c, NULL, "No leases.");
    }
    code = show_table(c, t);
    if (json_is_true(json_object_get(answer, "truncated")))
        output_note("There are more: narrow it with -principal or raise -limit.");
    return code;
}

static int run_list(struct cli *c)
{
    const char *prefix = args_str(&c->args, "prefix");
    _cleanup_secret_ char *query =
        list_query(args_str(&c->args, "principal"), args_bool(&c->args, "quarantined"),
                   args_int(&c->args, "limit", 1000));
    _cleanup_reply_ struct reply r = {0};
    int code = query ? call(c, "GET", "sys/leases", query, NULL, &r) : call_no_memory(), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    if (args_bool(&c->args, "quarantined"))
        return list_quarantined(c, reply_data(&r));
    return print_leases(c, reply_data(&r), prefix ? prefix : args_pos(&c->args, 0));
}

static int by_id(struct cli *c, const char *path, const char *increment, struct reply *r)
{
    _cleanup_json_ json_t *body = json_object();

    if (json_set_str(body, "lease_id", args_pos(&c->args, 0)) < 0 ||
        (increment && json_set_str(body, "increment", increment) < 0))
        return call_no_memory();
    return call(c, "PUT", path, NULL, body, r);
}

static int run_lookup(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = by_id(c, "sys/leases/lookup", NULL, &r);

    return code ? code : show_reply(c, &r);
}

static int run_renew(struct cli *c)
{
    const char *increment = args_str(&c->args, "increment");
    _cleanup_reply_ struct reply r = {0};
    int code = by_id(c, "sys/leases/renew", increment ? increment : args_str(&c->args, "i"), &r);

    return code ? code : show_reply(c, &r);
}

static int revoke_principal(struct cli *c, const char *principal)
{
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (json_set_str(body, "principal", principal) < 0)
        return call_no_memory();
    code = call(c, "PUT", "sys/leases/revoke-principal", NULL, body, &r);
    if (code != EXIT_CODE_OK)
        return code;
    return show_done(c, &r,
                     "Success! Leases of %s that are revoked, or being revoked: "
                     "%" JSON_INTEGER_FORMAT " (see: countersign lease list)",
                     principal, json_integer_value(json_object_get(reply_data(&r), "revoked")));
}

static int revoke_prefix(struct cli *c)
{
    _cleanup_secret_ char *path = call_path("sys/leases/revoke-prefix/", args_pos(&c->args, 0));
    _cleanup_reply_ struct reply r = {0};
    int code = path ? call(c, "PUT", path, NULL, NULL, &r) : call_no_memory();

    return code ? code
                : show_done(c, &r, "Success! Revoked, or being revoked, all leases below: %s",
                            args_pos(&c->args, 0));
}

static int run_revoke(struct cli *c)
{
    const char *principal = args_str(&c->args, "principal");
    _cleanup_reply_ struct reply r = {0};
    int code;

    if ((principal != NULL) == (c->args.n_pos == 1)) {
        output_error("say which: a lease ID, -prefix PREFIX, or -principal=user:NAME");
        return EXIT_CODE_LOCAL;
    }
    if (principal)
        return revoke_principal(c, principal);
    if (args_bool(&c->args, "prefix"))
        return revoke_prefix(c);
    code = by_id(c, "sys/leases/revoke", NULL, &r);
    return code ? code
                : show_done(c, &r, "Success! Revoked, or being revoked: %s", args_pos(&c->args, 0));
}

static const struct flag list_flags[] = {
    {"principal", FLAG_STRING, "user:NAME", "Only what this one holds"},
    {"prefix", FLAG_STRING, "PREFIX", "Only leases whose ID begins so"},
    {"quarantined", FLAG_BOOL, NULL,
     "Only accounts that can't be dropped, with what depends on them"},
    {"limit", FLAG_INT, "N", "How many at most (default 1000)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag renew_flags[] = {
    {"increment", FLAG_STRING, "TIME", "For how long, as 30m"},
    {"i", FLAG_STRING, "TIME", "The same"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag revoke_flags[] = {
    {"prefix", FLAG_BOOL, NULL, "The argument is the beginning of IDs"},
    {"principal", FLAG_STRING, "user:NAME", "Everything that this one holds"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_lease_rows[] = {
    {.name = "lease list",
     .args = "[PREFIX]",
     .purpose = "Who holds what, since when, until when, tied to which lifetime",
     .details = "Your own; with a policy for sys/leases everybody's.",
     .example = "countersign lease list -principal=user:alice",
     .flags = list_flags,
     .max_args = 1,
     .run = run_list},
    {.name = "lease lookup",
     .args = "ID",
     .purpose = "Show one lease",
     .example = "countersign lease lookup database/creds/shop-ro/2f6a614c...",
     .min_args = 1,
     .max_args = 1,
     .run = run_lookup},
    {.name = "lease renew",
     .args = "ID",
     .purpose = "Prolong a lease",
     .example = "countersign lease renew -increment=30m database/creds/shop-ro/2f6a614c...",
     .flags = renew_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_renew},
    {.name = "lease revoke",
     .args = "ID | -prefix PREFIX | -principal=user:NAME",
     .purpose = "End leases now: open sessions are cut, accounts are dropped",
     .details = "What cannot be ended at once (a database that is down) is tried until it works, "
                "and stays\n"
                "visible in lease list and status.",
     .example = "countersign lease revoke database/creds/shop-ro/2f6a614c...\n"
                "countersign lease revoke -prefix database/creds/shop-ro\n"
                "countersign lease revoke -principal=user:alice",
     .flags = revoke_flags,
     .max_args = 1,
     .run = run_revoke},
    {.name = NULL},
};
