#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The laboratory: its rules on figures made up here, and the whole of it end to end on the smallest matrix. No claim about speed.
Usage: lab_test.py BUILD-FOLDER [NAME]"""

import html.parser
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = sys.argv[1]
sys.path.insert(0, str(ROOT / "bench"))

from laboratory import measure, plan, report, servers, summary, svg  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def row(subject, repetition, load, **metrics):
    values = dict.fromkeys(measure.METRICS)
    values.update({"requests": 1e6, "requests_per_second": 1e5, "cpu_us": 1.0, "p50_us": 10.0, "p99_us": 100.0, "p999_us": 200.0,
                   "p9999_us": 300.0, "server_cores": 1.0, "client_cores": 0.9, "syscalls": 0.1, "switches": 0.0001, "errors": 0, "misses": 0})
    values.update(metrics, subject=subject, repetition=repetition, protocol=load.protocol, pipeline=load.pipeline, size=load.size,
                  connections=load.connections, rate=load.rate)
    return values


def pairs(load, metric, uring, epoll, **more):
    rows = []
    for n, (u, e) in enumerate(zip(uring, epoll)):
        rows += [row("uring", n, load, **{metric: u}, **more), row("epoll", n, load, **{metric: e}, **more)]
    return rows


LOAD = plan.Load(64, 50, 0, "resp", 16)
AT_RATE = plan.Load(64, 50, 1000, "resp", 16)


def verdict_of(metric, uring, epoll, load=LOAD, **more):
    judged = summary.judge(summary.Table(pairs(load, metric, uring, epoll, **more)), metric)
    return [j.verdict for j in judged]


def a_verdict_follows_median_and_spread():
    for uring, epoll, want in (([1.0] * 5, [1.1] * 5, "wins"), ([1.1] * 5, [1.0] * 5, "loses"), ([1.0] * 5, [1.01] * 5, "ties"),
                               ([1.0] * 5, [0.99] * 5, "ties"), ([1.0] * 5, [0.5, 0.9, 1.1, 1.6, 1.7], "undecided"),
                               ([1.0] * 5, [0.8, 0.9, 1.0, 1.1, 1.2], "undecided"), ([1.0] * 2, [2.0] * 2, "undecided"),
                               ([1.0] * 5, [0.9, 1.1, 1.1, 1.1, 1.2], "wins"), ([1.0] * 4, [0.9, 1.1, 1.1, 1.1], "undecided"),
                               ([1.0] * 4, [1.01, 1.1, 1.1, 1.2], "wins")):
        assert verdict_of("cpu_us", uring, epoll) == [want], (uring, epoll, want)


def ratios_are_taken_within_a_repetition():
    """A machine twice as slow in one repetition changes nothing."""
    assert verdict_of("cpu_us", [1, 2, 1, 2, 4], [1.1, 2.2, 1.1, 2.2, 4.4]) == ["wins"]


def rates_count_only_where_the_server_was_the_limit():
    assert verdict_of("requests_per_second", [1.2e5] * 5, [1e5] * 5) == ["wins"]
    assert verdict_of("requests_per_second", [1e5] * 5, [1.2e5] * 5) == ["loses"]
    assert verdict_of("requests_per_second", [1.2e5] * 5, [1e5] * 5, server_cores=0.8) == []
    assert verdict_of("requests_per_second", [1.2e5] * 5, [1e5] * 5, load=AT_RATE) == []


def latency_counts_only_where_the_rate_was_kept():
    kept = {"load": AT_RATE, "requests_per_second": 995.0}
    assert verdict_of("p99_us", [100.0] * 3, [150.0] * 3, **kept) == ["wins"]
    assert verdict_of("p99_us", [150.0] * 3, [100.0] * 3, **kept) == ["loses"]
    assert verdict_of("p99_us", [100.0] * 3, [150.0] * 3, load=AT_RATE, requests_per_second=900.0) == []
    assert verdict_of("p99_us", [100.0] * 3, [150.0] * 3) == []


def the_page_says_what_the_verdicts_are():
    other = plan.Load(1024, 50, 0, "resp", 16)
    rows = pairs(LOAD, "cpu_us", [1.0] * 3, [1.2] * 3) + pairs(other, "cpu_us", [1.2] * 3, [1.0] * 3)
    text = report.page("made up", [("machine", "none")], rows)
    assert "CPU time per request: of 2 loads io_uring wins 1, loses 1." in text, text[:3000]
    assert "io_uring wins under 1 of 2 loads, ratio 1.20: RESP, 64 B, 50 connections, pipeline 16 (1.20)." in text
    assert "io_uring loses under 1 of 2 loads, ratio 0.83: RESP, 1 KiB, 50 connections, pipeline 16 (0.83)." in text
    text = report.page("made up", [], pairs(LOAD, "cpu_us", [1.0] * 3, [1.2] * 3, server_cores=0.3, client_cores=0.3))
    assert "Others used this machine" in text


def hostile_names_stay_text():
    rows = pairs(LOAD, "cpu_us", [1.0] * 3, [1.2] * 3) + [row('<script>"&\'', n, LOAD) for n in range(3)]
    text = report.page("<b>&", [("x", "<i>&amp;")], rows)
    assert "<script" not in text and "<i>" not in text and "<b>" not in text
    ElementTree.fromstring(text)


def numbers_are_short():
    for value, want in ((0, "0"), (None, "none"), (0.5, "0.5"), (1234, "1,234"), (123456, "123k"), (9.87654e6, "9.88M"), (0.00005, "0.00005"),
                        (999950, "1M"), (1.5e10, "15,000M"), (123, "123"), (12.345, "12.3")):
        assert svg.number(value) == want, (value, svg.number(value))
    for high in (1e-5, 0.3, 1, 7, 99, 1e6):
        ticks = svg.nice_ticks(high)
        assert ticks[0] == 0 and ticks[-1] <= high * 1.0001 and 2 <= len(ticks) <= 7, (high, ticks)
    for widest in (1.05, 1.3, 2, 4, 30, 5000):
        ticks = svg.ratio_ticks(widest)
        assert 1 in ticks and len(ticks) <= 9 and all(t > 0 for t in ticks), (widest, ticks)


def a_plan_can_be_narrowed_and_holds_no_impossible_load():
    whole = plan.quick(["valkey"])
    assert {l.protocol for l in whole} == set(plan.PROTOCOLS) and {l.size for l in whole} == set(plan.SIZES)
    assert all("valkey" not in names for l, names in whole.items() if l.protocol != "resp")
    part = plan.narrow(whole, subjects=["epoll"], rates=[0], pipelines=[16], sizes=[64], connections=[50], protocols=["fcnp"])
    assert part == {plan.Load(64, 50, 0, "fcnp", 16): ["epoll"]}, part
    matrix = plan.cross([], plan.SERVERS + plan.ECHOES, plan.PROTOCOLS, plan.PIPELINES, plan.SIZES, plan.CONNECTIONS, [0, 1000])
    out = plan.too_large(matrix)
    assert len(matrix) + len(out) == 4 * 3 * 3 * (3 + 1) and plan.Load(262144, 1000, 0, "resp", 64) in out
    assert all(load.in_flight <= plan.IN_FLIGHT_MAX for load in matrix)
    assert {l.size for l, names in matrix.items() if plan.ZEROCOPY in names} == {l.size for l, n in whole.items() if plan.ZEROCOPY in n} == {262144}
    assert plan.subject_options(plan.ZEROCOPY) == ["--io", "uring", "--send-zerocopy-min", "65536"]


def counters_are_read():
    info = "# Stats\r\ntotal_commands_processed:7\r\nprocess_id:12\r\n# Reactors\r\nworker0:backend=epoll,ops=3,longest_turn_us=9\r\n" \
           "worker1:backend=epoll,ops=4,longest_turn_us=5,busy_share=0.5\r\n"
    assert servers.info_counters(info) == {"requests": 7.0, "pid": 12, "ops": 7.0, "longest_turn_us": 9.0, "busy_share": 0.5}
    perf = "1234,,cycles,100,100.00,,\n<not supported>,,instructions,0,100.00,,\n99,,raw_syscalls:sys_enter,1,100.00,,\n"
    assert measure.perf_values(perf) == {"cycles": 1234.0, "raw_syscalls": 99.0}


TINY = ["--subjects", "epoll", "--pipelines", "1", "--sizes", "64", "--connections", "1", "--rates", "0", "--protocols", "resp",
        "--repetitions", "1", "--requests", "10", "--port", "20800"]


def lab(folder, *arguments):
    return subprocess.run([sys.executable, str(ROOT / "bench/lab.py"), "--build", BUILD, "--results", str(folder), "--name", "tiny",
                           "--no-perf", *arguments], capture_output=True, text=True, timeout=300, check=False)


def checked_page(path):
    """It is well-formed, has pictures, fetches nothing and runs nothing."""
    text = path.read_text()
    tree = ElementTree.fromstring(text)
    pictures = list(tree.iter(SVG + "svg"))
    assert pictures and all(p.get("aria-label") for p in pictures)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\bon\w+=|https?://(?!www\.w3\.org/)", text), "something is fetched or run"

    class Strict(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag, tag

    strict = Strict()
    strict.handle_startendtag = lambda tag, attrs: None
    strict.feed(text)
    assert strict.open == [], strict.open
    return text, len(pictures)


def browser_opens(path, pictures):
    """Headless Chromium renders it and its console stays empty. Without Chromium the parsers above must do."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        print("SKIP the browser: no Chromium here", flush=True)
        return
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
                               f"--user-data-dir={home}", path.as_uri()], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    shown = done.stdout.count("<svg ")
    assert shown == pictures, f"{shown} pictures of {pictures}"
    assert "</html>" in done.stdout, done.stdout[-300:]


