# SPDX-License-Identifier: GPL-2.0-or-later
"""Several mounts of one store: coherent, served by one daemon, in several
mount namespaces, by ordinary users."""
import errno
import mmap
import os
import random
import re
import shutil
import stat
import subprocess
import threading
import time

import pytest

from conftest import (COPPICE, children, daemons, mounted, mounts,
                      wait_for)
from linux import (CLASH, INO_MASK, as_user, handle_of, open_handle, opened, raises,
                   run)


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
    """With attributes, of states that the daemon has not been asked about."""
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
    mnt.process.wait(30)
    third = store.mount("third")
    assert (third / "main" / "file").read_text() == "y"


def test_umount_by_umount(store, mnt, main):
    """umount(8) does it, too; the daemon follows."""
    (main / "file").write_text("x")
    run("umount", mnt.path)
    mnt.process.wait(30)
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
    """Without -f: back when mounted, one daemon, gone with the last mount."""
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
            stderr=subprocess.STDOUT, timeout=30)
        assert shell.returncode == 0 and shell.stdout == b""
        daemon, = daemons(store)
        assert os.readlink(f"/proc/{daemon}/cwd") == "/"
    finally:
        store.coppice("umount", tmp / "a")


def can_unshare():
    return subprocess.run(["unshare", "-m", "true"],
                          stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("option", ["state=nobody", "memory=16M"])
def test_no_daemon_stays_when_its_first_mount_fails(store, tmp, option):
    """The next mount's memory= would not count."""
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    (tmp / "mnt").mkdir()
    without_device = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
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
    out = run("unshare", "-m", "--propagation", "private", "sh", "-c", script)
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
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as there:
        assert there.stdout.readline() == "ready\n"
        here = store.mount("here", "state=main")
        assert (here / "file").read_text() == "first\n"
        (here / "file").write_text("second\n")
        assert there.communicate("go on\n")[0] == "second\n"
        assert there.returncode == 0
    here.umount()
    wait_for(lambda: not daemons(store), "the daemon to end")


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


def options_of(path, field=5):
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if fields[4] == str(path):
            return fields[field].split(",")
    raise AssertionError("not mounted")


def super_options_of(path):
    """Those of the file system rather than of the mount."""
    return options_of(path, -1)


def test_nosuid_and_nodev_unless_asked(store):
    mnt = store.mount()
    assert {"nosuid", "nodev"} <= set(options_of(mnt.path))
    mnt.umount()
    mnt = store.mount("open", "dev,suid,noexec")
    assert not {"nosuid", "nodev"} & set(options_of(mnt.path))
    assert "noexec" in options_of(mnt.path)


def test_nosymfollow_and_sync(store):
    mnt = store.mount("mnt", "nosymfollow,sync")
    assert {"nosymfollow", "nosuid", "nodev"} <= set(options_of(mnt.path))
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


def test_an_ordinary_user_gets_no_dev_and_no_suid(user_script):
    out = user_script("""
        user ./coppice init store
        user ./coppice mount -o dev,suid,exec store mnt
        grep " $PWD/mnt " /proc/self/mountinfo | cut -d" " -f6
        user ./coppice umount mnt
        user ./coppice mount -o nodev,nosuid store mnt
        user ./coppice umount mnt
    """).splitlines()
    assert out[0] == ("coppice: warning: only root can mount with dev and suid:"
                      " ignored")
    assert {"nosuid", "nodev"} <= set(out[1].split(","))
    assert len(out) == 2


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
    with raises(errno.ENOTCONN):
        os.listdir(mnt.path)
    result = store.coppice("mount", store.path, mnt.path, code=1)
    assert len(result.stderr.splitlines()) == 1
    store.coppice("umount", mnt.path)
    assert not mounted(mnt.path)
    again = store.mount("again")
    assert os.listdir(again.path) == ["main"]


HELPER_OPTIONS = ("rw,noauto,nofail,_netdev,user,x-systemd.automount,"
                  "X-mount.mkdir,comment=c,defaults,snapdir=visible")


def test_mount_helper(store, tmp):
    helper = tmp / "mount.fuse.coppice"
    helper.symlink_to(COPPICE)
    (tmp / "mnt").mkdir()
    run(helper, store.path, tmp / "mnt", "-n", "-v", "-t", "fuse.coppice",
        "-o", HELPER_OPTIONS)
    try:
        assert os.listdir(tmp / "mnt" / "main") == [".snap"]
    finally:
        run("umount", tmp / "mnt")
    wait_for(lambda: not daemons(store), "the daemon to end")
    run(helper, store.path, tmp / "mnt", "-o", "nonsense", code=1)
    run(helper, store.path, tmp / "mnt", "-f")
    assert not mounted(tmp / "mnt")
    run(helper, tmp / "nowhere", tmp / "mnt", code=32)


def test_mount_helper_flags(store, tmp):
    """What mount(8) takes as granted, it does not tell."""
    if os.geteuid():
        pytest.skip("needs root")
    helper = tmp / "mount.fuse.coppice"
    helper.symlink_to(COPPICE)
    target = tmp / "mnt"
    target.mkdir()

    def flags():
        st = os.statvfs(target).f_flag
        return (bool(st & os.ST_RDONLY), bool(st & os.ST_NODEV),
                bool(st & os.ST_NOSUID), bool(st & os.ST_NOEXEC))

    run(helper, store.path, target, "-o", "rw,nodev,nosuid")
    assert flags() == (False, True, True, False)
    run("umount", target)
    wait_for(lambda: not daemons(store), "the daemon to end")
    run(helper, store.path, target, "-o", "rw")
    try:
        assert flags() == (False, False, False, False)
        # as mount(8) has it from the kernel's table
        run(helper, store.path, target, "-o", "remount,ro,nosuid,relatime,"
            "user_id=0,group_id=0,default_permissions,allow_other")
        assert flags() == (True, False, True, False)
        with raises(errno.EROFS):
            (target / "main" / "file").touch()
        run(helper, store.path, target, "-o", "remount,rw")
        assert flags() == (False, False, False, False)
        (target / "main" / "file").touch()
    finally:
        run("umount", target)
    wait_for(lambda: not daemons(store), "the daemon to end")
    run(helper, store.path, target, "-o", "remount,ro", code=32)


@pytest.fixture
def installed(tmp):
    """Run a shell script where mount(8) and umount(8) find their helpers and
    have a table of their own; what it prints.  Each call of a helper is noted
    in the file "calls"."""
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    (tmp / "sbin").mkdir()
    (tmp / "bin").mkdir()
    for name in "mount.coppice", "mount.fuse.coppice", "umount.fuse.coppice":
        (tmp / "bin" / name).symlink_to(COPPICE)
        (tmp / "sbin" / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >>{tmp}/calls\n'
            f'exec {tmp}/bin/{name} "$@"\n')
        (tmp / "sbin" / name).chmod(0o755)
    sbin = os.path.realpath("/sbin")
    overlay = f"mount -t overlay -o lowerdir={tmp}/sbin:{sbin} none {sbin}"
    if subprocess.run(["unshare", "-m", "sh", "-c", overlay], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("cannot mount an overlay")
    return lambda script: run(
        "unshare", "-m", "--propagation", "private", "sh", "-ec",
        f"mount -t tmpfs none /run; {overlay}; cd {tmp}; {script}")


def test_mount_command_and_fstab(store, tmp, installed):
    (tmp / "mnt").mkdir()
    (tmp / "fstab").write_text(
        f"{store.path} {tmp}/mnt coppice noauto,rw,state=main,x-foo 0 0\n")
    out = installed(f"""
        mount -t fuse.coppice {store.path} {tmp}/mnt
        echo text >{tmp}/mnt/main/file
        umount {tmp}/mnt
        mount -t coppice {store.path} {tmp}/mnt
        cat {tmp}/mnt/main/file
        umount {tmp}/mnt
        mount -T {tmp}/fstab {tmp}/mnt
        cat {tmp}/mnt/file
        mount -o remount,ro {tmp}/mnt
        ! touch {tmp}/mnt/new 2>/dev/null
        mount -T {tmp}/fstab -o remount,rw {tmp}/mnt
        touch {tmp}/mnt/new
        umount {tmp}/mnt
        cat /run/mount/utab
    """)
    assert out == "text\ntext\n"
    calls = (tmp / "calls").read_text().splitlines()
    assert [line.split()[0] for line in calls] == [
        "mount.fuse.coppice", "umount.fuse.coppice", "mount.coppice",
        "umount.fuse.coppice", "mount.coppice", "mount.fuse.coppice",
        "mount.coppice", "umount.fuse.coppice"]
    # the helper waits for the daemon
    assert not daemons(store)


@pytest.mark.parametrize("how", [
    "umount $MNT", "umount -c $MNT", "umount mnt", "umount -l $MNT",
    "umount -f $MNT", "umount store", "umount -c $STORE", "umount -r $MNT"])
def test_umount_calls_the_helper(store, tmp, installed, how):
    """By the mount point or the store, but not by the store's absolute path:
    for that umount(8) does not look at its table."""
    (tmp / "mnt").mkdir()
    installed(f"""
        MNT={tmp}/mnt STORE={store.path}
        {COPPICE} mount $STORE $MNT
        mkdir $MNT/main/dir
        {how}
        ! mountpoint -q $MNT
        ! grep coppice /run/mount/utab
    """)
    call, = (tmp / "calls").read_text().splitlines()
    assert call.startswith(f"umount.fuse.coppice {tmp}/mnt")
    wait_for(lambda: not daemons(store), "the daemon to end")
    assert (store.mount("again") / "main" / "dir").exists()


def test_umount_helper_of_a_busy_mount(store, mnt, main, tmp):
    helper = tmp / "umount.fuse.coppice"
    helper.symlink_to(COPPICE)
    (main / "dir").mkdir()
    with opened(main):
        run(helper, mnt.path, code=32)
        assert mounted(mnt.path)
        run(helper, mnt.path, "-r")
        assert mounted(mnt.path)
        assert {"ro", "nosuid", "nodev"} <= set(options_of(mnt.path))
        run(helper, mnt.path, "-l", "-n", "-v", "-t", "fuse.coppice")
        assert not mounted(mnt.path)
        # it lives on for those who are in it, but all is saved
        assert daemons(store)
        mnt.killed = True
        mnt.process.kill()
    run(helper, tmp, code=32)
    run(helper, "--nonsense", code=1)
    run(helper, code=1)
    assert (store.mount("again") / "main" / "dir").exists()


def test_umount_by_the_store(store, mnt, main, tmp):
    second = store.mount("second", "state=main")
    result = store.coppice("umount", store.path, code=1)
    assert "name the mount point" in result.stderr
    store.coppice("umount", second.path)
    os.symlink(store.path, tmp / "link")
    store.coppice("umount", tmp / "link")
    assert not mounted(mnt.path)
    assert mnt.process.wait(60) == 0
    assert "no store is mounted" in store.coppice("umount", store.path,
                                                  code=1).stderr


def test_umount_where_the_path_leads_to_another_store(make_store, tmp):
    """The other one's daemon is not to say that all is saved."""
    store, other = make_store("store"), make_store("other")
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    mnt = store.mount()
    other.mount("other-mnt")
    (mnt / "main" / "dir").mkdir()
    mnt.killed = True
    # The end of the daemon comes before it could save anything by itself.
    run("unshare", "-m", "--propagation", "private", "sh", "-ec", f"""
        mount --bind {other.path} {store.path}
        {COPPICE} umount {mnt.path}
        kill -9 {mnt.process.pid}
    """)
    run("umount", mnt.path)
    assert (store.mount("again") / "main" / "dir").exists()


def test_permissions_of_other_users(mnt, main):
    """Root's mount lets others in; modes decide, also about forks."""
    os.chmod(mnt.path, 0o755)
    (main / "mine").write_text("secret")
    os.chmod(main / "mine", 0o600)
    os.chmod(main, 0o755)
    (main / "free").mkdir()
    os.chmod(main / "free", 0o777)
    assert as_user(lambda: (main / "mine").read_text()) == errno.EACCES
    assert as_user(lambda: (main / "new").write_text("x")) == errno.EACCES
    assert as_user(lambda: (main / "free" / "new").write_text("x")) == 0
    assert os.stat(main / "free" / "new").st_uid == 65534
    assert as_user(lambda: os.mkdir(mnt / "main@user")) == errno.EACCES
    assert as_user(lambda: os.mkdir(main / ".snap" / "user")) == errno.EACCES
    (main / ".snap" / "s").mkdir()
    assert as_user(lambda: os.rmdir(main / ".snap" / "s")) == errno.EACCES
    (mnt / "main@a").mkdir()
    assert as_user(lambda: os.rmdir(mnt / "main@a")) == errno.EACCES
    os.chmod(mnt.path, 0o1777)
    assert as_user(lambda: os.mkdir(mnt / "main@user")) == 0
    os.chmod(main, 0o777)
    assert as_user(lambda: os.mkdir(main / ".snap" / "user")) == 0


def test_only_the_owner_uses_the_socket(store, mnt, tmp):
    os.chmod(store.path, 0o755)
    script = f"exec {COPPICE} list -s {store.path}"
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh",
         "-c", script], stdin=subprocess.DEVNULL, capture_output=True,
        text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "coppice: " in result.stderr


USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def user_script(tmp):
    """Run a shell script in a mount namespace of its own, in a directory of an
    ordinary user with the command and a directory to mount on; `user` in front
    of a command runs it as that user.  What it prints, errors included."""
    if not shutil.which("fusermount3"):
        pytest.skip("no fusermount3")
    if subprocess.run([*USER, "fusermount3", "-V"], check=False,
                      capture_output=True).returncode:
        pytest.skip("fusermount3 does not run as another user")
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    home = tmp / "home"
    (home / "mnt").mkdir(parents=True)
    for path in home, home / "mnt":
        os.chown(path, 65534, 65534)
    shutil.copy(COPPICE, home / "coppice")
    # /dev/fuse is everybody's on most systems; here it must be.
    os.mknod(tmp / "fuse", stat.S_IFCHR | 0o666, os.makedev(10, 229))
    os.chmod(tmp / "fuse", 0o666)
    begin = f"""
        exec 2>&1
        mount --bind {tmp}/fuse /dev/fuse
        cd {home}
        user() {{ {" ".join(USER)} "$@"; }}
    """
    return lambda script: run("unshare", "-m", "--propagation", "private",
                              "sh", "-ec", begin + script)


def test_mount_by_an_ordinary_user(user_script):
    out = user_script("""
        user ./coppice init store
        user ./coppice mount store mnt
        user sh -ec '
            echo text >mnt/main/file
            mkdir mnt/main@a mnt/main/.snap/s
            ./coppice list -s store
            stat -c %u mnt/main/file
        '
        user ./coppice umount mnt
    """)
    assert out.split() == ["main", "main~s", "main@a", "65534"]


def test_kill_of_an_ordinary_users_daemon(user_script, tmp):
    """Nothing hangs, as with root's: see test_guard.py."""
    (tmp / "clash.py").write_text(CLASH)
    (tmp / "home" / "two").mkdir()
    os.chown(tmp / "home" / "two", 65534, 65534)
    out = user_script(f"""
        user ./coppice init store
        user ./coppice mount -o state=main store mnt
        user ./coppice mount -o state=main store two
        user truncate -s 16M mnt/file
        user /usr/bin/python3 {tmp}/clash.py map mnt/file >map 2>/dev/null &
        user /usr/bin/python3 {tmp}/clash.py write two/file >write 2>/dev/null &
        until [ -s map ] && [ -s write ]; do :; done
        for pid in $(pgrep -U 65534 -x coppice); do
            ls -l /proc/$pid/fd | grep -q {tmp}/home/store/data.mdb || continue
            kill -9 $pid
            for i in $(seq 1000); do
                [ "$(ls /proc/$pid/task 2>/dev/null | wc -l)" -gt 1 ] || break
                sleep 0.01
            done
            [ $i -lt 1000 ] || umount -f mnt two
            [ $i -lt 1000 ] && echo ended
        done
        # What is mapped already can be written to for ever.
        pkill -9 -U 65534 -f {tmp}/clash.py || :
        wait
        user fusermount3 -u mnt
        user fusermount3 -u two
    """)
    assert out == "ended\n"


def test_why_an_ordinary_user_cannot_unmount(user_script, tmp):
    """What fusermount3 says comes through; "in use" only when it is that."""
    shutil.copytree("/etc", tmp / "etc", symlinks=True)
    (tmp / "etc" / "mtab").unlink(missing_ok=True)
    (tmp / "root-mnt").mkdir()
    out = user_script(f"""
        ./coppice init {tmp}/root-store
        ./coppice mount {tmp}/root-store {tmp}/root-mnt
        ! user ./coppice umount {tmp}/root-mnt
        ./coppice umount {tmp}/root-mnt

        user ./coppice init store
        user ./coppice mount store mnt
        ! user sh -c 'cd mnt && ../coppice umount ../mnt; exit $?'
        ! user env PATH= ./coppice umount mnt
        mount --bind {tmp}/etc /etc
        ! user ./coppice umount mnt
        umount /etc
        user ./coppice umount mnt
    """)
    out = re.sub(r"\d+ \(sh\)", "PID (sh)", out)
    assert [line.partition("': ")[2] for line in out.splitlines()] == [
        "only root and the user who mounted it may",
        "it is in use by PID (sh)",
        "cannot run fusermount3: No such file or directory",
        "fusermount3: failed to open /etc/mtab: No such file or directory"]


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
