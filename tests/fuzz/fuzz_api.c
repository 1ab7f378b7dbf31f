/* HTTP requests to the whole agent: paths, queries and bodies through parsing, routing, schemas,
 * policy and handlers.
 *
 * The input is requests, each ended by 0xff: its first byte says by whom (the root token or the
 * process itself, which may or may not be a root peer), then "METHOD PATH\n" and the body.
 * Promised: an answer each time, in Vault's form, never a 500; and the agent answers a good request
 * afterwards. */
#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/whole.h"

#define TARGET_MAX 12000

/* An answer is empty (204), or JSON that begins as Vault's does. */
static void check_answer(int status, const struct buf *reply)
{
    _cleanup_json_ json_t *answer = NULL;
    PROMISE(status >= 200 && status < 600);
    if (status == 500)
        fprintf(stderr, "answer: %s\n", buf_str(reply));
    PROMISE(status != 500);
    if (status == 204 || reply->len == 0)
        return;
    answer = json_loadb(buf_str(reply), reply->len, JSON_REJECT_DUPLICATES, NULL);
    PROMISE(json_is_object(answer));
    /* A deleted version is 404 with its metadata, and sys/health says all by its status. */
    if (status >= 400 && !json_object_get(answer, "data") && !json_object_get(answer, "sealed"))
        PROMISE(json_is_array(json_object_get(answer, "errors")));
}

/* The method and target as they may stand in a request line: what can't is fuzz_http's. */
static bool take_line(const uint8_t **p, size_t *n, char method[20], char target[TARGET_MAX])
{
    const uint8_t *end = memchr(*p, '\n', *n);
    const uint8_t *space = end ? memchr(*p, ' ', (size_t)(end - *p)) : NULL;
    if (!space || space - *p > 16 || space == *p || end - space > TARGET_MAX - 8)
        return false;
    size_t m = (size_t)(space - *p), t = (size_t)(end - space - 1);
    memcpy(method, *p, m);
    method[m] = '\0';
    memcpy(target, space + 1, t);
    target[t] = '\0';
    for (size_t i = 0; i < t; i++) {
        if ((uint8_t)target[i] <= ' ' || (uint8_t)target[i] >= 0x7f)
            return false;
    }
    *n -= (size_t)(end + 1 - *p);
    *p = end + 1;
    return t > 0 && strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == m;
}

static void play_one(struct agent *a, const uint8_t *p, size_t n)
{
    _cleanup_buf_ struct buf reply = BUF_INIT(1 << 22);
    char method[20], target[TARGET_MAX];
    if (n < 2)
        return;
    uint8_t who = *p++;
    n--;
    if (!take_line(&p, &n, method, target))
        return;
    a->root_uid = who & 2 ? geteuid() : (uid_t)-2;
    int status = whole_ask(method, target, (const char *)p, n, who & 1, &reply);
    check_answer(status, &reply);
    if (status < 400 && strcmp(method, "GET") != 0 && strcmp(method, "LIST") != 0)
        whole_spoilt();
    a->root_uid = geteuid();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct agent *a = whole_agent();
    while (n > 0) {
        const uint8_t *end = memchr(p, 0xff, n);
        size_t part = end ? (size_t)(end - p) : n;
        play_one(a, p, part);
        p += part + (end != NULL);
        n -= part + (end != NULL);
    }
    int status = whole_ask("GET", "/v1/kv1/a", "", 0, true, NULL);
    PROMISE(status == 200 || status == 404 || status == 403 || status == 503);
    return 0;
}
