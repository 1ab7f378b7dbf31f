/* Wiping memory and scope-bound cleanup.
 *
 * Everything that ever held a secret is freed through here. Cleanup attributes run in reverse order
 * of declaration; every destructor accepts NULL. Allocation failure is reported (-ENOMEM), never
 * fatal: an attacker who can exhaust memory must not be able to choose when the agent dies. */
#ifndef COUNTERSIGN_BASE_MEM_H
#define COUNTERSIGN_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _must_check_ __attribute__((warn_unused_result))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Declares `static inline void fn##p(T *p)` which calls fn on *p; for _cleanup_(fn##p). */
#define DEFINE_CLEANUP(type, fn)                                                                   \
    static inline void fn##p(type *p)                                                              \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }

static inline void freep(void *p)
{
    free(*(void **)p);
}

/* Overwrites n bytes at p with zeros in a way the compiler keeps (sodium_memzero). NULL with n = 0
 * is allowed. */
void mem_wipe(void *p, size_t n);

/* Wipes and frees a NUL-terminated string. NULL is allowed. */
void mem_free_str(char *s);
DEFINE_CLEANUP(char *, mem_free_str)
#define _cleanup_secret_ _cleanup_(mem_free_strp)

/* Wipes n bytes and frees them. NULL is allowed. */
void mem_free(void *p, size_t n);

/* Copies n bytes into new memory with a NUL behind them. NULL on lack of memory. The caller frees
 * it (mem_free_str() where it may be secret). */
char *mem_dup(const void *p, size_t n);

/* Copies text into size bytes (at least 1), cut where it is longer: snprintf() with "%s", for what
 * is done with each request. */
void mem_text(char *to, size_t size, const char *text);

/* Whether two byte strings are equal; time depends on the lengths only. */
bool mem_equal(const void *a, size_t alen, const void *b, size_t blen);
/* The same for strings; NULL equals nothing. */
bool mem_equal_str(const char *a, const char *b);

/* Prevents core dumps and ptrace by others: RLIMIT_CORE 0 and PR_SET_DUMPABLE 0. Returns 0 or
 * -errno. Called first thing in each of our programs. */
int mem_harden_process(void);
/* Whether memory can be locked here. libsodium locks the keys' pages, and says nothing when it
 * can't: they could then be swapped out. */
bool mem_can_lock(void);

#endif
