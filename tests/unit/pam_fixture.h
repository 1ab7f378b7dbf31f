/* What the module's tests stand on: a scratch folder with a PAM service that names the built
 * module, a person at the other end of PAM's conversation, and an agent played by a forked child.
 * libpam is the real one. */
#ifndef COUNTERSIGN_TEST_PAM_FIXTURE_H
#define COUNTERSIGN_TEST_PAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <security/pam_appl.h>

#include <countersign/dialogue.h>

#define USER "alice"
#define HANDLE "0123456789abcdef0123456789abcdef"
#define SERVICE "cs-test"
#define ALL_HOOKS "auth required @\naccount required @\nsession required @\npassword required @\n"

/* --- The person ------------------------------------------------------------------------------- */

struct person {
    const char *reply;  /* to every prompt; NULL: none */
    int result;         /* what the conversation function returns */
    unsigned typing_ms; /* how long an answer takes */
    const char *become; /* PAM_USER while being asked; NULL: unchanged */
    void (*look)(void); /* called at each prompt */
    pam_handle_t *pamh;
    size_t heard;
    struct {
        int style;
        char text[DIALOGUE_TEXT_MAX + 1];
    } said[48];
};

static inline int person_converse(int count, const struct pam_message **messages,
                                  struct pam_response **responses, void *data)
{
    struct person *p = data;
    *responses = calloc((size_t)count, sizeof(**responses));
    if (!*responses)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        int style = messages[i]->msg_style;
        if (p->heard < sizeof(p->said) / sizeof(p->said[0])) {
            p->said[p->heard].style = style;
            snprintf(p->said[p->heard].text, sizeof(p->said[0].text), "%s", messages[i]->msg);
        }
        p->heard++;
        if (style != PAM_PROMPT_ECHO_OFF && style != PAM_PROMPT_ECHO_ON)
            continue;
        if (p->look)
            p->look();
        if (p->become)
            pam_set_item(p->pamh, PAM_USER, p->become);
        if (p->typing_ms)
            poll(NULL, 0, (int)p->typing_ms);
        (*responses)[i].resp = p->reply ? strdup(p->reply) : NULL;
    }
    if (p->result != PAM_SUCCESS) {
        for (int i = 0; i < count; i++)
            free((*responses)[i].resp);
        free(*responses);
        *responses = NULL;
    }
    return p->result;
}

