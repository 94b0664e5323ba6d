# SPDX-License-Identifier: Apache-2.0
"""FCNP on the fanout port: every opcode and vector of the specification, both protocols on one connection, and what is no frame."""

import random
import socket
import struct

from compat import fcnp_client as fcnp
from compat.fcnp_client import Ok
import harness
from harness import ALL, BACKENDS, check, encode, test, wait_until


def check_equal(got, want, what=""):
    """An error reply equals its text; texts of values are bytes."""
    harness.check_equal(str(got) if isinstance(got, fcnp.Error) else got, want, what)


def connect(s):
    return fcnp.Connection("127.0.0.1", s.port)


def shards(c):
    return int(fcnp.topology(c)["shards"])


@test(ALL, skerry_only=True)
def every_example_frame_of_the_specification_is_answered(s):
    with connect(s) as c:
        n = shards(c)
        shard = struct.pack("<I", fcnp.shard_of(b"alpha", n)).hex()
        key = "05000000 616c706861"
        route = f"5aab25f6b50369be {shard} be00000000000000"
        for hexed, want in [
            (f"fa 02 01 00 09000000 {key}", None),
            (f"fa 02 02 07 25000000 {route} 05000000 04000000 616c706861 62657461", Ok),
            (f"fa 02 01 00 09000000 {key}", b"beta"),
            (f"fa 02 01 01 11000000 5aab25f6b50369be {key}", b"beta"),
            (f"fa 02 01 07 1d000000 {route} {key}", b"beta"),
            (f"fa 02 01 07 18000000 {route} 05000000", "ERR FCNP bare GET needs index-hash public"),
            ("fa 02 c8 00 14000000 02000000 03000000 474554 05000000 616c706861", b"$4\r\nbeta\r\n"),
            (f"fa 02 03 01 21000000 5aab25f6b50369be 60ea000000000000 05000000 04000000 616c706861 62657461", Ok),
            ("fa 02 07 00 09000000 05000000 616c706861", 60),
            ("fa 02 05 01 11000000 5aab25f6b50369be 05000000 616c706861", 1),
            ("fa 02 05 01 11000000 5aab25f6b50369be 05000000 616c706861", 0),
        ]:
            c.send(bytes.fromhex(hexed))
            check_equal(c.read(), want, hexed)


@test(ALL, skerry_only=True)
def a_hit_of_64_bytes_begins_with_the_specified_header(s):
    with connect(s) as c:
        check_equal(c.call(fcnp.SET, b"k", b"v" * 64), Ok)
        c.send(fcnp.encode(fcnp.GET, b"k"))
        check_equal(c.take(72), bytes.fromhex("fb02040040000000") + b"v" * 64)


@test(ALL, skerry_only=True)
def frames_for_every_worker_are_answered_in_order(s):
    """GET and SET as they travel together between workers, with every prefix, and among them what has to be answered alone."""
    rng = random.Random(12)
    sizes = [64] * 12 + [0, 1, 511, 512, 513, 900, 3000, 20000, 70000]
    keys = [b"frame:%d" % i for i in range(60)]
    with connect(s) as c, s.client() as r:
        n, model = shards(c), {}
        r.call("DEL", *keys)
        for count in (1, 2, 3, 16, 64, 65, 200, 200, 500, 16, 16):
            bytes_of, want = [], []
            for _ in range(count):
                key, roll, flags = rng.choice(keys), rng.randrange(40), rng.choice((0, 0, fcnp.HASH, fcnp.SHARD, fcnp.ROUTED, fcnp.ROUTED))
                if roll < 20:
                    bytes_of.append(fcnp.encode(fcnp.GET, key, flags=flags, shards=n))
                    want.append(model.get(key))
                elif roll < 35:
                    model[key] = value = bytes([rng.randrange(97, 123)]) * rng.choice(sizes)
                    bytes_of.append(fcnp.encode(fcnp.SET, key, value, flags=flags, shards=n))
                    want.append(Ok)
                elif roll < 37:
                    bytes_of.append(fcnp.encode(fcnp.SETEX, key, b"expires", 100000))
                    model[key] = b"expires"
                    want.append(Ok)
                elif roll < 38:
                    hashed = struct.pack("<Q", fcnp.key_hash(key) ^ 1 << 40)
                    bytes_of.append(fcnp.frame(fcnp.SET, fcnp.BODY[fcnp.SET](key, b"never"), fcnp.HASH, hashed))
                    want.append("ERR FCNP key hash mismatch")
                else:
                    some = [rng.choice(keys) for _ in range(3)]
                    bytes_of.append(fcnp.encode(fcnp.MGET, some))
                    want.append([model.get(k) for k in some])
            c.send(b"".join(bytes_of))
            for i, reply in enumerate(want):
                check_equal(c.read(), reply, f"reply {i} of {count}")
        check_equal(r.call("MGET", *keys), [model.get(k) for k in keys], "in RESP")
        # Both protocols in one pipeline.
        mixed, want = b"", []
        for i, key in enumerate(keys * 3):
            mixed += encode("GET", key) if i % 7 == 3 else fcnp.encode(fcnp.SET, key, b"the end!")
        c.send(mixed)
        for i, key in enumerate(keys * 3):
            if i % 7 != 3:
                check_equal(c.read(), Ok, f"frame {i}")
                model[key] = b"the end!"
                continue
            want = model.get(key)
            said = b"$-1\r\n" if want is None else b"$%d\r\n%s\r\n" % (len(want), want)
            check_equal(c.take(len(said)), said, f"RESP {i}")


