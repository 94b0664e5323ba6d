# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what SAVE and BGSAVE have said is there after a restart is there, and it is the state of one moment."""

import os
import re
import shutil
import signal
import tempfile
import threading
import time

from harness import BACKENDS, Closed, Error, Server, check, check_equal, test, wait_until


class Directory:
    """A data directory that several servers use, one after the other."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="skerry-save-")
        self.path = os.path.join(self.folder, "data")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def server(self, config, *args):
        return Server(config, "--appenddirname", self.path, *args)

    def files(self, prefix):
        return sorted(name for name in os.listdir(self.path) if name.startswith(prefix))


def without_log(config, **changes):
    """Where a log would bring back what came behind the snapshot, or make the directory."""
    return config.but(appendonly=None, **changes)


def info(c, name):
    return re.search(rf"^{name}:(.*?)\r?$", c.must("INFO", "persistence").decode(), re.M).group(1)


def wait_saved(c, saves=1):
    wait_until(lambda: info(c, "rdb_bgsave_in_progress") == "0" and int(info(c, "rdb_saves")) >= saves, 20, "the end of a snapshot")


def kill(s):
    s.signal(signal.SIGKILL)
    s.wait_end()


def fill(c, count=3000):
    c.pipeline([("SET", f"key:{i}", b"v%d" % i) for i in range(count)])
    c.must("SET", "large", b"l" * 3_000_000)
    c.must("SET", "empty", b"")
    c.must("SET", "\0bytes\r\n", bytes(range(256)))
    c.must("SET", "dies", "later", "PX", 3_600_000)
    c.must("SET", "raw", "ab")
    c.must("APPEND", "raw", "c")
    c.must("SELECT", 5)
    c.must("SET", "other", "database")
    c.must("SELECT", 0)


def verify(c, count=3000):
    check_equal(c.must("DBSIZE"), count + 5)
    check_equal(c.pipeline([("GET", f"key:{i}") for i in range(count)]), [b"v%d" % i for i in range(count)])
    check_equal(c.must("GET", "large"), b"l" * 3_000_000)
    check_equal(c.must("GET", "empty"), b"")
    check_equal(c.must("GET", "\0bytes\r\n"), bytes(range(256)))
    ttl = c.must("PTTL", "dies")
    check(3_300_000 < ttl <= 3_600_000, f"PTTL is {ttl}")
    check_equal(c.must("OBJECT", "ENCODING", "raw"), b"raw")
    c.must("SELECT", 5)
    check_equal(c.must("GET", "other"), b"database")
    check_equal(c.must("DBSIZE"), 1)
    c.must("SELECT", 0)


@test(BACKENDS, own=True, skerry_only=True)
def what_was_saved_is_there_after_a_kill(config):
    for workers in (1, 2):
        with Directory() as d:
            cell = without_log(config, workers=workers, shards=4)
            with d.server(cell, "--save", "3600 1000000") as s, s.client() as c:
                fill(c)
                before = c.must("LASTSAVE")
                check_equal(c.must("SAVE"), "OK")
                check(c.must("LASTSAVE") >= before, "LASTSAVE goes back")
                check_equal(info(c, "rdb_changes_since_last_save"), "0")
                c.must("SET", "key:0", "not saved")
                check_equal(info(c, "rdb_changes_since_last_save"), "1")
                kill(s)
            with d.server(cell) as s, s.client() as c:  # no save points: what lies there is loaded all the same
                verify(c)
                check_equal(c.must("SAVE"), "OK")


@test(BACKENDS, own=True, skerry_only=True)
def another_number_of_workers_loads_it(config):
    with Directory() as d:
        with d.server(config.but(workers=2, shards=4), "--save", "3600 1000000") as s, s.client() as c:
            fill(c)
            c.must("SAVE")
            check_equal(len(d.files("snapshot-")), 2)
            kill(s)
        for workers in (1, 4, 3):
            with d.server(config.but(workers=workers, shards=4)) as s, s.client() as c:
                verify(c)
                c.must("SAVE")
                check_equal(len(d.files("snapshot-")), workers)
                kill(s)


BATCH = 50


# Pairs of keys of different shards that are always set together.
class Writer:
    def __init__(self, s, pairs=2000):
        self.client, self.pairs, self.stop, self.rounds, self.failed = s.client(), pairs, False, 0, None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.stop:
                self.rounds += 1
                for first in range(0, self.pairs, BATCH):
                    self.client.pipeline([("MSET", f"a{i}", self.rounds, f"b{i}", self.rounds) for i in range(first, first + BATCH)])
        except (OSError, Closed):
            pass
        except Exception as e:  # pylint: disable=broad-except
            self.failed = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        self.client.close()


def verify_pairs(c, pairs=2000):
    """Rounds are written in batches of pairs: the state of a moment is a round up to some batch, and the one before behind it."""
    a = [int(v) for v in c.pipeline([("GET", f"a{i}") for i in range(pairs)])]
    b = [int(v) for v in c.pipeline([("GET", f"b{i}") for i in range(pairs)])]
    check_equal(a, b, "halves of a transaction")
    # What one pipeline asks of several workers has no order before it is answered.
    batches = [a[at : at + BATCH] for at in range(0, pairs, BATCH)]
    check(all(min(x) >= max(y) for x, y in zip(batches, batches[1:])), "a write without one that was answered before it was sent")
    check(max(a) - min(a) <= 1, f"round {min(a)} beside {max(a)}")
    return max(a)


@test(BACKENDS, own=True, skerry_only=True)
def a_snapshot_under_load_is_of_one_moment(config):
    with Directory() as d:
        cell = config.but(workers=2, shards=8)
        with d.server(cell, "--save", "3600 1000000") as s, s.client() as c:
            c.pipeline([("SET", f"ballast:{i}", b"x" * 500) for i in range(30000)])
            with Writer(s) as w:
                wait_until(lambda: w.rounds > 2, 20, "some rounds")
                check_equal(c.must("BGSAVE"), "Background saving started")
                wait_saved(c)
                low = w.rounds
                kill(s)
            check(w.failed is None, f"the writer: {w.failed}")
        with d.server(cell) as s, s.client() as c:
            check(verify_pairs(c) <= low, "a round that had not begun")
            check_equal(c.must("GET", "ballast:29999"), b"x" * 500)


@test(BACKENDS, own=True, skerry_only=True)
def a_kill_during_a_snapshot_leaves_the_one_before(config):
    with Directory() as d:
        cell = without_log(config, workers=2, shards=4)
        with d.server(cell, "--save", "3600 1000000") as s, s.client() as c:
            fill(c)
            c.must("SAVE")
            for first in range(0, 60000, 1000):
                c.pipeline([("SET", f"new:{i}", b"y" * 1000) for i in range(first, first + 1000)])
            c.must("BGSAVE")
            wait_until(lambda: any(name.endswith(".part") for name in d.files("snapshot-")), 10, "a file that is being written")
            kill(s)
        with d.server(cell) as s, s.client() as c:
            verify(c)
            check(not any(name.endswith(".part") for name in d.files("snapshot-")), "a part is left")
            check_equal(c.must("SAVE"), "OK")


@test(BACKENDS, own=True, skerry_only=True)
def flushall_during_a_snapshot_begins_it_again(config):
    with Directory() as d:
        cell = config.but(workers=2, shards=4)
        with d.server(cell, "--save", "3600 1000000") as s, s.client() as c:
            for first in range(0, 60000, 1000):
                c.pipeline([("SET", f"old:{i}", b"y" * 1000) for i in range(first, first + 1000)])
            replies = c.pipeline([("BGSAVE",), ("FLUSHALL",), ("SET", "after", "1")])
            check_equal(replies, ["Background saving started", "OK", "OK"])
            wait_saved(c)
            check_equal(info(c, "rdb_last_bgsave_status"), "ok")
            kill(s)
        with d.server(cell) as s, s.client() as c:
            check_equal(c.must("DBSIZE"), 1)
            check_equal(c.must("GET", "after"), b"1")


@test(BACKENDS, own=True, skerry_only=True)
def databases_may_change_places_meanwhile(config):
    with Directory() as d:
        cell = without_log(config, workers=2, shards=4)
        with d.server(cell, "--save", "3600 1000000") as s, s.client() as c:
            for db in (0, 1):
                c.must("SELECT", db)
                for first in range(0, 20000, 1000):
                    c.pipeline([("SET", f"k:{i}", b"%d" % db + b"y" * 1000) for i in range(first, first + 1000)])
            replies = c.pipeline([("BGSAVE",), ("SWAPDB", 0, 1)])
            check_equal(replies, ["Background saving started", "OK"])
            wait_saved(c)
            kill(s)
        with d.server(cell) as s, s.client() as c:
            for db in (0, 1):
                c.must("SELECT", db)
                check_equal({v[:1] for v in c.pipeline([("GET", f"k:{i}") for i in range(20000)])}, {b"%d" % db})


@test(BACKENDS, own=True, skerry_only=True)
def others_are_served_while_save_waits(config):
    with Directory() as d, d.server(config.but(workers=2, shards=4), "--save", "3600 1000000") as s:
        with s.client() as c, s.client() as other:
            for first in range(0, 40000, 1000):
                c.pipeline([("SET", f"k:{i}", b"y" * 2000) for i in range(first, first + 1000)])
            c.send(b"*1\r\n$4\r\nSAVE\r\n*2\r\n$3\r\nGET\r\n$4\r\nk:11\r\n")
            served = 0
            while c.quiet_for(0.001):
                check_equal(other.must("SET", "k:1", "new"), "OK")
                served += 1
            check_equal(c.read(), "OK")
            check_equal(c.read(), b"y" * 2000)  # in order
            check(served > 1, "nobody was served")


@test(BACKENDS, own=True, skerry_only=True)
def save_points_take_snapshots(config):
    with Directory() as d, d.server(config.but(workers=2, shards=4), "--save", "3600 1 300 100") as s, s.client() as c:
        check_equal(c.must("CONFIG", "GET", "save"), [b"save", b"3600 1 300 100"])
        c.must("SET", "k", "v")
        check_equal(c.must("CONFIG", "SET", "save", "1 5"), "OK")
        time.sleep(1.5)
        check_equal(info(c, "rdb_saves"), "0")  # too few changes
        c.pipeline([("SET", f"k{i}", "v") for i in range(5)])
        wait_saved(c)
        check_equal(info(c, "rdb_changes_since_last_save"), "0")
        reply = c.call("CONFIG", "SET", "save", "1 x")
        check(isinstance(reply, Error) and "Invalid save parameters" in reply, f"CONFIG SET save: {reply}")
        check_equal(c.must("CONFIG", "SET", "save", ""), "OK")


@test(BACKENDS, own=True, skerry_only=True)
def shutdown_saves_as_it_is_told(config):
    cell = without_log(config, workers=2, shards=4)
    for points, how, saved in (("3600 1000", ("SHUTDOWN",), True), ("3600 1000", ("SHUTDOWN", "NOSAVE"), False),
                               ("3600 1000", signal.SIGTERM, True), ("3600 1000", ("SHUTDOWN", "SAVE"), True)):
        with Directory() as d:
            with d.server(cell, "--save", points) as s, s.client() as c:
                c.must("SET", "k", "v")
                if isinstance(how, tuple):
                    c.send(b"*%d\r\n" % len(how) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in how))
                else:
                    s.signal(how)
                check_equal(s.wait_end(), 0, f"{how}")
            with d.server(cell, "--save", "3600 1") as s, s.client() as c:
                check_equal(c.must("GET", "k"), b"v" if saved else None, f"{how}")


@test(BACKENDS, own=True, skerry_only=True)
def a_snapshot_stands_in_for_the_log_before_it(config):
    for workers in (1, 2):
        with Directory() as d:
            cell = config.but(workers=workers, shards=4, appendonly="everysec")
            with d.server(cell) as s, s.client() as c:
                for first in range(0, 12000, 100):
                    c.pipeline([("SET", f"key:{i % 3000}", b"%d" % i + b"z" * 900) for i in range(first, first + 100)])
                    check_equal(c.must("WAITAOF", 1, 0, 0), [1, 0])
                check(len(d.files("log-")) > 10, "a dozen segments of a megabyte")
                check_equal(c.must("BGREWRITEAOF"), "Background append only file rewriting started")
                wait_saved(c)
                wait_until(lambda: len(d.files("log-")) < 8, 10, "old segments gone")
                c.must("SET", "key:1", "after")
                c.must("DEL", "key:2")
                check_equal(c.must("WAITAOF", 1, 0, 0), [1, 0])
                kill(s)
            with d.server(cell) as s, s.client() as c:
                check_equal(c.must("MGET", "key:1", "key:2"), [b"after", None])
                check_equal(c.pipeline([("GET", f"key:{i}") for i in range(3, 3000)]), [b"%d" % (9000 + i) + b"z" * 900 for i in range(3, 3000)])


@test(BACKENDS, own=True, skerry_only=True)
def also_where_records_are_larger_than_segments(config):
    for workers in (1, 2):
        with Directory() as d:
            cell = config.but(workers=workers, shards=4, appendonly="everysec")
            with d.server(cell) as s, s.client() as c:
                for first in range(0, 12000, 1000):
                    c.pipeline([("SET", f"key:{i}", b"z" * 900) for i in range(first, first + 1000)])
                c.must("FLUSHALL")
                fill(c)
                wait_until(lambda: len(d.files("log-")) > 12, 20, "a dozen segments of a megabyte")
                check_equal(c.must("WAITAOF", 1, 0, 0), [1, 0])
                check_equal(c.must("BGREWRITEAOF"), "Background append only file rewriting started")
                wait_saved(c)
                wait_until(lambda: len(d.files("log-")) < 8, 10, "old segments gone")
                c.must("SET", "key:1", "after")
                c.must("CLIENT", "DURABILITY", "always")
                c.must("SET", "key:2", "after")
                kill(s)
            with d.server(cell) as s, s.client() as c:
                check_equal(c.must("MGET", "key:1", "key:2"), [b"after", b"after"])
                c.pipeline([("SET", "key:1", "v1"), ("SET", "key:2", "v2")])
                verify(c)


@test(BACKENDS, own=True, skerry_only=True)
def words_and_errors_are_those_of_redis(config):
    with Directory() as d, d.server(config.but(workers=2, shards=4), "--save", "3600 1000000") as s, s.client() as c:
        for first in range(0, 20000, 1000):
            c.pipeline([("SET", f"k:{i}", b"y" * 2000) for i in range(first, first + 1000)])
        replies = c.pipeline([("BGSAVE",), ("BGSAVE",), ("SAVE",), ("BGREWRITEAOF",), ("BGSAVE", "x"), ("BGSAVE", "SCHEDULE", "x")])
        busy = "ERR Background save already in progress"
        check_equal([str(r) for r in replies], ["Background saving started", busy, busy, "Background append only file rewriting scheduled",
                                                "ERR syntax error", "ERR syntax error"])
        wait_saved(c, 2)
        check_equal(c.pipeline([("MULTI",), ("BGSAVE",), ("EXEC",)]), ["OK", "QUEUED", ["Background saving scheduled"]])
        wait_saved(c, 3)
        c.must("MULTI")
        reply = c.call("SAVE")
        check(isinstance(reply, Error), "SAVE inside MULTI")
        c.must("DISCARD")


@test(BACKENDS, own=True, skerry_only=True)
def without_a_directory_there_is_nowhere_to_save_to(config):
    with Server(without_log(config)) as s, s.client() as c:
        for word in ("SAVE", "BGSAVE", "BGREWRITEAOF"):
            reply = c.call(word)
            check(isinstance(reply, Error) and "nowhere" in reply, f"{word}: {reply}")
        check(abs(c.must("LASTSAVE") - time.time()) < 60, "LASTSAVE is when it started")
        check(not os.path.exists(os.path.join(s.folder, "skerry-data")), "a directory was made")


@test(BACKENDS, own=True, skerry_only=True)
def a_snapshot_that_cannot_be_written_is_said(config):
    with Directory() as d, d.server(config.but(workers=2, shards=4), "--save", "3600 1000000") as s, s.client() as c:
        c.must("SET", "k", "v")
        c.must("SAVE")
        good = d.files("snapshot-")
        for worker in (0, 1):  # a directory where the next file shall be
            os.mkdir(os.path.join(d.path, f"snapshot-{2:020}-{worker}.skry.part"))
        reply = c.call("SAVE")
        check(isinstance(reply, Error) and "snapshot failed" in reply, f"SAVE: {reply}")
        check_equal(info(c, "rdb_last_bgsave_status"), "err")
        check(set(good) <= set(d.files("snapshot-")), "the one before is gone")
        for name in d.files("snapshot-"):
            if name.endswith(".part"):
                os.rmdir(os.path.join(d.path, name))
        check_equal(c.must("SAVE"), "OK")
        check_equal(info(c, "rdb_last_bgsave_status"), "ok")


@test(BACKENDS, own=True, skerry_only=True)
def bgsave_cancel_ends_it_and_the_snapshot_before_it_counts(config):
    for workers in (1, 2):
        with Directory() as d:
            with d.server(without_log(config, workers=workers, shards=4), "--save", "3600 100000000") as s, s.client(timeout=30) as c:
                e = c.call("BGSAVE", "CANCEL")
                check(isinstance(e, Error) and "not in progress or scheduled" in str(e), f"{e!r}")
                c.must("SET", "before", 1)
                c.must("SAVE")
                for first in range(0, 60000, 1000):
                    c.pipeline([("SET", f"key:{i}", "x" * 1000) for i in range(first, first + 1000)])
                check_equal(c.pipeline([("BGSAVE",), ("BGSAVE", "CANCEL")]), ["Background saving started", "Background saving cancelled"])
                wait_until(lambda: info(c, "rdb_bgsave_in_progress") == "0", 20, "the end of a snapshot")
                check_equal(info(c, "rdb_last_bgsave_status"), "err")
                check_equal(info(c, "rdb_saves"), "1")
                kill(s)
            with d.server(without_log(config, workers=workers, shards=4)) as s, s.client() as c:
                wait_until(lambda: not isinstance(c.call("DBSIZE"), Error), 20, "loading")
                check_equal(c.must("KEYS", "*"), [b"before"])
                check_equal(c.must("BGSAVE"), "Background saving started")
                wait_saved(c)
