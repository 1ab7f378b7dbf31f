#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"

/* Writes of every kind land in order, little-endian, with a NUL behind them. */
static void test_writes(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    static const uint8_t want[] = "ab!7\x01\x03\x02\x07\x06\x05\x04\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08"
                                  "\x02\x00\x00\x00xy";

    assert_string_equal(buf_str(&b), "");
    buf_puts(&b, "ab");
    buf_putc(&b, '!');
    buf_putf(&b, "%d", 7);
    buf_put_u8(&b, 1);
    buf_put_u16(&b, 0x0203);
    buf_put_u32(&b, 0x04050607);
    buf_put_u64(&b, 0x08090a0b0c0d0e0f);
    buf_put_blob(&b, "xy", 2);
    assert_int_equal(buf_error(&b), 0);
    assert_int_equal(b.len, sizeof(want) - 1);
    assert_memory_equal(b.data, want, sizeof(want));
}

/* Exactly max bytes fit; one more is refused, and the refusal sticks until the reset. */
static void test_limit_is_sticky(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4);

    buf_puts(&b, "1234");
    assert_int_equal(buf_error(&b), 0);
    buf_putc(&b, '5');
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_put(&b, NULL, 0);
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    assert_string_equal(buf_str(&b), "1234");
    assert_null(buf_extend(&b, 0));
    assert_null(buf_steal(&b));
    buf_reset(&b);
    assert_int_equal(buf_error(&b), 0);
    assert_string_equal(buf_str(&b), "");
    buf_puts(&b, "ok");
    assert_string_equal(buf_str(&b), "ok");
}

/* Lengths near the top of size_t are refused before they are added to anything. */
static void test_hostile_lengths(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(SIZE_MAX);

    buf_putc(&b, 'x');
    assert_null(buf_extend(&b, SIZE_MAX));
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_clear(&b);
    assert_null(buf_extend(&b, SIZE_MAX - 1));
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_clear(&b);
    b.max = SIZE_MAX;
    buf_put_blob(&b, "", (size_t)UINT32_MAX + 1);
    assert_int_equal(buf_error(&b), -EMSGSIZE);
}

/* A formatted write that passes the limit leaves nothing of itself. */
static void test_putf_all_or_nothing(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(10);

    buf_puts(&b, "12345");
    buf_putf(&b, "%s", "abcdef");
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    assert_string_equal(buf_str(&b), "12345");
}

/* Growing keeps what was written, over many doublings. */
static void test_growth(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

    for (int i = 0; i < 100000; i++)
        buf_putc(&b, (char)('a' + i % 26));
    assert_int_equal(buf_error(&b), 0);
    assert_int_equal(b.len, 100000);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    assert_int_equal(b.data[b.len], 0);
}

/* Resetting wipes what was held, though the memory stays. */
static void test_reset_wipes(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    static const uint8_t zero[6];

    buf_puts(&b, "secret");
    buf_reset(&b);
    assert_memory_equal(b.data, zero, sizeof(zero));
}

/* Stealing gives a string even when nothing was written, and leaves a usable buffer. */
static void test_steal(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    _cleanup_secret_ char *empty = buf_steal(&b);
    _cleanup_secret_ char *full = NULL;

    assert_string_equal(empty, "");
    buf_puts(&b, "mine");
    full = buf_steal(&b);
    assert_string_equal(full, "mine");
    assert_int_equal(b.len, 0);
    buf_puts(&b, "again");
    assert_string_equal(buf_str(&b), "again");
}

/* What one side wrote the other reads, to the last byte and not beyond. */
static void test_span_reads_back(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    struct span s;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    const uint8_t *p;
    size_t n;

    buf_put_u8(&b, 0xfe);
    buf_put_u16(&b, 0xfedc);
    buf_put_u32(&b, 0xfedcba98);
    buf_put_u64(&b, 0xfedcba9876543210);
    buf_put_blob(&b, "blob", 4);
    s = (struct span){.p = b.data, .left = b.len};
    assert_int_equal(span_u8(&s, &u8), 0);
    assert_int_equal(span_u16(&s, &u16), 0);
    assert_int_equal(span_u32(&s, &u32), 0);
    assert_int_equal(span_u64(&s, &u64), 0);
    assert_int_equal(span_blob(&s, &p, &n), 0);
    assert_int_equal(u8, 0xfe);
    assert_int_equal(u16, 0xfedc);
    assert_true(u32 == 0xfedcba98 && u64 == 0xfedcba9876543210);
    assert_int_equal(n, 4);
    assert_memory_equal(p, "blob", 4);
    assert_int_equal(s.left, 0);
    assert_int_equal(span_u8(&s, &u8), -EBADMSG);
}

