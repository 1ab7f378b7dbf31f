/* Plays the agent to countersign-connector, for shell scripts.
 *
 *   frame-client agent SOCKET CONTROL    listens for a connector on SOCKET and for askers on
 * CONTROL, passes their packets on, and every answer to all askers; runs until killed frame-client
 * ask CONTROL [SECONDS]   sends each line of stdin as one packet and prints the answers to their
 * "id"s, one a line, as they come. {"closed":true} says that the connector hung up. Exit 0 when all
 * were answered, 3 when it hung up, 4 when the time (default 60) was up
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX 131072
#define ASKERS 16
#define IDS 1024

static const char closed[] = "{\"closed\":true}";
static char packet[PACKET_MAX + 1];

static int fail(const char *what)
{
    perror(what);
    exit(1);
}

static int local(const char *path, int listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return fail(path);
    memcpy(address.sun_path, path, strlen(path));
    if (listening)
        (void)unlink(path);
    if ((listening ? bind(fd, (struct sockaddr *)&address, sizeof(address))
                   : connect(fd, (struct sockaddr *)&address, sizeof(address))) < 0 ||
        (listening && listen(fd, ASKERS) < 0))
        return fail(path);
    return fd;
}

static void say(int fd, const char *text, size_t n)
{
    if (send(fd, text, n, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        perror("send");
}

/* --- agent ----------------------------------------------------------------------------------- */

/* poll[0] takes connectors, [1] askers, [2] is the connector, the others are the askers. */
static struct pollfd polled[3 + ASKERS];

static void tell_all(const char *text, size_t n)
{
    for (size_t i = 3; i < 3 + ASKERS; i++) {
        if (polled[i].fd >= 0)
            say(polled[i].fd, text, n);
    }
}

static void hang_up(struct pollfd *p)
{
    (void)close(p->fd);
    p->fd = -1;
}

static void take_connector(void)
{
    if (polled[2].fd >= 0)
        hang_up(&polled[2]);
    polled[2].fd = accept(polled[0].fd, NULL, NULL);
}

static void take_asker(void)
{
    int fd = accept(polled[1].fd, NULL, NULL);

    for (size_t i = 3; i < 3 + ASKERS && fd >= 0; i++) {
        if (polled[i].fd < 0) {
            polled[i].fd = fd;
            return;
        }
    }
    (void)close(fd);
}

static void from_connector(void)
{
    ssize_t n = recv(polled[2].fd, packet, PACKET_MAX, 0);

    if (n <= 0) {
        hang_up(&polled[2]);
        tell_all(closed, strlen(closed));
        return;
    }
    if (strncmp(packet, "{\"hello\"", 8) == 0) {
        (void)printf("%.*s\n", (int)n, packet);
        (void)fflush(stdout);
        return;
    }
    tell_all(packet, (size_t)n);
}

static void from_asker(struct pollfd *p)
{
    ssize_t n = recv(p->fd, packet, PACKET_MAX, 0);

    if (n <= 0)
        hang_up(p);
    else if (polled[2].fd < 0)
        say(p->fd, closed, strlen(closed));
    else
        say(polled[2].fd, packet, (size_t)n);
}

static int agent(const char *socket_path, const char *control_path)
{
    for (size_t i = 0; i < 3 + ASKERS; i++)
        polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    polled[0].fd = local(socket_path, 1);
    polled[1].fd = local(control_path, 1);
    for (;;) {
        if (poll(polled, 3 + ASKERS, -1) < 0)
            return fail("poll");
        /* A connector's end is told before its next connection is taken. */
        if (polled[2].fd >= 0 && polled[2].revents)
            from_connector();
        else if (polled[0].revents)
            take_connector();
        else if (polled[1].revents)
            take_asker();
        else
            for (size_t i = 3; i < 3 + ASKERS; i++) {
                if (polled[i].fd >= 0 && polled[i].revents) {
                    from_asker(&polled[i]);
                    break;
                }
            }
    }
}

/* --- ask ------------------------------------------------------------------------------------- */

static long long ids[IDS];
static size_t waiting;

static long long id_in(const char *text)
{
    const char *at = strstr(text, "\"id\":");

    return at ? atoll(at + 5) : -1;
}

static int settle(long long id)
{
    for (size_t i = 0; i < waiting; i++) {
        if (ids[i] == id) {
            ids[i] = ids[--waiting];
            return 1;
        }
    }
    return 0;
}

static void send_lines(int fd)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        if (line[n - 1] == '\n')
            line[--n] = '\0';
        ids[waiting++ % IDS] = id_in(line);
        say(fd, line, (size_t)n);
    }
    free(line);
}

static int ask(int fd, int seconds)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    time_t end = time(NULL) + seconds;

    send_lines(p.fd);
    while (waiting > 0) {
        time_t left = end - time(NULL);
        ssize_t n;

        if (left <= 0 || poll(&p, 1, (int)left * 1000) <= 0)
            return 4;
        n = recv(p.fd, packet, PACKET_MAX, 0);
        if (n <= 0)
            return 3;
        packet[n] = '\0';
        if (strcmp(packet, closed) == 0) {
            (void)puts(packet);
            return 3;
        }
        if (settle(id_in(packet)))
            (void)puts(packet);
    }
    return 0;
}

static int spawn(const char *program)
{
    int pair[2], status, r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || (pid = fork()) < 0)
        return fail("spawn");
    if (pid == 0) {
        (void)close(pair[0]);
        if (pair[1] != 3 && dup2(pair[1], 3) < 0)
            return fail("dup2");
        (void)execl(program, program, "--fd", "3", (char *)NULL);
        return fail(program);
    }
    (void)close(pair[1]);
    r = recv(pair[0], packet, PACKET_MAX, 0) > 0 ? ask(pair[0], 30) : 1; /* behind its hello */
    (void)close(pair[0]);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 1;
    return r ? r : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "agent") == 0)
        return agent(argv[2], argv[3]);
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "ask") == 0)
        return ask(local(argv[2], 0), argc == 4 ? atoi(argv[3]) : 60);
    if (argc == 3 && strcmp(argv[1], "spawn") == 0)
        return spawn(argv[2]);
    (void)fputs(
        "usage: frame-client agent SOCKET CONTROL | ask CONTROL [SECONDS] | spawn PROGRAM\n",
        stderr);
    return 2;
}
