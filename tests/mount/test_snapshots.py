# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots: made by mkdir in .snap, named by ~, never changed."""
import errno
import os
import shutil
import stat
import time

import pytest

from linux import (RENAME_EXCHANGE, as_user, next_second, opened,
                   raises, renameat2, run, utimens)


@pytest.fixture
def snap(main):
    """A snapshot that has one of each."""
    (main / "dir").mkdir()
    (main / "dir" / "inner").write_text("inner")
    (main / "empty").mkdir()
    (main / "file").write_text("text")
    os.setxattr(main / "file", "user.x", b"1")
    os.symlink("file", main / "link")
    (main / ".snap" / "monday").mkdir()
    return main / ".snap" / "monday"


def test_snapshot_is_the_fork_at_that_moment(main, snap):
    (main / "file").write_text("later")
    (main / "new").write_text("later")
    shutil.rmtree(main / "dir")
    assert sorted(os.listdir(snap)) == ["dir", "empty", "file", "link"]
    assert (snap / "link").read_text() == "text"
    assert (snap / "dir" / "inner").read_text() == "inner"


def test_snap_is_found_but_not_listed(main, snap):
    assert ".snap" not in os.listdir(main)
    assert os.listdir(main / ".snap") == ["monday"]
    assert stat.S_ISDIR(os.stat(main / ".snap").st_mode)
    # only at the top of a fork
    assert ".snap" not in os.listdir(main / "dir")
    assert not (snap / ".snap").exists()


def test_snapdir_visible(store):
    mnt = store.mount(options="snapdir=visible")
    assert os.listdir(mnt / "main") == [".snap"]
    (mnt / "main" / ".snap" / "a").mkdir()
    assert os.listdir(mnt / "main" / ".snap") == ["a"]


def test_snapdir_disabled(store):
    mnt = store.mount(options="snapdir=disabled")
    assert os.listdir(mnt / "main") == []
    assert not (mnt / "main" / ".snap").exists()


def test_nothing_else_can_be_in_snap(main, snap):
    with raises(errno.EPERM):
        (main / ".snap" / "file").write_text("x")
    with raises(errno.EPERM):
        os.symlink("x", main / ".snap" / "link")
    with raises(errno.EEXIST):
        (main / ".snap" / "monday").mkdir()
    with raises(errno.EINVAL):
        (main / ".snap" / "a~b").mkdir()
    with raises(errno.EPERM, errno.EBUSY, errno.ENOTEMPTY):
        os.rmdir(main / ".snap")
    with raises(errno.EPERM, errno.EBUSY, errno.EEXIST, errno.EXDEV):
        os.rename(main / ".snap", main / "other")
    with raises(errno.EEXIST):
        os.mkdir(main / ".snap")


def open_append(snap):
    os.open(snap / "file", os.O_WRONLY | os.O_APPEND)


