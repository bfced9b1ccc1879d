# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice clone: subtrees copied within the store, past the kernel."""
import os
import random
import subprocess
import threading
import time

import pytest

from conftest import COPPICE, SANITIZED
from linux import tree_of


@pytest.fixture
def tree(main):
    """A directory with all that a directory can have."""
    top = main / "tree"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "small").write_text("small")
    (top / "a" / "large").write_bytes(os.urandom(300000))
    (top / "a" / "b" / "empty").touch()
    os.link(top / "a" / "small", top / "a" / "b" / "link")
    os.symlink("a/small", top / "symlink")
    os.symlink("x" * 1000, top / "long-symlink")
    os.mkfifo(top / "fifo")
    os.chmod(top / "a" / "b", 0o1751)
    os.setxattr(top / "a" / "small", "user.long", b"v" * 1000)
    os.setxattr(top / "a", "user.short", b"v")
    with open(top / "a" / "sparse", "wb") as file:
        file.truncate(10 ** 7)
        file.seek(5 * 10 ** 6)
        file.write(b"middle")
    for i in range(300):
        (top / "a" / "b" / f"file-{i}").write_text(str(i))
    os.utime(top / "a", (10 ** 9, 10 ** 9))
    if os.geteuid() == 0:
        os.chown(top / "a" / "b" / "empty", 1234, 4321)
        os.mknod(top / "device", 0o20600, os.makedev(1, 3))
    return top


def test_like_cp(store, mnt, main, tree):
    before = tree_of(tree)
    output = store.verb("clone", "-v", "main:/tree", "main:/copy")
    assert tree_of(main / "copy") == before
    assert output == f"{len(before)} entries\n"
    inos = {os.lstat(os.path.join(root, name)).st_ino
            for root, dirs, files in os.walk(tree) for name in dirs + files}
    assert not inos & {
        os.lstat(os.path.join(root, name)).st_ino
        for root, dirs, files in os.walk(main / "copy")
        for name in dirs + files}
    # They share bytes, and no more than that.
    (main / "copy" / "a" / "small").write_text("changed")
    with open(main / "copy" / "a" / "large", "r+b") as file:
        file.write(b"changed")
    assert tree_of(tree) == before


def test_json(store, mnt, main, tree):
    answer = store.json("clone", "main:/tree/a/b", "main:/copy")
    assert answer == {"name": "main", "path": "/copy",
                      "entries": 303}


def test_across_states_and_mounts(store, mnt, main, tree):
    before = tree_of(tree)
    (main / ".snap" / "monday").mkdir()
    (mnt / "main@try").mkdir()
    other = store.mount("second")
    # The name is known to be missing in both.
    assert not (mnt / "main@try" / "copy").exists()
    assert not (other / "main@try" / "copy").exists()
    (tree / "a" / "small").write_text("changed")
    store.coppice("clone", mnt / "main" / ".snap" / "monday" / "tree",
                  mnt / "main@try" / "copy")
    for root in mnt, other:
        assert "copy" in os.listdir(root / "main@try")
        assert tree_of(root / "main@try" / "copy") == before
    store.verb("clone", "main~monday:/", "main@try:/all")
    assert sorted(os.listdir(other / "main@try" / "all")) == ["tree"]
    store.verb("clone", "main~monday:/tree/symlink", "main@try:/link")
    assert os.readlink(other / "main@try" / "link") == "a/small"


def test_without_a_mount(store, mnt, main, tree):
    before = tree_of(tree)
    store.mounts[0].umount()
    store.verb("clone", "main:/tree", "main:/copy")
    assert tree_of(store.mount() / "main" / "copy") == before


def test_while_the_source_is_written(store, mnt, main):
    """The copy is one instant: of two files the second is never newer."""
    top = main / "top"
    top.mkdir()
    for i in range(3000):
        (top / f"f{i}").write_text("%08d" % 0)
    stop = threading.Event()

    def write():
        count = 0
        with open(top / "f0", "r+b", 0) as first, \
                open(top / "f2999", "r+b", 0) as last:
            while not stop.is_set():
                count += 1
                for file in first, last:
                    os.pwrite(file.fileno(), b"%08d" % count, 0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(10):
            store.verb("clone", "main:/top", f"main:/copy{i}")
            first, last = (int((main / f"copy{i}" / name).read_text())
                           for name in ("f0", "f2999"))
            assert last <= first <= last + 1
            assert len(os.listdir(main / f"copy{i}")) == 3000
    finally:
        stop.set()
        writer.join()


def test_killed_in_the_middle(store, mnt, main):
    """After kill -9 the copy is whole or not there, and nothing is left over."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    top = main / "top"
    for i in range(60):
        (top / f"d{i}").mkdir(parents=True)
        for j in range(100):
            (top / f"d{i}" / f"f{j}").write_text(f"{i} {j}" * 10)
    before = tree_of(top)
    store.verb("sync")
    mount = mnt
    for i in range(2 if SANITIZED else 6):
        command = [COPPICE, "clone", "-s", store.path, "main:/top",
                   f"main:/copy{i}"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + rng.random() * 0.12
            while time.monotonic() < end and process.poll() is None:
                pass
            # Some of it is on the disk already.
            if rng.random() < 0.5:
                store.verb("sync")
            store.mounts[-1].kill()
            process.wait()
        mount = store.mount(f"mnt{i}")
        copy = mount / "main" / f"copy{i}"
        if copy.exists():
            assert tree_of(copy) == before
        store.verb("check")


def test_bad_input(store, mnt, main, tree):
    (main / ".snap" / "monday").mkdir()
    before = sorted(os.listdir(main)), sorted(os.listdir(tree))
    for source, target, words in [
            ("main:/nothing", "main:/x", "no such file"),
            ("nothing:/tree", "main:/x", "no such state"),
            ("main:/tree", "nothing:/x", "no such state"),
            ("main:/tree", "main:/tree", "it exists"),
            ("main:/tree", "main:/", "it exists"),
            ("main:/tree", "main:/.snap", "it exists"),
            ("main:/tree", "main:/tree/a/small/x", "not a directory"),
            ("main:/tree", "main:/no/where", "no such file"),
            ("main:/tree", "main~monday:/x", "it is in a snapshot"),
            ("main:/tree", "main:/x/..", "no such file"),
            ("main:/tree", "main:/tree/..", "not a possible name"),
            ("main:/tree", "main:/" + "n" * 256, "name too long"),
            ("main:/tree/symlink/x", "main:/x", "not a directory")]:
        error = store.coppice("clone", "-s", store.path, source, target,
                              code=1).stderr
        assert words in error.replace("File name", "name"), error
        assert error.count("\n") == 1
    store.coppice("clone", "-s", store.path, "main:/tree", code=2)
    assert before == (sorted(os.listdir(main)), sorted(os.listdir(tree)))
