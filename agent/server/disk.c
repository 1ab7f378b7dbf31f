#include "server/disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/journal.h"

struct telling {
    struct agent *agent;
    const char *event;
    char text[256];
};

static int tell_turn(void *data)
{
    struct telling *t = data;
    agent_alert(t->agent, t->event, t->text);
    return 0;
}

static void told(void *data, int error _unused_)
{
    free(data);
}

/* An alert, with its line in the log: in a turn of the class that is lent what is kept back. */
static void alert(struct agent *a, const char *event, const char *text)
{
    struct telling *t = calloc(1, sizeof(*t));
    if (!t)
        return;
    t->agent = a;
    t->event = event;
    snprintf(t->text, sizeof(t->text), "%s", text);
    if (turn_add(a->turn, TURN_PAM, tell_turn, told, t) < 0)
        free(t);
}

static void compare(struct agent *a, int was, int is, const char *event, const char *bad,
                    const char *good)
{
    const struct journal_fields f = {.result = "well"};
    if (is && is != was)
        alert(a, event, bad);
    else if (was && !is)
        journal_tell(JOURNAL_DISK, LOG_NOTICE, &f, "%s", good);
}

/* A full store is told by its own row. */
static int broken(const struct vault_alarm *x)
{
    return x->store_full || x->error == -ENOSPC ? 0 : x->error;
}

void disk_look(struct agent *a)
{
    struct vault_alarm was = a->disk_told, is = vault_alarm(a->vault);
    char text[200];
    if (is.store_full == was.store_full && is.audit_full == was.audit_full && is.error == was.error)
        return;
    a->disk_told = is;
    compare(a, was.store_full, is.store_full, "store disk full",
            "the disk that holds the store is full: logins go on out of what is kept back for "
            "them, all other changes are refused until there is room",
            "there is room for the store again");
    compare(a, was.audit_full, is.audit_full, "audit disk full",
            "the disk that holds the audit log is full: its lines wait in the store until there "
            "is room",
            "there is room for the audit log again");
    snprintf(text, sizeof(text),
             "the store can't be written (%s): nobody gets in and nothing changes until it can",
             strerror(-broken(&is)));
    compare(a, broken(&was), broken(&is), "store not written", text,
            "the store can be written again");
}
