/* Reading snapshots, and putting one in the place of the store. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/snapshot_inner.h"

#define PIECE_MAX (SNAPSHOT_CHUNK + crypto_secretstream_xchacha20poly1305_ABYTES)

struct snapshot_load {
    char *path;
    int fd;
    json_t *head;
    uint8_t *root; /* the key it was opened with; NULL before */
    uint8_t header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    uint8_t hash[SNAPSHOT_HASH_LEN];
    crypto_secretstream_xchacha20poly1305_state stream;
    struct buf piece; /* the one that is being gathered, with its length */
    int64_t written;
    bool ended, bad, finished, taken;
};

static const struct json_field head_fields[] = {
    {"format", JSON_KIND_INT, true, 1, INT32_MAX},
    {"program", JSON_KIND_STRING, true, 0, 64},
    {"instance", JSON_KIND_STRING, true, ENCODE_UUID_LEN, ENCODE_UUID_LEN},
    {"host", JSON_KIND_STRING, true, 0, 256},
    {"made", JSON_KIND_STRING, true, 0, CLOCK_STAMP_LEN},
    {"generation", JSON_KIND_INT, true, 0, INT64_MAX},
    {"bytes", JSON_KIND_INT, true, 1, INT64_MAX},
    {"shares", JSON_KIND_INT, true, 1, 255},
    {"threshold", JSON_KIND_INT, true, 1, 255},
    {"check", JSON_KIND_STRING, true, 2 * SNAPSHOT_CHECK_LEN, 2 * SNAPSHOT_CHECK_LEN},
    {NULL, JSON_KIND_ANY, false, 0, 0},
};

static int parse_head(struct snapshot_load *l, const uint8_t *p, size_t n)
{
    char why[128];
    struct span s = {p, n};
    const uint8_t *magic, *text, *header;
    size_t len;
    if (snapshot_head_length(p, n) != n || span_bytes(&s, strlen(SNAPSHOT_MAGIC), &magic) < 0 ||
        span_blob(&s, &text, &len) < 0 || span_bytes(&s, sizeof(l->header), &header) < 0)
        return SNAPSHOT_E_NONE;
    int r = json_parse((const char *)text, len, &l->head, why, sizeof(why));
    if (r == 0 && json_int(l->head, "format", 0) > SNAPSHOT_FORMAT)
        return SNAPSHOT_E_NEWER;
    if (r == 0)
        r = json_check(l->head, head_fields, false, why, sizeof(why));
    if (r < 0)
        return r == -ENOMEM ? r : SNAPSHOT_E_NONE;
    memcpy(l->header, header, sizeof(l->header));
    snapshot_head_hash(p, n, l->hash);
    return 0;
}

int snapshot_load_new(const char *path, const uint8_t *head, size_t n, struct snapshot_load **out)
{
    *out = NULL;
    _cleanup_(snapshot_load_freep) struct snapshot_load *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->fd = -1;
    l->piece = BUF_INIT(4 + PIECE_MAX);
    int r = parse_head(l, head, n);
    if (r)
        return r;
    l->path = strdup(path);
    if (!l->path)
        return -ENOMEM;
    l->fd = snapshot_make_file(path);
    if (l->fd < 0)
        return l->fd;
    *out = l;
    l = NULL;
    return 0;
}

const json_t *snapshot_load_head(const struct snapshot_load *l)
{
    return l->head;
}

int snapshot_load_key(struct snapshot_load *l, const uint8_t root[VAULT_KEY_LEN])
{
    struct snapshot_secret secret;
    if (l->root)
        return -EINVAL;
    snapshot_key(root, &secret);
    bool fits = mem_equal_str(secret.check, json_str_or(l->head, "check", ""));
    int r = fits ? 0 : SNAPSHOT_E_KEY;
    if (fits) {
        l->root = keyring_key_new();
        r = l->root ? 0 : -ENOMEM;
    }
    if (r == 0) {
        memcpy(l->root, root, VAULT_KEY_LEN);
        if (crypto_secretstream_xchacha20poly1305_init_pull(&l->stream, l->header, secret.key) != 0)
            r = SNAPSHOT_E_DAMAGED;
    }
    mem_wipe(&secret, sizeof(secret));
    return r;
}

