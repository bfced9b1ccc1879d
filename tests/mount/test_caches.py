# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernels' caches of a state that several mounts reach: contents stay
cached, are dropped when they change, and nobody hangs over it."""
import contextlib
import errno
import mmap
import os
import select
import signal
import subprocess
import threading

import pytest

from conftest import COPPICE, SLOWER, mounted, wait_for
from linux import DISCONNECTED, opened


@pytest.fixture
def both(store, mnt, main):
    """main seen through the whole store and by a mount of its own."""
    return main, store.mount("alone", "state=main").path


@pytest.mark.parametrize("old, page", [(8, 2), (100, 46), (49, 46)])
def test_end_after_truncation_elsewhere(both, old, page):
    """The kernel has the old size, of `old` pages, and reads ahead beyond the
    new end while it reads the page with the end, which it has in part."""
    main, alone = both
    size = 4096
    at = page * size + 1000
    (main / "file").touch()
    with opened(alone / "file", os.O_RDWR) as fd:
        for _ in range(60):
            os.truncate(main / "file", 0)
            os.truncate(main / "file", old * size)
            assert os.fstat(fd).st_size == old * size
            os.truncate(main / "file", 1)
            assert os.pwrite(fd, b"y" * 100, at) == 100
            found = os.pread(fd, old * size, 0)
            assert len(found) == at + 100
            assert found == bytes(at) + b"y" * 100


def in_time(call, what, seconds=20):
    """The result of a call that may hang."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()),
                              daemon=True)
    thread.start()
    thread.join(seconds * SLOWER)
    assert not thread.is_alive(), f"{what} hangs"
    assert results, f"{what} failed"
    return results[0]


def test_appends_through_two_mounts(store, mnt, main):
    """The second was not there when the first opened the file."""
    flags = os.O_RDWR | os.O_APPEND
    with opened(main / "file", flags | os.O_CREAT) as a:
        os.write(a, b"1" * 4096)
        alone = store.mount("alone", "state=main")
        with opened(alone / "file", flags) as b:
            os.write(b, b"B" * 4096)
            os.write(a, b"A" * 4096)
            expected = b"1" * 4096 + b"B" * 4096 + b"A" * 4096
            assert os.pread(a, 20000, 0) == expected
            assert os.pread(b, 20000, 0) == expected
            with mmap.mmap(a, 12288) as area:
                area[0] = ord("1")
                area.flush()
            assert (alone / "file").read_bytes() == expected
            assert (main / "file").read_bytes() == expected


def test_longer_through_another_mount(both):
    """A mapping and copy_file_range() go by the size that the kernel knows."""
    main, alone = both
    (main / "file").write_bytes(b"a" * 100)
    (main / "copy").write_bytes(b"")
    with opened(main / "file", os.O_RDWR) as fd, \
            opened(main / "copy", os.O_RDWR) as to:
        assert os.pread(fd, 100, 0) == b"a" * 100
        with opened(alone / "file", os.O_WRONLY) as other:
            os.pwrite(other, b"b" * 10000, 100)
        assert os.copy_file_range(fd, to, 20000, 0, 0) == 10100
        with mmap.mmap(fd, 10100) as area:
            assert area[10000:] == b"b" * 100
            area[10099] = ord("c")
            area.flush()
        assert (alone / "file").read_bytes() == b"a" * 100 + b"b" * 9999 + b"c"
        # A mapped page is not written back beyond the end.
        os.truncate(alone / "file", 50)
        with mmap.mmap(fd, 50) as area:
            area[49] = ord("d")
            area.flush()
        assert (alone / "file").read_bytes() == b"a" * 49 + b"d"


def test_caches_are_kept(both, mnt, store):
    """Files that are only read through several mounts stay cached."""
    main, alone = both
    (main / "file").write_bytes(b"x" * 100000)
    files = [os.open(path / "file", os.O_RDONLY) for path in both]

    def look():
        for fd in files:
            assert os.pread(fd, 100000, 0) == b"x" * 100000
        for path in both:
            assert os.stat(path / "file").st_size == 100000
        return True

    look()
    daemon = mnt.process.pid
    os.kill(daemon, signal.SIGSTOP)
    try:
        assert in_time(look, "a look at what should be cached")
    finally:
        os.kill(daemon, signal.SIGCONT)
        for fd in files:
            os.close(fd)


BUSY = """
import os, sys
fd = os.open(sys.argv[1] + "/file", os.O_RDWR)
print("ready", flush=True)
try:
    while True:
        for page in range(8):
            os.pread(fd, 4096, page * 4096)
            os.pwrite(fd, b"x" * 100, page * 4096 + 10)
        os.close(os.open(sys.argv[1] + "/new", os.O_CREAT | os.O_WRONLY))
        try:
            os.unlink(sys.argv[1] + "/new")
        except FileNotFoundError:
            pass
except OSError as error:
    print(error.errno, flush=True)
"""


