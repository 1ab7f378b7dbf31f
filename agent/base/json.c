#include "base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"

#define STRING_MAX 4096
#define STATEMENT_MAX (64 * 1024)
#define ITEMS_MAX 1024
#define WRITE_DEPTH_MAX 512

/* --- Wiping memory for jansson ------------------------------------------------------------------
 */

/* In front of each block: its size, in as many bytes as keep the block aligned for anything. */
#define HEAD 16
_Static_assert(HEAD >= sizeof(size_t) && HEAD % _Alignof(max_align_t) == 0, "alignment");

static void *wiping_malloc(size_t n)
{
    char *block;

    if (n > SIZE_MAX - HEAD)
        return NULL;
    block = malloc(n + HEAD);
    if (!block)
        return NULL;
    memcpy(block, &n, sizeof(n));
    return block + HEAD;
}

static void wiping_free(void *p)
{
    char *block;
    size_t n;

    if (!p)
        return;
    block = (char *)p - HEAD;
    memcpy(&n, block, sizeof(n));
    mem_free(block, n + HEAD);
}

void json_init(void)
{
    json_set_alloc_funcs(wiping_malloc, wiping_free);
    json_object_seed(0); /* from the kernel's randomness, here rather than in two threads at once */
}

/* --- Writing ------------------------------------------------------------------------------------
 */

static int put_piece(const char *p, size_t n, void *b)
{
    buf_put(b, p, n);
    return buf_error(b) < 0 ? -1 : 0;
}

/* What we leave to jansson: reals, and strings that become \\uXXXX. */
static void put_by_jansson(struct buf *b, const json_t *v, bool ascii)
{
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | (ascii ? JSON_ENSURE_ASCII : 0);

    if (!b->error && json_dump_callback(v, put_piece, b, flags) < 0 && !b->error)
        b->error = v ? -ENOMEM : -EINVAL;
}

/* How many bytes from s on stand for themselves. */
static size_t plain_len(const char *s, size_t n, bool ascii)
{
    size_t i = 0;

    while (i < n && (unsigned char)s[i] >= ' ' && s[i] != '"' && s[i] != '\\' &&
           (!ascii || (unsigned char)s[i] < 0x80))
        i++;
    return i;
}

static void put_string(struct buf *b, const json_t *v, bool ascii)
{
    const char *s = json_string_value(v);
    size_t n = json_string_length(v);

    if (plain_len(s, n, ascii) < n) {
        put_by_jansson(b, v, ascii);
        return;
    }
    buf_putc(b, '"');
    buf_put(b, s, n);
    buf_putc(b, '"');
}

static void put_value(struct buf *b, const json_t *v, bool ascii, unsigned depth);

static void put_key(struct buf *b, const char *key, bool ascii)
{
    size_t n = strlen(key);

    if (plain_len(key, n, ascii) == n) {
        buf_putc(b, '"');
        buf_put(b, key, n);
        buf_putc(b, '"');
        return;
    }
    _cleanup_json_ json_t *v = json_string(key);
    put_by_jansson(b, v, ascii);
}

static void put_object(struct buf *b, const json_t *v, bool ascii, unsigned depth)
{
    json_t *o = (json_t *)(uintptr_t)v; /* its iterators want it so */

    buf_putc(b, '{');
    for (void *at = json_object_iter(o), *first = at; at; at = json_object_iter_next(o, at)) {
        if (at != first)
            buf_putc(b, ',');
        put_key(b, json_object_iter_key(at), ascii);
        buf_putc(b, ':');
        put_value(b, json_object_iter_value(at), ascii, depth);
    }
    buf_putc(b, '}');
}

static void put_array(struct buf *b, const json_t *v, bool ascii, unsigned depth)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (i > 0)
            buf_putc(b, ',');
        put_value(b, json_array_get(v, i), ascii, depth);
    }
    buf_putc(b, ']');
}

