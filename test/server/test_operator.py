# SPDX-License-Identifier: Apache-2.0
"""What an operator looks at: logs of slow and large commands, latency, MONITOR, pauses, clients, memory, databases."""

import re

from harness import ALL, BACKENDS, ONCE, Error, Server, check, check_equal, encode, test, wait_until

KEYS = [f"key:{i}" for i in range(32)]  # on every shard of every cell


def entries(c, *words):
    return c.must(*(words or ("SLOWLOG", "GET", "-1")))


def own_address(c):
    return b"%s:%d" % (c.sock.getsockname()[0].encode(), c.sock.getsockname()[1])


def logging_all(c, limit=0):
    c.must("CONFIG", "SET", "slowlog-log-slower-than", str(limit), "slowlog-max-len", "128")
    c.must("SLOWLOG", "RESET")


@test(ALL)
def the_slow_log_says_what_ran_and_who_sent_it(s):
    with s.client() as c, s.client() as other:
        other.must("CLIENT", "SETNAME", "somebody")
        logging_all(c)
        for key in KEYS:
            other.must("SET", key, "x")
        other.pipeline([("GET", key) for key in KEYS])
        c.must("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        found = entries(c)
        seen = {(e[3][0].lower(), e[3][1]): e for e in found if len(e[3]) > 1}
        for key in KEYS:
            for name in (b"set", b"get"):
                check((name, key.encode()) in seen, f"{name} {key} is in the log")
                entry = seen[(name, key.encode())]
                check_equal(entry[4:6], [own_address(other), b"somebody"], f"sender of {name} {key}")
                check(entry[1] > 1500000000 and entry[2] >= 0, f"its time and duration: {entry[:3]}")
        ids = [e[0] for e in found]
        check_equal(ids, sorted(ids, reverse=True), "newest first")
        check_equal(len(set(ids)), len(ids), "numbers are unique")
        check_equal(c.must("SLOWLOG", "LEN"), len(found), "SLOWLOG LEN")
        check_equal(len(entries(c, "SLOWLOG", "GET")), 10, "GET without a count")
        check_equal(entries(c, "SLOWLOG", "GET", "3"), found[:3], "GET 3")
        check_equal(entries(c, "SLOWLOG", "GET", "0"), [], "GET 0")
        c.must("CONFIG", "SET", "slowlog-max-len", "5", "slowlog-log-slower-than", "0")
        other.must("PING")
        c.must("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        check(c.must("SLOWLOG", "LEN") <= 5, "slowlog-max-len holds")
        c.must("CONFIG", "SET", "slowlog-max-len", "128", "slowlog-log-slower-than", "10000")
        check_equal(c.must("SLOWLOG", "RESET"), "OK", "RESET")
        check_equal(entries(c), [], "after RESET")


@test(ALL)
def the_slow_log_hides_passwords_and_cuts_what_is_long(s):
    with s.client() as c:
        logging_all(c)
        c.call("AUTH", "default", "opensesame")
        c.call("HELLO", "2", "AUTH", "default", "opensesame", "SETNAME", "me")
        c.must("SET", "long", "v" * 300)
        c.must("MSET", *[f"k{i}" for i in range(100)])
        c.must("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        found = [e[3] for e in entries(c)]
        check(not any(b"opensesame" in word for words in found for word in words), "no password is in the log")
        check([b"AUTH", b"(redacted)", b"(redacted)"] in found, f"AUTH is: {found}")
        check([b"HELLO", b"2", b"AUTH", b"(redacted)", b"(redacted)", b"SETNAME", b"me"] in found, "HELLO is")
        check(any(w[0].lower() == b"set" and w[-1] == b"v" * 128 + b"... (172 more bytes)" for w in found), "a long argument is cut")
        cut = [w for w in found if w[0].lower() == b"mset" and len(w) == 32]
        if s.config.stand_in or s.config.workers == 1:
            check_equal(cut[0][-1], b"... (70 more arguments)", "many arguments are cut")


@test(ONCE)
def the_slow_log_refuses_what_makes_no_sense(s):
    with s.client() as c:
        for words in (("GET", "-2"), ("GET", "x"), ("GET", "1", "2"), ("NONSENSE",), ("LEN", "1")):
            check(isinstance(c.call("SLOWLOG", *words), Error), " ".join(words))


@test(ALL, skerry_only=True)
def large_requests_and_replies_are_kept(s):
    with s.client() as c, s.client() as other:
        c.must("CONFIG", "SET", "commandlog-request-larger-than", "5000", "commandlog-reply-larger-than", "5000")
        for kind in ("slow", "large-request", "large-reply"):
            c.must("COMMANDLOG", "RESET", kind)
        for key in KEYS[:8]:
            other.must("SET", key, "v" * 6000)
            other.must("GET", key)
        other.must("SET", "giant", "w" * 300000)
        check_equal(len(other.must("GET", "giant")), 300000, "GET of a giant")
        other.must("SET", "small", "v")
        c.must("CONFIG", "SET", "commandlog-request-larger-than", "1mb" if s.config.stand_in else "1048576", "commandlog-reply-larger-than", "1048576")
        requests, replies = entries(c, "COMMANDLOG", "GET", "-1", "large-request"), entries(c, "COMMANDLOG", "GET", "-1", "large-reply")
        check_equal(sorted(e[3][1] for e in requests), sorted([k.encode() for k in KEYS[:8]] + [b"giant"]), "large requests")
        check_equal(sorted(e[3][1] for e in replies), sorted([k.encode() for k in KEYS[:8]] + [b"giant"]), "large replies")
        check(all(6000 < e[2] < 6100 for e in requests if e[3][1] != b"giant"), f"their bytes: {[e[2] for e in requests]}")
        check(all(e[4] == own_address(other) for e in requests + replies), "their sender")
        check_equal(c.must("COMMANDLOG", "LEN", "large-reply"), len(replies), "LEN")
        check_equal(c.must("COMMANDLOG", "LEN", "slow"), c.must("SLOWLOG", "LEN"), "slow is SLOWLOG's")
        check_equal(c.call("COMMANDLOG", "LEN", "huge"), Error("ERR type should be one of the following: slow, large-request, large-reply"), "type")
        check_equal(c.must("CONFIG", "GET", "commandlog-execution-slower-than")[1], c.must("CONFIG", "GET", "slowlog-log-slower-than")[1], "the option's other name")


@test(BACKENDS, args=["--enable-debug-command", "yes", "--latency-monitor-threshold", "5"], skerry_only=True)
def what_took_long_is_noted(s):
    with s.client() as c:
        check_equal(c.must("LATENCY", "HISTORY", "nothing"), [], "HISTORY of nothing")
        c.must("DEBUG", "SLEEP", "0.05")
        c.must("PING")
        latest = {e[0]: e for e in wait_until(lambda: (lambda l: l if len(l) > 1 else None)(c.must("LATENCY", "LATEST")), 30, "both events")}
        for event in (b"command", b"turn"):
            check(event in latest and latest[event][3] >= 50, f"{event}: {latest}")
            check(c.must("LATENCY", "HISTORY", event)[-1][1] >= 5, f"HISTORY {event}")
            check(b"all time high" in c.must("LATENCY", "GRAPH", event), "GRAPH")
        check(b"command: " in c.must("LATENCY", "DOCTOR"), "DOCTOR")
        check(isinstance(c.call("LATENCY", "GRAPH", "expire-cycle"), Error), "GRAPH of what never was")
        check(c.must("LATENCY", "RESET", "command", "nothing") == 1, "RESET of one")
        c.must("CONFIG", "SET", "latency-monitor-threshold", "0")
        c.must("LATENCY", "RESET")
        check_equal(c.must("LATENCY", "LATEST"), [], "after RESET")
        slow = [e for e in entries(c) if e[3][:2] == [b"DEBUG", b"SLEEP"]]
        check(len(slow) == 1 and slow[0][2] >= 50000, f"the sleep in SLOWLOG: {slow}")


@test(ALL, skerry_only=True)
def commands_are_counted_and_timed(s):
    with s.client() as c:
        c.must("CONFIG", "RESETSTAT")
        for _ in range(20):
            c.pipeline([("SET", key, "v") for key in KEYS])
        for key in KEYS:
            c.must("GET", key)
        c.call("GET")
        info = c.must("INFO", "commandstats").decode()
        fields = dict(re.findall(r"cmdstat_([^:]+):(.*)\r", info))
        get, put = (dict(f.split("=") for f in fields[name].split(",")) for name in ("get", "set"))
        check_equal((int(get["calls"]), int(put["calls"]), int(get["rejected_calls"])), (32, 640, 1), "calls")
        check(float(put["usec_per_call"]) >= 0 and int(put["usec"]) >= 0, f"usec: {put}")
        lines = re.findall(r"latency_percentiles_usec_([^:]+):p50=([\d.]+),p99=([\d.]+),p99.9=([\d.]+)\r", c.must("INFO", "latencystats").decode())
        check("get" in [l[0] for l in lines], f"latencystats: {lines}")
        check(all(float(l[1]) <= float(l[2]) <= float(l[3]) for l in lines), f"percentiles rise: {lines}")
        histogram = c.must("LATENCY", "HISTOGRAM", "get")
        check_equal(histogram[0], b"get", "HISTOGRAM")
        check_equal(histogram[1][1], 32, "its calls")
        counts = histogram[1][3][1::2]
        check_equal(counts, sorted(counts), "cumulative")
        check_equal(counts[-1], 32, "the last bucket holds all")
        check_equal(c.must("LATENCY", "HISTOGRAM", "nonsense"), [], "of no command")


def lines_until(c, last):
    found = []
    while True:
        line = c.read()
        found.append(line)
        if last in line:
            return found


@test(ALL)
def monitors_see_the_commands_of_all_workers(s):
    with s.client() as m, s.client() as a, s.client() as b:
        check_equal(m.call("MONITOR"), "OK", "MONITOR")
        for i, key in enumerate(KEYS):
            (a if i % 2 else b).must("SET", key, 'va"l\n')
        a.call("AUTH", "default", "opensesame")
        a.must("CONFIG", "GET", "maxmemory")
        a.must("SELECT", "3")
        a.must("GET", "\x00\xff")
        a.call("NONSENSE")
        a.must("ECHO", "the last one of a")
        b.must("ECHO", "the last one of b")
        found = lines_until(m, "the last one of a")
        if not any("the last one of b" in line for line in found):
            found += lines_until(m, "the last one of b")
        text = "\n".join(found)
        for key in KEYS:
            check(re.search(r'^\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SET" "%s" "va\\"l\\n"$' % key, text, re.M), f"SET {key}: {text[-300:]}")
        check("opensesame" not in text and '"AUTH" "(redacted)"' in text, "passwords are not shown")
        check("CONFIG" not in text and "NONSENSE" not in text, "nor commands of administrators, nor what never ran")
        check(re.search(r'\[3 127\.0\.0\.1:\d+\] "GET" "\\x00\\xc3\\xbf"', text), "database and bytes")
        if not s.config.stand_in:
            flags = [l for l in a.must("CLIENT", "LIST").decode().splitlines() if f"addr={own_address(m).decode()}" in l]
            check(" flags=O " in flags[0], f"CLIENT LIST of a monitor: {flags}")
        m.send(encode("RESET"))
        while m.read() != "RESET":
            pass
        a.must("ECHO", "unheard")
        check_equal(m.call("PING"), "PONG", "after RESET nothing is shown")


@test(BACKENDS, args=["--client-output-buffer-limit", "normal 2mb 0 0"], skerry_only=True)
def a_monitor_that_does_not_read_is_closed(s):
    with s.client(receive_buffer=4096) as m, s.client() as c:
        check_equal(m.call("MONITOR"), "OK", "MONITOR")
        word = "x" * 10000

        def closed():
            c.pipeline([("ECHO", word)] * 50)
            return b"cmd=monitor" not in c.must("CLIENT", "LIST")

        wait_until(closed, 30, "the monitor's end")
        check_equal(c.must("PING"), "PONG", "the others go on")




@test(ALL)
def a_pause_of_writes_lets_reads_pass(s):
    with s.client() as c, s.client() as w, s.client() as r:
        r.must("MSET", *[x for key in KEYS for x in (key, "old")])
        check_equal(c.call("CLIENT", "PAUSE", "60000", "WRITE"), "OK", "PAUSE")
        try:
            w.send(b"".join(encode("GET", key) for key in KEYS) + b"".join(encode("SET", key, "new") for key in KEYS) + encode("ECHO", "behind"))
            check_equal([w.read() for _ in KEYS], [b"old"] * len(KEYS), "reads before the first write")
            check(w.quiet_for(0.2), "a write waits, and what is behind it on its connection")
            check_equal(r.pipeline([("GET", key) for key in KEYS]), [b"old"] * len(KEYS), "nothing was written")
        finally:
            check_equal(c.call("CLIENT", "UNPAUSE"), "OK", "UNPAUSE")
        check_equal([w.read() for _ in KEYS] + [w.read()], ["OK"] * len(KEYS) + [b"behind"], "after the pause")
        check_equal(r.pipeline([("GET", key) for key in KEYS]), [b"new"] * len(KEYS), "it was written")


@test(ALL)
def a_pause_of_all_ends_by_itself(s):
    with s.client() as c, s.client() as other:
        big = b"z" * 500000
        check_equal(c.call("CLIENT", "PAUSE", "300"), "OK", "PAUSE")
        other.send(encode("SET", "big", big)[:250000])
        other.send(encode("SET", "big", big)[250000:] + encode("GET", "big") + encode("PING"))
        check_equal(other.read(), "OK", "SET of a large value that had to wait")
        check(other.read() == big, "GET")
        check_equal(other.read(), "PONG", "PING")
        check_equal(c.call("PING"), "PONG", "its caller waits too")


@test(ONCE)
def a_pause_refuses_what_makes_no_sense(s):
    with s.client() as c:
        check_equal(c.call("CLIENT", "PAUSE", "abc"), Error("ERR timeout is not an integer or out of range"), "PAUSE abc")
        check_equal(c.call("CLIENT", "PAUSE", "-1"), Error("ERR timeout is negative"), "PAUSE -1")
        check_equal(c.call("CLIENT", "PAUSE", "1", "SOME"), Error("ERR CLIENT PAUSE mode must be WRITE or ALL"), "PAUSE 1 SOME")
        check_equal(c.call("CLIENT", "UNPAUSE"), "OK", "UNPAUSE of nothing")


@test(ALL, skerry_only=True)
def clients_are_listed_and_killed_by_filters(s):
    with s.client() as c:
        others = [s.client() for _ in range(6)]
        ids = [o.must("CLIENT", "ID") for o in others]

        def listed(*words):
            return sorted(int(i) for i in re.findall(rb"^id=(\d+) ", c.must("CLIENT", "LIST", *words), re.M))

        me = c.must("CLIENT", "ID")
        check_equal(listed("ID", *ids), sorted(ids), "ID")
        check_equal(listed("ADDR", own_address(others[0])), [ids[0]], "ADDR")
        check_equal(listed("ID", *ids, "ADDR", own_address(others[1])), [ids[1]], "ID and ADDR")
        check(set(ids) <= set(listed("LADDR", f"127.0.0.1:{s.port}")), "LADDR")
        check(set(ids + [me]) <= set(listed("USER", "default", "TYPE", "normal")), "USER and TYPE")
        check(me not in listed("SKIPME", "yes") and set(ids) <= set(listed("SKIPME", "yes")), "SKIPME")
        check_equal(listed("MAXAGE", "100000"), [], "MAXAGE")
        check_equal(listed("TYPE", "pubsub"), [], "TYPE pubsub")
        for words in (("ID",), ("ID", "x"), ("ADDR",), ("WHAT", "x"), ("TYPE", "x"), ("USER", "x"), ("SKIPME", "x"), ("MAXAGE", "x")):
            check(isinstance(c.call("CLIENT", "LIST", *words), Error), f"LIST {words}")
        check_equal(c.must("CLIENT", "KILL", "ID", ids[0], ids[1]), 2, "KILL ID of two")
        check_equal(c.must("CLIENT", "KILL", "MAXAGE", "100000"), 0, "KILL MAXAGE")
        check_equal(c.must("CLIENT", "KILL", "ADDR", own_address(others[2]), "SKIPME", "no", "USER", "default"), 1, "KILL ADDR")
        check_equal(c.must("CLIENT", "KILL", own_address(others[3])), "OK", "KILL as of old")
        for o in others[:4]:
            o.expect_closed()
        check_equal([o.must("PING") for o in others[4:]], ["PONG"] * 2, "the others stay")
        for o in others:
            o.close()


@test(ONCE)
def what_is_not_there_is_said(s):
    with s.client() as c:
        check_equal(c.must("CLIENT", "GETREDIR"), -1, "GETREDIR")
        check_equal(c.must("CLIENT", "TRACKING", "off"), "OK", "TRACKING off")
        check_equal(c.must("CLIENT", "TRACKINGINFO"), [b"flags", [b"off"], b"redirect", -1, b"prefixes", []], "TRACKINGINFO")
        check(isinstance(c.call("CLIENT", "CACHING", "yes"), Error), "CACHING")
        check_equal(c.must("CLIENT", "UNBLOCK", "1"), 0, "UNBLOCK")
        check(isinstance(c.call("CLIENT", "UNBLOCK", "1", "NOW"), Error), "UNBLOCK NOW")
        if not s.config.stand_in:
            check_equal(c.call("CLIENT", "TRACKING", "on"), Error("ERR CLIENT TRACKING is not supported by this server"), "TRACKING on")


@test(ALL)
def memory_tells_what_keys_take(s):
    with s.client() as c:
        for key in KEYS:
            c.must("SET", key, "v" * 1000)
            check(1000 <= c.must("MEMORY", "USAGE", key) <= 2000, f"USAGE of {key}")
            check_equal(c.must("MEMORY", "USAGE", key, "SAMPLES", "0"), c.must("MEMORY", "USAGE", key), "SAMPLES")
        c.must("SET", "giant", "v" * 1000000)
        check(c.must("MEMORY", "USAGE", "giant") >= 1000000, "USAGE of a giant")
        check_equal(c.must("MEMORY", "USAGE", "nothing"), None, "USAGE of nothing")
        for words in (("USAGE", "a", "SAMPLES"), ("USAGE", "a", "WHAT", "1"), ("USAGE", "a", "SAMPLES", "x"), ("WHAT",)):
            check(isinstance(c.call("MEMORY", *words), Error), f"MEMORY {words}")
        stats = c.must("MEMORY", "STATS")
        stats = dict(zip(stats[::2], stats[1::2]))
        for name in (b"peak.allocated", b"total.allocated", b"keys.count", b"keys.bytes-per-key", b"dataset.bytes", b"overhead.total"):
            check(name in stats and stats[name] >= 0, f"STATS {name}")
        check(len(c.must("MEMORY", "DOCTOR")) > 20, "DOCTOR")
        check_equal(c.must("MEMORY", "PURGE"), "OK", "PURGE")
        check(len(c.must("MEMORY", "MALLOC-STATS")) > 20, "MALLOC-STATS")


@test(ALL)
def keys_move_between_databases(s):
    with s.client() as c:
        c.must("FLUSHALL")
        for key in KEYS:
            c.must("SET", key, "v", "EX", "1000")
            check_equal(c.must("MOVE", key, "5"), 1, f"MOVE {key}")
            check_equal(c.must("EXISTS", key), 0, f"{key} is gone")
            check_equal(c.must("MOVE", key, "5"), 0, "MOVE of nothing")
            c.must("SET", key, "here")
            check_equal(c.must("MOVE", key, "5"), 0, "MOVE onto a key")
        check_equal(c.call("MOVE", "key:1", "0"), Error("ERR source and destination objects are the same"), "MOVE to here")
        check_equal(c.call("MOVE", "key:1", "99"), Error("ERR DB index is out of range"), "MOVE to nowhere")
        check(isinstance(c.call("MOVE", "key:1", "x"), Error), "MOVE x")
        check_equal(c.must("COPY", "key:1", "key:2", "DB", "7"), 1, "COPY DB")
        c.must("SELECT", "5")
        check_equal(c.must("DBSIZE"), len(KEYS), "DBSIZE of 5")
        check(all(900 < c.must("TTL", key) <= 1000 for key in KEYS), "deadlines move along")
        c.must("SELECT", "7")
        check_equal(c.must("GET", "key:2"), b"here", "the copy")
        c.must("FLUSHDB")
        c.must("SELECT", "5")
        check_equal(c.must("DBSIZE"), len(KEYS), "FLUSHDB of 7 leaves 5 alone")
        info = c.must("INFO", "keyspace").decode() if s.config.stand_in or s.config.workers == 1 else wait_until(
            lambda: (lambda t: t if "db5:keys=%d" % len(KEYS) in t else None)(c.must("INFO", "keyspace").decode()), 30, "db5 in INFO")
        check("db5:keys=%d,expires=%d" % (len(KEYS), len(KEYS)) in info, f"INFO keyspace: {info}")
        c.must("FLUSHALL")


@test(ONCE, args=["--databases", "3"])
def databases_are_as_many_as_asked_for(s):
    with s.client() as c:
        check_equal(c.must("SELECT", "2"), "OK", "SELECT 2")
        check_equal(c.call("SELECT", "3"), Error("ERR DB index is out of range"), "SELECT 3")
        c.must("SET", "a", "1")
        check_equal(c.call("COPY", "a", "b", "DB", "3"), Error("ERR DB index is out of range"), "COPY DB 3")
        check_equal(c.must("RESET"), "RESET", "RESET")
        check_equal(c.must("EXISTS", "a"), 0, "RESET goes back to database 0")


@test(ALL, args=["--maxmemory-policy", "allkeys-lfu"])
def the_access_counter_of_a_key_can_be_seen(s):
    with s.client() as c:
        for key in KEYS:
            c.must("SET", key, "v")
            check_equal(c.must("OBJECT", "FREQ", key), 5, "of a new key")
        for _ in range(400):
            c.must("GET", KEYS[0])
        check(5 < c.must("OBJECT", "FREQ", KEYS[0]) <= 255, "it grows")
        check(isinstance(c.call("OBJECT", "IDLETIME", KEYS[0]), Error), "IDLETIME under an LFU policy")
        check_equal(c.must("OBJECT", "FREQ", "nothing"), None, "of nothing")


@test(BACKENDS, args=["--enable-debug-command", "yes"], skerry_only=True)
def debug_has_what_test_suites_use(s):
    with s.client() as c:
        c.must("SET", "a", "12345")
        check("encoding:int" in c.must("DEBUG", "OBJECT", "a"), "OBJECT")
        check_equal(c.call("DEBUG", "OBJECT", "nothing"), Error("ERR no such key"), "OBJECT of nothing")
        check_equal(c.must("DEBUG", "STRINGMATCH-LEN", "1000", "a*a*b"), 0, "STRINGMATCH-LEN")
        check_equal(c.must("DEBUG", "STRINGMATCH-LEN", "1000", "a*a*"), 1, "STRINGMATCH-LEN")
        for words in (("CHANGE-REPL-ID",), ("QUICKLIST-PACKED-THRESHOLD", "100b"), ("SET-ACTIVE-EXPIRE", "0"), ("SLEEP", "0")):
            check_equal(c.must("DEBUG", *words), "OK", " ".join(words))
        for key in KEYS:
            c.must("SET", key, "v", "PX", "1")
        wait_until(lambda: c.must("EXISTS", *KEYS) == 0, 30, "the keys' end")
        check_equal(c.must("DEBUG", "SET-ACTIVE-EXPIRE", "1"), "OK", "SET-ACTIVE-EXPIRE 1")
        wait_until(lambda: c.must("DBSIZE") == 1, 30, "active expiry")
        check(isinstance(c.call("DEBUG", "REPLICATE", "set", "a", "1"), Error), "REPLICATE")
        check_equal(c.call("DEBUG", "JMAP"), Error("ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP."), "JMAP")
        check_equal(c.must("DEBUG", "PROTOCOL", "integer"), 12345, "PROTOCOL")
        c.must("HELLO", "3")
        for kind, want in (("string", b"Hello World"), ("double", 3.141), ("null", None), ("array", [0, 1, 2]), ("map", {0: False, 1: True, 2: False}),
                           ("true", True), ("bignum", 1234567999999999999999999999999999999), ("verbatim", b"This is a verbatim\nstring")):
            check_equal(c.must("DEBUG", "PROTOCOL", kind), want, f"PROTOCOL {kind}")


@test(ONCE)
def debug_is_forbidden_unless_asked_for(s):
    with s.client() as c:
        for words in (("SLEEP", "0"), ("OBJECT", "a"), ("JMAP",), ("SET-ACTIVE-EXPIRE", "0")):
            reply = c.call("DEBUG", *words)
            check(isinstance(reply, Error) and reply.startswith("ERR DEBUG command not allowed."), f"DEBUG {words}: {reply!r}")
        check(isinstance(c.call("CONFIG", "SET", "enable-debug-command", "yes"), Error), "it cannot be allowed later")


@test(ALL, args=["--maxmemory-policy", "allkeys-lfu", "--maxmemory", "100mb"])
def a_client_that_does_not_touch_leaves_no_trace(s):
    with s.client() as c, s.client() as quiet:
        keys = [f"k{i}" for i in range(16)]  # on all shards
        c.must("MSET", *[x for k in keys for x in (k, "v")])
        before = [c.must("OBJECT", "FREQ", k) for k in keys]
        check_equal(quiet.call("CLIENT", "NO-TOUCH", "ON"), "OK", "CLIENT NO-TOUCH ON")
        for _ in range(300):
            quiet.pipeline([("GET", k) for k in keys] + [("MGET", *keys)])
        after = [c.must("OBJECT", "FREQ", k) for k in keys]
        check(all(a <= b for a, b in zip(after, before)), f"frequencies went from {before} to {after}")
        for _ in range(300):
            quiet.pipeline([("TOUCH", k) for k in keys])
        check(all(c.must("OBJECT", "FREQ", k) > b for k, b in zip(keys, before)), "TOUCH touches all the same")
        check_equal(quiet.call("CLIENT", "NO-TOUCH", "OFF"), "OK", "CLIENT NO-TOUCH OFF")
        before = [c.must("OBJECT", "FREQ", k) for k in keys]
        for _ in range(1000):
            quiet.pipeline([("GET", k) for k in keys])
        check(all(c.must("OBJECT", "FREQ", k) >= b for k, b in zip(keys, before)), "a client that touches again")
