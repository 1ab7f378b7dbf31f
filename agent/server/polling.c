#include "server/polling.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define SLOTS 16

struct slot {
    const struct route *route;
    pid_t pid;
    int64_t told_ms;
    char principal[300];
};

static struct slot slots[SLOTS];

static struct slot *find(const struct request *r)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &slots[i];
        if (s->route == r->route && s->pid == r->peer.pid &&
            strcmp(s->principal, r->principal) == 0)
            return s;
    }
    return NULL;
}

static struct slot *oldest(void)
{
    struct slot *s = &slots[0];
    for (size_t i = 1; i < SLOTS; i++) {
        if (slots[i].told_ms < s->told_ms)
            s = &slots[i];
    }
    return s;
}

bool polling_again(const struct request *r)
{
    const struct slot *s = find(r);
    return (r->route->flags & ROUTE_WATCH) && r->peer.pid > 0 && s &&
           clock_boot_ms() - s->told_ms < POLLING_MS;
}

static void told(void *data)
{
    const struct request *r = data;
    struct slot *s = find(r);
    if (!s)
        s = oldest();
    s->route = r->route;
    s->pid = r->peer.pid;
    s->told_ms = clock_boot_ms();
    snprintf(s->principal, sizeof(s->principal), "%s", r->principal);
}

int polling_told(struct request *r)
{
    if (!(r->route->flags & ROUTE_WATCH) || r->peer.pid <= 0)
        return 0;
    return effects_push(turn_effects(r->agent->turn), told, NULL, r);
}
