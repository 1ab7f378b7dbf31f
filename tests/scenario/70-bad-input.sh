#!/usr/bin/env bash
# Goal: whatever is sent to the agent's HTTP API and to its PAM dialogue gets a clear refusal in the right form (or a denial),
# changes nothing, and keeps nobody waiting: behind every case the state is the same, and told within a second.
set -euo pipefail
# shellcheck source=../lib/tap.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/tap.sh"
# shellcheck source=../lib/agent.sh
. "${COUNTERSIGN_SOURCE:-$(dirname "$0")/../..}/tests/lib/agent.sh"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/cs-bad.XXXXXX")
RAW=$COUNTERSIGN_BUILD/raw-client

api() { # METHOD PATH [BODY]
    curl -fsS --max-time 20 --unix-socket "$DIR/dev/agent.sock" -H "X-Vault-Token: $(cat "$DIR/dev/root-token")" \
        -X "$1" ${3+--data "$3"} "http://localhost/v1/$2"
}

# What must stay as it is, whatever comes.
make_state() {
    api PUT secret/data/keep '{"data":{"word":"halberd"}}' &&
        api PUT sys/policies/acl/keep '{"policy":"path \"secret/*\" { capabilities = [\"read\"] }"}' &&
        api PUT sys/bindings/keep '{"principals":["user:games"],"services":["sshd"],"mfa":true}' &&
        api POST sys/mounts/database '{"type":"database"}' &&
        api PUT sys/factors/games/totp '{}' || return 1
    printf '/v1/%s\n' secret/data/keep 'secret/metadata?list=true' 'sys/policies/acl?list=true' sys/policies/acl/keep \
        'sys/bindings?list=true' sys/bindings/keep sys/mounts sys/leases 'auth/token/accessors?list=true' sys/enrolment \
        sys/factors/games sys/sessions >"$DIR/state"
}

judge() { # reads NAME WANTED GOT
    local name wanted got count=0
    while IFS=$'\t' read -r name wanted got; do
        like "$name" "$got" "^($wanted)\$"
        count=$((count + 1))
    done
    is "all of them were tried" "$count" "$1"
}

