# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contents of files: reading, writing, holes, copies, maps, locks."""
import errno
import fcntl
import mmap
import os
import random
import shutil
import struct
import subprocess
import threading
import time

import pytest

from conftest import SLOWER
from linux import (AsyncWriter, F_OFD_SETLK, FALLOC_COLLAPSE_RANGE,
                   FALLOC_INSERT_RANGE, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE,
                   FALLOC_ZERO_RANGE, fallocate, linkat_fd, lock_conflict,
                   opened, pieces, raises, run)

CHUNK = 65536
RW = os.O_RDWR | os.O_CREAT


def test_sizes_around_the_bounds(work):
    rng = random.Random(1)
    sizes = [0, 1, 100, 180, 255, 256, 257, 448, 2016, 4080, 4096]
    sizes += [n * CHUNK + d for n in (1, 2, 3) for d in (-1, 0, 1)]
    data = {size: rng.randbytes(size) for size in sizes}
    for size in sizes:
        (work / f"{size}").write_bytes(data[size])
    for size in sizes:
        assert (work / f"{size}").stat().st_size == size
        assert (work / f"{size}").read_bytes() == data[size]
        # grown by one byte, and by one far behind
        with opened(work / f"{size}", os.O_RDWR) as fd:
            os.pwrite(fd, b"!", size)
            os.pwrite(fd, b"?", size + 2 * CHUNK)
        assert (work / f"{size}").read_bytes() == (
            data[size] + b"!" + bytes(2 * CHUNK - 1) + b"?")


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_against_a_model(work, seed):
    """Writes, truncations, holes and forks against plain bytes."""
    rng = random.Random(seed)
    models = {work: bytearray()}
    (work / "file").write_bytes(b"")
    limit = 5 * CHUNK
    for step in range(400):
        path = rng.choice(list(models))
        model = models[path]
        with opened(path / "file", os.O_RDWR) as fd:
            at = rng.randrange(limit)
            size = rng.choice([1, 10, 300, 5000, CHUNK, 100000])
            what = rng.randrange(10)
            if what < 5:
                data = rng.randbytes(size)
                os.pwrite(fd, data, at)
                if len(model) < at:
                    model.extend(bytes(at - len(model)))
                model[at:at + size] = data
            elif what == 5:
                os.ftruncate(fd, at)
                del model[at:]
                model.extend(bytes(at - len(model)))
            elif what == 6:
                fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, at, size)
                end = min(at + size, len(model))
                if at < end:
                    model[at:end] = bytes(end - at)
            elif what == 7:
                fallocate(fd, FALLOC_ZERO_RANGE, at, size)
                model.extend(bytes(max(0, at + size - len(model))))
                model[at:at + size] = bytes(size)
            elif what == 8 and len(models) < 6:
                fork = work.parent / f"main@work@{step}"
                fork.mkdir()
                if path != work:
                    os.rmdir(fork)
                else:
                    models[fork] = bytearray(models[work])
            elif len(model):
                start = rng.randrange(len(model))
                assert os.pread(fd, size, start) == bytes(
                    model[start:start + size])
    for path, model in models.items():
        assert (path / "file").read_bytes() == bytes(model)


def test_truncate_both_ways(work):
    path = work / "file"
    path.write_bytes(b"x" * 200000)
    for size in 199999, CHUNK + 1, CHUNK, CHUNK - 1, 100, 0:
        os.truncate(path, size)
        assert path.read_bytes() == b"x" * size
    os.truncate(path, 100)
    path.write_bytes(b"abc")
    os.truncate(path, 2)
    os.truncate(path, 300000)
    assert path.read_bytes() == b"ab" + bytes(299998)
    with raises(errno.EINVAL):
        os.truncate(path, -1)
    with raises(errno.EISDIR):
        os.truncate(work, 0)
    with opened(path) as fd:
        with raises(errno.EINVAL):
            os.ftruncate(fd, 0)


def test_huge_sparse_file(work):
    path = work / "file"
    with opened(path, RW) as fd:
        os.pwrite(fd, b"far", 1 << 43)
        assert os.fstat(fd).st_size == (1 << 43) + 3
        assert os.fstat(fd).st_blocks < 1000
        assert os.pread(fd, 10, (1 << 43) - 5) == bytes(5) + b"far"
        os.ftruncate(fd, (1 << 43) + (1 << 40))
        assert pieces(fd)[0][0] <= 1 << 43
        assert len(pieces(fd)) == 1
        os.ftruncate(fd, 5)
        assert os.pread(fd, 100, 0) == bytes(5)
        assert pieces(fd) == []


