#include "server/link.h"

#include <countersign/connector.h>
#include <errno.h>
#include <sys/socket.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "server/journal.h"

#define RETELL_MS 50

struct call {
    struct call *next;
    uint64_t id;
    struct buf frame; /* empty once it was sent */
    link_answer_fn answer;
    void *data;
    bool over;      /* it is to be told, */
    json_t *result; /* with this; NULL: there was no memory for it (link's no_memory then) */
    sd_event_source *deadline;
    struct link *link;
};

struct link {
    sd_event *loop;
    int listen_fd;
    uid_t uid;
    sd_event_source *listen_source;
    int fd;
    sd_event_source *source;
    bool greeted;
    bool leaving;        /* it answers what it has, and takes no more */
    int64_t expected_ms; /* boot clock: until then calls wait for a connector */
    uint64_t next_id;
    struct call *calls;
    size_t n_calls;
    json_t *no_memory;
    sd_event_source *tell; /* answers made up here are told from the loop, never from link_call() */
    void (*on_up)(void *data);
    void *up_data;
};

static const char not_running[] =
    "the connector is not running (systemctl status countersign-connector)";

/* --- Answering -----------------------------------------------------------------------------------
 */

static void call_free(struct call *c)
{
    sd_event_source_disable_unref(c->deadline);
    buf_clear(&c->frame);
    json_decref(c->result);
    free(c);
}

static json_t *made_up(const char *kind, const char *message)
{
    return json_pack("{s:b, s:s, s:s}", "ok", 0, "kind", kind, "message", message);
}

static bool wait_at_most(struct call *c, int64_t ms)
{
    return sd_event_source_set_time_relative(c->deadline, (uint64_t)ms * 1000) >= 0 &&
           sd_event_source_set_enabled(c->deadline, SD_EVENT_ONESHOT) >= 0;
}

static void fail_later(struct call *c, const char *kind, const char *message)
{
    if (!c->over)
        c->result = made_up(kind, message);
    c->over = true;
    if (sd_event_source_set_enabled(c->link->tell, SD_EVENT_ONESHOT) < 0)
        (void)wait_at_most(c, RETELL_MS); /* that needs no memory */
}

/* Takes the call out of the list and tells its owner. The owner may make new calls. */
static void finish(struct link *l, struct call *c, const json_t *answer)
{
    for (struct call **p = &l->calls; *p; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            l->n_calls--;
            break;
        }
    }
    c->answer(answer, c->data);
    call_free(c);
}

static int on_tell(sd_event_source *s _unused_, void *data)
{
    struct link *l = data;
    for (;;) {
        struct call *c = l->calls;
        while (c && !c->over)
            c = c->next;
        if (!c)
            return 0;
        finish(l, c, c->result ? c->result : l->no_memory);
    }
}

static int on_call_deadline(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct call *c = data;
    if (c->over)
        return on_tell(NULL, c->link);
    if (c->frame.len > 0)
        fail_later(c, "unreachable", not_running);
    else
        fail_later(c, "timeout", "the connector did not answer in time");
    return 0;
}

/* --- Sending -------------------------------------------------------------------------------------
 */

static void hold(struct link *l, struct call *c)
{
    int64_t left = l->expected_ms - clock_boot_ms();
    if (left <= 0 || !wait_at_most(c, left))
        fail_later(c, "unreachable", not_running);
}

static void send_frame(struct link *l, struct call *c)
{
    if (!l->greeted || l->leaving) {
        hold(l, c);
        return;
    }
    if (send(l->fd, c->frame.data, c->frame.len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        buf_clear(&c->frame);
        FAULT_POINT(frame_sent);
        if (!wait_at_most(c, LINK_TIMEOUT_MS + 2000))
            fail_later(c, "unreachable", "the agent is out of memory");
        return;
    }
    if (errno == EPIPE) { /* what it was sent before is answered still */
        l->leaving = true;
        link_expect(l, LINK_EXPECT_MS);
        hold(l, c);
        return;
    }
    fail_later(c, errno == EAGAIN ? "busy" : "unreachable",
               errno == EAGAIN ? "too many requests wait for the connector"
                               : "the connector went away");
}

/* --- The connection ------------------------------------------------------------------------------
 */

static void hang_up(struct link *l, const char *why)
{
    if (l->fd < 0)
        return;
    const struct journal_fields f = {.result = "down"};
    journal_tell(JOURNAL_CONNECTOR, LOG_WARNING, &f, "connector: connection closed: %s", why);
    l->source = sd_event_source_disable_unref(l->source);
    close(l->fd);
    l->fd = -1;
    l->greeted = l->leaving = false;
    if (l->listen_fd < 0)
        l->expected_ms = 0; /* the one that was handed to us was the only one */
    for (struct call *c = l->calls; c; c = c->next) {
        if (c->frame.len == 0)
            fail_later(c, "unreachable", "the connector went away");
    }
}

static void greet(struct link *l, const json_t *frame)
{
    if (json_int(frame, "hello", 0) != CONNECTOR_VERSION) {
        hang_up(l, "it speaks another version");
        return;
    }
    l->greeted = true;
    for (struct call *c = l->calls; c; c = c->next) {
        if (c->frame.len > 0 && !c->over)
            send_frame(l, c);
    }
    const struct journal_fields f = {.result = "up"};
    journal_tell(JOURNAL_CONNECTOR, LOG_INFO, &f, "connector: connected");
    if (l->on_up)
        l->on_up(l->up_data);
}

static void take_frame(struct link *l, const char *text, size_t n)
{
    char why[160];
    _cleanup_json_ json_t *frame = NULL;
    if (json_parse(text, n, &frame, why, sizeof(why)) < 0 || !json_is_object(frame)) {
        hang_up(l, "it sent something that is not a frame");
        return;
    }
    if (!l->greeted) {
        greet(l, frame);
        return;
    }
    json_int_t id = json_int(frame, "id", 0);
    for (struct call *c = l->calls; c; c = c->next) {
        if (c->id == (uint64_t)id && !c->over) {
            FAULT_POINT(frame_taken);
            finish(l, c, frame);
            return;
        }
    }
}

static int on_readable(sd_event_source *s _unused_, int fd, uint32_t revents _unused_, void *data)
{
    struct link *l = data;
    static char text[CONNECTOR_FRAME_MAX + 1];
    ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        hang_up(l, n == 0 ? "end of file" : strerror(errno));
        if (l->listen_fd >= 0)
            link_expect(l, LINK_EXPECT_MS); /* its unit starts it again */
    }
    if (n > CONNECTOR_FRAME_MAX)
        hang_up(l, "oversized frame");
    else if (n > 0)
        take_frame(l, text, (size_t)n);
    mem_wipe(text, n > 0 ? (size_t)n : 0);
    return 0;
}

