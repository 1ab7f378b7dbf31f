/* Reading one process of /proc through one descriptor, which can't come to mean another process. */
#ifndef COUNTERSIGN_IDENTITY_PROC_H
#define COUNTERSIGN_IDENTITY_PROC_H

#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"

/* Opens /proc/PID. Reads below it fail with -ESRCH once that process is gone, even when its number
 * is taken again. A descriptor (the caller closes it), -ESRCH, -errno. */
int proc_open(pid_t pid);
/* Reads a whole file below it as NUL-terminated text. 0; -EMSGSIZE when it does not fit; -errno. */
int proc_read(int dir, const char *name, char *out, size_t size);
/* Reads a decimal number of 32 bits. 0, -EBADMSG, -errno. */
int proc_read_u32(int dir, const char *name, uint32_t *out);
/* The effective ids of /proc/PID/status. 0, -EBADMSG, -errno. */
int proc_read_ids(int dir, uid_t *uid, gid_t *gid);
/* When the process started, in clock ticks since boot (field 22 of /proc/PID/stat), and whether it
 * still runs (a zombie does not). 0, -ESRCH, -EBADMSG, -errno. */
int proc_start(pid_t pid, uint64_t *start, bool *running);
/* The same from the text of the file. 0, -EBADMSG. */
int proc_parse_stat(const char *stat, uint64_t *start, bool *running);

#endif
