# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deleting, renaming and describing states through the mount."""
import errno
import os
import stat
from pathlib import Path

import pytest

from conftest import wait_for
from linux import as_user, opened, raises, renameat2, run, RENAME_EXCHANGE


@pytest.fixture
def fork(mnt, main):
    (main / "file").write_text("main")
    path = mnt / "main@try"
    path.mkdir()
    return path


def test_rmdir_of_an_unchanged_fork(mnt, fork):
    os.rmdir(fork)
    assert os.listdir(mnt) == ["main"]
    fork.mkdir()
    assert (fork / "file").read_text() == "main"


def test_rmdir_of_a_changed_fork(mnt, store, fork):
    (fork / "file").write_text("work")
    with raises(errno.ENOTEMPTY):
        os.rmdir(fork)
    assert (fork / "file").read_text() == "work"
    store.verb("rm", "main@try")
    assert os.listdir(mnt) == ["main"]
    fork.mkdir()
    assert (fork / "file").read_text() == "main"


def test_rmdir_when_the_source_has_changed(main, fork):
    """rmdir refuses: only the fork still has its content."""
    (main / "file").write_text("gone on")
    with raises(errno.ENOTEMPTY):
        os.rmdir(fork)
    assert (fork / "file").read_text() == "main"


def test_rmdir_when_a_snapshot_has_it_all(main, fork):
    (main / ".snap" / "kept").mkdir()
    (main / "file").write_text("gone on")
    os.rmdir(fork)
    assert (main / ".snap" / "kept" / "file").read_text() == "main"


def test_rmdir_when_a_fork_of_it_has_it_all(mnt, fork):
    (fork / "file").write_text("work")
    (mnt / "main@try@more").mkdir()
    os.rmdir(fork)
    assert (mnt / "main@try@more" / "file").read_text() == "work"


def test_rmdir_of_an_empty_fork(mnt, fork):
    (fork / "file").unlink()
    os.rmdir(fork)
    assert os.listdir(mnt) == ["main"]


def test_rmdir_of_a_fork_with_snapshots(mnt, fork):
    (fork / ".snap" / "a").mkdir()
    with raises(errno.ENOTEMPTY):
        os.rmdir(fork)
    os.rmdir(fork / ".snap" / "a")
    os.rmdir(fork)


def test_rmdir_of_the_default(store, mnt, main):
    store.verb("default", "main")
    with raises(errno.EBUSY):
        os.rmdir(main)
    assert os.listdir(mnt) == ["main"]


def test_rmdir_always(store):
    mnt = store.mount(options="rmdir=always")
    store.verb("default", "main")
    (mnt / "main" / "file").write_text("main")
    (mnt / "main@try").mkdir()
    (mnt / "main@try" / "file").write_text("work")
    os.rmdir(mnt / "main@try")
    assert os.listdir(mnt) == ["main"]
    with raises(errno.EBUSY):
        os.rmdir(mnt / "main")


def test_find_empty_delete_erases_no_work(mnt, main, fork):
    (fork / "file").write_text("work")
    (main / ".snap" / "monday").mkdir()
    (fork / "empty").mkdir()
    run("find", mnt.path, "-mindepth", "1", "-empty", "-delete")
    assert (main / "file").read_text() == "main"
    assert (fork / "file").read_text() == "work"
    assert not (fork / "empty").exists()
    assert os.listdir(main / ".snap") == ["monday"]


def test_unlink_of_a_state(fork, main):
    with raises(errno.EISDIR, errno.EPERM):
        os.unlink(fork)
    with raises(errno.ENOENT, errno.ENOTDIR):
        os.rmdir(fork.parent / "nobody")


def test_unlink_of_a_tilde_name(mnt, main):
    (main / ".snap" / "a").mkdir()
    with raises(errno.EPERM, errno.EROFS, errno.ENOENT):
        os.unlink(mnt / "main~a")
    assert os.listdir(main / ".snap") == ["a"]


