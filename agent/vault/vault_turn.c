/* The turn: one transaction, with marks. The other half of vault.h. */
#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "vault/inner.h"

int vault_ready(const struct vault *v)
{
    if (v->dead)
        return v->dead;
    return v->ring ? 0 : -EACCES;
}

void vault_scratch_done(struct vault *v)
{
    struct buf *b = &v->scratch;
    if (b->cap > 256 * 1024) {
        buf_clear(b);
        return;
    }
    /* Wipes what was used, not all there is: this runs for every value read. */
    mem_wipe(b->data, b->len);
    b->len = 0;
    b->error = 0;
}

bool vault_in_turn(const struct vault *v)
{
    return v->in_turn;
}

/* Nothing of the turn is left but the memory of it. */
static void forget_turn(struct vault *v)
{
    v->in_turn = v->wrote = v->changed = false;
    v->dead = 0;
    v->spoilt = 0;
    v->depth = 0;
    audit_cut(v, 0, &v->audit.head);
}

/* Nothing is left of a turn that failed: without memory it may not even have been rolled back. */
static int clean_up(struct vault *v)
{
    int r = sqlite3_get_autocommit(v->store.db) ? 0 : store_run(&v->store, STORE_ROLLBACK);
    if (r < 0 || !v->suspect)
        return r;
    /* After an fsync that failed, the kernel may have dropped pages it calls clean. */
    r = store_checkpoint(&v->store);
    v->suspect = r < 0;
    return r;
}

int vault_begin_as(struct vault *v, enum store_durability d)
{
    if (v->in_turn)
        return -EINVAL;
    int r = clean_up(v);
    if (!v->lent)
        reserve_mend(&v->store_reserve);
    if (r == 0)
        r = store_durability(&v->store, d);
    if (r == 0)
        r = store_run(&v->store, STORE_BEGIN);
    if (r < 0)
        return r;
    forget_turn(v);
    v->in_turn = true;
    return 0;
}

int vault_begin(struct vault *v)
{
    return vault_begin_as(v, STORE_FIRM);
}

void vault_rollback(struct vault *v)
{
    if (!v->in_turn)
        return;
    if (!sqlite3_get_autocommit(v->store.db))
        store_run(&v->store, STORE_ROLLBACK);
    if (v->wrote)
        peek_clear(&v->peek);
    forget_turn(v);
}

/* An error that took the whole transaction with it (a full disk does) ends the turn: what the
 * requests before this one did is gone, too. */
static int check_alive(struct vault *v, int r)
{
    if (r < 0 && v->in_turn && !v->dead && sqlite3_get_autocommit(v->store.db))
        v->dead = r;
    return r;
}

/* The transaction of a turn that changed something. */
static int commit_changes(struct vault *v)
{
    int r = v->audit.lines.len ? audit_flush(v) : 0;
    FAULT_POINT(lines_written);
    if (r == 0) {
        r = store_run(&v->store, STORE_COMMIT);
        if (r < 0)
            v->suspect |= store_sync_failed(&v->store);
    }
    vault_note_write(v, r);
    return r;
}

/* A turn that only read, and perhaps left lines: these go into a transaction of their own, which
 * doesn't wait for the disk. */
static int commit_lines(struct vault *v)
{
    int r = store_run(&v->store, v->wrote ? STORE_ROLLBACK : STORE_COMMIT);
    if (r < 0 || !v->audit.lines.len)
        return r;
    r = store_durability(&v->store, STORE_LIGHT);
    if (r < 0)
        return r;
    r = store_run(&v->store, STORE_BEGIN);
    if (r == 0)
        r = audit_flush(v);
    if (r == 0) {
        r = store_run(&v->store, STORE_COMMIT);
        if (r < 0)
            v->suspect |= store_sync_failed(&v->store);
    }
    vault_note_write(v, r);
    if (r < 0 && !sqlite3_get_autocommit(v->store.db))
        store_run(&v->store, STORE_ROLLBACK);
    (void)store_durability(&v->store, STORE_FIRM); /* else before the next turn */
    return r;
}

static int commit(struct vault *v)
{
    if (v->dead) {
        vault_note_write(v, v->dead);
        return v->dead;
    }
    if (v->spoilt)
        return -EIO;
    if (v->depth)
        return -EINVAL;
    return v->changed ? commit_changes(v) : commit_lines(v);
}

int vault_commit(struct vault *v)
{
    if (!v->in_turn)
        return -EINVAL;
    int r = commit(v);
    if (r < 0) {
        vault_rollback(v);
        return r;
    }
    audit_committed(v, v->changed);
    forget_turn(v);
    return 0;
}

/* --- Marks ----------------------------------------------------------------------------------- */

int vault_mark(struct vault *v)
{
    if (!v->in_turn)
        return -EINVAL;
    if (v->dead)
        return v->dead;
    if (v->depth >= VAULT_MARKS_MAX)
        return -EOVERFLOW;
    v->mark[v->depth++] = (struct vault_mark){
        .audit_len = v->audit.lines.len, .tip = v->audit.tip, .changed = v->changed};
    return 0;
}

int vault_keep(struct vault *v)
{
    if (!v->in_turn || !v->depth)
        return -EINVAL;
    if (v->dead)
        return v->dead;
    if (v->spoilt > v->depth)
        return -EIO; /* a write failed halfway behind this mark: it has to be undone */
    int r = v->mark[v->depth - 1].real ? store_run(&v->store, STORE_KEEP) : 0;
    if (r < 0)
        return check_alive(v, r);
    v->depth--;
    return 0;
}

int vault_undo(struct vault *v)
{
    if (!v->in_turn || !v->depth)
        return -EINVAL;
    if (v->dead)
        return v->dead;
    struct vault_mark *m = &v->mark[v->depth - 1];
    int r = m->real ? store_run(&v->store, STORE_UNDO) : 0;
    if (r == 0 && m->real)
        r = store_run(&v->store, STORE_KEEP);
    if (r < 0) {
        v->dead = r;
        return r;
    }
    if (m->real)
        peek_clear(&v->peek);
    audit_cut(v, m->audit_len, &m->tip);
    v->changed = m->changed;
    v->depth--;
    if (v->spoilt > v->depth + 1)
        v->spoilt = 0;
    return 0;
}

/* --- Writing --------------------------------------------------------------------------------- */

/* Most requests only read, so a mark becomes a savepoint when something is written behind it. */
static int make_savepoints(struct vault *v)
{
    for (unsigned i = 0; i < v->depth; i++) {
        if (v->mark[i].real)
            continue;
        int r = store_run(&v->store, STORE_MARK);
        if (r < 0)
            return r;
        v->mark[i].real = true;
    }
    return 0;
}

int vault_write_begin(struct vault *v, bool *own)
{
    *own = !v->in_turn;
    int r = v->dead;
    if (r == 0 && *own)
        r = vault_begin(v);
    if (r < 0)
        return r;
    r = vault_has_room(v);
    if (r < 0) {
        if (*own)
            vault_rollback(v);
        return r;
    }
    v->wrote = true;
    return check_alive(v, make_savepoints(v));
}

int vault_write_end(struct vault *v, bool own, int r)
{
    FAULT_POINT(row_written);
    vault_scratch_done(v);
    check_alive(v, r);
    if (r < 0 && !v->spoilt)
        v->spoilt = v->depth + 1;
    if (r == 0)
        v->changed = true;
    if (!own)
        return r;
    int c = vault_commit(v);
    return r < 0 || c == 0 ? r : c;
}
