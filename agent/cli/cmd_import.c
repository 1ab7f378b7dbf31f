/* factor import: from pam_google_authenticator's files, or an otpauth URI. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/families.h"
#include "cli/otpfile.h"
#include "cli/prompt.h"
#include "cli/show.h"

/* --- The file
 * ----------------------------------------------------------------------------------- */

/* A home is its owner's to fill: a link in it, or a file of somebody else's, must not bring another
 * person's secret in under this name. also: who may own it besides (the caller, where they named
 * the file), or the same. */
static int read_owned(const char *path, uid_t owner, uid_t also, struct buf *text, char *why,
                      size_t whylen)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), e = 0;
    struct stat st;

    if (fd < 0) {
        e = -errno;
        snprintf(why, whylen, "%s", e == -ELOOP ? "it is a symbolic link" : strerror(-e));
        return e;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        snprintf(why, whylen, "it is no plain file");
        e = -EINVAL;
    } else if (st.st_uid != owner && st.st_uid != also) {
        snprintf(why, whylen, "it belongs to somebody else (uid %u)", (unsigned)st.st_uid);
        e = -EPERM;
    } else {
        e = prompt_read_all(fd, OTPFILE_MAX, text);
        if (e < 0)
            snprintf(why, whylen, "%s", strerror(-e));
    }
    close(fd);
    return e;
}

static int read_home(const struct passwd *pw, struct buf *text, char *path, size_t size, char *why,
                     size_t whylen)
{
    snprintf(path, size, "%s/" OTPFILE_NAME, pw->pw_dir);
    return read_owned(path, pw->pw_uid, pw->pw_uid, text, why, whylen);
}

static json_t *body_of(const struct otpfile *f, bool confirmed, bool replace)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:b, s:b}", "secret", f->secret, "algorithm",
                     f->algorithm, "digits", f->digits, "period", f->period, "skew", f->skew,
                     "confirmed", confirmed, "replace", replace);
}

/* sys/factors/USER + rest. */
static char *factor_path(const char *user, const char *rest)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    buf_putf(&b, "sys/factors/%s%s", user, rest);
    return buf_error(&b) < 0 || strchr(user, '/') ? NULL : buf_steal(&b);
}

/* --- One person
 * --------------------------------------------------------------------------------- */

/* A URI is one line, behind which a code may follow; a file is all there is. */
static int read_stdin(struct cli *c, struct buf *text)
{
    _cleanup_secret_ char *line = NULL;
    int e = prompt_line("The otpauth URI, or the file's lines: ", true, &line);

    if (e != 0)
        return e < 0 ? e : -ENODATA;
    buf_puts(text, line);
    if (strncasecmp(line, "otpauth", 7) == 0)
        return buf_error(text);
    buf_putc(text, '\n');
    c->stdin_used = !prompt_is_terminal();
    return buf_error(text) < 0 ? buf_error(text) : prompt_read_all(STDIN_FILENO, OTPFILE_MAX, text);
}

/* Text from where the command line says. Leaves in path what to call it. */
static int read_source(struct cli *c, const struct passwd *pw, struct buf *text, char *path,
                       size_t size)
{
    const char *file = args_pos(&c->args, 0);
    char why[256] = "";
    int e;

    if (file && strcmp(file, "-") == 0) {
        snprintf(path, size, "standard input");
        e = read_stdin(c, text);
        if (e < 0)
            snprintf(why, sizeof(why), "%s", strerror(-e));
    } else if (file) {
        snprintf(path, size, "%s", file);
        e = read_owned(file, pw->pw_uid, geteuid(), text, why, sizeof(why));
    } else {
        e = read_home(pw, text, path, size, why, sizeof(why));
    }
    if (e == 0)
        return EXIT_CODE_OK;
    output_error("%s can't be read: %s", path, why);
    if (!file)
        output_note("If it is elsewhere: countersign factor import FILE");
    return EXIT_CODE_LOCAL;
}

static int ask_code(struct cli *c, const char *user, struct reply *r)
{
    _cleanup_secret_ char *path = factor_path(user, "/totp/confirm"), *code = NULL;
    _cleanup_json_ json_t *body = json_object();

    if (prompt_line("Code from the authenticator: ", false, &code) != 0) {
        output_error("no code was given: the factor does not count");
        return EXIT_CODE_LOCAL;
    }
    if (!path || json_set_str(body, "code", code) < 0)
        return call_no_memory();
    return call(c, "POST", path, NULL, body, r);
}

