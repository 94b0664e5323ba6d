# SPDX-License-Identifier: Apache-2.0
"""Who is measured. Every server of ours is started once and stopped (SIGSTOP) whenever another one is measured, so that
alternatives are compared within seconds and idle ones take nothing."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

from . import plan


PR_SET_PDEATHSIG = 1


class Failed(Exception):
    pass


class Connection:
    """Asks a RESP server for a few things beside the load."""

    def __init__(self, host, port, timeout=10):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.stream = self.socket.makefile("rb")

    def ask(self, *words):
        parts = [w.encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        line = self.stream.readline().decode(errors="replace").rstrip()
        if line[:1] == "$" and int(line[1:]) >= 0:
            return self.stream.read(int(line[1:]) + 2)[:-2].decode(errors="replace")
        if line[:1] == "-" or not line:
            raise Failed(f"{words[0]}: {line[1:] or 'the server closed the connection'}")
        return line[1:]

    def close(self):
        self.stream.close()
        self.socket.close()


def numbers(text):
    """name=value,name=value as a dictionary of those that are numbers."""
    found = re.findall(r"(\w+)=(-?\d+(?:\.\d+)?)(?=,|$)", text.strip())
    return {name: float(value) for name, value in found}


def info_counters(text):
    """Totals over all workers from INFO; what is no counter of ours is simply missing with other servers."""
    totals = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if re.fullmatch(r"worker\d+", name):
            for key, number in numbers(value).items():
                largest = key == "longest_turn_us"
                totals[key] = max(totals.get(key, 0), number) if largest else totals.get(key, 0) + number
        elif name == "total_commands_processed":
            totals["requests"] = float(value)
        elif name == "process_id":
            totals["pid"] = int(value)
    return totals


class Subject:
    """Something that can be put under load. `stop` and `go` are what lets others have its core."""

    name = host = ""
    port = pid = 0
    protocols = ("resp",)

    def go(self):
        pass

    def stop(self):
        pass

    def mark(self, load):
        """Begins a window of counters."""

    def counters(self, load):
        """What was counted since mark(), `requests` among it; {} when the subject counts nothing."""
        return {}

    def end(self):
        pass


class Rival(Subject):
    """Any RESP server that runs already. Of its process only what /proc shows, and only on this machine."""

    def __init__(self, text):
        match = re.fullmatch(r"([\w .-]+)=([\w.-]+):(\d+)", text)
        if not match:
            raise Failed(f"--rival {text}: not NAME=HOST:PORT")
        self.name, self.host, self.port = match[1], match[2], int(match[3])
        try:
            connection = Connection(self.host, self.port)
            pid = int(info_counters(connection.ask("INFO")).get("pid", 0))
            connection.close()
        except (OSError, ValueError) as error:
            raise Failed(f"{self.name} at {self.host}:{self.port}: {error}") from None
        local = self.host in ("localhost", "127.0.0.1")
        self.pid = pid if local and os.path.exists(f"/proc/{pid}/task") else 0


def become_server(core, laboratory):
    """In the child. It ends when the laboratory does, however that ends: a busy-polling orphan would take a core for good."""
    if core:
        os.sched_setaffinity(0, core)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != laboratory:  # it ended before we had asked
        os._exit(1)


class Own(Subject):
    """A skerryd or skerry-echo that we start, pin and end."""

    def __init__(self, name, command, port, core):
        self.name, self.host, self.port = name, "127.0.0.1", port
        # Appended to by the server and read through another descriptor: with a shared one reading would move where it writes.
        self.log = tempfile.NamedTemporaryFile(mode="ab")
        laboratory = os.getpid()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=lambda: become_server(core, laboratory))
        self.pid = self.process.pid
        try:
            self.wait_until_ready()
        except Failed:
            self.end()
            raise

    def output(self):
        with open(self.log.name, errors="replace") as log:
            return log.read()

    def wait_until_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            time.sleep(0.02)
        raise Failed(f"{self.name} did not start: {self.output()[-300:].strip()}")

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go(self):
        self.process.send_signal(signal.SIGCONT)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Skerryd(Own):
    def __init__(self, name, options, port, core, folder, direct):
        command = [options.build + "/skerryd", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder,
                   "--workers", str(options.workers), "--shards", str(options.shards)] + plan.subject_options(name)
        if direct:
            command += ["--direct-ports", "yes"]
        super().__init__(name, command + options.skerryd_option, port, core)
        self.protocols = plan.PROTOCOLS if direct else plan.PROTOCOLS[:2]
        self.connection = None

    def mark(self, load):
        self.connection = Connection(self.host, self.port)
        self.connection.ask("CONFIG", "RESETSTAT")

    def counters(self, load):
        try:
            return info_counters(self.connection.ask("INFO", "everything"))
        finally:
            self.connection.close()


class Echo(Own):
    def __init__(self, name, options, port, core):
        super().__init__(name, [options.build + "/skerry-echo", "--port", str(port), "--spin-us", "0"] + plan.subject_options(name),
                         port, core)
        self.before = {}

    def read(self):
        lines = self.output().count("\n")
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            text = self.output()
            if text.count("\n") > lines:
                return numbers(text.strip().split("\n")[-1])
            time.sleep(0.001)
        raise Failed(f"{self.name} does not tell its counters")

    def mark(self, load):
        self.before = self.read()

    def counters(self, load):
        now = self.read()
        since = {name: now[name] - self.before[name] for name in now if name != "longest_turn_us"}
        since["requests"] = since["received"] / load.size
        return since


def has_direct_ports(build):
    done = subprocess.run([build + "/skerryd", "--help"], capture_output=True, text=True, check=False)
    return "--direct-ports" in done.stdout


class Range:
    """Ports for servers one after another, each with room for its direct ports behind it."""

    def __init__(self, first, room):
        self.next, self.room = first, room

    def take(self):
        while True:
            base, self.next = self.next, self.next + self.room
            if self.next > 65536:
                raise Failed("no free ports left: choose another --port")
            try:
                for port in range(base, self.next):
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind(("127.0.0.1", port))
                return base
            except OSError:
                continue


def start(names, options, core, folder):
    """Starts what is ours of these names, stopped at once. Gives the subjects and why others are missing."""
    subjects, missing = {}, []
    direct = has_direct_ports(options.build)
    ports = Range(options.port, options.shards + 1)
    for name in names:
        try:
            port = ports.take()
            subject = Echo(name, options, port, core) if plan.is_echo(name) else Skerryd(name, options, port, core, folder, direct)
            subject.stop()
            subjects[name] = subject
        except Failed as error:
            missing.append(str(error))
    if not direct:
        missing.append("fcnp-direct: this skerryd has no direct ports")
    return subjects, missing
