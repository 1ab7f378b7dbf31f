#include "cli/pamfile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MODULE "pam_countersign.so"
#define BEGIN "# countersign: begin"
#define END "# countersign: end"
#define END_BARE "# countersign: end (the file had no line end)"
#define WAS "# countersign: was: "
#define OURS "# countersign: "

#define LINE_PROVED "auth [success=1 default=ignore] " MODULE " publickey_proved"
#define LINE_AUTH "auth required " MODULE
#define LINE_ACCOUNT "account required " MODULE
#define LINE_SESSION "session required " MODULE
#define LINE_SUBSTACK "auth substack "

#define EDITS_MAX 6

/* Lines to write before a line of the file (or, at its number of lines, behind the last). */
struct edit {
    size_t before;
    bool replace; /* the line itself is kept as WAS */
    const char *line;
    const char *rest; /* written behind line; NULL */
};

struct plan {
    const struct pamstack_file *file;
    pamstack_open open;
    void *data;
    struct edit edits[EDITS_MAX];
    size_t n_edits;
    char *note, *why;
    size_t notelen, whylen;
};

const char *pamfile_by_hand(const char *service)
{
    if (strcmp(service, "sshd") == 0)
        return "  " LINE_PROVED "\n"
               "  " LINE_SUBSTACK "common-auth          (in place of: @include common-auth)\n"
               "  " LINE_AUTH "\n"
               "  " LINE_ACCOUNT "         (with the account lines)\n"
               "  " LINE_SESSION "         (as the last line)\n";
    return "  " LINE_AUTH "            (where nothing before it can end the stack)\n"
           "  " LINE_ACCOUNT "\n"
           "  " LINE_SESSION "         (as the last line)\n";
}

static int refuse(struct plan *p, const char *fmt, ...) _printf_(2, 3);
static int refuse(struct plan *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->why, p->whylen, fmt, ap);
    va_end(ap);
    return PAMFILE_REFUSED;
}

/* A negative error of reading becomes a refusal, but for the lack of memory. */
static int read_error(int r)
{
    return r == -ENOMEM ? r : PAMFILE_REFUSED;
}

static void add_edit(struct plan *p, size_t before, bool replace, const char *line,
                     const char *rest)
{
    p->edits[p->n_edits++] = (struct edit){before, replace, line, rest};
}

/* --- What is in the file ------------------------------------------------------------------------
 */

struct stacks {
    struct pamstack_rules rules[PAMSTACK_TYPES];
};

static int expand_all(struct plan *p, struct stacks *s)
{
    for (int t = 0; t < PAMSTACK_TYPES; t++) {
        int r = pamstack_expand(p->file, (enum pamstack_type)t, p->open, p->data, &s->rules[t],
                                p->why, p->whylen);

        if (r < 0)
            return read_error(r);
        for (size_t i = 0; i < s->rules[t].n; i++)
            if (strcmp(s->rules[t].rule[i].name, MODULE) == 0)
                return refuse(p, "%s is there already (%s), not put there by this program", MODULE,
                              s->rules[t].rule[i].where);
    }
    return 0;
}

static size_t last_line(const struct pamstack_rules *r)
{
    return r->rule[r->n - 1].top;
}

static bool ends_early(const struct pamstack_rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->rule[i].can_end)
            return true;
    return false;
}

/* Whether every rule lets the stack reach a line behind the last. Root proving to be root (su's
 * first line) may end it: root needs no way around us. */
static int check_reaches_end(struct plan *p, const struct pamstack_rules *r, size_t from,
                             bool root_may_end)
{
    for (size_t i = from; i < r->n; i++) {
        const struct pamstack_rule *k = &r->rule[i];

        if (k->can_end && root_may_end && strcmp(k->name, "pam_rootok.so") == 0) {
            snprintf(p->note, p->notelen, "root itself is not asked (%s: %s)", k->where, k->name);
            continue;
        }
        if (k->can_end)
            return refuse(
                p,
                "%s (%s) may end the stack before our line is reached: who passes it would "
                "not be asked",
                k->where, k->name);
        if (i + 1 + k->jump > r->n)
            return refuse(p, "%s (%s) may jump over our line: who passes it would not be asked",
                          k->where, k->name);
    }
    return 0;
}

/* --- Where our lines go -------------------------------------------------------------------------
 */

static bool is_first_factor(const struct pamstack_line *l)
{
    if (l->kind == PAMSTACK_INLINE || l->kind == PAMSTACK_INCLUDE || l->kind == PAMSTACK_SUBSTACK)
        return true;
    return !l->can_end && l->jump == 0 &&
           (strcmp(l->name, "pam_unix.so") == 0 || strcmp(l->name, "pam_sss.so") == 0);
}

