# SPDX-License-Identifier: Apache-2.0
"""The live export, by a subscriber and a collector that know only the specification of FCW2: frames, tokens, who is closed, what is lost."""

import contextlib
import os
import socket
import struct
import threading
import time
import zlib

import harness
from harness import Closed, Server, check, check_equal, free_port, test, wait_until

TOKEN = "secret token"


class Frames:
    """Reads frames from a socket and checks every sum."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""
        sock.settimeout(10 * harness.SLOW)

    def fill(self, count):
        while len(self.data) < count:
            more = self.sock.recv(65536)
            if not more:
                raise Closed()
            self.data += more

    def raw(self):
        self.fill(9)
        check_equal(self.data[:4], b"FCW2", "magic")
        length = struct.unpack_from("<I", self.data, 5)[0]
        self.fill(13 + length)
        frame, self.data = self.data[: 13 + length], self.data[13 + length :]
        check_equal(struct.unpack("<I", frame[-4:])[0], zlib.crc32(frame[:-4]), "sum of a frame")
        return frame

    def next(self):
        """(op, key, value, deadline or None), or ("effect", shard, sequence, key, argv)."""
        frame = self.raw()
        payload = frame[9:-4]
        if frame[4] == 2:
            shard, sequence, _, op, _, _, _, key_len, value_len = struct.unpack_from("<IQQBQQQII", payload)
            check_equal((op, len(payload)), (4, 53 + key_len + value_len), "an effect's head")
            key, value = payload[53 : 53 + key_len], payload[53 + key_len :]
            argv, at = [], 4
            for _ in range(struct.unpack_from("<I", value)[0]):
                length = struct.unpack_from("<I", value, at)[0]
                argv.append(value[at + 4 : at + 4 + length])
                at += 4 + length
            return ("effect", shard, sequence, key, argv)
        check_equal(frame[4], 0, "flags")
        op, key_len, value_len, timestamp, deadline = struct.unpack_from("<BIIQq", payload)
        check_equal(struct.unpack("<I", payload[-4:])[0], zlib.crc32(payload[:-4]), "sum of a record")
        check_equal(len(payload), 29 + key_len + value_len, "lengths")
        check(abs(timestamp / 1000 - time.time()) < 600, f"timestamp {timestamp}")
        key, value = payload[25 : 25 + key_len], payload[25 + key_len : -4]
        return ({1: "set", 2: "delete", 3: "expire"}[op], key, value, None if deadline < 0 else deadline)

    def until(self, key):
        """Everything before the `set` of this key."""
        got = []
        while True:
            got.append(self.next())
            if got[-1][:2] == ("set", key):
                return got[:-1]

    def ended(self, seconds=5):
        """The server closes; what it sent before is read and forgotten."""
        self.sock.settimeout(seconds * harness.SLOW)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False


class Exporting:
    """A server that listens for subscribers."""

    def __init__(self, config, *args, token=TOKEN):
        self.port = free_port()
        self.server = Server(config, "--wal-export-mode", "listen", "--wal-export-addr", f"127.0.0.1:{self.port}", "--wal-export-token", token,
                             "--wal-export-connect-timeout-ms", "2000", *args)
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for s in self.sockets:
            s.close()
        self.server.__exit__(*error)

    def connect(self, receive_buffer=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(10 * harness.SLOW)
        s.connect(("127.0.0.1", self.port))
        self.sockets.append(s)
        return s

    def subscribe(self, version=1, **options):
        before = self.info("wal_export_subscribers")
        s = self.connect(**options)
        s.sendall(b"FCWAL-AUTH/%d %s\n" % (version, TOKEN.encode()))
        wait_until(lambda: self.info("wal_export_subscribers") > before, 10, "the subscriber is live")
        return Frames(s)

    def info(self, name):
        with self.server.client() as c:
            text = c.must("INFO", "export").decode()
        return int(next(line.split(":")[1] for line in text.splitlines() if line.startswith(name + ":")))


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def strings_arrive_as_frames_of_version_1(config):
    with Exporting(config) as x, x.server.client() as c:
        c.must("SET", "before", "is not seen")
        f = x.subscribe()
        c.must("SET", "alpha", "beta", "PXAT", 4102444800123)
        check_equal(f.next(), ("set", b"alpha", b"beta", 4102444800123))
        c.must("PERSIST", "alpha")
        check_equal(f.next(), ("expire", b"alpha", b"", None))
        c.must("PEXPIREAT", "alpha", 4102444800456)
        check_equal(f.next(), ("expire", b"alpha", b"", 4102444800456))
        c.must("APPEND", "alpha", "gamma")
        check_equal(f.next(), ("set", b"alpha", b"betagamma", 4102444800456))
        c.must("INCRBYFLOAT", "number", "1.5")
        check_equal(f.next(), ("set", b"number", b"1.5", None))
        c.must("GETDEL", "alpha")
        check_equal(f.next(), ("delete", b"alpha", b"", None))
        value = os.urandom(3 << 20)
        c.must("SET", bytes(range(256)), value)
        check_equal(f.next(), ("set", bytes(range(256)), value, None))
        c.must("SETRANGE", bytes(range(256)), 1000, b"in the middle")
        check_equal(f.next(), ("set", bytes(range(256)), value[:1000] + b"in the middle" + value[1013:], None))
        c.must("SET", "short", "lived", "PX", 20)
        check_equal(f.next()[:3], ("set", b"short", b"lived"))
        check_equal(f.next(), ("delete", b"short", b"", None))


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def what_version_1_cannot_say_goes_to_whoever_asked_for_it(config):
    with Exporting(config) as x, x.server.client() as c:
        one, two = x.subscribe(1), x.subscribe(2)
        c.must("SELECT", 3)
        c.must("SET", "elsewhere", "v")
        c.must("FLUSHDB")
        c.must("SELECT", 0)
        c.must("SET", "last", "v")
        check_equal(one.until(b"last"), [])
        effects = two.until(b"last")
        kinds = [e[4] for e in effects]
        check([b"SELECT", b"3", b"SET", b"elsewhere", b"v"] in kinds, f"effects {kinds}")
        check([b"SELECT", b"3", b"FLUSHDB"] in kinds, f"effects {kinds}")
        check(all(e[0] == "effect" and e[2] > 0 for e in effects), f"{effects}")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def everybody_sees_all_changes_and_those_of_a_key_in_order(config):
    with Exporting(config, "--wal-export-channel-capacity", "1000000", "--wal-export-write-timeout-ms", "60000") as x:
        subscribers = [x.subscribe() for _ in range(3)]
        seen = [{} for _ in subscribers]
        count = 3000

        def write(name):
            with x.server.client() as c:
                for at in range(0, count, 50):
                    c.pipeline([("SET", f"{name}:{i % 7}", i) for i in range(at, at + 50)])

        def read(f, to):
            while sum(len(v) for v in to.values()) == 0 or not all(f"{n}:{(count - 1) % 7}".encode() in to and
                                                                  to[f"{n}:{(count - 1) % 7}".encode()][-1] == count - 1 for n in "abcd"):
                op, key, value, _ = f.next()
                check_equal(op, "set")
                to.setdefault(key, []).append(int(value))

        threads = [threading.Thread(target=write, args=(n,)) for n in "abcd"]
        errors = []

        def guarded(f, to):
            try:
                read(f, to)
            except BaseException as why:
                errors.append(why)

        threads += [threading.Thread(target=guarded, args=pair) for pair in zip(subscribers, seen)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not errors, f"{errors}")
        for numbers in (v for s in seen for v in s.values()):
            check(all(a < b for a, b in zip(numbers, numbers[1:])), "values of a key out of order")
        check_equal(x.info("wal_export_dropped"), 0)


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def a_wrong_or_late_token_is_closed_without_a_word(config):
    with Exporting(config, "--wal-export-connect-timeout-ms", "300") as x, x.server.client() as c:
        for said in (b"FCWAL-AUTH/1 wrong\n", b"FCWAL-AUTH/1 " + TOKEN.encode() + b"x\n", b"FCWAL-AUTH/3 " + TOKEN.encode() + b"\n", b"GET / HTTP/1.1\r\n\r\n",
                     b"FCWAL-AUTH/1 " + b"x" * 2000 + b"\n", b"FCWAL-AUTH/1 " + TOKEN.encode(), b""):
            s = x.connect()
            began = time.monotonic()
            s.sendall(said)
            c.must("SET", "k", "v")
            try:
                data = s.recv(100)
            except ConnectionResetError:
                data = b""
            check_equal(data, b"", f"after {said[:40]!r}")
            check(time.monotonic() - began < 3 * harness.SLOW, "closed too late")
        check_equal(x.info("wal_export_refused"), 7)
        check_equal(x.info("wal_export_subscribers"), 0)


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def a_token_may_come_byte_by_byte_and_with_a_carriage_return(config):
    with Exporting(config) as x, x.server.client() as c:
        s = x.connect()
        for byte in b"FCWAL-AUTH/1 " + TOKEN.encode() + b"\r\n":
            s.sendall(bytes([byte]))
            time.sleep(0.002)
        wait_until(lambda: x.info("wal_export_subscribers") == 1, 5, "live")
        c.must("SET", "k", "v")
        check_equal(Frames(s).next(), ("set", b"k", b"v", None))


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def more_than_may_subscribe_are_closed_and_a_place_that_is_free_is_taken(config):
    with Exporting(config, "--wal-export-max-subscribers", "2") as x, x.server.client() as c:
        first, second = x.subscribe(), x.subscribe()
        check(Frames(x.connect()).ended(), "a third one is not closed")
        check_equal(x.info("wal_export_crowded"), 1)
        first.sock.close()
        wait_until(lambda: x.info("wal_export_subscribers") == 1, 10, "the first one is gone")
        third = x.subscribe()
        c.must("SET", "k", "v")
        check_equal(second.next()[:2], ("set", b"k"))
        check_equal(third.next()[:2], ("set", b"k"))


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_subscriber_that_does_not_read_is_closed_and_hurts_nobody(config):
    with Exporting(config, "--wal-export-channel-capacity", "100", "--wal-export-write-timeout-ms", "1000") as x:
        stuck, good = x.subscribe(receive_buffer=2048), x.subscribe()
        seen, done = [], threading.Event()

        def read():
            with contextlib.suppress(Closed, OSError):
                while not done.is_set():
                    seen.append(good.next())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        with x.server.client() as c:
            for i in range(400):
                began = time.monotonic()
                c.must("SET", f"k{i}", b"x" * 50000)
                check(time.monotonic() - began < 1 * harness.SLOW, "a writer waits for a subscriber")
                time.sleep(0.002)
            wait_until(lambda: x.info("wal_export_timeouts") == 1, 10, "the stuck one is closed")
            c.must("SET", "last", "v")
        wait_until(lambda: seen and seen[-1][1] == b"last", 10, "the good one sees the last")
        done.set()
        check(stuck.ended(), "the stuck one is not closed")
        check_equal(x.info("wal_export_subscribers"), 1)
        dropped, keys = x.info("wal_export_dropped"), [key for _, key, _, _ in seen]
        check(len(keys) == len(set(keys)), "a frame came twice")
        check(len(keys) + dropped >= 401, f"{len(keys)} seen, {dropped} dropped")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_slow_subscriber_loses_the_oldest_frames_and_they_are_counted(config):
    with Exporting(config, "--wal-export-channel-capacity", "50", "--wal-export-write-timeout-ms", "60000") as x:
        slow = x.subscribe(receive_buffer=2048)
        with x.server.client() as c:
            for i in range(300):
                c.must("SET", f"k{i}", str(i).encode() + b" " * 50000)
            c.must("SET", "last", "v")
            numbers = [int(f[2]) for f in slow.until(b"last")]
        check(all(a < b for a, b in zip(numbers, numbers[1:])), "out of order")
        check(len(numbers) < 300 and numbers[-1] == 299, f"{len(numbers)} seen, the last one {numbers[-1]}")
        check_equal(len(numbers) + x.info("wal_export_dropped"), 300, "seen and dropped")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def with_backpressure_writers_wait_and_nothing_is_lost(config):
    with Exporting(config, "--wal-export-channel-capacity", "50", "--wal-export-write-timeout-ms", "60000",
                   "--wal-export-backpressure-on-full", "yes") as x:
        slow = x.subscribe(receive_buffer=2048)
        written = []

        def write():
            with x.server.client(timeout=60) as c:
                for i in range(400):
                    c.must("SET", f"k{i}", b"x" * 50000)
                    written.append(i)
                c.must("SET", "last", "v")

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        with x.server.client() as c:
            wait_until(lambda: written, 10, "the first write")

            def stands():
                before = len(written)
                time.sleep(0.3)
                return len(written) == before

            wait_until(stands, 20, "the writer waits")
            check(len(written) < 400, "the writer never waited")
            check_equal(c.call("GET", "k0"), b"x" * 50000)  # readers do not
        keys = [f[1] for f in slow.until(b"last")]
        writer.join(30)
        check_equal(keys, [b"k%d" % i for i in range(400)])
        check_equal(x.info("wal_export_dropped"), 0)


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def a_subscriber_that_talks_is_closed(config):
    with Exporting(config) as x, x.server.client() as c:
        talker, good = x.subscribe(), x.subscribe()
        with contextlib.suppress(OSError):
            for _ in range(100):
                talker.sock.sendall(b"x" * 1000)
        check(talker.ended(), "it is not closed")
        c.must("SET", "k", "v")
        check_equal(good.next()[:2], ("set", b"k"))


class Collector:
    """Listens as a collector does."""

    def __init__(self, port):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(4)
        self.listener.settimeout(10 * harness.SLOW)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self, token=None):
        s, _ = self.listener.accept()
        s.settimeout(10 * harness.SLOW)
        if token is not None:
            line = b""
            while not line.endswith(b"\n"):
                byte = s.recv(1)
                check(byte, "closed before the token")
                line += byte
            check_equal(line, b"FCWAL-AUTH/1 %s\n" % token.encode())
        return Frames(s)


def connecting(config, port, *args):
    return Server(config, "--wal-export-mode", "connect", "--wal-export-addr", f"127.0.0.1:{port}", "--wal-export-reconnect-backoff-ms", "50", *args)


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def the_collector_is_dialled_until_it_is_there_and_told_the_token(config):
    port = free_port()
    with connecting(config, port, "--wal-export-token", TOKEN) as server, server.client() as c:
        c.must("SET", "early", "kept for it")
        time.sleep(0.3)
        with Collector(port) as collector:
            f = collector.accept(TOKEN)
            check_equal(f.next(), ("set", b"early", b"kept for it", None))
            c.must("DEL", "early")
            check_equal(f.next(), ("delete", b"early", b"", None))


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_lost_connection_sends_the_cut_frame_again_from_its_first_byte(config):
    port = free_port()
    value = os.urandom(8 << 20)  # more than the buffers of both sides hold
    with Collector(port) as collector, connecting(config, port, "--wal-export-write-timeout-ms", "60000") as server, server.client() as c:
        f = collector.accept()
        c.must("SET", "whole", "v")
        check_equal(f.next(), ("set", b"whole", b"v", None))
        c.must("SET", "cut", value)
        c.must("SET", "behind", "v")
        f.fill(100000)
        f.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        f.sock.close()
        again = collector.accept()
        check_equal(again.next(), ("set", b"cut", value, None))
        check_equal(again.next(), ("set", b"behind", b"v", None))


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def a_collector_that_stops_reading_is_dialled_anew(config):
    port = free_port()
    with Collector(port) as collector, connecting(config, port, "--wal-export-write-timeout-ms", "500") as server, server.client() as c:
        f = collector.accept()
        for i in range(12):
            c.must("SET", f"k{i}", b"x" * (1 << 20))
        again = collector.accept()
        f.sock.close()
        seen = [key for _, key, _, _ in again.until(b"k11")]
        check(seen == [b"k%d" % i for i in range(11 - len(seen), 11)], f"a gap: {seen}")


@test(cells=harness.ONCE, own=True, skerry_only=True)
def listening_without_a_token_or_at_no_address_is_refused(config):
    status, said = harness.run_to_end(config, "--port", free_port(), "--wal-export-mode", "listen")
    check(status == 1 and "wal-export-token" in said, said)
    for mode in ("listen", "connect"):
        for addr in ("7630", "localhost:7630", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:x", "::1:7630", "[::1:7630"):
            status, said = harness.run_to_end(config, "--port", free_port(), "--wal-export-mode", mode, "--wal-export-token", "t", "--wal-export-addr", addr)
            check(status == 1, f"{mode} {addr} ended with {status}: {said}")


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def with_a_log_the_same_frames_leave(config):
    with Exporting(config, "--appendonly", "yes", "--appendfsync", "always") as x:
        f = x.subscribe()

        def ready():
            with x.server.client() as c:
                return c.call("SET", "ready", "v") == "OK"

        wait_until(ready, 20, "loading is over")
        f.until(b"ready")
        with x.server.client() as c:
            replies = c.pipeline([("MULTI",), ("SET", "a", 1), ("SET", "b", 2), ("DEL", "ready"), ("EXEC",), ("SET", "end", "v")])
            check_equal(replies[-1], "OK")
            got = [f.next() for _ in range(4)]  # of one key in order; those of different workers as they come
        check_equal(sorted(g[:3] for g in got), [("delete", b"ready", b""), ("set", b"a", b"1"), ("set", b"b", b"2"), ("set", b"end", b"v")])


@test(cells=harness.BACKENDS, own=True, skerry_only=True, seconds=60)
def with_snapshots_and_no_log_frames_leave_too(config):
    with Exporting(config, "--save", "3600 1000000") as x:

        def ready():
            with x.server.client() as c:
                return c.call("SET", "ready", "v") == "OK"

        wait_until(ready, 20, "loading is over")
        f = x.subscribe()
        with x.server.client() as c:
            for i in range(20):
                c.must("SET", f"k{i}", i)
            check_equal(c.must("SAVE"), "OK")
            c.must("DEL", "k7")
        check_equal(sorted(f.next()[1] for _ in range(21)), sorted([b"k%d" % i for i in range(20)] + [b"k7"]))


@test(cells=harness.BACKENDS, own=True, skerry_only=True)
def a_server_that_stops_sends_what_is_queued(config):
    with Exporting(config, "--wal-export-write-timeout-ms", "5000") as x:
        f = x.subscribe()
        with x.server.client() as c:
            c.pipeline([("SET", f"k{i}", b"x" * 1000) for i in range(2000)])
        x.server.signal(15)
        keys = []
        with contextlib.suppress(Closed):
            while True:
                keys.append(f.next()[1])
        check_equal(len(keys), 2000)
        check_equal(x.server.wait_end(), 0)
