/* person list, show, offboard, unlock: joiners and leavers. */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/families.h"
#include "cli/leaver.h"
#include "cli/prompt.h"
#include "cli/show.h"

#define EXIT_CODE_LEFT 3 /* done, but something waits to be revoked */
#define WAIT_DEFAULT_S 10

/* sys/people/NAME + rest; the name is one segment, whatever it holds. */
static char *person_path(struct cli *c, const char *rest)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    const char *name = args_pos(&c->args, 0);

    buf_putf(&b, "sys/people/%s%s", name, rest);
    return buf_error(&b) < 0 || strchr(name, '/') ? NULL : buf_steal(&b);
}

static int person_call(struct cli *c, const char *method, const char *rest, const json_t *body,
                       struct reply *r)
{
    _cleanup_secret_ char *path = person_path(c, rest);

    if (!path) {
        output_error("\"%s\" cannot be a user's name", args_pos(&c->args, 0));
        return EXIT_CODE_LOCAL;
    }
    return call(c, method, path, NULL, body, r);
}

static void join(const json_t *list, const char *key, char *out, size_t size)
{
    const json_t *one;
    size_t i;

    out[0] = '\0';
    json_array_foreach(list, i, one)
    {
        const char *text = key ? json_str_or(one, key, "") : json_string_value(one);
        size_t n = strlen(out);

        snprintf(out + n, size - n, "%s%s", i ? ", " : "", text ? text : "");
    }
}

/* --- list and show -------------------------------------------------------------------------------
 */

static int run_list(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = call(c, "GET", "sys/people", NULL, NULL, &r), shown;
    const json_t *people, *one;
    char factors[128], sessions[24], when[64];
    struct table *t;
    size_t i;

    if (code != EXIT_CODE_OK || show_plainly(c, &r, &shown))
        return code ? code : shown;
    people = json_object_get(reply_data(&r), "people");
    if (json_array_size(people) == 0)
        return show_done(c, NULL, "Nobody has a factor, a login session or a lock yet.");
    t = table_new((const char *const[]){"User", "Factors", "Sessions", "Locked"}, 4);
    json_array_foreach(people, i, one)
    {
        const char *reason = json_str_or(one, "reason", "");
        char locked[320];

        join(json_object_get(one, "factors"), NULL, factors, sizeof(factors));
        snprintf(sessions, sizeof(sessions), "%lld", (long long)json_int(one, "sessions", 0));
        output_when(json_object_get(one, "locked"), when, sizeof(when));
        snprintf(locked, sizeof(locked), "%s%s%s", when, when[0] && reason[0] ? ": " : "",
                 when[0] ? reason : "");
        table_add(t, (const char *const[]){json_str(one, "user"), factors, sessions, locked});
    }
    return show_table(c, t);
}

static struct table *lease_table(const json_t *leases)
{
    struct table *t = table_new((const char *const[]){"Lease", "State", "Ends", "Why it waits"}, 4);
    const json_t *one;
    char when[64];
    size_t i;

    json_array_foreach(leases, i, one)
    {
        output_when(json_object_get(one, "expires"), when, sizeof(when));
        table_add(t, (const char *const[]){json_str(one, "id"), json_str(one, "state"), when,
                                           json_str_or(one, "last_error", "")});
    }
    return t;
}

static void print_sessions(const json_t *sessions)
{
    const json_t *one;
    char when[64];
    size_t i;

    json_array_foreach(sessions, i, one)
    {
        output_when(json_object_get(one, "started"), when, sizeof(when));
        output_note("  session %s: %s from %s, %s", json_str_or(one, "id", "?"),
                    json_str_or(one, "service", "?"), json_str_or(one, "source", "?"), when);
    }
}

static int print_person(struct cli *c, const json_t *p)
{
    const json_t *lock = json_object_get(p, "locked"), *leases = json_object_get(p, "leases");
    char text[512], when[64];
    struct table *t = table_new((const char *const[]){"Key", "Value"}, 2);
    int code;

    table_add_value(t, "user", json_object_get(p, "user"));
    table_add_value(t, "uid", json_object_get(p, "uid"));
    output_when(json_object_get(lock, "at"), when, sizeof(when));
    snprintf(text, sizeof(text), "%s by %s%s%s", when, json_str_or(lock, "by", "?"),
             json_str_or(lock, "reason", "")[0] ? ": " : "", json_str_or(lock, "reason", ""));
    table_add(t, (const char *const[]){"locked", json_is_object(lock) ? text : "no"});
    join(json_object_get(p, "factors"), "type", text, sizeof(text));
    table_add(t, (const char *const[]){"factors", text[0] ? text : "none"});
    snprintf(text, sizeof(text), "%zu", json_array_size(json_object_get(p, "sessions")));
    table_add(t, (const char *const[]){"sessions", text});
    snprintf(text, sizeof(text), "%zu", json_array_size(json_object_get(p, "tokens")));
    table_add(t, (const char *const[]){"tokens", text});
    snprintf(text, sizeof(text), "%zu", json_array_size(leases));
    table_add(t, (const char *const[]){"leases", text});
    code = show_table(c, t);
    print_sessions(json_object_get(p, "sessions"));
    if (code || json_array_size(leases) == 0)
        return code;
    putchar('\n');
    return show_table(c, lease_table(leases));
}

