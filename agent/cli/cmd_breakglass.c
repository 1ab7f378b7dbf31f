/* operator break-glass: emergency codes, to be printed and put into envelopes. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/families.h"
#include "cli/prompt.h"
#include "cli/show.h"

/* The name as this host writes it; NULL (and it was said why) when there is no such person. */
static const char *person(struct cli *c)
{
    const char *user = args_str(&c->args, "user");
    const struct passwd *p;

    if (!user || !user[0]) {
        output_error("whose? Give -user=NAME: an emergency code is one person's");
        return NULL;
    }
    p = getpwnam(user);
    if (!p)
        output_error("this host knows nobody called \"%s\"", user);
    return p ? p->pw_name : NULL;
}

static void print_codes(struct cli *c, const char *user, const json_t *codes)
{
    char host[256] = "this host";
    const json_t *o;
    size_t i;

    (void)gethostname(host, sizeof(host) - 1);
    printf("%sEmergency codes%s of %s on %s (shown now and never again)\n\n",
           output_color(&c->out, OUTPUT_BOLD), output_color(&c->out, OUTPUT_PLAIN), user, host);
    json_array_foreach(codes, i, o)
        printf("  %2zu  %s   (id %s)\n", i + 1, json_string_value(json_object_get(o, "code")),
               json_string_value(json_object_get(o, "id")));
    printf("\n"
           "What to do with them:\n"
           "  - Put each on a paper of its own, with its id, the name and the host, into a sealed\n"
           "    envelope, and where two people are needed to get at it.\n"
           "  - Each opens one login of %s, also while the agent is sealed, after the password or\n"
           "    key that comes before. It takes the place of the code, wherever and whenever.\n"
           "  - Each use is an alert in the journal at once, and in the audit log.\n"
           "  - Codes that %s had before are void. Clear this screen and its scrollback.\n",
           user, user);
}

static int run_generate(struct cli *c)
{
    const char *user = person(c);
    _cleanup_(freep) char *path = user ? call_path("sys/break-glass/", user) : NULL;
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!user)
        return EXIT_CODE_LOCAL;
    if (!path || json_set_int(body, "count", args_int(&c->args, "count", 4)) < 0)
        return call_no_memory();
    code = call(c, "PUT", path, NULL, body, &r);
    if (code != EXIT_CODE_OK || show_plainly(c, &r, &code))
        return code;
    print_codes(c, user, json_object_get(reply_data(&r), "codes"));
    return EXIT_CODE_OK;
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

static void add_row(struct table *t, const json_t *o)
{
    char made[64], used[64];
    const char *cells[] = {text_at(o, "id"),      text_at(o, "user"),  made, used,
                           text_at(o, "service"), text_at(o, "source")};

    output_stamp(json_object_get(o, "made"), made, sizeof(made));
    output_stamp(json_object_get(o, "used"), used, sizeof(used));
    if (json_is_false(json_object_get(o, "genuine")))
        cells[3] = "NOT OURS: revoke";
    else if (!used[0])
        cells[3] = "unused";
    table_add(t, cells);
}

static int run_status(struct cli *c)
{
    static const char *const heads[] = {"Id", "For", "Made", "Used", "At", "From"};
    _cleanup_reply_ struct reply r = {0};
    int code = call(c, "GET", "sys/break-glass", NULL, NULL, &r);
    const json_t *codes, *o;
    struct table *t;
    size_t i;

    if (code != EXIT_CODE_OK || show_plainly(c, &r, &code))
        return code;
    codes = json_object_get(reply_data(&r), "codes");
    if (json_array_size(codes) == 0) {
        printf("There are no emergency codes.\n\n"
               "To make some: countersign operator break-glass generate -user=NAME\n");
        return EXIT_CODE_OK;
    }
    t = table_new(heads, ARRAY_LEN(heads));
    json_array_foreach(codes, i, o) add_row(t, o);
    code = show_table(c, t);
    if (code == EXIT_CODE_OK)
        printf("\n%d left, %d used.\n",
               (int)json_integer_value(json_object_get(reply_data(&r), "left")),
               (int)json_integer_value(json_object_get(reply_data(&r), "used")));
    return code;
}

static int run_revoke(struct cli *c)
{
    const char *user = args_str(&c->args, "user");
    _cleanup_(freep) char *path = call_path("sys/break-glass/", user ? user : "");
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!user || !user[0]) {
        output_error("whose? Give -user=NAME");
        return EXIT_CODE_LOCAL;
    }
    code = path ? call(c, "DELETE", path, NULL, NULL, &r) : call_no_memory();
    if (code != EXIT_CODE_OK)
        return code;
    return show_done(c, &r, "%d unused emergency codes of %s are void.",
                     (int)json_integer_value(json_object_get(reply_data(&r), "revoked")), user);
}

static const struct flag generate_flags[] = {
    {"user", FLAG_STRING, "NAME", "Whose logins they open"},
    {"count", FLAG_INT, "N", "How many (default 4, at most 16)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag revoke_flags[] = {
    {"user", FLAG_STRING, "NAME", "Whose"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_breakglass_rows[] = {
    {.name = "operator break-glass generate",
     .args = "-user=NAME",
     .purpose = "Make emergency codes for a person, in place of those they had",
     .details = "They open a login when nothing else does: the store is sealed, the authenticator "
                "lost, the\n"
                "bindings wrong. Each once. Root only.",
     .example = "sudo countersign operator break-glass generate -user=ada -count=4",
     .flags = generate_flags,
     .run = run_generate},
    {.name = "operator break-glass status",
     .args = "",
     .purpose = "How many are left, for whom, and which were used, when and from where",
     .example = "sudo countersign operator break-glass status",
     .run = run_status},
    {.name = "operator break-glass revoke",
     .args = "-user=NAME",
     .purpose = "Void a person's emergency codes",
     .example = "sudo countersign operator break-glass revoke -user=ada",
     .flags = revoke_flags,
     .run = run_revoke},
    {.name = NULL},
};
