# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forks and snapshots: how long mkdir takes, and what a fork costs to keep."""
import random

import machine
from bench import ONE, ROAM

TITLE = "Forks and snapshots"


def _snap(bench, peer, fork, first, count, changes=1, cpus=None,
          seconds=()):
    """The latencies of `count` of them, numbered from `first`; fewer, if it
    takes longer than that."""
    if peer.snapshots == "btrfs":
        how = ("btrfs" if fork else "btrfs-ro", peer.tree, peer.mnt,
               "f" if fork else "s")
    elif fork:
        how = ("mkdir", peer.tree, peer.mnt, "main@f")
    else:
        how = ("mkdir", peer.tree, peer.tree / ".snap", "s")
    return machine.ops(bench.program("snap"), *how, str(first), str(count),
                       str(changes), *seconds, cpus=cpus)["snapshot"]


def _keep(bench, test, peer, op, mode):
    bench.results.add_op(test, peer.name, op, mode, key="p50")


def _by_states(bench):
    sizes = bench.sizes
    with bench.systems("coppice", "btrfs") as peers:
        made = {peer: 0 for peer in peers}
        for states in sizes.states:
            s = "s" if states > 1 else ""
            for peer in peers:
                if peer.name != "coppice" and states > sizes.states_peers:
                    continue
                if made[peer] < states:
                    _snap(bench, peer, True, made[peer],
                          states - made[peer], 0)
                    made[peer] = states
                for mode in (ONE, ROAM):
                    with bench.mode(mode, [peer]) as cpus:
                        op = _snap(bench, peer, True, made[peer], sizes.snaps,
                                   cpus=cpus)
                        _keep(bench, f"fork, {states:,} state{s}", peer, op,
                              mode)
                        op = _snap(bench, peer, False, made[peer],
                                   sizes.snaps, cpus=cpus)
                        _keep(bench, f"snapshot, {states:,} state{s}", peer,
                              op, mode)
                    made[peer] += sizes.snaps


def _by_files(bench):
    for files in bench.sizes.state_files:
        with bench.systems("coppice", "btrfs") as peers:
            for peer in peers:
                machine.run(bench.program("small"), peer.tree, str(files),
                            "100", "create")
                peer.sync()
                with bench.mode(ONE, peers) as cpus:
                    op = _snap(bench, peer, True, 0, bench.sizes.snaps,
                               cpus=cpus)
                _keep(bench, f"fork, {files:,} files", peer, op, ONE)


def _under_load(bench):
    # btrfs writes all the data out for each: a second, or many.
    seconds = (str(bench.sizes.load_seconds),)
    with bench.systems("coppice", "btrfs") as peers:
        for peer in peers:
            for number, mode in enumerate((ONE, ROAM)):
                with bench.mode(mode, peers) as cpus, \
                     bench.load(bench.program("io"), "load",
                                peer.tree / "load", "600", cpus=cpus):
                    op = _snap(bench, peer, True,
                               number * bench.sizes.snaps, bench.sizes.snaps,
                               cpus=cpus, seconds=seconds)
                _keep(bench, "fork while a file is written", peer, op, mode)


def _change(tree, files, chance):
    for i in chance.sample(range(files), min(files, 10)):
        with open(tree / f"d{i // 10000}" / f"f{i}", "wb") as file:
            file.write(chance.randbytes(1000))


def _read(bench, peer, tree, test):
    """On one processor: the placing of the daemon would outweigh all else."""
    with bench.mode(ONE, [peer]) as cpus:
        op = machine.ops(bench.program("small"), tree,
                         str(bench.sizes.fork_files), "1000", "read",
                         cpus=cpus)["read"]
    bench.results.add(test, peer.name, op["mean"], "µs", ONE)


def _fork_path(peer, number):
    if peer.snapshots == "mkdir":
        return peer.mnt / f"main@f{number}"
    return peer.mnt / f"f{number}"


def _many(bench):
    """Many forks of one tree, in each of them ten files changed."""
    sizes = bench.sizes
    files = sizes.fork_files
    with bench.systems("coppice", "btrfs") as peers:
        for peer in peers:
            count = sizes.forks
            if peer.name != "coppice":
                count = sizes.forks_peers
            machine.run(bench.program("small"), peer.tree, str(files), "1000",
                        "create")
            before = peer.used()
            live = peer.live() if peer.name == "coppice" else 0
            peer.cold()
            _read(bench, peer, peer.tree, "read a file of the only tree, cold")
            chance = random.Random(1)
            for number in range(count):
                _snap_one(bench, peer, number)
                _change(_fork_path(peer, number), files, chance)
            bench.results.add(
                f"{sizes.forks:,} forks with 10 changed files: a fork",
                peer.name, (peer.used() - before) / count / 1000, "kB")
            if peer.name == "coppice":
                bench.results.add(
                    f"{sizes.forks:,} forks with 10 changed files: a fork, "
                    "without free pages", peer.name,
                    (peer.live() - live) / count / 1000, "kB")
            peer.cold()
            _read(bench, peer, _fork_path(peer, count // 2),
                  f"read a file of one of {sizes.forks:,} forks, cold")


def _snap_one(bench, peer, number):
    if peer.snapshots == "mkdir":
        _fork_path(peer, number).mkdir()
    else:
        _snap(bench, peer, True, number, 1, 0)


def run(bench):
    bench.part("forks among many states", _by_states)
    bench.part("forks while a file is written", _under_load)
    bench.part("the space of forks", _many)
    bench.part("forks of many files", _by_files)
