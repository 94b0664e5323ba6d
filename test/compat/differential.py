#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same commands to skerryd and to a Redis or Valkey server: every reply must be the same, to the byte and type.

  differential.py --ours 6380 --theirs 6379 [--seed 1] [--cases 600] [--only get,set] [--protocol 2] [--verbose]

Both servers lose all their data. Each command is the subject of its own round: batches of its generated argument shapes, between
commands that make and probe the state, over both protocols. A difference is printed with the commands that led to it; the round goes
on from empty databases. What may differ is listed in ALLOWED, with the reason. The reference is Valkey 8.0; against an older server
the entries marked with `before` apply too. Exit status 1 when something differs that may not."""

import argparse
import random
import socket
import sys
import time

MAX64 = 2**63 - 1
MIN64 = -2**63


# ---- replies: nested tuples (type, content), so that a null array is not a null string


class Closed(Exception):
    pass


class Connection:
    def __init__(self, port, protocol):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")
        if protocol == 3:
            self.call("HELLO", "3")

    def send(self, *commands):
        self.socket.sendall(b"".join(encode(c) for c in commands))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Closed(line)
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!":
            if int(rest) < 0:
                return (kind, None)
            body = self.file.read(int(rest) + 2)
            return (kind, body[:-2])
        if kind in b"*~>":
            if int(rest) < 0:
                return (kind, None)
            return (kind, [self.read() for _ in range(int(rest))])
        if kind == b"%":
            return (kind, [self.read() for _ in range(2 * int(rest))])
        return (kind, rest)

    def call(self, *command):
        self.send(command)
        return self.read()

    def close(self):
        self.file.close()
        self.socket.close()


def to_bytes(arg):
    return arg if isinstance(arg, bytes) else str(arg).encode()


def encode(command):
    parts = [to_bytes(a) for a in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def name_of(command):
    return to_bytes(command[0]).decode(errors="replace").lower()


# ---- what may differ


def integers_near(slack):
    return lambda command, ours, theirs: (
        ours[0] == theirs[0] == b":" and abs(int(ours[1]) - int(theirs[1])) <= slack and (int(ours[1]) < 0) == (int(theirs[1]) < 0)
    )


def same_members(command, ours, theirs):
    return ours[0] == theirs[0] and ours[1] is not None and theirs[1] is not None and sorted(map(repr, ours[1])) == sorted(map(repr, theirs[1]))


def same_kind(command, ours, theirs):
    return ours[0] == theirs[0] and (ours[1] is None) == (theirs[1] is None)


def same_shape(command, ours, theirs):
    return ours[0] == theirs[0] and isinstance(ours[1], list) and len(ours[1]) == len(theirs[1]) and ours[1][::2] == theirs[1][::2]


def both_errors(command, ours, theirs):
    return ours[0] == theirs[0] == b"-"


def is_sub(word):
    return lambda command: len(command) > 1 and to_bytes(command[1]).decode(errors="replace").lower() == word


def from_begin(command):
    return len(command) > 1 and to_bytes(command[1]).strip().lstrip(b"+-").isdigit()



def without_notes(reply):
    """Key specifications may carry remarks."""
    if not isinstance(reply[1], list):
        return reply
    content = [without_notes(x) for x in reply[1]]
    for at, item in enumerate(content):
        if item == (b"$", b"notes"):
            content = content[:at] + content[at + 2 :]
            break
    return (reply[0], content)


def same_but_notes(command, ours, theirs):
    return unordered(without_notes(ours)) == unordered(without_notes(theirs))


def encoding_of_float(command, ours, theirs):
    return {ours[1], theirs[1]} <= {b"int", b"embstr", b"raw"} and None not in (ours[1], theirs[1])


def any_reply(command, ours, theirs):
    return True


def same_begin(command, ours, theirs):
    return ours[0] == theirs[0] == b"-" and ours[1][:500] == theirs[1][:500] and len(ours[1]) >= 500


# command, condition on the command, when a difference is allowed, only for servers before this version, why
ALLOWED = [
    ("*", None, same_begin, None, "skerry cuts what an error quotes of the arguments at 512 bytes"),
    ("ttl", None, integers_near(1), None, "the clock goes on between the two servers"),
    ("pttl", None, integers_near(3000), None, "the clock goes on between the two servers"),
    ("expiretime", None, integers_near(3), None, "relative times to live begin when the server reads them"),
    ("pexpiretime", None, integers_near(3000), None, "relative times to live begin when the server reads them"),
    ("keys", None, same_members, None, "no order is promised"),
    ("randomkey", None, same_kind, None, "random"),
    ("time", None, same_kind, None, "the clock"),
    ("object", is_sub("idletime"), integers_near(5), None, "idle times are not kept; the reference shows its own"),
    ("object", is_sub("refcount"), integers_near(2**31), None, "Redis shares the objects of small integers, skerry shares nothing"),
    ("object", is_sub("help"), same_kind, None, "our own words"),
    ("object", is_sub("encoding"), encoding_of_float, None, "a whole number made by INCRBYFLOAT is int here and embstr there; a copied one likewise"),
    ("memory", is_sub("usage"), same_kind, None, "what a key takes differs"),
    ("memory", is_sub("help"), same_kind, None, "our own words"),
    ("slowlog", is_sub("help"), same_kind, None, "our own words"),
    ("slowlog", is_sub("get"), same_kind, None, "what was slow differs"),
    ("slowlog", is_sub("len"), same_kind, None, "what was slow differs"),
    ("latency", is_sub("doctor"), same_kind, None, "our own words"),
    ("latency", is_sub("help"), same_kind, None, "our own words"),
    ("command", is_sub("list"), same_members, None, "no order is promised"),
    ("command", is_sub("info"), same_but_notes, None, "remarks of the reference about its keys"),
    ("client", is_sub("list"), same_kind, None, "facts about one's own connections"),
    ("config", is_sub("set"), both_errors, None, "wording and ranges of options of our own"),
    ("lolwut", None, any_reply, None, "a picture of our own, with arguments of its own"),
    ("hello", None, same_shape, None, "the server's name, version and connection number"),
    ("command", is_sub("help"), same_kind, None, "our own words"),
    ("client", is_sub("help"), same_kind, None, "our own words"),
    ("config", is_sub("help"), same_kind, None, "our own words"),
    ("client", is_sub("id"), same_kind, None, "numbers of one's own"),
    ("scan", from_begin, same_kind, None, "cursors and order are the server's own; rounds of whole walks compare the keys"),
    ("scan", None, any_reply, (8, 0), "an unknown type is an error since Valkey 8.0"),
    ("bitcount", None, any_reply, (7, 2), "arguments are checked before the key is looked up since 7.2"),
    ("bitpos", None, any_reply, (7, 2), "arguments are checked before the key is looked up since 7.2"),
    ("copy", None, both_errors, (7, 2), "wording"),
    ("command", None, any_reply, (7, 2), "arities and errors of COMMAND's own subcommands changed"),
    ("client", None, any_reply, (7, 2), "SETINFO, NO-TOUCH and the error texts came with 7.2"),
]


def allowed(command, ours, theirs, version):
    for name, condition, rule, before, why in ALLOWED:
        if name not in ("*", name_of(command)) or (condition and not condition(command)):
            continue
        if before is not None and version >= before:
            continue
        if rule(command, ours, theirs):
            return True
    return False


# ---- arguments


class Shapes:
    """Draws arguments: mostly sensible ones, with the edges and some nonsense."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *choices):
        return self.r.choice(choices)

    def chance(self, p):
        return self.r.random() < p

    def key(self):
        return self.pick("k1", "k1", "k1", "k2", "k2", "k3", "k4", "missing", "", "k\r\n\x00", "k" * 300)

    def keys(self, low=1, high=5):
        return [self.key() for _ in range(self.r.randint(low, high))]

    def number(self):
        return self.pick(0, 1, 2, 3, 5, 7, 10, 99, -1, -2, -3, -10, 127, 128, 255, 256, 1000, self.r.randint(-70, 70))

    def edge(self):
        return self.pick(MAX64, MIN64, MAX64 - 1, MIN64 + 1, 2**63, -2**63 - 1, 2**64, 2**32, -2**31, 2**62, "1" * 30)

    def nonsense(self):
        return self.pick("", " ", "abc", " 1", "1 ", "+1", "-0", "01", "1.0", "1e5", "0x10", "1,5", "-", "nan", "inf", "\x00", "1\x00", "#1")

    def integer(self):
        x = self.r.random()
        return self.number() if x < 0.8 else self.edge() if x < 0.9 else self.nonsense()

    def floating(self):
        return self.pick(0, 1, -1, "1.5", "-2.25", "3.0e3", "1e-5", "5.0", "0.1", "1e17", "inf", "-inf", "nan", "1e400", "0x1p3", ".5", "5.", "1e",
                         " 1", "abc", "", 10**18, "3.14159265358979323846", "1e308", "123456789012345678901234567890", "-0", "+3", "infinity", "1e-400")

    def value(self):
        x = self.r.random()
        if x < 0.3:
            return self.integer()
        if x < 0.4:
            return self.floating()
        if x < 0.5:
            return bytes(self.r.randrange(256) for _ in range(self.r.randint(0, 20)))
        return self.pick("", "foobar", "hello world", "x" * 20, "x" * 44, "x" * 45, "\x00", "\xff\xff".encode("latin1"), "ohmytext", "mynewtext",
                         b"\xff\xf0\x00", b"\x00\x00\x0f", "y" * 1000, "12345678901234567890", "123456789012345678901")

    def word(self, *words):
        w = self.r.choice(words)
        return w if self.chance(0.6) else w.lower() if self.chance(0.7) else w.title()

    # Far enough away that nothing expires while a round runs.
    def seconds(self):
        return self.pick(100, 1000, 5000, 0, -1, MAX64, MAX64 // 1000, MAX64 // 1000 + 1, 10**9, 10**15, self.nonsense())

    def milliseconds(self):
        return self.pick(100000, 1000000, 0, -1, -5, MAX64, 10**12, MAX64 - 10**13, self.nonsense())

    def unix_seconds(self):
        return self.pick(4000000000, 1, 1000000000, 0, -1, 10**15, MAX64 // 1000, MAX64 // 1000 + 1, MAX64, self.nonsense())

    def unix_milliseconds(self):
        return self.pick(4000000000000, 1, 1000000000000, 0, -1, MAX64, MAX64 - 1, 10**17, self.nonsense())

    def time_option(self):
        return self.pick(["EX", self.seconds()], ["PX", self.milliseconds()], ["EXAT", self.unix_seconds()], ["PXAT", self.unix_milliseconds()])

    def small_offset(self):
        return self.pick(0, 1, 2, 3, 5, 6, 7, 10, 43, 44, 45, 100, 300, -1, 2**29, 2**29 + 1, 2**32, MAX64, MIN64, self.nonsense())

    def bit_offset(self):
        return self.pick(0, 1, 2, 3, 7, 8, 9, 15, 16, 23, 31, 63, 64, 100, 777, -1, 2**32, 2**33, MAX64, self.nonsense())


GENERATORS = {}


def generates(*names):
    def keep(function):
        for name in names:
            GENERATORS[name] = function
        return function

    return keep


def options_of(s, pool, most=3):
    out = []
    for _ in range(s.r.randint(0, most)):
        option = s.r.choice(pool)()
        out += option if isinstance(option, list) else [option]
    return out


@generates("get", "getdel", "strlen", "incr", "decr", "type", "ttl", "pttl", "expiretime", "pexpiretime", "persist")
def one_key(s, name):
    return [name, s.key()]


@generates("set")
def set_(s, name):
    pool = [lambda: s.word("NX"), lambda: s.word("XX"), lambda: s.word("GET"), lambda: s.word("KEEPTTL"), s.time_option, s.time_option]
    if s.chance(0.05):
        pool.append(lambda: s.pick("EX", "PX", "PERSIST", "FOO", ""))
    return [name, s.key(), s.value()] + options_of(s, pool)


@generates("getex")
def getex(s, name):
    pool = [s.time_option, lambda: s.word("PERSIST")]
    if s.chance(0.1):
        pool.append(lambda: s.pick("EX", "KEEPTTL", "NX", "FOO"))
    return [name, s.key()] + options_of(s, pool, 2)


@generates("setnx", "getset", "append")
def key_value(s, name):
    return [name, s.key(), s.value()]


@generates("setex", "psetex")
def setex(s, name):
    return [name, s.key(), s.seconds() if name == "setex" else s.milliseconds(), s.value()]


@generates("mget", "del", "unlink", "exists", "touch")
def many_keys(s, name):
    return [name] + s.keys(1, 40 if s.chance(0.05) else 5)


@generates("mset", "msetnx")
def mset(s, name):
    out = [name]
    for _ in range(s.r.randint(1, 40 if s.chance(0.05) else 4)):
        out += [s.key(), s.value()]
    return out + ([s.key()] if s.chance(0.1) else [])


@generates("getrange", "substr")
def getrange(s, name):
    return [name, s.key(), s.integer(), s.integer()]


@generates("setrange")
def setrange(s, name):
    return [name, s.key(), s.small_offset(), s.value()]


@generates("incrby", "decrby")
def incrby(s, name):
    return [name, s.key(), s.integer()]


@generates("incrbyfloat")
def incrbyfloat(s, name):
    return [name, s.key(), s.floating()]


@generates("lcs")
def lcs(s, name):
    pool = [lambda: s.word("LEN"), lambda: s.word("IDX"), lambda: s.word("WITHMATCHLEN"), lambda: [s.word("MINMATCHLEN"), s.integer()]]
    if s.chance(0.05):
        pool.append(lambda: s.pick("FOO", "MINMATCHLEN"))
    return [name, s.key(), s.key()] + options_of(s, pool)


@generates("setbit")
def setbit(s, name):
    return [name, s.key(), s.bit_offset(), s.pick(0, 1, 0, 1, 0, 1, 2, -1, "a", "")]


@generates("getbit")
def getbit(s, name):
    return [name, s.key(), s.bit_offset()]


@generates("bitcount")
def bitcount(s, name):
    out = [name, s.key()]
    if s.chance(0.8):
        out += [s.integer(), s.integer()]
    if s.chance(0.5):
        out.append(s.pick("BIT", "BYTE", "bit", "byte", "BIT", "FOO"))
    return out


@generates("bitpos")
def bitpos(s, name):
    out = [name, s.key(), s.pick(0, 1, 0, 1, 0, 1, 2, "a", -1)]
    for more in (s.integer(), s.integer(), s.pick("BIT", "BYTE", "bit", "FOO")):
        if s.chance(0.25):
            break
        out.append(more)
    return out


@generates("bitop")
def bitop(s, name):
    return [name, s.word("AND", "OR", "XOR", "NOT", "FOO"), s.key()] + s.keys(1, 4)


@generates("bitfield", "bitfield_ro")
def bitfield(s, name):
    def kind():
        return s.pick("u", "i", "u", "i", "U", "x", "") + str(s.pick(1, 2, 3, 4, 5, 8, 12, 16, 31, 32, 33, 63, 64, 0, 65, -1, "", "a"))

    def place():
        return s.pick("#" + str(s.pick(0, 1, 2, 3, 10, -1, "", "a", MAX64)), s.bit_offset())

    def sane_kind():
        return s.pick("u", "i") + str(s.r.randint(1, 63))

    def operation():
        k = sane_kind if s.chance(0.9) else kind
        what = s.r.random()
        if what < 0.3 or name == "bitfield_ro" and s.chance(0.9):
            return ["GET", k(), place()]
        if what < 0.5:
            # Not the far ends: the reference computes `max - value` for them with signed overflow.
            return ["SET", k(), place(), s.integer() if s.chance(0.2) and k is kind else s.number()]
        if what < 0.8:
            return ["INCRBY", k(), place(), s.integer()]
        return ["OVERFLOW", s.word("WRAP", "SAT", "FAIL", "FAIL", "SAT")]

    out = [name, s.key()] + options_of(s, [operation], 5)
    return out + (["FOO"] if s.chance(0.02) else [])


@generates("expire", "pexpire", "expireat", "pexpireat")
def expire(s, name):
    when = {"expire": s.seconds, "pexpire": s.milliseconds, "expireat": s.unix_seconds, "pexpireat": s.unix_milliseconds}[name]()
    return [name, s.key(), when] + options_of(s, [lambda: s.word("NX", "XX", "GT", "LT", "GT", "LT", "FOO")], 2)


@generates("keys")
def keys(s, name):
    return [name, s.pick("*", "k*", "k?", "k[12]", "k[^1]", "[a-m]*", "\\k1", "nothing", "", "*1*", "k[1-3]", "k[3-1]", "[", "k[", "[^", "k[\\1]", "**", "?",
                         "k*\x00", "*k*k*k*", "K1", "k[12", "k[1-", "k[-1]", "m[i-]ssing")]


@generates("scan")
def scan(s, name):
    pool = [lambda: [s.word("COUNT"), s.pick(1, 10, 100, 0, -1, "a", MAX64, 2**63)], lambda: [s.word("MATCH"), s.pick("*", "k*", "x")],
            lambda: [s.word("TYPE"), s.pick("string", "STRING", "list", "hash", "zset")]]
    if s.chance(0.1):
        pool.append(lambda: s.pick("FOO", "COUNT", "MATCH"))
    return [name, s.pick(0, 0, 0, 0, 0, "a", "-1", "", "1x", " 0", "18446744073709551616")] + options_of(s, pool)


@generates("dbsize", "randomkey", "time")
def nothing(s, name):
    return [name] + (["x"] if s.chance(0.1) else [])


@generates("flushall", "flushdb")
def flush(s, name):
    return [name] + options_of(s, [lambda: s.word("ASYNC", "SYNC", "FOO")], 1 if s.chance(0.8) else 2)


@generates("object")
def object_(s, name):
    return [name, s.word("ENCODING", "ENCODING", "ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "HELP", "FOO"), s.key()][: 3 if s.chance(0.9) else 2]


@generates("rename", "renamenx")
def rename(s, name):
    return [name, s.key(), s.key()]


@generates("copy")
def copy(s, name):
    pool = [lambda: s.word("REPLACE"), lambda: [s.word("DB"), s.pick(0, 1, 2, -1, 99, "a", MAX64)]]
    if s.chance(0.05):
        pool.append(lambda: s.pick("FOO", "DB"))
    return [name, s.key(), s.key()] + options_of(s, pool, 2)


@generates("move")
def move(s, name):
    return [name, s.key(), s.pick(0, 1, 1, 2, -1, 99, "a", MAX64, 2**31)]


@generates("memory")
def memory(s, name):
    return s.pick([name, "USAGE", s.key()], [name, "USAGE", s.key(), "SAMPLES", s.pick("0", "5", "-1", "a")], [name, "USAGE", s.key(), "SAMPLES"],
                  [name, "USAGE", s.key(), "FOO", "1"], [name, "USAGE"], [name, "FOO"], [name], [name, "PURGE", "x"], [name, "HELP"])


@generates("slowlog")
def slowlog(s, name):
    return s.pick([name], [name, "FOO"], [name, "GET", s.pick("0", "-2", "a", MAX64, "-1", "10", "")], [name, "GET", "1", "2"], [name, "LEN"],
                  [name, "LEN", "x"], [name, "RESET"], [name, "RESET", "x"], [name, "HELP"])


@generates("latency")
def latency(s, name):
    return s.pick([name], [name, "FOO"], [name, "LATEST"], [name, "LATEST", "x"], [name, "HISTORY", "x"], [name, "HISTORY"], [name, "RESET"],
                  [name, "RESET", "x", "y"], [name, "GRAPH", s.pick("x", "command")], [name, "GRAPH"], [name, "DOCTOR"], [name, "HISTOGRAM", "nonesuch"],
                  [name, "HELP"])


@generates("ping", "echo")
def ping(s, name):
    return [name] + [s.value() for _ in range(s.pick(0, 1, 1, 1, 2))]


@generates("select")
def select(s, name):
    return [name, s.pick(0, 1, 2, 15, 16, -1, "a", "", MAX64, 2**31, "1.5", " 1")]


@generates("client")
def client(s, name):
    return s.pick([name, "GETNAME"], [name, "SETNAME", s.pick("a", "a b", "", "x\n", "name:1", "\xe9")], [name, "ID"], [name, "ID", "x"],
                  [name, "SETINFO", s.pick("lib-name", "LIB-VER", "foo"), s.pick("a", "a b", "1.0", "")], [name, "NO-EVICT", s.pick("on", "OFF", "x")],
                  [name, "NO-TOUCH", s.pick("on", "OFF", "x")], [name, "FOO"], [name], [name, "GETREDIR"], [name, "REPLY", s.pick("ON", "x")],
                  [name, "KILL", "1.2.3.4:5"], [name, "KILL", "ID", s.pick("99999999", "a", "-1", "0")], [name, "KILL", "FOO", "x"],
                  [name, "KILL", "TYPE", "foo"], [name, "KILL", "ID", "99999999", "TYPE"], [name, "LIST", "TYPE", "foo"], [name, "LIST", "FOO"],
                  [name, "LIST", "ID", "a"], [name, "KILL", "SKIPME", "maybe"], [name, "KILL", "USER", "nobody"],
                  [name, "PAUSE", s.pick("a", "-1", "0")], [name, "PAUSE", "0", s.pick("WRITE", "ALL", "FOO")], [name, "UNPAUSE"], [name, "UNPAUSE", "x"],
                  [name, "UNBLOCK", s.pick("99999999", "a", "-1")], [name, "UNBLOCK", "99999999", s.pick("TIMEOUT", "ERROR", "FOO")],
                  [name, "TRACKING", s.pick("OFF", "FOO")], [name, "TRACKINGINFO"], [name, "CACHING", "YES"])


@generates("config")
def config(s, name):
    return s.pick([name], [name, "FOO"], [name, "GET"], [name, "GET", "nonesuch"], [name, "SET", "nonesuch", "1"], [name, "SET", "maxmemory"],
                  [name, "SET", "maxmemory", "a"], [name, "SET", "maxmemory", "0"], [name, "GET", "maxmemory"], [name, "GET", "maxmemory", "maxmemory"],
                  [name, "SET", "maxmemory-policy", "foo"], [name, "SET", "maxmemory", "0", "maxmemory", "0"], [name, "RESETSTAT", "x"],
                  [name, "SET", "timeout", "-1"], [name, "SET", "timeout", "0"], [name, "GET", "timeout"], [name, "SET", "port", "x"],
                  [name, "SET", "maxclients", "0"], [name, "GET", "TIMEOUT"], [name, "RESETSTAT"], [name, "GET", "proto-max-bulk-len"])


@generates("hello")
def hello(s, name):
    return s.pick([name, "1"], [name, "4"], [name, "a"], [name, MAX64], [name, "3", "FOO"], [name, "2", "AUTH", "x"], [name, "2", "AUTH", "default", "x"],
                  [name, "2", "SETNAME"], [name, "2", "SETNAME", "a b"], [name, "0"])


@generates("auth")
def auth(s, name):
    return s.pick([name], [name, "x"], [name, "default", "x"], [name, "nobody", "x"], [name, "a", "b", "c"])


@generates("lolwut")
def lolwut(s, name):
    return [name, "VERSION", s.pick("a", "")]


@generates("command")
def command(s, name):
    def inner():
        chosen = s.r.choice(sorted(SUBJECTS))
        return damaged(s, GENERATORS[chosen](s, chosen))

    return s.pick([name, "FOO"], [name, "COUNT", "x"], [name, "LIST", "FOO"], [name, "LIST", "FILTERBY"], [name, "LIST", "FILTERBY", "FOO", "x"],
                  [name, "LIST", "FILTERBY", "MODULE", "x"], [name, "LIST", "FILTERBY", "PATTERN", "ge[st]*"], [name, "LIST", "FILTERBY", "ACLCAT", "nonesuch"],
                  [name, "INFO", "nonesuch"], [name, "DOCS", "nonesuch"], [name, "INFO", s.r.choice(sorted(KEYED))], [name, "GETKEYS"],
                  [name, "GETKEYS", "nonesuch"], [name, "GETKEYS"] + inner(), [name, "GETKEYSANDFLAGS"] + inner(), [name, "GETKEYS"] + inner(),
                  [name, "INFO", s.r.choice(sorted(KEYED)).upper()])


@generates("multi", "exec", "discard", "unwatch")
def alone(s, name):
    return [name]


@generates("watch")
def watch(s, name):
    return [name] + s.keys(1, 4)


@generates("swapdb")
def swapdb(s, name):
    return [name, s.pick(0, 0, 1, 2, 15, 16, -1, s.edge()), s.pick(0, 1, 1, 2, 15, 16, s.nonsense())]


# Replies that hold the reference's own list of commands are not compared.
KEYED = {n for n in GENERATORS if n not in ("client", "config", "object", "command", "hello", "auth", "lolwut", "ping", "echo", "select", "time", "memory", "slowlog", "latency")}
SUBJECTS = set(GENERATORS)
# Not generated where a wrong arity would end the connection or the server.
UNDAMAGED = {"hello", "command", "config"}


def damaged(s, command):
    """Now and then an argument too many, too few, or of another kind."""
    if name_of(command) in UNDAMAGED or not s.chance(0.06):
        return command
    how = s.r.randrange(3)
    if how == 0 and len(command) > 1:
        return command[:-1]
    if how == 1:
        return command + [s.value()]
    at = s.r.randrange(1, len(command)) if len(command) > 1 else 0
    return command[:at] + [s.nonsense()] + command[at + 1 :] if at else command


def maker(s):
    """A command that makes state."""
    return s.pick(
        lambda: ["set", s.key(), s.value()],
        lambda: ["set", s.key(), s.integer()],
        lambda: ["set", s.key(), s.value(), "EX", 1000],
        lambda: ["append", s.key(), s.value()],
        lambda: ["setrange", s.key(), s.r.randint(0, 60), s.value()],
        lambda: ["setbit", s.key(), s.r.randint(0, 200), s.r.randint(0, 1)],
        lambda: ["pexpire", s.key(), 500000],
        lambda: ["persist", s.key()],
        lambda: ["incr", s.key()],
        lambda: ["del", s.key()],
    )()


def prober(s):
    key = s.key()
    return s.pick(["get", key], ["get", key], ["strlen", key], ["pttl", key], ["exists", key], ["object", "encoding", key], ["pexpiretime", key])


# ---- rounds


class Difference(Exception):
    pass


class Pair:
    def __init__(self, options, protocol):
        self.ours = Connection(options.ours, protocol)
        self.theirs = Connection(options.theirs, protocol)
        self.version = server_version(self.theirs)
        self.compared = 0

    def both(self, *command):
        self.ours.call(*command), self.theirs.call(*command)

    def fresh(self):
        self.both("DISCARD")
        self.both("UNWATCH")
        self.both("SELECT", "0")
        self.both("FLUSHALL")

    def compare(self, commands):
        """Sends all, then compares one by one; the first difference ends the batch."""
        # Valkey 8.0.1 forgets the rest of a pipeline behind failed AUTHs.
        if any(name_of(c) == "auth" for c in commands):
            answers = [(self.ours.call(*c), self.theirs.call(*c)) for c in commands]
        else:
            self.ours.send(*commands)
            self.theirs.send(*commands)
            answers = [(self.ours.read(), self.theirs.read()) for _ in commands]
        for i, (ours, theirs) in enumerate(answers):
            self.compared += 1
            if ours != theirs and not allowed(commands[i], ours, theirs, self.version) and unordered(ours) != unordered(theirs):
                raise Difference(explain(commands[: i + 1], ours, theirs))

    def close(self):
        self.ours.close()
        self.theirs.close()


def server_version(connection):
    info = connection.call("INFO", "server")[1].decode()
    fields = dict(line.split(":", 1) for line in info.split("\r\n") if ":" in line)
    text = fields.get("valkey_version") or fields["redis_version"]
    return tuple(int(p) for p in text.split(".")[:2])


def unordered(reply):
    """RESP3 sets have no order."""
    kind, content = reply
    if kind == b"~" and content is not None:
        return (kind, sorted(repr(unordered(x)) for x in content))
    if isinstance(content, list):
        return (kind, [unordered(x) for x in content])
    return reply


def show(command):
    return " ".join(repr(to_bytes(a))[1:] if len(to_bytes(a)) < 80 else f"({len(to_bytes(a))} bytes)" for a in command)


def touches(command, keys):
    return any(to_bytes(a) in keys for a in command[1:])


def explain(commands, ours, theirs):
    keys = {to_bytes(a) for a in commands[-1][1:]}
    before = [c for c in commands[:-1] if touches(c, keys)][-6:]
    lines = ["    " + show(c) for c in before] + ["  > " + show(commands[-1])]
    return "\n".join(lines + [f"    ours   {str(ours)[:600]}", f"    theirs {str(theirs)[:600]}"])


def round_of(pair, name, options, report):
    s = Shapes(f"{options.seed} {name}")
    done = 0
    while done < options.cases:
        pair.fresh()
        batch = [maker(s) for _ in range(8)]
        for _ in range(20):
            batch.append(damaged(s, GENERATORS[name](s, name)))
            if name not in ("select", "flushall", "flushdb"):
                batch.append(maker(s) if s.chance(0.5) else prober(s))
        # A key that a past deadline ended is gone here and waits for its sweep there: only DBSIZE can tell.
        done += 20
        try:
            pair.compare([b for b in batch if not in_the_past(b, name)])
        except Difference as d:
            report(name, str(d))


def in_the_past(command, subject):
    return subject == "dbsize" and name_of(command) == "set" and len(command) > 5


def walk(connection, *options):
    found, cursor = set(), "0"
    for _ in range(100000):
        reply = connection.call("SCAN", cursor, *options)
        cursor = reply[1][0][1].decode()
        found |= {k[1] for k in reply[1][1][1]}
        if cursor == "0":
            return found
    raise Difference("    SCAN does not end")


def whole_walks(pair, options, report):
    pair.fresh()
    for i in range(0, 3000, 100):
        pair.both("MSET", *[x for k in range(i, i + 100) for x in (f"key:{k}", "v")])
    for extra in ([], ["COUNT", "1000"], ["MATCH", "key:1*"], ["TYPE", "string"], ["TYPE", "list"], ["MATCH", "key:[1-3]?", "COUNT", "7"]):
        pair.compared += 1
        if walk(pair.ours, *extra) != walk(pair.theirs, *extra):
            report("scan", f"    a walk with {extra} finds other keys")
    pair.fresh()


# Whose replies are the same everywhere, so that EXEC's array is.
IN_MULTI = ("get set append incr incrby mget mset msetnx del unlink exists touch rename renamenx copy getrange setrange strlen bitcount setbit "
            "getbit bitop lcs getset getdel setnx type dbsize ping echo select swapdb flushdb persist bitfield watch multi discard unwatch").split()


def transactions(pair, options, report):
    s = Shapes(f"{options.seed} transactions")
    for _ in range(0, options.cases, 10):
        pair.fresh()
        batch = [maker(s) for _ in range(8)]
        for _ in range(6):
            if s.chance(0.5):
                batch.append(["watch"] + s.keys(1, 3))
            if s.chance(0.4):
                name = s.r.choice(IN_MULTI)
                batch.append(GENERATORS[name](s, name))
            batch.append(["multi"])
            for _ in range(s.r.randint(0, 6)):
                name = s.r.choice(IN_MULTI)
                batch.append(damaged(s, GENERATORS[name](s, name)))
            batch.append(["exec"] if s.chance(0.85) else ["discard"])
            batch += [prober(s), prober(s)]
        try:
            pair.compare([b for b in batch if not in_the_past(b, "dbsize")])
        except Difference as d:
            report("transactions", str(d))
    pair.fresh()


def wrong_arity(pair, options, report):
    """Every command and subcommand with 0 to 6 arguments that mean nothing, unless it might be obeyed."""
    names = [n[1].decode() for n in pair.ours.call("COMMAND", "LIST")[1]]
    obeyed = {"quit", "shutdown", "reset", "client|reply", "client|kill", "command", "info", "lolwut", "hello", "config|rewrite", "time", "client|list",
              "client|info", "client|id", "flushall", "flushdb"}
    for name in sorted(names):
        if name.split("|")[0] not in GENERATORS or name in obeyed or name.startswith("command|") or name.endswith("|help"):
            continue
        for count in range(7):
            pair.fresh()
            try:
                pair.compare([name.split("|") + ["zz"] * count])
            except Difference as d:
                report(name, str(d))
    for junk in ("nonesuch", "GETT", "ge", "", "g\r\n", "\x00", "client|list", "x" * 200):
        for args in ([], ["a"], ["a b", "c\r\n"], ["y" * 200, "z"]):
            try:
                pair.compare([[junk] + args])
            except Difference as d:
                report("unknown", str(d))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ours", type=int, required=True)
    parser.add_argument("--theirs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=600, help="of each command and protocol")
    parser.add_argument("--only", default="", help="commands, with commas between")
    parser.add_argument("--protocol", type=int, choices=(2, 3))
    parser.add_argument("--shown", type=int, default=3, help="differences printed of each command")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    found = {}

    def report(name, text):
        found[name] = found.get(name, 0) + 1
        if found[name] <= options.shown:
            print(f"DIFFERENCE {name} (RESP{protocol})\n{text}")

    compared = 0
    started = time.monotonic()
    for protocol in (options.protocol,) if options.protocol else (2, 3):
        names = [n for n in sorted(GENERATORS) if not only or n in only]
        rounds = [(n, lambda p, n=n: round_of(p, n, options, report)) for n in names]
        if not only or "transactions" in only:
            rounds += [("transactions", lambda p: transactions(p, options, report))]
        if not only:
            rounds += [("scan", lambda p: whole_walks(p, options, report)), ("arity", lambda p: wrong_arity(p, options, report))]
        for name, one in rounds:
            pair = Pair(options, protocol)
            try:
                one(pair)
            except (Closed, OSError) as e:
                report(name, f"    the connection ended: {e!r}")
            compared += pair.compared
            pair.close()
    print(f"{compared} replies compared in {time.monotonic() - started:.0f} s")
    print(f"{len(SUBJECTS) + 3 - len(found)} passed, {len(found)} failed" + (": " + ", ".join(f"{n} {c}" for n, c in sorted(found.items())) if found else ""))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