@test(ALL, skerry_only=True)
def every_opcode_of_strings_and_connections_answers_as_specified(s):
    with connect(s) as c:
        check_equal(c.call(fcnp.PING), Ok, "PING")
        check_equal(c.call(fcnp.PING, b"payload"), b"payload", "PING payload")
        check_equal(c.call(fcnp.SETEX, b"k", b"v", 100000), Ok, "SETEX")
        check_equal(c.call(fcnp.TTL, b"k"), 100, "TTL")
        check_equal(c.call(fcnp.GETEX, b"k", 200500), b"v", "GETEX")
        check_equal(c.call(fcnp.TTL, b"k"), 201, "TTL is rounded up")
        check_equal(c.call(fcnp.GETEX, b"none", 1000), None, "GETEX of nothing")
        check_equal(c.call(fcnp.EXPIRE, b"k", 50000), 1, "EXPIRE")
        check_equal(c.call(fcnp.EXPIRE, b"none", 50000), 0, "EXPIRE of nothing")
        check_equal(c.call(fcnp.TTL, b"none"), -2, "TTL of nothing")
        check_equal(c.call(fcnp.SET, b"k", b""), Ok, "SET")
        check_equal(c.call(fcnp.GET, b"k"), b"", "an empty value")
        check_equal(c.call(fcnp.TTL, b"k"), -1, "TTL without a deadline")
        check_equal([c.call(fcnp.EXISTS, k) for k in (b"k", b"none")], [1, 0], "EXISTS")
        check_equal(c.call(fcnp.SET, b"", b"empty key"), Ok)
        check_equal(c.call(fcnp.GET, b""), b"empty key")
        pairs = [(b"m%d" % i, b"v%d" % i) for i in range(40)]
        check_equal(c.call(fcnp.MSET, pairs), Ok, "MSET")
        check_equal(c.call(fcnp.MGET, [k for k, _ in pairs] + [b"none"]), [v for _, v in pairs] + [None], "MGET")
        check_equal(c.call(fcnp.DBSIZE), 42, "DBSIZE")
        check_equal(c.call(fcnp.ECHO, b"back"), b"back", "ECHO")
        check_equal(c.call(fcnp.SELECT, 1), Ok, "SELECT")
        check_equal(c.call(fcnp.DBSIZE), 0, "DBSIZE of database 1")
        check_equal(c.call(fcnp.SELECT, 99), "ERR DB index is out of range")
        check_equal(c.call(fcnp.CLIENT_SETNAME, b"native"), Ok)
        check_equal(c.call(fcnp.CLIENT_GETNAME), b"native")
        number = c.call(fcnp.CLIENT_ID)
        check(b"id=%d " % number in c.call(fcnp.CLIENT_LIST), "CLIENT LIST names the client")
        check_equal(sorted(c.call(fcnp.CONFIG_GET, [b"databases", b"port"])), sorted([b"databases", b"16", b"port", b"%d" % s.port]))
        check(b"redis_version" in c.call(fcnp.INFO), "INFO")
        check_equal(len(c.call(fcnp.TIME)), 2, "TIME")
        check(len(c.call(fcnp.COMMAND)) > 40, "COMMAND")
        check(len(c.call(fcnp.COMMAND_DOCS)) > 80, "COMMAND DOCS")
        check_equal(c.call(fcnp.QUIT), Ok)
        check(c.at_end(), "QUIT ends the connection")


@test(ALL, skerry_only=True)
def hello_tells_the_topology(s):
    with connect(s) as c:
        t = fcnp.topology(c)
        check_equal(list(t), ["server", "version", "proto", "id", "mode", "role", "modules", "shards", "fanout_port", "direct_base_port",
                              "route_mode", "frame_max", "epoch"])
        check_equal((t["server"], t["proto"], t["fanout_port"], t["direct_base_port"]), ("skerry", "2", str(s.port), ""))
        check_equal((t["shards"], t["route_mode"]), (str(s.config.shards), "full_key"))
        check_equal((t["frame_max"], t["id"]), (str((512 << 20) + 8), str(c.call(fcnp.CLIENT_ID))))
        check_equal(dict(zip(*[iter(c.call(fcnp.HELLO, 2))] * 2))[b"epoch"].decode(), t["epoch"], "the epoch stays")
        check_equal(c.call(fcnp.HELLO, 3), "NOPROTO unsupported protocol version")


