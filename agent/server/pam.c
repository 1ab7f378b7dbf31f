#include "server/pam.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/fault.h"
#include "server/login.h"
#include "server/logins.h"
#include "server/people.h"
#include "server/watch.h"

#define PAM_PRIORITY                                                                               \
    (-100) /* before all else: the API's sockets, turns, the connector's answers                   \
            */
#define HASH_MS 10000

struct door {
    struct door *next;
    struct pam_server *server;
    sd_event_source *source;
    int fd;
    bool user_socket;
};

/* One dialogue. `busy`: a turn, a worker or NSS will come back to it, so it may not be freed. */
struct dialogue {
    struct dialogue *next;
    struct pam_server *server;
    int fd;
    uid_t uid;
    sd_event_source *source, *timer;
    uint8_t version;                  /* BEGIN's: each record is of it */
    char said[DIALOGUE_NAME_MAX + 1]; /* the user as BEGIN named them: the verdict repeats it */
    int64_t asked_ms;                 /* boot clock: when the answer came; 0 = nothing was asked */
    struct login login;
    bool begun, asked, busy, closed;
};

struct pam_server {
    struct agent *agent;
    struct door *doors;
    struct dialogue *dialogues;
};

/* --- The life of a connection
 * ------------------------------------------------------------------------ */

static void dialogue_free(struct dialogue *d)
{
    for (struct dialogue **p = &d->server->dialogues; *p; p = &(*p)->next) {
        if (*p == d) {
            *p = d->next;
            break;
        }
    }
    sd_event_source_disable_unref(d->source);
    sd_event_source_disable_unref(d->timer);
    if (d->fd >= 0)
        close(d->fd);
    login_clear(&d->login);
    free(d);
}

/* Ends it now, or, when somebody still comes back to it, then. */
static void hang_up(struct dialogue *d)
{
    d->closed = true;
    d->source = sd_event_source_disable_unref(d->source);
    d->timer = sd_event_source_disable_unref(d->timer);
    if (!d->busy)
        dialogue_free(d);
}

static bool send_record(struct dialogue *d, struct dialogue_record *r)
{
    r->bytes[0] = d->version;
    return !r->bad && send(d->fd, r->bytes, r->len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static int on_timeout(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    hang_up(data);
    return 0;
}

/* Without its deadline a dialogue may not go on: false means that the caller hangs up. */
static bool arm(struct dialogue *d, uint64_t ms, sd_event_time_handler_t fn)
{
    d->timer = sd_event_source_disable_unref(d->timer);
    return sd_event_add_time_relative(d->server->agent->loop, &d->timer, CLOCK_MONOTONIC, ms * 1000,
                                      0, fn, d) >= 0;
}

/* --- Saying
 * ------------------------------------------------------------------------------------------- */

static bool send_text(struct dialogue *d, enum dialogue_type type, enum dialogue_style style,
                      const char *text)
{
    struct dialogue_record r;
    dialogue_start(&r, type);
    dialogue_put_u8(&r, DIALOGUE_TAG_STYLE, (uint8_t)style);
    dialogue_put_str(&r, DIALOGUE_TAG_TEXT, text);
    return send_record(d, &r);
}

static void send_verdict(struct dialogue *d)
{
    struct login *l = &d->login;
    struct dialogue_record r;
    FAULT_POINT(verdict_ready);
    if (l->inform[0])
        (void)send_text(d, DIALOGUE_INFORM, DIALOGUE_STYLE_ERROR, l->inform);
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, (uint8_t)l->verdict);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, d->said);
    if (l->verdict == DIALOGUE_ALLOW && l->new_handle[0])
        dialogue_put_str(&r, DIALOGUE_TAG_HANDLE, l->new_handle);
    (void)send_record(d, &r); /* without it the end of the connection says no */
    FAULT_POINT(verdict_sent);
    logins_told(l);
    hang_up(d);
}

static int on_delay_over(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    send_verdict(data);
    return 0;
}

static void step(struct dialogue *d, int (*fn)(struct login *l));

/* --- Passphrases on a worker
 * --------------------------------------------------------------------------- */

static void hash_work(void *data)
{
    struct login *l = &((struct dialogue *)data)->login;
    l->hash_matches = factor_passphrase_matches(l->hash, l->answer);
}

static void hash_late(void *data)
{
    struct dialogue *d = data;
    d->busy = false;
    dialogue_free(d);
}

