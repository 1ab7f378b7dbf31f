/* What a process's control groups say about it: whether it runs on this host or in a container, and
 * in which systemd unit. Pure. cgroups(7), systemd's control group delegation. */
#ifndef COUNTERSIGN_IDENTITY_CGROUP_H
#define COUNTERSIGN_IDENTITY_CGROUP_H

#include "base/mem.h"

struct cgroup {
    bool foreign;   /* not of this host's own services and sessions */
    char unit[256]; /* "" when it is in none, or when foreign */
};

/* Judges the text of /proc/PID/cgroup. Paths are relative to the reader's own root. has_systemd:
 * whether systemd manages this machine; without it no layout is known, and only a path that leaves
 * our root is foreign. */
void cgroup_judge(const char *text, bool has_systemd, struct cgroup *out);

#endif
