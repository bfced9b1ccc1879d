# SPDX-License-Identifier: LGPL-2.1-or-later
"""Locks of files that hold in several mounts: -o locks=store."""
import errno
import fcntl
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from conftest import SLOWER, wait_for
from linux import DISCONNECTED, opened, raises

EX, SH, NB, UN = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB, fcntl.LOCK_UN


class Holder:
    """A process that locks files.  It answers 0, an errno, or what it found."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-S", Path(__file__).parent / "lock_holder.py"],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        assert self.answer() == "ready"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()

    def send(self, *request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, *request):
        self.send(*request)
        return self.answer()

    def open(self, path):
        return self.ask("open", str(path))

    def blocks(self, *request):
        """Send a request, and return when the kernel waits for its answer."""
        self.send(*request)
        wait_for(self.is_waiting, f"{request} to wait")

    def is_waiting(self):
        """The process sleeps in fcntl or flock of a FUSE file system."""
        stack = Path(f"/proc/{self.pid}/stack").read_text()
        return "fuse_setlk" in stack

    def interrupt(self):
        os.kill(self.pid, signal.SIGUSR1)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def pair(store):
    """The same fork in a mount of its own and in one of the whole store."""
    alone = store.mount("alone", "state=main,locks=store")
    whole = store.mount("whole", "locks=store")
    return alone.path, whole / "main"


@pytest.fixture
def holders(pair):
    """Two processes, with the same file open in either mount."""
    with Holder() as a, Holder() as b:
        a.fd = a.open(pair[0] / "file")
        b.fd = b.open(pair[1] / "file")
        yield a, b


def posix(holder, kind, start=0, length=0, how="set"):
    return holder.ask("posix", holder.fd, kind, start, length, how)


def ofd(holder, kind, start=0, length=0, how="set"):
    return holder.ask("ofd", holder.fd, kind, start, length, how)


def flock(holder, operation):
    return holder.ask("flock", holder.fd, operation)


def test_flock(holders):
    a, b = holders
    assert flock(a, SH) == 0
    assert flock(b, SH) == 0
    assert flock(a, EX | NB) == errno.EWOULDBLOCK
    assert flock(b, EX | NB) == 0  # a's went when it could not be converted
    assert flock(a, SH | NB) == errno.EWOULDBLOCK
    # the kinds do not see each other
    assert posix(a, "write") == 0
    assert flock(b, UN) == 0
    assert flock(a, EX | NB) == 0


def test_fcntl_ranges(holders):
    a, b = holders
    assert posix(a, "write", 0, 100) == 0
    assert posix(a, "read", 40, 20) == 0
    assert posix(b, "write", 100, 0) == 0
    assert posix(b, "read", 45, 5) == 0
    assert posix(b, "read", 30, 20) == errno.EAGAIN
    assert posix(b, "write", 50, 1) == errno.EAGAIN
    assert posix(b, "write", 10, 80, "test") == ["write", 0, 40, a.pid]
    assert posix(b, "read", 40, 20, "test") == ["none", 40, 20, 0]
    assert posix(a, "read", 90, 20, "test") == ["write", 100, 0, b.pid]
    assert posix(a, "none", 0, 10) == 0
    assert posix(b, "write", 0, 10) == 0


def test_locks_of_an_open_file_description(holders, pair):
    """They end with the last descriptor of it, not with the first."""
    a, b = holders
    a.other = a.open(pair[0] / "file")
    assert ofd(a, "write", 0, 10) == 0
    assert ofd(b, "write", 5, 1) == errno.EAGAIN
    assert a.ask("ofd", a.other, "read", 0, 1, "set") == errno.EAGAIN
    assert a.ask("close", a.other) == 0
    assert ofd(b, "write", 5, 1) == errno.EAGAIN
    assert a.ask("close", a.fd) == 0
    # RELEASE is not waited for
    assert b.ask("ofd", b.fd, "write", 5, 1, "wait") == 0


def test_closing_any_descriptor_ends_the_locks_of_a_process(holders, pair):
    a, b = holders
    other = a.open(pair[0] / "file")
    assert posix(a, "write") == 0
    assert posix(b, "write") == errno.EAGAIN
    assert a.ask("close", other) == 0
    assert posix(b, "write") == 0


@pytest.mark.parametrize("request_of", [
    ("posix", "write", 0, 0, "wait"), ("ofd", "write", 0, 0, "wait"),
    ("flock", EX)], ids=["posix", "ofd", "flock"])
@pytest.mark.parametrize("end", ["unlock", "close", "exit", "kill"])
def test_waiting(holders, request_of, end):
    """When the holder's lock ends in this way, the waiting process gets it."""
    a, b = holders
    what, *args = request_of
    assert a.ask(what, a.fd, *args) == 0
    b.blocks(what, b.fd, *args)
    if end == "unlock":
        last = [UN] if what == "flock" else ["none", 0, 0, "set"]
        assert a.ask(what, a.fd, *last) == 0
    elif end == "close":
        assert a.ask("close", a.fd) == 0
    elif end == "exit":
        a.process.stdin.close()
    else:
        a.kill()
    assert b.answer() == 0


