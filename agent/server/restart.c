#include "server/restart.h"

#include <errno.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "server/pam.h"

#define LOOK_MS 10

struct waiting {
    struct waiting *next;
    void (*go)(void *data);
    void *data;
};

struct restart {
    struct agent *agent;
    sd_event_source *key_by, *look;
    struct waiting *first, **last;
    bool awaits_key;
    int64_t begun_ms; /* boot clock; 0: it is not the end */
};

/* --- The beginning -------------------------------------------------------------------------------
 */

static int on_key_late(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    restart_keyed(data);
    return 0;
}

int restart_await_key(struct restart *e)
{
    struct agent *a = e->agent;
    /* Nobody brings it where people hold the key, or where no systemd started us. */
    if (vault_state(a->vault) != VAULT_SEALED || vault_seal_kind(a->vault) != VAULT_SEAL_HOST ||
        !a->activated)
        return 0;
    int r = sd_event_add_time_relative(a->loop, &e->key_by, CLOCK_MONOTONIC,
                                       RESTART_KEY_MS * 1000ULL, 0, on_key_late, e);
    if (r < 0)
        return r;
    pam_hold(a->pam, true);
    e->awaits_key = true;
    return 0;
}

bool restart_awaits_key(const struct restart *e)
{
    return e->awaits_key;
}

int restart_when_keyed(struct restart *e, void (*go)(void *data), void *data)
{
    struct waiting *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct waiting){.go = go, .data = data};
    *e->last = w;
    e->last = &w->next;
    return 0;
}

void restart_keyed(struct restart *e)
{
    struct waiting *w = e->first;
    if (!e->awaits_key)
        return;
    e->awaits_key = false;
    e->key_by = sd_event_source_disable_unref(e->key_by);
    e->first = NULL;
    e->last = &e->first;
    if (!e->begun_ms)
        pam_hold(e->agent->pam, false);
    for (struct waiting *next; w; w = next) {
        next = w->next;
        w->go(w->data);
        free(w);
    }
}

/* --- The end -------------------------------------------------------------------------------------
 */

static int on_look(sd_event_source *s, uint64_t usec _unused_, void *data)
{
    struct restart *e = data;
    struct agent *a = e->agent;
    int64_t since = clock_boot_ms() - e->begun_ms;
    bool http = http_drain(a->http), pam = pam_drain(a->pam, since);
    if (http && pam)
        return sd_event_exit(a->loop, 0);
    if (since >= RESTART_DRAIN_MS) {
        sd_journal_print(LOG_NOTICE, "some requests were still under way; they are broken off");
        return sd_event_exit(a->loop, 0);
    }
    int r = sd_event_source_set_time_relative(s, LOOK_MS * 1000);
    return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

void restart_end(struct restart *e)
{
    struct agent *a = e->agent;
    bool again = e->begun_ms != 0;
    e->begun_ms = clock_boot_ms();
    (void)sd_notify(0, "STOPPING=1");
    restart_keyed(e);
    if (again ||
        sd_event_add_time_relative(a->loop, &e->look, CLOCK_MONOTONIC, 0, 0, on_look, e) < 0)
        (void)sd_event_exit(a->loop, 0);
}

int restart_new(struct agent *a, struct restart **out)
{
    struct restart *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->agent = a;
    e->last = &e->first;
    *out = e;
    return 0;
}

void restart_free(struct restart *e)
{
    if (!e)
        return;
    for (struct waiting *w = e->first, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    sd_event_source_disable_unref(e->key_by);
    sd_event_source_disable_unref(e->look);
    free(e);
}