/* By hand and not by json_dump_callback(), which has a look-out for cycles at each value and a call
 * for each comma: this is what each request and each lease is written with. A cycle ends at the
 * depth. */
static void put_value(struct buf *b, const json_t *v, bool ascii, unsigned depth)
{
    if (b->error)
        return;
    if (!v || depth >= WRITE_DEPTH_MAX) {
        b->error = -EINVAL;
        return;
    }
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        put_object(b, v, ascii, depth + 1);
        return;
    case JSON_ARRAY:
        put_array(b, v, ascii, depth + 1);
        return;
    case JSON_STRING:
        put_string(b, v, ascii);
        return;
    case JSON_INTEGER:
        buf_put_dec(b, json_integer_value(v));
        return;
    case JSON_TRUE:
        buf_puts(b, "true");
        return;
    case JSON_FALSE:
        buf_puts(b, "false");
        return;
    case JSON_NULL:
        buf_puts(b, "null");
        return;
    case JSON_REAL:
        put_by_jansson(b, v, ascii);
        return;
    }
}

void json_put(struct buf *b, const json_t *v)
{
    put_value(b, v, false, 0);
}

void json_put_ascii(struct buf *b, const json_t *v)
{
    put_value(b, v, true, 0);
}

void json_put_text(struct buf *b, const char *s)
{
    put_key(b, s, true);
}

/* --- Checking against a schema ------------------------------------------------------------------
 */

struct complaint {
    char *why;
    size_t len;
    const char *field;
};

/* The text is a format for nobody: field names of ours and fixed words only. */
static int complain(const struct complaint *c, const char *what)
{
    (void)snprintf(c->why, c->len, "field '%s' %s", c->field, what);
    return -EINVAL;
}

static int complain_range(const struct complaint *c, int64_t min, int64_t max)
{
    (void)snprintf(c->why, c->len, "field '%s' must be from %lld to %lld", c->field, (long long)min,
                   (long long)max);
    return -EINVAL;
}

/* Each of these looks at v and sets *norm to what is to stand in its place, if anything. */
typedef int (*check_fn)(const struct complaint *c, const struct json_field *f, json_t *v,
                        json_t **norm);

static int check_string(const struct complaint *c, const struct json_field *f, json_t *v,
                        _unused_ json_t **norm)
{
    int64_t max = f->max ? f->max : STRING_MAX;
    int64_t n;

    if (!json_is_string(v))
        return complain(c, "must be a string");
    n = (int64_t)json_string_length(v);
    if (n > max)
        return complain(c, "is too long");
    if (n < f->min)
        return complain(c, n == 0 ? "must not be empty" : "is too short");
    return 0;
}

/* Reads an optional sign and digits, nothing else. */
static int read_integer(const char *s, int64_t *v)
{
    const char *digits = *s == '-' ? s + 1 : s;
    char *end;

    if (*digits < '0' || *digits > '9')
        return -EINVAL;
    errno = 0;
    *v = strtoll(s, &end, 10);
    return errno != 0 || *end != '\0' ? -EINVAL : 0;
}

static int check_int(const struct complaint *c, const struct json_field *f, json_t *v,
                     json_t **norm)
{
    bool any = f->min == 0 && f->max == 0;
    int64_t n;

    if (json_is_integer(v))
        n = json_integer_value(v);
    else if (!json_is_string(v) || read_integer(json_string_value(v), &n) < 0)
        return complain(c, "must be an integer");
    if (!any && (n < f->min || n > f->max))
        return complain_range(c, f->min, f->max);
    if (json_is_integer(v))
        return 0;
    *norm = json_integer(n);
    return *norm ? 0 : -ENOMEM;
}

static int check_bool(const struct complaint *c, _unused_ const struct json_field *f, json_t *v,
                      json_t **norm)
{
    const char *s = json_string_value(v);

    if (json_is_boolean(v))
        return 0;
    if (!s || (strcmp(s, "true") != 0 && strcmp(s, "false") != 0))
        return complain(c, "must be true or false");
    *norm = json_boolean(s[0] == 't');
    return 0;
}

