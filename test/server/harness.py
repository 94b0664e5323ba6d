# SPDX-License-Identifier: Apache-2.0
"""Starts servers on free loopback ports and speaks RESP to them over raw sockets. Standard library only."""

import contextlib
import copy
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SLOW = float(os.environ.get("SKERRY_TEST_SLOW", "3"))  # patience: how much longer than on an idle machine everything may take


class Failure(Exception):
    """A claim that does not hold, in one line."""


class Skip(Exception):
    """Why a claim cannot be tested here."""


def check(condition, message):
    if not condition:
        raise Failure(message)

CRASHES = 0  # servers that did not end well: never a question of patience


def short(value):
    text = repr(value)
    return text if len(text) <= 160 else text[:120] + f"... ({len(text)} characters)"


def check_equal(got, want, what=""):
    if got != want or type(got) is not type(want) and not (isinstance(got, int) and isinstance(want, int)):
        raise Failure(f"{what + ': ' if what else ''}got {short(got)}, not {short(want)}")


def wait_until(condition, seconds, what):
    """Polls `condition` until it is true; the one way to wait for something that has no reply."""
    end = time.monotonic() + seconds * SLOW
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure(f"{what} did not happen within {seconds * SLOW:.0f} s")
        time.sleep(0.02)


# Replies: simple strings are str, bulk strings bytes, errors Error, maps dict, sets Set, pushes Push, null None.


class Error(str):
    def __repr__(self):
        return f"Error({str(self)!r})"


class Set(list):
    pass


class Push(list):
    pass


class Closed(Exception):
    pass


def encode(*args):
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, (bytes, bytearray)) else str(arg).encode()
        parts += [b"$%d\r\n" % len(data), data, b"\r\n"]
    return b"".join(parts)


