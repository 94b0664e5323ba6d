# SPDX-License-Identifier: Apache-2.0
"""The page: one file, no script, nothing fetched. Every statement on it is worked out from the figures by summary.py."""

import datetime
import os
import pathlib
import subprocess
from xml.sax.saxutils import escape

from . import plan, svg
from .summary import (LOSES, RATE_KEPT, SERVER_BUSY, THRESHOLDS, TIES, UNDECIDED, WINS, Table, base_of, count_of, judge, load_text,
                      protocol_text, rate_text, size_text, verdict)

ROOT = pathlib.Path(__file__).resolve().parents[2]
STYLE = """body { font-family: sans-serif; color: #1b1b1b; background: #ffffff; max-width: 1120px; margin: 24px auto; padding: 0 16px;
line-height: 1.45 } h1 { font-size: 26px } h2 { font-size: 20px; margin-top: 40px; border-bottom: 1px solid #bbbbbb } table { border-collapse:
collapse; font-size: 13px } th, td { border: 1px solid #cccccc; padding: 3px 8px; text-align: right } th { background: #f0f0f0 } td.name,
th.name { text-align: left; white-space: nowrap } svg { display: block; margin: 18px 0; max-width: 100%; height: auto } .scroll { overflow-x:
auto } li { margin: 3px 0 }"""
METRIC_NAMES = {"cpu_us": "CPU time per request", "requests_per_second": "Requests per second", "p99_us": "p99 of latency at a fixed rate"}
IDLE = 0.85  # cores
COUNTS = [("cycles", "cycles per request"), ("instructions", "instructions per request")]
TABLE_COLUMNS = [("requests_per_second", "requests/s"), ("cpu_us", "CPU us"), ("user_us", "user us"), ("system_us", "system us"),
                 ("p50_us", "p50 us"), ("p99_us", "p99 us"), ("p999_us", "p99.9 us"), ("p9999_us", "p99.99 us"), ("syscalls", "system calls"),
                 ("switches", "switches"), ("enters", "enters"), ("sqes", "SQEs"), ("cqes", "CQEs"), ("bytes_copied", "bytes copied"),
                 ("buffers_exhausted", "buffers exhausted"), ("longest_turn_us", "longest turn us"), ("server_cores", "server cores"),
                 ("client_cores", "client cores"), ("cycles", "cycles"), ("instructions", "instructions")]


# ---- what stands at the top of the CSV