/* --- The agent: runs in a child, reports by its exit status
 * --------------------------------------- */

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(2, "fake agent, line %d: %s\n", __LINE__, #condition);                         \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

struct agent {
    int conn;
    const void *arg;
    uint8_t packet[DIALOGUE_RECORD_MAX + 1];
    struct dialogue_parsed heard; /* the last record, into packet */
};

typedef void agent_script(struct agent *a);

static inline void agent_hear(struct agent *a, enum dialogue_type type)
{
    ssize_t n = recv(a->conn, a->packet, sizeof(a->packet), MSG_TRUNC);
    must(n > 0 && n <= DIALOGUE_RECORD_MAX);
    must(dialogue_parse(a->packet, (size_t)n, &a->heard) == 0);
    must(a->heard.type == type);
}

static inline bool agent_heard(const struct agent *a, enum dialogue_tag tag, const char *text)
{
    const struct dialogue_field *f = &a->heard.field[tag];
    if (!text)
        return !f->p;
    return f->p && f->n == strlen(text) && memcmp(f->p, text, f->n) == 0;
}

static inline void agent_send(struct agent *a, const struct dialogue_record *r)
{
    must(!r->bad && send(a->conn, r->bytes, r->len, MSG_NOSIGNAL) == (ssize_t)r->len);
}

static inline void agent_say(struct agent *a, enum dialogue_type type, enum dialogue_style style,
                             const char *text)
{
    struct dialogue_record r;
    dialogue_start(&r, type);
    dialogue_put_u8(&r, DIALOGUE_TAG_STYLE, (uint8_t)style);
    dialogue_put_str(&r, DIALOGUE_TAG_TEXT, text);
    agent_send(a, &r);
}

static inline void agent_ask(struct agent *a, enum dialogue_style style, const char *text,
                             const char *expected)
{
    agent_say(a, DIALOGUE_PROMPT, style, text);
    agent_hear(a, DIALOGUE_ANSWER);
    must(agent_heard(a, DIALOGUE_TAG_ANSWER, expected));
}

static inline void agent_judge(struct agent *a, unsigned verdict, const char *user,
                               const char *handle)
{
    struct dialogue_record r;
    dialogue_start(&r, DIALOGUE_VERDICT);
    dialogue_put_u8(&r, DIALOGUE_TAG_VERDICT, (uint8_t)verdict);
    dialogue_put_str(&r, DIALOGUE_TAG_USER, user);
    dialogue_put_str(&r, DIALOGUE_TAG_HANDLE, handle);
    agent_send(a, &r);
}

/* The other side closes after the verdict, and says nothing before. */
static inline void agent_expect_end(struct agent *a)
{
    must(recv(a->conn, a->packet, sizeof(a->packet), 0) == 0);
}

/* --- The hooks, as an application calls them ----------------------------------------------------
 */

static const struct {
    int (*call)(pam_handle_t *pamh, int flags);
    int code[5]; /* by verdict, as libpam hands it on: a lone PAM_IGNORE becomes PAM_PERM_DENIED */
    int denied, unreachable;
} hooks[] = {
    {pam_authenticate,
     {PAM_AUTH_ERR, PAM_SUCCESS, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES},
     PAM_AUTH_ERR,
     PAM_AUTHINFO_UNAVAIL},
    {pam_acct_mgmt,
     {PAM_PERM_DENIED, PAM_SUCCESS, PAM_PERM_DENIED, PAM_AUTHINFO_UNAVAIL, PAM_PERM_DENIED},
     PAM_PERM_DENIED,
     PAM_AUTHINFO_UNAVAIL},
    {pam_open_session,
     {PAM_PERM_DENIED, PAM_SUCCESS, PAM_PERM_DENIED, PAM_SESSION_ERR, PAM_PERM_DENIED},
     PAM_PERM_DENIED,
     PAM_SESSION_ERR},
    {pam_close_session,
     {PAM_PERM_DENIED, PAM_SUCCESS, PAM_PERM_DENIED, PAM_SESSION_ERR, PAM_PERM_DENIED},
     PAM_PERM_DENIED,
     PAM_SESSION_ERR},
};
#define HOOKS (sizeof(hooks) / sizeof(hooks[0]))

struct verdict {
    unsigned value;
    const char *user, *handle;
};

static inline void script_verdict(struct agent *a)
{
    const struct verdict *v = a->arg;
    agent_hear(a, DIALOGUE_BEGIN);
    agent_judge(a, v->value, v->user, v->handle);
    agent_expect_end(a);
}

static inline char *repeat(char *out, char c, size_t n)
{
    memset(out, c, n);
    out[n] = '\0';
    return out;
}

static inline void assert_said(const struct person *p, size_t i, int style, const char *text)
{
    assert_true(i < p->heard);
    assert_int_equal(p->said[i].style, style);
    assert_string_equal(p->said[i].text, text);
}

/* --- The host --------------------------------------------------------------------------------- */

struct host {
    char dir[64];
    char socket[96];
    char module[PATH_MAX];
    int listener;
    pid_t agent;
    int agent_sleeps_ms; /* before it first accepts */
    pam_handle_t *pamh;
    struct person person;
};

static inline void find_module(char out[PATH_MAX])
{
    const char *given = getenv("COUNTERSIGN_MODULE");
    char self[PATH_MAX] = "";
    if (given) {
        snprintf(out, PATH_MAX, "%s", given);
    } else {
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        assert_true(n > 0);
        for (int up = 0; up < 3; up++) /* build/<flavor>/tests/unit/test_x */
            *strrchr(self, '/') = '\0';
        int len = snprintf(out, PATH_MAX, "%s/pam_countersign.so", self);
        assert_true(len > 0 && len < PATH_MAX);
    }
    assert_int_equal(access(out, R_OK), 0);
}

static inline int host_setup(void **state)
{
    struct host *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    strcpy(h->dir, "/tmp/cs-pam-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    snprintf(h->socket, sizeof(h->socket), "%s/pam.sock", h->dir);
    find_module(h->module);
    h->listener = -1;
    *state = h;
    return 0;
}

/* Writes the PAM service; '@' stands for the module and its arguments, "args" are added to them. */
static inline void host_write_service(struct host *h, const char *stack, const char *args)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/" SERVICE, h->dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    for (; *stack; stack++) {
        if (*stack == '@')
            fprintf(f, "%s socket=%s agent_uid=%u %s", h->module, h->socket, (unsigned)getuid(),
                    args);
        else
            fputc(*stack, f);
    }
    assert_int_equal(fclose(f), 0);
}