def test_seek_hole_and_data(work):
    with opened(work / "file", RW) as fd:
        for n in 1, 4, 5, 9:
            os.pwrite(fd, b"d" * CHUNK, n * CHUNK)
        os.ftruncate(fd, 20 * CHUNK)
        assert pieces(fd) == [(CHUNK, 2 * CHUNK), (4 * CHUNK, 6 * CHUNK),
                              (9 * CHUNK, 10 * CHUNK)]
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
        assert os.lseek(fd, CHUNK + 5, os.SEEK_DATA) == CHUNK + 5
        with raises(errno.ENXIO):
            os.lseek(fd, 10 * CHUNK, os.SEEK_DATA)
        with raises(errno.ENXIO):
            os.lseek(fd, 20 * CHUNK, os.SEEK_HOLE)
        os.ftruncate(fd, 5 * CHUNK)
        assert os.lseek(fd, 4 * CHUNK, os.SEEK_HOLE) == 5 * CHUNK


def test_preallocate(work):
    with opened(work / "file", RW) as fd:
        os.write(fd, b"head")
        fallocate(fd, 0, 0, 10 * CHUNK)
        assert os.fstat(fd).st_size == 10 * CHUNK
        # the chunk that has the head does not count what it lacks
        assert os.fstat(fd).st_blocks * 512 >= 9 * CHUNK
        assert os.pread(fd, 20 * CHUNK, 0) == b"head" + bytes(10 * CHUNK - 4)
        fallocate(fd, FALLOC_KEEP_SIZE, 10 * CHUNK, 5 * CHUNK)
        assert os.fstat(fd).st_size == 10 * CHUNK
        with raises(errno.EINVAL):
            fallocate(fd, 0, 0, 0)
        with raises(errno.EINVAL):
            fallocate(fd, 0, -1, 10)
        with raises(errno.EFBIG, errno.EINVAL):
            fallocate(fd, 0, (1 << 63) - 10, 100)


def test_punch_and_zero(work):
    size = 6 * CHUNK
    with opened(work / "file", RW) as fd:
        os.write(fd, b"x" * size)
        before = os.fstat(fd).st_blocks
        fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, CHUNK + 100,
                  3 * CHUNK)
        model = bytearray(b"x" * size)
        model[CHUNK + 100:4 * CHUNK + 100] = bytes(3 * CHUNK)
        assert os.pread(fd, size * 2, 0) == bytes(model)
        assert os.fstat(fd).st_blocks < before
        assert os.lseek(fd, 2 * CHUNK, os.SEEK_DATA) >= 4 * CHUNK
        fallocate(fd, FALLOC_ZERO_RANGE, 5 * CHUNK, 3 * CHUNK)
        assert os.fstat(fd).st_size == 8 * CHUNK
        fallocate(fd, FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE, 0, 20 * CHUNK)
        assert os.fstat(fd).st_size == 8 * CHUNK
        assert os.pread(fd, 9 * CHUNK, 0) == bytes(8 * CHUNK)
        with raises(errno.EOPNOTSUPP, errno.EINVAL):
            fallocate(fd, FALLOC_PUNCH_HOLE, 0, 100)


@pytest.mark.parametrize("mode", [FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE])
def test_collapse_and_insert(work, mode):
    """Done right, or refused."""
    data = os.urandom(5 * CHUNK)
    (work / "file").write_bytes(data)
    with opened(work / "file", os.O_RDWR) as fd:
        try:
            fallocate(fd, mode, CHUNK, CHUNK)
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP
            expected = data
        else:
            middle = (b"" if mode == FALLOC_COLLAPSE_RANGE
                      else bytes(CHUNK) + data[CHUNK:2 * CHUNK])
            expected = data[:CHUNK] + middle + data[2 * CHUNK:]
    assert (work / "file").read_bytes() == expected


def copy_all(source, target, size, source_at=0, target_at=0):
    with opened(source) as a, opened(target, RW) as b:
        done = 0
        while done < size:
            n = os.copy_file_range(a, b, size - done, source_at + done,
                                   target_at + done)
            if not n:
                break
            done += n
    return done


