/* Our lines in PAM service files: where they go, what is refused, and back byte for byte. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/pamfile.h"

/* --- A small /etc/pam.d -------------------------------------------------------------------------
 */

static const char common_auth[] = "auth\t[success=1 default=ignore]\tpam_unix.so nullok\n"
                                  "# here's the fallback if no module succeeds\n"
                                  "auth\trequisite\t\t\tpam_deny.so\n"
                                  "auth\trequired\t\t\tpam_permit.so\n"
                                  "auth\toptional\t\t\tpam_cap.so \n";
static const char common_account[] =
    "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so \n"
    "account\trequisite\t\t\tpam_deny.so\n"
    "account\trequired\t\t\tpam_permit.so\n";
static const char common_session[] = "session\t[default=1]\t\t\tpam_permit.so\n"
                                     "session\trequisite\t\t\tpam_deny.so\n"
                                     "session\trequired\t\t\tpam_permit.so\n"
                                     "session\trequired\tpam_unix.so \n"
                                     "session\toptional\tpam_systemd.so \n";
static const char sshd[] =
    "# PAM configuration for the Secure Shell service\n\n"
    "# Standard Un*x authentication.\n"
    "@include common-auth\n\n"
    "# Disallow non-root logins when /etc/nologin exists.\n"
    "account    required     pam_nologin.so\n\n"
    "# account  required     pam_access.so\n\n"
    "@include common-account\n\n"
    "session [success=ok ignore=ignore module_unknown=ignore default=bad]        pam_selinux.so "
    "close\n"
    "session    required     pam_loginuid.so\n"
    "session    optional     pam_keyinit.so force revoke\n"
    "@include common-session\n"
    "session    optional     pam_motd.so  motd=/run/motd.dynamic\n"
    "session    optional     pam_mail.so standard noenv # [1]\n"
    "session    required     pam_limits.so\n"
    "session    required     pam_env.so user_readenv=1 envfile=/etc/default/locale\n"
    "session [success=ok ignore=ignore module_unknown=ignore default=bad]        pam_selinux.so "
    "open\n\n"
    "@include common-password\n";
static const char sudo[] = "#%PAM-1.0\n\n"
                           "# Set up user limits from /etc/security/limits.conf.\n"
                           "session    required   pam_limits.so\n\n"
                           "@include common-auth\n"
                           "@include common-account\n"
                           "@include common-session-noninteractive\n";
static const char su[] = "auth       sufficient pam_rootok.so\n"
                         "# auth       sufficient pam_wheel.so trust\n"
                         "session       required   pam_env.so readenv=1\n"
                         "session    optional   pam_mail.so nopen\n"
                         "session    required   pam_limits.so\n"
                         "@include common-auth\n@include common-account\n@include common-session\n";
static const char login[] =
    "auth       optional   pam_faildelay.so  delay=3000000\n"
    "auth       requisite  pam_nologin.so\n"
    "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_selinux.so close\n"
    "session    required     pam_loginuid.so\n"
    "@include common-auth\n"
    "auth       optional   pam_group.so\n"
    "session    required   pam_limits.so\n"
    "@include common-account\n@include common-session\n@include common-password\n";

struct named {
    const char *name, *text;
};

static struct named files[] = {
    {"common-auth", common_auth},
    {"common-account", common_account},
    {"common-session", common_session},
    {"common-session-noninteractive", common_session},
    {"common-password", "password requisite pam_deny.so\n"},
    {"su", su},
    {"mixed", "auth required pam_unix.so\naccount required pam_unix.so\n"},
    {"system-auth", "auth required pam_env.so\nauth sufficient pam_unix.so try_first_pass\n"
                    "auth required pam_deny.so\n"
                    "account required pam_unix.so\naccount sufficient pam_localuser.so\n"
                    "account required pam_permit.so\nsession required pam_unix.so\n"},
    {"loop", "@include loop\n"},
    {"guarded", "auth required pam_unix.so\nauth required pam_countersign.so\n"},
};

static int open_file(const char *name, struct buf *text, void *data)
{
    (void)data;
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (strcmp(files[i].name, name) == 0) {
            buf_puts(text, files[i].text);
            return buf_error(text);
        }
    return -ENOENT;
}

