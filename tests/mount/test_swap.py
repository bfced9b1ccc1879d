# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two states exchange their names, by `coppice swap` and by renameat2(2)."""
import errno
import os
import random
import threading

import pytest

from linux import RENAME_EXCHANGE, raises, renameat2


@pytest.fixture
def pair(store, mnt, main):
    """main and other, whose file `who` names them."""
    (main / "who").write_text("main")
    (mnt / "main@other").mkdir()
    (mnt / "main@other").rename(mnt / "other")
    (mnt / "other" / "who").write_text("other")
    return mnt


def by_command(store, mnt):
    store.verb("swap", "main", "other")


def by_call(store, mnt):
    renameat2(mnt / "main", mnt / "other", RENAME_EXCHANGE)


@pytest.mark.parametrize("swap", [by_command, by_call])
def test_forks_exchange_names(store, pair, swap):
    mnt = pair
    (mnt / "main" / ".snap" / "monday").mkdir()
    (mnt / "other" / ".snap" / "tuesday").mkdir()
    store.verb("default", "main")
    with open(mnt / "main" / "who") as file:
        ino = os.fstat(file.fileno()).st_ino
        swap(store, mnt)
        assert (mnt / "main" / "who").read_text() == "other"
        assert (mnt / "other" / "who").read_text() == "main"
        assert file.read() == "main"
        assert os.stat(mnt / "other" / "who").st_ino == ino
    assert os.listdir(mnt / "main" / ".snap") == ["tuesday"]
    assert os.listdir(mnt / "other" / ".snap") == ["monday"]
    assert os.readlink(mnt / "other~1") == "other/.snap/monday"
    assert store.verb("default").strip() == "other"
    swap(store, mnt)
    assert (mnt / "main" / "who").read_text() == "main"
    assert os.readlink(mnt / "main~1") == "main/.snap/monday"


def test_snapshots_of_one_fork_exchange_names(store, mnt, main):
    for day in "monday", "tuesday":
        (main / "day").write_text(day)
        (main / ".snap" / day).mkdir()
    store.verb("swap", "main~monday", "main~tuesday")
    assert (main / ".snap" / "monday" / "day").read_text() == "tuesday"
    assert (main / ".snap" / "tuesday" / "day").read_text() == "monday"


@pytest.mark.parametrize("swap", [by_command, by_call])
def test_other_mounts_see_it(store, pair, swap):
    other = store.mount("second")
    alone = store.mount("alone", "state=main")
    for root in pair, other:
        assert (root / "main" / "who").read_text() == "main"
        assert (root / "other" / "who").read_text() == "other"
    assert (alone / "who").read_text() == "main"
    swap(store, pair)
    for root in pair, other:
        assert (root / "main" / "who").read_text() == "other"
        assert (root / "other" / "who").read_text() == "main"
    # A mount of one state keeps the state.
    assert (alone / "who").read_text() == "main"


def test_names_are_never_missing(store, pair):
    """Readers in two mounts find the one fork or the other, all the time."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    roots = [pair, store.mount("second")]
    stop = threading.Event()
    wrong = []

    def read(root, name, rng):
        while not stop.is_set():
            try:
                text = (root / name / rng.choice(["who", "./who"])).read_text()
                if text not in ("main", "other"):
                    wrong.append((name, text))
            except OSError as error:
                wrong.append((name, error))

    threads = [
        threading.Thread(target=read, args=(
            root, name, random.Random(seed + i)))
        for i, (root, name) in enumerate(
            (root, name) for root in roots for name in ("main", "other"))]
    for thread in threads:
        thread.start()
    rng = random.Random(seed)
    try:
        for i in range(60):
            rng.choice([by_command, by_call])(store, rng.choice(roots))
            expected = "other" if i % 2 == 0 else "main"
            for root in roots:
                assert (root / "main" / "who").read_text() == expected
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_durable_when_it_returns(store, pair):
    store.verb("sync")
    store.verb("swap", "main", "other")
    store.mounts[0].kill()
    again = store.mount()
    assert (again / "main" / "who").read_text() == "other"
    assert (again / "other" / "who").read_text() == "main"


def test_without_a_mount(store, pair):
    store.mounts[0].umount()
    store.verb("swap", "main", "other")
    again = store.mount()
    assert (again / "main" / "who").read_text() == "other"


def test_bad_input(store, pair):
    mnt = pair
    (mnt / "main" / ".snap" / "monday").mkdir()
    before = store.names()
    for args, words in [
            (("main", "nothing"), "there is no such state"),
            (("nothing", "main"), "there is no such state"),
            (("main", "main"), "with itself"),
            (("main", "main~monday"), "only two forks"),
            (("main~1", "main"), "--positional"),
            (("main", "a/b"), "'a/b'")]:
        assert words in store.coppice(
            "swap", "-s", store.path, *args, code=1).stderr
    store.coppice("swap", "-s", store.path, "main", code=2)
    assert store.names() == before
    os.symlink("main", mnt / "link")
    with raises(errno.EINVAL):
        renameat2(mnt / "main", mnt / "link", RENAME_EXCHANGE)
    with raises(errno.ENOENT):
        renameat2(mnt / "main", mnt / "nothing", RENAME_EXCHANGE)
    with raises(errno.EPERM, errno.EXDEV):
        renameat2(mnt / "main", mnt / "other" / "who", RENAME_EXCHANGE)
    assert (mnt / "main" / "who").read_text() == "main"
