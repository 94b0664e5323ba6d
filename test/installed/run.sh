#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into a temporary folder and is a stranger there: pkg-config finds the library, the examples compile in C and C++ against the
# shared and the static one and run, and nothing but skerry_... can be seen. Usage: run.sh BUILD_FOLDER SOURCE_FOLDER CC
set -u
build=$1 source=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

claim() { # WORDS COMMAND...
    claimed=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $claimed"
        sed 's/^/    /' "$work/log"
    fi
}

claim "meson install" meson install -C "$build" --no-rebuild --destdir "$work/root"
pc=$(find "$work/root" -name skerry.pc)
lib=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH="$lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$work/root" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
export LD_LIBRARY_PATH="$lib"
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$source/meson.build")

claim "pkg-config knows the version" test "$(pkg-config --modversion skerry)" = "$version"
claim "the header is installed" test -n "$(find "$work/root" -path '*/include/skerry/skerry.h')"
claim "the man page is installed" test -n "$(find "$work/root" -name 'libskerry.3*')"
claim "the shared library has its name" sh -c "readelf -d '$lib/libskerry.so' | grep -q 'SONAME.*libskerry.so.0\]'"

declared() {
    sed -n 's/^SKERRY_API .*[ *]\(skerry_[a-z_]*\)(.*/\1/p' "$source/include/skerry/skerry.h" | sort
}
claim "all that the header declares can be seen, nothing else, under its version" sh -c "
    nm -D --defined-only '$lib/libskerry.so' | sed -n 's/.* T //p' | sort >'$work/seen'
    sed 's/\$/@@SKERRY_0/' >'$work/declared' && test -s '$work/declared' && diff '$work/declared' '$work/seen'" <<EOF
$(declared)
EOF
claim "the static library shows the same" sh -c "
    nm -g --defined-only '$lib/libskerry.a' | sed -n 's/.* [A-Z] //p' | sort >'$work/seen' && diff - '$work/seen'" <<EOF
$(declared)
EOF

cxx=c++
command -v c++ >/dev/null || cxx=clang++
flags=$(pkg-config --cflags skerry)
shared=$(pkg-config --libs skerry)
static="-Wl,-Bstatic $shared -Wl,-Bdynamic $(pkg-config --static --libs-only-l skerry | sed 's/-lskerry//')"
for example in "$source"/docs/examples/*.c "$source"/docs/examples/*.cc; do
    name=$(basename "$example")
    compiler="$* -std=c11"
    case $name in *.cc) compiler="$cxx -std=c++11" ;; esac
    for kind in shared static; do
        libs=$shared
        [ $kind = static ] && libs=$static
        # shellcheck disable=SC2086 # lists of flags
        claim "$name compiles, $kind" $compiler -Wall -Wextra -Werror -pthread $flags "$example" $libs -o "$work/$name-$kind"
        claim "$name runs, $kind" "$work/$name-$kind"
    done
    claim "$name, static, needs no libskerry.so" sh -c "! readelf -d '$work/$name-static' | grep -q libskerry"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