static char why[512], note[256];

static int enable_n(const char *service, const char *text, size_t n, struct buf *out)
{
    buf_reset(out);
    return pamfile_enable(service, text, n, open_file, NULL, out, note, sizeof(note), why,
                          sizeof(why));
}

static int enable(const char *service, const char *text, struct buf *out)
{
    return enable_n(service, text, strlen(text), out);
}

#define OUT _cleanup_buf_ struct buf out = BUF_INIT(4 * PAMSTACK_TEXT_MAX)

static void expect_back(const struct buf *with, const char *text)
{
    _cleanup_buf_ struct buf back = BUF_INIT(4 * PAMSTACK_TEXT_MAX);

    assert_int_equal(pamfile_disable(buf_str(with), with->len, &back, why, sizeof(why)), 0);
    assert_int_equal(back.len, strlen(text));
    assert_memory_equal(buf_str(&back), text, back.len);
}

static size_t place(const struct buf *b, const char *what)
{
    const char *p = strstr(buf_str(b), what);

    if (!p)
        fail_msg("\"%s\" is missing in:\n%s", what, buf_str(b));
    return (size_t)(p - buf_str(b));
}

static void expect_refused(const char *service, const char *text, const char *reason)
{
    OUT;

    assert_int_equal(enable(service, text, &out), PAMFILE_REFUSED);
    if (!strstr(why, reason))
        fail_msg("refused for another reason: %s (not: %s)", why, reason);
}

/* --- Tests --------------------------------------------------------------------------------------
 */

/* Goal: Debian's sshd: the key's way round the password, the code for all, session last. */
static void debian_sshd(void **state)
{
    OUT;

    (void)state;
    assert_int_equal(enable("sshd", sshd, &out), 0);
    place(&out, "# Standard Un*x authentication.\n"
                "# countersign: begin\n"
                "auth [success=1 default=ignore] pam_countersign.so publickey_proved\n"
                "# countersign: was: @include common-auth\n"
                "auth substack common-auth\n"
                "auth required pam_countersign.so\n"
                "# countersign: end\n\n# Disallow");
    assert_null(strstr(buf_str(&out), "\n@include common-auth"));
    assert_true(place(&out, "account required pam_countersign.so") <
                place(&out, "account    required"));
    assert_string_equal(buf_str(&out) + place(&out, "@include common-password"),
                        "@include common-password\n# countersign: begin\n"
                        "session required pam_countersign.so\n# countersign: end\n");
    expect_back(&out, sshd);
}

/* Goal: sudo, su and login: our auth line behind theirs; root's own way through su is told. */
static void other_services(void **state)
{
    OUT;

    (void)state;
    assert_int_equal(enable("sudo", sudo, &out), 0);
    assert_true(place(&out, "@include common-auth") <
                place(&out, "auth required pam_countersign.so"));
    assert_null(strstr(buf_str(&out), "publickey_proved"));
    assert_null(strstr(buf_str(&out), "substack"));
    assert_string_equal(note, "");
    expect_back(&out, sudo);
    assert_int_equal(enable("su", su, &out), 0);
    assert_non_null(strstr(note, "pam_rootok.so"));
    expect_back(&out, su);
    assert_int_equal(enable("login", login, &out), 0);
    assert_true(place(&out, "pam_group.so") < place(&out, "auth required pam_countersign.so"));
    expect_back(&out, login);
}

/* Goal: the account line stands behind the others, but in front where one of them may end the
 * stack. */
static void account_cannot_be_skipped(void **state)
{
    static const char safe[] = "auth required pam_unix.so\naccount required pam_unix.so\n"
                               "session required pam_unix.so\n";
    OUT;

    (void)state;
    assert_int_equal(enable("x", safe, &out), 0);
    assert_true(place(&out, "account required pam_unix.so") <
                place(&out, "account required pam_countersign.so"));
    assert_int_equal(enable("sudo", sudo, &out), 0);
    assert_true(place(&out, "account required pam_countersign.so") <
                place(&out, "@include common-account"));
}

