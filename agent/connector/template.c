#include "connector/template.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LEN 32

enum place { BARE, QUOTED, ESCAPED, IDENTIFIER, DOLLAR, UNICODE };

struct reader {
    PGconn *conn;
    const struct template_value *values;
    struct template_list *list;
    const char *at;
    struct buf out; /* the statement so far, comments left out */
    unsigned depth; /* of parentheses */
    char *why;
    size_t whylen;
};

static int refuse(const struct reader *r, const char *reason)
{
    (void)snprintf(r->why, r->whylen, "%s", reason);
    return -EINVAL;
}

/* --- Letters, as PostgreSQL's lexer classes them. -------------------------------------------- */

static bool is_space(char c)
{
    return c != '\0' && strchr(" \t\n\r\f\v", c);
}

static bool begins_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool in_word(char c)
{
    return begins_word(c) || is_digit(c) || c == '$';
}

/* The length of the dollar quote's opening at s ("$tag$"); 0 if there is none. */
static size_t dollar_tag(const char *s)
{
    size_t n = 1;

    if (s[0] != '$')
        return 0;
    if (begins_word(s[1])) {
        while (begins_word(s[n]) || is_digit(s[n]))
            n++;
    }
    return s[n] == '$' ? n + 1 : 0;
}

/* The length of the comment at s; 0 if there is none, -EINVAL if it does not end. */
static int comment(const char *s, size_t *len)
{
    unsigned depth = 0;
    size_t n = 0;

    *len = 0;
    if (s[0] == '-' && s[1] == '-') {
        *len = strcspn(s, "\n\r");
        return 0;
    }
    if (s[0] != '/' || s[1] != '*')
        return 0;
    do {
        if (s[n] == '\0')
            return -EINVAL;
        if (s[n] == '/' && s[n + 1] == '*') {
            depth++;
            n += 2;
        } else if (s[n] == '*' && s[n + 1] == '/') {
            depth--;
            n += 2;
        } else {
            n++;
        }
    } while (depth > 0);
    *len = n;
    return 0;
}

/* Whether the string goes on behind its closing quote: 'a' <newline> 'b' is one string, and of one
 * kind. Comments count as the space they are sent as. */
static bool continues(const char *s)
{
    bool newline = false;
    size_t n;

    for (;;) {
        if (is_space(*s)) {
            newline = newline || *s == '\n' || *s == '\r';
            s++;
        } else if (comment(s, &n) == 0 && n > 0) {
            s += n;
        } else {
            return newline && *s == '\'';
        }
    }
}

static int skip_comment(struct reader *r, bool *skipped)
{
    size_t n;

    *skipped = false;
    if (comment(r->at, &n) < 0)
        return refuse(r, "a comment is not closed");
    if (n == 0)
        return 0;
    buf_putc(&r->out, ' ');
    r->at += n;
    *skipped = true;
    return 0;
}

/* --- Filling in. ----------------------------------------------------------------------------- */

