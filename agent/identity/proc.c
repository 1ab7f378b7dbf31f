#include "identity/proc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STAT_START 22 /* proc(5), counted from 1; the name is the 2nd field */

int proc_open(pid_t pid)
{
    char path[32];

    if (pid <= 0)
        return -EINVAL;
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    return fd;
}

int proc_read(int dir, const char *name, char *out, size_t size)
{
    size_t used = 0;
    ssize_t n = 1;

    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    while (n > 0 && used < size) {
        n = read(fd, out + used, size - used);
        if (n > 0)
            used += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int r = n < 0 ? -errno : used < size ? 0 : -EMSGSIZE;
    close(fd);
    if (r == 0)
        out[used] = '\0';
    return r;
}

/* Digits only, up to the end or the given delimiter. */
static int parse_u64(const char *s, uint64_t max, uint64_t *out, const char **end)
{
    uint64_t v = 0;

    if (!isdigit((unsigned char)*s))
        return -EBADMSG;
    for (; isdigit((unsigned char)*s); s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (v > (max - digit) / 10)
            return -EBADMSG;
        v = v * 10 + digit;
    }
    *out = v;
    *end = s;
    return 0;
}

int proc_read_u32(int dir, const char *name, uint32_t *out)
{
    char text[32];
    const char *end;
    uint64_t v;

    int r = proc_read(dir, name, text, sizeof(text));
    if (r == 0)
        r = parse_u64(text, UINT32_MAX, &v, &end);
    if (r == 0 && *end != '\0' && *end != '\n')
        r = -EBADMSG;
    if (r == 0)
        *out = (uint32_t)v;
    return r;
}

/* "Uid:\treal\teffective\tsaved\tfs" */
static int effective(const char *status, const char *label, uint32_t *out)
{
    const char *at = strstr(status, label);
    uint64_t real, v;

    if (!at)
        return -EBADMSG;
    at += strlen(label);
    if (parse_u64(at, UINT32_MAX, &real, &at) < 0 || *at++ != '\t' ||
        parse_u64(at, UINT32_MAX, &v, &at) < 0)
        return -EBADMSG;
    *out = (uint32_t)v;
    return 0;
}

int proc_read_ids(int dir, uid_t *uid, gid_t *gid)
{
    char status[8192];

    int r = proc_read(dir, "status", status, sizeof(status));
    /* The name in the first line is escaped by the kernel: it brings no line of its own. */
    if (r == 0)
        r = effective(status, "\nUid:\t", uid);
    if (r == 0)
        r = effective(status, "\nGid:\t", gid);
    return r;
}

int proc_parse_stat(const char *stat, uint64_t *start, bool *running)
{
    /* The name stands in parentheses and may hold anything, parentheses and spaces too. */
    const char *at = strrchr(stat, ')');

    if (!at || at[1] != ' ' || at[2] == '\0')
        return -EBADMSG;
    at += 2;
    *running = *at != 'Z' && *at != 'X' && *at != 'x';
    for (int field = 3; field < STAT_START; field++) {
        at = strchr(at, ' ');
        if (!at)
            return -EBADMSG;
        at++;
    }
    return parse_u64(at, UINT64_MAX, start, &at);
}

int proc_start(pid_t pid, uint64_t *start, bool *running)
{
    char stat[1024];

    int dir = proc_open(pid);
    if (dir < 0)
        return dir;
    int r = proc_read(dir, "stat", stat, sizeof(stat));
    close(dir);
    return r < 0 ? r : proc_parse_stat(stat, start, running);
}