@test(ALL, skerry_only=True)
def a_route_that_is_wrong_is_refused_and_stores_nothing(s):
    with connect(s) as c:
        n = shards(c)
        h, shard = fcnp.key_hash(b"alpha"), fcnp.shard_of(b"alpha", n)
        body = fcnp.BODY[fcnp.SET](b"alpha", b"beta")

        def send(flags, prefix):
            c.send(fcnp.frame(fcnp.SET, body, flags, prefix))
            return c.read()

        check_equal(send(1, fcnp.u64(h ^ 1)), "ERR FCNP key hash mismatch")
        check_equal(send(4, fcnp.u64((h >> 56) ^ 1)), "ERR FCNP key hash mismatch")
        check_equal(send(4, fcnp.u64(h)), "ERR FCNP key hash mismatch", "a tag of more than eight bits")
        check_equal(send(2, fcnp.u32(shard + 1)), "ERR FCNP route shard mismatch")
        check_equal(send(7, fcnp.u64(h) + fcnp.u32(shard ^ 0x80000000) + fcnp.u64(h >> 56)), "ERR FCNP route shard mismatch")
        check_equal(c.call(fcnp.GET, b"alpha"), None, "nothing was stored")
        for flags in range(8):
            check_equal(c.call(fcnp.SET, b"alpha", b"%d" % flags, flags=flags, shards=n), Ok, f"flags {flags}")
            check_equal(c.call(fcnp.GET, b"alpha", flags=flags, shards=n), b"%d" % flags, f"flags {flags}")
        check_equal(c.call(fcnp.RESP_COMMAND, b"GET", b"alpha", flags=7, shards=n), b"$1\r\n7\r\n")
        check_equal(c.call(fcnp.MGET, [b"a", b"b"]), [None, None], "no prefix is needed for many keys")


def wrong_hash_is_noticed(s):
    """A wrong hash never leads to another value than the key's, and never to `missing`: what can happen is the key's value, or an error."""
    mismatch = "ERR FCNP key hash mismatch"
    with connect(s) as c:
        n = shards(c)
        keys = [b"key:%d" % i for i in range(100)]
        check_equal(c.call(fcnp.MSET, [(k, b"v" + k) for k in keys]), Ok)
        hashes = [fcnp.key_hash(k) for k in keys]

        def ask(op, key, h, flags, *operands):
            prefix = fcnp.u64(h)
            if flags == fcnp.ROUTED:
                prefix += fcnp.u32(fcnp.shard_of_hash(h, n)) + fcnp.u64(h >> 56)
            return fcnp.frame(op, fcnp.BODY[op](key, *operands), flags, prefix)

        def answers(frames):
            c.send(b"".join(frames))
            return [c.read() for _ in frames]

        for flags in (fcnp.HASH, fcnp.ROUTED):
            for shift in (1, 37):
                others = hashes[shift:] + hashes[:shift]
                for key, got in zip(keys, answers([ask(fcnp.GET, k, h, flags) for k, h in zip(keys, others)])):
                    check(got in (b"v" + key, mismatch), f"{key}: {got}")
            check_equal(answers([ask(fcnp.GET, b"no" + k, h, flags) for k, h in zip(keys, hashes)]), [mismatch] * 100, "missing keys")
            check_equal(answers([ask(fcnp.GET, b"no" + k, fcnp.key_hash(b"no" + k), flags) for k in keys]), [None] * 100)
            check_equal(answers([ask(fcnp.SET, b"no" + k, h, flags, b"x") for k, h in zip(keys, hashes)]), [mismatch] * 100)
            check_equal(answers([ask(fcnp.GET, k, h, flags) for k, h in zip(keys, hashes)]), [b"v" + k for k in keys], "right ones")
        check_equal(c.call(fcnp.DBSIZE), 100, "nothing was stored")


@test(ALL, skerry_only=True)
def a_wrong_hash_leads_to_the_right_value_or_an_error(s):
    wrong_hash_is_noticed(s)


@test(ALL, args=["--index-hash", "public"], skerry_only=True)
def a_wrong_hash_leads_to_the_right_value_or_an_error_when_the_index_goes_by_it(s):
    wrong_hash_is_noticed(s)


