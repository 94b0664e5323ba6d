# SPDX-License-Identifier: Apache-2.0
"""The server is the same one whatever io_uring goes without, and while its workers never sleep."""

import os

from harness import ONCE, Client, Server, Skip, check, check_equal, encode, run_to_end, test

FEATURES = ["multishot-accept", "multishot-recv", "provided-buffers", "registered-ring", "defer-taskrun", "batching"]
# Shown only where it is missing and was wanted: deferred task work takes its place.
COOP = "coop-taskrun"


def uring(config):
    status, said = run_to_end(config.but(io="uring"), "--check-config")
    check_equal(status, 0, said)
    try:
        with Server(config.but(io="uring")):
            pass
    except Exception as error:
        raise Skip(f"no io_uring here: {error}") from None
    return config.but(io="uring")


def reactors_of(c):
    """The numbers of all workers, summed: which of them got a connection is the kernel's choice."""
    total = {}
    for line in c.must("INFO", "reactors").decode().split("\r\n"):
        if line.startswith("worker"):
            for name, value in (part.split("=") for part in line.split(":", 1)[1].split(",")):
                total[name] = total.get(name, 0) + int(value) if value.isdigit() else value
    return total


def serves(s):
    """Accepts, receives pieces and large values, sends more than a socket takes, closes."""
    big = os.urandom(3 << 20)
    crowd = [Client(s.address) for _ in range(40)]
    for i, c in enumerate(crowd):
        c.send(encode("SET", f"key{i}", str(i)) + encode("GET", f"key{i}"))
    for i, c in enumerate(crowd):
        check_equal([c.read(), c.read()], ["OK", str(i).encode()], "a crowd")
        c.close()
    with s.client() as c:
        check_equal(c.call("SET", "big", big), "OK", "SET of 3 MiB")
        check_equal(c.pipeline([("GET", "big")] * 4), [big] * 4, "GET of 3 MiB")
        c.send_slowly(encode("GET", "key7"))
        check_equal(c.read(), b"7", "a request in pieces")
        check_equal(c.pipeline([("INCR", "n")] * 500), list(range(1, 501)), "a pipeline")
        return reactors_of(c)


@test(ONCE, own=True, skerry_only=True, seconds=60)
def each_feature_of_io_uring_can_be_missing(config):
    config = uring(config)
    for names in FEATURES + ["defer-taskrun " + COOP, " ".join(FEATURES + [COOP])]:
        with Server(config, "--io-without", *names.split()) as s:
            got = serves(s)
            check("goes without " in s.log(), f"the log tells what is missing: {s.log()!r}")
            for name in names.split():
                check(name in s.log(), f"{name} is named in the log")
        check_equal(got["backend"], "io_uring", names)
        check(int(got["sqes"]) > 0 and int(got["cqes"]) > 0 and int(got["received"]) > 3 << 20 and int(got["bytes_copied"]) > 0, got)


@test(ONCE, own=True, skerry_only=True)
def without_batching_there_is_a_system_call_for_each_entry(config):
    config = uring(config)
    with Server(config, "--io-without", "batching") as s:
        alone = serves(s)
    with Server(config) as s:
        together = serves(s)
    check(int(alone["enters"]) >= int(alone["sqes"]), f"one by one: {alone}")
    check(int(together["enters"]) > 0, together)


@test(ONCE, own=True, skerry_only=True)
def a_busy_server_never_sleeps(config):
    for io in ("uring", "epoll"):
        with Server(uring(config).but(io=io), "--busy-poll", "yes") as s:
            got = serves(s)
        check_equal(got["sleeps"], 0, f"sleeps on {io}")


@test(ONCE, own=True, skerry_only=True)
def what_cannot_be_switched_off_is_refused(config):
    for io, names, reason in (("uring", ["sleeping"], "'sleeping'"), ("epoll", ["batching"], "epoll has none")):
        status, said = run_to_end(config.but(io=io), "--io-without", *names)
        check_equal(status, 1, "exit status")
        check(reason in said, f"the reason is told: {said!r}")
