/* factor enroll, list, recovery-codes, remove, reset. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cli/families.h"
#include "cli/prompt.h"
#include "cli/qr.h"
#include "cli/show.h"

static const char *user_of(struct cli *c)
{
    const char *user = args_str(&c->args, "user");

    return user ? user : "self";
}

/* sys/factors/USER + rest; the user's name is one segment, whatever it holds. */
static char *factor_path(struct cli *c, const char *rest)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    buf_putf(&b, "sys/factors/%s%s", user_of(c), rest);
    return buf_error(&b) < 0 || strchr(user_of(c), '/') ? NULL : buf_steal(&b);
}

static int factor_call(struct cli *c, const char *method, const char *rest, const json_t *body,
                       struct reply *r)
{
    _cleanup_secret_ char *path = factor_path(c, rest);

    if (!path) {
        output_error("\"%s\" cannot be a user's name", user_of(c));
        return EXIT_CODE_LOCAL;
    }
    return call(c, method, path, NULL, body, r);
}

/* --- Recovery codes -----------------------------------------------------------------------------
 */

static const char *code_at(const json_t *codes, size_t i)
{
    const char *s = json_string_value(json_array_get(codes, i));

    return s ? s : "";
}

static void print_codes(struct cli *c, const json_t *codes)
{
    size_t n = json_array_size(codes), half = (n + 1) / 2;

    if (n == 0)
        return;
    printf("\n%sRecovery codes%s (shown now and never again)\n\n",
           output_color(&c->out, OUTPUT_BOLD), output_color(&c->out, OUTPUT_PLAIN));
    for (size_t i = 0; i < half; i++) {
        printf("  %2zu  %-26s", i + 1, code_at(codes, i));
        if (half + i < n)
            printf("  %2zu  %s", half + i + 1, code_at(codes, half + i));
        putchar('\n');
    }
    printf("\n"
           "Each works once in place of a code, when the authenticator is lost or broken.\n"
           "Print them or write them down, and keep them away from this computer and from the\n"
           "authenticator. New ones: countersign factor recovery-codes\n");
}

/* --- Enrolment ----------------------------------------------------------------------------------
 */

static enum qr_style qr_style_of(const struct output *o)
{
    if (!o->utf8 && o->color)
        return QR_SPACES;
    return o->color ? QR_COLOR : QR_PLAIN;
}

static int print_qr(struct cli *c, const char *url)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
    int r;

    if (args_bool(&c->args, "no-qr"))
        return 0;
    if (!c->out.utf8 && !c->out.color) {
        printf("(This terminal can show no QR code: type the secret instead.)\n\n");
        return 0;
    }
    r = qr_render(url, qr_style_of(&c->out), c->out.width, &b);
    if (r == QR_TOO_WIDE || r == -EMSGSIZE) {
        printf(
            "(This terminal is too narrow for the QR code: make it wider and start again, or type\n"
            "the secret.)\n\n");
        return 0;
    }
    if (r < 0)
        return r;
    printf("Scan this with an authenticator app:\n\n%s\n", buf_str(&b));
    return 0;
}

static void print_groups(const char *secret)
{
    for (size_t i = 0; secret[i]; i++) {
        if (i > 0 && i % 4 == 0)
            putchar(' ');
        putchar(secret[i]);
    }
}

static int print_secret(struct cli *c, const json_t *answer)
{
    const char *secret = json_string_value(json_object_get(answer, "secret"));
    const char *url = json_string_value(json_object_get(answer, "url"));

    if (!secret || !url || strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567=") != strlen(secret)) {
        output_error("the agent's answer has no secret");
        return EXIT_CODE_LOCAL;
    }
    if (c->out.format == OUTPUT_JSON)
        return output_json(answer) < 0 ? call_no_memory() : EXIT_CODE_OK;
    if (print_qr(c, url) < 0)
        return call_no_memory();
    printf("Or type this secret (time based, %s):\n\n  ",
           args_str(&c->args, "algorithm") ? args_str(&c->args, "algorithm") : "SHA1");
    print_groups(secret);
    printf("\n\n");
    if (args_bool(&c->args, "show-url"))
        printf("As a URL:\n\n  %s\n\n", url);
    printf("The factor counts once a code from it was right.\n");
    return EXIT_CODE_OK;
}

static void squeeze(char *code)
{
    char *to = code;

    for (const char *from = code; *from; from++)
        if (*from != ' ' && *from != '-')
            *to++ = *from;
    *to = '\0';
}

#define TRIES_MAX 3

