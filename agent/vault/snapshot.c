/* Taking snapshots; and what both directions share. */
#include "vault/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/snapshot_inner.h"

#define PAGES_A_STEP 256 /* one megabyte */

void snapshot_key(const uint8_t *root, struct snapshot_secret *out)
{
    uint8_t check[SNAPSHOT_CHECK_LEN];
    crypto_kdf_derive_from_key(out->key, sizeof(out->key), 1, "CSsnap--", root);
    crypto_kdf_derive_from_key(check, sizeof(check), 2, "CSsnap--", root);
    encode_hex(check, sizeof(check), out->check);
}

void snapshot_head_hash(const uint8_t *p, size_t n, uint8_t out[SNAPSHOT_HASH_LEN])
{
    crypto_generichash(out, SNAPSHOT_HASH_LEN, p, n, NULL, 0);
}

size_t snapshot_head_length(const uint8_t *p, size_t n)
{
    struct span s = {p, n};
    const uint8_t *magic;
    uint32_t len;
    if (span_bytes(&s, strlen(SNAPSHOT_MAGIC), &magic) < 0 || span_u32(&s, &len) < 0 ||
        memcmp(magic, SNAPSHOT_MAGIC, strlen(SNAPSHOT_MAGIC)) != 0 || len > SNAPSHOT_HEAD_MAX)
        return 0;
    return strlen(SNAPSHOT_MAGIC) + 4 + len + crypto_secretstream_xchacha20poly1305_HEADERBYTES;
}

/* --- Taking one ---------------------------------------------------------------------------------
 */

struct snapshot_save {
    struct vault *vault;
    char *path;
    sqlite3 *copy;
    sqlite3_backup *backup;
    int fd;
    off_t size, done;
    bool ended;
    crypto_secretstream_xchacha20poly1305_state stream;
    uint8_t hash[SNAPSHOT_HASH_LEN];
};

/* What a process that was killed left behind. */
static int remove_old(const char *path)
{
    static const char *const more[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        _cleanup_(freep) char *name = NULL;
        if (asprintf(&name, "%s%s", path, more[i]) < 0) {
            name = NULL;
            return -ENOMEM;
        }
        if (unlink(name) < 0 && errno != ENOENT)
            return -errno;
    }
    return 0;
}

int snapshot_make_file(const char *path)
{
    int r = remove_old(path);
    if (r < 0)
        return r;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static int open_copy(struct snapshot_save *s)
{
    int fd = snapshot_make_file(s->path);
    if (fd < 0)
        return fd;
    close(fd); /* before SQLite locks it: see store.h */
    int rc = sqlite3_open_v2(s->path, &s->copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) /* nobody needs it after a crash */
        rc = sqlite3_exec(s->copy, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL,
                          NULL);
    if (rc == SQLITE_OK)
        s->backup = sqlite3_backup_init(s->copy, "main", s->vault->store.db, "main");
    return s->backup ? 0 : store_errno(&s->vault->store, rc == SQLITE_OK ? SQLITE_ERROR : rc);
}

int snapshot_save_new(struct vault *v, struct snapshot_save **out)
{
    *out = NULL;
    if (!v->ring)
        return -EACCES;
    if (v->in_turn)
        return -EINVAL;
    _cleanup_(snapshot_save_freep) struct snapshot_save *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->vault = v;
    s->fd = -1;
    if (asprintf(&s->path, "%s.snapshot", vault_path(v)) < 0) {
        s->path = NULL;
        return -ENOMEM;
    }
    int r = open_copy(s);
    if (r < 0)
        return r;
    *out = s;
    s = NULL;
    return 0;
}

static int close_copy(struct snapshot_save *s)
{
    int rc = s->backup ? sqlite3_backup_finish(s->backup) : SQLITE_OK;
    int closed = sqlite3_close(s->copy);
    s->backup = NULL;
    s->copy = NULL;
    return store_errno(&s->vault->store, rc != SQLITE_OK ? rc : closed);
}

int snapshot_save_step(struct snapshot_save *s)
{
    struct stat st;
    if (!s->backup)
        return -EINVAL;
    if (s->vault->in_turn)
        return -EINVAL;
    int rc = sqlite3_backup_step(s->backup, PAGES_A_STEP);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return 1;
    int r = close_copy(s);
    if (r < 0)
        return r;
    if (rc != SQLITE_DONE)
        return store_errno(&s->vault->store, rc);
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd < 0 || fstat(s->fd, &st) < 0)
        return -errno;
    s->size = st.st_size;
    return 0;
}

