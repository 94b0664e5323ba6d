# SPDX-License-Identifier: Apache-2.0
"""What INFO says of memory is what the process takes."""

import re

from harness import BACKENDS, SLOW, Server, check, check_equal, test, wait_until


def memory(c):
    return {name: int(value) for name, value in re.findall(r"^(\w+):(\d+)\r?$", c.must("INFO", "memory").decode(), re.M)}


def small(i):
    return "SET", f"small:{i:08d}", b"s" * 64


def expiring(i):
    return "SET", f"expiring:{i:08d}", b"t" * 40, "EX", 1000


def mixed(i):
    return "SET", f"mixed:{i:08d}", b"m" * (i * 7919 % 3000)


def large(i):
    return "SET", f"large:{i:08d}", b"l" * (65536 + i * 7919 % 100000)


def load(c, request, first, last, batch):
    for at in range(first, last, batch):
        check_equal(set(c.pipeline([request(i) for i in range(at, min(last, at + batch))])), {"OK"})


def sanitized(s):
    with open(f"/proc/{s.pid}/maps") as maps:
        return "san.so" in maps.read() or SLOW > 4  # linked in


def off(c):
    m = memory(c)
    parts = m["used_memory_startup"] + m["used_memory_reserved"] + m["used_memory_buffers"] + m["mem_clients_normal"]
    check(abs(parts - m["used_memory_accounted"]) < 1 << 20, f"the sum is {m['used_memory_accounted']}, its parts are {parts}")
    return m["used_memory_accounted"] / m["used_memory_rss"] - 1


@test(BACKENDS, own=True, skerry_only=True)
def what_info_accounts_for_is_what_is_resident(config):
    with Server(config) as s, s.client() as c:
        if sanitized(s):
            return  # shadow memory is resident, too
        shapes = [(large, 500, 20), (mixed, 20000, 200), (small, 200000, 500), (expiring, 100000, 500)]
        for request, count, batch in shapes:
            load(c, request, 0, count, batch)
            wait_until(lambda: abs(off(c)) < 0.03, 10, f"an account within 3 % after {request.__name__}, now {off(c):+.3f}")
        for i in range(0, 200000, 1000):
            c.pipeline([("DEL", *(f"small:{k:08d}" for k in range(i, i + 1000, 2)))])
        load(c, mixed, 20000, 25000, 200)
        wait_until(lambda: abs(off(c)) < 0.03, 10, "an account within 3 % after deletes")
