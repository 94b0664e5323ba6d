# SPDX-License-Identifier: Apache-2.0
"""MULTI, EXEC, WATCH and commands on many keys: all of it or nothing, whatever shards and workers the keys live on."""

import threading

from harness import ALL, BACKENDS, Client, Closed, Error, check, check_equal, encode, test, wait_until

KEYS = [f"tx:{i}" for i in range(8)]


def run_all(calls):
    """Each in a thread of its own; what one of them raises is raised."""
    raised = []

    def one(function, *args):
        try:
            function(*args)
        except BaseException as e:
            raised.append(e)

    threads = [threading.Thread(target=one, args=call) for call in calls]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if raised:
        raise raised[0]


def fresh(c):
    check_equal(c.call("FLUSHALL"), "OK", "FLUSHALL")


@test(ALL)
def exec_runs_what_was_queued(s):
    with s.client() as c:
        fresh(c)
        check_equal(c.call("MULTI"), "OK", "MULTI")
        for i, key in enumerate(KEYS):
            check_equal(c.call("SET", key, str(i)), "QUEUED", "SET")
        check_equal(c.call("MGET", *KEYS), "QUEUED", "MGET")
        check_equal(c.call("INCR", KEYS[3]), "QUEUED", "INCR")
        check_equal(c.call("RENAME", KEYS[0], "tx:other"), "QUEUED", "RENAME")
        check_equal(c.call("GET", "tx:other"), "QUEUED", "GET")
        check_equal(c.call("DBSIZE"), "QUEUED", "DBSIZE")
        check_equal(c.call("PING"), "QUEUED", "PING")
        with s.client() as other:
            check_equal(other.call("EXISTS", *KEYS), 0, "EXISTS before EXEC")
        values = [str(i).encode() for i in range(8)]
        check_equal(c.call("EXEC"), ["OK"] * 8 + [values, 4, "OK", b"0", 8, "PONG"], "EXEC")
        check_equal(c.call("GET", KEYS[3]), b"4", "GET behind it")


@test(ALL)
def an_empty_transaction_is_an_empty_array(s):
    with s.client() as c:
        check_equal([c.call("MULTI"), c.call("EXEC")], ["OK", []], "MULTI EXEC")
        check_equal([c.call("MULTI"), c.call("DISCARD")], ["OK", "OK"], "MULTI DISCARD")


@test(ALL)
def words_out_of_place_are_refused(s):
    with s.client() as c:
        check_equal(c.call("EXEC"), Error("ERR EXEC without MULTI"), "EXEC")
        check_equal(c.call("DISCARD"), Error("ERR DISCARD without MULTI"), "DISCARD")
        check_equal(c.call("MULTI"), "OK", "MULTI")
        check(isinstance(c.call("MULTI"), Error), "MULTI in MULTI is an error")
        check(isinstance(c.call("WATCH", "a"), Error), "WATCH in MULTI is an error")
        c.call("DISCARD")
        check_equal(c.call("UNWATCH"), "OK", "UNWATCH")


@test(ALL)
def a_command_that_cannot_be_queued_spoils_the_transaction(s):
    abort = Error("EXECABORT Transaction discarded because of previous errors.")
    with s.client() as c:
        fresh(c)
        for wrong in (("NOSUCH", "a"), ("SET", "a"), ("GET",)):
            check_equal(c.call("MULTI"), "OK", "MULTI")
            check_equal(c.call("SET", KEYS[0], "1"), "QUEUED", "SET")
            check(isinstance(c.call(*wrong), Error), f"{wrong}")
            check_equal(c.call("SET", KEYS[1], "1"), "QUEUED", "SET")
            check_equal(c.call("EXEC"), abort, "EXEC")
            check_equal(c.call("EXISTS", *KEYS), 0, "EXISTS")


@test(ALL)
def a_command_that_fails_stops_nothing(s):
    with s.client() as c:
        fresh(c)
        c.call("MULTI")
        c.call("SET", KEYS[0], "text")
        c.call("INCR", KEYS[0])
        c.call("SET", KEYS[1], "2")
        first, second, third = c.call("EXEC")
        check_equal(first, "OK", "SET")
        check_equal(second, Error("ERR value is not an integer or out of range"), "INCR")
        check_equal(third, "OK", "SET behind it")


