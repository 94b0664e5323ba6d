#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A snapshot of many items under load: extra memory, the longest turn, and what readers and writers notice.

Starts a server with save points, fills it, measures latencies of a mixed load without a snapshot and during BGSAVE, and prints both with their
ratio. Usage: snapshots.py [--build build-release] [--items 10000000] [--value 64] [--workers 1] [--connections 8] [--writes 0.2] [--appendonly]"""

import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time


def encode(*args):
    parts = [b"*%d\r\n" % len(args)]
    for a in args:
        a = a if isinstance(a, bytes) else str(a).encode()
        parts += [b"$%d\r\n" % len(a), a, b"\r\n"]
    return b"".join(parts)


class Client:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def read(self):
        line = self.file.readline()
        if line[:1] == b"$":
            length = int(line[1:])
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if line[:1] == b"*":
            return [self.read() for _ in range(int(line[1:]))]
        return line.strip().decode()

    def call(self, *args):
        self.sock.sendall(encode(*args))
        return self.read()

    def info(self):
        return dict(re.findall(r"^(\w+):(.*?)\r?$", self.call("INFO", "everything").decode(), re.M))


def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"^VmRSS:\s+(\d+)", status.read(), re.M).group(1)) * 1024


def fill(port, items, value):
    c, body, batch = Client(port), b"v" * value, 1000
    for first in range(0, items, batch):
        count = min(batch, items - first)
        c.sock.sendall(b"".join(encode("SET", f"key:{i:012d}", body) for i in range(first, first + count)))
        for _ in range(count):
            c.file.readline()


class Load(threading.Thread):
    """Closed loop on a few connections; latencies of each request in us. The same for both halves, so that their ratio means something."""

    def __init__(self, args, port, stop):
        super().__init__()
        self.args, self.client, self.stop, self.times, self.random = args, Client(port), stop, [], random.Random(id(self))

    def run(self):
        body, clock = b"w" * self.args.value, time.perf_counter_ns
        while not self.stop.is_set():
            key = f"key:{self.random.randrange(self.args.items):012d}"
            request = encode("SET", key, body) if self.random.random() < self.args.writes else encode("GET", key)
            began = clock()
            self.client.sock.sendall(request)
            self.client.read()
            self.times.append((clock() - began) / 1000)


def percentile(times, share):
    return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


def measure(args, port, until):
    stop = threading.Event()
    loads = [Load(args, port, stop) for _ in range(args.connections)]
    for each in loads:
        each.start()
    until()
    stop.set()
    for each in loads:
        each.join()
    times = sorted(t for each in loads for t in each.times)
    return len(times), percentile(times, 0.5), percentile(times, 0.99), percentile(times, 0.999), times[-1]


def snapshot(c, peak, pid):
    reply = c.call("BGSAVE")
    if not reply.startswith("+"):
        raise SystemExit(f"BGSAVE: {reply}")
    while True:
        peak[0] = max(peak[0], rss(pid))
        info = c.info()
        peak[1] = max(peak[1], int(info["snapshot_image_bytes"]) + int(info["snapshot_remembered_bytes"]))
        if info["rdb_bgsave_in_progress"] == "0":
            return
        time.sleep(0.05)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build-release")
    p.add_argument("--items", type=int, default=10_000_000)
    p.add_argument("--value", type=int, default=64)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--connections", type=int, default=8)
    p.add_argument("--writes", type=float, default=0.2)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--appendonly", action="store_true")
    args = p.parse_args()
    folder, port = tempfile.mkdtemp(prefix="skerry-snapshots-", dir="."), 7479
    command = [os.path.join(args.build, "skerryd"), "--port", str(port), "--dir", folder, "--workers", str(args.workers), "--save", "86400 1000000000"]
    server = subprocess.Popen(command + (["--appendonly", "yes"] if args.appendonly else []), stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                c = Client(port)
                if c.call("PING") == "+PONG":
                    break
            except OSError:
                pass
            time.sleep(0.1)
        fill(port, args.items, args.value)
        before = rss(server.pid)
        print(f"{args.items} items of {args.value} bytes, {args.workers} workers, RSS {before / 2**20:.0f} MiB, {args.connections} connections, "
              f"{args.writes:.0%} writes")
        plain = measure(args, port, lambda: time.sleep(args.seconds))
        before, peak = rss(server.pid), [0, 0]
        began = time.monotonic()
        during = measure(args, port, lambda: snapshot(c, peak, server.pid))
        took, info = time.monotonic() - began, c.info()
        for name, (count, *figures) in (("without", plain), ("during", during)):
            print(f"  {name:8} {count:9} requests, p50 {figures[0]:.0f} us, p99 {figures[1]:.0f}, p99.9 {figures[2]:.0f}, longest {figures[3]:.0f}")
        print(f"  ratio    p99.9 {during[3] / plain[3]:.2f}")
        print(f"  snapshot {took:.1f} s, {int(info['snapshot_bytes']) / 2**20:.0f} MiB, status {info['rdb_last_bgsave_status']}, "
              f"longest slice {info['snapshot_longest_slice_us']} us")
        print(f"  memory   RSS +{max(0, peak[0] - before) / 2**20:.1f} MiB ({(peak[0] - before) / before:.2%}), of these images and marks at most "
              f"{peak[1] / 2**20:.1f} MiB")
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
