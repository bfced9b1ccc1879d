# SPDX-License-Identifier: LGPL-2.1-or-later
"""fsync, and what other programs feel while there is much to write."""
import json
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


def run(bench):
    with bench.systems(*KINDS) as peers:
        for number in bench.rounds():
            for mode in (ONE, ROAM):
                _append(bench, peers, f"{number}-{mode.split()[0]}", mode)
        for number in bench.rounds(1 if bench.sizes.name != "full" else None):
            for peer in peers:
                for verb, words in (("load", "a file is written"),
                                    ("fsyncs", "another fsyncs")):
                    bench.attempt(f"{words} on {peer.name}", _under, peer,
                                  number, verb, words)