@pytest.mark.parametrize("request_of", [
    ("posix", "write", 0, 0, "wait"), ("flock", EX)], ids=["posix", "flock"])
def test_interrupted_waiting(holders, request_of):
    a, b = holders
    what, *args = request_of
    assert a.ask(what, a.fd, *args) == 0
    b.blocks(what, b.fd, *args)
    b.interrupt()
    assert b.answer() == "interrupted"
    b.blocks(what, b.fd, *args)
    b.kill()
    # neither left anything behind
    with Holder() as c:
        fd = c.open(os.readlink(f"/proc/{a.pid}/fd/{a.fd}"))
        c.blocks(what, fd, *args)
        a.kill()
        assert c.answer() == 0


def test_many_wait_and_none_holds_a_worker(pair):
    """More wait than there are threads; everything else goes on."""
    with Holder() as a:
        fd = a.open(pair[0] / "file")
        assert a.ask("flock", fd, EX) == 0
        others = [Holder() for _ in range(24)]
        for i, b in enumerate(others):
            b.blocks("flock", b.open(pair[i % 2] / "file"), SH)
        (pair[1] / "else").write_text("x")
        assert (pair[0] / "else").read_text() == "x"
        assert a.ask("flock", fd, UN) == 0
        for b in others:
            assert b.answer() == 0
            b.__exit__()


def test_deadlock(holders):
    a, b = holders
    assert posix(a, "write", 0, 1) == 0
    assert posix(b, "write", 1, 1) == 0
    b.blocks("posix", b.fd, "write", 0, 1, "wait")
    assert posix(a, "write", 1, 1, "wait") == errno.EDEADLK
    assert posix(a, "none", 0, 1) == 0
    assert b.answer() == 0


def test_a_mount_without_the_option_takes_no_part(store, pair):
    local = store.mount("local", "state=main")
    with Holder() as a, Holder() as b, Holder() as c:
        for holder, path in (a, pair[0]), (b, local.path), (c, local.path):
            holder.fd = holder.open(path / "file")
        assert flock(a, EX) == 0
        assert flock(b, EX | NB) == 0
        assert flock(c, EX | NB) == errno.EWOULDBLOCK
        assert posix(a, "write") == 0
        assert posix(b, "write") == 0
        assert posix(c, "write") == errno.EAGAIN


def test_forks_do_not_share_locks(store):
    mnt = store.mount("mnt", "locks=store")
    (mnt / "main" / "file").write_text("x")
    (mnt / "main@fork").mkdir()
    with Holder() as a, Holder() as b:
        a.fd = a.open(mnt / "main" / "file")
        b.fd = b.open(mnt / "main@fork" / "file")
        assert flock(a, EX) == 0
        assert flock(b, EX | NB) == 0


