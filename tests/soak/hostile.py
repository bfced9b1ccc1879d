#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls by which an ordinary user may get in the way of others: hostile.py
DIRECTORY SEED SECONDS, as root, in a directory of a fork that he may write in.

Nothing here must take others' time; nobody cares whether it succeeds.  Errors
that report damage, and calls that do not come back, do matter.
"""
import ctypes
import errno
import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

NOBODY = 65534
HUGE = (1 << 62) - 2
KEEP, PUNCH, ZERO = 1, 2, 16
# Errors that a user may get; any other one is reported.
FINE = {getattr(errno, name) for name in (
    "EACCES EPERM ENOENT EEXIST ENOTEMPTY EINVAL EFBIG ENOSPC ENODATA E2BIG "
    "ENAMETOOLONG ELOOP EMLINK EXDEV EOPNOTSUPP ENOTDIR EISDIR EROFS ESTALE "
    "ENXIO EBUSY ENODEV ENOTTY ERANGE EINTR ENOMEM EFAULT EOVERFLOW").split()}
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_int64(offset),
                      ctypes.c_int64(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


class User:
    def __init__(self, place, rng, end):
        self.place = place
        self.rng = rng
        self.end = end
        self.fork = place.parent            # MNT/main
        self.top = self.fork.parent         # MNT
        self.mine = place / f"u{rng.randrange(1000)}"
        self.mine.mkdir(exist_ok=True)

    def times(self, most):
        """Count up to the number, or until the time is over."""
        for i in range(most):
            if time.monotonic() > self.end:
                return
            yield i

    def punch(self):
        path = self.mine / "sparse"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, b"x", HUGE)
            for _ in self.times(3):
                fallocate(fd, PUNCH | KEEP, 0, HUGE)
                fallocate(fd, ZERO | KEEP, 1, HUGE - 1)
            fallocate(fd, self.rng.choice([0, KEEP]), 0, HUGE)
        finally:
            os.close(fd)
            os.unlink(path)

    def sparse(self):
        path = self.mine / "sparse"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            for _ in self.times(30):
                size = self.rng.choice([1 << 40, 1 << 61, HUGE, 5])
                os.ftruncate(fd, size)
                os.pwrite(fd, b"x", max(0, size - 3))
                os.lseek(fd, self.rng.randrange(size), os.SEEK_DATA)
                os.lseek(fd, 0, os.SEEK_HOLE)
                os.pread(fd, 100000, self.rng.randrange(size))
                with open(self.mine / "copy", "wb") as copy:
                    os.copy_file_range(fd, copy.fileno(), 1 << 40, 0, 1 << 41)
        finally:
            os.close(fd)
            os.unlink(path)

    def positions(self):
        for i in self.times(2000):
            name = self.rng.choice(
                ["main~99999", f"main~{i + 1}", "main~4294967296",
                 "main~18446744073709551617", "main~@yesterday",
                 "main~@1900-01-01", "main~@9999-12-31", "main~@-99999999h",
                 "main~", "~1", "main~1~1", "main~1@x~2"])
            try:
                os.lstat(self.top / name)
            except FileNotFoundError:
                pass

    def snapshots(self):
        for i in self.times(100):
            path = self.fork / ".snap" / f"h{self.rng.randrange(5)}"
            try:
                os.mkdir(path)
            except FileExistsError:
                os.rmdir(path)

    def forks(self):
        for i in self.times(50):
            os.mkdir(self.top / f"main@h{i}")

    def xattrs(self):
        path = self.mine / "attributes"
        path.touch()
        try:
            for i in self.times(200):
                os.setxattr(path, f"user.{i}" + "n" * (i % 240),
                            os.urandom(self.rng.choice([0, 1, 4000, 65536])))
                os.listxattr(path)
        finally:
            for name in os.listxattr(path):
                os.removexattr(path, name)

    def deep(self):
        depth = 0
        fds = [os.open(self.mine, os.O_RDONLY)]
        try:
            for _ in self.times(1000):
                os.mkdir("d" * 200, dir_fd=fds[-1])
                fds.append(os.open("d" * 200, os.O_RDONLY, dir_fd=fds[-1]))
                depth += 1
                if depth > 1:
                    os.close(fds.pop(0))
            os.rename(self.mine / ("d" * 200), self.mine / "deep")
            os.rename(self.mine / "deep", self.mine / ("d" * 200))
        finally:
            for _ in range(depth):
                up = os.open("..", os.O_RDONLY, dir_fd=fds[-1])
                os.rmdir("d" * 200, dir_fd=up)
                os.close(fds.pop())
                fds.append(up)
            os.close(fds.pop())

    def symlinks(self):
        for name, to in ("a", "b"), ("b", "a"), ("c", "x" * 4095):
            os.symlink(to, self.mine / name)
        try:
            for i in self.times(10000):
                try:
                    os.stat(self.mine / self.rng.choice("abc"))
                except OSError as problem:
                    if problem.errno not in FINE:
                        raise
        finally:
            for name in "abc":
                os.unlink(self.mine / name)

    def links(self):
        made = 0
        (self.mine / "file").touch()
        try:
            for made in self.times(3000):
                os.link(self.mine / "file", self.mine / f"link{made}")
            os.listdir(self.mine)
        finally:
            for i in range(made + 1):
                (self.mine / f"link{i}").unlink(missing_ok=True)
            os.unlink(self.mine / "file")

    def names(self):
        for _ in self.times(300):
            name = self.rng.randbytes(self.rng.randrange(1, 256)).replace(
                b"/", b"@").replace(b"\0", b"~")
            place = os.fsencode(self.rng.choice(
                [self.mine, self.top, self.fork / ".snap"]))
            try:
                os.mkdir(place + b"/" + name)
                os.rmdir(place + b"/" + name)
            except OSError as problem:
                if problem.errno not in FINE:
                    raise

    def maps(self):
        path = self.mine / "map"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(fd, 1 << 40)
            for _ in self.times(20):
                with mmap.mmap(fd, 1 << 30) as area:
                    for _ in range(50):
                        area[self.rng.randrange(1 << 30)] = 1
                fallocate(fd, PUNCH | KEEP, 0, 1 << 40)
        finally:
            os.close(fd)
            os.unlink(path)

    def killed(self):
        """Children that are killed in the middle of a call."""
        for i in self.times(20):
            child = os.fork()
            if not child:
                try:
                    with open(self.mine / f"k{i}", "wb") as file:
                        while True:
                            file.write(b"x" * 100000)
                            file.flush()
                            os.fsync(file.fileno())
                            os.ftruncate(file.fileno(), 10)
                            file.seek(0)
                finally:
                    os._exit(1)
            time.sleep(self.rng.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            (self.mine / f"k{i}").unlink(missing_ok=True)

    def handles(self):
        """Numbers that no directory ever showed; root alone may."""
        mount = os.open(self.fork, os.O_RDONLY)
        try:
            for _ in self.times(2000):
                node = self.rng.choice(
                    [self.rng.randrange(1 << 64), self.rng.randrange(1 << 40),
                     self.rng.randrange(50) << 36 | self.rng.randrange(2000)])
                handle = struct.pack(
                    "IiIII", 12, self.rng.choice([0x81, 0x82]), node >> 32,
                    node & 0xffffffff, self.rng.choice([0, 0, 1, 1 << 31]))
                fd = libc.open_by_handle_at(mount, handle, os.O_RDONLY)
                if fd >= 0:
                    os.fstat(fd)
                    os.close(fd)
                elif ctypes.get_errno() not in FINE:
                    raise OSError(ctypes.get_errno(), "open_by_handle_at")
        finally:
            os.close(mount)

    TRICKS = [punch, sparse, positions, snapshots, forks, xattrs, deep,
              symlinks, links, names, maps, killed]

    def run(self):
        while time.monotonic() < self.end:
            trick = self.rng.choice(self.TRICKS)
            began = time.monotonic()
            try:
                trick(self)
            except OSError as problem:
                if problem.errno not in FINE:
                    raise RuntimeError(f"{trick.__name__}: {problem}") \
                        from problem
            took = time.monotonic() - began
            print(f"{trick.__name__} {took:.2f}", flush=True)


def become_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def main():
    place, seed, seconds = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    end = time.monotonic() + float(seconds)
    children = []
    for i in range(3):
        child = os.fork()
        if child:
            children.append(child)
            continue
        rng = random.Random(seed + i)
        if i == 0:
            User(place, rng, end).handles()
            os._exit(0)
        become_nobody()
        os.umask(0)
        status = 1
        try:
            User(place, rng, end).run()
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)
    sys.exit(any([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                  for child in children]))


if __name__ == "__main__":
    main()
