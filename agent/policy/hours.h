/* Hours of the week in which a binding holds. Internal to policy/.
 *
 *   [DAYS] HH:MM-HH:MM [ZONE] [; …]      Mon..Fri 08:00-18:00 Europe/Berlin; Sat,Sun 10:00-12:00
 *
 * DAYS are names (Mon, Tue, …) and ranges (Mon..Fri, Sat..Mon) with commas between, every day when
 * left out. A range that ends at or before its beginning goes over midnight and belongs to the day
 * it begins on; 24:00 is possible as an end. ZONE is a name of the time zone database, UTC when
 * left out. What counts is the wall clock there: an hour that the change to summer time skips never
 * comes, one that comes twice counts twice. */
#ifndef COUNTERSIGN_POLICY_HOURS_H
#define COUNTERSIGN_POLICY_HOURS_H

#include <stdint.h>

#include "base/buf.h"

#define HOURS_ZONE_MAX 64
#define HOURS_RANGES_MAX 16
#define HOURS_TEXT_MAX 1024

struct hours_range {
    uint8_t days;        /* bit 0 is Monday */
    uint16_t start, end; /* minutes of the day; end <= start: over midnight */
    char zone[HOURS_ZONE_MAX + 1];
};

struct hours {
    size_t n;
    struct hours_range ranges[HOURS_RANGES_MAX];
};

typedef int (*hours_zone_fn)(const char *zone, int64_t when, int *offset);

/* 0, or -EINVAL with the reason in why[]. zone_known may be NULL. UTC is always known. */
int hours_parse(const char *text, bool (*zone_known)(const char *zone), struct hours *out,
                char *why, size_t whylen);
/* Whether now (seconds since 1970; 0 or less: unknown) lies within one of the ranges. A range whose
 * zone's offset can't be had doesn't count. */
bool hours_contain(const struct hours *h, int64_t now, hours_zone_fn zone_offset);
/* Appends the normal form. */
void hours_put(struct buf *b, const struct hours *h);
/* Appends "Sun 03:12 in Europe/Berlin"; false when the time there is unknown. */
bool hours_put_now(struct buf *b, const char *zone, int64_t now, hours_zone_fn zone_offset);

#endif
