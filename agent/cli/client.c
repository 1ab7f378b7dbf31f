#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <countersign/api.h>

struct client {
    char *address;
    char *socket; /* path of the Unix socket; NULL over TCP */
    char *base;   /* "http://localhost", without a trailing slash */
    struct curl_slist *headers;
    bool token;
    long limit_s;
    CURL *curl;
};

void reply_clear(struct reply *r)
{
    buf_clear(&r->body);
    json_decref(r->json);
    *r = (struct reply){0};
}

const json_t *reply_data(const struct reply *r)
{
    const json_t *data = json_object_get(r->json, "data");

    if (json_is_object(data))
        return data;
    return json_is_object(r->json) ? r->json : NULL;
}

void client_escape(struct buf *b, const char *s, bool slashes)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *s; s++) {
        if (strchr(plain, *s) || (slashes && *s == '/'))
            buf_putc(b, *s);
        else
            buf_putf(b, "%%%02X", (unsigned char)*s);
    }
}

/* A token over the network would be readable on the way: only this host's own loopback is taken. */
static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        size_t n = strlen(hosts[i]);

        if (strncmp(url, hosts[i], n) != 0)
            continue;
        url += n;
        if (*url == ':')
            url += 1 + strspn(url + 1, "0123456789");
        return *url == '\0' || strcmp(url, "/") == 0;
    }
    return false;
}

static int set_address(struct client *c, const char *address, char *why, size_t whylen)
{
    const char *path = strncmp(address, "unix://", 7) == 0 ? address + 7 : address;

    c->address = mem_dup(address, strlen(address));
    if (!c->address)
        return -ENOMEM;
    if (path[0] == '/') {
        if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
            snprintf(why, whylen, "the address %s is too long for a Unix socket", address);
            return -EINVAL;
        }
        c->socket = mem_dup(path, strlen(path));
        c->base = mem_dup("http://localhost", strlen("http://localhost"));
        return c->socket && c->base ? 0 : -ENOMEM;
    }
    if (!is_loopback(address)) {
        snprintf(why, whylen,
                 "the address \"%s\" is not this host's agent. It is unix:///PATH or "
                 "http://127.0.0.1:PORT; give -address, or set COUNTERSIGN_ADDR (it comes before "
                 "VAULT_ADDR)",
                 address);
        return -EINVAL;
    }
    c->base = mem_dup(address, strlen(address) - (address[strlen(address) - 1] == '/'));
    return c->base ? 0 : -ENOMEM;
}

static int add_header(struct client *c, const char *name, const char *value)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * 1024);
    struct curl_slist *list;

    buf_putf(&b, "%s: %s", name, value);
    if (buf_error(&b) < 0)
        return buf_error(&b);
    list = curl_slist_append(c->headers, buf_str(&b));
    if (!list)
        return -ENOMEM;
    c->headers = list;
    return 0;
}

