/* Says, once each time, that a disk is full, read-only or broken, and that it is well again. */
#ifndef COUNTERSIGN_SERVER_DISK_H
#define COUNTERSIGN_SERVER_DISK_H

#include "server/agent.h"

/* After every turn, committed or lost. */
void disk_look(struct agent *a);

#endif