int link_attach(struct link *l, int fd)
{
    hang_up(l, "replaced by a new connection");
    int r = sd_event_add_io(l->loop, &l->source, fd, EPOLLIN, on_readable, l);
    if (r < 0) {
        close(fd);
        return r;
    }
    l->fd = fd;
    return 0;
}

static int on_accept(sd_event_source *s _unused_, int listen_fd, uint32_t revents _unused_,
                     void *data)
{
    struct link *l = data;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return 0;
    struct ucred cred;
    socklen_t n = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 || cred.uid != l->uid) {
        sd_journal_print(LOG_WARNING, "connector: refused a connection of uid %d", (int)cred.uid);
        close(fd);
        return 0;
    }
    (void)link_attach(l, fd);
    return 0;
}

int link_new(sd_event *loop, struct link **out)
{
    struct link *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->loop = loop;
    l->fd = l->listen_fd = -1;
    l->no_memory = made_up("unreachable", "the agent is out of memory");
    int r = l->no_memory ? sd_event_add_defer(loop, &l->tell, on_tell, l) : -ENOMEM;
    if (r >= 0)
        r = sd_event_source_set_enabled(l->tell, SD_EVENT_OFF);
    if (r < 0) {
        link_free(l);
        return r;
    }
    *out = l;
    return 0;
}

int link_listen(struct link *l, int listen_fd, uid_t uid)
{
    l->listen_fd = listen_fd;
    l->uid = uid;
    return sd_event_add_io(l->loop, &l->listen_source, listen_fd, EPOLLIN, on_accept, l);
}

void link_free(struct link *l)
{
    if (!l)
        return;
    sd_event_source_disable_unref(l->source);
    sd_event_source_disable_unref(l->listen_source);
    sd_event_source_disable_unref(l->tell);
    if (l->fd >= 0)
        close(l->fd);
    if (l->listen_fd >= 0)
        close(l->listen_fd);
    for (struct call *c = l->calls, *next; c; c = next) {
        next = c->next;
        call_free(c);
    }
    json_decref(l->no_memory);
    free(l);
}

bool link_up(const struct link *l)
{
    return l->greeted;
}

bool link_has_room(const struct link *l)
{
    return l->n_calls < LINK_PENDING_MAX / 2;
}

void link_expect(struct link *l, int64_t ms)
{
    l->expected_ms = clock_boot_ms() + ms;
}

void link_on_up(struct link *l, void (*fn)(void *data), void *data)
{
    l->on_up = fn;
    l->up_data = data;
}

/* --- Calling -------------------------------------------------------------------------------------
 */

int link_call(struct link *l, json_t *frame, link_answer_fn answer, void *data)
{
    struct call *c = frame ? calloc(1, sizeof(*c)) : NULL;
    if (!c || json_set_int(frame, "id", (int64_t)++l->next_id) < 0 ||
        json_set_int(frame, "timeout_ms", LINK_TIMEOUT_MS) < 0) {
        json_decref(frame);
        free(c);
        return -ENOMEM;
    }
    *c = (struct call){.id = l->next_id,
                       .answer = answer,
                       .data = data,
                       .link = l,
                       .frame = BUF_INIT(CONNECTOR_FRAME_MAX)};
    int r = sd_event_add_time_relative(l->loop, &c->deadline, CLOCK_MONOTONIC,
                                       (LINK_TIMEOUT_MS + 2000) * 1000ULL, 0, on_call_deadline, c);
    if (r < 0) {
        json_decref(frame);
        call_free(c);
        return r;
    }
    /* At the end of the list: answers made up here keep the order of the calls. */
    struct call **p = &l->calls;
    while (*p)
        p = &(*p)->next;
    *p = c;
    json_put(&c->frame, frame);
    if (++l->n_calls > LINK_PENDING_MAX)
        fail_later(c, "busy", "too many requests wait for the connector");
    else if (buf_error(&c->frame))
        fail_later(c, "invalid", "the request to the connector is too large");
    else
        send_frame(l, c);
    json_decref(frame);
    return 0;
}
