/* Putting our module into a PAM service file, and taking it out again byte for byte.
 *
 * What we add stands between two marker lines; a line we replace is kept there behind a third:
 *
 *   # countersign: begin
 *   # countersign: was: @include common-auth
 *   auth substack common-auth
 *   # countersign: end
 *
 * Text in, text out. A file whose stack could get around our line is refused with the reason. */
#ifndef COUNTERSIGN_CLI_PAMFILE_H
#define COUNTERSIGN_CLI_PAMFILE_H

#include "cli/pamstack.h"

/* Outcomes. */
enum {
    PAMFILE_ALREADY = 1, /* enable: our lines are there */
    PAMFILE_NOT_OURS,    /* disable: no line of ours is there */
    PAMFILE_REFUSED,     /* why[] says why */
};

/* Puts the text with our lines into out. service "sshd" gets the layout that lets a proved public
 * key stand for the password. 0, PAMFILE_ALREADY, PAMFILE_REFUSED, -ENOMEM. note[] tells a remark
 * for a person, "" if there is none. */
int pamfile_enable(const char *service, const char *text, size_t n, pamstack_open opener,
                   void *data, struct buf *out, char *note, size_t notelen, char *why,
                   size_t whylen);

/* Puts the text without our lines into out. 0, PAMFILE_NOT_OURS, PAMFILE_REFUSED (somebody changed
 * something between our markers), -ENOMEM. */
int pamfile_disable(const char *text, size_t n, struct buf *out, char *why, size_t whylen);

/* What a person may write by hand where enabling was refused. */
const char *pamfile_by_hand(const char *service);

#endif
