#include "server/http_parse.h"

#include <string.h>
#include <strings.h>

#define EXTENSION_MAX 256
#define TRAILERS_MAX 4096

static int refuse(const char **why, int status, const char *sentence)
{
    *why = sentence;
    return status;
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(char ch)
{
    if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9'))
        return true;
    return ch != '\0' && strchr("!#$%&'*+-.^_`|~", ch);
}

/* What may stand in a line: visible characters, space, tab, and bytes above ASCII. */
static bool is_text(uint8_t ch)
{
    return (ch >= 0x20 && ch != 0x7f) || ch == '\t';
}

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

/* A first line without an end in sight is refused before it fills the memory. */
static int check_growth(const uint8_t *p, size_t n, const char **why)
{
    const size_t line_max = HTTP_METHOD_MAX + HTTP_TARGET_MAX + sizeof("\r\n  HTTP/1.1\r\n");

    if (n > line_max && !memchr(p + 2, '\n', line_max - 2))
        return refuse(why, 414, "the request line is too long");
    if (n > HTTP_HEAD_MAX)
        return refuse(why, 431, "the request's headers are too large");
    return 0;
}

int http_parse_end(const uint8_t *p, size_t n, size_t *scanned, size_t *len, const char **why)
{
    size_t i, line = *scanned;
    int r;

    *len = 0;
    for (i = line; i < n && i < HTTP_HEAD_MAX; i++) {
        if (p[i] == '\n') {
            if (i == 0 || p[i - 1] != '\r')
                return refuse(why, 400, "a line of the request ends without a carriage return");
            if (i >= 3 && p[i - 2] == '\n') {
                *scanned = 0;
                *len = i + 1;
                return 0;
            }
        } else if (i > 0 && p[i - 1] == '\r') {
            return refuse(why, 400, "a carriage return stands inside a line of the request");
        } else if (!is_text(p[i]) && p[i] != '\r') {
            return refuse(why, 400, "a control character stands in the request's head");
        }
    }
    *scanned = i;
    r = check_growth(p, n, why);
    return r;
}

/* Cuts off the next line of the head; NULL at the empty one. The CRLFs were checked already. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\r');

    if (!end || end == line)
        return NULL;
    *end = '\0';
    *at = end + 2;
    return line;
}

static int parse_target(char *target, struct http_head *h, const char **why)
{
    size_t len = strlen(target);
    char *mark;

    if (len > HTTP_TARGET_MAX)
        return refuse(why, 414, "the request's path and query are too long");
    if (target[0] != '/')
        return refuse(why, 400, "the request's target has to be a path that begins with a slash");
    for (size_t i = 0; i < len; i++)
        if (target[i] <= ' ' || target[i] > '~' || target[i] == '#')
            return refuse(why, 400, "the request's path holds a character that must be escaped");
    mark = strchr(target, '?');
    h->path = target;
    h->query = mark ? mark + 1 : "";
    if (mark)
        *mark = '\0';
    if (strlen(target) > HTTP_PATH_MAX)
        return refuse(why, 414, "the request's path is too long");
    return 0;
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

static int parse_version(const char *v, struct http_head *h, const char **why)
{
    if (strncmp(v, "HTTP/", 5) != 0 || !is_digit(v[5]) || v[6] != '.' || !is_digit(v[7]) || v[8])
        return refuse(why, 400, "the request line is malformed");
    if (v[5] != '1' || v[7] > '1')
        return refuse(why, 505, "this version of HTTP is not spoken here; use HTTP/1.1");
    h->minor = v[7] - '0';
    h->keep_alive = h->minor == 1;
    return 0;
}

static int parse_request_line(char *line, struct http_head *h, const char **why)
{
    size_t len = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    char *target = line + len, *version;
    int r;

    if (len == 0 || len > HTTP_METHOD_MAX || *target != ' ')
        return refuse(why, 400, "the request's method has to be 1 to 16 upper-case letters");
    *target++ = '\0';
    h->method = line;
    version = strchr(target, ' ');
    if (!version)
        return refuse(why, 400, "the request line is malformed");
    *version++ = '\0';
    r = parse_version(version, h, why);
    return r != 0 ? r : parse_target(target, h, why);
}

static int parse_field(char *line, struct http_head *h, const char **why)
{
    char *value = line, *end;

    while (is_token_char(*value))
        value++;
    if (value == line || *value != ':')
        return refuse(why, 400, "a header line of the request is malformed");
    if (h->n_fields == HTTP_HEADERS_MAX)
        return refuse(why, 431, "the request has too many headers");
    *value++ = '\0';
    while (is_blank(*value))
        value++;
    end = value + strlen(value);
    while (end > value && is_blank(end[-1]))
        *--end = '\0';
    h->fields[h->n_fields++] = (struct http_field){.name = line, .value = value};
    return 0;
}

/* Fields of which a second one would leave it to each reader's taste which one counts. */
static const char *const single_fields[] = {
    "Authorization", "Content-Length",    "Content-Type",      "Expect",           "Host",
    "X-Vault-Token", "Transfer-Encoding", "X-Vault-Namespace", "X-Vault-Wrap-TTL",
};

static int check_single(const struct http_head *h, const char **why)
{
    for (size_t s = 0; s < ARRAY_LEN(single_fields); s++) {
        int seen = 0;

        for (size_t i = 0; i < h->n_fields; i++)
            seen += strcasecmp(h->fields[i].name, single_fields[s]) == 0;
        if (seen > 1)
            return refuse(why, 400, "a header that may stand once only came more than once");
    }
    if (h->minor == 1 && !http_parse_field(h, "Host"))
        return refuse(why, 400, "the request has no Host header");
    return 0;
}

static int parse_length(const char *text, struct http_head *h, const char **why)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || text[digits] != '\0')
        return refuse(why, 400, "the request's Content-Length is not a number");
    for (size_t i = 0; i < digits; i++) {
        h->length = h->length * 10 + (uint64_t)(text[i] - '0');
        if (h->length > HTTP_BODY_MAX)
            return refuse(why, 413, "the request's body is larger than 1 MiB");
    }
    return 0;
}

