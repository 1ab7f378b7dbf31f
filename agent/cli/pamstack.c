#include "cli/pamstack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 8
#define WORD_MAX 1024

/* --- One line -----------------------------------------------------------------------------------
 */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next word: up to a blank, or from '[' to ']'. false at the end, or when it is too long or its
 * bracket stays open (*bad). */
static bool next_word(const char **p, char *word, bool *bad)
{
    size_t n = 0;
    bool bracket;

    while (is_blank(**p))
        ++*p;
    if (!**p)
        return false;
    bracket = **p == '[';
    while (**p && (bracket || !is_blank(**p)) && n < WORD_MAX - 1) {
        word[n++] = *(*p)++;
        if (bracket && word[n - 1] == ']')
            break;
    }
    word[n] = '\0';
    *bad = n >= WORD_MAX - 1 || (bracket && word[n - 1] != ']');
    return !*bad;
}

/* [success=1 default=ignore]: how far it may jump, and whether it may end the stack. */
static bool read_bracket(const char *s, struct pamstack_line *l)
{
    for (s++; *s && *s != ']';) {
        size_t n = strcspn(s, " \t]"), key = strcspn(s, "=");
        char action[32];

        if (n == 0) {
            s++;
            continue;
        }
        if (key == 0 || key >= n || n - key > sizeof(action))
            return false;
        snprintf(action, sizeof(action), "%.*s", (int)(n - key - 1), s + key + 1);
        if (strcasecmp(action, "done") == 0)
            l->can_end = true;
        if (action[0] >= '0' && action[0] <= '9') {
            unsigned long jump = strtoul(action, NULL, 10);

            if (strspn(action, "0123456789") != strlen(action) || jump == 0 || jump > 1000)
                return false;
            l->jump = l->jump > jump ? l->jump : (unsigned)jump;
        }
        s += n;
    }
    return true;
}

static bool read_control(const char *word, struct pamstack_line *l)
{
    static const struct {
        const char *word;
        enum pamstack_kind kind;
        bool can_end;
    } rows[] = {
        {"required", PAMSTACK_MODULE, false}, {"requisite", PAMSTACK_MODULE, false},
        {"optional", PAMSTACK_MODULE, false}, {"sufficient", PAMSTACK_MODULE, true},
        {"include", PAMSTACK_INCLUDE, false}, {"substack", PAMSTACK_SUBSTACK, false},
    };

    if (word[0] == '[') {
        l->kind = PAMSTACK_MODULE;
        return read_bracket(word, l);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcasecmp(rows[i].word, word) == 0) {
            l->kind = rows[i].kind;
            l->can_end = rows[i].can_end;
            return true;
        }
    return false;
}

static bool read_type(const char *word, enum pamstack_type *type)
{
    static const char *const names[] = {"auth", "account", "password", "session"};

    word += word[0] == '-';
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(names[i], word) == 0) {
            *type = (enum pamstack_type)i;
            return true;
        }
    return false;
}

static bool set_name(struct pamstack_line *l, const char *word)
{
    const char *slash = strrchr(word, '/');

    /* Of a module only its file's name counts; an included file keeps its folder. */
    if (l->kind == PAMSTACK_MODULE && slash)
        word = slash + 1;
    return snprintf(l->name, sizeof(l->name), "%s", word) < (int)sizeof(l->name) && word[0];
}

/* Reads one logical line, comments and continuations already taken out. */
static bool read_line(const char *s, struct pamstack_line *l)
{
    char word[WORD_MAX];
    bool bad = false;

    l->kind = PAMSTACK_BLANK;
    if (!next_word(&s, word, &bad))
        return !bad;
    if (strcasecmp(word, "@include") == 0) {
        l->kind = PAMSTACK_INLINE;
        return next_word(&s, word, &bad) && set_name(l, word);
    }
    if (!read_type(word, &l->type) || !next_word(&s, word, &bad) || !read_control(word, l))
        return false;
    return next_word(&s, word, &bad) && set_name(l, word);
}

/* --- A file -------------------------------------------------------------------------------------
 */

/* Whether blanks hide that a line goes on: libpam's versions don't agree on what that means. */
static bool ends_unclear(const char *line, size_t len)
{
    size_t n = len;

    while (n > 0 && is_blank(line[n - 1]))
        n--;
    return n > 0 && n < len && line[n - 1] == '\\';
}

/* Takes the logical line at `at` apart: its length, and its text without comment and
 * continuation. false if it isn't clear where it ends. */
static bool cut_line(const char *text, size_t n, struct pamstack_line *l, struct buf *plain)
{
    size_t at = l->at;

    for (bool more = true; more && at < n;) {
        size_t len = strcspn(text + at, "\n"), keep = strcspn(text + at, "#\n");

        if (keep == len && ends_unclear(text + at, len))
            return false;
        more = keep == len && len > 0 && text[at + len - 1] == '\\' && at + len < n;
        buf_put(plain, text + at, more ? len - 1 : keep);
        buf_putc(plain, ' ');
        l->continued = l->continued || more;
        at += len + (at + len < n);
    }
    l->len = at - l->at;
    return true;
}

