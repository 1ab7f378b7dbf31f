#include "server/start.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "server/mount.h"
#include "server/rules.h"

static const char operator_policy[] =
    "# The operators' policy: everything. Made by \"operator init\".\n"
    "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", "
    "\"list\", "
    "\"sudo\"] }\n";

static json_t *operator_binding(const char *principal)
{
    return json_pack("{s:[s], s:[s], s:{s:s}}", "principals", principal, "policies", "operator",
                     "mfa", "max_age", "1h");
}

int start_operator_ok(const char *principal, char *why, size_t whylen)
{
    struct binding *b = NULL;
    if (!principal)
        return 0;
    _cleanup_json_ json_t *obj = operator_binding(principal);
    int e = obj ? binding_parse("operator", obj, NULL, &b, why, whylen) : -ENOMEM;
    binding_free(b);
    return e == 0 ? 0 : 1;
}

struct first {
    struct agent *agent;
    const char *operator;
    char *token;
    bool dev;
    int error;
};

int start_root_token(struct vault *v, char token[TOKEN_TEXT_MAX])
{
    char why[128];
    _cleanup_json_ json_t *policies = json_pack("[s]", "root");
    if (!policies)
        return -ENOMEM;
    const struct token_spec spec = {
        .policies = policies, .display_name = "root", .path = "auth/token/root", .root = true};
    struct token t = {0};
    bool shortened;
    int e = token_create(v, &spec, clock_lease_ms(), token, &t, &shortened, why, sizeof(why));
    token_clear(&t);
    return e > 0 ? -EINVAL : e;
}

static int make_operator(struct first *f, struct effects *effects)
{
    struct agent *a = f->agent;
    char why[256];
    _cleanup_json_ json_t *binding = operator_binding(f->operator);
    if (!binding)
        return -ENOMEM;
    int e = rules_policy_put(a->rules, a->vault, effects, "operator", operator_policy, why,
                             sizeof(why));
    if (e == 0)
        e = rules_binding_put(a->rules, a->vault, effects, "operator", binding, why, sizeof(why));
    return e > 0 ? -EINVAL : e;
}

static int mount_secret(struct first *f, struct effects *effects)
{
    char why[256];
    if (mounts_find(f->agent->mounts, "secret/"))
        return 0; /* the start before this one was cut short */
    _cleanup_json_ json_t *options = json_pack("{s:s}", "version", "2");
    if (!options)
        return -ENOMEM;
    int e = mounts_enable(f->agent->mounts, f->agent->vault, effects, "secret", "kv",
                          "key/value secret storage", options, 0, 0, why, sizeof(why));
    return e > 0 ? -EINVAL : e;
}

static int first_turn(void *data)
{
    struct first *f = data;
    struct effects *effects = turn_effects(f->agent->turn);
    int e = rules_defaults(f->agent->vault);
    if (e == 0 && f->dev)
        e = mount_secret(f, effects);
    if (e == 0)
        e = f->operator? make_operator(f, effects) : start_root_token(f->agent->vault, f->token);
    return e;
}

static void first_done(void *data, int error)
{
    ((struct first *)data)->error = error;
}

static int run_first(struct first *f)
{
    int e = turn_add(f->agent->turn, TURN_API, first_turn, first_done, f);
    if (e < 0)
        return e;
    f->error = -EBUSY;
    FAULT_POINT(init_opened);
    turn_now(f->agent->turn);
    FAULT_POINT(init_filled);
    if (f->error == 0) /* the default policy is not known to the rules in memory yet */
        f->error = rules_load(f->agent->rules, f->agent->vault);
    return f->error;
}

int start_first_rules(struct agent *a, const char *operator, char token[TOKEN_TEXT_MAX])
{
    struct first f = {.agent = a, .operator= operator, .token = token };
    return run_first(&f);
}

int start_dev(struct agent *a, char token[TOKEN_TEXT_MAX])
{
    struct first f = {.agent = a, .token = token, .dev = true};
    return run_first(&f);
}
