#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""skerry-bench against servers that behave, and that do not. Usage: program_test.py path/to/skerry-bench [NAME]"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time

BENCH = sys.argv[1]


class FakeServer:
    """Serves every connection with `serve(connection)` in a thread of its own."""

    def __init__(self, serve, path=None, port=0):
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(path or ("127.0.0.1", port))
        self.listener.listen(100)
        self.address = ["--unix", path] if path else ["--port", str(self.listener.getsockname()[1])]
        self.serve = serve
        self.connections, self.threads = [], []
        self.start(self.accept)

    def start(self, target, *arguments):
        self.threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self.threads[-1].start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.start(self.run, connection)

    def run(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        hang_up(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread on its way into accept() or recv() would meet whatever got the number of a closed descriptor: all end first.
        hang_up(self.listener)
        self.threads[0].join()
        for connection in self.connections:
            hang_up(connection)
        for thread in self.threads:
            thread.join()
        for end in (self.listener, *self.connections):
            end.close()


def hang_up(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def listen_only(connection):
    while connection.recv(1 << 16):
        pass


def requests(connection):
    """Parses RESP requests; yields lists of arguments."""
    stream = connection.makefile("rb")
    while True:
        header = stream.readline()
        if not header:
            return
        arguments = []
        for _ in range(int(header[1:])):
            length = int(stream.readline()[1:])
            arguments.append(stream.read(length + 2)[:-2])
        yield arguments


class Store:
    """GET, SET, PING, MGET, MSET, HELLO with a delivery of its own."""

    def __init__(self, deliver=None, spoil=None):
        self.values, self.deliver, self.spoil = {}, deliver, spoil
        self.commands = {}

    def answer(self, arguments):
        name = arguments[0].upper()
        self.commands[name] = self.commands.get(name, 0) + 1
        if name == b"SET":
            self.values[arguments[1]] = arguments[2]
            return b"+OK\r\n"
        if name == b"MSET":
            self.values.update(zip(arguments[1::2], arguments[2::2]))
            return b"+OK\r\n"
        if name == b"GET":
            return self.bulk(arguments[1])
        if name == b"MGET":
            return b"*%d\r\n" % (len(arguments) - 1) + b"".join(self.bulk(key) for key in arguments[1:])
        if name == b"HELLO":
            return b"%1\r\n+proto\r\n:3\r\n"
        if name == b"INCR":
            return b"-ERR value is not an integer or out of range\r\n"
        return b"+PONG\r\n"

    def bulk(self, key):
        value = self.values.get(key)
        if value is None:
            return b"$-1\r\n"
        value = self.spoil(key, value) if self.spoil else value
        return b"$%d\r\n%s\r\n" % (len(value), value)

    def serve(self, connection):
        for arguments in requests(connection):
            reply = self.answer(arguments)
            if self.deliver:
                self.deliver(connection, reply)
            else:
                connection.sendall(reply)


class FcnpStore(Store):
    """The same for FCNP: GET, SET, PING, MGET, MSET, AUTH, HELLO; `shards` of them on ports of their own."""

    def __init__(self, deliver=None, shards=1, base=None):
        super().__init__(deliver)
        self.shards, self.base, self.misled = shards, base, 0

    @staticmethod
    def frame(status, body=b""):
        return b"\xfb\x02" + bytes([status, 0]) + len(body).to_bytes(4, "little") + body

    @staticmethod
    def item(value):
        return b"\xff" * 4 if value is None else len(value).to_bytes(4, "little") + value

    def array(self, values):
        return self.frame(6, len(values).to_bytes(4, "little") + b"".join(map(self.item, values)))

    def value(self, key):
        return self.frame(1) if key not in self.values else self.frame(4, self.values[key])

    def reply(self, opcode, flags, body, shard):
        number = lambda at: int.from_bytes(body[at:at + 4], "little")
        self.commands[opcode] = self.commands.get(opcode, 0) + 1
        if flags == 7:
            self.misled += shard != number(8) or body[12] != body[7] or shard != body[7] & 1
            body = body[20:]
        elif flags == 1:
            body = body[8:]
        if opcode == 1:
            return self.value(body[4:])
        if opcode == 2:
            end = 8 + number(0)
            self.values[body[8:end]] = body[end:]
            return self.frame(0) if len(body) == end + number(4) else self.frame(2, b"ERR length")
        if opcode == 9:
            return self.frame(0)
        if opcode == 10:
            keys, at = [], 4
            for _ in range(number(0)):
                keys.append(body[at + 4:at + 4 + number(at)])
                at += 4 + number(at)
            return self.array([self.values.get(key) for key in keys])
        if opcode == 60:
            return self.frame(0) if body.endswith(b"secret") else self.frame(2, b"WRONGPASS invalid")
        if opcode == 61:
            pairs = [b"server", b"fake", b"shards", b"%d" % self.shards, b"direct_base_port", b"%d" % self.base if self.base else b""]
            return self.array(pairs)
        return self.frame(2, b"ERR unsupported command")

    def serve_shard(self, shard):
        def serve(connection):
            stream = connection.makefile("rb")
            while header := stream.read(8):
                assert header[:2] == b"\xfa\x02", header
                reply = self.reply(header[2], header[3], stream.read(int.from_bytes(header[4:], "little")), shard)
                (self.deliver or socket.socket.sendall)(connection, reply)
        return serve


def run(address, *arguments, limit=120):
    return subprocess.run([BENCH, *address, "--connections", "3", "--keys", "50", *arguments], capture_output=True, text=True,
                          timeout=limit)


def answer(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def byte_by_byte(connection, reply):
    for i in range(len(reply)):
        connection.sendall(reply[i:i + 1])


def an_exact_number_of_requests_is_sent_and_answered():
    store = Store()
    with FakeServer(store.serve) as server:
        got = answer(run(server.address, "--requests", "1000", "--mix", "set", "--pipeline", "7", "--json"))
    assert got["requests"] == 1000 and store.commands[b"SET"] == 1000, got


def replies_that_come_byte_by_byte_are_counted_and_verified():
    store = Store(byte_by_byte)
    with FakeServer(store.serve) as server:
        got = answer(run(server.address, "--requests", "300", "--preload", "--verify", "--mix", "get,mget,set,ping", "--batch", "3",
                         "--pipeline", "5", "--protocol", "resp3", "--json"))
    assert got["requests"] == 300 and got["wrong"] == 0 and got["misses"] == 0, got


def every_key_is_loaded_once():
    store = Store()
    with FakeServer(store.serve) as server:
        result = run(server.address, "--preload", "--duration", "0", "--threads", "2", "--key-size", "10")
    assert result.returncode == 0 and result.stdout == "", result.stderr
    assert store.commands[b"SET"] == 50 and sorted(store.values) == [b"key:%06d" % i for i in range(50)], store.commands


def a_wrong_byte_is_found():
    def spoil(key, value):
        return value[:-1] + bytes([value[-1] ^ 1]) if key.endswith(b"07") else value
    with FakeServer(Store(spoil=spoil).serve) as server:
        result = run(server.address, "--requests", "500", "--preload", "--verify", "--mix", "get", "--json")
    assert result.returncode == 1 and json.loads(result.stdout)["wrong"] > 0, result.stdout


def a_value_of_another_key_is_found():
    store = Store()
    store.spoil = lambda key, value: store.values[b"key:" + b"3".rjust(12, b"0")]
    with FakeServer(store.serve) as server:
        result = run(server.address, "--requests", "500", "--preload", "--verify", "--mix", "get", "--json")
    assert result.returncode == 1 and json.loads(result.stdout)["wrong"] > 400, result.stdout


def fcnp_frames_are_written_and_read_however_they_come():
    for deliver in (None, byte_by_byte):
        store = FcnpStore(deliver)
        with FakeServer(store.serve_shard(0)) as server:
            got = answer(run(server.address, "--protocol", "fcnp", "--requests", "300", "--preload", "--verify", "--mix", "get,mget,set,ping",
                             "--batch", "3", "--pipeline", "5", "--password", "secret", "--value-size", "700", "--json"))
        assert got["requests"] == 300 and got["wrong"] == 0 and got["misses"] == 0 and got["errors"] == 0, got
        assert got["protocol"] == "fcnp" and len(store.values) == 50, (got, len(store.values))


def neighbours(first, second):
    """Two servers on ports that follow each other."""
    while True:
        one = FakeServer(first)
        try:
            return one, FakeServer(second, port=int(one.address[1]) + 1)
        except OSError:
            one.__exit__()


def fcnp_goes_to_the_port_of_a_keys_shard():
    """Two shards: bit 56 of the hash says which (the store compares it)."""
    store = FcnpStore(shards=2)
    one, second = neighbours(store.serve_shard(0), store.serve_shard(1))
    store.values = {b"key:%012d" % i: b"x" * 64 for i in range(50)}
    fanout = FakeServer(store.serve_shard(None))
    store.base = int(one.address[1])
    with one, second, fanout:
        got = answer(run(fanout.address, "--protocol", "fcnp", "--direct", "--requests", "400", "--mix", "get,set", "--connections", "4",
                         "--threads", "2", "--json"))
    assert got["requests"] == 400 and got["errors"] == 0 and got["misses"] == 0 and store.misled == 0, (got, store.misled)
    assert got["protocol"] == "fcnp-direct" and store.commands[61] == 1 and len(one.connections) == len(second.connections) == 2, got


def fcnp_that_cannot_be_is_an_error():
    with FakeServer(FcnpStore().serve_shard(0)) as server:
        for arguments, status, reason in ((["--direct"], 1, "no direct ports"), (["--mix", "incr"], 2, "no FCNP opcode"),
                                          (["--direct", "--mix", "ping"], 2, "no place at a direct port"),
                                          (["--direct", "--preload"], 2, "without --preload"),
                                          (["--password", "wrong"], 1, "WRONGPASS invalid")):
            result = run(server.address, "--protocol", "fcnp", *arguments)
            assert result.returncode == status and reason in result.stderr, (arguments, result)
    with FakeServer(lambda c: c.sendall(b"-ERR what\r\n" * 3) or listen_only(c)) as server:
        result = run(server.address, "--protocol", "fcnp", "--duration", "2")
    assert result.returncode == 1 and "not FCNP" in result.stderr, result.stderr


def missing_keys_are_counted():
    with FakeServer(Store().serve) as server:
        got = answer(run(server.address, "--requests", "100", "--mix", "get", "--json"))
    assert got["misses"] == 100, got


def errors_are_counted_and_the_first_is_shown():
    with FakeServer(Store().serve) as server:
        got = answer(run(server.address, "--requests", "100", "--mix", "incr", "--json"))
        text = run(server.address, "--requests", "10", "--mix", "incr").stdout
    assert got["errors"] == 100 and got["error_text"] == "ERR value is not an integer or out of range", got
    assert "first error  ERR value" in text, text


def large_values_pass_both_ways():
    with FakeServer(Store().serve) as server:
        got = answer(run(server.address, "--requests", "60", "--preload", "--verify", "--value-size", "1500000", "--keys", "5",
                         "--pipeline", "3", "--json"))
    assert got["wrong"] == 0 and got["misses"] == 0 and got["requests"] == 60, got


def a_unix_socket_works():
    path = f"/tmp/skerry-bench-test-{os.getpid()}.sock"
    try:
        with FakeServer(Store().serve, path) as server:
            assert answer(run(server.address, "--requests", "100", "--json"))["requests"] == 100
    finally:
        os.unlink(path)


def echo(connection):
    while data := connection.recv(100):
        connection.sendall(data)


def echoed_messages_are_counted_by_their_length():
    with FakeServer(echo) as server:
        got = answer(run(server.address, "--requests", "500", "--mix", "echo", "--value-size", "33", "--pipeline", "4", "--verify", "--json"))
    assert got["requests"] == 500 and got["bytes_in"] == 500 * 33 and got["wrong"] == 0, got


def an_open_loop_keeps_its_rate_and_counts_from_the_intended_time():
    def stall_once(connection, reply, state={}):
        if "since" not in state:
            state["since"] = time.monotonic()
        if "done" not in state and time.monotonic() - state["since"] > 0.6:
            state["done"] = True
            time.sleep(0.3)
        connection.sendall(reply)
    store = Store(stall_once)
    with FakeServer(store.serve) as server:
        got = answer(run(server.address, "--rate", "200", "--duration", "1.5", "--warmup", "0.2", "--mix", "ping", "--connections", "1",
                         "--json"))
    # The machine may stall too, so there are no upper bounds on time: what is late is only ever later.
    assert 200 <= got["requests"] <= 400, got
    assert got["latency_us"]["max"] > 250e3, got
    # A closed loop would see one slow request; of 300 arrivals some 60 fell into the stall.
    assert got["latency_us"]["p90"] > 40e3, got


def a_server_that_vanishes_is_an_error():
    def vanish(connection):
        for count, _ in enumerate(requests(connection)):
            if count == 20:
                return
            connection.sendall(b"+OK\r\n")
    with FakeServer(vanish) as server:
        result = run(server.address, "--mix", "ping", "--duration", "10")
    assert result.returncode == 1, result
    assert "closed a connection" in result.stderr or "connection lost" in result.stderr, result.stderr


def a_server_that_goes_silent_is_an_error():
    def silent(connection):
        for count, _ in enumerate(requests(connection)):
            if count < 5:
                connection.sendall(b"+OK\r\n")
    with FakeServer(silent) as server:
        for arguments in (["--duration", "10"], ["--requests", "1000"], ["--preload", "--duration", "0"]):
            result = run(server.address, "--timeout", "0.5", *arguments)
            assert result.returncode == 1 and "no reply for 0.5 s" in result.stderr, result


def a_server_that_never_reads_is_an_error():
    def read_nothing(connection):
        wait = select.poll()
        wait.register(connection, 0) # which still reports the end of both directions
        wait.poll()
    with FakeServer(read_nothing) as server:
        result = run(server.address, "--timeout", "0.5", "--value-size", "3000000", "--mix", "set", "--pipeline", "4")
    assert result.returncode == 1 and "no reply for" in result.stderr, result


def a_stream_that_is_not_resp_is_an_error():
    def garbage(connection):
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        listen_only(connection)
    with FakeServer(garbage) as server:
        result = run(server.address, "--duration", "5")
    assert result.returncode == 1 and "not RESP" in result.stderr, result.stderr


def replies_nobody_asked_for_are_an_error():
    def twice(connection):
        for _ in requests(connection):
            connection.sendall(b"+OK\r\n+OK\r\n")
    with FakeServer(twice) as server:
        result = run(server.address, "--duration", "5", "--mix", "ping")
    assert result.returncode == 1 and "nobody asked" in result.stderr, result.stderr


def a_refused_login_is_an_error():
    def refuse(connection):
        for _ in requests(connection):
            connection.sendall(b"-WRONGPASS invalid\r\n")
    with FakeServer(refuse) as server:
        result = run(server.address, "--password", "x")
    assert result.returncode == 1 and "WRONGPASS invalid" in result.stderr, result.stderr


def nobody_listening_is_an_error():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        result = run(["--port", str(bound.getsockname()[1])])
    assert result.returncode == 1 and "Connection refused" in result.stderr, result.stderr


def bad_options_exit_2():
    for arguments in (["--nonsense"], ["--pipeline", "0"], ["--port"], ["--mix", "get,echo"]):
        result = run([], *arguments)
        assert result.returncode == 2 and result.stderr.startswith("skerry-bench: ") and result.stdout == "", result


def the_servers_cpu_time_is_read():
    with FakeServer(Store().serve) as server:
        for _ in range(20):  # the time of a thread that ends meanwhile is lost to everybody
            got = answer(run(server.address, "--requests", "10000", "--server-pid", str(os.getpid()), "--json"))
            if got["server"]["cpu_us_per_request"] > 0 and got["server"]["threads"] >= 4:
                break
        gone = run(server.address, "--requests", "10", "--server-pid", "999999999")
    assert 0 < got["server"]["cpu_us_per_request"] < 10000 and got["server"]["threads"] >= 4, got
    assert gone.returncode == 1 and "999999999" in gone.stderr, gone.stderr


def the_window_is_announced():
    with FakeServer(Store().serve) as server:
        result = run(server.address, "--requests", "200", "--announce", "--json")
    assert answer(result)["requests"] > 0 and result.stderr == "measuring\nmeasured\n", result.stderr


def many_connections_on_two_threads_work():
    with FakeServer(Store().serve) as server:
        got = answer(run(server.address, "--connections", "40", "--threads", "2", "--requests", "4001", "--mix", "get,set", "--json"))
    assert got["requests"] == 4001, got


TESTS = [an_exact_number_of_requests_is_sent_and_answered, replies_that_come_byte_by_byte_are_counted_and_verified,
         every_key_is_loaded_once, a_wrong_byte_is_found, a_value_of_another_key_is_found, missing_keys_are_counted,
         errors_are_counted_and_the_first_is_shown, large_values_pass_both_ways, fcnp_frames_are_written_and_read_however_they_come,
         fcnp_goes_to_the_port_of_a_keys_shard, fcnp_that_cannot_be_is_an_error, a_unix_socket_works,
         echoed_messages_are_counted_by_their_length, an_open_loop_keeps_its_rate_and_counts_from_the_intended_time,
         a_server_that_vanishes_is_an_error, a_server_that_goes_silent_is_an_error, a_server_that_never_reads_is_an_error,
         a_stream_that_is_not_resp_is_an_error, replies_nobody_asked_for_are_an_error, a_refused_login_is_an_error,
         nobody_listening_is_an_error, bad_options_exit_2, the_servers_cpu_time_is_read, the_window_is_announced, many_connections_on_two_threads_work]


def main():
    passed = failed = 0
    for test in TESTS:
        if len(sys.argv) > 2 and sys.argv[2] != test.__name__:
            continue
        try:
            test()
            passed += 1
            print(f"ok   {test.__name__}", flush=True)
        except (AssertionError, subprocess.TimeoutExpired, ValueError) as error:
            failed += 1
            print(f"FAIL {test.__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
