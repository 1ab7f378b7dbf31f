/* Who is on the other end: the kernel's answers for real processes, and the shapes of control
 * groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "identity/cgroup.h"
#include "identity/peer.h"
#include "identity/proc.h"

/* --- An older kernel: this stands in front of the C library
 * ----------------------------------------- */

static int pidfd_errno; /* what asking for the peer's pidfd fails with; 0: ask the kernel */

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    if (level == SOL_SOCKET && name == 77 && pidfd_errno) {
        errno = pidfd_errno;
        return -1;
    }
    return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
}

/* --- Children that connect
 * ------------------------------------------------------------------------ */

struct listener {
    char dir[64];
    struct sockaddr_un addr;
    int fd;
};

static int setup(void **state)
{
    struct listener *l = calloc(1, sizeof(*l));
    strcpy(l->dir, "/tmp/countersign-peer-XXXXXX");
    if (!mkdtemp(l->dir) || chmod(l->dir, 0755) < 0)
        return -1;
    l->addr.sun_family = AF_UNIX;
    snprintf(l->addr.sun_path, sizeof(l->addr.sun_path), "%s/sock", l->dir);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *state = l;
    if (bind(l->fd, (struct sockaddr *)&l->addr, sizeof(l->addr)) < 0 || listen(l->fd, 4) < 0)
        return -1;
    return chmod(l->addr.sun_path, 0666);
}

static int teardown(void **state)
{
    struct listener *l = *state;
    close(l->fd);
    unlink(l->addr.sun_path);
    rmdir(l->dir);
    free(l);
    return 0;
}

/* What the child does once it is connected. */
enum child { WAIT, LEAVE, DROP_ROOT, RENAME, HANG_UP };

static void child_main(const struct listener *l, uid_t uid, enum child what)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        _exit(10);
    if (uid && (setgid((gid_t)uid) < 0 || setuid(uid) < 0))
        _exit(11);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&l->addr, sizeof(l->addr)) < 0)
        _exit(12);
    if (what == DROP_ROOT && setuid(65534) < 0)
        _exit(13);
    if (what == RENAME && prctl(PR_SET_NAME, "a\033[2J)b") < 0)
        _exit(15);
    if (what == LEAVE)
        _exit(0);
    if (write(fd, "x", 1) != 1)
        _exit(14);
    if (what == HANG_UP)
        close(fd);
    for (;;)
        pause();
}

/* Starts a child that connects, and gives the accepted descriptor. */
static pid_t start(const struct listener *l, uid_t uid, enum child what, int *fd)
{
    char c;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child_main(l, uid, what);
    *fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*fd >= 0);
    if (what != LEAVE)
        assert_int_equal(read(*fd, &c, 1), 1); /* it has come to rest */
    return pid;
}

