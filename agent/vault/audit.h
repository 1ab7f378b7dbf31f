/* The audit log: hash-chained JSON lines, written in the same transaction as what they tell.
 *
 * A line is {"seq":N,"time":"…","type":"…", …fields…, "mac":"<64 hex>"}. mac is the keyed
 * BLAKE2b-256 of (the previous line's mac, the line's bytes up to `,"mac"`), under a key of the
 * keyring, so that only an unsealed agent can make or check one. The first line's previous mac is
 * 32 zero bytes. Secrets never go in; the fields are the caller's responsibility. */
#ifndef COUNTERSIGN_VAULT_AUDIT_H
#define COUNTERSIGN_VAULT_AUDIT_H

#include "vault/vault.h"

/* Adds one line to the turn (taken back by vault_undo/rollback like everything else). type is a
 * word such as "request", "login", "lease", "session", "seal", "alert"; fields is an object,
 * borrowed, without the keys seq, time, type, mac. Needs a turn and an unsealed vault. */
int audit_append(struct vault *v, const char *type, const json_t *fields);
/* The same with the members as text, each with a comma before it (`,"uid":0,"path":"a/b"`), for the
 * line that every request writes. It must be what json_put_ascii() writes of such an object:
 * strings by json_put_text(). A buffer with an error gives that error. */
int audit_append_text(struct vault *v, const char *type, const struct buf *members);

/* The newest committed line: its seq (0 = none) and mac. */
int audit_head(struct vault *v, uint64_t *seq, uint8_t mac[VAULT_HASH_LEN]);

/* --- Checking -------------------------------------------------------------------------------- */
struct audit_chain {
    bool started; /* false: take the first line's predecessor from the file's header line */
    uint64_t seq; /* the last line seen */
    uint8_t mac[VAULT_HASH_LEN];
};
#define AUDIT_E_BROKEN 1
/* Checks one line (without its newline) as the successor of *chain and moves *chain on. A header
 * line, {"audit":"countersign","instance":…,"after":SEQ,"mac":HEX}, starts a chain or must agree
 * with it. That nothing was cut off the end only audit_head() can tell: compare it with chain->seq
 * (and with what audit_export_state() says is still waiting).
 * 0; AUDIT_E_BROKEN with the reason (which seq, what is wrong) in why[]; -errno. */
int audit_check(struct vault *v, struct audit_chain *chain, const char *line, size_t n, char *why,
                size_t whylen);

/* --- The export: audit.log ------------------------------------------------------------------- */
/* Opens path for appending (0640, created with a header line naming the head before it). A torn
 * last line (a crash while writing) is completed from the rows still in the store or cut off. Needs
 * an unsealed vault, outside of a turn. Called again (SIGHUP) it finishes the old file and reopens;
 * sealing closes the file, the first run after unsealing opens it again.
 * 0. AUDIT_E_BROKEN: it is open and the export goes on, but the file is not what we left (lines
 * that were safely in it are missing or changed): a new header line stands behind the damage; raise
 * an alert. -ESTALE: the file has seen lines of ours that the store has not: an older store was put
 * back. On -ESTALE or any other -errno the rows wait in the store, and each run tries again. */
int audit_export_open(struct vault *v, const char *path);
/* Appends the committed lines that are not in the file yet; after commits, outside of a turn. The
 * file never runs ahead of the disk: for the lines of turns that only read, this waits for the disk
 * itself, but at most ten times a second; in between they wait for the next durable commit, run or
 * sync. 0 or as audit_export_open(); -EBADF before it. A file that somebody removed is made again,
 * with what was not yet synced, and reported as AUDIT_E_BROKEN. */
int audit_export_run(struct vault *v);
/* Exports everything, fdatasyncs the file and prunes rows that are safely in it; call it now and
 * then (each second, say), outside a turn. Results as audit_export_run(). */
int audit_export_sync(struct vault *v);
/* After -ESTALE: renames the file to <path>.superseded-<seconds since 1970>, so that the next
 * audit_export_open() begins a new one. Outside of a turn. 0, -EBADF before audit_export_open(),
 * -errno. */
int audit_export_set_aside(struct vault *v);
/* How many lines wait for the export, and since when it fails (wall ms; 0 = it works). */
void audit_export_state(const struct vault *v, uint64_t *waiting, int64_t *failing_since);

#endif
