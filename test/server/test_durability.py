# SPDX-License-Identifier: Apache-2.0
"""What survives: restarts, kill -9, full and failing disks, and what clients hear meanwhile."""

import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from compat import fcnp_client as fcnp
from harness import (BACKENDS, ONCE, Client, Closed, Error, Failure, Server, Skip, check, check_equal, encode, free_range, run_to_end, test,
                     wait_until)

POLICIES = ("always", "everysec", "no")
WAITING = "in use by another process: waiting"
UNKNOWN = "IOERR outcome unknown: the log failed before this was safe"
FAILED = "IOERR the log has failed: no writes until the server has been started again"
FULL = "MISCONF Errors writing to the AOF file: No space left on device"


class Folder:
    """Outlives servers."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="skerry-data-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def durable(config, folder, policy, *args, **options):
    return Server(config.but(appendonly=None), "--dir", folder, "--appendonly", "yes", "--appendfsync", policy, "--log-segment-size", "1mb",
                  *args, **options)


def several(config):
    """One and two workers, several shards."""
    return [config.but(workers=1, shards=8), config.but(workers=2, shards=8)]


def info(c):
    text = c.call("INFO", "persistence")
    text = text.decode() if isinstance(text, bytes) else text
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def everything(c):
    """All keys of all databases: value and time of death."""
    found = {}
    for db in range(4):
        c.call("SELECT", db)
        for key in c.call("KEYS", "*"):
            found[db, key] = (c.call("GET", key), c.call("PEXPIRETIME", key))
        check_equal(c.call("DBSIZE"), sum(1 for d, _ in found if d == db), f"DBSIZE of database {db}")
    c.call("SELECT", 0)
    return found


def some_of_all(c):
    """Every way to change a key."""
    big = os.urandom(3_000_000)
    for i in range(300):
        c.call("SET", f"key:{i}", f"value {i}")
    c.call("FLUSHALL")
    for i in range(300):
        c.call("SET", f"key:{i}", f"value {i}", *(("EX", 1000 + i) if i % 3 == 0 else ()))
    c.call("DEL", *(f"key:{i}" for i in range(0, 300, 7)))
    c.call("SET", "float", "0.1")
    c.call("INCRBYFLOAT", "float", "0.2")
    c.call("INCR", "number")
    c.call("SET", "big", big)
    c.call("APPEND", "big", "tail")
    c.call("SETRANGE", "big", 1_500_000, "in the middle")
    c.call("SETBIT", "big", 99, 1)
    c.call("SETRANGE", "hole", 200_000, "x")
    c.call("MSET", *(w for i in range(40) for w in (f"m:{i}", i)))
    c.call("PEXPIREAT", "m:1", 1)
    c.call("SET", "short", "lived", "PX", 1)
    c.call("EXPIRE", "m:2", 5000)
    c.call("EXPIRE", "m:3", 5000)
    c.call("PERSIST", "m:3")
    c.call("RENAME", "m:4", "renamed")
    c.call("COPY", "m:5", "copied", "DB", 2)
    c.call("SELECT", 1)
    c.call("SET", "of", "database 1")
    c.call("SWAPDB", 1, 3)
    c.call("SET", "in the new", "database 1")
    c.call("SELECT", 2)
    c.call("SET", "gone", "soon")
    c.call("FLUSHDB")
    c.call("SET", "flushed", "and written")
    c.call("SELECT", 0)
    check_equal(c.call("MULTI"), "OK", "MULTI")
    for i in range(30):
        c.call("SET", f"exec:{i}", i)
    c.call("DEL", "exec:3")
    check_equal(len(c.call("EXEC")), 31, "EXEC")
    time.sleep(0.05)
    check_equal(c.call("GET", "short"), None, "what expired")


@test(BACKENDS, own=True, skerry_only=True, seconds=240)
def a_restart_finds_everything_under_every_policy(config):
    for policy in POLICIES:
        for here, there in zip(several(config), reversed(several(config))):
            with Folder() as folder:
                with durable(here, folder, policy) as s, s.client(timeout=30) as c:
                    some_of_all(c)
                    before = everything(c)
                # Another number of workers finds the same.
                with durable(there, folder, policy) as s, s.client(timeout=30) as c:
                    after = everything(c)
                    check(before == after, f"{policy}: differ in {[k for k in before.keys() | after.keys() if before.get(k) != after.get(k)][:5]}")
                    check_equal(c.call("INCR", "number"), 2, "the number goes on")
                with durable(here, folder, policy) as s, s.client(timeout=30) as c:
                    check_equal(c.call("GET", "number"), b"2", "the number")


class Writer(threading.Thread):
    """Writes until the server is gone and keeps what it was told: `acked` values, `maybe` those without a reply."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server, self.number = server, number
        self.acked, self.maybe, self.writes = {}, {}, 0

    def one(self, c, keys, value, *command):
        for key in keys:
            self.maybe.setdefault(key, []).append(value)
        reply = c.call(*command)
        if reply != "OK":
            raise Failure(f"{command[0]}: {reply!r}")
        for key in keys:
            self.acked[key], self.maybe[key] = value, []
        self.writes += 1

    def run(self):
        try:
            with self.server.client(timeout=20) as c:
                while True:
                    value = b"%d" % random.getrandbits(60)
                    if random.randrange(8) > 0:
                        key = f"{self.number}:{random.randrange(300)}"
                        self.one(c, [key], value, "SET", key, value)
                    else:
                        group = random.randrange(20)
                        keys = [f"{self.number}:t{group}:{i}" for i in range(4)]
                        self.one(c, keys, value, "MSET", *(w for k in keys for w in (k, value)))
        except (OSError, Closed, EOFError):
            pass