@test(ALL)
def discard_forgets_commands_and_watches(s):
    with s.client() as c, s.client() as other:
        fresh(c)
        c.call("WATCH", *KEYS)
        c.call("MULTI")
        c.call("SET", KEYS[0], "1")
        check_equal(c.call("DISCARD"), "OK", "DISCARD")
        other.call("SET", KEYS[1], "2")
        c.call("MULTI")
        c.call("SET", KEYS[0], "3")
        check_equal(c.call("EXEC"), ["OK"], "EXEC")


CHANGES = [
    ("SET", "{0}", "2"), ("DEL", "{0}"), ("APPEND", "{0}", "x"), ("INCR", "{0}"), ("SETBIT", "{0}", "4", "1"), ("BITFIELD", "{0}", "SET", "u8", "0", "7"), ("SETRANGE", "{0}", "0", "7"),
    ("EXPIRE", "{0}", "100"), ("GETDEL", "{0}"), ("MSET", "{0}", "1", "{1}", "1"), ("RENAME", "{0}", "{1}"), ("RENAME", "{2}", "{0}"),
    ("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", "0", "1"), ("SWAPDB", "1", "0"), ("BITOP", "NOT", "{0}", "{2}"), ("COPY", "{2}", "{0}", "REPLACE"),
    ("PEXPIREAT", "{0}", "1"), ("DEL", "{1}", "{0}"), ("GETEX", "{0}", "EX", "100"),
]
NO_CHANGES = [
    ("GET", "{0}"), ("DEL", "{1}"), ("SET", "{0}", "2", "NX"), ("EXISTS", "{0}", "{1}"), ("TOUCH", "{0}"), ("STRLEN", "{0}"), ("TTL", "{0}"),
    ("SET", "{2}", "9"), ("PERSIST", "{0}"), ("GETEX", "{0}"), ("MSETNX", "{0}", "5", "{1}", "5"), ("RENAMENX", "{2}", "{0}"),
    ("COPY", "{2}", "{0}"), ("SWAPDB", "1", "2"), ("DEL", "{1}", "{2}"), ("GETRANGE", "{0}", "0", "1"), ("SETBIT", "{0}", "3", "1"), ("BITFIELD", "{0}", "GET", "u8", "0"),
    ("BITFIELD", "{0}", "SET", "u8", "0", "49"), ("SETRANGE", "{0}", "0", ""), ("APPEND", "{1}", ""), ("SELECT", "0"),
]


def watched(s, words, want, key):
    names = [key, "tx:beside", "tx:source"]
    with s.client() as c, s.client() as other:
        fresh(c)
        c.must("SET", names[0], "1")
        c.must("SET", names[2], "5")
        check_equal(c.call("WATCH", names[0]), "OK", "WATCH")
        result = other.call(*[w.format(*names) for w in words])
        check(not isinstance(result, Error), f"{words}: {result!r}")
        c.call("MULTI")
        c.call("PING")
        check_equal(c.call("EXEC"), want, f"EXEC behind {' '.join(words)} of {key}")
        # What was watched is forgotten, whatever came of it.
        other.call("SET", names[0], "9")
        c.call("MULTI")
        check_equal(c.call("EXEC"), [], "the next EXEC")


@test(ALL, seconds=60)
def exec_does_nothing_when_a_watched_key_has_changed(s):
    for words in CHANGES:
        for key in KEYS[:3]:
            watched(s, words, None, key)


@test(ALL, seconds=60)
def what_changes_nothing_calls_nothing_off(s):
    for words in NO_CHANGES:
        for key in KEYS[:3]:
            watched(s, words, ["PONG"], key)


@test(ALL)
def a_watched_key_that_was_not_there_may_stay_away(s):
    with s.client() as c, s.client() as other:
        for words, want in ((("DEL", KEYS[0]), [1]), (("FLUSHALL",), [1]), (("SET", KEYS[0], "1"), None), (("SWAPDB", "0", "1"), [1])):
            fresh(c)
            c.call("WATCH", *KEYS)
            other.call(*words)
            c.call("MULTI")
            c.call("INCR", "tx:result")
            check_equal(c.call("EXEC"), want, f"EXEC behind {words}")


@test(ALL)
def a_watched_key_that_expires_has_changed(s):
    with s.client() as c:
        fresh(c)
        for life in ("50", "500", "5000"):  # longer where the machine stood still meanwhile
            if c.pipeline([("SET", KEYS[0], "1", "PX", life), ("WATCH", KEYS[0]), ("EXISTS", KEYS[0])])[2] == 1:
                break
            c.call("UNWATCH")
        wait_until(lambda: c.call("EXISTS", KEYS[0]) == 0, 10, "the key expires")
        c.call("MULTI")
        c.call("PING")
        check_equal(c.call("EXEC"), None, "EXEC")