class Client:
    """One connection. call() sends a request and returns its reply; send(), read() and expect_closed() do the parts."""

    def __init__(self, address, timeout=20, receive_buffer=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout * SLOW)
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise
        self.buffer = bytearray()
        self.position = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data)

    def send_slowly(self, data, pause=0):
        for i in range(len(data)):
            self.sock.sendall(data[i : i + 1])
            if pause:
                time.sleep(pause)

    def call(self, *args):
        self.send(encode(*args))
        return self.read()

    def pipeline(self, commands):
        self.send(b"".join(encode(*c) for c in commands))
        return [self.read() for _ in commands]

    def must(self, *args):
        reply = self.call(*args)
        if isinstance(reply, Error):
            raise Failure(f"{args[0]} answered {reply!r}")
        return reply

    def _fill(self, want=65536):
        data = self.sock.recv(max(want, 65536))
        if not data:
            raise Closed()
        if self.position > 1 << 16:
            del self.buffer[: self.position]
            self.position = 0
        self.buffer += data

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.position)
            if end >= 0:
                line = bytes(self.buffer[self.position : end])
                self.position = end + 2
                return line
            self._fill()

    def _bytes(self, count):
        while len(self.buffer) - self.position < count:
            self._fill(min(count, 1 << 20))
        data = bytes(self.buffer[self.position : self.position + count])
        self.position += count
        return data

    def _bulk(self, length):
        data = self._bytes(length)
        check_equal(self._bytes(2), b"\r\n", "end of a bulk reply")
        return data

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Error(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bulk(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"_":
            return None
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return {b"t": True, b"f": False}[rest]
        if kind == b"(":
            return int(rest)
        if kind == b"=":
            return self._bulk(int(rest))[4:]
        if kind == b"%":
            return dict((self.read(), self.read()) for _ in range(int(rest)))
        if kind == b"~":
            return Set(self.read() for _ in range(int(rest)))
        if kind == b">":
            return Push(self.read() for _ in range(int(rest)))
        raise Failure(f"no reply begins like {line[:80]!r}")

    def read_all(self, seconds=5):
        """Every byte until the server closes."""
        self.sock.settimeout(seconds * SLOW)
        data = bytes(self.buffer[self.position :])
        try:
            while True:
                more = self.sock.recv(65536)
                if not more:
                    return data
                data += more
        except (ConnectionResetError, BrokenPipeError):
            return data
        except socket.timeout:
            raise Failure(f"the server did not close within {seconds} s; it said {short(data)}") from None

    def expect_closed(self, seconds=5):
        data = self.read_all(seconds)
        check_equal(data, b"", "bytes before the end")

    def quiet_for(self, seconds):
        """True when nothing arrives for so long."""
        if len(self.buffer) > self.position:
            return False
        self.sock.settimeout(seconds)
        try:
            self._fill()
            return False
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(20 * SLOW)


class Config:
    """One cell of the matrix: backend, workers, shards; or a stand-in server that has none of them."""

    def __init__(self, build, io="auto", workers=1, shards=1, stand_in=None, appendonly=None):
        self.io, self.workers, self.shards, self.stand_in = io, workers, shards, stand_in
        self.appendonly = appendonly  # appendfsync, for every server
        self.build, self.program = build, stand_in or os.path.join(build, "skerryd")

    def but(self, **changes):
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def __str__(self):
        if self.stand_in:
            return f"stand-in {self.stand_in}"
        return f"{self.io} w{self.workers} s{self.shards}" + (f" {self.appendonly}" if self.appendonly else "")

    def command(self, file=None):
        program = [self.program] + ([file] if file else [])
        if self.stand_in:
            return program + ["--save", "", "--appendonly", "no"]
        log = ["--appendonly", "yes", "--appendfsync", self.appendonly, "--log-segment-size", "1mb"] if self.appendonly else []
        return program + ["--io", self.io, "--workers", str(self.workers), "--shards", str(self.shards)] + log


PORTS = (10000, 32000)  # below the ports that the kernel gives to clients, of which tests have thousands


def free_port():
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def held_ports(first, count):
    """Sockets that hold the ports, or None. Who asks as free_port does is refused them; a server, which reuses addresses, is not."""
    held = []
    for port in range(first, first + count):
        s = socket.socket()
        held.append(s)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            with socket.socket() as strict:
                strict.bind(("127.0.0.1", port))
            s.bind(("127.0.0.1", port))
        except OSError:
            for one in held:
                one.close()
            return None
    return held


@contextlib.contextmanager
def free_range(count):
    """The first of `count` ports in a row that nobody else gets meanwhile: a server may be started on them."""
    held = None
    while held is None:
        first = random.randrange(PORTS[0], PORTS[1] - count)
        held = held_ports(first, count)
    try:
        yield first
    finally:
        for s in held:
            s.close()


class Server:
    """A running server with a directory of its own. `prefix` is put before the command (prlimit, setpriv, ...), `file` is the
    text of a configuration file, `start` runs in the child before the command."""

    def __init__(self, config, *args, prefix=(), wait=True, env=None, file=None, start=None, port=None):
        self.config, self.port = config, port or free_port()
        self.folder = tempfile.mkdtemp(prefix="skerry-test-")
        os.chmod(self.folder, 0o777)
        self.log_path = os.path.join(self.folder, "output")
        self.password = None
        for name, value in zip(args, args[1:]):
            if name == "--requirepass":
                self.password = value
        self.file = None
        if file is not None:
            self.file = os.path.join(self.folder, "server.conf")
            with open(self.file, "w") as out:
                out.write(file)
        self.command = list(prefix) + config.command(self.file) + ["--port", str(self.port), "--dir", self.folder] + [str(a) for a in args]
        if "--bind" not in args:
            self.command += ["--bind", "127.0.0.1"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=self.folder,
                                            preexec_fn=start, close_fds=start is None)
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.stop()
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop(failed=kind is not None and not issubclass(kind, Skip))

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    @property
    def pid(self):
        """Of the server itself, not of a wrapper before it (the wrappers exec)."""
        return self.process.pid

    def wait_ready(self):
        end = time.monotonic() + 10 * SLOW
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure(f"the server ended at once with {self.process.returncode}: {self.log()[-300:].strip()!r}")
            try:
                with Client(self.address, timeout=1) as c:
                    if self.password:
                        c.call("AUTH", self.password)
                    if c.call("PING") == "PONG":
                        return
            except (OSError, Closed):
                pass
            time.sleep(0.01)
        raise Failure(f"no PONG within {10 * SLOW:.0f} s: {self.log()[-300:].strip()!r}")

    def client(self, **options):
        c = Client(self.address, **options)
        if self.password:
            check_equal(c.call("AUTH", self.password), "OK", "AUTH")
        return c

    def raw(self, **options):
        """Connects without AUTH."""
        return Client(self.address, **options)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        return self._status("VmRSS") * 1024

    def mappings(self):
        with open(f"/proc/{self.pid}/maps") as maps:
            return len(maps.readlines())

    def threads(self):
        return os.listdir(f"/proc/{self.pid}/task")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _status(self, field):
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(rf"^{field}:\s+(\d+)", status.read(), re.M).group(1))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number):
        self.process.send_signal(number)

    def stand_still(self):
        """SIGSTOP, and every thread has stopped when this returns: the signal goes to one thread, and until that one
        has the processor the others go on answering."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: all(self._thread_state(t) in "TXZ" for t in self.threads()), 10, "the stop of every thread")

    def _thread_state(self, thread):
        try:
            with open(f"/proc/{self.pid}/task/{thread}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return "X"

    def wait_end(self, seconds=10):
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise Failure(f"the server still runs after {seconds * SLOW:.0f} s") from None

    def stop(self, failed=False):
        """Ends the server. A server that crashed, or that a sanitizer complained about, fails whoever used it."""
        crashed = self.process.poll() is not None and self.process.returncode not in (0, 1, 74, -signal.SIGTERM, -signal.SIGKILL)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                crashed = self.process.wait(10 * SLOW) not in (0, -signal.SIGTERM)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                crashed = True
        text = self.log()
        complaint = re.search(r"^.*(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed).*$", text, re.M)
        if crashed or complaint:
            global CRASHES
            CRASHES += 1
        if failed or crashed or complaint:
            keep = os.environ.get("SKERRY_TEST_LOGS")
            if keep:
                os.makedirs(keep, exist_ok=True)
                with open(os.path.join(keep, f"server-{self.port}-{self.pid}.log"), "w") as out:
                    out.write(" ".join(self.command) + "\n" + text)
        shutil.rmtree(self.folder, ignore_errors=True)
        if not failed and complaint:
            raise Failure(f"the server's log says: {complaint.group(0).strip()}")
        if not failed and crashed:
            raise Failure(f"the server ended with {self.process.returncode}: {text[-300:].strip()!r}")


def raise_descriptor_limit(wanted):
    """Raises this process' (and its children's) limit as far as it may; gives the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for soft_now, hard_now in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        if soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft_now, hard_now))
            soft = soft_now
        except (ValueError, OSError):
            continue
    return soft


