#include "cli/pamcheck.h"

#include <glob.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/call.h"
#include "cli/exec.h"

#define MODULE "pam_countersign.so"

static bool report(struct cli *c, bool good, const char *text)
{
    output_note("%s %s", output_mark(&c->out, good), text);
    return good;
}

/* The module has to be where libpam looks: beside the modules that came with it. */
static bool check_module(struct cli *c)
{
    static const char *const patterns[] = {"/usr/lib/*/security/" MODULE, "/lib/*/security/" MODULE,
                                           "/usr/lib64/security/" MODULE,
                                           "/usr/lib/security/" MODULE};
    char text[300];

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        glob_t g;
        bool found = glob(patterns[i], GLOB_NOSORT, NULL, &g) == 0 && g.gl_pathc > 0;

        if (found)
            snprintf(text, sizeof(text), "the module is at %.250s", g.gl_pathv[0]);
        globfree(&g);
        if (found)
            return report(c, true, text);
    }
    return report(c, false,
                  "the module " MODULE " is not installed where libpam looks "
                  "(/usr/lib/*/security): without it nobody could log in");
}

static bool check_agent(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int e = call_quietly(c, "GET", "sys/seal-status", NULL, &r);

    if (e < 0 || r.status != 200)
        return report(c, false, "the agent does not answer: systemctl status countersignd");
    if (!json_is_false(json_object_get(reply_data(&r), "sealed")))
        return report(c, false, "the agent is sealed or not set up: countersign status");
    return report(c, true, "the agent answers and is unsealed");
}

/* The person who would be the first to be asked. */
static const char *who_asks(void)
{
    const char *name = getenv("SUDO_USER");
    const struct passwd *pw;

    if (name && name[0] && geteuid() == 0)
        return name;
    pw = getpwuid(getuid());
    return pw && pw->pw_uid != 0 ? pw->pw_name : NULL;
}

/* Only a remark: another person may be the one who is enrolled. */
static void remark_enrolled(struct cli *c)
{
    const char *user = who_asks();
    _cleanup_secret_ char *path =
        user && !strchr(user, '/') ? call_path("sys/factors/", user) : NULL;
    _cleanup_reply_ struct reply r = {0};
    char text[256];

    if (!path || call_quietly(c, "GET", path, NULL, &r) < 0 || r.status != 200)
        return;
    if (json_array_size(json_object_get(reply_data(&r), "factors")) > 0)
        snprintf(text, sizeof(text), "%.64s has a second factor", user);
    else
        snprintf(text, sizeof(text),
                 "%.64s has no second factor yet, and would not get in: countersign factor enroll",
                 user);
    report(c, json_array_size(json_object_get(reply_data(&r), "factors")) > 0, text);
}

/* --- sshd ---------------------------------------------------------------------------------------
 */

bool pamcheck_sshd_value(const char *text, const char *keyword, char *out, size_t size)
{
    size_t k = strlen(keyword);

    while (*text) {
        size_t n = strcspn(text, "\n");

        if (n > k && strncmp(text, keyword, k) == 0 && text[k] == ' ') {
            snprintf(out, size, "%.*s", (int)(n - k - 1), text + k + 1);
            return true;
        }
        text += n;
        text += *text == '\n';
    }
    out[0] = '\0';
    return false;
}

static void tell_drop_in(void)
{
    output_note(
        "  Write this to /etc/ssh/sshd_config.d/10-countersign.conf:\n"
        "\n"
        "      UsePAM yes\n"
        "      KbdInteractiveAuthentication yes\n"
        "      PasswordAuthentication no\n"
        "      AuthenticationMethods publickey,keyboard-interactive keyboard-interactive\n"
        "\n"
        "  (a key and a code; or the password and a code), then: sshd -t && systemctl reload ssh");
}

/* Debian's default. Only a remark: who logs in as themselves is not concerned. */
static void remark_root(const char *text)
{
    char root[64];

    pamcheck_sshd_value(text, "permitrootlogin", root, sizeof(root));
    if (strcmp(root, "without-password") == 0 || strcmp(root, "prohibit-password") == 0)
        output_note(
            "- root can't answer a code at sshd (PermitRootLogin prohibit-password replaces "
            "what root types by junk):\n  log in as yourself and use sudo");
}

static bool judge_sshd(struct cli *c, const char *text)
{
    char pam[64], kbd[64], methods[512];

    pamcheck_sshd_value(text, "usepam", pam, sizeof(pam));
    if (!pamcheck_sshd_value(text, "kbdinteractiveauthentication", kbd, sizeof(kbd)))
        pamcheck_sshd_value(text, "challengeresponseauthentication", kbd, sizeof(kbd));
    pamcheck_sshd_value(text, "authenticationmethods", methods, sizeof(methods));
    if (strcmp(pam, "yes") != 0 || strcmp(kbd, "yes") != 0) {
        report(c, false,
               strcmp(pam, "yes") != 0 ? "sshd does not use PAM (UsePAM)"
                                       : "sshd cannot ask for a code "
                                         "(KbdInteractiveAuthentication)");
        tell_drop_in();
        return false;
    }
    report(c, true, "sshd uses PAM and can ask for a code");
    if (!strstr(methods, "keyboard-interactive")) {
        report(c, false,
               "sshd lets a public key alone log in, which asks for no code and is then denied "
               "(AuthenticationMethods)");
        tell_drop_in();
    }
    remark_root(text);
    return true;
}

/* What cannot be found out is said, but keeps nobody from going on: sshd may be started otherwise.
 */
static bool check_sshd(struct cli *c)
{
    _cleanup_buf_ struct buf text = BUF_INIT(1024 * 1024);
    char program[256];
    const char *const argv[] = {program, "-T", NULL};

    if (!exec_find("sshd", program, sizeof(program)) || exec_run(argv, NULL, &text, false) != 0) {
        report(c, false,
               "sshd's settings could not be read (sshd -T): see that it has UsePAM yes and "
               "KbdInteractiveAuthentication yes");
        return true;
    }
    return judge_sshd(c, buf_str(&text));
}

unsigned pamcheck_all(struct cli *c, bool ssh)
{
    unsigned wrong = 0;

    wrong += !check_module(c);
    wrong += !check_agent(c);
    remark_enrolled(c);
    if (ssh)
        wrong += !check_sshd(c);
    return wrong;
}
