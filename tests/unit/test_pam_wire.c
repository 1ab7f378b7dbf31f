/* The module against an agent that is absent, slow, hostile or not the agent; and what the module
 * does to the process it lives in. */
#include "pam_fixture.h"

#include <sys/resource.h>
#include <sys/time.h>

#include "wire.h"

static void script_allow(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_judge(a, DIALOGUE_ALLOW, USER, HANDLE);
}

static void script_ask_allow(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_ask(a, DIALOGUE_STYLE_ECHO_OFF, "Code: ", "1");
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: no socket, a socket nobody listens on, a file that is none: each hook says unavailable. */
static void test_no_agent(void **state)
{
    struct host *h = *state;
    for (size_t i = 0; i < HOOKS; i++) {
        host_begin(h);
        assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].unreachable);
        host_listen(h, 8);
        host_agent_kill(h); /* closes; the socket's name stays */
        assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].unreachable);
        host_start(h, ALL_HOOKS, "socket=/etc/passwd", USER);
        assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].unreachable);
        host_start(h, ALL_HOOKS, "socket=/etc/passwd/pam.sock", USER);
        assert_int_equal(hooks[i].call(h->pamh, 0), hooks[i].unreachable);
        unlink(h->socket);
    }
}

/* Goal: a caller of a set-uid program who leaves it no descriptors gets a denial, not
 * "unavailable", which a careless stack might skip. */
static void test_no_descriptors(void **state)
{
    struct host *h = *state;
    host_begin(h);
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTHINFO_UNAVAIL); /* loads the stack */
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct wire w;
        int lowest = dup(0);
        struct rlimit limit = {(rlim_t)lowest, (rlim_t)lowest};
        close(lowest);
        must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        /* libpam itself then fails to write its audit record, so ask the module's part too. */
        must(wire_open(&w, h->socket, 1) == -EMFILE);
        int code = pam_authenticate(h->pamh, 0);
        must(code == PAM_AUTH_ERR || code == PAM_SYSTEM_ERR);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void script_hang(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    recv(a->conn, a->packet, sizeof(a->packet), 0); /* until the module has had enough */
}

static void script_hang_later(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_ask(a, DIALOGUE_STYLE_ECHO_OFF, "Code: ", "1");
    recv(a->conn, a->packet, sizeof(a->packet), 0);
}

/* Goal: an agent that hangs, before or after a prompt, is waited for timeout= and then denies. */
static void test_hanging(void **state)
{
    agent_script *const scripts[] = {script_hang, script_hang_later};
    struct host *h = *state;
    for (size_t i = 0; i < 2; i++) {
        host_start(h, ALL_HOOKS, "timeout=1", USER);
        h->person.reply = "1";
        host_agent(h, scripts[i], NULL);
        int64_t begun = clock_ms();
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
        int64_t took = clock_ms() - begun;
        assert_true(took >= 990 && took < 5000);
        host_agent_content(h);
    }
}

static void script_slow(struct agent *a)
{
    int pause_ms = *(const int *)a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    poll(NULL, 0, pause_ms);
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, "Code: ");
    if (recv(a->conn, a->packet, sizeof(a->packet), 0) <= 0)
        return;
    poll(NULL, 0, pause_ms);
    struct dialogue_record r;
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    send(a->conn, r.bytes, r.len, MSG_NOSIGNAL);
}

/* Goal: the deadline runs over all of the agent's pauses together, and not while a person types. */
static void test_deadline_counts(void **state)
{
    static const struct {
        int pause_ms;
        unsigned typing_ms;
        int code;
    } cases[] = {{700, 0, PAM_AUTH_ERR}, {10, 1300, PAM_SUCCESS}};
    struct host *h = *state;
    for (size_t i = 0; i < 2; i++) {
        host_start(h, ALL_HOOKS, "timeout=1", USER);
        h->person.reply = "1";
        h->person.typing_ms = cases[i].typing_ms;
        host_agent(h, script_slow, &cases[i].pause_ms);
        assert_int_equal(pam_authenticate(h->pamh, 0), cases[i].code);
        host_agent_content(h);
    }
}

static void script_close(struct agent *a)
{
    (void)a;
}

static void script_close_after_begin(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
}

static void script_close_at_prompt(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_ON, "Code: ");
}

/* Goal: an agent that closes without a verdict denies at once, at whatever step, and the signal
 * that writing to it might raise does not (its disposition is the default here, and stays). */
