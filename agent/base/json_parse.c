/* The door for JSON from outside.
 *
 * The values are jansson's, the reading is ours. jansson's own reader ignores it when the buffer of
 * the token at hand can't grow, and then runs past its end or into an assert: whoever can make
 * memory scarce would choose where the agent dies. Its messages also quote the text, which here may
 * be a secret. */
#include "base/json.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

struct reader {
    const char *p;
    const char *end;
    const char *what; /* what is wrong at p */
    unsigned depth;
};

/* A string as it stands in the text, without its quotes. */
struct raw {
    const char *p;
    const char *end;
    bool escaped;
};

static int read_value(struct reader *r, json_t **out);

static int wrong(struct reader *r, const char *what)
{
    r->what = what;
    return -EBADMSG;
}

static bool at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static bool at_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

static void skip_space(struct reader *r)
{
    while (at(r, ' ') || at(r, '\t') || at(r, '\n') || at(r, '\r'))
        r->p++;
}

/* --- Strings -----------------------------------------------------------------------------------
 */

static int read_raw_string(struct reader *r, struct raw *out)
{
    if (!at(r, '"'))
        return wrong(r, "a string in double quotes is expected");
    *out = (struct raw){.p = ++r->p};
    while (r->p < r->end && *r->p != '"') {
        if ((unsigned char)*r->p < 0x20)
            return wrong(r, "control character in a string");
        if (*r->p == '\\') {
            out->escaped = true;
            if (r->end - r->p < 2)
                break;
            r->p++;
        }
        r->p++;
    }
    if (!at(r, '"'))
        return wrong(r, "the text ends inside a string");
    out->end = r->p++;
    return 0;
}

static int hex4(const char *p, const char *end, uint32_t *v)
{
    *v = 0;
    if (end - p < 4)
        return -EBADMSG;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = p[i] ? strchr(digits, p[i] | (p[i] >= 'A' ? 0x20 : 0)) : NULL;

        if (!digit)
            return -EBADMSG;
        *v = *v << 4 | (uint32_t)(digit - digits);
    }
    return 0;
}

static size_t put_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* What stands behind "\u". Returns the bytes written, 0 when it is no character. */
static size_t unescape_unicode(const char **p, const char *end, char out[4])
{
    uint32_t c, low;

    if (hex4(*p, end, &c) < 0 || c == 0 || (c >= 0xdc00 && c <= 0xdfff))
        return 0;
    *p += 4;
    if (c < 0xd800 || c > 0xdbff)
        return put_utf8(c, out);
    if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || hex4(*p + 2, end, &low) < 0 ||
        low < 0xdc00 || low > 0xdfff)
        return 0;
    *p += 6;
    return put_utf8(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00), out);
}

/* Takes one byte or one escape off the raw string. The same for its result. */
static size_t unescape(const char **p, const char *end, char out[4])
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *letter;

    out[0] = *(*p)++;
    if (out[0] != '\\')
        return 1;
    if (*p == end || **p == '\0')
        return 0;
    letter = strchr(letters, **p);
    if (letter) {
        out[0] = bytes[letter - letters];
        (*p)++;
        return 1;
    }
    if (*(*p)++ != 'u')
        return 0;
    return unescape_unicode(p, end, out);
}

/* Decodes the raw string; b is used only where there are escapes. */
static int decode_string(struct reader *r, const struct raw *raw, struct buf *b, const char **p,
                         size_t *n)
{
    *p = raw->p;
    *n = (size_t)(raw->end - raw->p);
    if (!raw->escaped)
        return 0;
    b->max = *n; /* an escape is never shorter than what it stands for */
    for (const char *from = raw->p; from < raw->end;) {
        const char *before = from;
        char bytes[4];
        size_t step = unescape(&from, raw->end, bytes);

        if (step == 0) {
            r->p = before;
            return wrong(r, "malformed escape in a string (or NUL, or half a surrogate pair)");
        }
        buf_put(b, bytes, step);
    }
    *p = buf_str(b);
    *n = b->len;
    return buf_error(b);
}

static int read_string(struct reader *r, json_t **out)
{
    _cleanup_buf_ struct buf b = BUF_INIT(0);
    struct raw raw;
    const char *p;
    size_t n;
    int e;

    e = read_raw_string(r, &raw);
    if (e == 0)
        e = decode_string(r, &raw, &b, &p, &n);
    if (e < 0)
        return e;
    *out = json_stringn_nocheck(p, n);
    return *out ? 0 : -ENOMEM;
}

