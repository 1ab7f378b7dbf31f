#include "cli/auditfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <countersign/api.h>

#include "base/encode.h"

/* Quotes and backslashes double in JSON, controls become six bytes; the whole request has to stay
 * well below the agent's largest body of 1 MiB. */
#define ESCAPED_MAX (900u * 1024)
#define CHUNK (256u * 1024)

int auditfile_open(struct auditfile *f, const char *path)
{
    *f = (struct auditfile){.rest = BUF_INIT(2 * API_AUDIT_BATCH + CHUNK)};
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return f->fd < 0 ? -errno : 0;
}

void auditfile_close(struct auditfile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    buf_clear(&f->rest);
}

static ssize_t read_chunk(struct auditfile *f)
{
    static char chunk[CHUNK];
    ssize_t n;

    do
        n = read(f->fd, chunk, sizeof(chunk));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    buf_put(&f->rest, chunk, (size_t)n);
    f->bytes += (uint64_t)n;
    return buf_error(&f->rest) < 0 ? buf_error(&f->rest) : n;
}

/* Reads until a batch's worth is there or the file ends. */
static int fill(struct auditfile *f)
{
    while (f->rest.len < API_AUDIT_BATCH) {
        ssize_t n = read_chunk(f);

        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
    }
    return 0;
}

static size_t escaped_length(const uint8_t *p, size_t n)
{
    size_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += p[i] == '"' || p[i] == '\\' ? 2 : p[i] < 0x20 || p[i] == 0x7f ? 6 : 1;
    return sum;
}

static int broken(struct auditfile *f, const char *why)
{
    f->why = why;
    return AUDITFILE_BROKEN;
}

/* Whole lines from the front of the rest that fit; *used bytes of it. */
static int take_lines(struct auditfile *f, size_t *used, uint64_t *lines)
{
    size_t escaped = 0;

    *used = 0;
    *lines = 0;
    while (*used < f->rest.len) {
        const uint8_t *line = f->rest.data + *used;
        const uint8_t *end = memchr(line, '\n', f->rest.len - *used);
        size_t n = end ? (size_t)(end - line) + 1 : f->rest.len - *used;

        escaped += escaped_length(line, n);
        if (*used + n > API_AUDIT_BATCH || escaped > ESCAPED_MAX)
            return *lines ? 0 : broken(f, "it is longer than any record");
        if (!end)
            return *lines ? 0 : broken(f, "it has no end: it was cut off");
        if (!encode_is_utf8(line, n))
            return *lines ? 0 : broken(f, "it is not text");
        *used += n;
        ++*lines;
    }
    return 0;
}

static void drop_front(struct buf *b, size_t n)
{
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = '\0';
}

/* A last line without an end may just be being written. */
static int wait_for_end(struct auditfile *f)
{
    const struct timespec pause = {.tv_nsec = 300 * 1000 * 1000};

    if (f->rest.len == 0 || memchr(f->rest.data, '\n', f->rest.len))
        return 0;
    nanosleep(&pause, NULL);
    return fill(f);
}

int auditfile_next(struct auditfile *f, struct buf *batch, uint64_t *lines)
{
    size_t used;
    int r = fill(f);

    if (r == 0)
        r = wait_for_end(f);
    if (r < 0)
        return r;
    if (f->rest.len == 0)
        return AUDITFILE_END;
    r = take_lines(f, &used, lines);
    if (r != 0)
        return r;
    buf_reset(batch);
    buf_put(batch, f->rest.data, used);
    drop_front(&f->rest, used);
    f->lines += *lines;
    return buf_error(batch);
}
