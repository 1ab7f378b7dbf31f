/* sys/generate-root: a root token for whoever has enough shares, when no other token is left.
 *
 * As Vault's, with one difference: the caller must be root on this host, through the Unix socket
 * (in dev mode anybody who reaches the listener). Vault lets anybody on the network try, and
 * OpenBao has switched that off. No token is asked for, since the lack of one is what this is for.
 * Every use is an alert. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "server/quorum.h"
#include "server/routes.h"
#include "server/start.h"

#define OTP_LEN 32 /* the length of a token's text: "hvs." and 28 characters */

const struct json_field route_fields_generate_root[] = {
    {.name = "otp", .kind = JSON_KIND_STRING, .max = 128},
    {.name = "pgp_key", .kind = JSON_KIND_STRING, .max = 65536},
    {0},
};

const struct json_field route_fields_share[] = {
    {.name = "key", .kind = JSON_KIND_STRING, .max = 128},
    {.name = "nonce", .kind = JSON_KIND_STRING, .max = 64},
    {0},
};

/* otp: shown once, when it was made here. encoded: the token, at the end. */
static int answer(struct request *r, const char *otp, const char *encoded)
{
    const struct agent *a = r->agent;
    const struct quorum_rooting *g = a->rooting;
    return request_data(r, json_pack("{s:b, s:s, s:i, s:i, s:b, s:s, s:s, s:s, s:s, s:i}",
                                     "started", g != NULL, "nonce", g ? g->given->nonce : "",
                                     "progress", g ? (int)g->given->n : 0, "required",
                                     (int)quorum_needed(a), "complete", encoded[0] != '\0',
                                     "encoded_token", encoded, "encoded_root_token", encoded,
                                     "pgp_fingerprint", "", "otp", otp, "otp_length", OTP_LEN));
}

int route_generate_root_status(struct request *r)
{
    return answer(r, "", "");
}

static int check_wish(struct request *r, const char *otp)
{
    int e;
    if (json_str_or(r->body, "pgp_key", "")[0])
        e = request_error(r, 400,
                          "'pgp_key' is not supported: give an 'otp', or nothing and one is made");
    else if (r->agent->rooting)
        e = request_error(r, 400,
                          "a root token is being generated already: go on with it (countersign "
                          "operator generate-root), or cancel it first (-cancel)");
    else if (otp[0] && strlen(otp) != OTP_LEN)
        e = request_error(r, 400, "'otp' must have %d characters", OTP_LEN);
    else
        return 0;
    return e < 0 ? e : 1;
}

int route_generate_root_start(struct request *r)
{
    struct agent *a = r->agent;
    const char *otp = json_str_or(r->body, "otp", "");
    int e = request_unsealed(r);
    if (e == 0)
        e = check_wish(r, otp);
    if (e != 0)
        return e < 0 ? e : 0;
    a->rooting = calloc(1, sizeof(*a->rooting));
    if (!a->rooting)
        return -ENOMEM;
    a->rooting->given = quorum_new();
    if (!a->rooting->given) {
        quorum_end_rooting(a);
        return -ENOMEM;
    }
    if (otp[0])
        memcpy(a->rooting->otp, otp, OTP_LEN);
    else
        encode_random_base62(a->rooting->otp, OTP_LEN);
    return answer(r, otp[0] ? "" : a->rooting->otp, "");
}

int route_generate_root_cancel(struct request *r)
{
    quorum_end_rooting(r->agent);
    r->status = 204;
    return 0;
}

/* --- The token ---------------------------------------------------------------------------------
 */

struct making {
    struct request *request;
    char text[TOKEN_TEXT_MAX];
    int error;
};

/* The token and the line that tells of it are one transaction. */
static int make_turn(void *data)
{
    struct making *m = data;
    int e = start_root_token(m->request->agent->vault, m->text);
    if (e == 0)
        request_alert(m->request, "a root token was generated with shares");
    return e;
}

static void make_done(void *data, int error)
{
    ((struct making *)data)->error = error;
}

/* As Vault: the token's bytes XOR the otp's, in base64 without padding. */
static int encode_token(const char *text, const char *otp, struct buf *out)
{
    uint8_t mixed[OTP_LEN];
    if (strlen(text) != OTP_LEN)
        return -EINVAL;
    for (size_t i = 0; i < OTP_LEN; i++)
        mixed[i] = (uint8_t)text[i] ^ (uint8_t)otp[i];
    encode_base64(out, mixed, sizeof(mixed));
    mem_wipe(mixed, sizeof(mixed));
    while (out->len && out->data[out->len - 1] == '=')
        out->data[--out->len] = '\0';
    return buf_error(out);
}

static int finish(struct request *r)
{
    struct agent *a = r->agent;
    struct making m = {.request = r, .error = -EBUSY};
    _cleanup_buf_ struct buf encoded = BUF_INIT(128);
    turn_now(a->turn); /* what waits there may seal the agent, and then there is no attempt */
    int e = a->rooting ? turn_add(a->turn, TURN_API, make_turn, make_done, &m) : -EACCES;
    if (e == 0) {
        turn_now(a->turn);
        e = m.error;
    }
    if (e == 0 && !a->rooting)
        e = -EACCES;
    if (e == 0)
        e = encode_token(m.text, a->rooting->otp, &encoded);
    mem_wipe(m.text, sizeof(m.text));
    if (e == 0)
        e = answer(r, "", buf_str(&encoded));
    quorum_end_rooting(a);
    return e;
}

static int check_shares(struct request *r)
{
    struct agent *a = r->agent;
    if (quorum_is_ours(a, a->rooting->given))
        return finish(r);
    quorum_reset(a->rooting->given);
    request_alert(r, "wrong shares were given for a root token");
    return request_error(r, 400, "these shares are not this store's; give them all again");
}

int route_generate_root_update(struct request *r)
{
    struct agent *a = r->agent;
    int e = request_unsealed(r);
    if (e != 0)
        return e < 0 ? e : 0;
    if (!a->rooting)
        return request_error(r, 400,
                             "no root token is being generated: start with "
                             "\"countersign operator generate-root -init\"");
    e = quorum_take(r, a->rooting->given);
    if (e != 0)
        return e < 0 ? e : 0;
    return a->rooting->given->n < quorum_needed(a) ? answer(r, "", "") : check_shares(r);
}
