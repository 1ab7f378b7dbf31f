#include "vault/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"

#define STEPS 16

static bool no_room(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

int64_t reserve_free_space(const char *path)
{
    struct statvfs s;
    if (statvfs(path, &s) < 0)
        return -1;
    return (int64_t)s.f_bavail * (int64_t)s.f_frsize;
}

/* --- The file ------------------------------------------------------------------------------------
 */

static int open_file(struct reserve *r)
{
    struct stat st;
    r->fd = open(r->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (r->fd < 0)
        return -errno;
    int e = fstat(r->fd, &st) < 0 ? -errno : 0;
    /* It is cut and grown at will: only a plain file that has no other name. */
    if (e == 0 && (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid()))
        e = -EPERM;
    if (e < 0) {
        close(r->fd);
        r->fd = -1;
        return e;
    }
    off_t there = (off_t)st.st_blocks * 512;
    r->have = st.st_size < there ? st.st_size : there; /* a sparse file keeps nothing */
    return 0;
}

/* Somebody who looked for room may have removed it: its blocks go when we let go of it. */
static void drop_removed(struct reserve *r)
{
    struct stat st;
    if (r->fd < 0 || (fstat(r->fd, &st) == 0 && st.st_nlink == 1))
        return;
    close(r->fd);
    r->fd = -1;
    r->have = 0;
}

static int grow(struct reserve *r)
{
    int e = r->fd < 0 ? open_file(r) : 0;
    if (e < 0 || r->have >= r->want)
        return e;
    if (reserve_free_space(r->path) < r->want - r->have + RESERVE_MARGIN)
        return -ENOSPC;
    e = -posix_fallocate(r->fd, 0, r->want);
    if (e == 0)
        r->have = r->want;
    else if (ftruncate(r->fd, r->have) < 0) /* half of it helps nobody */
        e = -errno;
    return e;
}

int reserve_open(struct reserve *r, const char *path, off_t bytes)
{
    *r = (struct reserve){.fd = -1, .want = bytes};
    if (asprintf(&r->path, "%s-reserve", path) < 0) {
        r->path = NULL;
        return -ENOMEM;
    }
    reserve_mend(r);
    return 0;
}

void reserve_close(struct reserve *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    *r = (struct reserve){.fd = -1};
}

bool reserve_short(const struct reserve *r)
{
    return r->path && (r->full || r->error == -ENOSPC || r->error == -EDQUOT);
}

void reserve_mend(struct reserve *r)
{
    int64_t now = clock_boot_ms();
    if (!r->path || (r->looked_ms && now - r->looked_ms < RESERVE_LOOK_MS))
        return;
    r->looked_ms = now;
    drop_removed(r);
    if (r->fd >= 0 && r->have >= r->want && !r->full)
        return;
    r->error = grow(r);
    if (r->error == 0 && r->full && reserve_free_space(r->path) >= RESERVE_MARGIN)
        r->full = false;
    if (!reserve_short(r))
        r->short_since_ms = 0;
    else if (!r->short_since_ms)
        r->short_since_ms = clock_wall_ms();
}

bool reserve_release(struct reserve *r)
{
    off_t step = r->want / STEPS, left = r->have > step ? r->have - step : 0;
    if (r->fd < 0 || r->have == 0 || ftruncate(r->fd, left) < 0)
        return false;
    r->have = left;
    r->error = -ENOSPC;
    if (!r->short_since_ms)
        r->short_since_ms = clock_wall_ms();
    return true;
}

void reserve_note(struct reserve *r, int error)
{
    if (!r->path || !no_room(-error))
        return;
    /* The first refusal is looked into at once: it may have been a moment's. */
    r->looked_ms = r->full ? clock_boot_ms() : 0;
    r->full = true;
    if (!r->short_since_ms)
        r->short_since_ms = clock_wall_ms();
}

/* --- SQLite's writes -----------------------------------------------------------------------------
 */

typedef ssize_t (*pwrite_fn)(int fd, const void *p, size_t n, off_t at);

static struct reserve *lent;
static pwrite_fn real_pwrite;

static ssize_t helped_pwrite(int fd, const void *p, size_t n, off_t at)
{
    ssize_t w = real_pwrite(fd, p, n, at);
    while (w < 0 && no_room(errno) && lent && reserve_release(lent))
        w = real_pwrite(fd, p, n, at);
    return w;
}

static bool hook(void)
{
    static const char *const names[] = {"pwrite64", "pwrite"};
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    for (size_t i = 0; vfs && vfs->iVersion >= 3 && i < ARRAY_LEN(names) && !real_pwrite; i++) {
        sqlite3_syscall_ptr was = vfs->xGetSystemCall(vfs, names[i]);
        if (!was)
            continue;
        real_pwrite = (pwrite_fn)was;
        if (vfs->xSetSystemCall(vfs, names[i], (sqlite3_syscall_ptr)helped_pwrite) != SQLITE_OK)
            real_pwrite = NULL;
    }
    return real_pwrite != NULL;
}

bool reserve_lend(struct reserve *r)
{
    lent = r && r->path ? r : NULL;
    return real_pwrite || hook();
}
