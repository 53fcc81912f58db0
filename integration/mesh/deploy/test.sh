#!/usr/bin/env bash
# deploy-service-mesh.sh where things go wrong before anything is applied, or at the first step: kubectl, istioctl and careplane are
# stand-ins that answer from variables and note how they were called. deploy-service-mesh.ps1 likewise, where there is pwsh.
# (What it does when all is well is tried with a real API server and istiod, in the mesh tests.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
readonly manifests=../../../wasmplugin-manifests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/manifests" "$work/manifests/install" "$work/manifests/base"
touch "$work/manifests/install/istio.yaml" "$work/manifests/base/kustomization.yaml"

cat >"$work/bin/kubectl" <<'END'
#!/usr/bin/env bash
echo "kubectl $*" >>"$CALLS"
if [ "$1" = --context ]; then shift 2; fi
case "$*" in
    "version --client"*) echo "{\"clientVersion\": {\"gitVersion\": \"${KUBECTL:-v1.36.3}\"}}" ;;
    "config current-context") if [ -n "${CONTEXT-dev}" ]; then echo "${CONTEXT-dev}"; else exit 1; fi ;;
    "config get-contexts -o name") echo dev ;;
    "config get-contexts "*) if [ "$3" != dev ]; then exit 1; fi ;;
    "config view"*) echo https://dev.example ;;
    "get --raw /version"*)
        if [ -n "${DOWN-}" ]; then echo "connection refused" >&2; exit 1; fi
        echo "{\"gitVersion\": \"${SERVER:-v1.36.3}\"}" ;;
    kustomize*) cat "$RENDERED" ;;
    "get namespaces -o"*) printf 'core-healthcare\nistio-system\n' ;;
    api-versions) printf 'v1\nextensions.istio.io/v1alpha1\n' ;;
    diff*) if [ -n "${REFUSED-}" ]; then echo "$REFUSED" >&2; exit 2; fi ;;
    "create -f -") cat >>"$CREATED" ;;
    *secret*) ;; # there is none
    *) exit 0 ;;
esac
END
cat >"$work/bin/istioctl" <<'END'
#!/usr/bin/env bash
echo "istioctl $*" >>"$CALLS"
if [ "$1" = version ]; then echo "{\"clientVersion\": {\"version\": \"${ISTIOCTL:-1.31.0}\"}}"; fi
END
cat >"$work/bin/careplane" <<'END'
#!/usr/bin/env bash
if [ -n "${OBJECTION-}" ]; then echo "$OBJECTION"; exit 1; fi
END
chmod +x "$work"/bin/*
cat >"$work/rendered.yaml" <<'END'
apiVersion: v1
kind: Namespace
metadata:
  labels:
    istio-injection: enabled
  name: core-healthcare
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: careplane-gateway
  namespace: istio-system
spec:
  url: oci://registry.example/careplane/careplane:0.1.0
END
export CALLS=$work/calls CREATED=$work/created RENDERED=$work/rendered.yaml
readonly image="--image oci://registry.test/careplane/careplane:1"

passed=0 failed=0
# expect NAME CODE TEXT ENVIRONMENT ARGUMENTS: it ends with this code, and says this
expect() {
    local name=$1 code=$2 text=$3 environment=$4 got=0 output
    shift 4
    : >"$CALLS"
    : >"$CREATED"
    # shellcheck disable=SC2086 # several variables
    output=$(env PATH="${path:-$work/bin:$PATH}" $environment "${program[@]}" --manifests "$work/manifests" "$@" </dev/null 2>&1) || got=$?
    if [ $got -eq "$code" ] && [[ $output == *"$text"* ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED (%s): %s: ended with %s, expected %s and "%s" in\n%s\n' "${program[*]##*/}" "$name" "$got" "$code" "$text" "$output"
    fi
}

# never NAME PATTERN FILE
never() {
    if grep -q -- "$2" "$3"; then
        failed=$((failed + 1))
        printf 'FAILED (%s): %s: %s\n' "${program[*]##*/}" "$1" "$(grep -m 1 -- "$2" "$3")"
    else
        passed=$((passed + 1))
    fi
}