static void test_closing_early(void **state)
{
    agent_script *const scripts[] = {script_close, script_close_after_begin,
                                     script_close_at_prompt};
    struct host *h = *state;
    struct sigaction before, after;
    signal(SIGPIPE, SIG_DFL);
    sigaction(SIGPIPE, NULL, &before);
    for (size_t i = 0; i < 3; i++) {
        for (size_t hook = 0; hook < HOOKS; hook++) {
            host_begin(h);
            h->person.reply = "1";
            h->person.typing_ms = 20; /* the agent is gone by then */
            host_agent(h, scripts[i], NULL);
            int64_t begun = clock_ms();
            assert_int_equal(hooks[hook].call(h->pamh, 0), hooks[hook].denied);
            assert_true(clock_ms() - begun < 2000);
            host_agent_content(h);
        }
    }
    sigaction(SIGPIPE, NULL, &after);
    assert_true(before.sa_handler == after.sa_handler && after.sa_handler == SIG_DFL);
}

struct restarts {
    const char *prompt[3];
    int leaves_after_ms;
};

/* One of three agents that follow each other: the first two go away at the prompt, each a little
 * later, the last one says yes to the answer it gets. */
static void script_restart(struct agent *a)
{
    static unsigned begun;
    const struct restarts *x = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    must(agent_heard(a, DIALOGUE_TAG_USER, USER));
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, x->prompt[begun]);
    if (begun++ < 2) {
        poll(NULL, 0, x->leaves_after_ms);
        return;
    }
    agent_hear(a, DIALOGUE_ANSWER);
    must(agent_heard(a, DIALOGUE_TAG_ANSWER, "123456"));
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
    agent_expect_end(a);
}

/* Goal: an agent that is restarted while a person types costs them nothing: what they typed answers
 * the same prompt of the next one, whether or not it reached the first. */
static void test_restarted(void **state)
{
    static const struct restarts cases[] = {
        {{"Code: ", "Code: ", "Code: "}, 0}, /* gone before the answer was sent */
        {{"Code: ", "Code: ", "Code: "}, 60},
    };
    struct host *h = *state;
    for (size_t i = 0; i < 2; i++) {
        host_begin(h);
        h->person.reply = "123456";
        h->person.typing_ms = 20;
        host_listen(h, 8);
        host_fork_agent(h, script_restart, &cases[i], 3);
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
        assert_int_equal(h->person.heard, 1);
        host_agent_content(h);
    }
}

/* Goal: what was typed for one prompt never answers another: then the person is asked again. */
static void test_restarted_asks_anew(void **state)
{
    static const struct restarts other = {{"Code: ", "Passphrase: ", "Code: "}, 0};
    struct host *h = *state;
    host_begin(h);
    h->person.reply = "123456";
    h->person.typing_ms = 20;
    host_listen(h, 8);
    host_fork_agent(h, script_restart, &other, 3);
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
    assert_int_equal(h->person.heard, 3);
    host_agent_content(h);
}

static void script_always_leaves(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, "Code: ");
}

/* Goal: an agent that goes away each time is tried RELAY_RESUMES_MAX times again and then denies.
 */
static void test_restarted_for_ever(void **state)
{
    struct host *h = *state;
    host_begin(h);
    h->person.reply = "123456";
    host_listen(h, 8);
    host_fork_agent(h, script_always_leaves, NULL, 4);
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
    host_agent_content(h);
}

#define V DIALOGUE_VERSION
#define ALLOW_ALICE 13, 1, 0, DIALOGUE_ALLOW, 4, 5, 0, 'a', 'l', 'i', 'c', 'e'

struct packet {
    const char *why;
    size_t n;
    uint8_t bytes[48];
};

