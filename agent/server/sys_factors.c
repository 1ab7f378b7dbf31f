/* sys/factors: enrolling, listing and removing second factors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "identity/factor.h"
#include "identity/throttle.h"
#include "server/pipeline.h"
#include "server/routes.h"

/* How fresh a proof must be to change one's own factors. */
#define FRESH_S (15 * 60)

const struct json_field route_fields_totp[] = {
    {.name = "algorithm", .kind = JSON_KIND_STRING, .max = 16},
    {.name = "digits", .kind = JSON_KIND_INT, .min = 6, .max = 8},
    {.name = "issuer", .kind = JSON_KIND_STRING, .max = 64},
    {0},
};
const struct json_field route_fields_totp_confirm[] = {
    {.name = "code", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {0},
};
const struct json_field route_fields_totp_import[] = {
    {.name = "secret", .kind = JSON_KIND_STRING, .required = true, .max = 256},
    {.name = "algorithm", .kind = JSON_KIND_STRING, .max = 16},
    {.name = "digits", .kind = JSON_KIND_INT, .min = 1, .max = 99},
    {.name = "period", .kind = JSON_KIND_INT, .min = 1, .max = 86400},
    {.name = "skew", .kind = JSON_KIND_INT, .min = -10000, .max = 10000},
    {.name = "confirmed", .kind = JSON_KIND_BOOL},
    {.name = "replace", .kind = JSON_KIND_BOOL},
    {0},
};
const struct json_field route_fields_passphrase[] = {
    {.name = "passphrase",
     .kind = JSON_KIND_STRING,
     .required = true,
     .max = FACTOR_PASSPHRASE_MAX},
    {0},
};

/* Whose factors: the path's user, or the caller for "self". */
static const char *subject(struct request *r)
{
    const char *user = request_param(r, "user");
    return strcmp(user, "self") == 0 && r->has_person ? r->user : user;
}

static bool is_self(struct request *r)
{
    return r->has_person && !r->has_token && strcmp(subject(r), r->user) == 0;
}

struct fresh {
    int64_t now;
    bool found;
};

static int look(const struct proof *p, bool by_session, bool by_source _unused_, void *data)
{
    struct fresh *f = data;
    int64_t age = f->now - p->boot_ms;
    if (by_session && age >= 0 && age <= FRESH_S * 1000LL)
        f->found = true;
    return 0;
}

static int proved_lately(struct request *r, bool *yes)
{
    struct fresh f = {.now = clock_boot_ms()};
    int e = r->has_session
                ? session_proofs(r->agent->vault, r->session.id, r->user, NULL, NULL, look, &f)
                : 0;
    *yes = f.found;
    return e;
}

/* 0: may; 1: an error answer stands in r; -errno. change: not only looking. */
static int admit(struct request *r, bool change)
{
    unsigned mask = 0;
    bool fresh = false;
    const char *user = subject(r);
    if (strcmp(user, "self") == 0)
        return pipeline_refuse(
            request_error(r, 400,
                          "\"self\" is nobody here: root and tokens speak for no person; name one "
                          "(-user=NAME)"));
    if (!person_valid_name(user))
        return request_error(r, 400, "there is no such user name") < 0 ? -ENOMEM : 1;
    if (!is_self(r)) {
        if (r->allowed)
            return 0;
        return request_error(r, 403,
                             "permission denied: %s's factors are theirs, an operator's or root's "
                             "to change",
                             user) < 0
                   ? -ENOMEM
                   : 1;
    }
    if (!change || r->allowed)
        return 0;
    int e = factor_enrolled(r->agent->vault, user, &mask);
    if (e == 0 && mask)
        e = proved_lately(r, &fresh);
    if (e < 0 || !mask || fresh)
        return e;
    return request_error(r, 403,
                         "permission denied: you have a factor already; to change your factors, "
                         "prove it first in this session (for example with: sudo -v), within the "
                         "last 15 minutes") < 0
               ? -ENOMEM
               : 1;
}

int route_factor_list(struct request *r)
{
    json_t *list = NULL;
    int64_t until = 0;
    char text[CLOCK_STAMP_LEN];
    int e = admit(r, false);
    if (e != 0)
        return e < 0 ? e : 0;
    e = factor_list(r->agent->vault, subject(r), &list);
    if (e == 0)
        e = throttle_locked_until(r->agent->vault, subject(r), r->now_ms, &until);
    if (e < 0) {
        json_decref(list);
        return e;
    }
    clock_stamp(until, 0, text);
    return request_data(r, json_pack("{s:s, s:o, s:s?}", "user", subject(r), "factors", list,
                                     "locked_until", until ? text : NULL));
}

int route_factor_totp(struct request *r)
{
    char why[200];
    json_t *out = NULL;
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    e = factor_totp_begin(r->agent->vault, subject(r), json_str_or(r->body, "algorithm", "SHA1"),
                          (int)json_int(r->body, "digits", 6),
                          json_str_or(r->body, "issuer", "Countersign"), &out, why, sizeof(why));
    if (e == FACTOR_E_REFUSED)
        return request_error(r, 400, "%s", why);
    return e < 0 ? e : request_data(r, out);
}

int route_factor_totp_confirm(struct request *r)
{
    json_t *codes = NULL;
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    e = factor_totp_confirm(r->agent->vault, subject(r), json_str(r->body, "code"),
                            r->now_ms / 1000, &codes);
    if (e == FACTOR_E_NONE)
        return request_error(r, 400, "no enrolment is under way for %s", subject(r));
    if (e == FACTOR_E_WRONG || e == FACTOR_E_USED)
        return request_error(
            r, 400,
            "the code is wrong: type the six or eight digits that the app shows now; "
            "if it never fits, the clock of the phone or of this host is wrong");
    return e < 0 ? e : request_data(r, json_pack("{s:o}", "recovery_codes", codes));
}

/* Somebody's own import counts once a code of it was right, like an enrolment. Root and operators
 * may say that it was in use and counts at once: they could enrol what they like for others anyway,
 * and people who come over from another module must not be locked out until they have confirmed. */
int route_factor_totp_import(struct request *r)
{
    char why[200];
    bool weak = false;
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    const struct factor_import i = {
        .secret = json_str(r->body, "secret"),
        .algorithm = json_str_or(r->body, "algorithm", "SHA1"),
        .digits = (int)json_int(r->body, "digits", 6),
        .period = (int)json_int(r->body, "period", 30),
        .skew = json_int(r->body, "skew", 0),
        .confirmed = json_bool(r->body, "confirmed", false),
        .replace = json_bool(r->body, "replace", false),
    };
    if (i.confirmed && !r->allowed)
        return request_error(r, 403,
                             "permission denied: your own import counts once a code of it was "
                             "right (sys/factors/self/totp/confirm)");
    e = factor_totp_import(r->agent->vault, subject(r), &i, &weak, why, sizeof(why));
    if (e == FACTOR_E_REFUSED)
        return request_error(r, 400, "%s", why);
    if (e == FACTOR_E_USED)
        return request_error(r, 400,
                             "%s has a TOTP factor already; replace=true puts this in its place",
                             subject(r));
    if (e == 0 && weak)
        e = request_warn(r,
                         "the secret has fewer than the 128 bits that RFC 4226 asks for: enrol a "
                         "new factor when there is time");
    return e < 0 ? e
                 : request_data(
                       r, json_pack("{s:s, s:b}", "user", subject(r), "confirmed", i.confirmed));
}

int route_factor_recovery(struct request *r)
{
    json_t *codes = NULL;
    unsigned mask = 0;
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    e = factor_enrolled(r->agent->vault, subject(r), &mask);
    if (e == 0 && !(mask & ~(unsigned)FACTOR_RECOVERY))
        return request_error(r, 400, "recovery codes stand in for another factor: enrol one first");
    if (e == 0)
        e = factor_recovery_new(r->agent->vault, subject(r), &codes);
    return e < 0 ? e : request_data(r, json_pack("{s:o}", "recovery_codes", codes));
}

/* --- Passphrases: Argon2id runs on a worker
 * ---------------------------------------------------------- */

struct hashing {
    struct request *request;
    char passphrase[FACTOR_PASSPHRASE_MAX + 1];
    char hash[FACTOR_HASH_MAX];
    int error;
};

#define HASH_MS 10000

static void hashing_free(void *data)
{
    struct hashing *h = data;
    mem_free(h, sizeof(*h));
}

static int hashed(struct request *r)
{
    struct hashing *h = r->state;
    if (!h || h->error < 0)
        return request_error(r, 503, "the agent is too busy to hash the passphrase; try again");
    int e = admit(r, true); /* meanwhile another factor may have come, or the proof grown old */
    if (e != 0)
        return e < 0 ? e : 0;
    r->status = 204;
    e = factor_passphrase_set(r->agent->vault, subject(r), h->hash);
    return e < 0 ? e : 0;
}

static void hash_work(void *data)
{
    struct hashing *h = data;
    h->error = factor_passphrase_hash(h->passphrase, h->hash);
}

static void hash_done(void *data, int error)
{
    struct hashing *h = data;
    struct request *r = h->request;
    if (error) /* the thread still has it, and it is freed late */
        r->state = NULL;
    request_resume(r, hashed);
}

/* After the commit: until then the request could still be taken back. */
static void start_hashing(void *data)
{
    struct hashing *h = data;
    int e =
        workers_run(h->request->agent->enrol_kdf, hash_work, hash_done, hashing_free, h, HASH_MS);
    if (e == 0)
        return;
    h->error = e;
    request_resume(h->request, hashed);
}

int route_factor_passphrase(struct request *r)
{
    char why[200];
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    const char *text = json_str(r->body, "passphrase");
    if (factor_passphrase_ok(text, why, sizeof(why)) != 0)
        return request_error(r, 400, "%s", why);
    struct hashing *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    h->request = r;
    snprintf(h->passphrase, sizeof(h->passphrase), "%s", text);
    r->state = h;
    r->state_free = hashing_free;
    e = effects_push(turn_effects(r->agent->turn), start_hashing, NULL, h);
    return e < 0 ? e : REQUEST_WAIT;
}

/* --- Removing
 * ---------------------------------------------------------------------------------------- */

int route_factor_remove(struct request *r)
{
    const char *type = request_param(r, "type");
    unsigned factor = factor_from_name(type);
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    if (!factor)
        return request_error(r, 400, "a factor is totp, recovery or passphrase");
    e = factor_remove(r->agent->vault, subject(r), (enum factor)factor);
    if (e == FACTOR_E_NONE)
        return request_error(r, 404, "%s has no factor %s", subject(r), type);
    r->status = 204;
    return e;
}

int route_factor_reset(struct request *r)
{
    int e = admit(r, true);
    if (e != 0)
        return e < 0 ? e : 0;
    e = factor_reset(r->agent->vault, subject(r));
    if (e >= 0)
        e = throttle_pardon(r->agent->vault, subject(r));
    r->status = 204;
    return e < 0 ? e : 0;
}
