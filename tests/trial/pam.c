/* A login as sshd does it, in a process of its own. */
#include <fcntl.h>
#include <poll.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trial/trial.h"

#define SERVICE "door"

bool trial_pam_stack(const struct trial_agent *a)
{
    char path[PATH_MAX], text[4 * PATH_MAX];
    static const char *const hooks[] = {"auth", "account", "session"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "%s required %s/pam_countersign.so socket=%s/pam.sock agent_uid=%u\n"
                              "%s required pam_permit.so\n", /* so that "no opinion" lets in */
                              hooks[i], a->build, a->dir, (unsigned)getuid(), hooks[i]);
    snprintf(path, sizeof(path), "%s.pam.d/" SERVICE, a->dir);
    return trial_write_file(path, text);
}

/* --- The process -------------------------------------------------------------------------------
 */

static int answer(int n, const struct pam_message **m, struct pam_response **out, void *data)
{
    *out = calloc((size_t)n, sizeof(**out));
    if (!*out)
        return PAM_BUF_ERR;
    for (int i = 0; i < n; i++) {
        bool asked =
            m[i]->msg_style == PAM_PROMPT_ECHO_OFF || m[i]->msg_style == PAM_PROMPT_ECHO_ON;
        (*out)[i].resp = asked ? strdup(data) : NULL;
    }
    return PAM_SUCCESS;
}

/* A process without a login may give itself one (proc_pid_loginuid(5)): its audit session begins.
 */
static void begin_audit_session(void)
{
    FILE *f = fopen("/proc/self/loginuid", "we");
    if (!f)
        return;
    fprintf(f, "%u", (unsigned)getuid());
    fclose(f);
}

static int hooks(pam_handle_t *p, bool session)
{
    int r = pam_authenticate(p, 0);
    if (r == PAM_SUCCESS)
        r = pam_acct_mgmt(p, 0);
    if (r != PAM_SUCCESS || !session)
        return r;
    begin_audit_session();
    r = pam_open_session(p, 0);
    return r == PAM_SUCCESS ? pam_close_session(p, 0) : r;
}

/* PROGRAM --pam FOLDER USER CODE session|login: exit code 0 when all hooks succeeded, 1 when one
 * was refused, 2 when it did not come so far. */
int trial_pam_main(int argc, char **argv)
{
    pam_handle_t *p = NULL;
    if (argc != 6 || strcmp(argv[1], "--pam") != 0)
        return -1;
    struct pam_conv conv = {.conv = answer, .appdata_ptr = argv[4]};
    if (pam_start_confdir(SERVICE, argv[3], &conv, argv[2], &p) != PAM_SUCCESS)
        return 2;
    int r = hooks(p, strcmp(argv[5], "session") == 0);
    pam_end(p, r);
    return r == PAM_SUCCESS ? 0 : 1;
}

/* --- Running it --------------------------------------------------------------------------------
 */

static bool wait_for(pid_t pid, int timeout_ms, int *status)
{
    int64_t until = trial_now_ms() + timeout_ms;
    while (waitpid(pid, status, WNOHANG) != pid) {
        if (trial_now_ms() > until) {
            kill(pid, SIGKILL);
            waitpid(pid, status, 0);
            return false;
        }
        trial_sleep_ms(1);
    }
    return true;
}

int trial_pam(const struct trial_agent *a, const char *code, bool session, int timeout_ms)
{
    char folder[PATH_MAX], user[64];
    int status = 0;
    const char *me = getenv("TRIAL_USER");
    snprintf(folder, sizeof(folder), "%s.pam.d", a->dir);
    snprintf(user, sizeof(user), "%s", me ? me : "nobody");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (a->preload)
            setenv("LD_PRELOAD", a->preload, 1);
        execl("/proc/self/exe", "trial-login", "--pam", folder, user, code,
              session ? "session" : "login", NULL);
        _exit(127);
    }
    bool in_time = pid > 0 && wait_for(pid, timeout_ms, &status);
    if (!in_time || WIFSIGNALED(status)) {
        trial_note("the process with the module %s", in_time ? "crashed" : "hangs");
        return -1;
    }
    return WEXITSTATUS(status) == 0;
}
