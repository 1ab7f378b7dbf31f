/* The export of the audit chain to a file. The file never runs ahead of the disk: a line is written
 * to it only once the store would still have it after a power cut. So a file that knows later lines
 * of ours than the store does means that an older store was put back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "vault/inner.h"

#define META_SAVED "audit.saved" /* sealed, bound to 's': u64 seq, mac 32 */
#define TAIL_MAX (2 * AUDIT_LINE_MAX + 1024)
#define CHUNK (256 * 1024)
/* How often a run may wait for the disk on behalf of turns that only read: ten times a second, and
 * where the disk is slow, for a twentieth of the time. */
#define FORCE_EVERY_MS 100
#define FORCE_SHARE 20

void audit_export_close(struct vault *v)
{
    if (v->audit.fd >= 0)
        close(v->audit.fd);
    v->audit.fd = -1;
}

/* --- What the store remembers of the file ---------------------------------------------------- */

int audit_load_saved(struct vault *v)
{
    struct audit_book *a = &v->audit;
    a->saved = (struct audit_point){0};
    _cleanup_buf_ struct buf box = BUF_INIT(512);
    _cleanup_buf_ struct buf plain = BUF_INIT(512);
    int r = vault_meta_get(v, META_SAVED, &box);
    if (r == 0) {
        r = keyring_open(v->ring, KEYRING_AUDIT, "s", 1, box.data, box.len, &plain);
        struct span s = {plain.data, plain.len};
        const uint8_t *mac;
        if (r < 0)
            return r;
        if (span_u64(&s, &a->saved.seq) < 0 || span_bytes(&s, VAULT_HASH_LEN, &mac) < 0)
            return -EBADMSG;
        memcpy(a->saved.mac, mac, VAULT_HASH_LEN);
    }
    a->out = a->saved;
    return r < 0 ? r : 0;
}

static int write_saved(struct vault *v, const struct audit_point *at)
{
    uint8_t value[8 + VAULT_HASH_LEN];
    for (int i = 0; i < 8; i++)
        value[i] = (uint8_t)(at->seq >> (8 * i));
    memcpy(value + 8, at->mac, VAULT_HASH_LEN);
    _cleanup_buf_ struct buf box = BUF_INIT(512);
    struct keyring_part part = {value, sizeof(value)};
    int r = keyring_seal(v->ring, KEYRING_AUDIT, "s", 1, &part, 1, &box);
    return r < 0 ? r : vault_meta_write(v, META_SAVED, box.data, box.len);
}

static int prune(struct vault *v, uint64_t upto)
{
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, STORE_AUDIT_PRUNE, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)upto);
    r = store_step(&v->store, st);
    v->audit.backlog = r == 0 && sqlite3_changes(v->store.db) > 0;
    return r;
}

static int save(struct vault *v, enum store_durability d)
{
    struct audit_point at = v->audit.out;
    int r = vault_begin_as(v, d);
    if (r == 0) {
        r = write_saved(v, &at);
        if (r == 0)
            r = prune(v, at.seq);
        r = vault_own_end(v, r);
    }
    (void)store_durability(&v->store, STORE_FIRM); /* else before the next turn */
    if (r == 0)
        v->audit.saved = at;
    return r;
}

/* --- Writing --------------------------------------------------------------------------------- */

static int failed(struct vault *v, int r)
{
    if (r < 0 && !v->audit.failing_since)
        v->audit.failing_since = clock_wall_ms();
    return r;
}

