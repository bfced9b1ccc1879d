# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of a mount, and remounting; mount's complaints."""
import errno
import os

import pytest

from conftest import COPPICE, mounted, mounts, wait_for
from linux import (DISCONNECTED, opened, options_of, raises, run,
                   super_options_of)


def test_read_only_mount(store, mnt, main):
    (main / "file").write_text("x")
    mnt.umount()
    mnt = store.mount("ro", "ro")
    assert (mnt / "main" / "file").read_text() == "x"
    with raises(errno.EROFS):
        (mnt / "main" / "file").write_text("y")
    with raises(errno.EROFS):
        (mnt / "main@a").mkdir()


def test_read_only_beside_a_writable_one(store, mnt, main):
    second = store.mount("ro", "ro,state=main")
    (main / "file").write_text("x")
    assert (second / "file").read_text() == "x"
    with raises(errno.EROFS):
        (second / "file").write_text("y")


def test_nosuid_and_nodev_unless_asked(store):
    mnt = store.mount()
    assert {"nosuid", "nodev"} <= set(options_of(mnt.path))
    mnt.umount()
    mnt = store.mount("open", "dev,suid,noexec")
    assert not {"nosuid", "nodev"} & set(options_of(mnt.path))
    assert "noexec" in options_of(mnt.path)


def test_nosymfollow_and_sync(store):
    mnt = store.mount("mnt", "nosymfollow,sync")
    # as root it is set after the mount is made
    wait_for(lambda: "nosymfollow" in options_of(mnt.path), "nosymfollow")
    assert {"nosuid", "nodev"} <= set(options_of(mnt.path))
    assert "sync" in super_options_of(mnt.path)
    os.symlink("file", mnt / "main" / "link")
    with raises(errno.ELOOP):
        (mnt / "main" / "link").read_text()
    # each write is saved when it returns
    with opened(mnt / "main" / "file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"written")
    mnt.kill()
    mnt = store.mount("mnt")
    assert "nosymfollow" not in options_of(mnt.path)
    assert "sync" not in super_options_of(mnt.path)
    assert (mnt / "main" / "link").read_text() == "written"


@pytest.mark.parametrize("command", ["mount", "helper"])
def test_remount_read_only_makes_all_durable(store, tmp, command):
    mnt = store.mount()
    (mnt / "main" / "dir").mkdir()
    if command == "mount":
        store.coppice("mount", "-o", "remount,ro", store.path, mnt.path)
    else:
        helper = tmp / "mount.coppice"
        helper.symlink_to(COPPICE)
        run(helper, store.path, mnt.path, "-o", "remount,ro")
    mnt.kill()
    assert (store.mount("again") / "main" / "dir").exists()


def test_remount_of_a_deleted_state(store, mnt, tmp):
    (mnt / "main@a").mkdir()
    (tmp / "alone").mkdir()
    store.coppice("mount", "-o", "state=main@a", store.path, tmp / "alone")
    store.verb("rm", "main@a")
    store.coppice("mount", "-o", "remount,ro", store.path, tmp / "alone")
    assert "ro" in options_of(tmp / "alone")
    store.coppice("umount", tmp / "alone")


def test_remount_complaints(store, mnt, main, tmp):
    def fails(path):
        result = store.coppice("mount", "-o", "remount,ro", store.path, path,
                               code=1)
        assert len(result.stderr.splitlines()) == 1
        return result.stderr

    with opened(main / "file", os.O_CREAT | os.O_RDWR):
        assert "open for writing" in fails(mnt.path)
    (tmp / "dir").mkdir()
    assert "no store is mounted" in fails(tmp / "dir")
    assert "no store is mounted" in fails("/proc")
    assert "cannot find" in fails(tmp / "nowhere")


def test_what_the_table_of_mounts_says(store, mnt):
    assert (str(mnt.path), "fuse.coppice", str(store.path)) in [
        row[:3] for row in mounts()]


def test_mount_complaints(store, mnt, tmp):
    """One clear sentence each."""
    (tmp / "file").write_text("x")
    (tmp / "dir").mkdir()
    (tmp / "empty").mkdir()
    cases = [
        (1, ["mount", tmp / "nowhere", tmp / "dir"]),
        (1, ["mount", tmp / "empty", tmp / "dir"]),
        (1, ["mount", tmp / "file", tmp / "dir"]),
        (1, ["mount", store.path, tmp / "file"]),
        (1, ["mount", store.path, tmp / "nowhere"]),
        (1, ["mount", "-o", "state=nobody", store.path, tmp / "dir"]),
        (2, ["mount", "-o", "nonsense", store.path, tmp / "dir"]),
        (2, ["mount", "-o", "memory=lots", store.path, tmp / "dir"]),
        (2, ["mount", "-o", "snapdir=maybe", store.path, tmp / "dir"]),
        (2, ["mount", "-o", "log=maybe", store.path, tmp / "dir"]),
        (2, ["mount", "-o", "nfs_export=maybe", store.path, tmp / "dir"]),
        (2, ["mount", store.path]),
    ]
    for code, args in cases:
        result = store.coppice(*args, code=code)
        assert result.stdout == ""
        assert "coppice" in result.stderr.splitlines()[0]
        if code == 1:
            assert len(result.stderr.splitlines()) == 1, result.stderr
    assert os.listdir(tmp / "empty") == []


def test_stale_mount_point(store, mnt, tmp):
    """After a crash: coppice umount clears it, then it mounts again."""
    mnt.process.kill()
    mnt.process.wait()
    mnt.killed = True
    with raises(*DISCONNECTED):
        os.listdir(mnt.path)
    result = store.coppice("mount", store.path, mnt.path, code=1)
    assert len(result.stderr.splitlines()) == 1
    store.coppice("umount", mnt.path)
    assert not mounted(mnt.path)
    again = store.mount("again")
    assert os.listdir(again.path) == ["main"]