def the_smallest_matrix_runs_from_end_to_end():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        done = lab(folder, "--subjects", "uring,uring without batching,epoll,epoll busy,echo epoll", "--pipelines", "2", "--sizes", "64",
                   "--connections", "2", "--rates", "0,200", "--repetitions", "1", "--requests", "60", "--warmup", "0",
                   "--port", "20400")
        assert done.returncode == 0, done.stderr
        text, pictures = checked_page(folder / "tiny.html")
        assert "failed:" not in text, done.stderr
        lines = [line for line in (folder / "tiny.csv").read_text().splitlines() if not line.startswith("#")]
        assert lines[0].split(",") == measure.KEYS + measure.METRICS
        rows = [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:]]
        # RESP for all five, FCNP and FCNP direct for our four; closed loop and one rate.
        assert len(rows) == 2 * (5 + 4 + 4), len(rows)
        for r in rows:
            assert r["requests"] == "60" and r["errors"] == "0" and r["misses"] == "0" and float(r["syscalls"]) > 0, r
            assert (float(r["sqes"]) > 0) == r["subject"].startswith("uring"), r
        again = lab(folder, "--from", str(folder / "tiny.csv"))
        assert again.returncode == 0 and (folder / "tiny.html").read_text() == text, again.stderr
        browser_opens(folder / "tiny.html", pictures)


