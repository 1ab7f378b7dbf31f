#include "identity/factor_state.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/fault.h"
#include "identity/body.h"

#define STATE_VERSION 1
#define ISSUER_MAX 128
#define PASSPHRASE_OPS 3                     /* Argon2id as RFC 9106 section 4 has it for … */
#define PASSPHRASE_MEM (64U * 1024U * 1024U) /* … hosts short of memory: 3 passes over 64 MiB */

/* Where a factor stands in the state. */
static const struct {
    enum factor factor;
    const char *member;
} members[] = {
    {FACTOR_TOTP, "totp"},
    {FACTOR_RECOVERY, "recovery"},
    {FACTOR_PASSPHRASE, "passphrase"},
};

static const char *member_of(enum factor f)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (members[i].factor == f)
            return members[i].member;
    }
    return NULL;
}

/* --- The record
 * ----------------------------------------------------------------------------------- */

static bool storable(const char *user)
{
    size_t n = strnlen(user, RECORD_ID_MAX + 1);
    return n > 0 && n <= RECORD_ID_MAX && encode_is_utf8(user, n);
}

int factor_state_load(struct vault *v, const char *user, json_t **out)
{
    json_t *state = NULL;
    int r = RECORD_E_NONE;

    *out = NULL;
    if (storable(user))
        r = record_get_json(v, RECORD_FACTOR, user, &state);
    if (r < 0)
        return r;
    if (r == 0 && json_int(state, "v", 0) != STATE_VERSION) {
        json_decref(state);
        return -EBADMSG;
    }
    if (r == RECORD_E_NONE)
        state = json_pack("{s:i}", "v", STATE_VERSION);
    *out = state;
    return state ? 0 : -ENOMEM;
}

static bool is_empty(const json_t *state)
{
    bool any = json_object_get(state, "totp_new");

    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        any |= json_object_get(state, members[i].member) != NULL;
    return !any;
}

int factor_state_save(struct vault *v, const char *user, json_t *state)
{
    if (is_empty(state)) {
        int r = record_delete(v, RECORD_FACTOR, user);
        return r < 0 ? r : 0;
    }
    int r = json_set_str(state, "user", user);
    if (r == 0)
        r = body_save(v, RECORD_FACTOR, &(struct record){.id = user}, state);
    FAULT_POINT(factor_changed);
    return r;
}

bool factor_state_has_codes(const json_t *state)
{
    const json_t *codes = json_object_get(state, "recovery");
    return json_array_size(json_object_get(codes, "hashes")) > 0;
}

static unsigned mask_of(const json_t *state)
{
    unsigned mask = 0;

    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (json_object_get(state, members[i].member))
            mask |= (unsigned)members[i].factor;
    }
    return factor_state_has_codes(state) ? mask : mask & ~(unsigned)FACTOR_RECOVERY;
}

int factor_enrolled(struct vault *v, const char *user, unsigned *mask)
{
    _cleanup_json_ json_t *state = NULL;

    *mask = 0;
    int r = factor_state_load(v, user, &state);
    if (r == 0)
        *mask = mask_of(state);
    return r;
}

/* --- Listing
 * -------------------------------------------------------------------------------------- */

static int put_stamp(json_t *o, const char *name, int64_t ms)
{
    char stamp[CLOCK_STAMP_LEN];

    clock_stamp(ms, 0, stamp);
    return json_set_str(o, name, ms > 0 ? stamp : NULL);
}

static int list_one(json_t *list, const char *type, const json_t *f, bool confirmed)
{
    json_t *o = json_object();
    const json_t *hashes = json_object_get(f, "hashes");

    int r = json_set_str(o, "type", type);
    if (r == 0)
        r = put_stamp(o, "created", json_int(f, "created", 0));
    if (r == 0)
        r = put_stamp(o, "last_used", json_int(f, "last_used", 0));
    if (r == 0)
        r = json_set_bool(o, "confirmed", confirmed);
    if (r == 0 && json_str(f, "algorithm")) {
        r = json_set_str(o, "algorithm", json_str(f, "algorithm"));
        if (r == 0)
            r = json_set_int(o, "digits", json_int(f, "digits", 0));
    }
    if (r == 0 && hashes)
        r = json_set_int(o, "remaining", (int64_t)json_array_size(hashes));
    if (r < 0) {
        json_decref(o);
        return r;
    }
    return json_array_append_new(list, o) < 0 ? -ENOMEM : 0;
}