/* Goal: lines that could get around ours are refused, wherever they stand. */
static void bypasses_are_refused(void **state)
{
#define REST "account required pam_unix.so\nsession required pam_unix.so\n"
    (void)state;
    expect_refused("x", "auth sufficient pam_unix.so\nauth required pam_deny.so\n" REST,
                   "may end the stack");
    expect_refused("x", "auth [success=DONE default=ignore] pam_sss.so\n" REST,
                   "may end the stack");
    expect_refused("x",
                   "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n" REST,
                   "may jump over");
    expect_refused("x", "@include system-auth\n" REST, "system-auth line 2");
    expect_refused("x", "auth include system-auth\n" REST, "may end the stack");
    expect_refused("sshd", "auth sufficient pam_rootok.so\n@include common-auth\n" REST,
                   "decides before the first factor");
    expect_refused("sshd",
                   "auth [success=1 default=ignore] pam_succeed_if.so user in robots\n"
                   "@include common-auth\n" REST,
                   "decides before the first factor");
    expect_refused("sshd",
                   "@include common-auth\nauth sufficient pam_google_authenticator.so\n" REST,
                   "may end the stack");
    expect_refused("x",
                   "auth required pam_unix.so\naccount required pam_unix.so\n"
                   "session sufficient pam_unix.so\n",
                   "may end the stack");
#undef REST
}

/* Goal: what ends a substack doesn't end ours: RHEL's layout works. */
static void substacks_hold(void **state)
{
    static const char text[] = "#%PAM-1.0\nauth       substack     system-auth\n"
                               "auth       include      common-auth\n"
                               "account    required     pam_nologin.so\n"
                               "account    include      system-auth\n"
                               "session    include      system-auth\n";
    OUT;

    (void)state;
    assert_int_equal(enable("sshd", text, &out), 0);
    assert_true(place(&out, "publickey_proved") <
                place(&out, "auth       substack     system-auth"));
    assert_true(place(&out, "auth       include      common-auth") <
                place(&out, "auth required pam_countersign.so"));
    assert_true(place(&out, "account required pam_countersign.so") < place(&out, "pam_nologin.so"));
    expect_back(&out, text);
}

/* Goal: files that aren't understood are left alone, with the reason. */
static void not_understood(void **state)
{
    char nul[] = "auth required pam_unix.so\n\0auth";
    OUT;

    (void)state;
    expect_refused("x", "", "no auth lines");
    expect_refused("x", "session required pam_unix.so\n", "no auth lines");
    expect_refused("x", "auth required pam_unix.so\nsession required pam_unix.so\n",
                   "no account lines");
    expect_refused("x", "auth required pam_unix.so\naccount required pam_unix.so\n",
                   "no session lines");
    expect_refused("x", "auth required pam_unix.so\r\n", "Windows line ends");
    expect_refused("x", "auth [success=1 pam_unix.so\n", "line 1 is not understood");
    expect_refused("x", "auth\n", "line 1 is not understood");
    expect_refused("x", "auth required \\ \n pam_unix.so\n", "line 1 is not understood");
    expect_refused("x", "# fine\nauth perhaps pam_unix.so\n", "line 2 is not understood");
    expect_refused("x", "@include nowhere\n", "cannot be read");
    expect_refused("x", "@include loop\n", "deeper than");
    expect_refused("x", "@include guarded\n", "there already (guarded line 2)");
    expect_refused("sshd", "@include mixed\nsession required pam_unix.so\n",
                   "more than auth lines");
    expect_refused("sshd",
                   "auth required pam_foo.so\naccount required pam_unix.so\n"
                   "session required pam_unix.so\n",
                   "first factor");
    assert_int_equal(enable_n("x", nul, sizeof(nul) - 1, &out), PAMFILE_REFUSED);
}

/* Goal: no line end at the end, continuations, odd blanks and capitals come back exactly. */
static void odd_texts_come_back(void **state)
{
    static const char *const texts[] = {
        "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so",
        "AUTH Required pam_unix.so\n-account\trequired  /lib/security/pam_unix.so\n"
        "session required pam_unix.so # end \\\n",
        "auth required \\\n  pam_unix.so nullok\naccount required pam_unix.so\nsession "
        "\\\nrequired \\\n"
        "pam_unix.so\n\n\n",
        "session required pam_unix.so\naccount required pam_unix.so\n@include common-auth",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        OUT;

        assert_int_equal(enable("x", texts[i], &out), 0);
        expect_back(&out, texts[i]);
        assert_int_equal(enable("sshd", texts[i], &out), i == 2 ? PAMFILE_REFUSED : 0);
        if (i != 2)
            expect_back(&out, texts[i]);
    }
}

