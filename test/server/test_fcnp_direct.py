# SPDX-License-Identifier: Apache-2.0
"""Direct shard ports and route modes: who may ask what where, and that nothing travels between workers."""

import random
import re

import harness
from compat import fcnp_client as fcnp
from compat.fcnp_client import Ok
from harness import ALL, BACKENDS, ONCE, Client, Server, check, free_range, run_to_end, test
from test_fcnp import check_equal


def start(config, *args):
    """A server with direct ports somewhere free."""
    with free_range(1 + config.shards) as port:
        s = Server(config, "--direct-ports", "yes", "--direct-base-port", port + 1, *args, port=port)
    s.base = port + 1
    return s


def port_of(s, shard):
    return fcnp.Connection("127.0.0.1", s.base + shard)


def counters(s):
    with s.client() as c:
        text = c.must("INFO", "stats").decode()
    return {name: int(re.search(rf"^{name}:(\d+)", text, re.M).group(1)) for name in ("requests_forwarded", "mesh_messages")}


def key_of(shard, shards, mode="full_key", not_in=None):
    for i in range(10**6):
        key = b"key:%d" % i
        if (fcnp.shard_of(key, shards, mode) == shard) if not_in is None else fcnp.shard_of(key, shards, mode) != not_in:
            return key
    raise AssertionError("no such key")


@test(ALL, own=True, skerry_only=True)
def every_single_key_opcode_is_served_at_its_shard_without_a_message(config):
    with start(config) as s:
        before = counters(s)
        with fcnp.Direct("127.0.0.1", s.port) as d:
            check_equal((d.count, d.topology["direct_base_port"]), (config.shards, str(s.base)))
            keys = [b"k%d" % i for i in range(200)]
            check_equal(d.pipeline([(fcnp.SET, k, b"v" + k) for k in keys]), [Ok] * 200)
            check_equal(d.pipeline([(fcnp.GET, k) for k in keys]), [b"v" + k for k in keys])
            check_equal(d.call(fcnp.SETEX, b"t", b"v", 90000), Ok)
            check_equal(d.call(fcnp.TTL, b"t"), 90)
            check_equal(d.call(fcnp.GETEX, b"t", 50000), b"v")
            check_equal(d.call(fcnp.EXPIRE, b"t", 40000), 1)
            check_equal(d.call(fcnp.EXISTS, b"t"), 1)
            check_equal(d.call(fcnp.DELETE, b"t"), 1)
            check_equal(d.call(fcnp.SET, b"big", b"x" * 300000), Ok)
            check_equal(d.call(fcnp.GET, b"big") == b"x" * 300000, True)
            check_equal(d.of(b"k1").call(fcnp.RESP_COMMAND, b"GET", b"k1", flags=7, shards=d.count), b"$3\r\nvk1\r\n")
        check_equal(counters(s), before, "requests forwarded and messages between workers")
        with s.client() as c:
            check_equal(c.call("MGET", *keys), [b"v" + k for k in keys], "the same keys by RESP at the fanout port")
        check_equal(counters(s) != before, config.workers > 1, "the counters count what the fanout port causes")


@test(ALL, own=True, skerry_only=True)
def what_is_not_of_the_shard_is_refused_and_the_connection_stays(config):
    n = config.shards
    with start(config) as s:
        for shard in range(n):
            own = key_of(shard, n)
            with port_of(s, shard) as c:
                check_equal(c.call(fcnp.SET, own, b"1", flags=7, shards=n), Ok)
                check_equal(c.call(fcnp.GET, own), "ERR FCNP direct shard port requires routed GET/SET/DEL")
                check_equal(c.call(fcnp.GET, own, flags=5), "ERR FCNP direct shard port requires routed GET/SET/DEL")
                for request in ((fcnp.MGET, [own, own]), (fcnp.MSET, [(own, b"2"), (own, b"3")]), (fcnp.DBSIZE,), (fcnp.CLIENT_LIST,)):
                    check_equal(c.call(*request), "ERR FCNP direct shard port requires routed GET/SET/DEL", f"opcode {request[0]}")
                if n > 1:
                    foreign = key_of(shard, n, not_in=shard)
                    check_equal(c.call(fcnp.SET, foreign, b"1", flags=7, shards=n), "ERR FCNP route shard mismatch")
                    lie = fcnp.u64(fcnp.key_hash(foreign)) + fcnp.u32(shard) + fcnp.u64(fcnp.key_hash(foreign) >> 56)
                    c.send(fcnp.frame(fcnp.GET, fcnp.text(foreign), 7, lie))
                    check_equal(c.read(), "ERR FCNP route shard mismatch", "a foreign key with this shard's number")
                check_equal(c.call(fcnp.PING), Ok)
                check_equal(c.call(fcnp.GET, own, flags=7, shards=n), b"1", "the connection stays")
                check_equal(fcnp.topology(c)["shards"], str(n))


