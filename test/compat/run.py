#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that others wrote for Redis against skerryd: redis-py, go-redis, node-redis, ioredis, hiredis, redis-cli and the two
benchmark programs. What is not on this machine is skipped, with the reason. Usage: run.py --build build [--server-cmd CMD]"""

import argparse
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORK = os.path.join(ROOT, "build-compat")
sys.path[:0] = [os.path.join(ROOT, "test", "server"), os.path.join(ROOT, "test")]

import harness
import test_fcnp_direct

passed = failed = 0


class Missing(Exception):
    pass


def run(command, seconds=120, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, text=True,
                          errors="replace", **options)


def prepare(command, what, seconds=240, **options):
    done = run(command, seconds, **options)
    if done.returncode != 0:
        raise Missing(f"{what}: {' '.join(done.stdout.split())[-200:]}")


def need(program):
    if not shutil.which(program):
        raise Missing(f"no {program} here")
    return program


def redis_py(server):
    python = os.path.join(WORK, "venv", "bin", "python")
    if not os.path.exists(python):
        prepare([sys.executable, "-m", "venv", os.path.join(WORK, "venv")], "no virtual environment")
    if run([python, "-c", "import redis"]).returncode != 0:
        prepare([python, "-m", "pip", "install", "-q", "redis>=5.0,<9"], "redis-py could not be installed")
    return [[python, os.path.join(HERE, "redis_py.py"), str(server.port), protocol] for protocol in "23"]


def skerry_client_py(server):
    """Our own package, built from the tree: against this server, and against one with direct ports and a password."""
    if server.config.stand_in:
        raise Missing("speaks FCNP")
    python = os.path.join(WORK, "venv", "bin", "python")
    package = os.path.join(ROOT, "subprojects", "skerry-client", "python")
    if not hasattr(skerry_client_py, "built"):  # once a run: an older one may lie there
        if not os.path.exists(python):
            prepare([sys.executable, "-m", "venv", os.path.join(WORK, "venv")], "no virtual environment")
        prepare([python, "-m", "pip", "install", "-q", "cffi>=1.15", "setuptools>=61", "wheel"], "cffi could not be installed")
        done = run([python, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--force-reinstall", package], 240)
        skerry_client_py.built = done.returncode == 0
        claim("pip installs the client's Python package", skerry_client_py.built, done.stdout)
    if not skerry_client_py.built:
        return []
    program = [python, os.path.join(package, "tests", "test_skerry_client.py")]
    with test_fcnp_direct.start(server.config, "--requirepass", "secret") as direct:
        done = run(program + [f"127.0.0.1:{direct.port}", "direct", str(direct.config.shards), "1", "secret"])
        count_last_line(f"skerry_client_py direct [{direct.config}]", done.stdout, done.returncode)
    return [program + [f"127.0.0.1:{server.port}", "auto", str(server.config.shards), "0"]]


def go_redis(server):
    need("go")
    program = os.path.join(WORK, "go-client")
    if not os.path.exists(program):
        prepare(["go", "build", "-o", program, "."], "go-redis could not be built", cwd=os.path.join(HERE, "go"))
    return [[program, str(server.port), protocol] for protocol in "23"]


def node(server):
    need("npm")
    folder = os.path.join(WORK, "node")
    os.makedirs(folder, exist_ok=True)
    for name in ("package.json", "main.js"):
        shutil.copy(os.path.join(HERE, "node", name), folder)
    if not os.path.exists(os.path.join(folder, "node_modules", "ioredis")):
        prepare(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], "node packages could not be installed", cwd=folder)
    return [[need("node"), os.path.join(folder, "main.js"), str(server.port)]]


def hiredis(server):
    program = os.path.join(WORK, "hiredis")
    prepare([need("cc"), "-Wall", "-Wextra", "-o", program, os.path.join(HERE, "hiredis.c"), "-lhiredis"], "no hiredis to build with")
    return [[program, str(server.port)]]


def count_last_line(name, output, status):
    """A program that ends without its counts has failed once."""
    global passed, failed
    lines = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.M)
    if not lines:
        failed += 1
        print(f"FAIL {name}: ended with {status}: {' '.join(output.split())[-300:]}")
        return
    passed, failed = passed + int(lines[-1][0]), failed + int(lines[-1][1])
    for line in output.splitlines():
        if line.startswith("FAIL"):
            print(line)


def claim(name, holds, output=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {name}: {' '.join(output.split())[-300:]}")


def redis_cli(server):
    cli = [need("redis-cli"), "-p", str(server.port)]
    for words, want in [("set a b", "OK"), ("get a", "b"), ("-3 get a", "b"), ("incr n", "1"), ("mget a n x", "b\n1\n"), ("del a n", "2"), ("ttl a", "-2")]:
        out = run(cli + words.split()).stdout
        claim(f"redis-cli {words}", out.strip() == want.strip(), out)
    claim("redis-cli info", "redis_version:" in run(cli + ["info"]).stdout)
    claim("redis-cli command docs", "GET" in run(cli + ["command", "docs", "get"]).stdout.upper())
    out = run(["sh", "-c", f"for i in $(seq 1 200); do echo \"set key:$i $i\"; done | redis-cli -p {server.port} --pipe"]).stdout
    claim("redis-cli --pipe", "errors: 0, replies: 200" in out, out)
    out = run(cli + ["--scan", "--pattern", "key:*"]).stdout
    claim("redis-cli --scan", len(set(out.split())) == 200, out)
    for way in ("--bigkeys", "--memkeys"):
        out = run(cli + [way]).stdout
        claim(f"redis-cli {way}", "Sampled 200 keys in the keyspace!" in out and "200 strings" in out, out)
    with subprocess.Popen(cli + ["monitor"], stdout=subprocess.PIPE, text=True) as monitor:
        began = monitor.stdout.readline()
        run(cli + ["echo", "seen"])
        out = began + monitor.stdout.readline()
        monitor.kill()
    claim("redis-cli monitor", began == "OK\n" and '"echo" "seen"' in out, out)
    for words, want in (("slowlog reset", "OK"), ("latency reset", "0"), ("memory doctor", ""), ("latency doctor", ""), ("client list", "id=")):
        out = run(cli + words.split()).stdout
        claim(f"redis-cli {words}", want in out and "ERR" not in out, out)
    out = run(cli + ["-r", "20", "ping"]).stdout
    claim("redis-cli -r 20 ping", out.split() == ["PONG"] * 20, out)


def benchmark(program):
    def smoke(server):
        need(program)
        for options in (["-P", "1"], ["-P", "16"], ["-P", "64", "-r", "100000"], ["-d", "20000"]):
            out = run([program, "-p", str(server.port), "-t", "ping,set,get,incr,mset", "-n", "20000", "-q", *options]).stdout
            good = len(re.findall(r"[\d.]+ requests per second", out)) >= 5 and "rror" not in out.replace("WARN", "")
            claim(f"{program} {' '.join(options)}", good, out)

    smoke.__name__ = program
    return smoke


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--server-cmd")
    p.add_argument("-k", default="")
    options = p.parse_args()
    os.makedirs(WORK, exist_ok=True)
    if options.server_cmd:
        configs = [harness.Config(None, stand_in=options.server_cmd)]
    else:
        configs = [harness.Config(os.path.abspath(options.build), io, 2, 8) for io in ("uring", "epoll")]
    for config in configs:
        for part in (redis_cli, benchmark("redis-benchmark"), benchmark("valkey-benchmark"), hiredis, redis_py, skerry_client_py, go_redis, node):
            name = f"{part.__name__} [{config}]"
            if options.k not in name:
                continue
            try:
                with harness.Server(config) as server:
                    for command in part(server) or []:
                        done = run(command)
                        count_last_line(name, done.stdout, done.returncode)
            except Missing as why:
                print(f"SKIP {name}: {why}")
            except (harness.Failure, subprocess.TimeoutExpired) as why:
                claim(name, False, str(why))
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


sys.exit(main())
