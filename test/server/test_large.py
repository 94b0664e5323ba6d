# SPDX-License-Identifier: Apache-2.0
"""Large values leave without a copy: what a client was answered stays as it was, whatever happens to the key meanwhile."""

import os
import random
import re
import socket

from compat import fcnp_client as fcnp
from compat.fcnp_client import Ok
from harness import ALL, BACKENDS, Server, check, check_equal, encode, test, wait_until


def field(s, name):
    with s.client() as c:
        return int(re.search(rf"^{name}:(\d+)", c.must("INFO").decode(), re.M).group(1))


@test(ALL, skerry_only=True)
def large_values_are_sent_by_reference_whoever_owns_them(s):
    before = field(s, "values_sent_by_reference")
    with s.client() as r, fcnp.Connection("127.0.0.1", s.port) as c:
        for i in range(8):
            value = bytes([65 + i]) * (65536 + i * 40000)
            r.must("SET", f"l{i}", value)
            check_equal(r.call("GET", f"l{i}") == value, True, f"RESP {i}")
            check_equal(c.call(fcnp.GET, b"l%d" % i) == value, True, f"FCNP {i}")
            check_equal(c.call(fcnp.RESP_COMMAND, b"GET", b"l%d" % i) == b"$%d\r\n%s\r\n" % (len(value), value), True, f"opcode 200 {i}")
            check_equal(r.pipeline([("PING",), ("GET", f"l{i}"), ("GET", "none"), ("GET", f"l{i}"), ("MGET", f"l{i}", "x"), ("ECHO", "e")])
                        == ["PONG", value, None, value, [value, None], b"e"], True, f"between others {i}")
            r.must("SET", f"s{i}", value[:65535])
            check_equal(r.call("GET", f"s{i}") == value[:65535], True, "one byte less")
    check_equal(field(s, "values_sent_by_reference") - before, 8 * 4, "values sent by reference")


@test(BACKENDS, own=True, skerry_only=True)
def an_answered_value_stays_as_it_was(config):
    for workers in (1, 2):
        with Server(config.but(workers=workers)) as s:
            change_what_is_being_sent(s)


def change_what_is_being_sent(s):
    size = 3 << 20
    old = random.Random(1).randbytes(size)
    changes = [("SET", "big", b"new"), ("DEL", "big"), ("APPEND", "big", b"!" * 100), ("SETRANGE", "big", 5, b"?" * 1000), ("FLUSHALL",),
               ("SETBIT", "big", 77, 1), ("SET", "big", b"y" * size), ("GETDEL", "big"), ("PEXPIRE", "big", 1), ("RENAME", "big", "big2"),
               ("SETRANGE", "big", size, b"tail")]
    with s.client() as writer:
        for native in (False, True):
            for change in changes:
                writer.must("SET", "big", old)
                with s.client(receive_buffer=65536) as reader:
                    reader.send(fcnp.encode(fcnp.GET, b"big") * 2 if native else encode("GET", "big") * 2)
                    head = reader._bytes(8 if native else 10)  # it has begun, and cannot end before it is read
                    writer.must(*change)
                    writer.must("SET", "other", b"z" * size)
                    check_equal(reader._bytes(size) == old, True, f"{change[0]}, FCNP {native}: the first value")
                    if not native:
                        check_equal(reader._bytes(2), b"\r\n")
                    check_equal(head, bytes.fromhex("fb020400") + fcnp.u32(size) if native else b"$%d\r\n" % size)
                writer.must("DEL", "big", "other")


@test(BACKENDS, skerry_only=True)
def clients_that_vanish_in_a_large_value_leave_nothing(s):
    vanish_in_large_values(s)


def vanish_in_large_values(s):
    with s.client() as writer:
        writer.must("SET", "big", b"x" * (8 << 20))
        for i in range(10):
            reader = s.client(receive_buffer=65536)
            reader.send(encode("GET", "big") * 3)
            reader._bytes(100)
            if i == 5:
                writer.must("DEL", "big")
                writer.must("SET", "big", b"w" * (8 << 20))
            if i % 2:
                reader.reset()
            else:
                reader.close()
        writer.must("DEL", "big")
        wait_until(lambda: field(s, "connected_clients") <= 2, 10, "the end of the connections")
        check_equal(writer.call("DBSIZE"), 0)
        wait_until(lambda: field(s, "used_memory_reserved") < 16 << 20 or s.rss() < 200 << 20, 10, "the pages' return")


@test(BACKENDS, own=True, skerry_only=True)
def a_pipeline_of_large_values_waits_for_its_reader(config):
    for workers in (1, 2):
        with Server(config.but(workers=workers)) as s:
            read_late(s)


def read_late(s):
    value = random.Random(2).randbytes(400000)
    with s.client() as c, fcnp.Connection("127.0.0.1", s.port) as n:
        c.must("SET", "v", value)
        rss = s.rss()
        c.send(encode("GET", "v") * 150)
        n.send(fcnp.encode(fcnp.GET, b"v") * 150)
        for i in range(150):
            check_equal(c.read() == value, True, f"RESP {i}")
            check_equal(n.read() == value, True, f"FCNP {i}")
        check(s.rss() - rss < 32 << 20, f"memory grew by {s.rss() - rss} bytes")
        c.send(encode("CLIENT", "REPLY", "OFF") + encode("GET", "v") * 10 + encode("CLIENT", "REPLY", "ON") + encode("GET", "v"))
        check_equal([c.read(), c.read() == value], ["OK", True], "silenced values")


