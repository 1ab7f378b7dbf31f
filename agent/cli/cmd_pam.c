/* pam enable, confirm, disable, status: the way in is safe to open and to close. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "cli/families.h"
#include "cli/pamchange.h"
#include "cli/pamcheck.h"
#include "cli/pamfile.h"
#include "cli/pamstore.h"
#include "cli/pamtimer.h"
#include "cli/show.h"

/* --- enable -------------------------------------------------------------------------------------
 */

/* Notes the change that has to be undone, and by what, before anything is changed. */
static int arm(struct pamchange *all, int64_t seconds)
{
    char id[ENCODE_UUID_LEN + 1], why[512];
    json_t *services = pamchange_names(all, false);
    _cleanup_json_ json_t *pending = NULL;
    int r;

    encode_random_uuid(id);
    pending = json_pack("{s:s, s:I, s:o}", "id", id, "until",
                        (json_int_t)(clock_wall_s() + seconds), "services", services);
    if (!pending)
        return call_no_memory();
    if (pamstore_set_pending(all->state, pending, why, sizeof(why)) < 0)
        return pamchange_fail(why);
    r = pamtimer_start(id, all->dir, all->state, seconds);
    if (r == 0)
        return EXIT_CODE_OK;
    (void)pamstore_clear_pending(all->state, why, sizeof(why));
    output_error("nothing can be started that would undo the change later: %s", strerror(-r));
    return EXIT_CODE_LOCAL;
}

static int refuse_pending(struct pamchange *all)
{
    _cleanup_json_ json_t *pending = NULL;
    char why[512], when[64];

    if (pamstore_pending(all->state, &pending, why, sizeof(why)) == -ENOENT)
        return EXIT_CODE_OK;
    output_when(json_object_get(pending, "until"), when, sizeof(when));
    output_error("an earlier change waits to be confirmed (else it is undone %s)\n"
                 "First: countersign pam confirm, or countersign pam rollback",
                 when[0] ? when : "at the next boot");
    return EXIT_CODE_LOCAL;
}

static int report_enabled(struct cli *c, struct pamchange *all, int64_t seconds)
{
    _cleanup_json_ json_t *now = pamchange_names(all, false), *before = pamchange_names(all, true);
    char names[1024], span[32];

    if (!now || !before)
        return call_no_memory();
    if (c->out.format == OUTPUT_JSON) {
        _cleanup_json_ json_t *v = json_pack("{s:O, s:O, s:I}", "enabled", now, "already", before,
                                             "rollback_seconds", (json_int_t)seconds);

        return v && output_json(v) == 0 ? EXIT_CODE_OK : call_no_memory();
    }
    for (size_t i = 0; i < all->n; i++)
        if (all->item[i].note[0])
            printf("%s: %s.\n", all->item[i].service, all->item[i].note);
    pamchange_join(before, names, sizeof(names));
    if (names[0])
        printf("Enabled before already: %s.\n", names);
    pamchange_join(now, names, sizeof(names));
    if (!names[0])
        return EXIT_CODE_OK;
    show_done(c, NULL, "Enabled: %s.", names);
    clock_human(seconds, span, sizeof(span));
    if (seconds > 0)
        printf(
            "Undone by itself in %s (and at a reboot), unless you run: countersign pam confirm\n",
            span);
    printf("Now keep this terminal open, and try to log in from another one.\n"
           "To undo it: countersign pam disable");
    for (size_t i = 0; i < all->n; i++)
        printf("%s%s", all->item[i].already ? "" : " ",
               all->item[i].already ? "" : all->item[i].service);
    putchar('\n');
    return EXIT_CODE_OK;
}

static int enable_locked(struct cli *c, struct pamchange *all, int64_t seconds)
{
    _cleanup_json_ json_t *now = NULL;
    char why[512];
    int code = refuse_pending(all);

    if (code == EXIT_CODE_OK)
        code = pamchange_plan(all);
    if (code == EXIT_CODE_OK && pamcheck_all(c, pamchange_has(all, "sshd")) > 0 &&
        !args_bool(&c->args, "force")) {
        output_error("put right what is marked above first (or -force). Nothing was changed");
        code = EXIT_CODE_LOCAL;
    }
    now = pamchange_names(all, false);
    if (code != EXIT_CODE_OK)
        return code;
    if (seconds > 0 && json_array_size(now) > 0)
        code = arm(all, seconds);
    if (code != EXIT_CODE_OK)
        return code;
    code = pamchange_write(all);
    if (code == EXIT_CODE_OK)
        return report_enabled(c, all, seconds);
    if (seconds > 0) {
        (void)pamstore_clear_pending(all->state, why, sizeof(why));
        pamtimer_stop();
    }
    return code;
}

