/* The connection to the agent: opened, greeted, read, written, and opened again when it breaks. */
#ifndef COUNTERSIGN_CONNECTOR_UPLINK_H
#define COUNTERSIGN_CONNECTOR_UPLINK_H

#include <systemd/sd-event.h>

struct uplink;

/* Connects to the socket at path for as long as the loop runs, waiting longer after each failure,
 * or (path NULL) serves the connected SOCK_SEQPACKET socket fd, which is taken over, and ends the
 * loop when that closes. Tells systemd READY=1 at the first greeting. 0 or -errno; -EINVAL: fd is
 * no such socket. */
int uplink_new(sd_event *event, const char *path, int fd, struct uplink **out);
void uplink_free(struct uplink *u);
/* Ends the loop once everything that was sent to us is answered, and after UPLINK_LEAVE_MS in any
 * case. Nothing more can be sent to us from now on: the agent keeps it for the connector after us.
 */
#define UPLINK_LEAVE_MS 5000
void uplink_leave(struct uplink *u);

#endif
