/* Named values in a tree: KV secrets, policies, bindings, mounts, engine configuration.
 *
 * A space is a tree of its own (a mount's UUID, or "policy", "binding", …; 1..64 bytes). A path is
 * segments joined by '/', 1..1024 bytes in all, no empty segment, no NUL, valid UTF-8; "." and ".."
 * are refused. Names are hidden in the file: rows are found by a keyed hash of (space, path), the
 * name stands inside the ciphertext, and a folder lists its children through its own hash. */
#ifndef COUNTERSIGN_VAULT_ENTRY_H
#define COUNTERSIGN_VAULT_ENTRY_H

#include "vault/vault.h"

#define ENTRY_E_NONE 1 /* there is no such entry */
#define ENTRY_PATH_MAX 1024
#define ENTRY_VALUE_MAX (1024 * 1024)

/* Appends the value to out (give it a max). 0, ENTRY_E_NONE, -errno. */
int entry_get(struct vault *v, const char *space, const char *path, struct buf *out);
/* Creates or replaces. -EMSGSIZE above ENTRY_VALUE_MAX. A path may be an entry and a folder at
 * once. */
int entry_put(struct vault *v, const char *space, const char *path, const void *p, size_t n);
/* 0 or ENTRY_E_NONE. Folders that became empty vanish. */
int entry_delete(struct vault *v, const char *space, const char *path);

/* Calls fn(name) for each child of a folder ("" or "a/b/"), sorted bytewise; a child folder's name
 * ends in '/'. Starts behind `after` (NULL: from the start), at most limit calls (0: all). A
 * negative value from fn ends it and is returned. 0, ENTRY_E_NONE when the folder has nothing. The
 * names are collected first, so fn may change the store. */
typedef int (*entry_name_fn)(const char *name, void *data);
int entry_list(struct vault *v, const char *space, const char *folder, const char *after,
               size_t limit, entry_name_fn fn, void *data);

/* Deletes everything below a folder ("" = the whole space). */
int entry_delete_tree(struct vault *v, const char *space, const char *folder);

/* What writes change, counted for a caller who means to take them back: see below. */
struct entry_watch {
    unsigned created, replaced, deleted;
};
/* Until entry_watch(v, NULL), every put and delete is first compared with what is there, and
 * counted in *w where it makes a difference (JSON by its value, not by its bytes). Costs a read for
 * each write. */
void entry_watch(struct vault *v, struct entry_watch *w);

/* --- JSON on top: most entries are one JSON object ------------------------------------------- */
/* 0 and a new object; ENTRY_E_NONE; -errno. */
int entry_get_json(struct vault *v, const char *space, const char *path, json_t **out);
/* The same, remembered until it changes: for what nearly every request reads. The object is shared:
 * drop the reference as usual, but never change it. Not for what is secret in itself (peek.h). */
int entry_peek_json(struct vault *v, const char *space, const char *path, json_t **out);
int entry_put_json(struct vault *v, const char *space, const char *path, const json_t *value);
/* The same, remembered for entry_peek_json(): the object is shared from then on. */
int entry_put_peek(struct vault *v, const char *space, const char *path, json_t *value);

#endif
