/* A configuration folder, read and checked before anything is asked of an agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/applyset.h"

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int make_folder(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    umask(022);
    snprintf(folder, sizeof(folder), "%.40s/cs-set.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file below the folder, with the folders above it. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static json_t *read_set(struct applyset *set)
{
    json_t *problems = json_array();
    assert_int_equal(applyset_read(folder, set, problems), 0);
    return problems;
}

/* Goal: each place gives its kind, name and path on the agent; sorted so that what others need
 * comes first; README and dotfiles are passed over. */
static void test_places(void **state)
{
    static const struct {
        const char *file, *text, *kind, *name, *path;
    } rows[] = {
        {"mounts/database.json", "{\"type\": \"database\"}", "mount", "database",
         "sys/mounts/database"},
        {"policies/a.hcl", "path \"x\" { capabilities = [\"read\"] }", "policy", "a",
         "sys/policies/acl/a"},
        {"policies/b.c.hcl", "", "policy", "b.c", "sys/policies/acl/b.c"},
        {"database/db/config/shop.json", "{}", "database", "db/config/shop", "db/config/shop"},
        {"database/db/roles/ro.json", "{}", "database", "db/roles/ro", "db/roles/ro"},
        {"bindings/dba.json", "{}", "binding", "dba", "sys/bindings/dba"},
        {"enrolment.json", "{\"mode\": \"required\"}", "enrolment", "enrolment", "sys/enrolment"},
        {"pam.json", "{\"services\": [\"sudo\", \"sshd\"]}", "pam", "sshd", NULL},
        {NULL, NULL, "pam", "sudo", NULL},
    };
    _cleanup_applyset_ struct applyset set;
    (void)state;
    for (size_t i = ARRAY_LEN(rows); i-- > 0;)
        if (rows[i].file)
            put(rows[i].file, rows[i].text);
    put("README.md", "words");
    put(".git/HEAD", "ref");
    put("bindings/.hidden", "x");
    _cleanup_json_ json_t *problems = read_set(&set);
    assert_int_equal(json_array_size(problems), 0);
    assert_true(set.has_pam);
    assert_int_equal(set.n, ARRAY_LEN(rows));
    for (size_t i = 0; i < set.n; i++) {
        char *path = applyset_path(&set.item[i]);
        assert_string_equal(applyset_kind(set.item[i].kind), rows[i].kind);
        assert_string_equal(set.item[i].name, rows[i].name);
        if (rows[i].path)
            assert_string_equal(path, rows[i].path);
        else
            assert_null(path);
        mem_free_str(path);
    }
    assert_string_equal(applyset_find(&set, APPLY_ROLE, "db/roles/ro")->mount, "db");
    assert_string_equal(json_str(applyset_find(&set, APPLY_POLICY, "a")->body, "policy"),
                        rows[1].text);
}

/* Goal: what a role's file does not say is said to be empty, since the agent would keep what it
 * has. */
static void test_defaults(void **state)
{
    _cleanup_applyset_ struct applyset set;
    (void)state;
    put("database/db/roles/ro.json", "{\"db_name\": \"shop\", \"groups\": \"readers\"}");
    _cleanup_json_ json_t *problems = read_set(&set);
    assert_int_equal(json_array_size(problems), 0);
    const json_t *body = set.item[0].body;
    assert_int_equal(json_int(body, "max_ttl", -1), 0);
    assert_true(json_is_array(json_object_get(body, "creation_statements")));
    assert_string_equal(json_str(body, "groups"), "readers");
    assert_null(json_object_get(body, "connection_limit"));
}

/* Goal: every mistake is told, all in one go, each with its file; none is passed over. */
static void test_mistakes(void **state)
{
    static const struct {
        const char *file, *text, *why;
    } rows[] = {
        {"odd.json", "{}", "odd.json: nothing of this name"},
        {"bindings/a.hcl", "{}", "bindings/a.hcl: nothing of this name"},
        {"bindings/deep/a.json", "{}", "bindings/deep: nothing of this name"},
        {"database/db/creds/a.json", "{}", "database/db/creds: nothing of this name"},
        {"bindings/.json", "{}", NULL},
        {"bindings/a b.json", "{}", "its name has something else"},
        {"bindings/a~", "{}", "its name has something else"},
        {"bindings/list.json", "[]", "list.json: it must be a JSON object"},
        {"bindings/cut.json", "{\"a\": ", "cut.json: it is not valid JSON: line 1"},
        {"bindings/twice.json", "{\"a\": 1, \"a\": 2}", "twice.json: it is not valid JSON"},
        {"mounts/m.json", "{\"type\": \"kv\", \"typ\": 1}", "m.json: "},
        {"mounts/n.json", "{\"type\": \"kv\", \"config\": {\"ttl\": 1}}", "n.json: "},
        {"mounts/o.json", "{}", "o.json: "},
        {"database/db/roles/r.json", "{\"default-ttl\": 1}", "r.json: "},
        {"database/db/config/c.json", "{\"password\": \"x\"}", "c.json: a password never stands"},
        {"database/db/config/d.json", "{\"password_file\": \"x\"}",
         "d.json: password_file is an absolute"},
        {"pam.json", "{\"services\": [\"sshd\", \"sshd\", \"../x\"]}",
         "pam.json: sshd is named twice"},
        {"policies/latin.hcl", "path \"\xe4\" {}", "latin.hcl: it is not UTF-8"},
    };
    _cleanup_applyset_ struct applyset set;
    _cleanup_buf_ struct buf all = BUF_INIT(64 * 1024);
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        put(rows[i].file, rows[i].text);
    _cleanup_json_ json_t *problems = read_set(&set);
    json_put(&all, problems);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].why && !strstr(buf_str(&all), rows[i].why))
            fail_msg("nothing says \"%s\": %s", rows[i].why, buf_str(&all));
        n += rows[i].why != NULL;
    }
    assert_non_null(strstr(buf_str(&all), "no name of a PAM service"));
    assert_int_equal(json_array_size(problems), n + 1);
}

/* Goal: links, pipes, files and folders that everybody may write, and a folder that isn't there. */
static void test_hostile(void **state)
{
    static const char *const names[] = {"bindings/link.json", "bindings/pipe.json",
                                        "bindings/open.json", "mounts"};
    _cleanup_applyset_ struct applyset set;
    char path[512];
    (void)state;
    put("bindings/open.json", "{}");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(i == 0   ? symlink("/etc/passwd", path)
                         : i == 1 ? mkfifo(path, 0644)
                         : i == 2 ? chmod(path, 0666)
                                  : symlink("/etc", path),
                         0);
    }
    _cleanup_json_ json_t *problems = read_set(&set);
    assert_int_equal(json_array_size(problems), ARRAY_LEN(names));
    assert_int_equal(set.n, 0);
    struct applyset none;
    assert_int_equal(applyset_read("/nonexistent/folder", &none, problems), -ENOENT);
    assert_int_equal(chmod(folder, 0777), 0);
    applyset_clear(&set);
    json_array_clear(problems);
    assert_int_equal(applyset_read(folder, &set, problems), 0);
    assert_int_equal(json_array_size(problems), ARRAY_LEN(names) + 1);
}

#define FOLDER_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_places),
        FOLDER_TEST(test_defaults),
        FOLDER_TEST(test_mistakes),
        FOLDER_TEST(test_hostile),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
