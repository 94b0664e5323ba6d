# SPDX-License-Identifier: Apache-2.0
"""Whatever runs out (descriptors, clients, memory, locked memory, queue entries), the server says so and keeps serving."""

import glob
import os
import re
import selectors
import shutil
import signal
import socket
import tempfile
import time

from harness import BACKENDS, Client, Error, Server, Skip, check, check_equal, encode, raise_descriptor_limit, test, wait_until

OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")
MANY = 10000


def many_clients(s, wanted=MANY):
    """As many connections as the limits allow, at most `wanted`; each connected, none has spoken."""
    limit = raise_descriptor_limit(wanted + 1000)
    count = min(wanted, limit - 1000)
    if count < 1000:
        raise Skip(f"only {limit} descriptors are allowed")
    clients = []
    for _ in range(count):
        c = socket.create_connection(s.address, timeout=20)
        clients.append(c)
    return clients


def answers_of(clients, length, seconds=20):
    """How many of the sockets got `length` bytes, and how many were closed or said something else."""
    selector, good, bad, got = selectors.DefaultSelector(), 0, 0, {}
    for c in clients:
        selector.register(c, selectors.EVENT_READ)
        got[c] = 0
    end = time.monotonic() + seconds
    while good + bad < len(clients) and time.monotonic() < end:
        for key, _ in selector.select(0.2):
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
            got[key.fileobj] += len(data)
            if not data or got[key.fileobj] >= length:
                selector.unregister(key.fileobj)
                good, bad = (good + 1, bad) if data else (good, bad + 1)
    selector.close()
    return good, bad


def close_all(clients):
    for c in clients:
        c.close()


@test(BACKENDS, args=["--maxclients", "20000"], seconds=90)
def ten_thousand_clients_are_served(s):
    before = s.rss()
    clients = many_clients(s)
    try:
        for round in range(2):
            for c in clients:
                c.sendall(b"PING\r\n")
            check_equal(answers_of(clients, 7), (len(clients), 0), f"answered and dropped clients in round {round}")
        if not s.config.stand_in:
            each = (s.rss() - before) // len(clients)
            check(each <= 8192 + 4096, f"an idle client takes {each} bytes")
        with s.client() as c:
            check(f"connected_clients:{len(clients) + 1}\r\n".encode() in c.must("INFO", "clients"), "INFO counts the clients")
            start = s.cpu_seconds()
            time.sleep(1)
            used = s.cpu_seconds() - start
            check(s.config.stand_in or used < 0.15 * s.config.workers, f"{len(clients)} idle clients take {used:.2f} s of CPU in a second")
    finally:
        close_all(clients)
    with s.client() as c:
        wait_until(lambda: b"connected_clients:1\r\n" in c.must("INFO", "clients"), 20, "forgetting of all clients")


@test(BACKENDS, args=["--maxclients", "20000"], seconds=90)
def requests_of_ten_thousand_clients_at_the_same_moment_are_answered(s):
    clients = many_clients(s)
    try:
        for c in clients:
            c.sendall(b"PING\r\n")
        check_equal(answers_of(clients, 7), (len(clients), 0), "first round: answered, dropped")
        s.stand_still()
        for c in clients:
            c.sendall(encode("SET", "k", "v" * 200) + encode("GET", "k"))
        s.signal(signal.SIGCONT)
        check_equal(answers_of(clients, 5 + 208), (len(clients), 0), "after the pause: answered, dropped")
    finally:
        s.signal(signal.SIGCONT)
        close_all(clients)


@test(BACKENDS, args=["--maxclients", "20000"], seconds=60)
def cut_requests_of_thousands_of_clients_wait_for_their_rest(s):
    clients = many_clients(s, 3000)
    try:
        request = encode("SET", "k", "v" * 6000) + encode("STRLEN", "k")
        for c in clients:
            c.sendall(request[:5000])
        with s.client() as other:
            check_equal(other.call("PING"), "PONG", "PING of another client")
        for c in clients:
            c.sendall(request[5000:])
        check_equal(answers_of(clients, 5 + 7), (len(clients), 0), "answered, dropped")
    finally:
        close_all(clients)


