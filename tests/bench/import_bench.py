#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Releases of a source tree into Coppice by import, and by rsync onto the mount;
into borg and restic where they are.

    import_bench.py DIR RELEASES

DIR is where the stores are made, and so on which disk; it must be empty.  Each
directory in RELEASES is a release.  All begin empty, and take turns within each
release.  Prints for each the seconds, the processor time of its commands (of
rsync without the daemon's) and the megabytes on the disk.  COPPICE is the command
(coppice).
"""
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

COPPICE = os.environ.get("COPPICE", "coppice")


def used():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def run(*command, **variables):
    subprocess.run([os.fspath(part) for part in command], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   env={**os.environ, **variables})


class Import:
    def __init__(self, path):
        self.path = path
        run(COPPICE, "init", path)

    def add(self, release):
        run(COPPICE, "import", "-s", self.path, "--from", release,
            "--snapshot", release.name, "main")

    def end(self):
        pass


class Rsync(Import):
    def __init__(self, path):
        super().__init__(path)
        self.mount = path.with_suffix(".mnt")
        self.mount.mkdir()
        run(COPPICE, "mount", path, self.mount)

    def add(self, release):
        run("rsync", "-aH", "--delete", f"{release}/", self.mount / "main")
        run(COPPICE, "snap", "-s", self.path, "main", release.name)
        run(COPPICE, "sync", "-s", self.path)

    def end(self):
        run(COPPICE, "umount", self.mount)
        self.mount.rmdir()


class Borg(Import):
    def __init__(self, path):
        self.path = path
        run("borg", "init", "-e", "none", path)

    def add(self, release):
        run("borg", "create", "-C", "zstd,3", f"{self.path}::{release.name}",
            release)


class Restic(Import):
    def __init__(self, path):
        self.path = path
        run("restic", "-q", "init", "-r", path, RESTIC_PASSWORD="x")

    def add(self, release):
        run("restic", "-q", "-r", self.path, "backup", release,
            RESTIC_PASSWORD="x")


def megabytes(path):
    return sum(os.lstat(os.path.join(root, name)).st_blocks * 512
               for root, _, files in os.walk(path) for name in files) / 1e6


def main():
    top, releases = Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
    kinds = [Import, Rsync]
    kinds += [Borg] if shutil.which("borg") else []
    kinds += [Restic] if shutil.which("restic") else []
    systems = [kind(top / kind.__name__.lower()) for kind in kinds]
    times = {system: [0, 0] for system in systems}
    for i, release in enumerate(releases):
        for system in systems[i % len(systems):] + systems[:i % len(systems)]:
            wall, cpu = time.monotonic(), used()
            system.add(release)
            times[system][0] += time.monotonic() - wall
            times[system][1] += used() - cpu
    print(f"{len(releases)} releases, load {os.getloadavg()[0]:.1f}")
    for system in systems:
        system.end()
        wall, cpu = times[system]
        print(f"{type(system).__name__.lower():8} {wall:7.1f} s {cpu:7.1f} s "
              f"{megabytes(system.path):7.1f} MB")


if __name__ == "__main__":
    main()