int factor_list(struct vault *v, const char *user, json_t **out)
{
    _cleanup_json_ json_t *state = NULL;
    _cleanup_json_ json_t *list = json_array();

    *out = NULL;
    int r = factor_state_load(v, user, &state);
    if (r == 0 && !list)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(members); i++) {
        const json_t *f = json_object_get(state, members[i].member);
        if (f)
            r = list_one(list, factor_name(members[i].factor), f, true);
    }
    const json_t *fresh = json_object_get(state, "totp_new");
    if (r == 0 && fresh)
        r = list_one(list, factor_name(FACTOR_TOTP), fresh, false);
    if (r < 0)
        return r;
    *out = json_incref(list);
    return 0;
}

static int add_person(const struct record *rec, void *data)
{
    _cleanup_json_ json_t *state = NULL;

    int r = body_parse(rec, &state);
    if (r < 0 || mask_of(state) == 0)
        return r;
    return json_array_append_new(data, json_string(rec->id)) < 0 ? -ENOMEM : 0;
}

int factor_people(struct vault *v, json_t **out)
{
    _cleanup_json_ json_t *list = json_array();

    *out = NULL;
    if (!list)
        return -ENOMEM;
    int r = record_each(v, RECORD_FACTOR, 0, add_person, list);
    if (r < 0)
        return r;
    *out = json_incref(list);
    return 0;
}

/* --- TOTP: enrolment
 * ------------------------------------------------------------------------------ */

json_t *factor_state_totp_body(const struct totp *t)
{
    char hex[2 * TOTP_SECRET_MAX + 1];

    encode_hex(t->secret, t->secret_len, hex);
    json_t *o = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I}", "secret", hex, "algorithm",
                          t->algorithm, "digits", t->digits, "step", (json_int_t)t->last_step,
                          "skew", (json_int_t)t->skew, "created", (json_int_t)clock_wall_ms(),
                          "last_used", (json_int_t)0);
    mem_wipe(hex, sizeof(hex));
    return o;
}

int factor_state_totp(const json_t *t, struct totp *out)
{
    const char *secret = json_str(t, "secret");
    size_t want = 0;

    *out = (struct totp){.digits = (int)json_int(t, "digits", 0),
                         .last_step = json_int(t, "step", -1),
                         .skew = json_int(t, "skew", 0)};
    out->algorithm = totp_algorithm(json_str(t, "algorithm"), &want);
    bool ok = secret && out->algorithm && (out->digits == 6 || out->digits == 8) &&
              /* what was made elsewhere has a length of its own */
              encode_from_hex(secret, out->secret, sizeof(out->secret), &out->secret_len) == 0 &&
              out->secret_len >= TOTP_SECRET_MIN;
    if (!ok)
        totp_clear(out);
    return ok ? 0 : -EBADMSG;
}

/* What the person is shown. */
static int totp_shown(const struct totp *t, const char *issuer, const char *user, json_t **out)
{
    _cleanup_buf_ struct buf secret = BUF_INIT(256);
    _cleanup_buf_ struct buf url = BUF_INIT(4096);

    totp_base32(&secret, t->secret, t->secret_len);
    totp_url(&url, t, issuer, user);
    int r = buf_error(&secret) < 0 ? buf_error(&secret) : buf_error(&url);
    if (r < 0)
        return r;
    *out = json_pack("{s:s, s:s, s:s, s:i, s:i}", "secret", buf_str(&secret), "url", buf_str(&url),
                     "algorithm", t->algorithm, "digits", t->digits, "period", TOTP_PERIOD);
    return *out ? 0 : -ENOMEM;
}

static int refuse(char *why, size_t whylen, const char *text)
{
    snprintf(why, whylen, "%s", text);
    return FACTOR_E_REFUSED;
}

