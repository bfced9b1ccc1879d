# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts that reach no snapshot, where the kernel opens files by itself."""
import errno
import mmap
import os

import pytest

from conftest import wait_for
from linux import linkat_fd, raises

OPTIONS = ["state=main", "state=main,snapdir=hidden", "snapdir=disabled"]


@pytest.fixture(params=OPTIONS)
def tree(request, store):
    """The state main in a mount without OPEN, one with it, and the store's."""
    mount = store.mount("tree", request.param)
    return mount.path if "state" in request.param else mount / "main"


@pytest.fixture
def alone(store, mnt, main):
    """Two mounts of main without OPEN; the whole store is mounted, too."""
    return [store.mount(f"alone{i}", "state=main").path for i in range(2)]


def inodes(store):
    return store.json("show", "main")["inodes"]


def reopened(fd, flags):
    return os.open(f"/proc/self/fd/{fd}", flags)


def test_state_alone_has_no_snap_unless_asked(store, mnt, main):
    (main / ".snap" / "monday").mkdir()
    alone = store.mount("alone", "state=main").path
    assert not (alone / ".snap").exists()
    assert not (alone / "..snap").exists()
    with raises(errno.ENOENT):
        os.mkdir(alone / ".snap" / "tuesday")
    hidden = store.mount("hidden", "state=main,snapdir=hidden").path
    assert os.listdir(hidden / ".snap") == ["monday"]


def test_unlinked_file_lives_as_long_as_it_is_open(store, tree):
    used = inodes(store)
    file = tree / "file"
    file.write_bytes(b"before")
    with open(file, "r+b", buffering=0) as first:
        file.unlink()
        with open(reopened(first.fileno(), os.O_RDWR), "r+b",
                  buffering=0) as second:
            first.close()
            assert os.fstat(second.fileno()).st_nlink == 0
            second.seek(0, os.SEEK_END)
            second.write(b" and after" * 1000)
            second.seek(0)
            assert second.read().startswith(b"before and after")
            assert inodes(store) == used + 1
    wait_for(lambda: inodes(store) == used, "the file to go")


def test_unlinked_file_lives_as_long_as_something_refers_to_it(alone):
    (alone[0] / "file").write_bytes(b"text")
    fd = os.open(alone[0] / "file", os.O_PATH)
    (alone[1] / "file").unlink()
    again = reopened(fd, os.O_RDONLY)
    assert os.pread(again, 10, 0) == b"text"
    os.close(again)
    os.close(fd)


def test_replaced_file_lives_as_long_as_it_is_mapped(store, tree):
    used = inodes(store)
    (tree / "old").write_bytes(b"o" * 10000)
    (tree / "new").write_bytes(b"n")
    fd = os.open(tree / "old", os.O_RDONLY)
    with mmap.mmap(fd, 10000, prot=mmap.PROT_READ) as area:
        os.close(fd)
        os.rename(tree / "new", tree / "old")
        assert area[:10000] == b"o" * 10000
    wait_for(lambda: inodes(store) == used + 1, "the file to go")


def test_nameless_file_outlives_its_first_descriptor(store, tree):
    used = inodes(store)
    fd = os.open(tree, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"text")
    again = reopened(fd, os.O_RDWR)
    os.close(fd)
    assert os.pread(again, 10, 0) == b"text"
    linkat_fd(again, tree / "name")
    os.close(again)
    assert (tree / "name").read_bytes() == b"text"
    (tree / "name").unlink()
    wait_for(lambda: inodes(store) == used, "the file to go")


def test_removed_directory_lives_as_long_as_it_is_open(store, tree):
    used = inodes(store)
    (tree / "dir").mkdir()
    fd = os.open(tree / "dir", os.O_RDONLY | os.O_DIRECTORY)
    (tree / "dir").rmdir()
    assert os.listdir(fd) == []
    with raises(errno.ENOENT):
        os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)
    wait_for(lambda: inodes(store) == used, "the directory to go")


