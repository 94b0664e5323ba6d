# SPDX-License-Identifier: Apache-2.0
"""However a client's bytes arrive, and however it leaves, requests are understood and others are unaffected."""

import random
import time

from harness import ALL, BACKENDS, Closed, Error, Failure, check, check_equal, encode, test, wait_until


@test(ALL)
def requests_arrive_byte_by_byte(s):
    with s.client() as c:
        c.send_slowly(encode("SET", "key", "va\r\nlue") + b"GET key\r\n" + encode("MGET", "key", "nothing") + b'SET "a b" \'c\'\r\nGET "a b"\r\n')
        check_equal([c.read() for _ in range(5)], ["OK", b"va\r\nlue", [b"va\r\nlue", None], "OK", b"c"], "replies")


@test(ALL)
def requests_cut_anywhere_are_understood(s):
    rng = random.Random(3)
    with s.client() as c:
        for round in range(30):
            commands = [("SET", f"k{i}", rng.randbytes(rng.choice((0, 1, 100, 5000, 20000)))) for i in range(8)]
            commands += [("GET", f"k{i}") for i in range(8)]
            data, at = b"".join(encode(*x) for x in commands), 0
            while at < len(data):
                step = rng.choice((1, 2, 7, 1000, 4096, 4097, 16384, 30000))
                c.send(data[at : at + step])
                at += step
            check_equal([c.read() for _ in commands], ["OK"] * 8 + [x[2] for x in commands[:8]], f"replies of round {round}")


@test(ALL)
def inline_commands_are_unquoted(s):
    with s.client() as c:
        for line, want in [(b"PING\r\n", "PONG"), (b"PING\n", "PONG"), (b"  ECHO   x  \r\n", b"x"), (b'ECHO "a\\x41\\n"\r\n', b"aA\n"),
                           (b"ECHO 'it\\'s'\r\n", b"it's"), (b"\r\nPING\r\n", "PONG"), (b"*0\r\nPING\r\n", "PONG"), (b"*-1\r\nPING\r\n", "PONG")]:
            c.send(line)
            check_equal(c.read(), want, repr(line))
        c.send(b'ECHO "open\r\n')
        check_equal(c.read(), Error("ERR Protocol error: unbalanced quotes in request"), "unbalanced quotes")
        c.expect_closed()


def there_and_back(s, size):
    value = random.Random(size).randbytes(min(size, 1 << 20)) * max(1, size >> 20)
    with s.client(timeout=60) as c:
        c.send(encode("SET", "big", value) + encode("STRLEN", "big"))
        check_equal([c.read(), c.read()], ["OK", len(value)], f"SET and STRLEN of {len(value)} bytes")
        check(c.call("GET", "big") == value, f"a value of {len(value)} bytes is not what was written")
        check_equal(c.call("GETRANGE", "big", "-3", "-1"), value[-3:], "its end")
        check_equal(c.call("APPEND", "big", "tail"), len(value) + 4, "APPEND to it")
        check_equal(c.call("DEL", "big"), 1, "DEL")


@test(ALL)
def values_of_every_magnitude_come_back(s):
    for size in (100, 4095, 4096, 4097, 16383, 16384, 32767, 65535, 65536, 65537, 262144, 1 << 20, (1 << 20) + 1):
        there_and_back(s, size)


@test(BACKENDS, seconds=60)
def a_value_of_64_mib_comes_back(s):
    there_and_back(s, 64 << 20)


@test(BACKENDS, seconds=60)
def big_values_in_a_pipeline_keep_their_order(s):
    sizes = [1 << 20, 10, 300000, 0, 70000, 2 << 20, 1]
    values = [bytes([65 + i]) * n for i, n in enumerate(sizes)]
    with s.client(timeout=60) as c:
        commands = [x for i, v in enumerate(values) for x in (("SET", f"v{i}", v), ("ECHO", i), ("GET", f"v{i}"))]
        c.sock.setblocking(True)
        for command in commands:
            c.send(encode(*command))
        for i, v in enumerate(values):
            check_equal(c.read(), "OK", f"SET {i}")
            check_equal(c.read(), str(i).encode(), f"ECHO {i}")
            check(c.read() == v, f"value {i} is not what was written")
        check(c.call("MGET", *[f"v{i}" for i in range(len(values))]) == values, "MGET of big values")


@test(ALL)
def a_half_closed_client_gets_its_replies(s):
    with s.client() as c:
        c.send(encode("SET", "a", "1") * 100 + encode("GET", "a") + encode("ECHO", "x" * 200000))
        c.half_close()
        check_equal([c.read() for _ in range(101)], ["OK"] * 100 + [b"1"], "replies")
        check_equal(len(c.read()), 200000, "last reply")
        c.expect_closed()


