# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deleting a large state: its name, its space, and what others feel of it."""
import json
import subprocess
import threading
import time

import machine
from bench import ROAM

TITLE = "Deleting a large tree"


def _make(bench, peer):
    """A state with many files that nothing else has."""
    if peer.name == "coppice":
        place = peer.mnt / "main@large"
        place.mkdir()
    elif peer.snapshots == "btrfs":
        place = peer.mnt / "large"
        machine.run("btrfs", "subvolume", "create", place)
    else:
        place = peer.tree / "large"
        place.mkdir()
    machine.run(bench.program("small"), place, str(bench.sizes.delete_files),
                "1000", "create")
    peer.sync()
    return place


def _delete(peer, place):
    """The name alone, where that can be."""
    if peer.name == "coppice":
        peer.command("rm", "-s", peer.store, place.name)
    elif peer.snapshots == "btrfs":
        # Else its cleaner begins up to 30 seconds later.
        machine.run("mount", "-o", "remount,commit=1", peer.mnt)
        machine.run("btrfs", "subvolume", "delete", place)
    else:
        machine.run("rm", "-rf", place)


def _await_space(bench, peer, before, full):
    """Until nearly all that the state held is free again."""
    if peer.snapshots == "btrfs":
        machine.run("btrfs", "subvolume", "sync", "-s", "1", peer.mnt)
    if peer.name != "coppice":
        peer.sync()
        return True
    goal = before + (full - before) // 20
    end = time.monotonic() + 60 + bench.sizes.delete_files / 1000
    while peer.live() > goal:
        if time.monotonic() > end:
            bench.results.failures.append(
                f"delete: after {bench.sizes.delete_files / 1000 + 60:.0f} s "
                f"{peer.live() - before:,} of {full - before:,} bytes "
                "are not free yet")
            return False
        time.sleep(0.02)
    return True


class _Probe(threading.Thread):
    """Small operations in another tree, until stopped at its end."""

    def __init__(self, bench, peer, seconds):
        super().__init__()
        self.process = machine.start(
            bench.program("io"), "probe", peer.tree / "probe", str(seconds),
            stdout=subprocess.PIPE)
        self.lines = b""

    def run(self):
        self.lines, _ = self.process.communicate()


def _one(bench, peer):
    files = bench.sizes.delete_files
    (peer.tree / "probe").mkdir()
    before = peer.live() if peer.name == "coppice" else 0
    place = _make(bench, peer)
    full = peer.live() if peer.name == "coppice" else 0
    probe = _Probe(bench, peer, min(20, max(0.5, files / 50000)))
    probe.start()
    begin = time.monotonic()
    try:
        _delete(peer, place)
        named = time.monotonic() - begin
        freed = _await_space(bench, peer, before, full)
        whole = time.monotonic() - begin
        probe.join()
    finally:
        machine.end(probe.process)
    name = f"delete {files:,} files"
    bench.results.add(f"{name}: the name", peer.name, named * 1000, "ms")
    if freed:
        bench.results.add(f"{name}: the space", peer.name, whole, "s")
        # Every file has one block at least; the tree's nodes come on top.
        bench.results.add("files freed", peer.name, files / whole * 60,
                          "a minute")
    for line in probe.lines.splitlines():
        op = json.loads(line)
        if op["op"] == "all":
            bench.results.add_op("other operations meanwhile", peer.name, op,
                                 ROAM, key="p50")


def run(bench):
    with bench.systems("coppice", "native", "btrfs") as peers:
        for peer in peers:
            bench.attempt(f"delete on {peer.name}", _one, peer)
