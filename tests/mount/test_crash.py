# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of the daemon: consistent, at most five seconds old, and all that
was fsynced is there."""
import os
import random
import subprocess
import threading
import time

import pytest

from conftest import SANITIZED
from linux import opened, run

SOURCE = "/usr/include"


def fsync_path(path):
    with opened(path) as fd:
        os.fsync(fd)


def same_as_source(source, copy):
    """
    Every file under its final name is whole: rsync renames a file when it is
    done, and a crash leaves the store as it was at one instant.
    """
    names = final_names(copy)
    for name in names:
        path = os.path.join(copy, name)
        if not os.path.islink(path):
            with open(path, "rb") as a, \
                    open(os.path.join(source, name), "rb") as b:
                assert a.read() == b.read(), path
    return names


def final_names(tree):
    """The files that rsync is done with: the others have a dot in front."""
    return {os.path.relpath(os.path.join(directory, name), tree)
            for directory, _, names in os.walk(tree) for name in names
            if not name.startswith(".")}


@pytest.mark.limit(240)
def test_kill_in_the_middle_of_rsync(store):
    rng = random.Random(9)
    found = set()
    for attempt in range(2 if SANITIZED else 4):
        mnt = store.mount()
        (mnt / "main" / f"safe-{attempt}").write_text(f"{attempt}")
        fsync_path(mnt / "main" / f"safe-{attempt}")
        with subprocess.Popen(
                ["rsync", "-aHAX", "--whole-file", f"{SOURCE}/",
                 f"{mnt}/main/tree/"], stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL) as rsync:
            # The work reports how far it is.
            goal = len(found) + rng.randrange(200, 1500)
            there = set()
            while rsync.poll() is None and len(there) < goal:
                there = final_names(mnt / "main" / "tree")
            if attempt % 2:
                os.mkdir(mnt / f"main@{attempt}")
            fsync_path(mnt / "main")
            mnt.kill()
            rsync.wait()
        mnt = store.mount()
        for i in range(attempt + 1):
            assert (mnt / "main" / f"safe-{i}").read_text() == f"{i}"
        found = same_as_source(SOURCE, mnt / "main" / "tree")
        assert found >= there
        for i in range(1, attempt + 1, 2):
            same_as_source(SOURCE, mnt / f"main@{i}" / "tree")
        mnt.umount()
    mnt = store.mount()
    run("rsync", "-aHAX", "--delete", f"{SOURCE}/", f"{mnt}/main/tree/")
    assert run("rsync", "-aHAX", "--delete", "--checksum", "--dry-run",
               "--itemize-changes", f"{SOURCE}/", f"{mnt}/main/tree/") == ""


def test_fsynced_is_there(store, mnt, main):
    """Contents, names, attributes, forks and snapshots before the fsync."""
    with opened(main / "file", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"x" * 100000)
        os.mkdir(main / "dir")
        os.rename(main / "file", main / "dir" / "renamed")
        os.setxattr(main / "dir" / "renamed", "user.a", b"b")
        os.mkdir(mnt / "main@fork")
        os.mkdir(main / ".snap" / "snap")
        os.fsync(fd)
    mnt.kill()
    mnt = store.mount()
    path = mnt / "main" / "dir" / "renamed"
    assert path.read_bytes() == b"x" * 100000
    assert os.getxattr(path, "user.a") == b"b"
    assert (mnt / "main@fork" / "dir" / "renamed").stat().st_size == 100000
    assert (mnt / "main~snap" / "dir" / "renamed").stat().st_size == 100000


@pytest.mark.parametrize("call", ["fdatasync", "O_SYNC", "O_DSYNC", "fsyncdir"])
def test_every_kind_of_sync(store, mnt, main, call):
    flags = {"O_SYNC": os.O_SYNC, "O_DSYNC": os.O_DSYNC}.get(call, 0)
    with opened(main / "file", os.O_RDWR | os.O_CREAT | flags) as fd:
        os.write(fd, b"x" * 10000)
        if call == "fdatasync":
            os.fdatasync(fd)
    if call == "fsyncdir":
        fsync_path(main)
    mnt.kill()
    mnt = store.mount()
    assert (mnt / "main" / "file").read_bytes() == b"x" * 10000


def test_many_fsyncs_at_once(store, mnt, main):
    done = [0] * 4

    def write(n):
        with opened(main / f"{n}", os.O_RDWR | os.O_CREAT) as fd:
            for i in range(30):
                os.write(fd, b"%09d\n" % i)
                os.fsync(fd)
                done[n] = i + 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [30] * 4
    mnt.kill()
    mnt = store.mount()
    for n in range(4):
        assert (mnt / "main" / f"{n}").stat().st_size == 300


def lost_seconds(store):
    """Return the age of the last line that survives a kill of the daemon."""
    mnt = store.mount()
    end = time.monotonic() + 8
    with opened(mnt / "main" / "clock",
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        while time.monotonic() < end:
            os.write(fd, b"%020.6f\n" % time.monotonic())
    killed = time.monotonic()
    mnt.kill()
    mnt = store.mount()
    lines = (mnt / "main" / "clock").read_bytes().split()
    mnt.umount()
    return killed - float(lines[-1]) if lines else 8.0


def test_at_most_five_seconds_are_lost(store):
    # A second for the commit itself; it takes longer while others keep the disk
    # busy, but not each time.
    lost = []
    while not lost or lost[-1] >= 6 and len(lost) < 3:
        lost.append(lost_seconds(store))
    assert lost[-1] < 6, lost


def test_unlinked_open_files_are_cleaned_up(store, mnt, main):
    fd = os.open(main / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, os.urandom(1 << 20))
    tmpfile = os.open(main, os.O_RDWR | os.O_TMPFILE)
    os.write(tmpfile, b"x")
    os.mkdir(mnt / "main@fork")
    os.unlink(main / "file")
    fsync_path(main)
    mnt.kill()
    for each in fd, tmpfile:
        try:
            os.close(each)
        except OSError:
            pass
    mnt = store.mount()
    assert os.listdir(mnt / "main") == []
    assert os.listdir(mnt / "main@fork") == ["file"]
    assert (mnt / "main@fork" / "file").stat().st_size == 1 << 20
    # the inodes are gone, too: the root directory is all there is
    assert store.json("show", "main")["inodes"] == 1
    assert store.json("show", "main")["bytes"] == 0


@pytest.mark.limit(120)
def test_kill_again_and_again(store):
    """Forks and deletions under way; what was fsynced is always there."""
    rng = random.Random(10)
    expected = {}
    store.verb("default", "main")
    for attempt in range(4 if SANITIZED else 12):
        mnt = store.mount()
        names = set(os.listdir(mnt))
        for name, data in expected.items():
            assert (mnt / name / "file").read_bytes() == data
        for i in range(rng.randrange(5, 40)):
            source = rng.choice(sorted(names))
            name = f"{source.split('@')[0]}@{attempt}-{i}"
            os.mkdir(mnt / name)
            (mnt / name / "file").write_bytes(rng.randbytes(30000))
            names.add(name)
        for name in rng.sample(sorted(names - {"main"}), len(names) // 3):
            store.verb("rm", name)
            expected.pop(name, None)
            names.discard(name)
        data = rng.randbytes(50000)
        keep = rng.choice(sorted(names))
        (mnt / keep / "file").write_bytes(data)
        fsync_path(mnt / keep / "file")
        expected[keep] = data
        for name in sorted(names - set(expected))[:3]:
            (mnt / name / "file").write_bytes(b"not synced")
            store.verb("rm", *([name] if name != "main" else ["-r", name]),
                       code=0 if name != "main" else 1)
        mnt.kill()
        mnt.process.wait()
