/* Vault's SQL templates: split into statements, with {{placeholders}} filled in safely.
 *
 * A value is never pasted. The text is read as PostgreSQL would read it
 * (standard_conforming_strings on), and a value is escaped for the place its placeholder stands in:
 *
 *   bare            {{name}}, {{username}} as a quoted identifier, everything else as a literal; it
 * must stand free, since E{{password}} or 'a'{{name}} would change how it is read inside "…" as the
 * body of an identifier inside '…'      as the body of a literal; inside E'…' with backslashes
 * escaped too inside $tag$…$tag$   nothing can be escaped there: the value must consist of
 * [A-Za-z0-9_:+.=$/-], without "--", not begin or end with '$', and not complete the tag inside
 * U&'…', U&"…"  refused inside comments  nothing: comments are not sent
 *
 * A placeholder is {{letters_or_underscores}}; one without a value is refused ('{{1,2},{3,4}}' is
 * not a placeholder). A statement may not be one that ends or begins a transaction. */
#ifndef COUNTERSIGN_CONNECTOR_TEMPLATE_H
#define COUNTERSIGN_CONNECTOR_TEMPLATE_H

#include <libpq-fe.h>

#include "base/buf.h"

struct template_value {
    const char *name;  /* NULL ends a list */
    const char *value; /* UTF-8 */
    bool identifier;   /* bare, it names something */
};

#define TEMPLATE_STATEMENTS_MAX 256
#define TEMPLATE_TEXT_MAX 262144

/* SQL statements, each a secret. */
struct template_list {
    char **sql;
    size_t count;
};
void template_clear(struct template_list *list);
#define _cleanup_template_ _cleanup_(template_clear)

/* Appends the statements of one text to list, filled in. conn does the escaping: its client
 * encoding must be UTF-8. Returns 0, -EINVAL with the reason in why[] (no value is quoted there),
 * -EMSGSIZE when the bounds above are passed, or -ENOMEM; on failure list holds what it held before
 * or more, and is still the caller's. */
int template_expand(PGconn *conn, const char *text, const struct template_value *values,
                    struct template_list *list, char *why, size_t whylen);

#endif