def test_copy_file_range(work):
    data = os.urandom(5 * CHUNK + 123)
    (work / "a").write_bytes(data)
    assert copy_all(work / "a", work / "b", 1 << 30) == len(data)
    assert (work / "b").read_bytes() == data
    # neither changes with the other
    with opened(work / "b", os.O_RDWR) as fd:
        os.pwrite(fd, b"changed", CHUNK)
    assert (work / "a").read_bytes() == data
    # at odd places
    copy_all(work / "a", work / "c", 2 * CHUNK + 77, 33, 44)
    assert (work / "c").read_bytes() == bytes(44) + data[33:2 * CHUNK + 110]
    # within a file
    copy_all(work / "a", work / "a", CHUNK, 0, 10 * CHUNK)
    assert (work / "a").read_bytes() == (
        data + bytes(10 * CHUNK - len(data)) + data[:CHUNK])
    with opened(work / "a", os.O_RDWR) as fd:
        with raises(errno.EINVAL):
            os.copy_file_range(fd, fd, 100, 0, 50)


def test_copy_shares_chunks(store, mnt, main):
    """Between states, too: no space is used for the second copy."""
    data = os.urandom(8 << 20)
    (main / "a").write_bytes(data)
    (mnt / "main@other").mkdir()
    os.unlink(mnt / "main@other" / "a")
    store.verb("sync")
    before = store.data_size()
    copy_all(main / "a", main / "b", len(data))
    copy_all(main / "a", mnt / "main@other" / "c", len(data))
    store.verb("sync")
    assert store.data_size() < before + (2 << 20)
    assert (mnt / "main@other" / "c").read_bytes() == data
    os.unlink(main / "a")
    os.unlink(main / "b")
    assert (mnt / "main@other" / "c").read_bytes() == data


def test_cp_of_a_large_file_is_quick(store, work):
    """Space and time of a copy do not grow with the file's data."""
    block = os.urandom(1 << 20)
    with open(work / "large", "wb") as file:
        for _ in range(256):
            file.write(block[:-8] + os.urandom(8))
    store.verb("sync")
    before = store.data_size()
    start = time.monotonic()
    run("cp", "--reflink=auto", work / "large", work / "copy")
    elapsed = time.monotonic() - start
    run("cmp", work / "large", work / "copy")
    store.verb("sync")
    assert store.data_size() < before + (8 << 20)
    assert elapsed < 20 * SLOWER


def test_cp_sparse(work):
    with opened(work / "sparse", RW) as fd:
        os.pwrite(fd, b"x", 100 << 20)
    run("cp", "--sparse=auto", work / "sparse", work / "copy")
    assert (work / "copy").stat().st_blocks < 1000
    run("cmp", work / "sparse", work / "copy")


def test_append_from_several_processes(work):
    script = ('i=0; while [ $i -lt 300 ]; do echo "$0 $i" >>"$1"; '
              'i=$((i+1)); done')
    writers = [subprocess.Popen(["sh", "-c", script, str(n), work / "log"])
               for n in range(4)]
    for writer in writers:
        assert writer.wait() == 0
    lines = (work / "log").read_text().splitlines()
    assert sorted(lines) == sorted(
        f"{n} {i}" for n in range(4) for i in range(300))


def test_append_ignores_the_position(work):
    with opened(work / "file", RW | os.O_APPEND) as fd:
        os.write(fd, b"one")
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"two")
    assert (work / "file").read_bytes() == b"onetwo"


def test_parallel_writers_of_one_file(work):
    path = work / "file"
    path.write_bytes(b"")

    def write(n):
        with opened(path, os.O_RDWR) as fd:
            for i in range(n, 400, 4):
                os.pwrite(fd, bytes([n + 1]) * 1000, i * 1000)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == b"".join(
        bytes([i % 4 + 1]) * 1000 for i in range(400))


def test_direct_io(work):
    area = mmap.mmap(-1, 2 * CHUNK)
    area[:] = os.urandom(2 * CHUNK)
    with opened(work / "file", RW | os.O_DIRECT) as fd:
        assert os.pwritev(fd, [area], 0) == 2 * CHUNK
        back = mmap.mmap(-1, 2 * CHUNK)
        assert os.preadv(fd, [back], 0) == 2 * CHUNK
        assert back[:] == area[:]
    assert (work / "file").read_bytes() == area[:]
    # mixed with ordinary descriptors
    with opened(work / "file", os.O_RDWR) as plain, \
            opened(work / "file", os.O_RDWR | os.O_DIRECT) as direct:
        os.pwrite(plain, b"plain", 4096)
        os.preadv(direct, [back], 0)
        assert back[4096:4101] == b"plain"
        back[:6] = b"direct"
        os.pwritev(direct, [back], 0)
        assert os.pread(plain, 6, 0) == b"direct"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of calls")
