/* The bare limits of the disk: one synced write, and commits of SQLite with the very settings of
 * our store (store_open() makes both the settings and the table). */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "vault/store.h"

#define BLOCK 4096
#define ROW_MAX (64 * 1024)

/* --- fsync ------------------------------------------------------------------------------------*/

int bench_fsync(const struct bench *b)
{
    static struct tally t;
    static char block[BLOCK];
    int fd = open(b->arg[0], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 256 * BLOCK) < 0)
        return bench_failed(b->arg[0]);
    int64_t began = tally_now();
    for (uint64_t i = 0; bench_goes_on(b, began, i); i++) {
        int64_t at = tally_now();
        memset(block, (int)i, sizeof(block));
        if (pwrite(fd, block, BLOCK, (off_t)(i % 256) * BLOCK) != BLOCK || fdatasync(fd) < 0)
            return bench_failed("sync");
        tally_add(&t, tally_now() - at);
    }
    tally_print(&t, 0, (double)(tally_now() - began) / 1e9);
    close(fd);
    return 0;
}

/* --- SQLite -----------------------------------------------------------------------------------*/

static const char upsert[] = "INSERT INTO entry(k, parent, name, body) VALUES(?1, ?2, ?3, ?4)"
                             " ON CONFLICT(k) DO UPDATE SET body = excluded.body";

/* One row as small as an entry of our store can be: hashed names, one sealed value. */
static int put(sqlite3_stmt *st, uint64_t key)
{
    static unsigned char parent[32], name[64], body[300];
    unsigned char k[32];
    crypto_generichash(k, sizeof(k), (const unsigned char *)&key, sizeof(key), NULL, 0);
    randombytes_buf(body, sizeof(body));
    sqlite3_reset(st);
    sqlite3_bind_blob(st, 1, k, sizeof(k), SQLITE_TRANSIENT);
    sqlite3_bind_blob(st, 2, parent, sizeof(parent), SQLITE_STATIC);
    sqlite3_bind_blob(st, 3, name, sizeof(name), SQLITE_STATIC);
    sqlite3_bind_blob(st, 4, body, sizeof(body), SQLITE_STATIC);
    return sqlite3_step(st) == SQLITE_DONE ? 0 : -1;
}

/* A write of KV version 2 is two rows: the key's metadata, and a new version. */
static int commit_rows(sqlite3 *db, sqlite3_stmt *st, const struct bench *b, uint64_t first)
{
    if (sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return -1;
    for (uint64_t i = first; i < first + b->size; i++) {
        if (put(st, i % b->keys) < 0 || put(st, b->keys + i) < 0)
            return -1;
    }
    sqlite3_reset(st);
    return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}

int bench_sqlite(const struct bench *b)
{
    static struct tally t;
    struct store s = {0};
    sqlite3_stmt *st = NULL;
    char why[256] = "";
    errno = 0;
    if (store_open(&s, b->arg[0], why, sizeof(why)) < 0)
        return bench_failed(why);
    if (sqlite3_prepare_v2(s.db, upsert, -1, &st, NULL) != SQLITE_OK)
        return bench_failed(sqlite3_errmsg(s.db));
    int64_t began = tally_now();
    for (uint64_t i = 0; bench_goes_on(b, began, i * b->size); i++) {
        int64_t at = tally_now();
        if (commit_rows(s.db, st, b, i * b->size) < 0)
            return bench_failed(sqlite3_errmsg(s.db));
        int64_t took = tally_now() - at;
        for (uint64_t row = 0; row < b->size; row++)
            tally_add(&t, took);
    }
    tally_print(&t, 0, (double)(tally_now() - began) / 1e9);
    sqlite3_finalize(st);
    store_close(&s);
    return 0;
}
