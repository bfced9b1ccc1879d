# SPDX-License-Identifier: LGPL-2.1-or-later
"""Space: many releases of a project, one after the other, all kept."""
import archives
import machine

TITLE = "Releases of a project, all kept"


def _read_back(bench, found, tag, which):
    """All files of it, as tar gives them."""
    for archive in found:
        archive.cold()
        bench.results.add(f"read the {which} back, cold", archive.name,
                          machine.cost(archive.read, tag)[0], "s")


def run(bench):
    tags = bench.tags(bench.sizes.releases)
    trees = {tag: bench.release(tag) for tag in tags}
    with archives.started(bench, "coppice", "btrfs-zstd") as found:
        seconds, used = dict.fromkeys(found, 0), dict.fromkeys(found, 0)
        for tag, tree in trees.items():
            # Nobody is the first to read it.
            machine.read_tree(tree)
            for archive in found:
                passed, worked = machine.cost(archive.keep, tree, tag)
                seconds[archive] += passed
                used[archive] += worked
        for archive in found:
            seconds[archive] += machine.cost(archive.sync)[0]
            bench.results.add(f"keep {len(tags)} releases", archive.name,
                              seconds[archive], "s")
            if archive.kept_alone:
                bench.results.add(f"keep {len(tags)} releases: processor time",
                                  archive.name, used[archive], "s")
            bench.results.add(f"space of {len(tags)} releases", archive.name,
                              archive.used() / 1e6, "MB")
        _read_back(bench, found, tags[-1], "newest release")
        _read_back(bench, found, tags[0], "oldest release")