/* An included file whose every rule is auth's: as a substack nothing of it is lost. */
static int check_only_auth(struct plan *p, const struct stacks *s, size_t top, const char *name)
{
    for (int t = PAMSTACK_AUTH + 1; t < PAMSTACK_TYPES; t++)
        for (size_t i = 0; i < s->rules[t].n; i++)
            if (s->rules[t].rule[i].top == top)
                return refuse(p,
                              "%s has more than auth lines (%s), so it cannot stand as a substack",
                              name, s->rules[t].rule[i].where);
    return 0;
}

/* The first factor becomes one rule, over which a proved public key jumps. */
static int plan_first_factor(struct plan *p, const struct stacks *s, size_t *behind)
{
    const struct pamstack_rules *auth = &s->rules[PAMSTACK_AUTH];
    const struct pamstack_line *l = NULL;
    size_t i, top = 0;
    int r;

    for (i = 0; i < auth->n; i++) {
        top = auth->rule[i].top;
        l = &p->file->lines[top];
        if (is_first_factor(l))
            break;
        if (auth->rule[i].can_end || auth->rule[i].jump > 0)
            return refuse(p, "%s (%s) decides before the first factor", auth->rule[i].where,
                          auth->rule[i].name);
    }
    if (i == auth->n)
        return refuse(p,
                      "no line is recognised as the first factor (an include of common-auth or the "
                      "like, or pam_unix.so)");
    if (l->continued)
        return refuse(p, "line %zu goes over several lines", top + 1);
    add_edit(p, top, false, LINE_PROVED, NULL);
    if (l->kind == PAMSTACK_INLINE || l->kind == PAMSTACK_INCLUDE) {
        r = l->kind == PAMSTACK_INLINE ? check_only_auth(p, s, top, l->name) : 0;
        if (r != 0)
            return r;
        add_edit(p, top, true, LINE_SUBSTACK, l->name);
    }
    while (i < auth->n && auth->rule[i].top == top)
        i++;
    *behind = i;
    return 0;
}

static int plan_auth(struct plan *p, const struct stacks *s, bool ssh)
{
    const struct pamstack_rules *auth = &s->rules[PAMSTACK_AUTH];
    size_t behind = 0;
    int r;

    if (auth->n == 0)
        return refuse(p, "it has no auth lines");
    if (ssh) {
        r = plan_first_factor(p, s, &behind);
        if (r != 0)
            return r;
    }
    r = check_reaches_end(p, auth, behind, !ssh);
    if (r != 0)
        return r;
    add_edit(p, last_line(auth) + 1, false, LINE_AUTH, NULL);
    return 0;
}

/* Behind the account lines; before them where one of those may end the stack early (Debian's own
 * common-account does so for an expired password). A `required` failure in front stays a failure.
 */
static int plan_account(struct plan *p, const struct stacks *s)
{
    const struct pamstack_rules *account = &s->rules[PAMSTACK_ACCOUNT];

    if (account->n == 0)
        return refuse(p, "it has no account lines");
    if (ends_early(account)) {
        add_edit(p, account->rule[0].top, false, LINE_ACCOUNT, NULL);
        return 0;
    }
    add_edit(p, last_line(account) + 1, false, LINE_ACCOUNT, NULL);
    return check_reaches_end(p, account, 0, false);
}

static int plan_session(struct plan *p, const struct stacks *s)
{
    const struct pamstack_rules *session = &s->rules[PAMSTACK_SESSION];

    /* Alone, our line would take the place of the host's defaults (the service "other"). */
    if (session->n == 0)
        return refuse(p, "it has no session lines");
    add_edit(p, p->file->n_lines, false, LINE_SESSION, NULL);
    return check_reaches_end(p, session, 0, false);
}

/* --- Writing ------------------------------------------------------------------------------------
 */

static void put_line_of(const struct plan *p, size_t i, struct buf *out)
{
    const struct pamstack_line *l = &p->file->lines[i];

    buf_put(out, p->file->text + l->at, l->len);
    if (l->len == 0 || p->file->text[l->at + l->len - 1] != '\n')
        buf_putc(out, '\n');
}

/* Takes the end marker off again where our last block ended just here. */
static bool reopen_block(struct buf *out)
{
    size_t n = strlen(END "\n");

    if (out->len < n || memcmp(out->data + out->len - n, END "\n", n) != 0)
        return false;
    out->len -= n;
    out->data[out->len] = '\0';
    return true;
}

/* Writes the edits before line i as one block. Returns whether the line itself is in it. */
static bool put_block(const struct plan *p, size_t i, struct buf *out)
{
    bool any = false, replaced = false;

    for (size_t e = 0; e < p->n_edits; e++) {
        const struct edit *d = &p->edits[e];

        if (d->before != i)
            continue;
        if (!any && !reopen_block(out))
            buf_puts(out, BEGIN "\n");
        any = true;
        if (d->replace) {
            buf_puts(out, WAS);
            put_line_of(p, i, out);
            replaced = true;
        }
        buf_puts(out, d->line);
        buf_puts(out, d->rest ? d->rest : "");
        buf_putc(out, '\n');
    }
    if (any && i == p->file->n_lines) {
        const struct pamstack_line *last = i > 0 ? &p->file->lines[i - 1] : NULL;
        bool bare = last && p->file->text[last->at + last->len - 1] != '\n';

        buf_puts(out, bare ? END_BARE "\n" : END "\n");
    } else if (any) {
        buf_puts(out, END "\n");
    }
    return replaced;
}

