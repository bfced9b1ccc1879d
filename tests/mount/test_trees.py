# SPDX-License-Identifier: LGPL-2.1-or-later
"""New trees: a plain mkdir in the root makes one, empty, as any mkdir does."""
import errno
import os
import shutil
from pathlib import Path

import pytest

from conftest import COPPICE
from linux import as_user, git_env, raises, run, tree_digest

OLD_STORE = Path(__file__).parents[1] / "fuzz" / "intact.mdb"


@pytest.fixture
def tree(tmp):
    """A tree somewhere else, with one of each."""
    path = tmp / "tree"
    (path / "dir" / "deep").mkdir(parents=True)
    (path / "file").write_bytes(os.urandom(200000))
    (path / "dir" / "small").write_text("small")
    os.link(path / "file", path / "dir" / "link")
    os.symlink("../file", path / "dir" / "symlink")
    os.mkfifo(path / "fifo")
    os.chown(path / "file", 123, 456)
    os.chmod(path / "dir", 0o2750)
    os.chown(path, 12, 34)
    os.chmod(path, 0o3751)
    os.setxattr(path / "dir", "user.x", b"y")
    os.setxattr(path, "user.top", b"value")
    # rsync sets no time that is right to the second
    for name in [*sorted(path.rglob("*"), reverse=True), path]:
        os.utime(name, ns=(10**18, 10**18 + 5), follow_symlinks=False)
    return path


def same(one, two):
    """Compare two trees, with their roots."""
    a, b = os.stat(one), os.stat(two)
    assert (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns) == (
        b.st_mode, b.st_uid, b.st_gid, b.st_mtime_ns)
    assert os.listxattr(one) == os.listxattr(two)
    assert tree_digest(one) == tree_digest(two)


def test_plain_name_is_empty(store, mnt, main):
    (main / "file").write_text("main's")
    (mnt / "new").mkdir()
    assert os.listdir(mnt / "new") == []
    assert store.json("show", "new")["origin"] is None
    (mnt / "new" / "file").write_text("new")
    (mnt / "new@fork").mkdir()
    (mnt / "new" / ".snap" / "s").mkdir()
    (mnt / "new" / "file").unlink()
    assert (main / "file").read_text() == "main's"
    assert (mnt / "new@fork" / "file").read_text() == "new"
    assert (mnt / "new~s" / "file").read_text() == "new"
    mnt.umount()
    mnt = store.mount()
    assert sorted(os.listdir(mnt)) == ["main", "new", "new@fork"]
    assert os.listdir(mnt / "new") == []
    assert (mnt / "new~1" / "file").read_text() == "new"
    # each goes without the others
    store.verb("rm", "-r", "new", "main")
    assert (mnt / "new@fork" / "file").read_text() == "new"
    store.verb("rm", "new@fork")
    assert os.listdir(mnt) == []
    (mnt / "main").mkdir()
    assert os.listdir(mnt / "main") == []


def test_an_at_still_forks(mnt, main):
    (main / "file").write_text("main's")
    (main / ".snap" / "s").mkdir()
    (main / "file").write_text("later")
    (mnt / "main@a").mkdir()
    (mnt / "main~s@b").mkdir()
    assert (mnt / "main@a" / "file").read_text() == "later"
    assert (mnt / "main~s@b" / "file").read_text() == "main's"
    with raises(errno.ENOENT):
        (mnt / "nobody@a").mkdir()
    with raises(errno.EPERM):
        (mnt / ".snap").mkdir()


