# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several mounts of one store: coherent, served by one daemon, in several
mount namespaces, by ordinary users."""
import errno
import mmap
import os
import random
import subprocess
import threading
import time

import pytest

from conftest import COPPICE, SLOWER, children, daemons, mounted, wait_for
from linux import (INO_MASK, can_unshare, handle_of, in_namespace, open_handle,
                   opened, raises, run)


@pytest.fixture
def both(store, mnt, main):
    """main seen through the whole store and by a mount of its own."""
    (main / "file").write_text("first")
    return main, store.mount("alone", "state=main").path


def test_state_alone_is_the_root(both):
    main, alone = both
    assert os.listdir(alone) == ["file"]
    assert (alone / "file").read_text() == "first"
    # plain inode numbers
    for path in alone, alone / "file":
        assert os.stat(path).st_ino <= INO_MASK
    assert (os.stat(alone / "file").st_ino
            == os.stat(main / "file").st_ino & INO_MASK)
    assert os.getxattr(alone, "user.coppice.state") == b"main"


def test_snapshot_alone(store, mnt, main):
    (main / "file").write_text("x")
    (main / ".snap" / "a").mkdir()
    alone = store.mount("alone", "state=main~a")
    assert (alone / "file").read_text() == "x"
    with raises(errno.EROFS):
        (alone / "file").write_text("y")


@pytest.mark.parametrize("way", [0, 1])
def test_changes_are_seen(both, way):
    a, b = both if way else reversed(both)
    assert (b / "file").read_text() == "first"
    (a / "file").write_text("second, longer")
    assert (b / "file").read_text() == "second, longer"
    assert os.stat(b / "file").st_size == 14
    (a / "new").write_text("x")
    assert (b / "new").read_text() == "x"
    assert sorted(os.listdir(b)) == ["file", "new"]
    os.chmod(a / "new", 0o600)
    assert os.stat(b / "new").st_mode & 0o777 == 0o600
    os.rename(a / "new", a / "newer")
    assert not (b / "new").exists()
    assert (b / "newer").exists()
    os.unlink(a / "newer")
    assert not (b / "newer").exists()
    os.mkdir(a / "dir")
    os.rmdir(b / "dir")
    assert not (a / "dir").exists()
    os.symlink("target", a / "link")
    assert os.readlink(b / "link") == "target"
    os.unlink(b / "link")
    os.symlink("other", b / "link")
    assert os.readlink(a / "link") == "other"
    os.setxattr(a / "file", "user.x", b"1")
    assert os.getxattr(b / "file", "user.x") == b"1"


@pytest.mark.parametrize("way", [0, 1])
def test_open_files_are_coherent(both, way):
    a, b = both if way else reversed(both)
    with opened(a / "file", os.O_RDWR) as fa, \
            opened(b / "file", os.O_RDWR) as fb:
        for i in range(50):
            text = b"%08d" % i * 1000
            os.pwrite(fa, text, 0)
            assert os.pread(fb, 8000, 0) == text
            assert os.fstat(fb).st_size == 8000
            os.pwrite(fb, b"back%04d" % i, 4000)
            assert os.pread(fa, 8, 4000) == b"back%04d" % i
        os.ftruncate(fa, 3)
        assert os.pread(fb, 100, 0) == b"000"


def test_file_cached_before_the_second_mount(store, mnt, main):
    (main / "file").write_bytes(b"a" * 100000)
    (main / "gone").write_text("x")
    assert (main / "file").read_bytes() == b"a" * 100000
    assert not (main / "new").exists()
    fd = os.open(main / "file", os.O_RDONLY)
    alone = store.mount("alone", "state=main")
    (alone / "file").write_bytes(b"b" * 50000)
    (alone / "new").write_text("x")
    os.unlink(alone / "gone")
    assert os.pread(fd, 200000, 0) == b"b" * 50000
    assert os.stat(main / "file").st_size == 50000
    assert (main / "new").exists()
    assert not (main / "gone").exists()
    os.close(fd)


def test_mapped_file_is_coherent(store, mnt, main):
    path = main / "file"
    path.write_bytes(b"a" * 8192)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as area:
        assert area[:3] == b"aaa"
        alone = store.mount("alone", "state=main")
        (alone / "other").write_text("x")
        area[:3] = b"map"
        area.flush()
        assert (alone / "file").read_bytes()[:4] == b"mapa"
        with opened(alone / "file", os.O_RDWR) as fd:
            os.pwrite(fd, b"written", 4096)
        assert os.pread(file.fileno(), 7, 4096) == b"written"


def test_three_states_and_the_whole(store, mnt, main):
    alone = []
    for i in range(3):
        (mnt / f"main@{i}").mkdir()
        alone.append(store.mount(f"alone-{i}", f"state=main@{i}"))
    for i in range(3):
        (alone[i] / "file").write_text(f"{i}")
    for i in range(3):
        assert (mnt / f"main@{i}" / "file").read_text() == f"{i}"
        assert os.listdir(alone[i].path) == ["file"]
    assert os.listdir(main) == []
    alone[1].umount()
    assert (alone[2] / "file").read_text() == "2"


def test_whole_store_twice(store, mnt, main):
    second = store.mount("second")
    (main / "file").write_text("x")
    assert (second / "main" / "file").read_text() == "x"
    os.mkdir(second / "main@a")
    assert sorted(os.listdir(mnt)) == ["main", "main@a"]
    os.rename(mnt / "main@a", mnt / "b")
    assert sorted(os.listdir(second)) == ["b", "main"]
    assert not (second / "main@a").exists()
    store.verb("rm", "b")
    assert not (second / "b").exists() and not (mnt / "b").exists()
    os.mkdir(mnt / "main" / ".snap" / "s")
    assert os.readlink(second / "main~1") == "main/.snap/s"


def test_list_before_anything_else_in_a_second_mount(store, mnt):
    """ls -l lists states that were not looked up before, with attributes."""
    second = store.mount("second")
    assert run("ls", "-l", second.path).split()[-1] == "main"
    assert run("ls", "-l", mnt.path).split()[-1] == "main"


def test_state_is_deleted_under_its_mount(store, mnt, main):
    (mnt / "main@a").mkdir()
    (mnt / "main@a" / "file").write_text("x")
    alone = store.mount("alone", "state=main@a")
    assert (alone / "file").read_text() == "x"
    store.verb("rm", "main@a")
    with raises(errno.ESTALE, errno.ENOENT):
        (alone / "file").read_text()
    with raises(errno.ESTALE, errno.ENOENT):
        (alone / "new").write_text("x")


@pytest.mark.parametrize("snapdir", ["disabled", "hidden"])
def test_state_alone_is_a_jail(store, mnt, main, snapdir):
    """A file handle says which node it means; its owner may write it."""
    (main / "file").write_text("secret")
    for fork in mnt / "main@jail", mnt / "main@other":
        fork.mkdir()
        (fork / ".snap" / "a").mkdir()
    snapshot = mnt / "main@jail/.snap/a"
    outside = [main, main / "file", mnt / "main@other", mnt / "main@other/file",
               mnt / "main@other/.snap", mnt / "main@other/.snap/a/file",
               mnt / "main@jail/file"]
    jail = store.mount("jail", f"state=main@jail,snapdir={snapdir}")
    inside = [jail / "file"]
    (inside if snapdir == "hidden" else outside).append(snapshot / "file")
    with opened(jail, os.O_RDONLY | os.O_DIRECTORY) as fd:
        for path in outside:
            handle = handle_of(path)
            with raises(errno.ESTALE):
                os.close(open_handle(fd, handle))
        for path in inside:
            own = open_handle(fd, handle_of(path))
            assert os.read(own, 10) == b"secret"
            os.close(own)
    for name in "store", "origin":
        assert os.getxattr(mnt / "main@jail", f"user.coppice.{name}")
        with raises(errno.ENODATA):
            os.getxattr(jail, f"user.coppice.{name}")


def test_first_mount_goes_and_the_second_stays(store, mnt, main):
    """The daemon serves until the last is gone."""
    second = store.mount("second", "state=main")
    (main / "file").write_text("x")
    store.coppice("umount", mnt.path)
    assert (second / "file").read_text() == "x"
    (second / "file").write_text("y")
    assert store.names() == ["main"]
    second.umount()
    mnt.process.wait(60 * SLOWER)
    third = store.mount("third")
    assert (third / "main" / "file").read_text() == "y"


def test_umount_by_umount(store, mnt, main):
    """umount(8) does it, too; the daemon follows."""
    (main / "file").write_text("x")
    run("umount", mnt.path)
    mnt.process.wait(60 * SLOWER)
    assert store.names() == ["main"]
    assert (store.mount("again") / "main" / "file").read_text() == "x"


def test_umount_of_a_busy_mount(store, mnt, main):
    with opened(main / "file", os.O_RDWR | os.O_CREAT) as fd:
        result = store.coppice("umount", mnt.path, code=1)
        assert "in use" in result.stderr
        os.write(fd, b"still here")
    assert (main / "file").read_text() == "still here"


def test_umount_of_what_is_no_mount(store, tmp):
    (tmp / "dir").mkdir()
    for path in tmp / "dir", tmp / "nowhere":
        result = store.coppice("umount", path, code=1)
        assert result.stderr.startswith("coppice: ")
        assert len(result.stderr.splitlines()) == 1


def test_background_daemon(store, tmp):
    """Without -f one daemon serves all mounts, and ends with the last."""
    (tmp / "a").mkdir()
    (tmp / "b").mkdir()
    store.coppice("mount", store.path, tmp / "a")
    try:
        (tmp / "a" / "main" / "file").write_text("x")
        store.coppice("mount", "-o", "state=main", store.path, tmp / "b")
        assert (tmp / "b" / "file").read_text() == "x"
        daemon, = daemons(store)
        assert daemon not in children(os.getpid())
        assert os.getpgid(daemon) != os.getpgrp()
        store.coppice("umount", tmp / "a")
        assert (tmp / "b" / "file").read_text() == "x"
        assert daemons(store) == [daemon]
        store.coppice("umount", tmp / "b")
        wait_for(lambda: not daemons(store), "the daemon to end")
    finally:
        for path in tmp / "a", tmp / "b":
            if mounted(path):
                subprocess.run(["umount", "-l", path], check=False)
    assert store.names() == ["main"]


def test_background_daemon_lets_go_of_everything(store, tmp):
    """A pipe that the caller waits on is closed; the directory is free."""
    (tmp / "a").mkdir()
    (tmp / "cwd").mkdir()
    try:
        shell = subprocess.run(
            [COPPICE, "mount", store.path, tmp / "a"], cwd=tmp / "cwd",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60 * SLOWER)
        assert shell.returncode == 0 and shell.stdout == b""
        daemon, = daemons(store)
        assert os.readlink(f"/proc/{daemon}/cwd") == "/"
    finally:
        store.coppice("umount", tmp / "a")


@pytest.mark.parametrize("option", ["state=nobody", "memory=16M"])
def test_no_daemon_stays_when_its_first_mount_fails(store, tmp, option):
    """The next mount's memory= would not count."""
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    (tmp / "mnt").mkdir()
    without_device = [*in_namespace(tmp), "sh", "-ec",
                      'mount --bind /dev/null /dev/fuse; "$@"', "sh"]
    run(*(without_device if "memory" in option else []), COPPICE, "mount",
        "-o", option, store.path, tmp / "mnt", code=1)
    assert daemons(store) == []


