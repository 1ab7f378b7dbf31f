#include "server/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

static uint64_t counters[METRICS_COUNTERS];

void metrics_count(enum metrics_counter c)
{
    counters[c]++;
}

uint64_t metrics_counted(enum metrics_counter c)
{
    return counters[c];
}

/* --- Commits -------------------------------------------------------------------------------------
 */

#define RECENT 1024

const int64_t metrics_bounds_us[METRICS_BUCKETS - 1] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000};

static struct metrics_commits commits;
static uint32_t recent_us[RECENT];

int64_t metrics_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void metrics_commit(int64_t us)
{
    size_t i = 0;
    while (i < METRICS_BUCKETS - 1 && us > metrics_bounds_us[i])
        i++;
    recent_us[commits.count % RECENT] = us > UINT32_MAX ? UINT32_MAX : us < 0 ? 0 : (uint32_t)us;
    commits.bucket[i]++;
    commits.count++;
    commits.sum_us += us < 0 ? 0 : (uint64_t)us;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void metrics_commits(struct metrics_commits *out)
{
    uint32_t sorted[RECENT];
    size_t n = commits.count < RECENT ? (size_t)commits.count : RECENT;
    *out = commits;
    if (!n)
        return;
    memcpy(sorted, recent_us, n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), by_size);
    out->p99_us = sorted[(n * 99 + 99) / 100 - 1];
}

/* --- Logins --------------------------------------------------------------------------------------
 */

static const char *const services[METRICS_SERVICES] = {
    "sshd",        "sudo",         "sudo-i",    "su",       "su-l",   "login",   "runuser",
    "cron",        "atd",          "vlock",     "xdm",      "gdm",    "lightdm", "sddm",
    "screen-lock", "systemd-user", "runuser-l", "polkit-1", "passwd", "other"};
static const char *const hooks[METRICS_HOOKS] = {"auth", "account", "open", "close"};
static const char *const verdicts[METRICS_VERDICTS] = {"denied", "allowed", "ignored",
                                                       "unavailable", "locked_out"};
_Static_assert(DIALOGUE_HOOK_AUTH + METRICS_HOOKS - 1 == DIALOGUE_HOOK_CLOSE, "a name each");
_Static_assert(DIALOGUE_MAXTRIES == METRICS_VERDICTS - 1, "a name each");

static uint64_t logins[METRICS_SERVICES][METRICS_HOOKS][METRICS_VERDICTS];

void metrics_login(const char *service, enum dialogue_hook hook, enum dialogue_verdict verdict)
{
    size_t i = 0, h = (size_t)hook - DIALOGUE_HOOK_AUTH;
    while (i < METRICS_SERVICES - 1 && strcmp(services[i], service) != 0)
        i++;
    if (h < METRICS_HOOKS && (size_t)verdict < METRICS_VERDICTS)
        logins[i][h][verdict]++;
}

const char *metrics_service_name(size_t i)
{
    return services[i];
}

const char *metrics_hook_name(size_t i)
{
    return hooks[i];
}

const char *metrics_verdict_name(size_t i)
{
    return verdicts[i];
}

uint64_t metrics_logins(size_t service, size_t hook, size_t verdict)
{
    return logins[service][hook][verdict];
}

/* --- Requests ------------------------------------------------------------------------------------
 */

static const int statuses[METRICS_STATUSES] = {200, 204, 400, 403, 404, 405, 408,
                                               413, 431, 500, 502, 503, 0};
static uint64_t requests[METRICS_ROWS + 1][METRICS_STATUSES];

void metrics_request(size_t row, int status)
{
    size_t i = 0;
    while (i < METRICS_STATUSES - 1 && statuses[i] != status)
        i++;
    requests[row < METRICS_ROWS ? row : METRICS_ROWS][i]++;
}

int metrics_status(size_t i)
{
    return statuses[i];
}

uint64_t metrics_requests(size_t row, size_t status)
{
    return requests[row <= METRICS_ROWS ? row : METRICS_ROWS][status];
}