@test(BACKENDS, seconds=60)
def clients_come_and_go_by_the_thousand(s):
    with s.client() as other:
        other.must("PING")  # accepted, so that its descriptor counts
        fds = s.fds()
        for i in range(4000):
            c = Client(s.address)
            if i % 4 == 0:
                check_equal(c.call("PING"), "PONG", f"PING of client {i}")
            elif i % 4 == 1:
                c.send(b"PING\r\n")
            elif i % 4 == 2:
                c.reset()
            c.close()
        check_equal(other.call("PING"), "PONG", "PING of another client")
        wait_until(lambda: s.fds() <= fds, 10, "closing of the descriptors")
        wait_until(lambda: b"connected_clients:1\r\n" in other.must("INFO", "clients"), 10, "forgetting of the clients")


@test(BACKENDS, args=["--maxclients", "5"])
def clients_beyond_maxclients_are_refused(s):
    clients = []
    try:
        for i in range(5):
            c = s.client()
            check_equal(c.call("PING"), "PONG", f"PING of client {i}")
            clients.append(c)
        for _ in range(3):
            with s.raw() as c:
                check_equal(c.read_all(), b"-ERR max number of clients reached\r\n", "refusal")
        check(b"rejected_connections:3" in clients[0].must("INFO", "stats"), "INFO counts refusals")
        clients.pop().close()
        wait_until(lambda: b"connected_clients:4\r\n" in clients[0].must("INFO", "clients"), 5, "leaving of a client")
        with s.client() as c:
            check_equal(c.call("PING"), "PONG", "PING once there is room")
        check_equal(clients[0].call("CONFIG", "SET", "maxclients", "50"), "OK", "CONFIG SET maxclients")
        for _ in range(10):
            c = s.client()
            check_equal(c.call("PING"), "PONG", "PING after more are allowed")
            clients.append(c)
    finally:
        for c in clients:
            c.close()


def served_in_turns(clients, seconds):
    """Those who are served leave, and make room for those who wait; gives how many never were."""
    left, end = list(clients), time.monotonic() + seconds
    while left and time.monotonic() < end:
        for c in list(left):
            c.sock.settimeout(0.02)
            try:
                check_equal(c.read(), "PONG", "PING of a waiting client")
            except socket.timeout:
                continue
            c.close()
            left.remove(c)
    return len(left)


# A limit that is lowered while the server runs would not do: io_uring's accept keeps the one it was armed with.
@test(BACKENDS, own=True, skerry_only=True, seconds=40)
def a_lack_of_descriptors_is_survived(config):
    with Server(config, prefix=["prlimit", "--nofile=300:300"]) as s, s.client() as old:
        check_equal(old.call("CONFIG", "SET", "maxclients", "5000"), "OK", "CONFIG SET maxclients beyond the descriptors")
        clients = [s.raw() for _ in range(400)]
        for c in clients:
            c.send(b"PING\r\n")
        time.sleep(0.3)
        start, said = s.cpu_seconds(), s.log().count("Too many open files")
        time.sleep(2)
        used, lines = s.cpu_seconds() - start, s.log().count("Too many open files") - said
        check_equal(old.call("PING"), "PONG", "PING of an old client")
        check(used < 0.1 * s.config.workers, f"waiting for descriptors takes {used:.2f} s of CPU in 2 s")
        check(0 < lines <= 4 * s.config.workers, f"the log says it {lines} times in 2 s")
        check_equal(served_in_turns(clients, 15), 0, "clients that were never served")
        with s.client() as c:
            check_equal(c.call("PING"), "PONG", "PING at the end")


@test(BACKENDS, own=True)
def a_start_with_few_descriptors_serves_few_clients(config):
    with Server(config, prefix=["prlimit", "--nofile=200:200"]) as s:
        with s.client() as c:
            most = int(c.must("CONFIG", "GET", "maxclients")[1])
            check(20 <= most < 200, f"maxclients is {most} with 200 descriptors")
            check_equal(c.call("PING"), "PONG", "PING")


