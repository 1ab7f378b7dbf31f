/* A PAM hook without human time: the built module, called as sshd and sudo call it, against the
 * running agent. Its stack is a file in a folder of ours (pam_start_confdir(3)), so no root is
 * needed. Beside it the bare limit: connecting to a SEQPACKET socket, one record there, one back.
 */
#include <errno.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

#define RECORD 128

/* With -r the hooks begin at a fixed rate and count from when they were to begin. */
static int64_t begin(const struct bench *b, int64_t began, uint64_t i)
{
    int64_t now = tally_now();
    if (b->rate <= 0)
        return now;
    int64_t meant = began + (int64_t)((double)i * 1e9 / b->rate), left = meant - now;
    struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    if (left > 0)
        nanosleep(&t, NULL);
    return meant;
}

/* --- The module -------------------------------------------------------------------------------*/

/* Nobody is there to be asked: a hook that asks is none without human time. */
static int refuse_to_talk(int n, const struct pam_message **m, struct pam_response **r, void *data)
{
    (void)n, (void)m, (void)r, (void)data;
    return PAM_CONV_ERR;
}

static int authenticate(pam_handle_t *h, struct tally *t, int64_t at)
{
    int r = pam_authenticate(h, PAM_SILENT);
    tally_add(t, tally_now() - at);
    return r;
}

static int account(pam_handle_t *h, struct tally *t, int64_t at)
{
    int r = pam_acct_mgmt(h, PAM_SILENT);
    tally_add(t, tally_now() - at);
    return r;
}

/* Opening is what is measured; it changes the store. */
static int session(pam_handle_t *h, struct tally *t, int64_t at)
{
    int r = pam_open_session(h, PAM_SILENT);
    tally_add(t, tally_now() - at);
    return r == PAM_SUCCESS ? pam_close_session(h, PAM_SILENT) : r;
}

static const struct hook {
    const char *name;
    int (*run)(pam_handle_t *h, struct tally *t, int64_t at);
} hooks[] = {{"auth", authenticate}, {"account", account}, {"session", session}};

static int call(const struct bench *b, const struct hook *hook, struct tally *t, int64_t began,
                uint64_t i)
{
    static const struct pam_conv conv = {.conv = refuse_to_talk};
    pam_handle_t *h = NULL;
    int r = pam_start_confdir(b->arg[1], b->arg[2], &conv, b->arg[0], &h);
    if (r == PAM_SUCCESS)
        r = hook->run(h, t, begin(b, began, i));
    if (r != PAM_SUCCESS)
        fprintf(stderr, "bench: %s, call %llu, after %.3f s: %s\n", hook->name,
                (unsigned long long)i + 1, (double)(tally_now() - began) / 1e9, pam_strerror(h, r));
    (void)pam_end(h, r);
    return r == PAM_SUCCESS ? 0 : 1;
}

/* An audit session is what the agent knows a login by (proc_pid_loginuid(5)). */
static void begin_audit_session(void)
{
    FILE *f = fopen("/proc/self/loginuid", "we");
    if (!f)
        return;
    fprintf(f, "%u", (unsigned)getuid());
    fclose(f);
}

int bench_pam(const struct bench *b)
{
    static struct tally t;
    const struct hook *hook = NULL;
    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
        if (strcmp(b->arg[3], hooks[i].name) == 0)
            hook = &hooks[i];
    }
    if (!hook)
        return 2;
    if (hook->run == session)
        begin_audit_session();
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    int64_t began = tally_now();
    for (uint64_t i = 0; bench_goes_on(b, began, i); i++) {
        if (call(b, hook, &t, began, i))
            return 1;
    }
    tally_print(&t, 0, (double)(tally_now() - began) / 1e9);
    return 0;
}

/* --- The bare limit ---------------------------------------------------------------------------*/

static void echo_for_ever(int listening)
{
    char record[RECORD];
    for (;;) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : recv(fd, record, sizeof(record), 0);
        if (n > 0)
            (void)!send(fd, record, (size_t)n, MSG_NOSIGNAL);
        if (fd >= 0)
            close(fd);
    }
}

static bool ask(const struct sockaddr_un *a)
{
    char record[RECORD] = "BEGIN";
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 &&
              send(fd, record, sizeof(record), MSG_NOSIGNAL) == sizeof(record) &&
              recv(fd, record, sizeof(record), 0) == sizeof(record);
    if (fd >= 0)
        close(fd);
    return ok;
}

int bench_echo(const struct bench *b)
{
    static struct tally t;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", b->arg[0]);
    (void)unlink(a.sun_path); /* of the round before */
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
        return bench_failed(b->arg[0]);
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        echo_for_ever(fd);
    }
    int64_t began = tally_now();
    bool ok = child > 0;
    for (uint64_t i = 0; ok && bench_goes_on(b, began, i); i++) {
        int64_t at = begin(b, began, i);
        ok = ask(&a);
        tally_add(&t, tally_now() - at);
    }
    if (child > 0) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
    if (!ok)
        return bench_failed("echo");
    tally_print(&t, 0, (double)(tally_now() - began) / 1e9);
    return 0;
}
