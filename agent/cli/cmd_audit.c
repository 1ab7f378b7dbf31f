/* audit verify: is the record of what happened whole? */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <countersign/api.h>

#include "cli/auditfile.h"
#include "cli/families.h"
#include "cli/show.h"

struct check {
    struct cli *c;
    const char *path;
    struct auditfile file;
    uint64_t size; /* of the file when it was opened, for showing progress */
    json_t *chain; /* as the agent handed it back */
    uint64_t records;
    bool is_broken;
    uint64_t line; /* the broken one's in the file */
    int64_t seq;   /* -1: unknown */
    char reason[256];
};

static void note_broken(struct check *k, uint64_t line, int64_t seq, const char *reason)
{
    k->is_broken = true;
    k->line = line;
    k->seq = seq;
    snprintf(k->reason, sizeof(k->reason), "%s", reason ? reason : "no reason given");
}

/* One batch, whose first line is `first` (from 1) in the file. */
static int verify_batch(struct check *k, const struct buf *batch, uint64_t first)
{
    _cleanup_json_ json_t *body = NULL;
    _cleanup_reply_ struct reply r = {0};
    const json_t *answer, *bad, *seq;
    int code;

    body = json_pack("{s:s%, s:O?}", "lines", buf_str(batch), batch->len, "chain", k->chain);
    if (!body)
        return call_no_memory();
    code = call(k->c, "POST", "sys/audit/verify", NULL, body, &r);
    if (code != EXIT_CODE_OK)
        return code;
    answer = reply_data(&r);
    k->records += (uint64_t)json_integer_value(json_object_get(answer, "checked"));
    bad = json_object_get(answer, "broken");
    if (json_is_object(bad)) {
        seq = json_object_get(bad, "seq");
        note_broken(k, first + (uint64_t)json_integer_value(json_object_get(bad, "line")) - 1,
                    json_is_integer(seq) ? json_integer_value(seq) : -1,
                    json_string_value(json_object_get(bad, "reason")));
    }
    json_decref(k->chain);
    k->chain = json_incref((json_t *)(uintptr_t)json_object_get(answer, "chain"));
    if (!json_is_object(k->chain) && !k->is_broken) {
        output_error("the agent's answer makes no sense");
        return EXIT_CODE_LOCAL;
    }
    return EXIT_CODE_OK;
}

static void show_progress(const struct check *k)
{
    if (isatty(STDERR_FILENO) == 1 && k->size > 4 * API_AUDIT_BATCH)
        fprintf(stderr, "\r%3u%%  %" PRIu64 " records", (unsigned)(100 * k->file.bytes / k->size),
                k->records);
}

/* All that the file holds from where it was left. */
static int verify_rest(struct check *k)
{
    _cleanup_buf_ struct buf batch = BUF_INIT(API_AUDIT_BATCH);
    uint64_t lines;

    for (;;) {
        uint64_t first = k->file.lines + 1;
        int r = auditfile_next(&k->file, &batch, &lines), code;

        if (r == AUDITFILE_BROKEN)
            note_broken(k, first, -1, k->file.why);
        if (r == AUDITFILE_END || r == AUDITFILE_BROKEN)
            return EXIT_CODE_OK;
        if (r < 0) {
            output_error("%s: %s", k->path, strerror(-r));
            return EXIT_CODE_LOCAL;
        }
        code = verify_batch(k, &batch, first);
        if (code != EXIT_CODE_OK || k->is_broken)
            return code;
        show_progress(k);
    }
}

static int64_t chain_seq(const json_t *chain)
{
    return json_is_object(chain) ? json_integer_value(json_object_get(chain, "seq")) : 0;
}

/* Whether the agent began a new file while we read this one. */
static bool was_rotated(const struct check *k)
{
    struct stat ours, now;

    return fstat(k->file.fd, &ours) < 0 || stat(k->path, &now) < 0 || ours.st_ino != now.st_ino ||
           ours.st_dev != now.st_dev;
}

