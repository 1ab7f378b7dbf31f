/* The HTTP server: what is taken, what is refused, and the form of answers. */
#include "unit/http_fixture.h"

/* Goal: a plain request arrives with everything it said, and the answer has the promised form. */
static void test_plain(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    int fd = dial(w);

    SAY(w, fd, "GET /v1/a?b=c HTTP/1.1\r\nhost: x\r\nx-VAULT-token: \t t1 \t\r\n\r\n", &a);
    assert_int_equal(status_of(&a), 200);
    assert_non_null(strstr(a.text, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(a.text, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(a.text, "\r\nContent-Length: 27\r\n"));
    assert_non_null(strstr(a.text, " GMT\r\n"));
    assert_string_equal(body_of(&a), "GET|/v1/a|b=c|0|811c9dc5|t1");
    assert_false(a.closed);
    assert_int_equal(w->batches, 1);
    assert_int_equal(http_connections(w->server), 1);
    forget(&a);
    close(fd);
    pump(w);
    assert_int_equal(http_connections(w->server), 0);
}

/* Goal: any method of 1 to 16 upper-case letters is taken (hvac sends LIST), others are not. */
static void test_methods(void **state)
{
    struct world *w = *state;

    check_once(w, "LIST /v1/x HTTP/1.1\r\n" HOST "\r\n", 200, "LIST|/v1/x||0|811c9dc5|-");
    check_once(w, "A / HTTP/1.1\r\n" HOST "\r\n", 200, "A|/||0|811c9dc5|-");
    check_once(w, "ABCDEFGHIJKLMNOP / HTTP/1.1\r\n" HOST "\r\n", 200, NULL);
    check_once(w, "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n" HOST "\r\n", 400, NULL);
    check_once(w, "get / HTTP/1.1\r\n" HOST "\r\n", 400, NULL);
    check_once(w, "G-T / HTTP/1.1\r\n" HOST "\r\n", 400, NULL);
    check_once(w, " / HTTP/1.1\r\n" HOST "\r\n", 400, NULL);
    assert_int_equal(w->requests, 3);
}

/* Goal: path and query reach the pipeline as sent, escapes, dots and double slashes untouched. */
static void test_raw_path(void **state)
{
    struct world *w = *state;

    check_once(w, "GET /a%00b%2Fc/../%zz//d?x=%20?y&z HTTP/1.1\r\n" HOST "\r\n", 200,
               "GET|/a%00b%2Fc/../%zz//d|x=%20?y&z|0|811c9dc5|-");
    check_once(w, "GET /? HTTP/1.1\r\n" HOST "\r\n", 200, "GET|/||0|811c9dc5|-");
}

struct bad {
    const char *bytes;
    size_t len;
    int status;
};
#define BAD(status, text)                                                                          \
    {                                                                                              \
        text, sizeof(text) - 1, status                                                             \
    }

static const struct bad bad_requests[] = {
    /* the request line */
    BAD(400, "\x16\x03\x01\x02\x00\x01\xfc\x03\x03" SMUGGLED),
    BAD(400, "\r\n\r\n" SMUGGLED),
    BAD(400, "GET /\r\n\r\n" SMUGGLED),
    BAD(400, "GET\r\n\r\n" SMUGGLED),
    BAD(400, "GET  / HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1 \r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET /a b HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET\t/\tHTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET /ab\0cd HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET /ab\x01 HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET /ab\x7f HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET http://x/a HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET / HTPP/1.1\r\n" HOST "\r\n" SMUGGLED),
    BAD(505, "GET / HTTP/2.0\r\n" HOST "\r\n" SMUGGLED),
    BAD(505, "GET / HTTP/1.2\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.10\r\n" HOST "\r\n" SMUGGLED),
    BAD(505, "GET / HTTP/0.9\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.\r\n" HOST "\r\n" SMUGGLED),
    BAD(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    /* line ends */
    BAD(400, "GET / HTTP/1.1\nHost: x\n\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\nHost: x\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\nHost: x\r\n\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\nHost: x\rFoo: y\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n" SMUGGLED),
    BAD(400, "\nGET / HTTP/1.1\r\n" HOST "\r\n" SMUGGLED),
    /* headers */
    BAD(400, "GET / HTTP/1.1\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "X-Vault-Token: a\r\nx-vault-token: b\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "Authorization: a\r\nAuthorization: a\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "X-Vault-Token: a\0b\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "X-Vault-Token: a\x01\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "X-Vault-Token: a\r\n b\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n Foo: a\r\n" HOST "\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "Foo : a\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "Foo\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "F(o: a\r\n\r\n" SMUGGLED),
    BAD(400, "GET / HTTP/1.1\r\n" HOST "F\xc3\xa4: a\r\n\r\n" SMUGGLED),
    /* where the body ends */
    BAD(400,
        "PUT / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" SMUGGLED),
    BAD(400,
        "PUT / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\nhello" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n" SMUGGLED),
    BAD(413,
        "PUT / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551621\r\n\r\nhello" SMUGGLED),
    BAD(413, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n"),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST
             "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST
             "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, "PUT / HTTP/1.1\r\n" HOST
             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(501,
        "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(501, "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(501, "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, "PUT / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    BAD(417,
        "PUT / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: a-miracle\r\n\r\nhello" SMUGGLED),
    BAD(400, CHUNKED "-2\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "0x2\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED " 2\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2 \r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED ";a\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2\r\nabc\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2\r\nab\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2;a\nb\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2;a\0b\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2\r\nab\r\n0\r\n\n" SMUGGLED),
    BAD(400, CHUNKED "2\r\nab\r\n0\r\n Foo: b\r\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "2\r\nab\r\n0\r\nFoo: b\n\r\n" SMUGGLED),
    BAD(400, CHUNKED "000000002\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(413, CHUNKED "ffffffff\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(413, CHUNKED "ffffffffffffffff1\r\nab\r\n0\r\n\r\n" SMUGGLED),
    BAD(413, CHUNKED "2\r\nab\r\nfffff\r\n"),
};

static void check_refused(struct world *w, const struct bad *b, size_t step)
{
    struct answer a = {0};
    int fd = dial(w);

    talk(w, fd, b->bytes, b->len, step, &a);
    if (status_of(&a) != b->status || !a.closed || w->requests > 0)
        fail_msg("wanted %d and a close for:\n%s\ngot:\n%s", b->status, b->bytes, a.text);
    assert_non_null(strstr(a.text, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(a.text, "\r\nConnection: close\r\n"));
    assert_int_equal(strncmp(body_of(&a), "{\"errors\":[\"", 12), 0);
    assert_string_equal(a.text + a.len - 4, "\"]}\n");
    assert_null(strstr(a.text + 1, "HTTP/1.1 "));
    forget(&a);
    close(fd);
    pump(w);
    assert_int_equal(http_connections(w->server), 0);
}

/* Goal: whatever is malformed or ambiguous is refused in Vault's form and ends the connection, so
 * that nothing behind it is ever taken for a request; cut anywhere, it is judged the same. */
static void test_refusals(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad_requests); i++) {
        check_refused(w, &bad_requests[i], SIZE_MAX);
        check_refused(w, &bad_requests[i], 1);
        check_refused(w, &bad_requests[i], 7);
    }
    assert_int_equal(w->requests, 0);
    assert_int_equal(w->batches, 0);
}

static void check_padded(struct world *w, const char *before, size_t n, const char *after,
                         int status)
{
    char *s = padded(before, n, after);

    check_once(w, s, status, NULL);
    free(s);
}

/* Goal: path, target and headers are taken up to their limits and refused one above them. */
static void test_sizes(void **state)
{
    struct world *w = *state;
    char many[HTTP_HEADERS_MAX * 8 + 64] = "GET / HTTP/1.1\r\n" HOST;

    check_padded(w, "GET /", HTTP_PATH_MAX - 1, " HTTP/1.1\r\n" HOST "\r\n", 200);
    check_padded(w, "GET /", HTTP_PATH_MAX, " HTTP/1.1\r\n" HOST "\r\n", 414);
    check_padded(w, "GET /", 10240, " HTTP/1.1\r\n" HOST "\r\n", 414);
    check_padded(w, "GET /?", HTTP_TARGET_MAX - 2, " HTTP/1.1\r\n" HOST "\r\n", 200);
    check_padded(w, "GET /?", HTTP_TARGET_MAX - 1, " HTTP/1.1\r\n" HOST "\r\n", 414);
    check_padded(w, "GET /", 60000, "", 414);
    check_padded(w, "", 60000, "", 414);
    check_padded(w, "GET / HTTP/1.1\r\n" HOST "A: ", HTTP_HEAD_MAX - 32, "\r\n\r\n", 200);
    check_padded(w, "GET / HTTP/1.1\r\n" HOST "A: ", HTTP_HEAD_MAX - 31, "\r\n\r\n", 431);
    check_padded(w, "GET / HTTP/1.1\r\n" HOST "A: ", 200000, "", 431);
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        strcat(many, "a: b\r\n");
    strcat(many, "\r\n");
    check_once(w, many, 200, NULL);
    strcpy(many + strlen(many) - 2, "a: b\r\n\r\n");
    check_once(w, many, 431, NULL);
}

/* Goal: a body of 1 MiB arrives whole and unchanged, however it is cut; 1 MiB and one byte is 413.
 */
static void test_big_bodies(void **state)
{
    struct world *w = *state;
    char *body = malloc(HTTP_BODY_MAX), *request, want[64];
    static const size_t steps[] = {SIZE_MAX, 4093, 65537};
    size_t len;

    assert_non_null(body);
    for (size_t i = 0; i < HTTP_BODY_MAX; i++)
        body[i] = (char)(i * 7 + i / 251);
    snprintf(want, sizeof(want), "PUT|/b||%d|%08x|-", HTTP_BODY_MAX, checksum(body, HTTP_BODY_MAX));
    request = put_request("Content-Length: 1048576\r\n", body, HTTP_BODY_MAX, &len);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct answer a = {0};
        int fd = dial(w);

        talk(w, fd, request, len, steps[i], &a);
        assert_int_equal(status_of(&a), 200);
        assert_string_equal(body_of(&a), want);
        forget(&a);
        close(fd);
        pump(w);
    }
    assert_int_equal(w->server->bytes, 0);
    free(request);
    free(body);
}

/* Writes a body as chunks of up to `size` bytes, each with an extension, and a trailer. */
static char *chunked(const char *body, size_t n, size_t size, size_t *len)
{
    char *s = malloc(n + (n / size + 2) * 32 + 512), *at = s;

    assert_non_null(s);
    at += sprintf(at, "%s", CHUNKED);
    for (size_t i = 0; i < n; i += size) {
        size_t part = n - i < size ? n - i : size;

        at += sprintf(at, "%zX;x=\"y\"\r\n", part);
        memcpy(at, body + i, part);
        at += part;
        at += sprintf(at, "\r\n");
    }
    at += sprintf(at, "000\r\nX-Vault-Token: evil\r\nContent-Length: 7\r\n\r\n");
    *len = (size_t)(at - s);
    return s;
}

/* Goal: chunked bodies are put together, extensions and trailers have no effect, and the next
 * request on the connection begins where the body ended; the limit holds for their sum. */
static void test_chunked(void **state)
{
    struct world *w = *state;
    static const size_t sizes[] = {1, 3, 1000, 70000};
    char *body = malloc(HTTP_BODY_MAX + 1);

    assert_non_null(body);
    for (size_t i = 0; i <= HTTP_BODY_MAX; i++)
        body[i] = (char)(i ^ (i >> 8));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t n = i < 2 ? 500 : HTTP_BODY_MAX, len;
        char *request = chunked(body, n, sizes[i], &len), want[64];
        struct answer a = {0};
        int fd = dial(w);

        snprintf(want, sizeof(want), "PUT|/||%zu|%08x|-", n, checksum(body, n));
        talk(w, fd, request, len, i < 2 ? 1 : 9973, &a);
        assert_string_equal(body_of(&a), want);
        forget(&a);
        SAY(w, fd, "GET /next HTTP/1.1\r\n" HOST "\r\n", &a);
        assert_string_equal(body_of(&a), "GET|/next||0|811c9dc5|-");
        forget(&a);
        free(request);
        close(fd);
        pump(w);
    }
    size_t len;
    char *request = chunked(body, HTTP_BODY_MAX + 1, 65536, &len);
    struct answer a = {0};
    int fd = dial(w);

    talk(w, fd, request, len, 10000, &a);
    assert_int_equal(status_of(&a), 413);
    forget(&a);
    free(request);
    close(fd);
    free(body);
    pump(w);
    assert_int_equal(w->server->bytes, 0);
}

/* Goal: a thousand requests on one connection, then the client closes and nothing is left. */
static void test_keep_alive(void **state)
{
    struct world *w = *state;
    int fd = dial(w);

    for (int i = 0; i < 1000; i++) {
        struct answer a = {0};
        char request[128], want[64];

        snprintf(request, sizeof(request),
                 "POST /%d HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab", i);
        snprintf(want, sizeof(want), "POST|/%d||2|%08x|-", i, checksum("ab", 2));
        talk(w, fd, request, strlen(request), SIZE_MAX, &a);
        assert_false(a.closed);
        assert_string_equal(body_of(&a), want);
        forget(&a);
    }
    assert_int_equal(w->requests, 1000);
    assert_int_equal(w->batches, 1000);
    close(fd);
    pump(w);
    assert_int_equal(http_connections(w->server), 0);
}

static bool closes(struct world *w, const char *request, int status)
{
    struct answer a = {0};
    int fd = dial(w);
    bool closed;

    talk(w, fd, request, strlen(request), SIZE_MAX, &a);
    assert_int_equal(status_of(&a), status);
    closed = a.closed;
    assert_true(!strstr(a.text, "\r\nConnection: close\r\n") == !closed);
    forget(&a);
    close(fd);
    pump(w);
    return closed;
}

/* Goal: who keeps the connection open: 1.1 unless told otherwise, 1.0 only when told so. */
static void test_persistence(void **state)
{
    struct world *w = *state;

    assert_false(closes(w, "GET / HTTP/1.1\r\n" HOST "\r\n", 200));
    assert_true(closes(w, "GET / HTTP/1.1\r\n" HOST "Connection: foo, Close\r\n\r\n", 200));
    assert_true(closes(w, "GET / HTTP/1.0\r\n\r\n", 200));
    assert_true(closes(w, "GET / HTTP/1.0\r\nConnection: foo\r\n\r\n", 200));
    assert_false(closes(w, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200));
    assert_true(
        closes(w, "GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", 200));
    assert_false(closes(w, "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 200));
}

/* Goal: fifty pipelined requests are handed up one at a time and answered in order, and what stands
 * behind the last one of a closing connection is not looked at. */
static void test_pipelining(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    char all[8192] = "", want[64];
    const char *at;
    int fd = dial(w);

    for (int i = 0; i < 50; i++)
        sprintf(all + strlen(all), "PUT /%d HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", i);
    talk(w, fd, all, strlen(all), SIZE_MAX, &a);
    assert_int_equal(w->requests, 50);
    assert_int_equal(w->most_held, 1);
    at = a.text;
    for (int i = 0; i < 50; i++) {
        snprintf(want, sizeof(want), "PUT|/%d||3|", i);
        at = strstr(at, want);
        assert_non_null(at);
    }
    forget(&a);
    SAY(w, fd, "GET /a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" SMUGGLED, &a);
    assert_true(a.closed);
    assert_null(strstr(a.text, "smuggled"));
    assert_int_equal(w->requests, 51);
    forget(&a);
    close(fd);
}

/* Goal: pipelined requests of two connections share batches instead of waiting for each other. */
static void test_batches_are_shared(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    int fds[20];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dial(w);
    pump(w);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        assert_true(send(fds[i], SMUGGLED SMUGGLED, 2 * strlen(SMUGGLED), 0) > 0);
    pump(w);
    assert_int_equal(w->requests, 40);
    assert_int_equal(w->most_held, 20);
    assert_int_equal(w->batches, 2);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        collect(fds[i], &a);
        close(fds[i]);
    }
    forget(&a);
}

/* Goal: HEAD gets the length and no body; 204 has neither; extra headers are sent; what would break
 * out of a header's line, or a body with 204, is a 500 and not an answer of two. */
static void test_answer_forms(void **state)
{
    struct world *w = *state;
    static const char *const extra[] = {"Retry-After", "7", "Allow", "GET", NULL};
    static const char *const evil[] = {"X", "a\r\nSet-Cookie: b", NULL};
    struct answer a = {0};
    int fd = dial(w);

    SAY(w, fd, "HEAD /h HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_non_null(strstr(a.text, "\r\nContent-Length: 21\r\n"));
    assert_string_equal(body_of(&a), "");
    assert_false(a.closed);
    forget(&a);
    w->extra = extra;
    SAY(w, fd, "GET /h HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_non_null(strstr(a.text, "\r\nRetry-After: 7\r\nAllow: GET\r\n"));
    forget(&a);
    w->status = 204;
    w->type = NULL;
    w->fixed = "";
    SAY(w, fd, "DELETE /h HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(status_of(&a), 204);
    assert_null(strstr(a.text, "Content-"));
    assert_string_equal(body_of(&a), "");
    forget(&a);
    w->fixed = "x";
    assert_true(closes(w, "GET / HTTP/1.1\r\n" HOST "\r\n", 500));
    w->status = 472;
    assert_false(closes(w, "GET / HTTP/1.1\r\n" HOST "\r\n", 472));
    w->status = 99;
    assert_true(closes(w, "GET / HTTP/1.1\r\n" HOST "\r\n", 500));
    w->status = 200;
    w->extra = evil;
    SAY(w, fd, "GET /h HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(status_of(&a), 500);
    assert_null(strstr(a.text, "Cookie"));
    forget(&a);
    close(fd);
}

/* Goal: a body that could not be built for lack of memory closes the connection without an answer.
 */
static void test_broken_body(void **state)
{
    struct world *w = *state;
    struct buf b = BUF_INIT(2);
    struct answer a = {0};
    int fd = dial(w);

    w->mode = HELD;
    SAY(w, fd, "GET / HTTP/1.1\r\n" HOST "\r\n", &a);
    buf_puts(&b, "too long");
    http_reply(w->held[0], 200, "application/json", &b, NULL);
    pump(w);
    collect(fd, &a);
    assert_int_equal(a.len, 0);
    assert_true(a.closed);
    forget(&a);
    close(fd);
}

/* Goal: Expect: 100-continue lets the body come, says nothing when the body is here already, and a
 * body that is too large is refused before it is sent. */
static void test_expect(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    int fd = dial(w);

    SAY(w, fd, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n", &a);
    assert_string_equal(a.text, "HTTP/1.1 100 Continue\r\n\r\n");
    forget(&a);
    SAY(w, fd, "abc", &a);
    assert_int_equal(status_of(&a), 200);
    forget(&a);
    SAY(w, fd, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        &a);
    assert_int_equal(status_of(&a), 200);
    forget(&a);
    SAY(w, fd, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n",
        &a);
    assert_int_equal(status_of(&a), 413);
    assert_null(strstr(a.text, "100 Continue"));
    forget(&a);
    close(fd);
    pump(w);
    /* HTTP/1.0 knows no 1xx answers. */
    fd = dial(w);
    SAY(w, fd, "PUT / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", &a);
    assert_int_equal(a.len, 0);
    forget(&a);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_plain),
        HTTP_TEST(test_methods),
        HTTP_TEST(test_raw_path),
        HTTP_TEST(test_refusals),
        HTTP_TEST(test_sizes),
        HTTP_TEST(test_big_bodies),
        HTTP_TEST(test_chunked),
        HTTP_TEST(test_keep_alive),
        HTTP_TEST(test_persistence),
        HTTP_TEST(test_pipelining),
        HTTP_TEST(test_batches_are_shared),
        HTTP_TEST(test_answer_forms),
        HTTP_TEST(test_broken_body),
        HTTP_TEST(test_expect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
