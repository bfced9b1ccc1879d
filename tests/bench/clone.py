# SPDX-License-Identifier: LGPL-2.1-or-later
"""A copy of a tree like a node_modules, within one file system."""
import random

import machine

TITLE = "Copies of a tree like a node_modules"
FOLDER_FILES = 8


def _make(top, packages, files):
    """Make packages of folders of small files; return how many entries."""
    chance = random.Random(1)
    data = chance.randbytes(1 << 20)
    entries = 1
    top.mkdir()
    for number in range(packages):
        package = top / f"package-{number}"
        package.mkdir()
        entries += 1
        for i in range(files):
            if i % FOLDER_FILES == 0:
                folder = package / f"lib{i}"
                folder.mkdir()
                entries += 1
            at = chance.randrange(len(data) - 4000)
            (folder / f"file-{i}.js").write_bytes(
                data[at:at + 100 + chance.randrange(3900)])
            entries += 1
    return entries


def _clone(bench, peer, source, number):
    """Coppice has a command of its own; btrfs shares what files consist of."""
    target = peer.tree / f"clone-{number}"
    if peer.snapshots == "mkdir":
        return [bench.coppice, "clone", source, target]
    if peer.snapshots == "btrfs":
        return ["cp", "-a", "--reflink=always", source, target]
    return None


def _round(bench, peer, source, entries, number):
    def keep(test, command):
        seconds = machine.timed(*command)
        peer.sync()
        bench.results.add(f"{test}, {entries:,} entries", peer.name, seconds,
                          "s")

    clone = _clone(bench, peer, source, number)
    if clone:
        keep("clone, or cp --reflink", clone)
    keep("cp -a", ["cp", "-a", source, peer.tree / f"copy-{number}"])


def run(bench):
    sizes = bench.sizes
    with bench.systems("coppice", "btrfs", "native") as peers:
        made = {}
        for peer in peers:
            source = peer.tree / "node_modules"
            made[peer] = source, _make(source, sizes.clone_packages,
                                       sizes.clone_files)
            peer.sync()
        for number in bench.rounds():
            for peer in peers:
                bench.attempt(f"copies on {peer.name}", _round, peer,
                              *made[peer], number)
