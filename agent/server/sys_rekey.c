/* sys/rekey and sys/rekey-recovery-key: new shares. sys/reseal: a new unseal key.
 *
 * The shares are those of the root key, whichever seal there is, so both of Vault's families of
 * paths do the same here, but that a store sealed by shares has no recovery keys. The old shares
 * authorise; then there is a new root key, and the old ones open nothing any more. With
 * require_verification the new shares are handed out first, and nothing is changed before enough of
 * them were given back: so none are lost with an answer that did not arrive.
 *
 * As with sys/generate-root, root on this host must bring the shares; each step is an alert. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "server/pipeline.h"
#include "server/quorum.h"
#include "server/routes.h"

const struct json_field route_fields_rekey[] = {
    {.name = "secret_shares", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "secret_threshold", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "stored_shares", .kind = JSON_KIND_INT},
    {.name = "pgp_keys", .kind = JSON_KIND_STRINGS},
    {.name = "backup", .kind = JSON_KIND_BOOL},
    {.name = "require_verification", .kind = JSON_KIND_BOOL},
    {0},
};

const struct json_field route_fields_reseal[] = {
    {.name = "credential", .kind = JSON_KIND_STRING, .required = true, .max = 128},
    {0},
};

/* 0, or 1 when an error answer stands in r, -errno. */
static int check_open(struct request *r)
{
    bool recovery = strncmp(r->path, "sys/rekey-recovery-key/", 23) == 0;
    int e = request_unsealed(r);
    if (e != 0 || !recovery || vault_seal_kind(r->agent->vault) == VAULT_SEAL_HOST)
        return e;
    return pipeline_refuse(request_error(
        r, 400, "this store is sealed by its shares and has no recovery keys: use sys/rekey"));
}

static json_t *status(const struct agent *a)
{
    const struct quorum_rekeying *k = a->rekeying;
    return json_pack("{s:b, s:s, s:i, s:i, s:i, s:i, s:n, s:b, s:b, s:s}", "started", k != NULL,
                     "nonce", k ? k->given->nonce : "", "t", k ? (int)k->t : 0, "n",
                     k ? (int)k->n : 0, "progress", k ? (int)k->given->n : 0, "required",
                     (int)quorum_needed(a), "pgp_fingerprints", "backup", 0,
                     "verification_required", k && k->verify, "verification_nonce",
                     k && k->check ? k->check->nonce : "");
}

int route_rekey_status(struct request *r)
{
    return request_data(r, status(r->agent));
}

/* --- Starting ----------------------------------------------------------------------------------
 */

static int check_wish(struct request *r, unsigned n, unsigned t)
{
    int e;
    if (json_array_size(json_object_get(r->body, "pgp_keys")) ||
        json_bool(r->body, "backup", false))
        e = request_error(r, 400, "'pgp_keys' and 'backup' are not supported");
    else if (r->agent->rekeying)
        e = request_error(r, 400,
                          "new shares are being made already: go on with it (countersign "
                          "operator rekey), or cancel it first (-cancel)");
    else if (!quorum_sizes_ok(n, t))
        e = request_error(r, 400,
                          "'secret_threshold' must be at least 2 and at most "
                          "'secret_shares' (or both 1)");
    else
        return 0;
    return e < 0 ? e : 1;
}

int route_rekey_start(struct request *r)
{
    struct agent *a = r->agent;
    unsigned n = (unsigned)json_int(r->body, "secret_shares", 0);
    unsigned t = (unsigned)json_int(r->body, "secret_threshold", 0);
    int e = check_open(r);
    if (e == 0)
        e = check_wish(r, n, t);
    if (e != 0)
        return e < 0 ? e : 0;
    a->rekeying = calloc(1, sizeof(*a->rekeying));
    if (!a->rekeying)
        return -ENOMEM;
    *a->rekeying = (struct quorum_rekeying){
        .n = n, .t = t, .verify = json_bool(r->body, "require_verification", false)};
    a->rekeying->given = quorum_new();
    if (!a->rekeying->given) {
        quorum_end_rekeying(a);
        return -ENOMEM;
    }
    return request_data(r, status(a));
}

int route_rekey_cancel(struct request *r)
{
    quorum_end_rekeying(r->agent);
    r->status = 204;
    return 0;
}

