#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs skerryd, skerry-echo, valkey-server and redis-server one at a time under skerry-bench and writes medians and ratios.

One repetition starts every server afresh, loads the keys and runs every workload; repetitions go through the servers in
turns, so that a slow minute of the machine hits all of them. The server is pinned to one core and the client to another.
Results go to bench/results/NAME.md and NAME.csv. What is not installed or not built is left out, and said so.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
METRICS = ["requests_per_second", "cpu_us", "user_us", "system_us", "p50", "p99", "p99.9", "cores", "client_cores"]
# What issue 2 asks of us, by pipeline: share of the echo server's rate, and CPU per request against valkey.
ECHO_SHARE = {1: 0.90, 16: 0.70, 64: 0.50}
VALKEY_CPU = {1: 1.1, 16: 2.5, 64: 4.0}


class Failed(Exception):
    pass


class Server:
    """A server that can be started; `family` says what it is compared as."""

    def __init__(self, name, program, arguments, echo=False):
        self.name, self.program, self.arguments, self.echo = name, program, arguments, echo

    def installed(self):
        return self.program is not None and os.access(self.program, os.X_OK)


def rival_arguments(port, directory):
    return ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory,
            "--protected-mode", "no", "--daemonize", "no"]


def known_servers(options, directory):
    build = pathlib.Path(options.build)
    port = str(options.port)

    def skerryd(io, workers, shards):
        return ["--port", port, "--workers", str(workers), "--shards", str(shards), "--io", io, "--bind", "127.0.0.1",
                "--dir", directory] + options.skerryd_option

    servers = []
    for io in ("uring", "epoll"):
        servers.append(Server(f"skerryd-{io}", str(build / "skerryd"), skerryd(io, 1, 1)))
        servers.append(Server(f"echo-{io}", str(build / "skerry-echo"), ["--port", port, "--io", io], echo=True))
    servers.append(Server("valkey", shutil.which("valkey-server"), rival_arguments(port, directory)))
    servers.append(Server("redis", shutil.which("redis-server"), rival_arguments(port, directory)))
    for io in ("uring", "epoll"):
        for workers in (1, 2):
            servers.append(Server(f"skerryd-{io}-{workers}w", str(build / "skerryd"), skerryd(io, workers, 2)))
    return servers


