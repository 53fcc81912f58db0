#!/bin/bash
# Runs what README's two commands install and start on a machine that has nothing of it: in a minimal Debian, made by
# debootstrap, with the packages that README names and no others. Not as root, with a private umask, in a folder whose
# name has a space.
#
# The certificates and proxies by which the machine reaches the registries are its own. Leaves no mount, process or file
# behind. Needs root, and Debian's archive. Exit code 3: there is none of that here.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${FRESH_SUITE:-bookworm}
mirror=${FRESH_MIRROR:-http://deb.debian.org/debian}

unfit() {
    echo "SKIPPED: the two commands in a minimal Debian, because $1"
    exit 3
}
step() { printf '== fresh: %s (after %d s)\n' "$1" "$SECONDS"; }

# A second time, as root of mounts and processes of its own: all of them end with it.
if [ "${FRESH_ROOT:-}" = "" ]; then
    [ "$(uname -s)" = Linux ] || unfit "this is not Linux"
    [ "$(id -u)" = 0 ] || unfit "debootstrap needs root"
    unshare --mount true 2>/dev/null || unfit "mounts of its own are not allowed here"
    mkdir -p .run
    FRESH_ROOT=$(mktemp -d "$PWD/.run/fresh.XXXXXX")
    export FRESH_ROOT
    trap 'rm -rf --one-file-system "$FRESH_ROOT"' EXIT
    trap 'exit 1' HUP INT TERM
    unshare --mount --propagation private --pid --fork --kill-child "$0"
    exit
fi
root=$FRESH_ROOT/debian
mount -t proc proc /proc

# Debian's own, else unpacked beside it: the machine stays as it is.
if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || unfit "there is no debootstrap"
    step "debootstrap from Debian's archive"
    (cd "$FRESH_ROOT" && { apt-get -qq download debootstrap || { apt-get -qq update && apt-get -qq download debootstrap; }; } && dpkg-deb -x debootstrap_*.deb tool)
    export DEBOOTSTRAP_DIR=$FRESH_ROOT/tool/usr/share/debootstrap PATH=$FRESH_ROOT/tool/usr/sbin:$PATH
fi

# shellcheck disable=SC2207 # words, one package each
packages=($(sed -n 's/^apt install //p' README.md))
[ ${#packages[@]} -gt 0 ] || { echo "careplane: README.md has no line 'apt install …'" >&2; exit 1; }

step "a minimal $suite"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$FRESH_ROOT/log" 2>&1 || { tail -5 "$FRESH_ROOT/log" >&2; exit 1; }
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"

step "README's packages: ${packages[*]}"
chroot "$root" sh -c 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends install "$@"' apt "${packages[@]}" \
    >"$FRESH_ROOT/log" 2>&1 || { tail -5 "$FRESH_ROOT/log" >&2; exit 1; }
chroot "$root" useradd --create-home developer

certificates=/etc/ssl/certs/ca-certificates.crt
[ ! -e $certificates ] || mount --bind $certificates "$root$certificates"

# rustup is no Debian package: the machine's own program takes the place of the script on its site, which runs the same
# one.
install -m 0755 "$(readlink -f "$(command -v rustup)")" "$root/usr/local/bin/rustup-init"

home=/home/developer
checkout="$home/care plane"
step "a clean checkout in $checkout"
git clone --quiet --no-hardlinks . "$root$checkout"
# What is not committed yet, too; nothing that was built.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null --files-from=- --create --file=- | tar --extract --no-same-owner --file=- --directory "$root$checkout"
# As a private umask would have made it.
chroot "$root" sh -c 'chown -R developer: "$1" && chmod -R go= "$1"' chown "$home"

inside() {
    chroot --userspec=developer:developer "$root" /usr/bin/env -i \
        HOME=$home USER=developer PATH=$home/.cargo/bin:/usr/local/bin:/usr/bin:/bin CARGO_INCREMENTAL=0 \
        CARGO_PROFILE_DEV_DEBUG=0 SSL_CERT_FILE=$certificates NPM_CONFIG_CAFILE=$certificates NODE_EXTRA_CA_CERTS=$certificates \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} \
        CI=true sh -c 'umask 077 && cd "$1" && shift && exec "$@"' sh "$checkout" "$@" </dev/null
}

step "rustup"
inside rustup-init -y --quiet --no-modify-path --profile minimal --default-toolchain none
# What verifies millions of records in tests verifies few here: to optimise it would take minutes.
inside sh -c 'printf "[profile.dev.package.careplane-evidence]\nopt-level = 0\n" >"$HOME/.cargo/config.toml"'
step "make demo"
inside make demo FILTERS=
step "make tools"
inside make tools
step "done"