/* --- The old shares ----------------------------------------------------------------------------
 */

static json_t *new_shares(const struct agent *a)
{
    const struct quorum_rekeying *k = a->rekeying;
    bool recovery = vault_seal_kind(a->vault) == VAULT_SEAL_HOST;
    _cleanup_json_ json_t *out =
        json_pack("{s:s, s:b, s:n, s:b, s:b, s:s}", "nonce", k->given->nonce, "complete", 1,
                  "pgp_fingerprints", "backup", 0, "verification_required", k->verify,
                  "verification_nonce", k->check->nonce);
    if (!out || quorum_split(k->root, k->n, k->t, recovery, out) < 0)
        return NULL;
    return json_incref(out);
}

/* The record first, then the deed. In the turn of the record others may have sealed the agent, and
 * the attempt is gone: so what is needed of it is kept aside. */
static int replace(struct request *r)
{
    struct agent *a = r->agent;
    unsigned n = a->rekeying->n, t = a->rekeying->t;
    uint8_t root[VAULT_KEY_LEN];
    memcpy(root, a->rekeying->root, sizeof(root));
    int e = request_alert_now(r, "the root key is replaced, the shares of before are void");
    if (e == 0)
        e = vault_rekey(a->vault, root, n, t);
    mem_wipe(root, sizeof(root));
    if (e != VAULT_E_NO_WRAP)
        return e;
    return request_error(
        r, 400,
        "nothing was changed: this store was made by an earlier version, and its unseal key has "
        "not opened it since; restart the agent (systemctl restart countersignd), or make a new "
        "unseal key (countersign operator reseal), and try again");
}

static int hand_out(struct request *r)
{
    int e = request_alert_now(r, "new shares were handed out, not yet in force");
    return e == 0 && !r->agent->rekeying ? -EACCES : e; /* sealed meanwhile: they never will be */
}

static int make_shares(struct request *r)
{
    struct quorum_rekeying *k = r->agent->rekeying;
    k->check = quorum_new();
    if (!k->check)
        return -ENOMEM;
    randombytes_buf(k->root, sizeof(k->root));
    json_t *out = new_shares(r->agent); /* before the deed: afterwards nothing may fail */
    if (!out)
        return -ENOMEM;
    int e = k->verify ? hand_out(r) : replace(r);
    if (e < 0 || request_refused(r)) {
        json_decref(out);
        return e;
    }
    return request_data(r, out);
}

static int check_shares(struct request *r)
{
    struct agent *a = r->agent;
    if (!quorum_is_ours(a, a->rekeying->given)) {
        quorum_reset(a->rekeying->given);
        request_alert(r, "wrong shares were given for new ones");
        return request_error(r, 400, "these shares are not this store's; give them all again");
    }
    bool waits = a->rekeying->verify;
    int e = make_shares(r);
    if (e < 0 || request_refused(r) || !waits)
        quorum_end_rekeying(a);
    return e;
}

int route_rekey_update(struct request *r)
{
    struct agent *a = r->agent;
    int e = check_open(r);
    if (e != 0)
        return e < 0 ? e : 0;
    if (!a->rekeying)
        return request_error(r, 400,
                             "no new shares are being made: start with "
                             "\"countersign operator rekey -init\"");
    if (a->rekeying->check)
        return request_error(r, 400,
                             "the new shares were handed out already: give them back to "
                             "sys/rekey/verify");
    e = quorum_take(r, a->rekeying->given);
    if (e != 0)
        return e < 0 ? e : 0;
    return a->rekeying->given->n < quorum_needed(a) ? request_data(r, status(a)) : check_shares(r);
}

/* --- The new shares, given back ----------------------------------------------------------------
 */

static json_t *verify_status(const struct agent *a)
{
    const struct quorum_rekeying *k = a->rekeying;
    bool started = k && k->check;
    return json_pack("{s:s, s:b, s:i, s:i, s:i}", "nonce", started ? k->check->nonce : "",
                     "started", started, "t", started ? (int)k->t : 0, "n", started ? (int)k->n : 0,
                     "progress", started ? (int)k->check->n : 0);
}

int route_rekey_verify_status(struct request *r)
{
    return request_data(r, verify_status(r->agent));
}

