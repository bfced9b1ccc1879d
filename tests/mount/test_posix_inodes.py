# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attributes: times, modes, owners, ACLs, extended attributes."""
import errno
import os
import shutil
import stat
import struct
import time

import pytest

from linux import (CLOCK_REALTIME_COARSE, as_user, opened, raises, run,
                   statx_btime, utimens)


def times(path):
    st = os.lstat(path)
    return st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns


class Tick:
    """The times of some paths, to find those that a call changed."""

    def __init__(self, *paths):
        self.paths = paths

    def __enter__(self):
        self.before = [times(p) for p in self.paths]
        # Time stamps may be as coarse as the kernel's tick.
        end = time.clock_gettime_ns(CLOCK_REALTIME_COARSE) + 10**7
        while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) < end:
            time.sleep(0.001)
        return self

    def __exit__(self, *_):
        self.changed = []
        for path, before in zip(self.paths, self.before):
            after = times(path)
            assert after[2] >= before[2]
            self.changed.append("".join(
                letter for letter, a, b in zip("amc", before, after)
                if a != b))


def test_who_changes_which_time(work):
    path, directory = work / "file", work / "dir"
    directory.mkdir()
    path.write_text("text")

    def changes(call, *paths):
        with Tick(*paths) as tick:
            call()
        return tick.changed

    assert changes(lambda: os.listdir(directory), directory) == [""]
    assert changes(path.read_text, path) == [""]  # noatime
    assert changes(lambda: path.write_text("other"), path) == ["mc"]
    assert changes(lambda: path.chmod(0o600), path) == ["c"]
    assert changes(lambda: os.chown(path, 1, 1), path) == ["c"]
    assert changes(lambda: os.truncate(path, 2), path) == ["mc"]
    assert changes(lambda: os.truncate(path, 100), path) == ["mc"]
    assert changes(lambda: os.setxattr(path, "user.a", b"b"), path) == ["c"]
    assert changes(lambda: os.removexattr(path, "user.a"), path) == ["c"]
    assert changes(lambda: os.link(path, directory / "l"), path, directory
                   ) == ["c", "mc"]
    assert changes(lambda: os.unlink(directory / "l"), path, directory
                   ) == ["c", "mc"]
    assert changes(lambda: os.rename(path, directory / "f"), work, directory
                   ) == ["mc", "mc"]
    assert changes(lambda: os.rename(directory / "f", path), work, directory
                   ) == ["mc", "mc"]
    assert changes(lambda: os.mkdir(directory / "d"), directory) == ["mc"]
    assert changes(lambda: os.rmdir(directory / "d"), directory) == ["mc"]
    assert changes(lambda: os.symlink("x", directory / "s"), directory
                   ) == ["mc"]
    assert changes(lambda: (directory / "new").write_text(""), directory
                   ) == ["mc"]
    assert changes(lambda: utimens(path, (1, 0), (2, 0)), path) == ["amc"]
    assert changes(lambda: os.utime(path), path) == ["amc"]
    with opened(path, os.O_RDWR) as fd:
        assert changes(lambda: os.write(fd, b"x"), path) == ["mc"]
        assert changes(lambda: os.write(fd, b""), path) == [""]
        assert changes(lambda: os.ftruncate(fd, 100), path) in (["mc"], [""])


def test_open_with_truncate_changes_times(work):
    (work / "file").write_text("")
    with Tick(work / "file") as tick:
        os.close(os.open(work / "file", os.O_WRONLY | os.O_TRUNC))
    assert tick.changed == ["mc"]


@pytest.mark.parametrize("seconds", [
    0, -1, -(1 << 31), -(1 << 31) - 1, (1 << 31), (1 << 32), (1 << 32) + 7,
    1 << 34, -62135596800, 253402300799])
def test_times_of_all_ages(store, mnt, work, seconds):
    path = work / "file"
    path.write_text("x")
    utimens(path, (seconds, 123456789), (seconds, 999999999))
    ns = seconds * 10**9
    assert os.stat(path).st_atime_ns == ns + 123456789
    assert os.stat(path).st_mtime_ns == ns + 999999999
    mnt.umount()
    mnt = store.mount()
    st = os.stat(mnt / "main@work" / "file")
    assert (st.st_atime_ns, st.st_mtime_ns) == (ns + 123456789,
                                                ns + 999999999)


