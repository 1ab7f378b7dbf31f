/* The module's hooks through the real libpam: verdicts, the handle, items, arguments. */
#include "pam_fixture.h"

/* Goal: every hook returns for every verdict what the table in dialogue.h says. */
static void test_codes(void **state)
{
    struct host *h = *state;
    for (size_t i = 0; i < HOOKS; i++) {
        for (unsigned v = 0; v <= DIALOGUE_MAXTRIES; v++) {
            host_begin(h);
            host_agent(h, script_verdict, &(struct verdict){v, USER, NULL});
            assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].code[v]);
            host_agent_content(h);
        }
    }
}

/* Goal: a verdict of a number nobody knows is a denial in every hook. */
static void test_unknown_verdict(void **state)
{
    struct host *h = *state;
    for (size_t i = 0; i < HOOKS; i++) {
        host_begin(h);
        host_agent(h, script_verdict, &(struct verdict){DIALOGUE_MAXTRIES + 1, USER, NULL});
        assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].denied);
        host_agent_content(h);
    }
}

/* Goal: the account hook says PAM_IGNORE exactly when the agent has no opinion; then others decide.
 */
static void test_account_ignore(void **state)
{
    static const char stack[] = "account [ignore=1 default=die] @\naccount required pam_deny.so\n"
                                "account required pam_permit.so\n";
    static const int expected[] = {PAM_PERM_DENIED, PAM_SUCCESS, PAM_SUCCESS, PAM_AUTHINFO_UNAVAIL,
                                   PAM_PERM_DENIED};
    struct host *h = *state;
    for (unsigned v = 0; v <= DIALOGUE_MAXTRIES; v++) {
        if (v == DIALOGUE_ALLOW)
            continue;
        host_start(h, stack, "", USER);
        host_agent(h, script_verdict, &(struct verdict){v, USER, NULL});
        assert_int_equal(pam_acct_mgmt(h->pamh, 0), expected[v]);
        host_agent_content(h);
    }
}

/* Goal: ALLOW counts only with a USER field that is exactly the user the hook began with. */
static void test_allow_names_user(void **state)
{
    static const char *const wrong[] = {NULL, "", "mallory", "alic", "alicee", "Alice"};
    struct host *h = *state;
    for (size_t i = 0; i < HOOKS; i++) {
        for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
            host_begin(h);
            host_agent(h, script_verdict, &(struct verdict){DIALOGUE_ALLOW, wrong[j], HANDLE});
            assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].denied);
            assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
            host_agent_content(h);
        }
    }
}