/* Each of them but the first is an ALLOW, or nearly so, that must not count. */
static const struct packet packets[] = {
    {"well-formed", 14, {V, 18, ALLOW_ALICE}},
    {"version 0", 14, {0, 18, ALLOW_ALICE}},
    {"next version", 14, {V + 1, 18, ALLOW_ALICE}},
    {"type 0", 14, {V, 0, ALLOW_ALICE}},
    {"unknown type", 14, {V, 19, ALLOW_ALICE}},
    {"a type of the module's", 14, {V, 2, ALLOW_ALICE}},
    {"one byte", 1, {V}},
    {"no fields", 2, {V, 18}},
    {"cut in the text", 13, {V, 18, ALLOW_ALICE}},
    {"cut in a field's head", 8, {V, 18, ALLOW_ALICE}},
    {"bytes after the end", 15, {V, 18, ALLOW_ALICE, 0}},
    {"field past the end", 17, {V, 18, ALLOW_ALICE, 9, 32, 0}},
    {"length of 64 KiB",
     14,
     {V, 18, 13, 1, 0, DIALOGUE_ALLOW, 4, 255, 255, 'a', 'l', 'i', 'c', 'e'}},
    {"repeated verdict", 18, {V, 18, ALLOW_ALICE, 13, 1, 0, DIALOGUE_ALLOW}},
    {"repeated user", 22, {V, 18, ALLOW_ALICE, 4, 5, 0, 'a', 'l', 'i', 'c', 'e'}},
    {"tag 0", 17, {V, 18, ALLOW_ALICE, 0, 0, 0}},
    {"unknown tag", 18, {V, 18, ALLOW_ALICE, DIALOGUE_TAG_COUNT, 1, 0, 'x'}},
    {"tag 255", 18, {V, 18, ALLOW_ALICE, 255, 1, 0, 'x'}},
    {"a field of another type", 18, {V, 18, ALLOW_ALICE, 11, 1, 0, 'x'}},
    {"empty verdict", 13, {V, 18, 13, 0, 0, 4, 5, 0, 'a', 'l', 'i', 'c', 'e'}},
    {"two-byte verdict", 15, {V, 18, 13, 2, 0, 1, 1, 4, 5, 0, 'a', 'l', 'i', 'c', 'e'}},
    {"no verdict", 10, {V, 18, 4, 5, 0, 'a', 'l', 'i', 'c', 'e'}},
    {"NUL in the user", 16, {V, 18, 13, 1, 0, 1, 4, 7, 0, 'a', 'l', 'i', 'c', 'e', 0, 'x'}},
    {"prompt without text", 6, {V, 16, 10, 1, 0, DIALOGUE_STYLE_ECHO_ON}},
    {"prompt without style", 6, {V, 16, 11, 1, 0, '?'}},
    {"prompt of style 0", 10, {V, 16, 10, 1, 0, 0, 11, 1, 0, '?'}},
    {"prompt of an inform's style", 10, {V, 16, 10, 1, 0, DIALOGUE_STYLE_INFO, 11, 1, 0, '?'}},
    {"inform of a prompt's style", 10, {V, 17, 10, 1, 0, DIALOGUE_STYLE_ECHO_ON, 11, 1, 0, '?'}},
    {"inform of style 5", 10, {V, 17, 10, 1, 0, 5, 11, 1, 0, '?'}},
};

static void script_packet(struct agent *a)
{
    const struct packet *p = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    must(send(a->conn, p->bytes, p->n, MSG_NOSIGNAL) == (ssize_t)p->n);
    struct dialogue_record r; /* a good one after the bad one must come too late */
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    send(a->conn, r.bytes, r.len, MSG_NOSIGNAL);
}

/* Goal: a record that is malformed in any way ends the dialogue in a denial. */
static void test_malformed(void **state)
{
    struct host *h = *state;
    for (size_t hook = 0; hook < HOOKS; hook++) {
        for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
            host_begin(h);
            h->person.reply = "1";
            host_agent(h, script_packet, &packets[i]);
            int code = hooks[hook].call(h->pamh, 0);
            if (code != (i == 0 ? PAM_SUCCESS : hooks[hook].denied))
                fail_msg("%s: hook %zu returned %d", packets[i].why, hook, code);
            assert_int_equal(h->person.heard, 0);
            host_agent_content(h);
        }
    }
}

static void script_sized(struct agent *a)
{
    static uint8_t bytes[65536];
    size_t n = *(const size_t *)a->arg;
    struct dialogue_record r;
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    memcpy(bytes, r.bytes, r.len);
    agent_hear(a, DIALOGUE_BEGIN);
    send(a->conn, bytes, n, MSG_NOSIGNAL);
}

static void script_long_text(struct agent *a)
{
    static char text[DIALOGUE_TEXT_MAX + 2];
    size_t n = *(const size_t *)a->arg;
    memset(text, 't', n);
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_INFORM, DIALOGUE_STYLE_INFO, text);
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: a packet over the record's limit and a text over its limit are denials; at it, it passes.
 */
