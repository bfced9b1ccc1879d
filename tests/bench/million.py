# SPDX-License-Identifier: LGPL-2.1-or-later
"""A great many small files, by the programs that people use on them."""
import shutil

import archives
import machine

TITLE = "A great many small files"
NEW = "rsync or import, all new"
SAME = "rsync or import, nothing changed"


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


def run(bench):
    files = bench.sizes.many_files
    if not files:
        raise machine.Missing("only in the full run")
    source = bench.scratch / "many"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    machine.run(bench.program("small"), source, str(files), "1000", "create")
    try:
        for kind in ("coppice", "btrfs", "coppice-small"):
            with bench.systems(kind) as peers:
                for peer in peers:
                    bench.attempt(f"many files on {peer.name}", _one, peer,
                                  source)
        bench.attempt("many files by import", _import, source)
    finally:
        shutil.rmtree(source, ignore_errors=True)