def test_unlinked_and_renamed_while_locked(holders, pair):
    a, b = holders
    assert posix(a, "write") == 0
    (pair[1] / "file").rename(pair[1] / "other")
    assert posix(b, "write") == errno.EAGAIN
    (pair[0] / "other").unlink()
    assert posix(b, "write") == errno.EAGAIN
    # a new file of this name has locks of its own
    with Holder() as c:
        c.fd = c.open(pair[1] / "other")
        assert posix(c, "write") == 0
    a.kill()
    assert posix(b, "write", 0, 0, "wait") == 0


def test_renamed_and_swapped_states(store):
    """Locks stay with the state, whatever it is called."""
    mnt = store.mount("mnt", "locks=store")
    (mnt / "main" / "file").write_text("x")
    (mnt / "main@fork").mkdir()
    with Holder() as a, Holder() as b:
        a.fd = a.open(mnt / "main" / "file")
        assert flock(a, EX) == 0
        store.verb("swap", "main", "main@fork")
        b.fd = b.open(mnt / "main" / "file")
        assert flock(b, EX | NB) == 0
        fd = b.open(mnt / "main@fork" / "file")
        assert b.ask("flock", fd, EX | NB) == errno.EWOULDBLOCK
        store.verb("rename", "main@fork", "again")
        fd = b.open(mnt / "again" / "file")
        assert b.ask("flock", fd, EX | NB) == errno.EWOULDBLOCK


def test_restored_while_locked(store, holders, pair):
    """A file that a restoration replaces keeps its inode, and the locks."""
    a, b = holders
    (pair[0] / "file").write_text("old")
    store.verb("snap", "main", "before")
    (pair[0] / "file").write_text("new")
    assert posix(a, "write") == 0
    store.verb("restore", "main~before")
    assert (pair[1] / "file").read_text() == "old"
    assert posix(b, "write") == errno.EAGAIN
    a.kill()
    assert posix(b, "write", 0, 0, "wait") == 0


def test_state_deleted_while_locked(store):
    """A waiting lock request fails; a file with a lock can be closed."""
    one = store.mount("one", "locks=store")
    two = store.mount("two", "locks=store")
    (one / "main@fork").mkdir()
    with Holder() as a, Holder() as b:
        a.fd = a.open(one / "main@fork" / "file")
        b.fd = b.open(two / "main@fork" / "file")
        assert posix(a, "write") == 0
        b.blocks("posix", b.fd, "write", 0, 0, "wait")
        store.verb("rm", "main@fork")
        assert b.answer() == errno.ESTALE
        assert posix(b, "write", 0, 0, "wait") == errno.ESTALE
        assert posix(a, "none") == 0
        a.ask("close", a.fd)
        b.ask("close", b.fd)


@pytest.mark.parametrize("how", ["force", "abort"])
def test_a_mount_that_goes_releases_its_locks(store, pair, how):
    second = store.mount("second", "state=main,locks=store")
    with Holder() as a, Holder() as b, Holder() as c:
        a.fd = a.open(second / "file")
        c.fd = c.open(second / "file")
        b.fd = b.open(pair[0] / "file")
        assert flock(a, EX) == 0
        assert posix(a, "write") == 0
        c.blocks("flock", c.fd, EX)
        b.blocks("flock", b.fd, EX)
        if how == "force":
            # it is busy, but the connection ends all the same
            subprocess.run(["umount", "-f", second.path], check=False,
                           stderr=subprocess.DEVNULL)
        else:
            device = os.stat(second.path).st_dev
            with open(f"/sys/fs/fuse/connections/{os.minor(device)}/abort",
                      "w", encoding="ascii") as f:
                f.write("1")
        assert c.answer() in DISCONNECTED
        assert b.answer() == 0
        assert posix(b, "write", 0, 0, "wait") == 0
    subprocess.run(["umount", "-l", second.path], check=False,
                   stderr=subprocess.DEVNULL)


