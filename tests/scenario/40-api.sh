#!/usr/bin/env bash
# Goal: the HTTP API as Vault's clients know it, of the real agent in dev mode, over its Unix socket and over TCP:
# form, status codes and traps; KV, policies, tokens, bindings; what a restart and a kill leave behind; and what
# hostile requests get.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/agent.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/agent.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-api.XXXXXX")
PORT=$((20000 + RANDOM % 20000))
ME=$(id -un)
AGENT_ARGS=(--listen "127.0.0.1:$PORT")
TOKEN=""
STATUS="" ANSWER="" TYPE=""

# --- The agent -----------------------------------------------------------------------------------------

# --- Calls: leave STATUS, ANSWER and TYPE ----------------------------------------------------------------

send() { # METHOD URL-PATH CURL-ARGS...
    local method=$1 path=$2 meta
    shift 2
    meta=$(curl -sS --max-time 30 --path-as-is -X "$method" -o "$DIR/answer" -w '%{http_code}|%{content_type}' "$@" \
        "http://localhost:$PORT$path") || meta="000|"
    STATUS=${meta%%|*}
    TYPE=${meta#*|}
    ANSWER=$(tr -d '\000' <"$DIR/answer")
    : >"$DIR/answer"
}

call() { # METHOD PATH [BODY]: with TOKEN, over the Unix socket
    send "$1" "/v1/$2" --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" ${3+--data-binary "$3"}
}

as_me() { # METHOD PATH [BODY]: without a token, over the Unix socket
    send "$1" "/v1/$2" --unix-socket "$DIR/dev/agent.sock" ${3+--data-binary "$3"}
}

over_tcp() { # METHOD PATH [BODY]
    send "$1" "/v1/$2" ${TOKEN:+-H "X-Vault-Token: $TOKEN"} ${3+--data-binary "$3"}
}

with_token() { # TOKEN METHOD PATH [BODY]
    local TOKEN=$1
    shift
    call "$@"
}

get() { # JQ-FILTER: of the last answer
    jq -r "$1" <<<"$ANSWER" 2>/dev/null || printf 'no JSON: %.200s\n' "$ANSWER"
}

answers() { # TEXT STATUS
    is "$1" "$STATUS" "$2"
    passed || note "$(printf '%.500s' "$ANSWER")"
}

refuses() { # TEXT STATUS: an error in Vault's form, with a sentence
    is "$1" "$STATUS $TYPE $(get '.errors | length == 1 and (.[0] | type == "string" and length > 5)')" \
        "$2 application/json true"
    passed || note "$(printf '%.500s' "$ANSWER")"
}

# --- The envelope and its traps --------------------------------------------------------------------------

check_form() {
    call GET sys/mounts
    is "the Content-Type is bare" "$STATUS $TYPE" "200 application/json"
    is "the envelope has all its keys" \
        "$(get '[has("request_id","lease_id","renewable","lease_duration","data","wrap_info","warnings","auth")] | all')" true
    is "sys/mounts repeats its data at the top" "$(get '."secret/".type')/$(get '.data."secret/".options.version')" "kv/2"
    like "no answer may be kept" \
        "$(curl -sSi --unix-socket "$DIR/dev/agent.sock" http://localhost/v1/sys/health)" '^Cache-Control: no-store'
    call GET secret/data/none
    is "what is not there is 404 without a sentence" "$STATUS $(get '.errors == []')" "404 true"
    call LIST secret/metadata
    is "an empty list is 404, too" "$STATUS $(get '.errors == []')" "404 true"
    call PUT secret/data/a '{"data":{"k":"v"}}'
    call LIST secret/metadata
    is "LIST lists" "$STATUS $(get '.data.keys | join(",")')" "200 a"
    call GET 'secret/metadata?list=true'
    is "GET with list=true is the same" "$STATUS $(get '.data.keys | join(",")')" "200 a"
    call GET 'secret/metadata/?list=true'
    is "with the slash, too" "$STATUS $(get '.data.keys | join(",")')" "200 a"
    call GET 'secret/metadata?list=false'
    is "list=false does not list" "$STATUS" 404
    call POST secret/data/a '{"data":{"k":"w"}}'
    is "POST is PUT" "$STATUS $(get .data.version)" "200 2"
    call DELETE secret/metadata/a
    is "an empty success is 204 without a body" "$STATUS:$TYPE:$ANSWER" "204::"
    send GET /v1/sys/mounts --unix-socket "$DIR/dev/agent.sock" -H "Authorization: Bearer $TOKEN"
    answers "a bearer token is a token" 200
    send GET /v1/secret/data/a --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -H "X-Vault-Request: true"
    answers "X-Vault-Request does no harm" 404
    send GET /v1/sys/mounts --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -H "X-Vault-Wrap-TTL: 60"
    refuses "wrapping is refused, not passed over" 400
    send GET /v1/sys/mounts --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -H "X-Vault-Namespace: team"
    refuses "so are namespaces" 400
}

check_refusals() {
    with_token hvs.nosuchtoken GET secret/data/a
    refuses "an unknown token is 403" 403
    with_token 'x y' GET secret/data/a
    refuses "so is something that can't be one" 403
    TOKEN="" over_tcp GET secret/data/a
    refuses "over TCP nobody is known without a token" 403
    TOKEN="" over_tcp GET sys/leases
    refuses "not even dev mode's own user" 403
    call DELETE sys/seal
    refuses "a verb that a path does not have is 405" 405
    send BREW /v1/sys/mounts --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN"
    refuses "a method that nobody knows is 405" 405
    send HEAD /v1/sys/health --unix-socket "$DIR/dev/agent.sock" -I
    answers "HEAD asks for the health" 200
    send HEAD /v1/secret/data/a --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -I
    answers "and for nothing that is released" 405
    send PATCH /v1/secret/data/a --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" \
        -H 'Content-Type: application/json' --data '{"data":{}}'
    refuses "PATCH asks for its media type" 415
    call GET no/such/mount
    refuses "a path without a mount is 404" 404
    call GET sys/no-such-thing
    refuses "sys/ is nobody's mount" 404
    send GET / --unix-socket "$DIR/dev/agent.sock"
    is "outside of /v1/ is nothing" "$STATUS $(get '.errors == []')" "404 true"
    call GET sys/mounts/none
    refuses "an unknown mount" 400
}

check_status() {
    as_me GET sys/seal-status
    is "seal-status is bare JSON" "$STATUS $(get '.sealed') $(get '.initialized') $(get 'has("data")')" "200 false true false"
    is "with what clients read of it" "$(get '[has("type","t","n","progress","nonce","version","migration","cluster_name","storage_type")] | all')" true
    TOKEN="" over_tcp GET sys/seal-status
    answers "it needs no token, over TCP either" 200
    as_me GET sys/health
    is "healthy is 200, and bare" "$STATUS $(get .sealed) $(get 'has("data")')" "200 false false"
    as_me GET 'sys/health?activecode=299'
    answers "a load balancer may choose the code" 299
    as_me GET 'sys/health?activecode=204'
    is "also 204" "$STATUS:$ANSWER" "204:"
    as_me GET 'sys/health?activecode=77777'
    answers "but no nonsense" 200
    as_me GET sys/init
    is "sys/init tells that it was" "$STATUS $(get .initialized)" "200 true"
    as_me PUT sys/init '{}'
    refuses "and can't be done again" 400
    as_me GET sys/leader
    is "sys/leader" "$(get .is_self)" true
    as_me GET sys/status
    is "sys/status has our envelope" "$STATUS $(get .data.sealed)" "200 false"
    as_me GET sys/internal/ui/mounts/secret/a
    refuses "the preflight says 403 to who may not see the mount" 403
    call GET sys/internal/ui/mounts/secret/a
    is "and its path and version to who may" "$(get .data.path) $(get .data.options.version)" "secret/ 2"
    call GET sys/internal/ui/mounts/none/a
    refuses "an unknown one is 403, not 404" 403
    call PUT sys/capabilities-self '{"paths":["secret/data/a","sys/mounts"]}'
    is "capabilities of root" "$(get '."secret/data/a"[0]') $(get '.data."sys/mounts"[0]')" "root root"
    as_me PUT sys/capabilities-self '{"path":"secret/data/a"}'
    is "capabilities of who has none" "$(get '.capabilities | join(",")')" deny
}

# --- KV --------------------------------------------------------------------------------------------------

check_kv2() {
    call PUT secret/data/app '{"data":{"pi":3.140,"big":12345678901234567890123,"s":"ä"}}'
    answers "a number that would lose its form is refused rather than changed" 400
    call PUT secret/data/app '{"data":{"pi":3.140,"s":"ä"}}'
    is "a first version" "$STATUS $(get .data.version)" "200 1"
    call GET secret/data/app
    like "the bytes come back as they were" "$ANSWER" '"data":\{"pi":3\.140,"s":"ä"\}'
    call PUT secret/data/app '{"options":{"cas":0},"data":{"a":1}}'
    refuses "cas=0 is for keys that are not there" 400
    call PUT secret/data/app '{"options":{"cas":1},"data":{"a":2}}'
    is "cas with the right version writes" "$STATUS $(get .data.version)" "200 2"
    call PUT secret/data/app '{"options":{"cas":1},"data":{"a":3}}'
    refuses "and with the wrong one does not" 400
    call GET 'secret/data/app?version=1'
    is "an old version can be read" "$(get .data.data.s)" "ä"
    send PATCH /v1/secret/data/app --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" \
        -H 'Content-Type: application/merge-patch+json' --data '{"data":{"b":5,"a":null}}'
    is "PATCH merges" "$STATUS $(get .data.version)" "200 3"
    call GET secret/data/app
    is "and takes away what is null" "$(get '.data.data | tojson')" '{"b":5}'
    call DELETE secret/data/app
    answers "the newest version can be deleted" 204
    call GET secret/data/app
    is "then it is 404 with its metadata" "$STATUS $(get '.data.data') $(get '.data.metadata.version') $(get '.data.metadata.deletion_time != ""')" \
        "404 null 3 true"
    call POST secret/undelete/app '{"versions":[3]}'
    answers "undelete" 204
    call GET secret/data/app
    is "brings it back" "$STATUS $(get .data.data.b)" "200 5"
    call PUT secret/delete/app '{"versions":[1,2]}'
    call GET 'secret/data/app?version=2'
    is "several at once" "$STATUS" 404
    call PUT secret/destroy/app '{"versions":[1]}'
    call POST secret/undelete/app '{"versions":[1,2]}'
    call GET 'secret/data/app?version=1'
    is "what is destroyed stays so" "$STATUS $(get .data.metadata.destroyed)" "404 true"
    call GET 'secret/data/app?version=2'
    is "what was only deleted comes back" "$STATUS $(get .data.data.a)" "200 2"
    call POST secret/metadata/app '{"max_versions":2,"custom_metadata":{"owner":"ada"}}'
    call PUT secret/data/app '{"data":{"n":4}}'
    call GET secret/metadata/app
    is "metadata: the oldest go, the newest count" \
        "$(get .data.current_version) $(get '.data.versions | keys | join(",")') $(get .data.custom_metadata.owner)" "4 3,4 ada"
    call POST secret/config '{"cas_required":true}'
    call PUT secret/data/other '{"data":{}}'
    refuses "cas_required holds for all" 400
    call POST secret/config '{"cas_required":false}'
    call PUT secret/data/folder/one '{"data":{}}'
    call LIST secret/metadata/
    is "folders end in a slash" "$(get '.data.keys | join(",")')" "app,folder/"
    call DELETE secret/metadata/app
    call GET secret/data/app
    is "without metadata there is nothing" "$STATUS $(get '.errors == []')" "404 true"
    call GET secret/data/folder/
    answers "a folder is no key" 404
    call PUT secret/data/folder/ '{"data":{}}'
    refuses "nor can it be written" 400
}

check_kv1() {
    call POST sys/mounts/old '{"type":"kv"}'
    answers "KV version 1 can be mounted" 204
    call PUT old/a '{"x":1.50,"y":null}'
    answers "written" 204
    call GET old/a
    like "and read as it was" "$ANSWER" '"data":\{"x":1\.50,"y":null\}'
    call PUT old/b ''
    refuses "nothing can't be written" 400
    call PUT old/c '[1]'
    refuses "nor what is no object" 400
    call LIST old
    is "listed" "$(get '.data.keys | join(",")')" a
    call POST sys/mounts/old '{"type":"kv"}'
    refuses "a path is mounted once" 400
    call POST sys/mounts/old/tune '{"options":{"version":"2"}}'
    refuses "its version stays" 400
    call POST sys/mounts/old/tune '{"max_lease_ttl":"3h"}'
    call GET sys/mounts/old/tune
    is "its TTLs can be tuned" "$(get .data.max_lease_ttl)" 10800
    call DELETE sys/mounts/old/
    answers "a mount goes" 204
    call GET old/a
    refuses "with all that it kept" 404
}

# --- Tokens and policies -----------------------------------------------------------------------------------

make_token() { # BODY: leaves MADE and ACCESSOR
    call POST auth/token/create "$1"
    MADE=$(get .auth.client_token)
    ACCESSOR=$(get .auth.accessor)
}

check_policies() {
    call PUT secret/data/team/a/x '{"data":{"v":1}}'
    call PUT secret/data/team/b/x '{"data":{"v":2}}'
    call PUT secret/data/team/b/y '{"data":{"v":3}}'
    call PUT sys/policies/acl/hcl '{"policy":"path \"secret/data/team/*\" { capabilities = [\"read\"] }\npath \"secret/data/team/+/y\" { capabilities = [\"deny\"] }"}'
    answers "a policy in HCL" 204
    call PUT sys/policies/acl/json '{"policy":"{\"path\":{\"secret/metadata/team/*\":{\"capabilities\":[\"list\"]},\"secret/data/team/a/x\":{\"capabilities\":[\"update\"]}}}"}'
    answers "a policy in JSON" 204
    call PUT sys/policies/acl/bad '{"policy":"path \"x\" { capabilities = [\"fly\"] }"}'
    refuses "a policy that is none" 400
    call PUT sys/policies/acl/root '{"policy":"path \"x\" { capabilities = [\"read\"] }"}'
    refuses "root is no policy to be written" 400
    call GET sys/policies/acl/hcl
    like "a policy is read as it was written" "$(get .data.policy)" 'secret/data/team/\*'
    call GET sys/policy/hcl
    is "also by its old path" "$(get '.rules | length > 10') $(get .data.name)" "true hcl"
    call LIST sys/policies/acl
    is "all of them" "$(get '.data.keys | sort | join(",")')" "default,hcl,json,root"
    make_token '{"policies":["hcl","json"],"ttl":"1h"}'
    local t=$MADE
    with_token "$t" GET secret/data/team/a/x
    is "the exact rule decides alone" "$STATUS" 403
    with_token "$t" PUT secret/data/team/a/x '{"data":{"v":9}}'
    is "and grants what it says" "$STATUS" 200
    with_token "$t" GET secret/data/team/b/x
    is "a glob grants below it" "$STATUS $(get .data.data.v)" "200 2"
    with_token "$t" GET secret/data/team/b/y
    refuses "a denial wins where + matches" 403
    with_token "$t" LIST secret/metadata/team/
    is "listing is a right of its own" "$(get '.data.keys | join(",")')" "a/,b/"
    with_token "$t" LIST secret/metadata/
    refuses "of the folder it names" 403
    with_token "$t" GET sys/mounts
    refuses "what no rule covers is closed" 403
    with_token "$t" PUT sys/capabilities-self '{"paths":["secret/data/team/b/x","secret/data/team/b/y","x"]}'
    is "capabilities-self says so" "$(get '."secret/data/team/b/x" | join(",")') $(get '."secret/data/team/b/y"[0]') $(get '.x[0]')" \
        "read deny deny"
    call PUT sys/policies/acl/wide '{"policy":"path \"sys/*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\",\"sudo\"] }\npath \"sys/+\" { capabilities = [\"deny\"] }"}'
    make_token '{"policies":["wide"]}'
    with_token "$MADE" PUT sys/rotate '{}'
    refuses "a denial" 403
    with_token "$MADE" PUT sys/rotate/ '{}'
    refuses "is not passed by with a slash at the end" 403
    with_token "$MADE" PUT sys/%72otate '{}'
    refuses "nor by an escape" 403
    call PUT sys/policies/acl/limited '{"policy":"path \"sys/mounts/*\" { capabilities = [\"create\",\"update\"] allowed_parameters = { \"type\" = [\"kv\"] } }"}'
    make_token '{"policies":["limited"]}'
    with_token "$MADE" POST sys/mounts/mine '{"type":"database"}'
    refuses "allowed_parameters hold" 403
    with_token "$MADE" POST sys/mounts/mine '{"type":"kv"}'
    answers "and allow" 204
    call DELETE sys/policies/acl/hcl
    with_token "$t" GET secret/data/team/b/x
    refuses "what a deleted policy granted is gone" 403
}

check_tokens() {
    call GET auth/token/lookup-self
    is "the root token" "$(get '.data.policies | join(",")') $(get .data.ttl) $(get .data.expire_time)" "root 0 null"
    call PUT sys/policies/acl/maker '{"policy":"path \"auth/token/create\" { capabilities = [\"update\"] }\npath \"auth/token/lookup*\" { capabilities = [\"update\"] }"}'
    make_token '{"policies":["maker"],"ttl":"1h","display_name":"ci","meta":{"job":"7"}}'
    local parent=$MADE
    is "a token of its own" "$STATUS $(get .auth.lease_duration) $(get '.auth.policies | sort | join(",")') $(get .auth.token_type)" \
        "200 3600 default,maker service"
    like "looks like one" "$parent" '^hvs\.[0-9A-Za-z]{20,}$'
    call POST auth/token/lookup "{\"token\":\"$parent\"}"
    is "lookup" "$(get .data.display_name) $(get .data.meta.job) $(get .data.orphan) $(get .data.path)" \
        "token-ci 7 false auth/token/create"
    call POST auth/token/lookup-accessor "{\"accessor\":\"$ACCESSOR\"}"
    is "by accessor the token is not shown" "$(get .data.id):$(get .data.accessor)" ":$ACCESSOR"
    with_token "$parent" POST auth/token/create '{"ttl":"30m"}'
    local child child_accessor
    child=$(get .auth.client_token)
    child_accessor=$(get .auth.accessor)
    is "a child has what its parent has" "$(get '.auth.policies | sort | join(",")')" "default,maker"
    with_token "$parent" POST auth/token/create '{"policies":["json"]}'
    refuses "and nothing else" 400
    with_token "$parent" POST auth/token/create '{"policies":["root"]}'
    refuses "root least of all" 400
    with_token "$parent" POST auth/token/create '{"no_parent":true}'
    refuses "no orphan" 400
    with_token "$parent" POST auth/token/create '{"id":"mine"}'
    refuses "no id of its choosing" 400
    with_token "$parent" POST auth/token/create '{"period":"1h"}'
    refuses "none without end" 400
    with_token "$parent" POST auth/token/create-orphan '{}'
    refuses "nor by the orphans' path" 403
    with_token "$child" PUT auth/token/renew-self '{"increment":"45m"}'
    is "renew-self" "$STATUS $(get .auth.lease_duration)" "200 2700"
    call PUT auth/token/renew "{\"token\":\"$child\",\"increment\":600}"
    is "renew" "$STATUS $(get .auth.lease_duration)" "200 600"
    call POST auth/token/revoke-accessor "{\"accessor\":\"$child_accessor\"}"
    answers "revoke by accessor" 204
    with_token "$child" GET auth/token/lookup-self
    refuses "revoked is unknown" 403
    with_token "$parent" POST auth/token/create '{}'
    child=$(get .auth.client_token)
    with_token "$parent" PUT auth/token/revoke-self
    answers "revoke-self" 204
    with_token "$child" GET auth/token/lookup-self
    refuses "takes the children along" 403
    make_token '{"policies":["default"],"num_uses":2}'
    with_token "$MADE" GET auth/token/lookup-self
    with_token "$MADE" GET auth/token/lookup-self
    answers "a token for two uses serves twice" 200
    with_token "$MADE" GET auth/token/lookup-self
    refuses "and no more" 403
    make_token '{"policies":["maker"],"num_uses":1}'
    with_token "$MADE" POST auth/token/create '{}'
    refuses "its last use makes no other one" 400
    make_token '{"policies":["maker"],"ttl":"1s"}'
    sleep 1.2
    with_token "$MADE" GET auth/token/lookup-self
    refuses "a token ends at its time" 403
    call POST auth/token/create '{"id":"chosen","policies":["default"]}'
    is "root may choose an id" "$(get .auth.client_token)" chosen
    call POST auth/token/revoke '{"token":"chosen"}'
    call POST auth/token/revoke '{"token":"chosen"}'
    answers "gone is gone" 204
    call POST auth/token/create '{"type":"batch"}'
    refuses "batch tokens are not ours" 400
    call LIST auth/token/accessors
    is "accessors" "$STATUS $(get '.data.keys | length > 0')" "200 true"
}

# --- The host's own people ---------------------------------------------------------------------------------

check_bindings() {
    as_me GET secret/data/team/b/x
    refuses "who is not bound gets nothing" 403
    call PUT sys/policies/acl/reader '{"policy":"path \"secret/data/team/b/*\" { capabilities = [\"read\"] }"}'
    call PUT sys/bindings/me "{\"principals\":[\"user:$ME\"],\"policies\":[\"reader\",\"maker\"],\"ttl\":\"10m\",\"max_ttl\":\"1h\"}"
    answers "a binding" 204
    call GET sys/bindings/me
    is "is read back" "$(get '.data.principals[0]') $(get .data.max_ttl)" "user:$ME 3600"
    call LIST sys/bindings
    is "and listed" "$(get '.data.keys | join(",")')" me
    as_me GET secret/data/team/b/x
    is "without any token the kernel's word is enough" "$STATUS $(get .data.data.v)" "200 2"
    TOKEN="" over_tcp GET secret/data/team/b/x
    refuses "but not over TCP" 403
    as_me GET secret/data/team/a/x
    refuses "and for what is bound only" 403
    local bad
    for bad in '{}' '{"principals":[],"policies":["x"]}' '{"principals":["*"],"policies":["x"],"mfaa":true}' \
        '{"principals":["*"],"policies":["root"]}' '{"principals":["*"],"policies":["x"],"hours":"late"}' \
        '{"principals":["*"],"policies":["x"],"from":["10.0.0.1/8"]}' '{"principals":["*"],"policies":["x"],"ttl":"2h","max_ttl":"1h"}' \
        '{"principals":["wizard:x"],"policies":["x"]}' '{"principals":["*"],"policies":["x"],"mfa":null}' \
        '{"principals":["*"],"policies":["x"],"hours":"08:00-09:00 Europe"}'; do
        call PUT sys/bindings/bad "$bad"
        refuses "a binding that is none: $bad" 400
    done
    call GET sys/bindings/bad
    answers "is not kept" 404
    as_me POST auth/token/create '{"policies":["reader"]}'
    is "a token made of a binding has its time" "$STATUS $(get .auth.lease_duration)" "200 600"
    local mine
    mine=$(get .auth.client_token)
    with_token "$mine" PUT auth/token/renew-self '{"increment":"8h"}'
    is "and its maximum, renewed or not" "$(get '.auth.lease_duration <= 3600')" true
    with_token "$mine" GET secret/data/team/b/x
    answers "it serves who it was made for" 200
    TOKEN=$mine over_tcp GET secret/data/team/b/x
    refuses "and, bound to a uid, nobody over TCP" 403
    as_me POST auth/token/create '{"policies":["wide"]}'
    refuses "no token has more than its maker" 400
    as_me POST sys/explain '{"principal":"self","operation":"read","path":"secret/data/team/b/x"}'
    is "explain oneself" "$(get .data.verdict) $(get .data.binding) $(get .data.policy)" "allow me reader"
    call POST sys/explain "{\"principal\":\"user:$ME\",\"operation\":\"update\",\"path\":\"secret/data/team/b/x\"}"
    is "explain somebody" "$(get .data.verdict)" deny
    like "with the reason" "$(get .data.why)" 'reader'
    call POST sys/explain "{\"principal\":\"user:$ME\",\"service\":\"sshd\"}"
    is "explain a login" "$(get .data.verdict)" challenge
    call POST sys/explain '{"principal":"user:no-such-person","service":"sshd"}'
    refuses "explain nobody" 404
    call POST sys/explain '{"principal":"self","service":"sshd","operation":"read","path":"x"}'
    refuses "one question at a time" 400
    call PUT sys/bindings/strict "{\"principals\":[\"user:$ME\"],\"policies\":[\"json\"],\"mfa\":{\"max_age\":\"5m\"}}"
    as_me LIST secret/metadata/team/
    refuses "without the factor that a binding asks for" 403
    like "it says what is missing" "$(get '.errors[0]')" 'factor|mfa|MFA'
    call DELETE sys/bindings/strict
    call DELETE sys/bindings/me
    as_me GET secret/data/team/b/x
    refuses "a binding that is gone grants nothing" 403
}

# --- Leases without a database -------------------------------------------------------------------------------

check_leases() {
    call GET sys/leases
    is "no leases" "$(get '.data.leases | length') $(get .data.truncated)" "0 false"
    call PUT sys/leases/lookup '{"lease_id":"database/creds/x/abc"}'
    refuses "an unknown lease" 400
    call PUT sys/leases/renew '{"lease_id":"database/creds/x/abc"}'
    refuses "can't be renewed" 400
    call PUT sys/leases/revoke '{"lease_id":"database/creds/x/abc"}'
    answers "and need not be revoked" 204
    call PUT sys/leases/revoke '{}'
    refuses "but a lease must be named" 400
    as_me PUT sys/leases/revoke '{"lease_id":"database/creds/x/abc"}'
    answers "dev mode's user is no operator, and learns nothing of other leases" 403
    call LIST sys/leases/lookup/database
    answers "nothing below a prefix" 404
    call PUT sys/leases/revoke-prefix/database
    answers "nothing to revoke" 204
    call PUT sys/leases/revoke-principal '{"principal":"user:ada"}'
    is "of nobody" "$(get .data.revoked)" 0
    call GET 'sys/leases/count?type=irrevocable'
    is "nothing is left behind" "$(get .data.lease_count)" 0

    call POST sys/mounts/database '{"type":"database"}'
    call POST database/config/shop '{"plugin_name":"postgresql-database-plugin","connection_url":"postgresql://{{username}}:{{password}}@127.0.0.1:1/shop?connect_timeout=2","username":"boss","password":"hunter2-hunter2","allowed_roles":["*"],"verify_connection":false}'
    answers "a database that nobody answers for" 204
    call GET database/config/shop
    unlike "its password is not shown" "$ANSWER" hunter2
    call POST database/roles/ro '{"db_name":"shop","groups":["readers"],"default_ttl":"1h"}'
    call GET database/creds/ro
    refuses "no account can be made there: 502" 502
    unlike "and nothing secret is said" "$ANSWER" 'hunter2|SCRAM'
    call GET sys/leases
    is "its pending lease is being taken back" "$(get '[.data.leases[] | select(.state == "revoking")] | length')" 1
    call PUT sys/leases/revoke "$(jq -c '{lease_id: .data.leases[0].id, sync: true}' <<<"$ANSWER")"
    refuses "who waits for it is told that it is not gone yet" 502
    call GET sys/status
    like "which the status says" "$(get '.data.problems | join(" ")')" 'tried again'
    call DELETE sys/mounts/database
    refuses "as long as it is there its mount stays" 400
    call PUT sys/leases/revoke-force/database
    answers "the last resort" 204
    call DELETE sys/mounts/database
    answers "lets the mount go" 204
}

# --- Audit ---------------------------------------------------------------------------------------------------

verify() { # FILE
    jq -Rs '{lines: .}' <"$1" >"$DIR/verify"
    call POST sys/audit/verify "@$DIR/verify"
}

check_audit() {
    eventually 5 "the log's file has what was done" grep -q 'sys/bindings/strict' "$DIR/dev/audit.log"
    tail -n +2 "$DIR/dev/audit.log" | jq -e . >/dev/null && is "each line is JSON" yes yes
    unlike "no secret is in it" "$(cat "$DIR/dev/audit.log")" "hunter2|${TOKEN#hvs.}|3\\.140"
    head -n 40 "$DIR/dev/audit.log" >"$DIR/part"
    verify "$DIR/part"
    is "the chain is whole" "$STATUS $(get .data.broken) $(get .data.checked)" "200 null 40"
    local seq line
    line=$(sed -n 25p "$DIR/part")
    seq=$(jq .seq <<<"$line")
    sed '25s/"operation":"\(.\)/"operation":"X/;25s/"event":"\(.\)/"event":"X/' "$DIR/part" >"$DIR/flipped"
    fails "(a byte was changed)" cmp -s "$DIR/part" "$DIR/flipped"
    verify "$DIR/flipped"
    is "a changed byte is found, and its record named" "$(get .data.broken.line) $(get .data.broken.seq)" "25 $seq"
    sed 25d "$DIR/part" >"$DIR/flipped"
    verify "$DIR/flipped"
    is "a missing line, too" "$(get .data.broken.line)" 25
    call GET sys/audit/head
    is "the head is known" "$(get '.data.seq > 40') $(get '.data.mac | length')" "true 64"
}

# --- Hostile requests --------------------------------------------------------------------------------------------

check_hostile() {
    local before path i
    call GET sys/audit/head
    before=$(get .data.seq)
    send GET "/v1/secret/data/$(head -c 10240 /dev/zero | tr '\0' a)" --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN"
    refuses "a path of 10 KiB" 414
    send GET "/v1/secret/data/$(head -c 3000 /dev/zero | tr '\0' a)" --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN"
    refuses "of 3000 bytes" 400
    for path in 'secret/data/a%00b' 'secret/data/%00' 'secret/data/..' 'secret/../sys/mounts' 'secret/%2e%2e/sys/mounts' \
        'secret/data//a' 'secret/data/a%2f..%2fb' 'secret/data/%' 'secret/data/%4' 'secret/data/%ff' 'secret/data/./a' \
        'secret/data/a?version=1&version=2' 'secret/data/a?x=%00'; do
        call GET "$path"
        refuses "GET $path" 400
    done
    call GET "secret/data/$(for ((i = 0; i < 120; i++)); do printf '%%c3%%a4'; done)/none"
    answers "a long path of other letters is only not there" 404
    call GET "no/$(for ((i = 0; i < 120; i++)); do printf 'x%%c3%%a4'; done)"
    refuses "and can be named in a refusal" 404
    call PUT secret/data/h "$(printf '{"data":%s1%s}' "$(printf '[%.0s' {1..200})" "$(printf ']%.0s' {1..200})")"
    refuses "200 levels deep" 400
    call PUT secret/data/h '{"data":{"a":1,"a":2}}'
    refuses "a key twice" 400
    call PUT secret/data/h '{"data":{"a":1}} x'
    refuses "something behind it" 400
    call PUT secret/data/h '{"data":'
    refuses "half of it" 400
    call PUT secret/data/h "$(printf '{"data":{"a":"\xff"}}')"
    refuses "no UTF-8" 400
    call PUT secret/data/h '{"data":{"a":"\u0000"}}'
    refuses "a NUL in a string" 400
    call PUT secret/data/h '"text"'
    refuses "no object" 400
    head -c 2097152 /dev/zero | tr '\0' 'x' >"$DIR/big"
    call PUT secret/data/h "@$DIR/big"
    refuses "2 MiB" 413
    send PUT /v1/secret/data/h --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -H 'Transfer-Encoding: chunked' \
        --data-binary "@$DIR/big"
    refuses "2 MiB in chunks" 413
    send GET /v1/sys/health --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: a" -H "X-Vault-Token: b"
    refuses "two tokens" 400
    send GET /v1/sys/health --unix-socket "$DIR/dev/agent.sock" -H "X-Big: $(head -c 70000 /dev/zero | tr '\0' x)"
    refuses "a header without end" 431
    call PUT sys/policies/acl/h '{"policy":7}'
    refuses "a number for a text" 400
    call POST auth/token/create '{"ttl":"-1h"}'
    refuses "a time before now" 400
    call POST auth/token/create '{"ttl":"99999999999999999999h"}'
    refuses "a time without end" 400
    call GET secret/data/h
    answers "none of it was kept" 404
    as_me GET sys/health
    answers "and the agent is well" 200
    note "audit lines meanwhile: $(($(call GET sys/audit/head && get .data.seq) - before))"
}

# --- What stays ----------------------------------------------------------------------------------------------------

check_seal() {
    call PUT sys/seal
    answers "sealing" 204
    as_me GET sys/seal-status
    is "is told" "$(get .sealed)" true
    as_me GET sys/health
    answers "health is 503 then" 503
    as_me GET 'sys/health?sealedcode=200'
    answers "or what was asked for" 200
    call GET secret/data/team/b/x
    refuses "and nothing is given" 503
    as_me GET secret/data/team/b/x
    refuses "to nobody" 503
    as_me PUT sys/unseal '{"credential":"AAAA"}'
    refuses "a wrong key does not open it" 400
    as_me PUT sys/unseal '{"key":"00"}'
    refuses "nor does what is no share" 400
    as_me PUT sys/unseal "{\"credential\":\"$(base64 -w0 "$DIR/dev/unseal-key")\"}"
    is "the right one does" "$STATUS $(get .sealed)" "200 false"
    call GET secret/data/team/b/x
    is "and all is there" "$(get .data.data.v)" 2
    eventually 5 "the use of root's route is in the log" grep -q '"type":"alert".*sys/unseal' "$DIR/dev/audit.log"
}

fails_to() {
    ! "$@" >/dev/null 2>&1
}

check_gone_with_folder() {
    ok "it starts again" start_agent
    rm -rf "$DIR/dev"
    eventually 5 "a dev agent goes with its folder" fails_to readlink "/proc/$AGENT/exe"
    stop_agent KILL
}

check_restart() {
    make_token '{"policies":["reader"],"ttl":"1h"}'
    stop_agent TERM
    ok "the agent ends, and starts again" start_agent
    is "the root token is the same" "$(cat "$DIR/dev/root-token")" "$TOKEN"
    with_token "$MADE" GET secret/data/team/b/x
    is "tokens, policies and secrets are kept" "$STATUS $(get .data.data.v)" "200 2"
    call GET sys/mounts
    is "mounts, too" "$(get '.data | keys | join(",")')" "mine/,secret/"
}

# Writes until it can't any more; each number is noted once its write was acknowledged.
writer() { # NAME
    local i
    for ((i = 1; i <= 5000; i++)); do
        curl -fsS --max-time 5 -o /dev/null --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $TOKEN" -X PUT \
            --data "{\"data\":{\"n\":$i}}" "http://localhost/v1/secret/data/crash/$1-$i" 2>/dev/null || return 0
        echo "$1-$i" >>"$DIR/acknowledged.$1"
    done
}

check_kill() {
    local lost=0 name writers=()
    for name in a b c; do
        writer "$name" &
        writers+=($!)
    done
    sleep 2
    stop_agent KILL
    wait "${writers[@]}" || true
    ok "after SIGKILL it starts again" start_agent
    cat "$DIR"/acknowledged.* >"$DIR/acknowledged"
    call LIST secret/metadata/crash/
    get '.data.keys[]' | sort >"$DIR/kept"
    lost=$(sort "$DIR/acknowledged" | comm -23 - "$DIR/kept" | wc -l)
    like "writes were acknowledged before" "$(wc -l <"$DIR/acknowledged")" '^[1-9][0-9]+$'
    is "none of them is lost" "$lost" 0
    is "the newest can be read" "$(call GET "secret/data/crash/$(tail -n 1 "$DIR/acknowledged.a")" && get .data.data.n)" \
        "$(tail -n 1 "$DIR/acknowledged.a" | cut -d- -f2)"
    call GET sys/audit/head
    local seq
    seq=$(get .data.seq)
    eventually 5 "the log goes on where it stopped" grep -q "^{\"seq\":$seq," "$DIR/dev/audit.log"
    tail -n 60 "$DIR/dev/audit.log" >"$DIR/part"
    jq -Rs --argjson seq "$(head -n 1 "$DIR/part" | jq .seq)" --arg mac "$(head -n 1 "$DIR/part" | jq -r .mac)" \
        '{lines: (split("\n")[1:] | join("\n")), chain: {seq: $seq, mac: $mac}}' <"$DIR/part" >"$DIR/verify"
    call POST sys/audit/verify "@$DIR/verify"
    is "and is whole" "$STATUS $(get .data.broken)" "200 null"
}

main() {
    command -v jq >/dev/null || bail "jq is not installed"
    ok "the agent starts" start_agent
    passed || bail "nothing more can be tried"
    TOKEN=$(cat "$DIR/dev/root-token")
    like "it says that it is not for production" "$(cat "$DIR/out")" 'NOT FOR PRODUCTION'
    check_form
    check_refusals
    check_status
    check_kv2
    check_kv1
    check_policies
    check_tokens
    check_bindings
    check_leases
    check_audit
    check_hostile
    check_seal
    check_restart
    check_kill
    stop_agent TERM
    unlike "it ended without a complaint" "$(cat "$DIR/out")" 'rror|anitizer'
    check_gone_with_folder
finish
}

main "$@"
