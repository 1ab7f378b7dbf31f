/* The agent's listening sockets: systemd's (sd_listen_fds(3), by name) or our own. */
#ifndef COUNTERSIGN_SERVER_SOCKETS_H
#define COUNTERSIGN_SERVER_SOCKETS_H

#include "server/agent.h"
#include "server/config.h"

/* 0 or -errno, after a message on stderr. */
int sockets_open(struct agent *a, const struct config *c);

#endif
