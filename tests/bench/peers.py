# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file systems that are measured side by side.

A peer is started for one test, on nothing, and stopped after it; stop() is safe
at any time, also when start() got half way.
"""
import os
import shutil
import subprocess

import machine


class Peer:
    """A file system with a directory to work in."""
    name = "?"
    snapshots = None  # how snap.c makes them: mkdir, btrfs or None

    def __init__(self, bench, directory):
        self.bench = bench
        self.dir = directory
        self.mnt = directory / "mnt"
        self.process = None
        self.log = None

    def require(self):
        """Raises Missing if this peer cannot be had."""

    def start(self):
        raise NotImplementedError

    @property
    def tree(self):
        """Return the directory that the work is done in."""
        return self.mnt

    def pids(self):
        """The daemons behind it."""
        return [self.process.pid] if self.process else []

    def sync(self):
        """Everything written so far becomes durable."""
        machine.run("sync", "-f", self.dir)

    def cold(self):
        """Nothing that was read or written is in memory any more."""
        self.sync()
        if machine.is_root():
            machine.drop_caches()

    def used(self):
        """Bytes on the disk."""
        return machine.disk_bytes(self.dir)

    def snapshot(self, name):
        """Returns where the snapshot can be read."""
        raise NotImplementedError

    def serve(self, *command):
        """Start a daemon in the foreground and wait for its mount."""
        self.mnt.mkdir(parents=True, exist_ok=True)
        self.log = self.dir / "log"
        with open(self.log, "ab") as log:
            self.process = machine.start(*command, log=log)
        machine.wait_for(self._ready, f"the mount of {self.name}")

    def _ready(self):
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-400:].strip()
            raise machine.Failed(
                f"{self.name} ended with {self.process.returncode}: {said}")
        return machine.mounted(self.mnt)

    def unmount(self):
        for command in (["umount", self.mnt], ["umount", "-l", self.mnt]):
            if not machine.mounted(self.mnt):
                break
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL,
                           stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self):
        self.unmount()
        machine.end(self.process)
        self.process = None
        # Never into what could not be unmounted.
        if not machine.mounted(self.mnt):
            shutil.rmtree(self.dir, ignore_errors=True)


class Native(Peer):
    """The directory's own file system."""

    def __init__(self, bench, directory):
        super().__init__(bench, directory)
        self.name = machine.file_system(directory.parent)

    def start(self):
        self.mnt.mkdir(parents=True)


class Btrfs(Peer):
    """btrfs on a loop device; its working tree is a subvolume."""
    name = "btrfs"
    snapshots = "btrfs"
    options = "loop"

    def require(self):
        if not machine.is_root():
            raise machine.Missing("needs root")
        for program in ("mkfs.btrfs", "btrfs"):
            if not shutil.which(program):
                raise machine.Missing(f"no {program}")

    def start(self):
        self.mnt.mkdir(parents=True)
        image = self.dir / "image"
        free = shutil.disk_usage(self.dir).free
        with open(image, "wb") as file:
            file.truncate(max(free * 9 // 10, 1 << 30) >> 20 << 20)
        # Coppice keeps one copy of its metadata, too.
        machine.run("mkfs.btrfs", "-q", "-m", "single", image)
        machine.run("mount", "-t", "btrfs", "-o", self.options, image, self.mnt)
        machine.run("btrfs", "subvolume", "create", self.tree)
        self.sync()
        self.empty = self._used()

    @property
    def tree(self):
        return self.mnt / "main"

    def sync(self):
        machine.run("sync", "-f", self.mnt)

    def _used(self):
        out = machine.run("btrfs", "filesystem", "usage", "-b", self.mnt)
        return next(int(line.split()[1]) for line in out.splitlines()
                    if line.strip().startswith("Used:"))

    def used(self):
        self.sync()
        return self._used() - self.empty

    def snapshot(self, name):
        machine.run("btrfs", "subvolume", "snapshot", "-r", self.tree,
                    self.mnt / name)
        return self.mnt / name


class BtrfsZstd(Btrfs):
    name = "btrfs zstd:3"
    options = "loop,compress=zstd:3"


class Passthrough(Peer):
    """libfuse's example with one thread, on the directory's file system."""
    name = "passthrough_ll"

    def require(self):
        if not self.bench.passthrough:
            raise machine.Missing("no source of it among libfuse3-dev's "
                                  "examples; see --passthrough")

    def start(self):
        source = self.dir / "source"
        source.mkdir(parents=True)
        options = f"source={source}"
        if machine.is_root():
            options += ",allow_other,default_permissions"
        self.serve(self.bench.passthrough, "-f", "-s", "-o", options, self.mnt)


class Overlay(Peer):
    """fuse-overlayfs, as it comes, with an empty lower layer."""
    name = "fuse-overlayfs"

    def require(self):
        if not shutil.which(self.name):
            raise machine.Missing("not installed")

    def start(self):
        layers = {}
        for layer in ("lowerdir", "upperdir", "workdir"):
            layers[layer] = self.dir / layer
            layers[layer].mkdir(parents=True)
        options = ",".join(f"{k}={v}" for k, v in layers.items())
        self.serve(self.name, "-f", "-o", options, self.mnt)


class Coppice(Peer):
    """Coppice; its working tree is main."""
    name = "coppice"
    snapshots = "mkdir"
    options = ""

    def __init__(self, bench, directory):
        super().__init__(bench, directory)
        self.store = directory / "store"

    def command(self, *arguments):
        return machine.run(self.bench.coppice, *arguments)

    def start(self):
        self.dir.mkdir(parents=True)
        self.command("init", self.store)
        self._mount()

    def _mount(self):
        command = [self.bench.coppice, "mount", "-f"]
        if self.options:
            command += ["-o", self.options]
        self.serve(*command, self.store, self.mnt)

    @property
    def tree(self):
        return self.mnt / "main"

    def sync(self):
        self.command("sync", "-s", self.store)

    def unmount(self):
        if self.process and self.process.poll() is None:
            self._umount()
        super().unmount()

    def _umount(self):
        try:
            machine.run(self.bench.coppice, "umount", self.mnt)
            self.process.wait(60)
        except (machine.Failed, subprocess.TimeoutExpired):
            pass

    def cold(self):
        """The daemon has caches of its own, so it ends and begins again."""
        self._umount()
        if machine.is_root():
            machine.drop_caches()
        self._mount()

    def used(self):
        self.sync()
        return machine.disk_bytes(self.store)

    def live(self):
        """Bytes of the store that something still needs."""
        vfs = os.statvfs(self.mnt)
        return (vfs.f_blocks - vfs.f_bfree) * vfs.f_frsize

    def snapshot(self, name):
        path = self.tree / ".snap" / name
        path.mkdir()
        return path


class CoppiceFork(Coppice):
    """One state alone: the kernel opens files by itself."""
    name = "coppice, one state"
    options = "state=main"

    @property
    def tree(self):
        return self.mnt


class CoppiceSmall(Coppice):
    """With little memory."""
    name = "coppice, memory=64M"
    options = "memory=64M"


KINDS = {
    "native": Native, "btrfs": Btrfs, "btrfs-zstd": BtrfsZstd,
    "passthrough": Passthrough, "overlay": Overlay, "coppice": Coppice,
    "coppice-fork": CoppiceFork, "coppice-small": CoppiceSmall,
}
