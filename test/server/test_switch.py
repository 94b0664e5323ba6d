# SPDX-License-Identifier: Apache-2.0
"""CONFIG SET appendonly: a log that is switched on and off while the server runs."""

import os
import random
import re
import resource
import signal
import threading
import time

from harness import BACKENDS, SLOW, Closed, Error, Server, check, check_equal, encode, test, wait_until
from test_save import Directory, info, kill

ALWAYS = ("--appendfsync", "always")


def cells(config):
    for workers in (1, 2):
        yield config.but(workers=workers, shards=4, appendonly=None)


def fill(c, count):
    for first in range(0, count, 1000):
        c.pipeline([("SET", f"key:{i}", "x" * 500) for i in range(first, first + 1000)])


def send(c, *commands):
    c.send(b"".join(encode(*command) for command in commands))


class Load:
    """Writers of counters: alone, as pairs of different shards (MSET, MULTI), and what of them was acknowledged."""

    def __init__(self, s, clients=6):
        self.stop, self.failed = False, None
        self.acked = [0] * clients
        self.threads = [threading.Thread(target=self.run, args=(s, i)) for i in range(clients)]

    def run(self, s, i):
        try:
            with s.client(timeout=30) as c:
                n = 0
                while not self.stop:
                    n += 1
                    if i % 3 == 0:
                        c.must("SET", f"one{i}", n)
                    elif i % 3 == 1:
                        c.must("MSET", f"a{i}", n, f"b{i}", n)
                    else:
                        c.pipeline([("MULTI",), ("SET", f"a{i}", n), ("SET", f"b{i}", n), ("EXEC",)])
                    self.acked[i] = n
        except (OSError, Closed):
            pass  # killed
        except Exception as e:  # pylint: disable=broad-except
            self.failed = e

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join()

    def verify(self, c, whole=True):
        """Everything that was acknowledged (`whole`), and no half of a pair."""
        check_equal(self.failed, None)
        for i, acked in enumerate(self.acked):
            if i % 3 == 0:
                got = int(c.must("GET", f"one{i}") or 0)
            else:
                first, second = (int(v or 0) for v in c.must("MGET", f"a{i}", f"b{i}"))
                check_equal(first, second, f"half of pair {i}")
                got = first
            if whole:
                check(acked <= got <= acked + 1, f"writer {i}: {acked} was acknowledged, {got} is there")


def wait_loaded(c):
    wait_until(lambda: not isinstance(c.call("DBSIZE"), Error), 20, "loading")


def setting(c, name):
    return c.must("CONFIG", "GET", name)[1]


def switch(c, to):
    check_equal(c.must("CONFIG", "SET", "appendonly", to), "OK")
    check_equal(info(c, "aof_enabled"), "1" if to == "yes" else "0")
    check_equal(setting(c, "appendonly"), to.encode())


@test(BACKENDS, own=True, skerry_only=True, seconds=90)
def switched_on_under_load_every_write_that_is_acknowledged_survives_a_kill(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, *ALWAYS) as s, s.client(timeout=30) as c:
                c.pipeline([("SET", f"before:{i}", "x" * 100) for i in range(20000)])
                with Load(s) as load:
                    time.sleep(0.2)
                    switch(c, "yes")
                    at_ok = list(load.acked)
                    time.sleep(0.5)
                    kill(s)
                check(all(now > then for now, then in zip(load.acked, at_ok)), "a writer stood still")
            for again in ("yes", "no"):
                with d.server(cell, "--appendonly", again) as s, s.client() as c:
                    wait_loaded(c)
                    load.verify(c)
                    check_equal(c.must("EXISTS", *[f"before:{i}" for i in range(0, 20000, 100)]), 200)


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def switched_off_nobody_waits_and_the_directory_is_what_it_was_then(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, "--appendonly", "yes", *ALWAYS) as s, s.client(timeout=30) as c:
                with Load(s) as load:
                    time.sleep(0.3)
                    then = list(load.acked)
                    switch(c, "no")
                    time.sleep(0.2)
                check(all(now > before for now, before in zip(load.acked, then)), "a writer stood still")
                check_equal(info(c, "log_state"), "off")
                check(isinstance(c.call("WAITAOF", 1, 0, 100), Error), "WAITAOF without a log")
                c.must("SET", "later", 1)
                kill(s)
            for again in ("no", "yes"):
                with d.server(cell, "--appendonly", again) as s, s.client() as c:
                    wait_loaded(c)
                    load.verify(c, whole=False)
                    check(int(c.must("GET", "one0") or 0) >= then[0] > 0, "what was acknowledged before it was asked for")
                    check_equal(c.must("GET", "later"), None)


