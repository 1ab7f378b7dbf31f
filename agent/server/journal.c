/* sd-journal would add the place in this file to each entry, which says nothing. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "server/journal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <systemd/sd-journal.h>

#include "base/encode.h"

#define VALUE_MAX 256
#define MESSAGE_MAX 1024
#define LINE_MAX_LEN (MESSAGE_MAX + 64)

/* Never changed: people's filters and catalogues name them. */
static const char *const ids[JOURNAL_EVENTS] = {
    [JOURNAL_LOGIN] = "79c23e8613ad4876a723dc0ff0fc3108",
    [JOURNAL_ALERT] = "0b6a8cda0a7b4abeac400a7f109927b5",
    [JOURNAL_SEALED] = "254c4038973b433aac45d20fe8490253",
    [JOURNAL_UNSEALED] = "52de85f1645b4f3eaa8485edf1da4bae",
    [JOURNAL_REVOCATION_WAITS] = "6e38d4b16481421a9d378682ee416411",
    [JOURNAL_QUARANTINED] = "2bfce596ef5d4eccabe5d542a0b5f7ed",
    [JOURNAL_DISK] = "4911e92fdab846879c64ae2ec5069ff0",
    [JOURNAL_CONNECTOR] = "476846c318ec4d54a28e431cf7049e8a",
};

static const struct {
    const char *name;
    size_t at;
} names[] = {
    {"COUNTERSIGN_USER", offsetof(struct journal_fields, user)},
    {"COUNTERSIGN_SERVICE", offsetof(struct journal_fields, service)},
    {"COUNTERSIGN_RHOST", offsetof(struct journal_fields, rhost)},
    {"COUNTERSIGN_HOOK", offsetof(struct journal_fields, hook)},
    {"COUNTERSIGN_RESULT", offsetof(struct journal_fields, result)},
    {"COUNTERSIGN_RULE", offsetof(struct journal_fields, rule)},
    {"COUNTERSIGN_SESSION", offsetof(struct journal_fields, session)},
    {"COUNTERSIGN_LEASE", offsetof(struct journal_fields, lease)},
    {"COUNTERSIGN_ALERT", offsetof(struct journal_fields, alert)},
};

#define FIXED 3 /* MESSAGE, MESSAGE_ID, PRIORITY */

const char *journal_id(enum journal_event e)
{
    return (size_t)e < JOURNAL_EVENTS ? ids[e] : "";
}

/* A value that memory lacks for is left out: the entry itself must not be. */
static size_t put(struct buf *line, const char *name, const char *value, size_t max,
                  struct iovec *v)
{
    *line = BUF_INIT(LINE_MAX_LEN);
    buf_putf(line, "%s=", name);
    encode_printable(line, value, max);
    if (buf_error(line))
        return 0;
    *v = (struct iovec){line->data, line->len};
    return 1;
}

void journal_tell(enum journal_event e, int priority, const struct journal_fields *fields,
                  const char *fmt, ...)
{
    char message[MESSAGE_MAX], level[12];
    struct buf line[FIXED + ARRAY_LEN(names)] = {0};
    struct iovec v[FIXED + ARRAY_LEN(names)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    snprintf(level, sizeof(level), "%d", priority);
    size_t n = put(&line[0], "MESSAGE", message, MESSAGE_MAX, &v[0]);
    n += put(&line[1], "MESSAGE_ID", journal_id(e), VALUE_MAX, &v[n]);
    n += put(&line[2], "PRIORITY", level, VALUE_MAX, &v[n]);
    for (size_t i = 0; fields && i < ARRAY_LEN(names); i++) {
        const char *value =
            *(const char *const *)(const void *)((const char *)fields + names[i].at);
        if (value && value[0])
            n += put(&line[FIXED + i], names[i].name, value, VALUE_MAX, &v[n]);
    }
    (void)sd_journal_sendv(v, (int)n);
    for (size_t i = 0; i < ARRAY_LEN(line); i++)
        buf_clear(&line[i]);
}
