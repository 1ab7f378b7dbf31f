/* Sends bytes that no proper client would, and says what came of it.
 *
 *   raw-client http SOCKET TOKEN STATE < CASES              to the HTTP API
 *   raw-client packet SOCKET API-SOCKET TOKEN STATE < CASES to the PAM dialogue's socket
 *   raw-client length < TEXT                                how many bytes the text below stands
 * for
 *
 * A line of CASES is NAME<TAB>WANTED<TAB>BYTES. In BYTES: \r \n \0 \t \\ \xHH; \T the token;
 * \{TEXT*N} TEXT N times;
 * \| the end of a packet. STATE is a file with one API path a line: what those answer must be the
 * same behind each case, and be there within a second. Prints for each case
 * NAME<TAB>WANTED<TAB>GOT; GOT is the first answer's status and what is wrong with its form, or the
 * verdict ("verdict 0"), or "closed"; then " changed" or " slow" where that is so. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BYTES_MAX (4 << 20)
#define ANSWER_MAX (8 << 20)
#define PATHS_MAX 32
#define WAIT_MS 6000

static const char *api, *token;
static char *paths[PATHS_MAX];
static int n_paths;
static uint8_t bytes[BYTES_MAX];
static size_t cut_at[64], n_cuts; /* ends of packets */
static char answer[ANSWER_MAX + 1];
static char *before;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int dial(const char *path, int type)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof(sa.sun_path))
        die("too long a path");
    memcpy(sa.sun_path, path, strlen(path));
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        die(path);
    return fd;
}

/* --- The bytes of a case
 * -------------------------------------------------------------------------- */

static size_t decode(const char *s, size_t n, uint8_t *out, size_t room)
{
    size_t len = 0;
    for (size_t i = 0; i < n && len < room; i++) {
        if (s[i] != '\\' || i + 1 == n) {
            out[len++] = (uint8_t)s[i];
            continue;
        }
        static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
        const char *at = strchr(from, s[++i]);
        const char *end;
        unsigned v;
        if (at && *at) {
            out[len++] = (uint8_t)to[at - from];
        } else if (s[i] == 'x' && sscanf(s + i + 1, "%2x", &v) == 1) {
            out[len++] = (uint8_t)v;
            i += 2;
        } else if (s[i] == 'T') {
            size_t l = strlen(token) < room - len ? strlen(token) : room - len;
            memcpy(out + len, token, l);
            len += l;
        } else if (s[i] == '|') {
            cut_at[n_cuts++ % 64] = len;
        } else if (s[i] == '{' && (end = strchr(s + i, '}'))) {
            const char *star = memrchr(s + i, '*', (size_t)(end - s) - i);
            uint8_t piece[256];
            if (!star || star - (s + i + 1) > 200)
                die("a repetition without a number");
            size_t l = decode(s + i + 1, (size_t)(star - (s + i + 1)), piece, sizeof(piece));
            for (long k = atol(star + 1); k > 0 && len + l <= room; k--, len += l)
                memcpy(out + len, piece, l);
            i = (size_t)(end - s);
        } else {
            fprintf(stderr, "raw-client: what is \\%c?\n", s[i]);
            exit(2);
        }
    }
    return len;
}

/* --- Talking
 * --------------------------------------------------------------------------------------- */

/* Reads until the other side closes, or `enough` says so. Returns the length; -1 when time is up.
 */
static ssize_t read_all(int fd, int (*enough)(const char *, size_t))
{
    size_t len = 0;
    int64_t end = now_ms() + WAIT_MS;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return -1;
        ssize_t r = recv(fd, answer + len, ANSWER_MAX - len, 0);
        if (r <= 0)
            break;
        len += (size_t)r;
        answer[len] = '\0';
        if (enough && enough(answer, len))
            break;
    }
    answer[len] = '\0';
    return (ssize_t)len;
}

static int whole_answer(const char *text, size_t n)
{
    const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    if (!end || !length || length > end)
        return 0;
    return n >= (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10);
}

/* What there is, as the API shows it: from "data" on, as before it every answer has its own id. */
static char *state(int64_t *took)
{
    char *all = calloc(1, 1 << 20), request[1024];
    int64_t begun = now_ms();
    int fd = dial(api, SOCK_STREAM);
    if (!all)
        die("memory");
    for (int i = 0; i < n_paths; i++) {
        int n =
            snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\n\r\n", paths[i], token);
        if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n || read_all(fd, whole_answer) <= 0)
            die("the agent answers no proper request any more");
        const char *data = strstr(answer, "\"data\":");
        const char *end = data ? strstr(data, ",\"wrap_info\"") : NULL;
        size_t len = strlen(all), l = end ? (size_t)(end - data) : 0;
        if (!end && strncmp(answer, "HTTP/1.1 404", 12) != 0)
            fprintf(stderr, "raw-client: %s: %.300s\n", paths[i], answer);
        if (data && len + l + 2 < 1 << 20)
            memcpy(all + len, data, l);
        strcat(all, "\n");
    }
    close(fd);
    *took = now_ms() - begun;
    return all;
}

