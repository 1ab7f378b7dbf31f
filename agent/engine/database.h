/* The database engine, as Vault's for PostgreSQL: accounts made for the one who asks, leased.
 *
 *   config/NAME   a database and the account the agent administers it with
 *   roles/NAME    what kind of account: Vault's statements, or ours: "groups" (the account becomes
 * a member) and "connection_limit" creds/NAME    reading makes an account of the role reset/NAME
 * closes the connections to a database
 *
 * The agent picks the password and computes its SCRAM-SHA-256 verifier; neither the connector nor
 * the database ever learns the password itself. It is kept nowhere: not in the lease, not in the
 * store. */
#ifndef COUNTERSIGN_ENGINE_DATABASE_H
#define COUNTERSIGN_ENGINE_DATABASE_H

#include "engine/engine.h"

#define DATABASE_PLUGIN "postgresql-database-plugin"
#define DATABASE_TTL_DEFAULT 3600                  /* s, where neither role nor binding says */
#define DATABASE_TTL_MAX (INT64_C(32) * 24 * 3600) /* s, where neither says: Vault's 768 h */
#define DATABASE_CONNECTION_LIMIT 10               /* where the role does not say */
/* The database's own expiry (VALID UNTIL) lies so much behind the lease's: it is the net for when
 * the agent dies, and must not come first when the clocks differ a little or a renewal takes its
 * time. */
#define DATABASE_GRACE 30

extern const struct engine database_engine;

#endif