static void test_oversized(void **state)
{
    static const size_t sizes[] = {0, DIALOGUE_RECORD_MAX, DIALOGUE_RECORD_MAX + 1, 65536};
    static const size_t texts[] = {DIALOGUE_TEXT_MAX, DIALOGUE_TEXT_MAX + 1};
    struct host *h = *state;
    for (size_t i = 0; i < 4; i++) {
        host_begin(h);
        host_agent(h, script_sized, &sizes[i]);
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
        host_agent_content(h);
    }
    for (size_t i = 0; i < 2; i++) {
        host_begin(h);
        host_agent(h, script_long_text, &texts[i]);
        assert_int_equal(pam_authenticate(h->pamh, 0), i == 0 ? PAM_SUCCESS : PAM_AUTH_ERR);
        assert_int_equal(h->person.heard, i == 0);
        host_agent_kill(h);
    }
}

/* A server that is not the agent must not even hear who is logging in. */
static void script_impostor(struct agent *a)
{
    struct dialogue_record r;
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    send(a->conn, r.bytes, r.len, MSG_NOSIGNAL);
    must(recv(a->conn, a->packet, sizeof(a->packet), 0) <= 0);
}

/* A server of another uid: root can be somebody else while it listens; others name another uid. */
static void listen_as(struct host *h, uid_t uid)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(uid), 0);
    assert_int_equal(listen(h->listener, 8), 0);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

/* Goal: a server that is neither root nor agent_uid= is not believed, in any hook; with its uid in
 * agent_uid= it is. */
static void test_server_uid(void **state)
{
    struct host *h = *state;
    uid_t server = getuid() == 0 ? 12345 : getuid();
    char args[64];
    for (size_t i = 0; i < HOOKS; i++) {
        for (int right = 0; right < 2; right++) {
            snprintf(args, sizeof(args), "agent_uid=%u", (unsigned)(right ? server : server + 1));
            host_start(h, ALL_HOOKS, args, USER);
            host_listen(h, 8);
            listen_as(h, server);
            host_fork_agent(h, right ? script_allow : script_impostor, NULL, 1);
            assert_int_equal(hooks[i].call(h->pamh, 0), right ? PAM_SUCCESS : hooks[i].denied);
            host_agent_content(h);
        }
    }
}

static int fill_backlog(const struct host *h)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", h->socket);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Goal: a backlog that stays full is waited for until the deadline and then denies. */
static void test_backlog_full(void **state)
{
    struct host *h = *state;
    host_start(h, ALL_HOOKS, "timeout=1", USER);
    host_listen(h, 0);
    int filler = fill_backlog(h);
    int64_t begun = clock_ms();
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
    int64_t took = clock_ms() - begun;
    assert_true(took >= 990 && took < 5000);
    close(filler);
}

static unsigned arrivals;

static void script_busy(struct agent *a)
{
    if (arrivals++ > 0) /* the first only filled the backlog */
        script_allow(a);
}

/* Goal: a backlog that is full for a while only delays: the hook gets in once there is room. */
static void test_backlog_drains(void **state)
{
    struct host *h = *state;
    host_begin(h);
    host_listen(h, 0);
    int filler = fill_backlog(h);
    h->agent_sleeps_ms = 300;
    host_fork_agent(h, script_busy, NULL, 2);
    int64_t begun = clock_ms();
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
    assert_true(clock_ms() - begun >= 250);
    host_agent_content(h);
    close(filler);
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
}

static void script_late(struct agent *a)
{
    agent_hear(a, DIALOGUE_BEGIN);
    poll(NULL, 0, 300);
    agent_judge(a, DIALOGUE_ALLOW, USER, NULL);
}

/* Goal: signals that interrupt the waiting neither end it nor prolong it. */
static void test_signals(void **state)
{
    struct host *h = *state;
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval every = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    host_start(h, ALL_HOOKS, "timeout=1", USER);
    host_agent(h, script_late, NULL);
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &every, NULL);
    int late = pam_authenticate(h->pamh, 0);
    setitimer(ITIMER_REAL, &never, NULL);
    host_agent_content(h);
    host_agent(h, script_hang, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    int64_t begun = clock_ms();
    int hanging = pam_authenticate(h->pamh, 0);
    int64_t took = clock_ms() - begun;
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    host_agent_content(h);
    assert_int_equal(late, PAM_SUCCESS);
    assert_int_equal(hanging, PAM_AUTH_ERR);
    assert_true(took >= 990 && took < 5000);
}

static unsigned count_descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void script_any(struct agent *a)
{
    static unsigned served;
    agent_hear(a, DIALOGUE_BEGIN);
    switch (served++ % 4) {
    case 0:
        agent_judge(a, DIALOGUE_ALLOW, USER, HANDLE);
        break;
    case 1:
        agent_judge(a, DIALOGUE_DENY, NULL, NULL);
        break;
    case 2:
        send(a->conn, "garbage", 7, MSG_NOSIGNAL);
        break;
    default:
        break;
    }
}

