# SPDX-License-Identifier: Apache-2.0
"""skerry-admin as a program: what it makes of other servers' files, what it says, and how it ends."""

import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import zlib

import harness
from harness import Failure, Skip, check, check_equal, test, wait_until


class Folder:
    """A temporary folder, and the tool run in it."""

    def __init__(self, config):
        self.tool = os.path.join(config.build, "skerry-admin")
        self.path = tempfile.mkdtemp(prefix="skerry-admin-")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def at(self, name):
        return os.path.join(self.path, name)

    def run(self, *args):
        done = subprocess.run([self.tool, *map(str, args)], cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60 * harness.SLOW)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def good(self, *args):
        status, text = self.run(*args)
        check(status == 0, f"{args[0]} ended with {status}: {text[-300:]}")
        return text

    def check_json(self, name):
        status, text = self.run("check", name, "--json")
        return status, json.loads(text)

    def dump(self, name, *args):
        """Everything as objects; bytes are their Latin-1."""
        return [json.loads(line) for line in self.good("dump", name, "--json", *args).splitlines()]

    def entries(self, name):
        return {(e["db"], e["key"]): (e["value"], e.get("deadline_ms")) for e in self.dump(name) if "entry" in e}


class Other:
    """A redis-server or valkey-server that writes an RDB file."""

    def __init__(self, program, folder):
        if shutil.which(program) is None:
            raise Skip(f"{program} is not installed")
        self.folder, self.port = folder, harness.free_port()
        self.process = subprocess.Popen([program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(self.answers, 10, f"{program} starts")
        except BaseException:
            self.stop()
            raise

    def answers(self):
        try:
            with harness.Client(("127.0.0.1", self.port)) as c:
                return c.call("PING") == "PONG"
        except (OSError, harness.Closed):
            return False

    def __enter__(self):
        return harness.Client(("127.0.0.1", self.port))

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.kill()
        self.process.wait()


ALL_BYTES = bytes(range(256))


def fill(c):
    """Strings of every encoding that RDB has, and at least one key of every other type; gives what has to arrive."""
    want = {}

    def add(key, value, *more, db=0, deadline=None):
        c.must("SELECT", db)
        c.must("SET", key, value, *more)
        want[(db, key.decode("latin-1"))] = (value.decode("latin-1"), deadline)

    for i in (0, 63, -1, 127, 128, -32768, 32768, 2147483647, -2147483648, 2147483648):
        add(b"number:%d" % i, b"%d" % i)
    for n in (0, 1, 63, 64, 300, 16383, 16384, 70000):
        add(b"plain:%d" % n, (ALL_BYTES * (n // 256 + 1))[:n])
        add(b"packed:%d" % n, b"a" * n)
    add(ALL_BYTES, b"any bytes")
    add(b"12345", b"a key that is a number")
    add(b"later", b"v", "PXAT", 4102444800123, deadline=4102444800123)
    add(b"later", b"w", "EXAT", 4102444800, db=5, deadline=4102444800000)
    c.must("SELECT", 0)
    c.must("RPUSH", "small-list", "a", 1, "b")
    c.must("RPUSH", "large-list", *[b"x" * 50 for _ in range(2000)])
    c.must("RPUSH", "plain-node", b"y" * 70000)
    c.must("SADD", "numbers", 1, 2, 3)
    c.must("SADD", "small-set", "a", "b")
    c.must("SADD", "large-set", *range(-600, 600), "word")
    c.must("ZADD", "small-zset", 1.5, "a", "-inf", "b")
    c.must("ZADD", "large-zset", *[x for i in range(300) for x in (i / 7, f"m{i}")])
    c.must("HSET", "small-hash", "f", "v")
    c.must("HSET", "large-hash", "f", b"z" * 500, "g", 1)
    for i in range(300):
        c.must("XADD", "stream", "*", "field", i, "other", b"s" * 30)
    c.must("XGROUP", "CREATE", "stream", "group", 0)
    c.must("XREADGROUP", "GROUP", "group", "consumer", "COUNT", 20, "STREAMS", "stream", ">")
    c.must("XDEL", "stream", c.must("XRANGE", "stream", "-", "+", "COUNT", 1)[0][0])
    c.must("SET", "behind", "all of them")
    want[(0, "behind")] = ("all of them", None)
    return want


OTHERS = (("list", 3), ("set", 3), ("zset", 2), ("hash", 2), ("stream", 1))


def arrives(config, program, *settings):
    with Folder(config) as f, Other(program, f.path) as c:
        for name, value in settings:
            c.must("CONFIG", "SET", name, value)
        want = fill(c)
        check_equal(c.must("SAVE"), "OK")
        said = f.good("import-rdb", "dump.rdb", "data", "--shards", 8)
        for kind, count in OTHERS:
            check(f"left out: {count} keys of type {kind}," in said, f"{kind}: {said}")
        got = f.entries("data")
        for key, value in want.items():
            check(key in got, f"{key!r} is missing")
            check(got[key] == value, f"{key!r} is {got[key]!r}, not {value!r}")
        check_equal(len(got), len(want), "keys")
        status, report = f.check_json("data")
        check_equal((status, report["good"], report["entries"], report["manifest"]["shards"]), (0, True, len(want), 8))


@test(cells=harness.ONCE, own=True, skerry_only=True)
def every_string_of_a_redis_file_arrives(config):
    arrives(config, "redis-server")


@test(cells=harness.ONCE, own=True, skerry_only=True)
def every_string_of_a_valkey_file_arrives(config):
    arrives(config, "valkey-server")


@test(cells=harness.ONCE, own=True, skerry_only=True)
def a_file_without_packing_and_checksum_is_read_too(config):
    arrives(config, "redis-server", ("rdbcompression", "no"))


@test(cells=harness.ONCE, own=True, skerry_only=True)
def a_damaged_file_leaves_no_directory_that_looks_whole(config):
    with Folder(config) as f, Other("redis-server", f.path) as c:
        fill(c)
        c.must("SAVE")
        with open(f.at("dump.rdb"), "rb") as file:
            whole = file.read()
        for what, data in (("cut", whole[:-9]), ("flipped", whole[:5000] + bytes([whole[5000] ^ 4]) + whole[5001:]), ("more", whole + b"*1\r\n")):
            with open(f.at(what + ".rdb"), "wb") as file:
                file.write(data)
            status, said = f.run("import-rdb", what + ".rdb", what)
            check_equal(status, 1, f"{what}: {said}")
            check(f"{what}.rdb at " in said, said)
            status, said = f.run("check", what)
            check_equal(status, 2, f"check of {what}: {said}")


@test(cells=harness.ONCE, own=True, skerry_only=True)
def wrong_usage_is_said_and_changes_nothing(config):
    with Folder(config) as f:
        for args, part in (([], "--help"), (["mend"], "unknown action"), (["check"], "a path is missing"), (["check", "a", "b"], "one path too many"),
                           (["check", "nowhere"], "no such directory"), (["check", ".", "--to-lsn", "1"], "unknown option"),
                           (["restore", "a", "b", "--to-lsn", "1", "--to-time", "5"], "two ways"), (["restore", "a", "b", "--to-time", "noon"], "a time like"),
                           (["import-rdb", "a", "b", "--shards", "3"], "power of two"), (["import-rdb", "nothing.rdb", "b"], "nothing.rdb"),
                           (["dump", ".", "--from"], "wants an LSN"), (["dump", "elsewhere"], "not the name of")):
            status, said = f.run(*args)
            check_equal(status, 2, f"{args}: {said}")
            check(part in said, f"{args}: {said}")
        status, said = f.run("check", ".")
        check_equal(status, 2, said)
        check("usage: skerry-admin" in f.good("--help") and "skerry-admin " in f.good("--version"), "help")


@test(cells=harness.ONCE, own=True, skerry_only=True)
def a_full_target_is_never_written_to(config):
    with Folder(config) as f, Other("redis-server", f.path) as c:
        c.must("SET", "k", "v")
        c.must("SAVE")
        f.good("import-rdb", "dump.rdb", "data")
        before = f.good("dump", "data")
        for args in (["import-rdb", "dump.rdb", "data"], ["backup", "data", "data"], ["restore", "data", "data"], ["salvage", "data", "data"]):
            status, said = f.run(*args)
            check_equal(status, 2, f"{args}: {said}")
        check_equal(f.good("dump", "data"), before)


@test(cells=harness.ONCE, own=True, skerry_only=True)
def a_backup_of_a_backup_is_the_same(config):
    with Folder(config) as f, Other("redis-server", f.path) as c:
        want = fill(c)
        c.must("SAVE")
        f.good("import-rdb", "dump.rdb", "data")
        check("verified" in f.good("backup", "data", "copy"), "verified")
        f.good("restore", "copy", "again")
        f.good("salvage", "again", "saved")
        for name in ("copy", "again", "saved"):
            check_equal(len(f.entries(name)), len(want), name)
            check_equal(f.check_json(name)[0], 0, name)


# ---- directories of real servers


class Home:
    """A server's folder that outlives it; the data directory is in it."""

    def __init__(self, config, folder, *args):
        self.config, self.folder, self.args = config, folder, args
        self.data = os.path.join(folder, "skerry-data")

    def start(self):
        server = harness.Server(self.config, "--log-segment-size", "256kb", *self.args, "--dir", self.folder, wait=False)

        def served():
            if not server.alive():
                raise Failure(f"the server ended with {server.process.poll()}: {server.log()[-300:].strip()!r}")
            try:
                with server.client() as c:
                    return not isinstance(c.call("GET", "k"), harness.Error)
            except (OSError, harness.Closed):
                return False

        try:
            wait_until(served, 20, "serving")
        except BaseException:
            server.stop(failed=True)
            raise
        return server

    def contents(self):
        """Of all keys of database 0, by a server that is started for it."""
        server = self.start()
        try:
            with server.client() as c:
                keys = sorted(c.must("KEYS", "*"))
                return dict(zip(keys, c.pipeline([("GET", k) for k in keys])))
        finally:
            server.stop()


LOGGED = ("--appendonly", "yes", "--appendfsync", "always")


def home_of(config, f, name, *args):
    os.mkdir(f.at(name))
    return Home(config, f.at(name), *args)


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_server_takes_over_what_was_imported(config):
    for args in (LOGGED, ("--save", "3600 1")):
        takes_over(config, args)


def takes_over(config, args):
    with Folder(config) as f, Other("redis-server", f.path) as c:
        want = fill(c)
        c.must("SAVE")
        home = home_of(config, f, "home", *args)
        f.good("import-rdb", "dump.rdb", home.data, "--shards", config.shards)
        server = home.start()
        with server.client() as s:
            for (db, key), (value, deadline) in want.items():
                s.must("SELECT", db)
                check_equal(s.call("GET", key.encode("latin-1")), value.encode("latin-1"), repr(key))
                check_equal(s.call("PEXPIRETIME", key.encode("latin-1")), deadline or -1, repr(key))
            s.must("SELECT", 0)
            check_equal(s.must("DBSIZE"), sum(db == 0 for db, _ in want))
            s.must("SET", "k", "more")
        server.stop()
        check_equal(home.contents()[b"k"], b"more")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_directory_is_good_after_a_stop_and_after_kill_9(config):
    with Folder(config) as f:
        home = home_of(config, f, "home", *LOGGED)
        for i, number in enumerate((15, 9)):
            server = home.start()
            with server.client() as c:
                c.pipeline([("SET", f"k{n}", i) for n in range(300)] + [("SET", "big", b"x" * 600000)])
                c.must("SETRANGE", "big", 7, "mid")
            status, said = f.run("check", home.data)
            check(status == 2 and "is in use" in said, said)
            server.signal(number)
            server.wait_end()
            server.stop()
            status, report = f.check_json(home.data)
            check(status == 0 and report["good"] and report["verdict"] in ("clean", "cut"), f"{report}")
            records = f.dump(home.data)
            check(any(r.get("key") == "k7" and r["value"] == str(i) for r in records if "op" in r), "the dump lacks a record")
            check(any(r.get("argv", [])[:2] == ["SETRANGE", "7"] for r in records if "op" in r), "the dump lacks the effect")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def a_backup_of_a_server_at_work_holds_all_that_was_acknowledged_before_it(config):
    with Folder(config) as f:
        home = home_of(config, f, "home", *LOGGED)
        server = home.start()
        done, progress, stop = [0], [0], []

        def write():
            with server.client() as c:
                while not stop:
                    n = progress[0] + 1
                    c.pipeline([("MULTI",), ("SET", f"a{n % 50}", n), ("SET", f"b{n % 50}", n), ("EXEC",)])
                    progress[0] = n

        def save():
            with server.client() as c:
                while not stop:
                    c.must("SAVE")
                    time.sleep(0.05)

        writer, saver = threading.Thread(target=write, daemon=True), threading.Thread(target=save, daemon=True)
        writer.start()
        try:
            for i in range(6):
                wait_until(lambda: progress[0] > done[0] + 300, 20, "writes")
                if i == 2:
                    saver.start()  # from now on the server makes one snapshot after the other, and lets segments go
                before = progress[0]
                said = f.good("backup", home.data, f"copy{i}")
                after = progress[0] + 1
                check("verified" in said, said)
                done[0] = progress[0]
                again = home_of(config, f, f"again{i}", *LOGGED)
                f.good("restore", f"copy{i}", again.data)
                got = again.contents()
                top = max(int(v) for v in got.values())
                check(before <= top <= after + 1, f"{before} were acknowledged when it began, {top} are in it, {after} when it ended")
                for n in range(50):
                    check_equal(got.get(b"a%d" % n), got.get(b"b%d" % n), "what one transaction wrote")
        finally:
            stop.append(1)
            writer.join(30)
            server.stop()


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=90)
def a_server_goes_back_to_a_moment_or_a_position(config):
    with Folder(config) as f:
        home = home_of(config, f, "home", *LOGGED)
        server, moments = home.start(), []
        with server.client() as c:
            for i in range(4):
                c.must("SET", "k", i)
                c.must("SET", f"only{i}", i)
                info = dict(line.split(":", 1) for line in c.must("INFO", "persistence").decode().splitlines() if ":" in line)
                time.sleep(0.05)
                moments.append((int(time.time() * 1000), int(info["log_durable_lsn"])))
                time.sleep(0.05)
                if i == 1:
                    c.call("BGSAVE")
                    time.sleep(0.3)
        server.stop()
        f.good("backup", home.data, "copy")
        for i, (ms, lsn) in enumerate(moments):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"
            for j, point in enumerate((("--to-time", stamp), ("--to-time", ms), ("--to-lsn", lsn))):
                again = home_of(config, f, f"again{i}-{j}", *LOGGED)
                f.good("restore", "copy", again.data, *point)
                got = again.contents()
                check_equal(got.get(b"k"), str(i).encode(), f"k at {point}")
                check_equal(sorted(got), sorted([b"k"] + [b"only%d" % n for n in range(i + 1)]), f"keys at {point}")
                check_equal(f.check_json(again.data)[0], 0, "and the server went on from there")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def damage_is_found_and_the_rest_is_saved(config):
    with Folder(config) as f:
        home = home_of(config, f, "home", *LOGGED)
        server = home.start()
        with server.client() as c:
            for n in range(60):
                c.must("SET", f"k{n}", f"value-{n}-" + "v" * 200)
        server.stop()
        segments = sorted(n for n in os.listdir(home.data) if n.startswith("log-"))
        for name in segments:
            path = os.path.join(home.data, name)
            with open(path, "r+b") as file:
                data = file.read()
                at = data.find(b"value-30-")
                if at >= 0:
                    file.seek(at)
                    file.write(b"VALUE")
                    break
        status, report = f.check_json(home.data)
        check((status, report["verdict"]) == (1, "rot") and report["file"] == name and report["lost_from"] > 0, f"{report}")
        status, said = f.run("salvage", home.data, "saved")
        check(status == 1 and "lost: LSN" in said, said)
        again = home_of(config, f, "again", *LOGGED)
        os.rename(f.at("saved"), again.data)
        got = again.contents()
        check(b"k30" not in got, "the damaged value is served")
        lost = [n for n in range(60) if b"k%d" % n not in got]
        check(30 in lost and len(lost) <= 2, f"lost: {lost}")
        check(all(v.startswith(b"value-%d-" % int(k[1:])) for k, v in got.items()), "a wrong value")


def logged(config, f):
    """A directory with a snapshot and what was logged behind it, of a server that was killed."""
    home = home_of(config, f, "home", *LOGGED)
    server = home.start()
    with server.client() as c:
        c.pipeline([("SET", f"k{n}", f"value-{n}-" + "v" * 900) for n in range(600)])
        c.must("BGSAVE")
        wait_until(lambda: b"rdb_bgsave_in_progress:0" in c.must("INFO", "persistence"), 10, "the snapshot")
        for n in range(100):
            c.must("SET", f"l{n}", f"value-{n}-" + "v" * 900)
    server.signal(signal.SIGKILL)
    server.wait_end()
    return home


def last_frame(folder, name):
    """Name and offset of the newest segment's last block that says anything."""
    newest = sorted(n for n in os.listdir(os.path.join(folder, name)) if n.startswith("log-"))[-1]
    path = os.path.join(folder, name, newest)
    with open(path, "rb") as file:
        data = file.read()
    return path, max(at for at in range(4096, len(data) - 4096, 4096) if any(data[at:at + 4096]))


@test(cells=harness.ONCE, own=True, skerry_only=True)
def what_a_backup_loses_of_its_tail_later_is_missed(config):
    with Folder(config) as f:
        home = logged(config, f)
        f.good("backup", home.data, "copy")
        path, at = last_frame(f.path, "copy")
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(bytes(4096))
        status, report = f.check_json("copy")
        check((status, report["verdict"]) == (1, "rot") and report["lost_from"] > 0, f"{report}")
        for action in ("backup", "restore"):
            status, said = f.run(action, "copy", action)
            check_equal(status, 1, said)
            check_equal([n for n in os.listdir(f.at(action)) if n != "LOCK"], [])


@test(cells=harness.ONCE, own=True, skerry_only=True)
def a_file_that_was_cut_off_or_is_gone_is_damage_and_no_trouble(config):
    with Folder(config) as f:
        home = logged(config, f)
        f.good("backup", home.data, "copy")
        names = sorted(os.listdir(f.at("copy")))
        segment = [n for n in names if n.startswith("log-")][0]
        snapshot = [n for n in names if n.startswith("snapshot-")][0]
        manifest = [n for n in names if n.startswith("MANIFEST")][0]
        for name, length in ((segment, 0), (segment, 4095), (snapshot, 0), (snapshot, 5000), (manifest, 100), (snapshot, None)):
            shutil.rmtree(f.at("cut"), ignore_errors=True)
            shutil.copytree(f.at("copy"), f.at("cut"))
            if length is None:
                os.unlink(os.path.join(f.at("cut"), name))
            else:
                os.truncate(os.path.join(f.at("cut"), name), length)
                check_equal(f.run("dump", os.path.join("cut", name))[0], 1, f"dump of {name}, {length} bytes")
            for args in (["check", "cut"], ["dump", "cut"], ["backup", "cut", "b"], ["restore", "cut", "r"]):
                status, said = f.run(*args)
                check_equal(status, 1, f"{args[0]} with {name} of {length} bytes: {said[-200:]}")


def fcw2_frame(op, key, value=b"", deadline=-1, at=1000):
    record = struct.pack("<BIIQq", op, len(key), len(value), at, deadline) + key + value
    record += struct.pack("<I", zlib.crc32(record))
    frame = b"FCW2\0" + struct.pack("<I", len(record)) + record
    return frame + struct.pack("<I", zlib.crc32(frame))


@test(cells=harness.ONCE, own=True, skerry_only=True, seconds=60)
def a_server_takes_over_a_directory_of_fast_cache(config):
    with Folder(config) as f:
        os.mkdir(f.at("old"))
        entries = b"".join(struct.pack("<IIQ", 2, 3, 2**64 - 1) + b"s%d" % i + b"old" for i in range(10))
        with open(f.at("old/snapshot-900.bin"), "wb") as out:
            out.write(b"FCSNAP1\0" + struct.pack("<IQQ", 1, 900, 10) + entries)
        with open(f.at("old/segment-00000000000000000001-901.wal"), "wb") as out:
            out.write(fcw2_frame(1, b"s1", b"new") + fcw2_frame(2, b"s2") + fcw2_frame(1, b"t", b"v", 4102444800123) + fcw2_frame(3, b"s3", b"", 4102444800456))
            out.write(fcw2_frame(1, b"cut", b"v")[:-3])
        home = home_of(config, f, "home", *LOGGED)
        said = f.good("import-fast-cache", "old", home.data, "--shards", config.shards)
        check("imported: 10 keys" in said and "left out" in said, said)
        server = home.start()
        with server.client() as c:
            got = c.pipeline([("GET", k) for k in ("s0", "s1", "s2", "s3", "t", "cut")] + [("PEXPIRETIME", k) for k in ("s0", "s3", "t")])
        server.stop()
        check_equal(got, [b"old", b"new", None, b"old", b"v", None, -1, 4102444800456, 4102444800123])