# Lines of "STATUS NAME :: METHOD TARGET [BODY]" become whole requests, with the token and a length.
requests() {
    local line status name method target body rest
    while IFS= read -r line; do
        [[ -n $line && $line != \#* ]] || continue
        status=${line%% *} rest=${line#* }
        name=${rest%% :: *} rest=${rest#* :: }
        method=${rest%% *} rest=${rest#* }
        target=${rest%% *} body=""
        [[ $rest != *' '* ]] || body=${rest#* }
        printf '%s\t%s\t%s %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nX-Vault-Token: \\T\\r\\n%s\\r\\n\\r\\n%s\n' \
            "$name" "$status" "$method" "$target" "$(length "$body")" "$body"
    done
}

# Chunked where the body's length is not that of its text here.
length() { # BODY
    if [[ $1 == *\\* ]]; then
        printf 'Content-Length: %s' "$("$RAW" length <<<"$1")"
    else
        printf 'Content-Length: %s' "$(LC_ALL=C; echo ${#1})"
    fi
}

http_cases() {
    requests <<'END'
400 a NUL in the path :: GET /v1/secret/data/a%00b
400 %2F stays within its segment :: GET /v1/secret%2Fdata%2Fkeep/..
400 dots :: GET /v1/secret/data/../../sys/policies/acl
400 dots in escapes :: PUT /v1/secret/data/%2e%2e/keep {"data":{"word":"no"}}
400 half an escape :: GET /v1/secret/data/%4
400 an escape that is none :: GET /v1/secret/data/%zz
400 bytes that are no UTF-8 in the path :: PUT /v1/secret/data/%ff%fe {"data":{"word":"no"}}
414 10 KiB of path :: GET /v1/secret/data/\{a*10240}
414 10 KiB of query :: GET /v1/secret/data/keep?\{a*10240}
400 a path of more than 1024 bytes for the store :: PUT /v1/secret/data/\{abc/*400}x {"data":{"word":"no"}}
405 a method that no path has :: BREW /v1/secret/data/keep
405 a method that this path has not :: DELETE /v1/sys/mounts
404 nothing there :: GET /v1/nothing/there
404 another API :: GET /v2/secret/data/keep
400 no JSON :: PUT /v1/secret/data/keep word=no
400 cut JSON :: PUT /v1/secret/data/keep {"data":{"word":"no"}
400 JSON with something behind it :: PUT /v1/secret/data/keep {"data":{"word":"no"}} {}
400 JSON that is no object :: PUT /v1/secret/data/keep ["data"]
400 duplicate keys :: PUT /v1/secret/data/keep {"data":{"word":"no"},"data":{"word":"yes"}}
400 duplicate keys deep in it :: PUT /v1/secret/data/keep {"data":{"word":"no","word":"yes"}}
400 duplicate keys in an escape :: PUT /v1/secret/data/keep {"data":{"word":"no","\\u0077ord":"yes"}}
400 deep nesting :: PUT /v1/secret/data/keep {"data":\{[*5000}\{]*5000}}
400 deep objects :: PUT /v1/secret/data/keep {"data":\{{"a":*3000}1
400 bytes that are no UTF-8 :: PUT /v1/secret/data/keep {"data":{"word":"\xff\xfe"}}
400 half a surrogate :: PUT /v1/secret/data/keep {"data":{"word":"\\ud800"}}
400 a NUL in the text :: PUT /v1/secret/data/keep {"data":{"word":"a\0b"}}
400 a number without end :: PUT /v1/secret/data/keep {"data":{"word":\{9*5000}e99999}}
413 2 MiB of body :: PUT /v1/secret/data/keep {"data":{"word":"\{a*2097152}"}}
400 no body where one is needed :: PUT /v1/secret/data/keep
400 a version that is none :: PUT /v1/secret/data/keep {"data":{"word":"no"},"options":{"cas":-1}}
400 a version of another type :: PUT /v1/secret/data/keep {"data":{"word":"no"},"options":{"cas":"x"}}
400 versions that are none :: PUT /v1/secret/destroy/keep {"versions":[-1]}
400 versions of another type :: PUT /v1/secret/destroy/keep {"versions":{"1":2}}
400 a policy of another type :: PUT /v1/sys/policies/acl/keep {"policy":7}
400 a policy that is none :: PUT /v1/sys/policies/acl/keep {"policy":"path \\"x\\" { capabilities = [\\"rule\\"] }"}
400 a policy without end :: PUT /v1/sys/policies/acl/keep {"policy":"path \\"x\\" {"}
400 a policy nested deep :: PUT /v1/sys/policies/acl/keep {"policy":"\{a{*2000}"}
400 a binding with an unknown field :: PUT /v1/sys/bindings/keep {"principals":["*"],"services":["*"],"colour":"red"}
400 a binding with an empty condition :: PUT /v1/sys/bindings/keep {"principals":["*"],"services":["sshd"],"from":[]}
400 a binding for nobody :: PUT /v1/sys/bindings/keep {"services":["sshd"]}
400 a binding with a negative ttl :: PUT /v1/sys/bindings/keep {"principals":["user:games"],"services":["sshd"],"ttl":"-1h"}
400 a binding with a huge ttl :: PUT /v1/sys/bindings/keep {"principals":["user:games"],"services":["sshd"],"ttl":"99999999999999h"}
400 a binding with hours that are none :: PUT /v1/sys/bindings/keep {"principals":["user:games"],"services":["sshd"],"hours":"Mon..Xxx 99:00"}
400 a token with a negative ttl :: POST /v1/auth/token/create {"ttl":"-1s"}
400 a token with a negative number for it :: POST /v1/auth/token/create {"ttl":-60}
400 a token with a huge ttl :: POST /v1/auth/token/create {"ttl":"9223372036854775807h"}
400 a token with uses that don't fit :: POST /v1/auth/token/create {"num_uses":9223372036854775808}
400 a token with negative uses :: POST /v1/auth/token/create {"num_uses":-1}
400 a token with a ttl of another type :: POST /v1/auth/token/create {"ttl":{"s":1}}
400 a mount over another :: POST /v1/sys/mounts/secret/inner {"type":"kv"}
400 a mount at sys :: POST /v1/sys/mounts/sys {"type":"kv"}
400 a mount of no known type :: POST /v1/sys/mounts/other {"type":"abacus"}
400 a mount with a negative ttl :: POST /v1/sys/mounts/other {"type":"kv","config":{"default_lease_ttl":"-5s"}}
400 a database of another kind :: POST /v1/database/config/x {"plugin_name":"abacus","connection_url":"x"}
400 a role with a negative ttl :: POST /v1/database/roles/x {"db_name":"y","default_ttl":"-1h"}
400 a role of another type :: POST /v1/database/roles/x {"db_name":["y"],"creation_statements":{"a":1}}
400 an increment that is none :: POST /v1/sys/leases/renew {"lease_id":"x","increment":"soon"}
400 a lease that is none :: POST /v1/sys/leases/revoke {"lease_id":7}
400 a share of another type :: PUT /v1/sys/unseal {"key":7}
400 a factor for a name that can't be one :: PUT /v1/sys/factors/..%2fx/totp {}
400 a factor with digits that don't exist :: PUT /v1/sys/factors/games/totp {"digits":7}
400 a passphrase that is too short :: PUT /v1/sys/factors/games/passphrase {"passphrase":"short"}
END
    cat <<'END'
no Host	400	GET /v1/sys/mounts HTTP/1.1\r\nConnection: close\r\n\r\n
two Hosts	400	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n
two tokens	400	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nX-Vault-Token: a\r\n\r\n
two lengths	400	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} 
a length and chunks	400	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}
a negative length	400	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nContent-Length: -1\r\n\r\n{}
a length that overflows	400|413	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nContent-Length: 99999999999999999999\r\n\r\n{}
a chunk that overflows	400|413	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}
another transfer coding	501	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nTransfer-Encoding: gzip\r\n\r\n{}
a NUL in a header	400	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n
a NUL in the path	400	GET /v1/sys/\0mounts HTTP/1.1\r\nHost: x\r\n\r\n
a blank in the path	400	GET /v1/sys/ mounts HTTP/1.1\r\nHost: x\r\n\r\n
bare line ends	400	GET /v1/sys/mounts HTTP/1.1\nHost: x\n\n
a folded header	400	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n
a header without a name	400	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n
200 KiB of headers	431	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nA: \{a*204800}\r\n\r\n
a hundred headers	431	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\n\{A: b\r\n*100}\r\n
another version	505	GET /v1/sys/mounts HTTP/2.0\r\nHost: x\r\n\r\n
no version	400	GET /v1/sys/mounts\r\n\r\n
TLS	400	\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\{\x00*100}
binary garbage	400	\x80\xff\x00\x01\{\xee*3000}
garbage without end	400|414|431	\{a*200000}
a cut request line	closed|400	GET /v1/sys/mou
a cut header	closed|400	GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nX-Vau
a cut body	closed|400	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nContent-Length: 30\r\n\r\n{"data":{"word":"no"
a cut chunk	closed|400	PUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n{"data"
garbage piped behind a good request	200	GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\nPUT /v1/secret/data/keep\0\r\n\r\n{"data":{"word":"no"}}
a request piped behind a bad one	400	GET /v1/\x01 HTTP/1.1\r\nHost: x\r\n\r\nPUT /v1/secret/data/keep HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \T\r\nContent-Length: 22\r\n\r\n{"data":{"word":"no"}}
END
}

# A BEGIN of ssh for games: version, type 1, hook auth, flags 0, service, user.
BEGIN='\x01\x01\x01\x01\x00\x01\x02\x01\x00\x00\x03\x04\x00sshd\x04\x05\x00games'

dialogue_cases() {
    cat <<END
a good beginning (the case that shows the others to be refused for what they are)	asked	$BEGIN
one byte	closed	\\x01
another version	closed	\\x02${BEGIN#'\x01'}
an unknown type	closed	\\x01\\x63
an answer before anything was asked	closed	\\x01\\x02\\x0c\\x01\\x00a
a verdict from the module	closed	\\x01\\x12\\x0d\\x01\\x00\\x01\\x04\\x05\\x00games
no user	closed	\\x01\\x01\\x01\\x01\\x00\\x01\\x02\\x01\\x00\\x00\\x03\\x04\\x00sshd
an empty user	closed	\\x01\\x01\\x01\\x01\\x00\\x01\\x02\\x01\\x00\\x00\\x03\\x04\\x00sshd\\x04\\x00\\x00
a hook that does not exist	closed	\\x01\\x01\\x01\\x01\\x00\\x09\\x02\\x01\\x00\\x00\\x03\\x04\\x00sshd\\x04\\x05\\x00games
a field twice	closed	$BEGIN\\x04\\x04\\x00root
an unknown field	closed	$BEGIN\\x1e\\x01\\x00a
a field longer than the packet	closed	$BEGIN\\x05\\xff\\x0fa
a field over its limit	closed	$BEGIN\\x05\\x01\\x01\\{a*257}
a NUL in a name	closed	\\x01\\x01\\x01\\x01\\x00\\x01\\x02\\x01\\x00\\x00\\x03\\x04\\x00sshd\\x04\\x05\\x00ga\\x00es
half a field	closed	$BEGIN\\x05\\x01
a packet that is too large	closed	$BEGIN\\{\\xff*4096}
64 KiB	closed	\\{\\xff*65536}
two beginnings	asked, closed	$BEGIN\\|$BEGIN
an answer that is too long	asked, closed	$BEGIN\\|\\x01\\x02\\x0c\\x01\\x02\\{a*513}
an answer with a NUL	asked, closed	$BEGIN\\|\\x01\\x02\\x0c\\x03\\x001\\x002
an answer of another type	asked, closed	$BEGIN\\|\\x01\\x01\\x0c\\x01\\x00a
garbage in place of an answer	asked, closed	$BEGIN\\|\\{\\xee*100}
a name that is no UTF-8	asked	\\x01\\x01\\x01\\x01\\x00\\x01\\x02\\x01\\x00\\x00\\x03\\x04\\x00sshd\\x04\\x05\\x00ga\\xff\\xfes
END
}

ok "an agent" start_agent
passed || bail "nothing can be tried without an agent"
ok "with something to lose" make_state

http_cases >"$DIR/http"
"$RAW" http "$DIR/dev/agent.sock" "$(cat "$DIR/dev/root-token")" "$DIR/state" <"$DIR/http" >"$DIR/http.got" ||
    note "the agent answers no more"
judge "$(wc -l <"$DIR/http")" <"$DIR/http.got"

dialogue_cases >"$DIR/packets"
"$RAW" packet "$DIR/dev/pam.sock" "$DIR/dev/agent.sock" "$(cat "$DIR/dev/root-token")" "$DIR/state" <"$DIR/packets" \
    >"$DIR/packets.got" || fail "the agent answers no more"
judge "$(wc -l <"$DIR/packets")" <"$DIR/packets.got"
finish
