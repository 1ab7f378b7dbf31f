/* The beginning and the end of an agent that is restarted: nobody is turned away because of it.
 *
 * At its beginning a sealed agent is about to get its key (countersign-unseal.service): who comes
 * meanwhile waits. At its end it answers what it was asked, takes nothing new, and goes; who comes
 * meanwhile waits in the sockets, which are systemd's. */
#ifndef COUNTERSIGN_SERVER_RESTART_H
#define COUNTERSIGN_SERVER_RESTART_H

#include "server/agent.h"

#define RESTART_KEY_MS 8000 /* how long the key is waited for */
#define RESTART_DRAIN_MS                                                                           \
    8000 /* how long the end may take; less than the unit's TimeoutStopSec=                        \
          */

struct restart;

int restart_new(struct agent *a, struct restart **out);
void restart_free(struct restart *e);
/* The sockets are there: if the store is sealed and the host is to bring its key, that is waited
 * for. 0 or -errno. */
int restart_await_key(struct restart *e);
/* Whether it is. */
bool restart_awaits_key(const struct restart *e);
/* Calls go(data) when that is over, however it ended. 0, -ENOMEM. */
int restart_when_keyed(struct restart *e, void (*go)(void *data), void *data);
/* It is over: the key came, or something else became clear. */
void restart_keyed(struct restart *e);
/* Ends the loop when all that is under way is done, or the time is up. The second call ends it at
 * once. */
void restart_end(struct restart *e);

#endif