def test_umount_is_not_kept_by_former_locks(store, pair):
    second = store.mount("second", "state=main,locks=store")
    with Holder() as a:
        a.fd = a.open(second / "file")
        assert posix(a, "write") == 0
        assert flock(a, EX) == 0
        a.ask("close", a.fd)
    second.umount()
    with opened(pair[0] / "file", os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        fcntl.flock(fd, EX)


def test_the_option(store, tmp):
    (tmp / "dir").mkdir()
    result = store.coppice("mount", "-o", "locks=maybe", store.path,
                           tmp / "dir", code=2)
    assert "bad value in mount option 'locks=maybe'" in result.stderr
    mnt = store.mount("mnt", "locks=mount")
    with opened(mnt / "main" / "file", os.O_CREAT | os.O_RDWR) as fd:
        fcntl.flock(fd, EX)
        with opened(mnt / "main" / "file") as other, \
                raises(errno.EWOULDBLOCK):
            fcntl.flock(other, EX | NB)


def test_random_locks_exclude(pair):
    """Critical sections in two mounts, by all kinds of locks at random."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    script = textwrap.dedent("""
        import fcntl, os, random, struct, sys
        paths, seed = sys.argv[1:3], sys.argv[3]
        rng = random.Random(seed)
        for i in range(int(sys.argv[4])):
            path = rng.choice(paths)
            kind = rng.randrange(2)
            fd = os.open(path + "/lock", os.O_RDWR | os.O_CREAT)
            if kind == 0:
                lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 3, 4, 0)
                fcntl.fcntl(fd, fcntl.F_SETLKW, lock)
            else:
                lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 5, 9, 0)
                fcntl.fcntl(fd, 38, lock)
            count = os.open(path + "/count", os.O_RDWR)
            n = int(os.pread(count, 20, 0))
            os.pwrite(count, b"%20d" % (n + 1), 0)
            os.close(count)
            os.close(fd)
    """)
    rounds, processes = 60, 4
    (pair[0] / "count").write_text(f"{0:20d}")
    running = [subprocess.Popen(
        [sys.executable, "-c", script, *map(str, pair), f"{seed} {i}",
         str(rounds)]) for i in range(processes)]
    assert [p.wait() for p in running] == [0] * processes
    assert int((pair[1] / "count").read_text()) == rounds * processes


# ---- SQLite -------------------------------------------------------------------

WRITER = textwrap.dedent("""
    import sqlite3, sys
    path, first, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    db = sqlite3.connect(path, timeout=600, isolation_level=None)
    db.execute("pragma synchronous=off")
    for i in range(first, first + rows):
        db.execute("begin immediate")
        db.execute("insert into t values (?, ?)", (i, str(i) * 50))
        db.execute("update total set n = n + 1")
        db.execute("commit")
""")


def sqlite_load(paths, rows):
    """Rows that are there when each path got `rows`; None: damaged."""
    with sqlite3.connect(paths[0]) as db:
        db.execute("create table t (i integer primary key, x text)")
        db.execute("create index byx on t (x)")
        db.execute("create table total (n integer)")
        db.execute("insert into total values (0)")
    db.close()
    running = [subprocess.Popen(
        [sys.executable, "-c", WRITER, path, str(i * rows), str(rows)],
        stderr=subprocess.PIPE, text=True) for i, path in enumerate(paths)]
    errors = [p.communicate(timeout=120 * SLOWER)[1] for p in running]
    db = sqlite3.connect(paths[0])
    try:
        check = db.execute("pragma integrity_check").fetchall()
        counts = (db.execute("select count(*) from t").fetchone()[0],
                  db.execute("select n from total").fetchone()[0])
    except sqlite3.DatabaseError as error:
        check, counts = [(str(error),)], None
    finally:
        db.close()
    return errors, check, counts


def test_sqlite(pair):
    paths = [pair[i % 2] / "db" for i in range(4)]
    errors, check, counts = sqlite_load(paths, 40)
    assert errors == [""] * 4
    assert check == [("ok",)]
    assert counts == (160, 160)