/* All or nothing: what got in of a failed write is cut off again. */
static int write_all(struct vault *v, const struct buf *b)
{
    struct audit_book *a = &v->audit;
    size_t done = 0;
    while (done < b->len) {
        ssize_t n = write(a->fd, b->data + done, b->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        bool full = n < 0 && (errno == ENOSPC || errno == EDQUOT);
        if (full && v->lent && reserve_release(&v->audit_reserve))
            continue;
        if (n <= 0) {
            int r = n < 0 ? -errno : -EIO;
            reserve_note(&v->audit_reserve, r);
            if (ftruncate(a->fd, a->size) < 0)
                audit_export_close(v); /* opening it again mends the torn line */
            return r;
        }
        done += (size_t)n;
    }
    a->size += (off_t)b->len;
    return 0;
}

struct writing {
    struct vault *v;
    uint64_t upto;
    struct buf chunk;
    struct audit_point last;
};

static int flush(struct writing *w)
{
    if (!w->chunk.len)
        return 0;
    int r = write_all(w->v, &w->chunk);
    if (r == 0)
        w->v->audit.out = w->last;
    buf_reset(&w->chunk);
    return r;
}

static int take_line(const char *line, size_t n, const struct audit_point *at, void *data)
{
    struct writing *w = data;
    if (at->seq > w->upto)
        return 1;
    buf_put(&w->chunk, line, n);
    w->last = *at;
    if (buf_error(&w->chunk) < 0)
        return buf_error(&w->chunk);
    return w->chunk.len >= CHUNK ? flush(w) : 0;
}

/* All of the lines that were kept since they were made; 1 when they are not what is wanted. */
static int write_fresh(struct vault *v, uint64_t upto)
{
    struct audit_book *a = &v->audit;
    if (!a->fresh.len || a->fresh_after != a->out.seq || a->fresh_last.seq != upto)
        return 1;
    int r = write_all(v, &a->fresh);
    if (r == 0)
        a->out = a->fresh_last;
    a->fresh.len = 0;
    return r;
}

static int write_lines(struct vault *v, uint64_t upto)
{
    if (v->audit.out.seq >= upto)
        return 0;
    int fresh = write_fresh(v, upto);
    if (fresh <= 0)
        return fresh;
    v->audit.fresh.len = 0;
    struct writing w = {.v = v, .upto = upto, .chunk = BUF_INIT(CHUNK + 2 * AUDIT_LINE_MAX)};
    int r = audit_each_line(v, v->audit.out.seq, take_line, &w);
    if (r >= 0)
        r = flush(&w);
    FAULT_POINT(export_written);
    buf_clear(&w.chunk);
    return r;
}

static int write_header(struct vault *v, const struct audit_point *at)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1024);
    audit_put_header(v, at, &b);
    int r = buf_error(&b);
    if (r == 0)
        r = write_all(v, &b);
    FAULT_POINT(export_header_written);
    if (r == 0)
        v->audit.out = *at;
    return r;
}

/* --- Opening --------------------------------------------------------------------------------- */

static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    _cleanup_(freep) char *dir =
        slash ? mem_dup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!dir)
        return -ENOMEM;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int open_file(struct audit_book *a)
{
    const int flags = O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    a->fd = open(a->path, flags | O_CREAT | O_EXCL, 0640);
    if (a->fd >= 0) {
        if (fchmod(a->fd, 0640) < 0)
            return -errno;
        return sync_folder(a->path);
    }
    if (errno != EEXIST)
        return -errno;
    a->fd = open(a->path, flags);
    return a->fd < 0 ? -errno : 0;
}

