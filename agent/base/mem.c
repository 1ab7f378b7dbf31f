#include "base/mem.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void mem_wipe(void *p, size_t n)
{
    if (p && n > 0)
        sodium_memzero(p, n);
}

void mem_free_str(char *s)
{
    if (!s)
        return;
    mem_wipe(s, strlen(s));
    free(s);
}

void mem_free(void *p, size_t n)
{
    if (!p)
        return;
    mem_wipe(p, n);
    free(p);
}

char *mem_dup(const void *p, size_t n)
{
    char *copy;

    if (n == SIZE_MAX)
        return NULL;
    copy = malloc(n + 1);
    if (!copy)
        return NULL;
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_text(char *to, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    memcpy(to, text, n);
    to[n] = '\0';
}

bool mem_equal(const void *a, size_t alen, const void *b, size_t blen)
{
    if (alen != blen)
        return false;
    return alen == 0 || sodium_memcmp(a, b, alen) == 0;
}

bool mem_equal_str(const char *a, const char *b)
{
    if (!a || !b)
        return false;
    return mem_equal(a, strlen(a), b, strlen(b));
}

int mem_harden_process(void)
{
    const struct rlimit none = {0};

    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

bool mem_can_lock(void)
{
    char byte = 0;

    return mlock(&byte, sizeof(byte)) == 0 && munlock(&byte, sizeof(byte)) == 0;
}