static int check_duration(const struct complaint *c, const struct json_field *f, json_t *v,
                          json_t **norm)
{
    int64_t max = f->max ? f->max : CLOCK_DURATION_MAX;
    int64_t n;
    int r = 0;

    if (json_is_integer(v))
        n = json_integer_value(v);
    else if (json_is_string(v))
        r = clock_parse_duration(json_string_value(v), &n);
    else
        r = -EINVAL;
    if (r == -ERANGE)
        return complain(c, "is too long a time");
    if (r < 0)
        return complain(c, "must be a duration such as 90, \"15m\" or \"1h30m\"");
    if (n < f->min || n > max || n < 0)
        return complain_range(c, f->min > 0 ? f->min : 0, max);
    if (json_is_integer(v))
        return 0;
    *norm = json_integer(n);
    return *norm ? 0 : -ENOMEM;
}

static int check_items(const struct complaint *c, const struct json_field *f, const json_t *array,
                       size_t longest)
{
    int64_t max = f->max ? f->max : ITEMS_MAX;
    size_t count = json_array_size(array);

    if ((int64_t)count > max)
        return complain(c, "has too many items");
    if ((int64_t)count < f->min)
        return complain(c, count == 0 ? "must not be empty" : "has too few items");
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);

        if (!json_is_string(item))
            return complain(c, "must hold strings only");
        if (json_string_length(item) > longest)
            return complain(c, "has an item that is too long");
    }
    return 0;
}

/* Splits at commas; spaces around an item and empty items are dropped, as Vault does. */
static int split_commas(const char *s, json_t **out)
{
    _cleanup_json_ json_t *array = json_array();

    if (!array)
        return -ENOMEM;
    for (;;) {
        size_t n = strcspn(s, ","), lead = strspn(s, " \t"), len;

        len = lead < n ? n : lead;
        while (len > lead && (s[len - 1] == ' ' || s[len - 1] == '\t'))
            len--;
        if (len > lead &&
            json_array_append_new(array, json_stringn_nocheck(s + lead, len - lead)) < 0)
            return -ENOMEM;
        if (s[n] == '\0')
            break;
        s += n + 1;
    }
    *out = json_incref(array);
    return 0;
}

static int check_strings(const struct complaint *c, const struct json_field *f, json_t *v,
                         json_t **norm)
{
    int r;

    if (json_is_array(v))
        return check_items(c, f, v, STRING_MAX);
    if (!json_is_string(v))
        return complain(c, "must be a list of strings");
    if (json_string_length(v) > STATEMENT_MAX)
        return complain(c, "is too long");
    r = split_commas(json_string_value(v), norm);
    return r < 0 ? r : check_items(c, f, *norm, STRING_MAX);
}

static int check_statements(const struct complaint *c, const struct json_field *f, json_t *v,
                            json_t **norm)
{
    if (json_is_array(v))
        return check_items(c, f, v, STATEMENT_MAX);
    if (!json_is_string(v))
        return complain(c, "must be a list of strings");
    *norm = json_array();
    if (!*norm)
        return -ENOMEM;
    if (json_string_length(v) > 0 && json_array_append(*norm, v) < 0)
        return -ENOMEM;
    return check_items(c, f, *norm, STATEMENT_MAX);
}

static int check_object(const struct complaint *c, _unused_ const struct json_field *f, json_t *v,
                        _unused_ json_t **norm)
{
    return json_is_object(v) ? 0 : complain(c, "must be an object");
}

static int check_any(_unused_ const struct complaint *c, _unused_ const struct json_field *f,
                     _unused_ json_t *v, _unused_ json_t **norm)
{
    return 0;
}

