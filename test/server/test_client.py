# SPDX-License-Identifier: Apache-2.0
"""libskerry-client (subprojects/skerry-client), which shares no code with the server, in every cell: its own test program runs every
verb against the server and says how many claims hold."""

import os
import re
import subprocess

import harness
from harness import ALL, BACKENDS, Server, check, test
from test_fcnp_direct import start


def program(config):
    path = os.path.join(os.path.dirname(config.program), "subprojects", "skerry-client", "test", "skerry-client-live")
    check(os.access(path, os.X_OK), f"there is no {path}")
    return path


def live(config, *arguments):
    done = subprocess.run([program(config), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=100 * harness.SLOW)
    wrong = [line.strip() for line in done.stdout.splitlines() if not line.startswith("ok ")]
    check(done.returncode == 0 and re.search(r"^\d+ passed, 0 failed$", done.stdout, re.M), f"{arguments}: {'; '.join(wrong)}")


@test(ALL, own=True, skerry_only=True, seconds=120)
def the_client_works_with_direct_ports_and_through_the_fanout_port(config):
    with start(config) as s:
        live(config, f"127.0.0.1:{s.port}", "direct", config.shards, 1)
        live(config, f"127.0.0.1:{s.port}", "fanout", 0, 0)


@test(BACKENDS, own=True, skerry_only=True, seconds=180)
def the_client_follows_password_route_mode_and_unix_socket(config):
    with start(config, "--route-mode", "session-prefix", "--requirepass", "secret") as s:
        live(config, f"127.0.0.1:{s.port}", "auto", config.shards, 1, "secret")
    with Server(config) as s:
        live(config, f"localhost:{s.port}", "auto", config.shards, 0)
    with Server(config, "--unixsocket", "socket") as s:
        live(config, "unix:" + os.path.join(s.folder, "socket"), "fanout", 0, 0)


class Client:
    """The test program that waits while its server is ended and started."""

    def __init__(self, config, port):
        self.process = subprocess.Popen([program(config), "--restart", f"127.0.0.1:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.said = []

    def wait_ready(self):
        for line in self.process.stdout:
            if line == "ready\n":
                return
            self.said.append(line.strip())
        raise harness.Failure("the client ended: " + "; ".join(self.said))

    def go_on(self):
        self.process.stdin.write("\n")

    def end(self):
        self.said += self.process.communicate(timeout=100 * harness.SLOW)[0].splitlines()
        check(self.process.returncode == 0, "; ".join(self.said))


@test(BACKENDS, own=True, skerry_only=True, seconds=120)
def the_client_survives_restarts_with_another_number_of_shards(config):
    def again():
        """Its ports were free a moment ago."""
        return Server(config.but(shards=2, workers=min(config.workers, 2)), "--direct-ports", "yes", "--direct-base-port", base, port=port)

    with start(config) as s:
        base, port = s.base, s.port
        client = Client(config, port)
        client.wait_ready()
    with again():
        client.go_on()
        client.wait_ready()
    client.go_on()
    client.wait_ready()
    with again():
        client.go_on()
        client.end()
