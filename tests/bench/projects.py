# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tasks that developers wait for: a clone, a build, and packages installed."""
import contextlib

import machine
import packages

KINDS = ("coppice", "coppice-fork", "native", "btrfs")


def _remove(tree):
    machine.run("rm", "-rf", tree)


def _clone(bench, peer):
    """Copy all objects as they are, or have them sent as by a server, which
    takes much longer."""
    options = ["--no-hardlinks"]
    if bench.sizes.build:
        options.append("--no-local")
    for option in options:
        clone = peer.tree / "clone"
        try:
            bench.results.add(f"git clone {option}", peer.name, machine.timed(
                "git", "clone", "-q", option, bench.repo, clone), "s")
        finally:
            _remove(clone)


def _build(bench, peer):
    tree = peer.tree / "build"
    tree.mkdir()
    try:
        machine.run("tar", "xf", bench.archive(bench.tags(1)[0]), "-C", tree)
        bench.results.add(bench.make, peer.name, machine.timed(
            "sh", "-c", bench.make, cwd=tree), "s")
    finally:
        _remove(tree)


def _install(bench, peer, project):
    tree = peer.tree / "project"
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, tree)
        bench.results.add(f"npm ci, {project.count:,} packages", peer.name,
                          project.install(tree), "s")
        bench.results.add("rm -rf node_modules", peer.name, machine.timed(
            "rm", "-rf", tree / "node_modules"), "s")


def _installs(bench, peers):
    project = packages.Packages(bench.scratch / "npm", bench.sizes.packages)
    try:
        project.make()
        for _ in bench.rounds():
            for peer in peers:
                bench.attempt(f"npm ci on {peer.name}", _install, peer,
                              project)
    finally:
        _remove(project.dir)


def run(bench):
    """Each program once, but for npm, which takes seconds."""
    with bench.systems(*KINDS) as peers:
        tests = [("git clone", _clone)] if bench.repo else []
        if bench.repo and bench.sizes.build:
            tests.append((bench.make, _build))
        for what, test in tests:
            for peer in peers:
                bench.attempt(f"{what} on {peer.name}", test, peer)
        bench.attempt("npm ci", _installs, peers)