def test_omitted_times(work):
    path = work / "file"
    path.write_text("x")
    utimens(path, (1, 2), (3, 4))
    omit, now = (0, (1 << 30) - 2), (0, (1 << 30) - 1)
    utimens(path, omit, (5, 6))
    assert times(path)[:2] == (10**9 + 2, 5 * 10**9 + 6)
    utimens(path, (7, 8), omit)
    assert times(path)[:2] == (7 * 10**9 + 8, 5 * 10**9 + 6)
    before = time.time_ns()
    utimens(path, now, omit)
    assert before - 10**9 <= times(path)[0] <= time.time_ns() + 10**9
    assert times(path)[1] == 5 * 10**9 + 6


def test_now_is_allowed_to_who_may_write(work):
    path = work / "file"
    path.write_text("x")
    path.chmod(0o666)
    os.chmod(work, 0o755)
    assert as_user(lambda: os.utime(path)) == 0
    assert as_user(lambda: utimens(path, (1, 1), (1, 1))) == errno.EPERM
    path.chmod(0o644)
    assert as_user(lambda: os.utime(path)) == errno.EACCES


def test_birth_time(work):
    """statx has it from FUSE's protocol 7.39 on."""
    before = time.time()
    (work / "file").write_text("x")
    born = statx_btime(work / "file")
    if born is None:
        pytest.skip("statx has no birth time here")
    assert before - 1 <= born[0] <= time.time() + 1


def test_chmod_all_bits(work):
    (work / "file").write_text("x")
    (work / "dir").mkdir()
    for path in work / "file", work / "dir":
        for mode in range(0, 0o10000, 0o111):
            os.chmod(path, mode)
            assert os.stat(path).st_mode & 0o7777 == mode


def test_chown_clears_suid_and_sgid(work):
    path = work / "file"
    path.write_text("x")
    for mode, after in ((0o4755, 0o755), (0o6755, 0o755), (0o2755, 0o755),
                        (0o6711, 0o711)):
        os.chmod(path, mode)
        os.chown(path, 12, 34)
        assert os.stat(path).st_mode & 0o7777 == after
    os.chmod(path, 0o2745)  # mandatory locking's old sign: not executable
    os.chown(path, 1, 1)
    assert os.stat(path).st_mode & 0o7777 in (0o2745, 0o745)
    (work / "dir").mkdir()
    os.chmod(work / "dir", 0o2755)
    os.chown(work / "dir", 12, 34)
    assert os.stat(work / "dir").st_mode & 0o7777 == 0o2755


def test_writing_clears_suid_and_sgid(work):
    path = work / "file"

    def after(call):
        path.write_text("text")
        os.chown(path, 0, 0)
        os.chmod(path, 0o6777)
        assert as_user(call) == 0
        return os.stat(path).st_mode & 0o7777

    os.chmod(work, 0o777)

    def write():
        with opened(path, os.O_WRONLY) as fd:
            os.write(fd, b"x")

    assert after(write) == 0o777
    assert after(lambda: os.truncate(path, 1)) == 0o777
    assert after(lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
                 ) == 0o777
    assert after(lambda: None) == 0o6777


WRITE, ALLOCATE, TRUNCATE, OPEN_TRUNCATED = range(4)


@pytest.mark.parametrize("how", range(4))
def test_changes_clear_sgid_that_is_not_for_executing(work, how):
    """Unless the caller is of the file's group, or may do all."""
    path = work / "file"
    os.chmod(work, 0o777)

    def change():
        if how == TRUNCATE:
            os.truncate(path, 1)
            return
        flags = os.O_TRUNC if how == OPEN_TRUNCATED else 0
        with opened(path, os.O_WRONLY | flags) as fd:
            if how == WRITE:
                os.write(fd, b"x")
            if how == ALLOCATE:
                os.posix_fallocate(fd, 0, 10)

    def after(gid, call):
        path.write_text("text")
        os.chown(path, 0, gid)
        os.chmod(path, 0o6666)
        call()
        return os.stat(path).st_mode & 0o7777

    def member(groups):
        assert as_user(change, 12345, 12345, groups) == 0

    assert after(0, lambda: member([])) == 0o666
    assert after(0, lambda: member([4, 5])) == 0o666
    assert after(5, lambda: member([4, 5])) == 0o2666
    assert after(12345, lambda: member([])) == 0o2666
    assert after(0, change) == 0o6666
    # and so it is in the store, not only in the kernel's memory
    fork = work.parent / f"{work.name}@other"
    fork.mkdir()
    assert os.stat(fork / "file").st_mode & 0o7777 == 0o6666