@test(ALL, skerry_only=True)
def get_answers_and_counts_as_the_command_whatever_it_finds(s):
    with connect(s) as c, s.client() as resp:
        n = shards(c)
        values = {b"small": b"v", b"empty": b"", b"short": b"s" * 255, b"medium": b"m" * 300, b"longer": b"l" * 600, b"large": b"L" * 100000}
        for key, value in values.items():
            check_equal(resp.must("SET", key, value), "OK")
        values.update({b"number": b"12", b"grown": b"v" * 30, b"deadline": b"d", b"none": None})
        check_equal(resp.must("INCRBY", "number", 12), 12)
        check_equal(resp.must("APPEND", "grown", "v" * 30), 30)
        check_equal(resp.must("SET", "deadline", "d", "EX", 1000), "OK")
        check_equal(resp.must("SET", "over", "x", "PX", 1), "OK")
        wait_until(lambda: resp.must("EXISTS", "over") == 0, 10, "expiry")
        values[b"over"] = None
        check_equal(resp.must("CONFIG", "RESETSTAT"), "OK")
        rounds = 0
        for flags in (0, fcnp.HASH, fcnp.ROUTED, fcnp.SHARD):
            order = list(values) * 20
            check_equal(c.pipeline([(fcnp.GET, k) for k in order], flags=flags, shards=n), [values[k] for k in order], f"flags {flags}")
            rounds += 20

        def counted():  # other workers' counters are refreshed ten times a second
            stats = dict(line.split(":", 1) for line in resp.must("INFO", "everything").decode().splitlines() if ":" in line)
            calls = int(stats["cmdstat_get"].split("calls=")[1].split(",")[0])
            return calls, int(stats["keyspace_hits"]), int(stats["keyspace_misses"])

        want = (rounds * len(values), rounds * (len(values) - 2), rounds * 2)
        wait_until(lambda: counted() == want, 10, f"calls, hits and misses to be {want}")


@test(ALL, args=["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu"], skerry_only=True)
def get_notes_the_access_where_the_policy_wants_it(s):
    with connect(s) as c, s.client() as resp:
        check_equal(c.call(fcnp.SET, b"k", b"v"), Ok)
        check_equal(c.pipeline([(fcnp.GET, b"k")] * 1000, flags=fcnp.ROUTED, shards=shards(c)), [b"v"] * 1000)
        check(resp.must("OBJECT", "FREQ", "k") > 5, "the counter rose")


@test(ALL, skerry_only=True)
def set_does_and_counts_as_the_command_whatever_it_finds(s):
    with connect(s) as c, s.client() as resp, s.client() as watcher:
        n = shards(c)
        for flags in (0, fcnp.HASH, fcnp.ROUTED, fcnp.SHARD):
            check_equal(resp.must("CONFIG", "RESETSTAT"), "OK")
            for setup in (["SET", "plain", "12345678"], ["SET", "longer", "x" * 300], ["SET", "large", "y" * 100000],
                          ["SET", "deadline", "12345678", "EX", 1000], ["SETRANGE", "raw", 0, "12345678"]):
                resp.must(*setup)
            check_equal(watcher.must("WATCH", "plain"), "OK")
            keys = [b"plain", b"longer", b"large", b"deadline", b"raw", b"none%d" % flags]
            asked = [(op, k, *rest) for k in keys for op, *rest in ((fcnp.SET, b"abcdefgh"), (fcnp.GET,), (fcnp.SET, b"12"), (fcnp.GET,))]
            check_equal(c.pipeline(asked * 5, flags=flags, shards=n), [Ok, b"abcdefgh", Ok, b"12"] * len(keys) * 5, f"flags {flags}")
            check_equal([resp.must("TTL", k) for k in keys], [-1] * len(keys), "no deadline is left")
            check_equal([resp.must("OBJECT", "ENCODING", k) for k in keys], [b"int"] * len(keys), "encodings")
            check_equal(watcher.must("MULTI"), "OK")
            check_equal(watcher.must("PING"), "QUEUED")
            check_equal(watcher.call("EXEC"), None, "WATCH notices")
            check_equal(c.call(fcnp.SET, b"raw", b"87654321", flags=flags, shards=n), Ok)
            check_equal(resp.must("APPEND", "raw", "1"), 9)
            check_equal(resp.must("OBJECT", "ENCODING", "raw"), b"raw")
            check_equal(c.call(fcnp.SET, b"raw", b"123456789", flags=flags, shards=n), Ok)
            check_equal(resp.must("OBJECT", "ENCODING", "raw"), b"int", "not appended to any more")

            def counted():
                stats = dict(line.split(":", 1) for line in resp.must("INFO", "commandstats").decode().splitlines() if ":" in line)
                return [int(stats[f"cmdstat_{name}"].split("calls=")[1].split(",")[0]) for name in ("set", "get")]

            want = [10 * len(keys) + 6, 10 * len(keys)]
            wait_until(lambda: counted() == want, 10, f"calls to be {want}")


