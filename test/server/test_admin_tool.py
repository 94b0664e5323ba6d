# SPDX-License-Identifier: Apache-2.0
"""skerry-admin as a program: what it makes of other servers' files, what it says, and how it ends."""

import json
import os
import shutil
import subprocess
import tempfile

import harness
from harness import Skip, check, check_equal, test, wait_until


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
