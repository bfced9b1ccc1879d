# SPDX-License-Identifier: LGPL-2.1-or-later
"""A great many small files, by the programs that people use on them."""
import contextlib
import shutil

import archives
import machine

TITLE = "A great many small files"
NEW = "rsync or import, all new"
SAME = "rsync or import, nothing changed"


KINDS = ("coppice", "btrfs", "import", "coppice-small")

# Memory that a file of 1,000 bytes takes on a tmpfs: a page, the inode
# and its name.
TMPFS_FILE = 6000


@contextlib.contextmanager
def _source(bench):
    """Make the files, on a tmpfs if the memory has room for three times as many:
    a disk takes minutes to make them, and to remove them one by one."""
    files = bench.sizes.many_files
    source = bench.scratch / "many"
    _unmount(source)  # what an interrupted run may have left
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    if machine.is_root() and machine.available() > 3 * files * TMPFS_FILE:
        machine.run("mount", "-t", "tmpfs", "-o", "size=100%,nr_inodes=0",
                    "coppice-bench", source)
    try:
        machine.run(bench.program("small"), source, str(files), "1000",
                    "create")
        yield source
    finally:
        try:
            _unmount(source)
        finally:
            shutil.rmtree(source, ignore_errors=True)


def _unmount(source):
    if machine.mounted(source):
        machine.run("umount", source)


def _one(bench, peer, source):
    def keep(test, *command):
        bench.results.add(test, peer.name, machine.timed(*command), "s")

    tree = peer.tree / "many"
    keep(NEW, "rsync", "-a", f"{source}/", f"{tree}/")
    for pid in peer.pids():
        bench.results.add("memory of the daemon after rsync", peer.name,
                          machine.memory_bytes(pid) / 1e6, "MB")
    peer.cold()
    keep("find, cold", "find", tree, "-name", "nothing")
    peer.cold()
    keep("du, cold", "du", "-s", tree)
    keep("du, again", "du", "-s", tree)
    keep(SAME, "rsync", "-a", "--delete", f"{source}/",
         f"{tree}/")
    for pid in peer.pids():
        bench.results.add("memory of the daemon after reading", peer.name,
                          machine.memory_bytes(pid) / 1e6, "MB")
    bench.results.add("space", peer.name, peer.used() / 1e6, "MB")
    keep("rm -rf", "rm", "-rf", tree)


def _import(bench, source):
    archive = archives.Import(bench, bench.work / "import")
    archive.stop()  # what an interrupted run may have left
    archive.start()
    try:
        for test in NEW, SAME:
            seconds, _ = machine.cost(archive.keep, source,
                                      "new" if test == NEW else "same")
            bench.results.add(test, archive.name, seconds, "s")
        bench.results.add("space", archive.name, archive.used() / 1e6, "MB")
    finally:
        archive.stop()


def _system(bench, kind, source):
    if kind == "import":
        _import(bench, source)
        return
    with bench.systems(kind) as peers:
        for peer in peers:
            _one(bench, peer, source)


def run(bench):
    if not bench.sizes.many_files:
        raise machine.Missing("only in the full run")
    with _source(bench) as source:
        for kind in KINDS:
            bench.part(f"many files on {kind}", _system, kind, source)
