/* The dialogue's versions, as the agent after the next upgrade sees them: it takes the records of
 * the module before, to the byte. Whoever raises DIALOGUE_VERSION keeps these bytes. */
#define DIALOGUE_VERSION 2

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <countersign/dialogue.h>

/* What the module of version 1 sends: authenticate, sshd, alice, from 192.0.2.7, on ssh. */
static const uint8_t begin_v1[] = {
    1, 1, 1, 1,   0,   1,                                 /* HOOK */
    2, 1, 0, 2,                                           /* FLAGS */
    4, 5, 0, 'a', 'l', 'i', 'c', 'e',                     /* USER */
    3, 4, 0, 's', 's', 'h', 'd',                          /* SERVICE */
    6, 9, 0, '1', '9', '2', '.', '0', '.', '2', '.', '7', /* RHOST */
    7, 3, 0, 's', 's', 'h',                               /* TTY */
};
static const uint8_t answer_v1[] = {1, 2, 12, 6, 0, '1', '2', '3', '4', '5', '6'};
static const uint8_t abort_v1[] = {1, 3};

static void assert_text(const struct dialogue_parsed *m, enum dialogue_tag tag, const char *want)
{
    char got[DIALOGUE_NAME_MAX + 1];
    assert_true(dialogue_text(m, tag, got, sizeof(got)));
    assert_string_equal(got, want);
}

/* Goal: every record of the module before is read by the agent after, and known as the older one.
 */
static void test_before(void **state)
{
    struct dialogue_parsed m;
    (void)state;
    assert_int_equal(dialogue_parse(begin_v1, sizeof(begin_v1), &m), 0);
    assert_int_equal(m.version, 1);
    assert_int_equal(m.type, DIALOGUE_BEGIN);
    assert_int_equal(dialogue_u8(&m, DIALOGUE_TAG_HOOK), DIALOGUE_HOOK_AUTH);
    assert_int_equal(dialogue_u8(&m, DIALOGUE_TAG_FLAGS), DIALOGUE_FLAG_DISALLOW_NULL);
    assert_text(&m, DIALOGUE_TAG_USER, "alice");
    assert_text(&m, DIALOGUE_TAG_SERVICE, "sshd");
    assert_text(&m, DIALOGUE_TAG_RHOST, "192.0.2.7");
    assert_text(&m, DIALOGUE_TAG_TTY, "ssh");
    assert_int_equal(dialogue_parse(answer_v1, sizeof(answer_v1), &m), 0);
    assert_int_equal(m.version, 1);
    assert_text(&m, DIALOGUE_TAG_ANSWER, "123456");
    assert_int_equal(dialogue_parse(abort_v1, sizeof(abort_v1), &m), 0);
    assert_int_equal(m.type, DIALOGUE_ABORT);
}

/* Goal: its own version is taken, too, and no other: neither older nor newer. */
static void test_others(void **state)
{
    struct dialogue_parsed m;
    (void)state;
    for (unsigned version = 0; version < 256; version++) {
        const uint8_t packet[] = {(uint8_t)version, DIALOGUE_ABORT};
        int want = version == 1 || version == 2 ? 0 : -EBADMSG;
        assert_int_equal(dialogue_parse(packet, sizeof(packet), &m), want);
        assert_int_equal(m.version, want == 0 ? version : 0);
    }
}

/* Goal: what is written anew is of the new version. */
static void test_own(void **state)
{
    struct dialogue_record r;
    (void)state;
    dialogue_start(&r, DIALOGUE_VERDICT);
    assert_int_equal(r.bytes[0], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
