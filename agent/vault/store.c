#include "vault/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"

/* --- Schema --------------------------------------------------------------------------------------
 * Plain columns are an index only; what they say is checked against the ciphertext when read. */

#define RECORD_TABLE(name)                                                                         \
    "CREATE TABLE " name "(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"                        \
    " due INTEGER NOT NULL, k0 BLOB, k1 BLOB, k2 BLOB, k3 BLOB, body BLOB NOT NULL) STRICT;"       \
    "CREATE INDEX " name "_due ON " name "(due) WHERE due > 0;"                                    \
    "CREATE INDEX " name "_k0 ON " name "(k0) WHERE k0 IS NOT NULL;"                               \
    "CREATE INDEX " name "_k1 ON " name "(k1) WHERE k1 IS NOT NULL;"                               \
    "CREATE INDEX " name "_k2 ON " name "(k2) WHERE k2 IS NOT NULL;"                               \
    "CREATE INDEX " name "_k3 ON " name "(k3) WHERE k3 IS NOT NULL;"

/* Step i brings a file from version i to i+1. Steps are never changed, only added. */
static const char *const steps[STORE_SCHEMA] = {
    "PRAGMA application_id = 1129539377;" /* STORE_APPLICATION */
    "CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE entry(n INTEGER PRIMARY KEY, k BLOB NOT NULL UNIQUE, parent BLOB NOT NULL,"
    " name BLOB NOT NULL, body BLOB) STRICT;"
    "CREATE INDEX entry_parent ON entry(parent);"
    "CREATE TABLE audit(seq INTEGER PRIMARY KEY, last INTEGER NOT NULL, body BLOB NOT NULL) STRICT;"
    /* in the order of enum record_table */
    RECORD_TABLE("lease") RECORD_TABLE("token") RECORD_TABLE("session") RECORD_TABLE("factor")
        RECORD_TABLE("proof") RECORD_TABLE("throttle") RECORD_TABLE("handle"),
};
_Static_assert(STORE_APPLICATION == 1129539377, "the number in the first step");

/* --- Statements ------------------------------------------------------------------------------ */

static const char *const fixed_sql[STORE_FIXED] = {
    [STORE_BEGIN] = "BEGIN",
    [STORE_COMMIT] = "COMMIT",
    [STORE_ROLLBACK] = "ROLLBACK",
    [STORE_MARK] = "SAVEPOINT m",
    [STORE_KEEP] = "RELEASE m",
    [STORE_UNDO] = "ROLLBACK TO m",
    [STORE_META_GET] = "SELECT value FROM meta WHERE key = ?1",
    [STORE_META_PUT] = "INSERT INTO meta(key, value) VALUES(?1, ?2)"
                       " ON CONFLICT(key) DO UPDATE SET value = excluded.value",
    [STORE_ENTRY_GET] = "SELECT body FROM entry WHERE k = ?1",
    [STORE_ENTRY_UPDATE] = "UPDATE entry SET body = ?2 WHERE k = ?1",
    [STORE_ENTRY_INSERT] = "INSERT INTO entry(k, parent, name, body) VALUES(?1, ?2, ?3, ?4)",
    [STORE_ENTRY_HAS] = "SELECT 1 FROM entry WHERE k = ?1",
    [STORE_ENTRY_DELETE] = "DELETE FROM entry WHERE k = ?1",
    [STORE_ENTRY_CHILD] = "SELECT 1 FROM entry WHERE parent = ?1 LIMIT 1",
    [STORE_ENTRY_NAMES] = "SELECT k, name FROM entry WHERE parent = ?1",
    /* UNION, not UNION ALL: a file made to hold a cycle must not keep us busy for ever */
    [STORE_ENTRY_TREE] = "WITH RECURSIVE tree(k) AS (VALUES(?1) UNION"
                         " SELECT e.k FROM tree JOIN entry AS e ON e.parent = tree.k)"
                         " DELETE FROM entry WHERE parent IN (SELECT k FROM tree)",
    [STORE_AUDIT_INSERT] = "INSERT INTO audit(seq, last, body) VALUES(?1, ?2, ?3)",
    [STORE_AUDIT_LAST] = "SELECT seq, last, body FROM audit ORDER BY seq DESC LIMIT 1",
    [STORE_AUDIT_AT] =
        "SELECT seq, last, body FROM audit WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1",
    [STORE_AUDIT_FROM] = "SELECT seq, last, body FROM audit WHERE seq > ?1 ORDER BY seq LIMIT 1",
    /* the newest row stays: it is the head; and in slices, so that a backlog does not stall us */
    [STORE_AUDIT_PRUNE] = "DELETE FROM audit WHERE seq < (SELECT max(seq) FROM audit)"
                          " AND seq <= min(?1, (SELECT min(seq) FROM audit) + 20000)"
                          " AND last <= ?1",
};

