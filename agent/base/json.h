/* jansson's values behind a strict door of our own (RFC 8259), in wiping memory.
 *
 * json_init() replaces jansson's allocator by one that wipes on free, so parsed secrets do not stay
 * behind. Every program calls it before its first use of jansson. What jansson hands out to be
 * freed (json_dumps()) then isn't malloc()'s: write with json_put() instead. */
#ifndef COUNTERSIGN_BASE_JSON_H
#define COUNTERSIGN_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

void json_init(void);

#define _cleanup_json_ _cleanup_(json_decrefp) /* jansson brings json_decrefp */

#define JSON_DEPTH_MAX 32

/* Parses exactly one JSON value of n bytes: UTF-8, no duplicate keys, no NUL in strings, nesting at
 * most JSON_DEPTH_MAX, nothing behind it. Integers beyond 64 bits and numbers beyond a double are
 * refused. Returns 0, -EBADMSG (why[] says where and what, without quoting the
 * text), or -ENOMEM. *out is the caller's. */
int json_parse(const char *text, size_t n, json_t **out, char *why, size_t whylen);

/* Appends the compact dump with keys in insertion order. Sticky error in b (-EINVAL for a NULL v).
 */
void json_put(struct buf *b, const json_t *v);
/* The same with everything beyond ASCII as \uXXXX: for files that people look at on a terminal,
 * which C1 and bidirectional controls in a name would steer. */
void json_put_ascii(struct buf *b, const json_t *v);

/* Appends one string as json_put_ascii() would (-EINVAL when it is not UTF-8), without making a
 * value of it: for what is written with every request. */
void json_put_text(struct buf *b, const char *s);

/* Finds the exact bytes of the value of a top-level key in an object that json_parse() accepted
 * ("the validated original bytes"). 0, or -ENOENT. Points into text. */
int json_raw_member(const char *text, size_t n, const char *key, const char **p, size_t *len);

/* --- Checked access. A request body is checked once against its schema, then read freely. ------
 */

enum json_kind {
    JSON_KIND_STRING, /* a string; min = least bytes, max = most bytes (0: 4096) */
    JSON_KIND_INT,  /* an integer (or a decimal string, as Vault takes it); min..max, both 0: any */
    JSON_KIND_BOOL, /* true/false (or "true"/"false") */
    JSON_KIND_DURATION, /* seconds as a number, or a duration string; min..max seconds (0: 10 y) */
    JSON_KIND_STRINGS,  /* an array of strings, or one comma-separated string; min..max items (0:
                           1024) of at most 4096 bytes */
    JSON_KIND_STATEMENTS, /* an array of strings, or one string (not split); items of at most 64 KiB
                           */
    JSON_KIND_OBJECT,     /* an object */
    JSON_KIND_ANY,
};

struct json_field {
    const char *name; /* NULL ends a schema */
    enum json_kind kind;
    bool required;
    int64_t min, max;
};

/* Checks an object against a schema and normalises it in place: durations and integers become JSON
 * integers, STRINGS and STATEMENTS become arrays, booleans become booleans. A null counts as
 * absent. Unknown fields: refused when strict, else left alone. After an error obj may be half
 * normalised. Returns 0, -EINVAL with the reason for a person in why[], or -ENOMEM. A NULL object
 * is treated as empty. */
int json_check(json_t *obj, const struct json_field *schema, bool strict, char *why, size_t whylen);

/* Values of a checked object; the default where the key is absent (or null). */
const char *json_str(const json_t *obj, const char *key); /* NULL when absent */
const char *json_str_or(const json_t *obj, const char *key, const char *dflt);
int64_t json_int(const json_t *obj, const char *key, int64_t dflt);
bool json_bool(const json_t *obj, const char *key, bool dflt);

/* Sets obj[key] = a new string/int/bool; a NULL string sets null. 0, -ENOMEM (a NULL obj
 * counts as that, so that json_object() need not be checked twice), or -EINVAL for a string that is
 * not UTF-8. For more than a few fields use json_pack(), which is all or nothing. */
int json_set_str(json_t *obj, const char *key, const char *value);
int json_set_int(json_t *obj, const char *key, int64_t value);
int json_set_bool(json_t *obj, const char *key, bool value);
/* A moment (wall time in ms) as clock_stamp() writes it in seconds; null for 0. NULL on lack of
 * memory. */
json_t *json_stamp(int64_t wall_ms);
/* Appends a sentence of at most 1023 bytes. 0 or -ENOMEM. */
int json_append_text(json_t *list, const char *fmt, ...) _printf_(2, 3);

/* Whether the array holds the string. NULL array: false. */
bool json_has_str(const json_t *array, const char *s);

#endif