/* Looks only: whether it could be done, by whoever may write the files. */
static int check_enable(struct cli *c, struct pamchange *all)
{
    _cleanup_json_ json_t *now = NULL;
    int code = pamchange_plan(all);

    for (size_t i = 0; i < all->n && code == EXIT_CODE_OK; i++)
        if (!all->item[i].already && access(all->dir, W_OK) < 0)
            code = pamchange_fail("nobody but root may change it: run this as root");
    if (code != EXIT_CODE_OK)
        return code;
    if (pamcheck_all(c, pamchange_has(all, "sshd")) > 0 && !args_bool(&c->args, "force")) {
        output_error("put right what is marked above first (or -force)");
        return EXIT_CODE_LOCAL;
    }
    now = pamchange_names(all, false);
    if (!now)
        return call_no_memory();
    return json_array_size(now) > 0 ? show_done(c, NULL, "Could be enabled.")
                                    : show_done(c, NULL, "Enabled already.");
}

static int run_enable(struct cli *c)
{
    const char *rollback = args_str(&c->args, "rollback");
    _cleanup_(pamchange_freep) struct pamchange *all = pamchange_new(c);
    int64_t seconds = 0;
    char why[512];
    int lock, code;

    if (!all)
        return call_no_memory();
    if (rollback && (clock_parse_duration(rollback, &seconds) < 0 || seconds < 1)) {
        output_error("-rollback takes a time, as 10m; not \"%s\"", rollback);
        return EXIT_CODE_LOCAL;
    }
    if (args_bool(&c->args, "check"))
        return check_enable(c, all);
    lock = pamstore_lock(all->state, why, sizeof(why));
    if (lock < 0)
        return pamchange_fail(why);
    code = enable_locked(c, all, seconds);
    close(lock);
    return code;
}

/* --- disable ------------------------------------------------------------------------------------
 */

static int disable_one(struct cli *c, const char *service)
{
    _cleanup_buf_ struct buf before = BUF_INIT(PAMSTACK_TEXT_MAX),
                             after = BUF_INIT(PAMSTACK_TEXT_MAX);
    char why[512];
    int r;

    if (!pamchange_is_service(service))
        return EXIT_CODE_LOCAL;
    if (pamstore_read(pamchange_dir(c), service, &before, why, sizeof(why)) < 0)
        return pamchange_fail(why);
    r = pamfile_disable(buf_str(&before), before.len, &after, why, sizeof(why));
    if (r == PAMFILE_NOT_OURS)
        return show_done(c, NULL, "%s was not enabled.", service);
    if (r == PAMFILE_REFUSED) {
        output_error("%s/%s is left as it is: %s\nThe file as it was before us: %s/%s.before",
                     pamchange_dir(c), service, why, pamchange_state(c), service);
        return EXIT_CODE_LOCAL;
    }
    if (r < 0)
        return call_no_memory();
    if (pamstore_write(pamchange_dir(c), service, &after, why, sizeof(why)) < 0)
        return pamchange_fail(why);
    return show_done(c, NULL, "Disabled: %s.", service);
}

static int run_disable(struct cli *c)
{
    char why[512];
    int lock = pamstore_lock(pamchange_state(c), why, sizeof(why)), code = EXIT_CODE_OK;

    if (lock < 0)
        return pamchange_fail(why);
    for (size_t i = 0; i < c->args.n_pos; i++) {
        int one = disable_one(c, c->args.pos[i]);

        code = code ? code : one;
    }
    close(lock);
    return code;
}

/* --- confirm and rollback -----------------------------------------------------------------------
 */

static int run_confirm(struct cli *c)
{
    _cleanup_json_ json_t *pending = NULL;
    char why[512], names[1024];
    int lock = pamstore_lock(pamchange_state(c), why, sizeof(why)), r;

    if (lock < 0)
        return pamchange_fail(why);
    r = pamstore_pending(pamchange_state(c), &pending, why, sizeof(why));
    if (r == 0)
        r = pamstore_clear_pending(pamchange_state(c), why, sizeof(why));
    close(lock);
    if (r == -ENOENT)
        return pamchange_fail(
            "no change waits to be confirmed: it was undone already, or made for good");
    if (r < 0)
        return pamchange_fail(why);
    pamtimer_stop();
    pamchange_join(json_object_get(pending, "services"), names, sizeof(names));
    return show_done(c, NULL, "Confirmed: %s stay enabled.", names);
}

