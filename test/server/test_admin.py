# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping, configuring, passwords, sockets and signals."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time

from harness import BACKENDS, ONCE, Client, Error, Server, check, check_equal, encode, free_port, run_to_end, test, wait_until

NOAUTH = Error("NOAUTH Authentication required.")
HERE = os.path.dirname(os.path.abspath(__file__))


@test(BACKENDS, args=["--requirepass", "secret"])
def strangers_may_only_say_who_they_are(s):
    with s.raw() as c:
        for words in (("GET", "a"), ("SET", "a", "1"), ("CONFIG", "GET", "*"), ("PING",), ("FLUSHALL",), ("INFO",), ("CLIENT", "LIST")):
            check_equal(c.call(*words), NOAUTH, " ".join(words))
        check(isinstance(c.call("HELLO", "3"), Error), "HELLO 3 without a password")
        check_equal(c.call("AUTH", "wrong"), Error("WRONGPASS invalid username-password pair or user is disabled."), "AUTH")
        check_equal(c.call("AUTH", "nobody", "secret"), Error("WRONGPASS invalid username-password pair or user is disabled."), "AUTH")
        check_equal(c.call("AUTH", "default", "secret"), "OK", "AUTH with a name")
        check_equal(c.call("PING"), "PONG", "PING")
        check_equal(c.call("RESET"), "RESET", "RESET")
        check_equal(c.call("PING"), NOAUTH, "PING after RESET")
    with s.raw() as c:
        hello = c.call("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "x")
        check(isinstance(hello, dict), f"HELLO with AUTH answers {hello!r}")
    with s.raw() as c:
        c.send(encode("GET", "a") + encode("AUTH", "secret") + encode("PING"))
        check_equal([c.read() for _ in range(3)], [NOAUTH, "OK", "PONG"], "a pipeline with AUTH in it")
    with s.raw() as c:
        check_equal(c.call("QUIT"), "OK", "QUIT of a stranger")


@test(ONCE)
def auth_without_a_password_says_so(s):
    with s.client() as c:
        check_equal(c.call("AUTH", "x"), Error("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"), "AUTH")


@test(BACKENDS)
def a_password_can_be_set_while_running(s):
    with s.client() as c:
        check_equal(c.call("CONFIG", "SET", "requirepass", "new"), "OK", "CONFIG SET")
        check_equal(c.call("PING"), "PONG", "an old client stays")
        with s.raw() as stranger:
            check_equal(stranger.call("PING"), NOAUTH, "PING of a new client")
            check_equal(stranger.call("AUTH", "new"), "OK", "AUTH")
        check_equal(c.call("CONFIG", "SET", "requirepass", ""), "OK", "CONFIG SET")


@test(ONCE, own=True, skerry_only=True)
def an_open_address_without_a_password_is_refused(config):
    status, said = run_to_end(config, "--port", free_port(), "--bind", "0.0.0.0")
    check_equal(status, 1, "exit status")
    check("requirepass" in said or "password" in said, f"the reason names the password: {said!r}")
    for options in (["--requirepass", "secret"], ["--protected-mode", "no"]):
        with Server(config, "--bind", "0.0.0.0", *options) as s:
            with s.client() as c:
                check_equal(c.call("PING"), "PONG", "PING")


@test(ONCE)
def options_are_shown_and_set(s):
    with s.client() as c:
        check_equal(c.must("CONFIG", "GET", "port"), [b"port", str(s.port).encode()], "CONFIG GET")
        both = c.must("CONFIG", "GET", "port", "timeo*")
        check_equal(sorted(both[::2]), [b"port", b"timeout"], "CONFIG GET of two")
        check_equal(c.must("CONFIG", "GET", "nothing"), [], "CONFIG GET")
        check_equal(c.call("CONFIG", "SET", "maxmemory", "100mb"), "OK", "CONFIG SET")
        check_equal(c.must("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"104857600"], "CONFIG GET")
        check_equal(c.call("CONFIG", "SET", "maxmemory", "0", "timeout", "77"), "OK", "CONFIG SET of two")
        check_equal(c.must("CONFIG", "GET", "timeout"), [b"timeout", b"77"], "CONFIG GET")
        check(isinstance(c.call("CONFIG", "SET", "timeout", "0", "maxmemory", "x"), Error), "CONFIG SET of a bad value")
        check_equal(c.must("CONFIG", "GET", "timeout"), [b"timeout", b"77"], "all pairs or none")
        check_equal(c.call("CONFIG", "SET", "timeout", "0"), "OK", "CONFIG SET")
        reply = c.call("CONFIG", "SET", "nothing", "1")
        check(isinstance(reply, Error) and "nothing" in reply, f"CONFIG SET nothing answers {reply!r}")
        check(isinstance(c.call("CONFIG", "SET", "port"), Error), "CONFIG SET with one word")
        check(isinstance(c.call("CONFIG", "REWRITE"), Error), "CONFIG REWRITE without a file")


@test(ONCE, own=True)
def a_configuration_file_is_read_and_rewritten(config):
    text = "# mine\nmaxclients 123\n\ntimeout 5 \nmaxmemory 10mb\n"
    with Server(config, file=text) as s:
        with s.client() as c:
            check_equal(c.must("CONFIG", "GET", "maxclients"), [b"maxclients", b"123"], "maxclients from the file")
            check_equal(c.must("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"10485760"], "maxmemory from the file")
            c.must("CONFIG", "SET", "timeout", "9", "tcp-keepalive", "60")
            check_equal(c.call("CONFIG", "REWRITE"), "OK", "CONFIG REWRITE")
        lines = open(s.file).read().splitlines()
        check("# mine" in lines, "a comment stays")
        check("timeout 9" in lines, f"the new value is in the file: {lines}")
        check("tcp-keepalive 60" in lines, f"an option without a line gets one: {lines}")
        rewritten = "".join(line + "\n" for line in lines if not line.startswith(("dir ", "port ", "bind ")))
    with Server(config, file=rewritten) as s:
        with s.client() as c:
            check_equal(c.must("CONFIG", "GET", "timeout"), [b"timeout", b"9"], "timeout after a new start")


@test(ONCE, own=True, skerry_only=True)
def a_bad_option_ends_the_start_with_its_place_and_reason(config):
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("# first\nport 7000\nnonsense yes\n")
        file.flush()
        for command, want in [([file.name], f"{file.name}:3"), (["--nonsense", "1"], "nonsense"), (["--port", "x"], "port"), (["--port", "70000"], "port"),
                              (["--shards", "3"], "shards"), (["--io", "magic"], "io"), (["--workers", "4", "--shards", "2"], "shards"), (["/nowhere/x.conf"], "/nowhere/x.conf")]:
            done = subprocess.run([config.program] + command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
            said = done.stdout.decode(errors="replace")
            check_equal(done.returncode, 1, f"exit status of {' '.join(command)}")
            check(want in said, f"{' '.join(command)}: the reason lacks {want!r}: {said!r}")


@test(ONCE, own=True)
def a_second_server_on_the_same_port_is_refused(config):
    with Server(config) as s:
        status, said = run_to_end(config, "--port", s.port, "--bind", "127.0.0.1", seconds=5)
        check(status != 0, "exit status of the second server")
        check(re.search("in use", said, re.I), f"the reason: {said[-200:]!r}")


@test(BACKENDS, own=True)
def a_unix_socket_serves_beside_tcp(config):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        with Server(config, "--unixsocket", path, "--unixsocketperm", "700") as s:
            check_equal(os.stat(path).st_mode & 0o777, 0o700, "its permissions")
            with Client(path) as c, s.client() as tcp:
                check_equal(c.pipeline([("SET", f"k{i}", i) for i in range(100)]), ["OK"] * 100, "SET by unix socket")
                check_equal(tcp.call("GET", "k77"), b"77", "GET by TCP")
                value = b"z" * 3000000
                check_equal(c.call("SET", "big", value), "OK", "SET of a big value")
                check(c.call("GET", "big") == value, "GET of a big value")
        check(not os.path.exists(path), "a clean end removes the socket")


@test(BACKENDS, own=True)
def a_signal_to_end_drains_and_stops(config):
    for number in (signal.SIGTERM, signal.SIGINT):
        with Server(config) as s:
            with s.client() as c:
                c.must("SET", "v", "x" * 100000)
                c.send(encode("GET", "v") * 20)
                for _ in range(20):
                    c.read()
                s.signal(number)
                check_equal(s.wait_end(8), 0, f"exit status after {number.name}")


@test(BACKENDS, own=True, skerry_only=True)
def replies_that_are_due_arrive_before_the_end(config):
    with Server(config) as s:
        with s.client(receive_buffer=4096) as c:
            c.must("SET", "v", "x" * 100000)
            c.send(encode("GET", "v") * 20)
            check_equal(len(c.read()), 100000, "first reply")
            s.signal(signal.SIGTERM)
            for i in range(19):
                check_equal(len(c.read()), 100000, f"reply {i + 1} after SIGTERM")
        check_equal(s.wait_end(8), 0, "exit status")


@test(BACKENDS, own=True)
def shutdown_ends_the_server(config):
    with Server(config) as s:
        with s.client() as c, s.client() as other:
            check(isinstance(c.call("SHUTDOWN", "MAYBE"), Error), "SHUTDOWN with a wrong word")
            c.send(encode("SHUTDOWN", "NOSAVE"))
            check_equal(s.wait_end(8), 0, "exit status")
            other.read_all()


@test(ONCE, own=True, skerry_only=True)
def the_log_file_is_opened_anew(config):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        with Server(config, "--logfile", path, "--loglevel", "verbose") as s:
            wait_until(lambda: os.path.exists(path) and os.path.getsize(path) > 0, 5, "first lines of the log")
            os.rename(path, path + ".1")
            s.signal(signal.SIGHUP)
            wait_until(lambda: os.path.exists(path), 5, "new log file after SIGHUP")
            with s.client() as c:
                check_equal(c.call("PING"), "PONG", "PING")
            s.signal(signal.SIGTERM)
            s.wait_end(8)
            check(os.path.getsize(path) > 0, "later lines are in the new file")


@test(ONCE, own=True, skerry_only=True)
def the_service_manager_is_told(config):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = os.path.join(folder, "notify")
        notify.bind(path)
        notify.settimeout(10)
        with Server(config, env=dict(os.environ, NOTIFY_SOCKET=path)) as s:
            check("READY=1" in notify.recv(1000).decode(), "READY=1 comes first")
            s.signal(signal.SIGTERM)
            check("STOPPING=1" in notify.recv(1000).decode(), "STOPPING=1 comes at the end")
            s.wait_end(8)


@test(BACKENDS, own=True, skerry_only=True)
def sockets_of_the_service_manager_are_served(config):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)

        def hand_over():
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)

        prefix = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh"]
        with Server(config, "--port", "0", prefix=prefix, wait=False, start=hand_over) as s:
            s.port = listener.getsockname()[1]
            s.wait_ready()
            with s.client() as c:
                check_equal(c.call("SET", "a", "1"), "OK", "SET")
                check_equal(c.call("GET", "a"), b"1", "GET")


def forbidding(error):
    """A command prefix under which io_uring answers with `error`."""
    folder = tempfile.mkdtemp(prefix="skerry-nouring-")
    program = os.path.join(folder, "nouring")
    subprocess.run(["cc", "-O1", "-o", program, os.path.join(HERE, "nouring.c")], check=True)
    return [program, str(error)]


@test(ONCE, own=True, skerry_only=True)
def forbidden_io_uring_is_told_and_replaced(config):
    for error in (1, 38):
        prefix = forbidding(error)
        with Server(config.but(io="auto"), prefix=prefix) as s:
            with s.client() as c:
                check_equal(c.pipeline([("SET", "a", "1"), ("GET", "a")] * 100), ["OK", b"1"] * 100, "replies")
            wait_until(lambda: "epoll" in s.log() and "io_uring" in s.log(), 5, "the word in the log which backend runs and why")
        status, said = run_to_end(config.but(io="uring"), "--port", free_port(), prefix=prefix)
        check_equal(status, 1, "exit status when io_uring is insisted on")
        check("io_uring" in said, f"the reason: {said!r}")


@test(ONCE, own=True, skerry_only=True)
def the_chosen_backend_is_said(config):
    for io in ("auto", "uring", "epoll"):
        with Server(config.but(io=io)) as s:
            wait_until(lambda: ("epoll" if io == "epoll" else "uring") in s.log(), 5, f"the word in the log for --io {io}")


@test(BACKENDS, own=True, skerry_only=True)
def every_worker_has_its_thread(config):
    with Server(config) as s:
        with s.client() as c:
            c.must("PING")
        check(len(s.threads()) >= config.workers, f"{len(s.threads())} threads for {config.workers} workers")


@test(BACKENDS, own=True)
def closed_standard_descriptors_do_no_harm(config):
    with Server(config, "--logfile", "/dev/null", prefix=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]) as s:
        with s.client() as c:
            check_equal(c.pipeline([("SET", f"k{i}", "v") for i in range(100)]), ["OK"] * 100, "replies")


@test(BACKENDS)
def unexpected_signals_are_survived(s):
    for number in (signal.SIGPIPE, signal.SIGHUP) if not s.config.stand_in else (signal.SIGPIPE,):
        s.signal(number)
        time.sleep(0.05)
        with s.client() as c:
            check_equal(c.call("PING"), "PONG", f"PING after {number.name}")
