/* Reading what other authenticator software keeps: the file of pam_google_authenticator, and
 * otpauth URIs (https://github.com/google/google-authenticator/wiki/Key-Uri-Format). Text in,
 * fields out. */
#ifndef COUNTERSIGN_CLI_OTPFILE_H
#define COUNTERSIGN_CLI_OTPFILE_H

#include "base/buf.h"

#define OTPFILE_NAME ".google_authenticator" /* in a person's home */
#define OTPFILE_MAX (64 * 1024)              /* of such a file */
#define OTPFILE_SECRET_MAX 128               /* characters of base32: 640 bits */

struct otpfile {
    char secret[OTPFILE_SECRET_MAX + 1]; /* base32 as written, without spaces */
    char algorithm[8];
    int digits, period;
    int skew;           /* TIME_SKEW: steps that the device is ahead */
    unsigned emergency; /* scratch codes that were left */
};
void otpfile_clear(struct otpfile *f);
#define _cleanup_otpfile_ _cleanup_(otpfile_clear)

/* Reads n bytes of either form; white space around a URI is passed over. 0; -EINVAL with a sentence
 * in why[] that quotes nothing of the text: neither form, counter based (HOTP), or beyond the
 * limits above. Whether algorithm, digits and period can be used is the agent's to say. */
int otpfile_parse(const char *text, size_t n, struct otpfile *out, char *why, size_t whylen);

#endif