static int put_head(struct snapshot_save *s, const char *host, const char *check, struct buf *out)
{
    char made[CLOCK_STAMP_LEN];
    unsigned shares, threshold;
    _cleanup_buf_ struct buf text = BUF_INIT(SNAPSHOT_HEAD_MAX);
    clock_stamp(clock_wall_ms(), 0, made);
    vault_seal_config(s->vault, &shares, &threshold);
    _cleanup_json_ json_t *head =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:s}", "format", SNAPSHOT_FORMAT,
                  "program", COUNTERSIGN_VERSION, "instance", vault_instance(s->vault), "host",
                  host, "made", made, "generation", (json_int_t)s->vault->audit.head.seq, "bytes",
                  (json_int_t)s->size, "shares", shares, "threshold", threshold, "check", check);
    if (!head)
        return -ENOMEM;
    json_put_ascii(&text, head);
    buf_puts(out, SNAPSHOT_MAGIC);
    buf_put_blob(out, text.data, text.len);
    return buf_error(&text) < 0 ? buf_error(&text) : buf_error(out);
}

int snapshot_save_head(struct snapshot_save *s, const char *host, struct buf *out)
{
    struct snapshot_secret secret;
    uint8_t header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    size_t at = out->len;
    if (s->fd < 0)
        return -EINVAL;
    if (!s->vault->root)
        return -EACCES;
    sodium_mprotect_readonly(s->vault->root);
    snapshot_key(s->vault->root, &secret);
    sodium_mprotect_noaccess(s->vault->root);
    int r = put_head(s, host, secret.check, out);
    if (r == 0) {
        crypto_secretstream_xchacha20poly1305_init_push(&s->stream, header, secret.key);
        buf_put(out, header, sizeof(header));
        r = buf_error(out);
    }
    if (r == 0)
        snapshot_head_hash(out->data + at, out->len - at, s->hash);
    mem_wipe(&secret, sizeof(secret));
    return r;
}

int64_t snapshot_save_bytes(const struct snapshot_save *s)
{
    return s->size;
}

static int read_chunk(struct snapshot_save *s, uint8_t *p, size_t *n)
{
    off_t left = s->size - s->done;
    size_t want = left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK;
    for (*n = 0; *n < want;) {
        ssize_t got = pread(s->fd, p + *n, want - *n, s->done + (off_t)*n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        *n += (size_t)got;
    }
    s->done += (off_t)want;
    return 0;
}

static int put_piece(struct snapshot_save *s, struct buf *out)
{
    uint8_t chunk[SNAPSHOT_CHUNK];
    size_t n;
    int r = read_chunk(s, chunk, &n);
    if (r < 0)
        return r;
    s->ended = s->done == s->size;
    buf_put_u32(out, (uint32_t)(n + crypto_secretstream_xchacha20poly1305_ABYTES));
    uint8_t *c = buf_extend(out, n + crypto_secretstream_xchacha20poly1305_ABYTES);
    if (!c)
        return buf_error(out);
    crypto_secretstream_xchacha20poly1305_push(
        &s->stream, c, NULL, chunk, n, s->hash, sizeof(s->hash),
        s->ended ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0);
    return 0;
}

int snapshot_save_read(struct snapshot_save *s, size_t max, struct buf *out, bool *last)
{
    size_t from = out->len;
    int r = s->fd < 0 ? -EINVAL : 0;
    do {
        if (r == 0 && !s->ended)
            r = put_piece(s, out);
    } while (r == 0 && !s->ended && out->len - from + SNAPSHOT_CHUNK + SNAPSHOT_PIECE_MORE <= max);
    *last = s->ended;
    return r;
}

void snapshot_save_free(struct snapshot_save *s)
{
    if (!s)
        return;
    if (s->copy)
        (void)close_copy(s);
    if (s->fd >= 0)
        close(s->fd);
    if (s->path)
        (void)remove_old(s->path);
    free(s->path);
    mem_free(s, sizeof(*s));
}
