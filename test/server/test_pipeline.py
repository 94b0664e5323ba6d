# SPDX-License-Identifier: Apache-2.0
"""Replies keep each connection's order and a pipeline reads its own writes, whichever shards and workers its keys live on."""

import random
import threading

from harness import ALL, BACKENDS, Failure, check, check_equal, encode, test, wait_until


@test(ALL)
def a_pipeline_reads_its_own_writes_on_every_shard(s):
    with s.client() as c:
        commands, want = [], []
        for i in range(3000):
            commands += [("SET", f"k{i}", i), ("GET", f"k{i}"), ("INCR", f"k{i}"), ("DEL", f"k{i - 1}"), ("GET", f"k{i - 1}")]
            want += ["OK", str(i).encode(), i + 1, 1 if i else 0, None]
        check_equal(c.pipeline(commands), want, "replies")


@test(ALL)
def replies_come_in_the_order_of_the_requests(s):
    rng = random.Random(7)
    with s.client() as c:
        model, commands, want = {}, [], []
        for _ in range(6000):
            key, roll = f"k{rng.randrange(50)}", rng.randrange(7)
            if roll == 0:
                value = str(rng.randrange(1000)).encode()
                model[key] = value
                commands.append(("SET", key, value))
                want.append("OK")
            elif roll == 1:
                commands.append(("GET", key))
                want.append(model.get(key))
            elif roll == 2:
                commands.append(("DEL", key))
                want.append(1 if model.pop(key, None) is not None else 0)
            elif roll == 3:
                keys = [f"k{rng.randrange(50)}" for _ in range(5)]
                commands.append(("MGET", *keys))
                want.append([model.get(k) for k in keys])
            elif roll == 4:
                keys = rng.sample(range(50), 4)
                model.update({f"k{k}": b"m" for k in keys})
                commands.append(("MSET", *[x for k in keys for x in (f"k{k}", "m")]))
                want.append("OK")
            elif roll == 5:
                commands.append(("PING",))
                want.append("PONG")
            else:
                commands.append(("DBSIZE",))
                want.append(len(model))
        check_equal(c.pipeline(commands), want, "replies")


@test(ALL)
def plain_requests_for_every_worker_are_answered_in_order(s):
    """GET and SET as they travel together between workers, and among them what has to be answered alone."""
    rng = random.Random(11)
    sizes = [64] * 12 + [0, 1, 511, 512, 513, 900, 3000, 20000, 70000]
    with s.client() as c:
        model, db = {}, 0
        for count in (1, 2, 3, 16, 64, 65, 200, 200, 16, 16):
            commands, want = [], []
            for _ in range(count):
                key, roll = f"k{rng.randrange(40)}", rng.randrange(40)
                if roll < 18:
                    commands.append(("GET", key))
                    want.append(model.get((db, key)))
                elif roll < 34:
                    model[db, key] = value = bytes([rng.randrange(97, 123)]) * rng.choice(sizes)
                    commands.append(("SET", key, value))
                    want.append("OK")
                elif roll < 36:
                    model[db, key] = b"x"
                    commands += [("SET", key, "x", "EX", "1000"), ("APPEND", key, "")]
                    want += ["OK", 1]
                elif roll < 38:
                    db = rng.randrange(3)
                    commands += [("SELECT", db), ("CLIENT", "REPLY", "SKIP"), ("PING",)]
                    want += ["OK"]
                else:
                    keys = [f"k{rng.randrange(40)}" for _ in range(3)]
                    commands.append(("MGET", *keys))
                    want.append([model.get((db, k)) for k in keys])
            c.send(b"".join(encode(*command) for command in commands))
            check_equal([c.read() for _ in want], want, f"replies to {count}")
        for i in range(200):
            c.call("SET", f"w{i}", "v")

        def gets():
            line = next(line for line in c.call("INFO", "commandstats").decode().splitlines() if line.startswith("cmdstat_get:"))
            return int(line.split("calls=")[1].split(",")[0])

        before = gets()
        check_equal(c.pipeline([("GET", f"w{i}") for i in range(200)]), [b"v"] * 200, "replies")
        wait_until(lambda: gets() == before + 200, 5, "the count of 200 calls")


@test(ALL)
def many_clients_count_together_without_a_loss(s):
    clients, rounds, errors = 8, 400, []

    def count(seed):
        rng = random.Random(seed)
        try:
            with s.client() as c:
                for _ in range(rounds // 20):
                    batch = [("INCR", f"counter{rng.randrange(20)}") for _ in range(20)]
                    replies = c.pipeline(batch)
                    check(all(isinstance(r, int) for r in replies), f"INCR answered {replies!r}")
        except Exception as why:
            errors.append(str(why))

    threads = [threading.Thread(target=count, args=(i,)) for i in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check_equal(errors, [], "errors of clients")
    with s.client() as c:
        total = sum(int(v or 0) for v in c.must("MGET", *[f"counter{i}" for i in range(20)]))
        check_equal(total, clients * rounds, "sum of all counters")


@test(ALL)
def deep_pipelines_of_every_size_are_answered(s):
    with s.client() as c:
        for depth in (1, 2, 15, 64, 257, 1024, 5000):
            c.send(encode("ECHO", "x" * 100) * depth)
            for _ in range(depth):
                check_equal(c.read(), b"x" * 100, f"ECHO at depth {depth}")


@test(BACKENDS, seconds=60)
def a_million_pings_are_answered(s):
    with s.client(timeout=60) as c:
        failure = []

        def feed():
            try:
                for _ in range(1000):
                    c.send(b"PING\r\n" * 1000)
            except OSError as why:
                failure.append(why)

        feeder = threading.Thread(target=feed)
        feeder.start()
        left = 7 * 1000000
        while left > 0:
            data = c.sock.recv(1 << 20)
            if not data:
                raise Failure(f"closed with {left} bytes to come")
            left -= len(data)
        feeder.join()
        check_equal((left, failure), (0, []), "what is left of the replies")
        check_equal(c.call("PING"), "PONG", "PING")