int factor_totp_begin(struct vault *v, const char *user, const char *algorithm, int digits,
                      const char *issuer, json_t **out, char *why, size_t whylen)
{
    _cleanup_json_ json_t *state = NULL;
    _cleanup_(totp_clear) struct totp t = {.digits = digits, .last_step = -1};
    size_t n = strnlen(issuer, ISSUER_MAX + 1);

    *out = NULL;
    t.algorithm = totp_algorithm(algorithm, &t.secret_len);
    if (!t.algorithm)
        return refuse(why, whylen, "the algorithm must be SHA1, SHA256 or SHA512");
    if (digits != 6 && digits != 8)
        return refuse(why, whylen, "a code has 6 or 8 digits");
    if (n == 0 || n > ISSUER_MAX || !encode_is_utf8(issuer, n))
        return refuse(why, whylen, "the issuer must be 1 to 128 bytes of UTF-8");
    if (!storable(user))
        return refuse(why, whylen, "this is no user name");
    randombytes_buf(t.secret, t.secret_len);
    int r = factor_state_load(v, user, &state);
    if (r == 0 && json_object_set_new(state, "totp_new", factor_state_totp_body(&t)) < 0)
        r = -ENOMEM;
    if (r == 0)
        r = factor_state_save(v, user, state);
    return r < 0 ? r : totp_shown(&t, issuer, user, out);
}

/* Makes the enrolment under way the factor: its code of `step` is used. */
static int adopt(json_t *state, int64_t step, int64_t now_s)
{
    json_t *fresh = json_object_get(state, "totp_new");
    int64_t skew = step - now_s / TOTP_PERIOD;

    int r = json_set_int(fresh, "step", step);
    if (r == 0)
        r = json_set_int(fresh, "skew", skew);
    if (r == 0)
        r = json_set_int(fresh, "last_used", now_s * 1000);
    if (r == 0 && json_object_set(state, "totp", fresh) < 0)
        r = -ENOMEM;
    if (r == 0 && json_object_del(state, "totp_new") < 0)
        r = -EIO;
    return r;
}

int factor_totp_confirm(struct vault *v, const char *user, const char *code, int64_t now_s,
                        json_t **codes)
{
    _cleanup_json_ json_t *state = NULL;
    _cleanup_json_ json_t *shown = NULL;
    _cleanup_(totp_clear) struct totp t = {0};
    int64_t step = -1;

    *codes = NULL;
    int r = factor_state_load(v, user, &state);
    if (r < 0)
        return r;
    const json_t *fresh = json_object_get(state, "totp_new");
    if (!fresh)
        return FACTOR_E_NONE;
    r = factor_state_totp(fresh, &t);
    if (r == 0)
        r = totp_check(&t, code, now_s, &step);
    if (r > 0)
        return FACTOR_E_WRONG;
    if (r == 0)
        r = adopt(state, step, now_s);
    if (r == 0 && !factor_state_has_codes(state))
        r = factor_state_new_codes(v, user, state, &shown);
    else if (r == 0 && !(shown = json_array()))
        r = -ENOMEM;
    if (r == 0)
        r = factor_state_save(v, user, state);
    if (r == 0)
        *codes = json_incref(shown);
    return r;
}

/* --- Recovery codes
 * ------------------------------------------------------------------------------- */

int factor_state_code_hash(struct vault *v, const char *user, const char *code,
                           char out[2 * VAULT_HASH_LEN + 1])
{
    _cleanup_buf_ struct buf text = BUF_INIT(RECORD_ID_MAX + 128);
    uint8_t hash[VAULT_HASH_LEN];

    buf_puts(&text, user);
    buf_putc(&text, '\0');
    buf_puts(&text, code);
    int r = buf_error(&text);
    if (r == 0)
        r = vault_hash(v, "recovery", text.data, text.len, hash);
    if (r == 0)
        encode_hex(hash, sizeof(hash), out);
    mem_wipe(hash, sizeof(hash));
    return r;
}

static int random_code(char code[FACTOR_STATE_CODE + 1])
{
    _cleanup_buf_ struct buf text = BUF_INIT(FACTOR_STATE_CODE);
    uint8_t bytes[FACTOR_STATE_CODE * 5 / 8];

    randombytes_buf(bytes, sizeof(bytes));
    totp_base32(&text, bytes, sizeof(bytes));
    mem_wipe(bytes, sizeof(bytes));
    if (buf_error(&text) < 0)
        return buf_error(&text);
    for (size_t i = 0; i < FACTOR_STATE_CODE; i++) /* letters to lower case; digits have the bit */
        code[i] = (char)(text.data[i] | 0x20);
    code[FACTOR_STATE_CODE] = '\0';
    return 0;
}