static int run_show(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = person_call(c, "GET", "", NULL, &r), shown;

    if (code != EXIT_CODE_OK || show_plainly(c, &r, &shown))
        return code ? code : shown;
    code = print_person(c, reply_data(&r));
    if (json_is_false(json_object_get(reply_data(&r), "known")))
        output_note("\nThis host knows nobody of that name (getent passwd %s).",
                    args_pos(&c->args, 0));
    return code;
}

/* --- offboard ------------------------------------------------------------------------------------
 */

/* Whether one of the leases may still go by itself in a moment: no attempt has failed yet. */
static bool in_progress(const json_t *leases)
{
    const json_t *one;
    size_t i;

    json_array_foreach(leases, i, one)
    {
        if (json_int(one, "attempts", 0) == 0 &&
            strcmp(json_str_or(one, "state", ""), "quarantined") != 0)
            return true;
    }
    return false;
}

/* The leases that are left once revoking them had its time; a new array, NULL when it can't be
 * known. */
static json_t *wait_for_leases(struct cli *c, const json_t *answer, int64_t seconds)
{
    json_t *left = json_incref(json_object_get(answer, "leases"));
    int64_t end = clock_boot_ms() + seconds * 1000;
    useconds_t pause = 100 * 1000;

    while (in_progress(left) && clock_boot_ms() < end) {
        _cleanup_reply_ struct reply r = {0};
        _cleanup_secret_ char *path = person_path(c, "");

        usleep(pause); /* each look is a line in the audit log */
        pause = pause < 1000 * 1000 ? 2 * pause : pause;
        if (!path || call_quietly(c, "GET", path, NULL, &r) < 0 || r.status != 200)
            break;
        json_decref(left);
        left = json_incref(json_object_get(reply_data(&r), "leases"));
    }
    return left;
}

static void print_offboarded(const json_t *a, size_t left)
{
    char factors[128];
    const char *user = json_str_or(a, "user", "?");
    size_t leases = json_array_size(json_object_get(a, "leases"));

    join(json_object_get(a, "factors"), NULL, factors, sizeof(factors));
    printf("%s %s out: every login and every request is denied.\n", user,
           json_bool(a, "already", false) ? "was locked already and stays" : "is locked");
    printf("  sessions ended   %zu\n", json_array_size(json_object_get(a, "sessions")));
    printf("  tokens revoked   %lld\n", (long long)json_int(a, "tokens", 0));
    printf("  leases revoked   %zu of %zu\n", leases - (left > leases ? leases : left), leases);
    printf("  factors removed  %s\n", factors[0] ? factors : "none");
}

static void print_left(struct cli *c, const json_t *left)
{
    if (json_array_size(left) == 0)
        return;
    printf("\n%sNot gone yet%s. Each is tried again until it is gone; a database that can't be "
           "reached "
           "ends\nthe account by itself at the time it was made for:\n\n",
           output_color(&c->out, OUTPUT_WARN), output_color(&c->out, OUTPUT_PLAIN));
    (void)show_table(c, lease_table(left));
}

static void print_hints(const json_t *hints)
{
    const json_t *one;
    size_t i;

    if (json_array_size(hints) > 0)
        printf("\nWhat this does not do:\n");
    json_array_foreach(hints, i, one) printf("  %s\n", json_string_value(one));
}

static int show_offboarded(struct cli *c, const struct reply *r, const json_t *left,
                           const json_t *hints)
{
    const json_t *a = reply_data(r);
    int code = EXIT_CODE_OK;

    call_warnings(r);
    if (c->out.format == OUTPUT_JSON) {
        _cleanup_json_ json_t *v = json_copy((json_t *)(uintptr_t)a);

        if (!v || json_object_set(v, "left", (json_t *)(uintptr_t)left) < 0 ||
            json_object_set(v, "hints", (json_t *)(uintptr_t)hints) < 0 || output_json(v) < 0)
            code = call_no_memory();
    } else {
        print_offboarded(a, json_array_size(left));
        print_left(c, left);
        print_hints(hints);
    }
    return code ? code : json_array_size(left) > 0 ? EXIT_CODE_LEFT : EXIT_CODE_OK;
}

