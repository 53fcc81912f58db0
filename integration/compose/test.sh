#!/bin/bash
# Brings up integration/docker-compose.yaml with a real Docker engine and a real Docker Compose, and looks at it:
# check.py.
#
# The engine is Debian's, with a network, mounts, processes and a data folder of its own: what runs on this machine,
# Docker or not, is not touched, and nothing is left. No image is fetched: stand-ins under the names of the file hold
# the same programs, each from where it can be had (Envoy from its wheel, the Collector, Jaeger and Compose from their
# Go modules, Prometheus from Debian). Grafana is in no package registry and is left out. Exit code 3: there is no
# engine to be had here.
#
#   integration/compose/test.sh [COMMAND...]      without a command: check.py
set -euo pipefail
cd "$(dirname "$0")/../.."

unfit() {
    echo "SKIPPED: docker-compose.yaml in a Docker engine, because $1"
    exit 3
}
envoy=$PWD/.tools/envoy-1.40.0/envoy/_bin/envoy
mesh=$PWD/.tools/mesh
prometheus=$PWD/.tools/prometheus/usr/bin/prometheus

# A second time, with a network, mounts and processes of its own: all of them end with it.
if [ "${COMPOSE_SCRATCH:-}" = "" ]; then
    [ "$(uname -s)" = Linux ] || unfit "this is not Linux"
    [ "$(id -u)" = 0 ] || unfit "an engine of its own needs root"
    for program in dockerd containerd runc iptables ip; do
        command -v $program >/dev/null || unfit "there is no $program (Debian: apt install docker.io iptables iproute2)"
    done
    unshare --mount --net true 2>/dev/null || unfit "networks of its own are not allowed here"
    for program in "$envoy" "$mesh/docker-compose" "$mesh/jaeger" "$mesh/otel-collector"; do
        [ -x "$program" ] || unfit "there is no $program"
    done
    if [ ! -x "$prometheus" ]; then
        mkdir -p .tools/prometheus.new
        (cd .tools/prometheus.new && { apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }; } 2>/dev/null && dpkg-deb -x prometheus_*.deb .) ||
            unfit "Debian's Prometheus could not be fetched"
        rm -rf .tools/prometheus .tools/prometheus.new/*.deb
        mv .tools/prometheus.new .tools/prometheus
    fi
    # Not below this checkout: a path of a socket may have 108 bytes.
    COMPOSE_SCRATCH=$(mktemp -d)
    export COMPOSE_SCRATCH
    trap 'rm -rf --one-file-system "$COMPOSE_SCRATCH"' EXIT
    trap 'exit 1' HUP INT TERM
    unshare --net --mount --propagation private --pid --fork --kill-child "$0" "$@"
    exit
fi
scratch=$COMPOSE_SCRATCH
mount -t proc proc /proc
ip link set lo up

export DOCKER_HOST=unix://$scratch/docker.sock DOCKER_CONFIG=$scratch/config
mkdir -p "$DOCKER_CONFIG/cli-plugins"
ln -s "$mesh/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
dockerd --host "$DOCKER_HOST" --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/pid" >"$scratch/dockerd.log" 2>&1 &
engine=$!
for _ in $(seq 300); do
    [ -d /proc/$engine ] || break
    docker version >/dev/null 2>&1 && break
    sleep 0.2
done
docker version --format 'Docker {{.Server.Version}}' || { tail -20 "$scratch/dockerd.log" >&2; exit 1; }
docker compose version

# image TAG PROGRAM TARGET CHANGES...: an image with the program, a shell to look at its health with, and what they are
# linked with.
image() {
    local tag=$1 program=$2 target=$3 folder=$scratch/image change=()
    shift 3
    rm -rf "$folder"
    mkdir -p "$folder/bin" "$folder/etc" "$folder$(dirname "$target")"
    mkdir -p -m 1777 "$folder/tmp"
    printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$folder/etc/passwd"
    cp -L "$(command -v bash)" "$(command -v grep)" "$folder/bin/"
    cp -L "$program" "$folder$target"
    ldd "$program" "$(command -v bash)" "$(command -v grep)" 2>/dev/null | grep -o '/[^ ):]*\.so[^ ):]*' | sort -u | while read -r library; do
        mkdir -p "$folder$(dirname "$library")"
        cp -L "$library" "$folder$library"
    done
    for instruction; do change+=(--change "$instruction"); done
    tar -C "$folder" -c . | docker import "${change[@]}" - "$tag" >/dev/null
}
tag() { sed -n "s#.*image: \(&[a-z]* \)\{0,1\}\($1:[^ ]*\)#\2#p" integration/docker-compose.yaml; }
# Users and volumes as the real images have them.
image "$(tag envoyproxy/envoy)" "$envoy" /usr/local/bin/envoy 'USER 101:101' 'ENV PATH=/usr/local/bin:/bin'
image "$(tag otel/opentelemetry-collector-contrib)" "$mesh/otel-collector" /otelcol-contrib 'USER 10001:10001' 'ENTRYPOINT ["/otelcol-contrib"]'
image "$(tag jaegertracing/jaeger)" "$mesh/jaeger" /cmd/jaeger/jaeger-linux 'USER 10001:10001' 'VOLUME /tmp' 'ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]'
image "$(tag prom/prometheus)" "$prometheus" /bin/prometheus 'USER 65534:65534' 'VOLUME /prometheus' 'ENTRYPOINT ["/bin/prometheus"]'
docker images

status=0
umask 027
if [ $# -gt 0 ]; then "$@" || status=$?; else integration/compose/check.py || status=$?; fi

# Nothing is left of it, apart from the images that are ours.
left=$(docker ps --all --quiet; docker volume ls --quiet; docker network ls --quiet --filter type=custom)
[ -z "$left" ] || { echo "careplane: left behind: $left" >&2; [ $status != 0 ] || status=1; }
kill $engine
wait $engine || true
exit $status
