# SPDX-License-Identifier: Apache-2.0
"""A client of FCNP version 2, written from the protocol's specification and not from the server.

    c = Fanout("127.0.0.1", 6380)         one connection; the server routes
    c.call(SET, key=b"k", value=b"v")     one opcode, its reply as Python has it
    d = Direct("127.0.0.1", 6380)         HELLO, then a connection to each shard's own port; the client routes

Replies: OK is Ok, Null None, Error Error, Integer int, Value bytes, Boolean bool, Array list (None for null items), Float float.
"""

import ctypes
import ctypes.util
import socket
import struct

MAGIC, REPLY_MAGIC, VERSION = 0xFA, 0xFB, 2
HASH, SHARD, TAG = 1, 2, 4
ROUTED = HASH | SHARD | TAG

GET, SET, SETEX, GETEX, DELETE, EXISTS, TTL, EXPIRE, PING, MGET, MSET = range(1, 12)
HSET, HGET, HDEL, HLEN, HMGET = range(20, 25)
LPUSH, RPUSH, LPOP, RPOP, LLEN, LINDEX, LRANGE = range(30, 37)
SADD, SREM, SISMEMBER, SCARD, SMEMBERS = range(40, 45)
ZADD, ZREM, ZSCORE, ZCARD, ZRANGE = range(50, 55)
AUTH, HELLO, SELECT, QUIT, ECHO, INFO, COMMAND, COMMAND_DOCS, CONFIG_GET, DBSIZE, TIME = range(60, 71)
CLIENT_GETNAME, CLIENT_SETNAME, CLIENT_ID, CLIENT_LIST, CLIENT_KILL = range(71, 76)
RESP_COMMAND = 200


class Error(str):
    """An error reply."""


class Ok:
    """The reply without a body."""


class Closed(Exception):
    """The server ended the connection."""


class Wrong(Exception):
    """The server's bytes are no FCNP."""


def _load_hash():
    library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    library.XXH3_64bits.restype = ctypes.c_uint64
    library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return library.XXH3_64bits


_xxh3 = None


def key_hash(key):
    global _xxh3
    _xxh3 = _xxh3 or _load_hash()
    return _xxh3(key, len(key))


def session_prefix(key):
    at = key.rfind(b":c:")
    return key[:at] if key.startswith(b"s:") and at >= 0 else key


def shard_of(key, shards, mode="full_key"):
    return shard_of_hash(key_hash(session_prefix(key) if mode == "session_prefix" else key), shards)


def shard_of_hash(hashed, shards):
    if shards == 1:
        return 0
    return ((hashed << 7) & (2**64 - 1)) >> (64 - (shards.bit_length() - 1))


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def text(data):
    return u32(len(data)) + data


def texts(items):
    return u32(len(items)) + b"".join(map(text, items))


def frame(opcode, body=b"", flags=0, prefix=b""):
    return bytes((MAGIC, VERSION, opcode, flags)) + u32(len(prefix) + len(body)) + prefix + body


def prefix_of(key, flags, shards=1, mode="full_key"):
    h = key_hash(key) if flags else 0
    return b"".join([u64(h) if flags & HASH else b"", u32(shard_of(key, shards, mode)) if flags & SHARD else b"",
                     u64(h >> 56) if flags & TAG else b""])


# What follows the prefix, by opcode; `k`, `v` and so on are the words of call().
_KV = lambda key, value: u32(len(key)) + u32(len(value)) + key + value
BODY = {
    GET: lambda key: u32(len(key)) + key,
    SET: _KV,
    SETEX: lambda key, value, ttl_ms: u64(ttl_ms) + _KV(key, value),
    GETEX: lambda key, ttl_ms: u64(ttl_ms) + text(key),
    DELETE: text,
    EXISTS: text,
    TTL: text,
    EXPIRE: lambda key, ttl_ms: u64(ttl_ms) + text(key),
    PING: lambda payload=b"": payload,
    MGET: texts,
    MSET: lambda pairs: u32(len(pairs)) + b"".join(_KV(k, v) for k, v in pairs),
    HSET: lambda key, field, value: u32(len(key)) + u32(len(field)) + u32(len(value)) + key + field + value,
    HGET: _KV, HDEL: _KV, HLEN: text,
    HMGET: lambda key, items: text(key) + texts(items),
    LPUSH: lambda key, items: text(key) + texts(items), RPUSH: lambda key, items: text(key) + texts(items),
    LPOP: text, RPOP: text, LLEN: text,
    LINDEX: lambda key, index: struct.pack("<q", index) + text(key),
    LRANGE: lambda key, start, stop: struct.pack("<qq", start, stop) + text(key),
    SADD: lambda key, items: text(key) + texts(items), SREM: lambda key, items: text(key) + texts(items),
    SISMEMBER: _KV, SCARD: text, SMEMBERS: text,
    ZADD: lambda key, member, score: struct.pack("<d", score) + _KV(key, member),
    ZREM: _KV, ZSCORE: _KV, ZCARD: text,
    ZRANGE: lambda key, start, stop: struct.pack("<qq", start, stop) + text(key),
    AUTH: lambda user=None, password=None: b"" if user is None else text(user) + text(password),
    HELLO: lambda proto=None: b"" if proto is None else u64(proto),
    SELECT: u64, QUIT: lambda: b"", ECHO: text, INFO: lambda: b"", COMMAND: lambda: b"", COMMAND_DOCS: lambda: b"",
    CONFIG_GET: texts, DBSIZE: lambda: b"", TIME: lambda: b"",
    CLIENT_GETNAME: lambda: b"", CLIENT_SETNAME: text, CLIENT_ID: lambda: b"", CLIENT_LIST: lambda: b"",
    CLIENT_KILL: lambda address=None: b"" if address is None else text(address),
    RESP_COMMAND: lambda *argv: texts(argv),
}


