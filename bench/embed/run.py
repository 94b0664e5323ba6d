#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures libskerry beside other stores that live inside a program, and writes a table to bench/results/.

Usage: run.py [--build DIR] [--name NAME] [--rounds N] [--seconds S] [--quick] [--threads 1,2] [--values 64,512,4096,65536]
              [--sets inside,outside] [--inside-mib N] [--outside-mib N] [--peers a,b] [--parts FILE]

With --parts the table may be measured in pieces: what is measured is added to FILE, and all that is there goes into the table.

Peers are interleaved: a round runs each of them once on each data set, and what is quoted are medians over the rounds of times and
of each round's ratios. Peers that cannot be built here are named and left out (libcuckoo-dev and libtbb-dev by apt, a Rust
toolchain with its registry for DashMap and Moka, libglib2.0-dev for GHashTable behind one lock)."""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OVERHEAD = 40  # bytes an item beside its value: the data sets are as large as their name says for all
WORKLOADS = ["get", "view", "set", "80/20", "get+ttl", "view+ttl", "batch16", "batch64", "packed16"]


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


def build_peers(build, wanted):
    """Name -> command."""
    work = os.path.join(build, "bench-embed")
    os.makedirs(work, exist_ok=True)
    peers, missing = {}, {}

    def compiled(name, command):
        out = os.path.join(work, name)
        done = run(command + ["-o", out], cwd=ROOT)
        if done.returncode == 0:
            return out
        missing[name] = (done.stderr.strip().splitlines() or ["?"])[0]
        return None

    flags = ["-O3", "-g", "-I.", "-Iinclude", "-pthread"]
    library = os.path.join(build, "engine/embed/libskerry.a")
    ours = compiled("skerry", ["cc", "-std=gnu17", *flags, "bench/embed/skerry.c", library, "-lnuma", "-lm"])
    if ours is None:
        sys.exit(f"cannot build bench/embed/skerry.c: {missing['skerry']} (build {build} first)")
    for mode in ("local", "shared"):
        for hash_kind in ("keyed", "public"):
            peers[f"skerry {mode} {hash_kind}"] = [ours, "--mode", mode, "--hash", hash_kind]
    for name, libraries in (("libcuckoo", []), ("tbb", ["-ltbb"])):
        if wanted is None or name in wanted:
            path = compiled(name, ["c++", "-std=c++17", *flags, f"bench/embed/{name}.cc", *libraries])
            if path is not None:
                peers[name] = [path]
    if wanted is None or "glib" in wanted:
        flags_of = run(["pkg-config", "--cflags", "--libs", "glib-2.0"]).stdout.split()
        path = compiled("glib", ["cc", "-std=gnu17", *flags, "bench/embed/glib.c", *flags_of])
        if path is not None:
            peers["glib"] = [path]
    if wanted is None or {"dashmap", "moka"} & set(wanted):
        rust = os.path.join(work, "rust")
        done = None
        if shutil.which("cargo") is not None:
            done = run(["cargo", "build", "--release", "--target-dir", rust], cwd=os.path.join(HERE, "rust"))
        if done is not None and done.returncode == 0:
            for name in ("dashmap", "moka"):
                peers[name] = [os.path.join(rust, "release/embed-peers"), "--peer", name]
        else:
            missing["dashmap, moka"] = "no cargo" if done is None else done.stderr.strip().splitlines()[-1]
    if wanted is not None:
        peers = {name: command for name, command in peers.items() if name in wanted or name.split()[0] in wanted}
    return peers, missing


def measure(command, items, value, threads, seconds):
    """Workload -> (CPU ns, Mops)."""
    done = run(command + ["--items", str(items), "--value", str(value), "--threads", str(threads), "--seconds", str(seconds)])
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    result = {}
    for line in done.stdout.splitlines():
        name, cpu, rate, missed = line.split()
        if missed != "0":
            sys.exit(f"{' '.join(command)}: {missed} misses in {name}")
        result[name] = (float(cpu), float(rate))
    return result


def parts_load(path):
    """Rounds: lists of shape and peer -> workload -> figures. A shape's n-th measurement belongs to round n."""
    if path is None or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        rounds = []
        for line in file:
            number, kind, value, threads, peer, result = json.loads(line)
            while len(rounds) <= number:
                rounds.append({})
            rounds[number][(kind, value, threads, peer)] = {name: tuple(pair) for name, pair in result.items()}
        return rounds


def parts_add(path, number, key, result):
    if path is not None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([number, *key, result]) + "\n")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def rounds_of(rounds):
    """How many, of the shape with the fewest and the one with the most."""
    count = {}
    for done in rounds:
        for key in done:
            count[key] = count.get(key, 0) + 1
    least, most = min(count.values()), max(count.values())
    return str(least) if least == most else f"{least} to {most}"


def cell(values):
    return f"{statistics.median(values):.3g}" if values else ""


def ratio(rounds, ours, other, workload, of):
    """Median over rounds of other / ours."""
    got = [r[of(other)][workload][0] / r[of(ours)][workload][0] for r in rounds if of(ours) in r and of(other) in r
           and workload in r[of(other)] and workload in r[of(ours)]]
    return statistics.median(got) if got else None


