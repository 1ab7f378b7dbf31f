#include "server/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

/* A job is shared by three: the queue or thread that works on it, the loop that waits for it, and the
 * timer. `told` belongs to the loop alone; the lists are under the mutex. */
struct job {
    struct job *next;
    struct workers *workers;
    void (*work)(void *data);
    void (*done)(void *data, int error);
    void (*free_late)(void *data);
    void *data;
    sd_event_source *deadline;
    bool told;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *waiting, **waiting_last;
    struct job *finished;
    unsigned n_waiting, max_waiting;
    int event_fd;
    sd_event *loop;
    sd_event_source *source;
    bool stop;
    unsigned threads;
};

static void *thread_main(void *data)
{
    struct workers *w = data;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct job *j = w->waiting;
        if (!j) {
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        w->waiting = j->next;
        if (!w->waiting)
            w->waiting_last = &w->waiting;
        w->n_waiting--;
        pthread_mutex_unlock(&w->lock);
        j->work(j->data);
        pthread_mutex_lock(&w->lock);
        j->next = w->finished;
        w->finished = j;
        uint64_t one = 1;
        (void)!write(w->event_fd, &one, sizeof(one));
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void job_free(struct job *j)
{
    sd_event_source_disable_unref(j->deadline);
    free(j);
}

static int on_finished(sd_event_source *s _unused_, int fd, uint32_t revents _unused_, void *data)
{
    struct workers *w = data;
    uint64_t n;
    (void)!read(fd, &n, sizeof(n));
    pthread_mutex_lock(&w->lock);
    struct job *j = w->finished;
    w->finished = NULL;
    pthread_mutex_unlock(&w->lock);
    for (struct job *next; j; j = next) {
        next = j->next;
        if (!j->told)
            j->done(j->data, 0);
        else if (j->free_late)
            j->free_late(j->data);
        job_free(j);
    }
    return 0;
}

static int on_deadline(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct job *j = data;
    j->told = true;
    j->done(j->data, -ETIMEDOUT);
    return 0;
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
    int r = pthread_create(&thread, &attr, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

int workers_new(sd_event *loop, unsigned threads, unsigned queue, struct workers **out)
{
    struct workers *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->loop = loop;
    w->max_waiting = queue;
    w->waiting_last = &w->waiting;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = w->event_fd < 0 ? -errno
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

void workers_free(struct workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    w->source = sd_event_source_disable_unref(w->source);
    /* The struct stays: a thread may hang in NSS and look at it later. This happens once, at exit. */
}

int workers_run(struct workers *w, void (*work)(void *data), void (*done)(void *data, int error),
                void (*free_late)(void *data), void *data, uint64_t deadline_ms)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    *j = (struct job){.workers = w, .work = work, .done = done, .free_late = free_late, .data = data};
    int r = sd_event_add_time_relative(w->loop, &j->deadline, CLOCK_MONOTONIC, deadline_ms * 1000, 0,
                                       on_deadline, j);
    if (r < 0) {
        job_free(j);
        return r;
    }
    pthread_mutex_lock(&w->lock);
    bool full = w->n_waiting >= w->max_waiting;
    if (!full) {
        *w->waiting_last = j;
        w->waiting_last = &j->next;
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