@test(ALL, own=True, skerry_only=True)
def resp_at_a_direct_port_is_served_for_its_shard(config):
    n = config.shards
    with start(config) as s:
        before = counters(s)
        for shard in range(n):
            own = key_of(shard, n)
            with Client(("127.0.0.1", s.base + shard)) as c:
                check_equal(c.call("PING"), "PONG")
                check_equal(c.pipeline([("SET", own, "1"), ("INCR", own), ("GET", own), ("DEL", own)]), ["OK", 2, b"2", 1])
                check_equal(str(c.call("MGET", own, own)), "ERR FCNP route shard mismatch")
                check_equal(str(c.call("DBSIZE")), "ERR FCNP route shard mismatch")
                check_equal(str(c.call("FLUSHALL")), "ERR FCNP route shard mismatch")
                check_equal(str(c.call("SCAN", "0")), "ERR FCNP route shard mismatch")
                if n > 1:
                    check_equal(str(c.call("SET", key_of(shard, n, not_in=shard), "1")), "ERR FCNP route shard mismatch")
                check_equal(c.call("GET", own), None)
                c.send_slowly(harness.encode("SET", own, "cut"))
                check_equal(c.read(), "OK")
                if n > 1:
                    c.send_slowly(harness.encode("GET", key_of(shard, n, not_in=shard)))
                    check_equal(str(c.read()), "ERR FCNP route shard mismatch")
        check_equal(counters(s), before, "requests forwarded and messages between workers")


@test(ALL, own=True, skerry_only=True)
def a_session_s_keys_share_a_shard_by_prefix(config):
    with start(config, "--route-mode", "session-prefix") as s, fcnp.Direct("127.0.0.1", s.port) as d:
        check_equal(d.mode, "session_prefix")
        keys = [b"s:%d:c:%d" % (i, j) for i in range(20) for j in range(5)] + [b"s:", b"s::c:", b"s:a:c:b:c:d", b"plain", b":c:", b""]
        check_equal(d.pipeline([(fcnp.SET, k, k) for k in keys]), [Ok] * len(keys))
        check_equal(d.pipeline([(fcnp.GET, k) for k in keys]), keys)
        check_equal(len({fcnp.shard_of(b"s:7:c:%d" % j, d.count, d.mode) for j in range(50)}), 1)
        with fcnp.Connection("127.0.0.1", s.port) as c:
            check_equal(c.pipeline([(fcnp.GET, k) for k in keys], flags=7, shards=d.count, mode=d.mode), keys, "routed at the fanout port")
            check_equal(c.call(fcnp.MGET, keys), keys, "MGET")


@test(ONCE, own=True, skerry_only=True)
def a_bare_get_needs_whole_keys_to_route_by(config):
    with start(config, "--route-mode", "session-prefix", "--index-hash", "public") as s, port_of(s, 0) as c:
        c.send(fcnp.frame(fcnp.GET, fcnp.u32(5), 7, fcnp.prefix_of(b"alpha", 7, config.shards)))
        check_equal(c.read(), "ERR FCNP bare GET needs route-mode full-key")


@test(BACKENDS, own=True, skerry_only=True)
def a_bare_get_is_served_at_its_shard_only(config):
    n = config.shards
    with start(config, "--index-hash", "public") as s, fcnp.Direct("127.0.0.1", s.port) as d:
        for i in range(50):
            key = b"k%d" % i
            check_equal(d.call(fcnp.SET, key, key), Ok)
            bare = fcnp.frame(fcnp.GET, fcnp.u32(len(key)), 7, fcnp.prefix_of(key, 7, n))
            d.of(key).send(bare)
            check_equal(d.of(key).read(), key)
            other = d.shards[(fcnp.shard_of(key, n) + 1) % n]
            other.send(bare)
            check_equal(other.read(), "ERR FCNP route shard mismatch")
            d.of(key).send(fcnp.frame(fcnp.GET, fcnp.u32(len(key)), 5, fcnp.prefix_of(key, 5, n)))
            check_equal(d.of(key).read(), "ERR FCNP direct shard port requires routed GET/SET/DEL")


