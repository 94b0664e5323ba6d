# SPDX-License-Identifier: Apache-2.0
"""Several workers at one listening socket, and sockets that outlive their process for a moment."""

import os
import re
import signal
import socket
import tempfile

from harness import BACKENDS, Client, Server, check_equal, free_range, test, wait_until


@test(BACKENDS, own=True, skerry_only=True)
def a_shared_socket_feeds_every_worker(config):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        with Server(config, "--unixsocket", path) as s, s.client() as watcher:
            clients = []

            # On a machine with other things to do a worker may not run for a while, and then the others take his turns.
            def every_worker_has_some():
                for _ in range(10):
                    clients.append(Client(path))
                    check_equal(clients[-1].call("PING"), "PONG", "PING")
                counts = [int(n) for n in re.findall(r",clients=(\d+)", watcher.must("INFO", "reactors").decode())]
                check_equal(len(counts), config.workers, "workers")
                return min(counts) >= 5

            wait_until(every_worker_has_some, 5, "a share for every worker")
            for c in clients:
                c.close()


@test(BACKENDS, own=True, skerry_only=True)
def killed_under_load_it_listens_again_at_once(config):
    sets = b"".join(b"SET k%d %0100d\r\n" % (n, n) for n in range(200))
    with free_range(1 + config.shards) as port:
        for _ in range(12):  # the rings of one that was killed hold its sockets in some rounds of three
            server = Server(config, "--direct-ports", "yes", "--direct-base-port", port + 1, port=port)
            clients = [socket.create_connection(server.address) for _ in range(20)]
            for c in clients:
                c.sendall(sets)
            server.signal(signal.SIGKILL)
            server.wait_end()
            server.stop()
            for c in clients:
                c.close()
