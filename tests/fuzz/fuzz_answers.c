/* A connector that answers anything at all to the whole agent.
 *
 * The input's first byte says what is asked of the agent (credentials, a check of a configuration,
 * a revocation, the sweep alone); then packets, each with its length before it (two bytes,
 * little-endian). In a packet "@" stands for the id of the request that is waiting. Promised: the
 * caller has an answer in Vault's form, no account without a lease, and a lease that nobody
 * confirmed as gone is still there. */
#include <countersign/connector.h>
#include <ctype.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/whole.h"
#include "server/http_internal.h"

struct script {
    const uint8_t *p;
    size_t n;
    bool said_ok; /* some packet could be taken for a success */
};

static bool next_packet(struct script *s, const uint8_t **packet, size_t *n)
{
    if (s->n < 2)
        return false;
    *n = (size_t)s->p[0] | (size_t)s->p[1] << 8;
    s->p += 2;
    s->n -= 2;
    if (*n > s->n)
        *n = s->n;
    *packet = s->p;
    s->p += *n;
    s->n -= *n;
    return true;
}

/* Answers the request in text with the next packet of the script; false at its end. */
static bool answer(struct script *s, const char *request)
{
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    const uint8_t *packet;
    size_t n;
    const char *id = strstr(request, "\"id\":");
    long long number = id ? atoll(id + 5) : 0;
    if (!next_packet(s, &packet, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (packet[i] == '@')
            buf_putf(&text, "%lld", number);
        else
            buf_putc(&text, (char)packet[i]);
    }
    s->said_ok = s->said_ok || (text.len > 0 &&
                                (strstr(buf_str(&text), "true") || strstr(buf_str(&text), "gone")));
    whole_connector_says(buf_str(&text), text.len);
    return true;
}

static int connect_client(struct agent *a, const char *method, const char *target, const char *body)
{
    char text[1024];
    int pair[2];
    int n = snprintf(text, sizeof(text),
                     "%s %s HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " WHOLE_TOKEN
                     "\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                     method, target, strlen(body), body);
    PROMISE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    PROMISE(http_adopt(a->http, pair[1], true) == 0);
    PROMISE(send(pair[0], text, (size_t)n, MSG_NOSIGNAL) == n);
    return pair[0];
}

static void close_client(int fd)
{
    char got[4096];
    ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
    if (n > 0) {
        int status = 0;
        got[n] = '\0';
        PROMISE(sscanf(got, "HTTP/1.1 %3d ", &status) == 1);
        if (status == 500)
            fprintf(stderr, "answer: %s\n", got);
        PROMISE(status != 500);
    }
    close(fd);
    whole_run();
}

static size_t count_leases(struct agent *a)
{
    struct lease_counts c;
    PROMISE(lease_counts(a->leases, &c) == 0);
    return (size_t)(c.pending + c.active + c.revoking + c.quarantined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct {
        const char *method, *target, *body;
    } asked[] = {
        {"GET", "/v1/database/creds/ro", ""},
        {"PUT", "/v1/database/config/shop",
         "{\"plugin_name\":\"postgresql-database-plugin\",\"password\":\"y\"}"},
        {"PUT", "/v1/sys/leases/revoke-prefix/database", "{\"sync\":true}"},
        {"GET", "/v1/sys/health", ""},
    };
    static char request[CONNECTOR_FRAME_MAX + 1];
    if (n < 1)
        return 0;
    struct agent *a = whole_agent();
    struct script s = {data + 1, n - 1, false};
    whole_connect();
    int fd = connect_client(a, asked[data[0] % ARRAY_LEN(asked)].method,
                            asked[data[0] % ARRAY_LEN(asked)].target,
                            asked[data[0] % ARRAY_LEN(asked)].body);
    whole_spoilt();
    whole_run();
    size_t before = count_leases(a);
    for (unsigned turns = 0; turns < 64 && whole_connector_hears(request, sizeof(request)) > 0;
         turns++) {
        if (!answer(&s, request))
            break;
        before = before > count_leases(a) ? before : count_leases(a);
    }
    while (answer(&s, ""))
        continue;
    close_client(fd);
    PROMISE(s.said_ok || count_leases(a) >= before);
    PROMISE(whole_ask("GET", "/v1/kv1/a", "", 0, true, NULL) == 200);
    return 0;
}