static int verified(struct request *r)
{
    struct agent *a = r->agent;
    struct quorum_rekeying *k = a->rekeying;
    uint8_t root[VAULT_KEY_LEN];
    bool right = quorum_join(k->check, k->t, root) == 0 &&
                 mem_equal(root, sizeof(root), k->root, sizeof(k->root));
    mem_wipe(root, sizeof(root));
    if (!right) {
        quorum_reset(k->check);
        return request_error(r, 400,
                             "these are not the new shares; give them all again (the old "
                             "ones are still in force)");
    }
    json_t *out = json_pack("{s:s, s:b}", "nonce", k->check->nonce, "complete", 1);
    int e = out ? replace(r) : -ENOMEM;
    quorum_end_rekeying(a);
    if (e < 0 || request_refused(r)) {
        json_decref(out);
        return e;
    }
    return request_data(r, out);
}

int route_rekey_verify(struct request *r)
{
    struct agent *a = r->agent;
    int e = check_open(r);
    if (e != 0)
        return e < 0 ? e : 0;
    if (!a->rekeying || !a->rekeying->check)
        return request_error(r, 400, "no new shares wait to be given back");
    e = quorum_take(r, a->rekeying->check);
    if (e != 0)
        return e < 0 ? e : 0;
    return a->rekeying->check->n < a->rekeying->t ? request_data(r, verify_status(a)) : verified(r);
}

/* Begins giving back anew, as Vault: the shares stay, the nonce is another one. */
int route_rekey_verify_restart(struct request *r)
{
    struct quorum_rekeying *k = r->agent->rekeying;
    if (!k || !k->check)
        return request_error(r, 400, "no new shares wait to be given back");
    quorum_reset(k->check);
    encode_random_uuid(k->check->nonce);
    return request_data(r, verify_status(r->agent));
}

/* --- A new unseal key --------------------------------------------------------------------------
 */

static int check_host_seal(struct request *r)
{
    int e = check_open(r);
    if (e != 0 || vault_seal_kind(r->agent->vault) == VAULT_SEAL_HOST)
        return e;
    return pipeline_refuse(
        request_error(r, 400,
                      "this store is sealed by its shares and has no unseal key: for new "
                      "shares: countersign operator rekey -init"));
}

/* From here on both unseal keys open the store. */
int route_reseal_start(struct request *r)
{
    uint8_t key[VAULT_KEY_LEN];
    _cleanup_buf_ struct buf text = BUF_INIT(128);
    int e = check_host_seal(r);
    if (e != 0)
        return e < 0 ? e : 0;
    randombytes_buf(key, sizeof(key));
    encode_base64(&text, key, sizeof(key));
    e = buf_error(&text);
    if (e == 0)
        e = request_alert_now(r, "a new unseal key is made");
    if (e == 0)
        e = vault_reseal_begin(r->agent->vault, key);
    mem_wipe(key, sizeof(key));
    return e < 0 ? e : request_data(r, json_pack("{s:s}", "unseal_key", buf_str(&text)));
}

/* The new one is brought back as a proof that it was kept: from here on it alone opens it. */
int route_reseal_finish(struct request *r)
{
    uint8_t key[VAULT_KEY_LEN];
    size_t n = 0;
    int e = check_host_seal(r);
    if (e != 0)
        return e < 0 ? e : 0;
    e = encode_from_base64(json_str_or(r->body, "credential", ""), key, sizeof(key), &n);
    e = e == 0 && n == sizeof(key) ? vault_reseal_check(r->agent->vault, key) : VAULT_E_WRONG_KEY;
    if (e == 0)
        e = request_alert_now(r, "the unseal key is replaced, the one of before is void");
    if (e == 0)
        e = vault_reseal_finish(r->agent->vault, key);
    mem_wipe(key, sizeof(key));
    if (e == VAULT_E_WRONG_KEY)
        return request_error(r, 400,
                             "this is not the new unseal key; the one of before is still "
                             "good");
    return e < 0 ? e : request_data(r, json_pack("{s:b}", "complete", 1));
}

int route_reseal_cancel(struct request *r)
{
    int e = check_host_seal(r);
    if (e != 0)
        return e < 0 ? e : 0;
    r->status = 204;
    return vault_reseal_cancel(r->agent->vault);
}
