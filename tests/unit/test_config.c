#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <countersign/api.h>

#include "base/json.h"
#include "server/config.h"

static char dir[64], file[96];
static struct config c;
static int saved_out = -1, saved_err = -1;

/* What the parser says to a person is not for the test's report. */
static void quiet(bool on)
{
    fflush(stdout);
    fflush(stderr);
    if (on) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        saved_out = dup(STDOUT_FILENO);
        saved_err = dup(STDERR_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
        return;
    }
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
}

static int read_args(const char *const *args)
{
    char *argv[16] = {(char *)(uintptr_t) "countersignd"};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    optind = 0;
    config_clear(&c);
    quiet(true);
    int r = config_read(argc, argv, &c);
    quiet(false);
    return r;
}

#define READ(...) read_args((const char *const[]){__VA_ARGS__, NULL})

static void write_file(const char *text)
{
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    (void)state;
    json_init();
    strcpy(dir, "/tmp/countersign-config-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/agent.hcl", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_clear(&c);
    unlink(file);
    return rmdir(dir);
}

/* Goal: the file overrides the built-in paths, flags override the file. */
static void test_precedence(void **state)
{
    (void)state;
    write_file("# ours\nstore = \"/a/b.db\"\naudit_log = \"/a/b.log\"\n");
    assert_int_equal(READ("--config", file, "--store", "/flag.db"), 0);
    assert_string_equal(c.store, "/flag.db");
    assert_string_equal(c.audit_log, "/a/b.log");
    assert_string_equal(c.agent_socket, API_SOCKET);
    assert_string_equal(c.connector_user, "countersign-connector");
    assert_false(c.dev);
    assert_null(c.listen);
    assert_null(c.dir);
}

/* Goal: what is not understood in the file is an error, never passed over. */
static void test_bad_files(void **state)
{
    (void)state;
    static const char *const bad[] = {"stor = \"/x\"\n",    "store = 7\n",
                                      "store = [\"/x\"]\n", "store \"x\" { }\n",
                                      "store = \"/x\n",     "store = \"/x\"\nstore = \"/y\"\n",
                                      "dev = true\n",       "listen = \"127.0.0.1:1\"\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_file(bad[i]);
        if (READ("--config", file) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
    }
    assert_int_equal(READ("--config", "/nowhere/agent.hcl"), -EINVAL);
    assert_int_equal(READ("--config", dir), -EINVAL);
}

/* Goal: an empty file is fine. */
static void test_empty_file(void **state)
{
    (void)state;
    write_file("");
    assert_int_equal(READ("--config", file), 0);
    assert_string_equal(c.store, API_STORE);
}

/* Goal: dev mode puts everything below its folder, which it makes for its owner alone. */
static void test_dev(void **state)
{
    (void)state;
    char below[128], want[200];
    struct stat st;
    snprintf(below, sizeof(below), "%s/dev", dir);
    assert_int_equal(READ("--dev", "--dir", below, "--listen", "127.0.0.1:0"), 0);
    assert_true(c.dev);
    assert_string_equal(c.dir, below);
    assert_string_equal(c.listen, "127.0.0.1:0");
    const struct {
        const char *is, *name;
    } rows[] = {{c.store, "agent.db"},
                {c.audit_log, "audit.log"},
                {c.agent_socket, "agent.sock"},
                {c.pam_socket, "pam.sock"},
                {c.pam_user_socket, "pam-user.sock"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(want, sizeof(want), "%s/%s", below, rows[i].name);
        assert_string_equal(rows[i].is, want);
    }
    assert_int_equal(stat(below, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(READ("--dev", "--dir", below), 0);
    assert_null(c.listen);
    assert_int_equal(rmdir(below), 0);
}

/* Goal: dev's flags are nothing without dev, dev nothing without a folder, and nothing else is
 * swallowed. */
static void test_bad_flags(void **state)
{
    (void)state;
    assert_int_equal(READ("--listen", "127.0.0.1:8200"), -EINVAL);
    assert_int_equal(READ("--dir", dir), -EINVAL);
    assert_int_equal(READ("--dev"), -EINVAL);
    assert_int_equal(READ("--dev", "--dir", "/nowhere/at/all"), -EINVAL);
    assert_int_equal(READ("--no-such-flag"), -EINVAL);
    assert_int_equal(READ("--store"), -EINVAL);
    assert_int_equal(READ("stray"), -EINVAL);
}

/* Goal: help and version end the program without error. */
static void test_help(void **state)
{
    (void)state;
    assert_int_equal(READ("--help"), 1);
    assert_int_equal(READ("-h"), 1);
    assert_int_equal(READ("--version"), 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_precedence), TEST(test_bad_files), TEST(test_empty_file),
        TEST(test_dev),        TEST(test_bad_flags), TEST(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
