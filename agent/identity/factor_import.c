/* Taking over a TOTP secret from elsewhere. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "identity/factor_state.h"
#include "vault/record.h"

#define GOOD_BYTES 16 /* RFC 4226, section 4, R6: at least 128 bits */

static int refuse(char *why, size_t whylen, const char *text)
{
    snprintf(why, whylen, "%s", text);
    return FACTOR_E_REFUSED;
}

static int read_secret(const struct factor_import *i, struct totp *t, char *why, size_t whylen)
{
    int e = totp_from_base32(i->secret, t->secret, sizeof(t->secret), &t->secret_len);
    if (e == -EMSGSIZE)
        return refuse(why, whylen, "the secret is longer than 512 bits");
    if (e < 0)
        return refuse(why, whylen, "the secret is not base32 (A to Z, 2 to 7)");
    if (t->secret_len < TOTP_SECRET_MIN)
        return refuse(why, whylen, "the secret has fewer than 80 bits: enrol a new factor instead");
    return 0;
}

static int check(const struct factor_import *i, struct totp *t, char *why, size_t whylen)
{
    size_t usual;
    t->algorithm = totp_algorithm(i->algorithm, &usual);
    if (!t->algorithm)
        return refuse(why, whylen, "the algorithm must be SHA1, SHA256 or SHA512");
    if (i->digits != 6 && i->digits != 8)
        return refuse(why, whylen, "a code has 6 or 8 digits");
    if (i->period != TOTP_PERIOD)
        return refuse(why, whylen,
                      "codes must change every 30 seconds: enrol a new factor instead");
    if (i->skew < -FACTOR_SKEW_MAX || i->skew > FACTOR_SKEW_MAX)
        return refuse(why, whylen,
                      "the device's clock is more than ten minutes off: set it, and enrol anew");
    return read_secret(i, t, why, whylen);
}

int factor_totp_import(struct vault *v, const char *user, const struct factor_import *i, bool *weak,
                       char *why, size_t whylen)
{
    _cleanup_json_ json_t *state = NULL;
    _cleanup_(totp_clear) struct totp t = {.digits = i->digits, .last_step = -1, .skew = i->skew};
    const char *member = i->confirmed ? "totp" : "totp_new";

    *weak = false;
    int e = check(i, &t, why, whylen);
    if (e == 0)
        e = factor_state_load(v, user, &state);
    if (e != 0)
        return e;
    if (json_object_get(state, "totp") && !i->replace)
        return FACTOR_E_USED;
    *weak = t.secret_len < GOOD_BYTES;
    if (i->confirmed)
        (void)json_object_del(state, "totp_new"); /* an enrolment under way is overtaken */
    if (json_object_set_new(state, member, factor_state_totp_body(&t)) < 0)
        return -ENOMEM;
    return factor_state_save(v, user, state);
}