static void stop(pid_t pid, int fd)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(fd);
}

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Goal: a live peer is known with its uid, process, audit session and login uid. */
static void test_live(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    uint32_t own = PEER_NO_SESSION;
    char name[16];
    int fd, before = count_fds();
    int self = proc_open(getpid());
    (void)proc_read_u32(self, "sessionid", &own);
    close(self);
    pid_t pid = start(l, 0, WAIT, &fd);
    assert_int_equal(peer_read(fd, &p), 0);
    assert_true(p.known);
    assert_int_equal(p.uid, geteuid());
    assert_int_equal(p.gid, getegid());
    assert_int_equal(p.pid, pid);
    assert_true(p.assurance >= ASSURANCE_PID);
    assert_true(p.pidfd >= 0);
    assert_true(fcntl(p.pidfd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(p.audit_session, own);
    assert_int_equal(prctl(PR_GET_NAME, name), 0); /* the child's too */
    assert_string_equal(p.comm, name);
    peer_clear(&p);
    assert_false(p.known);
    peer_clear(&p); /* twice does no harm */
    stop(pid, fd);
    assert_int_equal(count_fds(), before);
}

/* Goal: a peer that is dead and reaped keeps its uid, but is no process, no session and no host
 * peer. */
static void test_dead(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    int fd, before = count_fds();
    pid_t pid = start(l, 0, LEAVE, &fd);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(peer_read(fd, &p), 0);
    assert_true(p.known);
    assert_int_equal(p.uid, geteuid());
    assert_int_equal(p.assurance, ASSURANCE_UID);
    assert_int_equal(p.audit_session, PEER_NO_SESSION);
    assert_int_equal(p.loginuid, PEER_NO_LOGINUID);
    assert_int_equal(p.pidfd, -1);
    assert_true(p.foreign);
    assert_string_equal(p.unit, "");
    peer_clear(&p);
    close(fd);
    assert_int_equal(count_fds(), before);
}

/* Goal: a zombie is as dead as a reaped process. */
static void test_zombie(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    siginfo_t info;
    int fd;
    pid_t pid = start(l, 0, LEAVE, &fd);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(peer_read(fd, &p), 0);
    assert_int_equal(p.assurance, ASSURANCE_UID);
    assert_true(p.foreign);
    peer_clear(&p);
    stop(pid, fd);
}

/* Goal: another uid is seen as that uid; with root only. */
static void test_other_uid(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    int fd;
    if (geteuid() != 0)
        skip();
    pid_t pid = start(l, 54321, WAIT, &fd);
    assert_int_equal(peer_read(fd, &p), 0);
    assert_int_equal(p.uid, 54321);
    assert_int_equal(p.gid, 54321);
    assert_true(p.assurance >= ASSURANCE_PID);
    peer_clear(&p);
    stop(pid, fd);
}

/* Goal: a process that changed its uid after connecting is believed no further than the kernel's
 * uid. */
static void test_changed_uid(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    int fd;
    if (geteuid() != 0)
        skip();
    pid_t pid = start(l, 0, DROP_ROOT, &fd);
    assert_int_equal(peer_read(fd, &p), 0);
    assert_int_equal(p.uid, 0);
    assert_int_equal(p.assurance, ASSURANCE_UID);
    assert_true(p.foreign);
    assert_int_equal(p.pidfd, -1);
    peer_clear(&p);
    stop(pid, fd);
}

/* Goal: what is no connected Unix socket gives an error and nothing known. */
static void test_no_peer(void **state)
{
    struct peer p;
    (void)state;
    int tcp = socket(AF_INET, SOCK_STREAM, 0), lone = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(peer_read(tcp, &p) < 0);
    assert_false(p.known);
    assert_int_equal(peer_read(lone, &p), -ENOTCONN);
    assert_false(p.known);
    assert_int_equal(peer_read(-1, &p), -EBADF);
    assert_false(p.known);
    peer_clear(&p);
    struct peer zero = {0};
    peer_clear(&zero); /* must not close descriptor 0 */
    assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
    close(tcp);
    close(lone);
}

/* Goal: clearing a zeroed peer leaves descriptor 0 alone. */
static void test_clear_zero(void **state)
{
    int pipes[2];
    (void)state;
    int kept = dup(0);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(dup2(pipes[0], 0), 0);
    struct peer zero = {0};
    peer_clear(&zero);
    assert_true(fcntl(0, F_GETFD) >= 0);
    if (kept >= 0)
        dup2(kept, 0);
    else
        close(0);
    if (kept >= 0)
        close(kept);
    close(pipes[0]);
    close(pipes[1]);
}

/* Goal: a process of one's own choosing is read the same way; a gone one is -ESRCH. */
static void test_read_pid(void **state)
{
    struct peer p;
    (void)state;
    assert_int_equal(peer_read_pid(getpid(), &p), 0);
    assert_true(p.known);
    assert_int_equal(p.uid, geteuid());
    assert_int_equal(p.pid, getpid());
    assert_int_equal(p.assurance, ASSURANCE_PID);
    peer_clear(&p);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(peer_read_pid(pid, &p), -ESRCH);
    assert_false(p.known);
    assert_int_equal(peer_read_pid(0, &p), -EINVAL);
    assert_int_equal(peer_read_pid(-1, &p), -EINVAL);
}

/* Goal: on a kernel that pins no peers, the process is looked up by number, and said to be. */
static void test_old_kernel(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    int fd, before = count_fds();
    pid_t pid = start(l, 0, WAIT, &fd);
    pidfd_errno = ENOPROTOOPT;
    assert_int_equal(peer_read(fd, &p), 0);
    pidfd_errno = 0;
    assert_int_equal(p.assurance, ASSURANCE_PID);
    assert_int_equal(p.pid, pid);
    assert_true(p.pidfd >= 0);
    peer_clear(&p);
    stop(pid, fd);
    assert_int_equal(count_fds(), before);
}

/* Goal: there, a number whose owner no longer holds the connection may be another's: it is not
 * believed. */
static void test_old_kernel_hung_up(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    struct pollfd closed = {.events = POLLIN};
    int fd;
    pid_t pid = start(l, 0, HANG_UP, &fd);
    closed.fd = fd;
    assert_int_equal(poll(&closed, 1, 10000), 1);
    pidfd_errno = ENOPROTOOPT;
    assert_int_equal(peer_read(fd, &p), 0);
    pidfd_errno = 0;
    assert_int_equal(p.assurance, ASSURANCE_UID);
    assert_true(p.foreign);
    assert_int_equal(p.pidfd, -1);
    stop(pid, fd);
}

/* Goal: every other failure to pin means a peer that is gone: no second way is tried. */
static void test_pin_fails(void **state)
{
    static const int errors[] = {EINVAL, ESRCH, ENODATA, EMFILE};
    const struct listener *l = *state;
    struct peer p;
    int fd;
    pid_t pid = start(l, 0, WAIT, &fd);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        pidfd_errno = errors[i];
        assert_int_equal(peer_read(fd, &p), 0);
        pidfd_errno = 0;
        assert_int_equal(p.assurance, ASSURANCE_UID);
        assert_int_equal(p.uid, geteuid());
        assert_true(p.foreign);
    }
    stop(pid, fd);
}

/* Goal: a name with control bytes is made printable. */
static void test_comm(void **state)
{
    const struct listener *l = *state;
    struct peer p;
    int fd;
    pid_t pid = start(l, 0, RENAME, &fd);
    assert_int_equal(peer_read(fd, &p), 0);
    assert_string_equal(p.comm, "a?[2J)b");
    peer_clear(&p);
    stop(pid, fd);
}

/* --- Control groups
 * ------------------------------------------------------------------------------- */

struct shape {
    const char *text;
    bool foreign;
    const char *unit;
};

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct shape with_systemd[] = {
    {"0::/system.slice/nginx.service\n", false, "nginx.service"},
    {"0::/system.slice/system-getty.slice/getty@tty1.service\n", false, "getty@tty1.service"},
    {"0::/system.slice/foo.service/workers\n", false, "foo.service"},
    {"0::/system.slice/docker.service\n", false, "docker.service"},
    {"0::/system.slice/run-r12.scope\n", false, "run-r12.scope"},
    {"0::/init.scope\n", false, "init.scope"},
    {"0::/\n", false, ""},
    {"0::/user.slice/user-1000.slice/session-3.scope\n", false, "session-3.scope"},
    {"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", false, "user@1000.service"},
    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", false,
     "user@1000.service"},
    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-a.slice/x.scope\n", false,
     "user@1000.service"},
    {"1:name=systemd:/system.slice/a.service\n0::/\n", false, "a.service"},
    /* not of this host */
    {"0::/../other.slice/x.scope\n", true, ""},
    {"0::/..\n", true, ""},
    {"0::/system.slice/../../x\n", true, ""},
    {"0::/machine.slice/machine-x.scope/payload/system.slice/y.service\n", true, ""},
    {"0::/system.slice/x.service/payload/system.slice/ssh.service\n", true, ""},
    {"0::/system.slice/x.service/payload\n", true, ""},
    {"0::/user.slice/user-0.slice/session-1.scope/system.slice/ssh.service\n", true, ""},
    {"0::/user.slice/user-0.slice/session-1.scope/init.scope\n", true, ""},
    {"0::/system.slice/docker-" HEX64 ".scope\n", true, ""},
    {"0::/docker/" HEX64 "\n", true, ""},
    {"0::/system.slice/foo.service/" HEX64 "\n", true, ""},
    {"0::/kubepods.slice/kubepods-burstable.slice/x\n", true, ""},
    {"0::/system.slice/kubepods-besteffort-pod1.slice/cri-containerd-1.scope\n", true, ""},
    {"0::/lxc.payload.web/system.slice/ssh.service\n", true, ""},
    {"0::/user.slice/user-1.slice/user@1.service/user.slice/libpod-1.scope/container\n", true, ""},
    {"0::/user.slice/user-1.slice/user@1.service/app.slice/a.service/b.service/c.service\n", true,
     ""},
    {"0::/user.slice/user-1.slice/user@1.service/system.slice/ssh.service\n", true, ""},
    {"0::/system.slice/user@1.service/system.slice/ssh.service\n", true, ""},
    {"0::/custom.slice/x.service\n", true, ""},
    {"0::/system.slice-evil/x.service\n", true, ""},
    {"0::/system.slice/gone.service (deleted)\n", true, ""},
    {"0::\n", true, ""},
    {"", true, ""},
    {"4:memory:/system.slice/a.service\n", true, ""},
    {"1:name=systemd:/docker/1\n0::/\n", true, ""},
    {"1:name=systemd:/\n0::/docker/1\n", true, ""},
    /* a name that only looks like a line of its own must not count as one */
    {"0::/custom.slice/:name=systemd:/system.slice/x.service\n", true, ""},
};