def test_flags_of_open(tree):
    file = tree / "file"
    for flags, exists in ((os.O_CREAT | os.O_EXCL, False),
                          (os.O_CREAT, True), (os.O_CREAT | os.O_TRUNC, True),
                          (os.O_TRUNC, True), (os.O_APPEND, True)):
        for mode in os.O_WRONLY, os.O_RDWR:
            if exists:
                file.write_bytes(b"12345678")
            fd = os.open(file, flags | mode, 0o640)
            size = 8 if exists and not flags & os.O_TRUNC else 0
            assert os.fstat(fd).st_size == size
            assert os.write(fd, b"abc") == 3
            os.close(fd)
            expected = b"12345678"[:size]
            expected = (expected + b"abc" if flags & os.O_APPEND
                        else b"abc" + expected[3:])
            assert file.read_bytes() == expected
            if not exists:
                with raises(errno.EEXIST):
                    os.open(file, flags | mode)
                file.unlink()
    with raises(errno.EISDIR):
        os.open(tree, os.O_RDWR)
    with raises(errno.ENOTDIR):
        os.open(file, os.O_RDONLY | os.O_DIRECTORY)


def test_mode_of_a_new_file_does_not_hinder_its_maker(tree):
    fd = os.open(tree / "file", os.O_CREAT | os.O_WRONLY, 0)
    assert os.write(fd, b"text") == 4
    os.close(fd)
    assert (tree / "file").stat().st_mode & 0o777 == 0


def test_truncation_sets_the_times(tree):
    file = tree / "file"
    for text in b"text", b"":
        file.write_bytes(text)
        os.utime(file, (1, 1))
        before = file.stat()
        os.close(os.open(file, os.O_WRONLY | os.O_TRUNC))
        after = file.stat()
        assert after.st_size == 0
        assert after.st_mtime_ns > before.st_mtime_ns
        assert after.st_ctime_ns > before.st_ctime_ns


def test_other_mounts_change_what_is_open(alone, main):
    for places in (alone, alone[::-1], [alone[0], main], [main, alone[0]]):
        here, there = places
        (there / "file").write_bytes(b"a" * 10000)
        fd = os.open(here / "file", os.O_RDWR)
        assert os.pread(fd, 20000, 0) == b"a" * 10000
        with open(there / "file", "ab") as other:
            other.write(b"b" * 5000)
        with mmap.mmap(fd, 15000) as area:
            assert area[:15000] == b"a" * 10000 + b"b" * 5000
            (there / "file").write_bytes(b"c" * 15000)
            assert area[:15000] == b"c" * 15000
        os.truncate(there / "file", 3)
        assert os.pread(fd, 20000, 0) == b"ccc"
        (there / "file").unlink()
        assert os.pread(fd, 20000, 0) == b"ccc"
        assert os.fstat(fd).st_nlink == 0
        os.close(fd)


def test_mounts_append_in_turn(alone, main):
    fds = [os.open(place / "log", os.O_CREAT | os.O_APPEND | mode)
           for place in (*alone, main) for mode in (os.O_WRONLY, os.O_RDWR)]
    expected = b""
    for i in range(30):
        text = f"line {i}\n".encode() * (i * 17 % 300 + 1)
        os.write(fds[i % len(fds)], text)
        expected += text
        assert (alone[i % 2] / "log").read_bytes() == expected
    for fd in fds:
        os.close(fd)


def test_deleted_state(store, mnt, main):
    (mnt / "main@try").mkdir()
    alone = store.mount("alone", "state=main@try").path
    (alone / "dir").mkdir()
    (alone / "file").write_bytes(b"text" * 4096)
    fd = os.open(alone / "file", os.O_RDWR)
    dir_fd = os.open(alone / "dir", os.O_RDONLY)
    assert os.listdir(dir_fd) == []
    assert len(os.pread(fd, 65536, 0)) == 16384
    store.verb("rm", "main@try")
    for open_fd in fd, dir_fd:
        with raises(errno.ESTALE):
            os.fstat(open_fd)
    with raises(errno.ESTALE):
        os.pread(fd, 65536, 0)
    with raises(errno.ESTALE):
        os.pwrite(fd, b"x", 0)
    with raises(errno.ESTALE):
        os.listdir(dir_fd)
    os.close(fd)
    os.close(dir_fd)


