#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What durability costs: acknowledged writes a second with appendfsync always beside valkey-server, writes per flush, what a load of
durable writers does to readers, and appendfsync everysec and no beside no log at all.

    bench/durability.py [--name durability] [--rounds 9] [--build build] [--parts writes,flushes,readers,everysec]

All servers of a part are up at once and loaded in turns (turns.py); ratios are medians of the ratios within a turn. The data directories lie
below --dir: choose the device that is meant, never a tmpfs."""

import argparse
import contextlib
import copy
import os
import pathlib
import statistics
import subprocess
import sys
import time

from compare import ROOT, Failed, first_line, machine, table
from turns import Contestant, load_all, measure

READERS, READ_RATE, WRITERS, WRITE_RATE = 20, 5000, 20, 2000
READERS_S = 1.5  # of a turn: p99.9 wants some thousand reads
ALWAYS = "--appendonly yes --appendfsync always"


def ceiling(directory, seconds=1.0):
    """The bare device: 4 KiB at a time into written zeros, O_DIRECT, each followed by fdatasync."""
    import mmap
    size = 4 << 20
    path = os.path.join(directory, "ceiling")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    page = mmap.mmap(-1, size)
    try:
        os.pwrite(fd, page, 0)
        os.fsync(fd)
        block, count, began = memoryview(page)[:4096], 0, time.monotonic()
        while time.monotonic() - began < seconds:
            os.pwrite(fd, block, count * 4096 % size)
            os.fdatasync(fd)
            count += 1
        return count / (time.monotonic() - began)
    finally:
        os.close(fd)
        os.unlink(path)


def skerryd(options, name, arguments):
    return f"{name}={pathlib.Path(options.build) / 'skerryd'} {arguments}"


def started(stack, options, commands):
    """Two workers do not fit on one core: they and their client share all."""
    servers = []
    for index, command in enumerate(commands):
        own = copy.copy(options)
        own.unpinned = "--workers 2" in command
        servers.append(stack.enter_context(Contestant(own, index, command)))
    return servers


def with_connections(options, count):
    own = copy.copy(options)
    own.connections = count
    return own


def middle(group, metric):
    return statistics.median(row[metric] for row in group)


def ratio(group, base, metric="requests_per_second"):
    return statistics.median(row[metric] / other[metric] for row, other in zip(group, base))


def lines_of(servers, rows):
    for (pipeline, index), group in sorted(rows.items()):
        yield [f"{servers[index].server.name} P{pipeline}", f"{middle(group, 'requests_per_second'):,.0f}", f"{middle(group, 'p50'):.0f}",
               f"{middle(group, 'p99'):.0f}", f"{middle(group, 'cpu_us'):.3f}", f"{ratio(group, rows[pipeline, 0]):.2f}"]


def compared(options, commands, title, column):
    with contextlib.ExitStack() as stack:
        servers = started(stack, options, commands)
        return title + "\n\n" + table(["server", "writes/s", "p50 us", "p99 us", "CPU us/write", column],
                                      lines_of(servers, measure(options, servers)))


def writes(options):
    commands = [f"valkey=valkey-server {ALWAYS}", skerryd(options, "skerryd io_uring", f"--io uring --workers 1 {ALWAYS}"),
                skerryd(options, "skerryd epoll", f"--io epoll --workers 1 {ALWAYS}"),
                skerryd(options, "skerryd io_uring 2 workers", f"--io uring --workers 2 {ALWAYS}")]
    return compared(with_connections(options, 50), commands, "## appendfsync always, SET of 64 bytes, 50 connections",
                    "rate / valkey (goal 2 at P1, 3 at P16)")


def everysec(options):
    log = "--workers 1 --appendonly yes --appendfsync"
    commands = [skerryd(options, "no log", "--workers 1"), skerryd(options, "everysec", f"{log} everysec"), skerryd(options, "no", f"{log} no")]
    return compared(options, commands, f"## appendfsync everysec and no beside no log, {options.connections} connections (goal of everysec 0.9)",
                    "rate / no log")


def flushes(options):
    own = with_connections(options, 64)
    own.pipelines = [1]
    with contextlib.ExitStack() as stack:
        servers = started(stack, own, [skerryd(options, io, f"--io {io} --workers 1 {ALWAYS}") for io in ("uring", "epoll")])
        rows = measure(own, servers)
    lines = [[servers[index].server.name, f"{middle(group, 'requests_per_second'):,.0f}", f"{middle(group, 'per_flush'):.1f}"]
             for (_, index), group in sorted(rows.items())]
    return "## Writes per flush, 64 connections, pipeline 1 (goal 30)\n\n" + table(["backend", "writes/s", "writes per flush"], lines)


def readers_turn(options, server, written):
    """p50, p99, p99.9 of readers at a fixed rate, while writers write at a fixed rate or nobody does."""
    load, writer = ["--mix", "get", "--rate", str(READ_RATE), "--duration", str(READERS_S), "--warmup", str(options.warmup)], None
    server.go()
    if written:
        writer = subprocess.Popen([str(pathlib.Path(options.build) / "skerry-bench"), "--port", str(server.options.port), "--mix", "set", "--json",
                                   "--keys", str(options.keys), "--connections", str(WRITERS), "--rate", str(WRITE_RATE), "--cpu",
                                   str(options.client_core), "--duration", str(READERS_S + 1), "--warmup", "0", "--seed", "7"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
    try:
        return server.turn(load)
    finally:
        if writer is not None:
            server.go()
            writer.communicate(timeout=60)
            server.stop()


def readers(options):
    own = with_connections(options, READERS)
    rows = {}
    with contextlib.ExitStack() as stack:
        servers = started(stack, own, [skerryd(options, "no log", "--workers 1"), skerryd(options, "always", f"--workers 1 {ALWAYS}")])
        load_all(servers)
        kinds = [(server, written) for written in (True, False) for server in servers]
        for turn in range(options.rounds):
            at = turn % len(kinds)
            for server, written in kinds[at:] + kinds[:at]:
                name = f"{'writers' if written else 'nobody writes'}, {server.server.name}"
                rows.setdefault(name, []).append(readers_turn(own, server, written))
    lines = [[name] + [f"{middle(group, p):.0f}" for p in ("p50", "p99", "p99.9")] + [f"{ratio(group, rows['writers, no log'], 'p99.9'):.2f}"]
             for name, group in sorted(rows.items())]
    return (f"## Readers ({READ_RATE:,}/s) beside writers ({WRITE_RATE:,}/s), open loop, turns of {READERS_S:g} s\n\n" +
            table(["", "p50 us", "p99 us", "p99.9 us", "p99.9 / writers without a log (goal 1.1)"], lines))


PARTS = {"writes": writes, "flushes": flushes, "readers": readers, "everysec": everysec}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="durability", help="of the result file")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--duration", type=float, default=0.4, help="seconds of a turn")
    parser.add_argument("--warmup", type=float, default=0.15)
    parser.add_argument("--keys", type=int, default=100000)
    parser.add_argument("--connections", type=int, default=50, help="of everysec's part")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--port", type=int, default=16380, help="of the first server")
    parser.add_argument("--dir", default=str(ROOT / "build"), help="where the data directories are made")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.set_defaults(mix="set", pipelines=[1, 16], value_size=64, client=None)
    options = parser.parse_args()
    text = [f"# {options.name}\n", f"* commit {first_line(['git', 'rev-parse', '--short', 'HEAD'])}\n* {machine()}\n"
            f"* {first_line(['valkey-server', '--version'])}\n* bare device, 4 KiB + fdatasync one at a time: "
            f"{ceiling(options.dir):,.0f} flushes/s before, "]
    failed = False
    parts = []
    for part in options.parts.split(","):
        try:
            parts.append(PARTS[part](options))
        except (Failed, OSError, KeyError, subprocess.TimeoutExpired) as error:
            failed = True
            parts.append(f"## {part}\n\nfailed: {error!r}\n")
    text[-1] += f"{ceiling(options.dir):,.0f} after\n* {options.rounds} turns of {options.duration:g} s, server and client on a core each\n"
    folder = ROOT / "bench" / "results"
    (folder / f"{options.name}.md").write_text("\n".join(text + parts))
    print("\n".join(text + parts))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
