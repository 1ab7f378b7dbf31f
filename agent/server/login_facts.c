/* Where a login comes from, what session it belongs to, and what has been proved in it. */
#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/login.h"
#include "server/request.h"
#include "server/rules.h"

/* The numeric form of an address, IPv4-mapped IPv6 as IPv4. "" = no remote host, "?" = a name:
 * names are never believed. */
static void take_source(const char *rhost, char *out, size_t n)
{
    struct in_addr v4;
    struct in6_addr v6;
    snprintf(out, n, "%s", rhost[0] ? "?" : "");
    if (inet_pton(AF_INET, rhost, &v4) == 1) {
        inet_ntop(AF_INET, &v4, out, (socklen_t)n);
    } else if (inet_pton(AF_INET6, rhost, &v6) == 1) {
        if (IN6_IS_ADDR_V4MAPPED(&v6))
            inet_ntop(AF_INET, v6.s6_addr + 12, out, (socklen_t)n);
        else
            inet_ntop(AF_INET6, &v6, out, (socklen_t)n);
    }
}

/* The SHA-256 of the first key that sshd says was proved: "publickey ssh-ed25519 AAAA…". */
static void take_key(const char *auth_info, char out[65])
{
    char blob[DIALOGUE_AUTH_INFO_MAX];
    uint8_t raw[DIALOGUE_AUTH_INFO_MAX], hash[crypto_hash_sha256_BYTES];
    size_t n = 0;
    char type[128];
    if (sscanf(auth_info, "publickey %127s %2559s", type, blob) != 2)
        return;
    if (encode_from_base64(blob, raw, sizeof(raw), &n) < 0)
        return;
    crypto_hash_sha256(hash, raw, n);
    encode_hex(hash, sizeof(hash), out);
}

void login_take_origin(struct login *l, const char *auth_info)
{
    take_source(l->user_socket ? "" : l->rhost, l->source, sizeof(l->source));
    /* Only sshd's word counts: elsewhere a user may plant the variable. */
    if (auth_info && !l->user_socket && strcmp(l->service, "sshd") == 0)
        take_key(auth_info, l->key);
}

bool login_is_within(const struct login *l)
{
    return l->ruser[0] && !l->rhost[0];
}

/* "local" is said by who lets somebody in at this host itself. sudo and su don't know where their
 * caller came from: outside of a recorded session nobody does. */
static const char *whence(const struct login *l)
{
    const char *unknown = login_is_within(l) ? "?" : l->source;
    return l->has_session ? l->session.source : unknown;
}

const char *login_guess_source(const struct login *l)
{
    const char *source = l->has_session ? l->session.source : l->source;
    return source[0] ? source : "local";
}

int login_find_session(struct login *l)
{
    char id[SESSION_ID_MAX];
    if (l->peer.audit_session == PEER_NO_SESSION || !l->known)
        return 0;
    session_make_id(l->peer.audit_session, id);
    int e = session_get(l->agent->vault, id, &l->session);
    l->has_session = e == 0 && l->session.uid == l->uid && session_alive(&l->session);
    return e < 0 ? e : 0;
}

struct list {
    struct decide_proof *proofs;
    size_t n;
    int64_t now;
};

static int add(const struct proof *p, bool by_session, bool by_source, void *data)
{
    struct list *x = data;
    /* Scope "source" is sshd's alone: a proof at sudo says nothing of who connects from there. */
    by_source = by_source && strcmp(p->service, "sshd") == 0;
    if (x->n < LOGIN_PROOFS && (by_session || by_source))
        x->proofs[x->n++] = request_proof(p, x->now, by_session, by_source);
    return 0;
}

/* The proof behind the handle that the auth hook left: this login's own, whatever process asks. */
static int add_handle(struct login *l, struct list *x)
{
    struct proof p;
    if (!l->handle[0])
        return 0;
    int e = session_handle_take(l->agent->vault, l->handle, l->user, l->service, clock_wall_ms(),
                                true, &p);
    if (e == 0)
        e = add(&p, true, true, x);
    return e < 0 ? e : 0;
}

static int add_recorded(struct login *l, struct list *x)
{
    bool sshd = strcmp(l->service, "sshd") == 0 && !l->user_socket;
    bool numeric = l->source[0] && strcmp(l->source, "?") != 0;
    const char *source = sshd && numeric ? l->source : NULL;
    return session_proofs(l->agent->vault, l->has_session ? l->session.id : NULL, l->user, source,
                          l->key, add, x);
}

int login_facts(struct login *l, const enum factor *extra, struct decide_facts *f,
                struct decide_proof *proofs, char *exempt, size_t exempt_len)
{
    struct list x = {.proofs = proofs, .now = clock_boot_ms()};
    const char *source = whence(l);
    *f = (struct decide_facts){
        .user = l->known ? l->user : NULL,
        .has_uid = l->known,
        .uid = l->uid,
        .groups = (const char *const *)l->groups,
        .n_groups = l->n_groups,
        .assurance = l->peer.assurance,
        .has_source = true,
        .source = strcmp(source, "?") == 0 ? NULL : source,
        .proofs = proofs,
        .now = clock_wall_s(),
        .zone_offset = rules_zone_offset,
    };
    if (extra)
        proofs[x.n++] = (struct decide_proof){.factor = *extra, .session = true, .source = true};
    int e = lockout_facts(l->agent, f, l->locked);
    if (e == 0)
        e = factor_enrolled(l->agent->vault, l->user, &f->enrolled);
    if (e == 0)
        e = add_handle(l, &x);
    if (e == 0)
        e = add_recorded(l, &x);
    f->n_proofs = x.n;
    rules_exemption(l->agent->rules, f, exempt, exempt_len);
    return e < 0 ? e : 0;
}