/* After a deadline the worker still reads the login: it is freed when the worker is through. */
static void hash_done(void *data, int error)
{
    struct dialogue *d = data;
    if (error) {
        d->closed = true;
        shutdown(d->fd, SHUT_RDWR);
        return;
    }
    d->busy = false;
    mem_wipe(d->login.answer, sizeof(d->login.answer));
    step(d, login_hashed);
}

static void start_hash(struct dialogue *d)
{
    const struct agent *a = d->server->agent;
    d->busy = true;
    if (workers_run(d->login.user_socket ? a->enrol_kdf : a->login_kdf, hash_work, hash_done,
                    hash_late, d, HASH_MS) == 0)
        return;
    d->busy = false;
    d->login.verdict = DIALOGUE_UNAVAIL;
    send_verdict(d);
}

/* --- Steps
 * -------------------------------------------------------------------------------------------- */

struct stepping {
    struct dialogue *dialogue;
    int (*fn)(struct login *l);
};

static int step_run(void *data)
{
    struct stepping *s = data;
    return s->fn(&s->dialogue->login);
}

/* A denial's delay counts from the answer, so that it hides what looking took. */
static int64_t still_to_wait(const struct dialogue *d)
{
    int64_t passed = d->asked_ms ? clock_boot_ms() - d->asked_ms : 0;
    return d->login.delay_ms > passed ? d->login.delay_ms - passed : 0;
}

static void next(struct dialogue *d)
{
    struct login *l = &d->login;
    switch (l->next) {
    case LOGIN_PROMPT:
        d->asked = true;
        /* Nobody may be kept waiting for a prompt that never came. */
        if ((l->notice[0] && !send_text(d, DIALOGUE_INFORM, DIALOGUE_STYLE_ERROR, l->notice)) ||
            !send_text(d, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, l->text) ||
            !arm(d, PAM_ANSWER_MS, on_timeout)) {
            hang_up(d);
            return;
        }
        l->notice[0] = '\0';
        return;
    case LOGIN_HASH:
        start_hash(d);
        return;
    case LOGIN_VERDICT:
        if (still_to_wait(d) <= 0 || !arm(d, (uint64_t)still_to_wait(d), on_delay_over))
            send_verdict(d);
        return;
    }
}

static void step_done(void *data, int error)
{
    struct stepping *s = data;
    struct dialogue *d = s->dialogue;
    struct login *l = &d->login;
    free(s);
    d->busy = false;
    if (error) {
        l->next = LOGIN_VERDICT;
        l->verdict = DIALOGUE_UNAVAIL;
        l->watch = false;
        sd_journal_print(LOG_ERR, "a login step failed: %s", strerror(-error));
    }
    if (l->watch)
        watch_session(d->server->agent->watch, &l->session);
    l->watch = false;
    if (d->closed)
        dialogue_free(d);
    else
        next(d);
}

/* What is kept back on a full disk is for those whom root lets in: anybody can knock at the user
 * socket, and each knock is a line in the log. */
static enum turn_class class_of(const struct dialogue *d)
{
    return d->login.user_socket ? TURN_API : TURN_PAM;
}

static void step(struct dialogue *d, int (*fn)(struct login *l))
{
    struct stepping *s = calloc(1, sizeof(*s));
    if (s) {
        *s = (struct stepping){.dialogue = d, .fn = fn};
        d->busy = true;
        if (turn_add(d->server->agent->turn, class_of(d), step_run, step_done, s) == 0)
            return;
        d->busy = false;
        free(s);
    }
    d->login.verdict = DIALOGUE_UNAVAIL;
    send_verdict(d);
}

/* --- BEGIN
 * -------------------------------------------------------------------------------------------- */

static bool copy_person(struct login *l, const struct person *p)
{
    l->groups = calloc(p->n_groups ? p->n_groups : 1, sizeof(char *));
    for (size_t i = 0; l->groups && i < p->n_groups; i++) {
        l->groups[i] = strdup(p->groups[i]);
        if (!l->groups[i])
            return false;
        l->n_groups++;
    }
    /* One person, one name: a directory that doesn't care about case must not give them two. */
    snprintf(l->user, sizeof(l->user), "%s", p->name);
    l->uid = p->uid;
    l->known = l->groups != NULL;
    return l->known;
}