int pamstack_parse(const char *text, size_t n, struct pamstack_file *f, char *why, size_t whylen)
{
    size_t at = 0;

    f->text = text;
    f->n_lines = 0;
    if (memchr(text, '\r', n) || memchr(text, '\0', n) || n > PAMSTACK_TEXT_MAX) {
        snprintf(why, whylen,
                 n > PAMSTACK_TEXT_MAX ? "it is larger than any such file"
                 : memchr(text, '\r', n)
                     ? "it has Windows line ends, which libpam does not understand"
                     : "it is no text file");
        return -EBADMSG;
    }
    while (at < n) {
        _cleanup_buf_ struct buf plain = BUF_INIT(2 * PAMSTACK_TEXT_MAX);
        struct pamstack_line *l = &f->lines[f->n_lines];

        if (f->n_lines == PAMSTACK_LINES_MAX) {
            snprintf(why, whylen, "it has more than %d lines", PAMSTACK_LINES_MAX);
            return -EBADMSG;
        }
        *l = (struct pamstack_line){.at = at};
        if (!cut_line(text, n, l, &plain) || buf_error(&plain) < 0 ||
            !read_line(buf_str(&plain), l)) {
            snprintf(why, whylen, "line %zu is not understood: %.*s", f->n_lines + 1,
                     (int)(strcspn(text + at, "\n") > 60 ? 60 : strcspn(text + at, "\n")),
                     text + at);
            return -EBADMSG;
        }
        at += l->len;
        f->n_lines++;
    }
    return 0;
}

/* --- Following includes -------------------------------------------------------------------------
 */

struct walk {
    enum pamstack_type type;
    pamstack_open open;
    void *data;
    struct pamstack_rules *out;
    char *why;
    size_t whylen;
};

static int add_rule(struct walk *w, const struct pamstack_line *l, size_t top, const char *file,
                    size_t number)
{
    struct pamstack_rule *r;

    if (w->out->n == PAMSTACK_RULES_MAX) {
        snprintf(w->why, w->whylen, "it has more than %d rules", PAMSTACK_RULES_MAX);
        return -EBADMSG;
    }
    r = &w->out->rule[w->out->n++];
    *r = (struct pamstack_rule){.top = top, .can_end = l->can_end, .jump = l->jump};
    snprintf(r->name, sizeof(r->name), "%s", l->name);
    snprintf(r->where, sizeof(r->where), "%.90s%sline %zu", file, file[0] ? " " : "", number);
    return 0;
}

static int walk_file(struct walk *w, const struct pamstack_file *f, const char *name, size_t top,
                     unsigned depth);

static int walk_included(struct walk *w, const char *name, size_t top, unsigned depth)
{
    _cleanup_buf_ struct buf text = BUF_INIT(PAMSTACK_TEXT_MAX);
    struct pamstack_file *f;
    char reason[200];
    int r;

    if (depth >= DEPTH_MAX) {
        snprintf(w->why, w->whylen, "its includes go deeper than %d files", DEPTH_MAX);
        return -EBADMSG;
    }
    r = w->open(name, &text, w->data);
    if (r < 0) {
        snprintf(w->why, w->whylen, "it includes %s, which cannot be read: %s", name, strerror(-r));
        return -EBADMSG;
    }
    f = malloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    r = pamstack_parse(buf_str(&text), text.len, f, reason, sizeof(reason));
    if (r < 0)
        snprintf(w->why, w->whylen, "it includes %s: %s", name, reason);
    else
        r = walk_file(w, f, name, top, depth + 1);
    free(f);
    return r;
}

/* top: the first file's line that led here; in the first file itself (depth 0) each line's own. */
static int walk_file(struct walk *w, const struct pamstack_file *f, const char *name, size_t top,
                     unsigned depth)
{
    for (size_t i = 0; i < f->n_lines; i++) {
        const struct pamstack_line *l = &f->lines[i];
        size_t from = depth == 0 ? i : top;
        int r = 0;

        if (l->kind == PAMSTACK_BLANK || (l->kind != PAMSTACK_INLINE && l->type != w->type))
            continue;
        if (l->kind == PAMSTACK_INLINE || l->kind == PAMSTACK_INCLUDE)
            r = walk_included(w, l->name, from, depth);
        else
            r = add_rule(w, l, from, name, i + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

int pamstack_expand(const struct pamstack_file *f, enum pamstack_type type, pamstack_open opener,
                    void *data, struct pamstack_rules *out, char *why, size_t whylen)
{
    struct walk w = {type, opener, data, out, why, whylen};

    out->n = 0;
    snprintf(why, whylen, "out of memory");
    return walk_file(&w, f, "", 0, 0);
}

int pamstack_contributes(const struct pamstack_file *f, size_t line, enum pamstack_type type,
                         pamstack_open opener, void *data, char *why, size_t whylen)
{
    struct pamstack_rules *rules = malloc(sizeof(*rules));
    bool found = false;
    int r;

    if (!rules)
        return -ENOMEM;
    r = pamstack_expand(f, type, opener, data, rules, why, whylen);
    for (size_t i = 0; r == 0 && i < rules->n; i++)
        found = found || rules->rule[i].top == line;
    free(rules);
    return r < 0 ? r : found;
}
