#include "server/people.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct known {
    struct person *person;
    char *asked_name; /* NULL: asked by uid */
    uid_t asked_uid;
    int64_t at;
};

struct people {
    struct workers *workers;
    struct known known[PEOPLE_KEPT];
    size_t next; /* the slot that is overwritten next */
};

struct ask {
    struct people *people;
    char *name;
    uid_t uid;
    struct person *person;
    int error;
    people_fn fn;
    void *data;
};

int people_new(struct workers *w, struct people **out)
{
    struct people *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->workers = w;
    *out = p;
    return 0;
}

static void forget(struct known *k)
{
    person_free(k->person);
    free(k->asked_name);
    *k = (struct known){0};
}

void people_free(struct people *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < PEOPLE_KEPT; i++)
        forget(&p->known[i]);
    free(p);
}

static bool same_question(const struct known *k, const char *name, uid_t uid)
{
    if (!k->person || !name != !k->asked_name)
        return false;
    return name ? strcmp(name, k->asked_name) == 0 : uid == k->asked_uid;
}

const struct person *people_known(struct people *p, const char *name, uid_t uid)
{
    int64_t now = clock_boot_ms();
    for (size_t i = 0; i < PEOPLE_KEPT; i++) {
        struct known *k = &p->known[i];
        if (!same_question(k, name, uid))
            continue;
        if (now - k->at <= PEOPLE_FRESH_MS)
            return k->person;
        forget(k);
    }
    return NULL;
}

/* Only people who exist are remembered: made-up names must not push them out, and a new account
 * must work at once. */
static void remember(struct people *p, struct ask *a)
{
    if (a->error || !a->person || !a->person->exists)
        return;
    struct known *k = &p->known[p->next];
    p->next = (p->next + 1) % PEOPLE_KEPT;
    forget(k);
    *k = (struct known){
        .person = a->person, .asked_name = a->name, .asked_uid = a->uid, .at = clock_boot_ms()};
    a->person = NULL;
    a->name = NULL;
}

static void ask_free(void *data)
{
    struct ask *a = data;
    person_free(a->person);
    free(a->name);
    free(a);
}

static void ask_work(void *data)
{
    struct ask *a = data;
    a->error = person_lookup(a->name, a->uid, &a->person);
}

static void ask_done(void *data, int error)
{
    struct ask *a = data;
    if (error) { /* the thread still has it: ask_free() follows */
        a->fn(NULL, error, a->data);
        return;
    }
    a->fn(a->error ? NULL : a->person, a->error, a->data);
    remember(a->people, a);
    ask_free(a);
}

int people_ask(struct people *p, const char *name, uid_t uid, people_fn fn, void *data)
{
    struct ask *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    *a = (struct ask){.people = p, .uid = uid, .fn = fn, .data = data};
    a->name = name ? strdup(name) : NULL;
    int r = name && !a->name
                ? -ENOMEM
                : workers_run(p->workers, ask_work, ask_done, ask_free, a, PEOPLE_DEADLINE_MS);
    if (r < 0)
        ask_free(a);
    return r;
}
