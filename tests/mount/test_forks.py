# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forks: made by mkdir, at once, from anything, and apart from then on."""
import errno
import mmap
import os
import subprocess
import sys
import threading

import pytest

from linux import INO_MASK, opened, raises


def test_new_store_has_main(mnt):
    assert os.listdir(mnt) == ["main"]
    assert os.listdir(mnt / "main") == []


def test_fork_has_what_the_source_has(mnt, main):
    (main / "dir").mkdir()
    (main / "dir" / "file").write_text("text")
    os.symlink("dir/file", main / "link")
    (mnt / "main@try").mkdir()
    fork = mnt / "main@try"
    assert (fork / "link").read_text() == "text"
    assert sorted(os.listdir(mnt)) == ["main", "main@try"]
    assert sorted(os.listdir(fork)) == ["dir", "link"]


def test_neither_sees_the_other(mnt, main):
    for name in "a", "b", "c", "d":
        (main / name).write_bytes(name.encode() * 100000)
    (main / "dir").mkdir()
    (mnt / "main@try").mkdir()
    fork = mnt / "main@try"
    (fork / "a").write_text("changed in the fork")
    (main / "b").write_text("changed in main")
    (fork / "c").unlink()
    (main / "d").rename(main / "dir" / "moved")
    with open(fork / "d", "r+b") as file:
        file.seek(70000)
        file.write(b"fork")
    (main / "new").write_text("in main")
    (fork / "new").mkdir()

    assert (main / "a").read_bytes() == b"a" * 100000
    assert (fork / "a").read_text() == "changed in the fork"
    assert (fork / "b").read_bytes() == b"b" * 100000
    assert (main / "c").read_bytes() == b"c" * 100000
    assert not (fork / "c").exists()
    assert (main / "dir" / "moved").read_bytes() == b"d" * 100000
    assert (fork / "d").read_bytes() == (
        b"d" * 70000 + b"fork" + b"d" * 29996)
    assert os.listdir(fork / "dir") == []
    assert (fork / "new").is_dir() and (main / "new").is_file()


def test_plain_name_forks_the_default(store, mnt, main):
    store.verb("default", "main")
    (main / "file").write_text("x")
    (mnt / "other").mkdir()
    assert (mnt / "other" / "file").read_text() == "x"


def test_longest_existing_prefix_is_the_source(mnt, main):
    (main / "who").write_text("main")
    (mnt / "main@a").mkdir()
    (mnt / "main@a" / "who").write_text("main@a")
    (mnt / "main@a@b").mkdir()
    assert (mnt / "main@a@b" / "who").read_text() == "main@a"
    (mnt / "main@x@y").mkdir()
    assert (mnt / "main@x@y" / "who").read_text() == "main"
    with raises(errno.ENOENT):
        (mnt / "nobody@x").mkdir()


def test_bad_names(mnt):
    for name in ".hidden", "tab\there", "del\x7f", "main~x", "a~b":
        with raises(errno.EINVAL, errno.EPERM, errno.ENOENT):
            (mnt / name).mkdir()
    with raises(errno.ENAMETOOLONG):
        (mnt / ("n" * 256)).mkdir()
    with raises(errno.EEXIST):
        (mnt / "main").mkdir()
    assert os.listdir(mnt) == ["main"]


def test_good_names(mnt):
    names = ["n" * 255, "with space", "ünïcödé", "@", "a@", "-rf", "a.b"]
    for name in names:
        try:
            (mnt / name).mkdir()
        except FileNotFoundError:
            # '@' and 'a@' ask for sources that are not there
            assert "@" in name
            names = [n for n in names if n != name]
    assert sorted(os.listdir(mnt)) == sorted([*names, "main"])


def test_name_that_is_not_utf8(store, mnt):
    os.mkdir(os.path.join(os.fsencode(mnt), b"main@\xff\xfe"))
    assert b"main@\xff\xfe" in os.listdir(os.fsencode(mnt))
    store.verb("list")
    os.rmdir(os.path.join(os.fsencode(mnt), b"main@\xff\xfe"))


def test_only_forks_in_the_root(mnt, main):
    (main / "file").write_text("x")
    with raises(errno.EPERM):
        (mnt / "file").write_text("x")
    with raises(errno.EPERM):
        os.mkfifo(mnt / "fifo")
    with raises(errno.EXDEV, errno.EPERM):
        os.link(main / "file", mnt / "file")
    with raises(errno.EXDEV, errno.EPERM):
        os.rename(main / "file", mnt / "file")


