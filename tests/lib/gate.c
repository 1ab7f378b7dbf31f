/* What sshd and sudo do with a PAM stack, for where neither can run: authenticate, account,
 * open_session, a command inside the session, close_session. Needs no privileges: the stack is a
 * file in a folder of the caller's (pam_start_confdir(3), libpam 1.4), and a process without a
 * login may give itself its own login uid, which begins an audit session (proc_pid_loginuid(5)).
 *
 *   gate [-a] [-r RHOST] FOLDER SERVICE USER [COMMAND...]
 *
 * -a: the account hook only, as sudo does with a valid ticket. Exit code: the command's, 0 without
 * one, or 1 when a hook refused. */
#include <fcntl.h>
#include <security/pam_appl.h>
#include <security/pam_misc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool said(pam_handle_t *pamh, const char *hook, int code)
{
    if (code == PAM_SUCCESS)
        return true;
    fprintf(stderr, "refused (%s): %s\n", hook, pam_strerror(pamh, code));
    return false;
}

/* Only where there is none yet; where the kernel has no audit the agent will know no session. */
static void begin_audit_session(void)
{
    unsigned current = 0;
    FILE *f = fopen("/proc/self/loginuid", "re");
    if (f && fscanf(f, "%u", &current) != 1)
        current = 0;
    if (f)
        fclose(f);
    if (current != (unsigned)-1)
        return;
    f = fopen("/proc/self/loginuid", "we");
    if (!f)
        return;
    fprintf(f, "%u", (unsigned)getuid());
    fclose(f);
}

static int run_command(char **argv)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool session(pam_handle_t *pamh, char **command, int *code)
{
    begin_audit_session();
    if (!said(pamh, "session", pam_open_session(pamh, 0)))
        return false;
    *code = run_command(command);
    return said(pamh, "end of session", pam_close_session(pamh, 0));
}

static bool pass(pam_handle_t *pamh, bool account_only, char **command, int *code)
{
    if (!account_only && !said(pamh, "authentication", pam_authenticate(pamh, 0)))
        return false;
    if (!said(pamh, "account", pam_acct_mgmt(pamh, 0)))
        return false;
    return !command[0] || session(pamh, command, code);
}

int main(int argc, char **argv)
{
    static const struct pam_conv conv = {.conv = misc_conv};
    const char *rhost = NULL;
    bool account_only = false, good;
    pam_handle_t *pamh = NULL;
    int c, code = 0;

    while ((c = getopt(argc, argv, "+ar:")) != -1) {
        if (c == 'a')
            account_only = true;
        else if (c == 'r')
            rhost = optarg;
        else
            return 2;
    }
    if (argc - optind < 3) {
        fprintf(stderr, "usage: gate [-a] [-r RHOST] FOLDER SERVICE USER [COMMAND...]\n");
        return 2;
    }
    argv += optind;
    if (pam_start_confdir(argv[1], argv[2], &conv, argv[0], &pamh) != PAM_SUCCESS)
        return 2;
    good = !rhost || said(pamh, "rhost", pam_set_item(pamh, PAM_RHOST, rhost));
    good = good && pass(pamh, account_only, argv + 3, &code);
    pam_end(pamh, good ? PAM_SUCCESS : PAM_AUTH_ERR);
    return good ? code : 1;
}