/* --- Numbers -----------------------------------------------------------------------------------
 */

static int skip_digits(struct reader *r)
{
    if (!at_digit(r))
        return wrong(r, "a digit is expected");
    while (at_digit(r))
        r->p++;
    return 0;
}

static int make_integer(struct reader *r, const char *p, json_t **out)
{
    bool negative = *p == '-';
    int64_t v = 0;

    /* Counted downwards, since there is one more negative number than positive ones. */
    for (p += negative; p < r->end && *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, INT64_C(10), &v) ||
            __builtin_sub_overflow(v, (int64_t)(*p - '0'), &v))
            return wrong(r, "the integer does not fit into 64 bits");
    }
    if (!negative && __builtin_sub_overflow(INT64_C(0), v, &v))
        return wrong(r, "the integer does not fit into 64 bits");
    *out = json_integer(v);
    return *out ? 0 : -ENOMEM;
}

static int make_real(struct reader *r, const char *p, json_t **out)
{
    _cleanup_secret_ char *digits = mem_dup(p, (size_t)(r->p - p));
    /* Programs may have set a locale with a decimal comma. */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double v;

    if (!digits || !c) {
        if (c)
            freelocale(c);
        return -ENOMEM;
    }
    v = strtod_l(digits, NULL, c);
    freelocale(c);
    if (!isfinite(v))
        return wrong(r, "the number is too large");
    *out = json_real(v);
    return *out ? 0 : -ENOMEM;
}

static int read_number(struct reader *r, json_t **out)
{
    const char *start = r->p;
    bool real = false;

    if (at(r, '-'))
        r->p++;
    if (at(r, '0')) {
        r->p++;
        if (at_digit(r))
            return wrong(r, "a number does not begin with 0");
    } else if (skip_digits(r) < 0) {
        return -EBADMSG;
    }
    if (at(r, '.')) {
        real = true;
        r->p++;
        if (skip_digits(r) < 0)
            return -EBADMSG;
    }
    if (at(r, 'e') || at(r, 'E')) {
        real = true;
        r->p++;
        if (at(r, '+') || at(r, '-'))
            r->p++;
        if (skip_digits(r) < 0)
            return -EBADMSG;
    }
    return real ? make_real(r, start, out) : make_integer(r, start, out);
}

/* --- Values ------------------------------------------------------------------------------------
 */

static int read_word(struct reader *r, json_t **out)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i]);

        if ((size_t)(r->end - r->p) < n || memcmp(r->p, words[i], n) != 0)
            continue;
        r->p += n;
        *out = i == 0 ? json_true() : i == 1 ? json_false() : json_null();
        return 0;
    }
    return wrong(r, "a value is expected");
}

static int read_array(struct reader *r, json_t **out)
{
    _cleanup_json_ json_t *array = json_array();

    if (!array)
        return -ENOMEM;
    r->p++;
    skip_space(r);
    while (!at(r, ']')) {
        json_t *item = NULL;
        int e;

        if (json_array_size(array) > 0) {
            if (!at(r, ','))
                return wrong(r, "',' or ']' is expected");
            r->p++;
        }
        e = read_value(r, &item);
        if (e < 0)
            return e;
        if (json_array_append_new(array, item) < 0)
            return -ENOMEM;
        skip_space(r);
    }
    r->p++;
    *out = json_incref(array);
    return 0;
}

static int read_member(struct reader *r, json_t *object)
{
    _cleanup_buf_ struct buf b = BUF_INIT(0);
    const char *start = r->p, *key;
    json_t *value = NULL;
    struct raw raw;
    size_t n;
    int e;

    e = read_raw_string(r, &raw);
    if (e == 0)
        e = decode_string(r, &raw, &b, &key, &n);
    if (e < 0)
        return e;
    if (json_object_getn(object, key, n)) {
        r->p = start;
        return wrong(r, "the same key a second time");
    }
    skip_space(r);
    if (!at(r, ':'))
        return wrong(r, "':' is expected");
    r->p++;
    e = read_value(r, &value);
    if (e < 0)
        return e;
    return json_object_setn_new_nocheck(object, key, n, value) < 0 ? -ENOMEM : 0;
}

