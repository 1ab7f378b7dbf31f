#include "server/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes n bytes into new text; plus: '+' means a space. -EINVAL on a bad escape or what no path
 * or value may hold. */
static int unescape(const char *p, size_t n, bool plus, char **out, char *why, size_t whylen)
{
    _cleanup_(freep) char *text = malloc(n + 1);
    size_t len = 0;
    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            bool whole = n - i > 2;
            int hi = whole ? hex_value(p[i + 1]) : -1;
            int lo = whole ? hex_value(p[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                snprintf(why, whylen, "malformed %%-escape in the request's path or query");
                return -EINVAL;
            }
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f) {
            snprintf(why, whylen, "control bytes are not allowed in the request's path or query");
            return -EINVAL;
        }
        text[len++] = c;
    }
    text[len] = '\0';
    if (len > 0 && !encode_is_utf8(text, len)) {
        snprintf(why, whylen, "the request's path or query is not UTF-8");
        return -EINVAL;
    }
    *out = text;
    text = NULL;
    return 0;
}

/* No empty, "." or ".." segment; one '/' at the very end is fine. */
static bool segments_fine(const char *path)
{
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
        if (*p == '/')
            p++;
    }
    return true;
}

int path_decode(const char *raw, char **out, char *why, size_t whylen)
{
    if (strncmp(raw, "/v1/", 4) != 0)
        return -ENOENT;
    _cleanup_(freep) char *text = NULL;
    int r = unescape(raw + 4, strlen(raw + 4), false, &text, why, whylen);
    if (r < 0)
        return r;
    if (strlen(text) > PATH_TEXT_MAX) {
        snprintf(why, whylen, "the path is longer than %d bytes", PATH_TEXT_MAX);
        return -EINVAL;
    }
    if (!segments_fine(text)) {
        snprintf(why, whylen, "a path has no empty, \".\" or \"..\" segments");
        return -EINVAL;
    }
    *out = text;
    text = NULL;
    return 0;
}

static int add_pair(json_t *obj, const char *p, size_t n, char *why, size_t whylen)
{
    const char *eq = memchr(p, '=', n);
    size_t name_len = eq ? (size_t)(eq - p) : n;
    _cleanup_(freep) char *name = NULL;
    _cleanup_secret_ char *value = NULL;
    int r = unescape(p, name_len, true, &name, why, whylen);
    if (r == 0)
        r = eq ? unescape(eq + 1, n - name_len - 1, true, &value, why, whylen)
               : unescape("", 0, true, &value, why, whylen);
    if (r < 0)
        return r;
    if (json_object_get(obj, name)) {
        snprintf(why, whylen, "a query parameter is given twice");
        return -EINVAL;
    }
    return json_set_str(obj, name, value);
}

int path_query(const char *raw, json_t **out, char *why, size_t whylen)
{
    *out = NULL;
    if (!raw[0])
        return 0;
    _cleanup_json_ json_t *obj = json_object();
    if (!obj)
        return -ENOMEM;
    for (const char *p = raw; *p;) {
        size_t n = strcspn(p, "&");
        int r = n > 0 ? add_pair(obj, p, n, why, whylen) : 0;
        if (r < 0)
            return r;
        p += n;
        if (*p == '&')
            p++;
    }
    *out = json_incref(obj);
    return 0;
}
