#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What commands over several shards cost, beside the same commands on one shard; and what they do to everybody else.

    bench/transactions.py [--build build] [--rounds 5] [--io uring] [--results NAME]

Cost: 50 connections send batches of 16 requests; the server's CPU time comes from its threads, messages from INFO. Tail: single-key
requests at a fixed rate, without and with 5 % of two-key MSETs over shards of both workers beside them. Everything interleaved, medians."""

import argparse
import json
import os
import pathlib
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS, PIPELINE, SHARDS = 50, 16, 8


def encode(*words):
    out = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(word), word)
    return out


class Server:
    def __init__(self, options):
        self.port, self.base = options.port, options.port + 1
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [str(pathlib.Path(options.build) / "skerryd"), "--port", str(self.port), "--io", options.io, "--workers", "2", "--shards",
             str(SHARDS), "--direct-ports", "yes", "--direct-base-port", str(self.base), "--dir", self.folder.name],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                self.connect().close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit("the server did not start")

    def connect(self, port=None):
        s = socket.create_connection(("127.0.0.1", port or self.port), timeout=30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def cpu_seconds(self):
        """Nanoseconds on a processor, of all threads."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def counters(self):
        with self.connect() as s:
            s.sendall(encode("INFO", "stats"))
            text = b""
            while b"\r\n\r\n" not in text and not text.endswith(b"sends_short:0\r\n\r\n"):
                text += s.recv(65536)
                if text.count(b"\r\n") > 3 and int(text[1:text.index(b"\r\n")]) + text.index(b"\r\n") + 4 <= len(text):
                    break
        fields = dict(line.split(b":", 1) for line in text.split(b"\r\n") if b":" in line)
        return {name: int(fields[name.encode()]) for name in ("requests_forwarded", "mesh_messages")}

    def shard_of(self, key):
        """The port of its own shard takes the key, the others refuse it."""
        for shard in range(SHARDS):
            with self.connect(self.base + shard) as s:
                s.sendall(encode("EXISTS", key))
                if s.recv(200).startswith(b":"):
                    return shard
        raise SystemExit(f"no shard takes {key}")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.folder.cleanup()


def keys_by_shard(server, wanted):
    found, n = {shard: [] for shard in range(SHARDS)}, 0
    while min(map(len, found.values())) < wanted:
        key = f"key:{n:012d}"
        n += 1
        shard = server.shard_of(key)
        if len(found[shard]) < wanted:
            found[shard].append(key)
    return found


def workloads(keys):
    """name -> (bytes of one batch, replies' length, requests in it); shards 0 and 1 belong to different workers, 0 and 2 to one."""
    value = "v" * 64

    def batch(request, reply):
        return request * PIPELINE, len(reply) * PIPELINE, PIPELINE

    def multi(names):
        return encode("MULTI") + b"".join(encode("SET", name, value) for name in names) + encode("EXEC")

    queued = b"+OK\r\n" + b"+QUEUED\r\n" * 4 + b"*4\r\n" + b"+OK\r\n" * 4
    return {
        "SET": lambda c: batch(encode("SET", keys[0][c % 4], value), b"+OK\r\n"),
        "MSET 2 keys, one shard": lambda c: batch(encode("MSET", keys[0][c % 4], value, keys[0][4 + c % 4], value), b"+OK\r\n"),
        "MSET 2 keys, two shards of one worker": lambda c: batch(encode("MSET", keys[0][c % 8], value, keys[2][c % 8], value), b"+OK\r\n"),
        "MSET 2 keys, two workers": lambda c: batch(encode("MSET", keys[0][c], value, keys[1][c], value), b"+OK\r\n"),
        "MGET 2 keys, two workers": lambda c: batch(encode("MGET", keys[0][c], keys[1][c]), (b"$64\r\n" + b"v" * 64 + b"\r\n") * 2 + b"*2\r\n"),
        "MULTI of 4 SETs, one shard": lambda c: batch(multi([keys[0][c]] * 4), queued),
        "MULTI of 4 SETs, four shards of two workers": lambda c: batch(multi([keys[shard][c] for shard in range(4)]), queued),
    }