def test_mv_renames_a_fork(mnt, main, fork):
    (fork / "file").write_text("work")
    (fork / ".snap" / "a").mkdir()
    with opened(fork / "file", os.O_RDWR) as fd:
        os.rename(fork, mnt / "winner")
        assert sorted(os.listdir(mnt)) == ["main", "winner"]
        assert (mnt / "winner" / "file").read_text() == "work"
        assert (mnt / "winner~a" / "file").read_text() == "work"
        os.pwrite(fd, b"W", 0)
    assert (mnt / "winner" / "file").read_text() == "Work"
    assert not fork.exists()
    fork.mkdir()
    assert (fork / "file").read_text() == "main"


def test_mv_renames_the_default(store, mnt, main):
    store.verb("default", "main")
    (main / "file").write_text("x")
    os.rename(main, mnt / "trunk")
    assert store.verb("default").strip() == "trunk"
    (mnt / "new").mkdir()
    assert (mnt / "new" / "file").read_text() == "x"


def test_mv_to_a_bad_or_taken_name(store, mnt, fork):
    store.verb("default", "main")
    with raises(errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY):
        os.rename(fork, mnt / "main")
    (mnt / "main@other").mkdir()
    (mnt / "main@other" / "file").write_text("work")
    with raises(errno.EEXIST, errno.ENOTEMPTY):
        os.rename(fork, mnt / "main@other")
    assert (mnt / "main@other" / "file").read_text() == "work"
    with raises(errno.EINVAL, errno.EPERM):
        os.rename(fork, mnt / ".hidden")
    with raises(errno.ENAMETOOLONG):
        os.rename(fork, mnt / ("n" * 256))
    assert sorted(os.listdir(mnt)) == ["main", "main@other", "main@try"]


def test_mv_of_a_state_into_a_tree(mnt, main, fork):
    with raises(errno.EPERM):
        os.rename(fork, main / "inside")
    with raises(errno.EPERM, errno.EINVAL):
        os.rename(fork, fork / "inside")
    (main / ".snap" / "a").mkdir()
    with raises(errno.EPERM):
        os.rename(main / ".snap" / "a", main / "inside")
    with raises(errno.EPERM, errno.EXDEV):
        os.rename(main / ".snap" / "a", mnt / "outside")
    # mv(1), which copies on EXDEV, must give up too
    run("mv", fork, main / "inside", code=1)
    assert sorted(os.listdir(mnt)) == ["main", "main@try"]


def test_files_do_not_cross_states(mnt, main, fork):
    (main / "dir").mkdir()
    with raises(errno.EXDEV):
        os.rename(main / "file", fork / "other")
    with raises(errno.EXDEV):
        os.rename(main / "dir", fork / "dir")
    with raises(errno.EXDEV):
        os.link(main / "file", fork / "other")
    assert sorted(os.listdir(main)) == ["dir", "file"]


def test_deleted_with_open_files(mnt, store, fork):
    """Stale from then on, and closed without a complaint."""
    (fork / "file").write_text("work")
    (fork / "dir").mkdir()
    fd = os.open(fork / "file", os.O_RDWR)
    directory = os.open(fork / "dir", os.O_RDONLY)
    store.verb("rm", "main@try")
    with raises(errno.ESTALE):
        os.write(fd, b"x")
    with raises(errno.ESTALE):
        os.fstat(fd)
    with raises(errno.ESTALE, errno.ENOENT):
        os.open("new", os.O_CREAT | os.O_RDWR, dir_fd=directory)
    os.close(fd)
    os.close(directory)
    fork.mkdir()
    assert (fork / "file").read_text() == "main"


