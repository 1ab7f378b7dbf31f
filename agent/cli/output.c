#include "cli/output.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"

#define TEXT_MAX (8u * 1024 * 1024)

/* A terminal over ssh often has no locale set; it is UTF-8 nevertheless. Only a locale that was set
 * to something else counts as something else. */
static bool terminal_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = getenv(names[i]);

        if (v && v[0])
            return strcasestr(v, "utf-8") || strcasestr(v, "utf8") || strcmp(v, "C") == 0 ||
                   strcmp(v, "POSIX") == 0;
    }
    return true;
}

void output_init(struct output *o, bool no_color)
{
    const char *term = getenv("TERM"), *never = getenv("NO_COLOR");
    struct winsize ws;

    *o = (struct output){0};
    o->terminal = isatty(STDOUT_FILENO) == 1;
    o->utf8 = terminal_is_utf8();
    o->color =
        o->terminal && !no_color && !(never && never[0]) && term && strcmp(term, "dumb") != 0;
    if (o->terminal) {
        o->width = 80;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
            o->width = ws.ws_col;
    }
}

int output_finish(void)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return errno ? -errno : -EIO;
    return 0;
}

const char *output_color(const struct output *o, enum output_style style)
{
    static const char *const escapes[] = {
        [OUTPUT_PLAIN] = "\033[0m", [OUTPUT_BOLD] = "\033[1m",  [OUTPUT_GOOD] = "\033[32m",
        [OUTPUT_BAD] = "\033[31m",  [OUTPUT_WARN] = "\033[33m", [OUTPUT_DIM] = "\033[2m",
    };

    return o->color ? escapes[style] : "";
}

const char *output_mark(const struct output *o, bool good)
{
    if (o->utf8)
        return good ? "✓" : "✗";
    return good ? "+" : "-";
}

void output_clean(struct buf *b, const char *s)
{
    for (;;) {
        size_t n = strcspn(s, "\n");
        char *line = mem_dup(s, n);

        if (!line) {
            b->error = b->error ? b->error : -ENOMEM;
            return;
        }
        for (size_t i = 0; i < n; i++)
            if (line[i] == '\t')
                line[i] = ' ';
        encode_printable(b, line, n);
        mem_free_str(line);
        if (!s[n])
            return;
        buf_putc(b, '\n');
        s += n + 1;
    }
}

static void put_message(const char *lead, const char *fmt, va_list ap) _printf_(2, 0);
static void put_message(const char *lead, const char *fmt, va_list ap)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(TEXT_MAX);
    char *text = NULL;

    fflush(stdout);
    if (vasprintf(&text, fmt, ap) < 0) {
        fprintf(stderr, "%sout of memory\n", lead);
        return;
    }
    output_clean(&clean, text);
    mem_free_str(text);
    fprintf(stderr, "%s%s\n", lead, buf_error(&clean) < 0 ? "out of memory" : buf_str(&clean));
}

void output_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_message("Error: ", fmt, ap);
    va_end(ap);
}

void output_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_message("", fmt, ap);
    va_end(ap);
}

/* The shortest decimal form that reads back as the same number. */
static void put_real(struct buf *b, double d)
{
    char text[40];

    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, d);
        if (strtod(text, NULL) == d)
            break;
    }
    buf_puts(b, text);
}

static bool all_scalars(const json_t *array)
{
    const json_t *v;
    size_t i;

    json_array_foreach(array, i, v) if (json_is_object(v) || json_is_array(v)) return false;
    return true;
}

static void put_list(struct buf *b, const json_t *array)
{
    const json_t *v;
    size_t i;

    buf_putc(b, '[');
    json_array_foreach(array, i, v)
    {
        if (i > 0)
            buf_putc(b, ' ');
        output_value(b, v);
    }
    buf_putc(b, ']');
}

void output_value(struct buf *b, const json_t *v)
{
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_STRING:
        buf_puts(b, json_string_value(v));
        break;
    case JSON_INTEGER:
        buf_putf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        put_real(b, json_real_value(v));
        break;
    case JSON_NULL:
        buf_puts(b, "n/a");
        break;
    case JSON_ARRAY:
        if (all_scalars(v)) {
            put_list(b, v);
            break;
        }
        json_put(b, v);
        break;
    default:
        json_put(b, v);
        break;
    }
}

/* --- JSON ---------------------------------------------------------------------------------------
 */

/* Characters that a terminal would obey: DEL, C1 and the bidirectional controls, as \u escapes. The
 * text is well-formed UTF-8 inside a JSON string. Returns how many bytes were dealt with, 0: none.
 */
