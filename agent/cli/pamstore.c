#include "cli/pamstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/encode.h"
#include "cli/pamstack.h"
#include "cli/prompt.h"

#define NAME_MAX_LEN 64

static int fail(int e, const char *dir, const char *name, char *why, size_t whylen)
{
    snprintf(why, whylen, "%s/%s: %s%s", dir, name, strerror(-e),
             e == -EACCES || e == -EPERM ? " (this needs root)" : "");
    return e;
}

bool pamstore_is_name(const char *service)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t n = strlen(service);

    return n > 0 && n <= NAME_MAX_LEN && service[0] != '.' && strspn(service, good) == n;
}

static int open_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int read_at(const char *dir, const char *name, size_t max, struct buf *text)
{
    int folder = open_dir(dir), fd, r;

    if (folder < 0)
        return folder;
    fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    r = fd < 0 ? -errno : prompt_read_all(fd, max, text);
    if (fd >= 0)
        close(fd);
    close(folder);
    return r;
}

int pamstore_read(const char *dir, const char *service, struct buf *text, char *why, size_t whylen)
{
    int r = read_at(dir, service, PAMSTACK_TEXT_MAX, text);

    if (r != -ELOOP)
        return r < 0 ? fail(r, dir, service, why, whylen) : 0;
    snprintf(why, whylen, "%s/%s is a symbolic link: something else manages that file", dir,
             service);
    return r;
}

/* --- Writing ------------------------------------------------------------------------------------
 */

static int write_all(int fd, const struct buf *text)
{
    size_t done = 0;

    while (done < text->len) {
        ssize_t n = write(fd, text->data + done, text->len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

/* A security module's label has to move along, or the login programs may not read the file. */
static int copy_label(int from, int to)
{
    char label[512];
    ssize_t n = fgetxattr(from, "security.selinux", label, sizeof(label));

    if (n < 0)
        return errno == ENODATA || errno == ENOTSUP ? 0 : -errno;
    return fsetxattr(to, "security.selinux", label, (size_t)n, 0) < 0 && errno != ENOTSUP ? -errno
                                                                                          : 0;
}

/* Gives the new file what the old one has. */
static int copy_look(int folder, const char *name, int to, mode_t otherwise)
{
    int from = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = 0;
    struct stat st;

    if (from < 0)
        return errno != ENOENT ? -errno : fchmod(to, otherwise) < 0 ? -errno : 0;
    if (fstat(from, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = -EINVAL;
    else if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
        r = -errno;
    if (r == 0)
        r = copy_label(from, to);
    close(from);
    return r;
}

static int replace_at(int folder, const char *name, const struct buf *text, mode_t otherwise)
{
    char random[13], temporary[NAME_MAX_LEN + 32];
    int fd, r;

    encode_random_base62(random, sizeof(random) - 1);
    snprintf(temporary, sizeof(temporary), ".%.64s.%s", name, random);
    fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = copy_look(folder, name, fd, otherwise);
    if (r == 0)
        r = write_all(fd, text);
    close(fd);
    if (r == 0 && renameat(folder, temporary, folder, name) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(folder, temporary, 0);
    else if (fsync(folder) < 0)
        r = -errno;
    return r;
}

static int write_at(const char *dir, const char *name, const struct buf *text, mode_t otherwise,
                    char *why, size_t whylen)
{
    int folder = open_dir(dir), r = folder;

    if (folder >= 0) {
        r = replace_at(folder, name, text, otherwise);
        close(folder);
    }
    return r < 0 ? fail(r, dir, name, why, whylen) : 0;
}

int pamstore_write(const char *dir, const char *service, const struct buf *text, char *why,
                   size_t whylen)
{
    return write_at(dir, service, text, 0644, why, whylen);
}

/* --- Our state ----------------------------------------------------------------------------------
 */

int pamstore_lock(const char *state, char *why, size_t whylen)
{
    int folder, fd = -1, r = 0;

    if (mkdir(state, 0700) < 0 && errno != EEXIST)
        return fail(-errno, state, "", why, whylen);
    folder = open_dir(state);
    if (folder < 0)
        return fail(folder, state, "", why, whylen);
    fd = openat(folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        r = -errno;
    else if (flock(fd, LOCK_EX) < 0)
        r = -errno;
    close(folder);
    if (r == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return fail(r, state, "lock", why, whylen);
}

static void copy_name(const char *service, char out[NAME_MAX_LEN + 16])
{
    snprintf(out, NAME_MAX_LEN + 16, "%.64s.before", service);
}

int pamstore_keep(const char *state, const char *service, const struct buf *text, char *why,
                  size_t whylen)
{
    char name[NAME_MAX_LEN + 16];

    copy_name(service, name);
    return write_at(state, name, text, 0600, why, whylen);
}

int pamstore_kept(const char *state, const char *service, struct buf *text, char *why,
                  size_t whylen)
{
    char name[NAME_MAX_LEN + 16];
    int r;

    copy_name(service, name);
    r = read_at(state, name, PAMSTACK_TEXT_MAX, text);
    return r < 0 ? fail(r, state, name, why, whylen) : 0;
}

int pamstore_pending(const char *state, json_t **out, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    int r = read_at(state, PAMSTORE_PENDING, 65536, &text);

    *out = NULL;
    if (r < 0)
        return fail(r, state, PAMSTORE_PENDING, why, whylen);
    return json_parse(buf_str(&text), text.len, out, why, whylen);
}

int pamstore_set_pending(const char *state, const json_t *change, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf text = BUF_INIT(65536);

    json_put(&text, change);
    buf_putc(&text, '\n');
    if (buf_error(&text) < 0)
        return fail(buf_error(&text), state, PAMSTORE_PENDING, why, whylen);
    return write_at(state, PAMSTORE_PENDING, &text, 0600, why, whylen);
}

int pamstore_clear_pending(const char *state, char *why, size_t whylen)
{
    int folder = open_dir(state), r = 0;

    if (folder < 0)
        return folder == -ENOENT ? 0 : fail(folder, state, "", why, whylen);
    if (unlinkat(folder, PAMSTORE_PENDING, 0) < 0 && errno != ENOENT)
        r = -errno;
    else if (fsync(folder) < 0)
        r = -errno;
    close(folder);
    return r < 0 ? fail(r, state, PAMSTORE_PENDING, why, whylen) : 0;
}
