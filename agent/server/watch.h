/* What ends by itself: expiring leases and tokens, sessions whose leader has gone, old rows. */
#ifndef COUNTERSIGN_SERVER_WATCH_H
#define COUNTERSIGN_SERVER_WATCH_H

#include "identity/session.h"
#include "server/agent.h"

struct watch;

int watch_new(struct agent *a, struct watch **out);
void watch_free(struct watch *w);
/* After unsealing: sessions whose leader has died meanwhile end, live ones are watched, leases that
 * were under way are driven again, the timer is set. Before sealing: forgets all. */
int watch_start(struct watch *w);
void watch_stop(struct watch *w);
/* struct lease_ops's changed: data is the agent. The earliest deadline is looked at again. */
void watch_changed(void *data);

/* After each commit: audit lines go to their file, and a little later that file to the disk. */
void watch_committed(struct watch *w);

/* Watches a session's leader from now on (call it as an effect, after the commit). */
void watch_session(struct watch *w, const struct session *s);
/* In a turn: the session is over; what it held is revoked. 0, SESSION_E_NONE, -errno. */
int watch_end_session(struct agent *a, const char *id, const char *reason);

#endif
