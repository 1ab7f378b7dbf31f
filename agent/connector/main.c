/* countersign-connector: everything that talks to other machines. It holds no keys and keeps
 * nothing on disk; what it needs to know comes with each request from the agent. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <countersign/connector.h>

#include "base/json.h"
#include "connector/resolve.h"
#include "connector/uplink.h"

static const char usage[] =
    "Usage: countersign-connector [--socket PATH | --fd N]\n"
    "\n"
    "Serves countersignd: makes, renews and drops accounts in databases.\n"
    "\n"
    "  --socket PATH  the agent's socket (default " CONNECTOR_SOCKET ")\n"
    "  --fd N         a connected SOCK_SEQPACKET socket that was inherited; ends when it closes\n"
    "  --version      print the version\n"
    "  --help         print this\n";

struct arguments {
    const char *path;
    int fd;
};

static int read_fd(const char *text, int *fd)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 3 || n > 65535)
        return -EINVAL;
    *fd = (int)n;
    return 0;
}

/* 0 to go on, or 1 + the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"fd", required_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 's') {
            a->path = optarg;
        } else if (c == 'f' && read_fd(optarg, &a->fd) == 0) {
            continue;
        } else if (c == 'v') {
            (void)puts("countersign-connector " COUNTERSIGN_VERSION);
            return 1;
        } else if (c == 'h') {
            (void)fputs(usage, stdout);
            return 1;
        } else {
            (void)fputs(usage, stderr);
            return 3;
        }
    }
    if (optind != argc || (a->path && a->fd >= 0)) {
        (void)fputs(usage, stderr);
        return 3;
    }
    if (!a->path && a->fd < 0)
        a->path = CONNECTOR_SOCKET;
    return 0;
}

/* libpq reads PGHOST, PGPASSFILE, PGSERVICE, …: what is connected to is the agent's to say. */
static int forget_environment(void)
{
    extern char **environ;
    char name[64];

    for (size_t i = 0; environ[i];) {
        size_t n = strcspn(environ[i], "=");

        if (strncmp(environ[i], "PG", 2) != 0) {
            i++;
            continue;
        }
        if (n >= sizeof(name))
            return -E2BIG;
        memcpy(name, environ[i], n);
        name[n] = '\0';
        if (unsetenv(name) < 0)
            return -errno;
    }
    return 0;
}

static int prepare_loop(sd_event *event)
{
    sigset_t signals;
    int r;

    /* Blocked before any thread begins, so that none takes them. */
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    r = sd_event_set_watchdog(event, true);
    return r < 0 ? r : resolve_open(event);
}

/* What was asked is answered first, so that a restart fails nobody. */
static int on_term(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
                   void *data)
{
    (void)sd_notify(0, "STOPPING=1");
    uplink_leave(data);
    return 0;
}

static int serve(const struct arguments *a)
{
    struct uplink *uplink = NULL;
    sd_event *event = NULL;
    int r = sd_event_new(&event);

    if (r >= 0)
        r = prepare_loop(event);
    if (r >= 0)
        r = uplink_new(event, a->path, a->fd, &uplink);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGTERM, on_term, uplink);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGINT, on_term, uplink);
    if (r >= 0)
        r = sd_event_loop(event);
    (void)sd_notify(0, "STOPPING=1");
    uplink_free(uplink);
    resolve_close();
    sd_event_unref(event);
    return r;
}

int main(int argc, char **argv)
{
    struct arguments a = {.path = NULL, .fd = -1};
    int r = mem_harden_process();

    if (r == 0)
        r = forget_environment();
    if (r == 0 && sodium_init() < 0)
        r = -EIO;
    if (r == 0) {
        json_init();
        r = read_arguments(argc, argv, &a);
        if (r > 0)
            return r - 1;
        r = serve(&a);
    }
    if (r < 0)
        (void)fprintf(stderr, "countersign-connector: %s\n", strerror(-r));
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