def kill_rounds(config, policy, rounds, seconds):
    known, maybe, total = {}, {}, 0
    with Folder() as folder:
        for round in range(rounds + 1):
            with durable(config, folder, policy) as s:
                with s.client(timeout=20) as c:
                    for key in known.keys() | maybe.keys():
                        value = c.call("GET", key)
                        check(value == known.get(key) or value in maybe.get(key, ()),
                              f"round {round}: {key} is {value!r}: acknowledged was {known.get(key)!r}")
                        known[key] = value
                    groups = {key.rsplit(":", 1)[0] for key in known if ":t" in key}
                    for group in groups:
                        values = {known.get(f"{group}:{i}") for i in range(4)}
                        check(len(values) == 1, f"round {round}: a transaction by halves: {group} {values!r}")
                maybe = {}
                if round == rounds:
                    return total
                writers = [Writer(s, n) for n in range(6)]
                for w in writers:
                    w.start()
                time.sleep(seconds * (0.5 + random.random()))
                s.signal(signal.SIGKILL)
                s.wait_end()
                for w in writers:
                    w.join(20)
                    known.update(w.acked)
                    for key, values in w.maybe.items():
                        maybe[key] = values
                    total += w.writes
    return total


@test(BACKENDS, own=True, skerry_only=True, seconds=240)
def nothing_acknowledged_is_lost_by_kill_9(config):
    for c in several(config):
        writes = kill_rounds(c, "always", 5, 0.4)
        check(writes > 100, f"only {writes} writes")


