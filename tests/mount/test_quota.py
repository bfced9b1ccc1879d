# SPDX-License-Identifier: LGPL-2.1-or-later
"""The property `quota`: a fork does not grow beyond it, and can shrink."""
import errno
import os
import re

import pytest

from linux import RENAME_WHITEOUT, opened, raises, renameat2

MIB = 1 << 20


@pytest.fixture
def fork(store, mnt):
    """A fork that may have 8 MiB, with 6 MiB in use."""
    path = mnt / "limited"
    os.mkdir(path)
    (path / "file").write_bytes(os.urandom(6 * MIB))
    store.verb("set", "quota=8M", "limited")
    return path


def used(fork):
    """Bytes that count."""
    total = 0
    for directory, _, names in os.walk(fork):
        for path in [directory, *(f"{directory}/{name}" for name in names)]:
            total += os.lstat(path).st_blocks * 512 + 512
    return total


def test_writing(fork):
    with raises(errno.EDQUOT):
        (fork / "more").write_bytes(os.urandom(3 * MIB))
    assert 7 * MIB - 512 <= used(fork) <= 8 * MIB
    # Existing data can be overwritten, and removed data makes room.
    with opened(fork / "file", os.O_RDWR) as fd:
        os.pwrite(fd, os.urandom(2 * MIB), MIB)
    os.unlink(fork / "more")
    (fork / "other").write_bytes(os.urandom(MIB))
    assert used(fork) <= 8 * MIB


@pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts need root")
def test_whiteouts(fork, store):
    """A rename without room for its whiteout changes nothing."""
    for name in "from", "to":
        (fork / name).mkdir()
    (fork / "from" / "dir").mkdir()
    store.verb("set", f"quota={used(fork) + 100}", "limited")
    with raises(errno.EDQUOT):
        renameat2(fork / "from" / "dir", fork / "to" / "dir", RENAME_WHITEOUT)
    assert os.listdir(fork / "from") == ["dir"]
    assert [os.stat(fork / name).st_nlink for name in ("from", "to")] == [3, 2]
    store.check()


def test_compression_does_not_count(fork):
    with raises(errno.EDQUOT):
        (fork / "text").write_bytes(b"text\n" * MIB)


def test_other_ways_to_grow(fork, mnt):
    (mnt / "main" / "source").write_bytes(os.urandom(3 * MIB))
    with opened(fork / "a", os.O_RDWR | os.O_CREAT) as fd:
        with raises(errno.EDQUOT):
            os.posix_fallocate(fd, 0, 3 * MIB)
        os.ftruncate(fd, 0)
        # A hole takes nothing.
        os.ftruncate(fd, 100 * MIB)
        assert os.fstat(fd).st_blocks == 0
        os.ftruncate(fd, 0)
        with opened(mnt / "main" / "source") as source:
            with raises(errno.EDQUOT):
                left = 3 * MIB
                while left:
                    left -= os.copy_file_range(source, fd, left)
    assert used(fork) <= 8 * MIB


def test_clone(fork, store, mnt):
    (mnt / "main" / "dir").mkdir()
    for i in range(3):
        (mnt / "main" / "dir" / f"{i}").write_bytes(os.urandom(MIB))
    result = store.coppice("clone", "-s", store.path, "main:/dir",
                           "limited:/dir", code=1)
    assert re.fullmatch(r"coppice: .*quota.*\n", result.stderr), result.stderr
    assert used(fork) <= 8 * MIB


def test_full_to_the_last_byte(fork, store):
    store.verb("set", f"quota={used(fork)}", "limited")
    with raises(errno.EDQUOT):
        (fork / "empty").touch()
    with raises(errno.EDQUOT):
        os.mkdir(fork / "dir")
    with raises(errno.EDQUOT):
        os.symlink("x", fork / "link")
    with raises(errno.EDQUOT):
        os.mknod(fork / "fifo", 0o10644)
    with raises(errno.EDQUOT):
        os.setxattr(fork / "file", "user.more", b"x" * 1000)
    os.link(fork / "file", fork / "again")
    os.rename(fork / "again", fork / "third")
    os.chmod(fork / "file", 0o600)
    os.unlink(fork / "third")
    store.verb("set", f"quota={used(fork) + 512}", "limited")
    (fork / "empty").touch()
    with raises(errno.EDQUOT):
        (fork / "second").touch()


