/* What logind says of a login session, by sd-login(3).
 *
 * logind tells nobody on the bus that a session begins to close: its State property is no part of
 * any signal (systemd 252), and SessionRemoved comes only when the last process has gone. What it
 * keeps below /run/systemd says both at once, needs no bus, and outlives a restart of either. */
#ifndef COUNTERSIGN_SERVER_LOGIND_H
#define COUNTERSIGN_SERVER_LOGIND_H

#include <systemd/sd-event.h>

#include "identity/session.h"

#define LOGIND_ID_MAX 64

struct logind;

/* Calls changed(data) from the loop a moment after sessions came, changed or went; several changes
 * are told as one. A host without logind is no error: it is looked for again by logind_look().
 * 0 or -errno. */
int logind_new(sd_event *loop, void (*changed)(void *data), void *data, struct logind **out);
void logind_free(struct logind *l);
/* Has changed() called soon, and begins to watch if that was not possible before. */
void logind_look(struct logind *l);

/* The name that logind has for a recorded session: the kernel's audit session where both agree,
 * else the session that the leader is in. It must be the same person's. False, and out is "", when
 * logind knows of none. */
bool logind_find(const struct session *s, char out[LOGIND_ID_MAX]);
/* Whether a session that logind_find() named is closing, or gone altogether. */
bool logind_is_over(const char *id);

#endif