def test_writing_clears_capabilities(work):
    if not shutil.which("setcap"):
        pytest.skip("no setcap")
    path = work / "file"
    shutil.copy("/bin/true", path)
    run("setcap", "cap_net_raw+ep", path)
    assert "cap_net_raw" in run("getcap", path)
    with opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"x")
    assert run("getcap", path) == ""
    run("setcap", "cap_net_raw+ep", path)
    os.chown(path, 1, 1)
    assert run("getcap", path) == ""


def test_setgid_directory(work):
    path = work / "dir"
    path.mkdir()
    os.chown(path, 0, 4321)
    os.chmod(path, 0o2777)
    (path / "file").write_text("x")
    (path / "sub").mkdir()
    assert os.stat(path / "file").st_gid == 4321
    assert os.stat(path / "sub").st_gid == 4321
    assert os.stat(path / "sub").st_mode & stat.S_ISGID
    assert as_user(lambda: (path / "theirs").write_text("x")) == 0
    assert os.stat(path / "theirs").st_gid == 4321


def test_sticky_directory(work):
    path = work / "dir"
    path.mkdir()
    os.chmod(path, 0o1777)
    (path / "roots").write_text("x")
    assert as_user(lambda: os.unlink(path / "roots")) in (errno.EPERM,
                                                          errno.EACCES)
    assert as_user(lambda: (path / "own").write_text("x")) == 0
    assert as_user(lambda: os.rename(path / "own", path / "mine")) == 0
    assert as_user(lambda: os.unlink(path / "mine")) == 0


def test_umask(work):
    old = os.umask(0o027)
    try:
        os.close(os.open(work / "file", os.O_CREAT | os.O_RDWR, 0o666))
        os.mkdir(work / "dir", 0o777)
        os.mkfifo(work / "fifo", 0o666)
    finally:
        os.umask(old)
    assert os.stat(work / "file").st_mode & 0o7777 == 0o640
    assert os.stat(work / "dir").st_mode & 0o7777 == 0o750
    assert os.stat(work / "fifo").st_mode & 0o7777 == 0o640


def test_owner_is_the_caller(work):
    os.chmod(work, 0o777)
    assert as_user(lambda: (work / "file").write_text("x"), 1234, 5678) == 0
    st = os.stat(work / "file")
    assert (st.st_uid, st.st_gid) == (1234, 5678)
    assert as_user(lambda: os.chown(work / "file", 1, -1), 1234, 5678
                   ) == errno.EPERM
    assert as_user(lambda: os.chown(work / "file", -1, 99), 1234, 5678, [99]
                   ) == 0
    assert os.stat(work / "file").st_gid == 99
    assert as_user(lambda: os.chmod(work / "file", 0o600), 77, 77
                   ) == errno.EPERM


def test_supplementary_groups(work):
    (work / "file").write_text("x")
    os.chown(work / "file", 0, 4321)
    os.chmod(work / "file", 0o060)
    assert as_user((work / "file").read_text, 1, 1, [4321]) == 0
    assert as_user((work / "file").read_text, 1, 1, [4322]) == errno.EACCES


def test_search_permission(work):
    (work / "dir").mkdir(0o755)
    (work / "dir" / "file").write_text("x")
    os.chmod(work / "dir", 0o711)
    assert as_user(lambda: os.listdir(work / "dir")) == errno.EACCES
    assert as_user((work / "dir" / "file").read_text) == 0
    os.chmod(work / "dir", 0o744)
    assert as_user((work / "dir" / "file").read_text) == errno.EACCES


