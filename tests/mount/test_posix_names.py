# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names: links, renames, directories and their reading."""
import errno
import os
import random
import socket
import stat
import subprocess
import sys
import threading

import pytest

from conftest import wait_for
from linux import (RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, as_user,
                   opened, raises, renameat2, run)


def test_hard_links(work):
    (work / "a").write_text("x")
    (work / "dir").mkdir()
    os.link(work / "a", work / "dir" / "b")
    assert os.path.samefile(work / "a", work / "dir" / "b")
    assert os.stat(work / "a").st_nlink == 2
    (work / "dir" / "b").write_text("both")
    assert (work / "a").read_text() == "both"
    os.unlink(work / "a")
    assert os.stat(work / "dir" / "b").st_nlink == 1
    with raises(errno.EEXIST):
        os.link(work / "dir" / "b", work / "dir")
    with raises(errno.EPERM):
        os.link(work / "dir", work / "hard")
    with raises(errno.ENOENT):
        os.link(work / "a", work / "c")


def test_many_hard_links(work):
    """Well above 65,000, the bound of many others."""
    (work / "file").write_text("x")
    (work / "links").mkdir()
    fd = os.open(work / "links", os.O_RDONLY)
    count = 66000 if os.environ.get("COPPICE_TEST_LONG") else 5000
    for i in range(count):
        os.link(work / "file", f"{i}", dst_dir_fd=fd)
    assert os.stat(work / "file").st_nlink == count + 1
    for i in range(0, count, 3):
        os.unlink(f"{i}", dir_fd=fd)
    os.close(fd)
    assert os.stat(work / "file").st_nlink == count + 1 - (count + 2) // 3
    assert len(os.listdir(work / "links")) == count - (count + 2) // 3


def test_symlinks(work):
    for length in 1, 100, 255, 256, 447, 449, 2000, 4095:
        target = "t" * length
        os.symlink(target, work / f"{length}")
        assert os.readlink(work / f"{length}") == target
        assert os.lstat(work / f"{length}").st_size == length
    with raises(errno.ENAMETOOLONG):
        os.symlink("t" * 4096, work / "longer")
    with raises(errno.ENOENT):
        os.symlink("", work / "empty")
    with raises(errno.EEXIST):
        os.symlink("x", work / "1")
    os.symlink("loop", work / "loop")
    with raises(errno.ELOOP):
        os.stat(work / "loop")
    raw = os.path.join(os.fsencode(work), b"raw")
    os.symlink(b"\xff\x00"[:1] + b"/../\n", raw)
    assert os.readlink(raw) == b"\xff/../\n"
    with raises(errno.EINVAL):
        os.readlink(work)


def test_names_of_every_byte(work):
    top = os.fsencode(work)
    names = {bytes([b]) for b in range(1, 256) if b != ord("/")} - {b"."}
    names |= {b"n" * 255, b"\xff" * 255, b"...", b" ", b"a" * 254 + b"\n"}
    for name in names:
        with open(os.path.join(top, name), "wb") as file:
            file.write(name)
    assert set(os.listdir(top)) == names | {b"base"}
    for name in names:
        with open(os.path.join(top, name), "rb") as file:
            assert file.read() == name
    with raises(errno.ENAMETOOLONG):
        os.mkdir(work / ("n" * 256))
    with raises(errno.ENAMETOOLONG):
        os.stat(work / ("n" * 256))
    for name in names:
        os.unlink(os.path.join(top, name))
    assert os.listdir(work) == ["base"]