@test(BACKENDS, own=True, skerry_only=True, seconds=90)
def on_and_off_many_times_under_load(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, *ALWAYS, "--log-segment-size", "256kb") as s, s.client(timeout=30) as c:
                with Load(s) as load:
                    for _ in range(8):
                        switch(c, "yes")
                        time.sleep(random.random() * 0.1)
                        switch(c, "no")
                    switch(c, "yes")
                    time.sleep(0.2)
                    kill(s)
            with d.server(cell, "--appendonly", "yes", *ALWAYS) as s, s.client() as c:
                wait_loaded(c)
                load.verify(c)


@test(BACKENDS, own=True, skerry_only=True, seconds=90)
def killed_while_it_is_switched_the_next_start_refuses_nothing(config):
    for cell in cells(config):
        with Directory() as d:
            for n in range(10):
                with d.server(cell, *ALWAYS, "--log-segment-size", "256kb") as s, s.client(timeout=30) as c, s.client(timeout=30) as other:
                    wait_loaded(c)
                    c.pipeline([("SET", f"key:{i}", f"{n}-" + "x" * 200) for i in range(3000)])
                    with Load(s) as load:
                        if n % 2 == 1:
                            switch(c, "yes")
                        send(c, ("CONFIG", "SET", "appendonly", "no" if n % 2 == 1 else "yes"))
                        time.sleep(random.random() * 0.04)
                        kill(s)
                with d.server(cell, "--appendonly", "yes" if n % 3 == 0 else "no") as s, s.client() as c:
                    wait_loaded(c)
                    check_equal(info(c, "log_state"), "ok" if n % 3 == 0 else "off")
                    load.verify(c, whole=False)
                    values = {v.split(b"-")[0] for v in c.must("MGET", *[f"key:{i}" for i in range(3000)]) if v is not None}
                    check(len(values) <= 1, f"a mix of moments: {values}")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def during_a_background_save_it_waits_for_its_end(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, *ALWAYS, "--save", "3600 100000000") as s, s.client(timeout=30) as c:
                fill(c, 100000)
                check_equal(c.must("BGSAVE"), "Background saving started")
                switch(c, "yes")
                check_equal(info(c, "rdb_saves"), "2")
                c.must("SET", "later", 1)
                check_equal(c.must("BGSAVE"), "Background saving started")
                c.must("SET", "during", 1)
                switch(c, "no")
                wait_until(lambda: info(c, "rdb_bgsave_in_progress") == "0", 20, "the end of a snapshot")
                check_equal(info(c, "rdb_last_bgsave_status"), "ok")
                kill(s)
            with d.server(cell) as s, s.client() as c:
                wait_loaded(c)
                check_equal(c.must("DBSIZE"), 100002)


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def flushall_under_its_snapshot_begins_that_again(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, *ALWAYS) as s, s.client(timeout=30) as c, s.client(timeout=30) as other:
                fill(c, 100000)
                send(c, ("CONFIG", "SET", "appendonly", "yes"))
                time.sleep(0.03)
                other.must("FLUSHALL")
                other.must("SET", "a", 1)
                check_equal(c.read(), "OK")
                other.must("SET", "b", 2)
                kill(s)
            with d.server(cell) as s, s.client() as c:
                wait_loaded(c)
                check_equal(sorted(c.must("KEYS", "*")), [b"a", b"b"])


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def what_cannot_be_switched_on_stays_off_and_says_why(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, *ALWAYS) as second, second.client(timeout=30) as c:
                with d.server(cell, "--appendonly", "yes") as first, first.client() as other:
                    wait_loaded(other)
                    other.must("SET", "theirs", 1)
                    e = c.call("CONFIG", "SET", "appendonly", "yes")
                    check(isinstance(e, Error) and "cannot be taken over" in str(e), f"{e!r}")
                e = c.call("CONFIG", "SET", "appendonly", "yes")
                check(isinstance(e, Error) and "not loaded" in str(e), f"{e!r}")
                check_equal(info(c, "aof_enabled"), "0")
                c.must("SET", "ours", 1)
            with d.server(cell) as s, s.client() as c:
                wait_loaded(c)
                check_equal(c.must("KEYS", "*"), [b"theirs"])
        with Directory() as d:
            limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, resource.RLIM_INFINITY))
            with Server(cell, "--appenddirname", d.path, *ALWAYS, "--log-segment-size", "1mb", start=limit) as s, s.client(timeout=30) as c:
                fill(c, 20000)
                for _ in range(3):
                    e = c.call("CONFIG", "SET", "appendonly", "yes")
                    check(isinstance(e, Error) and "the snapshot that it begins with failed" in str(e), f"{e!r}")
                check_equal(d.files("log-"), [])
                check_equal(info(c, "log_state"), "off")
                check_equal(setting(c, "appendonly"), b"no")
                c.must("SET", "still", "here")
                c.must("FLUSHALL")
                switch(c, "yes")  # with less to save
                c.must("SET", "and", "now")
                kill(s)
            with d.server(cell) as s, s.client() as c:
                wait_loaded(c)
                check_equal(c.must("KEYS", "*"), [b"and"])


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def one_at_a_time_not_in_a_transaction_and_in_the_order_of_its_connection(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, *ALWAYS) as s, s.client(timeout=30) as c, s.client(timeout=30) as other:
                c.must("MULTI")
                c.must("CONFIG", "SET", "appendonly", "yes")
                got = c.must("EXEC")
                check(isinstance(got[0], Error) and "transaction" in str(got[0]), f"{got!r}")
                check_equal(c.must("CONFIG", "SET", "appendonly", "no"), "OK")  # as it is
                fill(c, 50000)
                send(c, ("CONFIG", "SET", "appendonly", "yes", "hz", "20"), ("SET", "behind", 1), ("GET", "behind"))
                time.sleep(0.005)
                e = other.call("CONFIG", "SET", "appendonly", "yes")
                check(e == "OK" or (isinstance(e, Error) and "being changed" in str(e)), f"{e!r}")
                check_equal([c.read() for _ in range(3)], ["OK", "OK", b"1"])
                check_equal(setting(c, "hz"), b"20")
                kill(s)
            with d.server(cell) as s, s.client() as c:
                wait_loaded(c)
                check_equal(c.must("GET", "behind"), b"1")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def waitaof_while_it_is_switched_says_nothing_that_a_kill_takes_back(config):
    for cell in cells(config):
        with Directory() as d:
            with d.server(cell, "--appendfsync", "everysec") as s, s.client(timeout=30) as c, s.client(timeout=30) as other:
                fill(c, 50000)
                check_equal(str(other.call("WAITAOF", 1, 0, 100))[:11], "ERR WAITAOF")
                send(c, ("CONFIG", "SET", "appendonly", "yes"))
                n, refused = 0, 0
                while True:
                    n += 1
                    other.must("SET", "last", n)
                    got = other.call("WAITAOF", 1, 0, 0)
                    if not isinstance(got, Error):
                        break
                    refused += 1
                check_equal(got, [1, 0])
                kill(s)
                check(refused > 0, "the log was on at once")
            with d.server(cell) as s, s.client() as c:
                wait_loaded(c)
                check_equal(c.must("GET", "last"), str(n).encode())