def its_servers_end_with_it_however_it_ends():
    """Busy-polling and stopped ones too."""
    for number in (signal.SIGKILL, signal.SIGTERM):
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen([sys.executable, str(ROOT / "bench/lab.py"), "--build", BUILD, "--results", folder, "--no-perf", "--quick",
                                        "--subjects", "uring busy,epoll,epoll busy", "--port", "20600"], stdout=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 60
            while len(children_of(process.pid)) < 3 and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            found = children_of(process.pid)
            assert len(found) >= 3, found
            process.send_signal(number)
            process.communicate(timeout=120)
            while any(map(runs, found)) and time.monotonic() < deadline + 60:
                time.sleep(0.02)
            assert not any(map(runs, found)), (number, found)


def stat_of(pid):
    """State and parent; None when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return None


def children_of(pid):
    return [p.name for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and (stat_of(p.name) or ["", ""])[1] == str(pid)]


def runs(pid):
    found = stat_of(pid)
    return found is not None and found[0] not in "ZX"


def what_cannot_be_measured_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        for arguments, reason in ((["--subjects", "iocp"], "unknown: iocp"), (["--protocols", "http"], "unknown: http"),
                                  (["--quick", "--sizes", "77"], "no load is left"), (["--rival", "x"], "not NAME=HOST:PORT"),
                                  (["--rival", "x=127.0.0.1:1"], "x at 127.0.0.1:1"),
                                  (TINY + ["--mix", "hset"], "unknown operation 'hset'"), (["--build", "/nowhere"], "build first")):
            done = lab(folder, *arguments)
            assert done.returncode == 1 and reason in done.stderr, (arguments, done)
        assert not list(pathlib.Path(folder).iterdir())


TESTS = [a_verdict_follows_median_and_spread, ratios_are_taken_within_a_repetition, rates_count_only_where_the_server_was_the_limit,
         latency_counts_only_where_the_rate_was_kept, the_page_says_what_the_verdicts_are, hostile_names_stay_text, numbers_are_short,
         a_plan_can_be_narrowed_and_holds_no_impossible_load, counters_are_read, the_smallest_matrix_runs_from_end_to_end,
         its_servers_end_with_it_however_it_ends, what_cannot_be_measured_is_refused]


def main():
    passed = failed = 0
    for test in TESTS:
        if len(sys.argv) > 2 and sys.argv[2] != test.__name__:
            continue
        try:
            test()
            passed += 1
            print(f"ok   {test.__name__}", flush=True)
        except (AssertionError, subprocess.TimeoutExpired, ValueError, KeyError, ElementTree.ParseError) as error:
            failed += 1
            print(f"FAIL {test.__name__}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
