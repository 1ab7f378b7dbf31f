#include "cli/applypam.h"

#include <errno.h>
#include <string.h>

#include "cli/exec.h"
#include "cli/pamstore.h"

#define ARGS 64
#define OUTPUT (64 * 1024)

/* Ourselves, with these words; what it said into out. Its exit code, or -errno. */
static int run_pam(const struct applyplan *p, const char *verb, const char *const *words,
                   bool with_stderr, struct buf *out)
{
    const char *argv[ARGS] = {"/proc/self/exe", "pam", verb};
    size_t n = 3;

    if (p->pam_dir) {
        argv[n++] = "-pam-dir";
        argv[n++] = p->pam_dir;
    }
    if (p->pam_state) {
        argv[n++] = "-state-dir";
        argv[n++] = p->pam_state;
    }
    argv[n++] = "-address";
    argv[n++] = p->c->address;
    for (; words && *words && n < ARGS - 1; words++)
        argv[n++] = *words;
    argv[n] = NULL;
    return exec_run(argv, NULL, out, with_stderr);
}

static json_t *enabled_services(struct applyplan *p)
{
    static const char *const json[] = {"-format=json", NULL};
    _cleanup_buf_ struct buf out = BUF_INIT(OUTPUT);
    _cleanup_json_ json_t *status = NULL;
    char why[128];
    int code = run_pam(p, "status", json, false, &out);

    if (code != EXIT_CODE_OK &&
        code != EXIT_CODE_REFUSED) /* one that waits is told by the latter */
        return NULL;
    if (json_parse(buf_str(&out), out.len, &status, why, sizeof(why)) < 0)
        return NULL;
    return json_incref(json_object_get(status, "services"));
}

bool applypam_enabled(struct applyplan *p, const char *service)
{
    _cleanup_json_ json_t *found = enabled_services(p);

    return json_object_get(found, service) != NULL;
}

/* Those to be changed, behind the flags in words. Their number. */
static size_t services_of(const struct applyplan *p, enum apply_change change,
                          const char *words[ARGS], size_t at)
{
    size_t first = at;

    for (size_t i = 0; i < p->set.n && at < ARGS - 1; i++)
        if (p->set.item[i].kind == APPLY_PAM && p->set.item[i].change == change)
            words[at++] = p->set.item[i].name;
    words[at] = NULL;
    return at - first;
}

static int add_problem(struct applyplan *p, const char *what, const struct buf *said)
{
    json_t *text = json_sprintf("%s: %s", what, buf_str(said));

    if (!text) /* something that is not UTF-8 */
        text = json_string(what);
    return json_array_append_new(p->problems, text) < 0 ? -ENOMEM : 0;
}

static size_t enable_words(const struct applyplan *p, const char *words[ARGS], const char *first)
{
    size_t n = 0;

    words[n++] = first;
    if (p->force)
        words[n++] = "-force";
    return n;
}

/* Whether pam enable would do it. */
static int try_enable(struct applyplan *p)
{
    _cleanup_buf_ struct buf said = BUF_INIT(OUTPUT);
    const char *words[ARGS];
    size_t n = enable_words(p, words, "-check");

    if (services_of(p, APPLY_CREATE, words, n) == 0)
        return 0;
    int code = run_pam(p, "enable", words, true, &said);
    return code == EXIT_CODE_OK ? 0 : add_problem(p, "pam.json", &said);
}

int applypam_check(struct applyplan *p)
{
    _cleanup_json_ json_t *found = p->set.has_pam ? enabled_services(p) : NULL;

    if (!p->set.has_pam)
        return 0;
    if (!found)
        return json_array_append_new(p->problems,
                                     json_string("pam.json: which services are enabled "
                                                 "could not be found out: countersign "
                                                 "pam status")) < 0
                   ? -ENOMEM
                   : 0;
    for (size_t i = 0; i < p->set.n; i++)
        if (p->set.item[i].kind == APPLY_PAM && p->set.item[i].change != APPLY_DELETE &&
            !json_object_get(found, p->set.item[i].name))
            p->set.item[i].change = APPLY_CREATE;
    return try_enable(p);
}

static void mark_done(struct applyplan *p, enum apply_change change)
{
    for (size_t i = 0; i < p->set.n; i++)
        if (p->set.item[i].kind == APPLY_PAM && p->set.item[i].change == change)
            p->set.item[i].done = true;
}

int applypam_execute(struct applyplan *p, bool delete)
{
    _cleanup_buf_ struct buf said = BUF_INIT(OUTPUT);
    const char *words[ARGS];
    char rollback[64];
    enum apply_change change = delete ? APPLY_DELETE : APPLY_CREATE;
    size_t n = 0;

    if (!delete) {
        (void)snprintf(rollback, sizeof(rollback), "-rollback=%.40s",
                       p->rollback ? p->rollback : "");
        n = p->rollback ? enable_words(p, words, rollback) : 0;
        if (!p->rollback && p->force)
            words[n++] = "-force";
    }
    if (services_of(p, change, words, n) == 0)
        return EXIT_CODE_OK;
    int code = run_pam(p, delete ? "disable" : "enable", words, true, &said);
    if (code == EXIT_CODE_OK) {
        mark_done(p, change);
        if (p->c->out.format != OUTPUT_JSON) /* how to keep or undo it */
            output_note("%s", buf_str(&said));
        return EXIT_CODE_OK;
    }
    output_error("pam.json: %s", buf_str(&said));
    return EXIT_CODE_LOCAL;
}
