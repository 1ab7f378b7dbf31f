/* Room kept back on a file system, for what must work when it is full. Internal to vault/.
 *
 * A reserve is a file of a fixed size beside the one it serves, with its blocks allocated. Where a
 * write finds the disk full and the reserve is lent just then, the file is made shorter by a step
 * and the write is tried again. From then on the reserve is short, and whoever is not lent it has
 * to be refused, or they would use up what was freed; when there is room again, it is made whole.
 *
 * SQLite's writes are reached through its unix VFS's pwrite (sqlite3_vfs.xSetSystemCall). All
 * functions are for one thread. */
#ifndef COUNTERSIGN_VAULT_RESERVE_H
#define COUNTERSIGN_VAULT_RESERVE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"

#define RESERVE_MARGIN (1024 * 1024) /* what must be free besides before it is made whole */
#define RESERVE_LOOK_MS 250          /* how often that is looked for */

struct reserve {
    char *path; /* NULL: there is none, and it is never short */
    int fd;
    off_t want, have;                  /* bytes */
    bool full;                         /* a write found no room that nobody was lent */
    int error;                         /* -errno why it could not be made whole; 0 */
    int64_t looked_ms, short_since_ms; /* boot time of the last look, wall time; 0 */
};

/* Keeps bytes back beside path (in path with "-reserve" behind it, 0600). A reserve that can't be
 * made now is short, and made later. 0, -ENOMEM. */
int reserve_open(struct reserve *r, const char *path, off_t bytes);
/* Leaves the file. */
void reserve_close(struct reserve *r);
/* Whether those it isn't lent must be refused. */
bool reserve_short(const struct reserve *r);
/* Makes it whole again if there is room; looks at most every RESERVE_LOOK_MS. */
void reserve_mend(struct reserve *r);
/* Gives up a step. False when nothing is left. */
bool reserve_release(struct reserve *r);
/* A write was refused with -errno: for want of room? Then others are refused, too, until there is
 * some. */
void reserve_note(struct reserve *r, int error);
/* Bytes that the file system of path still gives to this process; -1 if it can't be told. */
int64_t reserve_free_space(const char *path);

/* SQLite's writes that find the disk full use this one from now on; NULL: none. False when SQLite
 * lets nobody in between. */
bool reserve_lend(struct reserve *r);

#endif
