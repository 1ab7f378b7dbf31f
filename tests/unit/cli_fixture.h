/* A small agent to talk to, and a way to run the command line and see what it prints.
 *
 * The server is a process of its own on a Unix socket in a scratch folder. It answers by a table of
 * (method, path) rows, first match first, each row as many times as it says, and notes each request
 * as a line "METHOD PATH TOKEN BODY". */
#ifndef COUNTERSIGN_TESTS_CLI_FIXTURE_H
#define COUNTERSIGN_TESTS_CLI_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "cli/run.h"

struct fake_row {
    const char *method, *path; /* path as sent, with its query; a '*' at the end matches the rest */
    int status;
    const char *body;
    int times; /* 0: always */
};

static struct {
    char folder[64], address[128];
    pid_t server;
    int *used; /* how often each row answered; shared with the server */
    char out[256 * 1024], err[64 * 1024], log[2 * 1024 * 1024];
} fake;

#define FAKE_ROWS_MAX 64
#define FAKE_REQUEST_MAX (2u * 1024 * 1024)

static const char *fake_file(const char *name)
{
    static char path[4][160];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, 160, "%s/%s", fake.folder, name);
    return p;
}

static void fake_slurp(const char *name, char *to, size_t size)
{
    int fd = open(fake_file(name), O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    while (fd >= 0 && n < size - 1) {
        ssize_t got = read(fd, to + n, size - 1 - n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    to[n] = '\0';
    if (fd >= 0)
        close(fd);
}

static _Noreturn void fake_die(void)
{
    kill(getpid(), SIGKILL);
    abort();
}

static void fake_write(int fd, const char *s, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, s, n);

        if (done <= 0)
            fake_die();
        s += done;
        n -= (size_t)done;
    }
}

/* Reads a whole request into buf; false at the end of the connection. */
static bool fake_read(int fd, char *buf)
{
    size_t n = 0, need = 0;

    for (;;) {
        ssize_t got = read(fd, buf + n, FAKE_REQUEST_MAX - 1 - n);
        char *end, *len;

        if (got <= 0)
            return false;
        n += (size_t)got;
        buf[n] = '\0';
        end = strstr(buf, "\r\n\r\n");
        if (!end)
            continue;
        len = strcasestr(buf, "\r\nContent-Length:");
        need = (size_t)(end - buf) + 4 + (len && len < end ? strtoul(len + 17, NULL, 10) : 0);
        if (n >= need)
            return true;
    }
}

static const struct fake_row *fake_match(const struct fake_row *rows, size_t n, const char *method,
                                         const char *path)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(rows[i].path);
        bool prefix = len > 0 && rows[i].path[len - 1] == '*';

        if (strcmp(rows[i].method, method) != 0 ||
            (rows[i].times > 0 && fake.used[i] >= rows[i].times) ||
            (prefix ? strncmp(rows[i].path, path, len - 1) != 0 : strcmp(rows[i].path, path) != 0))
            continue;
        fake.used[i]++;
        return &rows[i];
    }
    return NULL;
}

static void fake_answer(int fd, int log, char *request, const struct fake_row *rows, size_t n)
{
    static const struct fake_row none = {"", "", 404, "{\"errors\":[]}", 0};
    char *token = strcasestr(request, "\r\nX-Vault-Token: "),
         *body = strstr(request, "\r\n\r\n") + 4;
    const struct fake_row *row;
    char method[32], path[4096], head[256];

    if (sscanf(request, "%31s %4095s", method, path) != 2)
        fake_die();
    dprintf(log, "%s %s %.*s ", method, path, token ? (int)strcspn(token + 17, "\r") : 1,
            token ? token + 17 : "-");
    fake_write(log, body, strlen(body));
    fake_write(log, "\n", 1);
    row = fake_match(rows, n, method, path);
    if (!row)
        row = &none;
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             row->status, strlen(row->body));
    fake_write(fd, head, strlen(head));
    fake_write(fd, row->body, strlen(row->body));
}

static _Noreturn void fake_serve(int listener, const struct fake_row *rows, size_t n)
{
    char *request = malloc(FAKE_REQUEST_MAX);
    int log = open(fake_file("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (!request || log < 0)
        fake_die();
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i <= 2; i++)
        dup2(log, i);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            fake_die();
        while (fake_read(fd, request))
            fake_answer(fd, log, request, rows, n);
        close(fd);
    }
}

/* Starts the server; fake_stop() ends it and removes the folder. */
static void fake_start(const struct fake_row *rows, size_t n)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(fake.folder, sizeof(fake.folder), "/tmp/cli-fake-XXXXXX");
    assert_non_null(mkdtemp(fake.folder));
    snprintf(fake.address, sizeof(fake.address), "-address=unix://%s/agent.sock", fake.folder);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/agent.sock", fake.folder);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(listener, 16), 0);
    fake.used = mmap(NULL, FAKE_ROWS_MAX * sizeof(int), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(fake.used != MAP_FAILED && n <= FAKE_ROWS_MAX);
    fflush(NULL);
    fake.server = fork();
    assert_true(fake.server >= 0);
    if (fake.server == 0)
        fake_serve(listener, rows, n);
    close(listener);
}

static void fake_stop(void)
{
    char command[128];

    kill(fake.server, SIGKILL);
    waitpid(fake.server, NULL, 0);
    munmap(fake.used, FAKE_ROWS_MAX * sizeof(int));
    snprintf(command, sizeof(command), "rm -rf %s", fake.folder);
    assert_int_equal(system(command), 0);
}

#define FAKE(...)                                                                                  \
    static const struct fake_row rows[] = {__VA_ARGS__};                                           \
    fake_start(rows, sizeof(rows) / sizeof(rows[0]))

static _Noreturn void fake_child(const char *input, char **argv)
{
    int argc = 0, fds[2], out, err;

    while (argv[argc])
        argc++;
    out = open(fake_file("out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    err = open(fake_file("err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0 || err < 0 || pipe(fds) < 0)
        fake_die();
    fake_write(fds[1], input, strlen(input));
    close(fds[1]);
    dup2(fds[0], STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    exit(run_main(argc, argv));
}

/* Runs the program with the words; its standard input is `input`. Returns its exit code; what it
 * printed is in fake.out and fake.err, what the server was asked in fake.log. */
static int fake_run(const char *input, char **argv)
{
    int status;
    pid_t pid;

    /* The server appends to it. */
    assert_true(truncate(fake_file("log"), 0) == 0 || errno == ENOENT);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        fake_child(input, argv);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    fake_slurp("out", fake.out, sizeof(fake.out));
    fake_slurp("err", fake.err, sizeof(fake.err));
    fake_slurp("log", fake.log, sizeof(fake.log));
    return WEXITSTATUS(status);
}

#define RUN_WITH(input, ...)                                                                       \
    fake_run(input, (char *[]){(char[]){"countersign"}, fake.address, __VA_ARGS__, NULL})
#define RUN(...) RUN_WITH("", __VA_ARGS__)
#define W(s) ((char[]){s})

static void expect_in(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}
#define OUT(part) expect_in(fake.out, part)
#define ERR(part) expect_in(fake.err, part)
#define ASKED(part) expect_in(fake.log, part)

#endif