static int read_object(struct reader *r, json_t **out)
{
    _cleanup_json_ json_t *object = json_object();

    if (!object)
        return -ENOMEM;
    r->p++;
    skip_space(r);
    while (!at(r, '}')) {
        int e;

        if (json_object_size(object) > 0) {
            if (!at(r, ','))
                return wrong(r, "',' or '}' is expected");
            r->p++;
            skip_space(r);
        }
        e = read_member(r, object);
        if (e < 0)
            return e;
        skip_space(r);
    }
    r->p++;
    *out = json_incref(object);
    return 0;
}

static int read_value(struct reader *r, json_t **out)
{
    int e;

    skip_space(r);
    if (at(r, '"'))
        return read_string(r, out);
    if (at(r, '-') || at_digit(r))
        return read_number(r, out);
    if (!at(r, '[') && !at(r, '{'))
        return read_word(r, out);
    if (r->depth == JSON_DEPTH_MAX)
        return wrong(r, "nested too deeply");
    r->depth++;
    e = at(r, '[') ? read_array(r, out) : read_object(r, out);
    r->depth--;
    return e;
}

static void explain(const struct reader *r, const char *text, char *why, size_t whylen)
{
    size_t line = 1;
    const char *start = text;

    for (const char *p = text; p < r->p; p++) {
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    }
    (void)snprintf(why, whylen, "line %zu, byte %zu: %s", line, (size_t)(r->p - start) + 1,
                   r->what);
}

int json_parse(const char *text, size_t n, json_t **out, char *why, size_t whylen)
{
    struct reader r = {.p = text, .end = text + n};
    _cleanup_json_ json_t *value = NULL;
    int e;

    if (whylen > 0)
        why[0] = '\0';
    *out = NULL;
    if (!encode_is_utf8(text, n)) {
        (void)snprintf(why, whylen, "the text is not UTF-8 (or holds a NUL)");
        return -EBADMSG;
    }
    e = read_value(&r, &value);
    skip_space(&r);
    if (e == 0 && r.p != r.end)
        e = wrong(&r, "there is more text behind the value");
    if (e == -EBADMSG)
        explain(&r, text, why, whylen);
    if (e < 0)
        return e;
    *out = json_incref(value);
    return 0;
}

/* --- The bytes of a member ---------------------------------------------------------------------
 */

/* Steps over a value that is known to be well-formed. */
static int skip_value(struct reader *r)
{
    size_t depth = 0;
    struct raw raw;

    do {
        if (r->p == r->end)
            return -EBADMSG;
        if (at(r, '"')) {
            if (read_raw_string(r, &raw) < 0)
                return -EBADMSG;
        } else if (at(r, '[') || at(r, '{')) {
            depth++;
            r->p++;
        } else if (at(r, ']') || at(r, '}')) {
            if (depth == 0)
                return -EBADMSG;
            depth--;
            r->p++;
        } else if (depth > 0) {
            r->p++;
        } else {
            const char *start = r->p;

            while (r->p < r->end && !strchr(",:]} \t\r\n", *r->p))
                r->p++;
            return r->p > start ? 0 : -EBADMSG;
        }
    } while (depth > 0);
    return 0;
}

static bool same_key(const struct raw *raw, const char *key)
{
    size_t left = strlen(key);

    for (const char *p = raw->p; p < raw->end;) {
        char bytes[4];
        size_t step = unescape(&p, raw->end, bytes);

        if (step == 0 || step > left || memcmp(bytes, key, step) != 0)
            return false;
        key += step;
        left -= step;
    }
    return left == 0;
}

int json_raw_member(const char *text, size_t n, const char *key, const char **p, size_t *len)
{
    struct reader r = {.p = text, .end = text + n};
    struct raw raw;

    skip_space(&r);
    if (!at(&r, '{'))
        return -ENOENT;
    do {
        const char *start;

        r.p++;
        skip_space(&r);
        if (read_raw_string(&r, &raw) < 0)
            return -ENOENT;
        skip_space(&r);
        if (!at(&r, ':'))
            return -ENOENT;
        r.p++;
        skip_space(&r);
        start = r.p;
        if (skip_value(&r) < 0)
            return -ENOENT;
        if (same_key(&raw, key)) {
            *p = start;
            *len = (size_t)(r.p - start);
            return 0;
        }
        skip_space(&r);
    } while (at(&r, ','));
    return -ENOENT;
}
