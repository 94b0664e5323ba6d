# SPDX-License-Identifier: Apache-2.0
"""Every verb of the Python package against a server:  test_skerry_client.py ADDRESS MODE SHARDS DIRECT [PASSWORD]"""

import select
import sys
import threading
import time
import traceback

import skerry_client
from skerry_client import Client

address, mode, shards, direct = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1"
password = sys.argv[5] if len(sys.argv) > 5 else None
LONG = 60  # seconds: a slow machine is no failure


def new(**options):
    return Client(address, **{"mode": mode, "password": password, "connect_timeout": LONG, "request_timeout": LONG, **options})


def raises(kind, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except kind as error:
        return str(error) or "no words"
    raise AssertionError(f"no {kind.__name__}")


def the_topology_is_told(c):
    c.connect()
    t = c.topology()
    assert mode == "fanout" or (t.shards, t.direct) == (shards, direct), t


def values_come_back(c):
    for key, value in (("text", "Ådå"), (b"\0\xff", bytes(range(256))), ("", b""), ("large", b"x" * 3_000_000)):
        c.set(key, value)
        got = c.get(key)
        assert got == (value.encode() if isinstance(value, str) else value)
    assert c.get("nobody") is None
    assert (c.delete("text"), c.delete("text"), c.exists("text"), c.exists("large")) == (True, False, False, True)


def times_to_live_are_kept(c):
    c.set("t", "x")
    assert c.ttl("t") == -1
    c.set("t", "x", ttl=5000)
    assert 4000 < c.ttl("t") <= 5000
    assert c.expire("t", 9000.5) and 8000 < c.ttl("t") <= 9001
    assert c.getex("t", 2000) == b"x" and 1000 < c.ttl("t") <= 2000
    c.set("t", "x", at=time.time() + 7000)
    assert 6000 < c.ttl("t") <= 7001
    c.set("t", "x", at=1.5)
    assert (c.get("t"), c.ttl("t"), c.expire("t", 1), c.getex("t", 1)) == (None, None, False, None)
    raises(ValueError, c.set, "t", "x", ttl=0)
    raises(ValueError, c.set, "t", "x", ttl=1, at=1)


def batches_keep_their_order(c):
    c.mset({f"b:{i}": f"v{i}" for i in range(500)})
    assert c.mget([f"b:{i}" for i in range(501)]) == [b"v%d" % i for i in range(500)] + [None]
    assert c.mget([]) == []
    raises(skerry_client.InvalidError, c.mset, {})


def commands_are_read(c):
    c.command("DEL", "n")
    assert c.command("INCR", "n", keyed=True) == 1
    assert c.command("MGET", "n", "nobody") == [b"1", None]
    assert c.command("ECHO", "hello") == b"hello"
    assert "unknown command" in raises(skerry_client.ServerError, c.command, "NOSUCH")
    assert c.command("EXISTS", "n", keyed=True) == 1


def raw_requests_reach_their_shard(c):
    c.set("raw", "value")
    assert c.request(1, "raw", b"\3\0\0\0raw") == ("value", b"value")
    assert c.request(6, None, b"\3\0\0\0raw") == ("integer", 1)
    assert c.request(10, None, b"\1\0\0\0\3\0\0\0raw") == ("array", [b"value"])
    assert "unsupported" in raises(skerry_client.ServerError, c.request, 199, None, b"")


def ping_works(c):
    c.ping()
    c.ping("payload" * 100)


def pipelines_answer_in_order(c):
    with c.pipeline() as p:
        for i in range(3000):
            p.set(f"p:{i % 50}", str(i)).get(f"p:{i % 50}")
        raises(skerry_client.BusyError, c.get, "a")
        p.exists("p:1").ttl("p:1").ttl("nobody").expire("p:1", 100).delete("p:1").delete("p:1").get("p:1").getex("p:2", 100)
        p.ping("x").command("NOSUCH").command("GET", "p:2", keyed=True)
    assert p.results[:6000] == [x for i in range(3000) for x in (None, b"%d" % i)]
    rest = p.results[6000:]
    assert rest[:8] == [True, -1, None, True, True, False, None, b"2952"], rest
    assert isinstance(rest[9], skerry_client.ServerError) and rest[10] == b"2952", rest
    c.mset({"q": "1"})
    with c.pipeline() as p:
        p.mget(["q", "nobody"])
    assert p.results == [[b"1", None]]


def a_small_bound_is_no_obstacle(_):
    with new(requests_max=16) as c, c.pipeline() as p:
        for i in range(1000):
            p.set(f"small:{i}", b"v" * 100)
    assert p.results == [None] * 1000


def polling_never_blocks(c):
    p = c.pipeline()
    for i in range(500):
        p.set(f"poll:{i}", str(i)).get(f"poll:{i}")
    while not p.poll():
        assert select.select([c], [], [], LONG)[0], "nothing became readable"
    assert p.results == [x for i in range(500) for x in (None, b"%d" % i)]


def threads_may_share_a_client(c):
    wrong = []

    def work(n):
        for i in range(200):
            c.set(f"th:{n}", f"{n}:{i}")
            if c.get(f"th:{n}") != b"%d:%d" % (n, i):
                wrong.append((n, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong


def errors_have_their_kind_and_words(_):
    assert "refused" in raises(skerry_client.UnreachableError, Client("127.0.0.1:1", mode="fanout").connect)
    raises(skerry_client.AddressError, Client, "127.0.0.1:port")
    raises(skerry_client.InvalidError, Client, address, mode="sideways")
    raises(TypeError, new().get, 5)
    if password:
        assert "WRONGPASS" in raises(skerry_client.RefusedError, new(password="no").get, "a")
        assert "NOAUTH" in raises(skerry_client.RefusedError, new(password=None).get, "a")
    closed = new()
    closed.close()
    closed.close()
    raises(ValueError, closed.get, "a")


def routing_is_that_of_the_specification(_):
    assert skerry_client.hash_of("alpha") == 0xBE6903B5F625AB5A
    assert [skerry_client.shard_of("s:42:c:7", n) for n in (2, 4, 16, 64)] == [0, 0, 0, 3]
    assert [skerry_client.shard_of("s:42:c:7", n, session_prefix=True) for n in (2, 4, 16, 64)] == [0, 1, 6, 26]
    assert skerry_client.__version__ == "0.1.0"


passed = failed = 0
client = new()
for test in (the_topology_is_told, values_come_back, times_to_live_are_kept, batches_keep_their_order, commands_are_read,
             raw_requests_reach_their_shard, ping_works, pipelines_answer_in_order, a_small_bound_is_no_obstacle, polling_never_blocks,
             threads_may_share_a_client, errors_have_their_kind_and_words, routing_is_that_of_the_specification):
    try:
        test(client)
        passed += 1
    except Exception as error:
        failed += 1
        at = traceback.extract_tb(error.__traceback__)[-1]
        print(f"FAIL {test.__name__}: line {at.lineno}: {type(error).__name__}: {str(error)[:200]}")
        client = new()
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
