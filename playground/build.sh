#!/bin/sh
# Builds the page from what cargo has built: `make playground`. Needs Node.js and npm on the PATH.
#
#     playground/build.sh MODULE FOLDER    FOLDER has wasm-bindgen in it
set -eu
module=$1
bindgen=$2/wasm-bindgen
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# The page starts the module anew after a panic, which takes the function for that.
"$bindgen" "$module" --target web --omit-default-module-path --no-typescript --remove-name-section --remove-producers-section \
    --experimental-reset-state-function --out-dir "$here/build" --out-name careplane_playground

cd "$here"
# npm writes that file last.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --silent --ignore-scripts --no-audit --no-fund || { echo "careplane: npm could not install the editor" >&2; exit 1; }
fi
node build.mjs
