#include "cli/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <countersign/api.h>

#include "base/clock.h"
#include "cli/exec.h"
#include "cli/prompt.h"

#define CREDENTIAL_FOLDER "/etc/credstore.encrypted"
#define CREDENTIAL_NEW API_CREDENTIAL_FILE ".new"

static int prepare_file(struct keyfile *k, const char *file, char *why, size_t whylen)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        int e = -errno;

        snprintf(why, whylen, "%s: %s", file, strerror(-e));
        return e;
    }
    k->fd = fd;
    k->path = mem_dup(file, strlen(file));
    return k->path ? 0 : -ENOMEM;
}

/* Encrypts into `to` ("-": nowhere, only to see whether it works). */
static int encrypt(const struct keyfile *k, const struct buf *key, const char *to, char *why,
                   size_t whylen)
{
    const char *const argv[] = {k->tool, "encrypt", "--name=" API_CREDENTIAL_NAME, "-", to, NULL};
    _cleanup_buf_ struct buf said = BUF_INIT(1024 * 1024);
    int status = exec_run(argv, key, &said, true);

    if (status == 0)
        return 0;
    if (status < 0)
        snprintf(why, whylen, "%s: %s", k->tool, strerror(-status));
    else
        snprintf(why, whylen, "systemd-creds encrypt failed: %.*s",
                 (int)strcspn(buf_str(&said), "\n"), buf_str(&said));
    return status < 0 ? status : -EIO;
}

static int prepare_credential(struct keyfile *k, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf trial = BUF_INIT(64);

    if (geteuid() != 0 || !exec_find("systemd-creds", k->tool, sizeof(k->tool))) {
        snprintf(why, whylen, "keeping it as a systemd credential needs root and systemd-creds");
        return -EPERM;
    }
    k->sealed_by_host = true;
    k->path = mem_dup(API_CREDENTIAL_FILE, strlen(API_CREDENTIAL_FILE));
    buf_puts(&trial, "a trial");
    if (!k->path || buf_error(&trial) < 0)
        return -ENOMEM;
    if (mkdir(CREDENTIAL_FOLDER, 0700) < 0 && errno != EEXIST) {
        int e = -errno;

        snprintf(why, whylen, "%s: %s", CREDENTIAL_FOLDER, strerror(-e));
        return e;
    }
    return encrypt(k, &trial, "-", why, whylen);
}

static bool is_the_hosts(const char *address)
{
    return strcmp(strncmp(address, "unix://", 7) == 0 ? address + 7 : address, API_SOCKET) == 0;
}