@test(ALL)
def a_half_close_inside_a_request_ends_quietly(s):
    with s.client() as c:
        c.send(encode("PING") + b"*2\r\n$4\r\nECHO\r\n$100\r\nabc")
        c.half_close()
        check_equal(c.read(), "PONG", "reply")
        c.expect_closed()


@test(ALL)
def resets_leave_others_alone(s):
    with s.client() as other:
        for i in range(100):
            c = s.client()
            kind = i % 5
            if kind == 0:
                c.send(b"*2\r\n$3\r\nGET\r\n$10")
            elif kind == 1:
                c.send(encode("GET", "a") * 500)
            elif kind == 2:
                c.send(encode("ECHO", "x" * 100000))
            elif kind == 3:
                c.send(encode("SET", "a", "y" * 100000)[:-50000])
            else:
                c.send(encode("MGET", *[f"k{n}" for n in range(100)]) * 20)
            c.reset()
            check_equal(other.call("PING"), "PONG", "PING of another client")
        wait_until(lambda: b"connected_clients:1\r\n" in other.must("INFO", "clients"), 5, "forgetting of reset clients")


@test(ALL)
def quitting_in_a_pipeline_answers_what_came_before(s):
    with s.client() as c:
        c.send(encode("SET", "a", "1") + encode("GET", "a") + encode("QUIT") + encode("SET", "a", "2"))
        check_equal([c.read() for _ in range(3)], ["OK", b"1", "OK"], "replies")
        try:
            c.expect_closed()
        except ConnectionResetError:
            pass
    with s.client() as c:
        check_equal(c.call("GET", "a"), b"1", "a request behind QUIT is not run")


@test(ALL)
def slow_readers_get_everything(s):
    with s.client(receive_buffer=4096, timeout=30) as c:
        c.must("SET", "v", "z" * 50000)
        c.send(encode("GET", "v") * 60)
        time.sleep(0.3)
        for i in range(60):
            if i % 20 == 0:
                time.sleep(0.05)
            check_equal(len(c.read()), 50000, f"reply {i}")


def ask_and_never_read(s, count, rounds):
    """Clients that ask for 2 MB of replies `rounds` times, as far as the server and the kernel take their requests."""
    clients = [s.raw(receive_buffer=4096) for _ in range(count)]
    for c in clients:
        c.sock.settimeout(0.1)
        try:
            for _ in range(rounds):
                c.send(encode("GET", "v") * 20)
        except OSError:
            pass  # dropped or held up: either is fine
    return clients


@test(BACKENDS, args=["--client-output-buffer-limit", "normal", "524288", "0", "0"], seconds=60)
def clients_that_never_read_are_dropped_at_the_limit(s):
    with s.client() as other:
        other.must("SET", "v", "z" * 100000)
        clients = ask_and_never_read(s, 10, 50)
        check_equal(other.call("PING"), "PONG", "PING of a well-behaved client")
        wait_until(lambda: b"connected_clients:1\r\n" in other.must("INFO", "clients"), 10, "dropping of clients that never read")
        for c in clients:
            c.close()


# docs/decisions/0003-slow-readers-are-not-read.md
@test(BACKENDS, args=[], skerry_only=True, seconds=60)
def clients_that_never_read_hold_little_memory_and_lose_nothing(s):
    with s.client() as other:
        other.must("SET", "v", "z" * 100000)
        before = s.rss()
        clients = ask_and_never_read(s, 20, 50)
        growth = (s.rss() - before) >> 20
        check(growth < 100, f"RSS grew by {growth} MiB for 20 clients that never read")
        check_equal(other.call("PING"), "PONG", "PING of a well-behaved client")
        clients[0].sock.settimeout(10)
        for i in range(20):
            check_equal(len(clients[0].read()), 100000, f"reply {i} once it reads")
        for c in clients:
            c.close()


@test(ALL)
def a_client_that_vanishes_mid_reply_is_forgotten(s):
    with s.client() as other:
        other.must("SET", "v", "z" * 1000000)
        for _ in range(5):
            c = s.client()
            c.send(encode("GET", "v") * 10)
            c.sock.recv(1000)
            c.close()
        wait_until(lambda: b"connected_clients:1\r\n" in other.must("INFO", "clients"), 5, "forgetting of vanished clients")
        check_equal(len(other.must("GET", "v")), 1000000, "the value")


@test(BACKENDS)
def idle_clients_are_closed_after_their_timeout(s):
    with s.client() as c, s.client() as idle:
        c.must("CONFIG", "SET", "timeout", "1")
        try:
            end = time.monotonic() + 8
            idle.sock.settimeout(0.2)
            while time.monotonic() < end:
                check_equal(c.call("PING"), "PONG", "PING of a busy client")
                try:
                    idle._fill()
                except Closed:
                    return
                except OSError:
                    continue
            raise Failure("an idle client is still connected after 8 s with timeout 1")
        finally:
            c.must("CONFIG", "SET", "timeout", "0")
