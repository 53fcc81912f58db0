#!/bin/sh
# Installs what rustup can (the toolchain of rust-toolchain.toml with its targets) and names in one line what it cannot.
set -eu
cd "$(dirname "$0")/.."

missing() {
    echo "careplane: $1" >&2
    exit 1
}

command -v rustup >/dev/null || missing "rustup is missing: install Rust from https://rustup.rs"
command -v cc >/dev/null || missing "cc is missing: Rust needs a C linker (Debian: apt install build-essential; macOS: xcode-select --install)"

channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
targets=$(sed -n 's/^targets = \[\(.*\)\]/\1/p' rust-toolchain.toml | tr -d '",')
components=$(sed -n 's/^components = \[\(.*\)\]/\1/p' rust-toolchain.toml | tr -d '",')
have=$(rustup target list --installed --toolchain "$channel" 2>/dev/null; rustup component list --installed --toolchain "$channel" 2>/dev/null) || have=
for wanted in $targets $components; do
    case "$have" in
    *"$wanted"*) ;;
    *)
        echo "installing Rust $channel with $targets $components" >&2
        # shellcheck disable=SC2046,SC2086 # words, one option each
        rustup toolchain install "$channel" --profile minimal --no-self-update \
            $(printf ' --target %s' $targets) $(printf ' --component %s' $components) >&2 ||
            missing "rustup could not install Rust $channel with $targets"
        break
        ;;
    esac
done
