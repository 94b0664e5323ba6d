#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the static library: all objects linked into one in which only skerry_... can be seen, so that a program's own names never
# meet ours. Usage: seal.sh OUT ARCHIVE... -- COMPILER...
set -eu
out=$1
shift
archives=
while [ "$1" != -- ]; do
    archives="$archives $1"
    shift
done
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Objects of a link-time optimised build become ordinary code here. (gcc has a flag for it; clang needs none.)
lto=
case " $* " in *" -flto"*) echo 'int main(void){return 0;}' | "$@" -x c -c -o "$work/x.o" - &&
    "$@" -r -nostdlib -flinker-output=nolto-rel "$work/x.o" -o "$work/y.o" 2>/dev/null && lto=-flinker-output=nolto-rel ;; esac
# shellcheck disable=SC2086 # a list
"$@" -r -nostdlib $lto -Wl,--whole-archive $archives -Wl,--no-whole-archive -o "$work/skerry.o"
objcopy --localize-hidden "$work/skerry.o"
rm -f "$out"
ar rcs "$out" "$work/skerry.o"
