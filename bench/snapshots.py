#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A snapshot of many items under load: extra memory, the longest turn, and what readers and writers notice.

Starts a server with save points, fills it, measures latencies of a mixed load at a fixed rate in windows by turns without a snapshot and while
one BGSAVE follows the other, and prints both with the median of their ratios.
Usage: snapshots.py [--build build-release] [--items 10000000] [--value 64] [--workers 1] [--connections 20] [--rate 20000] [--writes 20]
                    [--seconds 5] [--repetitions 5] [--apart] [--appendonly]"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

PORT = 7479


def encode(*args):
    return b"".join([b"*%d\r\n" % len(args)] + [b"$%d\r\n%s\r\n" % (len(a), a) for a in (str(a).encode() for a in args)])


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


def bench(args, *more):
    command = [os.path.join(args.build, "skerry-bench"), "--port", str(PORT), "--json", "--keys", str(args.items), "--connections",
               str(args.connections), "--value-size", str(args.value), "--cpu", str(args.client_core), *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout or "{}")


def load(args):
    answer = bench(args, "--mix", f"get:{100 - args.writes},set:{args.writes}", *(["--rate", str(args.rate)] if args.rate else []), "--duration",
                   str(args.seconds), "--warmup", "0.2")
    return answer["latency_us"] | {"rate": answer["requests_per_second"]}


def longest_turn(info):
    """Of all workers since CONFIG RESETSTAT, in us."""
    return max(int(re.search(r"longest_turn_us=(\d+)", line).group(1)) for name, line in info.items() if re.fullmatch(r"worker\d+", name))


def workers_of(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as comm:
            if comm.read().startswith("worker-"):
                yield task


def preempted(pid):
    """How often the core was taken from a worker that had more to do: a turn in which that happens is as long as others keep the core."""
    count = 0
    for task in workers_of(pid):
        with open(f"/proc/{pid}/task/{task}/status") as status:
            count += int(re.search(r"^nonvoluntary_ctxt_switches:\s+(\d+)", status.read(), re.M).group(1))
    return count


class Snapshots(threading.Thread):
    """BGSAVE after BGSAVE, until told to end; what was seen meanwhile."""

    def __init__(self, pid):
        super().__init__()
        self.client, self.pid, self.ends = Client(PORT), pid, threading.Event()
        self.count, self.resident, self.images, self.statuses, self.slices = 0, 0, 0, set(), []

    def run(self):
        while not self.ends.is_set():
            reply = self.client.call("BGSAVE")
            if not reply.startswith("+"):
                raise SystemExit(f"BGSAVE: {reply}")
            info = {"rdb_bgsave_in_progress": "1"}
            while info["rdb_bgsave_in_progress"] != "0":
                time.sleep(0.05)
                info = self.client.info()
                self.resident = max(self.resident, rss(self.pid))
                self.images = max(self.images, int(info["snapshot_image_bytes"]) + int(info["snapshot_remembered_bytes"]))
            self.count += 1
            self.statuses.add(info["rdb_last_bgsave_status"])
            self.slices.append(int(info["snapshot_longest_slice_us"]))


def set_apart(args, pid):
    """The workers' threads on the core that is not the client's, all others of the server on the client's."""
    own, workers = set(range(os.cpu_count())) - {args.client_core}, set(workers_of(pid))
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), own if task in workers else {args.client_core})


def during_snapshots(args, server):
    snapshots = Snapshots(server.pid)
    snapshots.start()
    latency = load(args)
    snapshots.ends.set()
    snapshots.join()
    return latency, snapshots


def rounds(args, server, c):
    """Rows of windows without and with snapshots, and the snapshots."""
    plain, during, all_snapshots = [], [], []

    def noted(rows, window):
        c.call("CONFIG", "RESETSTAT")
        switches = preempted(server.pid)
        latency, snapshots = window()
        rows.append(latency | {"turn": longest_turn(c.info()), "preempted": preempted(server.pid) - switches})
        return snapshots

    for _ in range(args.repetitions):
        noted(plain, lambda: (load(args), None))
        before = rss(server.pid)
        all_snapshots.append(noted(during, lambda: during_snapshots(args, server)))
        all_snapshots[-1].resident -= before
    return plain, during, all_snapshots


def report(args, before, plain, during, snapshots):
    def middle(rows, what):
        return statistics.median(row[what] for row in rows)

    print(f"{args.items} items of {args.value} bytes, {args.workers} workers, RSS {before / 2**20:.0f} MiB, "
          f"{f'{args.rate}/s' if args.rate else 'as fast as it goes'} on {args.connections} connections, {args.writes} % writes, medians of "
          f"{args.repetitions} windows of {args.seconds} s")
    for name, rows in (("without", plain), ("during", during)):
        print(f"  {name:8} {middle(rows, 'rate'):.0f}/s, p50 {middle(rows, 'p50'):.0f} us, p99 {middle(rows, 'p99'):.0f}, p99.9 "
              f"{middle(rows, 'p99.9'):.0f}, longest turn {middle(rows, 'turn'):.0f}, preempted {middle(rows, 'preempted'):.0f} times")
    ratios = (f"{what} {statistics.median(d[what] / p[what] for p, d in zip(plain, during)):.2f}" for what in ("rate", "p50", "p99", "p99.9"))
    print(f"  ratios   {', '.join(ratios)}; longest slice {statistics.median(s for each in snapshots for s in each.slices):.0f} us")
    more = max(each.resident for each in snapshots)
    print(f"  {sum(each.count for each in snapshots)} snapshots, status {' '.join(set.union(*(each.statuses for each in snapshots)))}; RSS "
          f"+{max(0, more) / 2**20:.1f} MiB ({more / before:.2%}), of these images and marks at most "
          f"{max(each.images for each in snapshots) / 2**20:.1f} MiB")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build-release")
    p.add_argument("--items", type=int, default=10_000_000)
    p.add_argument("--value", type=int, default=64)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--connections", type=int, default=20)
    p.add_argument("--writes", type=int, default=20, help="percent")
    p.add_argument("--rate", type=int, default=20_000, help="requests/s; 0: as fast as it goes")
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--repetitions", type=int, default=5)
    p.add_argument("--client-core", type=int, default=1)
    p.add_argument("--apart", action="store_true", help="workers share no core with the client and the server's other threads")
    p.add_argument("--appendonly", action="store_true")
    args = p.parse_args()
    folder = tempfile.mkdtemp(prefix="skerry-snapshots-", dir=".")
    command = [os.path.join(args.build, "skerryd"), "--port", str(PORT), "--dir", folder, "--workers", str(args.workers), "--save", "86400 1000000000"]
    server = subprocess.Popen(command + (["--appendonly", "yes"] if args.appendonly else []), stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                c = Client(PORT)
                if c.call("PING") == "+PONG":
                    break
            except OSError:
                pass
            time.sleep(0.1)
        if args.apart:
            set_apart(args, server.pid)
        bench(args, "--preload", "--duration", "0")
        before = rss(server.pid)
        report(args, before, *rounds(args, server, c))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