@pytest.mark.parametrize("way", ["rmdir", "rename", "rm"])
def test_what_is_open_in_a_fork_that_goes(mnt, store, main, fork, way):
    """The same, in whatever way it goes."""
    (mnt / "main@same").mkdir()
    file = os.open(mnt / "main@same" / "file", os.O_RDWR)
    root = os.open(mnt / "main@same", os.O_RDONLY)
    assert os.pread(file, 10, 0) == b"main"
    if way == "rmdir":
        os.rmdir(mnt / "main@same")
    elif way == "rename":
        os.rename(fork, mnt / "main@same")
    else:
        store.verb("rm", "main@same")
    for call in (lambda: os.pread(file, 10, 0), lambda: os.fstat(file),
                 lambda: os.pwrite(file, b"x", 0), lambda: os.fsync(file),
                 lambda: os.ftruncate(file, 0), lambda: os.fchmod(file, 0),
                 lambda: os.listdir(root), lambda: os.fstat(root)):
        with raises(errno.ESTALE):
            call()
    os.close(file)
    os.close(root)


def test_time_of_the_root_directory(store, mnt):
    """A change of its entries changes its times, through this mount, another
    one or the command."""
    other = store.mount("other", "rmdir=always")

    def touches(call, path=mnt.path):
        before = [os.stat(path).st_mtime_ns, os.stat(path).st_ctime_ns]
        call()
        after = [os.stat(path).st_mtime_ns, os.stat(path).st_ctime_ns]
        return all(new > old for new, old in zip(after, before))

    for top in mnt, other:
        a, b = top / "main@a", top / "main@b"
        assert touches(a.mkdir)
        assert touches(b.mkdir)
        assert touches(lambda: os.rename(a, top / "main@c"))
        assert touches(lambda: renameat2(b, top / "main@c", RENAME_EXCHANGE))
        assert touches(lambda: os.rename(b, top / "main@c"))
        assert touches(lambda: os.rmdir(top / "main@c"))
        assert touches(lambda: os.symlink("main", a))
        assert touches(lambda: os.unlink(a))
    (mnt / "main@full").mkdir()
    (mnt / "main@full" / "file").write_text("work")
    assert touches(lambda: os.rmdir(other / "main@full"))
    assert touches(lambda: store.verb("fork", "main", "main@a"))
    assert touches(lambda: store.verb("rename", "main@a", "main@b"))
    assert touches(lambda: store.verb("rm", "main@b"))
    assert not touches(lambda: store.verb("snap", "main", "s"))


def test_virtual_xattrs(mnt, main, fork):
    (main / ".snap" / "monday").mkdir()
    snap = main / ".snap" / "monday"
    assert os.getxattr(main, "user.coppice.state") == b"main"
    assert os.getxattr(fork, "user.coppice.state") == b"main@try"
    assert os.getxattr(fork / "file", "user.coppice.state") == b"main@try"
    assert os.getxattr(snap, "user.coppice.state") == b"main~monday"
    for path in main, fork, snap, fork / "file":
        assert os.listxattr(path) == []
    with raises(errno.ENODATA):
        os.getxattr(main, "user.coppice.nonsense")


def test_path_as_virtual_xattr(store, mnt, main):
    (main / "a" / "b").mkdir(parents=True)
    (main / "a" / "file").write_text("x")
    (main / ".snap" / "monday").mkdir()
    assert os.getxattr(main, "user.coppice.path") == b"/"
    assert os.getxattr(main / "a" / "b", "user.coppice.path") == b"/a/b"
    assert os.getxattr(main / ".snap" / "monday" / "a", "user.coppice.path"
                       ) == b"/a"
    (main / "a").rename(main / "c")
    assert os.getxattr(main / "c" / "b", "user.coppice.path") == b"/c/b"
    for path in mnt, main / "c" / "file", main / ".snap":
        with raises(errno.ENODATA):
            os.getxattr(path, "user.coppice.path")


def test_virtual_xattrs_are_not_copied(main, fork, tmp):
    (main / "dir").mkdir()
    run("rsync", "-aX", f"{main}/", f"{tmp}/copy/")
    assert os.listxattr(tmp / "copy") == []
    with raises(errno.ENODATA):
        os.getxattr(tmp / "copy", "user.coppice.state")


def test_statfs(mnt, main, fork):
    # Others use the disk, too.
    wait_for(lambda: os.statvfs(mnt.path).f_blocks ==
             os.statvfs(main).f_blocks, "the same size of both")
    whole = os.statvfs(mnt.path)
    assert 0 < whole.f_bavail <= whole.f_bfree <= whole.f_blocks
    assert whole.f_namemax == 255
    under = os.statvfs(mnt.store.path)
    assert (whole.f_bavail * whole.f_frsize
            <= under.f_bavail * under.f_frsize * 1.05)


