/* The dialogue between pam_countersign.so and the agent.
 *
 * One SOCK_SEQPACKET connection per PAM hook. The module sends BEGIN, saying what it was called
 * with; then the agent drives: any number of PROMPT (the module answers each with one ANSWER) and
 * INFORM (not answered), then one VERDICT, after which both close. New factors therefore need no
 * new module.
 *
 * A record is one packet of at most DIALOGUE_RECORD_MAX bytes:
 *
 *     byte 0      version: DIALOGUE_VERSION; the agent also takes the one before, once there is
 * one, and answers in the version that BEGIN came in byte 1      enum dialogue_type then fields,
 * each: tag (1 byte), length (2 bytes, little-endian), that many bytes
 *
 * Text fields are UTF-8 without NUL and not terminated. A field may stand once only; an unknown
 * tag, type or version, a short or overlong record, or a field over its limit makes the whole
 * dialogue a denial. The module gives up (denial) when the deadline passes, counted over connect,
 * agent time and not over the time a person takes to type.
 *
 * Who talks: the module accepts only a server of uid 0 or agent_uid= (SO_PEERCRED; a socket unit's
 * peer is uid 0, pid 1). On pam.sock (0600 root) the agent believes what BEGIN says; on
 * pam-user.sock (screen lockers) it believes only the kernel's uid: the user must be that uid's own
 * name.
 *
 * Both sides are small enough to share the code below, which touches memory only and needs libc
 * alone, so that it can live in a stranger's process. */
#ifndef COUNTERSIGN_DIALOGUE_H
#define COUNTERSIGN_DIALOGUE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Processes keep the module they loaded, so at an upgrade the agent comes first: it speaks both. (A
 * test builds the agent that comes after this one.) */
#ifndef DIALOGUE_VERSION
#define DIALOGUE_VERSION 1
#endif
#define DIALOGUE_VERSION_OLDEST (DIALOGUE_VERSION > 1 ? DIALOGUE_VERSION - 1 : 1)
#define DIALOGUE_RECORD_MAX 4096
#define DIALOGUE_NAME_MAX 256   /* user, ruser, service, rhost, tty */
#define DIALOGUE_ANSWER_MAX 512 /* PAM_MAX_RESP_SIZE */
#define DIALOGUE_TEXT_MAX 1024  /* a prompt or a message */
#define DIALOGUE_AUTH_INFO_MAX                                                                     \
    2560                       /* SSH_AUTH_INFO_0, cut by sshd's own limits; longer: left out */
#define DIALOGUE_HANDLE_LEN 32 /* lower-case hex, 128 random bits */
#define DIALOGUE_SOCKET "/run/countersign/pam.sock"
#define DIALOGUE_USER_SOCKET "/run/countersign/pam-user.sock"
/* The PAM environment variable that carries the handle from auth to open_session. */
#define DIALOGUE_HANDLE_ENV "COUNTERSIGN_HANDLE"

enum dialogue_type {
    DIALOGUE_BEGIN =
        1, /* module: HOOK FLAGS SERVICE USER [RUSER] [RHOST] [TTY] [AUTH_INFO] [HANDLE] */
    DIALOGUE_ANSWER = 2,  /* module: ANSWER (may be empty: the person just pressed Enter) */
    DIALOGUE_ABORT = 3,   /* module: no fields; the conversation failed or was interrupted */
    DIALOGUE_PROMPT = 16, /* agent: STYLE TEXT */
    DIALOGUE_INFORM = 17, /* agent: STYLE TEXT */
    DIALOGUE_VERDICT = 18 /* agent: VERDICT [USER] [HANDLE]; USER repeats BEGIN's for ALLOW */
};