/* The way back in comes first: where our markers were changed, the copy from before us is put back.
 */
static int roll_back_one(struct cli *c, const char *service)
{
    _cleanup_buf_ struct buf before = BUF_INIT(PAMSTACK_TEXT_MAX),
                             after = BUF_INIT(PAMSTACK_TEXT_MAX);
    char why[512];
    int r = -EINVAL;

    if (!service || !pamstore_is_name(service))
        return pamchange_fail("the note of the change is damaged");
    if (pamstore_read(pamchange_dir(c), service, &before, why, sizeof(why)) == 0)
        r = pamfile_disable(buf_str(&before), before.len, &after, why, sizeof(why));
    if (r == PAMFILE_NOT_OURS)
        return EXIT_CODE_OK;
    if (r != 0) {
        output_note("%s: %s; the copy from before is put back", service, why);
        buf_reset(&after);
        r = pamstore_kept(pamchange_state(c), service, &after, why, sizeof(why));
    }
    if (r == 0)
        r = pamstore_write(pamchange_dir(c), service, &after, why, sizeof(why));
    if (r < 0)
        return pamchange_fail(why);
    return show_done(c, NULL, "Undone: %s.", service);
}

static int roll_back_all(struct cli *c, const json_t *pending)
{
    const json_t *services = json_object_get(pending, "services"), *s;
    const char *id = json_string_value(json_object_get(pending, "id"));
    const char *only = args_str(&c->args, "id");
    int code = EXIT_CODE_OK;
    char why[512];
    size_t i;

    if (only && (!id || strcmp(only, id) != 0))
        return EXIT_CODE_OK; /* a later change waits: not ours to undo */
    json_array_foreach(services, i, s)
    {
        int one = roll_back_one(c, json_string_value(s));

        code = code ? code : one;
    }
    if (code == EXIT_CODE_OK && pamstore_clear_pending(pamchange_state(c), why, sizeof(why)) < 0)
        return pamchange_fail(why);
    return code;
}

static int run_rollback(struct cli *c)
{
    _cleanup_json_ json_t *pending = NULL;
    char why[512];
    int lock = pamstore_lock(pamchange_state(c), why, sizeof(why)), r, code;

    if (lock < 0)
        return pamchange_fail(why);
    r = pamstore_pending(pamchange_state(c), &pending, why, sizeof(why));
    if (r == -ENOENT)
        code = args_has(&c->args, "id") ? EXIT_CODE_OK : show_done(c, NULL, "No change waits.");
    else
        code = r < 0 ? pamchange_fail(why) : roll_back_all(c, pending);
    close(lock);
    return code;
}

/* --- status -------------------------------------------------------------------------------------
 */

/* Whether a file holds lines of ours: "enabled", "damaged", or NULL for neither. */
static const char *state_of_file(const char *dir, const char *name)
{
    _cleanup_buf_ struct buf text = BUF_INIT(PAMSTACK_TEXT_MAX), out = BUF_INIT(PAMSTACK_TEXT_MAX);
    char why[512];
    int r;

    if (!pamstore_is_name(name) || pamstore_read(dir, name, &text, why, sizeof(why)) < 0)
        return NULL;
    r = pamfile_disable(buf_str(&text), text.len, &out, why, sizeof(why));
    return r == 0 ? "enabled" : r == PAMFILE_REFUSED ? "our lines were changed" : NULL;
}

static int list_services(const char *dir, json_t *found)
{
    DIR *d = opendir(dir);
    const struct dirent *e;

    if (!d)
        return -errno;
    while ((e = readdir(d)) != NULL) {
        const char *state = state_of_file(dir, e->d_name);

        if (state && json_set_str(found, e->d_name, state) < 0) {
            closedir(d);
            return -ENOMEM;
        }
    }
    closedir(d);
    return 0;
}

static void print_pending(const json_t *pending)
{
    char names[1024], when[64];

    pamchange_join(json_object_get(pending, "services"), names, sizeof(names));
    output_when(json_object_get(pending, "until"), when, sizeof(when));
    printf("\nWaits to be confirmed: %s. Undone %s, unless: countersign pam confirm\n", names,
           when[0] ? when : "at the next boot");
}

