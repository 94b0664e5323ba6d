#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a start reads what is there: items a second and worker from the log and from a snapshot, beside the disk's sequential read rate.

    bench/recovery.py [--items 5000000] [--value 64] [--workers 1,2] [--repetitions 3] [--build build] [--dir build]

Fills a server, stops it, and starts it again: the time is what the server says it took to load. Everything is read with O_DIRECT, so no
cache of pages helps. The folder lies below --dir: choose the device that is meant."""

import argparse
import mmap
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from compare import ROOT, Failed, machine, first_line, table
from snapshots import Client

PORT = 16390
LOADED = re.compile(r"loaded (\d+) entries and (\d+) records \((\d+) bytes\) in ([\d.]+) s")


def read_rate(folder):
    """MB/s: the folder's large files from end to end, 1 MiB at a time."""
    block, size, began = mmap.mmap(-1, 1 << 20), 0, time.monotonic()
    for path in sorted(pathlib.Path(folder).rglob("*.skry")):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            at = 0
            while (n := os.preadv(fd, [block], at)) > 0:
                at += n
            size += at
        finally:
            os.close(fd)
    return size / (time.monotonic() - began) / 1e6


class Run:
    """A server on `folder`, pinned to as many cores as it has workers; its log is kept."""

    def __init__(self, args, folder, workers):
        self.path = os.path.join(folder, "server.log")
        command = [os.path.join(args.build, "skerryd"), "--port", str(PORT), "--bind", "127.0.0.1", "--dir", folder, "--workers", str(workers),
                   "--shards", "2", "--appendonly", "yes", "--appendfsync", "everysec", "--save", "86400 1000000000"]
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while True:
            try:
                self.client = Client(PORT)
                if self.client.call("PING") == "+PONG" and self.client.info().get("loading") == "0":
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise Failed("the server did not start:\n" + pathlib.Path(self.path).read_text()[-500:])
            time.sleep(0.02)

    def loaded(self):
        """(entries and records, bytes, seconds)"""
        found = LOADED.search(pathlib.Path(self.path).read_text())
        if found is None:
            raise Failed("the server did not say how long it took to load")
        return int(found[1]) + int(found[2]), int(found[3]), float(found[4])

    def stop(self):
        self.process.terminate()
        if self.process.wait(120) != 0:
            raise Failed("the server did not stop well")


def fill(args):
    subprocess.run([os.path.join(args.build, "skerry-bench"), "--port", str(PORT), "--preload", "--duration", "0", "--keys", str(args.items),
                    "--value-size", str(args.value)], check=True, stdout=subprocess.DEVNULL)


def snapshot(client):
    reply = client.call("BGSAVE")
    if not reply.startswith("+"):
        raise Failed(f"BGSAVE: {reply}")
    while client.info()["rdb_bgsave_in_progress"] != "0":
        time.sleep(0.05)


def measure(args, folder, kind, lines):
    for workers in args.workers:
        rates, shares, disk = [], [], read_rate(folder)
        for _ in range(args.repetitions):
            run = Run(args, folder, workers)
            items, size, seconds = run.loaded()
            run.stop()
            if items < args.items:
                raise Failed(f"{items} items came back of {args.items}")
            rates.append(items / seconds / workers / 1e6)
            shares.append(size / seconds / 1e6)
        rate = statistics.median(rates)
        lines.append([f"{kind}, {workers} workers", f"{rate:.2f}", "yes" if rate >= 2 else "**no**", f"{statistics.median(shares):.0f}", f"{disk:.0f}"])
        print(" ".join(lines[-1]), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--items", type=int, default=5_000_000)
    p.add_argument("--value", type=int, default=64)
    p.add_argument("--workers", type=lambda text: [int(w) for w in text.split(",")], default=[1, 2])
    p.add_argument("--repetitions", type=int, default=3)
    p.add_argument("--build", default=str(ROOT / "build"))
    p.add_argument("--dir", default=str(ROOT / "build"))
    p.add_argument("--name", default="", help="also write bench/results/NAME.md")
    args = p.parse_args()
    folder, lines = tempfile.mkdtemp(prefix="skerry-recovery-", dir=args.dir), []
    try:
        run = Run(args, folder, 1)
        fill(args)
        run.stop()
        measure(args, folder, "log", lines)
        run = Run(args, folder, 1)
        snapshot(run.client)
        run.stop()
        measure(args, folder, "snapshot", lines)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = (f"# Recovery\n\n* commit {first_line(['git', 'rev-parse', '--short', 'HEAD'])}\n* {machine()}\n* {args.items:,} strings of {args.value} "
            f"bytes; medians of {args.repetitions} starts\n\n" +
            table(["from", "million items/s and worker", "goal 2 met", "MB/s of it", "disk alone, MB/s"], lines))
    print(text)
    if args.name != "":
        (ROOT / "bench" / "results" / f"{args.name}.md").write_text(text)


if __name__ == "__main__":
    main()
