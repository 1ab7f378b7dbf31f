/* The module as an artefact: what it exports to the process that loads it, what it draws in. */
#include "pam_fixture.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const exported[] = {"pam_sm_authenticate",  "pam_sm_setcred",
                                       "pam_sm_acct_mgmt",     "pam_sm_open_session",
                                       "pam_sm_close_session", "pam_sm_chauthtok"};

struct image {
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t n;
    const ElfW(Shdr) * dynsym, *dynstr, *dynamic;
};

/* Pointer to n bytes at offset, which must lie inside the file. */
static const void *at(const struct image *m, size_t offset, size_t n)
{
    assert_true(offset <= m->n && n <= m->n - offset);
    return m->bytes + offset;
}

static int load(void **state)
{
    struct image *m = calloc(1, sizeof(*m));
    struct stat st;
    assert_non_null(m);
    find_module(m->path);
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    m->n = (size_t)st.st_size;
    m->bytes = mmap(NULL, m->n, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(m->bytes != MAP_FAILED);
    close(fd);
    const ElfW(Ehdr) *elf = at(m, 0, sizeof(*elf));
    assert_memory_equal(elf->e_ident, ELFMAG, SELFMAG);
    assert_int_equal(elf->e_type, ET_DYN);
    const ElfW(Shdr) *section = at(m, elf->e_shoff, sizeof(*section) * elf->e_shnum);
    for (size_t i = 0; i < elf->e_shnum; i++) {
        if (section[i].sh_type == SHT_DYNAMIC)
            m->dynamic = &section[i];
        if (section[i].sh_type != SHT_DYNSYM)
            continue;
        m->dynsym = &section[i];
        assert_true(section[i].sh_link < elf->e_shnum);
        m->dynstr = &section[section[i].sh_link];
    }
    assert_non_null(m->dynsym);
    assert_non_null(m->dynamic);
    *state = m;
    return 0;
}

static int unload(void **state)
{
    struct image *m = *state;
    munmap(m->bytes, m->n);
    free(m);
    return 0;
}

static const char *name_at(const struct image *m, size_t offset)
{
    assert_true(offset < m->dynstr->sh_size);
    return at(m, m->dynstr->sh_offset + offset, m->dynstr->sh_size - offset);
}

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, list[i]) == 0)
            return true;
    }
    return false;
}

/* Goal: the dynamic symbol table defines the six hooks and nothing else. */
static void test_exports(void **state)
{
    const struct image *m = *state;
    size_t n = m->dynsym->sh_size / sizeof(ElfW(Sym)), found = 0;
    const ElfW(Sym) *symbol = at(m, m->dynsym->sh_offset, m->dynsym->sh_size);
    for (size_t i = 0; i < n; i++) {
        const char *name = name_at(m, symbol[i].st_name);
        if (symbol[i].st_shndx == SHN_UNDEF)
            continue;
        if (!is_one_of(name, exported, COUNT(exported)))
            fail_msg("the module exports %s", name);
        found++;
    }
    assert_int_equal(found, COUNT(exported));
}

/* Goal: nothing but libpam and libc is drawn in (in sanitizer builds, their run-time libraries). */
static void test_needed(void **state)
{
    static const char *const allowed[] = {"libpam.so.0", "libc.so.6"};
    static const char *const sanitizers[] = {"libasan.so", "libubsan.so", "libtsan.so",
                                             "libgcc_s.so", "libm.so"};
    const struct image *m = *state;
    const ElfW(Dyn) *entry = at(m, m->dynamic->sh_offset, m->dynamic->sh_size);
    size_t found = 0;
    for (; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag != DT_NEEDED)
            continue;
        const char *name = name_at(m, entry->d_un.d_val);
        bool ok = is_one_of(name, allowed, COUNT(allowed));
        found += ok;
        for (size_t i = 0; SANITIZED && i < COUNT(sanitizers); i++)
            ok = ok || strncmp(name, sanitizers[i], strlen(sanitizers[i])) == 0;
        if (!ok)
            fail_msg("the module needs %s", name);
    }
    assert_int_equal(found, COUNT(allowed));
}

/* Goal: the module draws in nothing that starts processes or threads, looks at the environment,
 * changes signals or opens files. */
static void test_imports(void **state)
{
    static const char *const forbidden[] = {
        "fork",         "vfork",      "posix_spawn",    "posix_spawnp", "execve",       "execv",
        "system",       "popen",      "pthread_create", "clone",        "signal",       "sigaction",
        "sigprocmask",  "getenv",     "secure_getenv",  "setenv",       "putenv",       "atexit",
        "__cxa_atexit", "open",       "open64",         "openat",       "fopen",        "fopen64",
        "getpwnam",     "getpwnam_r", "getpwuid",       "getpwuid_r",   "pam_set_data", "exit",
        "_exit",        "abort",      "strcpy",         "strcat",       "sprintf",      "dlopen"};
    const struct image *m = *state;
    size_t n = m->dynsym->sh_size / sizeof(ElfW(Sym)), undefined = 0;
    const ElfW(Sym) *symbol = at(m, m->dynsym->sh_offset, m->dynsym->sh_size);
    for (size_t i = 0; i < n; i++) {
        const char *name = name_at(m, symbol[i].st_name);
        if (symbol[i].st_shndx != SHN_UNDEF)
            continue;
        undefined++;
        if (is_one_of(name, forbidden, COUNT(forbidden)))
            fail_msg("the module uses %s", name);
    }
    assert_true(undefined > 10); /* the table was the right one */
}

/* Goal: the module loads by itself, every symbol bound at once as libpam asks, and has every hook.
 */
static void test_loads(void **state)
{
    const struct image *m = *state;
    void *module = dlopen(m->path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fail_msg("%s", dlerror());
    for (size_t i = 0; i < COUNT(exported); i++)
        assert_non_null(dlsym(module, exported[i]));
    assert_null(dlsym(module, "relay_run"));
    assert_int_equal(dlclose(module), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exports),
        cmocka_unit_test(test_needed),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_loads),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
