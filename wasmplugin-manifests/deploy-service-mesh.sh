#!/usr/bin/env bash
# `careplane mesh` with the manifests of this folder: puts the mesh and careplane into a cluster, verifies it, or takes
# it out again. --help lists the options. deploy-service-mesh.ps1 does the same.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export CAREPLANE_MANIFESTS=$here
if [ -n "${CAREPLANE:-}" ] || command -v careplane >/dev/null 2>&1; then
    exec "${CAREPLANE:-careplane}" mesh "$@"
elif command -v cargo >/dev/null 2>&1 && [ -f "$here/../cli/Cargo.toml" ]; then
    exec cargo run --quiet --locked --manifest-path "$here/../Cargo.toml" -p careplane-cli -- mesh "$@"
fi
echo "careplane is missing: put it into the PATH or its place into CAREPLANE, or use a checkout with cargo" >&2
exit 3
