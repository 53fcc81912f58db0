#!/bin/sh
# Builds the programs of the mesh tests into .tools/mesh of the project root: Kubernetes' and Istio's own, the pods' and
# what they talk to. Each module is built again, and its unit tests run, when its go.mod, go.sum or a source has changed.
# Exit 3: there is no suitable Go.
#
#   integration/mesh/build.sh [cluster|jaeger|collector|promtool|compose]...     without names: all
set -eu
cd "$(dirname "$0")"
tools=$(cd ../.. && pwd)/.tools/mesh

command -v go >/dev/null 2>&1 || {
    echo "careplane: Go is missing: the tests of the mesh need Go 1.26 or newer (https://go.dev/dl)" >&2
    exit 3
}
version=$(GOTOOLCHAIN=local go env GOVERSION)
case $version in
go1.2[6-9]* | go1.[3-9][0-9]*) ;;
*)
    echo "careplane: $version is too old: the tests of the mesh need Go 1.26 or newer (https://go.dev/dl)" >&2
    exit 3
    ;;
esac

istio=istio.io/istio
istio_version=1.31.0
kubernetes=k8s.io/component-base/version
kubernetes_version=$(sed -n 's#^	k8s.io/kubernetes v##p' cluster/go.mod)

# build MODULE OUTPUT PACKAGE [LINKER FLAGS]: by way of a new name, because a program that runs cannot be written to.
build() {
    echo "building .tools/mesh/$2" >&2
    (cd "$1" && go build -ldflags "-s -w ${4:-}" -o "$tools/.$2.new" "$3")
    mv "$tools/.$2.new" "$tools/$2"
}

build_cluster() {
    # Those packages alone that have tests: each links a program.
    (cd cluster && find . -name '*_test.go' -exec dirname {} + | sort -u | xargs go test >&2)
    build cluster pod ./cmd/pod
    build cluster echo ./cmd/echo
    build cluster cluster ./cmd/cluster "-X $kubernetes.gitVersion=v$kubernetes_version -X $kubernetes.gitMajor=1 -X $kubernetes.gitMinor=36"
    ln -sf cluster "$tools/kubectl"
    for program in istioctl/cmd/istioctl pilot/cmd/pilot-discovery pilot/cmd/pilot-agent; do
        build cluster "${program##*/}" "$istio/$program" "-X $istio/pkg/version.buildVersion=$istio_version -X $istio/pkg/version.buildTag=$istio_version"
    done
    sources=$(cd cluster && go list -m -f '{{.Dir}}' "$istio")
    install -m 0644 "$sources/tools/packaging/common/envoy_bootstrap.json" "$tools/"
}
build_jaeger() { build jaeger jaeger github.com/jaegertracing/jaeger/cmd/jaeger; }
build_collector() { build collector otel-collector .; }
# Docker Compose, for the test of docker-compose.yaml.
build_compose() {
    version=$(sed -n 's#^	github.com/docker/compose/v2 \(v[0-9.]*\).*#\1#p' compose/go.mod)
    build compose docker-compose github.com/docker/compose/v2/cmd "-X github.com/docker/compose/v2/internal.Version=$version"
}
# Of the service discoveries, the one that the configuration names: the others are most of Prometheus.
build_promtool() { GOFLAGS="${GOFLAGS:-} -tags=remove_all_sd,enable_kubernetes_sd" build promtool promtool github.com/prometheus/prometheus/cmd/promtool; }

[ $# -gt 0 ] || set -- cluster jaeger collector promtool compose
mkdir -p "$tools"
for module; do
    case $module in
    cluster | jaeger | collector | promtool | compose) ;;
    *)
        echo "build.sh: '$module' is not cluster, jaeger, collector, promtool or compose" >&2
        exit 2
        ;;
    esac
    stamp=$tools/.$module.stamp
    now=$(find "$module" -type f \( -name '*.go' -o -name 'go.*' \) | sort | xargs cat build.sh | cksum; go env GOVERSION)
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && continue
    "build_$module"
    printf '%s\n' "$now" >"$stamp"
done
