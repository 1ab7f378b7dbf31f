#include "cli/otpfile.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define URI "otpauth://"
#define MIGRATION "otpauth-migration://"
#define VALUE_MAX 256
#define HOTP_ADVICE                                                                                \
    "it is counter based (HOTP), which is not supported here: enrol a time-based one with "        \
    "\"countersign factor enroll\""

void otpfile_clear(struct otpfile *f)
{
    mem_wipe(f, sizeof(*f));
}

static int refuse(char *why, size_t whylen, const char *text)
{
    (void)snprintf(why, whylen, "%s", text);
    return -EINVAL;
}

/* A number of at most five digits, a sign in front allowed. */
static bool read_number(const char *s, size_t n, int *out)
{
    bool minus = n > 0 && s[0] == '-';
    int value = 0;

    if (n - minus < 1 || n - minus > 5)
        return false;
    for (size_t i = minus; i < n; i++) {
        if (!isdigit((unsigned char)s[i]))
            return false;
        value = value * 10 + (s[i] - '0');
    }
    *out = minus ? -value : value;
    return true;
}

static int take_secret(const char *s, size_t n, struct otpfile *out, char *why, size_t whylen)
{
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        if (s[i] == ' ' || s[i] == '-' || s[i] == '=')
            continue;
        if (!isalpha((unsigned char)s[i]) && (s[i] < '2' || s[i] > '7'))
            return refuse(why, whylen, "its secret is not base32 (A to Z, 2 to 7)");
        if (to == OTPFILE_SECRET_MAX)
            return refuse(why, whylen, "its secret is too long");
        out->secret[to++] = s[i];
    }
    out->secret[to] = '\0';
    return to > 0 ? 0 : refuse(why, whylen, "it has no secret");
}

/* --- otpauth://totp/LABEL?secret=…&… ------------------------------------------------------------
 */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Undoes %XX. False for a malformed or a too long one, or a NUL inside. */