def test_path_of_the_longest_kind(work):
    fd = os.open(work, os.O_RDONLY)
    depth = 0
    while depth < 40:
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        depth += 1
    os.close(os.open("file", os.O_CREAT | os.O_RDWR, dir_fd=fd))
    assert os.listdir(fd) == ["file"]
    os.close(fd)
    # as long as a path may be
    base = os.fsencode(work)
    path = base + (b"/" + b"d" * 200) * ((4095 - len(base)) // 201)
    assert len(path) < 4096 and os.path.isdir(path)


def test_rename_files(work):
    (work / "a").write_text("a")
    (work / "b").write_text("b")
    os.rename(work / "a", work / "b")
    assert (work / "b").read_text() == "a"
    assert not (work / "a").exists()
    os.link(work / "b", work / "c")
    os.rename(work / "b", work / "c")  # the same file: nothing happens
    assert (work / "b").exists() and (work / "c").exists()
    with raises(errno.ENOENT):
        os.rename(work / "nobody", work / "x")
    with raises(errno.ENOENT):
        os.rename(work / "b", work / "nowhere" / "x")


def test_rename_directories(work):
    for name in "a", "b", "full", "deep/er/est":
        os.makedirs(work / name)
    (work / "a" / "inside").write_text("x")
    (work / "full" / "inside").write_text("x")
    os.rename(work / "a", work / "b")  # over an empty one
    assert os.listdir(work / "b") == ["inside"]
    with raises(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(work / "b", work / "full")
    with raises(errno.EINVAL):
        os.rename(work / "deep", work / "deep" / "er" / "x")
    with raises(errno.EINVAL):
        os.rename(work / "deep", work / "deep" / "er")
    with raises(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(work / "deep" / "er", work / "deep")
    with raises(errno.EISDIR):
        os.rename(work / "b" / "inside", work / "deep")
    with raises(errno.ENOTDIR):
        os.rename(work / "deep", work / "b" / "inside")
    os.rename(work / "deep" / "er", work / "er")
    assert os.listdir(work / "er") == ["est"]
    assert os.stat(work / "er" / "..").st_ino == os.stat(work).st_ino


def test_rename_noreplace(work):
    (work / "a").write_text("a")
    (work / "b").write_text("b")
    with raises(errno.EEXIST):
        renameat2(work / "a", work / "b", RENAME_NOREPLACE)
    renameat2(work / "a", work / "c", RENAME_NOREPLACE)
    assert (work / "c").read_text() == "a"


def test_rename_exchange(work):
    (work / "file").write_text("file")
    os.makedirs(work / "dir" / "sub")
    renameat2(work / "file", work / "dir", RENAME_EXCHANGE)
    assert (work / "dir").read_text() == "file"
    assert os.listdir(work / "file") == ["sub"]
    renameat2(work / "dir", work / "file" / "sub", RENAME_EXCHANGE)
    assert (work / "file" / "sub").read_text() == "file"
    assert os.listdir(work / "dir") == []
    with raises(errno.ENOENT):
        renameat2(work / "dir", work / "nobody", RENAME_EXCHANGE)
    with raises(errno.EINVAL):
        renameat2(work / "file", work / "file" / "sub", RENAME_EXCHANGE)
    with raises(errno.EINVAL):
        renameat2(work / "dir", work / "file",
                  RENAME_EXCHANGE | RENAME_NOREPLACE)


def is_whiteout(path, uid=0, gid=0):
    st = os.lstat(path)
    return (stat.S_ISCHR(st.st_mode) and stat.S_IMODE(st.st_mode) == 0
            and (st.st_rdev, st.st_nlink) == (0, 1)
            and (st.st_uid, st.st_gid) == (uid, gid))


def test_rename_whiteout(work):
    """The old name means a whiteout from the moment of the rename."""
    (work / "a").write_text("a")
    inode = os.stat(work / "a").st_ino
    renameat2(work / "a", work / "b", RENAME_WHITEOUT)
    assert is_whiteout(work / "a")
    assert (work / "b").read_text() == "a"
    assert os.stat(work / "b").st_ino == inode
    # Over another file, and into another directory.
    (work / "c").write_text("c")
    renameat2(work / "b", work / "c", RENAME_WHITEOUT)
    assert (work / "c").read_text() == "a"
    (work / "dir").mkdir()
    (work / "dir" / "sub").mkdir()
    links = os.stat(work).st_nlink, os.stat(work / "dir").st_nlink
    renameat2(work / "c", work / "dir" / "c", RENAME_WHITEOUT)
    renameat2(work / "dir" / "sub", work / "sub", RENAME_WHITEOUT)
    assert (os.stat(work).st_nlink, os.stat(work / "dir").st_nlink) == (
        links[0] + 1, links[1] - 1)
    assert sorted(os.listdir(work)) == ["a", "b", "base", "c", "dir", "sub"]
    for path in work / "b", work / "c", work / "dir" / "sub":
        assert is_whiteout(path)
        os.unlink(path)
    renameat2(work / "sub", work / "sub2", RENAME_WHITEOUT | RENAME_NOREPLACE)
    assert is_whiteout(work / "sub")
    # One whiteout may take the place of another.
    renameat2(work / "sub", work / "a", RENAME_WHITEOUT)
    assert is_whiteout(work / "sub") and is_whiteout(work / "a")


def test_rename_whiteout_refused(work):
    (work / "a").write_text("a")
    (work / "b").write_text("b")
    with raises(errno.EEXIST):
        renameat2(work / "a", work / "b", RENAME_WHITEOUT | RENAME_NOREPLACE)
    with raises(errno.EINVAL):
        renameat2(work / "a", work / "b", RENAME_WHITEOUT | RENAME_EXCHANGE)
    with raises(errno.EXDEV):
        renameat2(work / "a", work.parent / "main" / "a", RENAME_WHITEOUT)
    with raises(errno.ENOENT):
        renameat2(work / "nobody", work / "b", RENAME_WHITEOUT)
    with raises(errno.EINVAL):
        renameat2(work, work.parent / "other", RENAME_WHITEOUT)
    (work / ".snap" / "x").mkdir()
    with raises(errno.EINVAL):
        renameat2(work / ".snap" / "x", work / ".snap" / "y", RENAME_WHITEOUT)
    with raises(errno.EROFS):
        renameat2(work / ".snap/x/a", work / ".snap/x/c", RENAME_WHITEOUT)
    assert sorted(os.listdir(work)) == ["a", "b", "base"]


def test_rename_whiteout_belongs_to_the_caller(work):
    path = work / "dir"
    path.mkdir()
    os.chmod(path, 0o777)
    (path / "a").write_text("a")
    (path / "b").write_text("b")
    assert as_user(lambda: renameat2(path / "a", path / "c", RENAME_WHITEOUT),
                   1234, 4321) == 0
    assert is_whiteout(path / "a", 1234, 4321)
    os.chown(path, 0, 99)
    os.chmod(path, 0o2777)
    assert as_user(lambda: renameat2(path / "b", path / "d", RENAME_WHITEOUT),
                   1234, 4321) == 0
    assert is_whiteout(path / "b", 1234, 99)


def test_rename_whiteout_is_seen_by_another_mount(store, main):
    alone = store.mount("alone", "state=main").path
    (main / "a").write_text("a")
    assert (alone / "a").read_text() == "a"
    renameat2(main / "a", main / "b", RENAME_WHITEOUT)
    assert is_whiteout(alone / "a")
    assert (alone / "b").read_text() == "a"


def test_directory_errors(work):
    (work / "file").write_text("x")
    (work / "dir").mkdir()
    (work / "dir" / "inside").mkdir()
    with raises(errno.EEXIST):
        os.mkdir(work / "dir")
    with raises(errno.EEXIST):
        os.mkdir(work / "file")
    with raises(errno.ENOENT):
        os.mkdir(work / "no" / "where")
    with raises(errno.ENOTDIR):
        os.mkdir(work / "file" / "sub")
    with raises(errno.ENOTEMPTY):
        os.rmdir(work / "dir")
    with raises(errno.ENOTDIR):
        os.rmdir(work / "file")
    with raises(errno.EINVAL):
        os.rmdir(f"{work}/dir/.")
    with raises(errno.ENOTEMPTY):
        os.rmdir(f"{work}/dir/inside/..")
    with raises(errno.EISDIR):
        os.unlink(work / "dir")
    with raises(errno.ENOENT):
        os.unlink(work / "nobody")


def test_removed_directory_that_is_open(work):
    (work / "dir").mkdir()
    with opened(work / "dir") as fd:
        os.rmdir(work / "dir")
        assert os.listdir(fd) == []
        assert os.fstat(fd).st_nlink == 0
        with raises(errno.ENOENT):
            os.open("new", os.O_CREAT | os.O_RDWR, dir_fd=fd)
        with raises(errno.ENOENT):
            os.mkdir("new", dir_fd=fd)


def inodes(path):
    st = os.statvfs(path)
    return st.f_files - st.f_ffree


@pytest.mark.parametrize("way", ["rmdir", "rename"])
def test_removed_directory_that_is_in_use(store, mnt, way):
    """Held by O_PATH or as a working directory, it stays until released."""
    main = store.mount("alone", "state=main").path
    before = inodes(main)

    def remove(name):
        if way == "rmdir":
            os.rmdir(main / name)
        else:
            (main / "other").mkdir()
            os.rename(main / "other", main / name)
            os.rmdir(main / name)

    (main / "dir").mkdir()
    (main / "cwd").mkdir()
    script = "import os, sys; input(); print(os.stat('.').st_nlink, " \
             "os.listdir('.'))"
    with subprocess.Popen(
            [sys.executable, "-c", script], cwd=main / "cwd", text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        with opened(main / "dir", os.O_PATH) as fd:
            # what is still there is not held, though it was tried
            (main / "dir" / "file").touch()
            with raises(errno.ENOTEMPTY):
                os.rmdir(main / "dir")
            os.unlink(main / "dir" / "file")
            remove("dir")
            remove("cwd")
            assert os.fstat(fd).st_nlink == 0
            assert worker.communicate("\n")[0] == "0 []\n"
    wait_for(lambda: inodes(main) == before, "the directories to go")


def make_special(path, kind):
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as unix:
            # its path may be too long for an address
            with opened(path.parent, os.O_PATH) as fd:
                unix.bind(f"/proc/self/fd/{fd}/{path.name}")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        os.symlink("target", path)
    else:
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 3))


def use_special(fd, kind):
    st = os.fstat(fd)
    assert st.st_nlink == 0
    if kind == "symlink":
        assert os.readlink("", dir_fd=fd) == "target"
        return
    path = f"/proc/self/fd/{fd}"
    assert os.stat(path).st_ino == st.st_ino
    os.chmod(path, 0o640)
    os.chown(path, 1, 2)
    os.utime(path, ns=(1, 2))
    st = os.stat(path)
    assert stat.S_IMODE(st.st_mode) == 0o640
    assert (st.st_uid, st.st_gid, st.st_mtime_ns) == (1, 2, 2)
    os.setxattr(path, "trusted.x", b"1")
    assert os.listxattr(path) == ["trusted.x"]


@pytest.mark.parametrize("way", ["unlink", "rename", "noreplace", "two names",
                                 "other mount"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "symlink"])
def test_removed_special_file_that_is_in_use(store, mnt, kind, way):
    """The kernel opens them without a word; they stay all the same."""
    main = store.mount("alone", "state=main").path
    before = inodes(main)
    make_special(main / "special", kind)
    flags = os.O_PATH | os.O_NOFOLLOW
    with opened(main / "special", flags) as fd:
        if way == "unlink":
            os.unlink(main / "special")
        elif way == "other mount":
            os.unlink(mnt / "main" / "special")
        elif way == "two names":
            os.link(main / "special", main / "second", follow_symlinks=False)
            os.unlink(main / "special")
            assert os.fstat(fd).st_nlink == 1
            os.unlink(main / "second")
        else:
            (main / "other").write_text("x")
            if way == "noreplace":
                with raises(errno.EEXIST):
                    renameat2(main / "other", main / "special",
                              RENAME_NOREPLACE)
            os.rename(main / "other", main / "special")
            os.unlink(main / "special")
        use_special(fd, kind)
        # A snapshot of it all, and its end, change nothing about it.
        (mnt / "main" / ".snap" / "a").mkdir()
        (mnt / "main@b").mkdir()
        use_special(fd, kind)
    # Its mount notices when it looks that another one has removed it.
    wait_for(lambda: not os.path.lexists(main / "special")
             and inodes(main) == before, "the special file to go")


def test_removed_fifo_passes_data_on(work):
    os.mkfifo(work / "fifo")
    with opened(work / "fifo", os.O_RDWR) as fd:
        os.unlink(work / "fifo")
        assert os.fstat(fd).st_nlink == 0
        os.fchmod(fd, 0o600)
        os.utime(fd, ns=(0, 0))
        run("sh", "-c", f"echo hello | cat > /proc/{os.getpid()}/fd/{fd}")
        assert os.read(fd, 100) == b"hello\n"


def test_link_counts_of_directories(work):
    path = work / "dir"
    path.mkdir()
    start = os.stat(path).st_nlink
    (path / "a").mkdir()
    (path / "b").mkdir()
    grown = os.stat(path).st_nlink
    assert (start, grown) in ((2, 4), (1, 1))
    os.rename(path / "a", work / "a")
    os.rmdir(path / "b")
    assert os.stat(path).st_nlink == start


def test_large_directory(work):
    """Created, read, half deleted, read again."""
    path = work / "large"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    count = 20000
    for i in range(count):
        os.close(os.open(f"entry-{i}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    names = os.listdir(path)
    assert len(names) == count == len(set(names))
    os.mkdir(work.parent / "main@work@a")
    for i in range(0, count, 2):
        os.unlink(f"entry-{i}", dir_fd=fd)
    os.close(fd)
    assert sorted(os.listdir(path)) == sorted(
        f"entry-{i}" for i in range(1, count, 2))
    assert len(os.listdir(work.parent / "main@work@a" / "large")) == count


def test_readdir_while_things_change(work):
    """No entry comes twice, and entries that stay are never missed."""
    path = work / "dir"
    path.mkdir()
    steady = {f"steady-{i}" for i in range(3000)}
    for name in steady:
        (path / name).write_text("")
    stop = threading.Event()
    errors = []

    def churn(seed):
        rng = random.Random(seed)
        try:
            while not stop.is_set():
                name = path / f"churn-{seed}-{rng.randrange(300)}"
                if name.exists():
                    name.unlink()
                else:
                    name.write_text("")
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            names = os.listdir(path)
            assert len(names) == len(set(names))
            assert steady <= set(names)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_seekdir(work):
    """
    A place in a directory stays where it is.  What was deleted since the
    directory was opened may still be listed.
    """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)

    class Dirent(ctypes.Structure):
        _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64),
                    ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8),
                    ("name", ctypes.c_char * 256)]

    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.POINTER(Dirent)
    libc.readdir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.telldir.restype = ctypes.c_long
    libc.telldir.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

    path = work / "dir"
    path.mkdir()
    for i in range(1000):
        (path / f"{i}").write_text("")
    stream = libc.opendir(os.fsencode(path))
    try:
        check_seekdir(libc, stream, path)
    finally:
        libc.closedir(stream)


