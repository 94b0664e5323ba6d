#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server against its limits: a bare echo server, valkey, the other backend, and itself with one worker. All servers are up at once and
are loaded in turns of half a second, so that a machine whose speed moves by a quarter from minute to minute moves all of them; a ratio is
the median of the ratios within a round. A turn during which others had more than a tenth of a core is taken again.

    bench/limits.py pinned       one worker and its rivals on one core, the client on another
    bench/limits.py workers      one worker and two, and the client, on all cores as the kernel likes
    bench/limits.py shared       one worker and two on one core, the client on another: what travelling costs where nobody has to be woken elsewhere

Echo sends 64 bytes both ways: GET of 64-byte values has 107 bytes (36 there, 71 back), SET 112 (107 and 5). Prints tables."""

import argparse
import contextlib
import copy
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

from compare import ECHO_SHARE, ROOT, VALKEY_CPU, Failed, Running, Server, bench, first_line, machine, rival_arguments, row_of, table

WORKERS_GOAL = 1.5
TRIES = 5


def contestants(options):
    """(name, program, arguments, echo) of the group."""
    build = pathlib.Path(options.build)
    if options.group != "pinned":
        for io in ("uring", "epoll"):
            for workers in (1, 2):
                arguments = ["--io", io, "--workers", str(workers), "--shards", "2", "--bind", "127.0.0.1"]
                yield f"{io} {workers}w", build / "skerryd", arguments, False
        return
    for io in ("uring", "epoll"):
        yield f"echo {io}", build / "skerry-echo", ["--io", io], True
        yield f"skerryd {io}", build / "skerryd", ["--io", io, "--workers", "1", "--shards", "1", "--bind", "127.0.0.1"], False
    valkey = shutil.which("valkey-server")
    if valkey is not None:
        yield "valkey", pathlib.Path(valkey), None, False


def start(options, stack, index, name, program, arguments, echo):
    own = copy.copy(options)
    own.port = options.port + index
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    if arguments is None:
        arguments = rival_arguments(own.port, directory)
    else:
        arguments = ["--port", str(own.port)] + ([] if echo else ["--dir", directory]) + arguments
    server = Server(name, str(program), arguments, echo)
    if not server.installed():
        raise Failed(f"no {program}; build first")
    running = stack.enter_context(Running(server, own, options.server_core if options.group != "workers" else None))
    if not echo:
        bench(own, ["--preload", "--duration", "0", "--value-size", "64"], None)
    return running


def processor_time():
    """(busy, all) of all cores since the machine started."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def turn(options, running, mix, pipeline):
    client = str(options.client_core) if options.group != "workers" else None
    load = ["--mix", "echo" if running.server.echo else mix, "--pipeline", str(pipeline), "--value-size", "64",
            "--duration", str(options.duration), "--warmup", "0.1"]
    for _ in range(TRIES):
        before = processor_time()
        row = row_of(bench(running.options, load, client, running.process.pid))
        after = processor_time()
        others = (after[0] - before[0]) / (after[1] - before[1]) * options.cores - row["cores"] - row["client_cores"]
        if others < 0.15: # what the client's start and end cost is among it
            return row
        time.sleep(1)
    options.disturbed += 1
    return row


def measure(options, servers):
    """(mix, pipeline, name) -> rows, one for each round."""
    rows = {}
    for number in range(options.rounds):
        order = servers[number % len(servers):] + servers[:number % len(servers)]
        for pipeline in options.pipelines:
            for mix in ("get", "set"):
                for running in order:
                    rows.setdefault((mix, pipeline, running.server.name), []).append(turn(options, running, mix, pipeline))
    return rows


def against(rows, mix, pipeline, one, other, metric):
    """Median, least and greatest of one's figure divided by the other's within a round."""
    if (mix, pipeline, other) not in rows:
        return None
    ratios = [a[metric] / b[metric] for a, b in zip(rows[mix, pipeline, one], rows[mix, pipeline, other])]
    return statistics.median(ratios), min(ratios), max(ratios)


def said(ratio, goal, least):
    if ratio is None:
        return "-"
    met = "" if goal is None else " yes" if (ratio[0] >= goal) == least or ratio[0] == goal else " **no**"
    return f"{ratio[0]:.2f} ({ratio[1]:.2f}-{ratio[2]:.2f}){met}"


def absolute(rows, mix, pipeline, name):
    def middle(metric):
        return statistics.median(row[metric] for row in rows[mix, pipeline, name])
    return [f"{middle('requests_per_second'):,.0f}", f"{middle('cpu_us'):.3f}", f"{middle('user_us'):.3f}", f"{middle('p50'):.0f}"]


def pinned_lines(options, rows):
    for pipeline in options.pipelines:
        for mix in ("get", "set"):
            for io in ("uring", "epoll"):
                name = f"skerryd {io}"
                yield [f"{mix} P{pipeline} {io}", *absolute(rows, mix, pipeline, name),
                       said(against(rows, mix, pipeline, name, f"echo {io}", "requests_per_second"), ECHO_SHARE.get(pipeline), True),
                       said(against(rows, mix, pipeline, f"echo {io}", name, "cpu_us"), None, True),
                       said(against(rows, mix, pipeline, "valkey", name, "cpu_us"), VALKEY_CPU.get(pipeline), True),
                       said(against(rows, mix, pipeline, "skerryd epoll", name, "cpu_us"), 1.0, True) if io == "uring" else "-"]


def worker_lines(options, rows):
    for pipeline in options.pipelines:
        for mix in ("get", "set"):
            for io in ("uring", "epoll"):
                one, two = f"{io} 1w", f"{io} 2w"
                yield [f"{mix} P{pipeline} {io}", absolute(rows, mix, pipeline, one)[0], absolute(rows, mix, pipeline, one)[1],
                       *absolute(rows, mix, pipeline, two)[:3],
                       said(against(rows, mix, pipeline, two, one, "cpu_us"), WORKERS_GOAL if pipeline >= 16 else None, False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=["pinned", "workers", "shared"])
    parser.add_argument("--pipelines", default="1,16,64", type=lambda text: [int(p) for p in text.split(",")])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--duration", type=float, default=0.4, help="seconds of a turn")
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--port", type=int, default=16500, help="of the first server")
    parser.add_argument("--build", default=str(ROOT / "build"))
    options = parser.parse_args()
    options.cores, options.disturbed = len(list(pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*"))), 0
    try:
        with contextlib.ExitStack() as stack:
            rows = measure(options, [start(options, stack, index, *what) for index, what in enumerate(contestants(options))])
    except (Failed, OSError) as error:
        sys.exit(f"limits.py: {error}")
    commit = first_line(["git", "rev-parse", "--short", "HEAD"])
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, commit {commit}, {machine()}, {options.rounds} rounds of {options.duration:g} s, "
          f"{options.connections} connections, {options.keys:,} keys; turns that stayed disturbed: {options.disturbed}\n")
    if options.group == "pinned":
        print(table(["", "requests/s", "CPU us", "user us", "p50 us", "rate / echo", "echo CPU / ours", "valkey CPU / ours",
                     "epoll CPU / uring"], pinned_lines(options, rows)))
        for (mix, pipeline, name) in rows:
            if mix == "get" and "skerryd" not in name:
                print(f"{name} P{pipeline}: {', '.join(absolute(rows, mix, pipeline, name))}")
    else:
        print(table(["", "1 worker/s", "CPU us", "2 workers/s", "CPU us", "user us", "2 workers' CPU / 1 worker's"],
                    worker_lines(options, rows)))


if __name__ == "__main__":
    main()