@test(BACKENDS, own=True, skerry_only=True)
def a_password_and_maxclients_hold_at_direct_ports_too(config):
    n = config.shards
    with start(config, "--requirepass", "secret", "--maxclients", "20") as s:
        with port_of(s, n - 1) as c:
            key = key_of(n - 1, n)
            check_equal(c.call(fcnp.GET, key, flags=7, shards=n), "NOAUTH Authentication required.")
            check_equal(c.call(fcnp.AUTH, b"default", b"secret"), Ok)
            check_equal(c.call(fcnp.GET, key, flags=7, shards=n), None)
            # Connections that have just gone away may still count.
            clients, refused = [port_of(s, i % n) for i in range(25)], 0
            for o in clients:
                try:
                    check_equal(o.call(fcnp.AUTH, b"default", b"secret"), Ok)
                except (fcnp.Wrong, fcnp.Closed, ConnectionError):
                    refused += 1
            check(6 <= refused < 20, f"{refused} of 26 were refused")
            for o in clients:
                o.close()


@test(ONCE, own=True, skerry_only=True)
def ports_that_cannot_be_had_are_refused_at_start(config):
    wide = config.but(workers=1, shards=64)
    for args, why in [
        (("--port", 20000, "--direct-base-port", 19990), "overlap port 20000"),
        (("--port", 20000, "--direct-base-port", 65500), "pass 65535"),
        (("--port", 65535), "pass 65535"),
        (("--port", 0), "need direct-base-port"),
        (("--port", 0, "--bind", "0.0.0.0", "--direct-base-port", 20000), "protected-mode"),
    ]:
        status, said = run_to_end(wide, "--direct-ports", "yes", *args)
        check_equal(status, 1, f"{args}: exit status")
        check(why in said, f"{args}: said {said[-200:]!r}")
    with start(config) as s:
        with free_range(1) as port:
            status, said = run_to_end(config, "--direct-ports", "yes", "--port", port, "--direct-base-port", s.base)
        check_equal(status, 1, "exit status when a port is taken")
        check("cannot listen" in said and "shard 0's" in said, f"said {said[-200:]!r}")
        check_equal(s.raw().call("CONFIG", "GET", "direct-*"), [b"direct-ports", b"yes", b"direct-base-port", str(s.base).encode()])


@test(ALL, own=True, skerry_only=True)
def many_clients_at_all_ports_agree(config):
    rng = random.Random(5)
    with start(config) as s, fcnp.Direct("127.0.0.1", s.port) as d, fcnp.Direct("127.0.0.1", s.port) as e, s.client() as r:
        model = {}
        for round in range(30):
            keys = [b"k%d" % rng.randrange(300) for _ in range(50)]
            writer = rng.choice((d, e))
            value = b"%d" % round * rng.randrange(1, 400)
            check_equal(writer.pipeline([(fcnp.SET, k, value) for k in keys]), [Ok] * 50)
            model.update((k, value) for k in keys)
            names = list(model)
            check_equal(r.call("MGET", *names), [model[k] for k in names])
            check_equal((e if writer is d else d).pipeline([(fcnp.GET, k) for k in names]), [model[k] for k in names])


@test(ALL, own=True, skerry_only=True)
def plain_and_other_frames_in_one_pipeline_answer_and_count_as_commands(config):
    n = config.shards
    with start(config) as s, s.client() as r:
        for shard in range(n):
            names = [k for k in (b"name:%d" % i for i in range(400 * n)) if fcnp.shard_of(k, n) == shard][:200]
            model = {k: b"v%07d" % i * (1 + i % 9) for i, k in enumerate(names[:150])}
            r.pipeline([("SET", k, v) for k, v in model.items()])
            r.pipeline([("PEXPIRE", k, "100000") for k in names[:150:10]])
            check_equal(r.must("CONFIG", "RESETSTAT"), "OK")
            rng, asked, want = random.Random(shard), [], []
            for i in range(3000):
                key = rng.choice(names) if i % 5 == 0 else rng.choice(names[:150])
                if i % 7 == 0:
                    model[key] = rng.choice((b"x" * len(model.get(key, b"")), b"y" * 600, b""))
                    asked.append((fcnp.SET, key, model[key]))
                    want.append(Ok)
                elif i % 97 == 0:
                    asked.append((fcnp.EXISTS, key))
                    want.append(int(key in model))
                else:
                    asked.append((fcnp.GET, key))
                    want.append(model.get(key))
            with port_of(s, shard) as c:
                for at in range(0, len(asked), 100):
                    check_equal(c.pipeline(asked[at:at + 100], flags=7, shards=n), want[at:at + 100], f"from {at} on")
            counts = {op: sum(a[0] == op for a in asked) for op in (fcnp.GET, fcnp.SET)}

            def counted():  # other workers' counters are refreshed ten times a second
                stats = dict(line.split(":", 1) for line in r.must("INFO", "everything").decode().splitlines() if ":" in line)
                return tuple(int(stats[f"cmdstat_{name}"].split("calls=")[1].split(",")[0]) for name in ("get", "set"))

            harness.wait_until(lambda: counted() == (counts[fcnp.GET], counts[fcnp.SET]), 10, f"calls to be {counts}")