static void tell_next(const char *path, const struct otpfile *f, bool others)
{
    if (f->emergency > 0)
        printf("The %u scratch codes in it were not taken over: eight digits are too few.%s\n",
               f->emergency,
               others ? "\nNew ones are theirs to make: countersign factor recovery-codes" : "");
    if (strcmp(path, "standard input") != 0)
        printf("The secret still stands in %s. When logging in works, remove it:\n  shred -u %s\n",
               path, path);
}

static int finish_self(struct cli *c, const char *path, const struct otpfile *f)
{
    _cleanup_reply_ struct reply r = {0};
    const json_t *codes, *one;
    int code = ask_code(c, "self", &r), shown;
    size_t i;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    codes = json_object_get(reply_data(&r), "recovery_codes");
    show_done(c, NULL, "Imported: the factor counts.");
    if (json_array_size(codes) > 0)
        printf("\nRecovery codes (shown now and never again; keep them off this computer):\n\n");
    json_array_foreach(codes, i, one) printf("  %s\n", json_string_value(one));
    if (json_array_size(codes) > 0)
        putchar('\n');
    tell_next(path, f, false);
    return EXIT_CODE_OK;
}

static int import_one(struct cli *c, const char *user, const struct passwd *pw)
{
    _cleanup_buf_ struct buf text = BUF_INIT(OTPFILE_MAX);
    _cleanup_otpfile_ struct otpfile f = {0};
    _cleanup_json_ json_t *body = NULL;
    _cleanup_reply_ struct reply r = {0};
    _cleanup_secret_ char *path = factor_path(user ? user : "self", "/totp/import");
    char from[4200], why[256];
    int code = read_source(c, pw, &text, from, sizeof(from)), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (!user && c->stdin_used) {
        output_error("a code has to be asked for: give the file's name instead of \"-\"");
        return EXIT_CODE_LOCAL;
    }
    if (otpfile_parse(buf_str(&text), text.len, &f, why, sizeof(why)) < 0) {
        output_error("%s can't be imported: %s", from, why);
        return EXIT_CODE_LOCAL;
    }
    body = body_of(&f, user != NULL, args_bool(&c->args, "replace"));
    if (!body || !path)
        return call_no_memory();
    code = call(c, "POST", path, NULL, body, &r);
    if (code != EXIT_CODE_OK)
        return code;
    call_warnings(&r);
    if (!user)
        return finish_self(c, from, &f);
    if (show_plainly(c, &r, &shown))
        return shown;
    show_done(c, NULL, "Imported: the factor of %s counts from now on.", user);
    tell_next(from, &f, true);
    return EXIT_CODE_OK;
}

/* --- Everybody
 * ---------------------------------------------------------------------------------- */

enum result { RESULT_IMPORTED, RESULT_KEPT, RESULT_REFUSED };
static const char *const result_names[] = {"imported", "kept", "refused"};

/* Whether the person has a TOTP that counts. */
static bool has_totp(struct cli *c, const char *user)
{
    _cleanup_secret_ char *path = factor_path(user, "");
    _cleanup_reply_ struct reply r = {0};
    const json_t *list, *f;
    size_t i;

    if (!path || call_quietly(c, "GET", path, NULL, &r) < 0 || r.status != 200)
        return false;
    list = json_object_get(reply_data(&r), "factors");
    json_array_foreach(list, i, f)
    {
        if (strcmp(json_str_or(f, "type", ""), "totp") == 0 && json_bool(f, "confirmed", false))
            return true;
    }
    return false;
}

static enum result send(struct cli *c, const char *user, const struct otpfile *f, char *why,
                        size_t whylen)
{
    _cleanup_json_ json_t *body = body_of(f, true, args_bool(&c->args, "replace"));
    _cleanup_secret_ char *path = factor_path(user, "/totp/import");
    _cleanup_buf_ struct buf reason = BUF_INIT(64 * 1024);
    _cleanup_reply_ struct reply r = {0};
    int e = body && path ? call_quietly(c, "POST", path, body, &r) : -ENOMEM;

    snprintf(why, whylen, "%s", e < 0 ? strerror(-e) : "");
    if (e == 0 && r.status == 200)
        return RESULT_IMPORTED;
    call_reason(&r, &reason);
    if (e == 0)
        snprintf(why, whylen, "%s", buf_str(&reason));
    return RESULT_REFUSED;
}

static enum result import_home(struct cli *c, const char *user, const struct buf *text, char *why,
                               size_t whylen)
{
    _cleanup_otpfile_ struct otpfile f = {0};

    if (otpfile_parse(buf_str(text), text->len, &f, why, whylen) < 0)
        return RESULT_REFUSED;
    if (!args_bool(&c->args, "replace") && has_totp(c, user)) {
        snprintf(why, whylen, "has a TOTP factor already (-replace puts this one in its place)");
        return RESULT_KEPT;
    }
    return send(c, user, &f, why, whylen);
}

