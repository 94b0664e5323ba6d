# SPDX-License-Identifier: Apache-2.0
"""redis-py against a server: redis_py.py PORT PROTOCOL"""

import sys
import time
import traceback

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol, client_name="compat")
passed = failed = 0


def claim(run):
    global passed, failed
    try:
        r.flushall()
        run()
        passed += 1
    except Exception as why:
        failed += 1
        line = traceback.extract_tb(why.__traceback__)[-1].lineno
        print(f"FAIL redis-py RESP{protocol} {run.__name__} (line {line}): {type(why).__name__} {why}")


@claim
def strings_come_back():
    assert r.set("a", "1") is True
    assert r.get("a") == b"1" and r.get("nothing") is None
    assert r.set("a", "2", nx=True) is None and r.set("a", "2", xx=True) is True
    assert r.set("a", "3", get=True) == b"2"
    assert r.append("a", "45") == 3 and r.strlen("a") == 3 and r.getrange("a", 0, 1) == b"34"
    assert r.setrange("a", 1, "x") == 3 and r.get("a") == b"3x5"
    assert r.getdel("a") == b"3x5" and r.exists("a") == 0
    value = bytes(range(256)) * 10000
    r.set(b"\0binary\r\n", value)
    assert r.get(b"\0binary\r\n") == value


@claim
def numbers_count():
    assert r.incr("n") == 1 and r.incrby("n", 10) == 11 and r.decr("n", 2) == 9
    assert abs(float(r.incrbyfloat("f", 1.5)) - 1.5) < 1e-9
    r.set("word", "x")
    try:
        r.incr("word")
        raise AssertionError("INCR of a word")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)


@claim
def many_keys_at_once():
    pairs = {f"k{i}": str(i) for i in range(300)}
    assert r.mset(pairs) is True
    assert r.mget(list(pairs)) == [v.encode() for v in pairs.values()]
    assert r.msetnx({"k1": "x", "new": "y"}) in (False, 0)
    assert r.exists(*pairs) == 300 and r.dbsize() == 300
    assert sorted(r.keys("k29?")) == [f"k29{i}".encode() for i in range(10)]
    assert sorted(r.scan_iter(match="k*", count=50)) == sorted(k.encode() for k in pairs)
    assert r.randomkey().decode() in pairs
    assert r.delete(*list(pairs)[:100]) == 100 and r.unlink(*list(pairs)[100:]) == 200


@claim
def keys_expire():
    r.set("a", "1", ex=100)
    assert r.ttl("a") == 100 and 99000 < r.pttl("a") <= 100000
    assert r.persist("a") and r.ttl("a") == -1 and r.ttl("nothing") == -2
    assert r.expire("a", 10) and r.expireat("a", int(time.time()) + 100) and r.expiretime("a") > time.time()
    assert r.getex("a", px=40) == b"1"
    time.sleep(0.06)
    assert r.get("a") is None


@claim
def transactions_are_whole():
    with r.pipeline(transaction=True) as pipe:
        assert pipe.set("a", "1").mset({"b": "2", "c": "3"}).incr("a").mget("a", "b", "c").execute() == [True, True, 2, [b"2", b"2", b"3"]]
    with r.pipeline() as pipe:
        pipe.watch("a", "b", "c")
        assert pipe.get("a") == b"2"
        r.set("b", "changed")
        pipe.multi()
        pipe.set("a", "never")
        try:
            pipe.execute()
            raise AssertionError("EXEC in spite of a change")
        except redis.WatchError:
            pass
    assert r.get("a") == b"2"

    def double(pipe):
        value = int(pipe.get("a"))
        pipe.multi()
        pipe.set("a", value * 2)

    assert r.transaction(double, "a") == [True] and r.get("a") == b"4"
    try:
        r.pipeline().set("a", "1").incr("b").execute()
        raise AssertionError("INCR of a word in a transaction")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)


@claim
def bits_are_counted():
    assert r.setbit("b", 7, 1) == 0 and r.getbit("b", 7) == 1 and r.bitcount("b") == 1 and r.bitpos("b", 1) == 7
    r.set("c", "abc")
    assert r.bitop("OR", "d", "b", "c") == 3
    assert r.bitfield("e").set("u8", 0, 200).get("u8", 0).execute() == [0, 200]


@claim
def pipelines_keep_their_order():
    for transaction in (False,):
        p = r.pipeline(transaction=transaction)
        for i in range(1000):
            p.set(f"k{i}", i).get(f"k{i}").incr("count")
        out = p.execute()
        assert out[1::3] == [str(i).encode() for i in range(1000)] and out[2::3] == list(range(1, 1001))


@claim
def the_server_speaks_of_itself():
    assert r.ping() and r.echo("x") == b"x" and r.client_id() > 0
    assert r.client_getname() in (b"compat", "compat")
    info = r.info()
    assert info["tcp_port"] == port and "redis_version" in info and info["connected_clients"] >= 1
    assert r.config_get("port")["port"] == str(port)
    assert r.command_count() > 50 and "get" in r.command()
    assert any(c["name"] == "compat" for c in r.client_list())
    assert r.type("nothing") in (b"none", "none")
    assert len(r.time()) == 2


@claim
def strings_are_decoded_on_request():
    d = redis.Redis(port=port, protocol=protocol, decode_responses=True)
    d.set("ä", "ö")
    assert d.get("ä") == "ö" and d.keys() == ["ä"]


print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
