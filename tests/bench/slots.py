# SPDX-License-Identifier: LGPL-2.1-or-later
"""Slots: random overwrites of small records, and a snapshot after each lot."""
import shutil

import machine
from bench import ONE, ROAM

TITLE = "Slots: random overwrites of 1,000-byte records, then a snapshot"


def _plan(bench, at):
    s = bench.sizes
    return [str(n) for n in (s.slot_files, s.slot_updates, s.slot_filler,
                             s.slot_rounds, *at)]


def _keep(bench, where, system, mode, lines):
    for line in lines:
        if not line.get("at"):
            continue
        taken = line["write_ms"] + line["snapshot_ms"]
        slot = f"slot {line['at']:,} {where}"
        bench.results.add(slot, system, taken, "ms", mode)
        if "passthrough" in system:
            continue  # a sync of its mount does not reach the files below
        bench.results.add(slot + ", durable", system, taken + line["sync_ms"],
                          "ms", mode)


def _mounted(bench, mode):
    """Each system has its own mount, so that 10,000 states of one do not lie in
    the way of another."""
    cases = [("coppice", "mkdir", bench.sizes.slots_at, ""),
             ("btrfs", "btrfs", bench.sizes.slots_at_peers, ""),
             ("btrfs", "none", (1,), ", no snapshots"),
             ("native", "none", (1,), ", no snapshots"),
             ("passthrough", "none", (1,), ", no snapshots")]
    for kind, by, at, suffix in cases:
        what = f"slots on {kind}{suffix}, {mode}"
        bench.part(what, _on_system, mode, kind, by, at, suffix)


def _on_system(bench, mode, kind, by, at, suffix):
    if mode == ROAM:
        # The slots up to the latest one take minutes: in one mode only.
        at = [slot for slot in at if slot <= max(bench.sizes.slots_at_peers)]
    with bench.systems(kind) as peers, bench.mode(mode, peers) as cpus:
        for peer in peers:
            snaps = peer.tree
            if by == "mkdir":
                snaps = peer.tree / ".snap"
            elif by == "btrfs":
                snaps = peer.mnt
            lines = machine.run_json(
                bench.program("slots"), by, peer.tree, snaps,
                *_plan(bench, at), cpus=cpus)
            _keep(bench, "through the mount", peer.name + suffix, mode,
                  lines)


def _engines(bench, mode):
    """Without a kernel in between, in the file system's own directory."""
    cpus = machine.one_cpu() if mode == ONE else None
    directory = bench.work / "engine"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        plan = _plan(bench, bench.sizes.slots_at)
        files, updates, *rest = plan
        keep = str(max(bench.sizes.slots_at) + bench.sizes.slot_rounds)
        lines = machine.run_json(bench.program("slot_bench"),
                                 directory / "store", keep, files, updates,
                                 keep, *rest, cpus=cpus)
        _keep(bench, "in the engine", "coppice", mode, lines)
        try:
            rocksdb = bench.program("rocksdb_slot")
        except machine.Missing as why:
            bench.results.leave_out("rocksdb", f"{why}: no librocksdb-dev?")
            return
        plan = _plan(bench, bench.sizes.slots_at_peers)
        lines = machine.run_json(rocksdb, directory / "rocksdb", *plan,
                                 cpus=cpus)
        for where in ("in the engine", "through the mount"):
            _keep(bench, where, "rocksdb", mode, lines)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(bench):
    for mode in (ONE, ROAM):
        _mounted(bench, mode)
        bench.part(f"slots in the engine, {mode}", _engines, mode)