static const char *const record_names[RECORD_TABLES] = {
    [RECORD_LEASE] = "lease",   [RECORD_TOKEN] = "token", [RECORD_SESSION] = "session",
    [RECORD_FACTOR] = "factor", [RECORD_PROOF] = "proof", [RECORD_THROTTLE] = "throttle",
    [RECORD_HANDLE] = "handle",
};

#define ROW "id, due, k0, k1, k2, k3, body"

/* %s is the table. */
static const char *const record_sql[STORE_REC_OPS] = {
    [STORE_REC_PUT] = "INSERT INTO %s(" ROW ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                      " ON CONFLICT(id) DO UPDATE SET due = excluded.due, k0 = excluded.k0,"
                      " k1 = excluded.k1, k2 = excluded.k2, k3 = excluded.k3, body = excluded.body",
    [STORE_REC_GET] = "SELECT " ROW " FROM %s WHERE id = ?1",
    [STORE_REC_AT] = "SELECT " ROW " FROM %s WHERE n = ?1",
    [STORE_REC_DELETE] = "DELETE FROM %s WHERE id = ?1",
    [STORE_REC_EACH] = "SELECT n, id FROM %s WHERE n > ?3 ORDER BY n LIMIT ?1",
    [STORE_REC_EACH_DUE] = ("SELECT n, id FROM %s WHERE due > 0 AND due <= ?2"
                            " ORDER BY due, n LIMIT ?1"),
    [STORE_REC_NEXT_DUE] = "SELECT due FROM %s WHERE due > 0 ORDER BY due LIMIT 1",
    [STORE_REC_PARK] = "UPDATE %s SET due = -due WHERE n = ?1 AND due > 0",
    [STORE_REC_COUNT] = "SELECT count(*) FROM %s",
    [STORE_REC_EACH_KEY] = "SELECT n, id FROM %s WHERE k0 = ?2 AND n > ?3 ORDER BY n LIMIT ?1",
    [STORE_REC_EACH_KEY + 1] = "SELECT n, id FROM %s WHERE k1 = ?2 AND n > ?3 ORDER BY n LIMIT ?1",
    [STORE_REC_EACH_KEY + 2] = "SELECT n, id FROM %s WHERE k2 = ?2 AND n > ?3 ORDER BY n LIMIT ?1",
    [STORE_REC_EACH_KEY + 3] = "SELECT n, id FROM %s WHERE k3 = ?2 AND n > ?3 ORDER BY n LIMIT ?1",
    [STORE_REC_COUNT_KEY] = "SELECT count(*) FROM %s WHERE k0 = ?1",
    [STORE_REC_COUNT_KEY + 1] = "SELECT count(*) FROM %s WHERE k1 = ?1",
    [STORE_REC_COUNT_KEY + 2] = "SELECT count(*) FROM %s WHERE k2 = ?1",
    [STORE_REC_COUNT_KEY + 3] = "SELECT count(*) FROM %s WHERE k3 = ?1",
};
_Static_assert(RECORD_KEYS == 4, "one statement for each slot");