# A folder of the commands that a script needs, less those that a case leaves out.
bare_path() {
    rm -rf "$work/bare"
    mkdir "$work/bare"
    local command
    for command in bash env dirname mktemp rm sed head tail tr awk cat grep cp diff curl basename wc sort base64 od openssl mv; do
        ln -s "$(command -v "$command")" "$work/bare/$command"
    done
}

cases() {
    expect "help" 0 "exit codes" "" --help
    expect "an unknown option" 2 "unknown option --aply" "" --aply
    expect "an option without value" 2 "--context needs a value" "" --context
    expect "an unknown overlay" 2 "--overlay sidecar: there is base, traffic-extension" "" --overlay sidecar
    expect "a timeout without unit" 2 "write seconds or minutes" "" --timeout 300
    expect "an image without scheme" 2 "write oci://" "" --image registry.test/careplane:1
    expect "two things to do" 2 "--apply and --undo exclude each other" "" --apply --undo
    expect "purge without undo" 2 "--purge goes with --undo" "" --apply --purge
    expect "a folder without manifests" 2 "no install/istio.yaml" "" --manifests /nowhere

    expect "an old kubectl" 3 "kubectl is v1.29.1: 1.30 or newer is needed" KUBECTL=v1.29.1
    expect "an old istioctl" 3 "istioctl is 1.28.0: 1.29 to 1.32 is needed" ISTIOCTL=1.28.0
    expect "an istioctl too new" 3 "istioctl is 1.33.0" ISTIOCTL=1.33.0
    expect "an old cluster" 3 "the cluster is Kubernetes v1.27.3" SERVER=v1.27.3
    if [ "${program[0]##*/}" = bash ]; then
        bare_path && path=$work/bare expect "no kubectl" 3 "kubectl is not in the PATH" ""
        cp "$work/bin/kubectl" "$work/bare/" && path=$work/bare expect "no istioctl" 3 "istioctl is not in the PATH" ""
    fi

    expect "no context" 4 "choose one with --context" CONTEXT=
    expect "another context" 4 "no context prod" "" --context prod
    expect "a cluster that is away" 4 "does not answer: connection refused" "DOWN=1"

    expect "a dry run" 0 "nothing is changed" ""
    never "a dry run changes nothing" " apply \| create \| delete \| install " "$CALLS"
    expect "the placeholder of the image" 2 "placeholder oci://registry.example/" "" --apply --yes
    # shellcheck disable=SC2086
    {
        expect "a policy that careplane refuses" 7 "careplane check refuses" "OBJECTION=contexts" --apply --yes $image
        never "a refused policy is not applied" " apply \| create \| install " "$CALLS"
        expect "nobody to ask" 8 "there is no terminal" "" --apply $image
        never "without an answer nothing is changed" " apply \| create \| install " "$CALLS"
        expect "admission refuses" 7 "the admission policy refuses namespaces" "REFUSED=ValidatingAdmissionPolicy" --apply --yes $image
        expect "an account that may not" 5 "cannot be compared: this account may not" "REFUSED=forbidden" --apply --yes $image
        # It then waits for the admission policy of these few manifests, which there is none of; and verifies, which fails.
        expect "the key is made" 1 "made: Secret careplane-pseudonym-key" "" --apply --yes --timeout 1s $image
    }
    local key
    key=$(sed -n 's/.*"key": *"\([^"]*\)".*/\1/p' "$CREATED" | tail -n 1)
    if [ ${#key} -lt 80 ]; then failed=$((failed + 1)) && echo "FAILED: the key is too short: ${#key}"; else passed=$((passed + 1)); fi
    never "the key is in no argument" "${key:-no-key}" "$CALLS"
    expect "undo without an answer" 8 "there is no terminal" "" --undo
    never "undo without an answer removes nothing" " delete " "$CALLS"
}

program=(bash "$PWD/$manifests/deploy-service-mesh.sh")
cases
if command -v pwsh >/dev/null; then
    program=(pwsh -NoProfile -File "$PWD/$manifests/deploy-service-mesh.ps1")
    cases
else
    echo "no pwsh: deploy-service-mesh.ps1 is not run, only read (powershell.py)"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