def run_load(server, make, seconds):
    """Closed loop over all connections; (CPU us, messages, forwarded) per request."""
    selector = selectors.DefaultSelector()
    for c in range(CONNECTIONS):
        s = server.connect()
        selector.register(s, selectors.EVENT_READ, [make(c), 0])
    before, cpu, end, done = server.counters(), server.cpu_seconds(), time.monotonic() + seconds, 0
    for entry in list(selector.get_map().values()):
        entry.fileobj.sendall(entry.data[0][0])
        entry.data[1] = entry.data[0][1]
    open_batches = CONNECTIONS
    while open_batches > 0:
        for entry, _ in selector.select(5):
            (request, reply, count), due = entry.data
            got = entry.fileobj.recv(1 << 20)
            if not got or got.startswith(b"-"):
                raise SystemExit(f"the server answered {got[:100]!r}")
            due -= len(got)
            if due == 0:
                done += count
                if time.monotonic() < end:
                    entry.fileobj.sendall(request)
                    due = reply
                else:
                    open_batches -= 1
            entry.data[1] = due
    used, after = server.cpu_seconds() - cpu, server.counters()
    for entry in list(selector.get_map().values()):
        entry.fileobj.close()
    return used * 1e6 / done, (after["mesh_messages"] - before["mesh_messages"]) / done, \
        (after["requests_forwarded"] - before["requests_forwarded"]) / done


def tail(options, beside):
    """p99 and p99.9 of single-key requests at a fixed rate; `beside` is the mix of a second client at 5 % of it, or None."""
    bench = [str(pathlib.Path(options.build) / "skerry-bench"), "--port", str(options.port), "--keys", "100000", "--json", "--timeout", "60"]
    other = None
    if beside:
        other = subprocess.Popen(bench + ["--mix", beside, "--batch", "2", "--rate", str(options.rate // 20), "--connections", "10", "--duration",
                                          str(options.seconds + 1)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answer = subprocess.run(bench + ["--mix", "get:80,set:20", "--rate", str(options.rate), "--connections", "50", "--duration",
                                     str(options.seconds)], capture_output=True, text=True, check=True)
    if other:
        other.wait()
    latency = json.loads(answer.stdout)["latency_us"]
    return latency["p99"], latency["p99.9"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build")
    p.add_argument("--io", default="uring")
    p.add_argument("--port", type=int, default=20300)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.5)
    p.add_argument("--rate", type=int, default=20000)
    p.add_argument("--results", help="write bench/results/NAME.md")
    options = p.parse_args()
    server = Server(options)
    try:
        loads = workloads(keys_by_shard(server, CONNECTIONS))
        rows = {name: [] for name in loads}
        tails = {name: [] for name in ("nothing", "set", "mset")}
        subprocess.run([str(pathlib.Path(options.build) / "skerry-bench"), "--port", str(options.port), "--keys", "100000", "--preload",
                        "--duration", "0"], check=True, stdout=subprocess.DEVNULL)
        for _ in range(options.rounds):
            for name, make in loads.items():
                rows[name].append(run_load(server, make, options.seconds))
            for name in tails:
                tails[name].append(tail(options, None if name == "nothing" else name))
    finally:
        server.stop()
    base = rows["SET"]
    text = f"{options.rounds} rounds, {options.io}, 2 workers, {SHARDS} shards, {os.cpu_count()} cores shared by server and client\n\n"
    text += "| request | CPU us | beside SET | blocks in the mesh | messages forwarded |\n| --- | ---: | ---: | ---: | ---: |\n"
    for name, row in rows.items():
        ratio = statistics.median(r[0] / b[0] for r, b in zip(row, base))
        text += f"| {name} | {statistics.median(r[0] for r in row):.2f} | {ratio:.2f} | {statistics.median(r[1] for r in row):.2f} | " \
                f"{statistics.median(r[2] for r in row):.2f} |\n"
    text += f"\nSingle-key requests at {options.rate}/s; beside them a second client at 5 % of that rate:\n\n"
    text += "| beside | p99 us | p99.9 us | p99.9 / without |\n| --- | ---: | ---: | ---: |\n"
    names = {"nothing": "nothing", "set": "SET", "mset": "MSET of 2 keys, mostly on two workers or shards"}
    for name, row in tails.items():
        ratio = statistics.median(r[1] / b[1] for r, b in zip(row, tails["nothing"]))
        text += f"| {names[name]} | {statistics.median(r[0] for r in row):.0f} | {statistics.median(r[1] for r in row):.0f} | {ratio:.2f} |\n"
    print(text)
    if options.results:
        (HERE / "results" / f"{options.results}.md").write_text(f"# {options.results}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