@test(BACKENDS, own=True, skerry_only=True)
def config_rewrite_keeps_whether_there_is_a_log(config):
    with Directory() as d:
        cell = config.but(appendonly=None)
        with Server(cell, file=f"appenddirname {d.path}\n") as s, s.client() as c:
            for to in ("yes", "no"):
                switch(c, to)
                c.must("CONFIG", "REWRITE")
                with open(s.file) as text:
                    check_equal(re.search(r"^appendonly yes$", text.read(), re.M) is not None, to == "yes")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_server_is_stopped_whatever_is_being_switched(config):
    for cell in cells(config):
        with Directory() as d:
            for n in range(6):
                with d.server(cell, *ALWAYS) as s, s.client(timeout=30) as c:
                    wait_loaded(c)
                    fill(c, 20000)
                    if n % 2 == 1:
                        switch(c, "yes")
                    send(c, ("CONFIG", "SET", "appendonly", "no" if n % 2 == 1 else "yes"))
                    time.sleep(random.random() * 0.05)
                    s.signal(signal.SIGTERM)
                    check_equal(s.wait_end(), 0)
            with d.server(cell, "--appendonly", "yes") as s, s.client() as c:
                wait_loaded(c)
                check(c.must("DBSIZE") in (0, 20000), "half of it")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def a_log_that_is_being_left_at_the_end_goes_before_the_reactor_that_hosted_it(config):
    """The only worker hosts the log; sanitizers see what the end does."""
    cell = config.but(workers=1)
    with Directory() as d:
        for n in range(8):
            with d.server(cell, *ALWAYS) as s, s.client(timeout=30) as c:
                wait_loaded(c)
                switch(c, "yes")
                send(c, ("CONFIG", "SET", "appendonly", "no"))
                time.sleep(n * 0.0005 * SLOW)
                s.signal(signal.SIGTERM)
                check_equal(s.wait_end(), 0)
