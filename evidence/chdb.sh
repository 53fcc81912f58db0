#!/bin/sh
# Installs chDB (ClickHouse without a server) from PyPI into .tools/chdb-VERSION of the project root, for the test of
# verdicts by SQL. Running it again changes nothing. When pip cannot install it, the script says so and succeeds. The
# test then prints SKIPPED, or fails with CI=true.
set -eu
cd "$(dirname "$0")/.."
# evidence/tests and benches/capacity have the same number.
version=26.9.0
target=$PWD/.tools/chdb-$version

[ -d "$target" ] && exit
mkdir -p .tools
scratch=$(mktemp -d "$PWD/.tools/.chdb-$version.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
echo "installing chDB $version from PyPI into .tools" >&2
# The engine alone. Its dependencies, pandas and pyarrow, convert results, and the test reads JSON.
PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --target "$scratch/chdb" "chdb-core==$version" >&2 || {
    echo "careplane: pip could not install chdb-core==$version" >&2
    exit 0
}
# Another run may have finished first; then its result stands.
[ -d "$target" ] || mv "$scratch/chdb" "$target"