def test_owner_and_mode_of_a_fork(main, mnt):
    os.chmod(main, 0o2750)
    os.chown(main, 12, 34)
    os.chmod(main, 0o2750)
    (mnt / "main@a").mkdir(0o700)
    st = os.stat(mnt / "main@a")
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o2750, 12, 34)


def test_link_counts_of_the_root(mnt, main):
    """find(1) trusts st_nlink of directories: 1, or 2 and subdirectories."""
    for i in range(3):
        (mnt / f"main@{i}").mkdir()
    assert os.stat(mnt.path).st_nlink in (1, 6)
    (main / "dir").mkdir()
    assert os.stat(main).st_nlink in (1, 3)


def _listed_with_acls(path):
    """List the directory as ls -l does; return the names."""
    names = []
    with os.scandir(path) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            for acl in ("access", "default"):
                with raises(errno.ENODATA):
                    os.getxattr(entry.path, f"system.posix_acl_{acl}")
            names.append(entry.name)
    return sorted(names)


def _bytes_asked(mnt):
    """Return the bytes that the daemon has read: requests, most of all."""
    io = Path(f"/proc/{mnt.process.pid}/io").read_text()
    return int(io.split()[1])


def test_listing_of_states_is_kept(mnt, main):
    """The kernel does not ask again for forks that it has cached."""
    forks = 200
    for i in range(forks):
        (mnt / f"main@{i}").mkdir()
        (main / ".snap" / f"s{i}").mkdir()
    for path in (mnt.path, main / ".snap"):
        for _ in range(5):
            begin = _bytes_asked(mnt)
            first = _listed_with_acls(path)
            middle = _bytes_asked(mnt)
            assert _listed_with_acls(path) == first
            asked = _bytes_asked(mnt) - middle
            # Unless memory was short meanwhile.
            if asked < forks * 40:
                break
        assert asked < forks * 40, (path, middle - begin, asked)


def test_listing_follows_what_the_command_does(mnt, main, store):
    (main / ".snap" / "old").mkdir()
    for path, name, other, make in (
            (mnt.path, "main@a", "main@b",
             lambda: store.verb("fork", "main", "main@a")),
            (main / ".snap", "a", "b", lambda: store.verb("snap", "main", "a"))):
        full = name if path == mnt.path else f"main~{name}"
        full_other = other if path == mnt.path else f"main~{other}"
        with opened(path, os.O_RDONLY | os.O_DIRECTORY) as held:
            before = sorted(os.listdir(path))
            assert sorted(os.listdir(held)) == before
            make()
            assert sorted(os.listdir(path)) == sorted([*before, name])
            assert sorted(os.listdir(held)) == sorted([*before, name])
            store.verb("rename", full, other)
            assert sorted(os.listdir(path)) == sorted([*before, other])
            store.verb("rm", full_other)
            assert sorted(os.listdir(path)) == before
            assert sorted(os.listdir(held)) == before


def test_listing_follows_another_mount(store, mnt, main):
    """A mount that comes later makes forks and snapshots, too."""
    alone = os.listdir(mnt.path), os.listdir(main / ".snap")
    assert alone == (["main"], [])
    other = store.mount("other")
    (other / "main@a").mkdir()
    (other / "main" / ".snap" / "s").mkdir()
    assert sorted(os.listdir(mnt.path)) == ["main", "main@a"]
    assert os.listdir(main / ".snap") == ["s"]
    (other / "main@a").rmdir()
    (other / "main" / ".snap" / "s").rmdir()
    assert os.listdir(mnt.path) == ["main"]
    assert os.listdir(main / ".snap") == []


