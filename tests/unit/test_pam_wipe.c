/* What a person typed is gone from the process when the hook returns, without waiting for pam_end.
 */
#include "pam_fixture.h"

#include <sys/mman.h>

#define NEEDLE 24
#define TYPED (4 * NEEDLE) /* free() itself overwrites the first bytes of what it is given */
#define MAPPING_MAX ((size_t)64 << 20) /* larger ones are a sanitizer's shadow */

/* The answer is computed, so that no constant or literal of the test matches it. */
static char needle_at(size_t i)
{
    return (char)('A' + (i * 7 + 3) % 26);
}

static char *make_answer(size_t n)
{
    char *answer = malloc(n + 1);
    assert_non_null(answer);
    for (size_t i = 0; i < n; i++)
        answer[i] = needle_at(i % NEEDLE);
    answer[n] = '\0';
    return answer;
}

struct typist {
    size_t length;
    bool fails; /* the conversation hands over the answer, but reports an error */
};

static int type_answer(int count, const struct pam_message **messages,
                       struct pam_response **responses, void *data)
{
    const struct typist *t = data;
    (void)messages;
    assert_int_equal(count, 1);
    *responses = calloc(1, sizeof(**responses));
    assert_non_null(*responses);
    (*responses)->resp = make_answer(t->length);
    return t->fails ? PAM_CONV_ERR : PAM_SUCCESS;
}

static size_t count_in(const char *bytes, size_t n)
{
    size_t found = 0;
    for (size_t at = 0; at + NEEDLE <= n; at++) {
        size_t same = 0;
        while (same < NEEDLE && bytes[at + same] == needle_at(same))
            same++;
        found += same == NEEDLE;
    }
    return found;
}

static size_t count_in_mapping(int memory, size_t first, size_t end)
{
    size_t n = end - first, found = 0;
    char *copy = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(copy != MAP_FAILED);
    ssize_t got = pread(memory, copy, n, (off_t)first);
    if (got > 0)
        found = count_in(copy, (size_t)got);
    munmap(copy, n);
    return found;
}

/* How often the answer stands in this process's writable memory. */
static size_t count_in_process(void)
{
    char line[512];
    size_t found = 0, first, end;
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_non_null(maps);
    assert_true(memory >= 0);
    while (fgets(line, sizeof(line), maps)) {
        char mode[8];
        if (sscanf(line, "%zx-%zx %7s", &first, &end, mode) == 3 && mode[0] == 'r' &&
            mode[1] == 'w' && end - first <= MAPPING_MAX)
            found += count_in_mapping(memory, first, end);
    }
    fclose(maps);
    close(memory);
    return found;
}

static void script_take_answer(struct agent *a)
{
    const struct typist *t = a->arg;
    bool sent = !t->fails && t->length <= DIALOGUE_ANSWER_MAX;
    agent_hear(a, DIALOGUE_BEGIN);
    agent_say(a, DIALOGUE_PROMPT, DIALOGUE_STYLE_ECHO_OFF, "Code: ");
    agent_hear(a, sent ? DIALOGUE_ANSWER : DIALOGUE_ABORT);
    must(!sent || a->heard.field[DIALOGUE_TAG_ANSWER].n == t->length);
}

/* Goal: the search finds an answer that is there, so that finding none means something. */
static void test_search(void **state)
{
    (void)state;
    char *answer = make_answer(TYPED);
    assert_true(count_in_process() >= 1);
    explicit_bzero(answer, TYPED);
    free(answer);
    assert_int_equal(count_in_process(), 0);
}

/* Goal: no copy of an answer is left: not of one that was sent, nor of one too long, nor of one
 * that came with a failed conversation. */
static void test_answer_wiped(void **state)
{
    static struct typist typists[] = {
        {TYPED, false}, {DIALOGUE_ANSWER_MAX, false}, {600, false}, {DIALOGUE_ANSWER_MAX, true}};
    struct host *h = *state;
    for (size_t i = 0; i < sizeof(typists) / sizeof(typists[0]); i++) {
        struct pam_conv conv = {.conv = type_answer, .appdata_ptr = &typists[i]};
        host_begin(h);
        assert_int_equal(pam_set_item(h->pamh, PAM_CONV, &conv), PAM_SUCCESS);
        host_agent(h, script_take_answer, &typists[i]);
        assert_int_equal(pam_authenticate(h->pamh, 0), PAM_AUTH_ERR);
        assert_int_equal(count_in_process(), 0);
        host_agent_content(h);
    }
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    print_message("1..0 # SKIP ThreadSanitizer's shadow of all memory takes minutes to search\n");
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        host_test(test_search),
        host_test(test_answer_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