def test_mode_and_owner(mnt):
    old = os.umask(0o027)
    try:
        os.mkdir(mnt / "a")
        os.mkdir(mnt / "b", 0o1707)
    finally:
        os.umask(old)
    st = os.stat(mnt / "a")
    assert (st.st_mode, st.st_uid, st.st_gid) == (
        0o40750, os.geteuid(), os.getegid())
    assert st.st_nlink in (1, 2)
    assert os.stat(mnt / "b").st_mode == 0o41700
    # others need the right to write in the root
    with raises(errno.EACCES):
        if number := as_user(lambda: os.mkdir(mnt / "c")):
            raise OSError(number, "as nobody")
    os.chmod(mnt, 0o1777)
    assert as_user(lambda: os.mkdir(mnt / "c", 0o700)) == 0
    st = os.stat(mnt / "c")
    assert (st.st_mode, st.st_uid, st.st_gid) == (0o40700, 65534, 65534)
    assert as_user(lambda: (mnt / "c" / "file").write_text("mine")) == 0
    # a set-group-ID root gives its group, as any directory does
    os.chown(mnt, 0, 77)
    os.chmod(mnt, 0o2775)
    os.mkdir(mnt / "d")
    st = os.stat(mnt / "d")
    assert (st.st_mode & 0o7000, st.st_gid) == (0o2000, 77)


def test_rmdir_of_a_new_tree(mnt):
    for i in range(20):
        (mnt / "new").mkdir()
        os.chmod(mnt / "new", 0o700)
        if i % 2:
            (mnt / "new" / "file").write_text("x")
            with raises(errno.ENOTEMPTY):
                os.rmdir(mnt / "new")
            (mnt / "new" / "file").unlink()
        os.rmdir(mnt / "new")
    os.rmdir(mnt / "main")
    assert os.listdir(mnt) == []


def test_rmdir_with_an_unlinked_file_open(mnt):
    """A directory is empty when no entry is left, though a file is open."""
    for name in "new", "main@fork":
        (mnt / "main" / "file").write_text("x")
        (mnt / name).mkdir()
        path = mnt / name / "file"
        with open(path, "w+b", buffering=0) as file:
            file.write(b"x" * 100000)
            os.mkfifo(mnt / name / "fifo")
            for other in os.listdir(mnt / name):
                os.unlink(mnt / name / other)
            assert os.fstat(file.fileno()).st_size == 100000
            os.rmdir(mnt / name)
            with raises(errno.ESTALE):
                os.fstat(file.fileno())
    # and at once after the last file went
    for i in range(300):
        (mnt / "new").mkdir()
        (mnt / "new" / "file").write_bytes(b"x" * 70000)
        (mnt / "new" / "file").unlink()
        os.rmdir(mnt / "new")


def test_command_makes_new_trees(store, tmp):
    """Mounted or not, with the caller's umask and identity."""
    for name in "unmounted", "mounted":
        if name == "mounted":
            mnt = store.mount()
        run("sh", "-c", f'umask 027; exec "$0" fork -s "$1" {name}', COPPICE,
            store.path)
    for name in "unmounted", "mounted":
        st = os.stat(mnt / name)
        assert (st.st_mode, st.st_uid, st.st_gid) == (0o40750, 0, 0)
        assert os.listdir(mnt / name) == []


def test_cp(mnt, tree):
    for i in range(2):  # again: on top of what is there
        run("cp", "-a", tree, mnt.path)
        same(tree, mnt / "tree")
    run("cp", "-aT", tree, mnt / "other")
    same(tree, mnt / "other")
    run("cp", "-a", tree / "file", mnt.path, code=1)
    assert sorted(os.listdir(mnt)) == ["main", "other", "tree"]
    # out of a snapshot, and of another fork
    (mnt / "tree" / ".snap" / "s").mkdir()
    run("cp", "-aT", f"{mnt}/tree~s/", mnt / "third")
    same(tree, mnt / "third")


def test_mv(mnt, main, tree):
    shutil.copytree(tree, main / "a", symlinks=True,
                    ignore=lambda *_: ["fifo"])
    was = tree_digest(main / "a")
    run("mv", main / "a", mnt.path)
    assert os.listdir(main) == [] and tree_digest(mnt / "a") == was
    run("mv", tree, mnt / "b")
    assert not tree.exists()
    # not into a fork: that has something already
    (main / "c").mkdir()
    for target in mnt / "main@c", mnt / ".c":
        with raises(errno.EPERM):
            os.rename(main / "c", target)
    # nor states into trees
    run("mv", mnt / "a", mnt / "b", code=1)
    (main / "file").write_text("x")
    run("mv", main / "file", mnt.path, code=1)
    assert (main / "file").read_text() == "x"
    assert sorted(os.listdir(mnt)) == ["a", "b", "main"]