static const check_fn checks[] = {
    [JSON_KIND_STRING] = check_string,   [JSON_KIND_INT] = check_int,
    [JSON_KIND_BOOL] = check_bool,       [JSON_KIND_DURATION] = check_duration,
    [JSON_KIND_STRINGS] = check_strings, [JSON_KIND_STATEMENTS] = check_statements,
    [JSON_KIND_OBJECT] = check_object,   [JSON_KIND_ANY] = check_any,
};

static int check_field(json_t *obj, const struct json_field *f, char *why, size_t whylen)
{
    const struct complaint c = {.why = why, .len = whylen, .field = f->name};
    json_t *v = json_object_get(obj, f->name);
    _cleanup_json_ json_t *norm = NULL;
    int r;

    if (!v || json_is_null(v))
        return f->required ? complain(&c, "is missing") : 0;
    if ((size_t)f->kind >= ARRAY_LEN(checks))
        return complain(&c, "has no known kind");
    r = checks[f->kind](&c, f, v, &norm);
    if (r < 0)
        return r;
    if (norm && json_object_set(obj, f->name, norm) < 0)
        return -ENOMEM;
    return 0;
}

static int refuse_unknown(json_t *obj, const struct json_field *schema, char *why, size_t whylen)
{
    const char *key;
    json_t *v;

    json_object_foreach(obj, key, v)
    {
        _cleanup_buf_ struct buf shown = BUF_INIT(64);
        const struct json_field *f = schema;

        while (f->name && strcmp(f->name, key) != 0)
            f++;
        if (f->name)
            continue;
        encode_printable(&shown, key, shown.max);
        (void)snprintf(why, whylen, "unknown field '%s'", buf_str(&shown));
        return -EINVAL;
    }
    return 0;
}

int json_check(json_t *obj, const struct json_field *schema, bool strict, char *why, size_t whylen)
{
    if (whylen > 0)
        why[0] = '\0';
    if (obj && !json_is_object(obj)) {
        (void)snprintf(why, whylen, "a JSON object is expected");
        return -EINVAL;
    }
    for (const struct json_field *f = schema; f->name; f++) {
        int r = check_field(obj, f, why, whylen);

        if (r < 0)
            return r;
    }
    return strict ? refuse_unknown(obj, schema, why, whylen) : 0;
}

/* --- Reading and setting members ----------------------------------------------------------------
 */

const char *json_str(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

const char *json_str_or(const json_t *obj, const char *key, const char *dflt)
{
    const char *s = json_str(obj, key);

    return s ? s : dflt;
}

int64_t json_int(const json_t *obj, const char *key, int64_t dflt)
{
    const json_t *v = json_object_get(obj, key);

    return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool json_bool(const json_t *obj, const char *key, bool dflt)
{
    const json_t *v = json_object_get(obj, key);

    return json_is_boolean(v) ? json_is_true(v) : dflt;
}

int json_set_str(json_t *obj, const char *key, const char *value)
{
    if (value && !encode_is_utf8(value, strlen(value)))
        return -EINVAL;
    return json_object_set_new(obj, key, value ? json_string_nocheck(value) : json_null()) < 0
               ? -ENOMEM
               : 0;
}

int json_set_int(json_t *obj, const char *key, int64_t value)
{
    return json_object_set_new(obj, key, json_integer(value)) < 0 ? -ENOMEM : 0;
}

int json_set_bool(json_t *obj, const char *key, bool value)
{
    return json_object_set_new(obj, key, json_boolean(value)) < 0 ? -ENOMEM : 0;
}

json_t *json_stamp(int64_t wall_ms)
{
    char text[CLOCK_STAMP_LEN];
    if (!wall_ms)
        return json_null();
    clock_stamp(wall_ms, 0, text);
    return json_string(text);
}

int json_append_text(json_t *list, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return json_array_append_new(list, json_string(text)) < 0 ? -ENOMEM : 0;
}

bool json_has_str(const json_t *array, const char *s)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *item = json_string_value(json_array_get(array, i));

        if (item && strcmp(item, s) == 0)
            return true;
    }
    return false;
}
