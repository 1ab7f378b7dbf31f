#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/request.h"

#define EXEMPT                                                                                     \
    (ROUTE_NO_IDENTITY | ROUTE_ROOT_PEER | ROUTE_SELF | ROUTE_ROOT_OR_CAP | ROUTE_SELF_OR_CAP |    \
     ROUTE_ENGINE)
#define ALL_VERBS (VERB_GET | VERB_PUT | VERB_DELETE | VERB_LIST | VERB_PATCH)
#define ALL_CAPS (ACL_CREATE | ACL_READ | ACL_UPDATE | ACL_DELETE | ACL_LIST | ACL_SUDO | ACL_PATCH)

static const struct route *rows;
static size_t n_rows;

static bool is_one_of(const char *pattern, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(pattern, list[i]) == 0)
            return true;
    }
    return false;
}

/* Goal: no row without a capability or an exemption; whoever is exempt by capability names one. */
static void test_every_row_is_guarded(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_rows; i++) {
        const struct route *t = &rows[i];
        if (!t->caps && !(t->flags & EXEMPT))
            fail_msg("%s: neither a capability nor an exempting flag", t->pattern);
        if ((t->flags & (ROUTE_ROOT_OR_CAP | ROUTE_SELF_OR_CAP)) && !t->caps)
            fail_msg("%s: \"or by capability\", but which? nobody could ever have it", t->pattern);
        if ((t->flags & ROUTE_SUDO) && !t->caps)
            fail_msg("%s: sudo comes on top of a capability", t->pattern);
        if (t->caps & ~(unsigned)ALL_CAPS)
            fail_msg("%s: %#x is no set of capabilities to be asked for", t->pattern, t->caps);
        if (!t->handler)
            fail_msg("%s: no handler", t->pattern);
        if (!t->verbs || (t->verbs & ~(unsigned)ALL_VERBS))
            fail_msg("%s: verbs %#x", t->pattern, t->verbs);
    }
}

/* Goal: routes_find() takes a path for ours or for an engine's by its beginning; the rows agree. */
static void test_ours_and_engines(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_rows; i++) {
        const struct route *t = &rows[i];
        bool own = strncmp(t->pattern, "sys/", 4) == 0 || strncmp(t->pattern, "auth/", 5) == 0;
        if (own == (bool)(t->flags & ROUTE_ENGINE))
            fail_msg("%s: could never be found", t->pattern);
    }
}

/* Goal: what runs outside a turn sees no policies, so it is for everybody or for root by the
 * kernel's word. */
static void test_outside(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_rows; i++) {
        const struct route *t = &rows[i];
        if ((t->flags & ROUTE_OUTSIDE) && !(t->flags & (ROUTE_NO_IDENTITY | ROUTE_ROOT_PEER)))
            fail_msg("%s: outside a turn nobody decides about it", t->pattern);
        if ((t->flags & ROUTE_NO_IDENTITY) && t->verbs != VERB_GET)
            fail_msg("%s: without an identity one may only look", t->pattern);
        if ((t->flags & ROUTE_NO_IDENTITY) && !(t->flags & ROUTE_OUTSIDE))
            fail_msg("%s: it would be identified all the same", t->pattern);
    }
}

/* Goal: who may come without an identity, as root only, or for themselves is a short list; to
 * lengthen it one has to come here. */
static void test_exemptions_are_known(void **state)
{
    (void)state;
    static const char *const open[] = {"sys/init",
                                       "sys/seal-status",
                                       "sys/health",
                                       "sys/leader",
                                       "sys/status",
                                       "sys/generate-root/attempt",
                                       "sys/rekey/init",
                                       "sys/rekey/verify",
                                       "sys/rekey-recovery-key/init",
                                       "sys/rekey-recovery-key/verify"};
    static const char *const root[] = {"sys/init",
                                       "sys/unseal",
                                       "sys/generate-root/attempt",
                                       "sys/generate-root/update",
                                       "sys/rekey/init",
                                       "sys/rekey/update",
                                       "sys/rekey/verify",
                                       "sys/rekey-recovery-key/init",
                                       "sys/rekey-recovery-key/update",
                                       "sys/rekey-recovery-key/verify",
                                       "sys/reseal/init",
                                       "sys/reseal/update",
                                       "sys/break-glass/{user}",
                                       "sys/restore",
                                       "sys/restore/share",
                                       "sys/restore/data",
                                       "sys/restore/finish"};
    /* pieces of what another row's line told of */
    static const char *const quiet[] = {"sys/audit/verify", "sys/snapshot/read",
                                        "sys/restore/data"};
    static const char *const self[] = {
        "sys/capabilities-self",  "sys/internal/ui/mounts", "sys/internal/ui/mounts/{path...}",
        "auth/token/lookup-self", "auth/token/renew-self",  "auth/token/revoke-self"};
    for (size_t i = 0; i < n_rows; i++) {
        const struct route *t = &rows[i];
        if ((t->flags & ROUTE_NO_IDENTITY) && !is_one_of(t->pattern, open, ARRAY_LEN(open)))
            fail_msg("%s needs no identity?", t->pattern);
        if ((t->flags & ROUTE_ROOT_PEER) && !is_one_of(t->pattern, root, ARRAY_LEN(root)))
            fail_msg("%s is root's?", t->pattern);
        if ((t->flags & ROUTE_SELF) && !is_one_of(t->pattern, self, ARRAY_LEN(self)))
            fail_msg("%s is anybody's?", t->pattern);
        if ((t->flags & ROUTE_QUIET) && t->verbs != VERB_GET &&
            !is_one_of(t->pattern, quiet, ARRAY_LEN(quiet)))
            fail_msg("%s changes something, and no audit line says so", t->pattern);
    }
}