/* What the agent had recorded when we began has to be in its own file, at most a moment later. */
static int compare_end(struct check *k, const json_t *head)
{
    const struct timespec pause = {.tv_nsec = 250 * 1000 * 1000};
    const char *mac = json_string_value(json_object_get(head, "mac"));
    int code = EXIT_CODE_OK;

    for (int tries = 0; tries < 8 && chain_seq(k->chain) < chain_seq(head); tries++) {
        nanosleep(&pause, NULL);
        code = verify_rest(k);
        if (code != EXIT_CODE_OK || k->is_broken)
            return code;
    }
    if (chain_seq(k->chain) < chain_seq(head) && was_rotated(k)) {
        output_error("the agent began a new file meanwhile: check again");
        return EXIT_CODE_LOCAL;
    }
    if (chain_seq(k->chain) < chain_seq(head)) {
        note_broken(
            k, k->file.lines + 1, chain_seq(k->chain) + 1,
            "the file ends here, but the agent has recorded more: the end is missing (or could "
            "not be written: countersign status)");
    } else if (chain_seq(k->chain) == chain_seq(head) &&
               !mem_equal_str(mac, json_string_value(json_object_get(k->chain, "mac")))) {
        note_broken(k, k->file.lines, chain_seq(head),
                    "the end is not the one the agent remembers");
    }
    return EXIT_CODE_OK;
}

static int print_result(struct check *k)
{
    struct output *o = &k->c->out;
    char seq[32] = "";

    if (o->format == OUTPUT_JSON) {
        _cleanup_json_ json_t *v =
            json_pack("{s:s, s:b, s:I, s:O?}", "file", k->path, "whole", k->is_broken ? 0 : 1,
                      "checked", (json_int_t)k->records, "chain", k->chain);
        json_t *bad = k->is_broken ? json_pack("{s:I, s:I, s:s}", "line", (json_int_t)k->line,
                                               "seq", (json_int_t)k->seq, "reason", k->reason)
                                   : json_null();

        if (!v || json_object_set_new(v, "broken", bad) < 0 || output_json(v) < 0)
            return call_no_memory();
    } else if (!k->is_broken) {
        show_done(k->c, NULL, "%s Whole: %" PRIu64 " records in %s, up to number %" PRId64 ".",
                  output_mark(o, true), k->records, k->path, chain_seq(k->chain));
    }
    if (!k->is_broken)
        return EXIT_CODE_OK;
    if (k->seq >= 0)
        snprintf(seq, sizeof(seq), ", record %" PRId64, k->seq);
    output_error("the chain is broken at line %" PRIu64 "%s of %s: %s\nThe %" PRIu64
                 " lines before it are whole. Keep the file as it is, and compare it with a copy "
                 "from elsewhere.",
                 k->line, seq, k->path, k->reason, k->line - 1);
    return EXIT_CODE_REFUSED;
}

static int run_check(struct check *k, bool compare)
{
    _cleanup_reply_ struct reply head = {0};
    struct stat st;
    int code = EXIT_CODE_OK;

    if (fstat(k->file.fd, &st) == 0)
        k->size = (uint64_t)st.st_size;
    if (compare)
        code = call(k->c, "GET", "sys/audit/head", NULL, NULL, &head);
    if (code == EXIT_CODE_OK)
        code = verify_rest(k);
    if (k->size > 4 * API_AUDIT_BATCH && isatty(STDERR_FILENO) == 1)
        fputs("\r                              \r", stderr);
    if (code == EXIT_CODE_OK && compare && !k->is_broken)
        code = compare_end(k, reply_data(&head));
    return code ? code : print_result(k);
}

static int run_verify(struct cli *c)
{
    const char *path = args_pos(&c->args, 0);
    struct check *k = calloc(1, sizeof(*k));
    int r, code;

    if (!k)
        return call_no_memory();
    k->c = c;
    k->path = path ? path : API_AUDIT_LOG;
    r = auditfile_open(&k->file, k->path);
    if (r < 0) {
        output_error("%s: %s", k->path, strerror(-r));
        code = EXIT_CODE_LOCAL;
    } else {
        code = run_check(k, !path || args_bool(&c->args, "to-the-end"));
    }
    auditfile_close(&k->file);
    json_decref(k->chain);
    free(k);
    return code;
}

static const struct flag verify_flags[] = {
    {"to-the-end", FLAG_BOOL, NULL,
     "FILE is the agent's newest: compare its end with what the agent remembers (always done "
     "without FILE)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_audit_rows[] = {
    {.name = "audit verify",
     .args = "[FILE]",
     .purpose = "Check that no audit record was changed, dropped or added",
     .details = "Without FILE: " API_AUDIT_LOG
                ",\nwhose end is compared with what the agent remembers. The "
                "agent, which holds the key of the\nchain, checks; a broken record is named.",
     .example = "sudo countersign audit verify\ncountersign audit verify /backup/audit.log.3",
     .exits = "0 whole; 2 broken, or the agent refused; 1 it could not be checked.",
     .flags = verify_flags,
     .max_args = 1,
     .run = run_verify},
    {.name = NULL},
};
