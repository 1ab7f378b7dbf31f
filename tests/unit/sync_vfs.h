/* An SQLite VFS over the real one that counts syncs and can be told to be full or failing. */
#ifndef COUNTERSIGN_TESTS_SYNC_VFS_H
#define COUNTERSIGN_TESTS_SYNC_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

static unsigned long sync_vfs_log_syncs, sync_vfs_db_syncs;
static long sync_vfs_room = -1; /* bytes that may still be written; -1 = as many as you like */
static bool sync_vfs_failing;   /* every sync fails */

struct sync_file {
    sqlite3_file base;
    int flags;
    sqlite3_file *real;
};

static sqlite3_vfs sync_vfs;
static sqlite3_vfs *sync_real;

static inline sqlite3_file *sync_of(sqlite3_file *f)
{
    return ((struct sync_file *)f)->real;
}

static inline int sync_close(sqlite3_file *f)
{
    sqlite3_file *real = sync_of(f);
    int rc = real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
    sqlite3_free(real);
    return rc;
}

static inline int sync_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return sync_of(f)->pMethods->xRead(sync_of(f), p, n, at);
}

static inline int sync_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (sync_vfs_room >= 0) {
        if (sync_vfs_room < n)
            return SQLITE_FULL;
        sync_vfs_room -= n;
    }
    return sync_of(f)->pMethods->xWrite(sync_of(f), p, n, at);
}

static inline int sync_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return sync_of(f)->pMethods->xTruncate(sync_of(f), n);
}

static inline int sync_sync(sqlite3_file *f, int flags)
{
    if (((struct sync_file *)f)->flags & SQLITE_OPEN_WAL)
        sync_vfs_log_syncs++;
    if (((struct sync_file *)f)->flags & SQLITE_OPEN_MAIN_DB)
        sync_vfs_db_syncs++;
    if (sync_vfs_failing)
        return SQLITE_IOERR_FSYNC;
    return sync_of(f)->pMethods->xSync(sync_of(f), flags);
}

static inline int sync_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return sync_of(f)->pMethods->xFileSize(sync_of(f), n);
}

static inline int sync_lock(sqlite3_file *f, int level)
{
    return sync_of(f)->pMethods->xLock(sync_of(f), level);
}

static inline int sync_unlock(sqlite3_file *f, int level)
{
    return sync_of(f)->pMethods->xUnlock(sync_of(f), level);
}

static inline int sync_reserved(sqlite3_file *f, int *out)
{
    return sync_of(f)->pMethods->xCheckReservedLock(sync_of(f), out);
}

static inline int sync_control(sqlite3_file *f, int op, void *arg)
{
    return sync_of(f)->pMethods->xFileControl(sync_of(f), op, arg);
}

static inline int sync_sector(sqlite3_file *f)
{
    return sync_of(f)->pMethods->xSectorSize(sync_of(f));
}

static inline int sync_traits(sqlite3_file *f)
{
    return sync_of(f)->pMethods->xDeviceCharacteristics(sync_of(f));
}

static const sqlite3_io_methods sync_methods = {
    .iVersion = 1, /* no shared memory: the store holds its file alone */
    .xClose = sync_close,
    .xRead = sync_read,
    .xWrite = sync_write,
    .xTruncate = sync_truncate,
    .xSync = sync_sync,
    .xFileSize = sync_size,
    .xLock = sync_lock,
    .xUnlock = sync_unlock,
    .xCheckReservedLock = sync_reserved,
    .xFileControl = sync_control,
    .xSectorSize = sync_sector,
    .xDeviceCharacteristics = sync_traits,
};

static inline int sync_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                            int *out_flags)
{
    (void)vfs;
    struct sync_file *s = (struct sync_file *)f;
    memset(s, 0, sizeof(*s));
    s->flags = flags;
    s->real = sqlite3_malloc(sync_real->szOsFile);
    if (!s->real)
        return SQLITE_NOMEM;
    memset(s->real, 0, (size_t)sync_real->szOsFile);
    int rc = sync_real->xOpen(sync_real, name, s->real, flags, out_flags);
    if (rc != SQLITE_OK)
        sqlite3_free(s->real);
    else
        s->base.pMethods = &sync_methods;
    return rc;
}

static inline void sync_vfs_install(void)
{
    sync_real = sqlite3_vfs_find(NULL);
    sync_vfs = *sync_real;
    sync_vfs.zName = "sync-counting";
    sync_vfs.szOsFile = sizeof(struct sync_file);
    sync_vfs.xOpen = sync_open;
    sync_vfs.pNext = NULL;
    sync_vfs_room = -1;
    sync_vfs_failing = false;
    sqlite3_vfs_register(&sync_vfs, 1);
}

static inline void sync_vfs_remove(void)
{
    sqlite3_vfs_unregister(&sync_vfs);
    sqlite3_vfs_register(sync_real, 1);
}

#endif
