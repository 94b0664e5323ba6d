#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs by apt what is missing. Usage: install-deps.sh [build|test]
#   build  what compiles and runs skerryd (default)
#   test   that, and what tools/test.sh needs: clang, sanitizers, python, clients to test against
set -eu

build="gcc libc6-dev meson ninja-build pkg-config liburing-dev libnuma-dev libmimalloc-dev libxxhash-dev liblz4-dev"
tests="g++ clang clang-format libclang-rt-dev python3 python3-dev python3-venv redis-server redis-tools libhiredis-dev spin util-linux git libfuse3-dev fuse3 e2fsprogs faketime"
# What a test uses where it is there, and does without elsewhere.
wishes=
if [ "${1:-build}" = test ] && grep -q "^ID=debian" /etc/os-release 2>/dev/null; then
    wishes=chromium
fi
wanted=$build
[ "${1:-build}" = test ] && wanted="$build $tests"

die() {
    echo "install-deps: $*" >&2
    exit 1
}

installed() {
    dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed'
}

# The sanitizers' run-time library carries clang's version in its name.
resolve() {
    case $1 in
    libclang-rt-dev)
        version=$(clang --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
        if [ -z "$version" ]; then
            version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
        fi
        echo "libclang-rt-${version}-dev"
        ;;
    *) echo "$1" ;;
    esac
}

# What is here under another name needs no package: a compiler or tool that somebody installed by hand.
have() {
    case $1 in
    chromium) command -v chromium >/dev/null || installed "$1" ;;
    gcc | meson | clang | clang-format | git) command -v "$1" >/dev/null || installed "$1" ;;
    ninja-build) command -v ninja >/dev/null || installed "$1" ;;
    pkg-config) command -v pkg-config >/dev/null || installed "$1" ;;
    python3) command -v python3 >/dev/null || installed "$1" ;;
    *) installed "$1" ;;
    esac
}

command -v dpkg-query >/dev/null || die "only Debian and Ubuntu are served: install by hand: $wanted"
missing=
for name in $wanted; do
    package=$(resolve "$name")
    have "$package" || missing="$missing $package"
done
wished=
for name in $wishes; do
    have "$name" || wished="$wished $name"
done
[ -z "$missing$wished" ] && exit 0

asroot=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || [ -n "$missing" ] || exit 0
    command -v sudo >/dev/null || die "missing:$missing (neither root nor sudo to install them)"
    asroot=sudo
fi
echo "install-deps: installing$missing$wished"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # no package starts a service
$asroot apt-get update -q >/dev/null || die "apt-get update failed"
# With the lists here names can be resolved that could not before.
missing=
for name in $wanted; do
    package=$(resolve "$name")
    have "$package" || missing="$missing $package"
done
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || $asroot apt-get install -y -q --no-install-recommends $missing >/dev/null || die "apt-get could not install$missing"
for name in $wished; do
    $asroot apt-get install -y -q --no-install-recommends "$name" >/dev/null || echo "install-deps: going on without $name"
done
