#include "server/http_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ANSWER_HEAD_MAX (16 * 1024)
#define ERROR_MAX 512

/* RFC 9110, 15. Others go without a text, as Vault's own 472 and 473 of sys/health do. */
static const struct {
    int status;
    const char *text;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *reason(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "";
}

/* The Date header's value, made once a second. Not strftime(): its names depend on the locale. */
static const char *date(struct http_server *s)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm tm;

    if (now == s->date_second && s->date[0])
        return s->date;
    if (!gmtime_r(&now, &tm))
        return NULL;
    (void)snprintf(s->date, sizeof(s->date), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                   days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
                   tm.tm_min, tm.tm_sec);
    s->date_second = now;
    return s->date;
}

/* Whether a header's part can't break out of its line. */
static bool is_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static int put_field(struct buf *b, const char *name, const char *value)
{
    if (!is_line(name) || !is_line(value))
        return -EINVAL;
    buf_puts(b, name);
    buf_puts(b, ": ");
    buf_puts(b, value);
    buf_puts(b, "\r\n");
    return 0;
}

static int put_fields(struct http_conn *c, const char *content_type, const char *const *extra)
{
    struct buf *b = &c->out_head;
    const char *now = date(c->server);
    int r = 0;

    if (now)
        r = put_field(b, "Date", now);
    if (r == 0 && content_type)
        r = put_field(b, "Content-Type", content_type);
    for (; r == 0 && extra && extra[0]; extra += 2)
        r = extra[1] ? put_field(b, extra[0], extra[1]) : -EINVAL;
    return r;
}

int http_answer_put(struct http_conn *c, int status, const char *content_type, struct buf *body,
                    const char *const *extra)
{
    size_t len = body ? body->len : 0;
    int r;

    if (status < 200 || status > 599)
        return -EINVAL;
    if (body && buf_error(body) < 0)
        return buf_error(body);
    buf_clear(&c->out_head);
    c->out_head.max = ANSWER_HEAD_MAX;
    buf_puts(&c->out_head, "HTTP/1.1 ");
    buf_put_dec(&c->out_head, status);
    buf_putc(&c->out_head, ' ');
    buf_puts(&c->out_head, reason(status));
    buf_puts(&c->out_head, "\r\n");
    r = put_fields(c, content_type, extra);
    if (r < 0)
        return r;
    if (status != 204 && status != 304) {
        buf_puts(&c->out_head, "Content-Length: ");
        buf_put_dec(&c->out_head, (int64_t)len);
        buf_puts(&c->out_head, "\r\n");
    } else if (len > 0)
        return -EINVAL;
    buf_puts(&c->out_head, "Cache-Control: no-store\r\n");
    buf_puts(&c->out_head,
             c->last ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n");
    if (buf_error(&c->out_head) < 0)
        return buf_error(&c->out_head);
    c->sent = 0;
    if (body && !c->head_only) {
        c->out_body = *body;
        *body = BUF_INIT(body->max);
    }
    return 0;
}

int http_answer_error(struct http_conn *c, int status, const char *sentence)
{
    _cleanup_buf_ struct buf body = BUF_INIT(ERROR_MAX);

    buf_puts(&body, "{\"errors\":[\"");
    buf_puts(&body, sentence);
    buf_puts(&body, "\"]}\n");
    return http_answer_put(c, status, "application/json", &body, NULL);
}