static void on_person(const struct person *p, int error, void *data)
{
    struct dialogue *d = data;
    struct login *l = &d->login;
    d->busy = false;
    if (d->closed) {
        dialogue_free(d);
        return;
    }
    if (error || (p->exists && !copy_person(l, p)))
        l->nss_failed = true;
    /* A screen locker speaks for its own uid only. */
    if (l->user_socket && (!l->known || l->uid != d->uid || strcmp(l->user, d->said) != 0)) {
        sd_journal_print(LOG_WARNING, "uid %d asked for another user on the user socket",
                         (int)d->uid);
        send_verdict(d);
        return;
    }
    step(d, login_begin);
}

static bool take_begin(struct dialogue *d, const struct dialogue_parsed *m)
{
    struct login *l = &d->login;
    char info[DIALOGUE_AUTH_INFO_MAX + 1];
    l->hook = dialogue_u8(m, DIALOGUE_TAG_HOOK);
    l->flags = dialogue_u8(m, DIALOGUE_TAG_FLAGS);
    if (m->type != DIALOGUE_BEGIN || l->hook < DIALOGUE_HOOK_AUTH ||
        l->hook > DIALOGUE_HOOK_CLOSE ||
        !dialogue_text(m, DIALOGUE_TAG_SERVICE, l->service, sizeof(l->service)) ||
        !dialogue_text(m, DIALOGUE_TAG_USER, l->user, sizeof(l->user)) || !l->user[0] ||
        !l->service[0])
        return false;
    snprintf(d->said, sizeof(d->said), "%s", l->user);
    dialogue_text(m, DIALOGUE_TAG_RUSER, l->ruser, sizeof(l->ruser));
    dialogue_text(m, DIALOGUE_TAG_RHOST, l->rhost, sizeof(l->rhost));
    dialogue_text(m, DIALOGUE_TAG_TTY, l->tty, sizeof(l->tty));
    dialogue_text(m, DIALOGUE_TAG_HANDLE, l->handle, sizeof(l->handle));
    if (l->user_socket) {
        if (l->hook > DIALOGUE_HOOK_ACCOUNT)
            return false;
        snprintf(l->service, sizeof(l->service), "screen-lock");
        l->handle[0] = '\0';
    }
    bool has_info = dialogue_text(m, DIALOGUE_TAG_AUTH_INFO, info, sizeof(info));
    login_take_origin(l, has_info ? info : NULL);
    return true;
}

/* Root's callers name the user; who speaks for its own uid can make nobody look up anybody else. */
static void ask_who(struct dialogue *d)
{
    static const struct person nobody;
    const struct login *l = &d->login;
    struct people *people = l->user_socket ? l->agent->people : l->agent->login_people;
    const char *name = l->user_socket ? NULL : l->user;
    const struct person *p = NULL;
    if (name && !person_valid_name(name))
        p = &nobody; /* a name that can't be one costs the same prompts */
    else
        p = people_known(people, name, d->uid);
    int e = p ? 0 : people_ask(people, name, d->uid, on_person, d);
    if (p || e < 0)
        on_person(p, e, d);
}

static void begin(struct dialogue *d, const struct dialogue_parsed *m)
{
    struct login *l = &d->login;
    d->begun = true;
    d->version = m->version;
    if (!take_begin(d, m) || peer_read(d->fd, &l->peer) < 0 || !arm(d, PAM_ANSWER_MS, on_timeout)) {
        hang_up(d);
        return;
    }
    /* Root inside a container is not this host's: it may not say who logs in here. */
    if (l->peer.foreign) {
        sd_journal_print(LOG_WARNING,
                         "a PAM dialogue from inside a container, or of a process already gone, is "
                         "refused (pid %d)",
                         (int)l->peer.pid);
        hang_up(d);
        return;
    }
    l->agent = d->server->agent;
    d->busy = true;
    ask_who(d);
}

/* --- Receiving
 * ---------------------------------------------------------------------------------------- */

static void take_answer(struct dialogue *d, const struct dialogue_parsed *m)
{
    struct login *l = &d->login;
    if (m->type != DIALOGUE_ANSWER || m->version != d->version || !d->asked ||
        !arm(d, PAM_ANSWER_MS, on_timeout)) {
        hang_up(d); /* ABORT: the conversation was given up */
        return;
    }
    d->asked = false;
    d->asked_ms = clock_boot_ms();
    dialogue_text(m, DIALOGUE_TAG_ANSWER, l->answer, sizeof(l->answer));
    step(d, login_answer);
}

