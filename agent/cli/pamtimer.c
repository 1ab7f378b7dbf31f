#include "cli/pamtimer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/exec.h"
#include "cli/pamstore.h"

#define UNIT "countersign-pam-deadline"

struct words {
    char exe[4096], id[128], dir[4200], state[4200];
};

static int make_words(const char *id, const char *dir, const char *state, struct words *w)
{
    ssize_t n = readlink("/proc/self/exe", w->exe, sizeof(w->exe) - 1);

    if (n < 0)
        return -errno;
    w->exe[n] = '\0';
    snprintf(w->id, sizeof(w->id), "-id=%s", id);
    snprintf(w->dir, sizeof(w->dir), "-pam-dir=%s", dir);
    snprintf(w->state, sizeof(w->state), "-state-dir=%s", state);
    return 0;
}

static int start_unit(const struct words *w, int64_t seconds)
{
    char tool[256], after[64];
    const char *const argv[] = {tool,
                                "--quiet",
                                "--collect",
                                "--unit=" UNIT,
                                after,
                                "--timer-property=AccuracySec=1s",
                                "--description=Undo an unconfirmed change of PAM services",
                                w->exe,
                                "pam",
                                "rollback",
                                w->id,
                                w->dir,
                                w->state,
                                NULL};

    if (access("/run/systemd/system", F_OK) < 0 || geteuid() != 0 ||
        !exec_find("systemd-run", tool, sizeof(tool)))
        return -ENOSYS;
    pamtimer_stop();
    snprintf(after, sizeof(after), "--on-active=%" PRId64 "s", seconds);
    return exec_run(argv, NULL, NULL, false) == 0 ? 0 : -EIO;
}

static bool still_waits(const char *state, const char *id)
{
    _cleanup_json_ json_t *pending = NULL;
    const char *now;
    char why[256];

    if (pamstore_pending(state, &pending, why, sizeof(why)) < 0)
        return false;
    now = json_string_value(json_object_get(pending, "id"));
    return now && strcmp(now, id) == 0;
}

/* The waiting process: of its own session, with nothing open; gone as soon as the change is
 * confirmed. Never returns. */
static void wait_and_undo(const struct words *w, int64_t seconds)
{
    const char *const argv[] = {w->exe, "pam", "rollback", w->id, w->dir, w->state, NULL};
    const char *state = strchr(w->state, '=') + 1, *id = strchr(w->id, '=') + 1;
    int64_t until = clock_boot_ms() + seconds * 1000;
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        (void)dup2(null, fd);
    (void)close_range(3, ~0u, 0);
    while (clock_boot_ms() < until) {
        const struct timespec pause = {.tv_nsec = 500 * 1000 * 1000};

        nanosleep(&pause, NULL);
        if (!still_waits(state, id))
            _exit(0);
    }
    execv(w->exe, (char *const *)(uintptr_t)argv);
    _exit(1);
}

static int start_process(const struct words *w, int64_t seconds)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        setsid();
        if (chdir("/") < 0)
            _exit(1);
        pid = fork();
        if (pid == 0)
            wait_and_undo(w, seconds);
        _exit(pid < 0);
    }
    if (pid < 0)
        return -errno;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int pamtimer_start(const char *id, const char *dir, const char *state, int64_t seconds)
{
    struct words *w = malloc(sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    r = make_words(id, dir, state, w);
    if (r == 0 && start_unit(w, seconds) < 0)
        r = start_process(w, seconds);
    free(w);
    return r;
}

void pamtimer_stop(void)
{
    char tool[256];
    const char *const argv[] = {tool, "stop", UNIT ".timer", NULL};
    _cleanup_buf_ struct buf said = BUF_INIT(4096); /* that there is none is no news */

    if (access("/run/systemd/system", F_OK) == 0 && geteuid() == 0 &&
        exec_find("systemctl", tool, sizeof(tool)))
        (void)exec_run(argv, NULL, &said, true);
}