@test(BACKENDS, own=True, skerry_only=True, seconds=120)
def what_was_written_is_not_lost_by_kill_9(config):
    kill_rounds(config.but(workers=2, shards=8), "no", 3, 0.3)


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def readers_do_not_wait_for_writers_of_other_keys(config):
    for cell in several(config):
        with Folder() as folder, durable(cell, folder, "always") as s, s.client() as c, s.client() as other:
            c.call("SET", "read", "value")
            before, writes = int(info(c)["log_replies_held"]), 150

            def write():
                for i in range(writes):
                    other.call("SET", f"written:{i}", i)

            writer = threading.Thread(target=write)
            writer.start()
            for _ in range(2000):
                check_equal(c.call("GET", "read"), b"value", "GET")
            writer.join()
            held = int(info(c)["log_replies_held"]) - before
            # (A flush that is over before the turn is holds nothing.)
            check(0 < held <= writes + 20, f"{held} replies were held, of {writes} writes and 2000 reads")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def clients_ask_for_more_than_the_server_gives(config):
    for cell in several(config):
        with Folder() as folder, durable(cell, folder, "everysec") as s, s.client() as c:
            check_equal(c.call("CLIENT", "DURABILITY"), b"default", "level")
            before = int(info(c)["log_replies_held"])
            for i in range(20):
                c.call("SET", f"k{i}", "v")
            check_equal(int(info(c)["log_replies_held"]), before, "held under everysec")
            check_equal(c.call("CLIENT", "DURABILITY", "always"), "OK", "CLIENT DURABILITY")
            check_equal(c.call("CLIENT", "DURABILITY"), b"always", "level")
            for i in range(20):
                c.call("SET", f"k{i}", "w")
            check(int(info(c)["log_replies_held"]) > before, "held at level always")
            check_equal(c.call("GET", "k3"), b"w", "GET")
            check_equal(c.call("CLIENT", "DURABILITY", "default"), "OK", "back")
            check_equal(c.call("CLIENT", "DURABILITY", "sometimes"), Error("ERR syntax error"), "a wrong level")
            check_equal(c.call("CLIENT", "DURABILITY", "no", "more"), Error("ERR syntax error"), "too many words")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def waitaof_waits_for_all_workers(config):
    for cell in several(config):
        with Folder() as folder, durable(cell, folder, "no") as s, s.client() as c:
            for i in range(50):
                c.call("SET", f"k{i}", "v")
            check_equal(c.call("WAITAOF", 1, 0, 5000), [1, 0], "WAITAOF")
            state = info(c)
            check(int(state["log_durable_lsn"]) > 0, "durable")
            began = time.monotonic()
            check_equal(c.call("WAITAOF", 1, 1, 100)[1], 0, "replicas")
            check(time.monotonic() - began >= 0.09, "waits for a replica as long as it was told to")
            check_equal(c.call("WAITAOF", 0, 0, 0)[1], 0, "nothing to wait for")
            check_equal(c.pipeline([("SET", "a", "1"), ("WAITAOF", 1, 0, 0), ("GET", "a")]), ["OK", [1, 0], b"1"], "in order")
            check_equal(c.call("WAITAOF", 2, 0, 0), Error("ERR value is out of range, must be between 0 and 1"), "numlocal")
            check_equal(c.call("WAITAOF", 1, -1, 0), Error("ERR value is out of range, must be positive"), "numreplicas")
            check_equal(c.call("WAITAOF", 1, 0, -1), Error("ERR timeout is negative"), "timeout")
            check_equal(c.call("WAITAOF", 1, 0, "x"), Error("ERR timeout is not an integer or out of range"), "timeout")
    with Server(config.but(appendonly=None)) as s, s.client() as c:
        check_equal(c.call("WAITAOF", 1, 0, 0),
                    Error("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."), "without a log")
        check_equal(c.call("WAITAOF", 0, 0, 0), [0, 0], "without a log")