def test_symlink_to_a_fork(store, mnt, main):
    """A name that leads to one fork after the other."""
    for fork in "a", "b":
        (mnt / f"main@{fork}").mkdir()
        (mnt / f"main@{fork}" / "file").write_text(fork)
    current = mnt / "current"
    os.symlink("main@a", current)
    assert (current / "file").read_text() == "a"
    assert sorted(os.listdir(mnt)) == ["current", "main", "main@a", "main@b"]
    for verb in (["rm", "-r", current], ["rename", current, "other"]):
        result = store.coppice(*verb, code=1)
        assert "is a symlink" in result.stderr
    assert sorted(os.listdir(mnt)) == ["current", "main", "main@a", "main@b"]
    run("ln", "-sfn", "main@b", current)
    assert os.readlink(current) == "main@b"
    assert (current / "file").read_text() == "b"
    os.chown(current, 1, 2, follow_symlinks=False)
    os.utime(current, ns=(1, 2), follow_symlinks=False)
    st = os.lstat(current)
    assert stat.S_ISLNK(st.st_mode)
    assert (st.st_uid, st.st_gid, st.st_mtime_ns) == (1, 2, 2)
    # The link is no state, and no state can have its name.
    assert store.names() == ["main", "main@a", "main@b"]
    with raises(errno.EEXIST):
        os.mkdir(current)
    store.verb("fork", "main", "current", code=1)
    store.verb("rename", "main@a", "current", code=1)
    with raises(errno.ENOTDIR):
        os.rename(mnt / "main@a", current)
    with raises(errno.EISDIR, errno.EEXIST):
        os.rename(current, mnt / "main@a")
    with raises(errno.EISDIR):
        os.unlink(mnt / "main@a")
    store.coppice("snap", f"{current}/", "monday")
    assert (mnt / "main@b~monday" / "file").read_text() == "b"
    # Other mounts see it come and go; a state alone has nothing beside it.
    other = store.mount("other")
    alone = store.mount("alone", "state=main")
    assert os.readlink(other / "current") == "main@b"
    run("ln", "-sfn", "main@a", current)
    assert os.readlink(other / "current") == "main@a"
    assert (other / "current" / "file").read_text() == "a"
    assert os.listdir(alone) == []
    run("mv", current, mnt / "newest")
    assert not os.path.lexists(other / "current")
    assert os.readlink(other / "newest") == "main@a"
    run("mv", other / "newest", other / "main" / "moved")
    assert not os.path.lexists(mnt / "newest")
    assert os.readlink(main / "moved") == "main@a"
    run("mv", alone / "moved", mnt / "back")
    assert os.readlink(other / "back") == "main@a"
    os.unlink(mnt / "back")
    assert sorted(os.listdir(other)) == ["main", "main@a", "main@b"]


def test_symlinks_in_the_root_last(store, mnt, main):
    os.symlink("main", mnt / "current")
    os.symlink("/elsewhere", mnt / "dangling")
    mnt.umount()
    again = store.mount()
    assert os.readlink(again / "current") == "main"
    assert os.readlink(again / "dangling") == "/elsewhere"
    store.verb("sync")
    again.kill()
    again = store.mount("again")
    assert os.readlink(again / "current") == "main"


def test_what_else_cannot_be_in_the_root(mnt, main):
    with raises(errno.EPERM):
        (mnt / "file").touch()
    with raises(errno.EPERM):
        os.mkfifo(mnt / "fifo")
    os.symlink("main", mnt / "link")
    with raises(errno.EPERM):
        os.link(mnt / "link", mnt / "second", follow_symlinks=False)
    for name in ".hidden", "main~x":
        with raises(errno.EINVAL):
            os.symlink("main", mnt / name)
    with raises(errno.EPERM):
        os.symlink("main", mnt / ".snap")
    os.symlink("t" * 1023, mnt / "long")
    assert os.readlink(mnt / "long") == "t" * 1023
    with raises(errno.ENAMETOOLONG):
        os.symlink("t" * 1024, mnt / "longer")
    assert as_user(lambda: os.symlink("main", mnt / "other")) == errno.EACCES
    assert as_user(lambda: os.unlink(mnt / "link")) == errno.EACCES
