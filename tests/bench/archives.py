# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers that keep many versions of a tree and are not file systems.

Each takes versions by keep(), returns its bytes from used(), and reads one
version back by read().
"""
import os
import shutil

import machine


class Archive:
    name = program = "?"

    def __init__(self, directory):
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


class LinkDest(Archive):
    name = "rsync --link-dest"
    program = "rsync"

    def keep(self, tree, name):
        last = [f"--link-dest={self.dir / self.kept[-1]}"] if self.kept else []
        machine.run("rsync", "-a", *last, f"{tree}/", f"{self.dir / name}/")
        self.kept.append(name)

    def read(self, name):
        machine.read_tree(self.dir / name)


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

    def stop(self):
        super().stop()
        shutil.rmtree(self.dir.parent / "restic-home", ignore_errors=True)


class Mounted:
    """A file system as an archive: rsync into it and a snapshot."""

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

    def sync(self):
        self.peer.sync()

    def cold(self):
        self.peer.cold()

    def used(self):
        return self.peer.used()


KINDS = (LinkDest, Borg, Restic)