/* Vault's form: JSON, with its length, and {"errors":[…]} with a sentence in it (but for 404). */
static const char *form_fault(int status)
{
    const char *body = strstr(answer, "\r\n\r\n");
    if (!body)
        return " no end of header";
    body += 4;
    if (status >= 400 && !strstr(answer, "Content-Type: application/json\r\n"))
        return " not JSON";
    if (status >= 400 && strncmp(body, "{\"errors\":[", 11) != 0)
        return " not Vault's form";
    if (status >= 400 && status != 404 && strncmp(body, "{\"errors\":[\"", 12) != 0)
        return " no reason";
    return "";
}

static void ask_http(const char *path, size_t n, char *got, size_t room)
{
    int fd = dial(path, SOCK_STREAM), status = 0;
    for (size_t sent = 0; sent < n;) {
        ssize_t r = send(fd, bytes + sent, n - sent, MSG_NOSIGNAL);
        if (r <= 0)
            break; /* it has heard enough */
        sent += (size_t)r;
    }
    (void)shutdown(fd, SHUT_WR);
    ssize_t len = read_all(fd, NULL);
    close(fd);
    if (len < 0)
        snprintf(got, room, "no answer");
    else if (len == 0)
        snprintf(got, room, "closed");
    else if (sscanf(answer, "HTTP/1.1 %d ", &status) != 1)
        snprintf(got, room, "no HTTP");
    else
        snprintf(got, room, "%d%s", status, form_fault(status));
}

static void ask_packets(const char *path, size_t n, char *got, size_t room)
{
    int fd = dial(path, SOCK_SEQPACKET);
    size_t from = 0;
    cut_at[n_cuts++] = n;
    snprintf(got, room, "closed");
    for (size_t i = 0; i < n_cuts; i++) {
        size_t len = cut_at[i] - from;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (len > 0 && send(fd, bytes + from, len, MSG_NOSIGNAL) < 0)
            break;
        from = cut_at[i];
        while (poll(&p, 1, i + 1 < n_cuts ? 300 : WAIT_MS) > 0) {
            ssize_t r = recv(fd, answer, ANSWER_MAX, 0);
            if (r <= 0) {
                if (strcmp(got, "asked") == 0)
                    snprintf(got, room, "asked, closed");
                goto over;
            }
            /* version, type 18, then the field 13 of length 1 */
            if (r >= 6 && answer[1] == 18)
                snprintf(got, room, "verdict %d", answer[5]);
            else
                snprintf(got, room, "asked");
            if (answer[1] == 16)
                break;
        }
    }
over:
    close(fd);
}

static void try_case(char *line, const char *path, int packets)
{
    char *name = strtok(line, "\t"), *wanted = strtok(NULL, "\t"), *text = strtok(NULL, "\n");
    char got[200];
    int64_t took;
    if (!name || !wanted || !text)
        return;
    n_cuts = 0;
    size_t n = decode(text, strlen(text), bytes, sizeof(bytes));
    if (packets)
        ask_packets(path, n, got, sizeof(got));
    else
        ask_http(path, n, got, sizeof(got));
    char *after = state(&took);
    printf("%s\t%s\t%s%s%s\n", name, wanted, got, strcmp(before, after) == 0 ? "" : " changed",
           took < 1000 ? "" : " slow");
    if (strcmp(before, after) != 0) {
        free(before);
        before = after;
    } else {
        free(after);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int packets = argc == 6 && strcmp(argv[1], "packet") == 0;
    char *line = NULL;
    size_t cap = 0;
    int64_t took;
    if (argc == 2 && strcmp(argv[1], "length") == 0) {
        if (getline(&line, &cap, stdin) <= 0)
            return 2;
        token = "";
        printf("%zu\n", decode(line, strcspn(line, "\n"), bytes, sizeof(bytes)));
        free(line);
        return 0;
    }
    if (!packets && (argc != 5 || strcmp(argv[1], "http") != 0)) {
        fputs("usage: raw-client http SOCKET TOKEN STATE | packet SOCKET API-SOCKET TOKEN STATE\n",
              stderr);
        return 2;
    }
    api = argv[argc - 3];
    token = argv[argc - 2];
    FILE *f = fopen(argv[argc - 1], "re");
    if (!f)
        die(argv[argc - 1]);
    while (n_paths < PATHS_MAX && getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        paths[n_paths++] = strdup(line);
    }
    fclose(f);
    before = state(&took);
    while (getline(&line, &cap, stdin) > 0) {
        if (line[0] != '#')
            try_case(line, argv[2], packets);
    }
    free(line);
    free(before);
    return 0;
}