def test_mount_from_another_namespace(store, mnt, main, tmp):
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    (tmp / "inside").mkdir()
    (main / "file").write_text("outside")
    script = f"""
        set -e
        {COPPICE} mount -o state=main {store.path} {tmp}/inside
        cat {tmp}/inside/file
        echo changed >{tmp}/inside/file
        test "$(cat {main}/file)" = changed
        echo outside again >{main}/file
        cat {tmp}/inside/file
    """
    out = run(*in_namespace(tmp), "sh", "-c", script)
    assert out == "outsideoutside again\n"
    assert not mounted(tmp / "inside")
    assert os.listdir(tmp / "inside") == []
    (main / "file").write_text("still served")


def test_first_mount_from_another_namespace(store, tmp):
    """The daemon that is born there serves here, and ends with the last."""
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    (tmp / "inside").mkdir()
    script = f"""
        set -e
        {COPPICE} mount {store.path} {tmp}/inside
        echo first >{tmp}/inside/main/file
        echo ready
        read line
        cat {tmp}/inside/main/file
    """
    with subprocess.Popen(
            [*in_namespace(tmp), "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as there:
        assert there.stdout.readline() == "ready\n"
        here = store.mount("here", "state=main")
        assert (here / "file").read_text() == "first\n"
        (here / "file").write_text("second\n")
        assert there.communicate("go on\n")[0] == "second\n"
        assert there.returncode == 0
    here.umount()
    wait_for(lambda: not daemons(store), "the daemon to end")


def test_requests_after_pauses(store, mnt, main):
    """A pause of about 20 ms is when the threads of a mount fall asleep."""
    alone = [store.mount(f"alone{i}", "state=main").path for i in range(7)]
    (main / "file").write_bytes(bytes(8192))
    problems = []

    def ask(path, seed):
        rng = random.Random(seed)
        try:
            with opened(path / "file", os.O_RDWR) as fd:
                for i in range(60):
                    if i % 3:
                        os.stat(path / "file")
                    else:
                        os.pwrite(fd, bytes([i]) * 4096, 0)
                        os.fsync(fd)
                    time.sleep(rng.uniform(0.019, 0.026))
        except OSError as problem:
            problems.append(problem)

    seed = random.randrange(1 << 32)
    print("seed", seed)
    threads = [threading.Thread(target=ask, args=(path, seed + i))
               for i, path in enumerate([main, *alone])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
