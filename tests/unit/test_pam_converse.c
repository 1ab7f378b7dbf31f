/* The conversation: prompts, messages and answers between the agent and the person. */
#include "pam_fixture.h"

static void script_prompts(struct agent *a)
{
    const char *expected = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    agent_ask(a, DIALOGUE_STYLE_ECHO_OFF, "Code: ", expected);
    agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_INFO, "one\ntwo");
    agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_ERROR, "wrong");
    agent_ask(a, DIALOGUE_STYLE_ECHO_ON, "Press Enter ", expected);
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: prompts and messages of all styles reach the person, and every answer up to the limit (the
 * empty one, and sshd's for invalid users, too) reaches the agent as it was typed. */
static void test_conversation(void **state)
{
    char longest[DIALOGUE_ANSWER_MAX + 1];
    const char *const replies[] = {"123456", "", "\b\n\r\177INCORRECT", "p\xc3\xa4ss \xff",
                                   repeat(longest, 'x', DIALOGUE_ANSWER_MAX)};
    struct host *h = *state;
    for (size_t hook = 0; hook < 2; hook++) {
        for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
            host_begin(h);
            h->person.reply = replies[i];
            host_agent(h, script_prompts, replies[i]);
            assert_int_equal(hooks[hook].call(h->pamh, 0), PAM_SUCCESS);
            host_agent_content(h);
            assert_int_equal(h->person.heard, 4);
            assert_said(&h->person, 0, PAM_PROMPT_ECHO_OFF, "Code: ");
            assert_said(&h->person, 1, PAM_TEXT_INFO, "one\ntwo");
            assert_said(&h->person, 2, PAM_ERROR_MSG, "wrong");
            assert_said(&h->person, 3, PAM_PROMPT_ECHO_ON, "Press Enter ");
        }
    }
}

/* Goal: PAM_SILENT hides information, but no prompt and no error. */
static void test_silent(void **state)
{
    struct host *h = *state;
    host_begin(h);
    h->person.reply = "1";
    host_agent(h, script_prompts, "1");
    assert_int_equal(pam_authenticate(h->pamh, PAM_SILENT), PAM_SUCCESS);
    host_agent_content(h);
    assert_int_equal(h->person.heard, 3);
    assert_said(&h->person, 1, PAM_ERROR_MSG, "wrong");
}

struct dirty {
    const char *raw, *inform, *prompt;
};

static void script_dirty(struct agent *a)
{
    const struct dirty *d = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_INFO, d->raw);
    agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_ERROR, d->raw);
    agent_ask(a, DIALOGUE_STYLE_ECHO_ON, d->raw, "y");
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: nothing that could drive a terminal, hide or turn round text reaches the person. */
static void test_sanitising(void **state)
{
    static const struct dirty cases[] = {
        {"a\x1b[2Jb\x7f\a\r\tc", "a?[2Jb????c", "a?[2Jb????c"},
        {"line\nline", "line\nline", "line?line"},
        {"\x9b"
         "0m \xc2\x9b"
         "0m \xc2\x80\xc2\x9f\xc2\xa0",
         "?0m ?0m ??\xc2\xa0", "?0m ?0m ??\xc2\xa0"},
        {"\xe2\x80\xaegpj \xe2\x81\xa6x\xe2\x80\xa8", "?gpj ?x?", "?gpj ?x?"},
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x91", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x91",
         "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x91"},
        {"\xc0\x9b \xe0\x82\x9b \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82", "?? ??? ??? ???? ??",
         "?? ??? ??? ???? ??"},
        {"100%s %n", "100%s %n", "100%s %n"},
        {"", "", ""},
    };
    struct host *h = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        host_begin(h);
        h->person.reply = "y";
        host_agent(h, script_dirty, &cases[i]);
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
        host_agent_content(h);
        assert_said(&h->person, 0, PAM_TEXT_INFO, cases[i].inform);
        assert_said(&h->person, 1, PAM_ERROR_MSG, cases[i].inform);
        assert_said(&h->person, 2, PAM_PROMPT_ECHO_ON, cases[i].prompt);
    }
}

static void script_aborted(struct agent *a)
{
    struct dialogue_record r;
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, "Code: ");
    agent_hear(a, DIALOGUE_ABORT);
    for (unsigned tag = 0; tag < DIALOGUE_TAG_COUNT; tag++)
        must(!a->heard.field[tag].p);
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    send(a->conn, r.bytes, r.len, MSG_NOSIGNAL); /* the module may be gone already */
}

/* Goal: a conversation that fails, answers nothing or answers too much aborts the dialogue and
 * denies, whatever the agent says then. */
