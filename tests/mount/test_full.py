# SPDX-License-Identifier: LGPL-2.1-or-later
"""A full disk, a full store, a full map: ENOSPC to the writer, and nothing
worse; deleting states works and gives the space back.  Memory stays bounded."""
import errno
import json
import mmap
import os
import random
import re
import subprocess
import threading
import time

import pytest

from conftest import SLOWER, wait_for
from linux import (FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE, fallocate, opened,
                   raises)
from test_check import damage, fill

MIB = 1 << 20
FULL = ".*([Ff]ull|[Nn]o space).*"


def settle(path):
    with opened(path) as fd:
        os.fsync(fd)


def until_full(function, most):
    """Call it until it meets ENOSPC; how often it did not."""
    for i in range(most):
        try:
            function(i)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            return i
    raise AssertionError("it was never full")


def writes_again(path, size=MIB, seconds=30):
    """Write it; that may have to wait for space to come back."""
    data = os.urandom(size)
    end = time.monotonic() + seconds * SLOWER
    while True:
        try:
            path.write_bytes(data)
            settle(path)
            break
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert time.monotonic() < end, "no space came back"
        time.sleep(0.01)
    assert path.read_bytes() == data


def fill_from_outside(disk):
    """Others take all that is left of the disk."""
    with open(disk / "others", "ab", buffering=0) as file:
        for size in MIB, 4096, 1:
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request, tmp):
    """A small disk of its own."""
    path = tmp / "disk"
    path.mkdir()
    if os.geteuid():
        pytest.skip("needs root")
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=128M", "tmpfs", path]
    else:
        with open(tmp / "image", "wb") as file:
            file.truncate(128 * MIB)
        made = subprocess.run(["mkfs.ext4", "-qF", tmp / "image"], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        if made.returncode:
            pytest.skip("cannot make an ext4")
        command = ["mount", "-o", "loop", tmp / "image", path]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a {request.param}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def small(disk, make_store, tmp):
    """A store on that disk; its mount is elsewhere."""
    store = make_store("disk/store")
    assert store.path.parent == disk
    return store


@pytest.mark.limit(120)
def test_full_disk(small, disk):
    rng = random.Random(1)
    mnt = small.mount()
    mnt.allow(FULL)
    kept = rng.randbytes(5 * MIB)
    (mnt / "main" / "kept").write_bytes(kept)
    settle(mnt / "main")
    (mnt / "main@big").mkdir()
    count = until_full(
        lambda i: (mnt / "main@big" / f"{i}").write_bytes(
            rng.randbytes(MIB)), 200)
    assert count > 60
    settle(mnt / "main@big")
    fill_from_outside(disk)
    with raises(errno.ENOSPC):
        for i in range(100):
            (mnt / "main" / f"more-{i}").write_bytes(rng.randbytes(MIB))
            settle(mnt / "main")
    assert (mnt / "main" / "kept").read_bytes() == kept
    assert len(os.listdir(mnt / "main@big")) >= count
    small.verb("rm", "main@big")
    writes_again(mnt / "main" / "again")
    assert (mnt / "main" / "kept").read_bytes() == kept
    mnt.umount()
    mnt = small.mount()
    assert (mnt / "main" / "kept").read_bytes() == kept


def avail(path):
    vfs = os.statvfs(path)
    return vfs.f_bavail * vfs.f_frsize


def test_df_after_deletion(small, disk):
    """The space that a deletion frees is shown without a sync, on a full disk,
    too, and still after one."""
    rng = random.Random(4)
    mnt = small.mount()
    mnt.allow(FULL)
    (mnt / "main@big").mkdir()
    count = 30
    for i in range(count):
        (mnt / "main@big" / f"{i}").write_bytes(rng.randbytes(MIB))
    settle(mnt / "main@big")
    before = avail(mnt)
    assert before > avail(disk) - 4 * MIB
    fill_from_outside(disk)
    assert avail(mnt) < 20 * MIB
    small.verb("rm", "main@big")
    wait_for(lambda: avail(mnt) > (count - 5) * MIB, "the space in df")
    (disk / "others").unlink()
    for _ in range(3):
        wait_for(lambda: avail(mnt) > before + (count - 5) * MIB,
                 "all of the space in df")
        small.verb("sync")


@pytest.mark.limit(120)
def test_disk_filled_before_the_commit(small, disk):
    """Data that write(2) took is stored, whatever others do."""
    rng = random.Random(2)
    mnt = small.mount()
    mnt.allow(FULL)
    data = rng.randbytes(20 * MIB)
    (mnt / "main" / "file").write_bytes(data)
    fill_from_outside(disk)
    settle(mnt / "main")
    mnt.kill()
    mnt = small.mount()
    mnt.allow(FULL)
    assert (mnt / "main" / "file").read_bytes() == data
    # nothing of the disk was given back: snapshots can go all the same
    os.mkdir(mnt / "main@copy")
    small.verb("rm", "main@copy")
    (mnt / "main" / "file").unlink()
    writes_again(mnt / "main" / "file", 4 * MIB)


@pytest.mark.limit(120)
def test_deleting_after_a_restart_on_a_full_disk(small, disk):
    rng = random.Random(3)
    mnt = small.mount()
    snap = mnt / "main" / ".snap"
    for i in range(4):
        for k in range(200):
            (mnt / "main" / f"{k}").write_bytes(rng.randbytes(50000))
        (snap / f"{i}").mkdir()
    mnt.umount()
    fill_from_outside(disk)
    mnt = small.mount()
    mnt.allow(FULL)
    snap = mnt / "main" / ".snap"
    for i in range(4):
        (snap / f"{i}").rmdir()
    assert os.listdir(snap) == []
    for i in range(10):
        writes_again(mnt / "main" / f"again-{i}")


@pytest.mark.limit(120)
@pytest.mark.parametrize("what", ["snapshots", "fork"])
def test_deleting_much_on_a_full_disk(small, disk, what):
    """States of thousands of blocks of their own, which lie apart: to free
    them in one commit needs more pages than there are."""
    rng = random.Random(5)
    state = "main" if what == "snapshots" else "main@fork"
    source = disk / "source"
    source.mkdir()
    files = range(12000)
    for number in range(4):
        for i in files if not number else rng.sample(files, 5000):
            (source / f"{i}").write_bytes(rng.randbytes(1000))
        small.verb("import", "--from", source, "--snapshot", f"{number}",
                   state)
    fill_from_outside(disk)
    mnt = small.mount()
    mnt.allow(FULL)
    before = avail(mnt)
    if what == "snapshots":
        # Their blocks come from lists; those of a fork from its tree.
        small.verb("rm", "main~0", "main~1", "main~2")
    else:
        small.verb("rm", "-r", state)
    small.verb("gc", timeout=60 * SLOWER)
    wait_for(lambda: avail(mnt) > before + 10 * MIB, "the space in df")
    mnt.umount()
    small.coppice("check", small.path)


@pytest.mark.limit(180)
@pytest.mark.parametrize("what", ["limit", "map"])
def test_full_store(make_store, monkeypatch, what):
    """Filled and emptied several times by several writers."""
    options = ["--max-size=48M"] if what == "limit" else []
    if what == "map":
        monkeypatch.setenv("COPPICE_MAP_SIZE", str(48 * MIB))
    store = make_store("small", options)
    mnt = store.mount()
    mnt.allow(FULL)
    kept = os.urandom(MIB)
    (mnt / "main" / "kept").write_bytes(kept)
    settle(mnt / "main")

    def write(n, rng):
        until_full(lambda i: (mnt / f"main@{n}" / f"{i}").write_bytes(
            rng.randbytes(rng.choice([100, 5000, 70000, 300000]))), 100000)

    for attempt in range(3):
        for n in range(3):
            os.mkdir(mnt / f"main@{n}")
        threads = [threading.Thread(target=write, args=(
            n, random.Random(attempt * 3 + n))) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (mnt / "main" / "kept").read_bytes() == kept
        assert len(store.names()) == 4
        for n in range(3):
            store.verb("rm", f"main@{n}")
        writes_again(mnt / "main" / "again", 8 * MIB)
        os.unlink(mnt / "main" / "again")
    assert (store.path / "data.mdb").stat().st_size <= 48 * MIB
    vfs = os.statvfs(mnt.path)
    assert vfs.f_blocks * vfs.f_frsize < 60 * MIB
    mnt.umount()
    mnt = store.mount()
    assert (mnt / "main" / "kept").read_bytes() == kept


@pytest.mark.parametrize("mode", [0, FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE])
def test_preallocate_what_is_not_there(make_store, mode):
    """More than there is room for fails and changes nothing; what the file has
    already needs no room."""
    store = make_store(options=["--max-size=64M"])
    main = store.mount() / "main"
    size = 36 * MIB
    (main / "full").write_bytes(os.urandom(size))
    settle(main / "full")
    assert avail(main) < size
    with opened(main / "full", os.O_RDWR) as fd:
        fallocate(fd, mode, 0, size)
        assert os.fstat(fd).st_size == size
    with opened(main / "new", os.O_RDWR | os.O_CREAT) as fd:
        with raises(errno.ENOSPC):
            fallocate(fd, mode, 0, size)
        assert os.fstat(fd).st_size == os.fstat(fd).st_blocks == 0
        fallocate(fd, mode, 0, avail(main) // 2)


@pytest.mark.parametrize("mounts", [1, 2])
def test_pages_that_cannot_be_written_back(make_store, mounts):
    """The writer gets the error, and then reads what is in the file."""
    store = make_store(options=["--max-size=32M"])
    mnt = store.mount()
    mnt.allow(FULL)
    size = 8 * MIB
    path = mnt / "main" / "mapped"
    path.write_bytes(b"old" * (size // 3 + 1))
    if mounts == 2:
        other = store.mount("other", "state=main")
        assert (other / "mapped").read_bytes()[:6] == b"oldold"
    until_full(lambda i: (mnt / "main" / f"{i}").write_bytes(
        os.urandom(MIB)), 100)
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, size) as area:
        until_full(lambda i: (area.write(os.urandom(MIB)), area.flush()), 9)
        # Writing the pages back takes a moment.
        wait_for(lambda: os.pread(fd, size, 0) == area[:] == fresh(path),
                 "the pages to be what the file has")
        assert b"oldold" in area[:]


def fresh(path):
    """The file as it is, past the kernel's pages."""
    with opened(path, os.O_RDONLY | os.O_DIRECT) as fd:
        with mmap.mmap(-1, 16 * MIB) as area:
            length = os.readv(fd, [area])
            return area[:length][:8 * MIB]


def test_resize(make_store):
    """Mounted and not; what is not a size."""
    store = make_store("small", ["--max-size=16M"])
    rng = random.Random(4)
    mnt = store.mount()
    mnt.allow(FULL)
    first = until_full(lambda i: (mnt / "main" / f"{i}").write_bytes(
        rng.randbytes(MIB)), 100)
    store.verb("resize", "32M")
    second = until_full(lambda i: (mnt / "main" / f"b{i}").write_bytes(
        rng.randbytes(MIB)), 100)
    assert first > 8 and second > 8
    mnt.umount()
    store.verb("resize", "max")
    mnt = store.mount()
    for i in range(20):
        (mnt / "main" / f"c{i}").write_bytes(rng.randbytes(MIB))
    store.verb("resize", "1M")
    mnt.allow(FULL)
    with raises(errno.ENOSPC):
        (mnt / "main" / "d").write_bytes(b"x")
    assert (mnt / "main" / "c19").stat().st_size == MIB
    for bad in "0", "-1", "1X", "":
        store.verb("resize", bad, code=2)
    store.verb("resize", "512K", code=1)


# ---- Memory -----------------------------------------------------------------



# Beside the memory= limit: the program, stacks, zstd, and pages of the
# map, which are the kernel's to take back.
FIXED = 40 * MIB


def anonymous(mnt):
    """The memory it has now that is not the map's."""
    for line in open(f"/proc/{mnt.process.pid}/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


class Watcher:
    """The most anonymous memory in the course of something."""

    def __init__(self, mnt):
        self.mnt = mnt
        self.most = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.done.wait(0.02):
            self.most = max(self.most, anonymous(self.mnt))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


needs_plain = pytest.mark.skipif(
    "COPPICE_SANITIZER_LOG" in os.environ
    and ("asan" in os.environ.get("COPPICE_BUILD", "")
         or "tsan" in os.environ.get("COPPICE_BUILD", "")),
    reason="a sanitizer takes memory of its own")


@needs_plain
@pytest.mark.limit(180)
def test_memory_is_bounded(store):
    """Large files, many small ones in parallel, reading it all."""
    bound = 32 * MIB
    mnt = store.mount(options="memory=32M")
    block = os.urandom(MIB)

    def large():
        with open(mnt / "main" / "large", "wb") as file:
            for i in range(150):
                file.write(i.to_bytes(8, "big") + block[8:])

    def small(n):
        path = mnt / "main" / f"{n}"
        path.mkdir()
        for i in range(1500):
            (path / f"{i}").write_bytes(block[i:i + i * 7 % 20000])

    with Watcher(mnt) as watcher:
        threads = [threading.Thread(target=small, args=(n,)) for n in range(3)]
        threads.append(threading.Thread(target=large))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with open(mnt / "main" / "large", "rb") as file:
            while file.read(MIB):
                pass
    assert watcher.most < 1.5 * bound + FIXED, watcher.most / MIB


@needs_plain
@pytest.mark.limit(120)
def test_memory_of_many_states(store):
    bound = 32 * MIB
    mnt = store.mount(options="memory=32M")
    (mnt / "main" / "file").write_bytes(b"x" * 1000)
    with Watcher(mnt) as watcher:
        for i in range(4000):
            os.mkdir(mnt / f"main@{i}")
        for name in os.listdir(mnt):
            os.stat(mnt / name / "file")
    assert watcher.most < 1.5 * bound + FIXED, watcher.most / MIB


def names_and_data(store):
    return (sorted(os.listdir(store.path)),
            (store.path / "data.mdb").read_bytes())


@pytest.mark.parametrize("left", [0, 64 << 10, 512 << 10])
def test_repair(make_store, disk, left):
    """Without room for the repaired store nothing is changed."""
    store = make_store("disk/store")
    mnt = store.mount()
    fill(mnt / "main")
    (mnt / "main" / "large").write_bytes(os.urandom(4 * MIB))
    (mnt / "main" / ".snap" / "monday").mkdir()
    mnt.umount()
    damage(store, b'"lost"')
    with open(disk / "left", "wb") as file:
        file.write(bytes(left))
    fill_from_outside(disk)
    os.unlink(disk / "left")
    names, data = names_and_data(store)
    result = store.coppice("check", "--repair", store.path, code=1)
    assert re.fullmatch(r"coppice: cannot repair the store '[^\n]*': there is no "
                        r"space [^\n]*; nothing was changed\n", result.stderr)
    assert names_and_data(store) == (names, data)
    # The store can be checked, and repaired once there is room.
    findings = json.loads(store.coppice("check", "--json", store.path,
                                        code=3).stdout)
    assert any(finding["kind"] == "lost" for finding in findings)
    os.unlink(disk / "others")
    assert "/dir/file-" in store.coppice("check", "--repair",
                                         store.path).stdout
    store.coppice("check", "--data", store.path)
