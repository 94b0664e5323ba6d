#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the release into build/, runs build/skerryd with the arguments given (port 6380 on 127.0.0.1
# unless they say otherwise). --build-only, as the first argument, stops before running.
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "run.sh: $*" >&2
    exit 1
}

build_only=
if [ "${1:-}" = --build-only ]; then
    build_only=1
    shift
fi

sh tools/install-deps.sh build || die "could not install what the build needs"
if [ ! -f build/build.ninja ]; then
    echo "run.sh: preparing build/ (release, link-time optimised)"
    log=$(mktemp)
    meson setup build --buildtype=release -Db_lto=true >"$log" 2>&1 || { cat "$log" >&2; die "meson setup failed"; }
    rm -f "$log"
fi
echo "run.sh: building"
# ninja says what failed and why on its standard output
output=$(ninja -C build 2>&1) || { echo "$output" | tail -n 40 >&2; die "the build failed"; }
[ -n "$build_only" ] && { echo "run.sh: built build/skerryd"; exit 0; }
echo "run.sh: starting build/skerryd $*"
exec build/skerryd "$@"