static int write_out(struct snapshot_load *l, const uint8_t *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(l->fd, p + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    l->written += (int64_t)n;
    return 0;
}

static int open_piece(struct snapshot_load *l)
{
    uint8_t plain[SNAPSHOT_CHUNK], tag = 0;
    unsigned long long n = 0;
    if (crypto_secretstream_xchacha20poly1305_pull(&l->stream, plain, &n, &tag, l->piece.data + 4,
                                                   l->piece.len - 4, l->hash, sizeof(l->hash)) != 0)
        return SNAPSHOT_E_DAMAGED;
    l->ended = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    buf_reset(&l->piece);
    return write_out(l, plain, (size_t)n);
}

/* How many bytes the piece that is being gathered still wants; 0: its length makes no sense. */
static size_t wants(const struct snapshot_load *l)
{
    struct span s = {l->piece.data, l->piece.len};
    uint32_t len;
    if (l->piece.len < 4)
        return 4 - l->piece.len;
    if (span_u32(&s, &len) < 0 || len < crypto_secretstream_xchacha20poly1305_ABYTES ||
        len > PIECE_MAX)
        return 0;
    return 4 + len - l->piece.len;
}

static int feed(struct snapshot_load *l, const uint8_t **p, size_t *n)
{
    size_t want = wants(l), take = want < *n ? want : *n;
    if (l->ended || !want)
        return SNAPSHOT_E_DAMAGED;
    buf_put(&l->piece, *p, take);
    *p += take;
    *n -= take;
    if (buf_error(&l->piece) < 0)
        return buf_error(&l->piece);
    if (l->piece.len == 4 && !wants(l))
        return SNAPSHOT_E_DAMAGED;
    return l->piece.len > 4 && take == want ? open_piece(l) : 0;
}

int snapshot_load_write(struct snapshot_load *l, const uint8_t *p, size_t n)
{
    int r = l->root && !l->finished && !l->bad ? 0 : -EINVAL;
    while (r == 0 && n > 0)
        r = feed(l, &p, &n);
    l->bad = l->bad || r != 0;
    return r;
}

int snapshot_load_finish(struct snapshot_load *l)
{
    if (!l->root || l->bad)
        return -EINVAL;
    if (!l->ended || l->piece.len || l->written != json_int(l->head, "bytes", -1))
        return SNAPSHOT_E_DAMAGED;
    int r = fsync(l->fd) < 0 ? -errno : 0;
    close(l->fd); /* before SQLite locks the file: see store.h */
    l->fd = -1;
    l->finished = r == 0;
    return r;
}

int snapshot_load_open(struct snapshot_load *l, struct vault **out, char *why, size_t whylen)
{
    *out = NULL;
    if (!l->finished)
        return -EINVAL;
    _cleanup_(vault_closep) struct vault *v = NULL;
    int r = vault_open(l->path, &v, why, whylen);
    if (r == 0 && strcmp(vault_instance(v), json_str_or(l->head, "instance", "")) != 0)
        r = -EBADMSG;
    if (r == 0)
        r = vault_unseal_root(v, l->root);
    if (r != 0) {
        if (!*why)
            snprintf(why, whylen, "the store in the snapshot can't be opened: %s",
                     r < 0 ? strerror(-r) : "its keys are others");
        return r < 0 ? r : -EBADMSG;
    }
    *out = v;
    v = NULL;
    return 0;
}

void snapshot_load_free(struct snapshot_load *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    if (l->path && !l->taken)
        (void)unlink(l->path);
    keyring_key_free(l->root);
    json_decref(l->head);
    buf_clear(&l->piece);
    free(l->path);
    mem_free(l, sizeof(*l));
}

/* --- In place of the store
 * ------------------------------------------------------------------------
 */

static int rename_with(const char *from, const char *to)
{
    return rename(from, to) < 0 && errno != ENOENT ? -errno : 0;
}

/* SQLite's log is empty and gone once a file was closed in order; beside another file it would be
 * that one's, and spoil it. */
static int no_log(const char *path)
{
    _cleanup_(freep) char *log = NULL;
    if (asprintf(&log, "%s-wal", path) < 0) {
        log = NULL;
        return -ENOMEM;
    }
    return access(log, F_OK) == 0 ? -EBUSY : 0;
}

/* Moves the old store aside and the copy to its place. When the second step fails the first is
 * taken back. */
static int swap(const char *store, const char *copy, const char *aside)
{
    int r = no_log(store);
    if (r == 0)
        r = no_log(copy);
    if (r == 0 && aside[0])
        r = rename_with(store, aside);
    if (r < 0)
        return r;
    if (rename(copy, store) < 0) {
        r = -errno;
        if (aside[0])
            (void)rename(aside, store);
        return r;
    }
    return store_sync_folder(store);
}

int snapshot_replace(struct vault *v, struct snapshot_load *l, char *aside, size_t asidelen,
                     char *why, size_t whylen)
{
    aside[0] = *why = '\0';
    if (!l->finished || v->ring || v->in_turn)
        return -EINVAL;
    _cleanup_(freep) char *store = strdup(vault_path(v));
    if (!store)
        return -ENOMEM;
    if (*v->instance && (size_t)snprintf(aside, asidelen, "%s.before-restore-%lld", store,
                                         (long long)clock_wall_s()) >= asidelen)
        return -EMSGSIZE;
    audit_export_close(v);
    store_close(&v->store); /* empties its log into the file */
    int r = swap(store, l->path, aside);
    l->taken = r == 0;
    if (r < 0)
        snprintf(why, whylen, "%s: %s", store, strerror(-r));
    char reopen[256] = "";
    int opened = store_open(&v->store, store, reopen, sizeof(reopen));
    if (opened == 0)
        opened = vault_reload(v);
    if (opened < 0)
        snprintf(why, whylen, "%s", reopen[0] ? reopen : strerror(-opened));
    return r < 0 ? r : opened;
}
