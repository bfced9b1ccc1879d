# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backups of one tree: the first, one of what has not changed, and restoring."""
import shutil

import archives
import machine

TITLE = "Backups of a tree"


def _keep(bench, archive, tree, name, test):
    seconds, used = machine.cost(archive.keep, tree, name)
    synced, _ = machine.cost(archive.sync)
    bench.results.add(test, archive.name, seconds + synced, "s")
    if archive.kept_alone:
        bench.results.add(f"{test}: processor time", archive.name, used, "s")


def _restore(bench, archive, test, restore, name):
    """Time how long it takes until all files are on the native disk again."""
    to = bench.scratch / "restored"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    archive.cold()
    seconds, _ = machine.cost(restore, name, to)
    synced, _ = machine.cost(machine.run, "sync", "-f", to)
    bench.results.add(test, archive.name, seconds + synced, "s")
    shutil.rmtree(to)


def _one(bench, archive, tree):
    _keep(bench, archive, tree, "first", "first")
    bench.results.add("space of it", archive.name, archive.used() / 1e6, "MB")
    _keep(bench, archive, tree, "second", "nothing changed")
    _restore(bench, archive, "restored", archive.restore, "second")
    if hasattr(archive, "copy"):
        _restore(bench, archive, "restored by cp -a from a mount",
                 archive.copy, "second")


def run(bench):
    tree = bench.tree
    if not tree.is_dir():
        raise machine.Missing(f"no {tree}")
    machine.read_tree(tree)  # nobody is the first to read it
    with archives.started(bench, "btrfs-zstd") as found:
        for archive in found:
            bench.attempt(f"backups by {archive.name}", _one, archive, tree)
