/* pam enable, confirm, disable, rollback, status on a folder of service files. */
#include "cli_fixture.h"

#include <sys/stat.h>
#include <time.h>

#include "cli/pamcheck.h"

#define SUDO                                                                                       \
    "session required pam_limits.so\nauth required pam_unix.so\naccount required pam_unix.so\n"
#define UNSEALED                                                                                   \
    {                                                                                              \
        "GET", "/v1/sys/seal-status", 200, "{\"initialized\":true,\"sealed\":false}", 0            \
    }

static char dir[120], state_dir[120];

static void put_file(const char *name, const char *text, mode_t mode)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", fake_file("pam.d"), name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static const char *get_file(const char *name)
{
    static char text[65536];
    char path[200];

    snprintf(path, sizeof(path), "pam.d/%s", name);
    fake_slurp(path, text, sizeof(text));
    return text;
}

static void make_folder(void)
{
    assert_int_equal(mkdir(fake_file("pam.d"), 0755), 0);
    snprintf(dir, sizeof(dir), "-pam-dir=%s", fake_file("pam.d"));
    snprintf(state_dir, sizeof(state_dir), "-state-dir=%s", fake_file("state"));
    put_file("sudo", SUDO, 0640);
    put_file("login", SUDO, 0644);
}

#define PAM(...) RUN(W("pam"), __VA_ARGS__, dir, state_dir)

/* Goal: enabled, told, and back byte for byte, with the file's mode kept. */
static void there_and_back(void **state)
{
    struct stat st;

    (void)state;
    FAKE(UNSEALED);
    make_folder();
    assert_int_equal(PAM(W("enable"), W("sudo"), W("-force")), 0);
    OUT("Enabled: sudo.");
    expect_in(get_file("sudo"), "auth required pam_countersign.so\n");
    assert_string_equal(get_file("login"), SUDO);
    assert_int_equal(stat(fake_file("pam.d/sudo"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(PAM(W("status")), 0);
    OUT("sudo    enabled");
    assert_int_equal(PAM(W("enable"), W("sudo"), W("-force")), 0);
    OUT("Enabled before already: sudo.");
    assert_int_equal(PAM(W("disable"), W("sudo")), 0);
    assert_string_equal(get_file("sudo"), SUDO);
    assert_int_equal(PAM(W("disable"), W("sudo")), 0);
    OUT("was not enabled");
    assert_int_equal(PAM(W("status")), 0);
    OUT("No service");
    fake_stop();
}

/* Goal: nothing is changed when one of the services, or the host, isn't ready. */
static void all_or_nothing(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/seal-status", 200, "{\"initialized\":true,\"sealed\":true}", 0});
    make_folder();
    put_file("odd", "auth sufficient pam_unix.so\naccount required pam_unix.so\n", 0644);
    assert_int_equal(PAM(W("enable"), W("sudo"), W("odd"), W("-force")), 1);
    ERR("may end the stack");
    ERR("write by hand");
    assert_string_equal(get_file("sudo"), SUDO);
    assert_int_equal(PAM(W("enable"), W("sudo"), W("missing"), W("-force")), 1);
    assert_int_equal(PAM(W("enable"), W("sudo")), 1);
    ERR("sealed");
    assert_string_equal(get_file("sudo"), SUDO);
    assert_int_equal(PAM(W("enable"), W("../pam.d/sudo"), W("-force")), 1);
    assert_int_equal(PAM(W("enable"), W("common-auth"), W("-force")), 1);
    ERR("part of every service");
    assert_int_equal(symlink("sudo", fake_file("pam.d/link")), 0);
    assert_int_equal(PAM(W("enable"), W("link"), W("-force")), 1);
    ERR("symbolic link");
    assert_string_equal(get_file("sudo"), SUDO);
    fake_stop();
}

/* Goal: confirmed, a change stays; one change waits at a time. */
static void confirmed(void **state)
{
    (void)state;
    FAKE(UNSEALED);
    make_folder();
    assert_int_equal(PAM(W("confirm")), 1);
    assert_int_equal(PAM(W("enable"), W("sudo"), W("-force"), W("-rollback=soon")), 1);
    assert_int_equal(PAM(W("enable"), W("sudo"), W("-force"), W("-rollback=10m")), 0);
    OUT("Undone by itself in 10m");
    assert_int_equal(PAM(W("status")), 2);
    OUT("Waits to be confirmed: sudo");
    assert_int_equal(PAM(W("enable"), W("login"), W("-force")), 1);
    ERR("waits to be confirmed");
    assert_int_equal(PAM(W("rollback"), W("-id=another")), 0);
    expect_in(get_file("sudo"), "pam_countersign");
    assert_int_equal(PAM(W("confirm")), 0);
    OUT("Confirmed: sudo");
    assert_int_equal(PAM(W("rollback")), 0);
    expect_in(get_file("sudo"), "pam_countersign");
    assert_int_equal(PAM(W("status")), 0);
    fake_stop();
}

/* Goal: unconfirmed it is undone (as at boot), also where somebody meddled with our markers, and
 * without touching what had been enabled before. */
static void rolled_back(void **state)
{
    (void)state;
    FAKE(UNSEALED);
    make_folder();
    put_file("su", SUDO, 0644);
    assert_int_equal(PAM(W("enable"), W("su"), W("-force")), 0);
    assert_int_equal(
        PAM(W("enable"), W("su"), W("sudo"), W("login"), W("-force"), W("-rollback=10m")), 0);
    put_file("login", "# countersign: begin\nauth required pam_countersign.so\nbroken\n", 0644);
    assert_int_equal(PAM(W("rollback")), 0);
    assert_string_equal(get_file("sudo"), SUDO);
    assert_string_equal(get_file("login"), SUDO);
    expect_in(get_file("su"), "pam_countersign");
    assert_int_equal(PAM(W("status")), 0);
    assert_int_equal(PAM(W("confirm")), 1);
    fake_stop();
}

/* Goal: `sshd -T`'s words are read exactly. */
static void sshd_words(void **state)
{
    static const char text[] =
        "port 22\nusepam yes\nxusepam no\nusepamx no\nauthenticationmethods any\n";
    char v[32];

    (void)state;
    assert_true(pamcheck_sshd_value(text, "usepam", v, sizeof(v)));
    assert_string_equal(v, "yes");
    assert_true(pamcheck_sshd_value(text, "authenticationmethods", v, sizeof(v)));
    assert_string_equal(v, "any");
    assert_false(pamcheck_sshd_value(text, "pam", v, sizeof(v)));
    assert_false(pamcheck_sshd_value("", "usepam", v, sizeof(v)));
    assert_string_equal(v, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(confirmed),      cmocka_unit_test(rolled_back),
        cmocka_unit_test(sshd_words),
    };

    unsetenv("VAULT_FORMAT");
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
