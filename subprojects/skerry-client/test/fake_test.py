#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every verb of the client against the server that was written from the specification (fake_server.py), with its variants, and the
examples. Usage: fake_test.py HASHER LIVE_TEST [EXAMPLE...]"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HASHER, LIVE, EXAMPLES = sys.argv[1], sys.argv[2], sys.argv[3:]
passed = failed = 0


class Fake:
    def __init__(self, *options):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "fake_server.py"), "--hasher", HASHER, *map(str, options)],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def claim(name, holds, output=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok  ' if holds else 'FAIL'} {name}")
    if not holds:
        print("\n".join("    " + line for line in output.splitlines()[-40:]))


def live(name, *arguments):
    global passed, failed
    done = subprocess.run([LIVE, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=200)
    counts = re.findall(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    p, f = map(int, counts[-1]) if counts else (0, 1)
    passed, failed = passed + p, failed + f
    print(f"{'ok  ' if f == 0 and p else 'FAIL'} {name}")
    if f or not p:
        print("\n".join("    " + line for line in done.stdout.splitlines() if not line.startswith("ok"))[-3000:])


def wait_ready(client, output):
    for line in client.stdout:
        if line == "ready\n":
            return
        output.append(line)


def restart(name, before, after):
    """`before` and `after` are options of the server; the port stays."""
    said = []
    with Fake(*before) as first:
        address, port = first.address, first.port
        client = subprocess.Popen([LIVE, "--restart", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        wait_ready(client, said)
    with Fake("--port", port, *after):
        client.stdin.write("\n")
        wait_ready(client, said)
    client.stdin.write("down\n")
    wait_ready(client, said)
    with Fake("--port", port, *before):
        client.stdin.write("\n")
        output = client.communicate(timeout=120)[0]
    claim(name, client.returncode == 0, "".join(said) + output)


def main():
    with Fake("--shards", 1) as s:
        live("one shard, no direct ports", s.address, "auto", 1, 0)
    for shards in (1, 4):
        with Fake("--shards", shards, "--direct") as s:
            live(f"{shards} shards, direct", s.address, "direct", shards, 1)
            live(f"{shards} shards, fanout", s.address, "fanout", 0, 0)
            for example in EXAMPLES:
                done = subprocess.run([example, s.address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
                claim(f"the example {os.path.basename(example)} runs", done.returncode == 0 and done.stdout, done.stdout)
    with Fake("--shards", 4, "--direct", "--session-prefix", "--password", "secret") as s:
        live("session prefix and password", s.address, "auto", 4, 1, "secret")
    for word in ("--turn", "--turn-pipeline"):
        with Fake("--shards", 4, "--direct", "--turn-after", 250) as s:
            live(f"another topology while connected, {word}", word, s.address)
    restart("a restart as it was", ["--shards", 4, "--direct"], ["--shards", 4, "--direct"])
    restart("a restart with other shards", ["--shards", 2, "--direct"], ["--shards", 8, "--direct", "--epoch", 2])
    restart("a restart without direct ports", ["--shards", 2, "--direct"], ["--shards", 2, "--epoch", 2])
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


sys.exit(main())
