#include "lease/deadline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "vault/audit.h"

#define META "lease.clock"
#define FORMAT 1
#define BODY_LEN (1 + DEADLINE_BOOT_LEN + 8 + 8 + 1)
#define REST_LEN (BODY_LEN + VAULT_HASH_LEN)
/* Beyond all clocks that make sense, and far enough from overflowing. */
#define TIME_MOST (INT64_MAX / 4)
#define FORWARD_MS 60000

/* --- The rule ------------------------------------------------------------------------------------
 */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t bounded(int64_t ms)
{
    return ms < 0 ? 0 : ms > TIME_MOST ? TIME_MOST : ms;
}

/* Without a boot id two boots can't be told apart, and the boot clock is worth nothing. */
static bool known_boot(const char *boot_id)
{
    return strlen(boot_id) == DEADLINE_BOOT_LEN;
}

struct deadline_anchor deadline_next(const struct deadline_anchor *stored,
                                     const struct deadline_clocks *now)
{
    struct deadline_anchor next = {.settled = true};
    int64_t boot = bounded(now->boot_ms), wall = bounded(now->wall_ms), at;
    bool same = known_boot(now->boot_id) && strcmp(stored->boot_id, now->boot_id) == 0;
    if (!stored->boot_id[0]) {
        at = wall;
    } else {
        at = same ? later(boot + stored->offset_ms, stored->seen_ms) : stored->seen_ms;
        if (!known_boot(now->boot_id) || (now->synchronised && !(same && stored->settled)))
            at = later(at, wall);
        else
            next.settled = same && stored->settled;
    }
    (void)snprintf(next.boot_id, sizeof(next.boot_id), "%s", now->boot_id);
    next.seen_ms = bounded(at);
    next.offset_ms = next.seen_ms - boot;
    return next;
}

bool deadline_changed(const struct deadline_anchor *stored, const struct deadline_anchor *next)
{
    return strcmp(stored->boot_id, next->boot_id) != 0 || stored->offset_ms != next->offset_ms ||
           stored->settled != next->settled || next->seen_ms - stored->seen_ms >= DEADLINE_SAVE_MS;
}

/* --- Keeping it ----------------------------------------------------------------------------------
 */

static int put(struct vault *v, const struct deadline_anchor *a)
{
    _cleanup_buf_ struct buf b = BUF_INIT(REST_LEN);
    char boot_id[DEADLINE_BOOT_LEN] = {0};
    uint8_t hash[VAULT_HASH_LEN];
    memcpy(boot_id, a->boot_id, strlen(a->boot_id));
    buf_put_u8(&b, FORMAT);
    buf_put(&b, boot_id, sizeof(boot_id));
    buf_put_u64(&b, (uint64_t)a->offset_ms);
    buf_put_u64(&b, (uint64_t)a->seen_ms);
    buf_put_u8(&b, a->settled);
    int e = buf_error(&b);
    if (e == 0)
        e = vault_hash(v, "lease-clock", b.data, b.len, hash);
    buf_put(&b, hash, sizeof(hash));
    if (e == 0)
        e = buf_error(&b);
    return e < 0 ? e : vault_meta_put(v, META, b.data, b.len);
}

static bool parse(const struct buf *b, struct deadline_anchor *out)
{
    struct span s = {b->data, b->len};
    const uint8_t *boot_id;
    uint64_t offset, seen;
    uint8_t format, settled;
    if (span_u8(&s, &format) < 0 || format != FORMAT ||
        span_bytes(&s, DEADLINE_BOOT_LEN, &boot_id) < 0 || span_u64(&s, &offset) < 0 ||
        span_u64(&s, &seen) < 0 || span_u8(&s, &settled) < 0)
        return false;
    memcpy(out->boot_id, boot_id, DEADLINE_BOOT_LEN);
    out->offset_ms = (int64_t)offset;
    out->seen_ms = (int64_t)seen;
    out->settled = settled == 1;
    return out->boot_id[0] && out->offset_ms >= -TIME_MOST && out->offset_ms <= TIME_MOST &&
           out->seen_ms >= 0 && out->seen_ms <= TIME_MOST;
}

static int tell_broken(struct vault *v)
{
    if (!vault_in_turn(v))
        return 0;
    _cleanup_json_ json_t *line =
        json_pack("{s:s, s:s}", "event", "lease clock damaged", "text",
                  "what the store knew of the lease clock failed its authentication: deadlines "
                  "count on the wall clock of now");
    return line ? audit_append(v, "alert", line) : -ENOMEM;
}

/* Nothing there, or nothing to be trusted: an empty anchor. */
static int get(struct vault *v, struct deadline_anchor *out)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
    uint8_t hash[VAULT_HASH_LEN];
    *out = (struct deadline_anchor){0};
    int e = vault_meta_get(v, META, &b);
    if (e != 0)
        return e < 0 ? e : 0;
    if (b.len == REST_LEN) {
        e = vault_hash(v, "lease-clock", b.data, BODY_LEN, hash);
        if (e < 0)
            return e;
        if (mem_equal(hash, sizeof(hash), b.data + BODY_LEN, VAULT_HASH_LEN) && parse(&b, out))
            return 0;
    }
    *out = (struct deadline_anchor){0};
    return tell_broken(v);
}

/* What a failed commit lost is not lost to us: this process has seen a later lease time. */
static void hold(struct deadline_anchor *a)
{
    int64_t offset;
    if (!clock_lease_anchored(&offset) || offset <= a->offset_ms)
        return;
    a->seen_ms += offset - a->offset_ms;
    a->offset_ms = offset;
}

/* What lease time would be without a jump. */
static int64_t expected(const struct deadline_anchor *stored, const struct deadline_clocks *now)
{
    int64_t offset;
    if (clock_lease_anchored(&offset))
        return bounded(now->boot_ms) + offset;
    if (strcmp(stored->boot_id, now->boot_id) == 0)
        return bounded(now->boot_ms) + stored->offset_ms;
    return stored->seen_ms;
}

static int update(struct vault *v, bool always)
{
    struct deadline_anchor stored, next;
    const struct deadline_clocks now = {.boot_id = clock_boot_id(),
                                        .boot_ms = clock_boot_ms(),
                                        .wall_ms = clock_wall_ms(),
                                        .synchronised = clock_synchronised()};
    if (vault_state(v) != VAULT_UNSEALED)
        return -EACCES;
    int e = get(v, &stored);
    if (e < 0)
        return e;
    next = deadline_next(&stored, &now);
    hold(&next);
    if (always || deadline_changed(&stored, &next))
        e = put(v, &next);
    if (e < 0)
        return e;
    int64_t before = expected(&stored, &now);
    clock_lease_anchor(next.offset_ms);
    return stored.boot_id[0] && next.seen_ms - before > FORWARD_MS ? DEADLINE_E_FORWARD : 0;
}

int deadline_update(struct vault *v)
{
    return update(v, false);
}

int deadline_rest(struct vault *v)
{
    return update(v, true);
}
