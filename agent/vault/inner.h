/* Inside the vault room: what its files share. */
#ifndef COUNTERSIGN_VAULT_INNER_H
#define COUNTERSIGN_VAULT_INNER_H

#include <sys/types.h>

#include "base/encode.h"
#include "vault/audit.h"
#include "vault/keyring.h"
#include "vault/known.h"
#include "vault/peek.h"
#include "vault/reserve.h"
#include "vault/store.h"
#include "vault/vault.h"

#define VAULT_MARKS_MAX 32

/* Names of the seal's own plain settings. What they say is authenticated by the boxes among them:
 * each is bound to the instance id. An empty value is none. */
#define VAULT_META_INSTANCE "seal.instance"
#define VAULT_META_CONFIG "seal.config" /* to be shown only: see vault_config_write() */
#define VAULT_META_ROOT "seal.root"
#define VAULT_META_ROOT_NEXT "seal.root-next" /* the same by the unseal key of a reseal */
#define VAULT_META_WRAPPER "seal.wrapper"
#define VAULT_META_WRAPPER_NEXT "seal.wrapper-next"
#define VAULT_META_KEYRING "seal.keyring"
#define VAULT_META_MAX (1024 * 1024)

#define VAULT_SCRATCH_MAX (512 * 1024 * 1024) /* half of it is what one turn may say in the log */

/* A point in the audit chain. */
struct audit_point {
    uint64_t seq;
    uint8_t mac[VAULT_HASH_LEN];
};

struct audit_book {
    struct audit_point head; /* the newest committed line */
    struct audit_point tip;  /* the newest line of this turn (or the head) */
    struct buf lines;        /* this turn's lines, each with its newline */
    uint64_t durable;        /* the newest line known to be on the disk */

    char *path; /* the export; NULL before audit_export_open() */
    int fd;     /* -1: not open */
    off_t size;
    struct audit_point out; /* the newest line written to the file */
    struct buf fresh;       /* committed lines, so that they need not be read back for the file */
    uint64_t fresh_after;   /* … those behind this one … */
    struct audit_point fresh_last; /* … up to this one */
    struct audit_point saved;      /* the newest line known to rest in it, as the store remembers */
    int64_t failing_since;         /* wall ms; 0 = it works */
    int64_t force_again_ms;        /* boot time before which none is made again */
    bool backlog;                  /* the last pruning took a slice, there may be more */
};

struct vault_mark {
    size_t audit_len;
    struct audit_point tip;
    bool changed;
    bool real; /* there is a savepoint for it: made at the first write behind the mark */
};

struct entry_watch; /* entry.h */

struct vault {
    struct store store;
    struct keyring *ring; /* NULL = sealed */
    uint8_t *root;        /* no access but while it is used */
    char instance[ENCODE_UUID_LEN + 1];
    unsigned shares, threshold;
    enum vault_seal_kind kind;

    bool in_turn;
    bool wrote;      /* the transaction was upgraded to a writing one */
    bool changed;    /* there is something to commit durably */
    bool suspect;    /* an fsync failed: what it covered may be lost */
    int dead;        /* -errno that took the whole transaction with it */
    unsigned spoilt; /* 1 + the depth at which a write failed halfway; 0 = none */
    unsigned depth;
    uint64_t passed_over; /* broken rows that visits went on behind */
    struct vault_mark mark[VAULT_MARKS_MAX];

    struct entry_watch *watch; /* entry.h; NULL but while a request is tried out */
    struct reserve store_reserve, audit_reserve;
    bool lent;              /* what is done now may use them */
    int write_error;        /* -errno of the last commit that wrote something; 0: it worked */
    int64_t write_error_ms; /* wall time since when it fails */

    struct buf scratch; /* ciphertext being made or plaintext being read; wiped after each use */
    struct audit_book audit;
    struct peek peek;
    struct known known;
};

/* 0 if rows can be read: unsealed, and the turn (if any) is not lost. */
int vault_ready(const struct vault *v);
/* Around every write: makes the pending savepoints, or a turn of its own when there is none, which
 * end() then commits (r >= 0) or takes back. end() returns r, or the commit's error. */
int vault_write_begin(struct vault *v, bool *own);
int vault_write_end(struct vault *v, bool own, int r);
/* 0, or -ENOSPC: the disk is full, and what is left is kept for others (vault_lend()). */
int vault_has_room(struct vault *v);
/* What became of a commit that wrote something. */
void vault_note_write(struct vault *v, int r);
/* Wipes the scratch buffer. */
void vault_scratch_done(struct vault *v);
/* vault_begin() for a turn that need not wait for the disk. */
int vault_begin_as(struct vault *v, enum store_durability d);
/* vault_begin() for the room's own housekeeping: refused, as all else is, while the disk is full.
 */
int vault_own_begin(struct vault *v);
/* Ends a transaction of the room's own, begun by any of them. */
int vault_own_end(struct vault *v, int r);
/* u32 shares, u32 threshold, u32 kind (absent: HOST), into the open transaction. */
int vault_config_write(struct vault *v, unsigned shares, unsigned threshold,
                       enum vault_seal_kind kind);
/* After unsealing with this key (of the row NEXT?): what is better done now than never. */
void vault_unsealed_with(struct vault *v, const uint8_t *unseal_key, bool next);
/* What the store says of itself, after another file took its place. */
int vault_reload(struct vault *v);
/* vault_meta_put() without a turn's bookkeeping. */
int vault_meta_write(struct vault *v, const char *key, const void *p, size_t n);

/* --- Audit, for vault.c and audit_export.c --------------------------------------------------- */
#define AUDIT_LINE_MAX (64 * 1024)
#define AUDIT_MAC_HEX (2 * VAULT_HASH_LEN)

/* Reads the head after unsealing; forgets everything at sealing. */
int audit_load(struct vault *v);
void audit_forget(struct vault *v);
/* The turn's lines: into a row (inside a transaction), for good, or dropped. */
int audit_flush(struct vault *v);
void audit_committed(struct vault *v, bool durable);
void audit_cut(struct vault *v, size_t len, const struct audit_point *tip);
#define AUDIT_FRESH_MAX (1024 * 1024)
/* Splits a line into its seq, mac and the length the mac covers. False when malformed. */
bool audit_parse(const char *line, size_t n, struct audit_point *at, size_t *covered);
/* Whether the line is the genuine successor of prev; a malformed one never is. */
bool audit_follows(const struct vault *v, const struct audit_point *prev, const char *line,
                   size_t n);
bool audit_is_header(const char *line, size_t n);
/* Reads a header line; BROKEN when it is not one that this store wrote. */
int audit_parse_header(const struct vault *v, const char *line, size_t n, struct audit_point *at);
void audit_put_header(const struct vault *v, const struct audit_point *at, struct buf *out);
/* Rows whose lines are newer than after, oldest first. fn gets each line with its newline. */
typedef int (*audit_line_fn)(const char *line, size_t n, const struct audit_point *at, void *data);
int audit_each_line(struct vault *v, uint64_t after, audit_line_fn fn, void *data);
/* The chain at seq as the store knows it: 0, 1 = no longer there, -errno. */
int audit_point_at(struct vault *v, uint64_t seq, struct audit_point *at);
/* The export's saved point. */
int audit_load_saved(struct vault *v);
void audit_export_close(struct vault *v);

#endif