def check_seekdir(libc, stream, path):
    order = []
    while True:
        place = libc.telldir(stream)
        entry = libc.readdir(stream)
        if not entry:
            break
        order.append((place, entry.contents.name))
    assert len(order) == 1002
    rng = random.Random(1)
    gone = {name for _, name in rng.sample(order, 200)
            if name not in (b".", b"..")}
    for name in gone:
        os.unlink(os.path.join(os.fsencode(path), name))
    for at in rng.sample(range(len(order)), 50):
        libc.seekdir(stream, order[at][0])
        entry = libc.readdir(stream)
        rest = [name for _, name in order[at:]]
        if entry:
            skipped = rest[:rest.index(entry.contents.name)]
        else:
            skipped = rest
        assert set(skipped) <= gone


def test_types_in_readdir(work):
    os.mkfifo(work / "fifo")
    os.symlink("x", work / "link")
    (work / "file").write_text("")
    kinds = {e.name: (e.is_dir(follow_symlinks=False), e.is_symlink(),
                      e.is_file(follow_symlinks=False))
             for e in os.scandir(work)}
    assert kinds == {"base": (True, False, False), "fifo": (False,) * 3,
                     "link": (False, True, False),
                     "file": (False, False, True)}


def test_parallel_creators(work):
    """Several make the same names: each name is made once."""
    path = work / "dir"
    path.mkdir()
    won = [0] * 4

    def create(n):
        for i in range(300):
            try:
                os.close(os.open(path / f"{i}", os.O_CREAT | os.O_EXCL))
                won[n] += 1
            except FileExistsError:
                pass

    threads = [threading.Thread(target=create, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 300 == len(os.listdir(path))


def test_parallel_renames(work):
    for i in range(50):
        (work / f"{i}").write_text(f"{i}")
    def shuffle(seed):
        rng = random.Random(seed)
        for _ in range(300):
            a, b = rng.sample(range(50), 2)
            renameat2(work / f"{a}", work / f"{b}", RENAME_EXCHANGE)

    threads = [threading.Thread(target=shuffle, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int((work / f"{i}").read_text()) for i in range(50)
                  ) == list(range(50))


def test_no_write_permission_no_names(work):
    (work / "dir").mkdir()
    os.chmod(work / "dir", 0o755)
    (work / "dir" / "file").write_text("x")
    for call in (lambda: os.mkdir(work / "dir" / "x"),
                 lambda: os.unlink(work / "dir" / "file"),
                 lambda: os.rename(work / "dir" / "file", work / "dir" / "y"),
                 lambda: os.link(work / "dir" / "file", work / "dir" / "z"),
                 lambda: os.symlink("x", work / "dir" / "s")):
        assert as_user(call) in (errno.EACCES, errno.EPERM)
    assert os.listdir(work / "dir") == ["file"]


def test_dot_and_dot_dot(work):
    (work / "dir").mkdir()
    assert os.stat(work / "dir" / ".").st_ino == os.stat(work / "dir").st_ino
    assert os.stat(work / "dir" / "..").st_ino == os.stat(work).st_ino
    assert os.stat(work / "..").st_ino == os.stat(work.parent).st_ino


@pytest.mark.parametrize("call", [os.mkdir, os.mkfifo,
                                  lambda p: os.symlink("x", p)])
def test_made_after_it_was_missing(work, call):
    """A name that was looked up in vain is there once it is made."""
    assert not os.path.lexists(work / "name")
    call(work / "name")
    assert os.path.lexists(work / "name")
    assert "name" in os.listdir(work)