WAYS = {
    "open for writing": lambda s: os.open(s / "file", os.O_WRONLY),
    "open for both": lambda s: os.open(s / "file", os.O_RDWR),
    "open to append": open_append,
    "open to truncate": lambda s: os.open(s / "file",
                                          os.O_RDONLY | os.O_TRUNC),
    "open or create": lambda s: os.open(s / "file", os.O_RDWR | os.O_CREAT),
    "create": lambda s: os.open(s / "new", os.O_RDWR | os.O_CREAT),
    "create below": lambda s: os.open(s / "dir/new", os.O_RDWR | os.O_CREAT),
    "tmpfile": lambda s: os.open(s, os.O_RDWR | os.O_TMPFILE),
    "truncate": lambda s: os.truncate(s / "file", 1),
    "mkdir": lambda s: os.mkdir(s / "new"),
    "mkdir .snap": lambda s: os.mkdir(s / ".snap"),
    "rmdir": lambda s: os.rmdir(s / "empty"),
    "unlink": lambda s: os.unlink(s / "file"),
    "symlink": lambda s: os.symlink("x", s / "new"),
    "mkfifo": lambda s: os.mkfifo(s / "new"),
    "mknod": lambda s: os.mknod(s / "new", stat.S_IFREG),
    "link": lambda s: os.link(s / "file", s / "new"),
    "rename": lambda s: os.rename(s / "file", s / "new"),
    "rename over": lambda s: os.rename(s / "file", s / "link"),
    "exchange": lambda s: renameat2(s / "file", s / "link", RENAME_EXCHANGE),
    "chmod": lambda s: os.chmod(s / "file", 0o600),
    "chmod of the top": lambda s: os.chmod(s, 0o700),
    "chown": lambda s: os.chown(s / "file", 1, 1),
    "lchown": lambda s: os.lchown(s / "link", 1, 1),
    "utime": lambda s: utimens(s / "file", (1, 1), (1, 1)),
    "utime now": lambda s: os.utime(s / "file"),
    "setxattr": lambda s: os.setxattr(s / "file", "user.y", b"1"),
    "setxattr of the top": lambda s: os.setxattr(s, "user.y", b"1"),
    "removexattr": lambda s: os.removexattr(s / "file", "user.x"),
}


@pytest.mark.parametrize("way", WAYS)
def test_read_only(snap, way):
    with raises(errno.EROFS):
        WAYS[way](snap)
    assert sorted(os.listdir(snap)) == ["dir", "empty", "file", "link"]
    assert (snap / "file").read_text() == "text"


def test_read_only_from_outside(main, snap):
    """Into a snapshot and out of it."""
    with raises(errno.EROFS, errno.EXDEV):
        os.rename(main / "file", snap / "new")
    with raises(errno.EROFS, errno.EXDEV):
        os.rename(snap / "file", main / "new")
    with raises(errno.EROFS, errno.EXDEV):
        os.link(main / "file", snap / "new")
    with raises(errno.EROFS, errno.EXDEV):
        os.link(snap / "file", main / "new")
    with opened(main / "file") as source:
        with raises(errno.EROFS, errno.EBADF):
            with opened(snap / "file", os.O_RDONLY) as target:
                os.copy_file_range(source, target, 4)


def test_descriptor_for_reading_cannot_write(snap):
    with opened(snap / "file") as fd:
        with raises(errno.EBADF):
            os.write(fd, b"x")
        with raises(errno.EROFS):
            os.fchmod(fd, 0o600)
        with raises(errno.EINVAL, errno.EBADF):
            os.ftruncate(fd, 0)
        with raises(errno.EBADF):
            os.posix_fallocate(fd, 0, 100)


def test_setfacl_in_a_snapshot(snap):
    if not shutil.which("setfacl"):
        pytest.skip("no setfacl")
    run("setfacl", "-m", "u:1:r", snap / "file", code=1)


def test_descriptor_opened_before_the_snapshot(main):
    with opened(main / "file", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"before")
        (main / ".snap" / "a").mkdir()
        os.write(fd, b" after")
        os.ftruncate(fd, 9)
    assert (main / "file").read_text() == "before af"
    assert (main / ".snap" / "a" / "file").read_text() == "before"


def test_reading_a_snapshot_everywhere(snap):
    assert os.getxattr(snap / "file", "user.x") == b"1"
    assert os.readlink(snap / "link") == "file"
    assert os.access(snap / "file", os.R_OK)
    with opened(snap / "file", os.O_RDONLY | os.O_CREAT) as fd:
        assert os.read(fd, 10) == b"text"


def test_rmdir_deletes_a_snapshot(main, snap):
    os.rmdir(snap)
    assert os.listdir(main / ".snap") == []
    assert not snap.exists()
    (main / "file").write_text("second")
    snap.mkdir()
    assert (snap / "file").read_text() == "second"


