# SPDX-License-Identifier: LGPL-2.1-or-later
"""Joins while others use the fork: caches of mounts, writers, crashes."""
import mmap
import os
import random
import subprocess
import threading
import time

import pytest

from conftest import COPPICE
from test_join import contents, run

FILES = 40


def text(kind, number):
    return f"{kind} {number} " * 600


@pytest.fixture(params=["switch", "merge"])
def pair(request, mnt, main):
    """A fork with changes of all kinds; with `merge`, main has some, too."""
    (main / "dir").mkdir()
    for i in range(FILES):
        (main / "dir" / f"f{i}").write_text(text("old", i))
    fork = mnt / "main@try"
    fork.mkdir()
    for i in range(0, FILES, 4):
        (fork / "dir" / f"f{i}").write_text(text("new", i))
        (fork / "dir" / f"f{i + 1}").unlink()
        (fork / "dir" / f"f{i + 2}").rename(fork / f"moved{i + 2}")
        (fork / "dir" / f"added{i}").write_text(text("added", i))
    (fork / "dir").rename(fork / "folder")
    if request.param == "merge":
        (main / "own").write_text("main's own")
    return main, fork


def test_caches_of_other_mounts(store, pair):
    """Another mount, which has all of the tree in its caches, sees the joined
    one at once; what it has open can still be read."""
    main, fork = pair
    other = store.mount("other") / "main"
    assert contents(other) == contents(main)
    missing = [other / "folder", other / "moved2", other / "dir" / "added0"]
    assert not any(os.path.lexists(path) for path in missing)
    with open(other / "dir" / "f0", "rb") as changed, \
            open(other / "dir" / "f1", "rb") as gone, \
            open(other / "dir" / "f2", "rb") as moved, \
            mmap.mmap(changed.fileno(), 0, prot=mmap.PROT_READ) as mapped, \
            mmap.mmap(gone.fileno(), 0, prot=mmap.PROT_READ) as mapped_gone:
        old, new = text("old", 0).encode(), text("new", 0).encode()
        assert mapped[:] == changed.read() == old
        assert mapped_gone[:] == text("old", 1).encode()
        run(store, "main@try")
        expected = contents(fork)
        if (main / "own").exists():
            expected["own"] = contents(main)["own"]
        assert contents(other) == contents(main) == expected
        assert [os.path.lexists(path) for path in missing] == [
            True, True, False]
        changed.seek(0)
        assert changed.read() == new
        assert mapped[:len(new)] == new
        assert gone.read() == mapped_gone[:] == text("old", 1).encode()
        assert moved.read() == text("old", 2).encode()
        assert os.fstat(moved.fileno()).st_nlink == 1
        assert os.fstat(gone.fileno()).st_nlink == 0
    assert contents(other) == expected


def test_a_writer_loses_nothing(store, mnt, main):
    """Whatever was written to the fork while it was joined into is there."""
    fork = mnt / "main@try"
    fork.mkdir()
    stop, written = threading.Event(), 0

    def write():
        nonlocal written
        with open(main / "log", "a", encoding="ascii", buffering=1) as log:
            while not stop.is_set():
                log.write(f"{written}\n")
                (main / f"w{written % 500}").write_text(str(written))
                written += 1

    writer = threading.Thread(target=write)
    writer.start()
    done = 0
    try:
        for i in range(15):
            (fork / f"fork{i}").write_text(text("fork", i))
            result = subprocess.run(
                [COPPICE, "join", "-s", str(store.path), "main@try"],
                capture_output=True, text=True, check=False)
            done += not result.returncode
            assert not result.returncode or \
                "is written to all the time" in result.stderr
    finally:
        stop.set()
        writer.join()
    print(f"{done} joins of 15 beside {written} rounds of the writer")
    run(store, "main@try")
    assert (main / "log").read_text().split() == [
        str(i) for i in range(written)]
    for i in range(min(written, 500)):
        last = (written - 1 - i) // 500 * 500 + i
        assert (main / f"w{i}").read_text() == str(last)
    for i in range(15):
        assert (main / f"fork{i}").read_text() == text("fork", i)
    assert run(store, "main@try").stdout == ""


def test_kills(make_store):
    """A daemon that is killed at any moment of a join leaves the tree as it was,
    or joined; and then the join is known."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    store = make_store()
    mnt = store.mount()
    for turn in range(5):
        main, fork = mnt / "main", mnt / f"main@{turn}"
        (main / f"dir{turn}").mkdir()
        for i in range(100):
            (main / f"dir{turn}" / f"f{i}").write_text("old")
        fork.mkdir()
        for top in main, fork:
            for i in range(0, 100, 5):
                (top / f"dir{turn}" / f"f{i}").write_text(f"by {top.name}")
        (fork / f"dir{turn}").rename(fork / f"moved{turn}")
        store.verb("sync")
        before = contents(main)
        with subprocess.Popen(
                [COPPICE, "join", "-s", str(store.path), "--keep-both",
                 fork.name], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL):
            time.sleep(rng.random() * 0.06)
            mnt.kill()
        mnt = store.mount()
        main, fork = mnt / "main", mnt / fork.name
        moved = main / f"moved{turn}"
        if not moved.exists():
            assert contents(main) == before
            run(store, "--keep-both", fork.name)
        assert len(list(moved.iterdir())) == 120
        assert (moved / "f5").read_text() == "by main"
        assert (moved / f"f5~{fork.name}").read_text() == f"by {fork.name}"
        assert run(store, fork.name).stdout == ""
