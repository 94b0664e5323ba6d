#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers that are all up at once and are loaded in turns of less than a second: the way to compare builds and settings on a machine
whose speed moves by a quarter from minute to minute. A ratio is the median of the ratios within a turn, by the first server named.

    bench/turns.py 'old=/tmp/old/skerryd --workers 1' 'new=build/skerryd --workers 1'
    bench/turns.py --mix set --pipelines 1,16 'valkey=valkey-server --appendonly yes --appendfsync always' \\
        'ours=build/skerryd --appendonly yes --appendfsync always'

    bench/turns.py --client valkey-benchmark --requests 40000 --mix set --pipelines 1 ...

Port, address and an empty data directory are added; who has no turn is stopped (SIGSTOP). Prints a table.

With --client the load is another client's, which takes valkey-benchmark's arguments: a turn is a number of requests then, CPU time is what
the kernel counted in ticks of 10 ms, and latency is not shown (these clients count it from when they got to sending)."""

import argparse
import contextlib
import copy
import csv
import os
import pathlib
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from compare import ROOT, Failed, Running as Started, Server, bench, first_line, machine, row_of, table


def info(options):
    with socket.create_connection(("127.0.0.1", options.port), timeout=10) as s:
        s.sendall(b"INFO everything\r\n")
        file = s.makefile("rb")
        text = file.read(int(file.readline()[1:]) + 2).decode(errors="replace")
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


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


def cpu_seconds(pid):
    """(user, system) of a process so far."""
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return [int(t) / os.sysconf("SC_CLK_TCK") for t in ticks]


def foreign_row(options, pipeline, core, pid):
    """A turn of a client that we did not write."""
    command = (["taskset", "-c", core] if core else []) + [
        options.client, "-p", str(options.port), "-t", options.mix, "-c", str(options.connections), "-P", str(pipeline), "-d",
        str(options.value_size), "-r", str(options.keys), "-n", str(options.requests * pipeline), "-q", "--csv"]
    before = cpu_seconds(pid)
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    user, system = (after - start for after, start in zip(cpu_seconds(pid), before))
    lines = list(csv.reader(result.stdout.splitlines()))
    if result.returncode != 0 or len(lines) != 2:
        raise Failed(f"{options.client} ended with {result.returncode}: {(result.stderr or result.stdout).strip()}")
    scale = 1e6 / (options.requests * pipeline)
    return {"requests_per_second": float(lines[1][1]), "cpu_us": (user + system) * scale, "user_us": user * scale, "p50": 0, "p99.9": 0}


class Contestant(Running):
    """A server of its own port and directory, which stands still when it has no turn."""

    def __init__(self, options, index, text):
        name, _, command = text.partition("=")
        program, *arguments = shlex.split(command)
        own = copy.copy(options)
        own.port = options.port + index
        self.directory = tempfile.TemporaryDirectory(dir=options.dir)
        arguments = ["--port", str(own.port), "--bind", "127.0.0.1", "--dir", self.directory.name] + arguments
        if "skerry" not in os.path.basename(program):
            arguments = ["--save", "", "--protected-mode", "no"] + arguments
        super().__init__(Server(name, shutil.which(program), arguments), own, None if options.unpinned else options.server_core)
        if not self.server.installed():
            raise Failed(f"{name}: no program {program}")

    def __exit__(self, *what):
        self.go()
        super().__exit__(*what)
        self.directory.cleanup()
        return False

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go(self):
        self.process.send_signal(signal.SIGCONT)

    def turn(self, arguments):
        """One window of skerry-bench's load, and what the server counted meanwhile."""
        return self.counted(lambda core: row_of(bench(self.options, arguments, core, self.process.pid)))

    def foreign_turn(self, pipeline):
        return self.counted(lambda core: foreign_row(self.options, pipeline, core, self.process.pid))

    def counted(self, load):
        self.go()
        before = info(self.options)
        row = load(None if self.options.unpinned else str(self.options.client_core))
        after = info(self.options)
        self.stop()
        flushes = int(after.get("log_flushes", 0)) - int(before.get("log_flushes", 0))
        commands = int(after["total_commands_processed"]) - int(before["total_commands_processed"])
        row["per_flush"] = commands / flushes if flushes > 0 else 0
        return row


