#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What every file of the tree must be: carries the licence line, stays under 1,000 lines (is a second noun hiding in it?),
leaves nothing open, names no path of one machine and no package registry. Usage: tree.py ROOT"""

import os
import re
import subprocess
import sys

LINES_MAX = 1000
LICENSED = (".c", ".h", ".def", ".py", ".sh", ".js", ".go")
OPEN = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE = re.compile(r"/(wo" r"rk|ro" r"ot|home/[a-z]+)/")
REGISTRY = re.compile(r"(pypi\.org|registry\.npmjs|proxy\.golang|crates\.io|deb\.debian\.org)")


def files_of(root):
    out = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-co", "--exclude-standard"],
                         capture_output=True, text=True, check=True)
    return [name for name in sorted(set(out.stdout.splitlines())) if os.path.isfile(os.path.join(root, name))]


def violations_of(name, text):
    lines = text.splitlines()
    if name.endswith(LICENSED):
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:2]):
            yield f"{name}: no SPDX line at its top"
        for number, line in enumerate(lines, 1):
            if OPEN.search(line):
                yield f"{name}:{number}: left open: {line.strip()[:80]}"
    if name.endswith((".c", ".h")) and len(lines) > LINES_MAX:
        yield f"{name}: {len(lines)} lines, more than {LINES_MAX}"
    for number, line in enumerate(lines, 1):
        if MACHINE.search(line):
            yield f"{name}:{number}: a path of one machine: {line.strip()[:80]}"
        if REGISTRY.search(line) and not name.endswith(("package-lock.json", "go.sum")):
            yield f"{name}:{number}: a registry's host: {line.strip()[:80]}"


def main():
    root = sys.argv[1]
    files, found = files_of(root), []
    for name in files:
        try:
            with open(os.path.join(root, name), encoding="utf-8") as source:
                found += violations_of(name, source.read())
        except UnicodeDecodeError:
            continue  # binary corpora
    for line in found:
        print(line)
    bad = len(found) > 0 or len(files) == 0
    print(f"{0 if bad else 1} passed, {1 if bad else 0} failed")
    return bad


sys.exit(main())
