# SPDX-License-Identifier: Apache-2.0
"""From rows to statements. A statement rests on the ratios of windows of the same repetition, which lie seconds apart: their
median and their middle half. Fewer than five have no middle half to speak of: all of them count then.

    wins        median beyond the threshold, and the whole middle half on that side of 1
    loses       the same on the other side
    ties        median within the threshold, the middle half within twice the threshold
    undecided   anything else: the spread is larger than what there is to tell; or fewer than three repetitions
"""

import collections
import statistics

from .plan import Load

REPETITIONS_MIN = 3
QUARTILES_MIN = 5
# By how much a median must differ from 1. Latency's tail and rates move more than CPU time from one run to the next.
THRESHOLDS = {"cpu_us": 0.03, "requests_per_second": 0.05, "p99_us": 0.10}
WINS, TIES, LOSES, UNDECIDED = "wins", "ties", "loses", "undecided"
VERDICTS = [WINS, TIES, LOSES, UNDECIDED]
SERVER_BUSY = 0.9  # cores: below that a closed loop was limited by the client
RATE_KEPT = 0.99  # of the rate that was asked for

Spread = collections.namedtuple("Spread", "median low high count")
Judged = collections.namedtuple("Judged", "load verdict ratio")


def size_text(size):
    return f"{size // 1024} KiB" if size >= 1024 and size % 1024 == 0 else f"{size} B"


def protocol_text(protocol):
    return {"resp": "RESP", "fcnp": "FCNP", "fcnp-direct": "FCNP direct"}.get(protocol, protocol)


def rate_text(rate):
    return f"{rate:,.0f}/s"


def load_text(load):
    what = f"{protocol_text(load.protocol)}, {size_text(load.size)}, {load.connections} connection{'s' if load.connections > 1 else ''}"
    return what + (f", at {rate_text(load.rate)}" if load.rate else f", pipeline {load.pipeline}")


def spread(values):
    values = [v for v in values if v is not None]
    if not values:
        return None
    if len(values) < QUARTILES_MIN:
        return Spread(statistics.median(values), min(values), max(values), len(values))
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(statistics.median(values), low, high, len(values))


class Table:
    """The rows by load and subject."""

    def __init__(self, rows):
        self.cells = {}
        for row in rows:
            load = Load(int(row["size"]), int(row["connections"]), int(row["rate"]), row["protocol"], int(row["pipeline"]))
            self.cells.setdefault(load, {}).setdefault(row["subject"], {})[int(row["repetition"])] = row

    def loads(self):
        return sorted(self.cells, key=lambda l: (l.rate, l.protocol != "resp", l.protocol, l.size, l.connections, l.pipeline))

    def subjects(self, load):
        return list(self.cells.get(load, {}))

    def value(self, load, subject, metric):
        return spread(row.get(metric) for row in self.cells.get(load, {}).get(subject, {}).values())

    def ratio(self, load, above, below, metric):
        """above / below, window by window of the same repetition."""
        a, b = self.cells.get(load, {}).get(above, {}), self.cells.get(load, {}).get(below, {})
        return spread(a[n][metric] / b[n][metric] for n in a if n in b and a[n].get(metric) and b[n].get(metric))


def verdict(ratio, threshold):
    """Of a ratio that is above 1 when the one we ask about is better."""
    if ratio is None or ratio.count < REPETITIONS_MIN:
        return UNDECIDED
    if ratio.median >= 1 + threshold and ratio.low > 1:
        return WINS
    if ratio.median <= 1 - threshold and ratio.high < 1:
        return LOSES
    if abs(ratio.median - 1) < threshold and ratio.low >= 1 - 2 * threshold and ratio.high <= 1 + 2 * threshold:
        return TIES
    return UNDECIDED


def can_be_judged(table, load, subjects, metric):
    """A rate says something about servers only where they were the limit; latency only where the rate was kept."""
    if metric == "requests_per_second":
        busy = [table.value(load, s, "server_cores") for s in subjects]
        return load.rate == 0 and all(b is not None and b.median >= SERVER_BUSY for b in busy)
    if metric == "p99_us":
        rates = [table.value(load, s, "requests_per_second") for s in subjects]
        return load.rate > 0 and all(r is not None and r.median >= RATE_KEPT * load.rate for r in rates)
    return True


def judge(table, metric, subject="uring", other="epoll"):
    """The verdict on `subject` against `other` under every load that both were put under."""
    judged = []
    for load in table.loads():
        names = table.subjects(load)
        if subject not in names or other not in names or not can_be_judged(table, load, (subject, other), metric):
            continue
        more_is_better = metric == "requests_per_second"
        ratio = table.ratio(load, subject, other, metric) if more_is_better else table.ratio(load, other, subject, metric)
        if ratio is not None:
            judged.append(Judged(load, verdict(ratio, THRESHOLDS[metric]), ratio))
    return judged


def count_of(judged):
    return {name: sum(j.verdict == name for j in judged) for name in VERDICTS}


def base_of(table, closed=True):
    """The group of loads, alike but for pipeline (or rate), under which the most subjects were put: the pictures' subject."""
    groups = {}
    for load in table.loads():
        if (load.rate == 0) == closed:
            groups.setdefault((load.protocol, load.size, load.connections), []).append(load)
    if not groups:
        return []
    return max(groups.values(), key=lambda loads: sum(len(table.subjects(l)) for l in loads))
