/* The agent of the trials: start and stop; and TAP. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "trial/trial.h"

#define START_MS 20000

/* --- TAP, and small things
 * ---------------------------------------------------------------------- */

static int count, failures;

void trial_ok(bool ok, const char *fmt, ...)
{
    va_list ap;
    printf("%sok %d - ", ok ? "" : "not ", ++count);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    failures += !ok;
}

void trial_note(const char *fmt, ...)
{
    va_list ap;
    printf("# ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

int trial_finish(void)
{
    printf("1..%d\n", count);
    return failures || !count;
}

int64_t trial_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void trial_sleep_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

long trial_number(const char *name, long otherwise)
{
    const char *s = getenv(name);
    return s && *s ? atol(s) : otherwise;
}

bool trial_write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    bool ok = f && fputs(text, f) >= 0;
    return f && fclose(f) == 0 && ok;
}

char *trial_read_file(const char *path, size_t max, size_t *n)
{
    FILE *f = fopen(path, "re");
    char *p = f ? calloc(1, max + 1) : NULL;
    *n = p ? fread(p, 1, max, f) : 0;
    if (f)
        fclose(f);
    return p;
}

/* --- The agent
 * ---------------------------------------------------------------------------------- */

static void run_agent(const struct trial_agent *a)
{
    char path[PATH_MAX], out[PATH_MAX];
    snprintf(path, sizeof(path), "%s/countersignd", a->build);
    snprintf(out, sizeof(out), "%s.out", a->dir);
    int fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
    }
    if (a->preload)
        setenv("LD_PRELOAD", a->preload, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the trials gone, nobody needs it */
    execl(path, "countersignd", "--dev", "--dir", a->dir, NULL);
    _exit(127);
}

bool trial_ended(struct trial_agent *a, int *status)
{
    if (a->pid && waitpid(a->pid, status, WNOHANG) != a->pid)
        return false;
    a->pid = 0;
    return true;
}

static bool read_token(struct trial_agent *a)
{
    char path[PATH_MAX];
    size_t n;
    snprintf(path, sizeof(path), "%s/root-token", a->dir);
    char *text = trial_read_file(path, sizeof(a->token) - 1, &n);
    snprintf(a->token, sizeof(a->token), "%s", text ? text : "");
    free(text);
    return n > 0;
}

/* It answers, and its connector is there. */
static bool is_ready(const struct trial_agent *a)
{
    json_t *answer = NULL;
    int status = trial_ask(a, NULL, "GET", "sys/status", NULL, START_MS, &answer);
    const char *connector = json_string_value(trial_member(answer, "data.connector"));
    bool ready = status == 200 && connector && strcmp(connector, "up") == 0;
    json_decref(answer);
    return ready;
}

bool trial_start(struct trial_agent *a)
{
    int64_t until = trial_now_ms() + START_MS;
    int status;
    snprintf(a->socket, sizeof(a->socket), "%s/agent.sock", a->dir);
    fflush(stdout);
    a->pid = fork();
    if (a->pid == 0)
        run_agent(a);
    if (a->pid < 0)
        return false;
    while (trial_now_ms() < until) {
        if (trial_ended(a, &status)) {
            trial_note("the agent ended while it was starting (status 0x%x)", (unsigned)status);
            return false;
        }
        if (is_ready(a))
            return read_token(a);
        trial_sleep_ms(5);
    }
    trial_note("the agent does not answer");
    trial_stop(a, SIGKILL);
    return false;
}

pid_t trial_connector(const struct trial_agent *a)
{
    char path[64], text[64] = "";
    if (!a->pid)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)a->pid, (int)a->pid);
    FILE *f = fopen(path, "re");
    if (f && !fgets(text, sizeof(text), f))
        text[0] = '\0';
    if (f)
        fclose(f);
    return (pid_t)atol(text);
}

/* Whether it runs: a zombie whose parent has not looked yet does not. */
static bool runs(pid_t pid)
{
    char path[64], state = 'X';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    if (f)
        fclose(f);
    return state != 'X' && state != 'Z';
}

void trial_stop(struct trial_agent *a, int signal)
{
    pid_t connector = trial_connector(a);
    int64_t until = trial_now_ms() + START_MS;
    if (!a->pid)
        return;
    kill(a->pid, signal);
    waitpid(a->pid, NULL, 0);
    a->pid = 0;
    while (connector && runs(connector) && trial_now_ms() < until)
        trial_sleep_ms(2); /* it ends with its socket */
}
