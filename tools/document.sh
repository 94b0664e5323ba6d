#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes docs/CONFIGURATION.md and tools/skerry.conf from the table of options (engine/shard/options.def).
# Usage: document.sh [--check] [PROGRAM]   PROGRAM: a built skerryd (default build/skerryd); --check: only says whether they are right
set -eu

check=
[ "${1:-}" = --check ] && { check=1; shift; }
program=$(realpath "${1:-$(dirname "$0")/../build/skerryd}")
cd "$(dirname "$0")/.."

write() { # FORMAT FILE
    fresh=$(mktemp)
    "$program" --print-options "$1" >"$fresh"
    if [ -z "$check" ]; then
        cat "$fresh" >"$2"
    elif ! cmp -s "$fresh" "$2"; then
        rm -f "$fresh"
        echo "$2 is not what the table of options says: run tools/document.sh" >&2
        exit 1
    fi
    rm -f "$fresh"
}

mkdir -p docs
write markdown docs/CONFIGURATION.md
write sample tools/skerry.conf