@test(ALL)
def ones_own_change_counts_too_and_unwatch_forgets(s):
    with s.client() as c:
        fresh(c)
        c.call("WATCH", *KEYS)
        c.call("SET", KEYS[5], "1")
        c.call("MULTI")
        c.call("PING")
        check_equal(c.call("EXEC"), None, "EXEC")
        c.call("WATCH", *KEYS)
        c.call("SET", KEYS[5], "2")
        check_equal(c.call("UNWATCH"), "OK", "UNWATCH")
        c.call("MULTI")
        c.call("PING")
        check_equal(c.call("EXEC"), ["PONG"], "EXEC")
        c.call("WATCH", KEYS[0])
        c.call("SELECT", "1")
        c.call("SET", KEYS[0], "of another database")
        c.call("MULTI")
        check_equal(c.call("EXEC"), [], "EXEC")
        c.call("SELECT", "0")


@test(ALL)
def a_pipeline_keeps_its_order_around_a_transaction(s):
    with s.client() as c:
        fresh(c)
        words = []
        for round in range(20):
            words += [("SET", KEYS[0], str(round)), ("WATCH", *KEYS), ("MULTI",), ("GET", KEYS[0]), ("MSET", KEYS[1], str(round), KEYS[2], "x"),
                      ("SELECT", "1"), ("SET", KEYS[3], "one"), ("SELECT", "0"), ("GET", KEYS[1]), ("EXEC",), ("GET", KEYS[1])]
        c.send(b"".join(encode(*w) for w in words))
        for round in range(20):
            value = str(round).encode()
            want = ["OK", "OK", "OK"] + ["QUEUED"] * 6 + [[value, "OK", "OK", "OK", "OK", value], value]
            check_equal([c.read() for _ in want], want, f"round {round}")
        check_equal(c.call("EXISTS", KEYS[3]), 0, "of database 1")


@test(ALL)
def replies_that_nobody_wants_are_not_sent(s):
    with s.client() as c:
        fresh(c)
        c.send(b"".join(encode(*w) for w in [("CLIENT", "REPLY", "OFF"), ("MULTI",), ("SET", KEYS[0], "1"), ("SET", KEYS[1], "1"), ("EXEC",),
                                             ("CLIENT", "REPLY", "ON"), ("MGET", KEYS[0], KEYS[1])]))
        check_equal([c.read(), c.read()], ["OK", [b"1", b"1"]], "behind CLIENT REPLY OFF")
        c.send(b"".join(encode(*w) for w in [("MULTI",), ("INCR", KEYS[0]), ("INCR", KEYS[1])]))
        check_equal([c.read() for _ in range(3)], ["OK", "QUEUED", "QUEUED"], "queued")
        c.send(encode("CLIENT", "REPLY", "ON"))
        c.read()
        check_equal(c.call("EXEC"), [2, 2, "OK"], "EXEC")


@test(ALL)
def resp3_says_null_for_a_transaction_that_was_called_off(s):
    with s.client() as c:
        fresh(c)
        c.call("HELLO", "3")
        c.call("WATCH", *KEYS)
        c.call("SET", KEYS[0], "1")
        c.call("MULTI")
        c.send(encode("EXEC") + encode("PING"))
        check_equal([c.read(), c.read()], [None, "PONG"], "EXEC PING")


@test(ALL)
def reset_and_the_end_leave_a_transaction(s):
    with s.client() as c:
        fresh(c)
        c.call("WATCH", *KEYS)
        c.call("MULTI")
        c.call("SET", KEYS[0], "1")
        check_equal(c.call("RESET"), "RESET", "RESET")
        check_equal(c.call("EXEC"), Error("ERR EXEC without MULTI"), "EXEC")
        check_equal(c.call("GET", KEYS[0]), None, "GET")
    with s.client() as c:
        c.call("MULTI")
        c.call("SET", KEYS[0], "1")
        check_equal(c.call("QUIT"), "OK", "QUIT")
    with s.client() as c:
        check_equal(c.call("GET", KEYS[0]), None, "GET behind QUIT")