def test_access_control_lists(work):
    if not shutil.which("setfacl"):
        pytest.skip("no setfacl")
    path = work / "file"
    path.write_text("secret")
    os.chmod(path, 0o600)
    assert as_user(path.read_text, 1234, 1234) == errno.EACCES
    run("setfacl", "-m", "u:1234:r", path)
    assert as_user(path.read_text, 1234, 1234) == 0
    assert as_user(path.read_text, 1235, 1235) == errno.EACCES
    assert "user:1234:r--" in run("getfacl", "-n", path)
    assert os.stat(path).st_mode & 0o777 == 0o640  # the mask
    os.chmod(path, 0o600)
    assert as_user(path.read_text, 1234, 1234) == errno.EACCES
    run("setfacl", "-b", path)
    assert "1234" not in run("getfacl", "-n", path)


def test_default_access_control_lists(work):
    if not shutil.which("setfacl"):
        pytest.skip("no setfacl")
    path = work / "dir"
    path.mkdir()
    run("setfacl", "-d", "-m", "u:1234:rwx,g::rx,o::-", path)
    old = os.umask(0o077)
    try:
        (path / "file").write_text("x")
        (path / "sub").mkdir()
    finally:
        os.umask(old)
    acl = run("getfacl", "-n", path / "file")
    assert "user:1234:rwx" in acl and "mask::rw-" in acl
    assert os.stat(path / "file").st_mode & 0o777 == 0o660
    assert "default:user:1234:rwx" in run("getfacl", "-n", path / "sub")
    (work.parent / "main@work@a").mkdir()
    there = work.parent / "main@work@a" / "dir" / "file"
    assert run("getfacl", "-n", "-c", there) == run("getfacl", "-n", "-c",
                                                    path / "file")


def test_acl_that_is_not_there_is_removed(work):
    """Removing a missing ACL succeeds, as each inode has an ACL."""
    (work / "dir").mkdir(0o755)
    (work / "file").write_text("x")
    os.mkfifo(work / "fifo")
    empty = struct.pack("<I", 2)
    for path in work / "dir", work / "file", work / "fifo":
        before = os.stat(path)
        for name in "access", "default":
            name = f"system.posix_acl_{name}"
            os.removexattr(path, name)
            os.setxattr(path, name, empty)
            os.removexattr(path, name)
            with raises(errno.ENODATA):
                os.getxattr(path, name)
        assert os.stat(path).st_mode == before.st_mode
        with raises(errno.ENODATA):
            os.removexattr(path, "trusted.x")
    # One that is there goes, and then another time.
    acl = struct.pack("<I" + 4 * "HHI", 2, 1, 7, 2**32 - 1, 2, 7, 1234,
                      4, 5, 2**32 - 1, 16, 7, 2**32 - 1)
    acl += struct.pack("<HHI", 32, 5, 2**32 - 1)
    for name in "access", "default":
        name = f"system.posix_acl_{name}"
        os.setxattr(work / "dir", name, acl)
        assert os.getxattr(work / "dir", name) == acl
        os.removexattr(work / "dir", name)
        os.removexattr(work / "dir", name)
        assert os.listxattr(work / "dir") == []
    (work / ".snap" / "a").mkdir()
    with raises(errno.EROFS):
        os.removexattr(work / ".snap" / "a" / "dir", name)


def test_extended_attributes(work):
    path = work / "file"
    path.write_text("x")
    for name, value in (("user.a", b"1"), ("user.b", b""),
                        ("trusted.c", bytes(range(256))),
                        ("security.d", b"x" * 1000),
                        ("user." + "n" * 250, b"long name")):
        os.setxattr(path, name, value)
        assert os.getxattr(path, name) == value
    assert sorted(os.listxattr(path)) == sorted(
        ["user.a", "user.b", "trusted.c", "security.d", "user." + "n" * 250])
    with raises(errno.EEXIST):
        os.setxattr(path, "user.a", b"2", os.XATTR_CREATE)
    with raises(errno.ENODATA):
        os.setxattr(path, "user.z", b"2", os.XATTR_REPLACE)
    os.setxattr(path, "user.a", b"2", os.XATTR_REPLACE)
    assert os.getxattr(path, "user.a") == b"2"
    os.removexattr(path, "user.a")
    with raises(errno.ENODATA):
        os.getxattr(path, "user.a")
    with raises(errno.ENODATA):
        os.removexattr(path, "user.a")