def check_removed(fd, text):
    """An open file without a name can be read and written."""
    assert os.fstat(fd).st_nlink == 0
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, 65536, 0) == text
    assert os.pwrite(fd, b"more", 0) == 4
    assert os.pread(fd, 65536, 0) == b"more" + text[4:]
    os.close(fd)


def test_restored_directory_keeps_what_is_open(store, mnt, main):
    (main / "dir").mkdir()
    (main / "dir" / "file").write_bytes(b"old")
    store.verb("snap", "main", "monday")
    alone = store.mount("alone", "state=main").path
    used = inodes(store)
    (alone / "dir" / "new").write_bytes(b"text" * 4096)
    fd = os.open(alone / "dir" / "new", os.O_RDWR)
    store.verb("restore", "main~monday:/dir")
    assert os.listdir(alone / "dir") == ["file"]
    check_removed(fd, b"text" * 4096)
    wait_for(lambda: inodes(store) == used, "the file to go")


def test_joined_fork_keeps_what_is_open(store, mnt, main):
    for name in "gone", "anew", "stays":
        (main / name).write_bytes(name.encode() * 1000)
    (mnt / "main@try").mkdir()
    (mnt / "main@try" / "gone").unlink()
    (mnt / "main@try" / "anew").unlink()
    (mnt / "main@try" / "anew").write_bytes(b"other")
    used = inodes(store)
    alone = store.mount("alone", "state=main").path
    fds = {name: os.open(alone / name, os.O_RDWR) for name in os.listdir(alone)}
    store.verb("join", "main@try", "--into", "main")
    assert sorted(os.listdir(alone)) == ["anew", "stays"]
    assert (alone / "anew").read_bytes() == b"other"
    check_removed(fds["gone"], b"gone" * 1000)
    assert os.pread(fds["anew"], 65536, 0) == b"other"
    for name in "anew", "stays":
        assert os.fstat(fds[name]).st_nlink == 1
        os.close(fds[name])
    wait_for(lambda: inodes(store) == used - 1, "the file to go")


def test_snapshot_refuses_to_open_for_writing(store, mnt, main):
    (main / "file").write_bytes(b"text")
    store.verb("snap", "main", "monday")
    alone = store.mount("alone", "state=main,snapdir=hidden").path
    snap = store.mount("snap", "state=main~monday").path
    for top in main / ".snap" / "monday", alone / ".snap" / "monday", snap:
        for flags in os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC:
            with raises(errno.EROFS):
                os.open(top / "file", flags)
        assert (top / "file").read_bytes() == b"text"


@pytest.mark.parametrize("options", ["snapopen=late", "snapopen=late,state="])
def test_snapshot_refuses_late(store, mnt, main, options):
    (main / "file").write_bytes(b"text")
    store.verb("snap", "main", "monday")
    if options.endswith("="):
        top = store.mount("late", options + "main~monday").path
    else:
        mount = store.mount("late", options)
        top = mount / "main" / ".snap" / "monday"
        assert os.listdir(mount / "main" / ".snap") == ["monday"]
    fd = os.open(top / "file", os.O_RDWR)
    for write in (lambda: os.write(fd, b"more"),
                  lambda: os.ftruncate(fd, 0),
                  lambda: os.posix_fallocate(fd, 0, 100),
                  lambda: os.open(top / "file", os.O_WRONLY | os.O_TRUNC),
                  lambda: os.open(top / "new", os.O_WRONLY | os.O_CREAT)):
        with raises(errno.EROFS):
            write()
    with mmap.mmap(fd, 4) as area:
        area[:4] = b"lost"
        with raises(errno.EROFS, errno.EIO):
            area.flush()
    wait_for(lambda: (top / "file").read_bytes() == b"text",
             "the page to be dropped")
    os.close(fd)


@pytest.mark.parametrize("value", ["never", "", "late,snapopen=x"])
def test_bad_values(store, tmp, value):
    (tmp / "dir").mkdir()
    result = store.coppice("mount", "-o", f"snapopen={value}", store.path,
                           tmp / "dir", code=2)
    assert "bad value in mount option 'snapopen=" in result.stderr
