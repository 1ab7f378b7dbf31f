/* operator accept-rollback. */
#include <stdio.h>

#include "cli/families.h"
#include "cli/prompt.h"
#include "cli/show.h"

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "?";
}

/* What is held; false when nothing is. */
static bool tell_held(const json_t *answer)
{
    const json_t *all = json_object_get(answer, "held"), *one;
    const json_t *databases = json_object_get(answer, "databases");
    size_t i;

    if (json_is_object(all))
        output_note("Held: %s.", text_of(all, "reason"));
    json_array_foreach(databases, i, one)
        output_note("Held: %sconfig/%s: %s.", text_of(one, "mount"), text_of(one, "name"),
                    text_of(one, "reason"));
    return json_is_object(all) || json_array_size(databases) > 0;
}

static bool consent(const struct cli *c)
{
    if (args_bool(&c->args, "yes"))
        return true;
    output_note("\nIf this store goes on:\n"
                "  - leases whose time is up, or whose holder is gone, are revoked at once;\n"
                "  - accounts in its databases that it does not know are dropped, with their open\n"
                "    sessions: those that a newer store or another agent has made since;\n"
                "  - another agent with a copy of this store is held from then on.\n"
                "Say no if another agent is to go on, and stop this one: systemctl disable --now "
                "countersign.target\n");
    if (!prompt_is_terminal()) {
        output_error("nobody is there to say yes: run it on a terminal, or with -yes");
        return false;
    }
    return prompt_yes("Shall this store go on? [y/N] ");
}

static int run_accept(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    const json_t *accepted, *one;
    size_t i;
    int code = call(c, "GET", "sys/hold", NULL, NULL, &r), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (!tell_held(reply_data(&r))) {
        output_error("nothing is held: there is nothing to accept");
        return EXIT_CODE_REFUSED;
    }
    if (!consent(c)) {
        output_note("Nothing was accepted.");
        return EXIT_CODE_LOCAL;
    }
    code = call(c, "PUT", "sys/hold/accept", NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    accepted = json_object_get(reply_data(&r), "accepted");
    printf("Accepted:\n");
    json_array_foreach(accepted, i, one)
    {
        _cleanup_buf_ struct buf clean = BUF_INIT(8192);

        output_clean(&clean, json_is_string(one) ? json_string_value(one) : "?");
        printf("  %s\n", buf_str(&clean));
    }
    return EXIT_CODE_OK;
}

static const struct flag accept_flags[] = {
    {"yes", FLAG_BOOL, NULL, "Don't ask"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_hold_rows[] = {
    {.name = "operator accept-rollback",
     .args = "",
     .purpose = "Let this store go on, which an older copy, a restore or a clone has held",
     .details =
         "When an older store was put back, a snapshot was restored, the store came to another\n"
         "machine, or another agent with a copy of it has claimed a database, the agent serves\n"
         "logins and reads but makes, revokes and sweeps nothing there: it might end accounts\n"
         "that people use. \"countersign status\" says why. This says that it may go on. The use\n"
         "is an alert in the audit log.",
     .example = "sudo countersign operator accept-rollback",
     .exits = "2 when nothing is held.",
     .flags = accept_flags,
     .run = run_accept},
    {.name = NULL},
};