static int on_readable(sd_event_source *s _unused_, int fd, uint32_t revents _unused_, void *data)
{
    struct dialogue *d = data;
    struct dialogue_parsed m;
    uint8_t packet[DIALOGUE_RECORD_MAX + 1];
    ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    /* A packet that comes while we work, or after garbage, ends the dialogue: nobody sends one. */
    if (n <= 0 || d->busy || dialogue_parse(packet, (size_t)n, &m) < 0)
        hang_up(d);
    else if (!d->begun)
        begin(d, &m);
    else
        take_answer(d, &m);
    mem_wipe(packet, n > 0 ? (size_t)n : 0);
    return 0;
}

/* --- Accepting
 * ---------------------------------------------------------------------------------------- */

static bool has_room(const struct pam_server *s, uid_t uid)
{
    size_t all = 0, own = 0;
    for (const struct dialogue *d = s->dialogues; d; d = d->next) {
        all++;
        own += d->uid == uid;
    }
    /* Half of the places are root's alone: logins go on while users fill theirs. */
    if (uid == 0 || uid == s->agent->root_uid)
        return all < PAM_CONNECTIONS_MAX;
    return own < PAM_CONNECTIONS_PER_UID && all < PAM_CONNECTIONS_MAX / 2;
}

static int on_connect(sd_event_source *source _unused_, int listen_fd, uint32_t revents _unused_,
                      void *data)
{
    struct door *door = data;
    struct pam_server *s = door->server;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return 0;
    struct ucred cred;
    socklen_t n = sizeof(cred);
    struct dialogue *d = NULL;
    bool ok = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && has_room(s, cred.uid) &&
              (door->user_socket || cred.uid == 0 || cred.uid == s->agent->root_uid);
    d = ok ? calloc(1, sizeof(*d)) : NULL;
    if (!d) {
        close(fd);
        return 0;
    }
    *d = (struct dialogue){.server = s, .fd = fd, .uid = cred.uid, .next = s->dialogues};
    d->login.user_socket = door->user_socket;
    d->login.peer.pidfd = -1;
    s->dialogues = d;
    if (sd_event_add_io(s->agent->loop, &d->source, fd, EPOLLIN, on_readable, d) < 0 ||
        sd_event_source_set_priority(d->source, door->user_socket ? 0 : PAM_PRIORITY) < 0) {
        hang_up(d);
        return 0;
    }
    if (!arm(d, PAM_FIRST_MS, on_timeout))
        hang_up(d);
    return 0;
}

int pam_new(struct agent *a, struct pam_server **out)
{
    struct pam_server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->agent = a;
    int e = a->login_nss ? workers_set_priority(a->login_nss, PAM_PRIORITY) : 0;
    if (e == 0 && a->login_kdf)
        e = workers_set_priority(a->login_kdf, PAM_PRIORITY);
    if (e < 0) {
        free(s);
        return e;
    }
    *out = s;
    return 0;
}

int pam_listen(struct pam_server *s, int fd, bool user_socket)
{
    struct door *door = calloc(1, sizeof(*door));
    if (!door)
        return -ENOMEM;
    *door = (struct door){.server = s, .fd = fd, .user_socket = user_socket, .next = s->doors};
    int e = sd_event_add_io(s->agent->loop, &door->source, fd, EPOLLIN, on_connect, door);
    if (e >= 0)
        e = sd_event_source_set_priority(door->source, user_socket ? 0 : PAM_PRIORITY);
    s->doors = door;
    return e < 0 ? e : 0;
}

void pam_hold(struct pam_server *s, bool hold)
{
    for (struct door *d = s->doors; d; d = d->next)
        (void)sd_event_source_set_enabled(d->source, hold ? SD_EVENT_OFF : SD_EVENT_ON);
}

bool pam_drain(struct pam_server *s, int64_t since_ms)
{
    pam_hold(s, true);
    for (struct dialogue *d = s->dialogues, *following; d; d = following) {
        following = d->next;
        if (!d->busy && since_ms >= PAM_LEAVE_MS)
            hang_up(d);
    }
    return s->dialogues == NULL;
}

void pam_free(struct pam_server *s)
{
    if (!s)
        return;
    for (struct dialogue *d = s->dialogues, *following; d; d = following) {
        following = d->next;
        if (!d->busy) /* a worker may still look at it: that memory goes with the process */
            dialogue_free(d);
    }
    for (struct door *d = s->doors, *following; d; d = following) {
        following = d->next;
        sd_event_source_disable_unref(d->source);
        close(d->fd);
        free(d);
    }
    free(s);
}
