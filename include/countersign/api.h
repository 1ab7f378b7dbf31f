/* The agent's HTTP API: names and limits shared by the agent and its clients.
 *
 * The form is Vault's v1 (https://developer.hashicorp.com/vault/api-docs): envelope, errors, status
 * codes. Served on agent.sock without a token for host principals (the kernel says who calls); with
 * X-Vault-Token the token alone counts. Below are the routes that are ours or differ; Vault's own
 * (sys/seal-status, health, leader, seal, mounts, policies/acl, policy, capabilities-self,
 * internal/ui/mounts, leases/…, auth/token/…, KV v2, database) are as its pages say.
 *
 *   PUT  sys/init           {"operator": "group:sre", "recovery_shares": 5, "recovery_threshold": 3}
 *                           (secret_shares/secret_threshold mean the same) -> {"keys": [hex…],
 *                           "keys_base64": […], "recovery_keys": […], "recovery_keys_base64": […],
 *                           "unseal_key": "base64", "root_token": "hvs.…"}; root peer. root_token only
 *                           when no operator is named. Without recovery_*: 5 and 3.
 *   PUT  sys/unseal         {"key": "one recovery share, hex or base64"} or {"credential": "base64 of
 *                           the unseal key"} or {"reset": true} -> seal status; root peer
 *                           "seal": "shamir" (default "host"): no unseal_key, the shares alone open it
 *   GET/PUT/DELETE sys/generate-root/attempt, PUT sys/generate-root/update and GET/PUT/DELETE
 *                           sys/rekey/init, PUT sys/rekey/update, GET/PUT/DELETE sys/rekey/verify (the
 *                           same below sys/rekey-recovery-key): as Vault's, but that whoever changes
 *                           something must be a root peer; no PGP
 *   PUT  sys/reseal/init    -> {"unseal_key": base64}: from now on it opens the store as well; root peer.
 *                           DELETE calls it off
 *   PUT  sys/reseal/update  {"credential": that key, read back from where it is kept} -> {"complete": true}:
 *                           it alone opens the store
 *   GET  sys/break-glass    {"left", "used", "codes": [{"id", "user", "made", "used", "service",
 *                           "source", "genuine"}]}; root peer or by policy
 *   PUT  sys/break-glass/USER {"count": 1..16} -> {"user", "codes": [{"id", "code"}]}: emergency codes, in
 *                           place of those they had; root peer
 *   DELETE sys/break-glass/USER -> {"revoked": n}; root peer or by policy (sudo)
 *   GET  sys/status         what is wrong and what waits: {"version", "instance", "initialized", "sealed",
 *                           "since", "leases": {"pending", "active", "revoking", "quarantined"},
 *                           "revocations_waiting", "oldest_waiting": stamp|null, "connector":
 *                           "up"|"down", "sessions", "audit": {"seq", "waiting", "failing_since"},
 *                           "disk": {"store", "audit": {"free", "reserve", "reserve_whole",
 *                           "full", "full_since"}}, "alerts": {"count", "since", "last", "last_event"},
 *                           "held": {"cause", "reason", "since"}|null,
 *                           "problems": ["sentence: what to do", …]}
 *   LIST sys/bindings -> {"keys": […]}; GET/PUT/DELETE sys/bindings/NAME (the object of the design;
 *                           GET answers it in data)
 *   GET/PUT sys/enrolment   {"mode": "required"|"grace", "until": "2026-12-01" (grace), "exempt_groups": […]}
 *   GET  sys/factors/USER   {"user", "factors": [{"type", "created", "last_used", "remaining"(recovery),
 *                           "algorithm","digits"(totp), "confirmed"}], "locked_until": stamp|null}
 *   POST sys/factors/USER/totp  {"algorithm": "SHA1|SHA256|SHA512", "digits": 6|8, "issuer"} ->
 *                           {"secret": base32, "url": "otpauth://…"}: not counted until confirmed
 *   POST sys/factors/USER/totp/confirm {"code"} -> {"recovery_codes": [10 …]} (once, with a person's
 *                           first factor; else [])
 *   POST sys/factors/USER/recovery {} -> {"recovery_codes": […]} (replaces the old ones)
 *   POST sys/factors/USER/passphrase {"passphrase"} -> 204
 *   DELETE sys/factors/USER/TYPE, DELETE sys/factors/USER (all: reset) -> 204
 *                           "self" as USER means the caller. The person themselves (a first factor
 *                           freely; more, or a removal, with a proof at most 15 minutes old in this session),
 *                           a root peer, or a policy that allows the path.
 *   POST sys/factors/USER/totp/import {"secret": base32, "algorithm", "digits", "period": 30, "skew",
 *                           "confirmed", "replace"} -> {"user", "confirmed"}: a TOTP made elsewhere.
 *                           confirmed (it counts at once) is root's and operators' to say
 *   GET/LIST sys/people     {"people": [{"user", "factors": [type…], "sessions": n, "locked": stamp|null,
 *                           "reason"}], "keys": [name…]}: who has a factor, a session or a lock
 *   GET  sys/people/NAME    {"user", "known" (to NSS; null: it didn't answer), "uid", "locked": {"at",
 *                           "by", "reason"}|null, "factors", "sessions", "tokens", "leases"}
 *   PUT  sys/people/NAME/offboard {"reason", "uid" (of somebody NSS no longer knows)} -> the same with
 *                           "already", "tokens": n, "factors": [type…] as they were taken away; durable
 *                           when answered, the leases' revocation under way. sudo, or a root peer
 *   DELETE sys/people/NAME/lock -> 204
 *   GET/PUT sys/managed     {"version", "names": {"policies": […], …}}; PUT {"cas": version, "names"}: what
 *                           countersign apply has made
 *   PUT  sys/managed/preview {"policies": {name: text|null}, "bindings": {name: object|null}} ->
 *                           {"lost": [path…]}: what the caller may write now, but not with these rules
 *   PUT/DELETE …?check=true on policies, bindings, enrolment, mounts and engines' paths: everything is
 *                           done, then taken back -> {"changed": bool, "change":
 *                           "create|update|delete|none"}, or the refusal that would come. Elsewhere 400
 *   GET  sys/sessions       {"sessions": [{"id", "user", "service", "source", "tty", "started",
 *                           "proofs": [{"factor", "age"}], "leases": n}]}; one's own without a policy
 *   GET  sys/leases         {"leases": [{"id", "path", "principal", "state", "issued", "expires", "ttl",
 *                           "renewable", "lifetime": {"kind": "session|token|none", "id", "name"},
 *                           "last_error", "attempts", "objects"}], "truncated": bool}
 *                           ?principal=user:NAME&state=quarantined&limit=1000; one's own without a policy
 *   GET  sys/logins         {"logins": [{"time", "user", "service", "source", "hook", "result", "rule"}]}: the
 *                           last 100 since the agent started, the newest first
 *   GET  sys/metrics        ?format=prometheus: text form 0.0.4; else Vault's JSON. Sealed: root only, and
 *                           only what can be told then
 *   PUT  sys/leases/revoke-principal {"principal": "user:NAME"} -> {"revoked": n}
 *   POST sys/explain        {"principal": "user:NAME" ("self"), "operation": "read", "path": "…"} or
 *                           {"principal", "service": "sshd"} -> policy/decide.h's trace; about
 *                           oneself without a policy
 *   GET  sys/audit/head     {"seq", "mac"}
 *   POST sys/audit/verify   {"lines": "line\nline\n…" (at most 512 KiB), "chain": {"seq", "mac"}|null} ->
 *                           {"checked": n, "chain": {"seq", "mac"}, "broken": {"line": k (1-based in
 *                           this request), "seq", "reason"}|null}
 *   GET  sys/hold           {"held": {"cause": "rollback|restored|moved|damaged", "reason", "since"}|null,
 *                           "databases": [{"mount", "name", "reason", "since"}]}: what waits for an
 *                           operator (server/hold.h); sys/status has "held" as well
 *   PUT  sys/hold/accept    {} -> {"accepted": [sentence…]}: this store goes on; needs sudo, or root
 *   PUT  sys/snapshot       -> {"id", "bytes", "head": base64}: begins a snapshot (vault/snapshot.h), and
 *                           answers once the copy is whole; sudo, or root. One at a time
 *   PUT  sys/snapshot/read  {"id"} -> {"data": base64, "last": bool}: what follows head, piece by piece
 *   DELETE sys/snapshot     gives it up; so does a minute without reading
 *   PUT  sys/restore        {"head": base64, "force": false} -> {"id", "threshold", "head": {…}}; root
 *                           peer. 400 on a store that is initialised, without force
 *   PUT  sys/restore/share  {"id", "key": share} -> {"progress", "threshold", "opened": bool}
 *   PUT  sys/restore/data   {"id", "data": base64} -> {}
 *   PUT  sys/restore/finish -> {"unseal_key": base64, "instance", "aside": path|""}; held from then on
 *   DELETE sys/restore      gives it up
 *   POST sys/rotate         a new data key version
 */
#ifndef COUNTERSIGN_API_H
#define COUNTERSIGN_API_H

#define API_SOCKET "/run/countersign/agent.sock"
#define API_PREFIX "/v1/"
#define API_TOKEN_HEADER "X-Vault-Token"
#define API_CREDENTIAL_NAME "countersign.unseal-key"
#define API_CREDENTIAL_FILE "/etc/credstore.encrypted/countersign.unseal-key"
#define API_AUDIT_LOG "/var/log/countersign/audit.log"
#define API_STORE "/var/lib/countersign/agent.db"
#define API_CONFIG "/etc/countersign/agent.hcl"
#define API_RECOVERY_CODES 10
#define API_AUDIT_BATCH (512 * 1024)
#define API_SNAPSHOT_BATCH (512 * 1024) /* bytes of a snapshot in one request, before base64 */

#endif