class Running:
    """A started server; leaves nothing behind when the `with` block ends."""

    def __init__(self, server, options, core):
        self.server, self.options, self.core = server, options, core

    def wait_for_port(self):
        """A dying io_uring process may hold its listener for some milliseconds after its end."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self.options.port))
                    return
                except OSError:
                    time.sleep(0.05)
        raise Failed(f"port {self.options.port} is taken")

    def __enter__(self):
        self.wait_for_port()
        self.log = tempfile.TemporaryFile()
        pin = (lambda: os.sched_setaffinity(0, {self.core})) if self.core is not None else None
        self.process = subprocess.Popen([self.server.program] + self.server.arguments, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, preexec_fn=pin)
        try:
            self.wait_until_ready()
        except Failed:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.options.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.log.seek(0)
        tail = self.log.read()[-500:].decode(errors="replace").strip()
        raise Failed(f"{self.server.name} did not start: {tail}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        return False


def bench(options, arguments, cores, pid=None):
    command = [str(pathlib.Path(options.build) / "skerry-bench"), "--port", str(options.port), "--json", "--timeout", "10",
               "--connections", str(options.connections), "--keys", str(options.keys)]
    command += ["--cpu", cores] if cores else []
    command += ["--server-pid", str(pid)] if pid else []
    result = subprocess.run(command + arguments, capture_output=True, text=True, timeout=options.duration * 4 + 120)
    if result.returncode != 0:
        raise Failed(result.stderr.strip() or f"skerry-bench ended with {result.returncode}")
    return json.loads(result.stdout) if result.stdout.strip() else None


def row_of(answer):
    latency, server = answer["latency_us"], answer["server"]
    return {"requests_per_second": answer["requests_per_second"], "cpu_us": server["cpu_us_per_request"],
            "user_us": server["user_us_per_request"], "system_us": server["system_us_per_request"], "p50": latency["p50"],
            "p99": latency["p99"], "p99.9": latency["p99.9"], "cores": server["cores"], "client_cores": answer["client"]["cores"],
            "errors": answer["errors"], "misses": answer["misses"]}


def jobs_of(options, server):
    """(workload, pipeline, rate, arguments) of one server; an echo server knows one workload."""
    workloads = ["echo"] if server.echo else options.workloads
    for workload in workloads:
        for pipeline in options.pipelines:
            yield workload, pipeline, 0, ["--mix", workload, "--pipeline", str(pipeline)]
        for rate in options.rates:
            yield workload, options.rate_pipeline, rate, ["--mix", workload, "--pipeline", str(options.rate_pipeline), "--rate", str(rate)]


def measure(options, server, repetition, rows):
    two = server.name.endswith("w")
    server_core, client_core = (None, None) if two else (options.server_core, str(options.client_core))
    size = ["--value-size", str(options.value_size)]
    with Running(server, options, server_core) as running:
        if not server.echo:
            bench(options, ["--preload", "--duration", "0"] + size, client_core)
        for workload, pipeline, rate, arguments in jobs_of(options, server):
            window = ["--duration", str(options.duration), "--warmup", str(options.warmup)]
            row = row_of(bench(options, arguments + size + window, client_core, running.process.pid))
            row.update(server=server.name, workload=workload, pipeline=pipeline, rate=rate, repetition=repetition)
            rows.append(row)
            print(f"{repetition} {server.name:16} {workload:5} P{pipeline:<3} {rate or '':8} {row['requests_per_second']:>10.0f}/s "
                  f"{row['cpu_us']:7.3f} us CPU  p50 {row['p50']:.0f} p99 {row['p99']:.0f} p99.9 {row['p99.9']:.0f} us"
                  + (f"  ERRORS {row['errors']}" if row["errors"] else ""), flush=True)


def run_all(options, servers):
    rows, failures = [], []
    for repetition in range(1, options.repetitions + 1):
        turn = repetition % len(servers)
        for server in servers[turn:] + servers[:turn]:
            try:
                measure(options, server, repetition, rows)
            except (Failed, subprocess.TimeoutExpired) as error:
                failures.append(f"{server.name}, repetition {repetition}: {error}")
                print(failures[-1], file=sys.stderr)
    return rows, failures


def medians_of(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["server"], row["workload"], row["pipeline"], row["rate"]), []).append(row)
    return {key: {metric: statistics.median(row[metric] for row in group) for metric in METRICS} | {"runs": len(group)}
            for key, group in groups.items()}


def ratio(a, b):
    return f"{a / b:.2f}" if b else "-"


def table(header, lines):
    out = ["| " + " | ".join(header) + " |", "|" + "|".join(" --- " if i == 0 else " ---: " for i in range(len(header))) + "|"]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in lines]) + "\n"


def echo_of(server):
    return "echo-epoll" if "epoll" in server else "echo-uring"


def section(options, medians, servers, workload, pipeline, rate):
    lines = []
    reference = medians.get(("valkey", workload, pipeline, rate))
    for server in servers:
        if server.name.endswith("w"):
            continue
        m = medians.get((server.name, "echo" if server.echo else workload, pipeline, rate))
        if m is None:
            continue
        echo = medians.get((echo_of(server.name), "echo", pipeline, rate))
        lines.append([server.name, f"{m['requests_per_second']:,.0f}", f"{m['cpu_us']:.3f}", f"{m['user_us']:.3f}", f"{m['p50']:.0f}",
                      f"{m['p99']:.0f}", f"{m['p99.9']:.0f}",
                      ratio(m["requests_per_second"], echo["requests_per_second"]) if echo else "-",
                      ratio(echo["cpu_us"], m["cpu_us"]) if echo else "-",
                      ratio(m["requests_per_second"], reference["requests_per_second"]) if reference else "-",
                      ratio(reference["cpu_us"], m["cpu_us"]) if reference else "-", f"{m['cores']:.2f}", f"{m['client_cores']:.2f}"])
    title = f"### {workload.upper()}, pipeline {pipeline}" + (f", open loop at {rate:,}/s" if rate else "") + "\n\n"
    return title + table(["server", "requests/s", "CPU us/req", "user us/req", "p50 us", "p99 us", "p99.9 us", "rate vs echo", "CPU efficiency vs echo",
                          "rate vs valkey", "CPU efficiency vs valkey", "server cores", "client cores"], lines)


def worker_section(options, medians):
    lines = []
    for io in ("uring", "epoll"):
        for workload in options.workloads:
            for pipeline in options.pipelines:
                one = medians.get((f"skerryd-{io}-1w", workload, pipeline, 0))
                two = medians.get((f"skerryd-{io}-2w", workload, pipeline, 0))
                if one and two:
                    lines.append([f"{io} {workload} P{pipeline}", f"{one['requests_per_second']:,.0f}",
                                  f"{two['requests_per_second']:,.0f}", f"{one['cpu_us']:.3f}", f"{two['cpu_us']:.3f}",
                                  ratio(two["cpu_us"], one["cpu_us"])])
    if not lines:
        return ""
    return ("### Two workers against one, two shards, nothing pinned\n\n" +
            table(["workload", "1 worker/s", "2 workers/s", "1 worker CPU us", "2 workers CPU us", "CPU ratio"], lines) +
            "\nThe issue allows 1.5 at pipelines 16 and 64. Server and client share the cores here.\n")


def disturbed(m):
    """On a machine of its own a closed loop keeps one side busy; when neither is, others had the cores."""
    return max(m["cores"], m["client_cores"]) < 0.85


def verdict(reached, goal, *measured):
    if any(m is None or disturbed(m) for m in measured):
        return "disturbed"
    return "yes" if reached >= goal else "**no**"


def target_section(options, medians):
    lines = []
    for io in ("uring", "epoll"):
        for workload in options.workloads:
            for pipeline in options.pipelines:
                m = medians.get((f"skerryd-{io}", workload, pipeline, 0))
                echo = medians.get((f"echo-{io}", "echo", pipeline, 0))
                valkey = medians.get(("valkey", workload, pipeline, 0))
                if m is None or pipeline not in ECHO_SHARE:
                    continue
                share = m["requests_per_second"] / echo["requests_per_second"] if echo else 0
                cpu = valkey["cpu_us"] / m["cpu_us"] if valkey and m["cpu_us"] else 0
                by_cpu = echo["cpu_us"] / m["cpu_us"] if echo and m["cpu_us"] else 0
                lines.append([f"{io} {workload} P{pipeline}", f"{share:.2f}", f"{by_cpu:.2f}", f"{ECHO_SHARE[pipeline]:.2f}",
                              verdict(share, ECHO_SHARE[pipeline], m, echo), f"{cpu:.2f}", f"{VALKEY_CPU[pipeline]:.1f}",
                              "yes" if cpu >= VALKEY_CPU[pipeline] else "**no**"])
    if not lines:
        return ""
    return "### Goals\n\n" + table(["", "rate / echo", "echo CPU / ours", "goal", "met", "valkey CPU / ours", "goal", "met"], lines)


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=10).stdout.strip().split("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        return ""


def machine():
    model = "unknown CPU"
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = next(int(line.split()[1]) // 1024 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return f"{os.cpu_count()} cores of {model}, {memory} MiB memory, Linux {os.uname().release}"


def describe(options, servers, skipped):
    dirty = first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    commit = first_line(["git", "rev-parse", "--short", "HEAD"]) + (" with changes" if dirty else "")
    versions = [first_line([s.program, "--version"]) for s in servers if s.name in ("valkey", "redis")]
    lines = [f"* {datetime.datetime.now().strftime('%Y-%m-%d %H:%M')}, commit {commit}", f"* {machine()}",
             f"* server on core {options.server_core}, client on core {options.client_core} (1 thread), loopback TCP, "
             f"{options.connections} connections, {options.value_size}-byte values, {options.keys:,} keys, closed loop",
             f"* {options.repetitions} repetitions, each of a fresh start, {options.duration:g} s a window after {options.warmup:g} s; "
             f"load average at the start {os.getloadavg()[0]:.2f}"]
    lines += [f"* {' '.join(v.split()[:3])}" for v in versions if v]
    lines += [f"* skerryd also with {' '.join(options.skerryd_option)}"] if options.skerryd_option else []
    lines += [f"* left out: {', '.join(skipped)}"] if skipped else []
    return "\n".join(lines) + "\n"


def write_results(options, text, rows, medians, servers, failures):
    parts = [f"# {options.name}\n", text, "Medians. CPU is the server's, from its threads' run time; CPU efficiency is the other's CPU time "
             "per request divided by the row's.\n", target_section(options, medians)]
    for workload in options.workloads:
        for pipeline in options.pipelines:
            parts.append(section(options, medians, servers, workload, pipeline, 0))
        for rate in options.rates:
            parts.append(section(options, medians, servers, workload, options.rate_pipeline, rate))
    parts.append(worker_section(options, medians))
    if failures:
        parts.append("### Failed runs\n\n" + "\n".join(f"* {f}" for f in failures) + "\n")
    folder = pathlib.Path(options.results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{options.name}.md").write_text("\n".join(p for p in parts if p))
    with open(folder / f"{options.name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["server", "workload", "pipeline", "rate", "repetition"] + METRICS + ["errors", "misses"])
        writer.writeheader()
        writer.writerows(rows)


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="compare", help="of the result files")
    parser.add_argument("--quick", action="store_true", help="100,000 keys, windows of 1 s, one repetition")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--duration", type=float, help="seconds of a window")
    parser.add_argument("--warmup", type=float)
    parser.add_argument("--keys", type=int)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--value-size", type=int, default=64)
    parser.add_argument("--workloads", default="get,set", help="mixes of skerry-bench, e.g. get,set")
    parser.add_argument("--pipelines", default="1,16,64")
    parser.add_argument("--rates", default="", help="also open loop at these rates, e.g. 20000,50000")
    parser.add_argument("--rate-pipeline", type=int, default=16)
    parser.add_argument("--servers", default="", help="only these (see the names in the table); default: all but the -1w, -2w ones")
    parser.add_argument("--workers-2", action="store_true", help="also two workers against one, unpinned")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--port", type=int, default=16380)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--results", default=str(HERE / "results"))
    parser.add_argument("--skerryd-option", action="append", default=[], help="passed on, e.g. --skerryd-option=--spin-us=0")
    options = parser.parse_args()
    quick = options.quick
    options.repetitions = options.repetitions or (1 if quick else 3)
    options.duration = options.duration or (1.0 if quick else 3.0)
    options.warmup = options.warmup if options.warmup is not None else (0.3 if quick else 1.0)
    options.keys = options.keys or (100000 if quick else 1000000)
    options.pipelines, options.rates = numbers(options.pipelines), numbers(options.rates)
    options.workloads = [w for w in options.workloads.split(",") if w]
    return options


def chosen(options, servers):
    wanted = [name for name in options.servers.split(",") if name]
    unknown = set(wanted) - {server.name for server in servers}
    if unknown:
        sys.exit(f"compare.py: unknown servers {', '.join(sorted(unknown))}; known: {', '.join(s.name for s in servers)}")
    def takes(server):
        if wanted and server.name in wanted:
            return True
        return options.workers_2 if server.name.endswith("w") else not wanted
    return [server for server in servers if takes(server)]


def main():
    options = parse_options()
    if not os.access(pathlib.Path(options.build) / "skerry-bench", os.X_OK):
        sys.exit(f"compare.py: no skerry-bench in {options.build}; build first")
    with tempfile.TemporaryDirectory() as directory:
        servers = chosen(options, known_servers(options, directory))
        skipped = [server.name for server in servers if not server.installed()]
        servers = [server for server in servers if server.installed()]
        if not servers:
            sys.exit("compare.py: none of the servers is there")
        text = describe(options, servers, skipped)
        print(text)
        rows, failures = run_all(options, servers)
        medians = medians_of(rows)
        write_results(options, text, rows, medians, servers, failures)
    print((pathlib.Path(options.results) / f"{options.name}.md").read_text())
    sys.exit(1 if failures or not rows else 0)


if __name__ == "__main__":
    main()
