#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t got_signal;

static void note_signal(int number)
{
    got_signal = number;
}

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

struct quiet {
    bool on;
    struct termios before;
    struct sigaction actions[ARRAY_LEN(caught)];
};

/* Turns the echo off. Signals that would leave the terminal mute are held until it is back. */
static int quiet_begin(struct quiet *q)
{
    struct sigaction sa = {.sa_handler = note_signal};
    struct termios t;

    q->on = false;
    if (tcgetattr(STDIN_FILENO, &q->before) < 0)
        return -errno;
    got_signal = 0;
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        sigaction(caught[i], &sa, &q->actions[i]);
    q->on = true;
    t = q->before;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    t.c_lflag |= ECHONL;
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &t) < 0 ? -errno : 0;
}

static void quiet_end(struct quiet *q)
{
    if (!q->on)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &q->before);
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        sigaction(caught[i], &q->actions[i], NULL);
    q->on = false;
    if (got_signal)
        raise(got_signal);
}

bool prompt_is_terminal(void)
{
    return isatty(STDIN_FILENO) == 1;
}

static int read_line(struct buf *b)
{
    for (;;) {
        char c;
        ssize_t n = read(STDIN_FILENO, &c, 1);

        if (n < 0 && errno == EINTR && !got_signal)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return b->len > 0 ? 0 : PROMPT_END;
        if (c == '\n')
            return 0;
        if (c == '\0')
            return -EILSEQ;
        buf_putc(b, c);
        if (buf_error(b) < 0)
            return buf_error(b);
    }
}

int prompt_line(const char *text, bool secret, char **out)
{
    _cleanup_buf_ struct buf b = BUF_INIT(PROMPT_LINE_MAX);
    struct quiet q = {0};
    int r = 0;

    *out = NULL;
    got_signal = 0;
    if (prompt_is_terminal()) {
        fflush(stdout);
        fputs(text, stderr);
        fflush(stderr);
        if (secret)
            r = quiet_begin(&q);
    }
    if (r == 0)
        r = read_line(&b);
    quiet_end(&q);
    if (r != 0)
        return r;
    if (b.len > 0 && b.data[b.len - 1] == '\r')
        b.data[--b.len] = '\0';
    *out = b.len > 0 ? buf_steal(&b) : mem_dup("", 0);
    return *out ? 0 : -ENOMEM;
}

bool prompt_yes(const char *question)
{
    _cleanup_secret_ char *answer = NULL;

    if (prompt_line(question, false, &answer) != 0)
        return false;
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

int prompt_read_all(int fd, size_t max, struct buf *b)
{
    char chunk[16384];
    ssize_t n;

    for (;;) {
        n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (b->len + (size_t)n > max) {
            mem_wipe(chunk, sizeof(chunk));
            return -EMSGSIZE;
        }
        buf_put(b, chunk, (size_t)n);
    }
    mem_wipe(chunk, sizeof(chunk));
    return n < 0 ? -errno : buf_error(b);
}

int prompt_read_file(const char *path, size_t max, struct buf *b)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

    if (fd < 0)
        return -errno;
    r = prompt_read_all(fd, max, b);
    close(fd);
    return r;
}