@test(ALL)
def a_client_list_shows_who_is_in_a_transaction(s):
    def fields(line):
        return dict(f.split("=", 1) for f in line.split() if "=" in f)

    with s.client() as c, s.client() as other:
        own = c.call("CLIENT", "ID")
        c.call("WATCH", KEYS[0], KEYS[1])
        c.call("MULTI")
        c.call("SET", KEYS[0], "1")
        line = fields(other.call("CLIENT", "LIST", "ID", str(own)).decode())
        check_equal(line["multi"], "1", "multi")
        c.call("DISCARD")
        line = fields(other.call("CLIENT", "LIST", "ID", str(own)).decode())
        check_equal((line["multi"], line.get("watch", "0")), ("-1", "0"), "multi and watch")


@test(ALL)
def swapdb_exchanges_two_databases(s):
    with s.client() as c:
        fresh(c)
        c.must("MSET", *[x for key in KEYS for x in (key, "zero")])
        c.call("SELECT", "3")
        c.must("SET", KEYS[0], "three")
        check_equal(c.call("SWAPDB", "0", "3"), "OK", "SWAPDB")
        check_equal(c.call("MGET", *KEYS), [b"zero"] * 8, "MGET in 3")
        c.call("SELECT", "0")
        check_equal(c.call("MGET", KEYS[0], KEYS[1]), [b"three", None], "MGET in 0")
        check_equal(c.call("DBSIZE"), 1, "DBSIZE")
        words = [("FLUSHALL",), ("INCR", "a"), ("INCR", "b"), ("SWAPDB", "0", "1"), ("INCR", "a"), ("INCR", "b"), ("SWAPDB", "1", "0"), ("INCR", "a"), ("INCR", "b")]
        check_equal(c.pipeline(words), ["OK", 1, 1, "OK", 1, 1, "OK", 2, 2], "SWAPDB in a pipeline")
        check_equal(c.call("SWAPDB", "0", "99"), Error("ERR DB index is out of range"), "SWAPDB")
        check_equal(c.call("SWAPDB", "x", "1"), Error("ERR invalid first DB index"), "SWAPDB")
        check_equal(c.call("SWAPDB", "1", "x"), Error("ERR invalid second DB index"), "SWAPDB")
        fresh(c)


@test(BACKENDS, args=["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"], skerry_only=True)
def without_memory_nothing_of_a_transaction_is_done(s):
    with s.client() as c:
        c.must("SET", "small", "1")
        full = 0
        for i in range(5000): # until every worker is full
            full = full + 1 if isinstance(c.call("SET", f"fill:{i}", "x" * 5000), Error) else 0
            if full == 30:
                break
        check_equal(c.call("MULTI"), "OK", "MULTI")
        check(isinstance(c.call("SET", "small", "2"), Error), "SET is refused while queueing")
        check_equal(c.call("EXEC"), Error("EXECABORT Transaction discarded because of previous errors."), "EXEC")
        check_equal(c.call("MULTI"), "OK", "MULTI")
        check_equal(c.call("DEL", "fill:0", "fill:1"), "QUEUED", "DEL is not")
        check_equal(c.call("EXEC"), [2], "EXEC")


@test(BACKENDS, args=["--client-query-buffer-limit", "1mb"], skerry_only=True)
def what_a_transaction_keeps_is_bounded(s):
    with s.client() as c:
        c.call("MULTI")
        closed = False
        for _ in range(40):
            try:
                check_equal(c.call("SET", "a", "x" * 50000), "QUEUED", "SET")
            except Exception:
                closed = True
                break
        check(closed, "the connection is closed")
    with s.client() as c:
        check_equal(c.call("GET", "a"), None, "GET")


@test(ALL, seconds=60)
def money_is_neither_made_nor_lost(s):
    """Clients move amounts between accounts with WATCH; others look at all accounts at once, and always see the same sum."""
    with s.client() as c:
        fresh(c)
        c.must("MSET", *[x for key in KEYS for x in (key, "100")])
    trouble, moved = [], []

    def mover(seed):
        with Client(s.address) as c:
            done = 0
            for n in range(60):
                a, b = KEYS[(seed + n) % 8], KEYS[(seed * 3 + n * 5 + 1) % 8]
                if a == b:
                    continue
                c.call("WATCH", a, b)
                have, other = (int(v) for v in c.call("MGET", a, b))
                c.send(encode("MULTI") + encode("SET", a, str(have - 7)) + encode("SET", b, str(other + 7)) + encode("EXEC"))
                reply = [c.read() for _ in range(4)][3]
                done += reply is not None
            moved.append(done)

    def looker(seed):
        with Client(s.address) as c:
            for n in range(150):
                if (n + seed) % 2:
                    values = c.call("MGET", *KEYS)
                else:
                    c.send(encode("MULTI") + b"".join(encode("GET", k) for k in KEYS) + encode("EXEC"))
                    values = [c.read() for _ in range(10)][9]
                total = sum(int(v) for v in values)
                if total != 800:
                    trouble.append(f"the sum is {total}: {values}")

    threads = [(f, i) for i in range(3) for f in (mover, looker)]
    run_all(threads)
    check_equal(trouble, [], "sums")
    check_equal(len(moved), 3, "movers that came to their end")
    check(sum(moved) > 0, "somebody has moved something")


