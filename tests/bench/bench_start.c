/* From exec to the first answer: what a restart costs those who wait. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

/* Asks once, with the token of -t; true when the answer is a success. */
static bool answers(const struct bench *b, const char *token)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 10};
    char text[2048];
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", b->arg[0]);
    int n =
        snprintf(text, sizeof(text),
                 "GET /v1/%s HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n%s%s\r\n\r\n",
                 b->arg[1], token[0] ? "X-Vault-Token: " : "Accept: */*", token);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
              connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
              send(fd, text, (size_t)n, MSG_NOSIGNAL) == n && recv(fd, text, 12, 0) == 12 &&
              memcmp(text, "HTTP/1.1 2", 10) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static pid_t start(char **argv)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    int null = open("/dev/null", O_RDWR);
    (void)dup2(null, 0);
    (void)dup2(null, 1);
    execv(argv[0], argv);
    _exit(127);
}

int bench_start(const struct bench *b)
{
    const struct timespec pause = {.tv_nsec = 200000};
    char token[256] = "";
    FILE *f = b->token ? fopen(b->token, "re") : NULL;
    if (f && !fgets(token, sizeof(token), f))
        token[0] = '\0';
    if (f)
        fclose(f);
    int64_t began = tally_now();
    pid_t child = start(b->arg + 2);
    if (child < 0)
        return bench_failed("fork");
    while (!answers(b, token)) {
        if (waitpid(child, NULL, WNOHANG) != 0)
            return bench_failed("the command ended");
        if (!bench_goes_on(b, began, 0)) {
            (void)kill(child, SIGKILL);
            return bench_failed("no answer");
        }
        (void)nanosleep(&pause, NULL);
    }
    printf("ms=%.1f pid=%d\n", (double)(tally_now() - began) / 1e6, (int)child);
    return 0;
}
