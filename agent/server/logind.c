#include "server/logind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-login.h>

#define TOGETHER_MS 200 /* a login changes its session several times: one look for all of it */

struct logind {
    sd_event *loop;
    sd_login_monitor *monitor; /* NULL: no logind here yet */
    sd_event_source *io, *soon;
    void (*changed)(void *data);
    void *data;
};

static int on_soon(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct logind *l = data;
    l->changed(l->data);
    return 0;
}

static void look_soon(struct logind *l)
{
    int enabled = SD_EVENT_OFF;
    (void)sd_event_source_get_enabled(l->soon, &enabled);
    if (enabled != SD_EVENT_OFF)
        return;
    (void)sd_event_source_set_time_relative(l->soon, TOGETHER_MS * 1000ULL);
    (void)sd_event_source_set_enabled(l->soon, SD_EVENT_ONESHOT);
}

static int on_change(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
                     void *data)
{
    struct logind *l = data;
    (void)sd_login_monitor_flush(l->monitor);
    look_soon(l);
    return 0;
}

static void forget_monitor(struct logind *l)
{
    l->io = sd_event_source_disable_unref(l->io);
    l->monitor = sd_login_monitor_unref(l->monitor);
}

/* Without logind there is nothing to watch, and nothing of it that could end. */
static void watch(struct logind *l)
{
    if (l->monitor || sd_login_monitor_new("session", &l->monitor) < 0)
        return;
    int fd = sd_login_monitor_get_fd(l->monitor);
    if (fd < 0 || sd_event_add_io(l->loop, &l->io, fd, EPOLLIN, on_change, l) < 0)
        forget_monitor(l);
}

int logind_new(sd_event *loop, void (*changed)(void *data), void *data, struct logind **out)
{
    struct logind *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct logind){.loop = loop, .changed = changed, .data = data};
    int e = sd_event_add_time_relative(loop, &l->soon, CLOCK_MONOTONIC, 0, 10000, on_soon, l);
    if (e >= 0)
        e = sd_event_source_set_enabled(l->soon, SD_EVENT_OFF);
    if (e < 0) {
        logind_free(l);
        return e;
    }
    watch(l);
    *out = l;
    return 0;
}

void logind_free(struct logind *l)
{
    if (!l)
        return;
    forget_monitor(l);
    sd_event_source_disable_unref(l->soon);
    free(l);
}

void logind_look(struct logind *l)
{
    watch(l);
    look_soon(l);
}

static bool is_of(const char *id, uid_t uid)
{
    uid_t owner;
    return id && strlen(id) < LOGIND_ID_MAX && sd_session_get_uid(id, &owner) >= 0 && owner == uid;
}

bool logind_find(const struct session *s, char out[LOGIND_ID_MAX])
{
    const char *slash = strrchr(s->id, '/');
    const char *id = slash ? slash + 1 : NULL;
    char *around = NULL;
    if (!is_of(id, s->uid))
        id = sd_pid_get_session(s->leader, &around) >= 0 && is_of(around, s->uid) ? around : NULL;
    snprintf(out, LOGIND_ID_MAX, "%s", id ? id : "");
    free(around);
    return out[0] != '\0';
}

bool logind_is_over(const char *id)
{
    char *state = NULL;
    int r = sd_session_get_state(id, &state);
    bool over = r == -ENXIO || (r >= 0 && strcmp(state, "closing") == 0);
    free(state);
    return over;
}
