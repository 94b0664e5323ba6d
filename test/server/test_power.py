# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged is there after the process was killed, after the power went, and after the disk failed; on real files.

Writers send values that rise, and note what they sent and what was acknowledged. Afterwards every key has a value between the last one
acknowledged and the last one sent, and what a transaction wrote together is equal. SKERRY_POWER_ROUNDS sets the rounds of the kill
loop (50, over both backends); what is not permitted here (no root, no loop device, no FUSE) says SKIP."""

import contextlib
import errno
import fcntl
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fault"))

import harness
from disks import FaultDisk, SmallDisk
from harness import Client, Closed, Error, Failure, Server, check, check_equal, test, wait_until

ROUNDS = int(os.environ.get("SKERRY_POWER_ROUNDS", "50"))
KEYS = 24  # of a writer
LOG_FAILED = 74


class Writer(threading.Thread):
    """One connection that writes until it breaks. `sent` and `acked`: the last number of each key."""

    def __init__(self, address, name, start):
        super().__init__(daemon=True)
        self.address, self.tag, self.number = address, name, start
        self.sent, self.acked, self.errors = {}, {}, []
        self.stop_asked = threading.Event()

    def commands(self, n):
        """A plain write, a transaction over two keys (of any two workers), a large value whose middle changes."""
        key = f"{self.tag}:{n % KEYS}"
        if n % 5 == 1:
            other = key + ":twin"
            return [key, other], [("MULTI",), ("SET", key, n), ("SET", other, n), ("EXEC",)]
        if n % 5 == 2:
            return [key], [("SET", key, n, "PX", 3600000)]
        if n % 5 == 3:
            return [key + ":big"], [("SET", key + ":big", f"{n:020d}" + "x" * 9000)] if n % 10 == 3 else [("SETRANGE", key + ":big", 0, f"{n:020d}")]
        return [key], [("SET", key, n)]

    def run(self):
        try:
            with Client(self.address, timeout=30) as c:
                while not self.stop_asked.is_set():
                    self.number += 1
                    keys, commands = self.commands(self.number)
                    for key in keys:
                        self.sent[key] = self.number
                    replies = c.pipeline(commands)
                    bad = [r for r in replies if isinstance(r, Error)]
                    if bad:
                        self.errors += bad
                        time.sleep(0.01)
                        continue
                    for key in keys:
                        self.acked[key] = self.number
        except (OSError, Closed):
            pass


class Load:
    """Some writers; goes on with the same numbers on the next server."""

    def __init__(self, writers=6):
        self.writers, self.sent, self.acked, self.number, self.live, self.errors = writers, {}, {}, 0, [], []

    def begin(self, server):
        self.live = [Writer(server.address, f"w{i}", self.number) for i in range(self.writers)]
        for w in self.live:
            w.start()

    def total(self):
        return sum(w.number - self.number for w in self.live)

    def wait_for(self, writes, seconds=10):
        wait_until(lambda: self.total() >= writes, seconds, f"{writes} writes")

    def end(self):
        for w in self.live:
            w.stop_asked.set()
        for w in self.live:
            w.join(60)
            check(not w.is_alive(), "a writer hangs")
            self.sent.update(w.sent)
            self.acked.update(w.acked)
            self.errors += w.errors
            self.number = max(self.number, w.number)
        self.live = []

    def verify(self, server):
        """Every key; gives how many there were."""
        with server.client() as c:
            names = sorted(self.sent)
            got = dict(zip(names, c.pipeline([("GET", n) for n in names])))
        for name, value in got.items():
            low, high = self.acked.get(name, 0), self.sent[name]
            number = 0 if value is None else int(value[:20])
            check(low <= number <= high, f"{name} is {number}: {low} was acknowledged, {high} sent last")
            if name.endswith(":big") and value is not None:
                check(value[20:] in (b"", b"x" * 9000), f"{name} is torn")
            twin = name + ":twin"
            if twin in got and number and number % 5 == 1:
                check_equal(got[twin], value, f"{twin}, written in one transaction with {name}")
            if number:  # what is there now is the floor of the next round
                self.acked[name] = number
        return len(names)


class Home:
    """A data directory that outlives its servers."""

    def __init__(self, config, *args, folder=None):
        self.config, self.args = config.but(appendonly=None), args
        self.folder = folder or tempfile.mkdtemp(prefix="skerry-power-")
        self.own, self.servers = folder is None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:  # of a test that failed: they would hold the disk
            if server.alive():
                server.signal(signal.SIGKILL)
                server.wait_end()
                server.stop()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *more):
        server = Server(self.config, "--appendonly", "yes", "--log-segment-size", "256kb", *self.args, *more, "--dir", self.folder, wait=False)
        self.servers.append(server)
        try:
            wait_served(server)
        except BaseException:
            server.stop(failed=True)
            raise
        return server


def wait_served(server):
    """It answers, and has loaded."""

    def served():
        if server.process.poll() is not None:
            raise Failure(f"the server ended with {server.process.returncode}: {server.log()[-400:].strip()!r}")
        try:
            with Client(server.address, timeout=5) as c:
                return not isinstance(c.call("GET", "nothing"), Error)
        except (OSError, Closed):
            return False

    wait_until(served, 30, "serving")


def kill(server):
    server.signal(signal.SIGKILL)
    server.wait_end()
    server.stop()


@contextlib.contextmanager
def ended_with(server, status):
    """The server ends by itself with this status, which is no crash."""
    yield
    got = server.wait_end(15)
    server.process.returncode = 0 if got == status else got
    check_equal(got, status, "exit status")
    server.stop()


# ---- the process is killed


def kill_rounds(config, rounds, *args):
    load, seconds = Load(), random.Random(rounds)
    with Home(config, *args) as home:
        for _ in range(rounds):
            server = home.start()
            load.verify(server)
            load.begin(server)
            load.wait_for(50)
            time.sleep(seconds.random() * 0.12)
            kill(server)
            load.end()
        server = home.start()
        check(load.verify(server) > KEYS, "nothing was written")
        server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=120 + 2 * ROUNDS)
def nothing_acknowledged_is_lost_by_kill_9(config):
    kill_rounds(config, (ROUNDS + 1) // 2, "--appendfsync", "always")  # on each backend


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=120)
def nothing_written_is_lost_by_kill_9_without_flushing(config):
    kill_rounds(config, max(3, ROUNDS // 5), "--appendfsync", "no")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=120)
def the_log_of_the_reactor_survives_kill_9(config):
    kill_rounds(config.but(workers=1), max(3, ROUNDS // 5), "--appendfsync", "always", "--log-host", "reactor" if config.io == "uring" else "thread")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def kill_9_during_snapshots_loses_nothing(config):
    load = Load()
    with Home(config, "--appendfsync", "always") as home:
        for i in range(max(3, ROUNDS // 8)):
            server = home.start()
            load.verify(server)
            load.begin(server)
            load.wait_for(200)
            with server.client() as c:
                c.call("BGSAVE")
            time.sleep(0.01 * (i % 6))
            kill(server)
            load.end()
        server = home.start()
        load.verify(server)
        server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_start_waits_for_the_writes_of_a_dead_process(config):
    """The lock is held by the ring too: it is free only when the kernel has done what the dead process had begun."""
    load = Load()
    with Home(config, "--appendfsync", "always") as home:
        for _ in range(max(3, ROUNDS // 10)):
            server = home.start()
            load.verify(server)
            load.begin(server)
            load.wait_for(100)
            server.signal(signal.SIGKILL)  # and at once, before it is even reaped
            again = home.start()
            server.wait_end()
            server.stop()
            load.end()
            load.verify(again)
            again.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_locked_directory_is_waited_for_and_that_is_said(config):
    with Home(config, "--appendfsync", "always") as home:
        home.start().stop()
        data = os.path.join(home.folder, "skerry-data")
        lock = os.open(os.path.join(data, "LOCK"), os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = Server(home.config, "--appendonly", "yes", "--dir", home.folder, wait=False)
        try:
            wait_until(lambda: "in use by another process" in server.log(), 20, "saying that it waits")
            check(server.alive(), "it does not wait")
            os.close(lock)
            wait_served(server)
        finally:
            server.stop()


# ---- the power goes


def power_rounds(disk, config, rounds, policy="always"):
    load, seconds = Load(), random.Random(7)
    with Home(config, "--appendfsync", policy, folder=disk.root) as home:
        for _ in range(rounds):
            server = home.start("--on-log-error", "read-only")
            load.verify(server)
            load.begin(server)
            load.wait_for(100)
            time.sleep(seconds.random() * 0.2)
            disk.power_cut()
            time.sleep(0.05)
            kill(server)
            load.end()
            disk.power_on()
        server = home.start()
        check(load.verify(server) > KEYS, "nothing was written")
        server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=120)
def nothing_acknowledged_is_lost_when_the_file_system_loses_power(config):
    with SmallDisk(64) as disk:
        power_rounds(disk, config, max(3, ROUNDS // 10))


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=120)
def nothing_acknowledged_is_lost_when_the_disk_loses_power(config):
    with FaultDisk(config.build, 96) as disk:
        power_rounds(disk, config, max(3, ROUNDS // 10))


class Clock(Writer):
    """Notes when each number was acknowledged."""

    def __init__(self, address):
        super().__init__(address, "clock", 0)
        self.times = []

    def run(self):
        try:
            with Client(self.address, timeout=30) as c:
                while not self.stop_asked.is_set():
                    self.number += 1
                    if c.call("SET", f"clock:{self.number}", self.number) != "OK":
                        return
                    self.times.append((self.number, time.monotonic()))
        except (OSError, Closed):
            pass


@test(cells=harness.ONCE, own=True, skerry_only=True, seconds=120)
def everysec_loses_one_second_at_most_and_has_no_hole(config):
    with FaultDisk(config.build, 96) as disk, Home(config, "--appendfsync", "everysec", folder=disk.root) as home:
        for _ in range(2):
            server = home.start("--on-log-error", "read-only")
            with server.client() as c:
                c.must("FLUSHALL")
            clock = Clock(server.address)
            clock.start()
            time.sleep(2.5)
            disk.power_cut()
            cut = time.monotonic()
            time.sleep(0.05)
            kill(server)
            clock.join(60)
            disk.power_on()
            server = home.start()
            with server.client() as c:
                there = c.pipeline([("GET", f"clock:{n}") for n, _ in clock.times])
            server.stop()
            kept = sum(v is not None for v in there)
            check(all(v is not None for v in there[:kept]), "there is a hole")
            lost = [when for (_, when), v in zip(clock.times, there) if v is None and when <= cut]
            age = cut - lost[0] if lost else 0
            check(age <= 1.0, f"{age:.3f} s of acknowledged writes are lost")


# ---- the disk fails


def failing(config, policy, orders, *args):
    """A disk that fails under load: the server ends with its own status, and the next one has all that was acknowledged."""
    with FaultDisk(config.build, 96) as disk, Home(config, "--appendfsync", policy, *args, folder=disk.root) as home:
        load = Load()
        server = home.start()
        load.begin(server)
        load.wait_for(200)
        with ended_with(server, LOG_FAILED):
            disk.order(orders)
        load.end()
        disk.mend()
        server = home.start()
        check(load.verify(server) > KEYS, "nothing was written")
        load.begin(server)
        load.wait_for(100)
        load.end()
        load.verify(server)
        server.stop()
        return load


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def a_write_that_fails_ends_the_log_and_loses_nothing_acknowledged(config):
    load = failing(config, "always", "eio_match w1: 1")
    check(all(e.startswith(("IOERR", "EXECABORT")) for e in load.errors), f"errors: {set(load.errors)}")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def a_flush_that_fails_ends_the_log_and_loses_nothing_acknowledged(config):
    load = failing(config, "always", "eio_flush 3 1000", "--log-segment-size", "4mb")  # the log's own flushes, not a new segment's
    check(all(e.startswith(("IOERR", "EXECABORT")) for e in load.errors), f"errors: {set(load.errors)}")


@test(cells=harness.ONCE, own=True, skerry_only=True, seconds=90)
def with_read_only_a_failed_log_leaves_reads(config):
    with FaultDisk(config.build, 96) as disk, Home(config, "--appendfsync", "always", "--on-log-error", "read-only", "--log-segment-size", "4mb", folder=disk.root) as home:
        server = home.start()
        with server.client() as c:
            c.must("SET", "before", "v")
            disk.order("eio_flush 0 1000")
            try:
                reply = c.call("SET", "during", "v")
                check(isinstance(reply, Error) and reply.startswith("IOERR"), f"answered {reply!r}")  # or a seal was written first
            except Closed:
                pass
        with server.client() as c:
            check_equal(c.call("GET", "before"), b"v")
            reply = c.call("SET", "after", "v")
            check(isinstance(reply, Error) and reply.startswith("IOERR"), f"answered {reply!r}")
        server.stop()
        disk.mend()
        server = home.start()
        with server.client() as c:
            check_equal(c.call("GET", "before"), b"v")
            check_equal(c.call("SET", "after", "v"), "OK")
        server.stop()


def wait_for_refusal(load):
    wait_until(lambda: any(e.startswith("MISCONF") for w in load.live for e in w.errors), 30, "a write that is refused for want of room")


def fill_under(load, server, disk):
    """The disk is full, and the server has said so to a writer; gives the file that takes the room."""
    load.begin(server)
    load.wait_for(200)
    filler = disk.fill()
    wait_for_refusal(load)
    return filler


def written_again(server, key):
    with server.client() as c:
        wait_until(lambda: c.call("SET", key, "again") == "OK", 20, "writing again")


def has_all_behind_a_kill(home, server, load, key):
    """Also what `written_again` has written."""
    kill(server)
    server = home.start()
    load.verify(server)
    with server.client() as c:
        check_equal(c.call("GET", key), b"again")
    server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def a_full_disk_refuses_writes_and_goes_on_by_itself_when_there_is_room(config):
    with SmallDisk(24) as disk, Home(config, "--appendfsync", "always", folder=disk.root) as home:
        load = Load()
        server = home.start()
        filler = disk.fill()
        load.begin(server)
        wait_for_refusal(load)
        with server.client() as c:
            check_equal(c.call("PING"), "PONG")
            check(not isinstance(c.call("GET", "w0:0"), Error), "reads go on")
        os.unlink(filler)
        seen = load.total()
        written_again(server, "room")
        load.wait_for(seen + 100)
        load.end()
        has_all_behind_a_kill(home, server, load, "room")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def killed_on_a_full_disk_it_starts_there_for_reads_and_has_all_that_was_acknowledged(config):
    with SmallDisk(24) as disk, Home(config, "--appendfsync", "always", folder=disk.root) as home:
        load = Load()
        server = home.start()
        filler = fill_under(load, server, disk)
        kill(server)
        load.end()
        server = home.start()
        check(load.verify(server) > KEYS, "nothing was written")
        with server.client() as c:
            reply = c.call("SET", "room", "none")
            check(isinstance(reply, Error) and reply.startswith("MISCONF"), f"answered {reply!r}")
        os.unlink(filler)
        written_again(server, "room")
        has_all_behind_a_kill(home, server, load, "room")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def shut_down_on_a_full_disk_it_has_all_that_was_acknowledged(config):
    with SmallDisk(24) as disk, Home(config, "--appendfsync", "always", folder=disk.root) as home:
        load = Load()
        server = home.start()
        filler = fill_under(load, server, disk)
        load.end()
        with ended_with(server, 0), server.client() as c:
            c.send(b"SHUTDOWN\r\n")
        os.unlink(filler)
        server = home.start()
        load.verify(server)
        server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def killed_on_a_full_disk_everysec_loses_the_last_second_of_oks_at_most_and_has_no_hole(config):
    with SmallDisk(24) as disk, Home(config, "--appendfsync", "everysec", folder=disk.root) as home:
        server = home.start()
        clock = Clock(server.address)
        clock.start()
        time.sleep(1.5)
        filler = disk.fill()
        clock.join(60)  # refused
        with server.client() as c:
            check_equal(c.call("GET", "clock:1"), b"1")
        time.sleep(1.5)  # what was acknowledged has no room, however long it waits
        kill(server)
        server = home.start()
        with server.client() as c:
            there = c.pipeline([("GET", f"clock:{n}") for n, _ in clock.times])
        kept = sum(v is not None for v in there)
        check(kept > 0 and all(v is not None for v in there[:kept]), "there is a hole")
        lost = [when for (_, when), v in zip(clock.times, there) if v is None]
        check(not lost or clock.times[-1][1] - lost[0] <= 1.0, f"{len(lost)} OKs are lost, the oldest one {clock.times[-1][1] - (lost or [0])[0]:.3f} s "
              "before the last")
        os.unlink(filler)
        written_again(server, "room")
        server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def stopped_on_a_full_disk_under_everysec_its_status_says_whether_oks_are_lost(config):
    with SmallDisk(24) as disk, Home(config, "--appendfsync", "everysec", "--log-segment-size", "64kb", folder=disk.root) as home:
        server = home.start()
        filler, told, value = disk.fill(), 0, b"v" * 4000
        with server.client() as c:
            while c.call("SET", f"k{told}", value) == "OK":
                told += 1
                check(told < 100000, "no write is ever refused")
        server.process.terminate()
        status = server.wait_end(30)
        server.process.returncode = 0
        server.stop()
        os.unlink(filler)
        server = home.start()
        with server.client() as c:
            kept = sum(c.call("EXISTS", f"k{n}") for n in range(told))
        server.stop()
        check(told > 0, "nothing was written")
        check_equal(status, LOG_FAILED if kept < told else 0, f"exit status; {kept} of {told} OKs are there")


@test(cells=harness.ONCE, own=True, skerry_only=True, seconds=60)
def a_limit_of_file_size_is_a_full_disk_and_no_death(config):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 10, resource.RLIM_INFINITY))

    with Home(config.but(io="epoll"), "--appendfsync", "always") as home:
        server = Server(home.config, "--appendonly", "yes", "--log-segment-size", "1mb", "--dir", home.folder, wait=False, start=limit)
        try:
            end = time.monotonic() + 20 * harness.SLOW
            while server.alive() and time.monotonic() < end:
                try:
                    with Client(server.address, timeout=5) as c:
                        reply = c.call("SET", "k", "v")
                        if not isinstance(reply, Error) or not reply.startswith("LOADING"):
                            break
                except (OSError, Closed):
                    pass
                time.sleep(0.05)
            status = server.process.poll()
            check(status is None or status in (0, 1), f"it died with {status}: {server.log()[-300:]}")
            check(status is None or "File too large" in server.log() or os.strerror(errno.EFBIG) in server.log(), server.log()[-300:])
        finally:
            server.stop()
