/* Preloaded into the programs: the nth call of a kind fails, once or for good, as shim.h's page
 * says. */

/* What is defined here must not be defined inline by the headers already. */
#undef _FORTIFY_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "trial/shim.h"

#define EXPORT __attribute__((visibility("default")))

static struct shim_slot *slot;

/* A crash says where on standard error: these programs leave no cores. */
static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

static void tell_where(int sig)
{
    void *frames[40];
    int n = backtrace(frames, 40);
    backtrace_symbols_fd(frames, n, 2);
    signal(sig, SIG_DFL);
    raise(sig);
}

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("COUNTERSIGN_NTH"), *name = program_invocation_short_name;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    struct shim_page *p =
        mmap(NULL, sizeof(struct shim_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return;
    enum shim_program which = strcmp(name, "countersignd") == 0            ? SHIM_AGENT
                              : strcmp(name, "countersign-connector") == 0 ? SHIM_CONNECTOR
                                                                           : SHIM_LOGIN;
    slot = &p->slot[which];
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
        signal(deadly[i], tell_where);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool fails(uint32_t kind)
{
    if (!slot || !(slot->kind & kind))
        return false;
    uint32_t n = ++slot->count[__builtin_ctz(kind)], nth = slot->nth;
    if (!nth || n < nth || (n > nth && !slot->for_good))
        return false;
    if (n == nth)
        slot->since_ms = now_ms();
    else if (now_ms() - slot->since_ms > SHIM_FOR_GOOD_MS)
        return false;
    slot->hits++;
    return true;
}

/* --- Memory
 * ------------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);

static void *counted(void *p)
{
    if (slot && p)
        slot->live++;
    return p;
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

EXPORT void *malloc(size_t n)
{
    return fails(SHIM_MALLOC) ? no_memory() : counted(__libc_malloc(n));
}

EXPORT void *calloc(size_t n, size_t size)
{
    return fails(SHIM_MALLOC) ? no_memory() : counted(__libc_calloc(n, size));
}

EXPORT void free(void *p)
{
    if (slot && p)
        slot->live--;
    __libc_free(p);
}

EXPORT void *realloc(void *p, size_t n)
{
    if (fails(SHIM_MALLOC))
        return no_memory();
    if (!p)
        return counted(__libc_realloc(p, n));
    if (!n && slot)
        slot->live--;
    return __libc_realloc(p, n);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
    size_t all;
    return __builtin_mul_overflow(n, size, &all) ? no_memory() : realloc(p, all);
}

EXPORT void *memalign(size_t align, size_t n)
{
    return fails(SHIM_MALLOC) ? no_memory() : counted(__libc_memalign(align, n));
}

EXPORT void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = memalign(align, n);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

/* libsodium's guarded pages; the C library's own use of mmap() does not come by here. */
EXPORT void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (!real)
        real = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    if (fd == -1 && fails(SHIM_MALLOC)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return real(at, n, prot, flags, fd, offset);
}

/* --- Files
 * -------------------------------------------------------------------------------------- */

#define REAL(ret, name, ...)                                                                       \
    static ret (*real)(__VA_ARGS__);                                                               \
    if (!real)                                                                                     \
    real = (ret(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static bool is_file(int fd)
{
    struct stat st;
    return slot && slot->kind && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* A full disk and a broken one take turns. */
static int disk_error(void)
{
    errno = slot->nth % 2 ? ENOSPC : EIO;
    return -1;
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    REAL(ssize_t, write, int, const void *, size_t);
    return is_file(fd) && fails(SHIM_WRITE) ? disk_error() : real(fd, p, n);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return is_file(fd) && fails(SHIM_WRITE) ? disk_error() : real(fd, p, n, at);
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n, at);
}

EXPORT int ftruncate(int fd, off_t n)
{
    REAL(int, ftruncate, int, off_t);
    return is_file(fd) && fails(SHIM_WRITE) ? disk_error() : real(fd, n);
}

EXPORT int ftruncate64(int fd, off_t n)
{
    return ftruncate(fd, n);
}

EXPORT int fsync(int fd)
{
    REAL(int, fsync, int);
    return fails(SHIM_SYNC) ? disk_error() : real(fd);
}

EXPORT int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    return fails(SHIM_SYNC) ? disk_error() : real(fd);
}

/* --- Packets
 * ------------------------------------------------------------------------------------ */

static bool is_packet(int fd)
{
    int type = 0;
    socklen_t n = sizeof(type);
    return slot && slot->kind && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 &&
           type == SOCK_SEQPACKET;
}

static int link_error(void)
{
    static const int errors[] = {EPIPE, EAGAIN, ENOBUFS, ECONNRESET};
    errno = errors[slot->nth % 4];
    return -1;
}

EXPORT ssize_t send(int fd, const void *p, size_t n, int flags)
{
    REAL(ssize_t, send, int, const void *, size_t, int);
    return is_packet(fd) && fails(SHIM_SEND) ? link_error() : real(fd, p, n, flags);
}

EXPORT ssize_t recv(int fd, void *p, size_t n, int flags)
{
    REAL(ssize_t, recv, int, void *, size_t, int);
    return is_packet(fd) && fails(SHIM_RECEIVE) ? link_error() : real(fd, p, n, flags);
}