static const struct shape without_systemd[] = {
    {"9:name=systemd:/\n4:memory:/process_api/x\n0::/\n", false, ""},
    {"0::/docker/1\n", false, ""},
    {"0::/sshd\n", false, ""},
    {"", false, ""},
    {"0::/../x\n", true, ""},
    {"9:name=systemd:/../x\n0::/\n", true, ""},
    {"9:name=systemd:/\n0::/..\n", true, ""},
};

static void check_shapes(const struct shape *list, size_t n, bool systemd)
{
    for (size_t i = 0; i < n; i++) {
        struct cgroup c;
        cgroup_judge(list[i].text, systemd, &c);
        if (c.foreign != list[i].foreign || strcmp(c.unit, list[i].unit) != 0)
            fail_msg("%s: foreign %d, unit \"%s\"", list[i].text, c.foreign, c.unit);
    }
}

/* Goal: host shapes are told from containers', and the unit is named. */
static void test_shapes(void **state)
{
    (void)state;
    check_shapes(with_systemd, ARRAY_LEN(with_systemd), true);
}

/* Goal: without systemd only a path outside of our own root is foreign. */
static void test_shapes_without_systemd(void **state)
{
    (void)state;
    check_shapes(without_systemd, ARRAY_LEN(without_systemd), false);
}