def test_rsync(mnt, tree, tmp):
    if not shutil.which("rsync"):
        pytest.skip("no rsync")
    for i in range(2):
        run("rsync", "-aHX", tree, mnt.path)
        same(tree, mnt / "tree")
    assert run("rsync", "-aHXi", "--checksum", tree, mnt.path) == ""
    # a set of trees, kept the same
    (tmp / "sets" / "one").mkdir(parents=True)
    (tmp / "sets" / "two").mkdir()
    (tmp / "sets" / "one" / "file").write_text("one")
    run("rsync", "-a", f"{tmp}/sets/", mnt.path)
    assert sorted(os.listdir(mnt)) == ["main", "one", "tree", "two"]
    assert (mnt / "one" / "file").read_text() == "one"
    shutil.rmtree(tmp / "sets" / "one")
    run("rsync", "-a", "--delete", f"{tmp}/sets/", mnt.path)
    assert os.listdir(mnt) == ["two"]


def test_git_clone(mnt, tmp):
    if not shutil.which("git"):
        pytest.skip("no git")
    env = git_env(tmp)
    source = tmp / "source"
    run("git", "-c", "init.defaultBranch=trunk", "init", "-q", source, env=env)
    (source / "file").write_text("x")
    run("git", "add", "file", cwd=source, env=env)
    run("git", "commit", "-qm", "one", cwd=source, env=env)
    run("git", "clone", "-q", source, mnt / "clone", env=env)
    assert (mnt / "clone" / "file").read_text() == "x"
    assert run("git", "status", "--porcelain", cwd=mnt / "clone",
               env=env) == ""
    run("git", "init", "-q", mnt / "fresh", env=env)
    run("git", "clone", "-q", mnt / "clone", tmp / "back", env=env)
    # a failed clone leaves nothing behind
    run("git", "clone", "-q", tmp / "nowhere", mnt / "none", env=env, code=128)
    assert not (mnt / "none").exists()


def test_tar_and_mkdir_p(mnt, tree, tmp):
    run("tar", "-C", tmp, "-cf", tmp / "x.tar", "tree")
    run("tar", "-C", mnt.path, "-xf", tmp / "x.tar")
    a, b = tree_digest(tree), tree_digest(mnt / "tree")
    for digest in a, b:  # tar keeps whole seconds
        for entry in digest.values():
            entry[3] //= 10**9
    assert a == b
    run("mkdir", "-p", mnt / "a" / "b" / "c", mnt / "a" / "d")
    assert sorted(os.listdir(mnt / "a")) == ["b", "d"]


def test_old_stores_keep_their_default(make_store):
    """A store from before there could be none."""
    store = make_store()
    shutil.copy(OLD_STORE, store.path / "data.mdb")
    assert store.verb("default") == "main\n"
    mnt = store.mount()
    (mnt / "plain").mkdir()
    assert store.json("show", "plain")["origin"] == "main"
    assert os.listdir(mnt / "plain") == os.listdir(mnt / "main") == ["dir"]
    with raises(errno.EBUSY):
        os.rmdir(mnt / "main")
    store.verb("default", "--none")
    (mnt / "empty").mkdir()
    assert os.listdir(mnt / "empty") == []
    mnt.umount()
    assert store.json("default") == {"name": None}


def test_many_trees_reclaimed(store, mnt):
    """The space of new trees is freed, and no other."""
    data = os.urandom(1 << 20)
    (mnt / "kept").mkdir()
    (mnt / "kept" / "file").write_bytes(data)
    for i in range(20):
        (mnt / f"{i}").mkdir()
        (mnt / f"{i}" / "file").write_bytes(data)
        run("cp", mnt / "kept" / "file", mnt / f"{i}" / "copy")
    store.verb("rm", *(f"{i}" for i in range(20)))
    assert (mnt / "kept" / "file").read_bytes() == data
    assert sorted(os.listdir(mnt)) == ["kept", "main"]
