#include "connector/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct resolve {
    struct resolve *next;
    char *name;
    resolve_fn done; /* NULL once cancelled */
    void *data;
    char *address[RESOLVE_ADDRESSES_MAX];
    size_t count;
    const char *error;
};

/* Shared with the threads, under the lock. A thread owns its look-up until it puts it on finished.
 */
static struct {
    pthread_mutex_t lock;
    struct resolve *waiting, **waiting_end;
    struct resolve *finished;
    unsigned threads;
    int wake; /* eventfd */
} board = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1};

static sd_event_source *source;

static void free_one(struct resolve *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->address[i]);
    free(r->name);
    free(r);
}

static void take_addresses(struct resolve *r, const struct addrinfo *list)
{
    char text[NI_MAXHOST];

    for (const struct addrinfo *a = list; a && r->count < RESOLVE_ADDRESSES_MAX; a = a->ai_next) {
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) !=
            0)
            continue;
        r->address[r->count] = strdup(text);
        if (!r->address[r->count])
            break;
        r->count++;
    }
}

static void look_up(struct resolve *r)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(r->name, NULL, &hints, &list);

    if (error != 0) {
        r->error = gai_strerror(error);
        return;
    }
    take_addresses(r, list);
    freeaddrinfo(list);
    if (r->count == 0)
        r->error = "no address could be read";
}

/* Takes from the waiting ones until there are none. */
static void *worker(void *unused _unused_)
{
    const uint64_t one = 1;

    (void)pthread_mutex_lock(&board.lock);
    while (board.waiting) {
        struct resolve *r = board.waiting;

        board.waiting = r->next;
        if (!board.waiting)
            board.waiting_end = NULL;
        (void)pthread_mutex_unlock(&board.lock);
        look_up(r);
        (void)pthread_mutex_lock(&board.lock);
        r->next = board.finished;
        board.finished = r;
        if (board.wake >= 0)
            (void)!write(board.wake, &one, sizeof(one));
    }
    board.threads--;
    (void)pthread_mutex_unlock(&board.lock);
    return NULL;
}

static int on_wake(sd_event_source *s _unused_, int fd, uint32_t events _unused_,
                   void *data _unused_)
{
    struct resolve *r, *next;
    uint64_t count;

    (void)!read(fd, &count, sizeof(count));
    (void)pthread_mutex_lock(&board.lock);
    r = board.finished;
    board.finished = NULL;
    (void)pthread_mutex_unlock(&board.lock);
    for (; r; r = next) {
        next = r->next;
        if (r->done)
            r->done(r->data, r->address, r->count, r->error);
        free_one(r);
    }
    return 0;
}

int resolve_open(sd_event *event)
{
    int r;

    board.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (board.wake < 0)
        return -errno;
    r = sd_event_add_io(event, &source, board.wake, EPOLLIN, on_wake, NULL);
    if (r < 0)
        resolve_close();
    return r < 0 ? r : 0;
}

void resolve_close(void)
{
    source = sd_event_source_disable_unref(source);
    (void)pthread_mutex_lock(&board.lock);
    if (board.wake >= 0)
        (void)close(board.wake);
    board.wake = -1;
    for (struct resolve *r = board.finished, *next; r; r = next) {
        next = r->next;
        free_one(r);
    }
    board.finished = NULL;
    (void)pthread_mutex_unlock(&board.lock);
}

static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    int error = pthread_attr_init(&attr);

    if (error != 0)
        return -error;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attr, worker, NULL);
    (void)pthread_attr_destroy(&attr);
    return -error;
}

/* Under the lock: more threads, if all are busy and more are allowed. */
static int add_thread(void)
{
    int r;

    if (board.threads >= RESOLVE_THREADS)
        return 0;
    board.threads++;
    r = start_thread();
    if (r < 0)
        board.threads--;
    /* Without one of its own it is taken by a thread that is there. */
    return board.threads > 0 ? 0 : r;
}

int resolve_start(const char *name, resolve_fn done, void *data, struct resolve **out)
{
    struct resolve *r = calloc(1, sizeof(*r));
    int error;

    if (!r)
        return -ENOMEM;
    *r = (struct resolve){.name = strdup(name), .done = done, .data = data};
    if (!r->name) {
        free_one(r);
        return -ENOMEM;
    }
    (void)pthread_mutex_lock(&board.lock);
    error = add_thread();
    if (error == 0) {
        *(board.waiting_end ? board.waiting_end : &board.waiting) = r;
        board.waiting_end = &r->next;
    }
    (void)pthread_mutex_unlock(&board.lock);
    if (error < 0) {
        free_one(r);
        return error;
    }
    *out = r;
    return 0;
}

void resolve_cancel(struct resolve *r)
{
    if (!r)
        return;
    /* The threads never look at it, and callbacks come from this thread only. */
    r->done = NULL;
}
