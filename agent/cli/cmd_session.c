/* session list. */
#include <string.h>

#include "base/clock.h"
#include "cli/families.h"
#include "cli/show.h"

/* "totp 4m12s ago, passphrase 1h ago" */
static void put_proofs(const json_t *proofs, struct buf *out)
{
    const json_t *p;
    char age[32];
    size_t i;

    json_array_foreach(proofs, i, p)
    {
        const char *factor = json_string_value(json_object_get(p, "factor"));

        clock_human(json_integer_value(json_object_get(p, "age")), age, sizeof(age));
        buf_putf(out, "%s%s %s ago", i ? ", " : "", factor ? factor : "?", age);
    }
}

static void add_session(struct table *t, const json_t *s)
{
    _cleanup_buf_ struct buf proofs = BUF_INIT(8192);
    const char *source = json_string_value(json_object_get(s, "source"));
    char started[64], leases[32];

    put_proofs(json_object_get(s, "proofs"), &proofs);
    output_when(json_object_get(s, "started"), started, sizeof(started));
    snprintf(leases, sizeof(leases), "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(s, "leases")));
    table_add(t, (const char *const[]){json_string_value(json_object_get(s, "id")),
                                       json_string_value(json_object_get(s, "user")),
                                       json_string_value(json_object_get(s, "service")),
                                       source && source[0] ? source : "local",
                                       json_string_value(json_object_get(s, "tty")), started,
                                       proofs.len ? buf_str(&proofs) : "no factor", leases});
}

static int run_list(struct cli *c)
{
    static const char *const heads[] = {"Session",  "User",    "Service", "From",
                                        "Terminal", "Started", "Proved",  "Leases"};
    _cleanup_reply_ struct reply r = {0};
    const json_t *sessions, *s;
    struct table *t;
    size_t i;
    int code = call(c, "GET", "sys/sessions", NULL, NULL, &r), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    sessions = json_object_get(reply_data(&r), "sessions");
    if (json_array_size(sessions) == 0)
        return show_done(c, NULL, "No login session is known to the agent.");
    t = table_new(heads, ARRAY_LEN(heads));
    json_array_foreach(sessions, i, s) add_session(t, s);
    return show_table(c, t);
}

const struct command cmd_session_rows[] = {
    {.name = "session list",
     .args = "",
     .purpose = "Show the login sessions, what was proved in each and when",
     .details = "Your own; with a policy for sys/sessions everybody's.",
     .example = "countersign session list",
     .run = run_list},
    {.name = NULL},
};