static int import_each(struct cli *c, json_t *list, bool *refused)
{
    const struct passwd *pw;
    int e = 0;

    setpwent();
    while (e == 0 && (pw = getpwent()) != NULL) {
        _cleanup_buf_ struct buf text = BUF_INIT(OTPFILE_MAX);
        char path[4200], why[512] = "", user[257];
        enum result result = RESULT_REFUSED;
        int got;

        snprintf(user, sizeof(user), "%s", pw->pw_name);
        got = read_home(pw, &text, path, sizeof(path), why, sizeof(why));
        if (got == -ENOENT || got == -ENOTDIR || (got == -EPERM && strcmp(pw->pw_dir, "/") == 0))
            continue; /* no such file: most people */
        if (got == 0)
            result = import_home(c, user, &text, why, sizeof(why));
        *refused |= result == RESULT_REFUSED;
        if (json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s}", "user", user, "file", path,
                                            "result", result_names[result], "detail", why)) < 0)
            e = -ENOMEM;
    }
    endpwent();
    return e;
}

static int show_everybody(struct cli *c, const json_t *list)
{
    struct table *t = table_new((const char *const[]){"User", "Result", "File", "Details"}, 4);
    const json_t *one;
    size_t i;
    int code;

    if (json_array_size(list) == 0) {
        table_free(t);
        return show_done(c, NULL, "Nobody has a file " OTPFILE_NAME " in their home.");
    }
    json_array_foreach(list, i, one)
        table_add(t, (const char *const[]){json_str(one, "user"), json_str(one, "result"),
                                           json_str(one, "file"), json_str(one, "detail")});
    code = show_table(c, t);
    printf("\nThe files still hold the secrets: remove them when logging in works.\n"
           "Recovery codes are each one's own to make: countersign factor recovery-codes\n");
    return code;
}

static int import_all(struct cli *c)
{
    _cleanup_json_ json_t *list = json_array();
    bool refused = false;
    int e = list ? import_each(c, list, &refused) : -ENOMEM, code;

    if (e < 0)
        return call_no_memory();
    if (c->out.format == OUTPUT_JSON) {
        _cleanup_json_ json_t *v = json_pack("{s:O}", "people", list);

        code = v && output_json(v) == 0 ? EXIT_CODE_OK : call_no_memory();
    } else {
        code = show_everybody(c, list);
    }
    return code ? code : refused ? EXIT_CODE_REFUSED : EXIT_CODE_OK;
}

static int run_import(struct cli *c)
{
    const char *user = args_str(&c->args, "user");
    const struct passwd *pw;

    if (args_bool(&c->args, "all-homes") && (user || c->args.n_pos > 0)) {
        output_error("-all-homes goes with neither a file nor -user");
        return EXIT_CODE_LOCAL;
    }
    if (args_bool(&c->args, "all-homes"))
        return import_all(c);
    pw = user ? getpwnam(user) : getpwuid(geteuid());
    if (!pw) {
        output_error("this host knows no user %s", user ? user : "of this uid");
        return EXIT_CODE_LOCAL;
    }
    if (!user || strcmp(pw->pw_name, user) == 0)
        return import_one(c, user, pw);
    output_error("%s is written %s here: say -user=%s", user, pw->pw_name, pw->pw_name);
    return EXIT_CODE_LOCAL;
}

static const struct flag import_flags[] = {
    {"user", FLAG_STRING, "NAME", "For somebody else (as root): counts at once, it was in use"},
    {"all-homes", FLAG_BOOL, NULL,
     "As root: for everybody with a file " OTPFILE_NAME " in their home"},
    {"replace", FLAG_BOOL, NULL, "In place of a TOTP factor that is there already"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_import_rows[] = {
    {.name = "factor import",
     .args = "[FILE|-]",
     .purpose = "Take over a secret from google-authenticator, or an otpauth URI",
     .details =
         "Reads ~/" OTPFILE_NAME ", a file of that form, or one with an otpauth:// URI\n"
         "(\"-\": standard input; never the command line, which others can see). For oneself a "
         "code\n"
         "is asked for; an import by root counts at once. Time-based codes every 30 seconds only.\n"
         "Scratch codes are not taken over, and the file is left where it is.",
     .example = "countersign factor import\nsudo countersign factor import -user=alice\n"
                "sudo countersign factor import -all-homes",
     .exits =
         "0 done; 1 wrong usage or a file that can't be used; 2 the agent refused one or more.",
     .flags = import_flags,
     .max_args = 1,
     .run = run_import},
    {.name = NULL},
};