def test_mv_renames_a_snapshot(mnt, main, snap):
    os.rename(snap, main / ".snap" / "tuesday")
    assert os.listdir(main / ".snap") == ["tuesday"]
    assert (mnt / "main~tuesday" / "file").read_text() == "text"
    assert not os.path.lexists(mnt / "main~monday")
    (mnt / "main@other").mkdir()
    with raises(errno.EXDEV, errno.EPERM):
        os.rename(main / ".snap" / "tuesday",
                  mnt / "main@other" / ".snap" / "tuesday")
    (main / ".snap" / "friday").mkdir()
    with raises(errno.EEXIST, errno.ENOTEMPTY):
        os.rename(main / ".snap" / "tuesday", main / ".snap" / "friday")


def test_tilde_names_are_symlinks(mnt, main, snap):
    assert os.readlink(mnt / "main~monday") == "main/.snap/monday"
    assert (mnt / "main~monday" / "file").read_text() == "text"
    assert os.listdir(mnt) == ["main"]
    assert not os.path.lexists(mnt / "main~tuesday")
    assert not os.path.lexists(mnt / "nobody~monday")


def test_tilde_numbers(mnt, main):
    for name in "first", "second", "third":
        (main / "file").write_text(name)
        (main / ".snap" / name).mkdir()
    assert os.readlink(mnt / "main~1") == "main/.snap/third"
    assert os.readlink(mnt / "main~2") == "main/.snap/second"
    assert os.readlink(mnt / "main~3") == "main/.snap/first"
    assert not os.path.lexists(mnt / "main~4")
    assert not os.path.lexists(mnt / "main~0")
    assert (mnt / "main~3" / "file").read_text() == "first"
    (main / ".snap" / "fourth").mkdir()
    assert os.readlink(mnt / "main~1") == "main/.snap/fourth"
    os.rmdir(main / ".snap" / "fourth")
    assert os.readlink(mnt / "main~1") == "main/.snap/third"


def test_tilde_times(mnt, main):
    (main / ".snap" / "first").mkdir()
    next_second()
    between = time.time()
    next_second()
    (main / ".snap" / "second").mkdir()
    next_second()

    def utc(seconds, form="%Y-%m-%dT%H:%M:%SZ"):
        return time.strftime(form, time.gmtime(seconds))

    def local(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))

    first, second = "main/.snap/first", "main/.snap/second"
    assert os.readlink(mnt / f"main~@{utc(between)}") == first
    assert os.readlink(mnt / f"main~@{local(between)}") == first
    assert os.readlink(mnt / f"main~@{utc(time.time() + 60)}") == second
    assert os.readlink(mnt / "main~@now") == second
    assert os.readlink(mnt / "main~@-0s") == second
    tomorrow = time.strftime("%Y-%m-%d", time.localtime(time.time() + 172800))
    assert os.readlink(mnt / f"main~@{tomorrow}") == second
    for name in "@-2h", "@-1d", "@-1w", "@yesterday", "@2001-01-01", \
            "@2001-01-01T12:00":
        assert not os.path.lexists(mnt / f"main~{name}"), name
    for name in "@", "@nonsense", "@2026-13-45", "@-", "@-5":
        assert not os.path.lexists(mnt / f"main~{name}"), name


def test_snapshots_of_forks_are_apart(mnt, main, snap):
    (mnt / "main@a").mkdir()
    assert os.listdir(mnt / "main@a" / ".snap") == []
    (mnt / "main@a" / ".snap" / "monday").mkdir()
    (mnt / "main@a" / "file").write_text("x")
    os.rmdir(mnt / "main@a" / ".snap" / "monday")
    assert (snap / "file").read_text() == "text"


def test_many_snapshots(mnt, main):
    for i in range(300):
        (main / "file").write_text(f"{i}")
        os.mkdir(main / ".snap" / f"{i:03}")
    assert sorted(os.listdir(main / ".snap")) == [
        f"{i:03}" for i in range(300)]
    for i in range(0, 300, 2):
        os.rmdir(main / ".snap" / f"{i:03}")
    for i in range(1, 300, 2):
        assert (main / ".snap" / f"{i:03}" / "file").read_text() == f"{i}"
    assert os.readlink(mnt / "main~2") == "main/.snap/297"