int keyfile_prepare(struct keyfile *k, const char *file, const char *address, char *why,
                    size_t whylen)
{
    if (!file && !is_the_hosts(address)) {
        snprintf(why, whylen,
                 "the agent at %s is not the host's own (" API_SOCKET
                 "), whose key is at %s and would be lost",
                 address, API_CREDENTIAL_FILE);
        return -EINVAL;
    }
    snprintf(why, whylen, "out of memory");
    return file ? prepare_file(k, file, why, whylen) : prepare_credential(k, why, whylen);
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

static int sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;

    if (fd < 0)
        return -errno;
    if (fchmod(fd, 0600) < 0 || fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

/* The key of an earlier store may still be needed with a copy of that store. A second name, so that
 * at no moment there is none. */
static int put_aside_old(struct keyfile *k)
{
    snprintf(k->aside, sizeof(k->aside), API_CREDENTIAL_FILE ".before-%" PRId64, clock_wall_s());
    (void)unlink(k->aside);
    if (link(API_CREDENTIAL_FILE, k->aside) == 0)
        return 0;
    k->aside[0] = '\0';
    return errno == ENOENT ? 0 : -errno;
}

static int store_credential(struct keyfile *k, const struct buf *key, char *why, size_t whylen)
{
    int r;

    (void)unlink(CREDENTIAL_NEW);
    r = encrypt(k, key, CREDENTIAL_NEW, why, whylen);
    if (r < 0)
        return r;
    r = sync_file(CREDENTIAL_NEW);
    if (r == 0)
        r = put_aside_old(k);
    if (r == 0 && rename(CREDENTIAL_NEW, API_CREDENTIAL_FILE) < 0)
        r = -errno;
    k->placed = r == 0;
    if (r == 0)
        r = sync_folder(CREDENTIAL_FOLDER);
    if (r < 0)
        snprintf(why, whylen, "%s: %s", API_CREDENTIAL_FILE, strerror(-r));
    return r;
}

static int store_file(struct keyfile *k, const struct buf *key, char *why, size_t whylen)
{
    size_t done = 0;
    int r = 0;

    while (r == 0 && done < key->len) {
        ssize_t n = write(k->fd, key->data + done, key->len - done);

        if (n < 0 && errno != EINTR)
            r = -errno;
        if (n > 0)
            done += (size_t)n;
    }
    if (r == 0 && fsync(k->fd) < 0)
        r = -errno;
    if (r < 0) {
        snprintf(why, whylen, "%s: %s", k->path, strerror(-r));
        return r;
    }
    close(k->fd);
    k->fd = 0;
    k->placed = true;
    return 0;
}

int keyfile_store(struct keyfile *k, const char *key, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf line = BUF_INIT(4096);

    buf_puts(&line, key);
    buf_putc(&line, '\n');
    if (buf_error(&line) < 0) {
        snprintf(why, whylen, "the key is too long");
        return buf_error(&line);
    }
    return k->sealed_by_host ? store_credential(k, &line, why, whylen)
                             : store_file(k, &line, why, whylen);
}

static int decrypt(const struct keyfile *k, struct buf *out, char *why, size_t whylen)
{
    const char *const argv[] = {k->tool, "decrypt", "--name=" API_CREDENTIAL_NAME,
                                k->path, "-",       NULL};
    int status = exec_run(argv, NULL, out, false);

    if (status == 0)
        return 0;
    snprintf(why, whylen, "systemd-creds can't decrypt %s", k->path);
    return status < 0 ? status : -EIO;
}

int keyfile_read_back(const struct keyfile *k, char **key, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    int r = k->sealed_by_host ? decrypt(k, &b, why, whylen) : prompt_read_file(k->path, 4096, &b);

    if (r < 0) {
        if (!k->sealed_by_host)
            snprintf(why, whylen, "%s: %s", k->path, strerror(-r));
        return r;
    }
    *key = mem_dup(buf_str(&b), strcspn(buf_str(&b), "\r\n"));
    if (!*key)
        snprintf(why, whylen, "out of memory");
    return *key ? 0 : -ENOMEM;
}

int keyfile_undo(struct keyfile *k)
{
    int r = 0;

    if (!k->placed)
        r = k->aside[0] && unlink(k->aside) < 0 ? -errno : 0; /* only a second name so far */
    else if (k->aside[0])
        r = rename(k->aside, API_CREDENTIAL_FILE) < 0 ? -errno : 0;
    else
        r = unlink(k->path) < 0 ? -errno : 0;
    k->placed = false;
    k->aside[0] = '\0';
    return r == 0 && k->sealed_by_host ? sync_folder(CREDENTIAL_FOLDER) : r;
}

int keyfile_drop_old(const struct keyfile *k)
{
    if (!k->aside[0])
        return 0;
    return unlink(k->aside) < 0 ? -errno : sync_folder(CREDENTIAL_FOLDER);
}

int keyfile_retire(const char *address)
{
    struct keyfile k = {0};
    int r = is_the_hosts(address) ? put_aside_old(&k) : 0;

    if (r < 0 || !k.aside[0])
        return r;
    return unlink(API_CREDENTIAL_FILE) < 0 ? -errno : sync_folder(CREDENTIAL_FOLDER);
}

void keyfile_clear(struct keyfile *k)
{
    if (k->fd > 0) {
        close(k->fd);
        if (k->path)
            (void)unlink(k->path);
    }
    free(k->path);
    *k = (struct keyfile){0};
}
