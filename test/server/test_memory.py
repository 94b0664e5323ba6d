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


LIMIT = 48 << 20
PHASES = [(16, 64), (16000, 65000), (1000, 4000), (16, 65000)]


def churn(c, most, deletes):
    """Each phase writes the limit once in values of its own sizes."""
    worst, at = 0, 0
    for least, longest in PHASES:
        written = 0
        while written < LIMIT:
            batch, end = [], written + (1 << 20)
            while len(batch) < 400 and written < end:
                at += 1
                length = int(least * (longest / least) ** (at * 7919 % 1000 / 1000))
                batch.append(("SET", f"key:{at:09d}", b"v" * length))
                written += length + 80
            refused = sum(r != "OK" for r in c.pipeline(batch))
            if refused > 0:
                check(deletes, "a write was refused, though keys may be evicted")
                c.pipeline([("DEL", key) for key in set(c.pipeline([("RANDOMKEY",)] * 400)) if key is not None])
            worst = max(worst, memory(c)["used_memory_rss"])
        check(worst < most, f"{worst} bytes are resident after values of {least} to {longest} bytes, {most} may be")


@test(BACKENDS, own=True, skerry_only=True)
def what_is_resident_stays_near_maxmemory_whatever_sizes_follow_each_other(config):
    for policy in ("noeviction", "allkeys-s3fifo"):
        with Server(config, "--maxmemory", str(LIMIT), "--maxmemory-policy", policy) as s, s.client() as c:
            if sanitized(s):
                return
            m = memory(c)
            churn(c, m["used_memory_startup"] + LIMIT + LIMIT // 8 + (12 << 20), policy == "noeviction")
