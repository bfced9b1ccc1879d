# SPDX-License-Identifier: LGPL-2.1-or-later
"""fsync, and what other programs feel while there is much to write."""
import json
import statistics
import subprocess

import machine
from bench import ONE, ROAM

TITLE = "Durability, and operations under load"
KINDS = ("coppice", "native", "btrfs", "passthrough", "overlay")


def _append(bench, peers, number, mode):
    with bench.mode(mode, peers) as cpus:
        for peer in peers:
            op = machine.ops(bench.program("io"), "append",
                             peer.tree / f"append-{number}",
                             str(bench.sizes.appends), cpus=cpus)["append"]
            bench.results.add_op("append 4 KiB and fsync", peer.name, op, mode,
                                 key="p50")


def _under(bench, peer, number, verb, words):
    io, seconds = bench.program("io"), str(bench.sizes.load_seconds)
    directory = peer.tree / f"probe-{verb}-{number}"
    directory.mkdir()
    load = machine.start(io, verb, peer.tree / f"load-{verb}",
                         str(bench.sizes.load_seconds + 1),
                         stdout=subprocess.PIPE)
    try:
        lines = machine.ops(io, "probe", directory, seconds)
        written, _ = load.communicate()
    finally:
        machine.end(load)
    done = json.loads(written.splitlines()[0])
    if verb == "load":
        bench.results.add("a file is written", peer.name,
                          done["bytes"] / done["seconds"] / (1 << 20), "MiB/s",
                          ROAM)
    for name, op in lines.items():
        bench.results.add_op(f"{name} while {words}", peer.name, op, ROAM,
                             key="p50")


def _reads(bench, peer):
    """Read random pieces of a file past the kernel's pages, alone and beside a
    writer; Coppice has them in its cache."""
    io, seconds = bench.program("io"), str(bench.sizes.load_seconds / 4)
    file = peer.tree / "read"
    machine.run(io, "write", file, str(max(bench.sizes.stream_mib // 16, 1)))
    for mode in (ONE, ROAM):
        with bench.mode(mode, [peer]) as cpus:
            op = machine.ops(io, "pieces", file, seconds, cpus=cpus)["piece"]
            bench.results.add_op("read 128 KiB", peer.name, op, mode, key="p50")
            with bench.load(io, "load", peer.tree / "load-reads", "600",
                            cpus=cpus):
                op = machine.ops(io, "pieces", file, seconds,
                                 cpus=cpus)["piece"]
            bench.results.add_op("read 128 KiB while a file is written",
                                 peer.name, op, mode, key="p50")


def _four(bench, peer, number):
    """Four writers at once, each with a file of its own."""
    seconds = max(bench.sizes.load_seconds / 3, 0.2)
    begun = [machine.start(bench.program("io"), "fsyncs",
                           peer.tree / f"four-{number}-{writer}", str(seconds),
                           stdout=subprocess.PIPE) for writer in range(4)]
    try:
        said = [process.communicate()[0] for process in begun]
    finally:
        for process in begun:
            machine.end(process)
    if any(process.returncode for process in begun):
        raise machine.Failed("io fsyncs failed")
    ops = [json.loads(line) for line in said]
    name = "append 4 KiB and fsync, four writers"
    bench.results.add(name, peer.name,
                      statistics.median(op["p50"] for op in ops), "µs", ROAM,
                      statistics.median(op["p99"] for op in ops))
    bench.results.add(f"{name} together", peer.name,
                      sum(op["count"] for op in ops) / seconds, "a second",
                      ROAM)


def run(bench):
    with bench.systems(*KINDS) as peers:
        for number in bench.rounds():
            for mode in (ONE, ROAM):
                _append(bench, peers, f"{number}-{mode.split()[0]}", mode)
            for peer in peers:
                bench.attempt(f"four writers on {peer.name}", _four, peer,
                              number)
        for number in bench.rounds(1 if bench.sizes.name != "full" else None):
            for peer in peers:
                for verb, words in (("load", "a file is written"),
                                    ("fsyncs", "another fsyncs")):
                    bench.attempt(f"{words} on {peer.name}", _under, peer,
                                  number, verb, words)
        for _ in bench.rounds(1 if bench.sizes.name != "full" else None):
            for peer in peers:
                bench.attempt(f"reads beside a writer on {peer.name}", _reads,
                              peer)
