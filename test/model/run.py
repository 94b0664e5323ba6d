#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models of what threads share with spin: each must hold, and must fail once an order that it relies on is taken away, or it
proves nothing. Usage: run.py [-v] [MODEL...]; needs spin and a C compiler. The last line says "N passed, N failed"."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from multiprocessing.pool import ThreadPool

HERE = os.path.dirname(os.path.abspath(__file__))
DEPTH = 1_000_000
MEMORY_MIB = 1500


def switches_of(path):
    """The orders that can be taken away: every #ifdef of the model."""
    with open(path, encoding="utf-8") as model:
        return sorted(set(re.findall(r"^#ifn?def (\w+)", model.read(), re.M)))


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def explore(path, switch):
    """(errors found, states, what spin said); errors None: it did not come to an end."""
    with tempfile.TemporaryDirectory(prefix="skerry-model-") as folder:
        shutil.copy(path, os.path.join(folder, "model.pml"))
        define = [f"-D{switch}"] if switch else []
        for command in (["spin", "-a", *define, "model.pml"],
                        [os.environ.get("CC", "cc").split()[-1], "-O1", "-w", "-DSAFETY", "-DNOFAIR", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c"]):
            status, said = run(command, folder)
            if status != 0:
                return None, 0, said
        status, said = run(["./pan", f"-m{DEPTH}", "-w21"], folder)
        if "max search depth too small" in said or "out of memory" in said or "Search not completed" in said and "errors: 0" in said:
            return None, 0, said
        errors = re.search(r"errors: (\d+)", said)
        states = re.search(r"^\s*(\d+) states, stored", said, re.M)
        why = re.search(r"^pan:\d+: (.*)$", said, re.M)
        return (int(errors.group(1)) if errors else None, int(states.group(1)) if states else 0, why.group(1) if why else said)


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    verbose = "-v" in sys.argv
    if shutil.which("spin") is None:
        print("SKIP spin is not installed\n0 passed, 0 failed")
        return 0
    passed = failed = 0
    jobs = [(name, switch) for name in sorted(os.listdir(HERE)) if name.endswith(".pml") and (not wanted or name[:-4] in wanted)
            for switch in [None, *switches_of(os.path.join(HERE, name))]]
    with ThreadPool(2) as pool:
        results = pool.imap(lambda job: explore(os.path.join(HERE, job[0]), job[1]), jobs)
        for (name, switch), (errors, states, why) in zip(jobs, results):
            good = errors == 0 if switch is None else errors is not None and errors > 0
            label = f"{name[:-4]} {'holds' if switch is None else 'fails with ' + switch}"
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f"FAIL {label}: {why.strip()[-600:]}")
            elif verbose or switch is None:
                print(f"ok   {label} ({states} states{': ' + why if switch else ''})")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


sys.exit(main())
