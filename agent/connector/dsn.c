#include "connector/dsn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define VALUE_MAX 16384

static int refuse(char *why, size_t whylen, const char *reason)
{
    (void)snprintf(why, whylen, "%s", reason);
    return -EINVAL;
}

static char *find(const struct dsn *d, const char *key)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->key[i], key) == 0)
            return d->value[i];
    }
    return NULL;
}

/* Sets a parameter, over what it was. */
static int set(struct dsn *d, const char *key, const char *value)
{
    char *copy = mem_dup(value, strlen(value));
    size_t i = 0;

    if (!copy)
        return -ENOMEM;
    while (i < d->count && strcmp(d->key[i], key) != 0)
        i++;
    if (i == d->count) {
        char *name = d->count < DSN_PARAMS_MAX ? mem_dup(key, strlen(key)) : NULL;

        if (!name) {
            mem_free_str(copy);
            return -ENOMEM;
        }
        d->key[d->count++] = name;
    }
    mem_free_str(d->value[i]);
    d->value[i] = copy;
    return 0;
}

static int set_default(struct dsn *d, const char *key, const char *value)
{
    return find(d, key) ? 0 : set(d, key, value);
}

/* --- The url's parameters. ------------------------------------------------------------------- */

static const char *const refused[] = {"service", "replication"};

/* Which placeholder may stand in which parameter. */
static const struct {
    const char *key, *placeholder;
} places[] = {
    {"user", "{{username}}"},
    {"dbname", "{{username}}"},
    {"password", "{{password}}"},
};

/* Appends text with the placeholder replaced; counts how often it was. */
static size_t replace(struct buf *b, const char *text, const char *placeholder, const char *value)
{
    size_t count = 0;
    const char *hit;

    for (; (hit = strstr(text, placeholder)); text = hit + strlen(placeholder), count++) {
        buf_put(b, text, (size_t)(hit - text));
        buf_puts(b, value);
    }
    buf_puts(b, text);
    return count;
}

struct account {
    const char *username, *password;
    bool username_used, password_used;
};

static int fill_in(const PQconninfoOption *o, struct account *a, struct buf *value)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        bool name = strcmp(places[i].placeholder, "{{username}}") == 0;

        if (strcmp(places[i].key, o->keyword) != 0)
            continue;
        if (replace(value, o->val, places[i].placeholder, name ? a->username : a->password) > 0)
            *(name ? &a->username_used : &a->password_used) = true;
        return buf_error(value) == -EMSGSIZE ? -EINVAL : buf_error(value);
    }
    if (strstr(o->val, "{{"))
        return -EINVAL;
    buf_puts(value, o->val);
    return buf_error(value) == -EMSGSIZE ? -EINVAL : buf_error(value);
}

static int take_option(struct dsn *d, const PQconninfoOption *o, struct account *a, char *why,
                       size_t whylen)
{
    struct buf value _cleanup_buf_ = BUF_INIT(VALUE_MAX);
    int r;

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (strcmp(o->keyword, refused[i]) == 0)
            return refuse(why, whylen, "the url may not set service or replication");
    }
    r = fill_in(o, a, &value);
    if (r == -EINVAL)
        return refuse(why, whylen,
                      "the url may hold {{username}} as the user, {{password}} as the password, "
                      "and no other placeholder");
    return r < 0 ? r : set(d, o->keyword, buf_str(&value));
}

static void free_options(PQconninfoOption *options)
{
    for (PQconninfoOption *o = options; o && o->keyword; o++) {
        if (o->val)
            mem_wipe(o->val, strlen(o->val));
    }
    PQconninfoFree(options);
}

static int read_url(struct dsn *d, const char *url, struct account *a, char *why, size_t whylen)
{
    char *message = NULL; /* may quote the password: not for showing */
    PQconninfoOption *options = PQconninfoParse(url, &message);
    int r = 0;

    if (message)
        mem_wipe(message, strlen(message));
    PQfreemem(message);
    if (!options)
        return refuse(why, whylen, "the url is not a libpq URI or connection string");
    for (PQconninfoOption *o = options; o->keyword && r == 0; o++) {
        if (o->val)
            r = take_option(d, o, a, why, whylen);
    }
    free_options(options);
    return r;
}

/* What every connection of ours has, unless the url says otherwise: no Kerberos, which would ask
 * its own servers in between, and a name to be found by in pg_stat_activity. */
static int set_ours(struct dsn *d, const struct account *a)
{
    int r = 0;

    if (!a->username_used && *a->username)
        r = set(d, "user", a->username);
    if (r == 0 && !a->password_used && *a->password)
        r = set(d, "password", a->password);
    if (r == 0)
        r = set_default(d, "gssencmode", "disable");
    if (r == 0)
        r = set_default(d, "application_name", "countersign-connector");
    if (r == 0)
        r = set(d, "client_encoding", "UTF8");
    return r;
}