@test(ALL, args=["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"], skerry_only=True)
def set_is_refused_without_memory_even_where_it_would_take_none(s):
    with connect(s) as c:
        n = shards(c)
        for flags in (0, fcnp.HASH, fcnp.ROUTED):
            check_equal(c.call(fcnp.SET, b"k%d" % flags, b"v"), Ok)
        c.pipeline([(fcnp.SET, b"fill:%d" % i, b"x" * 4000) for i in range(1000)])
        wait_until(lambda: all(str(c.call(fcnp.SET, b"k%d" % flags, b"w", flags=flags, shards=n)).startswith("OOM") for flags in (0, 1, 7)), 10, "OOM")


@test(ALL, skerry_only=True)
def get_behind_a_set_of_the_same_batch_sees_it(s):
    with connect(s) as c:
        n = shards(c)
        for flags in (0, fcnp.HASH, fcnp.ROUTED):
            asked, want, now = [], [], {}
            for i in range(300):
                key, other = b"%d:%d" % (flags, i % 7), b"%d:%d" % (flags, (i + 1) % 7)
                now[key] = b"%d" % i
                asked += [(fcnp.SET, key, now[key]), (fcnp.GET, key), (fcnp.GET, other)]
                want += [Ok, now[key], now.get(other)]
            check_equal(c.pipeline(asked, flags=flags, shards=n), want, f"flags {flags}")