def table(out, peers, rounds, key, title):
    names = [w for w in WORKLOADS if any(w in r[key(p)] for r in rounds for p in peers if key(p) in r)]
    out.append(f"\n### {title}\n\nCPU ns an operation (million operations a second of all threads)\n")
    out.append("| store | " + " | ".join(names) + " |")
    out.append("|---|" + "---|" * len(names))
    for peer in peers:
        cells = []
        for w in names:
            got = [r[key(peer)][w] for r in rounds if key(peer) in r and w in r[key(peer)]]
            cells.append(f"{cell([g[0] for g in got])} ({cell([g[1] for g in got])})" if got else "")
        out.append(f"| {peer} | " + " | ".join(cells) + " |")


def bars(out, rounds):
    """The goals of the project that can be judged from these rounds."""
    def of(kind):
        return lambda peer: (kind, 64, 1, peer)

    out.append("\n## Goals (64-byte values, one thread)\n\n| goal | measured | |\n|---|---|---|")

    def goal(words, got, least):
        if got is not None:
            out.append(f"| {words} | {got:.3g} | {'reached' if got >= least else 'MISSED'} |")

    for hash_kind in ("keyed", "public"):
        us = f"skerry local {hash_kind}"
        for kind in ("inside", "outside"):
            got = ratio(rounds, us, "dashmap", "get", of(kind))
            goal(f"{us}, copying get, {kind}: at least 4 x DashMap", got, 4)
        rates = [r[of("inside")(us)]["get"][1] for r in rounds if of("inside")(us) in r]
        goal(f"{us}, copying get, inside: at least 15 M/s", statistics.median(rates) if rates else None, 15)
        single = [r[of("outside")(us)] for r in rounds if of("outside")(us) in r]
        got = statistics.median(r["get"][0] / r["batch16"][0] for r in single) if single else None
        goal(f"{us}, batches of 16, outside: at least 1.7 x single gets", got, 1.7)
    out.append("\nThe goal of 2 x the fast-cache crate is not judged: its registry no longer has the crate.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="a release build of this tree (build)")
    parser.add_argument("--name", default="embed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each workload")
    parser.add_argument("--quick", action="store_true", help="3 rounds, one thread, 64 B and 4 KiB, 64 MiB outside: a first impression")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--values", default="64,512,4096,65536")
    parser.add_argument("--sets", default="inside,outside")
    parser.add_argument("--inside-mib", type=int, default=8)
    parser.add_argument("--outside-mib", type=int, default=512)
    parser.add_argument("--peers", help="of skerry, libcuckoo, tbb, glib, dashmap, moka (all that can be built)")
    parser.add_argument("--parts", metavar="FILE", help="add to FILE, and show all that is in it")
    a = parser.parse_args()
    if a.quick:
        a.rounds, a.threads, a.values, a.seconds, a.outside_mib = 3, "1", "64,4096", 0.1, 128
    a.sets = a.sets.split(",")
    build = os.path.abspath(a.build)
    peers, missing = build_peers(build, a.peers.split(",") if a.peers else None)
    for name, why in missing.items():
        print(f"left out: {name}: {why}", flush=True)
    shapes = [(kind, int(v), int(t)) for kind in a.sets for v in a.values.split(",") for t in a.threads.split(",")]
    rounds = parts_load(a.parts)
    for number in range(a.rounds):
        for kind, value, threads in shapes:
            mib = a.inside_mib if kind == "inside" else a.outside_mib
            items = max(64, mib * 1024 * 1024 // (value + OVERHEAD))
            for peer, command in peers.items():
                key = (kind, value, threads, peer)
                at = sum(key in done for done in rounds)
                if at == len(rounds):
                    rounds.append({})
                rounds[at][key] = measure(command, items, value, threads, a.seconds)
                parts_add(a.parts, at, key, rounds[at][key])
            print(f"round {number + 1} of {a.rounds}: {kind}, {value} bytes, {threads} threads", flush=True)
    out = [f"# In-process stores, {time.strftime('%Y-%m-%d')}", "",
           f"{machine()}. `bench/embed/run.py {' '.join(sys.argv[1:])}`: {rounds_of(rounds)} rounds, medians.", "",
           f"*inside*: {a.inside_mib} MiB of items, *outside*: {a.outside_mib} MiB. Keys of 16 bytes, drawn uniformly. *get* copies the "
           "value, *view* reads its first and last byte in place; a batch's figures are of one of its keys. *local* is owned by its thread "
           "(no lock), *shared* by all; *keyed* is AES under a secret (SipHash-1-3 without AES), *public* XXH3. See docs/BENCHMARKS.md."]
    for name, why in missing.items():
        out.append(f"\nLeft out: {name}: {why}")
    bars(out, rounds)
    for kind, value, threads in sorted({key[:3] for done in rounds for key in done}, key=lambda s: (s[1], s[0], s[2])):
        table(out, list(peers), rounds, lambda peer, k=kind, v=value, t=threads: (k, v, t, peer),
              f"{kind}, values of {value} bytes, {threads} thread{'s' if threads > 1 else ''}")
    path = os.path.join(ROOT, "bench/results", f"{time.strftime('%Y-%m-%d')}-{a.name}.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
    print("\n".join(out))
    print(f"\nwritten to {path}")


main()