def encode(opcode, *args, flags=0, shards=1, mode="full_key"):
    """The whole frame. With flags, the prefix is that of the request's key: the first operand, or argv[1]."""
    key = args[1 if opcode == RESP_COMMAND else 0] if flags else b""
    return frame(opcode, BODY[opcode](*args), flags, prefix_of(key, flags, shards, mode))


def decode_array(body):
    (count,), at, items = struct.unpack_from("<I", body), 4, []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", body, at)
        at += 4
        if length == 0xFFFFFFFF:
            items.append(None)
            continue
        if at + length > len(body):
            raise Wrong("an item beyond the end of its array")
        items.append(body[at : at + length])
        at += length
    if at != len(body):
        raise Wrong("bytes behind the last item of an array")
    return items


def decode(status, body):
    def length(*wanted):
        if len(body) not in wanted:
            raise Wrong(f"status {status} with {len(body)} bytes")

    if status in (0, 1):
        length(0)
        return (Ok, None)[status]
    if status == 2:
        return Error(body.decode(errors="replace"))
    if status == 3:
        length(8)
        return struct.unpack("<q", body)[0]
    if status == 4:
        return body
    if status == 5:
        length(1)
        return body != b"\0"
    if status == 6:
        return decode_array(body)
    if status == 7:
        length(8)
        return struct.unpack("<d", body)[0]
    raise Wrong(f"status {status}")


class Connection:
    """Bytes there, replies back."""

    def __init__(self, host, port, timeout=60):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def take(self, count):
        parts, have = [self.buffer], len(self.buffer)
        while have < count:
            data = self.sock.recv(max(65536, min(count - have, 1 << 20)))
            if not data:
                raise Closed()
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.buffer = whole[count:]
        return whole[:count]

    def read_frame(self):
        head = self.take(8)
        if head[0] != REPLY_MAGIC or head[1] != VERSION or head[3] != 0:
            raise Wrong(f"a reply begins {head.hex()}")
        return head[2], self.take(struct.unpack_from("<I", head, 4)[0])

    def read(self):
        return decode(*self.read_frame())

    def call(self, opcode, *args, **route):
        self.send(encode(opcode, *args, **route))
        return self.read()

    def pipeline(self, requests, **route):
        self.send(b"".join(encode(*r, **route) for r in requests))
        return [self.read() for _ in requests]

    def at_end(self):
        """True when the server closes without another byte."""
        try:
            return self.buffer == b"" and self.sock.recv(1) == b""
        except ConnectionError:
            return True


def topology(connection):
    reply = connection.call(HELLO)
    if isinstance(reply, Error):
        raise Wrong(f"HELLO: {reply}")
    return {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2])}


class Fanout(Connection):
    """The server routes."""


class Direct:
    """A connection to each shard's own port; requests with one key go to its owner."""

    def __init__(self, host, port, password=None):
        self.shards = []
        with Connection(host, port) as c:
            if password is not None and c.call(AUTH, b"default", password) is not Ok:
                raise Wrong("AUTH refused")
            self.topology = topology(c)
        if self.topology["direct_base_port"] == "":
            raise Wrong("the server has no direct ports")
        self.count, self.mode = int(self.topology["shards"]), self.topology["route_mode"]
        base = int(self.topology["direct_base_port"])
        for shard in range(self.count):
            self.shards.append(Connection(host, base + shard))
            if password is not None:
                self.shards[-1].call(AUTH, b"default", password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for c in self.shards:
            c.close()

    def of(self, key):
        return self.shards[shard_of(key, self.count, self.mode)]

    def call(self, opcode, key, *args):
        return self.of(key).call(opcode, key, *args, flags=ROUTED, shards=self.count, mode=self.mode)

    def pipeline(self, requests):
        """Split by shard, answered in the order asked."""
        for opcode, key, *args in requests:
            self.of(key).send(encode(opcode, key, *args, flags=ROUTED, shards=self.count, mode=self.mode))
        return [self.of(key).read() for _, key, *_ in requests]
