/* What people see: messages, values, JSON, colours. Tables are in table.h.
 *
 * Nothing that came from elsewhere reaches a terminal with control characters in it. Colours only
 * on a terminal that wants them. Messages and prompts go to standard error, results to standard
 * output. */
#ifndef COUNTERSIGN_CLI_OUTPUT_H
#define COUNTERSIGN_CLI_OUTPUT_H

#include <stdio.h>

#include "base/json.h"

enum output_format { OUTPUT_TABLE = 0, OUTPUT_JSON };

enum output_style {
    OUTPUT_PLAIN = 0,
    OUTPUT_BOLD,
    OUTPUT_GOOD,
    OUTPUT_BAD,
    OUTPUT_WARN,
    OUTPUT_DIM
};

struct output {
    enum output_format format;
    bool color;        /* standard output is a terminal with colours */
    bool terminal;     /* standard output is a terminal */
    bool utf8;         /* its characters are UTF-8 */
    unsigned width;    /* its columns; 0 when it is no terminal */
    const char *field; /* -field; NULL */
};

/* Finds out what standard output is. */
void output_init(struct output *o, bool no_color);
/* Flushes; whether everything that was printed got there. 0 or -errno. */
int output_finish(void);

/* The escape that begins or (OUTPUT_PLAIN) ends a style; "" without colours. */
const char *output_color(const struct output *o, enum output_style style);
/* "✓" and "✗", or "+" and "-". */
const char *output_mark(const struct output *o, bool good);

/* "Error: …" and further lines on standard error, made printable. */
void output_error(const char *fmt, ...) _printf_(1, 2);
/* A remark on standard error. */
void output_note(const char *fmt, ...) _printf_(1, 2);
/* Appends text made printable, keeping its line ends. */
void output_clean(struct buf *b, const char *s);

/* Appends a value as people read it: strings as they are, [a b], objects as JSON, null as "n/a". */
void output_value(struct buf *b, const json_t *v);
/* Prints JSON text that json_parse() accepted, indented by two, its tokens untouched (but control
 * characters escaped). */
void output_json_text(const char *text, size_t n);
/* The same for a value. 0 or -ENOMEM. */
int output_json(const json_t *v);
/* Prints one value raw, with a line end on a terminal only (as vault does). 0 or -ENOMEM. */
int output_raw(const struct output *o, const json_t *v);

/* A size for people: "512 bytes", "2.3 MiB", "78 GiB". */
void output_size(int64_t bytes, char *out, size_t size);
/* Time for people: "12s ago", "in 47m", from a stamp (RFC 3339 text, or seconds since 1970). Empty
 * when v is neither. */
void output_when(const json_t *v, char *out, size_t size);
/* The same stamp as local date and time. */
void output_stamp(const json_t *v, char *out, size_t size);

#endif