/* Goal: enabling twice is told apart; what others added outside our markers since then is kept. */
static void twice_and_later_changes(void **state)
{
    _cleanup_buf_ struct buf more = BUF_INIT(PAMSTACK_TEXT_MAX),
                             again = BUF_INIT(PAMSTACK_TEXT_MAX);
    OUT;

    (void)state;
    assert_int_equal(enable("sudo", sudo, &out), 0);
    assert_int_equal(enable("sudo", buf_str(&out), &again), PAMFILE_ALREADY);
    buf_puts(&more, "# at the top\n");
    buf_puts(&more, buf_str(&out));
    buf_puts(&more, "session optional pam_lastlog.so\n");
    buf_reset(&again);
    assert_int_equal(pamfile_disable(buf_str(&more), more.len, &again, why, sizeof(why)), 0);
    assert_memory_equal(buf_str(&again), "# at the top\n#%PAM-1.0", 22);
    assert_int_equal(again.len, strlen(sudo) + 13 + 32);
    assert_int_equal(pamfile_disable(sudo, strlen(sudo), &again, why, sizeof(why)),
                     PAMFILE_NOT_OURS);
}

/* Replaces the first `from` by `to`. */
static void tamper(const struct buf *b, const char *from, const char *to, struct buf *out)
{
    size_t at = place(b, from);

    buf_reset(out);
    buf_put(out, buf_str(b), at);
    buf_puts(out, to);
    buf_puts(out, buf_str(b) + at + strlen(from));
}

/* Goal: markers that somebody changed are noticed, both for disabling and for enabling. */
static void tampered_markers(void **state)
{
    static const char *const rows[][2] = {
        {"# countersign: end\n", ""},
        {"# countersign: begin\n", ""},
        {"# countersign: end\n", "# countersign: ende\n"},
        {"auth required pam_countersign.so\n", "auth sufficient pam_countersign.so\n"},
        {"auth required pam_countersign.so\n",
         "auth required pam_countersign.so\nauth optional pam_x.so\n"},
        {"# countersign: begin\n", "# countersign: begin\n# countersign: begin\n"},
        {"#%PAM-1.0\n", "#%PAM-1.0\n# countersign: was: x\n"},
    };
    _cleanup_buf_ struct buf bad = BUF_INIT(PAMSTACK_TEXT_MAX), back = BUF_INIT(PAMSTACK_TEXT_MAX);
    OUT;

    (void)state;
    assert_int_equal(enable("sudo", sudo, &out), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tamper(&out, rows[i][0], rows[i][1], &bad);
        buf_reset(&back);
        assert_int_equal(pamfile_disable(buf_str(&bad), bad.len, &back, why, sizeof(why)),
                         PAMFILE_REFUSED);
        assert_int_equal(enable("sudo", buf_str(&bad), &back), PAMFILE_REFUSED);
    }
}

/* Goal: every prefix of a real file is either refused or comes back exactly; nothing crashes. */
static void every_prefix(void **state)
{
    static const char *const texts[] = {sshd, sudo, login};
    size_t enabled = 0;

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(texts); t++)
        for (size_t n = 0; n < strlen(texts[t]); n++) {
            char *part = mem_dup(texts[t], n);
            OUT;

            assert_non_null(part);
            if (enable(t == 0 ? "sshd" : "x", part, &out) == 0) {
                expect_back(&out, part);
                enabled++;
            }
            free(part);
        }
    assert_true(enabled > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(debian_sshd),
        cmocka_unit_test(other_services),
        cmocka_unit_test(account_cannot_be_skipped),
        cmocka_unit_test(bypasses_are_refused),
        cmocka_unit_test(substacks_hold),
        cmocka_unit_test(not_understood),
        cmocka_unit_test(odd_texts_come_back),
        cmocka_unit_test(twice_and_later_changes),
        cmocka_unit_test(tampered_markers),
        cmocka_unit_test(every_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
