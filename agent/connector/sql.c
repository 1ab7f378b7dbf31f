#include "connector/sql.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void put_quoted(struct buf *b, char *quoted)
{
    if (!quoted) {
        if (!b->error)
            b->error = -EINVAL;
        return;
    }
    buf_puts(b, quoted);
    mem_wipe(quoted, strlen(quoted));
    PQfreemem(quoted);
}

static void put_mark(struct buf *b, PGconn *conn, char mark, va_list *ap)
{
    const char *text;

    if (mark == 'N') {
        buf_putf(b, "%lld", (long long)va_arg(*ap, int64_t));
        return;
    }
    text = va_arg(*ap, const char *);
    put_quoted(b, mark == 'I' ? PQescapeIdentifier(conn, text, strlen(text))
                              : PQescapeLiteral(conn, text, strlen(text)));
}

void sql_put(struct buf *b, PGconn *conn, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (fmt[0] == '%' && fmt[1] != '\0')
            put_mark(b, conn, *++fmt, &ap);
        else
            buf_putc(b, *fmt);
    }
    va_end(ap);
}