static void script_check_begin(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    must(dialogue_u8(&a->heard, DIALOGUE_TAG_HOOK) == DIALOGUE_HOOK_AUTH);
    must(dialogue_u8(&a->heard, DIALOGUE_TAG_FLAGS) ==
         (DIALOGUE_FLAG_SILENT | DIALOGUE_FLAG_DISALLOW_NULL));
    must(agent_heard(a, DIALOGUE_TAG_SERVICE, SERVICE));
    must(agent_heard(a, DIALOGUE_TAG_USER, USER));
    must(agent_heard(a, DIALOGUE_TAG_RUSER, "bob"));
    must(agent_heard(a, DIALOGUE_TAG_RHOST, "2001:db8::7"));
    must(agent_heard(a, DIALOGUE_TAG_TTY, NULL)); /* set, but empty */
    must(agent_heard(a, DIALOGUE_TAG_AUTH_INFO, "publickey ssh-ed25519 AAAA\n"));
    must(agent_heard(a, DIALOGUE_TAG_HANDLE, NULL));
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: BEGIN tells the agent the hook, the flags and every PAM item that is set. */
static void test_begin(void **state)
{
    struct host *h = *state;
    host_begin(h);
    pam_set_item(h->pamh, PAM_RUSER, "bob");
    pam_set_item(h->pamh, PAM_RHOST, "2001:db8::7");
    pam_set_item(h->pamh, PAM_TTY, "");
    pam_putenv(h->pamh, "SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA\n");
    host_agent(h, script_check_begin, NULL);
    assert_int_equal(pam_authenticate(h->pamh, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK),
                     PAM_SUCCESS);
    host_agent_content(h);
}

static void script_largest_begin(struct agent *a)
{
    const size_t *auth_info = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    must(a->heard.field[DIALOGUE_TAG_USER].n == DIALOGUE_NAME_MAX);
    must(a->heard.field[DIALOGUE_TAG_RUSER].n == DIALOGUE_NAME_MAX);
    must(a->heard.field[DIALOGUE_TAG_RHOST].n == DIALOGUE_NAME_MAX);
    must(a->heard.field[DIALOGUE_TAG_TTY].n == DIALOGUE_NAME_MAX);
    must(a->heard.field[DIALOGUE_TAG_AUTH_INFO].n == *auth_info);
    must(a->heard.field[DIALOGUE_TAG_HANDLE].n == DIALOGUE_HANDLE_LEN);
    agent_judge(a, DIALOGUE_MAXTRIES, NULL, NULL);
}

static void put_auth_info(pam_handle_t *pamh, size_t n)
{
    char entry[DIALOGUE_RECORD_MAX] = "SSH_AUTH_INFO_0=";
    repeat(entry + strlen(entry), 'k', n);
    assert_int_equal(pam_putenv(pamh, entry), PAM_SUCCESS);
}

/* Goal: everything at its limit still fits one record; an overlong SSH_AUTH_INFO_0 is left out. */
static void test_largest_begin(void **state)
{
    static const struct {
        size_t put, sent;
    } info[] = {{DIALOGUE_AUTH_INFO_MAX, DIALOGUE_AUTH_INFO_MAX}, {DIALOGUE_AUTH_INFO_MAX + 1, 0}};
    struct host *h = *state;
    char name[DIALOGUE_NAME_MAX + 1];
    repeat(name, 'n', DIALOGUE_NAME_MAX);
    for (size_t i = 0; i < 2; i++) {
        host_start(h, ALL_HOOKS, "", name);
        pam_set_item(h->pamh, PAM_RUSER, name);
        pam_set_item(h->pamh, PAM_RHOST, name);
        pam_set_item(h->pamh, PAM_TTY, name);
        pam_putenv(h->pamh, DIALOGUE_HANDLE_ENV "=" HANDLE);
        put_auth_info(h->pamh, info[i].put);
        host_agent(h, script_largest_begin, &info[i].sent);
        assert_int_equal(pam_open_session(h->pamh, 0), PAM_PERM_DENIED);
        host_agent_content(h);
    }
}

/* Goal: an item over its limit or not UTF-8 refuses in every hook, and the agent hears nothing: a
 * shortened name would be another one. */
static void test_unfit_items(void **state)
{
    static const int items[] = {PAM_USER, PAM_RUSER, PAM_RHOST, PAM_TTY};
    static const char *const not_utf8[] = {"al\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                           "cut\xe2\x82"};
    struct host *h = *state;
    char name[DIALOGUE_NAME_MAX + 2];
    repeat(name, 'n', DIALOGUE_NAME_MAX + 1);
    host_listen(h, 8);
    for (size_t hook = 0; hook < HOOKS; hook++) {
        for (size_t i = 0; i < 4; i++) {
            for (size_t j = 0; j < 6; j++) {
                host_begin(h);
                pam_set_item(h->pamh, items[i], j < 5 ? not_utf8[j] : name);
                assert_int_equal(hooks[hook].call(h->pamh, 0), hooks[hook].denied);
            }
        }
    }
    struct pollfd p = {.fd = h->listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
}

/* Goal: a service name that is not UTF-8 refuses too. */
static void test_unfit_service(void **state)
{
    struct host *h = *state;
    char path[128], link_path[128];
    host_listen(h, 8);
    host_begin(h);
    snprintf(path, sizeof(path), "%s/" SERVICE, h->dir);
    snprintf(link_path, sizeof(link_path), "%s/cs-\xff", h->dir);
    assert_int_equal(link(path, link_path), 0);
    pam_set_item(h->pamh, PAM_SERVICE, "cs-\xff");
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
    assert_int_equal(unlink(link_path), 0);
    struct pollfd p = {.fd = h->listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
}

static void script_handle(struct agent *a)
{
    const struct verdict *v = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    must(agent_heard(a, DIALOGUE_TAG_HANDLE, v->handle));
    agent_judge(a, v->value, v->user, NULL);
}

/* Goal: the handle of an allowed authentication stands in the PAM environment, goes to account and
 * open_session, and is gone after open_session, so that it can't reach the user's program. */
static void test_handle(void **state)
{
    struct host *h = *state;
    host_begin(h);
    host_agent(h, script_verdict, &(struct verdict){DIALOGUE_ALLOW, USER, HANDLE});
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
    host_agent_content(h);
    assert_string_equal(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV), HANDLE);
    host_agent(h, script_handle, &(struct verdict){DIALOGUE_ALLOW, USER, HANDLE});
    assert_int_equal(pam_acct_mgmt(h->pamh, 0), PAM_SUCCESS);
    host_agent_content(h);
    assert_string_equal(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV), HANDLE);
    host_agent(h, script_handle, &(struct verdict){DIALOGUE_ALLOW, USER, HANDLE});
    assert_int_equal(pam_open_session(h->pamh, 0), PAM_SUCCESS);
    host_agent_content(h);
    assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
    host_agent(h, script_handle, &(struct verdict){DIALOGUE_ALLOW, USER, NULL});
    assert_int_equal(pam_close_session(h->pamh, 0), PAM_SUCCESS);
    host_agent_content(h);
}

/* Goal: the account hook keeps a handle as well (with a public key alone, sshd calls no other hook
 * before the session); the session hooks keep none. */
static void test_handle_from_account(void **state)
{
    struct host *h = *state;
    for (size_t i = 1; i < HOOKS; i++) {
        host_begin(h);
        host_agent(h, script_verdict, &(struct verdict){DIALOGUE_ALLOW, USER, HANDLE});
        assert_int_equal(hooks[i].call(h->pamh, 0), PAM_SUCCESS);
        host_agent_content(h);
        assert_true(!pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV) == (i > 1));
    }
}

/* Goal: open_session removes the handle also when it refuses, finds no agent or has bad arguments.
 */
static void test_handle_removed_on_failure(void **state)
{
    static const struct {
        const char *args;
        int code;
    } cases[] = {{"", PAM_PERM_DENIED}, {"", PAM_SESSION_ERR}, {"nonsense", PAM_PERM_DENIED}};
    struct host *h = *state;
    for (size_t i = 0; i < 3; i++) {
        host_start(h, ALL_HOOKS, cases[i].args, USER);
        pam_putenv(h->pamh, DIALOGUE_HANDLE_ENV "=" HANDLE);
        if (i == 0)
            host_agent(h, script_handle, &(struct verdict){DIALOGUE_DENY, USER, HANDLE});
        assert_int_equal(pam_open_session(h->pamh, 0), cases[i].code);
        assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
        if (i == 0)
            host_agent_content(h);
    }
}

/* Goal: an authentication leaves no handle but its own: an older one goes even if it fails. */
static void test_stale_handle(void **state)
{
    static const unsigned verdicts[] = {DIALOGUE_DENY, DIALOGUE_ALLOW, DIALOGUE_UNAVAIL};
    struct host *h = *state;
    for (size_t i = 0; i < 3; i++) {
        host_begin(h);
        pam_putenv(h->pamh, DIALOGUE_HANDLE_ENV "=" HANDLE);
        host_agent(h, script_handle, &(struct verdict){verdicts[i], USER, NULL});
        assert_int_equal(pam_authenticate(h->pamh, 0), hooks[0].code[verdicts[i]]);
        assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
        host_agent_content(h);
    }
}

/* Goal: what can't be a handle is not sent when a user's ~/.pam_environment planted it, and makes a
 * denial of an ALLOW that brings it. */
static void test_malformed_handle(void **state)
{
    static const char *const wrong[] = {
        "", "0123456789abcdef0123456789abcde", "0123456789ABCDEF0123456789ABCDEF",
        "0123456789abcdef0123456789abcde=", "0123456789abcdef0123456789abcdef0"};
    struct host *h = *state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char entry[128];
        snprintf(entry, sizeof(entry), "%s=%s", DIALOGUE_HANDLE_ENV, wrong[i]);
        host_begin(h);
        pam_putenv(h->pamh, entry);
        host_agent(h, script_handle, &(struct verdict){DIALOGUE_ALLOW, USER, NULL});
        assert_int_equal(pam_acct_mgmt(h->pamh, 0), PAM_SUCCESS);
        host_agent_content(h);
        host_begin(h);
        host_agent(h, script_verdict, &(struct verdict){DIALOGUE_ALLOW, USER, wrong[i]});
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
        assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
        host_agent_content(h);
    }
}

