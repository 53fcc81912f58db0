#!/bin/bash
# Builds the module twice, from clean copies of this checkout in different folders, with a CARGO_HOME each, and compares
# the bytes. Prints the SHA-256, for comparison with another build. rust-toolchain.toml and Cargo.lock name all inputs.
set -eu
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

for folder in one another/and-deeper; do
    copy=$scratch/$folder
    mkdir -p "$copy" "$scratch/home"
    # What git knows or would take: changes that are not committed yet too, and nothing that was built.
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
        tar --null --files-from=- --create --file=- | tar --extract --file=- --directory "$copy"
    echo "building in $copy" >&2
    env -u CARGO_TARGET_DIR CARGO_HOME="$scratch/home/$(basename "$folder")" make --no-print-directory --directory "$copy" build FILTERS= >&2
done

one=$scratch/one/dist/careplane.wasm
another=$scratch/another/and-deeper/dist/careplane.wasm
cmp "$one" "$another" || {
    echo "careplane: two builds of the same sources differ: a path, a time or an order has found its way into the module" >&2
    exit 1
}
sum=$(sha256sum "$one" | cut -d ' ' -f 1)
echo "$sum  careplane.wasm"
[ ! -f dist/careplane.wasm ] || cmp -s "$one" dist/careplane.wasm || echo "careplane: dist/careplane.wasm is another: built from other sources, or not by \`make build\`" >&2