static int prepare(struct store *s, const char *sql, sqlite3_stmt **out)
{
    return store_errno(s, sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

int store_stmt(struct store *s, enum store_sql which, sqlite3_stmt **out)
{
    int r = s->stmt[which] ? 0 : prepare(s, fixed_sql[which], &s->stmt[which]);
    *out = r < 0 ? NULL : s->stmt[which];
    return r;
}

const char *store_record_name(enum record_table t)
{
    return (unsigned)t < RECORD_TABLES ? record_names[t] : "?";
}

int store_record_stmt(struct store *s, enum record_table t, unsigned op, sqlite3_stmt **out)
{
    *out = NULL;
    if ((unsigned)t >= RECORD_TABLES || op >= STORE_REC_OPS)
        return -EINVAL;
    sqlite3_stmt **slot = &s->record[t][op];
    if (!*slot) {
        char sql[320];
        const char *form = record_sql[op], *gap = strstr(form, "%s");
        int n = snprintf(sql, sizeof(sql), "%.*s%s%s", (int)(gap - form), form, record_names[t],
                         gap + 2);
        if (n < 0 || (size_t)n >= sizeof(sql))
            return -EINVAL;
        int r = prepare(s, sql, slot);
        if (r < 0)
            return r;
    }
    *out = *slot;
    return 0;
}

int store_step(struct store *s, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    int r = store_errno(s, rc);
    sqlite3_reset(st);
    return r;
}

void store_reset(sqlite3_stmt *st)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

void store_bind(sqlite3_stmt *st, int i, const void *p, size_t n)
{
    /* A NULL pointer would bind SQL's NULL; a failure leaves NULL, which the NOT NULL columns and
     * the comparisons refuse. */
    sqlite3_bind_blob64(st, i, p ? p : "", n, SQLITE_STATIC);
}

int store_run(struct store *s, enum store_sql which)
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(s, which, &st);
    return r < 0 ? r : store_step(s, st);
}

int store_errno(const struct store *s, int rc)
{
    static const struct {
        int rc, error;
    } map[] = {
        {SQLITE_OK, 0},
        {SQLITE_ROW, 0},
        {SQLITE_DONE, 0},
        {SQLITE_BUSY, -EBUSY},
        {SQLITE_LOCKED, -EBUSY},
        {SQLITE_FULL, -ENOSPC},
        {SQLITE_READONLY, -EROFS},
        {SQLITE_NOMEM, -ENOMEM},
        {SQLITE_IOERR_NOMEM, -ENOMEM},
        {SQLITE_TOOBIG, -EMSGSIZE},
        {SQLITE_PERM, -EPERM},
        {SQLITE_CORRUPT, -EBADMSG},
        {SQLITE_NOTADB, -EBADMSG},
    };
    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if (rc == map[i].rc)
            return map[i].error;
    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if ((rc & 0xff) == map[i].rc)
            return map[i].error;
    bool system = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
    int e =
        s->db && system ? sqlite3_system_errno(s->db) : 0; /* else it is of an earlier failure */
    return e == ENOSPC || e == EDQUOT ? -ENOSPC : e == EROFS ? -EROFS : -EIO;
}

/* --- Durability ------------------------------------------------------------------------------ */

static const char *firm_level = "FULL";

#ifdef COUNTERSIGN_FAULTS
void store_fault_synchronous(const char *level)
{
    firm_level = level ? level : "FULL";
}
#endif

int store_durability(struct store *s, enum store_durability d)
{
    char sql[48];
    const char *level = d == STORE_LIGHT ? "NORMAL" : firm_level;
    if (s->level == level)
        return 0;
    snprintf(sql, sizeof(sql), "PRAGMA synchronous=%s", level);
    int r = store_errno(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
    s->level = r == 0 ? level : NULL;
    return r;
}

int store_sync(struct store *s)
{
    sqlite3_file *log = NULL;
    int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (rc != SQLITE_OK)
        return store_errno(s, rc);
    if (!log || !log->pMethods)
        return 0; /* no log: the database itself was synced when the log was emptied into it */
    return store_errno(s, log->pMethods->xSync(log, SQLITE_SYNC_NORMAL));
}

bool store_sync_failed(const struct store *s)
{
    int rc = sqlite3_extended_errcode(s->db);
    return rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC;
}

int store_checkpoint(struct store *s)
{
    int rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return store_errno(s, rc);
}

/* --- Opening --------------------------------------------------------------------------------- */

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int create_file(const char *dir, const char *full)
{
    int fd = open(full, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, 0600) < 0 ? -errno : 0; /* whatever the umask was */
    close(fd);
    return r < 0 ? r : sync_dir(dir);
}

/* The file must be ours alone. It is looked at, not opened: see the note on locks in store.h. */
static int check_file(const char *dir, const char *full, char *why, size_t whylen)
{
    struct stat st;
    if (lstat(full, &st) < 0) {
        int r = errno == ENOENT ? create_file(dir, full) : -errno;
        if (r < 0)
            snprintf(why, whylen, "%s: %s", full, strerror(-r));
        return r;
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(why, whylen, "%s is not a regular file", full);
        return S_ISLNK(st.st_mode) ? -ELOOP : -EINVAL;
    }
    if (st.st_uid != geteuid() && geteuid() != 0) {
        snprintf(why, whylen, "%s belongs to uid %lu", full, (unsigned long)st.st_uid);
        return -EPERM;
    }
    if ((st.st_mode & 07777) != 0600 && chmod(full, 0600) < 0) {
        int r = -errno;
        snprintf(why, whylen, "%s: chmod: %s", full, strerror(-r));
        return r;
    }
    return 0;
}

/* The path with its folder's links resolved, so that SQLite may be told to follow none. */
static int resolve(const char *path, char **dir, char **full, char *why, size_t whylen)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    _cleanup_(freep) char *given = slash == path ? strdup("/")
                                   : slash       ? mem_dup(path, (size_t)(slash - path))
                                                 : strdup(".");
    if (!given)
        return -ENOMEM;
    if (!*base)
        return -EISDIR;
    *dir = realpath(given, NULL);
    if (!*dir) {
        int r = -errno;
        snprintf(why, whylen, "%s: %s", given, strerror(-r));
        return r;
    }
    return asprintf(full, "%s/%s", strcmp(*dir, "/") == 0 ? "" : *dir, base) < 0 ? -ENOMEM : 0;
}

static int pragma_int(struct store *s, const char *sql, int *out)
{
    sqlite3_stmt *st = NULL;
    int r = store_errno(s, sqlite3_prepare_v2(s->db, sql, -1, &st, NULL));
    if (r < 0)
        return r;
    r = store_step(s, st);
    if (r == 1) {
        *out = sqlite3_column_int(st, 0);
        r = 0;
    } else if (r == 0) {
        r = -EIO;
    }
    sqlite3_finalize(st);
    return r;
}

/* Before anything is written: is this file one of ours, and not of a later program's making? */
static int check_version(struct store *s, int *version, char *why, size_t whylen)
{
    int app = 0, tables = 0;
    int r = pragma_int(s, "SELECT count(*) FROM sqlite_schema", &tables);
    if (r == 0)
        r = pragma_int(s, "PRAGMA user_version", version);
    if (r == 0)
        r = pragma_int(s, "PRAGMA application_id", &app);
    if (r == -EBUSY)
        snprintf(why, whylen, "another process has the store open");
    if (r < 0)
        return r;
    if ((tables || *version) && app != STORE_APPLICATION) {
        snprintf(why, whylen, "not a Countersign store");
        return -EBADMSG;
    }
    if (*version < 0 || *version > STORE_SCHEMA) {
        snprintf(why, whylen,
                 "the store's schema is version %d, this program knows %d: it was "
                 "written by a newer one",
                 *version, STORE_SCHEMA);
        return -EPROTO;
    }
    return 0;
}

static int exec(struct store *s, const char *sql)
{
    return store_errno(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static int migrate(struct store *s, int version)
{
    for (; version < STORE_SCHEMA; version++) {
        char bump[48];
        snprintf(bump, sizeof(bump), "PRAGMA user_version=%d", version + 1);
        int r = exec(s, "BEGIN IMMEDIATE");
        if (r == 0)
            r = exec(s, steps[version]);
        if (r == 0)
            r = exec(s, bump);
        FAULT_POINT(schema_step);
        if (r == 0)
            r = exec(s, "COMMIT");
        if (r < 0) {
            if (!sqlite3_get_autocommit(s->db))
                exec(s, "ROLLBACK");
            return r;
        }
    }
    return 0;
}

static int configure(struct store *s)
{
    static const char *const pragmas[] = {
        "PRAGMA journal_mode=WAL",   "PRAGMA secure_delete=ON",
        "PRAGMA foreign_keys=ON",    "PRAGMA trusted_schema=OFF",
        "PRAGMA cell_size_check=ON", "PRAGMA temp_store=MEMORY",
        "PRAGMA cache_size=-32768",  "PRAGMA journal_size_limit=16777216",
    };
    int r = store_durability(s, STORE_FIRM);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(pragmas); i++)
        r = exec(s, pragmas[i]);
    return r;
}

static int open_db(struct store *s, const char *full, char *why, size_t whylen)
{
    int rc = sqlite3_open_v2(full, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);
    if (rc != SQLITE_OK)
        return store_errno(s, rc);
    /* Until the version is known the file is not to be touched, not even by emptying its log. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int version = 0;
    int r = exec(s, "PRAGMA locking_mode=EXCLUSIVE");
    if (r == 0)
        r = check_version(s, &version, why, whylen);
    if (r < 0)
        return r;
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    r = configure(s);
    if (r == 0)
        r = migrate(s, version);
    /* Best effort (the disk may be full): what a killed process left unsynced is written anew. */
    if (r == 0)
        store_checkpoint(s);
    return r;
}

int store_open(struct store *s, const char *path, char *why, size_t whylen)
{
    _cleanup_(freep) char *dir = NULL;
    _cleanup_(freep) char *full = NULL;
    int r = resolve(path, &dir, &full, why, whylen);
    if (r == 0)
        r = check_file(dir, full, why, whylen);
    if (r == 0)
        r = open_db(s, full, why, whylen);
    if (r < 0) {
        if (whylen && !*why)
            snprintf(why, whylen, "%s: %s", path, s->db ? sqlite3_errmsg(s->db) : strerror(-r));
        store_close(s);
    }
    return r;
}

int store_sync_folder(const char *path)
{
    char why[8];
    _cleanup_(freep) char *dir = NULL;
    _cleanup_(freep) char *full = NULL;
    int r = resolve(path, &dir, &full, why, sizeof(why));
    return r < 0 ? r : sync_dir(dir);
}

void store_close(struct store *s)
{
    for (size_t i = 0; i < STORE_FIXED; i++)
        sqlite3_finalize(s->stmt[i]);
    for (size_t t = 0; t < RECORD_TABLES; t++)
        for (size_t i = 0; i < STORE_REC_OPS; i++)
            sqlite3_finalize(s->record[t][i]);
    sqlite3_close(s->db);
    *s = (struct store){0};
}
