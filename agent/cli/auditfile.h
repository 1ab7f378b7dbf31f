/* Reading the audit log in pieces that fit a request. */
#ifndef COUNTERSIGN_CLI_AUDITFILE_H
#define COUNTERSIGN_CLI_AUDITFILE_H

#include <stdint.h>

#include "base/buf.h"

/* Outcomes of auditfile_next(). */
enum { AUDITFILE_END = 1, AUDITFILE_BROKEN = 2 };

struct auditfile {
    int fd;
    uint64_t lines;  /* handed out so far */
    uint64_t bytes;  /* read so far */
    struct buf rest; /* read but not handed out */
    const char *why; /* AUDITFILE_BROKEN: what is wrong with line lines + 1 */
};

/* 0 or -errno. */
int auditfile_open(struct auditfile *f, const char *path);
void auditfile_close(struct auditfile *f);

/* The next whole lines, as many as fit into a batch (also when escaped as JSON), and how many. 0;
 * AUDITFILE_END; AUDITFILE_BROKEN for a line that no record can be: not UTF-8, a NUL, too long, or
 * (after a short wait: it may just be being written) without an end; -errno. */
int auditfile_next(struct auditfile *f, struct buf *batch, uint64_t *lines);

#endif
