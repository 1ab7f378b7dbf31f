/* Writing SQL with values in it. libpq does the escaping. */
#ifndef COUNTERSIGN_CONNECTOR_SQL_H
#define COUNTERSIGN_CONNECTOR_SQL_H

#include <libpq-fe.h>

#include "base/buf.h"

/* Appends fmt with its marks filled in, in their order: %I an identifier and %L a literal (const
 * char *), %N an integer (int64_t). A value that can't be escaped makes the buffer fail with
 * -EINVAL. */
void sql_put(struct buf *b, PGconn *conn, const char *fmt, ...);

#endif
