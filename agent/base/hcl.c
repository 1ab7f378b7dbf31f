/* A reader for HCL 1 by recursive descent over the text, without a separate scanner.
 *
 * Strings and numbers are handed to json_parse() once their outline has been checked, so that the
 * rules for escapes, NUL and 64 bits are the same in both languages. */
#include "base/hcl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

#define INTERPOLATION "interpolation (${) is not supported"

struct reader {
    const char *text;
    const char *p;
    const char *end;
    const char *what; /* what is wrong at p */
    unsigned depth;
};

static int read_value(struct reader *r, json_t **out);
static int read_body(struct reader *r, json_t *object, bool braces);

static int wrong(struct reader *r, const char *what)
{
    r->what = what;
    return -EBADMSG;
}

static int wrong_at(struct reader *r, const char *p, const char *what)
{
    r->p = p;
    return wrong(r, what);
}

static bool at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static bool at_text(const struct reader *r, const char *s)
{
    size_t n = strlen(s);

    return (size_t)(r->end - r->p) >= n && memcmp(r->p, s, n) == 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* --- Between the words --------------------------------------------------------------------------
 */

static int skip_block_comment(struct reader *r)
{
    const char *start = r->p;

    for (r->p += 2; r->p < r->end; r->p++) {
        if (at_text(r, "*/")) {
            r->p += 2;
            return 0;
        }
    }
    return wrong_at(r, start, "the comment is not closed");
}

static int skip_space(struct reader *r)
{
    while (r->p < r->end) {
        if (is_space(*r->p)) {
            r->p++;
        } else if (at(r, '#') || at_text(r, "//")) {
            while (r->p < r->end && *r->p != '\n')
                r->p++;
        } else if (at_text(r, "/*")) {
            if (skip_block_comment(r) < 0)
                return -EBADMSG;
        } else {
            break;
        }
    }
    return 0;
}

static int enter(struct reader *r)
{
    if (r->depth == HCL_DEPTH_MAX)
        return wrong(r, "nested too deeply");
    r->depth++;
    return 0;
}

/* --- Strings ------------------------------------------------------------------------------------
 */

static int read_string(struct reader *r, json_t **out)
{
    const char *start = r->p;
    char why[16];
    int e;

    for (r->p++; !at(r, '"'); r->p++) {
        if (r->p == r->end || at(r, '\n'))
            return wrong_at(r, start, "the string is not closed on its line");
        if ((unsigned char)*r->p < 0x20)
            return wrong(r, "control character in a string");
        if (at_text(r, "${"))
            return wrong(r, INTERPOLATION);
        if (*r->p == '\\') {
            r->p++;
            if (r->p == r->end || *r->p == '\0' || !strchr("\\\"ntu", *r->p))
                return wrong(r, "unknown escape in a string");
        }
    }
    r->p++;
    e = json_parse(start, (size_t)(r->p - start), out, why, sizeof(why));
    return e == -EBADMSG ? wrong_at(r, start, "malformed \\u escape in a string") : e;
}

struct line {
    const char *p;
    const char *end; /* its newline, or a carriage return in front of that */
    const char *next;
};

static int read_line(struct reader *r, struct line *line)
{
    const char *newline;

    if (r->p == r->end)
        return -EBADMSG;
    newline = memchr(r->p, '\n', (size_t)(r->end - r->p));
    line->p = r->p;
    line->end = newline ? newline : r->end;
    line->next = newline ? newline + 1 : r->end;
    if (line->end > line->p && line->end[-1] == '\r')
        line->end--;
    r->p = line->next;
    return 0;
}

struct heredoc {
    const char *mark;
    size_t mark_len;
    bool indented;    /* "<<-" */
    const char *body; /* up to the line of the closing mark */
    const char *body_end;
    size_t indent; /* in front of the closing mark */
};

static int read_heredoc_mark(struct reader *r, struct heredoc *h)
{
    struct line first;

    r->p += 2;
    h->indented = at(r, '-');
    if (h->indented)
        r->p++;
    h->mark = r->p;
    while (r->p < r->end && (is_letter(*r->p) || is_digit(*r->p)))
        r->p++;
    h->mark_len = (size_t)(r->p - h->mark);
    if (h->mark_len == 0)
        return wrong(r, "a heredoc needs a word behind <<");
    if (read_line(r, &first) < 0 || first.end != h->mark + h->mark_len)
        return wrong_at(r, h->mark, "the heredoc's word must end its line");
    h->body = r->p;
    return 0;
}

static int read_heredoc_body(struct reader *r, struct heredoc *h)
{
    struct line line;

    while (read_line(r, &line) == 0) {
        const char *p = line.p;

        while (h->indented && p < line.end && (*p == ' ' || *p == '\t'))
            p++;
        if ((size_t)(line.end - p) != h->mark_len || memcmp(p, h->mark, h->mark_len) != 0)
            continue;
        h->body_end = line.p;
        h->indent = (size_t)(p - line.p);
        r->p = line.end;
        return 0;
    }
    return wrong_at(r, h->mark, "the heredoc is not closed");
}

/* HCL takes the closing mark's indentation off each line, or off none if a line has less. */
static bool all_indented(const struct heredoc *h)
{
    const char *mark_line = h->body_end;

    for (const char *p = h->body; p < h->body_end;) {
        const char *newline = memchr(p, '\n', (size_t)(h->body_end - p));

        if ((size_t)(h->body_end - p) < h->indent || memcmp(p, mark_line, h->indent) != 0)
            return false;
        p = newline ? newline + 1 : h->body_end;
    }
    return true;
}

static int read_heredoc(struct reader *r, json_t **out)
{
    _cleanup_buf_ struct buf b = BUF_INIT(HCL_TEXT_MAX);
    struct heredoc h = {0};
    size_t cut;

    if (read_heredoc_mark(r, &h) < 0 || read_heredoc_body(r, &h) < 0)
        return -EBADMSG;
    cut = all_indented(&h) ? h.indent : 0;
    for (const char *p = h.body; p < h.body_end;) {
        const char *newline = memchr(p, '\n', (size_t)(h.body_end - p));
        const char *next = newline ? newline + 1 : h.body_end;

        buf_put(&b, p + cut, (size_t)(next - p) - cut);
        p = next;
    }
    if (buf_error(&b) < 0)
        return buf_error(&b);
    if (strstr(buf_str(&b), "${"))
        return wrong_at(r, h.mark, INTERPOLATION);
    *out = json_stringn_nocheck(buf_str(&b), b.len);
    return *out ? 0 : -ENOMEM;
}

/* --- Values -------------------------------------------------------------------------------------
 */

static int read_number(struct reader *r, json_t **out)
{
    const char *start = r->p;
    char why[16];
    int e;

    while (r->p < r->end && (is_digit(*r->p) || is_letter(*r->p) || strchr("+-.", *r->p)))
        r->p++;
    e = json_parse(start, (size_t)(r->p - start), out, why, sizeof(why));
    return e == -EBADMSG ? wrong_at(r, start, "malformed number, or one beyond 64 bits") : e;
}

static int read_word(struct reader *r, json_t **out)
{
    const char *start = r->p;
    size_t n;

    while (r->p < r->end && (is_letter(*r->p) || is_digit(*r->p)))
        r->p++;
    n = (size_t)(r->p - start);
    if (n == 4 && memcmp(start, "true", n) == 0)
        *out = json_true();
    else if (n == 5 && memcmp(start, "false", n) == 0)
        *out = json_false();
    else
        return wrong_at(r, start, "a value is expected (strings need double quotes)");
    return 0;
}

static int read_list(struct reader *r, json_t **out)
{
    _cleanup_json_ json_t *list = json_array();
    const char *start = r->p;

    if (!list)
        return -ENOMEM;
    if (enter(r) < 0)
        return -EBADMSG;
    r->p++;
    for (;;) {
        json_t *item = NULL;
        int e;

        if (skip_space(r) < 0)
            return -EBADMSG;
        if (at(r, ']'))
            break;
        if (r->p == r->end)
            return wrong_at(r, start, "the list is not closed");
        e = read_value(r, &item);
        if (e < 0)
            return e;
        if (json_array_append_new(list, item) < 0)
            return -ENOMEM;
        if (skip_space(r) < 0)
            return -EBADMSG;
        if (at(r, ','))
            r->p++;
        else if (!at(r, ']'))
            return r->p == r->end ? wrong_at(r, start, "the list is not closed")
                                  : wrong(r, "',' or ']' is expected");
    }
    r->p++;
    r->depth--;
    *out = json_incref(list);
    return 0;
}

static int read_braces(struct reader *r, json_t **out)
{
    _cleanup_json_ json_t *object = json_object();
    int e;

    if (!object)
        return -ENOMEM;
    if (enter(r) < 0)
        return -EBADMSG;
    e = read_body(r, object, true);
    if (e < 0)
        return e;
    r->depth--;
    *out = json_incref(object);
    return 0;
}

static int read_value(struct reader *r, json_t **out)
{
    if (at(r, '"'))
        return read_string(r, out);
    if (at(r, '['))
        return read_list(r, out);
    if (at(r, '{'))
        return read_braces(r, out);
    if (at_text(r, "<<"))
        return read_heredoc(r, out);
    if (at(r, '-') || (r->p < r->end && is_digit(*r->p)))
        return read_number(r, out);
    return read_word(r, out);
}

/* --- Assignments and blocks ---------------------------------------------------------------------
 */

/* A name or a label: a bare word or a string. */
static int read_name(struct reader *r, json_t **out)
{
    const char *start = r->p;

    if (at(r, '"'))
        return read_string(r, out);
    if (r->p == r->end || !is_letter(*r->p))
        return wrong(r, "a name is expected");
    while (r->p < r->end && (is_letter(*r->p) || is_digit(*r->p) || *r->p == '-' || *r->p == '.'))
        r->p++;
    *out = json_stringn_nocheck(start, (size_t)(r->p - start));
    return *out ? 0 : -ENOMEM;
}

static int set_member(json_t *object, const json_t *name, json_t *value)
{
    return json_object_setn_new_nocheck(object, json_string_value(name), json_string_length(name),
                                        value) < 0
               ? -ENOMEM
               : 0;
}

static json_t *get_member(const json_t *object, const json_t *name)
{
    return json_object_getn(object, json_string_value(name), json_string_length(name));
}

static int read_assignment(struct reader *r, json_t *object, const char *start, const json_t *name)
{
    json_t *value = NULL;
    int e;

    if (get_member(object, name))
        return wrong_at(r, start, "the same name a second time");
    r->p++;
    if (skip_space(r) < 0)
        return -EBADMSG;
    e = read_value(r, &value);
    return e < 0 ? e : set_member(object, name, value);
}

/* The array of the blocks of this name: the one there is, or a new one. Assignments never end up
 * here, or `path = [...]` and `path "a" {...}` would flow together: `blocks` knows the difference.
 */
static int blocks_of(struct reader *r, json_t *object, json_t *blocks, const char *start,
                     const json_t *name, json_t **array)
{
    *array = get_member(object, name);
    if (*array)
        return get_member(blocks, name) ? 0 : wrong_at(r, start, "the same name a second time");
    *array = json_array();
    if (!*array || set_member(object, name, *array) < 0 ||
        set_member(blocks, name, json_true()) < 0)
        return -ENOMEM;
    return 0;
}

static int read_block(struct reader *r, json_t *array, const json_t *label)
{
    _cleanup_json_ json_t *body = NULL;
    _cleanup_json_ json_t *labelled = NULL;
    int e;

    e = read_braces(r, &body);
    if (e < 0)
        return e;
    if (!label)
        return json_array_append(array, body) < 0 ? -ENOMEM : 0;
    labelled = json_object();
    if (!labelled || set_member(labelled, label, json_incref(body)) < 0 ||
        json_array_append(array, labelled) < 0)
        return -ENOMEM;
    return 0;
}

static int read_item(struct reader *r, json_t *object, json_t *blocks)
{
    _cleanup_json_ json_t *name = NULL;
    _cleanup_json_ json_t *label = NULL;
    const char *start = r->p;
    json_t *array;
    int e;

    e = read_name(r, &name);
    if (e == 0)
        e = skip_space(r);
    if (e < 0)
        return e;
    if (at(r, '='))
        return read_assignment(r, object, start, name);
    if (at(r, '"') || (r->p < r->end && is_letter(*r->p))) {
        e = read_name(r, &label);
        if (e == 0)
            e = skip_space(r);
        if (e < 0)
            return e;
    }
    if (!at(r, '{'))
        return wrong(r, label ? "'{' is expected" : "'=', a label or '{' is expected");
    e = blocks_of(r, object, blocks, start, name, &array);
    return e < 0 ? e : read_block(r, array, label);
}

/* Reads items into the object up to the end of the text or, with braces, to the closing one. */
static int read_body(struct reader *r, json_t *object, bool braces)
{
    _cleanup_json_ json_t *blocks = json_object();
    const char *start = r->p;

    if (!blocks)
        return -ENOMEM;
    if (braces)
        r->p++;
    for (;;) {
        int e;

        if (skip_space(r) < 0)
            return -EBADMSG;
        if (braces && at(r, '}')) {
            r->p++;
            return 0;
        }
        if (r->p == r->end)
            return braces ? wrong_at(r, start, "the block is not closed") : 0;
        e = read_item(r, object, blocks);
        if (e < 0)
            return e;
        if (skip_space(r) < 0)
            return -EBADMSG;
        if (braces && at(r, ','))
            r->p++;
    }
}

static void explain(const struct reader *r, char *why, size_t whylen)
{
    size_t line = 1;

    for (const char *p = r->text; p < r->p; p++)
        line += *p == '\n';
    (void)snprintf(why, whylen, "line %zu: %s", line, r->what);
}

int hcl_parse(const char *text, size_t n, json_t **out, char *why, size_t whylen)
{
    struct reader r = {.text = text, .p = text, .end = text + n};
    _cleanup_json_ json_t *object = NULL;
    int e;

    *out = NULL;
    if (whylen > 0)
        why[0] = '\0';
    if (n > HCL_TEXT_MAX)
        return -EMSGSIZE;
    while (r.p < r.end && is_space(*r.p))
        r.p++;
    if (at(&r, '{'))
        return json_parse(text, n, out, why, whylen);
    if (!encode_is_utf8(text, n)) {
        (void)snprintf(why, whylen, "the text is not UTF-8 (or holds a NUL)");
        return -EBADMSG;
    }
    object = json_object();
    if (!object)
        return -ENOMEM;
    e = read_body(&r, object, false);
    if (e == -EBADMSG)
        explain(&r, why, whylen);
    if (e < 0)
        return e;
    *out = json_incref(object);
    return 0;
}