static int add_code(struct vault *v, const char *user, json_t *hashes, json_t *codes)
{
    char code[FACTOR_STATE_CODE + 1], shown[32], hash[2 * VAULT_HASH_LEN + 1];

    int r = random_code(code);
    if (r == 0)
        r = factor_state_code_hash(v, user, code, hash);
    if (r == 0) {
        snprintf(shown, sizeof(shown), "%.4s-%.4s-%.4s-%.4s", code, code + 4, code + 8, code + 12);
        if (json_array_append_new(hashes, json_string(hash)) < 0 ||
            json_array_append_new(codes, json_string(shown)) < 0)
            r = -ENOMEM;
    }
    mem_wipe(code, sizeof(code));
    mem_wipe(shown, sizeof(shown));
    return r;
}

int factor_state_new_codes(struct vault *v, const char *user, json_t *state, json_t **codes)
{
    _cleanup_json_ json_t *hashes = json_array();
    _cleanup_json_ json_t *shown = json_array();
    int r = hashes && shown ? 0 : -ENOMEM;

    for (int i = 0; r == 0 && i < FACTOR_CODES; i++)
        r = add_code(v, user, hashes, shown);
    if (r < 0)
        return r;
    json_t *set = json_pack("{s:O, s:I, s:I}", "hashes", hashes, "created",
                            (json_int_t)clock_wall_ms(), "last_used", (json_int_t)0);
    if (json_object_set_new(state, "recovery", set) < 0)
        return -ENOMEM;
    *codes = json_incref(shown);
    return 0;
}

int factor_recovery_new(struct vault *v, const char *user, json_t **codes)
{
    _cleanup_json_ json_t *state = NULL;
    _cleanup_json_ json_t *shown = NULL;

    *codes = NULL;
    int r = factor_state_load(v, user, &state);
    if (r == 0)
        r = factor_state_new_codes(v, user, state, &shown);
    if (r == 0)
        r = factor_state_save(v, user, state);
    if (r == 0)
        *codes = json_incref(shown);
    return r;
}

/* --- Passphrases
 * ---------------------------------------------------------------------------------- */

int factor_passphrase_set(struct vault *v, const char *user, const char *hash)
{
    _cleanup_json_ json_t *state = NULL;

    if (strnlen(hash, FACTOR_HASH_MAX) >= FACTOR_HASH_MAX || strncmp(hash, "$argon2id$", 10) != 0)
        return -EINVAL;
    int r = factor_state_load(v, user, &state);
    if (r < 0)
        return r;
    json_t *p = json_pack("{s:s, s:I, s:I}", "hash", hash, "created", (json_int_t)clock_wall_ms(),
                          "last_used", (json_int_t)0);
    if (json_object_set_new(state, "passphrase", p) < 0)
        return -ENOMEM;
    return factor_state_save(v, user, state);
}

