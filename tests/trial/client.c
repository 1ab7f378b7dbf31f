/* The smallest HTTP client that will do: one request a connection. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "trial/trial.h"

#define ANSWER_MAX (1024 * 1024)

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Reads to the end of the connection: 1; 0 when it broke off, -1 when the time is over. */
static int read_all(int fd, char *p, size_t max, size_t *n, int64_t until)
{
    for (*n = 0; *n < max;) {
        int64_t left = until - trial_now_ms();
        struct pollfd f = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&f, 1, (int)left) == 0)
            return -1;
        ssize_t got = recv(fd, p + *n, max - *n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        *n += (size_t)got;
    }
    return 0;
}

static int take(char *text, size_t n, json_t **answer)
{
    int status = 0;
    char *body = memmem(text, n, "\r\n\r\n", 4);
    if (!body || sscanf(text, "HTTP/1.1 %d", &status) != 1)
        return 0;
    body += 4;
    const char *length = memmem(text, (size_t)(body - text), "Content-Length: ", 16);
    if (length && strtoul(length + 16, NULL, 10) != n - (size_t)(body - text))
        return 0; /* cut short: as good as none */
    if (answer && body < text + n)
        *answer = json_loadb(body, n - (size_t)(body - text), 0, NULL);
    return status;
}

int trial_ask(const struct trial_agent *a, const char *token, const char *method, const char *path,
              const char *body, int timeout_ms, json_t **answer)
{
    static char text[ANSWER_MAX];
    const char *type =
        strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : "application/json";
    char auth[256] = "";
    int64_t until = trial_now_ms() + timeout_ms;
    size_t n = 0;
    if (answer)
        *answer = NULL;
    int fd = connect_to(a->socket);
    if (fd < 0)
        return 0;
    if (token)
        snprintf(auth, sizeof(auth), "X-Vault-Token: %s\r\n", token);
    int len = snprintf(text, sizeof(text),
                       "%s /v1/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Type: "
                       "%s\r\nContent-Length: %zu\r\n\r\n%s",
                       method, path, auth, type, body ? strlen(body) : 0, body ? body : "");
    int r = send(fd, text, (size_t)len, MSG_NOSIGNAL) == len ? 1 : 0;
    if (r == 1)
        r = read_all(fd, text, sizeof(text) - 1, &n, until);
    close(fd);
    return r == 1 ? take(text, n, answer) : r;
}

json_t *trial_member(json_t *answer, const char *where)
{
    char name[128];
    json_t *at = answer;
    while (at && *where) {
        size_t n = strcspn(where, ".");
        snprintf(name, sizeof(name), "%.*s", (int)n, where);
        at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10))
                               : json_object_get(at, name);
        where += n + (where[n] == '.');
    }
    return at;
}
