#!/usr/bin/env bash
# Puts the mesh and careplane into a cluster, shows what that would change, verifies it, or takes it out again: see --help.
#
# deploy-service-mesh.ps1 is the same program for PowerShell, function by function; what one says and does, the other has to.
# Written for bash 3.2, which macOS has: no associative arrays, no mapfile, and empty arrays are spelled out for `set -u`.
set -euo pipefail

readonly manager=careplane-deploy # the field manager: what it has applied and others have changed, the next run sets right
readonly overlays="base traffic-extension ambient one-plugin-per-filter isolated audit-only"
readonly ok=0 unverified=1 usage=2 prerequisite=3 unreachable=4 refused=5 timed_out=6 policy_refused=7 declined=8
readonly tls_namespace=core-healthcare tls_secret=writecarenotes-tls key_secret=careplane-pseudonym-key
readonly placeholder=oci://registry.example/

context="" overlay=base manifests="" mode=plan verify=no yes=no purge=no timeout=300s image="" forward="" token="${TOKEN:-}"
gateway_url="${GATEWAY_URL:-}" jaeger_url="${JAEGER_URL:-}" careplane="${CAREPLANE:-careplane}"
work="" forwarder="" failures=0

help() {
    cat <<'END'
Puts the mesh and careplane into a cluster. Without --apply, --verify or --undo: shows what --apply would change, and changes nothing.

    deploy-service-mesh.sh [options]

what to do
    --apply            install Istio, apply the manifests in order, wait, and verify
    --verify           verify only: injection, mutual TLS, proxies in sync, plugins loaded, a trace in Jaeger
    --undo             remove what --apply made; what holds data or serves others stays, and is named
    --forward NAME     open jaeger, kiali, grafana or prometheus on this machine, until Ctrl-C

where and what
    --context NAME     context of the kubeconfig (default: the current one; it is shown, and changes are asked for)
    --overlay NAME     base, traffic-extension, ambient, one-plugin-per-filter, isolated or audit-only (default: base)
    --manifests DIR    folder with install, base and overlays (default: the folder of this script)
    --image URL        module image, oci://registry/repository:tag@sha256:digest, in place of the one in the manifests

how
    --yes              do not ask
    --purge            with --undo: also the pseudonym keys, the stored traces and records, and Istio although proxies still run
    --timeout TIME     how long each wait may take, in s or m (default: 300s)
    --token TOKEN      a valid access token: the verification then sends an accepted request in place of a refused one (or TOKEN)
    --gateway-url URL  where the ingress gateway's HTTPS port is reached, if not by port-forward (or GATEWAY_URL)
    --jaeger-url URL   where Jaeger's query port is reached, if not by port-forward (or JAEGER_URL)
    --help             this text

Needed: kubectl 1.30 or newer, istioctl 1.29 to 1.32, a cluster of Kubernetes 1.30 or newer, curl to verify, and a way to compare files
(diff or git). `careplane` in the PATH, or its place in CAREPLANE, has the policies checked before they are applied.

exit codes
    0  done, or nothing to do
    1  applied, but the verification failed
    2  wrong usage
    3  a prerequisite is missing or too old
    4  the cluster cannot be reached
    5  the cluster refused something
    6  a wait took longer than --timeout
    7  the policy was refused, by `careplane check` or by the admission policy
    8  not confirmed
END
}

# --- output -------------------------------------------------------------------------------------------------------------------------

say() { printf '%-14s %s\n' "$1" "$2"; }
more() { printf '%-14s %s\n' "" "$1"; }
warn() { printf '%-14s %s\n' "warning" "$1"; }
passed() { say "$1" "ok: $2"; }
failed() {
    failures=$((failures + 1))
    say "$1" "FAILED: $2"
}

# fail CODE MESSAGE [WHAT TO DO]…
fail() {
    local code=$1 line
    printf 'error: %s\n' "$2" >&2
    shift 2
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit "$code"
}

indent() { sed 's/^/               /'; }

cleanup() {
    # shellcheck disable=SC2086 # several processes
    if [ -n "$forwarder" ]; then kill $forwarder 2>/dev/null || true; fi
    if [ -n "$work" ]; then rm -rf "$work"; fi
}

# --- options ------------------------------------------------------------------------------------------------------------------------

wrong_usage() { fail $usage "$1" "deploy-service-mesh.sh --help lists the options"; }

choose_mode() {
    if [ "$mode" != plan ] && [ "$mode" != "$1" ]; then wrong_usage "--$mode and --$1 exclude each other"; fi
    mode=$1
}

parse() {
    local option
    while [ $# -gt 0 ]; do
        option=$1
        case $option in
            --context | --overlay | --manifests | --timeout | --image | --forward | --token | --gateway-url | --jaeger-url)
                if [ $# -lt 2 ] || [ -z "$2" ]; then wrong_usage "$option needs a value"; fi
                ;;
        esac
        case $option in
            --context) context=$2 && shift ;;
            --overlay) overlay=$2 && shift ;;
            --manifests) manifests=$2 && shift ;;
            --timeout) timeout=$2 && shift ;;
            --image) image=$2 && shift ;;
            --token) token=$2 && shift ;;
            --gateway-url) gateway_url=$2 && shift ;;
            --jaeger-url) jaeger_url=$2 && shift ;;
            --forward) choose_mode forward && forward=$2 && shift ;;
            --apply) choose_mode apply ;;
            --undo) choose_mode undo ;;
            --verify) verify=yes ;;
            --yes) yes=yes ;;
            --purge) purge=yes ;;
            --help | -h) help && exit $ok ;;
            *) wrong_usage "unknown option $option" ;;
        esac
        shift
    done
    case " $overlays " in *" $overlay "*) ;; *) wrong_usage "--overlay $overlay: there is ${overlays// /, }" ;; esac
    case $forward in "" | jaeger | kiali | grafana | prometheus) ;; *) wrong_usage "--forward $forward: there is jaeger, kiali, grafana, prometheus" ;; esac
    [[ $timeout =~ ^[1-9][0-9]{0,4}(s|m)$ ]] || wrong_usage "--timeout $timeout: write seconds or minutes, for example 300s or 5m"
    if [ -n "$image" ] && ! [[ $image =~ ^oci://[^/@]+/[^@]*[^/@:]+(:[^/@:]+)?(@sha256:[0-9a-f]{64})?$ ]]; then
        wrong_usage "--image $image: write oci://registry/repository:tag, best with @sha256:digest"
    fi
    case $mode:$verify in
        plan:yes) mode=verify ;; # --apply verifies anyway
        undo:yes | forward:yes) wrong_usage "--$mode and --verify exclude each other" ;;
    esac
    if [ $purge = yes ] && [ "$mode" != undo ]; then wrong_usage "--purge goes with --undo"; fi
    [ -n "$manifests" ] || manifests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    if ! [ -f "$manifests/install/istio.yaml" ] || ! [ -f "$manifests/base/kustomization.yaml" ]; then
        wrong_usage "--manifests $manifests: no install/istio.yaml and base/kustomization.yaml there"
    fi
}