static bool unescape(const char *s, size_t n, char out[VALUE_MAX + 1])
{
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        char c = s[i];

        if (c == '%') {
            int high = i + 2 < n ? hex_digit(s[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(s[i + 2]) : -1;

            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0' || to == VALUE_MAX)
            return false;
        out[to++] = c;
    }
    out[to] = '\0';
    return true;
}

enum { PARAM_SECRET = 1, PARAM_ALGORITHM = 2, PARAM_DIGITS = 4, PARAM_PERIOD = 8 };

static int set_param(int which, const char *value, struct otpfile *out, char *why, size_t whylen)
{
    size_t n = strlen(value);

    if (which == PARAM_SECRET)
        return take_secret(value, n, out, why, whylen);
    if (which == PARAM_ALGORITHM) {
        if (n == 0 || n >= sizeof(out->algorithm))
            return refuse(why, whylen, "its algorithm is none of SHA1, SHA256 and SHA512");
        memcpy(out->algorithm, value, n + 1);
        return 0;
    }
    if (!read_number(value, n, which == PARAM_DIGITS ? &out->digits : &out->period))
        return refuse(why, whylen, "its digits or period are no number");
    return 0;
}

static int param_of(const char *s, size_t n)
{
    static const struct {
        const char *name;
        int which;
    } rows[] = {{"secret", PARAM_SECRET},
                {"algorithm", PARAM_ALGORITHM},
                {"digits", PARAM_DIGITS},
                {"period", PARAM_PERIOD}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strlen(rows[i].name) == n && strncasecmp(rows[i].name, s, n) == 0)
            return rows[i].which;
    return 0; /* issuer, image and whatever else: for an app's eyes */
}

static int take_param(const char *s, size_t n, int *seen, struct otpfile *out, char *why,
                      size_t whylen)
{
    const char *equals = memchr(s, '=', n);
    size_t name = equals ? (size_t)(equals - s) : n;
    int which = param_of(s, name), e;
    char value[VALUE_MAX + 1];

    if (!which)
        return 0;
    if (*seen & which)
        return refuse(why, whylen, "one of its parameters is given twice");
    *seen |= which;
    if (!equals || !unescape(equals + 1, n - name - 1, value))
        e = refuse(why, whylen, "one of its parameters is malformed");
    else
        e = set_param(which, value, out, why, whylen);
    mem_wipe(value, sizeof(value));
    return e;
}

static int parse_uri(const char *s, size_t n, struct otpfile *out, char *why, size_t whylen)
{
    const char *type = s + strlen(URI), *end = s + n;
    const char *slash = memchr(type, '/', (size_t)(end - type));
    const char *query = slash ? memchr(slash, '?', (size_t)(end - slash)) : NULL;
    int seen = 0;

    if (slash && slash - type == 4 && strncasecmp(type, "hotp", 4) == 0)
        return refuse(why, whylen, HOTP_ADVICE);
    if (!query || slash - type != 4 || strncasecmp(type, "totp", 4) != 0)
        return refuse(why, whylen, "it is no otpauth://totp/NAME?secret=… URI");
    for (const char *p = query + 1; p < end;) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp ? amp : end;
        int e = take_param(p, (size_t)(stop - p), &seen, out, why, whylen);

        if (e < 0)
            return e;
        p = stop + 1;
    }
    return seen & PARAM_SECRET ? 0 : refuse(why, whylen, "it has no secret");
}

/* --- ~/.google_authenticator ---------------------------------------------------------------------
 *
 * The secret; then options, each a line that begins with a quotation mark and a space; then what is
 * left of the emergency scratch codes, eight digits a line. */

struct options {
    bool totp, hotp;
};

static bool is_option(const char *s, size_t n, const char *name, const char **value, size_t *len)
{
    size_t k = strlen(name);

    if (n < k || strncmp(s, name, k) != 0 || (n > k && s[k] != ' '))
        return false;
    while (k < n && s[k] == ' ')
        k++;
    *value = s + k;
    *len = n - k;
    return true;
}

static int take_option(const char *s, size_t n, struct options *o, struct otpfile *out, char *why,
                       size_t whylen)
{
    const char *value;
    size_t len;

    if (is_option(s, n, "TOTP_AUTH", &value, &len))
        o->totp = true;
    else if (is_option(s, n, "HOTP_COUNTER", &value, &len))
        o->hotp = true;
    else if (is_option(s, n, "STEP_SIZE", &value, &len) && !read_number(value, len, &out->period))
        return refuse(why, whylen, "its STEP_SIZE is no number");
    else if (is_option(s, n, "TIME_SKEW", &value, &len) && !read_number(value, len, &out->skew))
        return refuse(why, whylen, "its TIME_SKEW is no number");
    return 0; /* the others (WINDOW_SIZE, RATE_LIMIT, …) are the agent's own affair here */
}

static bool is_scratch(const char *s, size_t n)
{
    if (n != 8)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return true;
}

static int parse_lines(const char *s, size_t n, struct otpfile *out, char *why, size_t whylen)
{
    struct options o = {0};
    const char *end = s + n;

    for (size_t line = 0; s < end; line++) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        size_t len = (size_t)((nl ? nl : end) - s);
        int e = 0;

        if (len > 0 && s[len - 1] == '\r')
            len--;
        if (line == 0)
            e = take_secret(s, len, out, why, whylen);
        else if (len > 2 && s[0] == '"' && s[1] == ' ')
            e = take_option(s + 2, len - 2, &o, out, why, whylen);
        else if (is_scratch(s, len))
            out->emergency++;
        else if (len > 0)
            e = refuse(why, whylen, "it is no file of google-authenticator");
        if (e < 0)
            return e;
        s = nl ? nl + 1 : end;
    }
    if (o.hotp)
        return refuse(why, whylen, HOTP_ADVICE);
    return o.totp ? 0 : refuse(why, whylen, "it is no file of google-authenticator (no TOTP_AUTH)");
}

int otpfile_parse(const char *text, size_t n, struct otpfile *out, char *why, size_t whylen)
{
    *out = (struct otpfile){.algorithm = "SHA1", .digits = 6, .period = 30};
    if (n > OTPFILE_MAX || memchr(text, '\0', n))
        return refuse(why, whylen, "it is no file of google-authenticator and no otpauth URI");
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    while (n > 0 && isspace((unsigned char)*text))
        text++, n--;
    if (n == 0)
        return refuse(why, whylen, "it is empty");
    if (n >= strlen(MIGRATION) && strncasecmp(text, MIGRATION, strlen(MIGRATION)) == 0)
        return refuse(
            why, whylen,
            "it is an app's export of several accounts: import each by its own otpauth://totp URI");
    int e = n >= strlen(URI) && strncasecmp(text, URI, strlen(URI)) == 0
                ? parse_uri(text, n, out, why, whylen)
                : parse_lines(text, n, out, why, whylen);
    if (e < 0)
        otpfile_clear(out);
    return e;
}