/* Goal: a unit's name that does not fit is left out, not cut. */
static void test_long_unit(void **state)
{
    char text[600];
    struct cgroup c;
    (void)state;
    snprintf(text, sizeof(text), "0::/system.slice/%0300d.service\n", 0);
    text[17] = 'u'; /* not only digits */
    cgroup_judge(text, true, &c);
    assert_string_equal(c.unit, "");
}

/* --- /proc/PID/stat
 * ------------------------------------------------------------------------------- */

/* Goal: the start time is found behind any name, and a zombie does not run. */
static void test_stat(void **state)
{
    static const char rest[] = "1 1 1 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 4711 100 200";
    char text[256];
    uint64_t at = 0;
    bool running = false;
    (void)state;
    snprintf(text, sizeof(text), "7 (a) Z 9 (b c) S %s", rest);
    assert_int_equal(proc_parse_stat(text, &at, &running), 0);
    assert_int_equal(at, 4711);
    assert_true(running);
    snprintf(text, sizeof(text), "7 (sh) Z %s", rest);
    assert_int_equal(proc_parse_stat(text, &at, &running), 0);
    assert_false(running);
    assert_int_equal(proc_parse_stat("7 (sh) S 1 1", &at, &running), -EBADMSG);
    assert_int_equal(proc_parse_stat("7 (sh)", &at, &running), -EBADMSG);
    assert_int_equal(proc_parse_stat("", &at, &running), -EBADMSG);
    assert_int_equal(proc_start(getpid(), &at, &running), 0);
    assert_true(running && at > 0);
}

int main(void)
{
#define PEER_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        PEER_TEST(test_live),
        PEER_TEST(test_dead),
        PEER_TEST(test_zombie),
        PEER_TEST(test_other_uid),
        PEER_TEST(test_changed_uid),
        cmocka_unit_test(test_no_peer),
        cmocka_unit_test(test_clear_zero),
        cmocka_unit_test(test_read_pid),
        PEER_TEST(test_old_kernel),
        PEER_TEST(test_old_kernel_hung_up),
        PEER_TEST(test_pin_fails),
        PEER_TEST(test_comm),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_shapes_without_systemd),
        cmocka_unit_test(test_long_unit),
        cmocka_unit_test(test_stat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