/* Begins a PAM transaction for the user, ending the one before. */
static inline void host_start(struct host *h, const char *stack, const char *args, const char *user)
{
    struct pam_conv conv = {.conv = person_converse, .appdata_ptr = &h->person};
    if (h->pamh)
        pam_end(h->pamh, PAM_SUCCESS);
    h->pamh = NULL;
    host_write_service(h, stack, args);
    assert_int_equal(pam_start_confdir(SERVICE, user, &conv, h->dir, &h->pamh), PAM_SUCCESS);
    h->person.pamh = h->pamh;
    h->person.heard = 0;
}

static inline void host_begin(struct host *h)
{
    host_start(h, ALL_HOOKS, "timeout=5", USER);
}

static inline void host_listen(struct host *h, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", h->socket);
    unlink(h->socket);
    h->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(h->listener >= 0);
    assert_int_equal(bind(h->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(h->listener, backlog), 0);
}

/* Lets a child play the script on `connections` connections, one after the other. */
static inline void host_fork_agent(struct host *h, agent_script *script, const void *arg,
                                   unsigned connections)
{
    fflush(NULL);
    h->agent = fork();
    assert_true(h->agent >= 0);
    if (h->agent == 0) {
        alarm(30);
        poll(NULL, 0, h->agent_sleeps_ms);
        for (; connections > 0; connections--) {
            struct agent a = {.arg = arg};
            a.conn = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
            must(a.conn >= 0);
            script(&a);
            close(a.conn);
        }
        _exit(0);
    }
    close(h->listener);
    h->listener = -1;
}

static inline void host_agent(struct host *h, agent_script *script, const void *arg)
{
    host_listen(h, 8);
    host_fork_agent(h, script, arg, 1);
}

/* The agent met what its script expects. */
static inline void host_agent_content(struct host *h)
{
    int status = -1;
    assert_int_equal(waitpid(h->agent, &status, 0), h->agent);
    h->agent = 0;
    assert_int_equal(status, 0);
}

static inline void host_agent_kill(struct host *h)
{
    if (h->agent > 0) {
        kill(h->agent, SIGKILL);
        waitpid(h->agent, NULL, 0);
    }
    h->agent = 0;
    if (h->listener >= 0)
        close(h->listener);
    h->listener = -1;
}

static inline int host_teardown(void **state)
{
    struct host *h = *state;
    char path[128];
    host_agent_kill(h);
    if (h->pamh)
        pam_end(h->pamh, PAM_SUCCESS);
    snprintf(path, sizeof(path), "%s/" SERVICE, h->dir);
    unlink(path);
    unlink(h->socket);
    rmdir(h->dir);
    free(h);
    return 0;
}

static inline int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#define host_test(f) cmocka_unit_test_setup_teardown(f, host_setup, host_teardown)

#endif