def test_less_than_is_used(fork, store):
    store.verb("set", "quota=1M", "limited")
    assert (fork / "file").stat().st_size == 6 * MIB
    with raises(errno.EDQUOT):
        (fork / "new").touch()
    with opened(fork / "file", os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 100, 0)
    os.truncate(fork / "file", MIB // 2)
    (fork / "new").write_bytes(b"y" * 1000)
    os.unlink(fork / "file")
    store.verb("unset", "quota", "limited")
    (fork / "file").write_bytes(os.urandom(9 * MIB))


def test_what_it_is_for(fork, store, mnt):
    """Snapshots do not count, forks do not inherit, and it is kept."""
    for i in range(3):
        os.mkdir(fork / ".snap" / f"{i}")
        (fork / "file").write_bytes(os.urandom(6 * MIB))
    os.mkdir(mnt / "limited@free")
    (mnt / "limited@free" / "more").write_bytes(os.urandom(9 * MIB))
    os.mkdir(mnt / "limited~1@free")
    (mnt / "limited~1@free" / "more").write_bytes(os.urandom(9 * MIB))
    store.verb("rename", "limited", "called")
    mnt.umount()
    again = store.mount("again")
    with raises(errno.EDQUOT):
        (again / "called" / "more").write_bytes(os.urandom(3 * MIB))


def test_set_unmounted(store):
    store.verb("set", "quota=1M", "main")
    mnt = store.mount()
    with raises(errno.EDQUOT):
        (mnt / "main" / "more").write_bytes(os.urandom(2 * MIB))


def test_statfs(store):
    store.verb("set", "quota=8M", "main")
    mnt = store.mount(options="state=main")
    (mnt / "file").write_bytes(os.urandom(2 * MIB))
    vfs = os.statvfs(mnt.path)
    assert vfs.f_blocks * vfs.f_frsize == 8 * MIB
    free = vfs.f_bavail * vfs.f_frsize
    assert 6 * MIB - 8192 <= free <= 6 * MIB - 1024
    (mnt / "rest").write_bytes(os.urandom(free))
    assert os.statvfs(mnt.path).f_bavail <= 1
    store.verb("set", "quota=1M", "main")
    assert os.statvfs(mnt.path).f_bavail == 0
    store.verb("unset", "quota", "main")
    assert os.statvfs(mnt.path).f_blocks * vfs.f_frsize > 8 * MIB


def test_bad_input(store):
    for value in ("", "0", "-1", "8X", "many", "99999999999999999999"):
        result = store.coppice("set", "-s", store.path, f"quota={value}",
                               "main", code=None)
        assert result.returncode in (1, 2), value
    store.verb("snap", "main", "s")
    store.coppice("set", "-s", store.path, "quota=8M", "main~s", code=1)


def refused(store, *args):
    result = store.coppice(*args[:1], "-s", store.path, *args[1:], code=1)
    assert re.fullmatch(r"coppice: cannot .*: the fork would exceed its "
                        r"quota\n", result.stderr), result.stderr


def test_restore(fork, store):
    (fork / "a").write_bytes(os.urandom(MIB))
    os.mkdir(fork / ".snap" / "big")
    os.unlink(fork / "file")
    (fork / "b").write_bytes(b"b")
    store.verb("set", "quota=4M", "limited")
    names = store.verb("list")
    refused(store, "restore", "limited~big")
    refused(store, "restore", "limited~big:/file")
    # Neither files nor a snapshot to undo it.
    assert sorted(os.listdir(fork)) == ["a", "b"]
    assert store.verb("list") == names
    store.verb("restore", "limited~big:/a")
    # A fork above its quota can shrink to a size that is still above it.
    os.mkdir(fork / ".snap" / "small")
    store.verb("set", "quota=10M", "limited")
    store.verb("restore", "limited~big")
    store.verb("set", "quota=1M", "limited")
    store.verb("restore", "limited~small")
    assert used(fork) > MIB


@pytest.mark.parametrize("forward", [True, False])
def test_join(fork, store, mnt, forward):
    other = mnt / "limited@other"
    os.mkdir(other)
    (other / "more").write_bytes(os.urandom(3 * MIB))
    if not forward:
        (fork / "own").write_bytes(b"own")
    before = sorted(os.listdir(fork))
    refused(store, "join", "limited@other", "--into", "limited")
    assert sorted(os.listdir(fork)) == before
    # The refused join was not recorded either.
    store.verb("set", "quota=16M", "limited")
    store.verb("join", "limited@other", "--into", "limited")
    assert (fork / "more").stat().st_size == 3 * MIB