/* Where the body ends (RFC 9112, 6.3), without any of the cases in which readers differ. */
static int check_framing(struct http_head *h, const char **why)
{
    const char *length = http_parse_field(h, "Content-Length");
    const char *coding = http_parse_field(h, "Transfer-Encoding");

    if (coding && (length || h->minor == 0))
        return refuse(why, 400, "the request's length is given in two ways or in a wrong one");
    if (coding && strcasecmp(coding, "chunked") != 0)
        return refuse(why, 501, "the only transfer coding known here is chunked");
    h->chunked = coding;
    return length ? parse_length(length, h, why) : 0;
}

/* Whether a comma-separated list holds a word. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);

    while (*list) {
        list += strspn(list, ", \t");
        size_t n = strcspn(list, ", \t");
        if (n == len && strncasecmp(list, word, len) == 0)
            return true;
        list += n;
    }
    return false;
}

static int check_wishes(struct http_head *h, const char **why)
{
    const char *expect = http_parse_field(h, "Expect");
    bool close = false, keep = false;

    for (size_t i = 0; i < h->n_fields; i++) {
        if (strcasecmp(h->fields[i].name, "Connection") != 0)
            continue;
        close |= list_has(h->fields[i].value, "close");
        keep |= list_has(h->fields[i].value, "keep-alive");
    }
    h->keep_alive = !close && (h->keep_alive || keep);
    if (!expect || h->minor == 0)
        return 0;
    if (strcasecmp(expect, "100-continue") != 0)
        return refuse(why, 417, "the only expectation known here is 100-continue");
    h->expect_continue = true;
    return 0;
}

int http_parse_head(char *text, size_t len, struct http_head *h, const char **why)
{
    char *at = text, *line;
    int r;

    *h = (struct http_head){.method = "", .path = "", .query = ""};
    if (len < 4 || memcmp(text + len - 4, "\r\n\r\n", 4) != 0)
        return refuse(why, 400, "the request's head is not whole");
    if (at[0] == '\r') /* one empty line before a request is forgiven (RFC 9112, 2.2) */
        at += 2;
    line = next_line(&at);
    if (!line)
        return refuse(why, 400, "the request has no request line");
    r = parse_request_line(line, h, why);
    while (r == 0 && (line = next_line(&at)))
        r = parse_field(line, h, why);
    if (r == 0)
        r = check_single(h, why);
    if (r == 0)
        r = check_framing(h, why);
    if (r == 0)
        r = check_wishes(h, why);
    return r;
}