static void test_conversation_fails(void **state)
{
    char longer[DIALOGUE_ANSWER_MAX + 89];
    const struct {
        const char *reply;
        int result;
    } cases[] = {{"123456", PAM_CONV_ERR},
                 {"123456", PAM_CONV_AGAIN},
                 {"123456", PAM_ABORT},
                 {NULL, PAM_SUCCESS},
                 {repeat(longer, 'x', DIALOGUE_ANSWER_MAX + 1), PAM_SUCCESS},
                 {longer, PAM_SUCCESS}};
    struct host *h = *state;
    for (size_t hook = 0; hook < 2; hook++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            host_begin(h);
            if (i == 5)
                repeat(longer, 'x', 600);
            h->person.reply = cases[i].reply;
            h->person.result = cases[i].result;
            host_agent(h, script_aborted, NULL);
            assert_int_equal(hooks[hook].call(h->pamh, 0), hooks[hook].denied);
            host_agent_content(h);
            assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
        }
    }
}

static void script_aborted_only(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, "Code: ");
    agent_hear(a, DIALOGUE_ABORT);
    agent_expect_end(a);
}

/* Goal: ABORT is the last thing the agent hears; the connection ends after it. */
static void test_abort_is_last(void **state)
{
    struct host *h = *state;
    host_begin(h);
    h->person.reply = NULL;
    host_agent(h, script_aborted_only, NULL);
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
    host_agent_content(h);
}

static void script_inform_then(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_INFO, "hello");
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: an application that cannot show a message is not refused for it, in any hook. */
static void test_inform_fails(void **state)
{
    struct host *h = *state;
    for (size_t i = 0; i < HOOKS; i++) {
        host_begin(h);
        h->person.result = PAM_CONV_ERR;
        host_agent(h, script_inform_then, NULL);
        assert_int_equal(hooks[i].call(h->pamh, 0), PAM_SUCCESS);
        host_agent_content(h);
        assert_int_equal(h->person.heard, 1);
    }
}

static void script_one_prompt(struct agent *a)
{
    const struct verdict *v = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    agent_ask(a, DIALOGUE_STYLE_ECHO_OFF, "Code: ", "1");
    agent_judge(a, v->value, v->user, v->handle);
}

/* Goal: a PAM_USER that changes during the dialogue is refused, whichever name the agent allows,
 * and "no opinion" does not help either. */
static void test_user_changes(void **state)
{
    static const struct verdict cases[] = {{DIALOGUE_ALLOW, USER, HANDLE},
                                           {DIALOGUE_ALLOW, "mallory", HANDLE},
                                           {DIALOGUE_IGNORE, USER, NULL}};
    static const char stack[] = "auth required @\naccount [ignore=1 success=1 default=die] @\n"
                                "account required pam_deny.so\naccount required pam_permit.so\n";
    struct host *h = *state;
    for (size_t hook = 0; hook < 2; hook++) {
        for (size_t i = 0; i < 3; i++) {
            host_start(h, stack, "", USER);
            h->person.reply = "1";
            h->person.become = "mallory";
            host_agent(h, script_one_prompt, &cases[i]);
            assert_int_equal(hooks[hook].call(h->pamh, 0), hooks[hook].denied);
            assert_null(pam_getenv(h->pamh, DIALOGUE_HANDLE_ENV));
            host_agent_content(h);
        }
    }
}

struct counted {
    unsigned prompts, informs;
};

static void script_counted(struct agent *a)
{
    const struct counted *c = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    for (unsigned i = 0; i < c->informs; i++)
        agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_INFO, "again");
    for (unsigned i = 0; i < c->prompts; i++) {
        agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_ON, "again? ");
        if (recv(a->conn, a->packet, sizeof(a->packet), 0) <= 0)
            return;
    }
    struct dialogue_record r;
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    send(a->conn, r.bytes, r.len, MSG_NOSIGNAL);
}

/* Goal: ten prompts and twenty messages a hook are served, one more is a denial. */
static void test_counts(void **state)
{
    static const struct {
        struct counted said;
        int code;
        size_t heard;
    } cases[] = {
        {{10, 20}, PAM_SUCCESS, 30}, {{11, 0}, PAM_AUTH_ERR, 10}, {{0, 21}, PAM_AUTH_ERR, 20}};
    struct host *h = *state;
    for (size_t i = 0; i < 3; i++) {
        host_begin(h);
        h->person.reply = "y";
        host_agent(h, script_counted, &cases[i].said);
        assert_int_equal(pam_authenticate(h->pamh, 0), cases[i].code);
        assert_int_equal(h->person.heard, cases[i].heard);
        host_agent_kill(h);
    }
}

/* Goal: the session hooks never ask anybody anything (sshd can't); being told to is a denial. */
static void test_session_prompt(void **state)
{
    struct host *h = *state;
    for (size_t i = 2; i < HOOKS; i++) {
        host_begin(h);
        h->person.reply = "1";
        host_agent(h, script_counted, &(struct counted){.prompts = 1});
        assert_int_equal(hooks[i].call(h->pamh, 0), PAM_PERM_DENIED);
        assert_int_equal(h->person.heard, 0);
        host_agent_content(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(test_conversation),   host_test(test_silent),
        host_test(test_sanitising),     host_test(test_conversation_fails),
        host_test(test_abort_is_last),  host_test(test_inform_fails),
        host_test(test_user_changes),   host_test(test_counts),
        host_test(test_session_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
