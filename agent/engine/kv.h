/* The key/value engine, as Vault's: version 1 (one value a path) and version 2 (kept versions,
 * check-and-set, soft deletion, metadata), by the mount's option "version".
 *
 * What a person stored comes back byte for byte: version 1 keeps the body, version 2 the "data"
 * member, as it was sent (validated, never dumped anew). A PATCH keeps the bytes of every value
 * that it does not touch. */
#ifndef COUNTERSIGN_ENGINE_KV_H
#define COUNTERSIGN_ENGINE_KV_H

#include "engine/engine.h"

#define KV_VERSIONS_DEFAULT 10 /* kept where neither key nor mount say how many */
#define KV_VERSIONS_MAX 1024   /* the most they may say */

extern const struct engine kv_engine;

#endif