enum dialogue_tag {
    DIALOGUE_TAG_HOOK = 1,    /* u8 enum dialogue_hook */
    DIALOGUE_TAG_FLAGS = 2,   /* u8 of DIALOGUE_FLAG_ bits */
    DIALOGUE_TAG_SERVICE = 3, /* text */
    DIALOGUE_TAG_USER = 4,    /* text */
    DIALOGUE_TAG_RUSER = 5,   /* text */
    DIALOGUE_TAG_RHOST = 6,   /* text; a name or an address, never trusted as a name */
    DIALOGUE_TAG_TTY = 7,     /* text */
    DIALOGUE_TAG_AUTH_INFO =
        8,                    /* text; sshd's SSH_AUTH_INFO_0, lines "method [key-type key-blob]" */
    DIALOGUE_TAG_HANDLE = 9,  /* text of DIALOGUE_HANDLE_LEN; from the agent: put it into the PAM
                                 environment; from the module: what stood there */
    DIALOGUE_TAG_STYLE = 10,  /* u8 enum dialogue_style */
    DIALOGUE_TAG_TEXT = 11,   /* text to show */
    DIALOGUE_TAG_ANSWER = 12, /* bytes a person typed, no NUL */
    DIALOGUE_TAG_VERDICT = 13, /* u8 enum dialogue_verdict */
    DIALOGUE_TAG_COUNT
};

enum dialogue_hook {
    DIALOGUE_HOOK_AUTH = 1,
    DIALOGUE_HOOK_ACCOUNT = 2,
    DIALOGUE_HOOK_OPEN = 3,
    DIALOGUE_HOOK_CLOSE = 4
};

#define DIALOGUE_FLAG_SILENT 1u        /* PAM_SILENT */
#define DIALOGUE_FLAG_DISALLOW_NULL 2u /* PAM_DISALLOW_NULL_AUTHTOK */

enum dialogue_style {
    DIALOGUE_STYLE_ECHO_OFF = 1, /* PROMPT: the answer is a secret or a code */
    DIALOGUE_STYLE_ECHO_ON = 2,  /* PROMPT */
    DIALOGUE_STYLE_INFO = 3,     /* INFORM */
    DIALOGUE_STYLE_ERROR = 4     /* INFORM */
};

/* Deny is the zero value. How a hook returns each (auth, account, open/close):
 *   DENY      PAM_AUTH_ERR       PAM_PERM_DENIED    PAM_PERM_DENIED
 *   ALLOW     PAM_SUCCESS        PAM_SUCCESS        PAM_SUCCESS
 *   IGNORE    PAM_AUTH_ERR       PAM_IGNORE         PAM_PERM_DENIED   (account only)
 *   UNAVAIL   PAM_AUTHINFO_UNAVAIL (auth, account); open/close: PAM_SESSION_ERR
 *   MAXTRIES  PAM_MAXTRIES       PAM_PERM_DENIED    PAM_PERM_DENIED   (throttled: do not ask again)
 */
enum dialogue_verdict {
    DIALOGUE_DENY = 0,
    DIALOGUE_ALLOW = 1,
    DIALOGUE_IGNORE = 2,
    DIALOGUE_UNAVAIL = 3,
    DIALOGUE_MAXTRIES = 4
};

/* --- Writing a record ------------------------------------------------------------------------- */

struct dialogue_record {
    uint8_t bytes[DIALOGUE_RECORD_MAX];
    size_t len;
    bool bad; /* something did not fit; the record must not be sent */
};

static inline void dialogue_start(struct dialogue_record *r, enum dialogue_type type)
{
    r->bytes[0] = DIALOGUE_VERSION;
    r->bytes[1] = (uint8_t)type;
    r->len = 2;
    r->bad = false;
}

static inline void dialogue_put(struct dialogue_record *r, enum dialogue_tag tag, const void *p,
                                size_t n)
{
    if (r->bad || n > DIALOGUE_RECORD_MAX || r->len + 3 + n > DIALOGUE_RECORD_MAX) {
        r->bad = true;
        return;
    }
    r->bytes[r->len] = (uint8_t)tag;
    r->bytes[r->len + 1] = (uint8_t)(n & 0xff);
    r->bytes[r->len + 2] = (uint8_t)(n >> 8);
    if (n > 0)
        memcpy(r->bytes + r->len + 3, p, n);
    r->len += 3 + n;
}

static inline void dialogue_put_u8(struct dialogue_record *r, enum dialogue_tag tag, uint8_t v)
{
    dialogue_put(r, tag, &v, 1);
}

