#include "cli/leaver.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/exec.h"

#define SETTLE_MS 3000 /* from being told to end to having ended */
#define CRONTABS "/var/spool/cron/crontabs/"
#define HINT_MAX 8192

static int add(json_t *hints, const char *fmt, ...) _printf_(2, 3);
static int add(json_t *hints, const char *fmt, ...)
{
    char text[HINT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return json_array_append_new(hints, json_string(text)) < 0 ? -ENOMEM : 0;
}

/* --- What runs
 * ---------------------------------------------------------------------------------- */

/* How many processes are of this uid; 0 when that can't be seen. */
static size_t count_processes(uid_t uid)
{
    DIR *d = opendir("/proc");
    const struct dirent *e;
    struct stat st;
    size_t n = 0;

    while (d && (e = readdir(d)) != NULL)
        if (isdigit((unsigned char)e->d_name[0]) && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
            st.st_uid == uid)
            n++;
    if (d)
        closedir(d);
    return n;
}

/* Asks logind, which kills what runs in the person's sessions; then gives that a moment. */
static void terminate(const char *user, uid_t uid)
{
    char program[256];
    const char *const argv[] = {program, "terminate-user", user, NULL};

    _cleanup_buf_ struct buf said = BUF_INIT(16 * 1024); /* "not logged in" is no news */

    if (!exec_find("loginctl", program, sizeof(program)) || exec_run(argv, NULL, &said, true) != 0)
        return;
    for (int ms = 0; ms < SETTLE_MS && count_processes(uid) > 0; ms += 100)
        usleep(100 * 1000);
}

int leaver_end_logins(const char *user, bool end, json_t *hints)
{
    const struct passwd *pw = getpwnam(user);
    size_t n;

    if (!pw || user[0] == '-')
        return 0;
    if (end && geteuid() == 0 && pw->pw_uid != 0)
        terminate(user, pw->pw_uid);
    n = count_processes(pw->pw_uid);
    if (n == 0)
        return 0;
    return add(hints,
               "%zu of their processes still %s: loginctl terminate-user %s; pkill -KILL -u %s", n,
               n == 1 ? "runs" : "run", user, user);
}

/* --- What stands in files
 * ----------------------------------------------------------------------- */

/* Whether a plain file with something in it is there, or may be (we can't look). */
static bool holds_something(const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == EACCES;
    return !S_ISREG(st.st_mode) || st.st_size > 0;
}

static int keys_hint(const struct passwd *pw, json_t *hints)
{
    static const char *const names[] = {"authorized_keys", "authorized_keys2"};
    char path[4200];
    int e = 0;

    for (size_t i = 0; e == 0 && i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%.4096s/.ssh/%s", pw->pw_dir, names[i]);
        if (holds_something(path))
            e = add(
                hints,
                "SSH keys in %s are left; they open nothing where the module is in front of sshd",
                path);
    }
    return e;
}

static int cron_hint(const char *user, json_t *hints)
{
    char path[sizeof(CRONTABS) + 260];

    (void)snprintf(path, sizeof(path), CRONTABS "%.256s", user);
    if (access(path, F_OK) < 0)
        return 0;
    return add(hints, "cron jobs are left, and cron may not ask us: crontab -r -u %s", user);
}

int leaver_hints(const char *user, json_t *hints)
{
    const struct passwd *pw = getpwnam(user);
    int e;

    if (!pw)
        return 0;
    e = add(
        hints,
        "the account is still in the host's user database: usermod --lock --expiredate 1 %s, or "
        "where it is kept",
        user);
    if (e == 0)
        e = keys_hint(pw, hints);
    return e < 0 ? e : cron_hint(user, hints);
}
