#include "server/quorum.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "server/pipeline.h"
#include "vault/shamir.h"

struct quorum *quorum_new(void)
{
    struct quorum *q = calloc(1, sizeof(*q));
    if (q)
        encode_random_uuid(q->nonce);
    return q;
}

void quorum_free(struct quorum *q)
{
    if (q)
        mem_free(q, sizeof(*q));
}

void quorum_reset(struct quorum *q)
{
    mem_wipe(q->share, sizeof(q->share));
    q->n = 0;
}

/* --- Giving ------------------------------------------------------------------------------------
 */

static int decode(const char *text, uint8_t out[QUORUM_SHARE_LEN])
{
    size_t n = 0;
    int e = -EBADMSG;
    if (strlen(text) == 2 * QUORUM_SHARE_LEN)
        e = encode_from_hex(text, out, QUORUM_SHARE_LEN, &n);
    if (e < 0)
        e = encode_from_base64(text, out, QUORUM_SHARE_LEN, &n);
    return e == 0 && n == QUORUM_SHARE_LEN ? 0 : QUORUM_E_TEXT;
}

static bool seen(const struct quorum *q, const uint8_t share[QUORUM_SHARE_LEN])
{
    bool same = false;
    for (unsigned i = 0; i < q->n; i++)
        same |= mem_equal(q->share[i], QUORUM_SHARE_LEN, share, QUORUM_SHARE_LEN);
    return same;
}

int quorum_add(struct quorum *q, const char *text)
{
    uint8_t share[QUORUM_SHARE_LEN];
    int e = decode(text, share);
    if (e == 0 && q->n < QUORUM_SHARES_MAX && !seen(q, share))
        memcpy(q->share[q->n++], share, QUORUM_SHARE_LEN);
    mem_wipe(share, sizeof(share));
    return e;
}

int quorum_join(const struct quorum *q, unsigned t, uint8_t out[VAULT_KEY_LEN])
{
    if (!t || q->n < t)
        return -EINVAL;
    return shamir_join(&q->share[0][0], QUORUM_SHARE_LEN, t, out);
}

unsigned quorum_needed(const struct agent *a)
{
    unsigned shares, threshold;
    vault_seal_config(a->vault, &shares, &threshold);
    return threshold;
}

bool quorum_is_ours(const struct agent *a, const struct quorum *q)
{
    uint8_t root[VAULT_KEY_LEN];
    bool ours = quorum_join(q, quorum_needed(a), root) == 0 && vault_root_is(a->vault, root);
    mem_wipe(root, sizeof(root));
    return ours;
}

int quorum_take(struct request *r, struct quorum *q)
{
    if (strcmp(json_str_or(r->body, "nonce", ""), q->nonce) != 0)
        return pipeline_refuse(request_error(r, 400, "'nonce' must be this attempt's"));
    if (quorum_add(q, json_str_or(r->body, "key", "")) == 0)
        return 0;
    return pipeline_refuse(request_error(
        r, 400, "'key' must be one share, in hex or base64 (%d bytes)", QUORUM_SHARE_LEN));
}

/* --- Splitting ---------------------------------------------------------------------------------
 */

static int add_share(json_t *hex, json_t *base64, const uint8_t share[QUORUM_SHARE_LEN])
{
    char text[2 * QUORUM_SHARE_LEN + 1];
    _cleanup_buf_ struct buf b64 = BUF_INIT(256);
    encode_hex(share, QUORUM_SHARE_LEN, text);
    encode_base64(&b64, share, QUORUM_SHARE_LEN);
    int e = buf_error(&b64);
    if (e == 0 && (json_array_append_new(hex, json_string(text)) < 0 ||
                   json_array_append_new(base64, json_string(buf_str(&b64))) < 0))
        e = -ENOMEM;
    mem_wipe(text, sizeof(text));
    return e;
}

int quorum_split(const uint8_t root[VAULT_KEY_LEN], unsigned n, unsigned t, bool for_recovery,
                 json_t *out)
{
    static const char *const names[] = {"keys", "recovery_keys"};
    uint8_t shares[QUORUM_SHARES_MAX * QUORUM_SHARE_LEN];
    _cleanup_json_ json_t *hex = json_array();
    _cleanup_json_ json_t *base64 = json_array();
    int e = hex && base64 ? shamir_split(root, VAULT_KEY_LEN, n, t, shares) : -ENOMEM;
    for (unsigned i = 0; i < n && e == 0; i++)
        e = add_share(hex, base64, shares + i * QUORUM_SHARE_LEN);
    mem_wipe(shares, sizeof(shares));
    for (size_t i = 0; i < (for_recovery ? 2 : 1) && e == 0; i++) {
        char b64[32];
        snprintf(b64, sizeof(b64), "%s_base64", names[i]);
        if (json_object_set(out, names[i], hex) < 0 || json_object_set(out, b64, base64) < 0)
            e = -ENOMEM;
    }
    return e;
}

bool quorum_sizes_ok(unsigned n, unsigned t)
{
    return n >= 1 && n <= QUORUM_SHARES_MAX && t <= n && (t >= 2 || (n == 1 && t == 1));
}

/* --- Ending ------------------------------------------------------------------------------------
 */

void quorum_end_unsealing(struct agent *a)
{
    quorum_free(a->unsealing);
    a->unsealing = NULL;
}

void quorum_end_rooting(struct agent *a)
{
    if (!a->rooting)
        return;
    quorum_free(a->rooting->given);
    mem_free(a->rooting, sizeof(*a->rooting));
    a->rooting = NULL;
}

void quorum_end_rekeying(struct agent *a)
{
    if (!a->rekeying)
        return;
    quorum_free(a->rekeying->given);
    quorum_free(a->rekeying->check);
    mem_free(a->rekeying, sizeof(*a->rekeying));
    a->rekeying = NULL;
}