static int run_status(struct cli *c)
{
    _cleanup_json_ json_t *found = json_object(), *pending = NULL, *v = NULL;
    char why[512];
    int r = found ? list_services(pamchange_dir(c), found) : -ENOMEM, waits, code = EXIT_CODE_OK;

    if (r < 0) {
        output_error("%s: %s", pamchange_dir(c), strerror(-r));
        return EXIT_CODE_LOCAL;
    }
    waits = pamstore_pending(pamchange_state(c), &pending, why, sizeof(why));
    if (waits < 0 && waits != -ENOENT)
        output_note("Whether a change waits could not be seen: %s", why);
    if (c->out.format == OUTPUT_JSON) {
        v = json_pack("{s:O, s:O?}", "services", found, "pending", pending);
        code = v && output_json(v) == 0 ? EXIT_CODE_OK : call_no_memory();
    } else {
        code = json_object_size(found) > 0 ? show_object(c, found)
                                           : show_done(c, NULL, "No service is enabled.");
        if (pending)
            print_pending(pending);
    }
    return code ? code : pending ? EXIT_CODE_REFUSED : EXIT_CODE_OK;
}

#define FOLDER_FLAGS                                                                               \
    {"pam-dir", FLAG_STRING, "DIR", "Where the service files are (default " PAMSTORE_DIR ")"},     \
    {                                                                                              \
        "state-dir", FLAG_STRING, "DIR", "Where copies are kept (default " PAMSTORE_STATE ")"      \
    }
#define END_FLAG                                                                                   \
    {                                                                                              \
        NULL, FLAG_BOOL, NULL, NULL                                                                \
    }

static const struct flag enable_flags[] = {
    {"rollback", FLAG_STRING, "TIME", "Undo it after this time, and at a reboot, unless confirmed"},
    {"check", FLAG_BOOL, NULL, "Change nothing: only say whether it could be done"},
    {"force", FLAG_BOOL, NULL, "Even if this host does not look ready"},
    FOLDER_FLAGS,
    END_FLAG,
};
static const struct flag folder_flags[] = {FOLDER_FLAGS, END_FLAG};
static const struct flag rollback_flags[] = {
    {"id", FLAG_STRING, "ID", "Only if the change with this id waits"},
    FOLDER_FLAGS,
    END_FLAG,
};

#define LOCAL_EXITS                                                                                \
    "0 done; 1 wrong usage, not understood, or a local problem (nothing was changed)."

const struct command cmd_pam_rows[] = {
    {.name = "pam enable",
     .args = "SERVICE...",
     .purpose = "Ask for a second factor in a service: sshd, sudo, login, su",
     .details = "Changes the services' own files in " PAMSTORE_DIR
                " only, after looking whether the host is\n"
                "ready. What was there is kept and comes back byte for byte with pam disable. A "
                "file whose\n"
                "stack could get around our line is left alone, and you are told why.\n"
                "With -rollback a mistake cannot lock you out: try a login, then confirm.",
     .example = "sudo countersign pam enable sshd sudo -rollback=10m",
     .exits = LOCAL_EXITS,
     .flags = enable_flags,
     .min_args = 1,
     .max_args = PAMCHANGE_MAX,
     .run = run_enable},
    {.name = "pam confirm",
     .args = "",
     .purpose = "Keep what pam enable -rollback changed",
     .example = "sudo countersign pam confirm",
     .exits = "0 done; 1 no change waits, or a local problem.",
     .flags = folder_flags,
     .run = run_confirm},
    {.name = "pam disable",
     .args = "SERVICE...",
     .purpose = "Put the services' files back as they were",
     .example = "sudo countersign pam disable sshd sudo",
     .exits = LOCAL_EXITS,
     .flags = folder_flags,
     .min_args = 1,
     .max_args = PAMCHANGE_MAX,
     .run = run_disable},
    {.name = "pam rollback",
     .args = "",
     .purpose = "Undo the change that waits to be confirmed, now",
     .example = "sudo countersign pam rollback",
     .exits = "0 done, or nothing waits; 1 something could not be put back.",
     .flags = rollback_flags,
     .run = run_rollback},
    {.name = "pam status",
     .args = "",
     .purpose = "Show which services are enabled, and whether a change waits",
     .example = "countersign pam status",
     .exits = "0 no change waits; 2 one waits for: countersign pam confirm; 1 a local problem.",
     .flags = folder_flags,
     .run = run_status},
    {.name = NULL},
};