static bool confirmed(struct cli *c)
{
    char question[400];

    snprintf(question, sizeof(question),
             "Lock %.100s out, end their logins and take away all they hold here? [y/N] ",
             args_pos(&c->args, 0));
    if (args_bool(&c->args, "yes") || prompt_yes(question))
        return true;
    output_error("nothing was changed (-yes doesn't ask)");
    return false;
}

static json_t *offboard_body(struct cli *c)
{
    const char *reason = args_str(&c->args, "reason");
    json_t *body = json_pack("{s:s*}", "reason", reason);

    if (body && args_has(&c->args, "uid") &&
        json_set_int(body, "uid", args_int(&c->args, "uid", 0)) < 0) {
        json_decref(body);
        return NULL;
    }
    return body;
}

static int run_offboard(struct cli *c)
{
    _cleanup_json_ json_t *body = offboard_body(c), *left = NULL, *hints = json_array();
    _cleanup_reply_ struct reply r = {0};
    int64_t seconds = WAIT_DEFAULT_S;
    const char *wait = args_str(&c->args, "wait");
    int code;

    if (!body || !hints)
        return call_no_memory();
    if (wait && clock_parse_duration(wait, &seconds) < 0) {
        output_error("-wait takes a time, as 30s; not \"%s\"", wait);
        return EXIT_CODE_LOCAL;
    }
    if (!confirmed(c))
        return EXIT_CODE_LOCAL;
    code = person_call(c, "PUT", "/offboard", body, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (leaver_end_logins(json_str_or(reply_data(&r), "user", ""),
                          !args_bool(&c->args, "keep-logins"), hints) < 0 ||
        leaver_hints(json_str_or(reply_data(&r), "user", ""), hints) < 0)
        return call_no_memory();
    left = wait_for_leases(c, reply_data(&r), seconds);
    return show_offboarded(c, &r, left, hints);
}

static int run_unlock(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = person_call(c, "DELETE", "/lock", NULL, &r);

    return code ? code
                : show_done(
                      c, &r,
                      "%s is no longer locked out. What was taken away stays so; a new factor: "
                      "countersign factor enroll -user=%s",
                      args_pos(&c->args, 0), args_pos(&c->args, 0));
}

static const struct flag offboard_flags[] = {
    {"reason", FLAG_STRING, "TEXT", "Why, for the records and for explain"},
    {"wait", FLAG_STRING, "TIME",
     "How long to wait for leases to be gone (default 10s; 0s: not at all)"},
    {"keep-logins", FLAG_BOOL, NULL,
     "Let what runs go on (else, as root, it is ended through logind)"},
    {"uid", FLAG_INT, "N", "Whose tokens to end, for somebody whom this host no longer knows"},
    {"yes", FLAG_BOOL, NULL, "Don't ask"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_person_rows[] = {
    {.name = "person list",
     .args = "",
     .purpose = "List everybody with a factor, a login session or a lock",
     .example = "sudo countersign person list",
     .run = run_list},
    {.name = "person show",
     .args = "NAME",
     .purpose = "Show what a person has here, and whether they are locked out",
     .example = "sudo countersign person show bea",
     .min_args = 1,
     .max_args = 1,
     .run = run_show},
    {.name = "person offboard",
     .args = "NAME",
     .purpose = "Lock a leaver out and take away all they hold: sessions, tokens, leases, factors",
     .details =
         "In one go, durably: from then on every login and every request of that person is "
         "denied,\n"
         "also while the agent can't reach a database. What can't be revoked yet is listed with "
         "the\n"
         "time at which it ends by itself. As root the person's processes are ended, too. Safe to\n"
         "repeat, also for somebody whom the host no longer knows. Back: countersign person "
         "unlock.",
     .example = "sudo countersign person offboard bea -reason=\"left on Friday\"",
     .exits =
         "0 done; 1 wrong usage or a local problem; 2 the agent refused; 3 done, but leases are "
         "left that could not be revoked yet.",
     .flags = offboard_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_offboard},
    {.name = "person unlock",
     .args = "NAME",
     .purpose = "Take back the lock of person offboard",
     .details = "Sessions, tokens, leases and factors stay gone: the person enrols anew.",
     .example = "sudo countersign person unlock bea",
     .min_args = 1,
     .max_args = 1,
     .run = run_unlock},
    {.name = NULL},
};