const char *http_parse_field(const struct http_head *h, const char *name)
{
    for (size_t i = 0; i < h->n_fields; i++)
        if (strcasecmp(h->fields[i].name, name) == 0)
            return h->fields[i].value;
    return NULL;
}

enum {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF,
};

static int hex_digit(uint8_t ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F')
        return ch - 'A' + 10;
    return -1;
}

static int malformed(const char **why)
{
    return refuse(why, 400, "the request's chunked body is malformed");
}

static int chunk_size(struct http_chunks *k, uint8_t ch, size_t body_len, const char **why)
{
    int digit = hex_digit(ch);

    if (digit >= 0) {
        if (++k->digits > 8)
            return malformed(why);
        k->left = k->left * 16 + (unsigned)digit;
        if (k->left > HTTP_BODY_MAX || k->left + body_len > HTTP_BODY_MAX)
            return refuse(why, 413, "the request's body is larger than 1 MiB");
        return 0;
    }
    if (k->digits == 0 || (ch != ';' && ch != '\r'))
        return malformed(why);
    k->line = 0;
    k->state = ch == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
    return 0;
}

/* One byte of what stands around the data. The states that wait for one certain byte are a table.
 */
static int chunk_frame(struct http_chunks *k, uint8_t ch, size_t body_len, const char **why)
{
    static const struct {
        uint8_t want;
        int next;
    } fixed[] = {
        [CHUNK_SIZE_LF] = {'\n', CHUNK_DATA}, [CHUNK_DATA_CR] = {'\r', CHUNK_DATA_LF},
        [CHUNK_DATA_LF] = {'\n', CHUNK_SIZE}, [CHUNK_TRAILER_LF] = {'\n', CHUNK_TRAILER_START},
        [CHUNK_LAST_LF] = {'\n', CHUNK_SIZE},
    };

    switch (k->state) {
    case CHUNK_SIZE:
        return chunk_size(k, ch, body_len, why);
    case CHUNK_EXTENSION:
        if (ch == '\r')
            k->state = CHUNK_SIZE_LF;
        else if (!is_text(ch) || ++k->line > EXTENSION_MAX)
            return malformed(why);
        return 0;
    case CHUNK_TRAILER_START:
        if (ch == '\r') {
            k->state = CHUNK_LAST_LF;
            return 0;
        }
        k->state = CHUNK_TRAILER;
        return is_token_char((char)ch) && ++k->trailers <= TRAILERS_MAX ? 0 : malformed(why);
    case CHUNK_TRAILER:
        if (ch == '\r')
            k->state = CHUNK_TRAILER_LF;
        else if (!is_text(ch) || ++k->trailers > TRAILERS_MAX)
            return malformed(why);
        return 0;
    default:
        if (ch != fixed[k->state].want)
            return malformed(why);
        k->state = fixed[k->state].next;
        return 0;
    }
}

/* After the line feed behind a size: zero ends the data. After that behind data: the next size. */
static void chunk_turn(struct http_chunks *k, int before)
{
    if (before == CHUNK_SIZE_LF && k->state == CHUNK_DATA && k->left == 0)
        k->state = CHUNK_TRAILER_START;
    if (before == CHUNK_DATA_LF)
        k->digits = 0;
}

int http_parse_chunks(struct http_chunks *k, const uint8_t *p, size_t n, size_t *used,
                      struct buf *body, const char **why)
{
    size_t i = 0;
    int r = 0;

    while (i < n && r == 0) {
        int before = k->state;

        if (before == CHUNK_DATA) {
            size_t take = k->left < n - i ? (size_t)k->left : n - i;

            buf_put(body, p + i, take);
            i += take;
            k->left -= take;
            if (k->left == 0)
                k->state = CHUNK_DATA_CR;
            continue;
        }
        r = chunk_frame(k, p[i++], body->len, why);
        chunk_turn(k, before);
        if (r == 0 && before == CHUNK_LAST_LF)
            r = HTTP_CHUNKS_DONE;
    }
    *used = i;
    return r;
}
