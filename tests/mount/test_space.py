# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names come back at once; space comes back, and is used again."""
import errno
import os
import random

import pytest

from conftest import SANITIZED
from linux import opened, raises, run

MIB = 1 << 20


def settle(path):
    """Wait until the changes are in the store."""
    with opened(path) as fd:
        os.fsync(fd)


def fill(path, files, size, rng):
    path.mkdir(exist_ok=True)
    for i in range(files):
        (path / f"{i}").write_bytes(rng.randbytes(size))


@pytest.mark.limit(180)
def test_fork_change_delete_a_hundred_times(store, mnt, main):
    """The store stops growing."""
    rng = random.Random(3)
    fill(main / "big", 4, MIB, rng)
    fill(main / "small", 400, 2000, rng)
    settle(main)
    sizes = []
    rounds = 30 if SANITIZED else 100
    for i in range(rounds):
        fork = mnt / "main@again"
        os.mkdir(fork)
        with opened(fork / "big" / f"{i % 4}", os.O_RDWR) as fd:
            os.pwrite(fd, rng.randbytes(MIB), 0)
        for k in rng.sample(range(400), 100):
            (fork / "small" / f"{k}").write_bytes(rng.randbytes(2000))
        (fork / "new").write_bytes(rng.randbytes(MIB))
        settle(fork)
        store.verb("rm", "main@again")
        assert not fork.exists()
        sizes.append(store.data_bytes())
    # Without reuse it would have grown by some 220 MiB in 100 rounds.
    assert sizes[-1] < 60 * MIB, sizes
    # The file grows by 4 MiB at a time.
    assert sizes[-1] <= sizes[rounds // 2] * 1.15 + 4 * MIB, sizes
    for i in range(400):
        assert (main / "small" / f"{i}").stat().st_size == 2000


@pytest.mark.limit(180)
def test_snapshots_come_and_go(store, mnt, main):
    """A window of ten snapshots over a changing fork."""
    rng = random.Random(4)
    fill(main / "files", 300, 8000, rng)
    sizes = []
    for day in range(80):
        for k in rng.sample(range(300), 40):
            (main / "files" / f"{k}").write_bytes(rng.randbytes(8000))
        os.mkdir(main / ".snap" / f"{day:03}")
        if day >= 10:
            os.rmdir(main / ".snap" / f"{day - 10:03}")
        settle(main)
        sizes.append(store.data_bytes())
    assert sizes[79] <= sizes[40] * 1.2 + MIB, sizes
    assert len(os.listdir(main / ".snap")) == 10


def test_inner_versions(store, mnt, main):
    """Deleting what others were made from harms none of them."""
    rng = random.Random(5)
    content = {}
    (main / "files").mkdir()
    name = "main"
    for depth in range(12):
        data = rng.randbytes(100000)
        (mnt / name / "files" / f"{depth}").write_bytes(data)
        content[depth] = data
        os.mkdir(mnt / f"{name}@x")
        name += "@x"
    for depth in range(1, 12, 2):
        store.verb("rm", "main" + "@x" * depth)
    for depth in range(2, 13, 2):
        fork = mnt / ("main" + "@x" * depth)
        for i in range(depth):
            assert (fork / "files" / f"{i}").read_bytes() == content[i]
    store.verb("rm", *("main" + "@x" * depth for depth in range(2, 13, 2)))
    assert os.listdir(mnt) == ["main"]
    assert (main / "files" / "0").read_bytes() == content[0]


def test_deletion_goes_on_after_a_remount(store, mnt, main):
    """Space of a state deleted just before the end comes back later."""
    rng = random.Random(6)
    (mnt / "main@big").mkdir()
    fill(mnt / "main@big" / "files", 30, MIB, rng)
    settle(mnt / "main@big")
    full = store.data_bytes()
    store.verb("rm", "main@big")
    store.verb("sync")
    mnt.kill()
    mnt = store.mount()
    assert os.listdir(mnt) == ["main"]
    for i in range(3):
        fill(mnt / "main" / "files", 9, MIB, rng)
        settle(mnt / "main")
    assert store.data_bytes() < full + 12 * MIB


def test_show_tells_what_a_deletion_frees(store, mnt, main):
    rng = random.Random(7)
    fill(main / "files", 5, 200000, rng)
    (mnt / "main@a").mkdir()
    (mnt / "main@a" / "own").write_bytes(rng.randbytes(500000))
    settle(main)
    row = store.json("show", "main@a")
    assert 500000 <= row["exclusive"] < 600000
    # in blocks of 512
    assert store.json("show", "main")["bytes"] == 5 * 391 * 512
    assert row["bytes"] == 5 * 391 * 512 + 977 * 512


@pytest.mark.limit(120)
def test_full_store(make_store):
    """ENOSPC to the writer; what there was stays; deleting works."""
    store = make_store("small", ["--max-size=32M"])
    mnt = store.mount()
    rng = random.Random(8)
    (mnt / "main" / "kept").write_bytes(rng.randbytes(MIB))
    settle(mnt / "main")
    (mnt / "main@big").mkdir()
    with raises(errno.ENOSPC):
        for i in range(100):
            with opened(mnt / "main@big" / f"{i}",
                        os.O_RDWR | os.O_CREAT) as fd:
                os.write(fd, rng.randbytes(MIB))
                os.fsync(fd)
    mnt.allow(".*(full|[Nn]o space).*")
    kept = (mnt / "main" / "kept").read_bytes()
    store.verb("rm", "main@big")
    for i in range(8):
        path = mnt / "main" / f"again-{i}"

        def write():
            try:
                path.write_bytes(rng.randbytes(MIB))
                settle(path)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return False
            return True

        for _ in range(200):
            if write():
                break
        else:
            pytest.fail("deleting gave no space back")
    mnt.umount()
    mnt = store.mount()
    assert (mnt / "main" / "kept").read_bytes() == kept
    assert store.data_bytes() <= 34 * MIB


def test_du_and_df(store, mnt, main):
    (main / "file").write_bytes(os.urandom(MIB))
    with open(main / "sparse", "wb") as file:
        file.truncate(1 << 30)
    used = int(run("du", "-s", "-B1", main / "file").split()[0])
    assert MIB <= used < 1.1 * MIB
    assert int(run("du", "-s", "-B1", main / "sparse").split()[0]) < 100000
    assert run("df", mnt.path).splitlines()[1].split()[0] == str(store.path)


def test_insertion_into_a_file(store, mnt, main):
    """A revision costs what was inserted, however the file is rewritten."""
    rng = random.Random(5)
    data = rng.randbytes(MIB)
    revisions = []

    def used():
        vfs = os.statvfs(mnt)
        return (vfs.f_blocks - vfs.f_bfree) * vfs.f_frsize

    (main / "f").write_bytes(data)
    os.mkdir(main / ".snap/first")
    settle(main)
    before = used()
    for i in range(8):
        at = rng.randrange(len(data))
        data = data[:at] + rng.randbytes(10000) + data[at:]
        path = main / ("f", "new")[i % 2]
        path.write_bytes(data)
        path.rename(main / "f")
        os.mkdir(main / f".snap/{i}")
        settle(main)
        revisions.append(data)
    # Without deltas against the chunks beside the replaced ones: 4 MB.
    assert used() - before < 8 * 40000
    mnt.umount()
    store.verb("check", "--data")
    store.verb("compact")
    mnt = store.mount()
    for i, revision in enumerate(revisions):
        assert (mnt / "main" / ".snap" / f"{i}" / "f").read_bytes() == revision