/* Goal: only the last row is an engine's, and it has all verbs. */
static void test_engine_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_rows; i++)
        assert_int_equal((rows[i].flags & ROUTE_ENGINE) != 0, i == n_rows - 1);
    assert_int_equal(rows[n_rows - 1].verbs, ALL_VERBS);
}

/* Goal: each pattern is well-formed: no leading or trailing slash, no empty segment, {name} a whole
 * segment of at most 23 bytes, {name...} once, at most REQUEST_PARAMS of them, no name twice. */
static void test_patterns_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_rows; i++) {
        const char *p = rows[i].pattern;
        size_t params = 0, rests = 0;
        assert_true(p[0] && p[0] != '/' && p[strlen(p) - 1] != '/');
        while (*p) {
            size_t n = strcspn(p, "/");
            if (n == 0)
                fail_msg("%s: an empty segment", rows[i].pattern);
            const char *open = memchr(p, '{', n), *close = memchr(p, '}', n);
            if (!!open != !!close || (open && (open != p || close != p + n - 1)))
                fail_msg("%s: a parameter is a whole segment", rows[i].pattern);
            if (open) {
                bool rest = n > 5 && strncmp(close - 3, "...", 3) == 0;
                size_t len = n - 2 - (rest ? 3 : 0);
                assert_true(len > 0 && len < sizeof(((struct request *)NULL)->param[0].name));
                params++;
                rests += rest;
            }
            p += n;
            if (*p == '/')
                p++;
        }
        if (params > REQUEST_PARAMS || rests > 1)
            fail_msg("%s: too many parameters", rows[i].pattern);
    }
}

static void forget(struct request *r)
{
    for (size_t i = 0; i < REQUEST_PARAMS; i++)
        free(r->param[i].value);
    *r = (struct request){0};
}

/* An example of a pattern: parameters become "x1", "x2", … and {rest...} "r/s". */
static void example(const char *pattern, char *out, size_t size)
{
    size_t n = 0, count = 0;
    for (const char *p = pattern; *p; p++) {
        if (*p != '{') {
            n += (size_t)snprintf(out + n, size - n, "%c", *p);
            continue;
        }
        const char *close = strchr(p, '}');
        if (strncmp(close - 3, "...", 3) == 0)
            n += (size_t)snprintf(out + n, size - n, "r/s");
        else
            n += (size_t)snprintf(out + n, size - n, "x%zu", ++count);
        p = close;
    }
}

/* Goal: every row is found by an example of its own pattern, for each of its verbs: none is
 * shadowed. */
static void test_no_row_is_shadowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_rows; i++) {
        char path[256];
        unsigned verbs;
        example(rows[i].pattern, path, sizeof(path));
        for (unsigned verb = 1; verb <= VERB_PATCH; verb <<= 1) {
            struct request r = {0};
            if (!(rows[i].verbs & verb))
                continue;
            const struct route *found = routes_find(verb, path, &r, &verbs);
            if (found != &rows[i])
                fail_msg("%s (verb %#x) is found as %s", path, verb,
                         found ? found->pattern : "nothing");
            forget(&r);
        }
    }
}

static void finds(unsigned verb, const char *path, const char *pattern)
{
    unsigned verbs;
    struct request r = {0};
    const struct route *t = routes_find(verb, path, &r, &verbs);
    if (!t || strcmp(t->pattern, pattern) != 0)
        fail_msg("%s: %s instead of %s", path, t ? t->pattern : "nothing", pattern);
    forget(&r);
}

