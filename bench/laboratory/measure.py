# SPDX-License-Identifier: Apache-2.0
"""One window: skerry-bench loads one subject, and its counters are read for the same time."""

import json
import subprocess

from . import plan
from .servers import Failed

# Columns of the CSV. Per request: cpu, user and system time, switches, and what follows `ops`. Empty: not measurable there.
KEYS = ["repetition", "subject", "protocol", "pipeline", "size", "connections", "rate"]
METRICS = ["requests", "requests_per_second", "cpu_us", "user_us", "system_us", "p50_us", "p99_us", "p999_us", "p9999_us", "max_us",
           "server_cores", "client_cores", "switches", "syscalls", "enters", "ops", "sqes", "cqes", "bytes_copied", "buffers_exhausted",
           "turns", "longest_turn_us", "cycles", "instructions", "errors", "misses"]
COUNTED = ["syscalls", "enters", "ops", "sqes", "cqes", "bytes_copied", "turns"]
PERCENTILES = {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us", "p99.99": "p9999_us", "max": "max_us"}


def perf_values(text):
    """Counters of `perf stat -x,`: name -> number; those that the machine lacks are missing."""
    found = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].replace(".", "").isdigit():
            found[fields[2].split(":")[0].split("/")[-1]] = float(fields[0])
    return found


class Perf:
    """Hardware counters and, for who counts nothing himself, system calls; absent where perf or its counters are."""

    def __init__(self, program="perf"):
        self.program = program
        self.hardware = "cycles" in self.run(["-e", "cycles,instructions"], ["true"])
        self.tracing = "raw_syscalls" in self.run(["-a", "-e", "raw_syscalls:sys_enter"], ["sleep", "0.01"])

    def run(self, events, command):
        try:
            done = subprocess.run([self.program, "stat", "-x", ","] + events + ["--"] + command, capture_output=True, text=True,
                                  timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return {}
        return perf_values(done.stderr)

    def of(self, pid, events, seconds):
        return self.run(["-p", str(pid), "-e", events], ["sleep", f"{seconds:.3f}"])


class Bench:
    def __init__(self, options, cores):
        self.options, self.cores = options, cores
        self.perf = None if options.no_perf else Perf()

    def command(self, subject, load, seconds, *more):
        words = [self.options.build + "/skerry-bench", "--host", subject.host, "--port", str(subject.port), "--json", "--announce",
                 "--timeout", "30", "--connections", str(load.connections), "--keys", str(load.keys), "--value-size", str(load.size),
                 "--pipeline", str(load.pipeline)]
        words += ["--requests", str(self.options.requests)] if self.options.requests else ["--duration", str(seconds)]
        words += ["--cpu", self.cores] if self.cores else []
        if plan.is_echo(subject.name):
            words += ["--mix", "echo"]
        else:
            words += ["--mix", self.options.mix, "--protocol", "resp2" if load.protocol == "resp" else "fcnp"]
        words += ["--direct"] if load.protocol == "fcnp-direct" else []
        words += ["--rate", str(load.rate)] if load.rate else []
        words += ["--server-pid", str(subject.pid)] if subject.pid else []
        return words + list(more)

    def preload(self, subject, load):
        """The keys of a size, once before its windows. Through RESP, whatever the windows speak."""
        words = [self.options.build + "/skerry-bench", "--host", subject.host, "--port", str(subject.port), "--preload", "--duration", "0",
                 "--keys", str(load.keys), "--value-size", str(load.size), "--connections", "8"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise Failed(f"{subject.name}: {done.stderr.strip()}")

    def window(self, subject, load, seconds, warmup):
        """A row without its keys. So many requests may be over before anybody reads a counter: then it is read around the whole run."""
        if self.options.requests:
            subject.mark(load)
        process = subprocess.Popen(self.command(subject, load, seconds, "--warmup", str(warmup)), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        counted, hardware = {}, {}
        try:
            said = process.stderr.readline()
            if said == "measuring\n":
                if not self.options.requests:
                    subject.mark(load)
                if self.perf and self.perf.hardware and subject.pid and not self.options.requests:
                    hardware = self.perf.of(subject.pid, "cycles,instructions", seconds * 0.8)
                said = process.stderr.readline()
                if said == "measured\n":
                    counted = subject.counters(load)
            out, err = process.communicate(timeout=seconds + 120)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        if process.returncode != 0:
            raise Failed(f"{subject.name}: {(said + err).strip() or f'skerry-bench ended with {process.returncode}'}")
        return row_of(json.loads(out), counted, hardware, seconds * 0.8)

    def traced_syscalls(self, subject, load, seconds):
        """System calls per request of a subject that does not count them, in a run of its own since tracing slows it; None without."""
        if not (self.perf and self.perf.tracing and subject.pid) or self.options.requests:
            return None
        process = subprocess.Popen(self.command(subject, load, seconds, "--warmup", "0.1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        process.stderr.readline()
        found = self.perf.of(subject.pid, "raw_syscalls:sys_enter", seconds * 0.6)
        out, _ = process.communicate(timeout=seconds + 120)
        if process.returncode != 0 or "raw_syscalls" not in found:
            return None
        return found["raw_syscalls"] / (json.loads(out)["requests_per_second"] * seconds * 0.6)


def row_of(answer, counted, hardware, hardware_seconds):
    latency, server, requests = answer["latency_us"], answer.get("server"), answer["requests"]
    row = {"requests": requests, "requests_per_second": answer["requests_per_second"], "client_cores": answer["client"]["cores"],
           "errors": answer["errors"], "misses": answer["misses"]}
    row.update({column: latency[name] for name, column in PERCENTILES.items()})
    if requests < 10000:  # too few for a ten-thousandth
        row["p9999_us"] = None
    if requests < 1000:
        row["p999_us"] = None
    if server:
        row.update(cpu_us=server["cpu_us_per_request"], user_us=server["user_us_per_request"], system_us=server["system_us_per_request"],
                   server_cores=server["cores"],
                   switches=(server["voluntary_switches"] + server["involuntary_switches"]) / max(requests, 1))
    if counted.get("requests"):
        row.update({name: counted[name] / counted["requests"] for name in COUNTED if name in counted})
        row.update({name: counted[name] for name in ("buffers_exhausted", "longest_turn_us") if name in counted})
    for name, value in hardware.items():
        row[name] = value / (answer["requests_per_second"] * hardware_seconds)
    return row