/* A hash of nothing, in the form of a real one, so that checking it costs the same. */
static int made_up_hash(struct vault *v, const char *user, char out[FACTOR_HASH_MAX])
{
    uint8_t salt[VAULT_HASH_LEN], hash[VAULT_HASH_LEN];
    char salt64[32], hash64[64];

    int r = vault_hash(v, "made-up salt", user, strlen(user), salt);
    if (r == 0)
        r = vault_hash(v, "made-up hash", user, strlen(user), hash);
    if (r < 0)
        return r;
    sodium_bin2base64(salt64, sizeof(salt64), salt, crypto_pwhash_SALTBYTES,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    sodium_bin2base64(hash64, sizeof(hash64), hash, sizeof(hash),
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    int n = snprintf(out, FACTOR_HASH_MAX, "$argon2id$v=19$m=%u,t=%d,p=1$%s$%s",
                     PASSPHRASE_MEM / 1024U, PASSPHRASE_OPS, salt64, hash64);
    return n > 0 && n < FACTOR_HASH_MAX ? 0 : -EINVAL;
}

int factor_passphrase_get(struct vault *v, const char *user, char hash[FACTOR_HASH_MAX], bool *real)
{
    _cleanup_json_ json_t *state = NULL;

    *real = false;
    int r = made_up_hash(v, user, hash); /* always made, so that it costs the same */
    if (r == 0)
        r = factor_state_load(v, user, &state);
    if (r < 0)
        return r;
    const json_t *p = json_object_get(state, "passphrase");
    const char *kept = json_str(p, "hash");
    if (!p)
        return 0;
    if (!kept || strlen(kept) >= FACTOR_HASH_MAX)
        return -EBADMSG;
    memset(hash, 0, FACTOR_HASH_MAX);
    memcpy(hash, kept, strlen(kept));
    *real = true;
    return 0;
}

int factor_passphrase_hash(const char *passphrase, char hash[FACTOR_HASH_MAX])
{
    _Static_assert(FACTOR_HASH_MAX >= crypto_pwhash_STRBYTES, "a hash fits");
    size_t n = strnlen(passphrase, FACTOR_PASSPHRASE_MAX + 1);

    if (n > FACTOR_PASSPHRASE_MAX)
        return -EINVAL;
    return crypto_pwhash_str(hash, passphrase, n, PASSPHRASE_OPS, PASSPHRASE_MEM) < 0 ? -ENOMEM : 0;
}

bool factor_passphrase_matches(const char hash[FACTOR_HASH_MAX], const char *passphrase)
{
    size_t n = strnlen(passphrase, FACTOR_PASSPHRASE_MAX + 1);
    size_t used = n > FACTOR_PASSPHRASE_MAX ? FACTOR_PASSPHRASE_MAX : n;
    bool same = crypto_pwhash_str_verify(hash, passphrase, used) == 0;

    return same && used == n;
}

int factor_passphrase_ok(const char *passphrase, char *why, size_t whylen)
{
    size_t n = strnlen(passphrase, FACTOR_PASSPHRASE_MAX + 1), points = 0;

    if (n > FACTOR_PASSPHRASE_MAX)
        return refuse(why, whylen, "the passphrase is longer than 256 bytes");
    if (!encode_is_utf8(passphrase, n))
        return refuse(why, whylen, "the passphrase is not UTF-8");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)passphrase[i];
        /* C0 and DEL; C1 is 0xc2 and then below 0xa0 */
        if (c < ' ' || c == 0x7f || (c == 0xc2 && (unsigned char)passphrase[i + 1] < 0xa0))
            return refuse(why, whylen, "the passphrase holds a control character");
        points += (c & 0xc0) != 0x80;
    }
    if (points < FACTOR_PASSPHRASE_MIN)
        return refuse(why, whylen, "the passphrase is shorter than 12 characters");
    return 0;
}

/* --- Taking away
 * ---------------------------------------------------------------------------------- */

int factor_remove(struct vault *v, const char *user, enum factor f)
{
    _cleanup_json_ json_t *state = NULL;
    const char *member = member_of(f);

    int r = member ? factor_state_load(v, user, &state) : -EINVAL;
    if (r < 0)
        return r;
    bool gone = json_object_del(state, member) == 0;
    if (f == FACTOR_TOTP)
        gone |= json_object_del(state, "totp_new") == 0;
    if (!gone)
        return FACTOR_E_NONE;
    /* Codes stand in for another factor: without one they would be the only way in. */
    if ((mask_of(state) & ~(unsigned)FACTOR_RECOVERY) == 0)
        (void)json_object_del(state, "recovery");
    return factor_state_save(v, user, state);
}

int factor_reset(struct vault *v, const char *user)
{
    int r = storable(user) ? record_delete(v, RECORD_FACTOR, user) : 0;
    return r < 0 ? r : 0;
}

int factor_touch(struct vault *v, const char *user, enum factor f, int64_t now_s)
{
    _cleanup_json_ json_t *state = NULL;
    const char *member = member_of(f);

    int r = member ? factor_state_load(v, user, &state) : -EINVAL;
    if (r < 0)
        return r;
    json_t *o = json_object_get(state, member);
    if (!o)
        return FACTOR_E_NONE;
    r = json_set_int(o, "last_used", now_s * 1000);
    return r < 0 ? r : factor_state_save(v, user, state);
}
