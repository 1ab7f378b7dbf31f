/* Looks for secrets where none may be: in a process's memory, or in files.
 *
 *   memory-search pid PID... < SECRETS      all memory of the processes, unreadable pages included
 *   memory-search files PATH... < SECRETS   files, and all files below folders
 *   memory-search hold                      reads standard input and holds it, until it is killed
 *
 * A line of SECRETS is LABEL<TAB>TEXT, or LABEL<TAB>hex:BYTES. Each secret is looked for as it is,
 * in hex (both cases), in base64 (wherever it may begin in a group), and as UTF-16. Each find is a
 * line "WHERE LABEL FORM PLACE"; the last line is how many bytes were looked at. Exit 0 nothing
 * found, 1 found, 2 something could not be read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATTERNS_MAX 2048
#define PATTERN_MAX 2048
#define CHUNK (1 << 20)

struct pattern {
    uint8_t *p;
    size_t n;
    const char *form;
    char label[64];
    int next; /* with the same first two bytes; -1 = none */
};

static struct pattern pattern[PATTERNS_MAX];
static int count;
static int first[65536];
static uint64_t looked_at;
static unsigned found, failed;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* --- Patterns ------------------------------------------------------------------------------------
 */

static void add(const char *label, const char *form, const uint8_t *p, size_t n)
{
    if (n < 4)
        return; /* found everywhere */
    if (count == PATTERNS_MAX || n > PATTERN_MAX) {
        fprintf(stderr, "memory-search: too much to look for\n");
        exit(2);
    }
    struct pattern *t = &pattern[count];
    unsigned key = (unsigned)p[0] << 8 | p[1];
    t->p = malloc(n);
    if (!t->p)
        die("malloc");
    memcpy(t->p, p, n);
    t->n = n;
    t->form = form;
    snprintf(t->label, sizeof(t->label), "%s", label);
    t->next = first[key];
    first[key] = count++;
}

static void add_hex(const char *label, const uint8_t *p, size_t n)
{
    static const char *const digits[] = {"0123456789abcdef", "0123456789ABCDEF"};
    uint8_t text[PATTERN_MAX];
    for (int k = 0; k < 2 && 2 * n <= sizeof(text); k++) {
        for (size_t i = 0; i < n; i++) {
            text[2 * i] = (uint8_t)digits[k][p[i] >> 4];
            text[2 * i + 1] = (uint8_t)digits[k][p[i] & 15];
        }
        add(label, k ? "HEX" : "hex", text, 2 * n);
    }
}

/* The groups that hold nothing but the secret, when it begins at each place of a group. */
static void add_base64(const char *label, const uint8_t *p, size_t n)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[PATTERN_MAX];
    for (size_t skip = 0; skip < 3; skip++) {
        size_t len = 0;
        for (size_t i = skip; i + 3 <= n && len + 4 <= sizeof(text); i += 3) {
            uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
            for (int shift = 18; shift >= 0; shift -= 6)
                text[len++] = (uint8_t)letters[v >> shift & 63];
        }
        if (len >= 12)
            add(label, "base64", text, len);
    }
}

static void add_utf16(const char *label, const uint8_t *p, size_t n)
{
    uint8_t text[PATTERN_MAX] = {0};
    for (size_t i = 0; i < n && 2 * i + 1 < sizeof(text); i++)
        text[2 * i] = p[i];
    add(label, "utf-16", text, 2 * n <= sizeof(text) ? 2 * n : sizeof(text));
}

static size_t unhex(const char *s, uint8_t *out)
{
    size_t n = 0;
    unsigned v;
    for (; s[0] && s[1] && n < PATTERN_MAX && sscanf(s, "%2x", &v) == 1; s += 2)
        out[n++] = (uint8_t)v;
    return n;
}

static void read_secrets(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        uint8_t raw[PATTERN_MAX];
        line[strcspn(line, "\n")] = '\0';
        char *secret = strchr(line, '\t');
        if (!secret)
            continue;
        *secret++ = '\0';
        size_t len = strnlen(secret, PATTERN_MAX);
        if (strncmp(secret, "hex:", 4) == 0)
            len = unhex(secret + 4, raw);
        else
            memcpy(raw, secret, len);
        add(line, "as it is", raw, len);
        add_hex(line, raw, len);
        add_base64(line, raw, len);
        if (strncmp(secret, "hex:", 4) != 0)
            add_utf16(line, raw, len);
    }
    free(line);
    if (count == 0) {
        fprintf(stderr, "memory-search: nothing to look for\n");
        exit(2);
    }
}

