/* The PAM service files on disk, our copies of them, and the change that waits for its
 * confirmation.
 *
 * Files are replaced atomically with owner, mode and labels kept. `dir` is /etc/pam.d, `state`
 * /var/lib/countersign-pam. All functions: 0, or -errno with a sentence in why[]. */
#ifndef COUNTERSIGN_CLI_PAMSTORE_H
#define COUNTERSIGN_CLI_PAMSTORE_H

#include "base/json.h"

#define PAMSTORE_DIR "/etc/pam.d"
#define PAMSTORE_STATE "/var/lib/countersign-pam"
#define PAMSTORE_PENDING "rollback.json"

/* Whether the name can be a service's file: no folders, no dot in front. */
bool pamstore_is_name(const char *service);

/* Reads a service's file. -ELOOP for a symbolic link: something else manages it. */
int pamstore_read(const char *dir, const char *service, struct buf *text, char *why, size_t whylen);
int pamstore_write(const char *dir, const char *service, const struct buf *text, char *why,
                   size_t whylen);

/* Makes the state folder and takes its lock, which others of us wait for. Returns an fd to close.
 */
int pamstore_lock(const char *state, char *why, size_t whylen);
/* Keeps (and reads again) a copy of the file as it was before us. */
int pamstore_keep(const char *state, const char *service, const struct buf *text, char *why,
                  size_t whylen);
int pamstore_kept(const char *state, const char *service, struct buf *text, char *why,
                  size_t whylen);

/* The waiting change: {"id", "until" (seconds since 1970), "services": […]}. Reading gives -ENOENT
 * when none waits. Clearing one that isn't there is no error. */
int pamstore_pending(const char *state, json_t **out, char *why, size_t whylen);
int pamstore_set_pending(const char *state, const json_t *change, char *why, size_t whylen);
int pamstore_clear_pending(const char *state, char *why, size_t whylen);

#endif
