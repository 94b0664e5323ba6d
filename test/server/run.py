#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the server tests over the matrix backend x workers x shards and ends with "N passed, N failed".

    run.py --build build                          everything
    run.py --build build -k pipeline --io epoll   tests whose name or file holds the word, one backend
    run.py --server-cmd redis-server              the tests that any Redis-like server must pass
"""

import argparse
import glob
import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import harness


def parse_arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.path.join(os.path.dirname(os.path.dirname(HERE)), "build"))
    p.add_argument("--server-cmd", help="a stand-in for skerryd")
    p.add_argument("--io", default="uring,epoll")
    p.add_argument("--workers", default="1,2")
    p.add_argument("--shards", default="1,2,8")
    p.add_argument("--appendonly", metavar="POLICY", help="every server logs, with this appendfsync")
    p.add_argument("-k", default="", help="words separated by commas: only tests whose name or file holds one of them")
    p.add_argument("--not", dest="exclude", default="", help="words separated by commas: leave these tests out")
    p.add_argument("-j", type=int, default=1, help="servers at the same time")
    p.add_argument("-v", action="store_true", help="a line per test")
    return p.parse_args()


def cells_of(options):
    if options.server_cmd:
        return [harness.Config(os.path.abspath(options.build), stand_in=options.server_cmd)]
    build = os.path.abspath(options.build)
    return [harness.Config(build, io, w, n, appendonly=options.appendonly)
            for io in options.io.split(",")
            for n in map(int, options.shards.split(","))
            for w in map(int, options.workers.split(",")) if w <= n]


def load_tests(options):
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])
    words = [w for w in options.k.split(",") if w]
    unwanted = [w for w in options.exclude.split(",") if w]

    def label(t):
        return f"{t.run.__module__}.{t.name}"

    return [t for t in harness.TESTS
            if (not words or any(w in label(t) for w in words)) and not any(w in label(t) for w in unwanted)]


def belongs(t, cell, cells):
    if t.cells == harness.ALL:
        return True
    if t.cells == harness.ONCE:
        return cell is cells[0]
    return cell is [c for c in cells if c.io == cell.io][-1]


def jobs_of(cells, tests, verbose):
    """What can run at the same time: the tests of every cell, on one server, and those of one file that only some cells run. Those that
    may take longest come first, so that none is waited for alone at the end."""
    jobs = []
    for cell in cells:
        parts = {}
        for t in tests:
            if belongs(t, cell, cells):
                parts.setdefault("" if t.cells == harness.ALL else t.run.__module__, []).append(t)
        jobs += [(cell, part, verbose) for part in parts.values()]
    return sorted(jobs, key=lambda job: -sum(t.seconds for t in job[1] if t.cells != harness.ALL))


class TooLong(BaseException):
    pass


def alarm(*_):
    raise TooLong()


def last_line_of_test(error):
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "test_" in f.filename]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "harness"


class Cell:
    """Runs the tests of one configuration; keeps one server for those that share."""

    def __init__(self, config, verbose):
        self.config, self.verbose, self.shared = config, verbose, None
        self.passed, self.failed, self.skipped, self.lines = 0, 0, {}, []

    def say(self, text):
        print(text, flush=True)

    def shared_server(self):
        if self.shared is None or not self.shared.alive():
            self.shared = harness.Server(self.config)
        return self.shared

    def run_with_server(self, t):
        if t.own:
            return t.run(self.config)
        if t.args is not None:
            with harness.Server(self.config, *t.args) as server:
                return t.run(server)
        server = self.shared_server()
        with server.client() as c:
            c.must("FLUSHALL")
        t.run(server)
        harness.check(server.alive(), f"the server ended with {server.process.poll()}: {server.log()[-300:].strip()!r}")
        with server.client() as c:
            harness.check_equal(c.call("PING"), "PONG", "PING after the test")
        return None

    def attempt(self, t):
        """What is wrong, or None."""
        signal.signal(signal.SIGALRM, alarm)
        signal.alarm(max(1, int(t.seconds * harness.SLOW)))
        try:
            if t.skerry_only and self.config.stand_in:
                raise harness.Skip("speaks of skerryd's own options")
            self.run_with_server(t)
            return None
        except TooLong as late:
            return f"{last_line_of_test(late)}: not done after {int(t.seconds * harness.SLOW)} s"
        except harness.Failure as why:
            return f"{last_line_of_test(why)}: {why}"
        except harness.Skip:
            raise
        except Exception as why:  # what a dying server does to its clients
            return f"{last_line_of_test(why)}: {type(why).__name__}: {why}"
        finally:
            signal.alarm(0)

    def run(self, t):
        """A failure gets one more look on a fresh server, and is shown either way: the machine may have stood still. A server that
        crashed gets none."""
        start, crashes, failures = time.monotonic(), harness.CRASHES, self.failed
        try:
            error = self.attempt(t)
            if error is not None:
                self.forget_shared(t)
                if harness.CRASHES == crashes and self.failed == failures:
                    first, error = error, self.attempt(t)
                    if error is None:
                        self.say(f"UNSTEADY [{self.config}] {t.name}: " + " ".join(first.split()))
                    else:
                        self.forget_shared(t)
        except harness.Skip as why:
            self.skipped[f"{t.name}: {why}"] = self.skipped.get(f"{t.name}: {why}", 0) + 1
            return
        took = time.monotonic() - start
        if error is None:
            self.passed += 1
            if self.verbose:
                self.say(f"ok   [{self.config}] {t.name} ({took:.1f} s)")
            return
        self.failed += 1
        self.say(f"FAIL [{self.config}] {t.name}: " + " ".join(error.split()))

    def forget_shared(self, t):
        if not t.own and t.args is None:
            self.drop_shared(failed=True)

    def drop_shared(self, failed=False):
        if self.shared is None:
            return
        server, self.shared = self.shared, None
        try:
            server.stop(failed=failed)
        except harness.Failure as why:
            self.failed += 1
            self.say(f"FAIL [{self.config}] the shared server ends well: {why}")


def run_cell(job):
    config, tests, verbose = job
    cell = Cell(config, verbose)
    try:
        for t in tests:
            cell.run(t)
    finally:
        cell.drop_shared()
    return cell.passed, cell.failed, cell.skipped


def main():
    options = parse_arguments()
    cells, tests = cells_of(options), load_tests(options)
    if not options.server_cmd and not os.access(cells[0].program, os.X_OK):
        print(f"FAIL there is no {cells[0].program}\n0 passed, 1 failed")
        return 1
    jobs = jobs_of(cells, tests, options.v)
    if options.j > 1:
        with multiprocessing.get_context("fork").Pool(options.j) as pool:
            results = list(pool.imap_unordered(run_cell, jobs, chunksize=1))
    else:
        results = [run_cell(job) for job in jobs]
    skipped = {}
    for _, _, reasons in results:
        for why, count in reasons.items():
            skipped[why] = skipped.get(why, 0) + count
    for why, count in sorted(skipped.items()):
        print(f"SKIP {why} ({count} times)")
    passed, failed = sum(r[0] for r in results), sum(r[1] for r in results)
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