def test_inode_numbers(mnt, main):
    (main / "file").write_text("x")
    (mnt / "main@a").mkdir()
    (mnt / "main@a@b").mkdir()
    (main / ".snap" / "s").mkdir()
    numbers = [os.stat(path / "file").st_ino for path in (
        main, mnt / "main@a", mnt / "main@a@b", main / ".snap" / "s")]
    assert len(set(numbers)) == 4
    assert len({n & INO_MASK for n in numbers}) == 1
    assert len({n & 0xffffffff for n in numbers}) == 1
    roots = [os.stat(path).st_ino for path in (
        mnt, main, mnt / "main@a", main / ".snap", main / ".snap" / "s")]
    assert len(set(roots)) == 5
    # One counter for all: a new file in each is not the same file.
    (main / "new").write_text("x")
    (mnt / "main@a" / "new").write_text("x")
    assert (os.stat(main / "new").st_ino & INO_MASK) != (
        os.stat(mnt / "main@a" / "new").st_ino & INO_MASK)


def test_readdir_tells_the_same_numbers(mnt, main):
    for i in range(20):
        (main / f"{i}").write_text("x")
    (mnt / "main@a").mkdir()
    for entry in os.scandir(mnt / "main@a"):
        assert entry.inode() == os.stat(entry.path).st_ino
    for entry in os.scandir(mnt):
        assert entry.inode() == os.stat(entry.path).st_ino


CHAINS = [
    ["alfred", "benny", "chase", "dian", "elly"],
    ["alfred", "boris", "claire", "chris", "diaz", "cory"],
]


@pytest.mark.parametrize("children", [1, 2, 3])
def test_tree_of_forks_all_open(mnt, main, children):
    """A tree of forks, each made while files in all of them are open."""
    files, expected = {}, {}

    def grow(path, name):
        parent = "@".join(path)
        full = f"{parent}@{name}" if parent else name
        os.mkdir(mnt / full)
        expected[full] = expected.get(parent, b"")
        files[full] = os.open(mnt / full / "log",
                              os.O_RDWR | os.O_CREAT | os.O_APPEND)
        for fork, fd in files.items():
            line = f"{fork} as {full} came\n".encode()
            os.write(fd, line)
            expected[fork] += line
        return full

    made = set()
    for chain in CHAINS:
        for depth, name in enumerate(chain):
            path = tuple(chain[:depth + 1])
            if path not in made:
                made.add(path)
                grow(chain[:depth], name)
    for child in range(1, children):
        for path in sorted(made):
            grow(list(path), f"child-{child}")
    for fork, fd in files.items():
        assert (mnt / fork / "log").read_bytes() == expected[fork]
        assert os.pread(fd, 1 << 20, 0) == expected[fork]
        os.close(fd)
    assert len(os.listdir(mnt)) == 1 + 10 * children


def test_hundred_forks_deep(mnt, main):
    name = "main"
    for depth in range(40):
        (mnt / name / f"depth-{depth}").write_text(name)
        name += "@x"
        (mnt / name).mkdir()
    assert len(os.listdir(mnt / name)) == 40
    assert len(os.listdir(main)) == 1


