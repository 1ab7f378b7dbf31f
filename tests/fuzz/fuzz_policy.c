/* Fuzzes what administrators write and callers send: policy text, a binding, a path, names.
 *
 *   clang -fsanitize=fuzzer,address -g -std=gnu17 -D_GNU_SOURCE -Iagent -Iinclude \
 *       tests/fuzz/fuzz_policy.c agent/base/?*.c agent/policy/?*.c -ljansson -lsodium -lpthread
 *
 * The input is cut at 0xff bytes (which no UTF-8 holds) into policy, binding, path, user, source,
 * body. Besides memory errors it looks for decisions that contradict themselves. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/decide.h"

#define PIECES 6
#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    char *text[PIECES]; /* NUL-terminated copies, "" where missing */
    size_t len[PIECES];
};

static void cut(struct input *in, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < PIECES; i++) {
        const uint8_t *end = size > 0 ? memchr(data, 0xff, size) : NULL;
        size_t n = end && i < PIECES - 1 ? (size_t)(end - data) : size;

        in->text[i] = mem_dup(size > 0 ? (const void *)data : "", n);
        in->len[i] = n;
        MUST(in->text[i]);
        data += n + (n < size);
        size -= n + (n < size);
    }
}

static int offset_of(const char *zone, int64_t when, int *offset)
{
    (void)when;
    *offset = (int)strlen(zone) * 900;
    return zone[0] == 'X' ? -ENOENT : 0;
}

static void try_params(const struct acl_result *r, const struct input *in)
{
    _cleanup_json_ json_t *body = NULL;
    char why[64] = "";

    if (json_parse(in->text[5], in->len[5], &body, why, sizeof(why)) == 0) {
        int e = acl_check_params(r, body, why, sizeof(why));

        MUST(e == 0 || (e == -EACCES && why[0]));
    }
}

/* What is kept of a binding must be accepted again and stay as it is. */
static void try_normal_form(const struct binding *b)
{
    _cleanup_json_ json_t *one = binding_to_json(b), *two = NULL;
    _cleanup_(binding_freep) struct binding *again = NULL;
    char why[256];

    MUST(one && binding_parse("again", one, NULL, &again, why, sizeof(why)) == 0);
    two = binding_to_json(again);
    MUST(json_equal(one, two));
}

static void look_at(struct decision *d, bool api, unsigned need)
{
    MUST(d->why[0] && strlen(d->why) < sizeof(d->why));
    MUST(!d->trace || strcmp(json_str(d->trace, "why"), d->why) == 0);
    MUST(!(d->acl.caps & ACL_DENY) || d->acl.caps == ACL_DENY);
    MUST((d->verdict == DECIDE_CHALLENGE) == (d->factors != 0));
    if (api && d->verdict == DECIDE_ALLOW)
        MUST((d->acl.caps & need) && d->binding[0] && d->policy[0] && d->rule[0]);
    if (api)
        MUST(d->verdict == DECIDE_ALLOW || d->verdict == DECIDE_DENY);
    MUST(!d->mfa_would_help || d->verdict == DECIDE_DENY);
    decision_clear(d);
}

static void try_decisions(const struct decide_rules *rules, const struct input *in)
{
    static const char *const groups[] = {"dba", "staff"};
    static const unsigned needs[] = {ACL_READ, ACL_CREATE | ACL_UPDATE, ACL_LIST};
    const struct decide_proof proof = {FACTOR_TOTP, (int64_t)in->len[3] * 60, true, true};
    struct decide_facts f = {.user = in->len[3] ? in->text[3] : NULL,
                             .has_uid = in->len[3] % 2,
                             .uid = (uint32_t)in->len[3],
                             .groups = groups,
                             .n_groups = 2,
                             .assurance = ASSURANCE_UID,
                             .has_source = true,
                             .source = in->text[4],
                             .proofs = &proof,
                             .n_proofs = in->len[4] % 2,
                             .enrolled = FACTOR_TOTP,
                             .exempt = in->len[4] % 3 == 0,
                             .now = 1795428000 + (int64_t)in->len[4] * 3600,
                             .zone_offset = offset_of};
    struct decision d;
    json_t *names;

    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        decide_path(rules, &f, in->text[2], needs[i], i == 1, i == 0, &d);
        if (i == 0)
            try_params(&d.acl, in);
        look_at(&d, true, needs[i]);
    }
    decide_pam(rules, &f, in->text[2], DECIDE_PAM_AUTH, true, &d);
    MUST(d.verdict != DECIDE_IGNORE);
    look_at(&d, false, 0);
    decide_pam(rules, &f, "sshd", DECIDE_PAM_ACCOUNT, false, &d);
    look_at(&d, false, 0);
    names = decide_policies(rules, &f);
    MUST(names);
    json_decref(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(acl_freep) struct acl_policy *policy = NULL;
    _cleanup_(binding_freep) struct binding *binding = NULL;
    _cleanup_json_ json_t *obj = NULL;
    struct decide_rules rules = {0};
    struct input in;
    char why[128] = "";
    int r;

    json_init();
    cut(&in, data, size);
    r = acl_parse("p", in.text[0], in.len[0], &policy, why, sizeof(why));
    MUST(r == 0 || (r == -EINVAL && why[0]));
    if (policy) {
        struct acl_use uses[] = {{policy, true}, {policy, false}};
        struct acl_result alone, both;

        acl_check(uses, 2, in.text[2], &both);
        acl_check(uses + 1, 1, in.text[2], &alone);
        MUST(alone.caps == both.caps); /* its denials count already */
        acl_check(uses, 1, in.text[2], &alone);
        MUST((alone.caps & ~(unsigned)ACL_DENY) == 0);
    }
    if (json_parse(in.text[1], in.len[1], &obj, why, sizeof(why)) == 0) {
        why[0] = '\0';
        r = binding_parse("b", obj, NULL, &binding, why, sizeof(why));
        MUST(r == 0 || (r == -EINVAL && why[0]));
    }
    if (binding)
        try_normal_form(binding);
    rules.bindings = (const struct binding *const *)&binding;
    rules.n_bindings = binding ? 1 : 0;
    rules.policies = (const struct acl_policy *const *)&policy;
    rules.n_policies = policy ? 1 : 0;
    try_decisions(&rules, &in);
    for (size_t i = 0; i < PIECES; i++)
        mem_free_str(in.text[i]);
    return 0;
}
