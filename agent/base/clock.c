#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define DAY_MS (86400 * INT64_C(1000))
/* What a year of four digits can say. */
#define STAMP_LEAST (INT64_C(-62167219200) * 1000)
#define STAMP_MOST (INT64_C(253402300799) * 1000 + 999)

static int64_t read_clock(clockid_t id)
{
    struct timespec now = {0};

    (void)clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_boot_ms(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

#define NO_OFFSET INT64_MIN /* 0 is one: a host without a clock of its own boots in 1970 */

static _Atomic int64_t lease_offset = NO_OFFSET;

int64_t clock_lease_ms(void)
{
    int64_t offset = atomic_load(&lease_offset);

    return offset != NO_OFFSET ? clock_boot_ms() + offset : clock_wall_ms();
}

void clock_lease_anchor(int64_t offset_ms)
{
    atomic_store(&lease_offset, offset_ms);
}

bool clock_lease_anchored(int64_t *offset_ms)
{
    *offset_ms = atomic_load(&lease_offset);
    return *offset_ms != NO_OFFSET;
}

void clock_lease_release(void)
{
    atomic_store(&lease_offset, NO_OFFSET);
}

bool clock_synchronised(void)
{
    struct timex t = {0};
    int state = adjtimex(&t);

    return state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC);
}

/* n digits of v, with zeros before it. */
static char *put_digits(char *to, int n, int v)
{
    for (int i = n; i-- > 0; v /= 10)
        to[i] = (char)('0' + v % 10);
    return to + n;
}

static char *put_mark(char *to, char mark)
{
    *to = mark;
    return to + 1;
}

/* gmtime_r(), which takes the lock of the time zone; the seconds asked for are mostly the same few.
 */
static bool calendar(time_t seconds, struct tm *out)
{
    static _Thread_local struct {
        bool known;
        time_t seconds;
        struct tm tm;
    } kept[8];
    size_t i = (size_t)seconds % ARRAY_LEN(kept);

    if (!kept[i].known || kept[i].seconds != seconds) {
        if (!gmtime_r(&seconds, &kept[i].tm))
            return kept[i].known = false;
        kept[i].known = true;
        kept[i].seconds = seconds;
    }
    *out = kept[i].tm;
    return true;
}

/* By hand: one stands in each line of the audit log, and strftime() is not quick. */
void clock_stamp(int64_t wall_ms, int with_ms, char out[CLOCK_STAMP_LEN])
{
    struct tm tm;

    if (wall_ms < STAMP_LEAST)
        wall_ms = STAMP_LEAST;
    if (wall_ms > STAMP_MOST)
        wall_ms = STAMP_MOST;
    int ms = (int)(((wall_ms % 1000) + 1000) % 1000);
    time_t seconds = (time_t)((wall_ms - ms) / 1000);
    out[0] = '\0';
    if (!calendar(seconds, &tm))
        return;
    out = put_mark(put_digits(out, 4, tm.tm_year + 1900), '-');
    out = put_mark(put_digits(out, 2, tm.tm_mon + 1), '-');
    out = put_mark(put_digits(out, 2, tm.tm_mday), 'T');
    out = put_mark(put_digits(out, 2, tm.tm_hour), ':');
    out = put_mark(put_digits(out, 2, tm.tm_min), ':');
    out = put_digits(out, 2, tm.tm_sec);
    if (with_ms)
        out = put_digits(put_mark(out, '.'), 3, ms);
    out = put_mark(out, 'Z');
    *out = '\0';
}

/* Reads exactly n digits, least..most. */
static int read_digits(const char **s, int n, int least, int most, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return -EINVAL;
        *value = *value * 10 + (**s - '0');
    }
    return *value >= least && *value <= most ? 0 : -EINVAL;
}

static int read_char(const char **s, const char *one_of)
{
    if (**s == '\0' || !strchr(one_of, **s))
        return -EINVAL;
    (*s)++;
    return 0;
}

/* Days since 1970-01-01 in the Gregorian calendar; the year is counted from March, so that the
 * leap day is its last. */
