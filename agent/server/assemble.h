/* The agent, put together out of its parts and taken apart again: the one place that knows which
 * part needs which, and who is told what. Programs bring the loop, the store, and (afterwards) the
 * sockets. */
#ifndef COUNTERSIGN_SERVER_ASSEMBLE_H
#define COUNTERSIGN_SERVER_ASSEMBLE_H

#include "server/agent.h"

/* The threads that look people up and compare codes, with what they remember: needs a->loop. Block
 * the signals first that the loop is to take. 0 or -errno; assemble_free_workers() in any case. */
int assemble_workers(struct agent *a);
/* What hangs behind a thread that does not end is left to the kernel. */
void assemble_free_workers(struct agent *a);

/* Everything else: needs a->loop, a->vault (open, sealed) and the workers. 0 or -errno;
 * assemble_close() in any case. */
int assemble_open(struct agent *a);
/* Frees what assemble_open() made, brings what the log and the clock have seen to the disk, and
 * closes the vault, which wipes the keys. The workers stay, the loop is the caller's. */
void assemble_close(struct agent *a);

#endif
