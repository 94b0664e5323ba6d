#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every branch of the log's writer and of recovery is taken by a test, or coverage.txt says why not.

Builds the tests of persist without optimisation in build-coverage, runs them, and asks gcov. Lines of assert and audit are left
out: their other side never happens. An exception that is no longer one is a failure too. Usage: coverage.py ROOT"""

import collections
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COVERED = re.compile(r"persist/(log|recover)\w*\.[ch]$")
TESTS = ["log", "log_cut", "log_end", "log_method", "log_port", "log_segments", "recover", "recover_rot", "recover_salvage", "keeper_switch"]
PROGRAMS = [[f"test/unit/persist/persist_{name}_test"] for name in TESTS] + [["test/crash/skerry-crash", "--planted"]]
NEVER = re.compile(r"\b(assert|audit)\(")


def build(folder, root):
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(["meson", "setup", folder, root, "--buildtype=debug", "-Db_coverage=true"], check=True,
                       env={**os.environ, "CC": "gcc"}, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", folder] + [p[0] for p in PROGRAMS], check=True, stdout=subprocess.DEVNULL)


def run(folder):
    """The programs that failed."""
    for old in glob.glob(os.path.join(folder, "**", "*.gcda"), recursive=True):
        os.remove(old)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda p: subprocess.run([os.path.join(folder, p[0])] + p[1:], capture_output=True, timeout=300), PROGRAMS)
        return [" ".join(p) for p, d in zip(PROGRAMS, done) if d.returncode != 0]


def branches(folder, root):
    """Times taken, of each branch of each line of each file. A header's code is counted over all objects that hold it."""
    taken = collections.defaultdict(lambda: collections.defaultdict(int))
    for data in glob.glob(os.path.join(folder, "**", "*.gcda"), recursive=True):
        out = subprocess.run(["gcov", "--branch-probabilities", "--json-format", "--stdout", data], capture_output=True, cwd=folder, check=True)
        for document in out.stdout.splitlines():
            for file in json.loads(document)["files"]:
                name = os.path.relpath(os.path.join(folder, file["file"]), root)
                if not COVERED.match(name):
                    continue
                for line in file["lines"]:
                    for number, branch in enumerate(line["branches"]):
                        taken[name][line["line_number"], line.get("function_name"), number] += branch["count"]
    return taken


def exceptions():
    """(file, text of the line) -> reason."""
    found = {}
    with open(os.path.join(HERE, "coverage.txt"), encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                file, text, reason = (part.strip() for part in line.split(" @ "))
                found[file, text] = reason
    return found


def main():
    root = os.path.abspath(sys.argv[1])
    folder = os.path.join(root, "build-coverage")
    build(folder, root)
    failures = [f"{program} failed" for program in run(folder)]
    allowed, used, passed = exceptions(), set(), 0
    for name, counts in sorted(branches(folder, root).items()):
        with open(os.path.join(root, name), encoding="utf-8") as source:
            text = [line.strip() for line in source]
        missing = sorted({line for (line, _, _), count in counts.items() if count == 0 and not NEVER.search(text[line - 1])})
        excused = {line for line in missing if (name, text[line - 1]) in allowed}
        used |= {(name, text[line - 1]) for line in excused}
        failures += [f"{name}:{line}: a branch that no test takes: {text[line - 1]}" for line in missing if line not in excused]
        passed += 1
        print(f"{name}: {sum(count > 0 for count in counts.values())} of {len(counts)} branches, {len(excused)} lines excused")
    failures += [f"coverage.txt: {file}: is taken now, or gone: {text}" for file, text in sorted(set(allowed) - used)]
    if passed == 0:
        failures.append("gcov told nothing")
    for line in failures:
        print(f"FAIL {line}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