/* Asks for a code and sends it. EXIT_CODE_REFUSED with r->status 400: the code was wrong. */
static int confirm_once(struct cli *c, struct reply *r)
{
    _cleanup_secret_ char *path = factor_path(c, "/totp/confirm"), *code = NULL;
    _cleanup_json_ json_t *body = json_object();
    int e = prompt_line("Code from the authenticator: ", false, &code), done;

    if (e != 0) {
        output_error("no code was given: the factor does not count");
        return EXIT_CODE_LOCAL;
    }
    squeeze(code);
    if (!path || json_set_str(body, "code", code) < 0)
        return call_no_memory();
    done = call_any(c, "POST", path, NULL, body, r);
    if (done != EXIT_CODE_OK)
        return done;
    if (r->status >= 200 && r->status <= 299)
        return EXIT_CODE_OK;
    return r->status == 400 ? EXIT_CODE_REFUSED : call_refused(c, "POST", path, r);
}

static int confirm(struct cli *c, struct reply *r)
{
    for (unsigned tries = 1;; tries++) {
        int code = confirm_once(c, r);

        if (code != EXIT_CODE_REFUSED || r->status != 400)
            return code;
        if (tries == TRIES_MAX)
            break;
        output_note("That code was not right. Wait for the next one and try again; if it goes on, "
                    "compare the clocks of this host and of the authenticator.");
    }
    output_error(
        "three wrong codes: the factor does not count. Start again: countersign factor enroll");
    return EXIT_CODE_REFUSED;
}

static int enroll_totp(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    _cleanup_json_ json_t *body = json_object();
    const char *algorithm = args_str(&c->args, "algorithm");
    int code;

    if (!body || (algorithm && json_set_str(body, "algorithm", algorithm) < 0) ||
        (args_has(&c->args, "digits") &&
         json_set_int(body, "digits", args_int(&c->args, "digits", 6)) < 0))
        return call_no_memory();
    code = factor_call(c, "POST", "/totp", body, &r);
    if (code == EXIT_CODE_OK)
        code = print_secret(c, reply_data(&r));
    if (code == EXIT_CODE_OK)
        code = confirm(c, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (c->out.format == OUTPUT_JSON) {
        output_json_text(buf_str(&r.body), r.body.len);
        return EXIT_CODE_OK;
    }
    show_done(c, &r, "\nEnrolled.");
    print_codes(c, json_object_get(reply_data(&r), "recovery_codes"));
    return EXIT_CODE_OK;
}

static int enroll_passphrase(struct cli *c)
{
    _cleanup_secret_ char *first = NULL, *again = NULL;
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (prompt_line("New passphrase (hidden): ", true, &first) != 0 || !first[0]) {
        output_error("no passphrase was given");
        return EXIT_CODE_LOCAL;
    }
    if (prompt_is_terminal() &&
        (prompt_line("Once more: ", true, &again) != 0 || !mem_equal_str(first, again))) {
        output_error("the two were not the same: nothing was changed");
        return EXIT_CODE_LOCAL;
    }
    if (json_set_str(body, "passphrase", first) < 0)
        return call_no_memory();
    code = factor_call(c, "POST", "/passphrase", body, &r);
    return code ? code : show_done(c, &r, "The passphrase counts from now on.");
}

static int run_enroll(struct cli *c)
{
    const char *type = args_str(&c->args, "type");

    if (!type || strcmp(type, "totp") == 0)
        return enroll_totp(c);
    if (strcmp(type, "passphrase") == 0)
        return enroll_passphrase(c);
    output_error("\"%s\" is no type of factor that can be enrolled: totp or passphrase", type);
    return EXIT_CODE_LOCAL;
}

/* --- The others ---------------------------------------------------------------------------------
 */

static void factor_details(const json_t *f, char *out, size_t size)
{
    const char *algorithm = json_string_value(json_object_get(f, "algorithm"));
    const json_t *remaining = json_object_get(f, "remaining");

    out[0] = '\0';
    if (json_is_false(json_object_get(f, "confirmed")))
        snprintf(out, size, "not confirmed yet, does not count");
    else if (json_is_integer(remaining))
        snprintf(out, size, "%d left", (int)json_integer_value(remaining));
    else if (algorithm)
        snprintf(out, size, "%.16s, %d digits", algorithm,
                 (int)json_integer_value(json_object_get(f, "digits")));
}

static int print_factors(struct cli *c, const json_t *answer)
{
    const json_t *factors = json_object_get(answer, "factors"), *f;
    const char *user = json_string_value(json_object_get(answer, "user"));
    const char *asked = args_str(&c->args, "user");
    char created[64], used[64], details[96], locked[64];
    struct table *t;
    size_t i;
    int code;

    if (json_array_size(factors) == 0)
        return show_done(c, NULL, "%s has no factor yet: countersign factor enroll%s%s",
                         user ? user : "?", asked ? " -user=" : "", asked ? asked : "");
    t = table_new((const char *const[]){"Type", "Enrolled", "Last used", "Details"}, 4);
    json_array_foreach(factors, i, f)
    {
        output_stamp(json_object_get(f, "created"), created, sizeof(created));
        output_when(json_object_get(f, "last_used"), used, sizeof(used));
        factor_details(f, details, sizeof(details));
        table_add(t, (const char *const[]){json_string_value(json_object_get(f, "type")), created,
                                           used[0] ? used : "never", details});
    }
    code = show_table(c, t);
    output_when(json_object_get(answer, "locked_until"), locked, sizeof(locked));
    if (locked[0])
        output_note("Too many wrong codes: refused until the lock ends %s.", locked);
    return code;
}

static int run_list(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = factor_call(c, "GET", "", NULL, &r), shown;

    if (code != EXIT_CODE_OK)
        return code;
    return show_plainly(c, &r, &shown) ? shown : print_factors(c, reply_data(&r));
}

static int run_codes(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    _cleanup_json_ json_t *body = json_object();
    int code = factor_call(c, "POST", "/recovery", body, &r), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    printf("The old recovery codes have ended.\n");
    print_codes(c, json_object_get(reply_data(&r), "recovery_codes"));
    return EXIT_CODE_OK;
}

static int run_remove(struct cli *c)
{
    const char *type = args_pos(&c->args, 0);
    _cleanup_secret_ char *rest = call_path("/", type);
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!rest)
        return call_no_memory();
    if (!type[0] || strchr(type, '/')) {
        output_error("say which: totp, passphrase or recovery");
        return EXIT_CODE_LOCAL;
    }
    code = factor_call(c, "DELETE", rest, NULL, &r);
    return code ? code : show_done(c, &r, "Removed: %s", type);
}