@test(ALL, skerry_only=True)
def errors_of_commands_are_error_frames(s):
    with connect(s) as c, s.client() as resp:
        check_equal(c.call(fcnp.AUTH, b"nobody", b"x"), "WRONGPASS invalid username-password pair or user is disabled.")
        check_equal(c.call(fcnp.RESP_COMMAND, b"NOSUCH"), b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n")
        check_equal(c.call(fcnp.RESP_COMMAND, b"GET"), b"-ERR wrong number of arguments for 'get' command\r\n")
        check_equal(c.call(fcnp.SETEX, b"k", b"v", 0), "ERR invalid expire time in 'psetex' command")
        for opcode in (12, 19, 25, 77, 199, 201, 255, 0):
            c.send(fcnp.frame(opcode, b"whatever it holds"))
            check_equal(c.read(), "ERR unsupported command", f"opcode {opcode}")
        check_equal(c.call(fcnp.PING), Ok, "and the connection goes on")


@test(ALL, skerry_only=True)
def an_opcode_whose_type_is_not_there_is_unsupported_and_skipped(s):
    requests = [(fcnp.HSET, b"k", b"f", b"v"), (fcnp.RPUSH, b"l", [b"a"]), (fcnp.SADD, b"s", [b"a"]), (fcnp.ZADD, b"z", b"m", 1.5)]
    with connect(s) as c, s.client() as resp:
        for name, request in zip(("HSET", "RPUSH", "SADD", "ZADD"), requests):
            there = resp.call("COMMAND", "INFO", name) != [None]
            check_equal(c.call(*request), 1 if there else "ERR unsupported command", name)
        check_equal(c.call(fcnp.PING), Ok)


@test(ALL, skerry_only=True)
def both_protocols_alternate_on_one_connection(s):
    rng = random.Random(11)
    with connect(s) as c, s.client() as r:
        r.sock.close()
        r.sock = c.sock
        data, want = b"", []
        for i in range(3000):
            key, value = b"k%d" % rng.randrange(40), b"v%d" % i
            native = rng.random() < 0.5
            if rng.random() < 0.5:
                data += fcnp.encode(fcnp.SET, key, value) if native else encode("SET", key, value)
            else:
                data += fcnp.encode(fcnp.MGET, [b"k1", b"k2", b"k3"]) if native else encode("GET", key)
            want.append(native)
        c.send(data)
        for native in want:
            if native:
                head = r._bytes(8)
                check_equal(head[:2], b"\xfb\x02", "a reply of the same protocol")
                body = r._bytes(struct.unpack_from("<I", head, 4)[0])
                check(not isinstance(fcnp.decode(head[2], body), fcnp.Error), "no error")
            else:
                got = r.read()
                check(got is None or got == "OK" or got[:1] == b"v", f"a RESP reply, not {got!r}")


@test(ALL, skerry_only=True)
def what_one_protocol_sets_the_other_reads(s):
    with connect(s) as c, s.client() as r:
        for i in range(64):
            check_equal(c.call(fcnp.SET, b"n%d" % i, b"native"), Ok)
            r.must("SET", f"r{i}", "resp")
        check_equal([r.call("GET", f"n{i}") for i in range(64)], [b"native"] * 64)
        check_equal(c.pipeline([(fcnp.GET, b"r%d" % i) for i in range(64)]), [b"resp"] * 64)
        c.send(encode("HELLO", "3"))
        head = c.sock.recv(1)
        check_equal(head, b"%", "RESP3's map")
        while c.sock.recv(65536)[-4:] != b"*0\r\n":
            pass
        check_equal(c.call(fcnp.TTL, b"r1"), -1, "FCNP beside RESP3")


@test(ALL, skerry_only=True)
def frames_cut_at_every_byte_are_put_together(s):
    with connect(s) as c:
        n = shards(c)
        stream = (fcnp.encode(fcnp.SET, b"cut", b"v" * 40, flags=7, shards=n) + encode("GET", "cut") + fcnp.encode(fcnp.SETEX, b"c2", b"w", 9**9)
                  + fcnp.encode(fcnp.MGET, [b"cut", b"c2"]) + b"\r\n" + fcnp.encode(fcnp.GET, b"cut", flags=1))
        want = (bytes.fromhex("fb02000000000000") + b"$40\r\n" + b"v" * 40 + b"\r\n" + bytes.fromhex("fb02000000000000")
                + bytes.fromhex("fb02060035000000 02000000 28000000") + b"v" * 40 + fcnp.text(b"w") + bytes.fromhex("fb02040028000000") + b"v" * 40)
        for cut in range(1, len(stream)):
            c.send(stream[:cut])
            c.send(stream[cut:])
            check_equal(c.take(len(want)), want, f"cut at {cut}")
        for byte in range(len(stream)):
            c.send(stream[byte : byte + 1])
        check_equal(c.take(len(want)), want, "byte by byte")


@test(ALL, skerry_only=True)
def large_values_come_and_go_whole(s):
    rng = random.Random(3)
    with connect(s) as c, s.client() as r:
        n = shards(c)
        for size in (65535, 65536, 65537, 300000, 3 << 20):
            value = rng.randbytes(size)
            check_equal(c.call(fcnp.SET, b"big%d" % size, value, flags=7, shards=n), Ok)
            check_equal(c.call(fcnp.SETEX, b"bigx%d" % size, value, 10**9), Ok)
            check_equal(c.call(fcnp.GET, b"big%d" % size) == value, True, f"{size} bytes by FCNP")
            check_equal(r.call("GET", f"bigx{size}") == value, True, f"{size} bytes by RESP")
        value = rng.randbytes(200000)
        stream = b"".join(fcnp.encode(fcnp.SET, b"p%d" % i, value) + fcnp.encode(fcnp.GET, b"p%d" % i) for i in range(20))
        for i in range(0, len(stream), 70000):
            c.send(stream[i : i + 70000])
        for i in range(20):
            check_equal(c.read(), Ok)
            check_equal(c.read() == value, True, f"value {i}")
        check_equal(c.call(fcnp.MGET, [b"p0", b"p1", b"p2"]) == [value] * 3, True, "MGET of large values")


@test(ALL, skerry_only=True)
def a_frame_that_lies_is_answered_and_the_connection_ends(s):
    u32, u64 = fcnp.u32, fcnp.u64
    head = lambda op, flags, n: bytes((0xFA, 2, op, flags)) + u32(n)
    cases = {
        "version 1": b"\xfa\x01\x01\0" + u32(9) + b"\x05\0\0\0alpha",
        "version 3": b"\xfa\x03\x01\0" + u32(9) + b"\x05\0\0\0alpha",
        "flags 8": head(1, 8, 9) + u32(5) + b"alpha",
        "flags 255": head(1, 255, 9) + u32(5) + b"alpha",
        "a body without room for its prefix": head(1, 7, 4) + u32(0),
        "a key longer than the body": head(1, 0, 9) + u32(6) + b"alpha",
        "a key of 2^32 - 1": head(1, 0, 9) + u32(2**32 - 1) + b"alpha",
        "a key and bytes behind it": head(1, 0, 10) + u32(5) + b"alpha!",
        "a value longer than the body": head(2, 0, 10) + u32(1) + u32(2) + b"kv",
        "a value of 2^32 - 1": head(2, 0, 10) + u32(1) + u32(2**32 - 1) + b"kv",
        "lengths whose sum wraps": head(2, 0, 10) + u32(2**31) + u32(2**31 + 2) + b"kv",
        "a value and bytes behind it": head(2, 0, 11) + u32(1) + u32(1) + b"kv!",
        "SETEX without its time": head(3, 0, 10) + u32(1) + u32(1) + b"kv",
        "a count of 2^32 - 1": head(10, 0, 8) + u32(2**32 - 1) + u32(0),
        "a count of pairs of 2^32 - 1": head(11, 0, 12) + u32(2**32 - 1) + u64(0),
        "a count without its items": head(10, 0, 8) + u32(2) + u32(0),
        "RESP COMMAND of nothing": head(200, 0, 4) + u32(0),
        "512 MiB and a byte": head(2, 0, (512 << 20) + 1),
        "4 GiB": head(2, 0, 2**32 - 1),
        "4 GiB of an unknown opcode": head(99, 0, 2**32 - 1),
        "a large value whose lengths lie": head(2, 0, 1 << 20) + u32(1) + u32(1 << 20) + b"k",
        "a large value whose lengths lie the other way": head(2, 0, 1 << 20) + u32(1) + u32(1 << 10) + b"k",
        "PING never so long": head(9, 8, 0),
        "an empty GET": head(1, 0, 0),
    }
    for name, data in cases.items():
        with connect(s) as c:
            c.send(fcnp.encode(fcnp.SET, b"due", b"1") + fcnp.encode(fcnp.MGET, [b"due", b"d2", b"d3"]) + data)
            check_equal(c.read(), Ok, f"{name}: what was due before it")
            check_equal(c.read(), [b"1", None, None], f"{name}: what was due before it")
            got = c.read()
            check(isinstance(got, fcnp.Error) and got.startswith("ERR FCNP protocol error: "), f"{name}: answered {got!r}")
            check(c.at_end(), f"{name}: closed")


@test(ALL, skerry_only=True)
def bytes_of_neither_protocol_are_resp_s_to_refuse(s):
    with connect(s) as c:
        c.send(fcnp.encode(fcnp.PING) + b"*1\r\n$z\r\n")
        check_equal(c.read(), Ok)
        check_equal(c.take(1), b"-", "a RESP error")
    with connect(s) as c:
        c.send(fcnp.encode(fcnp.PING) + b"\xfb\x02\0\0\r\n")
        check_equal(c.read(), Ok)
        check_equal(c.take(5), b"-ERR ", "the wrong magic is an inline command")
    with connect(s) as c:
        c.send(fcnp.encode(fcnp.SET, b"k", encode("SET", "inside", "1")) + encode("GET", "inside"))
        check_equal(c.read(), Ok, "RESP inside a value is a value")
        check_equal(c.take(5), b"$-1\r\n")
    with connect(s) as c:
        c.send(encode("SET", "k", fcnp.encode(fcnp.SET, b"inside", b"1")) + fcnp.encode(fcnp.GET, b"inside"))
        check_equal(c.take(5), b"+OK\r\n", "FCNP inside a value is a value")
        check_equal(c.read(), None)


@test(BACKENDS, args=["--requirepass", "secret"], skerry_only=True)
def before_auth_a_stranger_gets_little(s):
    with connect(s) as c:
        for opcode, *args in ((fcnp.GET, b"k"), (fcnp.SET, b"k", b"v"), (fcnp.PING,), (fcnp.MGET, [b"a", b"b"]), (fcnp.DBSIZE,)):
            check_equal(c.call(opcode, *args), "NOAUTH Authentication required.", f"opcode {opcode}")
        check(c.call(fcnp.HELLO).startswith("NOAUTH "), "HELLO")
        check_equal(c.call(fcnp.RESP_COMMAND, b"GET", b"k"), b"-NOAUTH Authentication required.\r\n")
        c.send(fcnp.frame(fcnp.GET, fcnp.u32(5), 7, fcnp.prefix_of(b"alpha", 7)))
        check_equal(c.read(), "NOAUTH Authentication required.", "bare GET")
        check_equal(c.call(fcnp.AUTH, b"default", b"wrong"), "WRONGPASS invalid username-password pair or user is disabled.")
        check_equal(c.call(fcnp.AUTH, b"default", b"secret"), Ok)
        check_equal(c.call(fcnp.SET, b"k", b"v" * 100000), Ok)
        check_equal(fcnp.topology(c)["server"], "skerry")
    with connect(s) as c:
        c.send(fcnp.frame(fcnp.SET, b"")[:4] + fcnp.u32(16385))
        check_equal(c.read(), "ERR FCNP protocol error: frame too large")
        check(c.at_end(), "closed")
    with connect(s) as c:
        c.send(fcnp.encode(fcnp.MGET, [b"k"] * 11))
        check_equal(c.read(), "ERR FCNP protocol error: too many arguments")
        check(c.at_end(), "closed")


@test(ALL, args=["--index-hash", "public"], skerry_only=True)
def a_bare_get_finds_its_key_and_never_another(s):
    with connect(s) as c:
        n = shards(c)

        def bare(key, flags=7, length=None, **wrong):
            h = wrong.get("hash", fcnp.key_hash(key))
            prefix = fcnp.u64(h) + (fcnp.u32(wrong.get("shard", fcnp.shard_of(key, n))) if flags & 2 else b"") + fcnp.u64(wrong.get("tag", h >> 56))
            c.send(fcnp.frame(fcnp.GET, fcnp.u32(len(key) if length is None else length), flags, prefix))
            return c.read()

        keys = [b"key:%d" % i for i in range(500)]
        check_equal(c.call(fcnp.MSET, [(k, b"v" + k) for k in keys]), Ok)
        for flags in (5, 7):
            check_equal([bare(k, flags) for k in keys], [b"v" + k for k in keys], f"flags {flags}")
        check_equal([bare(b"no" + k) for k in keys], [None] * 500, "keys that are not there")
        check_equal(bare(keys[0], length=len(keys[0]) + 1), None, "another length")
        check_equal(bare(keys[0], tag=1), "ERR FCNP key hash mismatch")
        check_equal(bare(keys[0], shard=(fcnp.shard_of(keys[0], n) + 1)), "ERR FCNP route shard mismatch")
        check_equal(c.call(fcnp.SETEX, b"soon", b"gone", 1), Ok)
        wait_until(lambda: bare(b"soon") is None, 10, "expiry")
        check_equal(c.call(fcnp.SET, b"key:0", b"y" * 200000), Ok)
        check_equal(bare(b"key:0") == b"y" * 200000, True, "a large value")


@test(BACKENDS, skerry_only=True)
def slow_and_vanishing_clients_harm_nobody(s):
    frames = [fcnp.encode(fcnp.SET, b"k%d" % i, b"v" * 1000) for i in range(200)]
    with connect(s) as watcher:
        check_equal(watcher.pipeline([(fcnp.SET, b"k%d" % i, b"v" * 1000) for i in range(200)]), [Ok] * 200)
        for cut in (1, 3, 7, 8, 12, 500):
            with connect(s) as c:
                c.send(b"".join(frames) + frames[0][:cut])
            with connect(s) as c:
                c.send(b"".join(frames) + frames[0][:cut])
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with connect(s) as c:
            c.send(fcnp.encode(fcnp.SET, b"big", b"x" * (4 << 20))[: 3 << 20])
        with connect(s) as c:  # never reads what it asks for
            c.call(fcnp.SET, b"big", b"x" * 500000)
            for _ in range(40):
                c.send(fcnp.encode(fcnp.GET, b"big"))
            check_equal(watcher.call(fcnp.PING), Ok, "others are served")
            for _ in range(40):
                check_equal(len(c.read()), 500000)
        with connect(s) as c:  # and one that goes away with the replies unread
            for _ in range(40):
                c.send(fcnp.encode(fcnp.GET, b"big"))
        check_equal(watcher.call(fcnp.GET, b"k199"), b"v" * 1000)


@test(BACKENDS, skerry_only=True)
def a_client_that_closes_its_half_gets_every_reply(s):
    with connect(s) as c:
        c.send(b"".join(fcnp.encode(fcnp.SET, b"h%d" % i, b"v") + fcnp.encode(fcnp.GET, b"h%d" % i) for i in range(500)))
        c.sock.shutdown(socket.SHUT_WR)
        for _ in range(500):
            check_equal((c.read(), c.read()), (Ok, b"v"))
        check(c.at_end(), "then the end")


@test(ALL, skerry_only=True)
def a_silenced_client_s_frames_are_not_answered(s):
    with connect(s) as c:
        c.send(encode("CLIENT", "REPLY", "OFF") + b"".join(fcnp.encode(fcnp.SET, b"q%d" % i, b"1") for i in range(50)))
        c.send(encode("CLIENT", "REPLY", "ON") + fcnp.encode(fcnp.MGET, [b"q0", b"q49"]))
        check_equal(c.take(5), b"+OK\r\n")
        check_equal(c.read(), [b"1", b"1"])


@test(ALL, args=["--index-hash", "public"], skerry_only=True)
def frames_that_wait_for_a_transaction_stay_whole(s):
    keys = [b"t%d" % i for i in range(8)]
    writers, readers = [connect(s) for _ in range(3)], [connect(s) for _ in range(3)]
    n = shards(readers[0])
    check_equal(readers[0].call(fcnp.MSET, [(k, b"0") for k in keys]), Ok)
    asked = b"".join(fcnp.encode(fcnp.GET, k, flags=7, shards=n) + fcnp.encode(fcnp.TTL, k)
                     + fcnp.frame(fcnp.GET, fcnp.u32(len(k)), 7, fcnp.prefix_of(k, 7, n)) for k in keys)
    for i in range(30):
        for number, c in enumerate(writers):  # all at once, so that some meet
            c.send(b"".join(fcnp.encode(fcnp.MSET, [(k, b"%d-%d-%d" % (number, i, j)) for k in keys]) for j in range(10)))
        for c in readers:
            for _ in range(10):
                c.send(asked)
            c.send(fcnp.encode(fcnp.MGET, keys))
        for c in writers:
            check_equal([c.read() for _ in range(10)], [Ok] * 10, "MSET")
        for c in readers:
            for _ in range(10 * len(keys)):
                got = c.read(), c.read(), c.read()
                check(isinstance(got[0], bytes) and got[1] == -1 and isinstance(got[2], bytes), f"replies {got}")
            check_equal(len(set(c.read())), 1, "values of one MGET come from one MSET")
    for c in writers + readers:
        c.close()
