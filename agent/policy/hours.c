#include "policy/hours.h"

#include <errno.h>
#include <string.h>

#include "policy/text.h"

#define DAY_MINUTES 1440
#define DAY_SECONDS 86400
#define EVERY_DAY 0x7f
#define OFFSET_MAX (26 * 3600) /* no zone was ever further from UTC */
#define NOW_MAX (INT64_C(1) << 40)

static const char *const day_names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

struct parse {
    const char *text; /* the whole, for the reason */
    bool (*zone_known)(const char *zone);
    char *why;
    size_t whylen;
};

/* --- Reading -----------------------------------------------------------------------------------
 */

static int wrong(const struct parse *x, const char *what)
{
    return text_refuse(x->why, x->whylen, "hours '%.128s': %s", x->text, what);
}

static int find_day(const char *p)
{
    for (int i = 0; i < 7; i++) {
        if (strncmp(p, day_names[i], 3) == 0)
            return i;
    }
    return -1;
}

/* Whether `word` is DAYS: Mon..Fri,Sun */
static bool read_days(const char *word, uint8_t *days)
{
    *days = 0;
    for (const char *p = word;; p++) {
        int from = find_day(p), to = from;

        if (from < 0)
            return false;
        p += 3;
        if (strncmp(p, "..", 2) == 0) {
            to = find_day(p + 2);
            if (to < 0)
                return false;
            p += 5;
        }
        for (int day = from;; day = (day + 1) % 7) {
            *days |= (uint8_t)(1u << day);
            if (day == to)
                break;
        }
        if (*p != ',')
            return *p == '\0';
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HH:MM, up to 24:00. */
static bool read_minutes(const char *p, uint16_t *minutes)
{
    int hour, minute;

    if (!is_digit(p[0]) || !is_digit(p[1]) || p[2] != ':' || !is_digit(p[3]) || !is_digit(p[4]))
        return false;
    hour = (p[0] - '0') * 10 + p[1] - '0';
    minute = (p[3] - '0') * 10 + p[4] - '0';
    *minutes = (uint16_t)(hour * 60 + minute);
    return minute < 60 && *minutes <= DAY_MINUTES;
}

static bool read_times(const char *word, struct hours_range *r)
{
    return strlen(word) == 11 && word[5] == '-' && read_minutes(word, &r->start) &&
           read_minutes(word + 6, &r->end) && r->start < DAY_MINUTES;
}

/* A name that is looked up as a file by many: no dots, no empty parts, nothing absolute. */
static bool is_zone(const char *word)
{
    return text_is_name(word, HOURS_ZONE_MAX, "_+-/") && word[0] != '/' && !strstr(word, "//") &&
           word[strlen(word) - 1] != '/';
}

static int read_zone(const struct parse *x, const char *word, struct hours_range *r)
{
    if (!is_zone(word))
        return wrong(x, "malformed time zone");
    if (strcmp(word, "UTC") != 0 && x->zone_known && !x->zone_known(word))
        return wrong(x, "unknown time zone");
    memcpy(r->zone, word, strlen(word) + 1);
    return 0;
}

static int read_range(const struct parse *x, char *text, struct hours_range *r)
{
    char *rest = NULL;
    char *word = strtok_r(text, " \t", &rest);

    *r = (struct hours_range){.days = EVERY_DAY, .zone = "UTC"};
    if (!word)
        return wrong(x, "an empty range");
    if (!is_digit(word[0])) {
        if (!read_days(word, &r->days))
            return wrong(x, "days are written Mon..Fri or Mon,Wed");
        word = strtok_r(NULL, " \t", &rest);
    }
    if (!word || !read_times(word, r))
        return wrong(x, "times are written HH:MM-HH:MM");
    if (r->start == r->end)
        return wrong(x, "a range without length (00:00-24:00 is a whole day)");
    word = strtok_r(NULL, " \t", &rest);
    if (!word)
        return 0;
    if (strtok_r(NULL, " \t", &rest))
        return wrong(x, "there is more behind the time zone");
    return read_zone(x, word, r);
}

int hours_parse(const char *text, bool (*zone_known)(const char *zone), struct hours *out,
                char *why, size_t whylen)
{
    const struct parse x = {text, zone_known, why, whylen};
    char copy[HOURS_TEXT_MAX + 1];

    *out = (struct hours){0};
    if (strlen(text) > HOURS_TEXT_MAX)
        return wrong(&x, "too long");
    (void)strcpy(copy, text);
    for (char *range = copy, *next; range; range = next) {
        int r;

        next = strchr(range, ';');
        if (next)
            *next++ = '\0';
        if (out->n == HOURS_RANGES_MAX)
            return wrong(&x, "too many ranges");
        r = read_range(&x, range, &out->ranges[out->n++]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- Asking ------------------------------------------------------------------------------------
 */

/* The local time there: the day of the week (0 is Monday) and the minute of the day. */
static bool local_time(const char *zone, int64_t now, hours_zone_fn zone_offset, unsigned *day,
                       unsigned *minute)
{
    int offset = 0;

    if (now <= 0 || now > NOW_MAX)
        return false;
    if (strcmp(zone, "UTC") != 0 && (!zone_offset || zone_offset(zone, now, &offset) < 0))
        return false;
    if (offset > OFFSET_MAX || offset < -OFFSET_MAX)
        return false;
    now += offset + 4 * INT64_C(7) * DAY_SECONDS;   /* whole weeks, so that it can't be negative */
    *day = (unsigned)((now / DAY_SECONDS + 3) % 7); /* 1970 began on a Thursday */
    *minute = (unsigned)(now % DAY_SECONDS / 60);
    return true;
}

static bool range_contains(const struct hours_range *r, unsigned day, unsigned minute)
{
    bool today = r->days >> day & 1, yesterday = r->days >> (day + 6) % 7 & 1;

    if (r->end > r->start)
        return today && minute >= r->start && minute < r->end;
    return (today && minute >= r->start) || (yesterday && minute < r->end);
}

bool hours_contain(const struct hours *h, int64_t now, hours_zone_fn zone_offset)
{
    for (size_t i = 0; i < h->n; i++) {
        unsigned day, minute;

        if (local_time(h->ranges[i].zone, now, zone_offset, &day, &minute) &&
            range_contains(&h->ranges[i], day, minute))
            return true;
    }
    return false;
}

/* --- Showing -----------------------------------------------------------------------------------
 */

static void put_days(struct buf *b, uint8_t days)
{
    const char *sep = "";

    for (int day = 0, last; day < 7; day = last + 1) {
        last = day;
        if (!(days >> day & 1))
            continue;
        while (last < 6 && days >> (last + 1) & 1)
            last++;
        if (last < day + 2)
            last = day; /* two days in a row are named */
        buf_putf(b, "%s%s", sep, day_names[day]);
        if (last > day)
            buf_putf(b, "..%s", day_names[last]);
        sep = ",";
    }
}

void hours_put(struct buf *b, const struct hours *h)
{
    for (size_t i = 0; i < h->n; i++) {
        const struct hours_range *r = &h->ranges[i];

        if (i > 0)
            buf_puts(b, "; ");
        if (r->days != EVERY_DAY) {
            put_days(b, r->days);
            buf_putc(b, ' ');
        }
        buf_putf(b, "%02u:%02u-%02u:%02u %s", r->start / 60u, r->start % 60u, r->end / 60u,
                 r->end % 60u, r->zone);
    }
}

bool hours_put_now(struct buf *b, const char *zone, int64_t now, hours_zone_fn zone_offset)
{
    unsigned day, minute;

    if (!local_time(zone, now, zone_offset, &day, &minute))
        return false;
    buf_putf(b, "%s %02u:%02u in %s", day_names[day], minute / 60, minute % 60, zone);
    return true;
}
