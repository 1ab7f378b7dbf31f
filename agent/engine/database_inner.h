/* Inside the database engine. The space of a mount: "config/NAME" and "role/NAME", JSON objects.
 *
 * A recipe: {"db": config's name, "role": account, "revocation_statements", "renew_statements"}. */
#ifndef COUNTERSIGN_ENGINE_DATABASE_INNER_H
#define COUNTERSIGN_ENGINE_DATABASE_INNER_H

#include "engine/database.h"
#include "vault/entry.h"

#define DATABASE_NAME_MAX 100
#define DATABASE_PATH_LEN (DATABASE_NAME_MAX + 16)

/* A handler; name is the path behind "config/" and the like, checked. */
typedef int (*database_handler)(struct engine_request *r, const char *name);

/* The path of one in its space; folder: "config" or "role". */
void database_path(char out[DATABASE_PATH_LEN], const char *folder, const char *name);
/* 0 and the object, ENTRY_E_NONE, -errno. */
int database_load(struct vault *v, const char *space, const char *folder, const char *name,
                  json_t **out);
/* What is stored, or an empty one (stolen), with the fields of the body laid over it, as Vault
 * does. 0 or -errno. */
int database_overlay(struct engine_request *r, const char *folder, const char *name,
                     const struct json_field *fields, json_t *empty, json_t **out);
/* The same of each folder. */
int database_config_load(struct vault *v, const char *space, const char *name, json_t **out);
int database_role_load(struct vault *v, const char *space, const char *name, json_t **out);

/* What the "db" of a frame is, of a configuration. NULL on lack of memory. */
json_t *database_config_db(const char *name, const json_t *config);
/* Whether the configuration lets the role use it. */
bool database_config_allows(const json_t *config, const char *role);

int database_config_read(struct engine_request *r, const char *name);
int database_config_write(struct engine_request *r, const char *name);
int database_config_delete(struct engine_request *r, const char *name);
int database_config_list(struct engine_request *r, const char *name);
int database_config_reset(struct engine_request *r, const char *name);

int database_role_read(struct engine_request *r, const char *name);
int database_role_write(struct engine_request *r, const char *name);
int database_role_delete(struct engine_request *r, const char *name);
int database_role_list(struct engine_request *r, const char *name);

int database_creds_read(struct engine_request *r, const char *name);

/* Between handle() and answered(). */
struct database_state {
    int (*answered)(struct engine_request *r, struct database_state *s, const json_t *answer);
    char name[DATABASE_NAME_MAX + 1]; /* of the configuration */
    json_t *config;                   /* to be written once it is verified */
    char *account, *password;
};

/* Makes it and hangs it into the request. NULL on lack of memory. */
struct database_state *database_state_new(struct engine_request *r, const char *name);

/* What the connector could not do, as an answer for the caller. name: the configuration's. */
int database_failed(struct engine_request *r, const char *name, const json_t *answer);

/* Warns of fields of the body that are not in the schema. */
int database_warn_unknown(struct engine_request *r, const struct json_field *schema);

/* The connection string as it may be shown: without anything that could be a secret. */
int database_url_mask(const char *url, struct buf *out);

#endif
