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

#endif
