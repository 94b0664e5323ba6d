#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small FCNP v2 server written from the specification, for the client's tests: strings, HELLO, AUTH, direct ports, strict about every
byte of a request. Prints its port. It knows nothing of the client's or the server's code: hashes come from the client's program
(--hasher PROGRAM: reads hex keys, answers "full session"), since the standard library has no XXH3.

  fake_server.py [--port 0] [--shards 4] [--direct] [--session-prefix] [--password P] [--epoch 1] --hasher PROGRAM"""

import argparse
import math
import random
import socket
import struct
import subprocess
import threading
import time

OK, NULL, ERROR, INTEGER, VALUE, BOOLEAN, ARRAY, FLOAT = range(8)


class Hasher:
    """One program behind a pipe; what it said is remembered."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lock, self.known = threading.Lock(), {}

    def __call__(self, key):
        with self.lock:
            if key not in self.known:
                self.process.stdin.write(key.hex() + "\n")
                self.process.stdin.flush()
                self.known[key] = tuple(int(h, 16) for h in self.process.stdout.readline().split())
            return self.known[key]


class Wrong(Exception):
    """A protocol error: said, then the connection is closed."""


def reply(status, body=b""):
    return struct.pack("<BBBBI", 0xFB, 2, status, 0, len(body)) + body


def integer(n):
    return reply(INTEGER, struct.pack("<q", n))


def error(text):
    return reply(ERROR, text.encode())


def array(items):
    body = struct.pack("<I", len(items))
    for item in items:
        body += struct.pack("<I", 0xFFFFFFFF) if item is None else struct.pack("<I", len(item)) + item
    return reply(ARRAY, body)


class Body:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Wrong("ERR FCNP truncated body")
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def u64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def counted(self):
        return self.take(self.u32())

    def end(self):
        if self.at != len(self.data):
            raise Wrong("ERR FCNP trailing bytes")


class Store:
    def __init__(self):
        self.lock, self.values = threading.Lock(), {}

    def get(self, key):
        value, expires = self.values.get(key, (None, None))
        if expires is not None and expires <= time.time():
            del self.values[key]
            return None
        return value

    def ttl(self, key):
        if self.get(key) is None:
            return -2
        expires = self.values[key][1]
        return -1 if expires is None else math.ceil(expires - time.time())