def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20, check=False).stdout.strip().split("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        return ""


def proc_field(path, name):
    try:
        with open(path) as file:
            for text in file:
                if text.startswith(name):
                    return text.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def machine():
    memory = int(proc_field("/proc/meminfo", "MemTotal").split()[0]) >> 20
    virtual = " (virtual machine)" if "hypervisor" in proc_field("/proc/cpuinfo", "flags").split() else ""
    return f"{os.cpu_count()} processors, {proc_field('/proc/cpuinfo', 'model name')}{virtual}, {memory} GiB memory, Linux {os.uname().release}"


def cores_text(server, client):
    if not server or not client:
        return "not pinned: server and client may share a core"
    return f"server on {','.join(map(str, server))}, client on {','.join(map(str, client))}" + (" (shared!)" if set(server) & set(client) else "")


def window_text(options):
    if options.requests:
        return f"{options.requests} requests"
    return f"{options.duration:g} s closed loop, {options.rate_duration:g} s at fixed rates"


def shortened(failures, most=8):
    return failures[:most] + ([f"and {len(failures) - most} more"] if len(failures) > most else [])


def notes(options, server_cores, client_cores, run, missing):
    """(name, text) pairs that say under which circumstances the rows came to be."""
    perf = run.bench.perf
    counted = len({int(row["repetition"]) for row in run.rows})
    commit = first_line(["git", "rev-parse", "--short", "HEAD"]) or "unknown"
    dirty = first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return [("measured", datetime.datetime.now().strftime("%Y-%m-%d %H:%M") + f", commit {commit}" + (" with changes" if dirty else "")),
            ("machine", machine()),
            ("load average", f"{os.getloadavg()[0]:.2f} over the last minute of the measurement"),
            ("cores", cores_text(server_cores, client_cores)),
            ("servers", f"{options.workers} worker, {options.shards} shard each; loopback TCP" +
             (f"; skerryd also with {' '.join(options.skerryd_option)}" if options.skerryd_option else "")),
            ("windows", f"{counted} repetition{'s' if counted != 1 else ''}; {window_text(options)}, each after {options.warmup:g} s of load"),
            ("load", f"{options.mix} over keys that take at most {plan.DATA_BYTES >> 20} MiB; 1 client thread"),
            ("hardware counters", "yes" if perf and perf.hardware else "none on this machine"),
            ] + [("left out", text) for text in missing] + [("failed", text) for text in shortened(run.failures)]


# ---- parts of the page

def paragraph(words):
    return f"<p>{escape(words)}</p>"


def listing(items):
    return "<ul>" + "".join(f"<li>{escape(i)}</li>" for i in items) + "</ul>" if items else ""


def table_html(header, rows):
    def cells(tag, row):
        return "".join(f'<{tag}{" class=" + chr(34) + "name" + chr(34) if i == 0 else ""}>{escape(str(c))}</{tag}>' for i, c in enumerate(row))
    return (f'<div class="scroll"><table><thead><tr>{cells("th", header)}</tr></thead><tbody>' +
            "".join(f"<tr>{cells('td', row)}</tr>" for row in rows) + "</tbody></table></div>")


def colours_of(names):
    fixed = {"uring": svg.PALETTE[0], "uring busy": "#0f4457", plan.ZEROCOPY: "#3d8f7a", "epoll": svg.PALETTE[1], "epoll busy": "#8a3d12", "echo uring": "#8a8a8a",
             "echo epoll": "#b5b5b5"}
    rest = iter(svg.PALETTE[2:] * 4)
    return {n: fixed.get(n) or ("#6ea8ba" if n.startswith(plan.WITHOUT) else next(rest)) for n in names}


def ordered(names):
    known = plan.SERVERS + plan.ECHOES
    return sorted(names, key=lambda n: (known.index(n) if n in known else len(known), n))


def range_text(judged):
    low, high = min(j.ratio.median for j in judged), max(j.ratio.median for j in judged)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def verdict_items(judged):
    items = []
    for name, what in ((WINS, "wins"), (TIES, "ties"), (LOSES, "loses"), (UNDECIDED, "can be given no verdict (the spread is larger than what there is to tell, or there are fewer than three ratios)")):
        chosen = [j for j in judged if j.verdict == name]
        if chosen:
            loads = "; ".join(f"{load_text(j.load)} ({j.ratio.median:.2f})" for j in chosen)
            items.append(f"io_uring {what} under {len(chosen)} of {len(judged)} loads, ratio {range_text(chosen)}: {loads}.")
    return items


def verdict_sentence(judged, metric):
    counts = count_of(judged)
    decided = {n: c for n, c in counts.items() if c and n != UNDECIDED}
    if not decided:
        return f"{METRIC_NAMES[metric]}: nothing can be said from these figures."
    words = {WINS: "wins", TIES: "ties", LOSES: "loses"}
    said = ", ".join(f"{words[n]} {c}" for n, c in decided.items())
    rest = f" ({counts[UNDECIDED]} undecided)" if counts[UNDECIDED] else ""
    return f"{METRIC_NAMES[metric]}: of {len(judged)} loads io_uring {said}{rest}."


def verdicts(table):
    parts = ["<h2>Where io_uring wins, ties and loses against epoll</h2>",
             paragraph("Ratios are epoll's value divided by io_uring's where less is better (CPU time, latency), and the reverse for requests "
                       "per second: above 1 io_uring is better. Each ratio is taken between windows of the same repetition, seconds apart. "
                       "io_uring wins when the median is at least the threshold above 1 and the middle half of the ratios (of fewer than five: all) lies above 1; loses "
                       "likewise below; ties when the median is within the threshold and the middle half within twice of it. Thresholds: "
                       f"{THRESHOLDS['cpu_us']:.0%} for CPU time, {THRESHOLDS['requests_per_second']:.0%} for requests per second, "
                       f"{THRESHOLDS['p99_us']:.0%} for latency. Requests per second are judged only where both servers used at least "
                       f"{SERVER_BUSY:g} of a core (else the client was the limit), latency only where both answered {RATE_KEPT:.0%} of the rate.")]
    for metric, name in METRIC_NAMES.items():
        judged = judge(table, metric)
        if not judged:
            parts.append(paragraph(f"{name}: no load of this report allows a verdict."))
            continue
        rows = [(load_text(j.load), j.ratio, j.verdict, j.verdict) for j in judged]
        unit = "ratio, above 1: io_uring is better (logarithmic; point: median, line: middle half)"
        parts += [paragraph(verdict_sentence(judged, metric)), svg.intervals(f"{name}, io_uring against epoll", unit, rows),
                  listing(verdict_items(judged))]
    return parts


def base_text(loads):
    first = loads[0]
    return f"{protocol_text(first.protocol)}, {size_text(first.size)}, {first.connections} connection{'s' if first.connections > 1 else ''}"


def by_pipeline(table, loads, subjects, metric, title, unit, reference=None):
    columns = {f"pipeline {load.pipeline}": load for load in loads}
    values = {(s, heading): table.value(load, s, metric) for heading, load in columns.items() for s in subjects}
    rows = [s for s in subjects if any(values[s, c] for c in columns)]
    return svg.bars(title, unit, rows, list(columns), values, colours_of(subjects), reference) if rows else ""


def features(table, loads):
    """Each feature that was switched off, against io_uring with all of them."""
    parts, rows = [], []
    names = [n for n in plan.SERVERS if n.startswith(plan.WITHOUT)]
    words = {WINS: "worth having", LOSES: "costs more than it gives", TIES: "no difference", UNDECIDED: "undecided"}
    for name in names:
        for load in loads:
            ratio = table.ratio(load, name, "uring", "cpu_us")
            if ratio:
                judged = verdict(ratio, THRESHOLDS["cpu_us"])
                rows.append((f"{name.removeprefix(plan.WITHOUT)}, pipeline {load.pipeline}", ratio, judged, words[judged]))
    for load in (l for l in table.loads() if l.rate == 0 and l.protocol == "resp" and plan.ZEROCOPY in table.subjects(l)):
        ratio = table.ratio(load, "uring", plan.ZEROCOPY, "cpu_us")
        if ratio:
            judged = verdict(ratio, THRESHOLDS["cpu_us"])
            rows.append((f"zero-copy send, {size_text(load.size)}, pipeline {load.pipeline}", ratio, judged, words[judged]))
    if not rows:
        return parts
    parts += ["<h2>What each feature of io_uring is worth</h2>",
              paragraph(f"CPU time per request without the feature, divided by that with all of them ({base_text(loads)}). Above 1 the feature "
                        "saves time. The same rules of verdict hold. Zero-copy sends are off unless asked for, so they are measured against "
                        "io_uring as it comes, with values that they are for; registered (fixed) buffers are the log's, which this load has "
                        "none of."),
              svg.intervals("CPU time without each feature", "ratio, above 1: the feature is worth having (logarithmic)", rows)]
    return parts


def backends(table, loads):
    subjects = ordered({s for load in loads for s in table.subjects(load)})
    where = base_text(loads)
    parts = ["<h2>Every backend and feature side by side</h2>",
             paragraph(f"Closed loop, {where}. Bars are medians over the repetitions, the thin line on them is the middle half. A busy-polling "
                       "server takes its whole core whatever it serves, so its CPU time per request only says how much it served.")]
    sleepers = [s for s in subjects if not s.endswith(" busy")]  # the calls of others only say how often they looked
    for metric, title, unit, chosen in (
            ("cpu_us", "Server CPU time per request", "microseconds per request", subjects),
            ("requests_per_second", "Throughput", "requests per second", subjects),
            ("syscalls", "System calls per request (busy polling is in the table below)", "system calls per request", sleepers),
            ("switches", "Context switches per request", "switches per request", subjects),
            *((m, t.capitalize(), t, subjects) for m, t in COUNTS)):
        parts.append(by_pipeline(table, loads, chosen, metric, f"{title}: {where}", unit))
    return parts


def protocols(table, loads):
    """RESP, FCNP and FCNP direct next to each other, of the same size and connections as the base."""
    size, connections = loads[0].size, loads[0].connections
    chosen = [l for l in table.loads() if l.rate == 0 and l.size == size and l.connections == connections]
    kinds = [p for p in plan.PROTOCOLS if any(l.protocol == p for l in chosen)]
    if len(kinds) < 2:
        return []
    subjects = [s for s in plan.MAIN if any(s in table.subjects(l) for l in chosen if l.protocol != "resp")]
    values, columns, rows = {}, [], [f"{s}, {protocol_text(p)}" for s in subjects for p in kinds]
    for load in chosen:
        heading = f"pipeline {load.pipeline}"
        columns += [heading] if heading not in columns else []
        for s in subjects:
            values[f"{s}, {protocol_text(load.protocol)}", heading] = table.value(load, s, "cpu_us")
    shades = {f"{s}, {protocol_text(p)}": colours_of([s])[s] for s in subjects for p in kinds}
    return ["<h2>Protocols</h2>", paragraph("FCNP carries the key's hash; on direct ports it goes to the port of the key's shard. CPU time of "
                                            "the server per request, closed loop."),
            svg.bars(f"CPU time per request by protocol: {size_text(size)}, {connections} connections", "microseconds per request", rows, columns,
                     values, shades)]


def latency(table):
    loads = base_of(table, closed=False)
    if not loads:
        return []
    subjects = ordered({s for load in loads for s in table.subjects(load)})
    columns = [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"), ("p9999_us", "p99.99")]
    points, dropped = {}, []
    for s in subjects:
        for metric, heading in columns:
            points[s, heading] = [(rate_text(load.rate), kept(table, load, s, metric)) for load in loads]
        dropped += [f"{s} at {rate_text(load.rate)}" for load in loads if s in table.subjects(load) and not keeps(table, load, s)]
    text = ("Requests are due at fixed times whatever the server does; latency counts from when a request was due. A percentile needs at "
            "least as many requests as it divides into: where the windows were too short there is no point.")
    parts = ["<h2>Latency at fixed rates</h2>", paragraph(text),
             svg.lines(f"Latency: {base_text(loads)}", "microseconds (logarithmic), over the offered rate", subjects,
                       [h for _, h in columns], points, colours_of(subjects))]
    if dropped:
        parts.append(paragraph(f"Below {RATE_KEPT:.0%} of the rate, and so without a point: " + "; ".join(dropped) + "."))
    return parts


def keeps(table, load, subject):
    rate = table.value(load, subject, "requests_per_second")
    return rate is not None and rate.median >= RATE_KEPT * load.rate


def kept(table, load, subject, metric):
    return table.value(load, subject, metric) if keeps(table, load, subject) else None


def all_figures(table):
    found = []
    columns = [(m, t) for m, t in TABLE_COLUMNS if any(table.value(l, s, m) for l in table.loads() for s in table.subjects(l))]
    for load in table.loads():
        for subject in ordered(table.subjects(load)):
            values = [table.value(load, subject, m) for m, _ in columns]
            found.append([f"{load_text(load)}: {subject}"] + [svg.number(v.median) if v else "" for v in values])
    return ["<h2>All medians</h2>", paragraph("Empty: not measurable there. System calls, enters, SQEs, CQEs and bytes copied are per request and "
                                              "are the server's own counters (CQEs of epoll: events); the other servers' system calls "
                                              "come from perf where it can trace. Switches are per request too. User and system time are the "
                                              "kernel's estimate in ticks of 10 ms, coarse in short windows; CPU is exact."),
            table_html(["load and subject"] + [t for _, t in columns], found)]


def disturbance(rows):
    """With many requests in flight a closed loop keeps the server or the client busy, unless others take their cores."""
    full = [r for r in rows if not r["rate"] and r["connections"] * r["pipeline"] >= 50 and r.get("server_cores") is not None]
    idle = [r for r in full if max(r["server_cores"], r["client_cores"]) < IDLE]
    words = (f"undisturbed: {len(full) - len(idle)} of {len(full)} closed-loop windows with 50 or more requests in flight, in which the server "
             "or the client had its core to itself")
    return words + (". Others used this machine: rates and latencies of this report mean little, CPU time per request still compares"
                    if len(idle) * 10 > len(full) else "")


def page(title, pairs, rows):
    table = Table(rows)
    loads = base_of(table)
    parts = [f"<h1>{escape(title)}: io_uring and epoll under skerry</h1>",
             paragraph("Made by bench/lab.py; docs/LAB.md describes the method. Absolute figures are of this machine; ratios travel better."),
             listing([f"{name}: {text}" for name, text in pairs] + [disturbance(rows)])]
    parts += verdicts(table)
    if loads:
        parts += features(table, loads) + backends(table, loads) + protocols(table, loads)
    parts += latency(table) + all_figures(table)
    return ('<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en">\n<head>\n<meta charset="utf-8"/>\n'
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(p for p in parts if p) +
            "\n</body>\n</html>\n")