def run_to_end(config, *args, seconds=10, prefix=(), env=None):
    """Runs a server that is expected to end by itself; gives its exit status and output."""
    command = list(prefix) + config.but(appendonly=None).command() + [str(a) for a in args]
    try:
        with tempfile.TemporaryDirectory() as directory:  # its data directory lies there, and is a fresh one each time
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                                  timeout=seconds * SLOW, cwd=directory)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"still runs after {seconds * SLOW:.0f} s; it said {short(late.stdout)}") from None
    return done.returncode, done.stdout.decode(errors="replace")


# The list of tests. A test is a function of a running server, or of a configuration when it starts servers itself.

ALL = "all"  # every cell of the matrix, on a server shared with other tests
BACKENDS = "backends"  # once per backend, with the most workers and shards of the matrix
ONCE = "once"  # the first cell

TESTS = []


class Test:
    def __init__(self, run, cells, args, own, skerry_only, seconds):
        self.run, self.cells, self.args, self.own = run, cells, args, own
        self.skerry_only, self.seconds, self.name = skerry_only, seconds, run.__name__


def test(cells=ALL, args=None, own=False, skerry_only=False, seconds=30):
    """args: options of a server for this test alone; own: the function gets the configuration and starts servers itself."""

    def add(run):
        TESTS.append(Test(run, cells, args, own, skerry_only, seconds))
        return run

    return add
