# SPDX-License-Identifier: Apache-2.0
"""What many connections found in a loaded server is what one Redis could have answered (docs/CHECKING.md)."""

import os
import re
import subprocess

from harness import BACKENDS, ONCE, SLOW, check, test

FEW = SLOW > 4  # a sanitizer's build
OPERATIONS = 18_000 if FEW else 180_000  # three such runs on each of two backends
MANY = 300  # permille of requests with several keys, MULTI or WATCH


def run_history(s, operations, *args):
    program = os.path.join(s.config.build, "test", "history", "skerry-history")
    command = [program, "--port", str(s.port), "--operations", str(operations), "--many", str(MANY), *map(str, args)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def must_hold(s, *args):
    status, said = run_history(s, OPERATIONS, *args)
    check(status == 0, f"{' '.join(map(str, args))}: {said}")
    checked = re.search(r"^(\d+) operations", said, re.M)
    check(checked and int(checked.group(1)) > OPERATIONS * 0.9, f"only a part was checked: {said}")


@test(BACKENDS, seconds=300)
def many_connections_see_one_redis(s):
    must_hold(s, "--connections", 24, "--depth", 8, "--seed", 1)


@test(BACKENDS, seconds=300)
def very_many_connections_see_one_redis(s):
    must_hold(s, "--connections", 120, "--depth", 2, "--seed", 2, "--cut", 5)


@test(BACKENDS, seconds=300)
def long_pipelines_see_one_redis(s):
    must_hold(s, "--connections", 4, "--depth", 64, "--seed", 3)


@test(ONCE, seconds=120)
def a_server_that_lies_is_found_out(s):
    for lie in ["lost-write", "reordered", "half-applied", "stale-watch", "not-discarded"]:
        # A lie shows only where somebody looks at the right moment: on a slow machine not in every history.
        for seed in range(1, 5):
            status, said = run_history(s, 10_000 if FEW else 30_000, "--lie", lie, "--seed", seed)
            if status == 1 and "FAIL" in said:
                break
        check(status == 1 and "FAIL" in said, f"{lie} was not noticed: {said}")