/* Puts a string; NULL puts nothing. */
static inline void dialogue_put_str(struct dialogue_record *r, enum dialogue_tag tag, const char *s)
{
    if (s)
        dialogue_put(r, tag, s, strlen(s));
}

/* --- Reading a record ------------------------------------------------------------------------- */

struct dialogue_field {
    const uint8_t *p; /* into the record; NULL when absent */
    size_t n;
};

struct dialogue_parsed {
    uint8_t version; /* one of those taken; the module takes its own only */
    uint8_t type;
    struct dialogue_field field[DIALOGUE_TAG_COUNT];
};

/* The most bytes a field may have, and whether it is exactly one byte. */
static inline size_t dialogue_limit(unsigned tag)
{
    static const uint16_t limit[DIALOGUE_TAG_COUNT] = {
        [DIALOGUE_TAG_HOOK] = 1,
        [DIALOGUE_TAG_FLAGS] = 1,
        [DIALOGUE_TAG_SERVICE] = DIALOGUE_NAME_MAX,
        [DIALOGUE_TAG_USER] = DIALOGUE_NAME_MAX,
        [DIALOGUE_TAG_RUSER] = DIALOGUE_NAME_MAX,
        [DIALOGUE_TAG_RHOST] = DIALOGUE_NAME_MAX,
        [DIALOGUE_TAG_TTY] = DIALOGUE_NAME_MAX,
        [DIALOGUE_TAG_AUTH_INFO] = DIALOGUE_AUTH_INFO_MAX,
        [DIALOGUE_TAG_HANDLE] = DIALOGUE_HANDLE_LEN,
        [DIALOGUE_TAG_STYLE] = 1,
        [DIALOGUE_TAG_TEXT] = DIALOGUE_TEXT_MAX,
        [DIALOGUE_TAG_ANSWER] = DIALOGUE_ANSWER_MAX,
        [DIALOGUE_TAG_VERDICT] = 1,
    };
    return tag < DIALOGUE_TAG_COUNT ? limit[tag] : 0;
}

/* Takes a received packet apart. Returns 0, or -EBADMSG for anything not well-formed: a version
 * that is neither DIALOGUE_VERSION nor the one before, unknown or repeated tag, a length beyond the
 * packet or the field's limit, an empty or overlong one-byte field, a NUL inside a field. Pointers
 * in *out point into the packet. */
static inline int dialogue_parse(const uint8_t *packet, size_t n, struct dialogue_parsed *out)
{
    memset(out, 0, sizeof(*out));
    if (n < 2 || n > DIALOGUE_RECORD_MAX || packet[0] < DIALOGUE_VERSION_OLDEST ||
        packet[0] > DIALOGUE_VERSION)
        return -EBADMSG;
    out->version = packet[0];
    out->type = packet[1];
    for (size_t at = 2; at < n;) {
        if (n - at < 3)
            return -EBADMSG;
        unsigned tag = packet[at];
        size_t len = (size_t)packet[at + 1] | ((size_t)packet[at + 2] << 8);
        size_t most = dialogue_limit(tag);
        at += 3;
        if (most == 0 || len > most || len > n - at || out->field[tag].p)
            return -EBADMSG;
        if (most == 1 ? len != 1 : memchr(packet + at, 0, len) != NULL)
            return -EBADMSG;
        out->field[tag] = (struct dialogue_field){packet + at, len};
        at += len;
    }
    return 0;
}

/* A one-byte field's value, or 0 when absent (0 is always the safe value). */
static inline uint8_t dialogue_u8(const struct dialogue_parsed *m, enum dialogue_tag tag)
{
    return m->field[tag].p ? m->field[tag].p[0] : 0;
}

/* Copies a text field and a NUL into out[size]. Returns false (and out is "") when the field is
 * absent or does not fit. */
static inline bool dialogue_text(const struct dialogue_parsed *m, enum dialogue_tag tag, char *out,
                                 size_t size)
{
    const struct dialogue_field *f = &m->field[tag];
    out[0] = '\0';
    if (!f->p || f->n >= size)
        return false;
    memcpy(out, f->p, f->n);
    out[f->n] = '\0';
    return true;
}

#endif