/* The length of the placeholder at s with its name copied; 0 if there is none. */
static size_t placeholder(const char *s, char name[NAME_MAX_LEN + 1])
{
    size_t n;

    if (s[0] != '{' || s[1] != '{')
        return 0;
    n = strspn(s + 2, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_ ");
    if (n == 0 || s[2 + n] != '}' || s[3 + n] != '}')
        return 0;
    (void)snprintf(name, NAME_MAX_LEN + 1, "%.*s", (int)(n > NAME_MAX_LEN ? 0 : n), s + 2);
    return n + 4;
}

static const struct template_value *find_value(const struct template_value *v, const char *name)
{
    for (; v->name; v++) {
        if (strcmp(v->name, name) == 0)
            return v;
    }
    return NULL;
}

static int put_bare(struct reader *r, const struct template_value *v)
{
    char *quoted = v->identifier ? PQescapeIdentifier(r->conn, v->value, strlen(v->value))
                                 : PQescapeLiteral(r->conn, v->value, strlen(v->value));

    if (!quoted)
        return refuse(r, "a value can't be escaped");
    buf_puts(&r->out, quoted);
    mem_wipe(quoted, strlen(quoted));
    PQfreemem(quoted);
    return 0;
}

/* The body of a literal. libpq's own function goes by the server's setting for backslashes alone
 * and does not know of the E in front; the reading around it stands on that setting being on, too.
 */
static void put_literal_body(struct reader *r, const char *value, bool backslashes)
{
    for (; *value; value++) {
        if (*value == '\'' || (*value == '\\' && backslashes))
            buf_putc(&r->out, *value);
        buf_putc(&r->out, *value);
    }
}

static void put_identifier_body(struct reader *r, const char *value)
{
    for (; *value; value++) {
        if (*value == '"')
            buf_putc(&r->out, '"');
        buf_putc(&r->out, *value);
    }
}

static int put_unescaped(struct reader *r, const char *value)
{
    static const char harmless[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:+.=$/-";
    size_t n = strlen(value);

    if (n == 0 || strspn(value, harmless) != n || strstr(value, "--") || value[0] == '$' ||
        value[n - 1] == '$')
        return refuse(r, "a value can't be put into a dollar-quoted body");
    buf_puts(&r->out, value);
    return 0;
}

/* Bare, the value becomes a token of its own: whatever touches it would be read with it. */
static bool stands_free(const struct reader *r)
{
    char next = *r->at;
    char before = r->out.len > 0 ? (char)r->out.data[r->out.len - 1] : ' ';

    return !in_word(before) && !strchr("'\"&\\", before) && !in_word(next) && next != '\'' &&
           next != '"' && next != '{' && next != '&' && !continues(r->at);
}

static int fill(struct reader *r, enum place place, const char *name)
{
    const struct template_value *v = find_value(r->values, name);

    if (!v)
        return refuse(r, "a placeholder is not known here");
    switch (place) {
    case BARE:
        return stands_free(r) ? put_bare(r, v) : refuse(r, "a bare placeholder must stand free");
    case QUOTED:
    case ESCAPED:
        put_literal_body(r, v->value, place == ESCAPED);
        return 0;
    case IDENTIFIER:
        put_identifier_body(r, v->value);
        return 0;
    case DOLLAR:
        return put_unescaped(r, v->value);
    case UNICODE:
        break;
    }
    return refuse(r, "a placeholder can't stand inside U& quotes");
}

/* Copies one character, or fills in the placeholder that begins there. */
static int copy_one(struct reader *r, enum place place)
{
    char name[NAME_MAX_LEN + 1];
    size_t n = placeholder(r->at, name);

    if (n == 0) {
        buf_putc(&r->out, *r->at++);
        return 0;
    }
    r->at += n;
    return fill(r, place, name);
}

/* --- Quotes. --------------------------------------------------------------------------------- */

/* From behind the opening quote to behind the closing one. */
static int read_quoted(struct reader *r, char quote, enum place place)
{
    int error = 0;

    while (*r->at != quote) {
        bool escape = place == ESCAPED && *r->at == '\\';

        if (escape) /* what follows is neither the end nor a placeholder */
            buf_putc(&r->out, *r->at++);
        if (*r->at == '\0')
            return refuse(r, "a quote is not closed");
        if (escape)
            buf_putc(&r->out, *r->at++);
        else
            error = copy_one(r, place);
        if (error < 0)
            return error;
    }
    buf_putc(&r->out, *r->at++);
    return 0;
}

static int read_string(struct reader *r, enum place place)
{
    bool skipped;
    int error;

    for (;;) {
        error = read_quoted(r, '\'', place);
        if (error < 0)
            return error;
        /* '' is a quote inside the string, which is the same as another piece of it. */
        if (*r->at == '\'') {
            buf_putc(&r->out, *r->at++);
            continue;
        }
        if (!continues(r->at))
            return 0;
        while (*r->at != '\'') {
            error = skip_comment(r, &skipped);
            if (error < 0)
                return error;
            if (!skipped)
                buf_putc(&r->out, *r->at++);
        }
        buf_putc(&r->out, *r->at++);
    }
}

static int read_dollar(struct reader *r, size_t taglen)
{
    char *tag _cleanup_secret_ = mem_dup(r->at, taglen);
    const char *end;
    size_t body;
    int error;

    if (!tag)
        return -ENOMEM;
    end = strstr(r->at + taglen, tag);
    if (!end)
        return refuse(r, "a dollar quote is not closed");
    buf_put(&r->out, tag, taglen);
    body = r->out.len;
    r->at += taglen;
    while (r->at < end) {
        error = copy_one(r, DOLLAR);
        if (error < 0)
            return error;
    }
    buf_put(&r->out, tag, taglen);
    r->at += taglen;
    if (buf_error(&r->out) == 0 &&
        strstr(buf_str(&r->out) + body, tag) != buf_str(&r->out) + r->out.len - taglen)
        return refuse(r, "a value would end a dollar quote");
    return 0;
}

/* --- Statements. ----------------------------------------------------------------------------- */

/* A word with the quote it may announce: E'…' B'…' X'…' N'…' U&'…' U&"…". */
static int read_word(struct reader *r)
{
    const char *word = r->at;
    size_t n = 0;

    while (in_word(word[n]))
        n++;
    buf_put(&r->out, word, n);
    r->at += n;
    if (n == 1 && strchr("uU", *word) && r->at[0] == '&' && (r->at[1] == '\'' || r->at[1] == '"')) {
        char quote = r->at[1];

        buf_put(&r->out, r->at, 2);
        r->at += 2;
        return quote == '"' ? read_quoted(r, quote, UNICODE) : read_string(r, UNICODE);
    }
    if (n != 1 || !strchr("eE", *word) || *r->at != '\'')
        return 0;
    buf_putc(&r->out, *r->at++);
    return read_string(r, ESCAPED);
}

/* Statements that would leave the one transaction they all run in. */
static bool ends_transaction(const char *sql)
{
    static const char *const words[] = {"begin", "start",   "commit",    "rollback", "end",
                                        "abort", "prepare", "savepoint", "release"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i]);

        if (strncasecmp(sql, words[i], n) == 0 && !in_word(sql[n]))
            return true;
    }
    return false;
}