def test_fallocate_needs_a_fork(main, snap):
    with opened(main / "file", os.O_RDWR) as fd:
        os.posix_fallocate(fd, 0, 100000)
    assert (snap / "file").stat().st_size == 4


USER, GROUP = 1234, 4321


def may_snapshot(snapdir, name, gid=GROUP, groups=()):
    """Return True if the user may make and delete snapshots: both or neither."""
    def make():
        os.mkdir(snapdir / name)

    def delete():
        os.rmdir(snapdir / "kept")

    made = as_user(make, USER, gid, groups)
    deleted = as_user(delete, USER, gid, groups)
    assert made in (0, errno.EACCES)
    assert deleted == made
    if not made:
        os.rmdir(snapdir / name)
        os.mkdir(snapdir / "kept")
    # The kernel has all of it in its caches now.
    as_user(lambda: os.stat(snapdir / "kept"), USER, gid, groups)
    os.stat(snapdir)
    return not made


@pytest.fixture(params=["same mount", "other mount"])
def root_and_snapdir(request, store, mnt, main):
    """A fork's root, where its attributes are changed, and its .snap."""
    (main / ".snap" / "kept").mkdir()
    root = main
    if request.param == "other mount":
        root = store.mount("alone", "state=main").path
    return root, main / ".snap"


def test_snap_follows_modes_and_owners_at_once(root_and_snapdir):
    root, snapdir = root_and_snapdir
    os.chown(root, 0, GROUP)
    os.chmod(root, 0o775)
    assert may_snapshot(snapdir, "a")
    os.chmod(root, 0o755)
    assert not may_snapshot(snapdir, "b")
    os.chmod(root, 0o775)
    assert may_snapshot(snapdir, "c")
    os.chown(root, 0, 0)
    assert not may_snapshot(snapdir, "d")
    os.chown(root, USER, 0)
    assert may_snapshot(snapdir, "e")
    for path in root, snapdir:
        st = os.stat(path)
        assert (st.st_mode, st.st_uid, st.st_gid) == (0o40775, USER, 0)


def test_snap_follows_acls_at_once(root_and_snapdir):
    if not shutil.which("setfacl"):
        pytest.skip("no setfacl")
    root, snapdir = root_and_snapdir
    os.chown(root, 0, GROUP)
    os.chmod(root, 0o755)
    assert not may_snapshot(snapdir, "a", gid=0)
    run("setfacl", "-m", f"u:{USER}:rwx", root)
    assert may_snapshot(snapdir, "b", gid=0)
    assert run("getfacl", "-cn", snapdir) == run("getfacl", "-cn", root)
    assert os.listxattr(snapdir) == ["system.posix_acl_access"]
    run("setfacl", "-m", "m::rx", root)
    assert not may_snapshot(snapdir, "c", gid=0)
    # The mask is not what the owning group may do.
    run("setfacl", "-m", "m::rwx,g::rx", root)
    run("setfacl", "-x", f"u:{USER}", "-m", "u:99:rwx", root)
    assert os.stat(root).st_mode & 0o777 == 0o775
    assert not may_snapshot(snapdir, "d")
    run("setfacl", "-m", "g::rwx", root)
    assert may_snapshot(snapdir, "e")
    run("setfacl", "-b", root)
    os.chmod(root, 0o755)
    assert not may_snapshot(snapdir, "f")
    assert os.listxattr(snapdir) == []
    # A default ACL is for what is made in the root.
    run("setfacl", "-d", "-m", f"u:{USER}:rwx", root)
    assert not may_snapshot(snapdir, "g")
    with raises(errno.EOPNOTSUPP):
        os.setxattr(snapdir, "system.posix_acl_access",
                    os.getxattr(root, "system.posix_acl_default"))