@test(BACKENDS, own=True, skerry_only=True)
def what_zero_copy_sends_lend_comes_back(config):
    for workers in (1, 2):
        with Server(config.but(workers=workers), "--send-zerocopy-min", "1") as s:
            vanish_in_large_values(s)
            change_what_is_being_sent(s)
            read_late(s)
            sends = field(s, "zerocopy_sends")
            check_equal(sends > 10, config.io == "uring", f"{sends} zero-copy sends")
            if config.io == "uring":
                wait_until(lambda: field(s, "zerocopy_sends_copied") > 0, 10, "the kernel's word that the loopback copies")
            with s.client() as c:
                c.must("CONFIG", "SET", "send-zerocopy-min", "1000000")
                c.must("SET", "v", b"x" * 999_999)
                check_equal(len(c.call("GET", "v")), 999_999)
                check_equal(field(s, "zerocopy_sends"), sends, "sends below the threshold")


@test(BACKENDS, own=True, skerry_only=True)
def sockets_that_cannot_send_without_a_copy_send_plainly(config):
    value = random.Random(5).randbytes(300000)
    with Server(config, "--send-zerocopy-min", "1", "--unixsocket", "skerry.sock") as s, s.client() as c:
        c.must("SET", "v", value)
        with socket.socket(socket.AF_UNIX) as u:
            u.connect(os.path.join(s.folder, "skerry.sock"))
            u.sendall(encode("GET", "v") * 5)
            want = b"$300000\r\n" + value + b"\r\n"
            check_equal(u.makefile("rb").read(len(want) * 5) == want * 5, True, "five values")
        check_equal(field(s, "zerocopy_sends"), 1 if config.io == "uring" else 0, "tried once")


@test(ALL, skerry_only=True)
def replies_of_all_workers_keep_their_order_around_large_values(s):
    rng = random.Random(4)
    values = {}
    with s.client() as c, fcnp.Connection("127.0.0.1", s.port) as n:
        for i in range(40):
            values[f"k{i}"] = rng.randbytes(rng.choice([10, 3000, 65536, 90000, 150000]))
            c.must("SET", f"k{i}", values[f"k{i}"])
        for burst in range(20):
            names = [f"k{rng.randrange(42)}" for _ in range(rng.choice([2, 30, 300]))]
            c.send(b"".join(encode("GET", name) for name in names))
            n.send(b"".join(fcnp.encode(fcnp.GET, name.encode()) for name in names))
            for at, name in enumerate(names):
                check_equal(c.read() == values.get(name), True, f"RESP {burst}.{at}")
                check_equal(n.read() == values.get(name), True, f"FCNP {burst}.{at}")
        check_equal(c.pipeline([("MULTI",)] + [("GET", f"k{i}") for i in range(40)] + [("EXEC",)])[-1] == list(values.values()), True, "in a transaction")


@test(BACKENDS, args=["--client-output-buffer-limit", "normal 1mb 0 0"], skerry_only=True)
def values_that_are_referred_to_count_against_the_output_limit(s):
    with s.client() as c, s.client(receive_buffer=65536) as reader:
        c.must("SET", "v", b"x" * (6 << 20))
        reader.send(encode("GET", "v") * 2)
        wait_until(lambda: field(s, "client_output_buffer_limit_disconnections") == 1, 10, "the disconnection")
        check_equal(c.call("STRLEN", "v"), 6 << 20)


@test(BACKENDS, own=True, skerry_only=True)
def many_large_values_are_few_mappings(config):
    with Server(config) as s, s.client() as c:
        value = random.Random(3).randbytes(70000)
        for i in range(0, 3000, 100):
            check_equal(set(c.pipeline([("SET", f"l{k}", value[:65536 + k]) for k in range(i, i + 100)])), {"OK"})
        check(s.mappings() < 600, f"{s.mappings()} mappings")
        for k in (0, 1, 1500, 2999):
            check_equal(c.call("GET", f"l{k}") == value[:65536 + k], True, f"value {k}")
        c.must("DEL", *(f"l{k}" for k in range(3000) if k % 3))
        for k in (0, 1500, 2997):
            check_equal(c.call("GET", f"l{k}") == value[:65536 + k], True, f"value {k} of those left")
        c.must("FLUSHALL")
        wait_until(lambda: field(s, "used_memory_reserved") < 16 << 20, 10, "the pages' return")


@test(BACKENDS, own=True, skerry_only=True)
def what_a_turn_cannot_answer_the_next_one_does_in_order(config):
    values = [bytes([65 + i]) * (15000 + i) for i in range(16)]
    with Server(config.but(workers=1), "--enable-debug-command", "yes") as s, s.client() as sleeper:
        for i, value in enumerate(values):
            sleeper.must("SET", f"v{i}", value)
        for round in range(20):
            clients = [s.client() for _ in range(40)]
            sleeper.send(encode("DEBUG", "SLEEP", "0.2"))
            for n, c in enumerate(clients):  # all are there when the server wakes, some with their end
                for i in range(16):
                    c.send(encode("GET", f"v{(n + i) % 16}") + encode("ECHO", str(i)))
                if n % 3 == 0:
                    c.half_close()
            for n, c in enumerate(clients):
                for i in range(16):
                    check_equal(c.read() == values[(n + i) % 16], True, f"client {n}, value {i}")
                    check_equal(c.read(), b"%d" % i)
                if n % 3 == 0:
                    c.expect_closed()
                c.close()
            check_equal(sleeper.read(), "OK")
            if field(s, "receives_put_off") > 0:
                break
        check(field(s, "receives_put_off") > 0, "nothing was put off")
        # Whoever goes away meanwhile is forgotten.
        sleeper.send(encode("DEBUG", "SLEEP", "0.2"))
        for n in range(60):
            with s.client() as c:
                c.send(b"".join(encode("GET", f"v{i}") for i in range(16)) * 4)
        check_equal(sleeper.read(), "OK")
        wait_until(lambda: field(s, "connected_clients") == 2, 10, "the clients to be gone")
