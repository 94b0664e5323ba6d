# SPDX-License-Identifier: Apache-2.0
"""What to measure: loads, and which subjects are put under each."""

import dataclasses

FEATURES = ["multishot-accept", "multishot-recv", "provided-buffers", "registered-ring", "defer-taskrun", "batching"]
WITHOUT = "uring without "
# Without deferred and cooperative task work: what a program gets that sets no flag.
PLAIN = WITHOUT + "any task-run flag"
# The only feature that is off unless asked for, and the least value that it can send.
ZEROCOPY = "uring zero-copy"
ZEROCOPY_MIN = 65536

PROTOCOLS = ["resp", "fcnp", "fcnp-direct"]
PIPELINES = [1, 16, 64]
SIZES = [64, 1024, 16384, 262144]
CONNECTIONS = [1, 50, 1000]
RATES = [10000, 30000, 60000]
RATE_PIPELINE = 16
# Replies that a load may have in flight at once; beyond it only the machine's memory would be measured.
IN_FLIGHT_MAX = 256 << 20
# Keys of a load: as many as fit into this, within bounds.
DATA_BYTES = 32 << 20
KEYS_MIN, KEYS_MAX = 100, 100000

SERVERS = ["uring"] + [WITHOUT + name for name in FEATURES] + [PLAIN, ZEROCOPY, "uring busy", "epoll", "epoll busy"]
ECHOES = ["echo uring", "echo epoll"]
MAIN = ["uring", "epoll"]


@dataclasses.dataclass(frozen=True, order=True)
class Load:
    """Sorts so that loads of one value size follow each other: the keys are loaded once for them."""

    size: int
    connections: int
    rate: int  # requests a second; 0: closed loop
    protocol: str
    pipeline: int

    @property
    def keys(self):
        return max(KEYS_MIN, min(KEYS_MAX, DATA_BYTES // self.size))

    @property
    def in_flight(self):
        return self.size * self.connections * self.pipeline


def is_echo(subject):
    return subject.startswith("echo ")


def subject_options(subject):
    """Of skerryd and skerry-echo alike."""
    subject = subject.removeprefix("echo ")
    options = ["--io", subject.split()[0]]
    if subject.endswith(" busy"):
        options += ["--busy-poll"]
    if subject == ZEROCOPY:
        options += ["--send-zerocopy-min", str(ZEROCOPY_MIN)]
    if subject == PLAIN:
        options += ["--io-without", "defer-taskrun,coop-taskrun"]
    elif WITHOUT in subject:
        options += ["--io-without", subject.split(WITHOUT)[1]]
    return options


def able(size, subjects):
    """Those that values of this size make a difference for."""
    return [s for s in subjects if s != ZEROCOPY or size >= ZEROCOPY_MIN]


def quick(rivals):
    """One factor at a time around 64 bytes, 50 connections, RESP."""
    plan = {}

    def add(load, subjects):
        plan.setdefault(load, [])
        plan[load] += [s for s in subjects if s not in plan[load]]

    for pipeline in PIPELINES:
        add(Load(64, 50, 0, "resp", pipeline), able(64, SERVERS) + ECHOES + rivals)
        for protocol in PROTOCOLS[1:]:
            add(Load(64, 50, 0, protocol, pipeline), MAIN)
    for size in SIZES[1:]:
        for pipeline in (1, 16) if size < 100000 else (1,):
            add(Load(size, 50, 0, "resp", pipeline), able(size, MAIN + [ZEROCOPY]) + rivals)
    for connections in (1, 1000):
        for pipeline in (1, 16):
            add(Load(64, connections, 0, "resp", pipeline), MAIN + rivals)
    for rate in RATES:
        add(Load(64, 50, rate, "resp", RATE_PIPELINE), ["uring", "uring busy", "epoll", "epoll busy", "echo uring"] + rivals)
    return plan


def narrow(plan, subjects=None, protocols=None, pipelines=None, sizes=None, connections=None, rates=None):
    """Only what every given filter lets through."""
    def fits(load):
        if load.rate:
            return rates is None or load.rate in rates
        return (pipelines is None or load.pipeline in pipelines) and (rates is None or 0 in rates)

    wanted = {}
    for load, names in plan.items():
        chosen = [name for name in names if subjects is None or name in subjects]
        if fits(load) and (protocols is None or load.protocol in protocols) and (sizes is None or load.size in sizes) and \
                (connections is None or load.connections in connections) and chosen:
            wanted[load] = chosen
    return wanted


def cross(rivals, subjects, protocols, pipelines, sizes, connections, rates):
    """The full matrix over values of one's own; rate 0 is the closed loop. FCNP is not for echo servers and rivals."""
    plan = {}
    for size in sizes:
        for count in connections:
            for protocol in protocols:
                names = [s for s in able(size, subjects) + rivals if protocol == "resp" or s in SERVERS]
                for rate in rates:
                    for pipeline in [RATE_PIPELINE] if rate else pipelines:
                        if names:
                            plan[Load(size, count, rate, protocol, pipeline)] = names
    return plan


def too_large(plan):
    """Takes out what holds too many bytes in flight; gives those loads."""
    out = [load for load in plan if load.in_flight > IN_FLIGHT_MAX]
    for load in out:
        del plan[load]
    return out
