#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What durability costs: acknowledged writes a second with appendfsync always beside valkey-server, writes per flush, what a load of
durable writers does to readers, and appendfsync everysec beside no log at all.

    bench/durability.py [--name durability] [--repetitions 3] [--duration 3] [--build build] [--parts writes,flushes,readers,everysec]

Everything interleaved, medians of fresh starts. The data directories lie below --dir: choose the device that is meant, never a tmpfs."""

import argparse
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from compare import ROOT, Failed, Running as Started, Server, bench, machine, first_line, row_of, table

READERS, READ_RATE, WRITERS, WRITE_RATE = 20, 5000, 20, 2000


class Running(Started):
    """A server that has loaded what is there, and looked how its device likes to be written."""

    def __enter__(self):
        running = super().__enter__()
        deadline = time.monotonic() + 30
        while info(self.options).get("loading", "1").strip() != "0":
            if time.monotonic() > deadline:
                self.__exit__()
                raise Failed(f"{self.server.name} is still loading")
            time.sleep(0.02)
        return running


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


def skerryd(options, directory, name, *arguments, workers=1):
    return Server(name, str(pathlib.Path(options.build) / "skerryd"),
                  ["--port", str(options.port), "--bind", "127.0.0.1", "--dir", directory, "--workers", str(workers), *arguments])


def valkey(options, directory, name, *arguments):
    return Server(name, shutil.which("valkey-server"), ["--port", str(options.port), "--bind", "127.0.0.1", "--dir", directory, "--save", "",
                                                        "--protected-mode", "no", "--daemonize", "no", *arguments])


def info(options):
    with socket.create_connection(("127.0.0.1", options.port), timeout=10) as s:
        s.sendall(b"INFO everything\r\n")
        file = s.makefile("rb")
        text = file.read(int(file.readline()[1:]) + 2).decode(errors="replace")
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def window(options):
    return ["--duration", str(options.duration), "--warmup", str(options.warmup), "--value-size", "64"]


def fresh(options):
    return tempfile.TemporaryDirectory(dir=options.dir)


def each(options, servers):
    """(repetition, server factory) in turns."""
    for repetition in range(options.repetitions):
        turn = repetition % len(servers)
        yield from servers[turn:] + servers[:turn]


def writes(options):
    def servers(d):
        return [skerryd(options, d, "skerryd io_uring", "--appendonly", "yes", "--appendfsync", "always", "--io", "uring"),
                skerryd(options, d, "skerryd epoll", "--appendonly", "yes", "--appendfsync", "always", "--io", "epoll"),
                skerryd(options, d, "skerryd io_uring 2 workers", "--appendonly", "yes", "--appendfsync", "always", "--io", "uring", workers=2),
                valkey(options, d, "valkey", "--appendonly", "yes", "--appendfsync", "always")]
    count = len(servers("."))
    rows = {}
    for index in each(options, list(range(count))):
        for pipeline in (1, 16):
            with fresh(options) as d:
                server = servers(d)[index]
                two = "2 workers" in server.name
                with Running(server, options, None if two else options.server_core) as running:
                    answer = row_of(bench(options, ["--mix", "set", "--pipeline", str(pipeline), "--connections", "50"] + window(options),
                                          None if two else str(options.client_core), running.process.pid))
                rows.setdefault((server.name, pipeline), []).append(answer)
                print(f"{server.name:28} P{pipeline:<3} {answer['requests_per_second']:>9.0f}/s  p99 {answer['p99']:.0f} us", flush=True)
    lines = []
    for (name, pipeline), group in sorted(rows.items(), key=lambda item: (item[0][1], item[0][0])):
        rate = statistics.median(r["requests_per_second"] for r in group)
        base = statistics.median(r["requests_per_second"] for r in rows[("valkey", pipeline)])
        lines.append([f"{name} P{pipeline}", f"{rate:,.0f}", f"{statistics.median(r['p50'] for r in group):.0f}",
                      f"{statistics.median(r['p99'] for r in group):.0f}", f"{statistics.median(r['cpu_us'] for r in group):.2f}",
                      f"{rate / base:.2f}"])
    return "## appendfsync always, SET of 64 bytes, 50 connections\n\n" + table(
        ["server", "writes/s", "p50 us", "p99 us", "CPU us/write", "rate / valkey (goal 2 at P1, 3 at P16)"], lines)


def flushes(options):
    lines = []
    for io in ("uring", "epoll"):
        ratios, rates = [], []
        for _ in range(options.repetitions):
            with fresh(options) as d:
                server = skerryd(options, d, io, "--appendonly", "yes", "--appendfsync", "always", "--io", io)
                with Running(server, options, options.server_core) as running:
                    before = info(options)
                    answer = row_of(bench(options, ["--mix", "set", "--pipeline", "1", "--connections", "64"] + window(options),
                                          str(options.client_core), running.process.pid))
                    after = info(options)
            done = int(after["total_commands_processed"]) - int(before["total_commands_processed"])
            ratios.append(done / max(1, int(after["log_flushes"]) - int(before["log_flushes"])))
            rates.append(answer["requests_per_second"])
        lines.append([io, f"{statistics.median(rates):,.0f}", f"{statistics.median(ratios):.1f}"])
    return "## Writes per flush, 64 connections, pipeline 1 (goal 30)\n\n" + table(["backend", "writes/s", "writes per flush"], lines)


def readers_with(options, arguments, rate):
    """p50, p99.9 of readers at a fixed rate while writers write at a fixed rate (0: nobody)."""
    with fresh(options) as d:
        server = skerryd(options, d, "readers", *arguments)
        with Running(server, options, options.server_core) as running:
            bench(options, ["--preload", "--duration", "0", "--value-size", "64"], str(options.client_core))
            writer = None
            if rate:
                writer = subprocess.Popen([str(pathlib.Path(options.build) / "skerry-bench"), "--port", str(options.port), "--mix", "set", "--json",
                                           "--keys", str(options.keys), "--connections", str(WRITERS), "--rate", str(rate), "--cpu",
                                           str(options.client_core), "--duration", str(options.duration + 2), "--warmup", "0", "--seed", "7"],
                                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                time.sleep(0.5)
            answer = row_of(bench(options, ["--mix", "get", "--connections", str(READERS), "--rate", str(READ_RATE)] + window(options),
                                  str(options.client_core), running.process.pid))
            if writer is not None:
                writer.communicate(timeout=60)
    return answer


def readers(options):
    always = ["--appendonly", "yes", "--appendfsync", "always"]
    kinds = [("nobody writes, no log", [], 0), ("writers, no log", [], WRITE_RATE), ("nobody writes, always", always, 0),
             ("writers, always", always, WRITE_RATE)]
    rows = {}
    for name, arguments, rate in each(options, kinds):
        answer = readers_with(options, arguments, rate)
        rows.setdefault(name, []).append(answer)
        print(f"{name:24} p50 {answer['p50']:.0f} p99.9 {answer['p99.9']:.0f} us", flush=True)
    middle = {name: {m: statistics.median(r[m] for r in group) for m in ("p50", "p99", "p99.9")} for name, group in rows.items()}
    lines = [[name, f"{m['p50']:.0f}", f"{m['p99']:.0f}", f"{m['p99.9']:.0f}", f"{m['p99.9'] / middle['writers, no log']['p99.9']:.2f}"]
             for name, m in middle.items()]
    return (f"## Readers ({READ_RATE:,}/s) beside writers ({WRITE_RATE:,}/s), open loop\n\n" +
            table(["", "p50 us", "p99 us", "p99.9 us", "p99.9 / writers without a log (goal 1.1)"], lines))


def everysec(options):
    log = ["--appendonly", "yes", "--appendfsync"]
    kinds = [("no log", []), ("everysec", log + ["everysec"]), ("no", log + ["no"])]
    lines, rows = [], {}
    for name, arguments in each(options, kinds):
        for pipeline in (1, 16):
            with fresh(options) as d:
                with Running(skerryd(options, d, name, *arguments), options, options.server_core) as running:
                    answer = row_of(bench(options, ["--mix", "set", "--pipeline", str(pipeline)] + window(options), str(options.client_core),
                                          running.process.pid))
                rows.setdefault((name, pipeline), []).append(answer)
                print(f"{name:10} P{pipeline:<3} {answer['requests_per_second']:>9.0f}/s", flush=True)
    for (name, pipeline), group in sorted(rows.items(), key=lambda item: (item[0][1], item[0][0])):
        rate = statistics.median(r["requests_per_second"] for r in group)
        base = statistics.median(r["requests_per_second"] for r in rows[("no log", pipeline)])
        lines.append([f"{name} P{pipeline}", f"{rate:,.0f}", f"{statistics.median(r['cpu_us'] for r in group):.2f}", f"{rate / base:.2f}"])
    return "## appendfsync everysec and no beside no log (goal of everysec 0.9)\n\n" + table(["", "writes/s", "CPU us/write", "rate / no log"],
                                                                                            lines)


PARTS = {"writes": writes, "flushes": flushes, "readers": readers, "everysec": everysec}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="durability", help="of the result file")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--duration", type=float, default=3.0)
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--port", type=int, default=16380)
    parser.add_argument("--dir", default=str(ROOT / "build"), help="where the data directories are made")
    parser.add_argument("--build", default=str(ROOT / "build"))
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
    text[-1] += f"{ceiling(options.dir):,.0f} after\n* {options.repetitions} repetitions of {options.duration:g} s, server and client on a core each\n"
    folder = ROOT / "bench" / "results"
    (folder / f"{options.name}.md").write_text("\n".join(text + parts))
    print("\n".join(text + parts))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
