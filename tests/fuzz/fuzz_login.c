/* A PAM module that says anything at all to the whole agent.
 *
 * First byte: pam.sock or pam-user.sock; then packets, each with its length before it (two bytes,
 * little-endian). An answer of "@" becomes the right code. Promised: what the agent says is
 * well-formed, it never speaks behind its verdict, and nobody is let in to whom no right code was
 * given (or who is let in by none of the hooks that decide). */
#include <countersign/dialogue.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/whole.h"
#include "server/pam.h"

static int dial(struct agent *a, bool user_socket)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/pam.sock", whole_folder());
    (void)unlink(sa.sun_path);
    PROMISE(door >= 0 && fd >= 0);
    PROMISE(bind(door, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(door, 8) == 0);
    PROMISE(pam_listen(a->pam, door, user_socket) == 0);
    PROMISE(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    return fd;
}

static bool next_packet(const uint8_t **data, size_t *size, const uint8_t **packet, size_t *n)
{
    if (*size < 2)
        return false;
    *n = (size_t)(*data)[0] | (size_t)(*data)[1] << 8;
    *data += 2;
    *size -= 2;
    if (*n > *size)
        *n = *size;
    *packet = *data;
    *data += *n;
    *size -= *n;
    return true;
}

/* Sends one packet; true when it was the right code. */
static bool say(int fd, const uint8_t *packet, size_t n)
{
    static const uint8_t right[] = {
        DIALOGUE_VERSION, DIALOGUE_ANSWER, DIALOGUE_TAG_ANSWER, 1, 0, '@'};
    struct dialogue_record r;
    char code[16];
    if (n != sizeof(right) || memcmp(packet, right, n) != 0) {
        (void)send(fd, packet, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        return false;
    }
    whole_code(code);
    dialogue_start(&r, DIALOGUE_ANSWER);
    dialogue_put_str(&r, DIALOGUE_TAG_ANSWER, code);
    (void)send(fd, r.bytes, r.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return true;
}

/* Reads what the agent said; true when it let somebody in. */
static bool hear(int fd, bool *over)
{
    uint8_t packet[DIALOGUE_RECORD_MAX + 1];
    struct dialogue_parsed m;
    bool allowed = false;
    ssize_t n;
    while ((n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
        PROMISE(!*over && dialogue_parse(packet, (size_t)n, &m) == 0);
        PROMISE(m.type == DIALOGUE_PROMPT || m.type == DIALOGUE_INFORM ||
                m.type == DIALOGUE_VERDICT);
        *over = m.type == DIALOGUE_VERDICT;
        allowed = *over && dialogue_u8(&m, DIALOGUE_TAG_VERDICT) == DIALOGUE_ALLOW;
    }
    return allowed;
}

/* The agent closes once nothing of it comes back to this dialogue any more. */
static bool hear_end(sd_event *loop, int fd, bool *over)
{
    bool allowed = false;
    char byte;
    for (unsigned waited = 0;; waited++) {
        whole_run();
        allowed = hear(fd, over) || allowed;
        if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || errno == ECONNRESET)
            return allowed;
        PROMISE(waited < 1000);
        PROMISE(sd_event_run(loop, 10000) >= 0);
    }
}

static uint8_t hook_of(const uint8_t *packet, size_t n)
{
    struct dialogue_parsed m;
    return dialogue_parse(packet, n, &m) == 0 ? dialogue_u8(&m, DIALOGUE_TAG_HOOK) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *packet;
    size_t len;
    bool right = false, over = false, allowed = false;
    uint8_t hook = 0;
    if (n < 1)
        return 0;
    struct agent *a = whole_agent();
    int fd = dial(a, data[0] & 1);
    whole_spoilt();
    for (data++, n--; next_packet(&data, &n, &packet, &len);) {
        if (!hook)
            hook = hook_of(packet, len);
        right = say(fd, packet, len) || right;
        whole_settle();
        allowed = hear(fd, &over) || allowed;
    }
    (void)shutdown(fd, SHUT_WR);
    allowed = hear_end(a->loop, fd, &over) || allowed;
    /* Opening and closing a session decides nothing about a person. */
    PROMISE(!allowed || right || hook >= DIALOGUE_HOOK_OPEN);
    close(fd);
    PROMISE(whole_ask("GET", "/v1/kv1/a", "", 0, true, NULL) == 200);
    return 0;
}