@test(BACKENDS, own=True, skerry_only=True)
def little_locked_memory_is_enough(config):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        raise Skip("needs root and setpriv to become an ordinary user")
    folder = "/tmp" if os.access("/tmp", os.X_OK) else os.getcwd()
    program = os.path.join(folder, f"skerryd-{os.getpid()}-{config.io}")
    shutil.copy(config.program, program)
    os.chmod(program, 0o755)
    try:
        for limit in (65536, 1 << 20):
            prefix = ["prlimit", f"--memlock={limit}:{limit}", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            with Server(config.but(program=program, io="auto" if config.io == "uring" else config.io), prefix=prefix) as s:
                with s.client() as c:
                    check_equal(c.pipeline([("SET", "a", "1"), ("GET", "a")] * 500), ["OK", b"1"] * 500, f"replies with memlock {limit}")
    finally:
        os.unlink(program)


@test(BACKENDS, args=["--maxmemory", "64mb"], seconds=60)
def writes_beyond_maxmemory_are_refused_and_reads_go_on(s):
    value = "v" * 100000
    with s.client() as c:
        written, refused = [], None
        for i in range(2000):
            reply = c.call("SET", f"k{i}", value)
            if isinstance(reply, Error):
                refused = reply
                break
            written.append(f"k{i}")
        check_equal(refused, OOM, "reply of a write beyond the limit")
        check(len(written) > 100, f"only {len(written)} values of 100 kB fit into 64 MB")
        if s.config.stand_in or s.config.workers == 1:
            check_equal(c.call("APPEND", "n", value), OOM, "APPEND")
            check_equal(c.call("MSET", "a", value, "b", value), OOM, "MSET")
        check_equal(len(c.call("GET", written[0])), 100000, "GET")
        check_equal(c.call("STRLEN", written[-1]), 100000, "STRLEN")
        check_equal(c.call("EXPIRE", written[0], "1000"), 1, "EXPIRE")
        check_equal(c.call("DEL", *written[: len(written) // 2]), len(written) // 2, "DEL")
        check_equal(c.call("SET", "again", value), "OK", "SET after DEL")
        info = c.must("INFO", "memory").decode()
        check("maxmemory:67108864" in info, "INFO shows the limit")
        check_equal(c.call("CONFIG", "SET", "maxmemory", "0"), "OK", "CONFIG SET maxmemory")
        check_equal(c.call("SET", "free", value), "OK", "SET without a limit")


@test(BACKENDS, args=["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-s3fifo"], skerry_only=True, seconds=60)
def what_connections_hold_counts_against_maxmemory(s):
    with s.client() as c:
        for i in range(700):
            c.must("SET", f"k{i}", "v" * 60000)
        before = c.call("DBSIZE")
        with s.client() as big:
            big.send(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$60000000\r\n" + b"x" * (40 << 20))  # and no more: it stays with the connection
            wait_until(lambda: c.call("DBSIZE") < before * 3 / 4, 30, "keys give way to what a connection holds")
        c.must("FLUSHALL", "SYNC")
        held = lambda: int(c.must("INFO", "memory").split(b"mem_clients_normal:")[1].split()[0])
        wait_until(lambda: held() < 10 << 20, 30, "a client that went holds nothing")
        for i in range(700):
            c.must("SET", f"k{i}", "v" * 60000)
        wait_until(lambda: c.call("SET", "again", "v") == "OK" and c.call("DBSIZE") > before * 9 / 10, 30, "the room is the keys' again")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def an_idle_server_sleeps(config):
    with Server(config) as s:
        clients = [s.client() for _ in range(100)]
        for c in clients:
            c.must("SET", "a", "1")
        time.sleep(0.5)
        start = s.cpu_seconds()
        time.sleep(3)
        used = (s.cpu_seconds() - start) / 3 / config.workers
        check(used <= 0.02, f"an idle worker takes {used * 100:.1f} % of a core")
        for c in clients:
            c.close()


@test(BACKENDS)
def a_backlog_of_connections_is_worked_off(s):
    s.stand_still()
    try:
        clients = []
        for _ in range(400):
            c = socket.socket()
            c.setblocking(False)
            c.connect_ex(s.address)
            clients.append(c)
        time.sleep(0.1)
    finally:
        s.signal(signal.SIGCONT)
    for c in clients:
        c.setblocking(True)
        c.settimeout(10)
        c.sendall(b"PING\r\n")
    check_equal(answers_of(clients, 7), (400, 0), "answered, dropped")
    close_all(clients)


@test(BACKENDS, args=["--requirepass", "secret", "--maxclients", "20000"], seconds=90)
def strangers_who_announce_much_get_no_memory(s):
    before = s.rss()
    clients = many_clients(s)
    lines = [b"*2147483647\r\n", b"*8\r\n$536870912\r\n", b"*1\r\n$536870912\r\nxxx", b"*1000000\r\n$3\r\nGET\r\n", b"*9\r\n", b"*2\r\n$4\r\nAUTH\r\n$400\r\n" + b"x" * 399]
    try:
        for i, c in enumerate(clients):
            try:
                c.sendall(lines[i % len(lines)])
            except OSError:
                pass  # closed already: what is wanted
        with s.client() as other:
            check_equal(other.call("PING"), "PONG", "PING of a known client")
        growth = (s.rss() - before) / (1 << 20)
        check(growth <= 64 or bool(s.config.stand_in), f"RSS grew by {growth:.0f} MiB")
    finally:
        close_all(clients)


@test(BACKENDS, seconds=60)
def nothing_is_taken_for_a_length_that_is_only_announced(s):
    with s.client() as c:
        before = s.rss()
        clients = []
        for _ in range(200):
            x = s.client()
            x.send(b"*2\r\n$4\r\nECHO\r\n$500000000\r\n" + b"x" * 1000)
            clients.append(x)
        check_equal(c.call("PING"), "PONG", "PING of another client")
        time.sleep(0.2)
        growth = (s.rss() - before) / (1 << 20)
        check(growth <= 64, f"RSS grew by {growth:.0f} MiB for 200 announced values")
        for x in clients:
            x.close()


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_server_that_stood_still_goes_on_where_the_clock_is(config):
    with Server(config, "--timeout", "3600") as s, s.client() as c:
        for i in range(200):
            c.must("SET", f"short{i}", "v", "PX", "1500")
        c.must("MSET", *[x for i in range(200) for x in (f"long{i}", "v")])
        c.must("SET", "asked", "v", "PX", "1500")
        s.stand_still()
        try:
            c.send(encode("GET", "asked") + encode("GET", "long0"))
            time.sleep(3)
        finally:
            s.signal(signal.SIGCONT)
        check_equal([c.read(), c.read()], [None, b"v"], "what was asked while it stood still")
        check_equal(c.call("MGET", *[f"short{i}" for i in range(200)]), [None] * 200, "keys that fell due meanwhile")
        check_equal(c.call("EXISTS", *[f"long{i}" for i in range(200)]), 200, "keys without a deadline")
        wait_until(lambda: c.call("DBSIZE") == 200, 20, "removal of what fell due")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_wall_clock_that_is_set_moves_deadlines_and_nothing_else(config):
    """Deadlines are wall time, as in Redis: a clock set back makes keys live longer, one set forward ends them; idle clients,
    uptime and everything else that measures keep to the steady clock."""
    with open(os.path.join(config.build, "skerryd"), "rb") as program:
        if re.search(rb"__[at]san_init", program.read()):
            raise Skip("a sanitizer's library comes before any other")
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    with tempfile.NamedTemporaryFile("w+") as offset:

        def set_clock(seconds):
            offset.seek(0)
            offset.write(f"{seconds:+020d}s\n")
            offset.flush()
            wait_until(lambda: abs(int(c.call("TIME")[0]) - time.time() - seconds) < 5, 10, "the set clock")

        env = {**os.environ, "LD_PRELOAD": library[0], "FAKETIME_TIMESTAMP_FILE": offset.name, "FAKETIME_NO_CACHE": "1",
               "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        offset.write("+0s\n")
        offset.flush()
        with Server(config, "--timeout", "3600", env=env) as s, s.client() as c:
            c.must("SET", "stays", "v")
            for i in range(200):
                c.must("SET", f"key{i}", "v", "PX", 600000 + i)
            set_clock(-86400)
            check(86400 * 1000 < c.call("PTTL", "key0") <= 86400 * 1000 + 600000, "a clock set back lengthens a life")
            for i in range(200):
                c.must("SET", f"short{i}", "v", "PX", 500)
            wait_until(lambda: c.call("DBSIZE") == 201, 20, "removal of what fell due on the day before")
            set_clock(0)
            check_equal(c.call("EXISTS", *[f"key{i}" for i in range(200)]), 200, "keys after the clock is right again")
            check(0 < c.call("PTTL", "key0") <= 600000, "the old deadline")
            set_clock(86400 * 400)
            check_equal(c.call("GET", "key7"), None, "a key whose deadline the clock has passed")
            wait_until(lambda: c.call("DBSIZE") == 1, 20, "removal of what fell due at once")
            c.must("SET", "later", "v", "EX", 100)
            set_clock(0)
            check_equal(c.call("MGET", "stays", "later"), [b"v", b"v"], "what was set meanwhile")
            text = c.call("INFO", "server").decode()
            check(int(text.split("uptime_in_seconds:")[1].split("\r\n")[0]) < 3600, "uptime")