@test(ALL, seconds=60)
def many_keys_at_once_are_one_moment(s):
    """MSET, DEL and MGET of thousands of keys: a share of more than a slice is still all or nothing."""
    keys = [f"slice:{i}" for i in range(3000)]
    with s.client() as c:
        fresh(c)
    trouble = []

    def writer(name):
        with Client(s.address) as c:
            for n in range(15):
                if n % 5 == 4:
                    c.call("DEL", *keys)
                else:
                    c.call("MSET", *[x for k in keys for x in (k, f"{name}{n}")])

    def reader():
        with Client(s.address) as c:
            for n in range(15):
                if n % 3 == 2:
                    count = c.call("EXISTS", *keys)
                    if count not in (0, len(keys)):
                        trouble.append(f"EXISTS {count}")
                else:
                    seen = set(c.call("MGET", *keys))
                    if len(seen) != 1:
                        trouble.append(f"MGET {sorted(map(str, seen))[:5]}")

    threads = [(writer, "a"), (writer, "b"), (reader,), (reader,)]
    run_all(threads)
    check_equal(trouble, [], "what was seen")
    with s.client() as c:
        c.call("FLUSHALL")


@test(ALL)
def clients_that_vanish_leave_nothing_locked(s):
    words = [encode("MSET", *[x for k in KEYS for x in (k, "v")]), encode("MULTI") + encode("MSET", KEYS[0], "a", KEYS[1], "b") + encode("EXEC"),
             encode("WATCH", *KEYS), encode("WATCH", *KEYS) + encode("MULTI") + encode("DEL", *KEYS) + encode("EXEC"), encode("FLUSHALL"),
             encode("RENAME", KEYS[0], KEYS[1]), encode("MULTI") + encode("SET", KEYS[0], "1")]
    for n in range(60):
        c = s.raw()
        c.send(words[n % len(words)] + words[(n // 2) % len(words)])
        c.reset()
    with s.client() as c:
        # What they had sent may still run behind ours for a while; then our keys are ours.
        def settled():
            check_equal(c.call("MSET", *[x for k in KEYS for x in (k, "end")]), "OK", "MSET")
            return c.call("MGET", *KEYS) == [b"end"] * 8

        wait_until(settled, 30, "MGET shows what MSET wrote")


def queue_many(c, count, step=20000):
    """Queues INCRs behind MULTI and reads what is said of them; the last word if it is another one."""
    c.must("MULTI")
    one = encode("INCR", KEYS[0])
    for _ in range(0, count, step):
        c.send(one * step)
        for _ in range(step):
            word = c.read()
            if word != "QUEUED":
                return word
    return "QUEUED"


# The hostile input list: a million queued commands, then a client that leaves.
@test(BACKENDS, args=[], seconds=90)
def a_million_queued_commands_go_with_their_client(s):
    with s.client() as other:
        c = s.client(timeout=30)
        check_equal(queue_many(c, 1000000), "QUEUED", "a million")
        check_equal(other.call("SET", "b", "1"), "OK", "SET of another client meanwhile")
        c.close()
        wait_until(lambda: b"connected_clients:1\r\n" in other.must("INFO", "clients"), 20, "forgetting of who left in MULTI")
        check_equal(other.call("EXISTS", KEYS[0]), 0, "nothing of it has run")


@test(BACKENDS, args=["--client-query-buffer-limit", "1048576"], skerry_only=True, seconds=60)
def what_is_queued_counts_against_the_query_buffer_limit(s):
    with s.client() as other, s.client() as c:
        before = s.rss()
        try:
            word = queue_many(c, 400000)
        except (Closed, OSError):
            word = None
        check(word != "QUEUED", "the queue has a bound")
        growth = (s.rss() - before) >> 20
        check(growth < 64, f"RSS grew by {growth} MiB")
        check_equal(other.call("EXISTS", KEYS[0]), 0, "nothing of it has run")
