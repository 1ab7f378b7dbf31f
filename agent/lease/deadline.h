/* Deadlines against jumps of the clock: where lease time (clock_lease_ms()) is anchored.
 *
 *   Within a boot it is CLOCK_BOOTTIME plus a fixed offset: who sets the wall clock moves nothing.
 *   Across boots nobody knows how long the host was off but its wall clock, and that may be wrong.
 *   Lease time goes on where it was last seen, or at the wall clock if that is later (of two
 *   remainders the smaller one), but a jump forward is made only once the clock is synchronised.
 *   It never goes back.
 *
 * So a clock that is wrong at boot revokes nothing, one that is set back prolongs nothing; what is
 * issued between a boot and the synchronisation may lose as much as the host was off. On a host
 * that never synchronises its clock, the time it is off does not count.
 *
 * The anchor rests in the store's settings as "lease.clock": u8 1 | boot id 36 | i64 offset ms |
 * i64 seen ms | u8 settled | keyed hash 32 of what precedes (vault_hash() "lease-clock").
 * Little-endian. */
#ifndef COUNTERSIGN_LEASE_DEADLINE_H
#define COUNTERSIGN_LEASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vault/vault.h"

#define DEADLINE_BOOT_LEN 36
#define DEADLINE_SAVE_MS 300000 /* how much of a crashed boot may be lost, while all else rests */

struct deadline_anchor {
    char boot_id[DEADLINE_BOOT_LEN + 1]; /* "" = there is no anchor yet */
    int64_t offset_ms;                   /* lease time = boot time + this, in that boot */
    int64_t seen_ms;                     /* lease time when it was written */
    bool settled;                        /* no jump forward is owed any more */
};

struct deadline_clocks {
    const char *boot_id; /* clock_boot_id() */
    int64_t boot_ms, wall_ms;
    bool synchronised;
};

/* The anchor that follows from the stored one and the clocks; pure. */
struct deadline_anchor deadline_next(const struct deadline_anchor *stored,
                                     const struct deadline_clocks *now);
/* Whether next is worth a write: another boot or offset, settled by now, or DEADLINE_SAVE_MS on. */
bool deadline_changed(const struct deadline_anchor *stored, const struct deadline_anchor *next);

/* Reads the anchor, moves it on by the clocks of this host, keeps it and gives it to
 * clock_lease_anchor(). After unsealing, before anything asks clock_lease_ms(), and then now and
 * then (each tick); inside a turn or outside. A stored anchor that fails its authentication counts
 * as none, with an alert in the log of a turn. 0, DEADLINE_E_FORWARD, -errno (lease time goes on as
 * it was). */
#define DEADLINE_E_FORWARD 1 /* lease time jumped forward by more than a minute: worth a word */
int deadline_update(struct vault *v);
/* The same before an orderly end, but kept in any case: the next boot goes on from here, and not
 * from up to DEADLINE_SAVE_MS before. */
int deadline_rest(struct vault *v);

#endif
