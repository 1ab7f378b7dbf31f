/* Dev mode: a throwaway agent below one folder. Not for production. */
#ifndef COUNTERSIGN_SERVER_DEV_H
#define COUNTERSIGN_SERVER_DEV_H

#include "server/agent.h"
#include "server/config.h"

/* Initialises and unseals (or unseals again what stands below the folder), starts the connector as
 * a child, prints the root token and writes it to DIR/root-token. 0 or -errno after a message. */
int dev_start(struct agent *a, const struct config *c);

#endif
