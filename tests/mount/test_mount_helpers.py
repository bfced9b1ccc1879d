# SPDX-License-Identifier: LGPL-2.1-or-later
"""mount(8), umount(8) and fstab, through the helpers."""
import errno
import os
import subprocess

import pytest

from conftest import COPPICE, SLOWER, daemons, mounted, wait_for
from linux import (can_unshare, in_namespace, opened, options_of, raises,
                   run)


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
    """mount(8) does not pass on its own options."""
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
        *in_namespace(tmp), "sh", "-ec",
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
    assert mnt.process.wait(60 * SLOWER) == 0
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
    run(*in_namespace(tmp), "sh", "-ec", f"""
        mount --bind {other.path} {store.path}
        {COPPICE} umount {mnt.path}
        kill -9 {mnt.process.pid}
    """)
    run("umount", mnt.path)
    assert (store.mount("again") / "main" / "dir").exists()
