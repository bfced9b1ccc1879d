# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers that keep many versions of a tree.

Each takes versions by keep(), returns its bytes from used(), reads one version
back by read(), and writes it to an empty directory by restore().
"""
import contextlib
import os
import shutil

import machine


class Archive:
    name = program = "?"
    kept_alone = True  # no daemon or kernel does a part of the work

    def __init__(self, bench, directory):
        self.bench = bench
        self.dir = directory
        self.kept = []

    def require(self):
        if not shutil.which(self.program):
            raise machine.Missing("not installed")

    def start(self):
        self.dir.mkdir(parents=True)

    def keep(self, tree, name):
        raise NotImplementedError

    def read(self, name):
        raise NotImplementedError

    def restore(self, name, to):
        raise NotImplementedError

    def sync(self):
        machine.run("sync", "-f", self.dir)

    def cold(self):
        self.sync()
        if machine.is_root():
            machine.drop_caches()

    def used(self):
        return machine.disk_bytes(self.dir)

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Import(Archive):
    """coppice import into a store that is not mounted."""
    name = "coppice import"
    program = None

    def require(self):
        pass

    def start(self):
        super().start()
        self.store = self.dir / "store"
        machine.run(self.bench.coppice, "init", self.store)

    def keep(self, tree, name):
        machine.run(self.bench.coppice, "import", "-s", self.store,
                    f"--from={tree}", f"--snapshot={name}", "main")

    @contextlib.contextmanager
    def _mounted(self):
        mnt = self.dir / "mnt"
        mnt.mkdir()
        machine.run(self.bench.coppice, "mount", self.store, mnt)
        try:
            yield mnt
        finally:
            machine.run(self.bench.coppice, "umount", mnt)
            mnt.rmdir()

    def stop(self):
        # Never into what could not be unmounted.
        if not machine.mounted(self.dir / "mnt"):
            super().stop()

    def read(self, name):
        with self._mounted() as mnt:
            machine.read_tree(mnt / "main" / ".snap" / name)

    def restore(self, name, to):
        machine.run(self.bench.coppice, "export", "-s", self.store,
                    f"--to={to}", f"main~{name}")

    def copy(self, name, to):
        with self._mounted() as mnt:
            machine.run("cp", "-a", f"{mnt}/main/.snap/{name}/.", to)


class LinkDest(Archive):
    name = "rsync --link-dest"
    program = "rsync"

    def keep(self, tree, name):
        last = [f"--link-dest={self.dir / self.kept[-1]}"] if self.kept else []
        machine.run("rsync", "-a", *last, f"{tree}/", f"{self.dir / name}/")
        self.kept.append(name)

    def read(self, name):
        machine.read_tree(self.dir / name)

    def restore(self, name, to):
        machine.run("cp", "-a", f"{self.dir / name}/.", to)


class Borg(Archive):
    name = "borg zstd,3"
    program = "borg"

    def _run(self, *arguments, cwd=None, run=machine.run):
        # Its caches lie beside the archive, not in it.
        home = str(self.dir.parent / "borg-home")
        environment = {**os.environ, "BORG_BASE_DIR": home,
                       "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                       "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        run(self.program, *arguments, cwd=cwd, env=environment)

    def start(self):
        self._run("init", "-e", "none", self.dir)

    def keep(self, tree, name):
        self._run("create", "-C", "zstd,3", f"{self.dir}::{name}", ".",
                  cwd=tree)

    def read(self, name):
        self._run("export-tar", f"{self.dir}::{name}", "-",
                  run=machine.run_piped)

    def restore(self, name, to):
        self._run("extract", f"{self.dir}::{name}", cwd=to)

    def stop(self):
        super().stop()
        shutil.rmtree(self.dir.parent / "borg-home", ignore_errors=True)


class Restic(Archive):
    name = "restic"
    program = "restic"

    def _run(self, *arguments, cwd=None, run=machine.run):
        environment = {**os.environ, "RESTIC_PASSWORD": "benchmark",
                       "RESTIC_CACHE_DIR": str(self.dir.parent / "restic-home")}
        run(self.program, "-q", "-r", self.dir, *arguments, cwd=cwd,
            env=environment)

    def start(self):
        try:
            self._run("init", "--repository-version", "2")
        except machine.Failed:  # of before compression
            self._run("init")

    def keep(self, tree, name):
        self._run("backup", "--tag", name, ".", cwd=tree)

    def read(self, name):
        self._run("dump", "--tag", name, "latest", "/",
                  run=machine.run_piped)

    def restore(self, name, to):
        self._run("restore", "latest", "--tag", name, "--target", to)

    def stop(self):
        super().stop()
        shutil.rmtree(self.dir.parent / "restic-home", ignore_errors=True)


class Mounted:
    """A file system as an archive: rsync into it and a snapshot."""
    kept_alone = False

    def __init__(self, peer):
        self.peer = peer
        self.name = peer.name
        self.places = {}

    def keep(self, tree, name):
        machine.run("rsync", "-a", "--delete", f"{tree}/",
                    f"{self.peer.tree}/")
        self.places[name] = self.peer.snapshot(name)

    def read(self, name):
        machine.read_tree(self.places[name])

    def restore(self, name, to):
        machine.run("cp", "-a", f"{self.places[name]}/.", to)

    def sync(self):
        self.peer.sync()

    def cold(self):
        self.peer.cold()

    def used(self):
        return self.peer.used()


KINDS = (Import, Borg, Restic, LinkDest)


@contextlib.contextmanager
def started(bench, *systems):
    """Start those file systems and all archives that are there, each empty."""
    directory = bench.work / "archives"
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.mkdir(parents=True)
        peers = stack.enter_context(bench.systems(*systems))
        found = [Mounted(peer) for peer in peers]
        for kind in KINDS:
            archive = kind(bench, directory / kind.__name__.lower())
            try:
                archive.require()
            except machine.Missing as why:
                bench.results.leave_out(archive.name, why)
                continue
            stack.callback(archive.stop)
            archive.start()
            found.append(archive)
        yield found
