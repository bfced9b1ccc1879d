# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice copy: what is in the copy, and what is left when it fails; what is
said of a copy that was made otherwise."""
import json
import os
import random
import shutil
import signal
import subprocess
import threading

import pytest

from conftest import COPPICE, wait_for
from linux import opened, run, tree_digest


@pytest.fixture
def copies(make_store, tmp):
    """Take a copy at a path for a store, so that it is looked after."""
    def adopt(path):
        store = make_store(path.name + "-mould")
        shutil.rmtree(store.path)
        os.rename(path, store.path)
        return store
    return adopt


def fill(directory, count=20):
    for i in range(count):
        (directory / f"file{i}").write_bytes(random.randbytes(50000 + i))


def durable(path, data):
    with opened(path, os.O_WRONLY | os.O_CREAT) as fd:
        os.write(fd, data)
        os.fsync(fd)


def identity(store, new, *options):
    answer = store.coppice("copy", "--json", *options, store.path, new).stdout
    answer = json.loads(answer)
    assert answer["bytes"] == (new / "data.mdb").stat().st_size
    assert answer["path"] == str(new)
    return answer["identity"]


def test_while_a_writer_runs(store, main, copies, tmp):
    """The copy has all that was durable before, and nothing by halves."""
    saved, end = {}, threading.Event()
    fill(main)

    def write():
        number = 0
        while not end.is_set():
            name, data = f"new{number}", os.urandom(random.randrange(30000))
            durable(main / name, data)
            saved[name] = data
            if number % 2 and number > 3:
                (main / f"new{number - 3}").rename(main / f"old{number - 3}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_number in range(5):
            count = len(saved) + 5
            wait_for(lambda: len(saved) >= count, "the writer")
            before = dict(saved)
            store.coppice("copy", store.path, tmp / "copy")
            copy = copies(tmp / "copy")
            copy.check()
            mnt = copy.mount(f"m{round_number}")
            for name, data in before.items():
                path = mnt / "main" / name
                if not path.exists():
                    path = mnt / "main" / name.replace("new", "old")
                assert path.read_bytes() == data
            mnt.umount()
            shutil.rmtree(copy.path)
            copy.damaged = True  # there is none any more
    finally:
        end.set()
        writer.join()


def test_what_was_answered_is_in_it(store, main, copies, tmp):
    """The copy has forks, snapshots and files that were not yet durable."""
    fill(main)
    (main / ".snap" / "monday").mkdir()
    (main.parent / "main@try").mkdir()
    fill(main.parent / "main@try", 3)
    store.coppice("copy", store.path, tmp / "copy")
    copy = copies(tmp / "copy")
    assert copy.names() == store.names() == ["main", "main~monday", "main@try"]
    mnt = copy.mount("of-the-copy")
    for name in "main", "main/.snap/monday", "main@try":
        assert tree_digest(mnt / name) == tree_digest(main.parent / name)
    # Both go on, each for itself.
    (mnt / "main" / "here").touch()
    (main / "there").touch()
    assert not (main / "here").exists() and not (mnt / "main/there").exists()
    copy.verb("fork", "main", "main@copied")
    assert "main@copied" in copy.names()
    assert "main@copied" not in store.names()


def test_of_an_unmounted_store(store, copies, tmp):
    mnt = store.mount()
    fill(mnt / "main")
    digest = tree_digest(mnt / "main")
    mnt.umount()
    store.coppice("copy", "-s", store.path, "copy/", cwd=tmp)
    assert sorted(os.listdir(tmp / "copy")) == ["data.mdb"]
    copy = copies(tmp / "copy")
    assert tree_digest(copy.mount("of-the-copy") / "main") == digest


def test_of_a_store_that_can_only_be_read(store, copies, tmp):
    view = tmp / "view"
    view.mkdir()
    run("mount", "--bind", store.path, view)
    try:
        run("mount", "-o", "remount,bind,ro", view)
        store.coppice("copy", view, tmp / "copy")
        store.coppice("copy", "--new-identity", view, tmp / "other")
    finally:
        run("umount", view)
    for name in "copy", "other":
        assert copies(tmp / name).names() == ["main"]


def test_identity(store, mnt, copies, tmp):
    mine = identity(store, tmp / "a")
    assert identity(store, tmp / "b") == mine
    other = identity(store, tmp / "c", "--new-identity")
    assert other != mine
    # A new identity is in the copy, and copies of the copy have it.
    a, b, c = (copies(tmp / name) for name in "abc")
    assert identity(a, tmp / "d") == identity(b, tmp / "e") == mine
    assert identity(c, tmp / "f") == other
    # Two stores with one identity are mounted side by side.
    one, two = a.mount("m1"), b.mount("m2")
    (one / "main" / "one").touch()
    assert a.verb("snap", "main", "of-one") == ""
    assert os.listdir(one / "main") == ["one"]
    assert os.listdir(two / "main") == os.listdir(mnt / "main") == []
    assert b.names() == ["main"]
    assert a.names() == ["main", "main~of-one"]


def left(directory):
    return sorted(os.listdir(directory))


def test_new_is_there_already(store, tmp):
    (tmp / "file").touch()
    (tmp / "directory").mkdir()
    (tmp / "link").symlink_to("nowhere")
    before = left(tmp)
    for name in "file", "directory", "link", "link/":
        complaint = store.coppice("copy", store.path, tmp / name,
                                  code=1).stderr
        assert "it exists already" in complaint
    assert left(tmp) == before


def test_bad_arguments(store, tmp):
    before = left(tmp)
    for args in [], ["a", "b", "c"], ["-s", store.path, "a", "b"], ["--x"]:
        store.coppice("copy", *args, code=2)
    for args in [tmp / "none", tmp / "a"], [tmp, tmp / "a"]:
        assert "store" in store.coppice("copy", *args, code=1).stderr
    for new in tmp / "no" / "a", "", tmp / "store" / "data.mdb" / "a":
        assert "copy" in store.coppice("copy", store.path, new, code=1).stderr
    assert left(tmp) == before


@pytest.fixture
def small(tmp):
    """A file system of 1 MiB."""
    path = tmp / "small"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "none", path)
    yield path
    run("umount", path)


def test_a_full_disk(store, small):
    mnt = store.mount()
    fill(mnt / "main", 40)
    for _ in "mounted", "unmounted":
        complaint = store.coppice("copy", store.path, small / "copy",
                                  code=1).stderr
        assert "No space" in complaint
        assert left(small) == []
        assert os.statvfs(small).f_bfree > 200
        if mnt.process.poll() is None:
            (mnt / "main" / "goes-on").touch()
            mnt.umount()


@pytest.fixture
def halted(store, mnt, tmp):
    """A copy that has begun and cannot end: the daemon stands still."""
    fill(mnt / "main")
    (tmp / "target").mkdir()
    mnt.process.send_signal(signal.SIGSTOP)
    copy = subprocess.Popen(
        [COPPICE, "copy", store.path, tmp / "target" / "copy"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # A shell in the background may have set SIGINT to be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def waits():
        with open(f"/proc/{copy.pid}/wchan") as file:
            return "poll" in file.read() or "schedule" in file.read()

    wait_for(waits, "the request to be made")
    yield copy
    copy.kill()
    copy.communicate()
    if not mnt.killed:
        mnt.process.send_signal(signal.SIGCONT)


def test_killed(store, mnt, halted, tmp):
    halted.kill()
    halted.wait()
    mnt.process.send_signal(signal.SIGCONT)
    assert left(tmp / "target") == []
    assert store.names() == ["main"]
    mnt.umount()
    assert left(tmp / "target") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(mnt, halted, tmp, number):
    halted.send_signal(number)
    mnt.process.send_signal(signal.SIGCONT)
    assert halted.wait() == -number
    assert left(tmp / "target") == []


def test_the_daemon_dies(mnt, halted, copies, tmp):
    """If the daemon dies, the copy is made of the last commit."""
    mnt.kill()
    assert halted.wait() == 0, halted.stderr.read()
    assert copies(tmp / "target" / "copy").names() == ["main"]


def test_a_copy_by_cp(store, mnt, tmp):
    """The message for an unusable copy of a mounted store says so."""
    copy = tmp / "copy"
    run("cp", "-a", store.path, copy)
    os.truncate(copy / "data.mdb", 5000)
    said = [store.coppice("list", "-s", copy, code=None),
            store.coppice("check", copy, code=None),
            store.coppice("mount", copy, mnt / "main", code=None)]
    for result in said:
        assert result.returncode != 0
        assert "coppice copy" in result.stderr, result
    shutil.rmtree(copy)
    # One that can be opened may still be damaged.
    mnt.umount()
    store.mount("again")
    run("cp", "-a", store.path, copy)
    complaint = store.coppice("list", "-s", copy).stderr
    assert "copied while it was mounted" in complaint
    assert store.coppice("list", "-s", copy).stderr == ""


def test_a_copy_by_cp_of_an_unmounted_store(store, tmp):
    mnt = store.mount()
    fill(mnt / "main")
    mnt.umount()
    copy = tmp / "copy"
    run("cp", "-a", store.path, copy)
    assert store.coppice("list", "-s", copy).stderr == ""
    os.truncate(copy / "data.mdb", 5000)
    result = store.coppice("list", "-s", copy, code=3)
    assert "coppice copy" not in result.stderr
    # A daemon that was killed has left its mark, but it is no copy.
    mnt = store.mount("again")
    mnt.kill()
    assert store.coppice("list", "-s", store.path).stderr == ""
