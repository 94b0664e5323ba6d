#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a request costs the server by the way it comes: RESP, FCNP, and FCNP on the ports of its shard, in turns of less than a second at the
same server. A ratio is the median of those within a round.

    bench/protocols.py                                    one worker, server and client pinned apart
    bench/protocols.py --workers 2 --threads 2 --unpinned what requests of other workers' keys cost, and direct ports save
    ... --pin-workers                                     the same with each worker on a core of its own, where the client is, too"""

import argparse
import contextlib
import pathlib
import statistics
import sys

from compare import ROOT, Failed, bench, first_line, machine, table
from turns import Contestant, info

WAYS = {"RESP": [], "FCNP": ["--protocol", "fcnp"], "direct": ["--protocol", "fcnp", "--direct"]}
DIRECT_PORTS = 64  # between two servers


def started(options, stack):
    """backend -> server with its keys loaded, standing still."""
    servers = {}
    for backend in options.io:
        index = len(servers) * DIRECT_PORTS
        command = [str(pathlib.Path(options.build) / "skerryd"), "--io", backend, "--workers", str(options.workers), "--shards",
                   str(options.shards), "--direct-ports", "yes", "--pin", "yes" if options.pin_workers else "no"]
        servers[backend] = stack.enter_context(Contestant(options, index, f"{backend}={' '.join(command)}"))
        bench(servers[backend].options, ["--preload", "--duration", "0", "--value-size", str(options.value_size)], None)
        servers[backend].stop()
    return servers


def turn(options, server, mix, pipeline, way):
    """One window, with the messages between workers that it caused."""
    def messages():
        server.go()
        return int(info(server.options)["mesh_messages"])
    before = messages()
    row = server.turn(["--mix", mix, "--pipeline", str(pipeline), "--value-size", str(options.value_size), "--threads", str(options.threads),
                       "--duration", str(options.duration), "--warmup", str(options.warmup)] + WAYS[way])
    row["messages"] = messages() - before
    server.stop()
    return row


def measure(options, servers):
    """(backend, mix, pipeline) -> way -> rows, one for each round."""
    rows = {}
    for number in range(options.rounds):
        ways = list(WAYS)
        ways = ways[number % len(ways):] + ways[:number % len(ways)]
        for backend, server in servers.items():
            for mix in options.mixes:
                for pipeline in options.pipelines:
                    for way in ways:
                        row = turn(options, server, mix, pipeline, way)
                        rows.setdefault((backend, mix, pipeline), {}).setdefault(way, []).append(row)
    return rows


def ratio(some, others):
    all_of = [a["cpu_us"] / b["cpu_us"] for a, b in zip(some, others)]
    return f"{statistics.median(all_of):.2f} ({min(all_of):.2f}-{max(all_of):.2f})"


def lines_of(rows):
    for (backend, mix, pipeline), ways in rows.items():
        def middle(way, metric):
            return statistics.median(row[metric] for row in ways[way])
        costs = [f"{middle(way, 'cpu_us'):.3f} ({middle(way, 'user_us'):.3f})" for way in WAYS]
        yield ([f"{backend}, {mix}, pipeline {pipeline}"] + costs +
               [ratio(ways["RESP"], ways["direct"]), ratio(ways["FCNP"], ways["direct"]),
                " / ".join(f"{middle(way, 'messages'):,.0f}" for way in WAYS)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--io", default="uring,epoll", type=lambda text: text.split(","))
    parser.add_argument("--mixes", default="get,set", type=lambda text: text.split(","))
    parser.add_argument("--pipelines", default="16,64", type=lambda text: [int(p) for p in text.split(",")])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of the client")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--duration", type=float, default=0.3, help="seconds of a turn")
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--value-size", type=int, default=64)
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--unpinned", action="store_true", help="server and client share the cores")
    parser.add_argument("--pin-workers", action="store_true", help="each worker to a core of its own; the client has all of them")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--port", type=int, default=16500, help="of the first server; direct ports follow each")
    parser.add_argument("--dir", default=str(ROOT / "build"), help="where the data directories are made")
    parser.add_argument("--build", default=str(ROOT / "build"), help="where skerryd and skerry-bench are")
    options = parser.parse_args()
    if options.duration < 0.2:
        parser.error("--duration: CPU time of less than 0.2 s cannot be told")
    if options.pin_workers and not options.unpinned:
        parser.error("--pin-workers: only --unpinned, or all of them would have --server-core")
    if options.shards >= DIRECT_PORTS:
        parser.error(f"--shards: fewer than {DIRECT_PORTS}")
    pathlib.Path(options.dir).mkdir(exist_ok=True)
    try:
        with contextlib.ExitStack() as stack:
            rows = measure(options, started(options, stack))
    except (Failed, OSError) as error:
        sys.exit(f"protocols.py: {error}")
    print(f"{machine()}, commit {first_line(['git', 'rev-parse', '--short', 'HEAD'])}, {options.workers} worker(s) of {options.shards} shards"
          f"{', pinned' if options.pin_workers else ''}, {options.rounds} rounds of {options.duration:g} s, {options.connections} connections, "
          f"{options.value_size} bytes; CPU us a request (of which user)\n")
    print(table(["", "RESP", "FCNP", "direct", "RESP / direct", "FCNP / direct", "messages of a turn"], lines_of(rows)))


if __name__ == "__main__":
    main()
