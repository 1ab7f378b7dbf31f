/* apply: a configuration kept as files becomes the agent's. */
#include <errno.h>
#include <string.h>

#include "cli/applyplan.h"
#include "cli/families.h"
#include "cli/show.h"

#define EXIT_CODE_DIFFERS 3

static const char *const change_names[] = {
    [APPLY_NONE] = "none",
    [APPLY_CREATE] = "create",
    [APPLY_UPDATE] = "update",
    [APPLY_DELETE] = "delete",
};

/* --- What is told
 * ------------------------------------------------------------------------------- */

struct tally {
    size_t n[APPLY_DELETE + 1];
};

/* In the end what was done counts, in a check what would be. */
static bool counts(const struct apply_item *i, bool check)
{
    return i->change != APPLY_NONE && (check || i->done);
}

static struct tally count(const struct applyplan *p, bool check)
{
    struct tally t = {0};

    for (size_t i = 0; i < p->set.n; i++) {
        const struct apply_item *item = &p->set.item[i];

        if (item->change == APPLY_NONE || counts(item, check))
            t.n[item->change]++;
    }
    return t;
}

static json_t *changes_json(const struct applyplan *p, bool check)
{
    _cleanup_json_ json_t *list = json_array();

    for (size_t i = 0; list && i < p->set.n; i++) {
        const struct apply_item *item = &p->set.item[i];

        if (counts(item, check) &&
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s?}", "kind",
                                            applyset_kind(item->kind), "name", item->name, "change",
                                            change_names[item->change], "file", item->file)) < 0)
            return NULL;
    }
    return json_incref(list);
}

static int tell_json(const struct applyplan *p, bool check)
{
    struct tally t = count(p, check);
    json_t *changes = changes_json(p, check);
    _cleanup_json_ json_t *v = json_pack(
        "{s:b, s:b, s:o, s:I, s:O, s:O}", "changed", changes && json_array_size(changes) > 0,
        "check", check, "changes", changes, "unchanged", (json_int_t)t.n[APPLY_NONE], "warnings",
        p->warnings, "problems", p->problems);

    return v && output_json(v) == 0 ? EXIT_CODE_OK : call_no_memory();
}

static void tell_changes(const struct applyplan *p, bool check)
{
    static const struct {
        char mark;
        enum output_style style;
    } rows[] = {[APPLY_NONE] = {' ', OUTPUT_PLAIN},
                [APPLY_CREATE] = {'+', OUTPUT_GOOD},
                [APPLY_UPDATE] = {'~', OUTPUT_WARN},
                [APPLY_DELETE] = {'-', OUTPUT_BAD}};
    const struct output *o = &p->c->out;

    for (size_t i = 0; i < p->set.n; i++) {
        const struct apply_item *item = &p->set.item[i];

        if (counts(item, check))
            printf("%s%c %-9s  %s%s\n", output_color(o, rows[item->change].style),
                   rows[item->change].mark, applyset_kind(item->kind), item->name,
                   output_color(o, OUTPUT_PLAIN));
    }
}

static int tell(const struct applyplan *p, bool check)
{
    struct tally t = count(p, check);
    const json_t *one;
    size_t i;

    if (p->c->out.format == OUTPUT_JSON)
        return tell_json(p, check);
    tell_changes(p, check);
    json_array_foreach(p->warnings, i, one) output_note("WARNING: %s", json_string_value(one));
    if (t.n[APPLY_CREATE] + t.n[APPLY_UPDATE] + t.n[APPLY_DELETE] == 0)
        printf("Nothing %s: all %zu stand as in the files.\n", check ? "would change" : "changed",
               t.n[APPLY_NONE]);
    else
        printf("\n%s: %zu made, %zu changed, %zu removed; %zu as before.\n",
               check ? "Would be done" : "Done", t.n[APPLY_CREATE], t.n[APPLY_UPDATE],
               t.n[APPLY_DELETE], t.n[APPLY_NONE]);
    return EXIT_CODE_OK;
}

/* Says why; to a program as well, which then need not guess whether something was changed. */
static int refuse(const struct applyplan *p, int code)
{
    const json_t *one;
    size_t i;

    json_array_foreach(p->problems, i, one) output_error("%s", json_string_value(one));
    output_note("Nothing was changed.");
    if (p->c->out.format == OUTPUT_JSON && tell_json(p, false) != EXIT_CODE_OK)
        return EXIT_CODE_LOCAL;
    return code;
}

/* --- The command
 * -------------------------------------------------------------------------------- */