static int write_out(const struct plan *p, struct buf *out)
{
    for (size_t i = 0; i <= p->file->n_lines; i++) {
        bool replaced = put_block(p, i, out);

        if (i < p->file->n_lines && !replaced)
            put_line_of(p, i, out);
    }
    return buf_error(out) < 0 ? -ENOMEM : 0;
}

/* Our own test of what we are about to promise: that it can be taken back exactly. */
static int check_reversible(struct plan *p, const char *text, size_t n, const struct buf *out)
{
    _cleanup_buf_ struct buf back = BUF_INIT(2 * PAMSTACK_TEXT_MAX);
    char why[128];
    int r = pamfile_disable(buf_str(out), out->len, &back, why, sizeof(why));

    if (r == -ENOMEM)
        return r;
    if (r != 0 || back.len != n || memcmp(back.data, text, n) != 0)
        return refuse(p, "it could not be restored exactly afterwards");
    return 0;
}

static int make_plan(struct plan *p, const char *service)
{
    struct stacks *s = malloc(sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    r = expand_all(p, s);
    if (r == 0)
        r = plan_auth(p, s, strcmp(service, "sshd") == 0);
    if (r == 0)
        r = plan_account(p, s);
    if (r == 0)
        r = plan_session(p, s);
    free(s);
    return r;
}

int pamfile_enable(const char *service, const char *text, size_t n, pamstack_open opener,
                   void *data, struct buf *out, char *note, size_t notelen, char *why,
                   size_t whylen)
{
    _cleanup_buf_ struct buf trial = BUF_INIT(2 * PAMSTACK_TEXT_MAX);
    struct pamstack_file *file;
    struct plan p = {.open = opener,
                     .data = data,
                     .note = note,
                     .notelen = notelen,
                     .why = why,
                     .whylen = whylen};
    int r = pamfile_disable(text, n, &trial, why, whylen);

    note[0] = '\0';
    if (r != PAMFILE_NOT_OURS)
        return r == 0 ? PAMFILE_ALREADY : r;
    file = malloc(sizeof(*file));
    if (!file)
        return -ENOMEM;
    p.file = file;
    r = pamstack_parse(text, n, file, why, whylen);
    r = r < 0 ? read_error(r) : make_plan(&p, service);
    if (r == 0)
        r = write_out(&p, out);
    if (r == 0)
        r = check_reversible(&p, text, n, out);
    free(file);
    return r;
}

/* --- Taking it out ------------------------------------------------------------------------------
 */

static bool line_is(const char *line, size_t len, const char *what)
{
    return strlen(what) == len && memcmp(line, what, len) == 0;
}

static bool line_starts(const char *line, size_t len, const char *what)
{
    return len >= strlen(what) && memcmp(line, what, strlen(what)) == 0;
}

static bool is_our_line(const char *line, size_t len)
{
    static const char *const ours[] = {LINE_PROVED, LINE_AUTH, LINE_ACCOUNT, LINE_SESSION};

    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (line_is(line, len, ours[i]))
            return true;
    return line_starts(line, len, LINE_SUBSTACK);
}

struct undo {
    bool inside, any, bare;
    struct buf *out;
};

/* One physical line (len without its line end, full with it). false: not as we wrote it. */
static bool undo_line(struct undo *u, const char *line, size_t len, size_t full)
{
    if (u->inside) {
        u->bare = line_is(line, len, END_BARE);
        if (u->bare || line_is(line, len, END))
            u->inside = false;
        else if (line_starts(line, len, WAS))
            buf_put(u->out, line + strlen(WAS), full - strlen(WAS));
        else if (!is_our_line(line, len))
            return false;
        return true;
    }
    u->bare = false; /* something stands behind our last block now */
    if (line_is(line, len, BEGIN))
        return u->inside = true, u->any = true, true;
    if (line_starts(line, len, OURS))
        return false;
    buf_put(u->out, line, full);
    return true;
}

int pamfile_disable(const char *text, size_t n, struct buf *out, char *why, size_t whylen)
{
    struct undo u = {.out = out};
    size_t at = 0;

    for (size_t number = 1; at < n; number++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;

        if (!undo_line(&u, text + at, len, len + (end != NULL))) {
            snprintf(why, whylen, "line %zu: somebody changed what stands between our markers",
                     number);
            return PAMFILE_REFUSED;
        }
        at += len + (end != NULL);
    }
    if (u.inside) {
        snprintf(why, whylen, "the end marker \"" END "\" is missing");
        return PAMFILE_REFUSED;
    }
    if (buf_error(out) < 0)
        return -ENOMEM;
    if (u.bare && out->len > 0 && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
    return u.any ? 0 : PAMFILE_NOT_OURS;
}
