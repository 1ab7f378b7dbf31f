/* QR codes in a terminal. */
#ifndef COUNTERSIGN_CLI_QR_H
#define COUNTERSIGN_CLI_QR_H

#include "base/buf.h"

#define QR_TOO_WIDE 1 /* outcome: the terminal has too few columns */
#define QR_QUIET 2    /* modules of quiet zone around */

enum qr_style {
    QR_COLOR,  /* half blocks in explicit black on white: right on any background */
    QR_PLAIN,  /* half blocks, light modules drawn: for light text on a dark background */
    QR_SPACES, /* coloured spaces, two columns a module: for terminals without UTF-8 */
};

/* Appends the code of text, a terminal line for two rows of modules. width: the terminal's columns,
 * 0 if unknown. 0, QR_TOO_WIDE, -EMSGSIZE (too much text for a code), -ENOMEM. */
int qr_render(const char *text, enum qr_style style, unsigned width, struct buf *out);

#endif
