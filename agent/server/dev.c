#include "server/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/encode.h"
#include "server/start.h"
#include "vault/shamir.h"

#define CHILD_FD 3

static int write_secret(const char *dir, const char *name, const void *p, size_t n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int e = write(fd, p, n) == (ssize_t)n ? 0 : -EIO;
    close(fd);
    return e;
}

static int read_secret(const char *dir, const char *name, void *p, size_t n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int e = read(fd, p, n) == (ssize_t)n ? 0 : -EBADMSG;
    close(fd);
    return e;
}

/* --- The connector, as our child
 * ------------------------------------------------------------------------ */

static void connector_path(char out[PATH_MAX])
{
    char self[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0)
        self[n] = '\0';
    snprintf(out, PATH_MAX, "%.*s/countersign-connector", PATH_MAX - 64, dirname(self));
    if (access(out, X_OK) < 0)
        snprintf(out, PATH_MAX, "/usr/libexec/countersign/countersign-connector");
}

static int start_connector(struct agent *a)
{
    extern char **environ;
    char path[PATH_MAX], number[8];
    int pair[2];
    pid_t child;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    connector_path(path);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    snprintf(number, sizeof(number), "%d", CHILD_FD);
    char flag[] = "--fd";
    char *const argv[] = {path, flag, number, NULL};
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, pair[1], CHILD_FD);
    /* The loop's blocked signals are not the child's. */
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    int e = -posix_spawn(&child, path, &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    close(pair[1]);
    if (e < 0) {
        close(pair[0]);
        fprintf(stderr, "countersignd: the connector %s can't be started: %s\n", path,
                strerror(-e));
        return e;
    }
    return link_attach(a->link, pair[0]);
}

/* --- The store
 * ------------------------------------------------------------------------------------------ */

/* For trying out generate-root and rekey. */
static int keep_share(const char *dir, const uint8_t root[VAULT_KEY_LEN])
{
    uint8_t share[VAULT_KEY_LEN + 1];
    _cleanup_buf_ struct buf text = BUF_INIT(128);
    int e = shamir_split(root, VAULT_KEY_LEN, 1, 1, share);
    encode_base64(&text, share, sizeof(share));
    mem_wipe(share, sizeof(share));
    if (e == 0)
        e = buf_error(&text);
    return e < 0 ? e : write_secret(dir, "recovery-share", text.data, text.len);
}

/* The root token is the last thing that is made: while its file is missing, the first start was cut
 * short, and this one finishes it. */
static int fill(struct agent *a, const struct config *c, char token[TOKEN_TEXT_MAX])
{
    int e = start_dev(a, token);
    return e == 0 ? write_secret(c->dir, "root-token", token, strlen(token)) : e;
}

static int init(struct agent *a, const struct config *c, char token[TOKEN_TEXT_MAX])
{
    uint8_t key[VAULT_KEY_LEN], root[VAULT_KEY_LEN];
    randombytes_buf(key, sizeof(key));
    int e = write_secret(c->dir, "unseal-key", key, sizeof(key));
    if (e == 0)
        e = vault_init(a->vault, key, 1, 1, root);
    if (e == 0)
        e = keep_share(c->dir, root);
    mem_wipe(key, sizeof(key));
    mem_wipe(root, sizeof(root));
    if (e == 0)
        e = agent_unsealed(a);
    return e == 0 ? fill(a, c, token) : e;
}

static int reopen(struct agent *a, const struct config *c, char token[TOKEN_TEXT_MAX])
{
    uint8_t key[VAULT_KEY_LEN];
    char path[PATH_MAX];
    int e = read_secret(c->dir, "unseal-key", key, sizeof(key));
    if (e == 0)
        e = vault_unseal(a->vault, key) == 0 ? 0 : -EACCES;
    mem_wipe(key, sizeof(key));
    if (e == 0)
        e = agent_unsealed(a);
    snprintf(path, sizeof(path), "%s/root-token", c->dir);
    FILE *f = e == 0 ? fopen(path, "re") : NULL;
    if (f) {
        if (!fgets(token, TOKEN_TEXT_MAX, f))
            token[0] = '\0';
        fclose(f);
    }
    return e == 0 && !token[0] ? fill(a, c, token) : e;
}

/* A throwaway agent goes with its folder. */
static int on_folder(sd_event_source *s, const struct inotify_event *event, void *data _unused_)
{
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED))
        return sd_event_exit(sd_event_source_get_event(s), 0);
    return 0;
}

int dev_start(struct agent *a, const struct config *c)
{
    char token[TOKEN_TEXT_MAX] = "";
    int e = vault_state(a->vault) == VAULT_UNINITIALISED ? init(a, c, token) : reopen(a, c, token);
    if (e < 0) {
        fprintf(stderr, "countersignd: the store below %s can't be prepared: %s\n", c->dir,
                strerror(-e));
        return e;
    }
    e = start_connector(a);
    if (e == 0)
        e = sd_event_add_inotify(a->loop, NULL, c->dir, IN_DELETE_SELF | IN_MOVE_SELF, on_folder,
                                 NULL);
    if (e < 0)
        return e;
    printf("countersignd in dev mode. NOT FOR PRODUCTION: its keys lie beside its store, and "
           "whoever may\n"
           "write below %s or reach the listener is its root.\n\n"
           "  export VAULT_ADDR=unix://%s\n",
           c->dir, c->agent_socket);
    if (c->listen)
        printf("  or     VAULT_ADDR=http://%s\n", c->listen);
    printf("\nRoot Token: %s\n", token);
    fflush(stdout);
    mem_wipe(token, sizeof(token));
    return 0;
}