static void finds_param(unsigned verb, const char *path, const char *name, const char *value)
{
    unsigned verbs;
    struct request r = {0};
    assert_non_null(routes_find(verb, path, &r, &verbs));
    assert_string_equal(request_param(&r, name), value);
    forget(&r);
}

/* Goal: what {name} and {path...} take, with what follows them and with slashes at the end. */
static void test_parameters(void **state)
{
    (void)state;
    finds(VERB_GET, "sys/mounts/secret", "sys/mounts/{path...}");
    finds(VERB_GET, "sys/mounts/secret/tune", "sys/mounts/{path...}/tune");
    finds(VERB_GET, "sys/mounts/a/b/tune", "sys/mounts/{path...}/tune");
    finds(VERB_GET, "sys/mounts/a/b/tune/", "sys/mounts/{path...}/tune");
    finds(VERB_GET, "sys/mounts/tune", "sys/mounts/{path...}");
    finds(VERB_GET, "sys/mounts/tune/tune", "sys/mounts/{path...}/tune");
    finds_param(VERB_GET, "sys/mounts/a/b/tune", "path", "a/b");
    finds_param(VERB_GET, "sys/mounts/tune/tune", "path", "tune");
    finds_param(VERB_GET, "sys/mounts/tune", "path", "tune");
    finds_param(VERB_DELETE, "sys/mounts/kv/", "path", "kv/");
    finds_param(VERB_LIST, "sys/leases/lookup/database/creds/", "path", "database/creds/");
    finds_param(VERB_DELETE, "sys/factors/ada/totp", "user", "ada");
    finds_param(VERB_DELETE, "sys/factors/ada/totp", "type", "totp");
    finds_param(VERB_GET, "sys/bindings/dba", "name", "dba");
    finds_param(VERB_GET, "sys/bindings/dba", "no-such", "");
}

/* Goal: a slash at the end of a path is passed over, LIST's is the rule. */
static void test_trailing_slash(void **state)
{
    (void)state;
    finds(VERB_PUT, "sys/seal/", "sys/seal");
    finds(VERB_LIST, "sys/bindings/", "sys/bindings");
    finds(VERB_LIST, "sys/policies/acl/", "sys/policies/acl");
    finds(VERB_LIST, "auth/token/accessors/", "auth/token/accessors");
    finds(VERB_GET, "sys/policies/acl/default/", "sys/policies/acl/{name}");
}

/* Goal: below sys/ and auth/ what no row has is nothing, never an engine's; the verbs that a path
 * does have are told. */
static void test_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {"sys/",
                                        "sys/no-such",
                                        "auth/",
                                        "auth/token",
                                        "auth/token/none",
                                        "sys/bindings//x",
                                        "sys/policies/acl/a/b",
                                        "sys/factors/a/b/c/d",
                                        "sys/mountsx"};
    unsigned verbs;
    struct request r = {0};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (routes_find(VERB_GET, paths[i], &r, &verbs))
            fail_msg("%s is found as %s", paths[i],
                     routes_find(VERB_GET, paths[i], &r, &verbs)->pattern);
        forget(&r);
    }
    assert_null(routes_find(VERB_GET, "", &r, &verbs));
    assert_int_equal(verbs, 0);
    assert_null(routes_find(VERB_DELETE, "sys/seal", &r, &verbs));
    assert_int_equal(verbs, VERB_PUT);
    assert_null(routes_find(VERB_PATCH, "sys/bindings/a", &r, &verbs));
    assert_int_equal(verbs, VERB_GET | VERB_PUT | VERB_DELETE);
}

/* Goal: names that only look like ours belong to engines, and so does whatever hostile is left of a
 * path. */
static void test_engine_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "secret/data/a", "sysx/seal", "system",  "authx", "sys%2fseal",
        "{path...}",     "{name}",    "a/{b}/c", "x/",    "sys"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        finds(VERB_GET, paths[i], "{path...}");
    char longest[4097];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    finds_param(VERB_GET, longest, "path", longest);
    for (size_t i = 1; i < sizeof(longest) - 1; i += 2)
        longest[i] = '/';
    longest[sizeof(longest) - 2] = 'a';
    finds(VERB_GET, longest, "{path...}");
    memcpy(longest, "sys/mounts/",
           11); /* each place for "/tune" is tried once, not each with each */
    finds(VERB_GET, longest, "sys/mounts/{path...}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_guarded),
        cmocka_unit_test(test_ours_and_engines),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_exemptions_are_known),
        cmocka_unit_test(test_engine_row),
        cmocka_unit_test(test_patterns_parse),
        cmocka_unit_test(test_no_row_is_shadowed),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_trailing_slash),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_engine_paths),
    };
    json_init();
    rows = routes_all(&n_rows);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
