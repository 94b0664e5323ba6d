#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an item costs beyond its key (16 bytes) and its value, for many sizes of values: a table in bench/results/.

Usage: sizes.py [--build DIR] [--name NAME] [--mib N]

Each figure is of a process of its own (build/bench/skerry-memory --size) that stores N MiB of keys and values: growth of its resident memory,
and in brackets what counts against maxmemory, each divided by the items held. `ttl`: every item has a deadline. `cache`: S3-FIFO with
room for half of the items that come."""

import argparse
import os
import platform
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZES = [8, 32, 64, 200, 1024, 4096, 65536, 1 << 20]
MODES = ["none", "ttl", "cache"]
KEY = 16


def measure(program, size, mode, mib):
    items = max(64, (mib << 20) // (size + KEY))
    done = subprocess.run([program, "--size", str(items), str(size), mode], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} failed: {done.stderr.strip()}")
    held, resident, counted = done.stdout.split()
    return int(held), float(resident), float(counted)


def name_of(size):
    return f"{size} B" if size < 1024 else f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--name", default="sizes")
    p.add_argument("--mib", type=int, default=512, help="keys and values of a run; 512")
    options = p.parse_args()
    program = os.path.join(options.build, "bench", "skerry-memory")
    lines = ["# Bytes an item by the size of its value", "",
             f"`bench/sizes.py --mib {options.mib}`, {platform.machine()}, Linux {platform.release()}. Beyond a key of {KEY} bytes and the value: resident "
             "memory (what counts against maxmemory) an item, items held.", "",
             "| value | no deadline | items | with a deadline | items | bounded cache | items |", "|---|---:|---:|---:|---:|---:|---:|"]
    for size in SIZES:
        cells = []
        for mode in MODES:
            held, resident, counted = measure(program, size, mode, options.mib)
            cells.append(f"{resident:.1f} ({counted:.1f}) | {held}")
        lines.append(f"| {name_of(size)} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    path = os.path.join(ROOT, "bench", "results", f"{options.name}.md")
    with open(path, "w") as out:
        out.write("\n".join(lines) + "\n")
    print(path)


main()
