/* Structs as the JSON bodies of records, by table; what this room's modules share. */
#ifndef COUNTERSIGN_IDENTITY_BODY_H
#define COUNTERSIGN_IDENTITY_BODY_H

#include "base/json.h"
#include "vault/record.h"

enum body_kind {
    BODY_TEXT, /* char[size] */
    BODY_I64,  /* int64_t, uint64_t */
    BODY_I32,  /* pid_t */
    BODY_U32,  /* uid_t, an enum */
    BODY_BOOL,
};

struct body_field {
    const char *name; /* NULL ends a table */
    enum body_kind kind;
    size_t offset, size;
};
#define BODY_FIELD(type, member, kind)                                                             \
    {                                                                                              \
#member, kind, offsetof(type, member), sizeof(((type *)NULL)->member)                      \
    }

/* Sets the members of o. 0, -ENOMEM; -EINVAL for text that is not UTF-8 or not NUL-terminated. */
int body_put(json_t *o, const struct body_field *fields, const void *s);
/* Reads them all. 0, or -EBADMSG when one is missing, of another type, or too large. */
int body_get(const json_t *o, const struct body_field *fields, void *s);

/* Writes the record with o as its body. */
int body_save(struct vault *v, enum record_table t, const struct record *r, const json_t *o);
/* The body of a visited record: 0 and a new object; -EBADMSG; -ENOMEM. */
int body_parse(const struct record *r, json_t **out);

/* Joins texts to one id that no other row of texts gives (each carries its length). NULL is "". The
 * result is NUL-terminated, or -EINVAL when it does not fit. */
int body_id(char *out, size_t size, const char *const *parts, size_t n);

#endif