/* Goal: a hundred hooks with every kind of end, and some with no agent, leave no descriptor open.
 */
static void test_no_leak(void **state)
{
    struct host *h = *state;
    host_begin(h);
    pam_authenticate(h->pamh, 0); /* lets libc open what it keeps open for the log */
    unsigned before = count_descriptors();
    host_listen(h, 8);
    host_fork_agent(h, script_any, NULL, 100);
    for (size_t i = 0; i < 100; i++)
        hooks[i % HOOKS].call(h->pamh, 0);
    host_agent_content(h);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(hooks[i % HOOKS].call(h->pamh, 0), hooks[i % HOOKS].unreachable);
    assert_int_equal(count_descriptors(), before);
}

static void script_pass_descriptor(struct agent *a)
{
    struct dialogue_record r;
    char control[CMSG_SPACE(sizeof(int))] = {0};
    int fd = 2;
    agent_hear(a, DIALOGUE_BEGIN);
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, DIALOGUE_ALLOW);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, USER);
    struct iovec iov = {r.bytes, r.len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    must(sendmsg(a->conn, &message, MSG_NOSIGNAL) == (ssize_t)r.len);
}

/* Goal: descriptors that a server passes along do not enter the process. */
static void test_passed_descriptor(void **state)
{
    struct host *h = *state;
    host_begin(h);
    pam_authenticate(h->pamh, 0);
    unsigned before = count_descriptors();
    host_agent(h, script_pass_descriptor, NULL);
    assert_int_equal(pam_authenticate(h->pamh, 0), PAM_SUCCESS);
    host_agent_content(h);
    assert_int_equal(count_descriptors(), before);
}

static unsigned sockets_seen, sockets_unfit;

/* Called while a prompt stands: the connection must be out of children's and stdio's way. */
static void look_at_descriptors(void)
{
    for (int fd = 0; fd < 256; fd++) {
        int type = 0;
        socklen_t n = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_SEQPACKET)
            continue;
        sockets_seen++;
        sockets_unfit += fd < 3 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
}

/* Goal: the connection is close-on-exec and is never descriptor 0, 1 or 2, even if these are free.
 */
static void test_descriptor_place(void **state)
{
    struct host *h = *state;
    for (int first_closed = 0; first_closed <= 3; first_closed++) {
        host_begin(h);
        h->person.reply = "1";
        h->person.look = look_at_descriptors;
        host_agent(h, script_ask_allow, NULL);
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (int fd = first_closed; fd < 3; fd++)
                close(fd);
            int code = pam_authenticate(h->pamh, 0);
            _exit(code == PAM_SUCCESS && sockets_seen == 1 && sockets_unfit == 0 ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        host_agent_content(h);
    }
}

/* Goal: no hook changes the disposition of any signal or the mask. */
static void test_signal_dispositions(void **state)
{
    struct host *h = *state;
    struct sigaction before[65], after;
    sigset_t mask_before, mask_after;
    signal(SIGPIPE, SIG_IGN);
    host_begin(h);
    for (int s = 1; s <= 64; s++)
        sigaction(s, NULL, &before[s]);
    sigprocmask(SIG_SETMASK, NULL, &mask_before);
    host_listen(h, 8);
    host_fork_agent(h, script_any, NULL, 4);
    for (size_t i = 0; i < HOOKS; i++)
        hooks[i].call(h->pamh, 0);
    host_agent_content(h);
    for (int s = 1; s <= 64; s++) {
        if (sigaction(s, NULL, &after) == 0)
            assert_true(after.sa_handler == before[s].sa_handler);
    }
    sigprocmask(SIG_SETMASK, NULL, &mask_after);
    for (int s = 1; s <= 64; s++)
        assert_int_equal(sigismember(&mask_before, s), sigismember(&mask_after, s));
    signal(SIGPIPE, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(test_no_agent),
        host_test(test_no_descriptors),
        host_test(test_hanging),
        host_test(test_deadline_counts),
        host_test(test_closing_early),
        host_test(test_restarted),
        host_test(test_restarted_asks_anew),
        host_test(test_restarted_for_ever),
        host_test(test_malformed),
        host_test(test_oversized),
        host_test(test_server_uid),
        host_test(test_backlog_full),
        host_test(test_backlog_drains),
        host_test(test_signals),
        host_test(test_no_leak),
        host_test(test_passed_descriptor),
        host_test(test_descriptor_place),
        host_test(test_signal_dispositions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
