#include "connector/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

/* A prefix of an SQLSTATE, longest first where they overlap. */
static const struct {
    const char *prefix;
    const char *kind;
} kinds[] = {
    {"57014", FAILURE_TIMEOUT},   /* query_canceled: by the statement_timeout that we set */
    {"55P03", FAILURE_TIMEOUT},   /* lock_not_available */
    {"25P03", FAILURE_TIMEOUT},   /* idle_in_transaction_session_timeout */
    {"57P", FAILURE_UNREACHABLE}, /* shut down, crashed, starting up */
    {"08", FAILURE_UNREACHABLE},  /* connection exceptions */
    {"53", FAILURE_UNREACHABLE},  /* insufficient resources: too many connections, disk full */
    {"28", FAILURE_DENIED},       /* invalid authorization */
    {"42501", FAILURE_DENIED},    /* insufficient_privilege */
    {"3D000", FAILURE_DENIED},    /* no such database to log in to */
    {"2BP01", FAILURE_DEPENDENT}, /* dependent_objects_still_exist */
    {"2B000", FAILURE_DEPENDENT}, /* dependent_privilege_descriptors_still_exist */
};

const char *failure_kind(const char *sqlstate)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strncmp(sqlstate, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return kinds[i].kind;
    }
    return FAILURE_STATEMENT;
}

#define PIECE 8      /* so many bytes of a secret in a row give it away */
#define RAW_MAX 1024 /* looked at; a server may send anything */

/* Marks every byte of text that belongs to a piece of the secret. */
static void hide(const char *text, size_t len, const char *secret, bool hidden[RAW_MAX])
{
    size_t whole = strlen(secret);
    size_t n = whole < PIECE ? whole : PIECE;

    for (size_t at = 0; n > 0 && at + n <= len; at++) {
        for (size_t from = 0; from + n <= whole; from++) {
            if (memcmp(text + at, secret + from, n) == 0)
                memset(hidden + at, true, n);
        }
    }
}

void failure_clean(char *out, size_t n, const char *text, const char *const *secrets)
{
    struct buf plain _cleanup_buf_ = BUF_INIT(4 * RAW_MAX);
    struct buf shown _cleanup_buf_ = BUF_INIT(4 * RAW_MAX);
    bool hidden[RAW_MAX] = {false};
    size_t len = strnlen(text, RAW_MAX);

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    for (; secrets && *secrets; secrets++)
        hide(text, len, *secrets, hidden);
    for (size_t i = 0; i < len; i++) {
        if (!hidden[i])
            buf_putc(&plain, text[i] == '\n' || text[i] == '\t' ? ' ' : text[i]);
        else if (i == 0 || !hidden[i - 1])
            buf_puts(&plain, "***");
    }
    encode_printable(&shown, buf_str(&plain), n - 1);
    (void)snprintf(out, n, "%s", buf_str(&shown));
}

void failure_set(struct failure *f, const char *kind, const char *fmt, ...)
{
    char text[2 * FAILURE_MESSAGE_MAX];
    va_list ap;

    f->kind = kind;
    f->sqlstate[0] = '\0';
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    /* Cut anywhere, it need not be UTF-8 any more; a frame has to be. */
    failure_clean(f->message, sizeof(f->message), text, NULL);
}

void failure_from_server(struct failure *f, const char *sqlstate, const char *text,
                         const char *const *secrets)
{
    f->kind = failure_kind(sqlstate);
    (void)snprintf(f->sqlstate, sizeof(f->sqlstate), "%s", sqlstate);
    failure_clean(f->message, sizeof(f->message), text, secrets);
}

void failure_from_result(struct failure *f, const PGresult *result, const char *const *secrets)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);

    if (!sqlstate) { /* made by libpq: the connection broke */
        failure_from_server(f, "08006", PQresultErrorMessage(result), secrets);
        f->sqlstate[0] = '\0';
        return;
    }
    failure_from_server(f, sqlstate, text ? text : "", secrets);
    if (strcmp(sqlstate, "42601") == 0)
        (void)snprintf(f->message, sizeof(f->message), "syntax error at character %s",
                       position ? position : "?");
}

const char *failure_find_sqlstate(const char *text, char sqlstate[6])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    sqlstate[0] = '\0';
    for (const char *at = text; (at = strstr(at, ":  ")); at++) {
        const char *code = at + 3;

        if (strspn(code, digits) != 5 || code[5] != ':' || code[6] != ' ')
            continue;
        memcpy(sqlstate, code, 5);
        sqlstate[5] = '\0';
        return code + 7;
    }
    return text;
}