class FakeServer:
    def __init__(self, options):
        self.o, self.store, self.hash = options, Store(), Hasher(options.hasher)
        self.keyed = 0
        while True:
            # Below the ports that the kernel gives to clients; and so that a restart with up to 16 shards finds its ports free.
            self.listeners, self.port = [], options.port or random.randrange(10000, 32000, 17)
            try:
                self.listen()
                break
            except OSError:  # a direct port is taken
                for listener in self.listeners:
                    listener.close()
                if options.port:
                    raise
        for shard, listener in enumerate(self.listeners, -1):
            threading.Thread(target=self.accept, args=(listener, None if shard < 0 else shard), daemon=True).start()

    def listen(self):
        for i in range(1 + (self.o.shards if self.o.direct else 0)):
            listener = socket.socket()
            self.listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port + i))
            listener.listen(64)

    def accept(self, listener, shard):
        while True:
            sock = listener.accept()[0]
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock, shard), daemon=True).start()

    def serve(self, sock, shard):
        stream = sock.makefile("rb")
        allowed = self.o.password is None
        try:
            while True:
                header = stream.read(8)
                if len(header) < 8:
                    return
                magic, version, opcode, flags, length = struct.unpack("<BBBBI", header)
                if magic != 0xFA or version != 2:
                    raise Wrong("ERR FCNP bad magic or version")
                data = stream.read(length)
                if len(data) < length:
                    return
                if opcode == 60:
                    answer = self.auth(Body(data))
                    allowed = allowed or answer == reply(OK)
                elif not allowed:
                    answer = error("NOAUTH Authentication required.")
                else:
                    answer = self.answer(opcode, flags, Body(data), shard)
                sock.sendall(answer)
        except Wrong as why:
            sock.sendall(error(str(why)))
        except OSError:
            pass
        finally:
            stream.close()
            sock.close()

    def auth(self, body):
        user, password = body.counted(), body.counted()
        body.end()
        if self.o.password is not None and (user, password) == (b"default", self.o.password.encode()):
            return reply(OK)
        return error("WRONGPASS invalid username-password pair or user is disabled.")

    def shard_of(self, route_hash):
        return 0 if self.o.shards == 1 else ((route_hash << 7) & (2**64 - 1)) >> (64 - self.o.shards.bit_length() + 1)

    def answer(self, opcode, flags, body, shard):
        if flags & ~7:
            raise Wrong("ERR FCNP unknown flags")
        said_hash = body.u64() if flags & 1 else None
        said_shard = body.u32() if flags & 2 else None
        said_tag = body.u64() if flags & 4 else None
        if opcode == 61:
            return self.hello(body) if shard is None else error("ERR FCNP direct shard port requires routed GET/SET/DEL")
        if opcode == 9:
            payload = body.take(len(body.data) - body.at)
            return reply(VALUE, payload) if payload else reply(OK)
        if opcode == 10:
            keys = [body.counted() for _ in range(body.u32())]
            body.end()
            with self.store.lock:
                return array([self.store.get(k) for k in keys])
        if opcode == 11:
            pairs = []
            for _ in range(body.u32()):
                key_length, value_length = body.u32(), body.u32()
                pairs.append((body.take(key_length), body.take(value_length)))
            body.end()
            with self.store.lock:
                for key, value in pairs:
                    self.store.values[key] = (value, None)
            return reply(OK)
        run = getattr(self, f"op_{opcode}", None)
        if run is None:
            return error("ERR unsupported command")
        key, work = run(body)
        body.end()
        if key is not None:
            self.keyed += 1
            if self.keyed == self.o.turn_after:  # another topology, without a word
                self.o.session_prefix, self.o.epoch = not self.o.session_prefix, self.o.epoch + 1
            full, session = self.hash(key)
            if said_hash is not None and said_hash != full:
                return error("ERR FCNP key hash mismatch")
            if said_tag is not None and said_tag != full >> 56:
                raise Wrong("ERR FCNP key tag")
            owner = self.shard_of(session if self.o.session_prefix else full)
            if shard is not None and flags != 7:
                return error("ERR FCNP direct shard port requires routed GET/SET/DEL")
            if said_shard is not None and said_shard != owner or shard is not None and shard != owner:
                return error("ERR FCNP route shard mismatch")
        elif shard is not None:
            return error("ERR FCNP direct shard port requires routed GET/SET/DEL")
        with self.store.lock:
            return work()

    def hello(self, body):
        if body.at != len(body.data):
            body.u64()
            body.end()
        o = self.o
        pairs = {"server": "skerry", "version": "0", "proto": 2, "id": 1, "mode": "standalone", "role": "master", "modules": "",
                 "shards": o.shards, "fanout_port": self.port, "direct_base_port": self.port + 1 if o.direct else "",
                 "route_mode": "session_prefix" if o.session_prefix else "full_key", "frame_max": o.frame_max, "epoch": o.epoch}
        return array([str(word).encode() for pair in pairs.items() for word in pair])

    def put(self, key, value, seconds=None, at=None):
        self.store.values[key] = (value, at if at is not None else None if seconds is None else time.time() + seconds)
        return reply(OK)

    def op_1(self, body):
        key = body.counted()

        def work():
            value = self.store.get(key)
            return reply(NULL) if value is None else reply(VALUE, value)

        return key, work

    def op_2(self, body):
        key_length, value_length = body.u32(), body.u32()
        key, value = body.take(key_length), body.take(value_length)
        return key, lambda: self.put(key, value)

    def op_3(self, body):
        ttl, key_length, value_length = body.u64(), body.u32(), body.u32()
        key, value = body.take(key_length), body.take(value_length)
        return key, lambda: self.put(key, value, ttl / 1000)

    def op_4(self, body):
        ttl, key = body.u64(), body.counted()

        def work():
            value = self.store.get(key)
            if value is None:
                return reply(NULL)
            self.put(key, value, ttl / 1000)
            return reply(VALUE, value)

        return key, work

    def op_5(self, body):
        key = body.counted()
        return key, lambda: integer(self.store.get(key) is not None and self.store.values.pop(key) is not None)

    def op_6(self, body):
        key = body.counted()
        return key, lambda: integer(self.store.get(key) is not None)

    def op_7(self, body):
        key = body.counted()
        return key, lambda: integer(self.store.ttl(key))

    def op_8(self, body):
        ttl, key = body.u64(), body.counted()

        def work():
            value = self.store.get(key)
            if value is not None:
                self.put(key, value, ttl / 1000)
            return integer(value is not None)

        return key, work

    def op_200(self, body):
        argv = [body.counted() for _ in range(body.u32())]

        def resp(value):
            return reply(VALUE, b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value))

        def work():
            name = argv[0].upper()
            if name == b"GET" and len(argv) == 2:
                return resp(self.store.get(argv[1]))
            if name == b"SET" and len(argv) == 3 or name == b"SET" and argv[3].upper() == b"PXAT":
                self.put(argv[1], argv[2], at=int(argv[4]) / 1000 if len(argv) == 5 else None)
                return reply(VALUE, b"+OK\r\n")
            if name == b"MGET":
                parts = [self.store.get(k) for k in argv[1:]]
                return reply(VALUE, b"*%d\r\n" % len(parts) + b"".join(resp(p)[8:] for p in parts))
            if name == b"ECHO":
                return resp(argv[1])
            if name == b"FLUSHALL":
                self.store.values.clear()
                return reply(VALUE, b"+OK\r\n")
            return reply(VALUE, b"-ERR unknown command\r\n")

        keyed = len(argv) > 1 and argv[0].upper() not in (b"MGET", b"ECHO")
        return argv[1] if keyed else None, work


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--shards", type=int, default=4)
    p.add_argument("--direct", action="store_true")
    p.add_argument("--session-prefix", action="store_true")
    p.add_argument("--password")
    p.add_argument("--epoch", type=int, default=1)
    p.add_argument("--turn-after", type=int, default=0, help="keyed requests until the route mode changes")
    p.add_argument("--frame-max", type=int, default=512 << 20)
    p.add_argument("--hasher", required=True)
    server = FakeServer(p.parse_args())
    print(server.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