static int read_files(struct applyplan *p, const char *dir)
{
    int e = applyset_read(dir, &p->set, p->problems);

    if (e == -ENOMEM)
        return call_no_memory();
    if (e < 0) {
        output_error("%s can't be read: %s", dir, strerror(-e));
        return EXIT_CODE_LOCAL;
    }
    if (json_array_size(p->problems) > 0)
        return refuse(p, EXIT_CODE_LOCAL);
    if (p->set.n == 0 && !p->prune) {
        output_error("there is nothing in %s that could be applied", dir);
        return EXIT_CODE_LOCAL;
    }
    return EXIT_CODE_OK;
}

static bool anything_done(const struct applyplan *p)
{
    for (size_t i = 0; i < p->set.n; i++)
        if (p->set.item[i].done)
            return true;
    return false;
}

static int carry_out(struct applyplan *p)
{
    int code = applyplan_execute(p), told;
    const json_t *one;
    size_t i;

    if (code == EXIT_CODE_OK)
        return tell(p, false);
    if (!anything_done(p))
        return refuse(p, code);
    json_array_foreach(p->problems, i, one) output_error("%s", json_string_value(one));
    output_note(
        "It stopped there. What was done before stays, and is listed here; put right what is "
        "wrong and\napply again.");
    told = tell(p, false);
    return told ? told : code;
}

static int apply(struct applyplan *p, const char *dir)
{
    bool check = args_bool(&p->c->args, "check");
    int code = read_files(p, dir);

    if (code == EXIT_CODE_OK)
        code = applyplan_make(p);
    if (code != EXIT_CODE_OK)
        return code;
    if (json_array_size(p->problems) > 0)
        return refuse(p, EXIT_CODE_REFUSED);
    if (!check)
        return carry_out(p);
    code = tell(p, true);
    return code == EXIT_CODE_OK && applyplan_differs(p) &&
                   args_bool(&p->c->args, "detailed-exitcode")
               ? EXIT_CODE_DIFFERS
               : code;
}

static int run_apply(struct cli *c)
{
    const char *dir = args_str(&c->args, "f");
    struct applyplan p = {.c = c,
                          .prune = args_bool(&c->args, "prune"),
                          .force = args_bool(&c->args, "force"),
                          .rollback = args_str(&c->args, "rollback"),
                          .pam_dir = args_str(&c->args, "pam-dir"),
                          .pam_state = args_str(&c->args, "state-dir"),
                          .problems = json_array(),
                          .warnings = json_array()};
    int code = EXIT_CODE_LOCAL;

    if (!dir)
        output_error("say which folder: -f DIR");
    else if (!p.problems || !p.warnings)
        code = call_no_memory();
    else
        code = apply(&p, dir);
    applyplan_clear(&p);
    return code;
}

static const struct flag apply_flags[] = {
    {"f", FLAG_STRING, "DIR", "The folder with the configuration"},
    {"check", FLAG_BOOL, NULL, "Change nothing: only say what would be changed"},
    {"detailed-exitcode", FLAG_BOOL, NULL,
     "With -check: exit with 3 when something would be changed"},
    {"prune", FLAG_BOOL, NULL,
     "Also delete what an earlier apply made and what is in no file any more"},
    {"force", FLAG_BOOL, NULL,
     "Even if you could not apply any more afterwards, or the host does not look ready for PAM"},
    {"rollback", FLAG_STRING, "TIME", "As of pam enable: services of pam.json need a pam confirm"},
    {"pam-dir", FLAG_STRING, "DIR", "As of pam enable"},
    {"state-dir", FLAG_STRING, "DIR", "As of pam enable"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_apply_rows[] = {
    {.name = "apply",
     .args = "-f DIR",
     .purpose = "Make the agent as a folder of files says, and tell what changed",
     .details =
         "  mounts/NAME.json                   type, description, options, config\n"
         "  policies/NAME.hcl                  as of policy write\n"
         "  database/MOUNT/config/NAME.json    the fields of MOUNT/config/NAME, but password_file "
         "(a\n"
         "                                     path outside) for the password; without one the\n"
         "                                     agent's stays\n"
         "  database/MOUNT/roles/NAME.json     the fields of MOUNT/roles/NAME\n"
         "  bindings/NAME.json                 as of binding write\n"
         "  enrolment.json                     the object of sys/enrolment\n"
         "  pam.json                           {\"services\": [\"sshd\", \"sudo\"]}\n"
         "\n"
         "All of it is checked first; a mistake anywhere, or a file that belongs nowhere, and "
         "nothing\n"
         "is changed. What is as the files say is left alone. -format=json has \"changed\".",
     .example = "countersign apply -f /srv/countersign.d -check\n"
                "countersign apply -f /srv/countersign.d -prune -format=json",
     .exits = "0 it is as the files say (now); 1 a mistake in the files, or a local problem; 2 the "
              "agent refused;\n3 with -check -detailed-exitcode: something would be changed.",
     .flags = apply_flags,
     .run = run_apply},
    {.name = NULL},
};