@pytest.mark.parametrize("rounds", [5])
def test_killed_while_two_mounts_change_a_file(make_store, rounds):
    """A daemon killed while kernels wait for it leaves nobody waiting."""
    for i in range(rounds):
        store = make_store(f"store{i}")
        whole = store.mount(f"whole{i}")
        alone = store.mount(f"alone{i}", "state=main")
        (whole.path / "main" / "file").write_bytes(b"a" * 32768)
        busy = [subprocess.Popen(["/usr/bin/python3", "-c", BUSY, path],
                                 stdout=subprocess.PIPE, text=True)
                for path in (whole.path / "main", alone.path) * 2]
        for process in busy:
            assert process.stdout.readline() == "ready\n"
        select.select([], [], [], 0.05 * (i + 1))
        whole.process.kill()
        for process in busy:
            process.wait(30 * SLOWER)
            assert int(process.stdout.read()) in (*DISCONNECTED, errno.ESTALE)
        alone.killed = True
        whole.kill()
        subprocess.run(["umount", "-l", alone.path], check=False,
                       stderr=subprocess.DEVNULL)
        wait_for(lambda path=alone.path: not mounted(path), "the mount to go")


# A page fault that nobody resolves, while the directory is locked.
HOLD = """
import ctypes, fcntl, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fault = libc.syscall(323, os.O_CLOEXEC)
if fault < 0:
    print("no userfaultfd", flush=True)
    sys.exit()
fcntl.ioctl(fault, 0xc018aa3f, struct.pack("QQQ", 0xaa, 0, 0))
area = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
fcntl.ioctl(fault, 0xc020aa00, struct.pack("QQQQ", address, 4096, 1, 0))
fd = os.open(sys.argv[1], os.O_RDONLY)
print("holding", flush=True)
libc.syscall(217, fd, ctypes.c_void_p(address), 4096)
"""


@contextlib.contextmanager
def held(directory):
    """A process keeps the directory's lock in its kernel."""
    if os.uname().machine != "x86_64":
        pytest.skip("knows the numbers of x86-64's system calls alone")
    process = subprocess.Popen(["/usr/bin/python3", "-c", HOLD, directory],
                               stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if line.startswith("no "):
            pytest.skip(line.strip())

        def waits():
            with open(f"/proc/{process.pid}/wchan") as wchan:
                return "userfault" in wchan.read()

        wait_for(waits, "the directory to be locked")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def directory(both):
    """dir/file, which both mounts have cached."""
    main, alone = both
    (main / "dir").mkdir()
    (main / "dir" / "file").write_text("x")
    assert os.listdir(alone / "dir") == ["file"]
    assert os.stat(alone / "dir" / "file").st_size == 1
    return main / "dir", alone / "dir"


def test_directory_that_a_client_keeps_locked(directory):
    here, there = directory
    with held(there):
        def change():
            os.unlink(here / "file")
            (here / "new").write_text("y")
            return True

        in_time(change, "a change of the directory")
    assert os.listdir(there) == ["new"]


def test_end_while_a_client_keeps_a_directory_locked(store, mnt, directory):
    """The store is free for others although the process cannot end yet."""
    here, there = directory
    with held(there):
        os.unlink(here / "file")
        mnt.allow("does not drop|is not freed")
        mnt.process.send_signal(signal.SIGTERM)
        wait_for(lambda: subprocess.run(
            [COPPICE, "check", store.path], check=False,
            capture_output=True).returncode == 0,
            "the store to be free", 40)


def test_acl_changed_through_another_mount(both):
    main, alone = both
    (main / "file").write_text("x")
    for mode in "rwx", "r--", "rw-", "-w-", "--x":
        subprocess.run(["setfacl", "-m", f"u:1:{mode}", main / "file"],
                       check=True)
        acl = subprocess.run(["getfacl", "-cE", alone / "file"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        assert f"user:daemon:{mode}" in acl or f"user:1:{mode}" in acl


def test_state_renamed_through_another_mount(store, mnt, main):
    """Answered when the other mount no longer has the old name."""
    other = store.mount("other")
    for i in range(100):
        old, new = (f"main@{i}", f"main@{i + 1}")
        if not i:
            os.mkdir(mnt / old)
        assert os.path.isdir(other / old)
        assert old in os.listdir(other.path)
        os.rename(mnt / old, mnt / new)
        assert not os.path.exists(other / old)
        assert new in os.listdir(other.path)
