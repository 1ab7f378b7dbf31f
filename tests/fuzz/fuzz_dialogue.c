/* libFuzzer target: an agent that says anything at all.
 *
 * The input is a row of packets, each with its length before it (two bytes, little-endian). Each is
 * taken apart by dialogue_parse; then all of them are what the module's relay receives, over a real
 * socket pair, with libpam's real conversation in between. Checked besides memory: a record taken
 * apart lies inside its packet; ALLOW comes only of a VERDICT record that names the user; nothing
 * unsafe reaches the person; the module's own records are well-formed; the counts hold.
 *
 *   clang -g -O1 -std=gnu17 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Ipam -Iinclude \
 *       -o build/fuzz_dialogue tests/fuzz/fuzz_dialogue.c \
 *       pam/{begin,converse,modargs,plain,relay,wire}.c -lpam
 *   build/fuzz_dialogue -max_total_time=60 -max_len=8192 build/corpus tests/fuzz/corpus/dialogue
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <security/pam_appl.h>
#include <security/pam_ext.h>

#include "relay.h"

#define USER "alice"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pam_handle_t *pamh;
static unsigned asked, told;
static uint8_t typed; /* what the person answers hangs on the input */

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* In place of libpam's, which would write to the system's log: formats, so that the arguments are
 * read. */
void pam_syslog(const pam_handle_t *handle, int priority, const char *format, ...)
{
    char line[2048];
    va_list args;
    (void)handle;
    (void)priority;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
}

static void check_shown(const char *text, bool newlines)
{
    check(strlen(text) <= DIALOGUE_TEXT_MAX);
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        check(*p >= 0x20 || (newlines && *p == '\n'));
        check(*p != 0x7f);
        check(!(p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f));
        check(!(p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae));
    }
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses,
                    void *data)
{
    int style = messages[0]->msg_style;
    bool prompt = style == PAM_PROMPT_ECHO_OFF || style == PAM_PROMPT_ECHO_ON;
    (void)data;
    check(count == 1);
    check_shown(messages[0]->msg, !prompt);
    if (prompt)
        asked++;
    else
        told++;
    if (prompt && typed % 16 == 15)
        return PAM_CONV_ERR;
    *responses = calloc(1, sizeof(**responses));
    check(*responses);
    if (!prompt || typed % 16 == 14)
        return PAM_SUCCESS;
    size_t n = typed % 16 == 13 ? 600 : typed;
    (*responses)->resp = calloc(1, n + 1);
    check((*responses)->resp);
    memset((*responses)->resp, 'x', n);
    return PAM_SUCCESS;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct pam_conv conv = {.conv = converse};
    (void)argc;
    (void)argv;
    check(pam_start("countersign-fuzz", USER, &conv, &pamh) == PAM_SUCCESS);
    return 0;
}

/* The next packet of the input, or false at its end. */
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

/* Returns whether the packet is a verdict of ALLOW for our user. */
static bool parse_one(const uint8_t *packet, size_t n)
{
    struct dialogue_parsed m;
    char text[DIALOGUE_RECORD_MAX];
    uint8_t *copy = malloc(n ? n : 1); /* of exactly this size: an overrun of one byte shows */
    check(copy);
    if (n)
        memcpy(copy, packet, n);
    bool allows = false;
    if (dialogue_parse(copy, n, &m) == 0) {
        for (unsigned tag = 0; tag < DIALOGUE_TAG_COUNT; tag++) {
            const struct dialogue_field *f = &m.field[tag];
            check(!f->p || (f->p >= copy && f->n <= (size_t)(copy + n - f->p)));
            check(dialogue_text(&m, tag, text, sizeof(text)) == (f->p != NULL));
            check(f->n <= dialogue_limit(tag));
        }
        const struct dialogue_field *user = &m.field[DIALOGUE_TAG_USER];
        allows = m.type == DIALOGUE_VERDICT &&
                 dialogue_u8(&m, DIALOGUE_TAG_VERDICT) == DIALOGUE_ALLOW &&
                 user->n == strlen(USER) && memcmp(user->p, USER, user->n) == 0;
    }
    free(copy);
    return allows;
}

/* What the module said: BEGIN, then answers, perhaps an abort. */
static void check_said(int agent)
{
    uint8_t packet[DIALOGUE_RECORD_MAX + 1];
    struct dialogue_parsed m;
    unsigned answers = 0, records = 0;
    ssize_t n;
    while ((n = recv(agent, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
        check(dialogue_parse(packet, (size_t)n, &m) == 0);
        check(m.type == (records == 0 ? DIALOGUE_BEGIN : m.type));
        check(records == 0 || m.type == DIALOGUE_ANSWER || m.type == DIALOGUE_ABORT);
        answers += m.type == DIALOGUE_ANSWER;
        records++;
    }
    check(answers <= asked);
}

static void converse_with(const uint8_t *data, size_t size, enum dialogue_hook hook)
{
    static struct begin begin;
    int pair[2];
    bool allows = false;
    const uint8_t *packet;
    size_t n;
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    while (next_packet(&data, &size, &packet, &n)) {
        allows = parse_one(packet, n) || allows;
        if (send(pair[1], packet, n, MSG_NOSIGNAL) < 0)
            break;
    }
    check(shutdown(pair[1], SHUT_WR) == 0);
    struct wire wire = {.fd = pair[0], .left_ns = 2000000000};
    struct relay relay = {.pamh = pamh, .wire = &wire, .begin = &begin, .debug = true};
    asked = told = 0;
    check(begin_gather(&begin, pamh, hook, 0, ""));
    int rc = relay_run(&relay);
    check(rc <= 0);
    check(rc == 0 || relay.verdict == DIALOGUE_DENY);
    check(relay.verdict != DIALOGUE_ALLOW || allows);
    check(relay.verdict <= DIALOGUE_MAXTRIES);
    check(relay.handle[0] == '\0' || relay_is_handle(relay.handle));
    check(asked <= RELAY_PROMPTS_MAX && told <= RELAY_INFORMS_MAX);
    check(begin_may_prompt(hook) || asked == 0);
    check_said(pair[1]);
    close(pair[0]);
    close(pair[1]);
}

/* First byte: the hook and how the person behaves. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    typed = data[0];
    converse_with(data + 1, size - 1, (enum dialogue_hook)(DIALOGUE_HOOK_AUTH + (typed >> 6)));
    return 0;
}
