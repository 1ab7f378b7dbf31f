/* Checking typed answers. Whoever asks, the same is computed: the codes of every step in the
 * window, or one keyed hash compared with ten. Only what is done with the result differs. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/factor_state.h"

#define ANSWER_MAX 64 /* of what is typed, spaces and dashes included */

/* The answer in lower case without spaces and dashes; "" when it can't be one. */
struct answer {
    char text[ANSWER_MAX + 1];
    bool digits;
};

static void answer_clear(struct answer *a)
{
    mem_wipe(a, sizeof(*a));
}

static void tidy(const char *typed, struct answer *out)
{
    size_t n = strnlen(typed, ANSWER_MAX + 1), used = 0;

    *out = (struct answer){.digits = true};
    if (n > ANSWER_MAX)
        return;
    for (size_t i = 0; i < n; i++) {
        char c = typed[i];
        if (c == ' ' || c == '-')
            continue;
        out->digits &= c >= '0' && c <= '9';
        out->text[used++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
}

/* A secret for people who have none, always the same for one name. */
static int made_up_totp(struct vault *v, const char *user, struct totp *out)
{
    uint8_t hash[VAULT_HASH_LEN];

    *out = (struct totp){.digits = 6, .last_step = -1};
    out->algorithm = totp_algorithm("SHA1", &out->secret_len);
    int r = vault_hash(v, "made-up totp", user, strlen(user), hash);
    if (r == 0)
        memcpy(out->secret, hash, out->secret_len);
    mem_wipe(hash, sizeof(hash));
    return r;
}

/* The skew that the next code of this device will probably have. */
static int64_t learn(int64_t step, int64_t now_s)
{
    int64_t skew = step - now_s / TOTP_PERIOD;

    if (skew > FACTOR_SKEW_MAX)
        return FACTOR_SKEW_MAX;
    return skew < -FACTOR_SKEW_MAX ? -FACTOR_SKEW_MAX : skew;
}

static int use_step(json_t *t, int64_t step, int64_t now_s)
{
    int r = json_set_int(t, "step", step);
    if (r == 0)
        r = json_set_int(t, "skew", learn(step, now_s));
    return r < 0 ? r : json_set_int(t, "last_used", now_s * 1000);
}

static int check_totp(struct vault *v, const char *user, json_t *state, bool allowed,
                      const struct answer *a, int64_t now_s)
{
    _cleanup_(totp_clear) struct totp t = {0}, made_up = {0};
    json_t *kept = json_object_get(state, "totp");
    int64_t step = -1;

    int r = made_up_totp(v, user, &made_up);
    if (r == 0 && kept)
        r = factor_state_totp(kept, &t);
    if (r < 0)
        return r;
    r = totp_check(kept ? &t : &made_up, a->text, now_s, &step);
    if (r < 0)
        return r;
    if (!kept || !allowed)
        return FACTOR_E_WRONG;
    if (r != 0)
        return r == TOTP_E_USED ? FACTOR_E_USED : FACTOR_E_WRONG;
    r = use_step(kept, step, now_s);
    return r < 0 ? r : factor_state_save(v, user, state);
}

/* Index of the hash among the kept ones, or -1; always FACTOR_CODES comparisons. */
static int find_code(const json_t *hashes, const char hash[2 * VAULT_HASH_LEN + 1])
{
    static const char nothing[2 * VAULT_HASH_LEN + 1];
    int found = -1;

    for (int i = 0; i < FACTOR_CODES; i++) {
        const json_t *item = json_array_get(hashes, (size_t)i);
        bool whole = json_string_length(item) == 2 * VAULT_HASH_LEN;
        const char *kept = whole ? json_string_value(item) : nothing;
        if (mem_equal(kept, 2 * VAULT_HASH_LEN, hash, 2 * VAULT_HASH_LEN))
            found = i;
    }
    return found;
}

static int check_recovery(struct vault *v, const char *user, json_t *state, bool allowed,
                          const struct answer *a, int64_t now_s)
{
    json_t *set = json_object_get(state, "recovery");
    json_t *hashes = json_object_get(set, "hashes");
    char hash[2 * VAULT_HASH_LEN + 1];

    int r = factor_state_code_hash(v, user, a->text, hash);
    if (r < 0)
        return r;
    int at = find_code(hashes, hash);
    if (at < 0 || !allowed || strlen(a->text) != FACTOR_STATE_CODE)
        return FACTOR_E_WRONG;
    if (json_array_remove(hashes, (size_t)at) < 0)
        return -EIO;
    r = json_set_int(set, "last_used", now_s * 1000);
    return r < 0 ? r : factor_state_save(v, user, state);
}

int factor_check_code(struct vault *v, const char *user, unsigned allowed, const char *answer,
                      int64_t now_s, enum factor *which)
{
    _cleanup_json_ json_t *state = NULL;
    _cleanup_(answer_clear) struct answer a;

    tidy(answer, &a);
    enum factor kind = a.digits ? FACTOR_TOTP : FACTOR_RECOVERY;
    bool may = (allowed & (unsigned)kind) != 0;
    int r = factor_state_load(v, user, &state);
    if (r < 0)
        return r;
    r = a.digits ? check_totp(v, user, state, may, &a, now_s)
                 : check_recovery(v, user, state, may, &a, now_s);
    if (r == 0)
        *which = kind;
    return r;
}
