/* Time: reading clocks, durations as people and Vault write them, RFC 3339.
 *
 * Wall time is milliseconds since 1970 (int64_t), boot time milliseconds on CLOCK_BOOTTIME.
 * Durations are whole seconds. */
#ifndef COUNTERSIGN_BASE_CLOCK_H
#define COUNTERSIGN_BASE_CLOCK_H

#include <stdint.h>

#include "base/mem.h"

int64_t clock_wall_ms(void);
int64_t clock_boot_ms(void);
static inline int64_t clock_wall_s(void)
{
    return clock_wall_ms() / 1000;
}

/* Lease time: what deadlines of leases and tokens count on, in milliseconds like wall time and as a
 * rule equal to it. It is the boot clock plus an offset that others keep (lease/deadline.h), so
 * that setting the wall clock moves no deadline. Wall time itself, until an offset is given. */
int64_t clock_lease_ms(void);
void clock_lease_anchor(int64_t offset_ms);
bool clock_lease_anchored(int64_t *offset_ms); /* false: there is none */
void clock_lease_release(void);                /* back to wall time, as in the beginning */
/* Whether the kernel says that the wall clock is synchronised (adjtimex(2)). False also where a
 * sandbox doesn't let us ask. */
bool clock_synchronised(void);

/* "2026-11-22T07:30:00Z" (with_ms: "…:00.123Z"), in UTC. out holds CLOCK_STAMP_LEN bytes. */
#define CLOCK_STAMP_LEN 32
void clock_stamp(int64_t wall_ms, int with_ms, char out[CLOCK_STAMP_LEN]);
/* Reads RFC 3339 (or a bare date, taken as its midnight UTC). 0 or -EINVAL. */
int clock_parse_stamp(const char *s, int64_t *wall_ms);

/* Reads a duration: "90", "90s", "15m", "1h30m", "2d" (Go's form without fractions, plus d). 0, or
 * -EINVAL when malformed or negative, -ERANGE above CLOCK_DURATION_MAX (10 years). */
#define CLOCK_DURATION_MAX (int64_t)(10LL * 366 * 86400)
int clock_parse_duration(const char *s, int64_t *seconds);
/* "59s", "14m58s", "7h59m", "3d2h": at most two units, for people. */
void clock_human(int64_t seconds, char *out, size_t n);

/* The kernel's boot id (/proc/sys/kernel/random/boot_id) as 36 characters; "unknown" if unreadable.
 */
const char *clock_boot_id(void);

#endif