static int check_file(struct audit_book *a)
{
    struct stat st;
    if (fstat(a->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (st.st_uid != geteuid() && geteuid() != 0)
        return -EPERM;
    a->size = st.st_size;
    return 0;
}

static int read_tail(const struct audit_book *a, struct buf *out)
{
    size_t n = a->size < TAIL_MAX ? (size_t)a->size : TAIL_MAX, done = 0;
    uint8_t *p = buf_extend(out, n);
    if (!p)
        return buf_error(out);
    while (done < n) {
        ssize_t got = pread(a->fd, p + done, n - done, a->size - (off_t)(n - done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        done += (size_t)got;
    }
    return 0;
}

/* The last whole line and the one before it (NULL where there is none). */
struct tail {
    const char *last, *before;
    size_t last_len, before_len;
};

/* Takes the line that ends (with its newline) at end off the back. */
static const char *back_one(const char *start, const char *end, size_t *len)
{
    if (end == start)
        return NULL;
    const char *nl = memrchr(start, '\n', (size_t)(end - 1 - start));
    const char *line = nl ? nl + 1 : start;
    *len = (size_t)(end - 1 - line);
    return line;
}

/* Cuts off a torn last line, then finds the last two. */
static int find_tail(struct audit_book *a, const struct buf *b, struct tail *t)
{
    *t = (struct tail){0};
    const char *start = (const char *)b->data, *end = start + b->len;
    const char *nl = memrchr(start, '\n', b->len);
    const char *whole = nl ? nl + 1 : start;
    if (whole == start && a->size > (off_t)b->len)
        return 0; /* no line is that long: this is not our file's end */
    if (whole < end) {
        off_t cut = a->size - (end - whole);
        if (ftruncate(a->fd, cut) < 0)
            return -errno;
        a->size = cut;
    }
    t->last = back_one(start, whole, &t->last_len);
    if (t->last)
        t->before = back_one(start, t->last, &t->before_len);
    return 0;
}

/* Whether the line is one of ours by the line before it, whatever the store knows. */
static bool genuine(const struct vault *v, const struct tail *t)
{
    struct audit_point prev = {0};
    size_t covered;
    if (!t->before)
        return false;
    if (audit_is_header(t->before, t->before_len)) {
        if (audit_parse_header(v, t->before, t->before_len, &prev) != 0)
            return false;
    } else if (!audit_parse(t->before, t->before_len, &prev, &covered)) {
        return false;
    }
    return audit_follows(v, &prev, t->last, t->last_len);
}

/* Where the file stands. 0 with *at; AUDIT_E_BROKEN: it isn't what we left; -ESTALE: it has seen
 * lines of ours that the store has not. */
static int judge(struct vault *v, const struct tail *t, struct audit_point *at)
{
    struct audit_point known;
    size_t covered;
    if (!t->last)
        return AUDIT_E_BROKEN;
    bool header = audit_is_header(t->last, t->last_len);
    if (header) {
        int r = audit_parse_header(v, t->last, t->last_len, at);
        if (r)
            return r;
    } else if (!audit_parse(t->last, t->last_len, at, &covered)) {
        return AUDIT_E_BROKEN;
    }
    int r = audit_point_at(v, at->seq, &known);
    if (r < 0)
        return r;
    bool agrees = r == 0 && mem_equal(known.mac, sizeof(known.mac), at->mac, sizeof(at->mac));
    bool ours = !header && genuine(v, t);
    if (agrees && (ours || header) && at->seq >= v->audit.saved.seq)
        return 0;
    bool unknown = r == 0 ? !agrees : at->seq > v->audit.head.seq;
    return unknown && ours ? -ESTALE : AUDIT_E_BROKEN;
}

static int attach_to(struct vault *v)
{
    struct audit_book *a = &v->audit;
    int r = open_file(a);
    if (r == 0)
        r = check_file(a);
    if (r < 0)
        return r;
    _cleanup_buf_ struct buf b = BUF_INIT(TAIL_MAX);
    struct tail t = {0};
    if (a->size) {
        r = read_tail(a, &b);
        if (r == 0)
            r = find_tail(a, &b, &t);
        if (r < 0)
            return r;
    }
    if (!a->size)
        return write_header(v, &a->saved);
    struct audit_point at;
    r = judge(v, &t, &at);
    if (r == 0)
        a->out = at;
    if (r != AUDIT_E_BROKEN)
        return r;
    r = write_header(v, &a->saved);
    return r < 0 ? r : AUDIT_E_BROKEN;
}

static int attach(struct vault *v)
{
    v->audit.out = v->audit.saved;
    int r = attach_to(v);
    if (r < 0)
        audit_export_close(v);
    return r;
}

/* --- The interface --------------------------------------------------------------------------- */

static int allowed(const struct vault *v)
{
    if (!v->ring)
        return -EACCES;
    return v->in_turn ? -EINVAL : 0;
}

/* Opens the file if need be, or anew when somebody removed it. */
static int ensure_file(struct vault *v)
{
    struct stat st;
    struct audit_book *a = &v->audit;
    bool gone = a->fd >= 0 && fstat(a->fd, &st) == 0 && st.st_nlink == 0;
    if (gone)
        audit_export_close(v);
    if (a->fd >= 0)
        return 0;
    int r = attach(v);
    return r == 0 && gone ? AUDIT_E_BROKEN : r;
}

/* What may be exported: makes the lines of turns that only read durable first, now and then. */
static int make_durable(struct vault *v, bool force)
{
    struct audit_book *a = &v->audit;
    if (a->durable >= a->head.seq)
        return 0;
    int64_t now = clock_boot_ms();
    if (!force && now < a->force_again_ms)
        return 0;
    uint64_t head = a->head.seq;
    int r = store_sync(&v->store);
    if (r < 0) {
        v->suspect = true;
        return r;
    }
    int64_t after = clock_boot_ms(), took = after - now;
    a->durable = head;
    a->force_again_ms =
        after + (took * FORCE_SHARE > FORCE_EVERY_MS ? took * FORCE_SHARE : FORCE_EVERY_MS);
    return 0;
}

static int run(struct vault *v, bool force)
{
    struct audit_book *a = &v->audit;
    int r = allowed(v);
    if (r < 0)
        return r;
    if (!a->path)
        return -EBADF;
    reserve_mend(&v->audit_reserve);
    int outcome = ensure_file(v);
    if (outcome < 0)
        return failed(v, outcome);
    r = make_durable(v, force);
    if (r == 0)
        r = write_lines(v, a->durable);
    if (r < 0)
        return failed(v, r);
    a->failing_since = 0;
    return outcome;
}

int audit_export_run(struct vault *v)
{
    return run(v, false);
}

static int sync_export(struct vault *v, enum store_durability d)
{
    struct audit_book *a = &v->audit;
    int outcome = run(v, true);
    if (outcome < 0)
        return outcome;
    if (a->out.seq == a->saved.seq && !a->backlog)
        return outcome;
    if (fdatasync(a->fd) < 0)
        return failed(v, -errno);
    FAULT_POINT(export_synced);
    int r = save(v, d);
    FAULT_POINT(export_pruned);
    return r < 0 ? r : outcome;
}

int audit_export_sync(struct vault *v)
{
    return sync_export(v, STORE_LIGHT);
}

int audit_export_open(struct vault *v, const char *path)
{
    struct audit_book *a = &v->audit;
    int r = allowed(v);
    if (r < 0)
        return r;
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    /* The next file begins behind what is safely in this one. If this one can't be finished, its
     * last lines are written again into the next. */
    if (a->fd >= 0 && a->out.seq != a->saved.seq)
        sync_export(v, STORE_FIRM);
    FAULT_POINT(export_rotating);
    audit_export_close(v);
    free(a->path);
    a->path = copy;
    r = attach(v);
    FAULT_POINT(export_rotated);
    if (r >= 0)
        a->failing_since = 0;
    return failed(v, r);
}

int audit_export_set_aside(struct vault *v)
{
    struct audit_book *a = &v->audit;
    int r = allowed(v);
    if (r < 0)
        return r;
    if (!a->path)
        return -EBADF;
    char *aside = NULL;
    if (asprintf(&aside, "%s.superseded-%lld", a->path, (long long)clock_wall_s()) < 0)
        return -ENOMEM;
    audit_export_close(v);
    r = rename(a->path, aside) < 0 && errno != ENOENT ? -errno : 0;
    free(aside);
    return r < 0 ? r : sync_folder(a->path);
}

void audit_export_state(const struct vault *v, uint64_t *waiting, int64_t *failing_since)
{
    const struct audit_book *a = &v->audit;
    *waiting = a->head.seq > a->out.seq ? a->head.seq - a->out.seq : 0;
    *failing_since = a->failing_since;
}