static int64_t days_since_epoch(int year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int read_date(const char **s, int64_t *days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, length;

    if (read_digits(s, 4, 0, 9999, &year) < 0 || read_char(s, "-") < 0 ||
        read_digits(s, 2, 1, 12, &month) < 0 || read_char(s, "-") < 0 ||
        read_digits(s, 2, 1, 31, &day) < 0)
        return -EINVAL;
    length = lengths[month - 1];
    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
        length = 29;
    if (day > length)
        return -EINVAL;
    *days = days_since_epoch(year, month, day);
    return 0;
}

/* The time of day with an optional fraction, in milliseconds (further digits are cut off). */
static int read_time(const char **s, int64_t *ms)
{
    int hour, minute, second;
    int64_t fraction = 0;
    int scale = 100;

    /* RFC 3339 lets 60 stand for a leap second. */
    if (read_digits(s, 2, 0, 23, &hour) < 0 || read_char(s, ":") < 0 ||
        read_digits(s, 2, 0, 59, &minute) < 0 || read_char(s, ":") < 0 ||
        read_digits(s, 2, 0, 60, &second) < 0)
        return -EINVAL;
    if (**s == '.') {
        (*s)++;
        if (**s < '0' || **s > '9')
            return -EINVAL;
        for (; **s >= '0' && **s <= '9'; (*s)++, scale /= 10)
            fraction += (int64_t)(**s - '0') * scale;
    }
    *ms = ((hour * 60 + minute) * 60 + second) * INT64_C(1000) + fraction;
    return 0;
}

static int read_offset(const char **s, int64_t *ms)
{
    int hours, minutes;
    char sign = **s;

    *ms = 0;
    if (read_char(s, "Zz") == 0)
        return 0;
    if (read_char(s, "+-") < 0 || read_digits(s, 2, 0, 23, &hours) < 0 || read_char(s, ":") < 0 ||
        read_digits(s, 2, 0, 59, &minutes) < 0)
        return -EINVAL;
    *ms = (hours * 60 + minutes) * INT64_C(60000);
    if (sign == '-')
        *ms = -*ms;
    return 0;
}

int clock_parse_stamp(const char *s, int64_t *wall_ms)
{
    int64_t days, of_day, offset;

    if (read_date(&s, &days) < 0)
        return -EINVAL;
    if (*s == '\0') {
        *wall_ms = days * DAY_MS;
        return 0;
    }
    if (read_char(&s, "Tt") < 0 || read_time(&s, &of_day) < 0 || read_offset(&s, &offset) < 0 ||
        *s != '\0')
        return -EINVAL;
    *wall_ms = days * DAY_MS + of_day - offset;
    return 0;
}

static const struct {
    char letter;
    int64_t seconds;
} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

static int64_t unit_seconds(char letter)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].letter == letter)
            return units[i].seconds;
    }
    return 0;
}

/* Reads a row of digits; stops counting above the maximum, so that no length of text overflows. */
static int read_count(const char **s, int64_t *count)
{
    if (**s < '0' || **s > '9')
        return -EINVAL;
    for (*count = 0; **s >= '0' && **s <= '9'; (*s)++) {
        if (*count <= CLOCK_DURATION_MAX)
            *count = *count * 10 + (**s - '0');
    }
    return 0;
}

int clock_parse_duration(const char *s, int64_t *seconds)
{
    int64_t total = 0, count, unit;
    const char *start = s;

    do {
        if (read_count(&s, &count) < 0)
            return -EINVAL;
        /* Seconds without a unit only stand alone: "1h30" could be meant either way. */
        unit = *s == '\0' && strspn(start, "0123456789") == strlen(start) ? 1 : unit_seconds(*s);
        if (unit == 0)
            return -EINVAL;
        if (count > CLOCK_DURATION_MAX / unit || total > CLOCK_DURATION_MAX - count * unit)
            total = CLOCK_DURATION_MAX + 1;
        else
            total += count * unit;
        if (*s != '\0')
            s++;
    } while (*s != '\0');
    if (total > CLOCK_DURATION_MAX)
        return -ERANGE;
    *seconds = total;
    return 0;
}

void clock_human(int64_t seconds, char *out, size_t n)
{
    size_t big = 0;
    int64_t count, rest;

    if (seconds < 0)
        seconds = 0;
    while (big + 1 < ARRAY_LEN(units) && seconds < units[big].seconds)
        big++;
    count = seconds / units[big].seconds;
    rest = 0;
    if (big + 1 < ARRAY_LEN(units))
        rest = seconds % units[big].seconds / units[big + 1].seconds;
    if (rest > 0)
        (void)snprintf(out, n, "%lld%c%lld%c", (long long)count, units[big].letter, (long long)rest,
                       units[big + 1].letter);
    else
        (void)snprintf(out, n, "%lld%c", (long long)count, units[big].letter);
}

#define BOOT_ID_LEN 36

static char boot_id[BOOT_ID_LEN + 1];

static void read_boot_id(void)
{
    char text[BOOT_ID_LEN + 1] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;

    if (fd >= 0) {
        got = read(fd, text, BOOT_ID_LEN);
        (void)close(fd);
    }
    if (got != BOOT_ID_LEN || strspn(text, "0123456789abcdef-") != BOOT_ID_LEN)
        (void)snprintf(text, sizeof(text), "unknown");
    memcpy(boot_id, text, sizeof(boot_id));
}

const char *clock_boot_id(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, read_boot_id);
    return boot_id;
}