/* A truncated span is refused at every length, and the position stays where it was. */
static void test_span_truncated(_unused_ void **state)
{
    static const uint8_t blob[] = {3, 0, 0, 0, 'a', 'b', 'c'};
    const uint8_t *p = NULL;
    uint64_t u64 = 1;
    size_t n = 99;

    for (size_t len = 0; len < sizeof(blob); len++) {
        struct span s = {.p = blob, .left = len};

        assert_int_equal(span_blob(&s, &p, &n), -EBADMSG);
        assert_int_equal(span_u64(&s, &u64), -EBADMSG);
        assert_int_equal(span_bytes(&s, len + 1, &p), -EBADMSG);
        assert_ptr_equal(s.p, blob);
        assert_int_equal(s.left, len);
    }
    assert_int_equal(n, 99);
    assert_true(u64 == 1);
}

/* A blob that claims to be as long as can be said is refused. */
static void test_span_huge_blob(_unused_ void **state)
{
    static const uint8_t blob[] = {0xff, 0xff, 0xff, 0xff, 'a'};
    struct span s = {.p = blob, .left = sizeof(blob)};
    const uint8_t *p;
    size_t n;

    assert_int_equal(span_blob(&s, &p, &n), -EBADMSG);
    assert_int_equal(span_bytes(&s, SIZE_MAX, &p), -EBADMSG);
    assert_int_equal(s.left, sizeof(blob));
}

/* Comparing looks at lengths first and at every byte. */
static void test_equal(_unused_ void **state)
{
    assert_true(mem_equal("abc", 3, "abc", 3));
    assert_true(mem_equal(NULL, 0, NULL, 0));
    assert_false(mem_equal("abc", 3, "abd", 3));
    assert_false(mem_equal("abc", 3, "ab", 2));
    assert_false(mem_equal("abc", 0, "abc", 3));
    assert_true(mem_equal_str("x", "x"));
    assert_false(mem_equal_str("x", "xy"));
    assert_false(mem_equal_str(NULL, NULL));
    assert_false(mem_equal_str("x", NULL));
}

/* Copies have a NUL behind them; an impossible size is refused. */
static void test_dup(_unused_ void **state)
{
    _cleanup_secret_ char *copy = mem_dup("abcdef", 3);
    _cleanup_secret_ char *none = mem_dup(NULL, 0);

    assert_string_equal(copy, "abc");
    assert_string_equal(none, "");
    assert_null(mem_dup("x", SIZE_MAX));
    mem_free_str(NULL);
    mem_free(NULL, 9);
    mem_wipe(NULL, 0);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CHECKED_MALLOC 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECKED_MALLOC 1
#endif

/* Lack of memory is an error that sticks; what was written before is kept. */
static void test_no_memory(_unused_ void **state)
{
#ifdef CHECKED_MALLOC
    skip(); /* sanitizers end the process when asked for too much */
#else
    _cleanup_buf_ struct buf b = BUF_INIT(SIZE_MAX);

    buf_puts(&b, "kept");
    assert_null(buf_extend(&b, (size_t)1 << 50)); /* more than an address can say */
    assert_int_equal(buf_error(&b), -ENOMEM);
    buf_puts(&b, "more");
    assert_string_equal(buf_str(&b), "kept");
    assert_null(buf_steal(&b));
#endif
}

/* A hardened process can't be dumped, traced or core-dumped. */
static void test_harden(_unused_ void **state)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit core = {.rlim_cur = 1, .rlim_max = 1};
        int r = mem_harden_process();

        (void)getrlimit(RLIMIT_CORE, &core);
        _exit(r == 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && core.rlim_cur == 0 &&
                      core.rlim_max == 0
                  ? 0
                  : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Whole numbers are written as printf() writes them, to both ends. */
static void test_dec(void **state)
{
    const int64_t list[] = {0, 7, -1, 10, 1234567890, INT64_MAX, INT64_MIN};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        char want[32];
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        snprintf(want, sizeof(want), "%lld", (long long)list[i]);
        buf_put_dec(&b, list[i]);
        assert_string_equal(buf_str(&b), want);
    }
    _cleanup_buf_ struct buf small = BUF_INIT(2);
    buf_put_dec(&small, 100);
    assert_int_equal(buf_error(&small), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_limit_is_sticky),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_putf_all_or_nothing),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_reset_wipes),
        cmocka_unit_test(test_steal),
        cmocka_unit_test(test_span_reads_back),
        cmocka_unit_test(test_span_truncated),
        cmocka_unit_test(test_span_huge_blob),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_dup),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_harden),
        cmocka_unit_test(test_dec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
