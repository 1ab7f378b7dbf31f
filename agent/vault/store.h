/* Inside the vault room: the SQLite file, its schema and its prepared statements.
 *
 * One connection, which holds the file exclusively (no shared memory file, no second process). The
 * statements are prepared once, at their first use, and kept. Never open the database file by other
 * means in this process: closing any descriptor of it would drop SQLite's POSIX locks. */
#ifndef COUNTERSIGN_VAULT_STORE_H
#define COUNTERSIGN_VAULT_STORE_H

#include <sqlite3.h>

#include "base/mem.h"
#include "vault/record.h"

#define STORE_SCHEMA 1               /* the newest schema step this program knows */
#define STORE_APPLICATION 0x43536731 /* PRAGMA application_id: "CSg1" */

enum store_sql {
    STORE_BEGIN,
    STORE_COMMIT,
    STORE_ROLLBACK,
    STORE_MARK,
    STORE_KEEP,
    STORE_UNDO,
    STORE_META_GET,
    STORE_META_PUT,
    STORE_ENTRY_GET,
    STORE_ENTRY_UPDATE,
    STORE_ENTRY_INSERT,
    STORE_ENTRY_HAS,
    STORE_ENTRY_DELETE,
    STORE_ENTRY_CHILD,
    STORE_ENTRY_NAMES,
    STORE_ENTRY_TREE,
    STORE_AUDIT_INSERT,
    STORE_AUDIT_LAST,
    STORE_AUDIT_AT,
    STORE_AUDIT_FROM,
    STORE_AUDIT_PRUNE,
    STORE_FIXED
};

/* The same for every record table. EACH_KEY and COUNT_KEY stand for slot 0; add the slot. */
enum store_record_sql {
    STORE_REC_PUT,
    STORE_REC_GET,
    STORE_REC_AT,
    STORE_REC_DELETE,
    STORE_REC_EACH,
    STORE_REC_EACH_DUE,
    STORE_REC_NEXT_DUE,
    STORE_REC_PARK,
    STORE_REC_COUNT,
    STORE_REC_EACH_KEY,
    STORE_REC_COUNT_KEY = STORE_REC_EACH_KEY + RECORD_KEYS,
    STORE_REC_OPS = STORE_REC_COUNT_KEY + RECORD_KEYS
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *stmt[STORE_FIXED];
    sqlite3_stmt *record[RECORD_TABLES][STORE_REC_OPS];
    const char *level; /* PRAGMA synchronous; NULL: not known */
};

/* Opens or creates the file and brings its schema up to date. As vault_open(). */
int store_open(struct store *s, const char *path, char *why, size_t whylen);
void store_close(struct store *s);
/* Makes a rename in the file's folder last. 0 or -errno. */
int store_sync_folder(const char *path);

/* The -errno for a result code of SQLite; 0 for OK, ROW and DONE. */
int store_errno(const struct store *s, int rc);

/* "lease", "token", …: as the table is called in the file. */
const char *store_record_name(enum record_table t);

/* The prepared statement, ready for binding. Use it with _cleanup_stmt_. */
int store_stmt(struct store *s, enum store_sql which, sqlite3_stmt **out);
int store_record_stmt(struct store *s, enum record_table t, unsigned op, sqlite3_stmt **out);
/* 1 a row, 0 no more rows, -errno. */
int store_step(struct store *s, sqlite3_stmt *st);
void store_reset(sqlite3_stmt *st);
DEFINE_CLEANUP(sqlite3_stmt *, store_reset)
#define _cleanup_stmt_ _cleanup_(store_resetp)

/* Binds bytes the caller keeps until the statement is reset. */
void store_bind(sqlite3_stmt *st, int i, const void *p, size_t n);
/* Runs a statement without parameters and rows. */
int store_run(struct store *s, enum store_sql which);

/* How hard a commit waits for the disk. Outside of a transaction only. Whoever begins one says it
 * anew: a lighter one before it may not have come back to firm. */
enum store_durability {
    STORE_LIGHT, /* survives the process; the next firm commit covers it */
    STORE_FIRM   /* survives a power cut: the default */
};
int store_durability(struct store *s, enum store_durability d);
/* Waits until every commit so far is on the disk. */
int store_sync(struct store *s);
/* Whether the statement that failed last failed in an fsync. */
bool store_sync_failed(const struct store *s);
/* Copies the log into the database and empties it. What it held is written and synced anew, which
 * is what makes it safe again after an fsync that failed. */
int store_checkpoint(struct store *s);

#ifdef COUNTERSIGN_FAULTS
/* Tests only: the PRAGMA synchronous value that stands in for FULL from now on; NULL = FULL. */
void store_fault_synchronous(const char *level);
#endif

#endif
