/* The frames between countersignd and countersign-connector.
 *
 * One SOCK_SEQPACKET connection, opened by the connector to connector.sock (or inherited, --fd). Each
 * packet is one JSON object of at most CONNECTOR_FRAME_MAX bytes. The agent asks, the connector
 * answers each request exactly once, in any order:
 *
 *   hello    connector -> agent, first frame: {"hello": CONNECTOR_VERSION, "program": "…version…"}
 *   request  agent -> connector: {"id": N, "op": "…", "timeout_ms": N, "db": {…}, …}
 *   answer   connector -> agent: {"id": N, "ok": true, …}
 *            or {"id": N, "ok": false, "kind": "…", "message": "for a person", "sqlstate": "2BP01"}
 *
 * "db" comes with every request, since the connector keeps nothing on disk:
 *   {"name": "shop", "url": "postgresql://{{username}}:{{password}}@host:5432/db?sslmode=verify-full",
 *    "username": "…", "password": "…"}
 * The url may be a libpq URI or key=value conninfo; {{username}} and {{password}} are replaced
 * (percent-encoded in a URI, quoted in conninfo); without them username and password are set beside
 * the url's own parameters. TLS settings (sslmode, sslrootcert, …) are the url's and pass through.
 *
 * ops (role names are at most 63 bytes; expires is seconds since 1970):
 *   check   {}                                      -> {"version": 150020, "problems": ["…", …]}
 *           problems: what the admin account lacks (CREATEROLE, …), one sentence each; with an optional
 *           "groups": [..] also whether it may hand those on
 *   create  {"role", "verifier": "SCRAM-SHA-256$…", "expires", "groups": [..], "connection_limit": n,
 *            "comment": "…", "statements": [..]}    -> {}
 *           statements empty: CREATE ROLE … LOGIN PASSWORD verifier VALID UNTIL … IN ROLE groups;
 *           else Vault's creation_statements with {{name}} (also {{username}}), {{password}} (the
 *           verifier), {{expiration}}: each value escaped by libpq for the place it stands in. One
 *           transaction; then COMMENT ON ROLE and membership of the admin account in the role (so
 *           that it may terminate and drop without being superuser).
 *   renew   {"role", "expires", "statements": [..]} -> {}   ("gone" when the role is not there)
 *   revoke  {"role", "statements": [..]}            -> {"terminated": n, "gone": bool}
 *           NOLOGIN and past VALID UNTIL, committed; terminate its sessions until none is left (re-scan);
 *           then statements, if any; then, when the role is still there: DROP OWNED in this
 *           database's grants only, REVOKE memberships, DROP ROLE. A role that is not there is success with gone = true.
 *   sweep   {"instance": "uuid", "after": "", "limit": 500} -> {"roles": [{"role", "lease"}], "more": bool}
 *           roles whose comment begins with "countersign instance=<uuid> lease=", by name
 *   forget  {}                                      -> {}   closes idle connections to this db
 *
 * create, renew, revoke and sweep may bring a claim, so that of two agents with the same store (a
 * clone, a restored copy) only one touches the accounts:
 *   "claim": {"marker": "countersign-<instance>-<8 hex>", "next": "<16 hex>", "known": ["<16 hex>", …],
 *             "by": "host, for people", "take": false}
 * The marker is a role without login; its comment holds the token of the agent that claimed the
 * database last. Before the op: no marker, or one with a known token (any, with "take"), is given
 * the next token, under a lock; next there already is fine; anything else fails with "superseded"
 * and nothing is done. A success says "claimed": true.
 *
 * kinds of failure: "unreachable" (no connection, or it broke: worth trying again), "busy" (not even
 * tried: too many requests wait already), "denied" (the
 * server refused our login or right), "timeout", "dependent" (objects depend on the role: it stays,
 * NOLOGIN; "objects": ["…", …] lists them), "gone", "statement" (the SQL failed; sqlstate), "invalid"
 * (the request itself), "superseded" (the claim failed). Messages never hold the password or the verifier. */
#ifndef COUNTERSIGN_CONNECTOR_H
#define COUNTERSIGN_CONNECTOR_H

#define CONNECTOR_VERSION 1
#define CONNECTOR_FRAME_MAX 65536
#define CONNECTOR_ROLE_MAX 63
#define CONNECTOR_SOCKET "/run/countersign/connector.sock"
#define CONNECTOR_COMMENT "countersign instance=%s lease=%s"
#define CONNECTOR_CLAIM_LEN 16   /* hex digits of a token */
#define CONNECTOR_CLAIMS_MAX 33 /* known tokens */
#define CONNECTOR_MARKER "countersign-%s-%.8s"

#endif
