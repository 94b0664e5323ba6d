# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes, each on a fresh connection, before and after AUTH, whole and byte by byte; other protocols on our port."""

import random
import time

import hostile.resp as hostile
from harness import BACKENDS, Closed, Error, Failure, check, check_equal, encode, test

SLOWLY_AT_MOST = 600  # bytes sent one by one; the rest of a long input follows whole


def deliver(client, data, slowly):
    try:
        if slowly:
            client.send_slowly(data[:SLOWLY_AT_MOST])
            client.send(data[SLOWLY_AT_MOST:])
        else:
            client.send(data)
    except OSError:
        pass  # the server closed already


def expect(client, name, want):
    if want == hostile.WAIT:
        check(client.quiet_for(0.03), f"{name}: something came")
        return
    if isinstance(want, hostile.Close):
        check_equal(client.read(), Error(want), name)
        client.expect_closed()
        return
    for one in want:
        reply = client.read()
        if isinstance(one, hostile.Error):
            check(isinstance(reply, Error) and reply.startswith(one), f"{name}: got {reply!r}, not {one!r}")
        else:
            check_equal(reply, one, name)
    check(client.quiet_for(0.01), f"{name}: more came")


def try_all(s, slowly):
    wrong = []
    for name, data, want in hostile.INPUTS:
        with s.client(timeout=5) as c:
            deliver(c, data, slowly)
            if want == hostile.ANY:
                c.quiet_for(0.03)
                continue
            try:
                expect(c, name, want)
            except Failure as why:
                wrong.append(str(why))
            except (OSError, Closed) as why:
                wrong.append(f"{name}: {type(why).__name__} {why}")
    check(not wrong, f"{len(wrong)} wrong: " + "; ".join(wrong[:8]))


@test(BACKENDS, seconds=60)
def hostile_requests_are_answered_as_redis_does(s):
    try_all(s, slowly=False)


@test(BACKENDS, seconds=60)
def hostile_requests_byte_by_byte_are_answered_as_redis_does(s):
    try_all(s, slowly=True)


def listen_to_stranger(c, name):
    """A stranger sees errors, or the end."""
    c.sock.settimeout(0.03)
    try:
        while True:
            reply = c.read()
            check(isinstance(reply, Error), f"{name}: a stranger is answered {reply!r}")
    except (OSError, Closed):
        pass


@test(BACKENDS, args=["--requirepass", "secret"], seconds=60)
def hostile_strangers_get_errors_or_the_end(s):
    before = s.rss()
    for name, data, _ in hostile.INPUTS:
        for slowly in (False, True):
            with s.raw(timeout=5) as c:
                deliver(c, data, slowly)
                listen_to_stranger(c, name)
    with s.raw() as c:
        c.send(b"*11\r\n")
        check_equal(c.read(), Error("ERR Protocol error: unauthenticated multibulk length"), "11 arguments of a stranger")
        c.expect_closed()
    with s.raw() as c:
        c.send(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n")
        check_equal(c.read(), Error("ERR Protocol error: unauthenticated bulk length"), "a long argument of a stranger")
        c.expect_closed()
    with s.client() as c:
        check_equal(c.call("DBSIZE"), 0, "keys")
    growth = (s.rss() - before) / (1 << 20)
    check(growth < 32, f"RSS grew by {growth:.0f} MiB")


@test(BACKENDS, args=["--requirepass", "secret"], seconds=60)
def strangers_who_never_read_are_dropped(s):
    before = s.rss()
    clients = [s.raw(receive_buffer=4096) for _ in range(50)]
    for c in clients:
        c.sock.settimeout(0.5)
        try:
            for _ in range(200):
                c.send(b"NOPE\r\n" * 1000)
        except OSError:
            pass
    growth = (s.rss() - before) / (1 << 20)
    check(growth < 128, f"RSS grew by {growth:.0f} MiB")
    with s.client() as c:
        check_equal(c.call("PING"), "PONG", "PING of a known client")
    for c in clients:
        c.close()


@test(BACKENDS, seconds=60)
def other_protocols_set_nothing(s):
    for name, data, closed in hostile.OTHER_PROTOCOLS:
        for slowly in (False, True):
            with s.raw() as c:
                deliver(c, data, slowly)
                if closed:
                    c.read_all()
                else:
                    c.quiet_for(0.03)
    with s.client() as c:
        check_equal(c.call("DBSIZE"), 0, "keys set by other protocols")


@test(BACKENDS, seconds=60)
def random_bytes_do_no_harm(s):
    rng = random.Random(11)
    pieces = [b"*", b"$", b"\r\n", b"1", b"2", b"-1", b"PING", b"GET", b"a", b'"', b"'", b" ", b"\0", b"*1\r\n$4\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\n"]
    for round in range(150):
        data = rng.randbytes(rng.randrange(4000)) if round % 3 == 0 else b"".join(rng.choice(pieces) for _ in range(rng.randrange(300)))
        with s.client(timeout=5) as c:
            deliver(c, data, slowly=round % 10 == 0)
            c.quiet_for(0.002)
    with s.client() as c:
        check_equal(c.call("PING"), "PONG", "PING")
    with s.client() as c:
        deliver(c, rng.randbytes(1 << 20), slowly=False)


@test(BACKENDS, seconds=60)
def the_wrong_number_of_words_is_an_error_for_every_command(s):
    with s.client() as c:
        for about in c.must("COMMAND"):
            name, arity = about[0].decode(), about[1]
            if name in ("quit", "shutdown", "reset", "hello", "exec", "discard", "multi", "monitor", "psync", "sync", "debug"):
                continue
            count = arity if arity > 0 else -arity - 2
            if count < 0:
                continue
            reply = c.call(name, *["x"] * count)
            check_equal(reply, Error(f"ERR wrong number of arguments for '{name}' command"), f"{name} with {count} arguments")
        check_equal(c.call("PING"), "PONG", "PING")


@test(BACKENDS, seconds=60)
def odd_patterns_end_soon(s):
    with s.client(timeout=10) as c:
        c.must("MSET", "a" * 5000, "1", "[", "2", "\\", "3", "m", "4")
        for pattern, want in (("[", None), ("[^", None), ("\\", [b"\\"]), ("[z-a]", [b"m"]), ("\\[", [b"["]), ("*" * 100000 + "m", [b"m"]), ("?" * 5000, None)):
            start = time.monotonic()
            reply = c.call("KEYS", pattern)
            check(isinstance(reply, list), f"KEYS {pattern[:20]} answers {reply!r}")
            if want is not None:
                check_equal(reply, want, f"KEYS {pattern[:20]}")
            check(time.monotonic() - start < 30, f"KEYS {pattern[:20]} takes {time.monotonic() - start:.1f} s")


@test(BACKENDS, skerry_only=True, seconds=60)
def a_pattern_made_to_be_slow_does_not_stop_others(s):
    with s.client(timeout=20) as c, s.client(timeout=5) as other:
        for i in range(16):
            c.must("SET", "a" * 5000 + str(i), "1")
        c.send(encode("KEYS", "a*" * 1000 + "b"))
        worst = 0.0
        for i in range(50):
            start = time.monotonic()
            other.must("SET", f"o{i}", "1")
            worst = max(worst, time.monotonic() - start)
        check(worst < 10, f"another client waited {worst:.2f} s")
        check_equal(c.read(), [], "KEYS")
