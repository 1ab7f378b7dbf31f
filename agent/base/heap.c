/* Memory is wiped when it is freed, whoever frees it.
 *
 * Our own code wipes what it knows to be secret (mem.h). But secrets also pass through libraries
 * that free them as they are: libpq and OpenSSL (a password), jansson, liboath, libc's stdio. So
 * our programs have a free() and a realloc() of their own, which the libraries are bound to as
 * well. Linked into the programs, not into tests. malloc_usable_size(3): all of a block may be
 * written. */
#include <malloc.h>
#include <stdint.h>
#include <string.h>

#ifdef __has_feature
#define HEAP_CLANG_SANITIZES (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define HEAP_CLANG_SANITIZES 0
#endif

/* Sanitizers have an allocator of their own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !HEAP_CLANG_SANITIZES

extern void __libc_free(void *p);
extern void *__libc_malloc(size_t n);

__attribute__((visibility("default"))) void free(void *p)
{
    if (!p)
        return;
    explicit_bzero(p, malloc_usable_size(p));
    __libc_free(p);
}

/* The libc's own may move a block and leave what was in it behind. */
__attribute__((visibility("default"))) void *realloc(void *p, size_t n)
{
    size_t have = p ? malloc_usable_size(p) : 0;
    void *q;

    if (p && n == 0) {
        free(p);
        return NULL;
    }
    if (n <= have && n >= have / 2) {
        explicit_bzero((uint8_t *)p + n, have - n);
        return p;
    }
    q = __libc_malloc(n);
    if (!q)
        return NULL;
    if (p)
        memcpy(q, p, have < n ? have : n);
    free(p);
    return q;
}

#endif