static int set_headers(struct client *c, const char *token, char *why, size_t whylen)
{
    int r = add_header(c, "X-Vault-Request", "true");

    if (r == 0)
        r = add_header(c, "Content-Type", "application/json");
    if (r == 0)
        r = add_header(c, "Expect", ""); /* no 100-continue */
    if (r < 0 || !token)
        return r;
    if (token[strspn(token,
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")]) {
        snprintf(why, whylen, "the token has characters that no token has");
        return -EINVAL;
    }
    c->token = true;
    return add_header(c, API_TOKEN_HEADER, token);
}

int client_new(const char *address, const char *token, struct client **out, char *why,
               size_t whylen)
{
    _cleanup_(client_freep) struct client *c = calloc(1, sizeof(*c));
    int r;

    *out = NULL;
    snprintf(why, whylen, "out of memory");
    if (!c)
        return -ENOMEM;
    c->limit_s = CLIENT_TIMEOUT_S;
    r = set_address(c, address, why, whylen);
    if (r == 0)
        r = set_headers(c, token, why, whylen);
    if (r < 0)
        return r;
    c->curl = curl_easy_init();
    if (!c->curl)
        return -ENOMEM;
    *out = c;
    c = NULL;
    return 0;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    for (struct curl_slist *h = c->headers; h; h = h->next)
        mem_wipe(h->data, strlen(h->data));
    curl_slist_free_all(c->headers);
    curl_easy_cleanup(c->curl);
    free(c->address);
    free(c->socket);
    free(c->base);
    free(c);
}

const char *client_address(const struct client *c)
{
    return c->address;
}

bool client_has_token(const struct client *c)
{
    return c->token;
}

void client_limit(struct client *c, long seconds)
{
    c->limit_s = seconds;
}

static size_t receive(char *p, size_t size, size_t n, void *data)
{
    struct reply *r = data;

    buf_put(&r->body, p, size * n);
    return buf_error(&r->body) < 0 ? 0 : size * n;
}

/* Why a Unix socket could not be connected to: curl only says that it couldn't. */
static int probe_socket(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd, r = 0;

    memcpy(sa.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        r = -errno;
    close(fd);
    return r;
}

static int transport_error(struct client *c, CURLcode code, const struct reply *r, char *why,
                           size_t whylen)
{
    int e = -EIO;

    if (code == CURLE_COULDNT_CONNECT)
        e = c->socket ? probe_socket(c->socket) : -ECONNREFUSED;
    else if (code == CURLE_OPERATION_TIMEDOUT)
        e = -ETIMEDOUT;
    else if (code == CURLE_OUT_OF_MEMORY)
        e = -ENOMEM;
    else if (code == CURLE_WRITE_ERROR)
        e = buf_error(&r->body);
    if (e == 0)
        e = -EIO;
    snprintf(why, whylen, "%s: %s", c->address,
             e == -EIO ? curl_easy_strerror(code) : strerror(-e));
    return e;
}

static int put_url(struct client *c, const char *path, const char *query, struct buf *url)
{
    buf_puts(url, c->base);
    buf_puts(url, API_PREFIX);
    client_escape(url, path, true);
    if (query) {
        buf_putc(url, '?');
        buf_puts(url, query);
    }
    return buf_error(url);
}

/* An agent that can't start leaves who asks waiting in its socket, which is systemd's. */
static long patience(const struct client *c, const char *path)
{
    long alive = strcmp(path, "sys/seal-status") == 0 ? CLIENT_ALIVE_S : CLIENT_TIMEOUT_S;
    return c->limit_s < alive ? c->limit_s : alive;
}

static void set_request(struct client *c, const char *method, const char *path,
                        const struct buf *body, struct reply *r)
{
    CURL *h = c->curl;

    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, patience(c, path));
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, r);
    if (c->socket)
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->socket);
    if (body) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, buf_str(body));
    }
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
}

/* An error page that is no JSON (a proxy's, a wrong address) is still an answer with a status. */
static int parse_body(struct client *c, struct reply *r, char *why, size_t whylen)
{
    char reason[256];
    int e;

    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &r->status);
    if (r->body.len == 0)
        return 0;
    e = json_parse(buf_str(&r->body), r->body.len, &r->json, reason, sizeof(reason));
    if (e == -EBADMSG && r->status >= 400)
        return 0;
    if (e < 0)
        snprintf(why, whylen, "the answer of %s is not what an agent says: %s", c->address,
                 e == -ENOMEM ? "out of memory" : reason);
    return e;
}

int client_request(struct client *c, const char *method, const char *path, const char *query,
                   const json_t *body, struct reply *r, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf url = BUF_INIT(16 * 1024), text = BUF_INIT(CLIENT_BODY_MAX);
    CURLcode code;

    reply_clear(r);
    r->body = BUF_INIT(CLIENT_BODY_MAX);
    if (put_url(c, path, query, &url) < 0) {
        snprintf(why, whylen, "the path is too long");
        return buf_error(&url);
    }
    if (body)
        json_put(&text, body);
    if (buf_error(&text) < 0) {
        snprintf(why, whylen, "the request is too large");
        return buf_error(&text);
    }
    curl_easy_reset(c->curl);
    set_request(c, method, path, body ? &text : NULL, r);
    curl_easy_setopt(c->curl, CURLOPT_URL, buf_str(&url));
    code = curl_easy_perform(c->curl);
    if (code != CURLE_OK)
        return transport_error(c, code, r, why, whylen);
    return parse_body(c, r, why, whylen);
}