/* Goal: setcred succeeds without an agent, and whatever its arguments say. */
static void test_setcred(void **state)
{
    struct host *h = *state;
    host_start(h, ALL_HOOKS, "nonsense", USER);
    assert_int_equal(pam_setcred(h->pamh, PAM_ESTABLISH_CRED), PAM_SUCCESS);
    assert_int_equal(pam_setcred(h->pamh, PAM_REINITIALIZE_CRED), PAM_SUCCESS);
    assert_int_equal(pam_setcred(h->pamh, PAM_DELETE_CRED), PAM_SUCCESS);
}

/* Goal: chauthtok fails, saying once what to use instead, and says nothing when it must be silent.
 */
static void test_chauthtok(void **state)
{
    struct host *h = *state;
    host_begin(h);
    assert_int_equal(pam_chauthtok(h->pamh, 0), PAM_AUTHTOK_ERR);
    assert_int_equal(h->person.heard, 1);
    assert_said(&h->person, 0, PAM_ERROR_MSG,
                "Countersign does not change passwords: use `countersign factor`");
    host_begin(h);
    assert_int_equal(pam_chauthtok(h->pamh, PAM_SILENT), PAM_AUTHTOK_ERR);
    assert_int_equal(h->person.heard, 0);
    host_start(h, "password optional @\npassword required pam_permit.so\n", "", USER);
    assert_int_equal(pam_chauthtok(h->pamh, 0), PAM_SUCCESS);
    assert_int_equal(h->person.heard, 1);
}

