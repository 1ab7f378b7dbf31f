/* Showing a connection string without its secrets.
 *
 * libpq has parameters that are secrets, and gets new ones; so a value is shown only when its name
 * is known to be harmless. What can't be read is not shown at all. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "engine/database_inner.h"

#define HIDDEN "*****"

static bool is(const char *p, size_t n, const char *word)
{
    return strlen(word) == n && strncasecmp(p, word, n) == 0;
}

static bool harmless(const char *name, size_t n)
{
    static const char *const names[] = {
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslcrl",
        "sslcrldir",
        "sslcompression",
        "sslsni",
        "application_name",
        "fallback_application_name",
        "connect_timeout",
        "client_encoding",
        "target_session_attrs",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "channel_binding",
        "gssencmode",
        "krbsrvname",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "load_balance_hosts",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (is(name, n, names[i]))
            return true;
    }
    return false;
}

static void put_value(struct buf *out, bool show, const char *p, size_t n)
{
    if (show || is(p, n, "{{password}}"))
        buf_put(out, p, n);
    else
        buf_puts(out, HIDDEN);
}

/* --- postgresql://user:password@host/db?name=value&… ---------------------------------------------
 */

/* Of several '@' the last counts: rather a host hidden than half a password shown. */
static const char *end_of_account(const char *p, size_t n)
{
    for (size_t i = n; i > 0; i--) {
        if (p[i - 1] == '@')
            return p + i - 1;
    }
    return NULL;
}

/* p: "" or "?…". A piece without a name might be anything. */
static void mask_query(const char *p, struct buf *out)
{
    while (*p) {
        buf_putc(out, *p++);
        size_t n = strcspn(p, "&"), name = strcspn(p, "=&");
        if (name < n) {
            buf_put(out, p, name);
            buf_putc(out, '=');
            put_value(out, harmless(p, name), p + name + 1, n - name - 1);
        } else if (n > 0) {
            buf_puts(out, HIDDEN);
        }
        p += n;
    }
}

static void mask_uri(const char *url, struct buf *out)
{
    const char *p = strstr(url, "://") + 3;
    size_t n = strcspn(p, "?");
    const char *at = end_of_account(p, n);
    /* A '?' inside the password: what is behind it can't be told apart. */
    if (!at && strchr(p + n, '@')) {
        buf_puts(out, HIDDEN);
        return;
    }
    buf_put(out, url, (size_t)(p - url));
    if (at) {
        size_t user = strcspn(p, ":@");
        buf_put(out, p, user);
        if (p + user < at) {
            buf_putc(out, ':');
            put_value(out, false, p + user + 1, (size_t)(at - p) - user - 1);
        }
        buf_put(out, at, n - (size_t)(at - p));
    } else {
        buf_put(out, p, n);
    }
    mask_query(p + n, out);
}

/* --- name = value, values in '…' with backslashes ------------------------------------------------
 */

#define SPACE " \t\r\n\f\v"

/* The length of the value at p; 0 with *bad when a quote does not end. */
static size_t value_length(const char *p, bool *bad)
{
    bool quoted = *p == '\'';
    size_t n = quoted;
    for (; p[n]; n++) {
        if (quoted ? p[n] == '\'' : strchr(SPACE, p[n]) != NULL)
            return n + quoted;
        if (p[n] == '\\' && p[n + 1])
            n++;
    }
    *bad = quoted;
    return n;
}

static int mask_words(const char *p, struct buf *out)
{
    for (p += strspn(p, SPACE); *p; p += strspn(p, SPACE)) {
        bool bad = false;
        size_t name = strcspn(p, "=" SPACE);
        const char *value = p + name + strspn(p + name, SPACE);
        if (name == 0 || *value != '=')
            return -EINVAL;
        value++;
        value += strspn(value, SPACE);
        size_t n = value_length(value, &bad);
        if (bad)
            return -EINVAL;
        if (out->len)
            buf_putc(out, ' ');
        buf_put(out, p, name);
        buf_putc(out, '=');
        put_value(out, harmless(p, name), value, n);
        p = value + n;
    }
    return 0;
}

int database_url_mask(const char *url, struct buf *out)
{
    if (strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0)
        mask_uri(url, out);
    else if (mask_words(url, out) < 0) {
        buf_reset(out);
        buf_puts(out, HIDDEN);
    }
    return buf_error(out);
}
