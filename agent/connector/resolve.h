/* Looking host names up without holding up the loop: getaddrinfo() blocks, for minutes if the name
 * servers are away, so each look-up has a thread of its own; at most RESOLVE_THREADS at a time, the
 * others wait. One per process. */
#ifndef COUNTERSIGN_CONNECTOR_RESOLVE_H
#define COUNTERSIGN_CONNECTOR_RESOLVE_H

#include <systemd/sd-event.h>

#include "base/mem.h"

#define RESOLVE_THREADS 8
#define RESOLVE_ADDRESSES_MAX 8

struct resolve; /* one look-up */

/* Called from the loop, once: count numeric addresses in the system's order of preference, or
 * count = 0 with the reason (a static string). The look-up is over and freed then. */
typedef void (*resolve_fn)(void *data, char *const *address, size_t count, const char *error);

/* Ties answers to the loop. Before the first look-up; 0 or -errno. */
int resolve_open(sd_event *event);
/* No callback comes after this. Threads that still hang are left to the process's end. */
void resolve_close(void);

/* Starts a look-up. 0 and *out (for resolve_cancel()), or -errno. */
int resolve_start(const char *name, resolve_fn done, void *data, struct resolve **out);
/* Forgets the look-up: its callback will not come. NULL is allowed. */
void resolve_cancel(struct resolve *r);

#endif
