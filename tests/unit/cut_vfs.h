/* An SQLite VFS on an imaginary disk: what was written reaches the disk with the next sync. At a
 * power cut, of everything not yet synced some writes got there, some did not, and some only in
 * part. */
#ifndef COUNTERSIGN_TESTS_CUT_VFS_H
#define COUNTERSIGN_TESTS_CUT_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CUT_FILES 8
#define CUT_SECTOR 512

struct cut_op {
    struct cut_op *next;
    sqlite3_int64 at;
    size_t n;
    bool truncate; /* to the length at */
    uint8_t data[];
};

struct cut_bytes {
    uint8_t *p;
    size_t len;
};

struct cut_disk_file {
    char name[256];
    struct cut_bytes now, disk; /* as the process sees it, and as the disk has it */
    struct cut_op *first, **last;
};

struct cut_file {
    sqlite3_file base;
    struct cut_disk_file *d;
};

static struct cut_disk_file cut_files[CUT_FILES];
static bool cut_dead;  /* the power is off: everything fails */
static long cut_after; /* operations left until then; -1 = never */
static uint64_t cut_seed = 1;
static sqlite3_vfs cut_vfs;

static inline uint32_t cut_random(uint32_t below)
{
    cut_seed ^= cut_seed << 13;
    cut_seed ^= cut_seed >> 7;
    cut_seed ^= cut_seed << 17;
    return (uint32_t)((cut_seed >> 16) % below);
}

static inline void cut_resize(struct cut_bytes *b, size_t len)
{
    if (len > b->len) {
        b->p = realloc(b->p, len);
        if (!b->p)
            abort();
        memset(b->p + b->len, 0, len - b->len);
    }
    b->len = len;
}

static inline void cut_apply(struct cut_bytes *b, const struct cut_op *op)
{
    if (op->truncate) {
        cut_resize(b, (size_t)op->at);
        return;
    }
    if ((size_t)op->at + op->n > b->len)
        cut_resize(b, (size_t)op->at + op->n);
    memcpy(b->p + op->at, op->data, op->n);
}

/* Some sectors of a write arrive, one of them perhaps as noise. */
static inline void cut_apply_torn(struct cut_bytes *b, const struct cut_op *op)
{
    for (size_t i = 0; i < op->n;) {
        size_t step = CUT_SECTOR - ((size_t)op->at + i) % CUT_SECTOR, left = op->n - i;
        size_t n = step < left ? step : left, at = (size_t)op->at + i;
        if (cut_random(2)) {
            if (at + n > b->len)
                cut_resize(b, at + n);
            memcpy(b->p + at, op->data + i, n);
            if (cut_random(16) == 0)
                for (size_t k = 0; k < n; k++)
                    b->p[at + k] = (uint8_t)cut_random(256);
        }
        i += n;
    }
}

static inline void cut_forget_ops(struct cut_disk_file *d)
{
    while (d->first) {
        struct cut_op *op = d->first;
        d->first = op->next;
        free(op);
    }
    d->last = &d->first;
}

/* Everything unsynced of one file reaches the disk in order. */
static inline void cut_settle(struct cut_disk_file *d)
{
    for (struct cut_op *op = d->first; op; op = op->next)
        cut_apply(&d->disk, op);
    cut_forget_ops(d);
}

/* The power goes and comes back. */
static inline void cut_power(void)
{
    bool all_lost = cut_random(3) == 0;
    for (int i = 0; i < CUT_FILES; i++) {
        struct cut_disk_file *d = &cut_files[i];
        for (struct cut_op *op = d->first; op && !all_lost; op = op->next) {
            uint32_t fate = cut_random(3);
            if (fate == 0 || (op->truncate && fate == 1))
                cut_apply(&d->disk, op);
            else if (fate == 1)
                cut_apply_torn(&d->disk, op);
        }
        cut_forget_ops(d);
        cut_resize(&d->now, d->disk.len);
        if (d->disk.len)
            memcpy(d->now.p, d->disk.p, d->disk.len);
    }
    cut_dead = false;
    cut_after = -1;
}

static inline void cut_format(void)
{
    for (int i = 0; i < CUT_FILES; i++) {
        cut_forget_ops(&cut_files[i]);
        free(cut_files[i].now.p);
        free(cut_files[i].disk.p);
        memset(&cut_files[i], 0, sizeof(cut_files[i]));
        cut_files[i].last = &cut_files[i].first;
    }
    cut_dead = false;
    cut_after = -1;
}

/* One operation on the disk; false if the power is off. */
static inline bool cut_tick(void)
{
    if (cut_after > 0 && --cut_after == 0)
        cut_dead = true;
    return !cut_dead;
}

static inline int cut_queue(struct cut_disk_file *d, const void *p, size_t n, sqlite3_int64 at,
                            bool truncate)
{
    if (cut_dead)
        return SQLITE_IOERR;
    struct cut_op *op = malloc(sizeof(*op) + n);
    if (!op)
        return SQLITE_NOMEM;
    *op = (struct cut_op){.at = at, .n = n, .truncate = truncate};
    if (n)
        memcpy(op->data, p, n);
    *d->last = op;
    d->last = &op->next;
    cut_apply(&d->now, op);
    return cut_tick() ? SQLITE_OK : SQLITE_IOERR; /* the last one is on its way, who knows */
}

