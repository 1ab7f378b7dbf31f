#include "server/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/mem.h"

/* A job is shared by the loop, which waits for it, and the thread that works on it. `told`,
 * `deadline` and the list of all belong to the loop alone; where it stands in the lines is under
 * the mutex. */
struct job {
    TAILQ_ENTRY(job) by_line; /* waiting, or finished */
    LIST_ENTRY(job) by_all;
    struct workers *workers;
    void (*work)(void *data);
    void (*done)(void *data, int error);
    void (*free_late)(void *data);
    void *data;
    sd_event_source *deadline;
    bool waiting, told;
};

TAILQ_HEAD(line, job);

/* Freed by whoever leaves last: the loop, or a thread that hung in NSS until after its end. */
struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct line waiting, finished;
    unsigned n_waiting, max_waiting;
    unsigned refs; /* the loop's and each thread's */
    bool stop;
    int event_fd;
    /* the loop's alone */
    sd_event *loop;
    sd_event_source *source;
    LIST_HEAD(, job) all;
};

/* --- Threads
 * -------------------------------------------------------------------------------------- */

/* With the lock held, which it gives up. What jobs still point to is their owners' and not ours to
 * free. */
static void leave(struct workers *w)
{
    bool last = --w->refs == 0;
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    for (struct job *j; (j = LIST_FIRST(&w->all));) {
        LIST_REMOVE(j, by_all);
        free(j);
    }
    close(w->event_fd);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void unqueue(struct workers *w, struct job *j)
{
    TAILQ_REMOVE(&w->waiting, j, by_line);
    j->waiting = false;
    w->n_waiting--;
}

static void *thread_main(void *data)
{
    struct workers *w = data;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct job *j = TAILQ_FIRST(&w->waiting);
        if (!j) {
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        unqueue(w, j);
        pthread_mutex_unlock(&w->lock);
        j->work(j->data);
        pthread_mutex_lock(&w->lock);
        TAILQ_INSERT_TAIL(&w->finished, j, by_line);
        uint64_t one = 1;
        (void)!write(w->event_fd, &one, sizeof(one));
    }
    leave(w);
    return NULL;
}

/* Threads take no signals: those are the loop's. */
static int start_thread(struct workers *w)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&w->lock);
    int r = pthread_create(&thread, &attr, thread_main, w);
    w->refs += r == 0;
    pthread_mutex_unlock(&w->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

/* --- The loop's side
 * ------------------------------------------------------------------------------ */

static void job_free(struct job *j)
{
    LIST_REMOVE(j, by_all);
    sd_event_source_disable_unref(j->deadline);
    free(j);
}

static struct job *take_finished(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    struct job *j = TAILQ_FIRST(&w->finished);
    if (j)
        TAILQ_REMOVE(&w->finished, j, by_line);
    pthread_mutex_unlock(&w->lock);
    return j;
}

static void tell_late(struct job *j)
{
    if (j->free_late)
        j->free_late(j->data);
    job_free(j);
}

static int on_finished(sd_event_source *s _unused_, int fd, uint32_t revents _unused_, void *data)
{
    struct workers *w = data;
    uint64_t n;
    (void)!read(fd, &n, sizeof(n));
    for (struct job *j; (j = take_finished(w));) {
        if (j->told) {
            tell_late(j);
            continue;
        }
        j->done(j->data, 0);
        job_free(j);
    }
    return 0;
}

/* A job that no thread has begun is not worth beginning any more. */
static int on_deadline(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct job *j = data;
    struct workers *w = j->workers;
    pthread_mutex_lock(&w->lock);
    bool untouched = j->waiting;
    if (untouched)
        unqueue(w, j);
    pthread_mutex_unlock(&w->lock);
    j->told = true;
    j->done(j->data, -ETIMEDOUT);
    if (untouched)
        tell_late(j);
    return 0;
}

int workers_new(sd_event *loop, unsigned threads, unsigned queue, struct workers **out)
{
    struct workers *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->loop = loop;
    w->max_waiting = queue;
    w->refs = 1;
    TAILQ_INIT(&w->waiting);
    TAILQ_INIT(&w->finished);
    LIST_INIT(&w->all);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = w->event_fd < 0
                ? -errno
                : sd_event_add_io(loop, &w->source, w->event_fd, EPOLLIN, on_finished, w);
    for (unsigned i = 0; i < threads && r >= 0; i++)
        r = start_thread(w);
    if (r < 0) {
        workers_free(w);
        return r;
    }
    *out = w;
    return 0;
}

int workers_set_priority(struct workers *w, int64_t priority)
{
    int r = sd_event_source_set_priority(w->source, priority);
    return r < 0 ? r : 0;
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    w->source = sd_event_source_disable_unref(w->source);
    for (struct job *j = LIST_FIRST(&w->all); j; j = LIST_NEXT(j, by_all))
        j->deadline = sd_event_source_disable_unref(j->deadline);
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    leave(w);
}

int workers_run(struct workers *w, void (*work)(void *data), void (*done)(void *data, int error),
                void (*free_late)(void *data), void *data, uint64_t deadline_ms)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    *j = (struct job){
        .workers = w, .work = work, .done = done, .free_late = free_late, .data = data};
    LIST_INSERT_HEAD(&w->all, j, by_all);
    int r = sd_event_add_time_relative(w->loop, &j->deadline, CLOCK_MONOTONIC, deadline_ms * 1000,
                                       0, on_deadline, j);
    if (r < 0) {
        job_free(j);
        return r;
    }
    pthread_mutex_lock(&w->lock);
    bool full = w->n_waiting >= w->max_waiting;
    if (!full) {
        TAILQ_INSERT_TAIL(&w->waiting, j, by_line);
        j->waiting = true;
        w->n_waiting++;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    if (full) {
        job_free(j);
        return -EBUSY;
    }
    return 0;
}