seconds() {
    case $timeout in *m) echo $((${timeout%m} * 60)) ;; *) echo "${timeout%s}" ;; esac
}

# --- prerequisites ------------------------------------------------------------------------------------------------------------------

k() { kubectl --context "$context" "$@"; }
i() { istioctl --context "$context" "$@"; }

# have COMMAND WHAT-FOR
have() {
    command -v "$1" >/dev/null 2>&1 || fail $prerequisite "$1 is not in the PATH: $2"
}

# minor v1.36.3 → 36; nothing for what is no version 1
minor() { printf '%s\n' "$1" | sed -n 's/^v\{0,1\}1\.\([0-9][0-9]*\).*/\1/p'; }
json_field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }

check_tools() {
    local client istio
    have kubectl "install kubectl 1.30 or newer, https://kubernetes.io/docs/tasks/tools/"
    client=$(kubectl version --client -o json 2>/dev/null | json_field gitVersion) || true
    if [ -z "$(minor "$client")" ] || [ "$(minor "$client")" -lt 30 ]; then
        fail $prerequisite "kubectl is ${client:-of an unknown version}: 1.30 or newer is needed" "https://kubernetes.io/docs/tasks/tools/"
    fi
    if [ "$mode" = forward ]; then return; fi

    have istioctl "install istioctl 1.29 to 1.32, best 1.31, https://istio.io/latest/docs/setup/additional-setup/download-istio-release/"
    istio=$(istioctl version --remote=false -o json 2>/dev/null | json_field version) || true
    if [ -z "$(minor "$istio")" ]; then
        warn "istioctl does not say its version (${istio:-nothing}): 1.29 to 1.32 is needed"
    elif [ "$(minor "$istio")" -lt 29 ] || [ "$(minor "$istio")" -gt 32 ]; then
        fail $prerequisite "istioctl is $istio: 1.29 to 1.32 is needed" "https://istio.io/latest/docs/setup/additional-setup/download-istio-release/"
    fi
    case $mode in
        plan | apply)
            if ! command -v diff >/dev/null 2>&1; then
                have git "kubectl compares with diff, or with git: install one of them"
                export KUBECTL_EXTERNAL_DIFF="git diff --no-index --no-color"
            fi
            ;;
    esac
    case $mode in
        apply | verify) have curl "the verification sends requests with it" ;;
    esac
    say tools "kubectl ${client#v}, istioctl ${istio:-unknown}"
}

connect() {
    local server version
    if [ -z "$context" ]; then
        context=$(kubectl config current-context 2>/dev/null) ||
            fail $unreachable "the kubeconfig has no current context: choose one with --context" \
                "there is: $(kubectl config get-contexts -o name 2>/dev/null | tr '\n' ' ')"
    fi
    kubectl config get-contexts "$context" >/dev/null 2>&1 ||
        fail $unreachable "the kubeconfig has no context $context" \
            "there is: $(kubectl config get-contexts -o name 2>/dev/null | tr '\n' ' ')"
    server=$(k config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
    if ! version=$(k get --raw /version --request-timeout=15s 2>"$work/errors"); then
        fail $unreachable "the cluster of context $context ($server) does not answer: $(tail -n 1 "$work/errors")" \
            "try: kubectl --context $context version"
    fi
    version=$(printf '%s\n' "$version" | json_field gitVersion)
    if [ -z "$(minor "$version")" ] || [ "$(minor "$version")" -lt 30 ]; then
        fail $prerequisite "the cluster is Kubernetes ${version:-of an unknown version}: 1.30 or newer is needed, for admission policies in CEL"
    fi
    say cluster "context $context, $server, Kubernetes ${version#v}"
}

# confirm WHAT
confirm() {
    local answer
    if [ $yes = yes ]; then return; fi
    if ! [ -t 0 ]; then fail $declined "there is no terminal to ask on: to go on in context $context, add --yes"; fi
    printf '%s in context %s? [y/N] ' "$1" "$context"
    read -r answer || true
    case $answer in
        y | Y | yes) ;;
        *) fail $declined "not confirmed, nothing was changed" ;;
    esac
}

# --- manifests ----------------------------------------------------------------------------------------------------------------------

# The whole tree is rendered once and taken apart by API group, so that every overlay is applied in the same order, and what is
# applied is what `kubectl apply -k` would.
render() {
    local folder=$manifests/base
    if [ "$overlay" != base ]; then folder=$manifests/overlays/$overlay; fi
    kubectl kustomize "$folder" >"$work/rendered.yaml" 2>"$work/errors" ||
        fail $usage "$folder cannot be rendered: $(tail -n 1 "$work/errors")" "try: kubectl kustomize $folder"
    if [ -n "$image" ]; then
        # Of several modules, each keeps its name: careplane-audit comes from beside careplane. A digest belongs to one of them.
        awk -v image="$image" '
            BEGIN { repository = image; sub(/@.*/, "", repository); tag = ""
                    if (match(repository, /:[^\/:]*$/)) { tag = substr(repository, RSTART); repository = substr(repository, 1, RSTART - 1) }
                    sub(/\/[^\/]*$/, "", repository) }
            $1 == "url:" && $2 ~ /^oci:\/\// && /careplane/ {
                name = $2; sub(/@.*/, "", name); sub(/.*\//, "", name); sub(/:.*/, "", name)
                sub(/url:.*/, "url: " (name == "careplane" ? image : repository "/" name tag))
            }
            { print }' "$work/rendered.yaml" >"$work/imaged.yaml"
        mv "$work/imaged.yaml" "$work/rendered.yaml"
    fi
    awk -v work="$work" '
        function step() {
            if (kind == "Namespace" || kind == "ServiceAccount") return "namespaces"
            if (group ~ /^(security\.istio\.io|networking\.k8s\.io|rbac\.authorization\.k8s\.io)$/) return "security"
            if (group ~ /^(networking\.istio\.io|gateway\.networking\.k8s\.io)$/) return "traffic"
            if (group == "admissionregistration.k8s.io") return "admission"
            if (group == "extensions.istio.io") return "careplane"
            return "observability"
        }
        function flush() {
            if (kind != "") {
                printf "---\n%s", document >> (work "/" step() ".yaml")
                printf "%s|%s|%s|%s|%s|%s\n", step(), api, kind, namespace, name, injected >> (work "/index")
            }
            document = kind = api = group = namespace = name = injected = ""; metadata = 0
        }
        /^---/ { flush(); next }
        /^apiVersion: / { api = $2; group = api; if (!sub(/\/.*/, "", group)) group = "" }
        /^kind: / { kind = $2 }
        /^[^ ]/ { metadata = ($1 == "metadata:") }
        metadata && /^  name: / { name = $2 }
        metadata && /^  namespace: / { namespace = $2 }
        metadata && /^    (istio-injection: enabled|istio.io\/dataplane-mode: ambient)$/ { injected = "mesh" }
        { document = document $0 "\n" }
        END { flush() }' "$work/rendered.yaml"
    local part
    for part in namespaces security traffic observability admission careplane; do
        [ -f "$work/$part.yaml" ] || : >"$work/$part.yaml"
    done
    say manifests "$manifests, $overlay"
}

