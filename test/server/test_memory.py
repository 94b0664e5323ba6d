# SPDX-License-Identifier: Apache-2.0
"""What INFO says of memory is what the process takes."""

import re
import tempfile
import threading

from harness import BACKENDS, ONCE, SLOW, Error, Server, check, check_equal, test, wait_until


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
    parts += m["mem_aof_buffer"] + m["mem_snapshot"]
    check(abs(parts - m["used_memory_accounted"]) < 1 << 20, f"the sum is {m['used_memory_accounted']}, its parts are {parts}")
    return m["used_memory_accounted"] / m["used_memory_rss"] - 1


@test(ONCE, own=True, skerry_only=True)
def the_allocator_that_info_names_is_the_one_in_use(config):
    with Server(config) as s, s.client() as c, open(f"/proc/{s.pid}/maps") as maps:
        named = b"mem_allocator:mimalloc" in c.must("INFO", "memory")
        check_equal("libmimalloc" in maps.read(), named)


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
FRAMES = 9 << 20  # of the log role, at most: 8 in flight
PHASES = [(16, 64), (16000, 65000), (1000, 4000), (16, 65000)]


def churn(c, most, deletes):
    """Each phase writes the limit once in values of its own sizes. What the log holds on the way comes on top: it goes within a second or
    two of quiet."""
    worst, at, log = 0, 0, 0
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
            m = memory(c)
            worst, log = max(worst, m["used_memory_rss"]), max(log, m["mem_aof_buffer"])
        check(worst < most + log, f"{worst} bytes are resident after values of {least} to {longest} bytes, {most} and {log} may be")

    def beside_the_log():
        m = memory(c)
        return m["used_memory_rss"] - m["mem_aof_buffer"]

    wait_until(lambda: beside_the_log() < most, 10, f"less than {most} bytes to be resident beside what the log still holds")


@test(BACKENDS, own=True, skerry_only=True)
def what_is_resident_stays_near_maxmemory_whatever_sizes_follow_each_other(config):
    for policy in ("noeviction", "allkeys-s3fifo"):
        with Server(config, "--maxmemory", str(LIMIT), "--maxmemory-policy", policy) as s, s.client() as c:
            if sanitized(s):
                return
            m = memory(c)
            churn(c, m["used_memory_startup"] + LIMIT + LIMIT // 8 + (12 << 20), policy == "noeviction")


class Watcher(threading.Thread):
    """The most that INFO says while something else goes on."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.ends, self.samples = server, threading.Event(), []

    def run(self):
        with self.server.client() as c:
            while not self.ends.is_set():
                self.samples.append(memory(c))

    def most(self, name):
        return max(m[name] for m in self.samples)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()


@test(BACKENDS, own=True, skerry_only=True)
def what_durability_holds_is_counted_and_goes_again(config):
    with tempfile.TemporaryDirectory(prefix="skerry-memory-") as folder:
        with Server(config.but(appendonly=None), "--dir", folder, "--appendonly", "yes", "--appendfsync", "everysec") as s, s.client() as c:
            wait_until(lambda: memory(c)["mem_aof_buffer"] >= 1 << 20, 5, "an account of the log's frames")
            with Watcher(s) as w:
                for _ in range(6):
                    load(c, lambda i: ("SET", f"key:{i:04d}", b"v" * 500000), 0, 40, 40)
            check(w.most("mem_aof_buffer") > 1 << 20, f"at most {w.most('mem_aof_buffer')} bytes on their way to the log")
            check_equal(w.most("mem_snapshot"), 0)
            with Watcher(s) as w:
                c.must("BGSAVE")
                load(c, lambda i: ("SET", f"key:{i:04d}", b"w" * 500000), 0, 40, 40)
                wait_until(lambda: b"rdb_bgsave_in_progress:0" in c.must("INFO", "persistence"), 30, "the end of the snapshot")
            check(w.most("mem_snapshot") >= 3 << 20, f"at most {w.most('mem_snapshot')} bytes for the snapshot")
            for m in w.samples:
                held = m["mem_aof_buffer"] + m["mem_snapshot"] + m["mem_clients_normal"]
                check(m["used_memory"] >= held, f"{m['used_memory']} bytes are in use, and {held} of them beside the data")
            wait_until(lambda: memory(c)["mem_aof_buffer"] < FRAMES + (config.workers or 1) * (3 << 20), 10, "the memory of batches to go")
            check_equal(memory(c)["mem_snapshot"], 0)
            kept = memory(c)["mem_aof_buffer"]
            c.must("CONFIG", "SET", "appendonly", "no")
            wait_until(lambda: memory(c)["mem_aof_buffer"] <= kept - (1 << 20), 10, "the log's frames to go")


@test(BACKENDS, own=True, skerry_only=True)
def a_small_limit_has_room_for_data_beside_the_log_s_frames(config):
    with tempfile.TemporaryDirectory(prefix="skerry-memory-") as folder:
        options = ["--appendonly", "yes", "--appendfsync", "always", "--log-frames-in-flight", "8", "--maxmemory", "2mb",
                   "--maxmemory-policy", "noeviction"]
        with Server(config.but(appendonly=None), "--dir", folder, *options) as s, s.client() as c:
            wait_until(lambda: memory(c)["mem_aof_buffer"] >= 1 << 20, 5, "an account of the log's frames")
            for i in range(50):
                c.must("SET", f"key:{i}", b"v" * 5000)
            check(any(isinstance(c.call("SET", f"more:{i}", b"v" * 5000), Error) for i in range(1000)), "it fills up all the same")


@test(BACKENDS, own=True, skerry_only=True)
def replies_that_wait_for_the_log_are_counted_and_go_with_it(config):
    with tempfile.TemporaryDirectory(prefix="skerry-memory-") as folder:
        with Server(config.but(appendonly=None), "--dir", folder, "--appendonly", "yes", "--appendfsync", "always") as s, s.client() as c:
            for _ in range(20):
                c.pipeline([("SET", f"key:{i}", b"v" * 100) for i in range(2000)] + [("GET", f"key:{i}") for i in range(2000)])
            wait_until(lambda: memory(c)["mem_aof_buffer"] < FRAMES + (config.workers or 1) * (4 << 20), 10, "nothing to be held")
