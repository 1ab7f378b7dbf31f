/* Inside the key/value engine. The space of a mount:
 *
 *     version          "1" or "2"
 *     d/PATH           version 1: the value
 *     config           version 2: {"max_versions", "cas_required", "delete_after"(s)}
 *     m/PATH           version 2: the key's metadata, see kv_meta.c
 *     v/ID/N           version 2: the data of version N of the key whose metadata has this id
 *
 * A key's id is random, so that versions left behind can never turn up under a new key. */
#ifndef COUNTERSIGN_ENGINE_KV_INNER_H
#define COUNTERSIGN_ENGINE_KV_INNER_H

#include "engine/kv.h"
#include "vault/entry.h"

#define KV_KEY_MAX 1000
#define KV_PATH_LEN (ENTRY_PATH_MAX + 2)

/* A handler of version 2; key is the path behind "data/" and the like, checked. */
typedef int (*kv_handler)(struct engine_request *r, const char *key);

struct kv_config {
    int64_t max_versions; /* 0 = not said */
    bool cas_required;
    int64_t delete_after; /* seconds, 0 = never */
};

/* prefix (at most 3 bytes) and key into out. */
void kv_path(char out[KV_PATH_LEN], const char *prefix, const char *key);

/* The mount's configuration, and its routes. */
int kv_config_load(struct engine_request *r, struct kv_config *c);
int kv_config_read(struct engine_request *r, const char *key);
int kv_config_write(struct engine_request *r, const char *key);

/* A key's metadata: {"id", "current", "oldest", "created"(ms), "updated"(ms), "max_versions",
 * "cas_required", "delete_after"(s), "custom": {…}|null, "versions": {"N": {"created"(ms),
 * "deleted"(ms, 0 = not; may lie ahead), "destroyed"}}}. */
int kv_meta_load(struct engine_request *r, const char *key, json_t **out); /* or ENTRY_E_NONE */
/* The same, to be read only: it is shared (entry_peek_json()). */
int kv_meta_peek(struct engine_request *r, const char *key, json_t **out);
/* meta is shared from then on: not to be changed. */
int kv_meta_store(struct engine_request *r, const char *key, json_t *meta);
json_t *kv_meta_new(int64_t now_ms);
/* One version, NULL when it was never there or has been pruned. Borrowed. */
json_t *kv_meta_version(const json_t *meta, int64_t n);
/* A stamp as Vault shows it, "" for 0. NULL on lack of memory. */
json_t *kv_meta_stamp(int64_t ms);
int kv_meta_read(struct engine_request *r, const char *key);
int kv_meta_write(struct engine_request *r, const char *key);
int kv_meta_patch(struct engine_request *r, const char *key);
int kv_meta_delete(struct engine_request *r, const char *key);
int kv_meta_list(struct engine_request *r, const char *folder);

/* The versions. */
int kv_data_read(struct engine_request *r, const char *key);
int kv_data_write(struct engine_request *r, const char *key);
int kv_data_patch(struct engine_request *r, const char *key);
int kv_data_delete_latest(struct engine_request *r, const char *key);
int kv_data_delete(struct engine_request *r, const char *key);
int kv_data_undelete(struct engine_request *r, const char *key);
int kv_data_destroy(struct engine_request *r, const char *key);
int kv_data_subkeys(struct engine_request *r, const char *key);

/* Appends old with patch laid over it (RFC 7396), both the text of an object that json_parse()
 * accepted, without white space around it. 0, -EINVAL when one is no object, -errno. */
int kv_merge(const char *old, size_t old_len, const char *patch, size_t patch_len, struct buf *out);

#endif
