# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts of ordinary users, and what other users may do in one."""
import errno
import os
import re
import shutil
import stat
import subprocess

import pytest

from conftest import COPPICE
from linux import CLASH, as_user, can_unshare, in_namespace, run


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
    return lambda script: run(*in_namespace(tmp), "sh", "-ec", begin + script)


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


# Keeps the mount in use by a descriptor in a socket's queue, which is in no
# process's list, until told.
IN_QUEUE = """
import os, socket
pair = socket.socketpair()
fd = os.open("mnt", os.O_PATH)
socket.send_fds(pair[0], [b"x"], [fd])
os.close(fd)
print("ready", flush=True)
open("refused").read()
for end in pair:
    end.close()
open("released", "w").close()
"""

# Lets the descriptor go when unmounting was refused for the first time.
UNTIL_REFUSED = """#!/bin/sh
{real} "$@" && exit
mkdir again 2>/dev/null || exit 1
: >refused
: <released
exit 1
"""


def test_a_mount_in_use_for_a_moment(user_script, tmp):
    """The command tries again if nobody is found who uses the mount."""
    home = tmp / "home"
    (home / "queue.py").write_text(IN_QUEUE)
    (home / "bin").mkdir()
    wrapper = home / "bin" / "fusermount3"
    wrapper.write_text(UNTIL_REFUSED.format(real=shutil.which("fusermount3")))
    wrapper.chmod(0o755)
    out = user_script("""
        user mkfifo refused released
        user ./coppice init store
        user ./coppice mount store mnt
        user /usr/bin/python3 queue.py >log 2>&1 &
        until [ -s log ]; do :; done
        cat log
        user env PATH=$PWD/bin:$PATH ./coppice umount mnt || exit 0
        wait
        ls -d again
    """)
    assert out.split() == ["ready", "again"]


def test_kill_of_an_ordinary_users_daemon(user_script, tmp):
    """No process hangs, as with root's daemon: see test_guard.py."""
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
            ls -l /proc/$pid/fd 2>/dev/null | grep -q {tmp}/home/store/data.mdb || continue
            kill -9 $pid
            for i in $(seq 1000); do
                [ "$(ls /proc/$pid/task 2>/dev/null | wc -l)" -gt 1 ] || break
                sleep 0.01
            done
            [ $i -lt 1000 ] || umount -f mnt two
            [ $i -lt 1000 ] && echo ended
        done
        # Pages that are mapped already can be written to for ever.
        pkill -9 -U 65534 -f {tmp}/clash.py || :
        wait
        user fusermount3 -u mnt
        user fusermount3 -u two
    """)
    assert out == "ended\n"


def test_why_an_ordinary_user_cannot_unmount(user_script, tmp):
    """The error of fusermount3 is reported; "in use" only where that is so."""
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


def test_run_by_an_ordinary_user(user_script, tmp):
    """The command runs in a user namespace; the whole store or one state."""
    (tmp / "home" / "script").write_text("""
        ./coppice init store
        ./coppice mount store mnt
        cd mnt/main
        ../../coppice run --join -- sh -ec '
            echo x >file
            echo $(id -u) $(stat -c %u file) $(pwd)
        '
        ls
        cd ../..
        ./coppice umount mnt
        ./coppice mount -o state=main store mnt
        cd mnt
        ../coppice run --join --count=2 --jobs=1 -- sh -ec '
            echo x >file-$COPPICE_RUN_INDEX
            stat -c %u file-$COPPICE_RUN_INDEX
            ! umount . 2>/dev/null
        '
        ls
        cd ..
        ./coppice umount mnt
        ./coppice list -s store
    """)
    lines = user_script("user sh -e script").splitlines()
    assert lines[0].startswith("65534 65534 /")
    assert lines[0].endswith("/home/mnt/main")
    assert lines[1:] == ["file", "65534", "65534", "file", "file-0", "file-1",
                         "main"]
