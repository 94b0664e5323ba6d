#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every fuzz target of a build for so many seconds, two more than there are cores at a time: first its corpus of known inputs
(test/fuzz/corpus/NAME), then new ones. Usage: run.py BUILD SECONDS [NAME...]"""

import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


# Inputs that each pass through thousands of places: libFuzzer's entropic schedule keeps count of all of them at every input, which takes
# two thirds of the time (188 inputs a second with it, 514 without).
PLAIN_SCHEDULE = ["session"]


def run(target, seconds):
    name = os.path.basename(target)[len("fuzz-") :]
    corpus = os.path.join(HERE, "corpus", name)
    dictionary = os.path.join(HERE, name + ".dict")
    with tempfile.TemporaryDirectory() as found:
        command = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1",
                   f"-artifact_prefix={found}/", found]
        command += ["-entropic=0"] if name in PLAIN_SCHEDULE else []
        command += [corpus] if os.path.isdir(corpus) else []
        command += [f"-dict={dictionary}"] if os.path.exists(dictionary) else []
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds * 5 + 60)
        output = done.stdout.decode(errors="replace")
        units = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
        if done.returncode == 0:
            return True, f"ok   {name}: {units.group(1) if units else '?'} inputs"
        inputs = [f for f in glob.glob(found + "/*") if os.path.basename(f).startswith(("crash", "leak", "timeout", "oom", "slow"))]
        keep = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build-logs")
        os.makedirs(keep, exist_ok=True)
        for path in inputs:
            os.replace(path, os.path.join(keep, f"{name}-{os.path.basename(path)}"))
        tail = "\n".join("    " + line for line in output.splitlines()[-60:])
        return False, f"FAIL {name}: inputs kept in build-logs/\n{tail}"


def main():
    build, seconds, names = os.path.abspath(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    found = glob.glob(os.path.join(build, "test", "fuzz", "fuzz-*")) + glob.glob(os.path.join(build, "subprojects", "*", "fuzz", "fuzz-*"))
    targets = sorted(t for t in found if os.path.isfile(t) and os.access(t, os.X_OK))
    targets = [t for t in targets if not names or os.path.basename(t)[len("fuzz-") :] in names]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 2) as pool:
        for good, text in pool.map(lambda t: run(t, seconds), targets):
            print(text, flush=True)
            passed, failed = passed + good, failed + (not good)
    if not targets:
        print("no fuzz targets were built")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or not targets


sys.exit(main())