def test_asynchronous_direct_writes(work):
    """Pages that others read into the cache meanwhile are dropped."""
    area = mmap.mmap(-1, 8 * CHUNK)
    path = work / "file"
    path.write_bytes(bytes(len(area)))
    done = threading.Event()

    def read():
        with opened(path) as fd:
            while not done.is_set():
                os.pread(fd, len(area), 0)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    writer = AsyncWriter()
    try:
        with opened(path, os.O_RDWR | os.O_DIRECT) as direct, \
                opened(path) as plain:
            for i in range(1, 150):
                area[:] = bytes([i]) * len(area)
                writer.begin(direct, area, 0)
                assert writer.end() == len(area)
                assert os.pread(plain, len(area), 0) == area[:], i
    finally:
        done.set()
        for reader in readers:
            reader.join()
        writer.close()


def test_shared_map(work):
    path = work / "file"
    path.write_bytes(bytes(300000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as area:
        area[100000:100005] = b"map-1"
        assert os.pread(file.fileno(), 5, 100000) == b"map-1"
        os.pwrite(file.fileno(), b"write", 200000)
        assert area[200000:200005] == b"write"
        area[299999:300000] = b"!"
        area.flush()
    assert path.read_bytes()[100000:100005] == b"map-1"
    assert path.read_bytes()[299999:] == b"!"


def test_private_map(work):
    path = work / "file"
    path.write_bytes(b"a" * 10000)
    with opened(path) as fd:
        area = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE)
        area[:5] = b"mine!"
        assert os.pread(fd, 5, 0) == b"aaaaa"
        area.close()
    assert path.read_bytes() == b"a" * 10000


def test_map_after_close_and_unlink(work):
    path = work / "file"
    path.write_bytes(b"x" * 100000)
    with open(path, "r+b") as file:
        area = mmap.mmap(file.fileno(), 0)
    os.unlink(path)
    area[50000:50004] = b"done"
    assert area[49999:50005] == b"xdonex"
    area.close()


def test_unlinked_but_open(work):
    path = work / "file"
    with opened(path, RW) as fd:
        os.write(fd, b"x" * 100000)
        os.unlink(path)
        assert os.listdir(work) == ["base"]
        assert os.fstat(fd).st_nlink == 0
        os.pwrite(fd, b"more", 100000)
        os.ftruncate(fd, 100002)
        assert os.pread(fd, 10, 99999) == b"xmo"
        os.fchmod(fd, 0o600)
        os.fsync(fd)
        path.write_text("another")
        assert os.fstat(fd).st_size == 100002
    assert path.read_text() == "another"


def test_renamed_over_but_open(work):
    (work / "old").write_text("old")
    (work / "new").write_text("new")
    with opened(work / "old", os.O_RDWR) as fd:
        os.rename(work / "new", work / "old")
        assert os.read(fd, 10) == b"old"
        os.write(fd, b" still")
        assert os.fstat(fd).st_size == 9
    assert (work / "old").read_text() == "new"


def test_tmpfile(work):
    with opened(work, os.O_RDWR | os.O_TMPFILE, 0o640) as fd:
        os.write(fd, b"unnamed")
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(work) == ["base"]
        linkat_fd(fd, work / "named")
        assert os.fstat(fd).st_nlink == 1
        os.write(fd, b" and named")
    assert (work / "named").read_text() == "unnamed and named"
    assert (work / "named").stat().st_mode & 0o777 == 0o640
    with opened(work, os.O_RDWR | os.O_TMPFILE | os.O_EXCL) as fd:
        with raises(errno.ENOENT):
            linkat_fd(fd, work / "never")


def test_open_flags(work):
    path = work / "file"
    path.write_text("text")
    with raises(errno.EEXIST):
        os.open(path, RW | os.O_EXCL)
    with raises(errno.EISDIR):
        os.open(work, os.O_RDWR)
    with raises(errno.ENOTDIR):
        os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.symlink("file", work / "link")
    with raises(errno.ELOOP):
        os.open(work / "link", os.O_RDONLY | os.O_NOFOLLOW)
    with opened(path, os.O_WRONLY) as fd:
        with raises(errno.EBADF):
            os.read(fd, 1)
    with opened(path, os.O_WRONLY | os.O_TRUNC):
        assert path.stat().st_size == 0
    with opened(work / "link", os.O_PATH | os.O_NOFOLLOW) as fd:
        assert os.readlink("", dir_fd=fd) == "file"


def test_reading_at_the_end(work):
    path = work / "file"
    path.write_bytes(b"abc")
    with opened(path) as fd:
        assert os.pread(fd, 100, 3) == b""
        assert os.pread(fd, 100, 1 << 40) == b""
        assert os.pread(fd, 0, 0) == b""
        assert os.preadv(fd, [bytearray(2), bytearray(5)], 0) == 3


def test_flock(work):
    path = work / "file"
    path.write_text("x")
    with opened(path, os.O_RDWR) as a, opened(path, os.O_RDWR) as b:
        fcntl.flock(a, fcntl.LOCK_EX)
        with raises(errno.EAGAIN):
            fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(a, fcntl.LOCK_SH)
        fcntl.flock(b, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(a, fcntl.LOCK_UN)
        fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_posix_locks(work):
    path = work / "file"
    path.write_bytes(b"x" * 1000)
    with opened(path, os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 100, 0)
        assert lock_conflict(path, fcntl.F_WRLCK, start=50, length=10)
        assert not lock_conflict(path, fcntl.F_WRLCK, start=100, length=10)
        fcntl.lockf(fd, fcntl.LOCK_SH, 100, 0)
        assert not lock_conflict(path, fcntl.F_RDLCK, start=50, length=10)
        assert lock_conflict(path, fcntl.F_WRLCK, start=50, length=10)
        fcntl.lockf(fd, fcntl.LOCK_UN)
        assert not lock_conflict(path, fcntl.F_WRLCK)


def test_open_file_description_locks(work):
    path = work / "file"
    path.write_bytes(b"x" * 1000)
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 100, 0)
    with opened(path, os.O_RDWR) as a, opened(path, os.O_RDWR) as b:
        fcntl.fcntl(a, F_OFD_SETLK, lock)
        with raises(errno.EAGAIN, errno.EACCES):
            fcntl.fcntl(b, F_OFD_SETLK, lock)
        assert lock_conflict(path, fcntl.F_WRLCK)


def test_lock_of_a_killed_process(work):
    path = work / "file"
    path.write_text("x")
    with subprocess.Popen(["flock", path, "sh", "-c", "echo locked; cat"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, start_new_session=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with opened(path) as fd:
            with raises(errno.EAGAIN):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.killpg(holder.pid, 9)
            holder.wait()
            fcntl.flock(fd, fcntl.LOCK_EX)


def test_lease(work):
    path = work / "file"
    path.write_text("x")
    with opened(path) as fd:
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            assert error.errno in (errno.EINVAL, errno.EAGAIN)
            pytest.skip("the kernel gives no leases here")
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def test_fifo_and_socket(work):
    os.mkfifo(work / "fifo")
    reader = subprocess.Popen(["cat", work / "fifo"], stdout=subprocess.PIPE)
    (work / "fifo").write_text("through the pipe")
    assert reader.communicate()[0] == b"through the pipe"


def test_executable_runs_and_is_mapped(work):
    shutil.copy("/bin/cat", work / "cat")
    (work / "file").write_text("x")
    assert run(work / "cat", work / "file") == "x"
    os.mkdir(work.parent / "main@work@x")
    os.unlink(work / "cat")
    assert run(work.parent / "main@work@x" / "cat", work / "file") == "x"


def test_blocks_of_files(work):
    (work / "file").write_bytes(os.urandom(10 * CHUNK))
    assert (work / "file").stat().st_blocks * 512 >= 10 * CHUNK
    assert (work / "file").stat().st_blocks * 512 < 11 * CHUNK
    (work / "small").write_bytes(b"x")
    assert (work / "small").stat().st_blocks <= 8
    os.truncate(work / "file", 0)
    assert (work / "file").stat().st_blocks == 0
    assert (work / "small").stat().st_blksize >= 512