/* --- Looking
 * -------------------------------------------------------------------------------------- */

static void look(const uint8_t *p, size_t n, const char *where, const char *place, uint64_t at)
{
    for (size_t i = 0; i + 1 < n; i++) {
        for (int k = first[(unsigned)p[i] << 8 | p[i + 1]]; k >= 0; k = pattern[k].next) {
            const struct pattern *t = &pattern[k];
            if (t->n > n - i || memcmp(p + i, t->p, t->n) != 0)
                continue;
            printf("%s %s, %s, %s+%" PRIx64 "\n", where, t->label, t->form, place, at + i);
            found++;
        }
    }
}

/* Chunks overlap by the longest pattern, so a find may be told twice. Returns bytes read. */
static uint64_t look_in_fd(int fd, uint64_t from, uint64_t to, const char *where, const char *place)
{
    static uint8_t chunk[CHUNK + PATTERN_MAX];
    size_t kept = 0;
    uint64_t at = from;
    while (at < to) {
        size_t want = to - at < CHUNK ? (size_t)(to - at) : CHUNK;
        ssize_t r = pread(fd, chunk + kept, want, (off_t)at);
        if (r <= 0)
            break;
        look(chunk, kept + (size_t)r, where, place, at - kept - from);
        looked_at += (uint64_t)r;
        at += (uint64_t)r;
        size_t all = kept + (size_t)r, keep = all < PATTERN_MAX ? all : PATTERN_MAX;
        memmove(chunk, chunk + all - keep, keep);
        kept = keep;
    }
    return at - from;
}

static void look_in_process(const char *pid)
{
    char path[64], where[64], line[1024], name[512];
    snprintf(path, sizeof(path), "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        die(path);
    snprintf(path, sizeof(path), "/proc/%s/mem", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die(path);
    snprintf(where, sizeof(where), "process %s:", pid);
    while (fgets(line, sizeof(line), maps)) {
        uint64_t from, to;
        char perms[8];
        name[0] = '\0';
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %511[^\n]", &from, &to, perms,
                   name) < 3)
            continue;
        if (strcmp(name, "[vsyscall]") == 0 || strcmp(name, "[vvar]") == 0 ||
            strncmp(name, "[vvar", 5) == 0)
            continue;
        char place[560];
        snprintf(place, sizeof(place), "%s %s", name[0] ? name : "(no name)", perms);
        if (look_in_fd(fd, from, to, where, place) == 0 && perms[0] == 'r' && perms[1] == 'w') {
            fprintf(stderr, "memory-search: %s of %s can't be read\n", place, pid);
            failed++;
        }
    }
    fclose(maps);
    close(fd);
}

static void look_in_file(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return; /* gone meanwhile */
    if (S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            char below[4096];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
            look_in_file(below);
        }
        if (d)
            closedir(d);
        else
            failed++;
        return;
    }
    if (!S_ISREG(st.st_mode))
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        failed++;
        return;
    }
    look_in_fd(fd, 0, (uint64_t)st.st_size, "file", path);
    close(fd);
}

static void hold(void)
{
    static char held[1 << 16];
    size_t n = fread(held, 1, sizeof(held), stdin);
    printf("%zu bytes\n", n);
    fflush(stdout);
    while (n > 0)
        pause();
}

int main(int argc, char **argv)
{
    memset(first, 0xff, sizeof(first));
    if (argc == 2 && strcmp(argv[1], "hold") == 0)
        hold();
    int files = argc > 2 && strcmp(argv[1], "files") == 0;
    if (argc < 3 || (!files && strcmp(argv[1], "pid") != 0)) {
        fputs("usage: memory-search pid PID... | files PATH... | hold\n", stderr);
        return 2;
    }
    read_secrets();
    for (int i = 2; i < argc; i++) {
        if (files)
            look_in_file(argv[i]);
        else
            look_in_process(argv[i]);
    }
    printf("%" PRIu64 " bytes looked at, %d patterns, found %u\n", looked_at, count, found);
    return failed ? 2 : found ? 1 : 0;
}