def load_all(servers):
    for server in servers:
        bench(server.options, ["--preload", "--duration", "0", "--value-size", str(server.options.value_size)], None)
        server.stop()


def one_turn(options, server, pipeline):
    if options.client:
        return server.foreign_turn(pipeline)
    return server.turn(["--mix", options.mix, "--pipeline", str(pipeline), "--value-size", str(options.value_size),
                        "--duration", str(options.duration), "--warmup", str(options.warmup)])


def measure(options, servers):
    """(pipeline, index) -> rows, one for each round."""
    rows = {}
    load_all(servers)
    for turn in range(options.rounds):
        order = list(enumerate(servers))
        order = order[turn % len(order):] + order[:turn % len(order)]
        for pipeline in options.pipelines:
            for index, server in order:
                rows.setdefault((pipeline, index), []).append(one_turn(options, server, pipeline))
    return rows


def lines_of(servers, rows):
    for (pipeline, index), group in sorted(rows.items()):
        base = rows[pipeline, 0]

        def middle(metric):
            return statistics.median(row[metric] for row in group)

        def ratio(metric):
            return statistics.median(row[metric] / other[metric] for row, other in zip(group, base))

        yield [f"{servers[index].server.name} P{pipeline}", f"{middle('requests_per_second'):,.0f}", f"{ratio('requests_per_second'):.2f}",
               f"{middle('cpu_us'):.3f}", f"{ratio('cpu_us'):.2f}", f"{middle('user_us'):.3f}",
               f"{middle('p50'):.0f}" if middle("p50") else "-", f"{middle('p99.9'):.0f}" if middle("p99.9") else "-", f"{middle('per_flush'):.1f}" if middle("per_flush") else "-"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--mix", default="get", help="as skerry-bench's (get)")
    parser.add_argument("--pipelines", default="1,16,64", type=lambda text: [int(p) for p in text.split(",")])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--duration", type=float, default=0.4, help="seconds of a turn")
    parser.add_argument("--warmup", type=float, default=0.15)
    parser.add_argument("--value-size", type=int, default=64)
    parser.add_argument("--keys", type=int, default=100000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--client", help="a program with valkey-benchmark's arguments that loads instead of skerry-bench")
    parser.add_argument("--requests", type=int, default=40000, help="of a --client's turn, times the pipeline (40000)")
    parser.add_argument("--unpinned", action="store_true", help="servers and client share the cores")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--port", type=int, default=16400, help="of the first server")
    parser.add_argument("--dir", default=str(ROOT / "build"), help="where the data directories are made")
    parser.add_argument("--build", default=str(ROOT / "build"), help="where skerry-bench is")
    options = parser.parse_args()
    pathlib.Path(options.dir).mkdir(exist_ok=True)
    try:
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(Contestant(options, index, text)) for index, text in enumerate(options.servers)]
            rows = measure(options, servers)
            length = f"{options.requests} x pipeline requests by {options.client}" if options.client else f"{options.duration:g} s"
            print(f"{machine()}, commit {first_line(['git', 'rev-parse', '--short', 'HEAD'])}, {options.rounds} turns of {length}, "
                  f"{options.connections} connections, {options.mix} of {options.value_size} bytes\n")
            print(table(["server", "requests/s", "ratio", "CPU us/req", "ratio", "user us/req", "p50 us", "p99.9 us", "requests/flush"],
                        lines_of(servers, rows)))
    except (Failed, OSError) as error:
        sys.exit(f"turns.py: {error}")


if __name__ == "__main__":
    main()
