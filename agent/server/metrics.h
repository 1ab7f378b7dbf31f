/* What the agent counts of itself, for sys/metrics. In memory, from the start of the process; no
 * function here fails, waits or allocates. Nothing that a caller makes up becomes a label: services
 * outside of a fixed list are "other". */
#ifndef COUNTERSIGN_SERVER_METRICS_H
#define COUNTERSIGN_SERVER_METRICS_H

#include <countersign/dialogue.h>
#include <stddef.h>
#include <stdint.h>

enum metrics_counter {
    METRICS_LOCKOUTS,     /* logins turned away for too many wrong answers */
    METRICS_ALERTS,       /* agent_count_alert() */
    METRICS_TURNS_LOST,   /* turns whose commit failed */
    METRICS_REVOKED,      /* revocations that came to their end */
    METRICS_REVOKE_RETRY, /* … that have to be tried again */
    METRICS_QUARANTINED,  /* … that found objects which depend on the account */
    METRICS_COUNTERS
};
void metrics_count(enum metrics_counter c);
uint64_t metrics_counted(enum metrics_counter c);

/* --- Commits that wait for the disk --------------------------------------------------------------
 */
int64_t metrics_now_us(void); /* CLOCK_MONOTONIC */
void metrics_commit(int64_t us);
/* Upper bounds in microseconds, rising; the last bucket has none. */
#define METRICS_BUCKETS 14
extern const int64_t metrics_bounds_us[METRICS_BUCKETS - 1];
struct metrics_commits {
    uint64_t bucket[METRICS_BUCKETS]; /* not cumulative */
    uint64_t count, sum_us;
    int64_t p99_us; /* of the last 1024; 0: there was none */
};
void metrics_commits(struct metrics_commits *out);

/* --- Logins --------------------------------------------------------------------------------------
 */
void metrics_login(const char *service, enum dialogue_hook hook, enum dialogue_verdict verdict);
#define METRICS_SERVICES 20 /* the last one is "other" */
#define METRICS_HOOKS 4
#define METRICS_VERDICTS 5
const char *metrics_service_name(size_t i);
const char *metrics_hook_name(size_t i);
const char *metrics_verdict_name(size_t i);
uint64_t metrics_logins(size_t service, size_t hook, size_t verdict);

/* --- Requests ------------------------------------------------------------------------------------
 */
#define METRICS_ROWS 255    /* the route table's rows; a request without a row counts as this one */
#define METRICS_STATUSES 13 /* the last one is every other */
void metrics_request(size_t row, int status);
int metrics_status(size_t i); /* 0: other */
uint64_t metrics_requests(size_t row, size_t status);

#endif
