/* Entries in the system's journal that programs can search for: what happened is told by
 * MESSAGE_ID, who and what by fields of their own.
 *
 *     journalctl COUNTERSIGN_USER=alice -o json
 *
 * Values are made printable and cut short; secrets are the caller's to keep out. */
#ifndef COUNTERSIGN_SERVER_JOURNAL_H
#define COUNTERSIGN_SERVER_JOURNAL_H

#include <syslog.h>

#include "base/mem.h"

enum journal_event {
    JOURNAL_LOGIN, /* a PAM hook was answered */
    JOURNAL_ALERT, /* what somebody should look at */
    JOURNAL_SEALED,
    JOURNAL_UNSEALED,
    JOURNAL_REVOCATION_WAITS, /* it did not work, and is tried again */
    JOURNAL_QUARANTINED,      /* objects depend on the account */
    JOURNAL_DISK,             /* the state of the disk changed */
    JOURNAL_CONNECTOR,        /* it came or went */
    JOURNAL_EVENTS
};

struct journal_fields {  /* NULL or "": the entry has no such field */
    const char *user;    /* COUNTERSIGN_USER */
    const char *service; /* COUNTERSIGN_SERVICE */
    const char *rhost;   /* COUNTERSIGN_RHOST: the numeric address, "local" */
    const char *hook;    /* COUNTERSIGN_HOOK */
    const char *result;  /* COUNTERSIGN_RESULT */
    const char *rule;    /* COUNTERSIGN_RULE: the binding that decided */
    const char *session; /* COUNTERSIGN_SESSION */
    const char *lease;   /* COUNTERSIGN_LEASE */
    const char *alert;   /* COUNTERSIGN_ALERT */
};

/* The 32 hex digits of an event's MESSAGE_ID. */
const char *journal_id(enum journal_event e);
/* priority: syslog's. fields may be NULL. */
void journal_tell(enum journal_event e, int priority, const struct journal_fields *fields,
                  const char *fmt, ...) _printf_(4, 5);

#endif
