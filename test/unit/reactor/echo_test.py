#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""skerry-echo answers everybody in full: in pieces, half-closed, never reading, many at once, on both backends."""
import os, signal, socket, subprocess, sys, tempfile, threading, time

PROGRAM = sys.argv[1]
VARIANTS = [["uring"], ["epoll"], ["epoll", "--busy-poll"], ["uring", "--busy-poll"],
            ["uring", "--io-without", "multishot-accept,multishot-recv,registered-ring,defer-taskrun,coop-taskrun,batching"],
            ["uring", "--io-without", "provided-buffers"]]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read_all(s):
    parts = []
    while True:
        part = s.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(20)
    s.connect(address)
    return s


def echoes_small(address):
    with connect(address) as s:
        for i in range(100):
            text = b"%d" % i * 7
            s.sendall(text)
            got = b""
            while len(got) < len(text):
                got += s.recv(100)
            assert got == text, (got, text)


def echoes_a_slow_reader_in_full(address):
    """More than sockets hold: leftovers, pauses, and no byte lost or moved."""
    data = os.urandom(1 << 16) * 256
    with connect(address) as s:
        def send():
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.3)
        got = bytearray()
        while len(got) < len(data):
            part = s.recv(1 << 18)
            assert part, "the connection ended after %d of %d bytes" % (len(got), len(data))
            got += part
        sender.join()
        assert got == data


def answers_after_half_close(address):
    with connect(address) as s:
        s.sendall(b"last words")
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b"last words"


def survives_who_never_reads_and_leaves(address):
    for _ in range(5):
        s = connect(address)
        s.setblocking(False)
        try:
            while True:
                s.send(b"x" * 65536)
        except BlockingIOError:
            pass
        s.close()
    echoes_small(address)


def many_at_once(address):
    sockets = [connect(address) for _ in range(200)]
    for i, s in enumerate(sockets):
        s.sendall(b"%5d" % i)
    for i, s in enumerate(sockets):
        assert s.recv(5) == b"%5d" % i
        s.close()


def ask(server):
    """The counters, as SIGUSR1 has them printed."""
    server.send_signal(signal.SIGUSR1)
    line = server.stdout.readline().decode()
    return {name: int(value) for name, value in (part.split("=") for part in line.strip().split(","))}


def main():
    for io, *more in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            port, path = free_port(), os.path.join(folder, "s")
            server = subprocess.Popen([PROGRAM, "--io", io, *more, "--port", str(port), "--unix", path], stdout=subprocess.PIPE)
            try:
                assert server.stdout.readline().startswith(b"skerry-echo:")
                for address in (("127.0.0.1", port), path):
                    for test in (echoes_small, echoes_a_slow_reader_in_full, answers_after_half_close,
                                 survives_who_never_reads_and_leaves, many_at_once):
                        test(address)
                        print("ok  ", io, *more, "unix" if address == path else "tcp", test.__name__, flush=True)
                counters = ask(server)
                assert counters["received"] >= counters["sent"] > 0 and counters["turns"] > 0 and counters["ops"] > 0, counters
                assert (counters["sqes"] > 0) == (io == "uring") and counters["cqes"] > 0, counters
            finally:
                server.terminate()
                status = server.wait(10)
            assert status == 0, status


main()
