# SPDX-License-Identifier: Apache-2.0
"""Several workers at one listening socket."""

import os
import re
import tempfile

from harness import BACKENDS, Client, Server, check_equal, test, wait_until


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
