/* Feeds a fuzz target each file of its corpus: what was found once is never forgotten. TAP.
 *
 *   replay_NAME FOLDER...
 *
 * A target that finds a promise broken ends the process, so a file that breaks one names itself by
 * being the last that was announced. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static unsigned number, failures;

static void result(int ok, const char *what)
{
    printf("%s %u - %s\n", ok ? "ok" : "not ok", ++number, what);
    failures += !ok;
}

/* In memory of exactly the file's size, so that a byte read behind its end is noticed. */
static int feed(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f || fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode)) {
        if (f)
            fclose(f);
        return -1;
    }
    size_t n = (size_t)st.st_size;
    uint8_t *p = malloc(n ? n : 1);
    int whole = p && fread(p, 1, n, f) == n;
    fclose(f);
    printf("# %s\n", path);
    fflush(stdout);
    if (whole)
        (void)LLVMFuzzerTestOneInput(p, n);
    free(p);
    return whole ? 0 : -1;
}

static void feed_folder(const char *folder)
{
    struct dirent **names = NULL;
    char path[4096], what[4200];
    unsigned fed = 0, bad = 0;
    int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
            if (feed(path) == 0)
                fed++;
            else
                bad++;
        }
        free(names[i]);
    }
    free(names);
    (void)snprintf(what, sizeof(what), "%u inputs of %s break no promise", fed, folder);
    result(fed > 0 && bad == 0, what);
}

int main(int argc, char **argv)
{
    (void)LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        feed_folder(argv[i]);
    printf("1..%u\n", number);
    return failures || number == 0;
}
