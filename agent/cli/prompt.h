/* Asking the person at the terminal; or reading lines from standard input where there is none. */
#ifndef COUNTERSIGN_CLI_PROMPT_H
#define COUNTERSIGN_CLI_PROMPT_H

#include "base/buf.h"

#define PROMPT_LINE_MAX 8192
#define PROMPT_END 1 /* outcome: the input ended before a line did */

/* Whether a person sits at standard input. */
bool prompt_is_terminal(void);

/* Shows text on standard error (on a terminal only) and reads a line from standard input, without
 * its line end, into a new string (mem_free_str() it). secret: the terminal doesn't show it. 0,
 * PROMPT_END, -EINTR, -EMSGSIZE (longer than PROMPT_LINE_MAX), -EILSEQ (a NUL inside), or -errno.
 * Reads byte by byte, so that nothing behind the line is taken. */
int prompt_line(const char *text, bool secret, char **out);

/* Asks a question to be answered with yes or no; anything but y or yes is no. */
bool prompt_yes(const char *question);

/* Reads everything from fd up to max bytes, into b. 0, -EMSGSIZE, -errno. */
int prompt_read_all(int fd, size_t max, struct buf *b);
/* The same from a file. -ENOENT etc. */
int prompt_read_file(const char *path, size_t max, struct buf *b);

#endif
