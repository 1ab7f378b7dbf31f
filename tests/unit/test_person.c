/* People and their groups, from the NSS of whatever machine this runs on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "identity/person.h"

/* Goal: only what may be a user name passes. */
static void test_valid_name(void **state)
{
    static const char *const good[] = {"root", "a",  "jürgen", "a.b-c_d", "user@example.org",
                                       "bob$", "0x1"};
    static const char *const bad[] = {"",
                                      "-rf",
                                      "a/b",
                                      "a:b",
                                      "a b",
                                      "a\tb",
                                      "a\nb",
                                      "\b\n\r\177INCORRECT",
                                      "a\177",
                                      "a\xc2\x85",
                                      "a\xc2\xa0"
                                      "b",
                                      "a\xe2\x80\xa8"
                                      "b",
                                      "a\xe3\x80\x80",
                                      "\xff",
                                      "a\xc3",
                                      "../x",
                                      "\xe2\x80\x83x"};
    char longest[PERSON_NAME_MAX + 2];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!person_valid_name(good[i]))
            fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (person_valid_name(bad[i]))
            fail_msg("bad name %zu passed", i);
    }
    assert_false(person_valid_name(NULL));
    memset(longest, 'a', sizeof(longest));
    longest[PERSON_NAME_MAX + 1] = '\0';
    assert_false(person_valid_name(longest));
    longest[PERSON_NAME_MAX] = '\0';
    assert_true(person_valid_name(longest));
}

static bool has_group(const struct person *p, const char *name)
{
    for (size_t i = 0; i < p->n_groups; i++) {
        if (strcmp(p->groups[i], name) == 0)
            return true;
    }
    return false;
}

/* Goal: root is found by name and by uid, with the same groups, the primary one among them. */
static void test_root(void **state)
{
    _cleanup_(person_freep) struct person *by_name = NULL, *by_uid = NULL;
    (void)state;
    assert_int_equal(person_lookup("root", 77, &by_name), 0);
    assert_true(by_name->exists);
    assert_int_equal(by_name->uid, 0);
    assert_string_equal(by_name->name, "root");
    assert_true(has_group(by_name, getgrgid(0)->gr_name));
    assert_int_equal(person_lookup(NULL, 0, &by_uid), 0);
    assert_true(by_uid->exists);
    assert_string_equal(by_uid->name, "root");
    assert_int_equal(by_uid->n_groups, by_name->n_groups);
}

/* Goal: every group of every person agrees with what the system's own list says. */
static void test_members(void **state)
{
    struct group *gr;
    (void)state;
    setgrent();
    while ((gr = getgrent())) {
        for (char **m = gr->gr_mem; *m; m++) {
            _cleanup_(person_freep) struct person *p = NULL;
            char group[256];
            snprintf(group, sizeof(group), "%s", gr->gr_name);
            assert_int_equal(person_lookup(*m, 0, &p), 0);
            if (p->exists)
                assert_true(has_group(p, group));
        }
    }
    endgrent();
}

/* Goal: people who are not there, and names that can't be, don't exist and are no error. */
static void test_nobody_there(void **state)
{
    static const char *const names[] = {
        "no-such-person-4711", "", "\b\n\r\177INCORRECT", "a b", "root:x", "-root"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_(person_freep) struct person *p = NULL;
        assert_int_equal(person_lookup(names[i], 0, &p), 0);
        assert_non_null(p);
        assert_false(p->exists);
        assert_int_equal(p->n_groups, 0);
    }
    uid_t free_uid = 3999999;
    while (getpwuid(free_uid))
        free_uid++;
    _cleanup_(person_freep) struct person *p = NULL;
    assert_int_equal(person_lookup(NULL, free_uid, &p), 0);
    assert_false(p->exists);
    person_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_name),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
