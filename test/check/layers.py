#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every #include of the tree and keeps docs/ARCHITECTURE.md's picture true: a folder sees only folders above it,
always with the folder in the path. Usage: layers.py ROOT | layers.py --self-test"""

import os
import re
import sys
import tempfile

# A folder and the folders it may include; the longest name that fits a path decides.
ABOVE = {
    "include/base": ["base"],
    "include/skerry": ["skerry"],
    "proto": ["base", "proto"],
    "reactor": ["base", "reactor"],
    "persist": ["base", "reactor", "persist"],
    "replica": ["base", "proto", "reactor", "persist", "replica"],
    "engine/store": ["base", "engine/store"],
    "engine/embed": ["base", "skerry", "proto", "reactor", "engine/store", "engine/types", "engine/embed"],
    "engine/types": ["base", "engine/store", "engine/types"],
    "engine/command": ["base", "proto", "engine/store", "engine/types", "engine/command"],
    "engine/shard": ["base", "proto", "reactor", "persist", "replica", "engine/store", "engine/types", "engine/command", "engine/shard"],
}
EVERYTHING = ABOVE["engine/shard"] + ["skerry", "engine/embed"]
ABOVE["tools"] = EVERYTHING + ["tools"]
ABOVE["bench"] = EVERYTHING + ["bench"]
ABOVE["test"] = EVERYTHING + ["tools", "bench", "test"]

# System headers that open a door to the kernel, and who may hold the key.
DOORS = {
    "liburing.h": ["reactor", "tools", "bench", "test"],
    "linux/io_uring.h": ["reactor", "tools", "bench", "test"],
    "sys/epoll.h": ["reactor", "tools", "bench", "test"],
    "numa.h": ["reactor", "tools", "bench", "test"],
    "pthread.h": ["reactor", "engine/embed", "engine/shard", "tools", "bench", "test"],
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)
SOURCES = (".c", ".h", ".def")
SKIPPED = {".git", "subprojects", "docs"}


def home_of(path):
    """The longest folder of the picture that holds `path`; None for files outside of it."""
    homes = [folder for folder in ABOVE if path.startswith(folder + "/")]
    return max(homes, key=len, default=None)


def target_of(name):
    known = [folder for folder in ABOVE["test"] if name.startswith(folder + "/")]
    return max(known, key=len, default=None)


def violations_of(path, text):
    home = home_of(path)
    if home is None:
        yield f"{path}: lies in no folder of the picture"
        return
    for found in INCLUDE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        bracket, name = found.groups()
        if bracket == "<":
            if name in DOORS and home not in DOORS[name]:
                yield f"{path}:{line}: <{name}> may not be included in {home}"
            continue
        target = target_of(name)
        if target is None:
            yield f'{path}:{line}: "{name}" lacks its folder, or no such folder is known'
        elif target not in ABOVE[home]:
            yield f'{path}:{line}: {home} may not include {target} ("{name}")'


def sources_of(root):
    for folder, folders, files in os.walk(root):
        if "build.ninja" in files:  # what meson made, whatever its name
            folders[:] = []
            continue
        inside = os.path.relpath(folder, root)
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith(("build", "."))) if inside == "." else sorted(folders)
        for name in sorted(files):
            if name.endswith(SOURCES):
                yield os.path.normpath(os.path.join(inside, name))


def check(root):
    found, files = [], 0
    for path in sources_of(root):
        files += 1
        with open(os.path.join(root, path), encoding="utf-8") as source:
            found += violations_of(path, source.read())
    return files, found


PLANTED = {  # path, text: how many violations must be found
    ("proto/a.c", '#include "reactor/reactor.h"\n'): 1,
    ("proto/b.c", '#include "resp.h"\n'): 1,
    ("proto/c.c", "#include <liburing.h>\n"): 1,
    ("proto/d.c", '#include "proto/resp.h"\n#include "base/slice.h"\n'): 0,
    ("reactor/a.c", '#include "proto/resp.h"\n'): 1,
    ("engine/store/a.c", '#include "proto/number.h"\n'): 1,
    ("engine/store/b.c", '  #  include   "engine/command/command.h"\n'): 1,
    ("engine/command/a.c", '#include "reactor/reactor.h"\n#include "engine/shard/shard.h"\n'): 2,
    ("engine/command/b.c", '#include "proto/reply.h"\n#include "engine/store/store.h"\n'): 0,
    ("engine/shard/a.c", '#include "reactor/reactor.h"\n#include "proto/resp.h"\n'): 0,
    ("engine/shard/b.c", '#include "tools/options.h"\n'): 1,
    ("include/base/a.h", '#include "proto/resp.h"\n'): 1,
    ("persist/a.c", '#include "replica/frame.h"\n'): 1,
    ("tools/a.c", '#include "engine/shard/shard.h"\n#include "test/x.h"\n'): 1,
    ("stray/a.c", "int x;\n"): 1,
}


def self_test():
    failed = 0
    for (path, text), want in PLANTED.items():
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, os.path.dirname(path)))
            with open(os.path.join(root, path), "w", encoding="utf-8") as out:
                out.write(text)
            got = len(check(root)[1])
        if got != want:
            failed += 1
            print(f"FAIL planted {path}: {got} violations found, {want} are there")
    print(f"{len(PLANTED) - failed} passed, {failed} failed")
    return failed != 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    files, found = check(sys.argv[1])
    for line in found:
        print(line)
    if files == 0:
        print("no source files found")
        found = ["none"]
    print(f"{1 if not found else 0} passed, {1 if found else 0} failed")
    return len(found) != 0


sys.exit(main())
