/* Loaded before libc (LD_PRELOAD): a process whose wall clock is wrong, and whose kernel says
 * whether it is synchronised. Both stand in the file that WRONG_CLOCK names, and may change at any
 * time: "SECONDS 0|1". All other clocks are the real ones: a booted host in a container has no wall
 * clock of its own that could be set. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct wrong {
    long long seconds;
    int synchronised;
};

static struct wrong look(void)
{
    struct wrong w = {0};
    char text[64] = "";
    const char *path = getenv("WRONG_CLOCK");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return w;
    if (read((int)fd, text, sizeof(text) - 1) > 0)
        (void)sscanf(text, "%lld %d", &w.seconds, &w.synchronised);
    close((int)fd);
    return w;
}

EXPORT int clock_gettime(clockid_t id, struct timespec *t)
{
    long r = syscall(SYS_clock_gettime, id, t);

    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += look().seconds;
    return (int)r;
}

EXPORT time_t time(time_t *out)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

EXPORT int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec t;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    *tv = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return 0;
}

EXPORT int adjtimex(struct timex *t)
{
    bool synchronised = look().synchronised;

    memset(t, 0, sizeof(*t));
    t->status = synchronised ? 0 : STA_UNSYNC;
    return synchronised ? TIME_OK : TIME_ERROR;
}