def test_hundred_forks_while_writing(mnt, main):
    """Each fork has all writes that had returned, each of them whole."""
    record = 64
    counts = [0] * 4
    stop = threading.Event()

    def write(n):
        fd = os.open(main / f"{n}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while not stop.is_set():
            os.write(fd, b"%063d\n" % counts[n])
            counts[n] += 1
        os.close(fd)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        bounds = []
        for i in range(100):
            before = list(counts)
            os.mkdir(mnt / f"main@{i}")
            bounds.append((before, [c + 1 for c in counts]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for i, (before, after) in enumerate(bounds):
        for n in range(4):
            path = mnt / f"main@{i}" / f"{n}"
            data = path.read_bytes() if path.exists() else b""
            assert before[n] * record <= len(data) <= after[n] * record
            assert data == b"".join(b"%063d\n" % k
                                    for k in range(len(data) // record))


WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | int(sys.argv[2]))
for line in sys.stdin:
    os.write(fd, line.encode())
    print("written", flush=True)
"""


@pytest.mark.parametrize("flags", [0, os.O_APPEND, os.O_SYNC, os.O_TRUNC])
def test_fork_has_what_another_process_wrote(mnt, main, flags):
    path = main / "file"
    path.write_text("")
    with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(flags)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        def write(line):
            writer.stdin.write(line)
            writer.stdin.flush()
            assert writer.stdout.readline() == "written\n"

        text = ""
        for i in range(20):
            write(f"line {i}\n")
            text += f"line {i}\n"
            (mnt / f"main@{i}").mkdir()
            assert (mnt / f"main@{i}" / "file").read_text() == text
        writer.stdin.close()
    assert (mnt / "main@7" / "file").read_text() == "".join(
        f"line {i}\n" for i in range(8))


def test_fork_has_writes_by_every_call(mnt, main):
    path = main / "file"
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"A" * 10, 0)
        os.pwritev(fd, [b"B" * 5, b"C" * 5], 10)
        os.truncate(path, 30)
        os.posix_fallocate(fd, 0, 40)
        os.pwrite(fd, b"D", 200000)
        (mnt / "main@a").mkdir()
        os.pwrite(fd, b"later", 0)
    data = (mnt / "main@a" / "file").read_bytes()
    assert data == b"A" * 10 + b"B" * 5 + b"C" * 5 + bytes(199980) + b"D"
    assert path.read_bytes()[:10] == b"laterAAAAA"


def test_fork_has_mmapped_pages_after_msync(mnt, main):
    path = main / "file"
    path.write_bytes(bytes(100000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as area:
        area[50000:50005] = b"hello"
        area.flush()
        (mnt / "main@a").mkdir()
        area[50000:50005] = b"later"
        area.flush()
        assert (mnt / "main@a" / "file").read_bytes()[50000:50005] == b"hello"
    assert path.read_bytes()[50000:50005] == b"later"


def test_open_descriptor_stays_in_its_state(mnt, main):
    path = main / "file"
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"one")
        (mnt / "main@a").mkdir()
        (mnt / "main@a" / "file").write_text("fork")
        os.write(fd, b"two")
        assert os.pread(fd, 100, 0) == b"onetwo"
    assert path.read_text() == "onetwo"
    assert (mnt / "main@a" / "file").read_text() == "fork"


def test_unlinked_open_file_across_a_fork(mnt, main):
    with opened(main / "file", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"x" * 100000)
        os.unlink(main / "file")
        (mnt / "main@a").mkdir()
        assert os.listdir(mnt / "main@a") == []
        os.write(fd, b"y")
        assert os.fstat(fd).st_size == 100001
        assert os.fstat(fd).st_nlink == 0


def test_fork_of_a_snapshot(mnt, main):
    (main / "file").write_text("monday")
    (main / ".snap" / "monday").mkdir()
    (main / "file").write_text("tuesday")
    (mnt / "main~monday@redo").mkdir()
    fork = mnt / "main~monday@redo"
    assert (fork / "file").read_text() == "monday"
    (fork / "file").write_text("redone")
    assert (main / ".snap" / "monday" / "file").read_text() == "monday"
    assert (main / "file").read_text() == "tuesday"
    assert "main~monday@redo" in os.listdir(mnt)
    (mnt / "main~1@newest").mkdir()
    assert (mnt / "main~1@newest" / "file").read_text() == "monday"


def test_fork_keeps_everything_of_an_inode(mnt, main):
    path = main / "file"
    path.write_bytes(b"x" * 1000)
    os.link(path, main / "second")
    path.chmod(0o4711)
    os.chown(path, 123, 456)
    path.chmod(0o4711)
    os.setxattr(path, "user.name", b"value")
    os.utime(path, ns=(123456789123456789, 987654321987654321))
    (mnt / "main@a").mkdir()
    fork = mnt / "main@a" / "file"
    a, b = path.stat(), fork.stat()
    for field in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size",
                  "st_mtime_ns", "st_atime_ns", "st_ctime_ns", "st_blocks"):
        assert getattr(a, field) == getattr(b, field), field
    assert os.getxattr(fork, "user.name") == b"value"
    assert os.path.samefile(fork, mnt / "main@a" / "second")
    (mnt / "main@a" / "second").write_bytes(b"both")
    assert fork.read_bytes() == b"both"


def test_everything_after_a_remount(store, mnt, main):
    for i in range(20):
        (mnt / f"main@{i}").mkdir()
        (mnt / f"main@{i}" / "file").write_text(f"{i}")
    (mnt / "main@3" / ".snap" / "s").mkdir()
    mnt.umount()
    mnt = store.mount()
    assert len(os.listdir(mnt)) == 21
    for i in range(20):
        assert (mnt / f"main@{i}" / "file").read_text() == f"{i}"
    assert (mnt / "main@3~s" / "file").read_text() == "3"


def test_many_forks(mnt, main):
    (main / "file").write_text("x")
    for i in range(1500):
        os.mkdir(mnt / f"main@{i}")
    names = os.listdir(mnt)
    assert len(names) == len(set(names)) == 1501
    assert (mnt / "main@1499" / "file").read_text() == "x"
