# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice compact: freed space goes back to the disk, or nothing changes."""
import errno
import os
import random
import re
import signal
import subprocess
import time

import pytest

from conftest import BUILD, COPPICE
from linux import run

MIB = 1 << 20


def fill(store, mib=48):
    """A store of which most has been deleted; what its states have."""
    rng = random.Random(7)
    mnt = store.mount()
    main = mnt / "main"
    (main / "kept").write_bytes(rng.randbytes(mib * MIB // 8))
    for i in range(300):
        (main / f"small{i}").write_bytes(rng.randbytes(rng.randrange(3000)))
    os.mkdir(main / ".snap" / "old")
    os.mkdir(mnt / "main@try")
    for i in range(8):
        (main / f"gone{i}").write_bytes(rng.randbytes(mib * MIB // 8))
    store.verb("sync")
    for i in range(8):
        os.unlink(main / f"gone{i}")
    (mnt / "main@try" / "kept").write_bytes(rng.randbytes(MIB))
    have = content(mnt)
    mnt.umount()
    return have


def content(mnt):
    return {str(path.relative_to(mnt.path)): path.read_bytes()
            for state in ("main", "main/.snap/old", "main@try")
            for path in (mnt / state).iterdir() if path.is_file()}


def holds(store, have):
    mnt = store.mount("again")
    assert content(mnt) == have
    mnt.umount()


def left(store):
    return sorted(path.name for path in store.path.iterdir()
                  if path.name not in ("data.mdb", "lock", "lock.mdb",
                                       "readers"))


def test_gives_space_back(store):
    have = fill(store)
    before = store.data_bytes()
    listed = store.json("list")
    (row,) = [store.json("compact", "-n")]
    assert not row["done"] and min(row["before"], before) > 50 * MIB
    assert store.data_bytes() == before
    said = store.verb("compact")
    assert re.fullmatch(r"the file had \d+M; it has \d\.\dM now\n", said)
    after = store.data_bytes()
    assert 7 * MIB < after < 9 * MIB
    assert after <= row["after"]
    assert left(store) == []
    assert store.json("list") == listed
    store.verb("check", "--data")
    holds(store, have)
    # There is nothing left to be gained.
    row = store.json("compact")
    assert row["done"] and row["after"] >= 0.9 * row["before"]
    holds(store, have)


def test_waiting_deletions_are_done_first(store):
    fill(store)
    mnt = store.mount("again")
    for i in range(6):
        (mnt / "main@try" / f"{i}").write_bytes(os.urandom(4 * MIB))
    store.verb("sync")
    store.verb("rm", "main@try")
    mnt.umount()
    store.verb("compact")
    assert store.data_bytes() < 9 * MIB


def test_what_is_written_afterwards(store):
    """The new file is a store like any other."""
    fill(store)
    store.verb("compact")
    mnt = store.mount("again")
    for i in range(50):
        os.mkdir(mnt / "main" / ".snap" / f"{i}")
        (mnt / "main" / f"{i}").write_bytes(os.urandom(20000))
    store.verb("rm", "main~old", "main@try")
    have = {str(i): (mnt / "main" / f"{i}").read_bytes() for i in range(50)}
    mnt.umount()
    store.verb("compact")
    store.verb("check", "--data")
    mnt = store.mount("later")
    assert all((mnt / "main" / name).read_bytes() == data
               for name, data in have.items())


def test_mounted(store, mnt):
    data = store.data_bytes()
    result = store.coppice("compact", store.path, code=1)
    assert re.fullmatch(r"coppice: cannot compact '.*': it is mounted or in "
                        r"use; unmount it first\n", result.stderr)
    assert result.stdout == ""
    assert store.data_bytes() == data and left(store) == ["control"]


def test_bad_input(store, tmp):
    (tmp / "empty").mkdir()
    for path in (tmp / "nothing", tmp / "empty", "/dev/null"):
        result = store.coppice("compact", path, code=1)
        assert re.fullmatch(r"coppice: .+\n", result.stderr), result.stderr
    assert os.listdir(tmp / "empty") in ([], ["lock"])
    store.coppice("compact", "a", "b", code=2)
    store.coppice("compact", "-s", store.path, store.path, code=2)
    store.coppice("compact", "--nonsense", code=2)


def test_a_full_disk(store, tmp):
    have = fill(store, 16)
    path = tmp / "small"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=32m", "none", path)
    try:
        run("cp", "-a", store.path, path / "store")
        (path / "rest").write_bytes(bytes(
            os.statvfs(path).f_bavail * 4096 - MIB))
        before = os.listdir(path / "store")
        result = store.coppice("compact", path / "store", code=1)
        assert re.fullmatch(
            r"coppice: cannot compact '.*': the new file needs up to \S+ on "
            r"its disk, where \S+ is free\n", result.stderr), result.stderr
        assert sorted(os.listdir(path / "store")) == sorted(before)
        (path / "rest").unlink()
        store.coppice("compact", path / "store")
        run("rm", "-r", store.path)
        run("cp", "-a", path / "store", store.path)
    finally:
        run("umount", path)
    holds(store, have)


def compacting(store):
    """A process that has begun to write the new file."""
    process = subprocess.Popen(
        [COPPICE, "compact", store.path], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    made = store.path / "compact" / "data.mdb"
    while process.poll() is None and not made.exists():
        pass
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(store, number):
    have = fill(store, 160)
    codes = []
    # The command may be done before the signal comes.
    while -number not in codes and len(codes) < 20:
        process = compacting(store)
        process.send_signal(number)
        process.communicate()
        codes.append(process.returncode)
        assert process.returncode in (0, -number)
        assert left(store) == []
    assert -number in codes
    holds(store, have)


@pytest.mark.limit(180)
def test_killed(store):
    """The old file is there, or the new one; nothing is lost."""
    have = fill(store)
    rng = random.Random(8)
    for _ in range(15):
        process = compacting(store)
        end = time.monotonic() + rng.random() * 0.2
        while process.poll() is None and time.monotonic() < end:
            pass
        process.kill()
        process.communicate()
        store.verb("check", "--data")
    holds(store, have)
    # The mount has removed what was left of the last one.
    assert left(store) == []
    store.verb("compact")
    assert left(store) == []
    assert store.data_bytes() < 9 * MIB
    holds(store, have)


def test_leftovers_are_removed(store):
    """Opening the store for writing removes them; reading it does not."""
    leftover = store.path / "compact"

    def leave():
        leftover.mkdir()
        for name in ("data.mdb", "lock.mdb"):
            (leftover / name).write_bytes(b"unfinished")
    leave()
    store.verb("check")
    assert leftover.exists()
    store.verb("snap", "main", "one")
    assert not leftover.exists()
    leave()
    store.mount()
    assert not leftover.exists()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("what, count", [
    ("write", 1), ("write", 4), ("sync", 1), ("meta", 1)])
def test_a_disk_that_fails_once(store, what, count, error):
    """The old file stays, or the new one is complete."""
    library = BUILD / "tests" / "mount" / "libfailing.so"
    if not library.exists():
        pytest.skip(f"there is no {library}")
    have = fill(store, 16)
    order = store.dir / "fail"
    order.write_text(f"{what} {error} {count}\n")
    sanitizer = os.environ.get("ASAN_OPTIONS", "")
    result = store.coppice("compact", store.path, code=None, env={
        **os.environ, "LD_PRELOAD": str(library), "COPPICE_FAIL": str(order),
        "ASAN_OPTIONS": f"{sanitizer}:verify_asan_link_order=0"})
    assert result.returncode in (0, 1), result
    assert not result.returncode or re.search(
        r"^coppice: .*\n", result.stderr), result.stderr
    order.unlink(missing_ok=True)
    store.verb("check", "--data")
    holds(store, have)
    assert left(store) == []
    store.verb("compact")
    holds(store, have)
