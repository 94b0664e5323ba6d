# SPDX-License-Identifier: Apache-2.0
"""The admin port: GET /metrics in Prometheus' text format, strictly parsed, and whatever else is sent there."""

import random
import re
import socket

from harness import ALL, BACKENDS, ONCE, SLOW, Server, check, check_equal, encode, free_port, run_to_end, test, wait_until

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r"(%s)(?:\{(.*)\})? (\S+)" % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')


def exchange(port, request, seconds=20):
    """Everything that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds * SLOW) as sock:
        data = b""
        try:
            sock.sendall(request)
            while True:
                more = sock.recv(65536)
                if not more:
                    return data
                data += more
        except (ConnectionResetError, BrokenPipeError):
            return data


def get(port, path="/metrics", version="1.1"):
    data = exchange(port, f"GET {path} HTTP/{version}\r\nHost: x\r\nUser-Agent: test\r\n\r\n".encode())
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    check_equal(int(headers["Content-Length"]), len(body), "Content-Length")
    return int(lines[0].split(" ")[1]), headers, body


def labels_of(text):
    found, at = {}, 0
    while at < len(text or ""):
        m = LABEL.match(text, at)
        check(m, f"labels: {text!r}")
        check(m.group(1) not in found, f"a label twice: {text!r}")
        found[m.group(1)] = m.group(2)
        at = m.end()
    return found


def parse(text):
    """{family: (type, {(name, labels): value})}; raises on anything that the format does not allow."""
    check(text.endswith("\n"), "the last line ends")
    families, name = {}, None
    helped = set()
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            check(re.fullmatch(NAME, name) and name not in helped, f"HELP of a family comes once: {line!r}")
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, typed, kind = line.split(" ")
            check(typed == name and name not in families and kind in ("counter", "gauge", "histogram"), f"TYPE stands behind HELP: {line!r}")
            families[name] = (kind, {})
        else:
            m = SAMPLE.fullmatch(line)
            check(m and name in families, f"a sample: {line!r}")
            kind, samples = families[name]
            allowed = [name + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name]
            check(m.group(1) in allowed, f"the sample belongs to the family above it: {line!r}")
            key = (m.group(1), tuple(sorted(labels_of(m.group(2)).items())))
            check(key not in samples, f"a sample comes once: {line!r}")
            value = float(m.group(3))
            check(value >= 0, f"no number is negative: {line!r}")
            samples[key] = value
    for family, (kind, samples) in families.items():
        check(kind != "counter" or family.endswith("_total"), f"counters end in _total: {family}")
        if kind == "histogram":
            check_histogram(family, samples)
    return families


def check_histogram(family, samples):
    series = {}
    for (name, labels), value in samples.items():
        rest = tuple(l for l in labels if l[0] != "le")
        series.setdefault(rest, {})[(name[len(family):], dict(labels).get("le"))] = value
    for rest, values in series.items():
        buckets = sorted((float(le), v) for (end, le), v in values.items() if end == "_bucket")
        check([b[1] for b in buckets] == sorted(b[1] for b in buckets), f"{family}{rest}: buckets rise")
        check(buckets[-1][0] == float("inf") and buckets[-1][1] == values[("_count", None)], f"{family}{rest}: +Inf is the count")
        check(("_sum", None) in values, f"{family}{rest}: a sum")


def whole(value):
    return int(value) if value == int(value) else value


def one(families, name, **labels):
    return whole(families["skerry_" + name][1].get(("skerry_" + name, tuple(sorted(labels.items()))), 0))


@test(ALL, own=True, skerry_only=True)
def a_scrape_tells_what_happened(config):
    port = free_port()
    with Server(config, "--admin-port", port) as s:
        with s.client() as c:
            for i in range(200):
                c.must("SET", f"k{i}", "v")
                c.must("GET", f"k{i}")
            c.must("GET", "nothing")
            c.call("INCR", "k1")
            c.call("GET")
            c.must("DEL", *[f"k{i}" for i in range(100)])

            def settled():
                status, headers, body = get(port)
                check_equal(status, 200, "status")
                check_equal(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8", "type")
                families = parse(body.decode())
                return families if one(families, "keys") == 100 and one(families, "connected_clients") == 1 else None

            f = wait_until(settled, 30, "a scrape of 100 keys")
            check_equal(one(f, "connected_clients"), 1, "clients: the scraper is none")
            check_equal(one(f, "commands_total", command="set"), 200, "SET")
            check_equal(one(f, "commands_total", command="get"), 201, "GET")
            check_equal(one(f, "commands_failed_total", command="incr"), 1, "failed INCR")
            check_equal(one(f, "commands_rejected_total", command="get"), 1, "rejected GET")
            check_equal(whole(sum(v for (_, l), v in f["skerry_errors_total"][1].items() if dict(l)["code"] == "ERR")), 2, "errors")
            check_equal(whole(sum(f["skerry_shard_keys"][1].values())), 100, "keys of all shards")
            check_equal(len(f["skerry_shard_keys"][1]), config.shards, "shards")
            check_equal(one(f, "database_keys", db="0"), 100, "keys of database 0")
            check_equal(len(f["skerry_reactor_turns_total"][1]), config.workers, "workers")
            check(all(v > 0 for v in f["skerry_reactor_turns_total"][1].values()), "all took turns")
            check(one(f, "memory_used_bytes") > 0 and one(f, "memory_resident_bytes") > 0 and one(f, "uptime_seconds") > 0, "gauges")
            durations = f["skerry_command_duration_seconds"][1]
            check(durations[("skerry_command_duration_seconds_count", (("family", "string"),))] > 0, "durations of strings")
            check(b"cmd=" in c.must("CLIENT", "LIST") and c.must("CLIENT", "LIST").count(b"\n") == 1, "CLIENT LIST shows no scrapers")
            again = parse(get(port)[2].decode())
            for family, (kind, samples) in f.items():
                for key, value in samples.items():
                    if kind == "counter":
                        check(again[family][1].get(key, 0) >= value, f"a counter never falls: {key}")
        check_equal(get(port, version="1.0")[0], 200, "HTTP/1.0")
        check_equal(get(port, "/metrics?format=x")[0], 200, "a query")
        check_equal(get(port, "/")[0], 404, "another path")


@test(BACKENDS, own=True, skerry_only=True, seconds=60)
def the_admin_port_survives_whatever_is_sent(config):
    port = free_port()
    with Server(config, "--admin-port", port) as s:
        for request, want in ((b"POST /metrics HTTP/1.1\r\n\r\n", 405), (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405), (b"GET /metrics HTTP/3.0\r\n\r\n", 505),
                              (encode("FLUSHALL"), 400), (b"GET\r\n\r\n", 400), (b"\r\n\r\n", 400), (b"\x00\xff\n", 400), (b"\xfa\x01\n\n", 400),
                              (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 20000, 431), (b"G" * 9000, 431)):
            data = exchange(port, request)
            # Who is told to stop while still sending may see the connection's end only.
            check(data.startswith(b"HTTP/1.1 %d " % want) or want == 431 and not data, f"{request[:30]!r}: {data[:40]!r}")
        generator = random.Random(7)
        for _ in range(100):
            exchange(port, bytes(generator.randrange(256) for _ in range(generator.randrange(1, 300))) + b"\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port), timeout=20 * SLOW) as slow:
            for byte in b"GET /metrics HTTP/1.1\r\n\r\n":
                slow.sendall(bytes([byte]))
            check(slow.recv(15) == b"HTTP/1.1 200 OK", "byte by byte")
        # More than it takes at a time: the others are closed, and places come free again.
        crowd = [socket.create_connection(("127.0.0.1", port), timeout=20 * SLOW) for _ in range(40)]
        closed = 0
        for sock in crowd[16:]:
            try:
                closed += sock.recv(1) == b""
            except ConnectionResetError:
                closed += 1
        check_equal(closed, 24, "connections beyond sixteen")
        for sock in crowd:
            sock.close()
        wait_until(lambda: exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200"), 30, "a free place")
        with s.client() as c:
            check_equal(c.must("PING"), "PONG", "the clients never noticed")


@test(ONCE, own=True, skerry_only=True)
def the_admin_port_is_off_unless_asked_for_and_cannot_be_shared(config):
    with Server(config) as s:
        with s.client() as c:
            check_equal(c.must("CONFIG", "GET", "admin-port"), [b"admin-port", b"0"], "default")
            check_equal(c.must("CONFIG", "GET", "admin-bind"), [b"admin-bind", b"127.0.0.1"], "default")
        status, said = run_to_end(config, "--port", free_port(), "--admin-port", s.port)
        check(status == 1 and "admin-port" in said, f"a port in use: {status}, {said[-200:]!r}")


@test(ONCE, own=True, skerry_only=True, seconds=90)
def who_says_nothing_to_the_admin_port_is_closed(config):
    port = free_port()
    with Server(config, "--admin-port", port):
        with socket.create_connection(("127.0.0.1", port), timeout=60 * SLOW) as idle:
            idle.sendall(b"GET /metr")
            check_equal(idle.recv(1), b"", "the end")
