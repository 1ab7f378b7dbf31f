/* Reading PAM service files (pam.d(5)) far enough to know what their stacks do.
 *
 * Nothing here writes, opens or knows our module: text in, a list of rules out. */
#ifndef COUNTERSIGN_CLI_PAMSTACK_H
#define COUNTERSIGN_CLI_PAMSTACK_H

#include "base/buf.h"

#define PAMSTACK_TEXT_MAX 65536
#define PAMSTACK_LINES_MAX 512
#define PAMSTACK_RULES_MAX 256
#define PAMSTACK_NAME_MAX 128

enum pamstack_type {
    PAMSTACK_AUTH,
    PAMSTACK_ACCOUNT,
    PAMSTACK_PASSWORD,
    PAMSTACK_SESSION,
    PAMSTACK_TYPES
};

/* What a line of a file is. */
enum pamstack_kind {
    PAMSTACK_BLANK,    /* empty or a comment */
    PAMSTACK_MODULE,   /* type control module … */
    PAMSTACK_INCLUDE,  /* type include FILE */
    PAMSTACK_SUBSTACK, /* type substack FILE */
    PAMSTACK_INLINE,   /* @include FILE: all types */
};

struct pamstack_line {
    size_t at, len; /* in the text, line end included; with its continuations */
    bool continued; /* goes over several lines */
    enum pamstack_kind kind;
    enum pamstack_type type;
    bool can_end;  /* may end the stack before later lines with something else than a denial */
    unsigned jump; /* most rules it may jump over */
    char name[PAMSTACK_NAME_MAX]; /* the module's file name without folders, or the file included */
};

struct pamstack_file {
    const char *text;
    size_t n_lines;
    struct pamstack_line lines[PAMSTACK_LINES_MAX];
};

/* One rule of a stack after following includes; a substack counts as one rule, as for libpam. */
struct pamstack_rule {
    size_t top; /* index of the line of the first file that it came through */
    bool can_end;
    unsigned jump;
    char name[PAMSTACK_NAME_MAX];
    char where[PAMSTACK_NAME_MAX]; /* "common-auth line 3" */
};

struct pamstack_rules {
    size_t n;
    struct pamstack_rule rule[PAMSTACK_RULES_MAX];
};

/* Appends the text of an included file. 0 or -errno. */
typedef int (*pamstack_open)(const char *name, struct buf *text, void *data);

/* Reads a file. text must outlive f. 0, or -EBADMSG with "line N: …" in why[]. */
int pamstack_parse(const char *text, size_t n, struct pamstack_file *f, char *why, size_t whylen);

/* The rules of one type, with includes followed. 0, -EBADMSG (why), -ENOMEM. */
int pamstack_expand(const struct pamstack_file *f, enum pamstack_type type, pamstack_open opener,
                    void *data, struct pamstack_rules *out, char *why, size_t whylen);

/* Whether a line contributes rules of a type: by itself or by what it includes. Returns 1, 0, or a
 * negative error as above. */
int pamstack_contributes(const struct pamstack_file *f, size_t line, enum pamstack_type type,
                         pamstack_open opener, void *data, char *why, size_t whylen);

#endif
