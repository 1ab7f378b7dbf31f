/* Where requests wait, and the connections that serve them.
 *
 * A database (url, account, password) has up to POOL_CONNECTIONS connections and a queue; jobs for
 * one role run one after the other, whatever account they come with, so that a revoke never
 * overtakes the create before it. Passwords are not kept: a database is known by a keyed hash. */
#ifndef COUNTERSIGN_CONNECTOR_DESK_H
#define COUNTERSIGN_CONNECTOR_DESK_H

#include <systemd/sd-event.h>

#include "base/buf.h"

#define DESK_QUEUE_MAX 64      /* waiting for one database */
#define DESK_JOBS_MAX 256      /* in all */
#define DESK_LINGER_SECONDS 30 /* a COMMIT in doubt is waited for, though its answer was given */

struct desk;

/* Takes one answer frame; NULL: there should be one, but it could not be made. */
typedef void (*desk_send_fn)(void *data, const struct buf *frame);

/* 0 or -errno. */
int desk_new(sd_event *event, desk_send_fn send, void *data, struct desk **out);
void desk_free(struct desk *d);

/* Takes one packet. 0 (an answer comes, perhaps at once), or -EBADMSG when it is nothing that could
 * be answered, or -ENOMEM. */
int desk_take(struct desk *d, const char *text, size_t n);

/* Whoever asked is gone: gives up every job, except those whose COMMIT is under way. */
void desk_abandon(struct desk *d);
/* How many jobs there still are. */
size_t desk_jobs(const struct desk *d);

#endif
