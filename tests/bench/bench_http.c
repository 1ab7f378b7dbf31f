/* Load on the API over its Unix socket. Closed loop: each connection sends its next request when
 * it has the answer. Open loop (-r): requests arrive at a fixed rate whatever the server does, and
 * a latency counts from when the request was meant to be sent, waiting for a free connection
 * included. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "bench/bench.h"

#define ANSWER_MAX (64 * 1024)
#define CONNECTIONS_MAX 1024
#define TOKEN_MAX 256

struct connection {
    int fd;
    bool busy;
    int64_t meant; /* when the request under way was to be sent */
    size_t have;
    char in[ANSWER_MAX];
};

struct load {
    const struct bench *b;
    char token[TOKEN_MAX];
    char **items;
    uint64_t n_items;
    FILE *save;
    struct connection *c;
    int epoll;
    int64_t began;
    uint64_t sent, failed;
    struct tally tally;
    struct buf out;
    char first_error[300];
};

/* --- Requests ---------------------------------------------------------------------------------*/

/* %i is the running number, %s the item. */
static void put_template(struct load *l, const char *text, uint64_t i)
{
    for (; *text; text++) {
        if (text[0] == '%' && text[1] == 'i') {
            buf_putf(&l->out, "%llu", (unsigned long long)(i % l->b->keys));
            text++;
        } else if (text[0] == '%' && text[1] == 's' && l->n_items) {
            buf_puts(&l->out, l->items[i % l->n_items]);
            text++;
        } else {
            buf_putc(&l->out, *text);
        }
    }
}

static size_t template_len(struct load *l, const char *text, uint64_t i)
{
    size_t before = l->out.len, n;
    put_template(l, text, i);
    n = l->out.len - before;
    l->out.len = before;
    return n;
}

static bool send_next(struct load *l, struct connection *c, int64_t meant)
{
    char **arg = l->b->arg;
    const char *body = arg[3];
    uint64_t i = l->sent++;
    buf_reset(&l->out);
    buf_putf(&l->out, "%s /v1/", arg[1]);
    put_template(l, arg[2], i);
    buf_puts(&l->out, " HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n");
    if (l->token[0])
        buf_putf(&l->out, "X-Vault-Token: %s\r\n", l->token);
    if (body)
        buf_putf(&l->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 template_len(l, body, i));
    buf_puts(&l->out, "\r\n");
    if (body)
        put_template(l, body, i);
    c->busy = true;
    c->have = 0;
    c->meant = meant;
    return !buf_error(&l->out) &&
           send(c->fd, l->out.data, l->out.len, MSG_NOSIGNAL) == (ssize_t)l->out.len;
}

/* --- Answers ----------------------------------------------------------------------------------*/

/* The length of the whole answer; 0 = not there yet. Bodies are delimited by Content-Length alone
 * (204 has none): that is what both servers send. */
static size_t answer_len(const struct connection *c)
{
    const char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end)
        return 0;
    const char *length = strcasestr(c->in, "\r\nContent-Length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t all = (size_t)(end + 4 - c->in) + body;
    return c->have >= all ? all : 0;
}

static void keep_lease(struct load *l, const struct connection *c)
{
    static const char member[] = "\"lease_id\":\"";
    const char *id = strstr(c->in, member);
    if (!l->save || !id)
        return;
    id += sizeof(member) - 1;
    fprintf(l->save, "%.*s\n", (int)strcspn(id, "\""), id);
}

static void judge(struct load *l, const struct connection *c)
{
    keep_lease(l, c);
    if (strncmp(c->in, "HTTP/1.1 2", 10) == 0) {
        tally_add(&l->tally, tally_now() - c->meant);
        return;
    }
    if (l->failed++ == 0)
        snprintf(l->first_error, sizeof(l->first_error), "%.299s", c->in);
}

/* False: the connection is of no use any more. */
static bool take(struct load *l, struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - 1 - c->have, 0);
    if (n <= 0)
        return false;
    c->have += (size_t)n;
    c->in[c->have] = '\0';
    if (answer_len(c)) {
        judge(l, c);
        c->busy = false;
    }
    return true;
}

/* --- The two loops ----------------------------------------------------------------------------*/

static uint64_t under_way(const struct load *l)
{
    return l->sent - l->tally.count - l->failed;
}

static bool send_closed(struct load *l)
{
    for (unsigned i = 0; i < l->b->connections; i++) {
        struct connection *c = &l->c[i];
        if (!c->busy && bench_goes_on(l->b, l->began, l->sent) && !send_next(l, c, tally_now()))
            return false;
    }
    return true;
}

