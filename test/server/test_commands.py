# SPDX-License-Identifier: Apache-2.0
"""Every group of commands answers as Redis does: values, shapes and error texts."""

import time

from harness import ALL, BACKENDS, Error, Set, check, check_equal, encode, test, wait_until

WRONGTYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_INTEGER = Error("ERR value is not an integer or out of range")
NOT_FLOAT = Error("ERR value is not a valid float")
SYNTAX = Error("ERR syntax error")


def expect(client, table):
    """(request, reply) pairs; a request is one string split at spaces."""
    for request, want in table:
        check_equal(client.call(*request.split(" ")), want, request)


@test(ALL)
def strings_are_set_and_got(s):
    with s.client() as c:
        expect(c, [
            ("SET a 1", "OK"), ("GET a", b"1"), ("GET nothing", None), ("SET a 2 NX", None), ("SET a 2 XX", "OK"),
            ("SET b 2 XX", None), ("SET a 3 GET", b"2"), ("SET n 3 GET", None), ("SET a 3 EX", SYNTAX), ("SET a 3 NX XX", SYNTAX),
            ("SET a 3 EX 0", Error("ERR invalid expire time in 'set' command")), ("SET a 3 EX x", NOT_INTEGER),
            ("SET a 3 EX 1 PX 1", SYNTAX), ("SET a 3 EX 100 KEEPTTL", SYNTAX),
            ("SETNX a 4", 0), ("SETNX c 4", 1), ("SETEX d 100 v", "OK"), ("TTL d", 100), ("PSETEX d 100000 v", "OK"),
            ("SETEX d 0 v", Error("ERR invalid expire time in 'setex' command")),
            ("GETSET a 5", b"3"), ("GETSET q 5", None), ("GETDEL a", b"5"), ("GETDEL a", None), ("GETEX c EX 50", b"4"), ("TTL c", 50),
            ("GETEX c PERSIST", b"4"), ("TTL c", -1), ("GETEX c", b"4"), ("SET c 1 KEEPTTL", "OK"),
            ("STRLEN c", 1), ("STRLEN nothing", 0), ("APPEND c 23", 3), ("APPEND new x", 1), ("GET c", b"123"),
        ])


@test(ALL)
def many_keys_at_once_are_answered_in_order(s):
    with s.client() as c:
        pairs = [x for i in range(200) for x in (f"key:{i}", f"value:{i}")]
        check_equal(c.call("MSET", *pairs), "OK", "MSET")
        check_equal(c.call("MGET", *pairs[::2], "nothing"), [v.encode() for v in pairs[1::2]] + [None], "MGET")
        check_equal(c.call("EXISTS", *pairs[::2], "key:0", "nothing"), 201, "EXISTS counts repeats")
        check_equal(c.call("TOUCH", *pairs[::2], "nothing"), 200, "TOUCH")
        check_equal(c.call("MSETNX", "key:0", "x", "fresh", "y"), 0, "MSETNX")
        check_equal(c.call("GET", "fresh"), None, "MSETNX sets all or none")
        check_equal(c.call("MSETNX", "fresh", "y", "fresh2", "z"), 1, "MSETNX")
        check_equal(c.call("MGET", "key:0", "fresh", "fresh2"), [b"value:0", b"y", b"z"], "MGET")
        check_equal(c.call("MSET", "a", "1", "b"), Error("ERR wrong number of arguments for 'mset' command"), "MSET")
        check_equal(c.call("MSET", "twice", "1", "twice", "2"), "OK", "MSET")
        check_equal(c.call("GET", "twice"), b"2", "the last one of equal keys stays")
        check_equal(c.call("DBSIZE"), 203, "DBSIZE")
        check_equal(c.call("DEL", *pairs[:100:2], "nothing"), 50, "DEL")
        check_equal(c.call("UNLINK", *pairs[100::2], "nothing"), 150, "UNLINK")
        check_equal(c.call("DBSIZE"), 3, "DBSIZE")