static int run_reset(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    char question[256];
    int code;

    snprintf(question, sizeof(question), "Remove every factor and recovery code of %.64s? [y/N] ",
             strcmp(user_of(c), "self") == 0 ? "yourself" : user_of(c));
    if (!args_bool(&c->args, "yes") && !prompt_yes(question)) {
        output_error("nothing was changed (-yes doesn't ask)");
        return EXIT_CODE_LOCAL;
    }
    code = factor_call(c, "DELETE", "", NULL, &r);
    return code ? code
                : show_done(c, &r, "All factors are removed. A new one: countersign factor enroll");
}

static const struct flag enroll_flags[] = {
    {"user", FLAG_STRING, "NAME", "For somebody else (as root)"},
    {"type", FLAG_STRING, "totp|passphrase", "Which factor (default totp)"},
    {"algorithm", FLAG_STRING, "SHA1|SHA256|SHA512",
     "Of the codes (default SHA1, which every app knows)"},
    {"digits", FLAG_INT, "6|8", "Of the codes (default 6)"},
    {"no-qr", FLAG_BOOL, NULL, "Show the secret only"},
    {"show-url", FLAG_BOOL, NULL, "Show the otpauth URL too"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag user_flags[] = {
    {"user", FLAG_STRING, "NAME", "Of somebody else (as root, or with a policy for it)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag reset_flags[] = {
    {"user", FLAG_STRING, "NAME", "Of somebody else (as root, or with a policy for it)"},
    {"yes", FLAG_BOOL, NULL, "Don't ask"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_factor_rows[] = {
    {.name = "factor enroll",
     .args = "",
     .purpose = "Enrol a second factor: an authenticator app, or a passphrase",
     .details = "Shows a QR code and the secret for typing, asks for one code, and then shows the "
                "recovery\n"
                "codes, once. With -format=json two objects are printed: {secret, url}, then, "
                "after a code\n"
                "was read from standard input, the recovery codes.",
     .example = "countersign factor enroll\nsudo countersign factor enroll -user=alice",
     .flags = enroll_flags,
     .run = run_enroll},
    {.name = "factor list",
     .args = "",
     .purpose = "Show the factors and when they were last used",
     .example = "countersign factor list",
     .flags = user_flags,
     .run = run_list},
    {.name = "factor recovery-codes",
     .args = "",
     .purpose = "Make ten new recovery codes; the old ones end",
     .example = "countersign factor recovery-codes",
     .flags = user_flags,
     .run = run_codes},
    {.name = "factor remove",
     .args = "totp|passphrase|recovery",
     .purpose = "Remove one factor",
     .example = "countersign factor remove passphrase",
     .flags = user_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_remove},
    {.name = "factor reset",
     .args = "",
     .purpose = "Remove all factors and recovery codes",
     .example = "sudo countersign factor reset -user=alice",
     .flags = reset_flags,
     .run = run_reset},
    {.name = NULL},
};