static int append(struct template_list *list, char *sql)
{
    char **grown;

    if (list->count >= TEMPLATE_STATEMENTS_MAX)
        return -EMSGSIZE;
    grown = reallocarray(list->sql, list->count + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    list->sql = grown;
    list->sql[list->count++] = sql;
    return 0;
}

/* Takes the statement in r->out, unless it is empty. */
static int finish(struct reader *r)
{
    const char *from = buf_str(&r->out);
    char *sql;
    int error = buf_error(&r->out);

    if (error < 0)
        return error;
    while (is_space(*from))
        from++;
    if (*from == '\0') {
        buf_reset(&r->out);
        return 0;
    }
    if (r->depth > 0)
        return refuse(r, "a parenthesis is not closed");
    if (ends_transaction(from))
        return refuse(r, "statements run in one transaction and may not begin or end one");
    sql = mem_dup(from, strlen(from));
    error = sql ? append(r->list, sql) : -ENOMEM;
    if (error < 0)
        mem_free_str(sql);
    buf_reset(&r->out);
    return error;
}

/* Whatever begins at r->at outside of quotes. */
static int read_bare(struct reader *r)
{
    size_t taglen = dollar_tag(r->at);
    bool skipped;
    int error = skip_comment(r, &skipped);

    if (error < 0 || skipped)
        return error;
    if (taglen > 0)
        return read_dollar(r, taglen);
    if (begins_word(*r->at))
        return read_word(r);
    if (*r->at == '\'' || *r->at == '"') {
        char quote = *r->at++;

        buf_putc(&r->out, quote);
        return quote == '"' ? read_quoted(r, quote, IDENTIFIER) : read_string(r, QUOTED);
    }
    if (*r->at == ';' && r->depth == 0) {
        r->at++;
        return finish(r);
    }
    if (*r->at == '(')
        r->depth++;
    else if (*r->at == ')' && r->depth-- == 0)
        return refuse(r, "a parenthesis is closed that was not opened");
    return copy_one(r, BARE);
}

int template_expand(PGconn *conn, const char *text, const struct template_value *values,
                    struct template_list *list, char *why, size_t whylen)
{
    struct reader r = {
        .conn = conn,
        .values = values,
        .list = list,
        .at = text,
        .out = BUF_INIT(TEMPLATE_TEXT_MAX),
        .why = why,
        .whylen = whylen,
    };
    int error = 0;

    why[0] = '\0';
    while (error == 0 && *r.at != '\0')
        error = read_bare(&r);
    if (error == 0)
        error = finish(&r);
    buf_clear(&r.out);
    return error;
}

void template_clear(struct template_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free_str(list->sql[i]);
    free(list->sql);
    *list = (struct template_list){0};
}