static size_t put_escaped(const unsigned char *p, size_t n)
{
    unsigned point = 0;
    size_t len = 0;

    if (p[0] == 0x7f) {
        point = 0x7f;
        len = 1;
    } else if (n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        point = p[1];
        len = 2;
    } else if (n >= 3 && p[0] == 0xe2 && (p[1] == 0x80 || p[1] == 0x81)) {
        point = 0x2000u + (p[1] & 1u) * 0x40u + (p[2] & 0x3fu);
        if (point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
            (point >= 0x2066 && point <= 0x2069))
            len = 3;
    } else if (n >= 2 && p[0] == 0xd8 && p[1] == 0x9c) {
        point = 0x61c;
        len = 2;
    }
    if (len > 0)
        printf("\\u%04x", point);
    return len;
}

static size_t put_string(const char *text, size_t n)
{
    size_t i = 1;

    putchar('"');
    while (i < n && text[i] != '"') {
        size_t skip = put_escaped((const unsigned char *)text + i, n - i);

        if (skip > 0) {
            i += skip;
            continue;
        }
        if (text[i] == '\\' && i + 1 < n)
            putchar(text[i++]);
        putchar(text[i++]);
    }
    putchar('"');
    return i + 1;
}

static void put_break(unsigned depth)
{
    printf("\n%*s", (int)(2 * depth), "");
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether the bracket at text[i] closes at once; *end is then its closing place. */
static bool is_empty_pair(const char *text, size_t n, size_t i, size_t *end)
{
    for (*end = i + 1; *end < n && is_space(text[*end]);)
        ++*end;
    return *end < n && (text[*end] == '}' || text[*end] == ']');
}

void output_json_text(const char *text, size_t n)
{
    unsigned depth = 0;
    size_t end;

    for (size_t i = 0; i < n;) {
        char c = text[i];

        if (c == '"') {
            i += put_string(text + i, n - i);
            continue;
        }
        if ((c == '{' || c == '[') && is_empty_pair(text, n, i, &end)) {
            printf("%c%c", c, text[end]);
            i = end + 1;
            continue;
        }
        if (c == '}' || c == ']')
            put_break(--depth);
        if (!is_space(c))
            putchar(c);
        if (c == '{' || c == '[')
            put_break(++depth);
        else if (c == ',')
            put_break(depth);
        else if (c == ':')
            putchar(' ');
        i++;
    }
    putchar('\n');
}

int output_json(const json_t *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4 * TEXT_MAX);

    json_put(&b, v);
    if (buf_error(&b) < 0)
        return buf_error(&b);
    output_json_text(buf_str(&b), b.len);
    return 0;
}

int output_raw(const struct output *o, const json_t *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4 * TEXT_MAX);

    if (json_is_object(v) || json_is_array(v) || o->format == OUTPUT_JSON)
        return output_json(v);
    output_value(&b, v);
    if (buf_error(&b) < 0)
        return buf_error(&b);
    fwrite(buf_str(&b), 1, b.len, stdout);
    if (o->terminal)
        putchar('\n');
    return 0;
}

/* --- Time ---------------------------------------------------------------------------------------
 */

static bool stamp_seconds(const json_t *v, int64_t *seconds)
{
    int64_t ms;

    if (json_is_integer(v)) {
        *seconds = json_integer_value(v);
        return true;
    }
    if (!json_is_string(v) || clock_parse_stamp(json_string_value(v), &ms) < 0)
        return false;
    *seconds = ms / 1000;
    return true;
}

void output_when(const json_t *v, char *out, size_t size)
{
    int64_t at, away;
    char span[32];

    out[0] = '\0';
    if (!stamp_seconds(v, &at))
        return;
    away = at - clock_wall_s();
    clock_human(away < 0 ? -away : away, span, sizeof(span));
    if (away == 0)
        snprintf(out, size, "now");
    else
        snprintf(out, size, away < 0 ? "%s ago" : "in %s", span);
}

void output_stamp(const json_t *v, char *out, size_t size)
{
    int64_t at;
    struct tm tm;
    time_t t;

    out[0] = '\0';
    if (!stamp_seconds(v, &at))
        return;
    t = (time_t)at;
    if (!localtime_r(&t, &tm) || strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        out[0] = '\0';
}

void output_size(int64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1024;
    snprintf(out, size, i && v < 10 ? "%.1f %s" : "%.0f %s", v, units[i]);
}
