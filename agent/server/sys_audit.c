/* sys/sessions and sys/audit. */
#include <countersign/api.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/routes.h"
#include "vault/audit.h"

const struct json_field route_fields_audit_verify[] = {
    {.name = "lines", .kind = JSON_KIND_STRING, .required = true, .max = API_AUDIT_BATCH},
    {.name = "chain", .kind = JSON_KIND_OBJECT},
    {0},
};

/* --- Sessions
 * ---------------------------------------------------------------------------------------- */

struct listing {
    struct request *request;
    json_t *list;
    json_t *proofs;
};

static int add_proof(const struct proof *p, bool by_session, bool by_source _unused_, void *data)
{
    struct listing *x = data;
    if (!by_session)
        return 0;
    json_t *one = json_pack("{s:s, s:I}", "factor", factor_name(p->factor), "age",
                            (json_int_t)((clock_boot_ms() - p->boot_ms) / 1000));
    return json_array_append_new(x->proofs, one) < 0 ? -ENOMEM : 0;
}

static int add_session(const struct session *s, void *data)
{
    struct listing *x = data;
    struct request *r = x->request;
    char started[CLOCK_STAMP_LEN];
    int64_t leases = 0;
    if (!r->allowed && (!r->has_person || strcmp(s->user, r->user) != 0))
        return 0;
    clock_stamp(s->started_ms, 0, started);
    x->proofs = json_array();
    int e = session_proofs(r->agent->vault, s->id, s->user, NULL, NULL, add_proof, x);
    if (e == 0)
        e = lease_count_session(r->agent->leases, s->id, &leases);
    if (e < 0) {
        json_decref(x->proofs);
        return e;
    }
    const char *number = strrchr(s->id, '/');
    json_t *one = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:o, s:I}", "id",
                            number ? number + 1 : s->id, "user", s->user, "uid", (json_int_t)s->uid,
                            "service", s->service, "source", s->source[0] ? s->source : "local",
                            "tty", s->tty, "started", started, "leader", (json_int_t)s->leader,
                            "proofs", x->proofs, "leases", (json_int_t)leases);
    return json_array_append_new(x->list, one) < 0 ? -ENOMEM : 0;
}

int route_sessions(struct request *r)
{
    _cleanup_json_ json_t *list = json_array();
    struct listing x = {.request = r, .list = list};
    int e = list ? session_each(r->agent->vault, add_session, &x) : -ENOMEM;
    return e < 0 ? e : request_data(r, json_pack("{s:O}", "sessions", list));
}

/* --- Audit
 * ------------------------------------------------------------------------------------------- */

static json_t *chain_json(uint64_t seq, const uint8_t mac[VAULT_HASH_LEN])
{
    char hex[2 * VAULT_HASH_LEN + 1];
    encode_hex(mac, VAULT_HASH_LEN, hex);
    return json_pack("{s:I, s:s}", "seq", (json_int_t)seq, "mac", hex);
}

int route_audit_head(struct request *r)
{
    uint64_t seq;
    uint8_t mac[VAULT_HASH_LEN];
    int e = audit_head(r->agent->vault, &seq, mac);
    return e < 0 ? e : request_data(r, chain_json(seq, mac));
}

static int read_chain(const json_t *given, struct audit_chain *chain)
{
    size_t n = 0;
    *chain = (struct audit_chain){0};
    if (!json_is_object(given))
        return 0;
    int64_t seq = json_int(given, "seq", -1);
    if (seq < 0 ||
        encode_from_hex(json_str_or(given, "mac", ""), chain->mac, VAULT_HASH_LEN, &n) < 0 ||
        n != VAULT_HASH_LEN)
        return -EINVAL;
    chain->seq = (uint64_t)seq;
    chain->started = true;
    return 0;
}

/* Stateless: the caller carries the chain from batch to batch. */
int route_audit_verify(struct request *r)
{
    struct audit_chain chain;
    char why[300];
    int64_t checked = 0;
    const char *lines = json_str(r->body, "lines");
    if (read_chain(json_object_get(r->body, "chain"), &chain) < 0)
        return request_error(r, 400, "'chain' has a seq and a mac of 64 hex digits");
    int e = 0;
    for (const char *p = lines; *p && e == 0;) {
        size_t n = strcspn(p, "\n");
        e = n > 0 ? audit_check(r->agent->vault, &chain, p, n, why, sizeof(why)) : 0;
        checked++;
        p += n + (p[n] == '\n');
    }
    if (e < 0)
        return e;
    json_t *broken = e == AUDIT_E_BROKEN
                         ? json_pack("{s:I, s:I, s:s}", "line", (json_int_t)checked, "seq",
                                     (json_int_t)chain.seq + 1, "reason", why)
                         : json_null();
    return request_data(r, json_pack("{s:I, s:o, s:o}", "checked", (json_int_t)checked, "chain",
                                     chain_json(chain.seq, chain.mac), "broken", broken));
}