def test_limits_of_extended_attributes(work):
    path = work / "file"
    path.write_text("x")
    value = os.urandom(65536)
    os.setxattr(path, "user.large", value)
    assert os.getxattr(path, "user.large") == value
    with raises(errno.E2BIG, errno.ENOSPC):
        os.setxattr(path, "user.larger", value + b"x")
    with raises(errno.ERANGE):
        os.setxattr(path, "user." + "n" * 251, b"x")
    with raises(errno.EOPNOTSUPP):
        os.setxattr(path, "nonsense.a", b"x")
    with raises(errno.EPERM, errno.EOPNOTSUPP):
        os.mkfifo(work / "fifo")
        os.setxattr(work / "fifo", "user.a", b"x")
    for size in 179, 180, 181, 4080, 4081, 40000:
        os.setxattr(path, "user.size", value[:size])
        assert os.getxattr(path, "user.size") == value[:size]


def test_many_extended_attributes(work):
    path = work / "file"
    path.write_text("x")
    for i in range(500):
        os.setxattr(path, f"user.attribute-{i}", b"%d" % i)
    assert len(os.listxattr(path)) == 500
    (work.parent / "main@work@a").mkdir()
    for i in range(0, 500, 2):
        os.removexattr(path, f"user.attribute-{i}")
    assert len(os.listxattr(path)) == 250
    there = work.parent / "main@work@a" / "file"
    assert len(os.listxattr(there)) == 500
    assert os.getxattr(there, "user.attribute-498") == b"498"


def test_trusted_is_for_root(work):
    path = work / "file"
    path.write_text("x")
    os.chmod(path, 0o666)
    os.setxattr(path, "trusted.a", b"1")
    assert as_user(lambda: os.getxattr(path, "trusted.a")) == errno.ENODATA
    assert as_user(lambda: os.setxattr(path, "trusted.b", b"1")
                   ) == errno.EPERM
    assert as_user(lambda: os.setxattr(path, "user.b", b"1")) == 0
    assert sorted(os.listxattr(path)) == ["trusted.a", "user.b"]

    def listed():
        assert os.listxattr(path) == ["user.b"]

    assert as_user(listed) == 0


def test_extended_attributes_of_links_and_directories(work):
    os.symlink("x", work / "link")
    os.setxattr(work / "link", "trusted.a", b"1", follow_symlinks=False)
    assert os.getxattr(work / "link", "trusted.a", follow_symlinks=False
                       ) == b"1"
    os.setxattr(work, "user.top", b"1")
    assert os.getxattr(work, "user.top") == b"1"
    with raises(errno.ENODATA):
        os.getxattr(work.parent / "main", "user.top")


def test_stat_of_every_type(work):
    os.mknod(work / "char", stat.S_IFCHR | 0o640, os.makedev(4095, 1048575))
    os.mknod(work / "block", stat.S_IFBLK | 0o640, os.makedev(7, 3))
    os.mknod(work / "plain", stat.S_IFREG | 0o604)
    os.mknod(work / "fifo", stat.S_IFIFO | 0o604)
    os.mknod(work / "socket", stat.S_IFSOCK | 0o604)
    os.symlink("target", work / "link")
    st = os.stat(work / "char")
    assert stat.S_ISCHR(st.st_mode)
    assert st.st_rdev == os.makedev(4095, 1048575)
    assert os.stat(work / "block").st_rdev == os.makedev(7, 3)
    assert stat.S_ISREG(os.stat(work / "plain").st_mode)
    assert stat.S_ISFIFO(os.stat(work / "fifo").st_mode)
    assert stat.S_ISSOCK(os.stat(work / "socket").st_mode)
    assert os.lstat(work / "link").st_size == 6
    assert as_user(lambda: os.mknod(work / "no", stat.S_IFCHR,
                                    os.makedev(1, 3))) in (errno.EPERM,
                                                           errno.EACCES)