static inline struct cut_disk_file *cut_of(sqlite3_file *f)
{
    return ((struct cut_file *)f)->d;
}

static inline int cut_close(sqlite3_file *f)
{
    (void)f;
    return SQLITE_OK;
}

static inline int cut_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    const struct cut_bytes *b = &cut_of(f)->now;
    if (cut_dead)
        return SQLITE_IOERR_READ;
    size_t have = (size_t)at >= b->len ? 0 : b->len - (size_t)at;
    size_t take = have < (size_t)n ? have : (size_t)n;
    if (take)
        memcpy(p, b->p + at, take);
    memset((char *)p + take, 0, (size_t)n - take);
    return take < (size_t)n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static inline int cut_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    return cut_queue(cut_of(f), p, (size_t)n, at, false);
}

static inline int cut_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return cut_queue(cut_of(f), NULL, 0, n, true);
}

static inline int cut_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    if (!cut_tick())
        return SQLITE_IOERR_FSYNC;
    cut_settle(cut_of(f));
    return SQLITE_OK;
}

static inline int cut_size(sqlite3_file *f, sqlite3_int64 *n)
{
    *n = (sqlite3_int64)cut_of(f)->now.len;
    return cut_dead ? SQLITE_IOERR : SQLITE_OK;
}

static inline int cut_lock(sqlite3_file *f, int level)
{
    (void)f;
    (void)level;
    return SQLITE_OK;
}

static inline int cut_reserved(sqlite3_file *f, int *out)
{
    (void)f;
    *out = 0;
    return SQLITE_OK;
}

static inline int cut_control(sqlite3_file *f, int op, void *arg)
{
    (void)f;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static inline int cut_sector(sqlite3_file *f)
{
    (void)f;
    return CUT_SECTOR;
}

static inline int cut_traits(sqlite3_file *f)
{
    (void)f;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* a torn write leaves its neighbours alone */
}

static const sqlite3_io_methods cut_methods = {
    .iVersion = 1,
    .xClose = cut_close,
    .xRead = cut_read,
    .xWrite = cut_write,
    .xTruncate = cut_truncate,
    .xSync = cut_sync,
    .xFileSize = cut_size,
    .xLock = cut_lock,
    .xUnlock = cut_lock,
    .xCheckReservedLock = cut_reserved,
    .xFileControl = cut_control,
    .xSectorSize = cut_sector,
    .xDeviceCharacteristics = cut_traits,
};

static inline struct cut_disk_file *cut_find(const char *name)
{
    for (int i = 0; name && i < CUT_FILES; i++)
        if (strcmp(cut_files[i].name, name) == 0)
            return &cut_files[i];
    return NULL;
}

static inline int cut_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                           int *out_flags)
{
    (void)vfs;
    struct cut_file *c = (struct cut_file *)f;
    c->base.pMethods = NULL;
    if (!name || cut_dead)
        return SQLITE_CANTOPEN; /* no temporary files: they stay in memory */
    c->d = cut_find(name);
    for (int i = 0; !c->d && i < CUT_FILES; i++)
        if (!cut_files[i].name[0]) {
            c->d = &cut_files[i];
            strncpy(c->d->name, name, sizeof(c->d->name) - 1);
        }
    if (!c->d)
        return SQLITE_CANTOPEN;
    c->base.pMethods = &cut_methods;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static inline int cut_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    (void)sync_dir;
    struct cut_disk_file *d = cut_find(name);
    if (cut_dead)
        return SQLITE_IOERR_DELETE;
    if (!d)
        return SQLITE_IOERR_DELETE_NOENT;
    cut_forget_ops(d);
    free(d->now.p);
    free(d->disk.p);
    memset(d, 0, sizeof(*d));
    d->last = &d->first;
    return SQLITE_OK;
}

static inline int cut_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    (void)flags;
    struct cut_disk_file *d = cut_find(name);
    *out = d && d->now.len > 0;
    return cut_dead ? SQLITE_IOERR : SQLITE_OK;
}

static inline int cut_path(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
    (void)vfs;
    if (strlen(name) >= (size_t)n)
        return SQLITE_CANTOPEN;
    strcpy(out, name);
    return SQLITE_OK;
}

static inline void cut_vfs_install(void)
{
    cut_vfs = *sqlite3_vfs_find(NULL);
    cut_vfs.zName = "power-cut";
    cut_vfs.szOsFile = sizeof(struct cut_file);
    cut_vfs.xOpen = cut_open;
    cut_vfs.xDelete = cut_delete;
    cut_vfs.xAccess = cut_access;
    cut_vfs.xFullPathname = cut_path;
    cut_vfs.pNext = NULL;
    sqlite3_vfs_register(&cut_vfs, 1);
    cut_format();
}

#endif
