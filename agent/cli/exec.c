#include "cli/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/prompt.h"

#define OUTPUT_MAX (1024u * 1024)
#define INPUT_MAX 65536u /* fits into the socket's buffer: written before anything is read */

bool exec_find(const char *program, char *out, size_t size)
{
    static const char *const folders[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin"};

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        int n = snprintf(out, size, "%s/%s", folders[i], program);

        if (n > 0 && (size_t)n < size && access(out, X_OK) == 0)
            return true;
    }
    return false;
}

/* In the child. Never returns. */
static void become(const char *const *argv, int in, int out, bool with_stderr)
{
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(in >= 0 ? in : null, STDIN_FILENO) < 0 ||
        dup2(out >= 0 ? out : null, STDOUT_FILENO) < 0 ||
        (with_stderr && dup2(STDOUT_FILENO, STDERR_FILENO) < 0))
        _exit(127);
    signal(SIGPIPE, SIG_DFL);
    execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
    _exit(127);
}

static int feed(int fd, const struct buf *input)
{
    size_t done = 0;

    while (input && done < input->len) {
        ssize_t n = send(fd, input->data + done, input->len - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EPIPE ? 0 : -errno; /* it did not want it: its exit status tells */
        done += (size_t)n;
    }
    return 0;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void close_pair(int *fds)
{
    for (size_t i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int exec_run(const char *const *argv, const struct buf *input, struct buf *out, bool with_stderr)
{
    int in[2] = {-1, -1}, from[2] = {-1, -1}, r = 0, status;
    pid_t pid;

    if (input && input->len > INPUT_MAX)
        return -EMSGSIZE;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0)
        return -errno;
    if (out && pipe2(from, O_CLOEXEC) < 0) {
        r = -errno;
        close_pair(in);
        return r;
    }
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        become(argv, in[1], from[1], with_stderr);
    if (pid < 0) {
        r = -errno;
        close_pair(in);
        close_pair(from);
        return r;
    }
    close(in[1]);
    if (out)
        close(from[1]);
    r = feed(in[0], input);
    shutdown(in[0], SHUT_WR);
    if (out && r == 0)
        r = prompt_read_all(from[0], OUTPUT_MAX, out);
    close(in[0]);
    if (out)
        close(from[0]);
    status = wait_for(pid);
    return r < 0 ? r : status;
}
