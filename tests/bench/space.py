# SPDX-License-Identifier: LGPL-2.1-or-later
"""Space: many releases of a project, one after the other, all kept."""
import contextlib
import shutil
import time

import archives
import machine

TITLE = "Releases of a project, all kept"


@contextlib.contextmanager
def _archives(bench):
    """All that is there, each with an empty archive."""
    directory = bench.work / "archives"
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.mkdir(parents=True)
        peers = stack.enter_context(bench.systems("coppice", "btrfs-zstd"))
        found = [archives.Mounted(peer) for peer in peers]
        for kind in archives.KINDS:
            archive = kind(directory / kind.program)
            try:
                archive.require()
            except machine.Missing as why:
                bench.results.leave_out(archive.name, why)
                continue
            stack.callback(archive.stop)
            archive.start()
            found.append(archive)
        yield found


def _timed(function, *arguments):
    begin = time.monotonic()
    function(*arguments)
    return time.monotonic() - begin


def _read_back(bench, found, tag, which):
    """All files of it, as tar gives them."""
    for archive in found:
        archive.cold()
        bench.results.add(f"read the {which} back, cold", archive.name,
                          _timed(archive.read, tag), "s")


def run(bench):
    tags = bench.tags(bench.sizes.releases)
    trees = {tag: bench.release(tag) for tag in tags}
    with _archives(bench) as found:
        seconds = dict.fromkeys(found, 0)
        for tag, tree in trees.items():
            # Nobody is the first to read it.
            machine.read_tree(tree)
            for archive in found:
                seconds[archive] += _timed(archive.keep, tree, tag)
        for archive in found:
            seconds[archive] += _timed(archive.sync)
            bench.results.add(f"keep {len(tags)} releases", archive.name,
                              seconds[archive], "s")
            bench.results.add(f"space of {len(tags)} releases", archive.name,
                              archive.used() / 1e6, "MB")
        _read_back(bench, found, tags[-1], "newest release")
        _read_back(bench, found, tags[0], "oldest release")