/* Goal: an argument that is unknown or malformed refuses in every hook, before the agent is asked.
 */
static void test_bad_arguments(void **state)
{
    static const char *const wrong[] = {"nonsense",
                                        "Debug",
                                        "debug=1",
                                        "debugging",
                                        "socket",
                                        "socket=",
                                        "socket=pam.sock",
                                        "timeout=",
                                        "timeout=0",
                                        "timeout=301",
                                        "timeout=-1",
                                        "timeout=+5",
                                        "timeout=5s",
                                        "timeout=99999999999999999999",
                                        "agent_uid=",
                                        "agent_uid=-1",
                                        "agent_uid=4294967295",
                                        "agent_uid=root",
                                        "agent_uid=0x0"};
    struct host *h = *state;
    char too_long[256] = "socket=/";
    repeat(too_long + 8, 's', 107);
    host_listen(h, 8);
    for (size_t hook = 0; hook < HOOKS; hook++) {
        for (size_t i = 0; i <= sizeof(wrong) / sizeof(wrong[0]); i++) {
            bool last = i == sizeof(wrong) / sizeof(wrong[0]);
            host_start(h, ALL_HOOKS, last ? too_long : wrong[i], USER);
            assert_int_equal(hooks[hook].call(h->pamh, 0), hooks[hook].denied);
        }
    }
    struct pollfd p = {.fd = h->listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
}

/* Goal: every good argument is taken, at its limits too. */
static void test_good_arguments(void **state)
{
    static const char *const good[] = {"",
                                       "debug",
                                       "timeout=1",
                                       "timeout=300",
                                       "debug timeout=007",
                                       "agent_uid=4294967294 agent_uid="};
    struct host *h = *state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char args[128];
        bool complete = i + 1 == sizeof(good) / sizeof(good[0]);
        snprintf(args, sizeof(args), complete ? "%s%u" : "%s", good[i], (unsigned)getuid());
        host_start(h, ALL_HOOKS, args, USER);
        host_agent(h, script_verdict, &(struct verdict){DIALOGUE_ALLOW, USER, NULL});
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
        host_agent_content(h);
    }
}

/* Goal: the longest path a socket can have is taken: absent, not malformed. */
static void test_longest_path(void **state)
{
    struct host *h = *state;
    char longest[256] = "socket=/";
    repeat(longest + 8, 's', 106);
    host_start(h, ALL_HOOKS, longest, USER);
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTHINFO_UNAVAIL);
}

/* Goal: without a user PAM asks for the name; an empty one is refused. */
static void test_user_asked(void **state)
{
    struct host *h = *state;
    host_start(h, ALL_HOOKS, "", NULL);
    h->person.reply = USER;
    host_agent(h, script_verdict, &(struct verdict){DIALOGUE_ALLOW, USER, NULL});
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
    host_agent_content(h);
    assert_int_equal(h->person.heard, 1);
    host_start(h, ALL_HOOKS, "", NULL);
    h->person.reply = "";
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
    host_start(h, ALL_HOOKS, "", NULL);
    assert_int_equal(pam_open_session(h->pamh, 0), PAM_PERM_DENIED);
    assert_int_equal(h->person.heard, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(test_codes),
        host_test(test_unknown_verdict),
        host_test(test_account_ignore),
        host_test(test_allow_names_user),
        host_test(test_begin),
        host_test(test_largest_begin),
        host_test(test_unfit_items),
        host_test(test_unfit_service),
        host_test(test_handle),
        host_test(test_handle_from_account),
        host_test(test_handle_removed_on_failure),
        host_test(test_stale_handle),
        host_test(test_malformed_handle),
        host_test(test_setcred),
        host_test(test_chauthtok),
        host_test(test_bad_arguments),
        host_test(test_good_arguments),
        host_test(test_longest_path),
        host_test(test_user_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
