#include "relay.h"

#include <syslog.h>

#include <security/pam_ext.h>

#include "converse.h"

enum { RELAY_DONE = 1 }; /* the named outcome of taking a record: it was the verdict */

#define BIT(tag) (1u << (tag))

bool relay_is_handle(const char *s)
{
    return strspn(s, "0123456789abcdef") == DIALOGUE_HANDLE_LEN && s[DIALOGUE_HANDLE_LEN] == '\0';
}

/* The agent waits for an answer that will not come. */
static void send_abort(struct relay *r)
{
    struct dialogue_record record;
    dialogue_start(&record, DIALOGUE_ABORT);
    wire_send_now(r->wire, &record);
}

static bool is_answered(const struct relay *r, uint8_t style, const struct dialogue_field *text)
{
    const struct relay_answer *a = &r->last;
    return r->again && a->record.len > 0 && a->style == style && a->text_len == text->n &&
           memcmp(a->text, text->p, text->n) == 0;
}

static int ask(struct relay *r, uint8_t style, const struct dialogue_field *text)
{
    struct relay_answer *a = &r->last;
    explicit_bzero(a, sizeof(*a));
    int rc = converse_ask(r->pamh, style, text, &a->record);
    if (rc != 0) {
        send_abort(r);
        explicit_bzero(a, sizeof(*a));
        return rc;
    }
    a->style = style;
    a->text_len = text->n;
    memcpy(a->text, text->p, text->n);
    return 0;
}

static int take_prompt(struct relay *r, const struct dialogue_parsed *m)
{
    const struct dialogue_field *text = &m->field[DIALOGUE_TAG_TEXT];
    uint8_t style = dialogue_u8(m, DIALOGUE_TAG_STYLE);
    if (!converse_is_prompt(style) || !begin_may_prompt(r->begin->hook) ||
        ++r->prompts > RELAY_PROMPTS_MAX)
        return -EBADMSG;
    int rc = is_answered(r, style, text) ? 0 : ask(r, style, text);
    r->again = false;
    return rc == 0 ? wire_send(r->wire, &r->last.record) : rc;
}

bool relay_resume(struct relay *r, int rc)
{
    bool gone = rc == -ENODATA || rc == -ECONNRESET || rc == -EPIPE;
    if (!gone || r->prompts == 0 || r->resumes == RELAY_RESUMES_MAX)
        return false;
    r->resumes++;
    r->again = true;
    return true;
}

/* sudo sets PAM_SILENT by default, so an error ("locked until ...") is shown all the same. */
static int take_inform(struct relay *r, const struct dialogue_parsed *m)
{
    uint8_t style = dialogue_u8(m, DIALOGUE_TAG_STYLE);
    if (!converse_is_inform(style) || ++r->informs > RELAY_INFORMS_MAX)
        return -EBADMSG;
    if (!r->silent || style == DIALOGUE_STYLE_ERROR)
        converse_tell(r->pamh, style, &m->field[DIALOGUE_TAG_TEXT]);
    return 0;
}

static bool names_our_user(const struct relay *r, const struct dialogue_parsed *m)
{
    const struct dialogue_field *user = &m->field[DIALOGUE_TAG_USER];
    return user->p && user->n == strlen(r->begin->user) &&
           memcmp(user->p, r->begin->user, user->n) == 0;
}

static int take_verdict(struct relay *r, const struct dialogue_parsed *m)
{
    char handle[DIALOGUE_HANDLE_LEN + 1];
    uint8_t verdict = dialogue_u8(m, DIALOGUE_TAG_VERDICT);
    bool has_handle = dialogue_text(m, DIALOGUE_TAG_HANDLE, handle, sizeof(handle));
    if (verdict > DIALOGUE_MAXTRIES || (has_handle && !relay_is_handle(handle)))
        return -EBADMSG;
    if (verdict == DIALOGUE_ALLOW && !names_our_user(r, m)) {
        pam_syslog(r->pamh, LOG_ERR, "the agent allowed, but not the user it was asked about");
        return -EBADMSG;
    }
    if (verdict == DIALOGUE_ALLOW)
        memcpy(r->handle, handle, sizeof(handle));
    r->verdict = (enum dialogue_verdict)verdict;
    return RELAY_DONE;
}

/* What the agent may say, and with which fields. */
static const struct {
    uint8_t type;
    unsigned required, optional; /* BIT of each tag */
    int (*take)(struct relay *r, const struct dialogue_parsed *m);
} speech[] = {
    {DIALOGUE_PROMPT, BIT(DIALOGUE_TAG_STYLE) | BIT(DIALOGUE_TAG_TEXT), 0, take_prompt},
    {DIALOGUE_INFORM, BIT(DIALOGUE_TAG_STYLE) | BIT(DIALOGUE_TAG_TEXT), 0, take_inform},
    {DIALOGUE_VERDICT, BIT(DIALOGUE_TAG_VERDICT), BIT(DIALOGUE_TAG_USER) | BIT(DIALOGUE_TAG_HANDLE),
     take_verdict},
};

static unsigned fields_present(const struct dialogue_parsed *m)
{
    unsigned bits = 0;
    for (unsigned tag = 0; tag < DIALOGUE_TAG_COUNT; tag++)
        bits |= m->field[tag].p ? BIT(tag) : 0;
    return bits;
}

static int take_record(struct relay *r, const uint8_t *packet, size_t n)
{
    struct dialogue_parsed m;
    int rc = dialogue_parse(packet, n, &m);
    if (rc < 0 || m.version != DIALOGUE_VERSION)
        return -EBADMSG;
    if (r->debug)
        pam_syslog(r->pamh, LOG_DEBUG, "record of type %u from the agent", m.type);
    unsigned present = fields_present(&m);
    for (size_t i = 0; i < sizeof(speech) / sizeof(speech[0]); i++) {
        if (speech[i].type != m.type)
            continue;
        if ((present & speech[i].required) != speech[i].required ||
            (present & ~(speech[i].required | speech[i].optional)) != 0)
            return -EBADMSG;
        return speech[i].take(r, &m);
    }
    return -EBADMSG;
}

int relay_run(struct relay *r)
{
    uint8_t packet[DIALOGUE_RECORD_MAX];
    int rc = wire_send(r->wire, &r->begin->record);
    while (rc == 0) {
        ssize_t n = wire_receive(r->wire, packet);
        rc = n < 0 ? (int)n : take_record(r, packet, (size_t)n);
    }
    return rc == RELAY_DONE ? 0 : rc;
}