static int64_t due_at(const struct load *l)
{
    return l->began + (int64_t)((double)l->sent * 1e9 / l->b->rate);
}

static bool send_open(struct load *l)
{
    for (unsigned i = 0; i < l->b->connections; i++) {
        struct connection *c = &l->c[i];
        int64_t meant = due_at(l);
        if (meant > tally_now() || !bench_goes_on(l->b, l->began, l->sent))
            return true;
        if (!c->busy && !send_next(l, c, meant))
            return false;
    }
    return true;
}

static int wait_for(struct load *l, struct epoll_event *ev, int most)
{
    struct timespec left = {.tv_sec = 10};
    if (l->b->rate > 0 && under_way(l) < l->b->connections) {
        int64_t ns = due_at(l) - tally_now();
        ns = ns > 0 ? ns : 0;
        left = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    }
    return epoll_pwait2(l->epoll, ev, most, &left, NULL);
}

static int run(struct load *l)
{
    struct epoll_event ev[64];
    bool (*send_some)(struct load *) = l->b->rate > 0 ? send_open : send_closed;
    l->began = tally_now();
    while (bench_goes_on(l->b, l->began, l->sent) || under_way(l) > 0) {
        if (!send_some(l))
            return bench_failed("send");
        int n = wait_for(l, ev, 64);
        if (n < 0 || (n == 0 && l->b->rate <= 0))
            return bench_failed("no answer within ten seconds");
        for (int i = 0; i < n; i++) {
            if (!take(l, ev[i].data.ptr))
                return bench_failed("the server hung up");
        }
    }
    return 0;
}

/* --- Before and after -------------------------------------------------------------------------*/

static bool open_connection(struct load *l, struct connection *c)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct epoll_event want = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", l->b->arg[0]);
    return c->fd >= 0 && connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
           epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &want) == 0;
}

static bool read_token(struct load *l)
{
    FILE *f = fopen(l->b->token, "re");
    bool ok = f && fgets(l->token, sizeof(l->token), f);
    if (f)
        fclose(f);
    l->token[strcspn(l->token, "\n")] = '\0';
    return ok;
}

static bool read_items(struct load *l)
{
    char line[2048];
    FILE *f = fopen(l->b->items, "re");
    while (f && fgets(line, sizeof(line), f)) {
        char **more = reallocarray(l->items, l->n_items + 1, sizeof(*more));
        line[strcspn(line, "\n")] = '\0';
        if (!more)
            break;
        l->items = more;
        l->items[l->n_items] = strdup(line);
        if (!l->items[l->n_items++])
            break;
    }
    if (f)
        fclose(f);
    return l->n_items > 0;
}

static int prepare(struct load *l)
{
    if (l->b->connections > CONNECTIONS_MAX)
        return 2;
    l->c = calloc(l->b->connections, sizeof(*l->c));
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!l->c || l->epoll < 0)
        return bench_failed("out of memory");
    if (l->b->token && !read_token(l))
        return bench_failed(l->b->token);
    if (l->b->items && !read_items(l))
        return bench_failed(l->b->items);
    if (l->b->save && !(l->save = fopen(l->b->save, "we")))
        return bench_failed(l->b->save);
    for (unsigned i = 0; i < l->b->connections; i++) {
        if (!open_connection(l, &l->c[i]))
            return bench_failed(l->b->arg[0]);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    return 0;
}

static void clear(struct load *l)
{
    for (unsigned i = 0; l->c && i < l->b->connections; i++)
        close(l->c[i].fd);
    for (uint64_t i = 0; i < l->n_items; i++)
        free(l->items[i]);
    free(l->items);
    free(l->c);
    if (l->save)
        fclose(l->save);
    close(l->epoll);
    buf_clear(&l->out);
}

int bench_http(const struct bench *b)
{
    static struct load l;
    l = (struct load){.b = b, .out = BUF_INIT(2 * ANSWER_MAX), .epoll = -1};
    int r = prepare(&l);
    if (r == 0)
        r = run(&l);
    if (r == 0)
        tally_print(&l.tally, l.failed, (double)(tally_now() - l.began) / 1e9);
    if (l.failed)
        fprintf(stderr, "bench: %llu requests failed, the first with: %s\n",
                (unsigned long long)l.failed, l.first_error);
    clear(&l);
    return r;
}