/* --- Hosts. ---------------------------------------------------------------------------------- */

/* The i-th piece of a comma list, "" when there is none. NULL on lack of memory. */
static char *piece(const char *list, size_t i)
{
    const char *at = list ? list : "";

    while (i-- > 0) {
        at += strcspn(at, ",");
        if (*at == ',')
            at++;
    }
    return mem_dup(at, strcspn(at, ","));
}

static size_t pieces(const char *list)
{
    size_t n = 1;

    if (!list || *list == '\0')
        return 0;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

static bool needs_look_up(const char *name)
{
    uint8_t raw[sizeof(struct in6_addr)];

    return *name != '\0' && *name != '/' && *name != '@' && inet_pton(AF_INET, name, raw) != 1 &&
           inet_pton(AF_INET6, name, raw) != 1;
}

static int take_host(struct dsn *d, size_t i)
{
    const char *ports = find(d, "port");
    struct dsn_host *h = &d->host[i];
    char *address _cleanup_secret_ = piece(find(d, "hostaddr"), i);

    h->name = piece(find(d, "host"), i);
    h->port = piece(ports, pieces(ports) > 1 ? i : 0);
    if (!address || !h->name || !h->port)
        return -ENOMEM;
    if (*address)
        return dsn_add_address(d, i, address);
    h->look_up = needs_look_up(h->name);
    return 0;
}

static int take_hosts(struct dsn *d, char *why, size_t whylen)
{
    size_t names = pieces(find(d, "host")), addresses = pieces(find(d, "hostaddr"));
    size_t ports = pieces(find(d, "port"));
    size_t n = names > addresses ? names : addresses;
    int r = 0;

    if (n > DSN_HOSTS_MAX || (names && addresses && names != addresses) ||
        (ports > 1 && ports != n))
        return refuse(why, whylen, "the url has too many hosts, or not as many hosts as ports");
    for (d->hosts = 0; d->hosts < n && r == 0; d->hosts++)
        r = take_host(d, d->hosts);
    return r;
}

int dsn_build(const char *url, const char *username, const char *password, struct dsn *out,
              char *why, size_t whylen)
{
    struct account a = {.username = username, .password = password};
    int r;

    *out = (struct dsn){0};
    r = read_url(out, url, &a, why, whylen);
    if (r == 0)
        r = set_ours(out, &a);
    if (r == 0)
        r = take_hosts(out, why, whylen);
    if (r < 0)
        dsn_clear(out);
    return r;
}

int dsn_add_address(struct dsn *d, size_t i, const char *address)
{
    struct dsn_host *h = &d->host[i];

    h->look_up = false;
    if (h->addresses == DSN_ADDRESSES_MAX)
        return 0;
    h->address[h->addresses] = mem_dup(address, strlen(address));
    if (!h->address[h->addresses])
        return -ENOMEM;
    h->addresses++;
    return 0;
}

static void add_entry(struct buf *list, size_t entry, const char *text)
{
    if (entry > 0)
        buf_putc(list, ',');
    buf_puts(list, text);
}

int dsn_settle(struct dsn *d)
{
    struct buf names _cleanup_buf_ = BUF_INIT(VALUE_MAX);
    struct buf addresses _cleanup_buf_ = BUF_INIT(VALUE_MAX);
    struct buf ports _cleanup_buf_ = BUF_INIT(VALUE_MAX);
    size_t entry = 0;
    int r;

    if (d->hosts == 0)
        return 0;
    for (size_t i = 0; i < d->hosts; i++) {
        const struct dsn_host *h = &d->host[i];

        for (size_t k = 0; !h->absent && (k < h->addresses || k == 0); k++, entry++) {
            add_entry(&names, entry, h->name);
            add_entry(&addresses, entry, k < h->addresses ? h->address[k] : "");
            add_entry(&ports, entry, h->port);
        }
    }
    if (entry == 0)
        return -ENOENT;
    if (buf_error(&names) < 0 || buf_error(&addresses) < 0 || buf_error(&ports) < 0)
        return -ENOMEM;
    r = set(d, "host", buf_str(&names));
    if (r == 0)
        r = set(d, "hostaddr", buf_str(&addresses));
    if (r == 0)
        r = set(d, "port", buf_str(&ports));
    return r;
}

void dsn_clear(struct dsn *d)
{
    for (size_t i = 0; i < d->count; i++) {
        mem_free_str(d->key[i]);
        mem_free_str(d->value[i]);
    }
    for (size_t i = 0; i < DSN_HOSTS_MAX; i++) {
        struct dsn_host *h = &d->host[i];

        mem_free_str(h->name);
        mem_free_str(h->port);
        for (size_t k = 0; k < h->addresses; k++)
            mem_free_str(h->address[k]);
    }
    *d = (struct dsn){0};
}