# They came with WAITAOF's own, which may take as long as the client likes.
@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def replies_in_front_of_waitaof_do_not_wait_for_it(config):
    for cell in several(config):
        for policy in ("no", "always"):
            with Folder() as folder, durable(cell, folder, policy) as s, s.client() as c:
                c.send(encode("SET", "a", "1") + encode("GET", "a") + encode("WAITAOF", 0, 1, 1500) + encode("PING"))
                check_equal([c.read(), c.read()], ["OK", b"1"], "in front")
                came = time.monotonic()
                check_equal([c.read()[1], c.read()], [0, "PONG"], "in order")
                check(time.monotonic() - came > 0.5, "at once")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def appendfsync_may_change_while_the_server_runs(config):
    for cell in several(config):
        with Folder() as folder:
            with durable(cell, folder, "no") as s, s.client() as c:
                for policy in ("always", "everysec", "no", "always", "no"):
                    check_equal(c.call("CONFIG", "SET", "appendfsync", policy), "OK", "CONFIG SET")
                    for i in range(30):
                        check_equal(c.call("SET", f"{policy}:{i}", i), "OK", "SET")
                        check_equal(c.call("GET", f"{policy}:{i}"), b"%d" % i, "GET")
                    check_equal(info(c)["log_sync"], policy, "INFO")
            with durable(cell, folder, "no") as s, s.client() as c:
                check_equal(c.call("DBSIZE"), 90, "DBSIZE")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def clients_hear_that_the_server_is_loading(config):
    for cell in several(config):
        with Folder() as folder:
            with durable(cell, folder, "no", "--log-segment-size", "16mb") as s, s.client(timeout=30) as c:
                for start in range(0, 200_000, 5000):
                    c.send(b"".join(encode("SET", f"key:{i}", "v" * 100) for i in range(start, start + 5000)))
                    for _ in range(5000):
                        c.read()
            heard = None
            with durable(cell, folder, "no", wait=False) as s:
                end = time.monotonic() + 20
                while heard is None and time.monotonic() < end:
                    try:
                        with s.raw(timeout=5) as c:
                            heard = c.call("GET", "key:1")
                            state = info(c)
                            writes = c.call("MSET", "a", "1", "b", "2", "c", "3")
                    except (OSError, Closed):
                        time.sleep(0.002)
                check_equal(heard, Error("LOADING skerry is loading the dataset in memory"), "GET")
                check(writes == "OK" or writes == heard, f"MSET: {writes!r}")
                check(state["loading"] == "0" or "loading_eta_seconds" in state, "INFO tells how far it is")
                s.wait_ready()
                with s.client() as c:
                    check_equal(c.call("GET", "key:199999"), b"v" * 100, "the last key")
                    check(c.call("DBSIZE") >= 200_000, "DBSIZE")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_file_system_without_o_direct_is_used_and_said_or_refused(config):
    with Folder() as folder:
        if subprocess.run(["mount", "-t", "ramfs", "none", folder], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise Skip("mount is not permitted here")
        try:
            for n, direct in enumerate((("--log-direct", "auto"), (), ("--log-direct", "no"))):
                with durable(config, folder, "always", *direct) as s, s.client() as c:
                    check("the file system refuses O_DIRECT: writes go through the page cache" in s.log(), s.log()[-300:])
                    check_equal(c.call("GET", "n"), b"%d" % (n - 1) if n > 0 else None, "what was acknowledged before the kill")
                    check_equal(c.call("SET", "n", n), "OK")
                    check_equal(c.call("BGSAVE"), "Background saving started")
                    s.signal(signal.SIGKILL)
                    s.wait_end()
            with durable(config, folder, "always", "--log-direct", "yes", wait=False) as s:
                check_equal(s.wait_end(), 1)
                check("the file system refuses O_DIRECT (log-direct yes)" in s.log(), s.log()[-300:])
        finally:
            subprocess.run(["umount", folder], check=False)


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_second_server_waits_for_the_first_ones_directory(config):
    with Folder() as folder, durable(config, folder, "always") as first, first.client() as c:
        c.call("SET", "a", "1")
        with durable(config, folder, "always", wait=False) as second:
            wait_until(lambda: WAITING in second.log(), 10, "the second server says that it waits")
            check_equal(c.call("SET", "a", "2"), "OK", "the first one goes on")
            first.signal(signal.SIGTERM)
            first.wait_end()
            second.wait_ready()
            with second.client() as d:
                check_equal(d.call("GET", "a"), b"2", "what the first one wrote")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_directory_of_another_shape_is_refused(config):
    with Folder() as folder:
        with durable(config.but(workers=2, shards=8), folder, "always") as s, s.client() as c:
            c.call("SET", "a", "1")
        args = ["--dir", folder, "--appendonly", "yes", "--port", "0", "--unixsocket", "s"]
        status, text = run_to_end(config.but(workers=2, shards=16, appendonly=None), *args)
        check(status == 1 and "has 8 shards, not 16" in text, f"{status}: {text}")
        status, text = run_to_end(config.but(workers=2, shards=8, appendonly=None), *args, "--route-mode", "session-prefix")
        check(status == 1 and "route-mode" in text, f"{status}: {text}")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def rot_in_what_was_acknowledged_is_refused_and_named(config):
    with Folder() as folder:
        with durable(config, folder, "always") as s, s.client() as c:
            for i in range(60):
                c.call("SET", f"key:{i}", "v" * 2000)
        name = sorted(f for f in os.listdir(os.path.join(folder, "skerry-data")) if f.startswith("log-") and f.endswith(".skry"))[0]
        with open(os.path.join(folder, "skerry-data", name), "r+b") as f:
            f.seek(5 * 4096 + 100)
            f.write(b"rot")
        status, text = run_to_end(config.but(appendonly=None), "--dir", folder, "--appendonly", "yes", "--port", "0", "--unixsocket", "s",
                                  seconds=20)
        check(status == 1 and name in text and "Rule R3" in text and "LSN 5" in text, f"{status}: {text}")


def limit_files(s, c, size):
    """Writes of the server beyond so many bytes of a file fail from now on. Segments are ready first: making one would be the
    write that fails, and not the client's."""
    wait_until(lambda: int(info(c)["log_segments_ready"]) >= 2, 20, "two segments made ready")
    _, hard = resource.prlimit(s.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(s.pid, resource.RLIMIT_FSIZE, (size, hard))


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_failed_write_ends_the_server_with_its_own_status(config):
    for cell in several(config):
        with Folder() as folder:
            with durable(cell, folder, "always") as s, s.client() as c:
                check_equal(c.call("SET", "a", "safe"), "OK", "SET")
                limit_files(s, c, 4096)
                check_equal(c.call("SET", "b", "unknown"), Error(UNKNOWN), "SET")
                check_equal(s.wait_end(), 74, "exit status")
            with durable(cell, folder, "always") as s, s.client() as c:
                check_equal(c.call("GET", "a"), b"safe", "what was acknowledged")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_server_may_stay_for_reads_when_its_log_has_failed(config):
    for cell in several(config):
        with Folder() as folder, durable(cell, folder, "always", "--on-log-error", "read-only") as s, s.client() as c:
            check_equal(c.call("SET", "a", "safe"), "OK", "SET")
            limit_files(s, c, 4096)
            check_equal(c.call("SET", "b", "unknown"), Error(UNKNOWN), "SET")
            with s.client() as d:
                check_equal(d.call("GET", "a"), b"safe", "a read of what is safe")
                check_equal(d.call("SET", "c", "x"), Error(FAILED), "a write")
                check_equal(d.call("MSET", "c", "x", "d", "y", "e", "z"), Error(FAILED), "a write of several workers")
                d.call("MULTI")
                check_equal(d.call("SET", "c", "x"), Error(FAILED), "a write that is queued")
                check(str(d.call("EXEC")).startswith("EXECABORT"), "EXEC")
                check_equal(info(d)["log_state"], "failed", "INFO")
            check(s.alive(), "it stays")


@test(ONCE, own=True, skerry_only=True, seconds=60)
def a_log_that_may_not_be_made_is_refused_at_start(config):
    with Folder() as folder:
        status, text = run_to_end(config.but(appendonly=None), "--dir", folder, "--appendonly", "yes", "--port", "0", "--unixsocket", "s",
                                  "--log-segment-size", "4mb", prefix=["prlimit", "--fsize=1048576"], seconds=20)
        check(status == 1 and "cannot begin" in text, f"{status}: {text}")


class SmallDisk:
    """An ext4 of a few MiB."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        if os.geteuid() != 0:
            raise Skip("mounting needs root")
        self.base = tempfile.mkdtemp(prefix="skerry-disk-")
        image, self.path = os.path.join(self.base, "image"), os.path.join(self.base, "mounted")
        os.mkdir(self.path)
        with open(image, "wb") as f:
            f.truncate(self.size)
        for command in (["mkfs.ext4", "-q", "-m", "0", "-b", "4096", image], ["mount", "-o", "loop", image, self.path]):
            try:
                done = subprocess.run(command, capture_output=True)
            except FileNotFoundError:
                shutil.rmtree(self.base, ignore_errors=True)
                raise Skip(f"no {command[0]}") from None
            if done.returncode != 0:
                shutil.rmtree(self.base, ignore_errors=True)
                raise Skip(f"{command[0]}: {done.stderr.decode().strip()}")
        return self.path

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=False)
        shutil.rmtree(self.base, ignore_errors=True)


@test(BACKENDS, own=True, skerry_only=True, seconds=120)
def a_full_disk_refuses_writes_and_resumes_by_itself(config):
    with SmallDisk(32 << 20) as folder:
        os.chmod(folder, 0o777)
        with open(os.path.join(folder, "filler"), "wb") as f:
            f.write(b"x" * (10 << 20))
        acked = {}
        with durable(config, folder, "always") as s, s.client(timeout=30) as c:
            reply = "OK"
            for i in range(3000):
                reply = c.call("SET", f"key:{i}", b"%d" % i * 2000)
                if reply != "OK":
                    break
                acked[f"key:{i}"] = b"%d" % i * 2000
            check_equal(reply, Error(FULL), "SET when the disk is full")
            check_equal(c.call("GET", "key:7"), acked["key:7"], "reads go on")
            check_equal(c.call("MSET", "a", "1", "b", "2", "c", "3"), Error(FULL), "MSET")
            check_equal(info(c)["log_state"], "full", "INFO")
            os.unlink(os.path.join(folder, "filler"))
            wait_until(lambda: c.call("SET", "after", "room") == "OK", 20, "writes go on once there is room")
            acked["after"] = b"room"
        with durable(config, folder, "always") as s, s.client(timeout=30) as c:
            lost = [k for k, v in acked.items() if c.call("GET", k) != v]
            check(not lost, f"{len(lost)} of {len(acked)} acknowledged writes are lost: {lost[:5]}")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_frame_says_how_safe_its_change_has_to_be(config):
    always, levels = 3 << 3, 2 | 1 << 32

    def set_frame(key, flags):
        return fcnp.frame(fcnp.SET, fcnp.BODY[fcnp.SET](key, b"value"), flags)

    for cell in several(config):
        with Folder() as folder, durable(cell, folder, "everysec") as s, s.client() as watch, fcnp.Fanout(*s.address) as c:
            with fcnp.Fanout(*s.address) as stranger:
                stranger.send(set_frame(b"k", always))
                check(isinstance(stranger.read(), fcnp.Error) and stranger.at_end(), "flags that nobody has asked for")
            reply = c.call(fcnp.HELLO, levels)
            check_equal(dict(zip(reply[::2], reply[1::2])).get(b"levels"), b"1", "HELLO")
            check(isinstance(c.call(fcnp.HELLO, 2 | 1 << 33), fcnp.Error), "what HELLO does not know")
            before = int(info(watch)["log_replies_held"])
            for i in range(20):
                c.send(set_frame(b"plain:%d" % i, 0))
                check(c.read() is fcnp.Ok, "SET")
            check_equal(int(info(watch)["log_replies_held"]), before, "held without a level")
            for i in range(20):
                c.send(set_frame(b"safe:%d" % i, always))
                check(c.read() is fcnp.Ok, "SET")
            check(int(info(watch)["log_replies_held"]) > before, "held at level always")
            check_equal(c.call(fcnp.GET, b"safe:7"), b"value", "GET")


@test(BACKENDS, own=True, skerry_only=True, seconds=120)
def frames_that_were_answered_are_there_after_kill_9_whichever_port_and_shard_they_came_by(config):
    def write(connection, keys, value):
        connection.send(b"".join(fcnp.encode(fcnp.SET, key, value, flags=fcnp.ROUTED, shards=8) for key in keys))
        check(all(connection.read() is fcnp.Ok for _ in keys), "SET")

    keys = [b"key:%d" % i for i in range(400)]
    for cell in several(config):
        with Folder() as folder:
            with free_range(9) as port:
                s = durable(cell, folder, "always", "--direct-ports", "yes", "--direct-base-port", port + 1, port=port)
            with s, s.client() as watch, fcnp.Fanout(*s.address) as fanout, fcnp.Direct(*s.address) as direct:
                write(fanout, keys, b"new keys")
                write(fanout, keys, b"a fanout")
                for shard, connection in enumerate(direct.shards):
                    write(connection, [key for key in keys if fcnp.shard_of(key, 8) == shard and key != keys[-1]], b"its port")
                before = int(info(watch)["log_replies_held"])
                write(direct.of(keys[-1]), [keys[-1]], b"the last")
                check(int(info(watch)["log_replies_held"]) > before, "held")
                s.signal(signal.SIGKILL)
                s.wait_end()
            with durable(cell, folder, "always") as s, s.client() as c:
                wrong = [key for key in keys if c.call("GET", key) != (b"the last" if key == keys[-1] else b"its port")]
                check(not wrong, f"{len(wrong)} of {len(keys)} acknowledged writes are lost: {wrong[:5]}")


@test(BACKENDS, own=True, skerry_only=True, seconds=120)
def replies_that_wait_keep_their_order_and_their_bytes(config):
    big = [os.urandom(300_000 + i) for i in range(4)]
    for cell in several(config):
        for policy in ("always", "no"):
            with Folder() as folder, durable(cell, folder, policy) as s:
                for round in range(5):
                    key = f"q{round}"
                    with s.client() as c:  # QUIT, and a half that is closed, while replies wait
                        check_equal(c.pipeline([("SET", key, "1"), ("GET", key), ("QUIT",)]), ["OK", b"1", "OK"], "QUIT")
                        c.expect_closed()
                    with s.client() as c:
                        c.send(encode("SET", key, "2") + encode("GET", key))
                        c.half_close()
                        check_equal([c.read(), c.read()], ["OK", b"2"], "half a connection")
                        c.expect_closed()
                    with s.client() as c:  # values that are sent by reference and written over meanwhile
                        words = [w for i, value in enumerate(big) for w in
                                 [("SET", f"b{i}", value), ("GET", f"b{i}"), ("SET", f"b{i}", "x"), ("MGET", f"b{i}", key)]]
                        want = [w for value in big for w in ["OK", value, "OK", [b"x", b"2"]]]
                        sender = threading.Thread(target=c.send, args=(b"".join(encode(*w) for w in words),))
                        sender.start()
                        got = [c.read() for _ in want]
                        sender.join()
                        check(got == want, f"large values: differ at {[i for i, w in enumerate(want) if got[i] != w][:3]}")
                        got = c.pipeline([("MULTI",), ("SET", "m1", round), ("SET", "m2", round), ("GET", "m1"), ("INCR", "m3"), ("EXEC",), ("PING",),
                                          ("GET", "m3")])
                        check_equal(got[-3:], [["OK", "OK", b"%d" % round, round + 1], "PONG", b"%d" % (round + 1)], "EXEC")
                    c = s.client()  # a client that goes away
                    c.send(b"".join(encode("SET", f"g{i}", "1") for i in range(50)))
                    c.close()
                    with s.client() as c:
                        c.send(b"".join(encode("SET", "r", i) + encode("GET", "r") for i in range(500)))
                        for i in range(500):
                            check_equal([c.read(), c.read()], ["OK", b"%d" % i], "a long pipeline")


@test(BACKENDS, own=True, skerry_only=True)
def the_null_of_exec_waits_for_the_change_that_it_shows(config):
    for cell in several(config):
        with Folder() as folder, durable(cell, folder, "everysec") as s, s.client() as c, s.client() as other:
            check_equal(c.call("CLIENT", "DURABILITY", "always"), "OK")
            for n in range(40):  # keys of all shards
                check_equal(c.call("WATCH", f"k{n}"), "OK")
                check_equal(other.call("SET", f"k{n}", n), "OK", "at once: everysec")
                check_equal(c.pipeline([("MULTI",), ("PING",), ("EXEC",)]), ["OK", "QUEUED", None])
                check_equal(info(other)["aof_buffer_length"], "0", "what is not durable when the null comes")