@test(ALL)
def ranges_are_cut_and_written(s):
    with s.client() as c:
        expect(c, [
            ("SET a Hello", "OK"), ("GETRANGE a 0 -1", b"Hello"), ("GETRANGE a 1 2", b"el"), ("GETRANGE a -3 -1", b"llo"),
            ("GETRANGE a 5 9", b""), ("SUBSTR a 0 0", b"H"), ("GETRANGE nothing 0 -1", b""), ("SETRANGE a 1 ELL", 5), ("GET a", b"HELLo"),
            ("SETRANGE new 3 x", 4), ("GET new", b"\0\0\0x"), ("SETRANGE a -1 x", Error("ERR offset is out of range")),
            ("SETRANGE a 536870912 x", Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
            ("SET x ohmytext", "OK"), ("SET y mynewtext", "OK"), ("LCS x y", b"mytext"), ("LCS x y LEN", 6),
            ("LCS x y IDX", [b"matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len", 6]),
        ])
        check_equal(c.call("SETRANGE", "nothing", "0", ""), 0, "SETRANGE with nothing to write")
        check_equal(c.call("EXISTS", "nothing"), 0, "SETRANGE with nothing to write makes no key")


@test(ALL)
def numbers_count_within_their_bounds(s):
    top = 2**63 - 1
    overflow = Error("ERR increment or decrement would overflow")
    with s.client() as c:
        expect(c, [
            ("INCR n", 1), ("INCRBY n 41", 42), ("DECR n", 41), ("DECRBY n 1", 40), (f"SET n {top}", "OK"), ("INCR n", overflow),
            ("DECR n", top - 1), (f"SET n {-top - 1}", "OK"), ("DECR n", overflow), ("INCRBY n x", NOT_INTEGER),
            (f"DECRBY n {-top - 1}", Error("ERR decrement would overflow")), ("SET t 1e5", "OK"), ("INCR t", NOT_INTEGER),
            ("SET t +1", "OK"), ("INCR t", NOT_INTEGER), ("SET t 01", "OK"), ("INCR t", NOT_INTEGER), ("SET t 0x10", "OK"), ("INCR t", NOT_INTEGER),
            ("SET f 10.50", "OK"), ("INCRBYFLOAT f 0.1", b"10.6"), ("INCRBYFLOAT f -5", b"5.6"), ("SET f 5.0e3", "OK"),
            ("INCRBYFLOAT f 2.0e2", b"5200"), ("INCRBYFLOAT f x", NOT_FLOAT), ("INCRBYFLOAT f nan", NOT_FLOAT),
            ("INCRBYFLOAT f inf", Error("ERR increment would produce NaN or Infinity")),
        ])
        for text in (b" 1", b"1 ", b"", b"1\0"):
            c.must("SET", "t", text)
            check_equal(c.call("INCR", "t"), NOT_INTEGER, f"INCR of {text!r}")


@test(ALL)
def bits_are_set_counted_and_combined(s):
    with s.client() as c:
        expect(c, [
            ("SETBIT b 7 1", 0), ("GETBIT b 7", 1), ("GETBIT b 100", 0), ("SETBIT b 7 0", 1), ("SET s foobar", "OK"), ("BITCOUNT s", 26),
            ("BITCOUNT s 1 1", 6), ("BITCOUNT s 5 30 BIT", 17), ("BITCOUNT nothing", 0), ("BITPOS s 1", 1), ("BITPOS s 0", 0), ("BITPOS nothing 1", -1),
            ("BITPOS s 1 2 -1 BYTE", 17), ("SETBIT b 4294967296 1", Error("ERR bit offset is not an integer or out of range")),
            ("SETBIT b 1 2", Error("ERR bit is not an integer or out of range")), ("SET k1 foobar", "OK"), ("SET k2 abcdef", "OK"),
            ("BITOP AND dest k1 k2", 6), ("GET dest", b"`bc`ab"), ("BITOP OR dest k1 k2 nothing", 6), ("GET dest", b"goofev"),
            ("BITOP XOR dest k1 k2", 6), ("GET dest", b"\x07\x0d\x0c\x06\x04\x14"), ("BITOP NOT dest k1", 6),
            ("BITOP NOT dest k1 k2", Error("ERR BITOP NOT must be called with a single source key.")), ("BITOP AND dest nothing", 0), ("EXISTS dest", 0),
            ("BITFIELD f SET u8 0 255 GET u8 0 INCRBY u8 0 10", [0, 255, 9]), ("BITFIELD f OVERFLOW SAT INCRBY u8 0 255", [255]),
            ("BITFIELD f OVERFLOW FAIL INCRBY u8 0 1", [None]), ("BITFIELD f GET i5 #1", [-4]), ("BITFIELD_RO f GET u8 0", [255]),
            ("BITFIELD_RO f SET u8 0 1", Error("ERR BITFIELD_RO only supports the GET subcommand")),
            ("BITFIELD f GET u64 0", Error("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")),
        ])


@test(ALL)
def keys_expire_when_told(s):
    with s.client() as c:
        expect(c, [
            ("SET a 1", "OK"), ("TTL a", -1), ("PTTL nothing", -2), ("EXPIRE a 100", 1), ("TTL a", 100), ("EXPIRE nothing 1", 0),
            ("EXPIRE a 50 GT", 0), ("EXPIRE a 50 LT", 1), ("EXPIRE a 60 NX", 0), ("EXPIRE a 60 XX", 1), ("PERSIST a", 1), ("PERSIST a", 0),
            ("EXPIRE a 60 NX GT", Error("ERR NX and XX, GT or LT options at the same time are not compatible")),
            ("EXPIRE a 60 GT LT", Error("ERR GT and LT options at the same time are not compatible")),
            ("EXPIRE a 60 HOW", Error("ERR Unsupported option HOW")), ("EXPIRE a x", NOT_INTEGER),
            ("EXPIRE a 9223372036854775807", Error("ERR invalid expire time in 'expire' command")),
            ("EXPIREAT a 33177117420", 1), ("EXPIRETIME a", 33177117420), ("PEXPIRETIME a", 33177117420000), ("EXPIRETIME nothing", -2),
            ("PEXPIREAT a 33177117420001", 1), ("PEXPIRETIME a", 33177117420001), ("EXPIRE a -1", 1), ("EXISTS a", 0),
            ("SET p 1 PX 40", "OK"), ("SET q 1", "OK"), ("PEXPIRE q 40", 1), ("SET r 1 PX 40", "OK"), ("SET r 2", "OK"), ("TTL r", -1),
        ])
        time.sleep(0.06)
        expect(c, [("GET p", None), ("EXISTS q", 0), ("TYPE q", "none"), ("GET r", b"2")])
        c.must("SET", "lonely", "1", "PX", "30")
        wait_until(lambda: c.must("DBSIZE") == 1, 5, "expiry of a key that nobody asks for")


@test(ALL)
def keys_are_listed_typed_and_drawn(s):
    with s.client() as c:
        names = [f"k:{i}".encode() for i in range(1000)]
        c.pipeline([("SET", n, "v") for n in names])
        check_equal(sorted(c.call("KEYS", "*")), sorted(names), "KEYS *")
        check_equal(sorted(c.call("KEYS", "k:99[0-3]")), [b"k:990", b"k:991", b"k:992", b"k:993"], "KEYS with a class")
        check_equal(c.call("KEYS", "k:???x"), [], "KEYS without a match")
        check_equal(c.call("TYPE", "k:1"), "string", "TYPE")
        check_equal(c.call("TYPE", "nothing"), "none", "TYPE")
        check(c.call("RANDOMKEY") in names, "RANDOMKEY gives a key that is there")
        check(len({c.call("RANDOMKEY") for _ in range(50)}) > 10, "RANDOMKEY draws from all keys")
        check_equal(c.call("OBJECT", "ENCODING", "k:1"), b"embstr", "OBJECT ENCODING")
        check_equal(c.call("OBJECT", "REFCOUNT", "k:1"), 1, "OBJECT REFCOUNT")
        check_equal(c.call("OBJECT", "ENCODING", "nothing"), None, "OBJECT ENCODING") if not s.config.stand_in else None
        c.must("SET", "number", "12")
        check_equal(c.call("OBJECT", "ENCODING", "number"), b"int", "OBJECT ENCODING of a number")
        c.must("SET", "long", "x" * 45)
        check_equal(c.call("OBJECT", "ENCODING", "long"), b"raw", "OBJECT ENCODING of a long string")
        check_equal(c.call("FLUSHDB"), "OK", "FLUSHDB")
        check_equal(c.call("DBSIZE"), 0, "DBSIZE")
        check_equal(c.call("RANDOMKEY"), None, "RANDOMKEY of nothing")


def scan_all(c, *options):
    cursor, seen = b"0", []
    for _ in range(100000):
        cursor, keys = c.must("SCAN", cursor, *options)
        seen += keys
        if cursor == b"0":
            return seen
    raise AssertionError("SCAN does not end")


@test(ALL)
def a_scan_sees_every_key_that_stays_while_the_index_grows(s):
    with s.client() as c, s.client() as other:
        stay = {f"stay:{i}".encode() for i in range(2000)}
        c.pipeline([("SET", k, "v") for k in stay])
        cursor, seen, n = b"0", set(), 0
        while True:
            cursor, keys = c.must("SCAN", cursor, "COUNT", "100")
            seen.update(keys)
            if cursor == b"0":
                break
            other.pipeline([("SET", f"grow:{n + i}", "v") for i in range(400)])
            n += 400
            if n > 200000:
                raise AssertionError("SCAN does not end")
        check_equal(len(stay - seen), 0, "keys that the scan missed")
        check_equal(set(scan_all(c, "MATCH", "stay:1?", "COUNT", "1000")), {f"stay:1{i}".encode() for i in range(10)}, "SCAN MATCH")
        check_equal(scan_all(c, "TYPE", "list", "COUNT", "10000"), [], "SCAN TYPE list")
        check_equal(c.call("SCAN", "x"), Error("ERR invalid cursor"), "SCAN")
        check_equal(c.call("SCAN", "0", "COUNT", "0"), SYNTAX, "SCAN COUNT 0")
        reply = c.call("SCAN", "18446744073709551615")
        check(isinstance(reply, list), f"SCAN of a forged cursor answers {reply!r}")


@test(ALL)
def a_connection_knows_itself(s):
    with s.client() as c:
        expect(c, [
            ("PING", "PONG"), ("PING hello", b"hello"), ("ECHO hello", b"hello"), ("SELECT 1", "OK"), ("SELECT 0", "OK"),
            ("SELECT 10000", Error("ERR DB index is out of range")), ("SELECT x", Error("ERR value is not an integer or out of range")),
            ("CLIENT SETNAME me", "OK"), ("CLIENT GETNAME", b"me"), ("CLIENT NO-EVICT on", "OK"),
            ("CLIENT REPLY ON", "OK"),
        ])
        check(c.must("CLIENT", "ID") > 0, "CLIENT ID")
        check(b"name=me" in c.must("CLIENT", "INFO") if not isinstance(c.call("CLIENT", "INFO"), Error) else False, "CLIENT INFO has the name")
        check(b"name=me" in c.must("CLIENT", "LIST"), "CLIENT LIST has the name")
        check_equal(c.call("CLIENT", "SETNAME", "a b"), Error("ERR Client names cannot contain spaces, newlines or special characters."), "SETNAME")
        check_equal(c.call("RESET"), "RESET", "RESET")
        check_equal(c.call("CLIENT", "GETNAME"), None, "RESET forgets the name")
        check_equal(c.call("QUIT"), "OK", "QUIT")
        c.expect_closed()


@test(ALL)
def databases_are_apart(s):
    with s.client() as c:
        c.must("SET", "k", "zero")
        c.must("SELECT", "3")
        check_equal(c.call("GET", "k"), None, "GET in another database")
        c.must("SET", "k", "three")
        check_equal(c.call("DBSIZE"), 1, "DBSIZE")
        c.must("SELECT", "0")
        check_equal(c.call("GET", "k"), b"zero", "GET")
        c.must("FLUSHDB")
        c.must("SELECT", "3")
        check_equal(c.call("GET", "k"), b"three", "FLUSHDB empties one database")
        c.must("FLUSHALL")
        check_equal(c.call("GET", "k"), None, "FLUSHALL empties all")


@test(ALL)
def a_client_is_killed_by_another(s):
    with s.client() as c, s.client() as victim:
        number = victim.must("CLIENT", "ID")
        check_equal(c.call("CLIENT", "KILL", "ID", str(number)), 1, "CLIENT KILL")
        victim.expect_closed()
        check_equal(c.call("CLIENT", "KILL", "ID", str(number)), 0, "CLIENT KILL of nobody")
        check_equal(c.call("CLIENT", "KILL", "1.2.3.4:5"), Error("ERR No such client"), "CLIENT KILL, old form")


@test(ALL)
def replies_can_be_turned_off(s):
    with s.client() as c:
        c.send(encode_all(("CLIENT", "REPLY", "SKIP"), ("SET", "a", "1"), ("GET", "a")))
        check_equal(c.read(), b"1", "reply after SKIP")
        c.send(encode_all(("CLIENT", "REPLY", "OFF"), ("SET", "a", "2"), ("GET", "a"), ("CLIENT", "REPLY", "ON"), ("GET", "a")))
        check_equal([c.read(), c.read()], ["OK", b"2"], "replies after OFF and ON")


def encode_all(*commands):
    from harness import encode
    return b"".join(encode(*c) for c in commands)


@test(ALL)
def hello_chooses_the_protocol(s):
    with s.client() as c:
        hello = c.must("HELLO", "3")
        check(isinstance(hello, dict) and hello[b"proto"] == 3, f"HELLO 3 answers {hello!r}")
        check_equal(sorted(hello), [b"id", b"mode", b"modules", b"proto", b"role", b"server", b"version"], "fields of HELLO")
        check_equal(c.call("GET", "nothing"), None, "null")
        check(isinstance(c.call("CONFIG", "GET", "port"), dict), "CONFIG GET is a map")
        c.must("MSET", "a", "1", "b", "2")
        check_equal(c.call("MGET", "a", "nothing", "b"), [b"1", None, b"2"], "MGET")
        check(isinstance(c.call("COMMAND", "DOCS", "get"), dict), "COMMAND DOCS is a map")
        check(isinstance(c.call("COMMAND", "INFO", "get")[0][2], Set), "flags are a set")
        check(b"# Server" in c.call("INFO"), "INFO is verbatim text")
        two = c.must("HELLO", "2")
        check(isinstance(two, list) and two[0] == b"server", f"HELLO 2 answers {two!r}")
        for bad in ("0", "1", "4", "999"):
            check_equal(c.call("HELLO", bad), Error("NOPROTO unsupported protocol version"), f"HELLO {bad}")
        check_equal(c.call("HELLO", "x"), Error("ERR Protocol version is not an integer or out of range"), "HELLO x")
        check_equal(c.call("HELLO", "3", "SETNAME", "me")[b"proto"], 3, "HELLO with a name")
        check_equal(c.call("CLIENT", "GETNAME"), b"me", "name from HELLO")


@test(ALL)
def the_server_tells_about_itself(s):
    with s.client() as c:
        info = c.must("INFO").decode()
        for field in ("redis_version:", "tcp_port:", "uptime_in_seconds:", "connected_clients:", "used_memory:", "maxmemory:",
                      "total_connections_received:", "total_commands_processed:", "keyspace_hits:", "keyspace_misses:", "used_cpu_sys:", "role:"):
            check(field in info, f"INFO lacks {field}")
        c.must("SET", "a", "1", "EX", "100")
        # other workers' counts may be a tenth of a second old
        wait_until(lambda: "db0:keys=1,expires=1" in c.must("INFO", "keyspace").decode(), 2, "counting of keys in INFO keyspace")
        check("# Clients" not in c.must("INFO", "server").decode(), "INFO SECTION gives that section alone")
        seconds, micros = c.must("TIME")
        check(abs(int(seconds) - time.time()) < 5 and 0 <= int(micros) < 1000000, "TIME")
        check(b"Redis ver" in c.must("LOLWUT") or len(c.must("LOLWUT")) > 0, "LOLWUT")
        check_equal(c.call("CONFIG", "RESETSTAT"), "OK", "CONFIG RESETSTAT")


@test(ALL)
def commands_are_described(s):
    with s.client() as c:
        count = c.must("COMMAND", "COUNT")
        check(count >= 60, f"COMMAND COUNT is {count}")
        check_equal(len(c.must("COMMAND")), count, "COMMAND lists as many")
        get = c.must("COMMAND", "INFO", "get", "nothing")
        check_equal(get[0][:2] + get[0][3:6], [b"get", 2, 1, 1, 1], "COMMAND INFO get")
        check_equal(get[1], None, "COMMAND INFO of nothing")
        check_equal(sorted(get[0][2]), ["fast", "readonly"], "flags of get")
        check(b"get" in c.must("COMMAND", "LIST"), "COMMAND LIST")
        check_equal(c.call("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"), [b"a", b"b"], "COMMAND GETKEYS")
        check_equal(c.call("COMMAND", "GETKEYS", "ECHO", "x"), Error("ERR The command has no key arguments"), "COMMAND GETKEYS")
        docs = c.must("COMMAND", "DOCS", "get")
        check_equal(docs[0], b"get", "COMMAND DOCS")


@test(ALL)
def mistakes_are_answered_in_the_known_words(s):
    with s.client() as c:
        expect(c, [
            ("NOPE", Error("ERR unknown command 'NOPE', with args beginning with: ")),
            ("nope a b", Error("ERR unknown command 'nope', with args beginning with: 'a' 'b' ")),
            ("GET", Error("ERR wrong number of arguments for 'get' command")), ("GET a b", Error("ERR wrong number of arguments for 'get' command")),
            ("CLIENT", Error("ERR wrong number of arguments for 'client' command")),
            ("CLIENT NOPE", Error("ERR unknown subcommand 'NOPE'. Try CLIENT HELP.")),
            ("CLIENT GETNAME x", Error("ERR wrong number of arguments for 'client|getname' command")),
        ])
        long = c.call("X" * 300, "y" * 300)
        check(isinstance(long, Error) and len(long) < 400, f"an unknown command is quoted in part: {len(long)} characters")
        check(isinstance(c.call("a\r\nb"), Error), "a name with a line end gives one error line")
        check_equal(c.call("PING"), "PONG", "PING after it")


@test(BACKENDS)
def values_keep_every_byte(s):
    every = bytes(range(256)) * 17
    with s.client() as c:
        for key in (b"", b"\0", b"\r\n", every):
            check_equal(c.call("SET", key, every), "OK", "SET")
            check_equal(c.call("GET", key), every, "GET")
        check_equal(c.call("SET", "empty", ""), "OK", "SET")
        check_equal(c.call("GET", "empty"), b"", "GET of an empty value")


@test(ALL, seconds=60)
def keys_go_in_pieces_and_keep_their_place_in_the_pipeline(s):
    with s.client() as c, s.client() as other:
        names = [f"key:{i}".encode() for i in range(5000)]
        for i in range(0, len(names), 500):
            c.must("MSET", *[x for name in names[i : i + 500] for x in (name, "v")])
        check_equal(sorted(c.call("KEYS", "*")), sorted(names), "KEYS of 5,000")
        check_equal(sorted(c.call("KEYS", "key:12?")), [f"key:12{i}".encode() for i in range(10)], "KEYS of a few")
        got = c.pipeline([("SET", "key:new", "1"), ("KEYS", "key:new*"), ("DEL", "key:new"), ("KEYS", "key:new*"), ("PING",)])
        check_equal(got, ["OK", [b"key:new"], 1, [], "PONG"], "a pipeline")
        check_equal(c.pipeline([("MULTI",), ("SET", "key:new", "1"), ("KEYS", "key:new*"), ("DEL", "key:new"), ("EXEC",)])[4],
                    ["OK", [b"key:new"], 1], "inside EXEC")
        for _ in range(20):
            c.send(encode("KEYS", "*"))
            other.pipeline([("SET", f"other:{i}", "1") for i in range(50)] + [("DEL", f"other:{i}") for i in range(50)])
            found = [name for name in c.read() if name.startswith(b"key:")]
            check_equal((len(found), len(set(found))), (5000, 5000), "keys that are there from begin to end")
        gone = s.client()
        gone.send(encode("KEYS", "*") * 3)
        gone.close()
        check_equal(c.call("PING"), "PONG", "PING after one who left")