mesh_namespaces() { awk -F'|' '$3 == "Namespace" && $6 == "mesh" { print $5 }' "$work/index"; }
all_namespaces() { awk -F'|' '$3 == "Namespace" { print $5 }' "$work/index"; }

# without KIND FILE, only KIND FILE: the file less the documents of one kind, and nothing but these
without() { select_kind 0 "$@"; }
only() { select_kind 1 "$@"; }
select_kind() {
    awk -v wanted="$1" -v kind="$2" '
        function flush() { if (document != "" && (found == kind) == wanted) printf "---\n%s", document; document = found = "" }
        /^---/ { flush(); next }
        /^kind: / { found = $2 }
        { document = document $0 "\n" }
        END { flush() }' "$3"
}

# known FILE: writes FILE.known, the documents that the cluster can judge today, and FILE.unknown, a list of those whose namespace or kind
# is not there yet. (A dry run on the server needs both.)
known() {
    { k get namespaces -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' && echo --- && k api-versions; } >"$work/present" 2>"$work/errors" ||
        fail $unreachable "the cluster does not say what it has: $(tail -n 1 "$work/errors")"
    awk -v present="$work/present" -v known="$1.known" -v unknown="$1.unknown" '
        BEGIN {
            while ((getline line < present) > 0) { if (line == "---") apis = 1; else if (apis) served[line] = 1; else there[line] = 1 }
            printf "" > known; printf "" > unknown
        }
        function flush() {
            if (kind != "") {
                if (api in served && (namespace == "" || namespace in there)) printf "---\n%s", document > known
                else print kind " " (namespace == "" ? "" : namespace "/") name > unknown
            }
            document = kind = api = namespace = name = ""; metadata = 0
        }
        /^---/ { flush(); next }
        /^apiVersion: / { api = $2 }
        /^kind: / { kind = $2 }
        /^[^ ]/ { metadata = ($1 == "metadata:") }
        metadata && /^  name: / { name = $2; gsub(/"/, "", name) }
        metadata && /^  namespace: / { namespace = $2 }
        { document = document $0 "\n" }
        END { flush() }' "$1"
}

# compare FILE: writes FILE.new and FILE.changed (lists) and FILE.diff (what changed, without what is new)
compare() {
    local status=0
    known "$1"
    cp "$1.unknown" "$1.new"
    : >"$1.changed"
    : >"$1.diff"
    if ! [ -s "$1.known" ]; then return; fi
    k diff --server-side --force-conflicts --field-manager=$manager -f "$1.known" >"$work/diff" 2>"$work/errors" || status=$?
    if [ $status -gt 1 ]; then refuse "$1" "compared"; fi
    # The name of a file is group.version.Kind.namespace.name; a hunk that begins at line 0 belongs to a new one.
    awk -v new="$1.new" -v changed="$1.changed" -v diff="$1.diff" '
        function flush() {
            if (name == "") return
            if (is_new) print name >> new
            else { print name >> changed; printf "%s", text >> diff }
        }
        /^diff / {
            flush()
            name = $NF; sub(/.*\//, "", name)
            match(name, /(^|\.)[A-Z][A-Za-z0-9]*\./)
            name = substr(name, RSTART); sub(/^\./, "", name)
            kind = name; sub(/\..*/, "", kind); sub(/^[^.]*\./, "", name)
            namespace = name; sub(/\..*/, "", namespace); sub(/^[^.]*\./, "", name)
            name = kind " " (namespace == "" ? "" : namespace "/") name
            is_new = 0; text = name "\n"; next
        }
        /^@@ -0,0 / { is_new = 1 }
        /^(---|\+\+\+|index|new file mode) / { next }
        { text = text $0 "\n" }
        END { flush() }' "$work/diff"
}

# refuse FILE VERB: what kubectl wrote to $work/errors is the reason
refuse() {
    local part
    part=$(basename "$1" .yaml)
    indent <"$work/errors" >&2
    if grep -q 'ValidatingAdmissionPolicy' "$work/errors"; then
        fail $policy_refused "the admission policy refuses $part" "correct the policy, and try it with: careplane check"
    fi
    if grep -qi 'forbidden' "$work/errors"; then
        fail $refused "$part cannot be $2: this account may not; use one that is cluster-admin"
    fi
    if grep -q 'failed calling webhook' "$work/errors"; then
        fail $refused "$part cannot be $2: istiod, which validates it, does not answer" "try: kubectl --context $context -n istio-system get pods"
    fi
    fail $refused "$part cannot be $2: the reason is above"
}

count() { wc -l <"$1" | tr -d ' '; }

# summarise LABEL FILE NEW CHANGED
summarise() {
    local new changed total text=""
    new=$(count "$2.new")
    changed=$(count "$2.changed")
    total=$(grep -c '^kind: ' "$2" || true)
    if [ "$new" -gt 0 ]; then text="$new $3, "; fi
    if [ "$changed" -gt 0 ]; then text="$text$changed $4, "; fi
    say "$1" "$text$((total - new - changed)) unchanged"
    sed "s/^/$3: /" "$2.new" | indent
}

# show LABEL FILE: the dry run of one step
show() {
    compare "$2"
    summarise "$1" "$2" "to be made" "to be changed"
    indent <"$2.diff"
}

# apply LABEL FILE
apply() {
    compare "$2"
    if [ -s "$2.new" ] || [ -s "$2.changed" ]; then
        # Namespaces and policies of a step may be needed by its other documents: kubectl orders them.
        k apply --server-side --force-conflicts --field-manager=$manager -f "$2" >"$work/applied" 2>"$work/errors" || refuse "$2" "applied"
        grep '^Warning: ' "$work/errors" | sort -u | indent || true
    fi
    summarise "$1" "$2" made changed
    sed 's/^/changed: /' "$2.changed" | indent
}

# --- steps --------------------------------------------------------------------------------------------------------------------------

check_image() {
    if ! grep -q "url: $placeholder" "$work/careplane.yaml"; then return; fi
    if [ "$mode" = apply ]; then
        fail $usage "the manifests still have the placeholder $placeholder…: a proxy that cannot fetch the module refuses every request" \
            "push the module to your registry, then: --image oci://registry/repository:tag@sha256:digest"
    fi
    warn "the manifests have the placeholder $placeholder…: --apply needs --image, or your address in base/careplane/policy/image.yaml"
}

check_policy() {
    if ! command -v "$careplane" >/dev/null 2>&1; then
        warn "careplane is not in the PATH: the policies are not checked beforehand, only by admission"
        return
    fi
    local status=0
    "$careplane" check --format short "$manifests/install/istio.yaml" "$work/rendered.yaml" >"$work/checked" 2>&1 || status=$?
    # Places in a file that is gone afterwards help nobody.
    sed "s|^$work/rendered.yaml:[0-9:]* ||" "$work/checked" | sort -u >"$work/findings"
    if [ $status -eq 0 ]; then
        say policies "ok: careplane check has no objection"
        grep '^warning: ' "$work/findings" | indent || true
    else
        indent <"$work/findings" >&2
        fail $policy_refused "careplane check refuses the policies: nothing of careplane was changed" \
            "applied all the same, a proxy that starts with them would answer every request with 500"
    fi
}

# key_of NAMESPACE: the key as it is stored, in base64; nothing when there is none. Only ever held in variables, written to nothing.
key_of() { k -n "$1" get secret $key_secret --ignore-not-found -o 'jsonpath={.data.key}' 2>/dev/null || true; }

new_key() {
    if command -v openssl >/dev/null 2>&1; then openssl rand -hex 32; else od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; fi
}

# One key for all namespaces: with two, a person has two pseudonyms.
keys() {
    local namespace key="" found missing="" differ=""
    { set +x; } 2>/dev/null
    for namespace in $(mesh_namespaces); do
        found=$(key_of "$namespace")
        if [ -z "$found" ]; then
            missing="$missing $namespace"
        elif [ -z "$key" ]; then
            key=$found
        elif [ "$found" != "$key" ]; then
            differ="$differ $namespace"
        fi
    done
    if [ -n "$differ" ]; then
        warn "Secret $key_secret differs in$differ: a person has another pseudonym there"
    fi
    if [ -z "$missing" ]; then
        say keys "unchanged: Secret $key_secret is in every namespace of the mesh"
        return
    fi
    printf '%s\n' "$missing" >"$work/keys.yaml.new"
    if [ "$mode" != apply ]; then
        say keys "to be made: Secret $key_secret, the same random key in$missing"
        return
    fi
    [ -n "$key" ] || key=$(new_key | tr -d '\n' | base64 | tr -d '\n')
    for namespace in $missing; do
        # On standard input: arguments can be seen by every process of this machine.
        printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","namespace":"%s"},"type":"Opaque","data":{"key":"%s"}}' \
            $key_secret "$namespace" "$key" | k create -f - >/dev/null 2>"$work/errors" || refuse keys made
    done
    say keys "made: Secret $key_secret, the same random key in$missing"
}

check_tls() {
    if k -n $tls_namespace get secret $tls_secret >/dev/null 2>&1; then
        say certificate "ok: Secret $tls_secret is in $tls_namespace"
        return
    fi
    warn "Secret $tls_secret is not in $tls_namespace: the gateway serves no HTTPS without it. With your certificate:"
    more "kubectl --context $context -n $tls_namespace create secret tls $tls_secret --cert=tls.crt --key=tls.key"
}

# What `istioctl install` would apply, less what the installation itself changes in the cluster afterwards: labels that name it, the
# injector's webhook (a revision tag takes its place), and the failure policy of the validating one (istiod sets it once it runs).
istio_manifests() {
    istioctl manifest generate "${istio_options[@]}" >"$work/generated.yaml" 2>"$work/errors" ||
        fail $usage "$manifests/install/istio.yaml cannot be rendered: $(tail -n 1 "$work/errors")"
    without MutatingWebhookConfiguration "$work/generated.yaml" |
        sed '/install.operator.istio.io\/owning-resource: unknown$/d; /^ *failurePolicy: Ignore$/d' >"$work/istio.yaml"
}

install_istio() {
    istio_manifests
    compare "$work/istio.yaml"
    if ! [ -s "$work/istio.yaml.new" ] && ! [ -s "$work/istio.yaml.changed" ]; then
        summarise istio "$work/istio.yaml" made changed
        return
    fi
    say istio "istioctl install: $(count "$work/istio.yaml.new") to be made, $(count "$work/istio.yaml.changed") to be changed; waits up to $timeout"
    if ! i install "${istio_options[@]}" --skip-confirmation --readiness-timeout "$timeout" >"$work/installed" 2>&1; then
        grep -v '^ *$' "$work/installed" | tail -n 15 | indent >&2
        if grep -q 'not ready\|deadline exceeded' "$work/installed"; then
            fail $timed_out "Istio was installed and is not ready after $timeout" \
                "try: kubectl --context $context -n istio-system get pods; kubectl --context $context -n $tls_namespace get pods" \
                "then run this again"
        fi
        fail $refused "istioctl install failed: the reason is above"
    fi
    summarise istio "$work/istio.yaml" made changed
    sed 's/^/changed: /' "$work/istio.yaml.changed" | indent
}

# rollouts KIND/NAME NAMESPACE…, from the index and Istio's own
rollouts() {
    local waited=0 namespace kind name
    { awk -F'|' '$3 ~ /^(Deployment|StatefulSet|DaemonSet)$/ { print $4, tolower($3), $5 }' "$1"; } >"$work/workloads"
    while read -r namespace kind name; do
        if ! k -n "$namespace" rollout status "$kind/$name" --timeout="$timeout" >"$work/rollout" 2>&1; then
            tail -n 3 "$work/rollout" | indent >&2
            fail $timed_out "$kind $namespace/$name is not ready after $timeout" \
                "try: kubectl --context $context -n $namespace describe $kind $name" "then run this again"
        fi
        waited=$((waited + 1))
    done <"$work/workloads"
    say "$2" "ok: $waited workloads ready"
}

istio_index() {
    awk '
        function flush() { if (kind != "") print "istio|" "|" kind "|" namespace "|" name "|"; kind = namespace = name = ""; metadata = 0 }
        /^---/ { flush(); next }
        /^kind: / { kind = $2 }
        /^[^ ]/ { metadata = ($1 == "metadata:") }
        metadata && /^  name: / { name = $2 }
        metadata && /^  namespace: / { namespace = $2 }
        END { flush() }' "$work/istio.yaml" >"$work/istio-index"
}

# A policy that was just made is not at work yet. A plugin that it has to refuse, sent as a dry run, tells when it is.
await_admission() {
    local tries=0
    if ! [ -s "$work/admission.yaml" ]; then return; fi
    printf '%s\n' 'apiVersion: extensions.istio.io/v1alpha1' 'kind: WasmPlugin' \
        'metadata: {name: careplane-without-policy, namespace: istio-system, labels: {app.kubernetes.io/name: careplane}}' \
        'spec: {url: "oci://registry.example/careplane"}' >"$work/careplane-without-policy"
    while :; do
        k create --dry-run=server -f "$work/careplane-without-policy" >/dev/null 2>"$work/errors" || true
        if grep -q "ValidatingAdmissionPolicy 'careplane-plugins'.* denied" "$work/errors"; then break; fi
        tries=$((tries + 1))
        if [ $tries -gt 30 ]; then
            fail $timed_out "the admission policy does not refuse a plugin without a policy, 30 s after it was applied" \
                "try: kubectl --context $context get validatingadmissionpolicybindings"
        fi
        sleep 1
    done
    more "ok: refuses a plugin that has no policy"
}

# plugins: those of ours that the cluster has, as kind, namespace and name
plugins() {
    local kind
    for kind in WasmPlugin TrafficExtension; do
        k get "$kind.extensions.istio.io" -A -l app.kubernetes.io/name=careplane \
            -o "jsonpath={range .items[*]}$kind {.metadata.namespace} {.metadata.name}{'\\n'}{end}" 2>/dev/null || true
    done
}

# Plugins of ours that the chosen overlay does not have: those of another one, chosen before. Left there, each request would be
# handled twice.
strangers() {
    local kind namespace name
    plugins | while read -r kind namespace name; do
        grep -q "|$kind|$namespace|$name|" "$work/index" || echo "$kind $namespace $name"
    done >"$work/strangers"
}

remove_strangers() {
    local kind namespace name why=", which $overlay does not have"
    if [ "$mode" = undo ]; then why=""; fi
    strangers
    while read -r kind namespace name; do
        if [ "$mode" = plan ]; then
            more "to be removed: $kind $namespace/$name$why"
        else
            k -n "$namespace" delete "$kind.extensions.istio.io" "$name" --ignore-not-found >/dev/null 2>"$work/errors" || refuse careplane removed
            more "removed: $kind $namespace/$name$why"
        fi
    done <"$work/strangers"
}

# unchanged: did no step find a difference?
unchanged() {
    local list
    for list in "$work"/*.yaml.new "$work"/*.yaml.changed "$work/strangers"; do
        if [ -s "$list" ]; then return 1; fi
    done
}

check_gateway_api() {
    if ! grep -q '|gateway.networking.k8s.io/' "$work/index"; then return; fi
    k api-versions >"$work/present" 2>/dev/null || true
    if grep -q '^gateway.networking.k8s.io/' "$work/present"; then return; fi
    fail $prerequisite "overlay $overlay needs the Gateway API, which this cluster does not have" \
        "install its standard channel: https://gateway-api.sigs.k8s.io/guides/"
}

plan() {
    say mode "dry run: nothing is changed; --apply applies"
    check_image
    check_policy
    show namespaces "$work/namespaces.yaml"
    keys
    check_tls
    istio_manifests
    show istio "$work/istio.yaml"
    check_gateway_api
    show security "$work/security.yaml"
    show traffic "$work/traffic.yaml"
    show observability "$work/observability.yaml"
    show admission "$work/admission.yaml"
    show careplane "$work/careplane.yaml"
    remove_strangers
    if unchanged; then
        say finished "nothing to do: the cluster is as the manifests say"
    else
        say finished "nothing was changed: --apply applies this"
    fi
}

apply_all() {
    say mode "apply"
    check_image
    check_policy
    check_gateway_api
    confirm "Install Istio and apply the manifests"
    apply namespaces "$work/namespaces.yaml"
    keys
    check_tls
    install_istio
    istio_index
    rollouts "$work/istio-index" "istio ready"
    apply security "$work/security.yaml"
    apply traffic "$work/traffic.yaml"
    apply observability "$work/observability.yaml"
    apply admission "$work/admission.yaml"
    await_admission
    apply careplane "$work/careplane.yaml"
    remove_strangers
    rollouts "$work/index" ready
    if unchanged; then
        say applied "nothing was changed: the cluster was as the manifests say"
    else
        say applied "the cluster is as the manifests say"
    fi
}

# --- verification -------------------------------------------------------------------------------------------------------------------

# pods: namespace|name|phase|on the host's network|containers|inject label|ambient|istio label|service account
pods() {
    k get pods -A -o 'jsonpath={range .items[*]}{.metadata.namespace}|{.metadata.name}|{.status.phase}|{.spec.hostNetwork}| {.spec.initContainers[*].name} {.spec.containers[*].name} |{.metadata.labels.sidecar\.istio\.io/inject}|{.metadata.annotations.ambient\.istio\.io/redirection}|{.metadata.labels.istio}|{.spec.serviceAccountName}{"\n"}{end}'
}

verify_injection() {
    local without
    k get namespaces -l istio-injection=enabled -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' >"$work/injected"
    k get namespaces -l istio.io/dataplane-mode=ambient -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' >"$work/ambient"
    awk -F'|' -v injected="$work/injected" -v ambient="$work/ambient" '
        BEGIN { while ((getline line < injected) > 0) sidecars[line] = 1; while ((getline line < ambient) > 0) tunnels[line] = 1 }
        $3 == "Succeeded" || $3 == "Failed" || $4 == "true" || $6 == "false" { next }
        $1 in sidecars { print ($5 ~ / istio-proxy /) ? "with" : "without", $1 "/" $2; next }
        $1 in tunnels { print ($7 == "enabled" || $5 ~ / istio-proxy /) ? "with" : "without", $1 "/" $2 }' "$work/pods" >"$work/injection"
    without=$(sed -n 's/^without //p' "$work/injection" | tr '\n' ' ')
    if ! [ -s "$work/injected" ] && ! [ -s "$work/ambient" ]; then
        failed injection "no namespace is labelled for it: run --apply"
    elif [ -n "$without" ]; then
        failed injection "without a proxy: ${without% }"
        more "they were there before the label: kubectl --context $context -n NAMESPACE rollout restart deployment"
    else
        passed injection "$(grep -c '^with ' "$work/injection" || true) pods, each with a proxy"
    fi
}

verify_mtls() {
    local weak
    k get peerauthentications.security.istio.io -A -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.selector.matchLabels} mode={.spec.mtls.mode} {.spec.portLevelMtls}{"\n"}{end}' >"$work/peers" 2>/dev/null || : >"$work/peers"
    weak=$(grep -E 'mode=(PERMISSIVE|DISABLE)|"mode":"(PERMISSIVE|DISABLE)"' "$work/peers" | cut -d' ' -f1 | tr '\n' ' ') || true
    if ! grep -q '^istio-system/[^ ]*  mode=STRICT' "$work/peers"; then
        failed "mutual TLS" "no PeerAuthentication in istio-system makes it STRICT for the whole mesh: run --apply"
    elif [ -n "$weak" ]; then
        failed "mutual TLS" "weakened by PeerAuthentication ${weak% }"
        more "try: kubectl --context $context get peerauthentications -A"
    else
        passed "mutual TLS" "STRICT for the whole mesh, and nothing weakens it"
    fi
}

# Proxies that istiod has just told something need a moment to answer.
verify_sync() {
    local deadline behind=""
    deadline=$(($(date +%s) + $(seconds)))
    while :; do
        if ! i proxy-status -v 1 >"$work/sync" 2>"$work/errors"; then
            failed sync "istioctl proxy-status: $(tail -n 1 "$work/errors")"
            return
        fi
        behind=$(awk 'NR > 1 && /STALE|ERROR/ { print $1 }' "$work/sync" | tr '\n' ' ')
        if [ -z "$behind" ] || [ "$(date +%s)" -ge "$deadline" ]; then break; fi
        # What a proxy refuses, it refuses again.
        if grep -q ERROR "$work/sync"; then break; fi
        sleep 2
    done
    if [ -n "$behind" ]; then
        failed sync "not as istiod says: ${behind% }"
        grep -E '^NAME|STALE|ERROR' "$work/sync" | indent
        more "ERROR: the proxy refused it, its log says why. STALE: it has not answered"
    elif [ "$(count "$work/sync")" -lt 2 ]; then
        failed sync "no proxy is connected to istiod"
    else
        passed sync "$(($(count "$work/sync") - 1)) proxies have what istiod sent"
    fi
}

# Of each proxy: which of our plugins it was given, and whether as what. Where the module could not be fetched, a filter that refuses
# everything stands in its place.
verify_plugins() {
    local namespace pod where keyed loaded=0 proxies=0 bad="" ephemeral=""
    keyed=" $(mesh_namespaces | tr '\n' ' ')"
    plugins >"$work/plugins"
    awk -F'|' '$3 == "Running" && $5 ~ / istio-proxy / && $8 != "egressgateway" { print $1, $2 }' "$work/pods" >"$work/proxies"
    while read -r namespace pod; do
        where=$namespace/$pod
        proxies=$((proxies + 1))
        if ! k -n "$namespace" exec "$pod" -c istio-proxy -- pilot-agent request GET 'config_dump?resource=ecds_filters' </dev/null >"$work/ecds" 2>"$work/errors"; then
            bad="$bad"$'\n'"$where: $(tail -n 1 "$work/errors")"
            continue
        fi
        # A proxy also shows those that it was given before, and uses no more.
        awk -v plugins="$work/plugins" '
            BEGIN { while ((getline line < plugins) > 0) { split(line, part, " "); there[part[1] " " part[2] "." part[3]] = 1 } }
            /"name": *"extensions.istio.io\// {
                name = $2; gsub(/"|,/, "", name)
                kind = name ~ /\/wasmplugin\/|~istio-translated-wasmplugin$/ ? "WasmPlugin" : "TrafficExtension"
                sub(/.*\//, "", name); sub(/~.*/, "", name)
                if (!((kind " " name) in there)) name = ""
                next
            }
            name != "" && /"@type":/ { type = $2; gsub(/"|,|.*\./, "", type); print name, type; name = "" }' "$work/ecds" >"$work/loaded"
        k -n "$namespace" exec "$pod" -c istio-proxy -- pilot-agent request GET 'stats?filter=careplane|wasm.envoy' </dev/null >"$work/stats" 2>/dev/null || : >"$work/stats"
        if ! [ -s "$work/loaded" ]; then
            bad="$bad"$'\n'"$where: has no plugin of careplane"
        elif grep -qv ' Wasm$' "$work/loaded"; then
            bad="$bad"$'\n'"$where: the module of $(grep -v ' Wasm$' "$work/loaded" | cut -d' ' -f1 | tr '\n' ' ')could not be fetched; every request is refused"
        elif ! grep -q '^wasm.envoy.wasm.runtime.v8.active: [1-9]' "$work/stats"; then
            # istiod and the configuration dump know nothing of it: both have what was sent, not what became of it.
            bad="$bad"$'\n'"$where: refused the policy when it started; every request is a 500"
        else
            loaded=$((loaded + $(count "$work/loaded")))
        fi
        # Elsewhere a proxy makes no records.
        if [[ $keyed == *" $namespace "* ]] && grep -q 'pseudonym_key_ephemeral: [1-9]' "$work/stats"; then ephemeral="$ephemeral $where"; fi
    done <"$work/proxies"
    if [ -n "$bad" ]; then
        failed plugins "not loaded everywhere"
        printf '%s\n' "${bad#$'\n'}" | indent
        more "the log of the proxy says why: kubectl --context $context -n NAMESPACE logs POD -c istio-proxy | grep -i wasm"
    elif [ $proxies -eq 0 ]; then
        failed plugins "no proxy runs"
    else
        passed plugins "$loaded in $proxies proxies"
    fi
    if [ -n "$ephemeral" ]; then
        warn "no pseudonym key in$ephemeral: a person has another pseudonym in each; see docs/troubleshooting.md"
    fi
}

# open NAMESPACE SERVICE PORT: forwards a free local port, which it leaves in $port
open() {
    local tries=0
    kubectl --context "$context" -n "$1" port-forward "svc/$2" ":$3" >"$work/forward-$2" 2>&1 &
    forwarder="$forwarder $!"
    port=""
    while [ -z "$port" ] && [ $tries -lt 50 ]; do
        sleep 0.2
        port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$work/forward-$2" | head -n 1)
        tries=$((tries + 1))
    done
    [ -n "$port" ]
}

# One request that is traced in any case: refused for want of a tenant; with a token, of a context that is always traced.
verify_trace() {
    local host correlation status deadline service address port=""
    # The first host of the ingress Gateway, whatever it has been renamed to.
    host=$(awk '
        /^---/ { gateway = ours = 0 }
        /^kind: Gateway$/ { gateway = 1 }
        /^  name: writecarenotes$/ { ours = gateway }
        ours && /^ *- ([a-z0-9-]+\/)?[a-z0-9-]+\.[a-z0-9.-]+$/ && !found { found = $2; sub(/.*\//, "", found) }
        END { print found }' "$work/traffic.yaml")
    host=${host:-api.writecarenotes.com}
    # Letters only: ten digits could be taken for an NHS number.
    correlation=verify-$(new_key | cut -c1-16 | tr 0-9 g-p)
    if [ -n "$gateway_url" ]; then
        address=${gateway_url#*://}
        address=${address%%/*}
    elif open core-healthcare istio-ingressgateway 443; then
        address=127.0.0.1:$port
    else
        failed trace "no port-forward to the ingress gateway: $(tail -n 1 "$work/forward-istio-ingressgateway")"
        more "where port-forward does not work, give --gateway-url and --jaeger-url"
        return
    fi
    # The token on standard input: arguments can be seen by every process of this machine.
    if [ -n "$token" ]; then printf 'header = "authorization: Bearer %s"\n' "$token"; fi |
        curl --silent --show-error --insecure --max-time 30 --config - --connect-to "$host:443:$address" -H "x-correlation-id: $correlation" \
            -o "$work/answer" -D "$work/headers" "https://$host/api/v1/medications" 2>"$work/errors" || true
    status=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$work/headers" 2>/dev/null | tail -n 1)
    if [ -z "$status" ]; then
        failed trace "the gateway does not answer at $address: $(tail -n 1 "$work/errors")"
        if ! k -n $tls_namespace get secret $tls_secret >/dev/null 2>&1; then more "it has no certificate: Secret $tls_secret is not in $tls_namespace"; fi
        return
    fi
    if [ "$status" = 500 ]; then
        failed trace "GET https://$host/api/v1/medications is a 500: was the policy refused when the proxy started? See docs/troubleshooting.md"
        return
    fi
    if [ -z "$token" ] && { [ "$status" != 403 ] || ! grep -q '"correlation' "$work/answer"; }; then
        failed trace "GET https://$host/api/v1/medications without a token is $status, and not careplane's 403: $(head -c 200 "$work/answer")"
        return
    fi

    if [ -n "$jaeger_url" ]; then
        address=${jaeger_url%/}
    elif open tracing writecarenotes-jaeger-query 16686; then
        address=http://127.0.0.1:$port
    else
        failed trace "no port-forward to Jaeger: $(tail -n 1 "$work/forward-writecarenotes-jaeger-query")"
        more "where port-forward does not work, give --jaeger-url"
        return
    fi
    deadline=$(($(date +%s) + 60))
    while :; do
        # Jaeger searches one service at a time.
        for service in $(curl --silent --max-time 10 "$address/api/services" 2>"$work/errors" | tr ',' '\n' | grep -o '[a-z0-9.-]*ingressgateway[a-z0-9.-]*' | sort -u); do
            curl --silent --max-time 10 --get "$address/api/traces" --data-urlencode "service=$service" --data-urlencode "limit=1" \
                --data-urlencode "tags={\"correlation_id\":\"$correlation\"}" >"$work/traces" 2>"$work/errors" || true
            if grep -q '"traceID"' "$work/traces"; then
                passed trace "GET https://$host/api/v1/medications was a $status, and Jaeger has its trace: correlation_id=$correlation"
                return
            fi
        done
        if [ "$(date +%s)" -ge "$deadline" ]; then break; fi
        sleep 1
    done
    failed trace "GET https://$host/api/v1/medications was a $status, and after 60 s Jaeger has no trace with correlation_id=$correlation"
    more "see docs/troubleshooting.md, No traces"
}

verify_all() {
    failures=0
    pods >"$work/pods" 2>"$work/errors" || fail $unreachable "the pods cannot be listed: $(tail -n 1 "$work/errors")"
    verify_injection
    verify_mtls
    verify_sync
    verify_plugins
    if [ "$overlay" = audit-only ]; then say trace "not looked for: audit-only keeps no trace"; else verify_trace; fi
    if [ $failures -gt 0 ]; then
        fail $unverified "$failures of the checks failed" "docs/troubleshooting.md says what to do; --verify tries again"
    fi
    say verified "all checks passed"
}

# --- undo ---------------------------------------------------------------------------------------------------------------------------

# remove LABEL FILE
remove() {
    known "$2"
    : >"$work/removed"
    if [ -s "$2.known" ]; then
        if ! k delete --ignore-not-found --cascade=foreground --timeout="$timeout" -f "$2.known" >"$work/removed" 2>"$work/errors"; then
            indent <"$work/errors" >&2
            fail $timed_out "$1 cannot be removed: the reason is above" "then run --undo again"
        fi
    fi
    local removed
    removed=$(count "$work/removed")
    if [ "$removed" -gt 0 ]; then say "$1" "$removed removed"; else say "$1" "nothing to remove"; fi
}

# claims NAMESPACE STATEFULSET: the PersistentVolumeClaims that Kubernetes made for it, and does not remove with it
claims() {
    k -n "$1" get persistentvolumeclaims -o name 2>/dev/null | grep -E -- "-$2-[0-9]+$" || true
}

remove_observability() {
    local kind namespace name claim
    without PersistentVolumeClaim "$work/observability.yaml" >"$work/workloads.yaml"
    remove observability "$work/workloads.yaml"
    awk -F'|' '$3 == "PersistentVolumeClaim" || $3 == "StatefulSet" { print $3, $4, $5 }' "$work/index" >"$work/holders"
    while read -r kind namespace name; do
        if [ "$kind" = StatefulSet ]; then
            claims "$namespace" "$name"
        else
            k -n "$namespace" get persistentvolumeclaims "$name" --ignore-not-found -o name 2>/dev/null || true
        fi | while read -r claim; do
            if [ $purge = yes ]; then
                k -n "$namespace" delete "$claim" --timeout="$timeout" >/dev/null 2>"$work/errors" </dev/null || refuse observability removed
                more "removed: PersistentVolumeClaim $namespace/${claim#*/}, and what it held"
            else
                more "kept: PersistentVolumeClaim $namespace/${claim#*/}, it holds data (--purge removes it)"
            fi
        done
    done <"$work/holders"
}

# Istio goes only when nobody needs it: a proxy without istiod works on, until its certificate ends.
remove_istio() {
    if [ -z "$(k -n istio-system get deployment istiod --ignore-not-found -o name 2>/dev/null)" ]; then
        say istio "nothing to remove"
        return
    fi
    pods | awk -F'|' '$3 == "Running" && $8 !~ /^(ingressgateway|egressgateway)$/ && ($5 ~ / istio-proxy / && $2 !~ /^ztunnel-/ || $7 == "enabled") { print $1 "/" $2 }' >"$work/served"
    if [ -s "$work/served" ] && [ $purge = no ]; then
        say istio "kept: it serves the proxies of $(few "$work/served")"
        more "restart these, now that their namespace has lost its label, then run --undo again; or --purge"
        return
    fi
    if ! i uninstall "${istio_options[@]}" --skip-confirmation >"$work/uninstalled" 2>&1; then
        tail -n 5 "$work/uninstalled" | indent >&2
        fail $refused "istioctl uninstall failed: the reason is above"
    fi
    if [ -n "$(k -n istio-system get deployment istiod --ignore-not-found -o name 2>/dev/null)" ]; then
        say istio "kept: not the installation that --apply made (another name or revision)"
        more "try: istioctl --context $context uninstall --help"
        return
    fi
    k wait pods -A -l 'istio in (pilot, ingressgateway, egressgateway)' --for=delete --timeout="$timeout" >/dev/null 2>&1 || true
    say istio "removed; its CRDs stay, they hold the configuration of anybody who uses Istio"
}

remove_keys() {
    local namespace holders=""
    for namespace in $(mesh_namespaces); do
        if [ -z "$(k -n "$namespace" get secret $key_secret --ignore-not-found -o name 2>/dev/null)" ]; then continue; fi
        holders="$holders $namespace"
        if [ $purge = yes ]; then
            k -n "$namespace" delete secret $key_secret >/dev/null 2>"$work/errors" || refuse keys removed
        fi
    done
    if [ -z "$holders" ]; then
        say keys "nothing to remove"
    elif [ $purge = yes ]; then
        say keys "removed: Secret $key_secret in$holders"
    else
        say keys "kept: Secret $key_secret in$holders"
        more "without it, nobody can say which pseudonym is whose (--purge removes it)"
    fi
}

# few FILE: its first five lines in one, and how many there are more
few() {
    local more
    more=$(($(count "$1") - 5))
    sed -n '1,5p' "$1" | tr '\n' ' ' | sed 's/ $//'
    if [ $more -gt 0 ]; then printf ' and %d more' $more; fi
}

# What makes a namespace not empty: everything but what Kubernetes and Istio put into each one, and our service accounts.
contents() {
    local kinds accounts
    kinds=$(k api-resources --verbs=list --namespaced -o name 2>/dev/null | grep -Ev '^(events|events.events.k8s.io|endpoints|endpointslices.discovery.k8s.io|leases.coordination.k8s.io|controllerrevisions.apps|replicasets.apps|pods.metrics.k8s.io)$' | tr '\n' ',')
    accounts=$(awk -F'|' -v namespace="$1" '$3 == "ServiceAccount" && $4 == namespace { printf "|%s", $5 }' "$work/index")
    k -n "$1" get "${kinds%,}" --ignore-not-found -o name 2>/dev/null |
        grep -Ev "^(configmap/(kube-root-ca\.crt|istio-.*)|secret/istio-ca-secret|serviceaccount/(default|istio-.*|istiod$accounts))$" || true
}

remove_namespaces() {
    local namespace label=namespaces
    for namespace in $(all_namespaces); do
        if [ -z "$(k get namespace "$namespace" --ignore-not-found -o name 2>/dev/null)" ]; then continue; fi
        contents "$namespace" >"$work/contents"
        if ! [ -s "$work/contents" ]; then
            k delete namespace "$namespace" --timeout="$timeout" >/dev/null 2>"$work/errors" ||
                fail $timed_out "namespace $namespace is not gone after $timeout: $(tail -n 1 "$work/errors")" "then run --undo again"
            say "$label" "removed: $namespace"
        else
            # Applied with nothing but its name, a namespace loses the labels that --apply gave it.
            printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n' "$namespace" |
                k apply --server-side --force-conflicts --field-manager=$manager -f - >/dev/null 2>"$work/errors" || refuse namespaces changed
            say "$label" "kept: $namespace, without our labels; it holds $(few "$work/contents")"
        fi
        label=""
    done
    if [ "$label" = namespaces ]; then say "$label" "nothing to remove"; fi
}

undo() {
    say mode "undo"
    if [ $purge = yes ]; then
        confirm "Remove careplane, the mesh, the pseudonym keys, the stored traces and records, and Istio"
    else
        confirm "Remove careplane and the mesh"
    fi
    # The way in goes before what guards it.
    only Gateway "$work/traffic.yaml" >"$work/gateways.yaml"
    remove gateways "$work/gateways.yaml"
    remove careplane "$work/careplane.yaml"
    remove_strangers
    remove admission "$work/admission.yaml"
    remove_observability
    remove traffic "$work/traffic.yaml"
    remove security "$work/security.yaml"
    remove_istio
    remove_keys
    remove_namespaces
    say finished "removed what could be"
}

# --- forward ------------------------------------------------------------------------------------------------------------------------

forward() {
    local namespace service port
    case $1 in
        jaeger) namespace=tracing service=writecarenotes-jaeger-query port=16686 ;;
        kiali) namespace=monitoring service=kiali port=20001 ;;
        grafana) namespace=monitoring service=grafana port=3000 ;;
        prometheus) namespace=monitoring service=prometheus port=9090 ;;
    esac
    k -n $namespace get service $service >/dev/null 2>"$work/errors" ||
        fail $unreachable "there is no Service $namespace/$service: $(tail -n 1 "$work/errors")" "run --apply first"
    say "$1" "http://127.0.0.1:$port, until Ctrl-C"
    k -n $namespace port-forward "svc/$service" "$port:$port" >/dev/null ||
        fail $unreachable "the port-forward ended" "is port $port taken on this machine?"
}

# ------------------------------------------------------------------------------------------------------------------------------------

main() {
    parse "$@"
    istio_options=(-f "$manifests/install/istio.yaml")
    if [ "$overlay" = ambient ]; then istio_options=("${istio_options[@]}" --set profile=ambient); fi
    work=$(mktemp -d)
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    check_tools
    connect
    if [ "$mode" = forward ]; then
        forward "$forward"
        return
    fi
    render
    case $mode in
        plan) plan ;;
        apply)
            apply_all
            verify_all
            ;;
        verify) verify_all ;;
        undo) undo ;;
    esac
    exit $ok # here: bash reads on from a file that may be another by then
}

main "$@"
