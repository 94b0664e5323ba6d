#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kernel.io_uring_disabled forbids io_uring: the server says so and runs on epoll, or refuses when io_uring is insisted on. Run
alone, because the switch is the whole machine's; only where CI=true says that the machine is nobody's, and as root.

    sysctl.py BUILD"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from harness import Config, Failure, Server, check, check_equal, free_port, run_to_end, wait_until

SWITCH = "/proc/sys/kernel/io_uring_disabled"


def forbidden(build):
    with Server(Config(build, io="auto", workers=2, shards=8)) as s:
        with s.client() as c:
            check_equal(c.pipeline([("SET", "a", "1"), ("GET", "a")] * 100), ["OK", b"1"] * 100, "replies")
        wait_until(lambda: "epoll" in s.log() and "kernel.io_uring_disabled" in s.log(), 10, "the reason in the log")
    status, said = run_to_end(Config(build, io="uring"), "--port", free_port())
    check_equal(status, 1, "exit status when io_uring is insisted on")
    check("kernel.io_uring_disabled" in said, f"the reason: {said!r}")


def main():
    if os.geteuid() != 0 or os.environ.get("CI") != "true" or not os.access(SWITCH, os.W_OK):
        print("SKIP io_uring forbidden by sysctl: needs root, CI=true and a kernel with the switch\n0 passed, 0 failed")
        return 0
    with open(SWITCH, encoding="ascii") as f:
        before = f.read()
    try:
        with open(SWITCH, "w", encoding="ascii") as f:
            f.write("2")
    except OSError as why:
        print(f"SKIP io_uring forbidden by sysctl: {why}\n0 passed, 0 failed")
        return 0
    try:
        forbidden(os.path.abspath(sys.argv[1]))
    except Failure as why:
        print(f"FAIL forbidden by sysctl: {why}\n0 passed, 1 failed")
        return 1
    finally:
        with open(SWITCH, "w", encoding="ascii") as f:
            f.write(before)
    print("1 passed, 0 failed")
    return 0


sys.exit(main())
