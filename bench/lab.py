#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The laboratory: measures io_uring, each of its features switched off, and epoll under one load after another, in turns, and writes
NAME.csv and NAME.html (one page with its pictures inside) to --results. The method is in docs/LAB.md.

    bench/lab.py --quick --name mine                       one factor at a time, below ten minutes
    bench/lab.py --name all                                everything with everything: hours
    bench/lab.py --subjects uring,epoll --sizes 64 --connections 50 --pipelines 1,16 --protocols resp --rates 0 --name some
    bench/lab.py --quick --rival valkey=127.0.0.1:6379     another server that runs already, as another row
    bench/lab.py --from bench/results/mine.csv --name mine the page again from its figures
"""

import argparse
import collections
import csv
import os
import pathlib
import signal
import sys
import tempfile
import time

from laboratory import measure, plan, report, servers, summary

HERE = pathlib.Path(__file__).resolve().parent
QUICK_MINUTES = 8.5


def words(text):
    return [part.strip() for part in text.split(",") if part.strip()]


def whole(text):
    return [int(part) for part in words(text)]


def parse_options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog=__doc__.split("\n\n", 1)[1])
    p.add_argument("--name", default="lab", help="of the result files")
    p.add_argument("--quick", action="store_true", help="one factor at a time around 64 bytes, 50 connections, RESP; stops before ten minutes")
    p.add_argument("--repetitions", type=int, help="of the whole plan (5)")
    p.add_argument("--duration", type=float, help="seconds of a closed-loop window (quick: 0.5, else 3)")
    p.add_argument("--rate-duration", type=float, help="seconds of a window at a fixed rate (quick: 1.2, else 5)")
    p.add_argument("--requests", type=int, help="windows of so many requests instead of a time, for trying things out")
    p.add_argument("--warmup", type=float, help="seconds of load before each window (quick: 0.15, else 0.5)")
    p.add_argument("--minutes", type=float, help=f"begin no repetition that would not end within so many (quick: {QUICK_MINUTES}, else no limit)")
    for name, kind in (("subjects", words), ("protocols", words), ("pipelines", whole), ("sizes", whole), ("connections", whole),
                       ("rates", whole)):
        p.add_argument("--" + name, type=kind, help="only these" + (", 0 is the closed loop" if name == "rates" else ""))
    p.add_argument("--rival", action="append", default=[], metavar="NAME=HOST:PORT", help="a RESP server that runs already (may be repeated)")
    p.add_argument("--mix", default="get:80,set:20", help="operations as skerry-bench has them (get:80,set:20)")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--shards", type=int, default=1)
    p.add_argument("--server-cores", default="0", help="comma-separated; empty: not pinned (0)")
    p.add_argument("--client-cores", default="1", help="likewise (1)")
    p.add_argument("--port", type=int, default=16400, help="the first of those that our servers get (16400)")
    p.add_argument("--build", default=str(HERE.parent / "build"))
    p.add_argument("--results", default=str(HERE / "results"))
    p.add_argument("--skerryd-option", action="append", default=[], help="passed on, e.g. --skerryd-option=--spin-us=20")
    p.add_argument("--no-perf", action="store_true", help="leave hardware counters and traced system calls out")
    p.add_argument("--list", action="store_true", help="print the plan and stop")
    p.add_argument("--from", dest="source", help="make the page from this CSV")
    options = p.parse_args()
    quick = options.quick
    options.repetitions = options.repetitions or 5
    options.duration = options.duration or (0.5 if quick else 3.0)
    options.rate_duration = options.rate_duration or (1.2 if quick else 5.0)
    options.warmup = options.warmup if options.warmup is not None else (0.15 if quick else 0.5)
    options.minutes = options.minutes or (QUICK_MINUTES if quick else None)
    return options


def filters(options):
    return {name: getattr(options, name) for name in ("subjects", "protocols", "pipelines", "sizes", "connections", "rates")}


def plan_of(options, rivals):
    known = plan.SERVERS + plan.ECHOES + rivals
    unknown = set(options.subjects or []) - set(known)
    unknown |= set(options.protocols or []) - set(plan.PROTOCOLS)
    if unknown:
        sys.exit(f"lab.py: unknown: {', '.join(sorted(unknown))}; subjects: {', '.join(known)}; protocols: {', '.join(plan.PROTOCOLS)}")
    if options.quick:
        return plan.narrow(plan.quick(rivals), **filters(options))
    ours = [s for s in options.subjects or known if s not in rivals]
    theirs = [r for r in rivals if options.subjects is None or r in options.subjects]
    return plan.cross(theirs, ours, options.protocols or plan.PROTOCOLS, options.pipelines or plan.PIPELINES,
                      options.sizes or plan.SIZES, options.connections or plan.CONNECTIONS,
                      options.rates if options.rates is not None else [0] + plan.RATES)


def cores_of(text, count):
    cores = whole(text)
    return cores if cores and max(cores) < count else []


class Run:
    def __init__(self, options, subjects, loads, cores):
        self.options, self.subjects, self.loads = options, subjects, loads
        self.bench = measure.Bench(options, ",".join(map(str, cores)))
        self.rows, self.failures, self.traced = [], [], {}

    def seconds_of(self, load):
        return self.options.rate_duration if load.rate else self.options.duration

    def row(self, subject, load, repetition):
        row = self.bench.window(subject, load, self.seconds_of(load), self.options.warmup)
        if row.get("syscalls") is None and not subject.name in plan.SERVERS + plan.ECHOES:
            if (subject.name, load) not in self.traced:
                self.traced[subject.name, load] = self.bench.traced_syscalls(subject, load, self.options.duration)
            row["syscalls"] = self.traced[subject.name, load]
        row.update(repetition=repetition, subject=subject.name, protocol=load.protocol, pipeline=load.pipeline, size=load.size,
                   connections=load.connections, rate=load.rate)
        return row

    def cell(self, subject, load, repetition, loaded):
        subject.go()
        try:
            if loaded.get(subject.name) != load.size and not plan.is_echo(subject.name):
                self.bench.preload(subject, load)
                loaded[subject.name] = load.size
            self.rows.append(self.row(subject, load, repetition))
        except (servers.Failed, OSError, ValueError) as error:
            self.failures.append(f"{subject.name}, {summary.load_text(load)}: {error}")
            print(f"lab: {self.failures[-1]}", file=sys.stderr)
        finally:
            subject.stop()

    def repetition(self, number):
        """Every load, and under each every subject in turn, beginning with another one each time."""
        loaded = {}
        for load in sorted(self.loads):
            names = [n for n in self.loads[load] if n in self.subjects and load.protocol in self.subjects[n].protocols]
            turn = number % len(names) if names else 0
            for name in names[turn:] + names[:turn]:
                self.cell(self.subjects[name], load, number, loaded)

    def all(self):
        begin = time.monotonic()
        for number in range(self.options.repetitions):
            spent = time.monotonic() - begin
            if number and self.options.minutes and spent * (number + 1) / number > self.options.minutes * 60:
                print(f"lab: {number} repetitions fit into {self.options.minutes:g} minutes", flush=True)
                break
            self.repetition(number)
            print(f"lab: repetition {number + 1} of {self.options.repetitions}: {len(self.rows)} windows, "
                  f"{time.monotonic() - begin:.0f} s", flush=True)


def write_csv(path, notes, rows):
    with open(path, "w", newline="") as file:
        for name, value in notes:
            file.write(f"# {name}: {value}\n")
        writer = csv.DictWriter(file, measure.KEYS + measure.METRICS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def read_csv(path):
    with open(path) as file:
        lines = file.readlines()
    notes = [tuple(line[2:].rstrip("\n").split(": ", 1)) for line in lines if line.startswith("# ")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("# ")))
    for row in rows:
        for name in row:
            if name not in ("subject", "protocol"):
                row[name] = None if row[name] in ("", None) else float(row[name])
    return notes, rows


def experiment(options):
    """Measures; gives notes on it and its rows."""
    count = os.cpu_count() or 1
    server_cores, client_cores = cores_of(options.server_cores, count), cores_of(options.client_cores, count)
    rivals = {}
    for text in options.rival:
        rival = servers.Rival(text)
        rivals[rival.name] = rival
    loads = plan_of(options, list(rivals))
    left_out = plan.too_large(loads)
    if options.list:
        for load in sorted(loads):
            print(f"{summary.load_text(load)}: {', '.join(loads[load])}")
        sys.exit(0)
    if not loads:
        sys.exit("lab.py: no load is left by these filters")
    own = collections.OrderedDict((name, None) for load in sorted(loads) for name in loads[load] if name not in rivals)
    if client_cores:
        os.sched_setaffinity(0, set(client_cores))
    with tempfile.TemporaryDirectory() as folder:
        subjects, missing = servers.start(own, options, set(server_cores), folder)
        try:
            run = Run(options, {**subjects, **rivals}, loads, client_cores)
            run.all()
        finally:
            for subject in subjects.values():
                subject.end()
    missing += [f"{summary.load_text(load)}: more than {plan.IN_FLIGHT_MAX >> 20} MiB in flight" for load in left_out]
    return report.notes(options, server_cores, client_cores, run, missing), run.rows


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("lab.py: ended by SIGTERM"))
    folder = pathlib.Path(options.results)
    if options.source:
        notes, rows = read_csv(options.source)
    else:
        if not options.list and not os.access(pathlib.Path(options.build) / "skerry-bench", os.X_OK):
            sys.exit(f"lab.py: no skerry-bench in {options.build}; build first, or say --build")
        try:
            notes, rows = experiment(options)
        except servers.Failed as error:
            sys.exit(f"lab.py: {error}")
        if not rows:
            sys.exit("lab.py: nothing could be measured")
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / f"{options.name}.csv", notes, rows)
        notes, rows = read_csv(folder / f"{options.name}.csv")  # so that the page says what the file says
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{options.name}.html"
    page.write_text(report.page(options.name, notes, rows))
    print(f"lab: {page}")


if __name__ == "__main__":
    main()
