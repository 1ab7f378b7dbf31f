# Goal: Countersign on a booted host set up in one go for cases that are about something else: initialised
# with a root token, some people enrolled, the database engine configured. Sourced after stage.sh.
#
#   rules_init                    operator init without an operator; keeps TOKEN and SHARES
#   op METHOD PATH [JSON]         a request with that token; prints the answer, fails on an HTTP error
#   rules_database                database/config/shop, roles shop-ro and shop-brief (5 s), the binding shop-app
#   rules_pam [USER...]           enrols them, and puts the module before sshd and sudo
#   lease_of USER [ROLE]          a lease for that service account: sets LEASE, NAME, PASSWORD
# shellcheck shell=bash

TOKEN=""
SHARES=""

rules_init() {
    local answer
    answer=$(inside countersign operator init -format=json) || return 1
    TOKEN=$(jq -re .root_token <<<"$answer") || return 1
    SHARES=$(jq -re '.recovery_keys_base64[]' <<<"$answer")
}

op() { # METHOD PATH [JSON]
    inside curl -s --fail-with-body --unix-socket "$SOCKET" -H "X-Vault-Token: $TOKEN" -X "$1" ${3:+-d "$3"} \
        "http://localhost/v1/$2"
}

# Several at a time, one call into the host: lines of METHOD PATH JSON.
ops() {
    # shellcheck disable=SC2016
    inside bash -c 'while read -r method path json; do
        curl -s --fail-with-body --unix-socket "$1" -H "X-Vault-Token: $2" -X "$method" ${json:+-d "$json"} \
            "http://localhost/v1/$path" || { echo "$method $path: refused"; exit 1; }
        done' bash "$SOCKET" "$TOKEN"
}

rules_database() {
    ops <<END
POST sys/mounts/database {"type":"database"}
POST database/config/shop {"plugin_name":"postgresql-database-plugin","connection_url":"postgresql://{{username}}:{{password}}@127.0.0.1:5432/shop","allowed_roles":"*","username":"countersign_admin","password":"$ADMIN_PASSWORD"}
POST database/roles/shop-ro {"db_name":"shop","groups":"shop_readers","default_ttl":"1h","max_ttl":"8h"}
POST database/roles/shop-brief {"db_name":"shop","groups":"shop_readers","default_ttl":"5s","max_ttl":"1m"}
POST sys/policies/acl/db-read {"policy":"path \"database/creds/shop-*\" { capabilities = [\"read\"] }"}
PUT sys/bindings/shop-app {"principals":["user:shop"],"policies":["db-read"],"ttl":"1h","max_ttl":"8h"}
END
}

rules_pam() { # USER...
    local user
    for user in "$@"; do enrol "$user" || return 1; done
    inside countersign pam enable sshd sudo
}

# Sets LEASE, NAME and PASSWORD from an answer in JSON.
take_answer() { # JSON
    LEASE=$(jq -r '.lease_id // ""' <<<"$1")
    NAME=$(jq -r '.data.username // ""' <<<"$1")
    PASSWORD=$(jq -r '.data.password // ""' <<<"$1")
    [[ -n $LEASE && -n $NAME ]]
}

lease_of() { # USER [ROLE]
    local answer
    answer=$(ask_api "$1" "database/creds/${2:-shop-ro}")
    printf '%s\n' "$answer"
    take_answer "$answer"
}

# For a person who is logged in.
lease_in_session() { # USER [ROLE]
    local answer
    answer=$(as "$1" "countersign read -format=json database/creds/${2:-shop-ro}")
    printf '%s\n' "$answer"
    take_answer "$answer"
}

ms_since() { # MS
    echo $(($(date +%s%3N) - $1))
}
