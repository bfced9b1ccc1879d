# SPDX-License-Identifier: LGPL-2.1-or-later
"""-o sync: whatever a call has changed is there after a crash."""
import contextlib
import mmap
import os

import pytest

from linux import fallocate, opened


def prepare(main):
    (main / "file").write_bytes(b"old" * 5000)
    (main / "dir").mkdir()
    (main / "other").write_text("other")
    (main / ".snap" / "monday").mkdir()


def write_some(path, flags=0):
    with opened(path, os.O_RDWR | flags) as fd:
        os.pwrite(fd, mmap.mmap(-1, 4096), 0)


def append_new(path):
    with opened(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"a")
        os.write(fd, b"b")


def allocate(path):
    with opened(path, os.O_RDWR) as fd:
        fallocate(fd, 0, 1 << 20, 4096)


def copy(source, target):
    with opened(source) as a, opened(target, os.O_RDWR) as b:
        assert os.copy_file_range(a, b, 5) == 5


def make_in(path):
    with opened(path, os.O_CREAT | os.O_RDWR):
        pass


# Changes of the prepared tree, and tests for their results.
CHANGES = {
    "create": (lambda m: make_in(m / "new"),
               lambda m: (m / "new").exists()),
    "mkdir": (lambda m: (m / "new").mkdir(), lambda m: (m / "new").is_dir()),
    "mknod": (lambda m: os.mkfifo(m / "new"), lambda m: (m / "new").is_fifo()),
    "symlink": (lambda m: (m / "new").symlink_to("x"),
                lambda m: (m / "new").is_symlink()),
    "link": (lambda m: os.link(m / "file", m / "new"),
             lambda m: (m / "new").exists()),
    "unlink": (lambda m: (m / "file").unlink(),
               lambda m: not (m / "file").exists()),
    "rmdir": (lambda m: (m / "dir").rmdir(),
              lambda m: not (m / "dir").exists()),
    "rename": (lambda m: (m / "file").rename(m / "other"),
               lambda m: (m / "other").stat().st_size == 15000),
    "chmod": (lambda m: (m / "file").chmod(0o600),
              lambda m: (m / "file").stat().st_mode & 0o777 == 0o600),
    "utime": (lambda m: os.utime(m / "file", (5, 5)),
              lambda m: (m / "file").stat().st_mtime == 5),
    "truncate": (lambda m: os.truncate(m / "file", 5),
                 lambda m: (m / "file").stat().st_size == 5),
    "open": (lambda m: (m / "file").open("w").close(),
             lambda m: (m / "file").stat().st_size == 0),
    "setxattr": (lambda m: os.setxattr(m / "file", "user.x", b"1"),
                 lambda m: os.listxattr(m / "file") == ["user.x"]),
    "fallocate": (lambda m: allocate(m / "file"),
                  lambda m: (m / "file").stat().st_size > 1 << 20),
    "copy": (lambda m: copy(m / "other", m / "file"),
             lambda m: (m / "file").read_bytes()[:5] == b"other"),
    "write": (lambda m: write_some(m / "file"),
              lambda m: not any((m / "file").read_bytes()[:4096])),
    "append": (lambda m: append_new(m / "new"),
               lambda m: (m / "new").read_bytes() == b"ab"),
    "direct": (lambda m: write_some(m / "file", os.O_DIRECT),
               lambda m: not any((m / "file").read_bytes()[:4096])),
    "snap": (lambda m: (m / ".snap" / "new").mkdir(),
             lambda m: (m / ".snap" / "new").is_dir()),
    "unsnap": (lambda m: (m / ".snap" / "monday").rmdir(),
               lambda m: not (m / ".snap" / "monday").exists()),
    "fork": (lambda m: (m.parent / "main@new").mkdir(),
             lambda m: (m.parent / "main@new").is_dir()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change(store, name):
    change, is_there = CHANGES[name]
    mnt = store.mount("mnt", "sync")
    prepare(mnt / "main")
    store.verb("sync")
    change(mnt / "main")
    assert is_there(mnt / "main")
    mnt.kill()
    assert is_there(store.mount("again") / "main")


@pytest.mark.parametrize("name, flags", [
    ("O_SYNC", os.O_SYNC), ("O_DSYNC", os.O_DSYNC),
    ("append", os.O_SYNC | os.O_APPEND), ("direct", os.O_DSYNC | os.O_DIRECT),
    ("direct append", os.O_DSYNC | os.O_APPEND | os.O_DIRECT)])
def test_a_write_to_a_file_opened_so(store, name, flags):
    """Each such write is durable when it returns, on any mount."""
    mnt = store.mount()
    fd = os.open(mnt / "main" / "file", flags | os.O_CREAT | os.O_WRONLY)
    for i in b"abc":
        area = mmap.mmap(-1, 4096)
        area.write(bytes([i]) * 4096)
        assert os.write(fd, area) == 4096
    mnt.kill()
    with contextlib.suppress(OSError):  # nobody answers
        os.close(fd)
    data = (store.mount("again") / "main" / "file").read_bytes()
    assert data == b"a" * 4096 + b"b" * 4096 + b"c" * 4096


def test_remount(store):
    """A remount sets and clears the option."""
    for options, kept in ("", False), ("sync", True):
        mnt = store.mount("mnt", "" if kept else "sync")
        store.coppice("mount", "-o", f"remount,{options}", store.path, mnt.path)
        store.verb("sync")
        (mnt / "main" / f"new-{kept}").mkdir()
        mnt.kill()
        mnt = store.mount("again")
        assert (mnt / "main" / f"new-{kept}").exists() == kept
        mnt.umount()


def test_another_mount_goes_without(store):
    """The option is that of one mount; the daemon has several."""
    server = store.mount("one", "sync")
    other = store.mount("two")
    (other / "main" / "new").mkdir()
    server.kill()
    other.kill()
    assert not (store.mount("again") / "main" / "new").exists()
