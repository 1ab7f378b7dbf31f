/* What the agent counts of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "server/metrics.h"

/* Goal: a commit's time goes into the first bucket that holds it; p99 is of the latest. */
static void test_commits(void **state)
{
    (void)state;
    struct metrics_commits c;
    metrics_commits(&c);
    assert_int_equal(c.p99_us, 0);
    metrics_commit(100);
    metrics_commit(101);
    metrics_commit(60000000);
    metrics_commits(&c);
    assert_int_equal(c.bucket[0], 1);
    assert_int_equal(c.bucket[1], 1);
    assert_int_equal(c.bucket[METRICS_BUCKETS - 1], 1);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.sum_us, 60000201);
    assert_int_equal(c.p99_us, 60000000);
    for (int i = 0; i < 1024; i++)
        metrics_commit(i < 1013 ? 300 : 9000);
    metrics_commits(&c);
    assert_int_equal(c.p99_us, 9000);
    metrics_commit(300);
    for (int i = 0; i < 1023; i++)
        metrics_commit(i < 1014 ? 300 : 9000);
    metrics_commits(&c);
    assert_int_equal(c.p99_us, 300);
    uint64_t sum = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        sum += c.bucket[i];
    assert_int_equal(sum, c.count);
}

static uint64_t logins_of(const char *service)
{
    uint64_t n = 0;
    for (size_t s = 0; s < METRICS_SERVICES; s++) {
        for (size_t h = 0; h < METRICS_HOOKS; h++) {
            for (size_t v = 0; v < METRICS_VERDICTS; v++)
                n += strcmp(metrics_service_name(s), service) == 0 ? metrics_logins(s, h, v) : 0;
        }
    }
    return n;
}

/* Goal: a service that somebody made up is no label of its own, and nonsense is not counted. */
static void test_logins(void **state)
{
    (void)state;
    metrics_login("sshd", DIALOGUE_HOOK_AUTH, DIALOGUE_ALLOW);
    metrics_login("zzz\"} 1\n", DIALOGUE_HOOK_AUTH, DIALOGUE_DENY);
    metrics_login("", DIALOGUE_HOOK_CLOSE, DIALOGUE_MAXTRIES);
    metrics_login("sshd", (enum dialogue_hook)0, DIALOGUE_ALLOW);
    metrics_login("sshd", DIALOGUE_HOOK_AUTH, (enum dialogue_verdict)99);
    assert_int_equal(logins_of("sshd"), 1);
    assert_int_equal(logins_of("other"), 2);
    assert_string_equal(metrics_service_name(METRICS_SERVICES - 1), "other");
}

/* Goal: any row and any status has its place. */
static void test_requests(void **state)
{
    (void)state;
    metrics_request(3, 200);
    metrics_request(3, 418);
    metrics_request(100000, 404);
    assert_int_equal(metrics_requests(3, 0), 1);
    assert_int_equal(metrics_requests(3, METRICS_STATUSES - 1), 1);
    assert_int_equal(metrics_status(METRICS_STATUSES - 1), 0);
    uint64_t n = 0;
    for (size_t i = 0; i < METRICS_STATUSES; i++)
        n += metrics_requests(METRICS_ROWS, i);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commits),
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
