# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that ends the mounts when the daemon is killed."""
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CONNECTIONS, SLOWER, wait_for
from linux import CLASH


def guards(store):
    """The processes that ps(1) shows as the guards of the store."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if text.rstrip(b"\0") == b"coppice-guard " + bytes(store.path):
            found.append(int(path.parent.name))
    return found


def guard_of(store):
    pid, = guards(store)
    return pid


def devices(pid):
    """Return the number of descriptors of /dev/fuse of the process."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        # One may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/fuse"
    return count


def clash(*paths):
    """Processes that dirty a mapping of the file through one mount and write to
    it through another; they have begun."""
    found = [subprocess.Popen(
        [sys.executable, "-c", CLASH, what, path],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for what, path in zip(["map", "write"], paths)]
    for process in found:
        assert process.stdout.readline() == "began\n"
    return found


def ended(process, seconds):
    try:
        process.wait(seconds * SLOWER)
        return True
    except subprocess.TimeoutExpired:
        return False


@pytest.mark.parametrize("number", range(4))
def test_kill_while_two_mounts_write(store, tmp, number):
    """The notifier waits in the kernel for a page whose WRITE nobody reads."""
    one = store.mount("one", "state=main")
    two = store.mount("two", "state=main")
    minors = [os.minor(os.stat(mount.path).st_dev) for mount in (one, two)]
    with open(one / "file", "wb") as file:
        file.truncate(16 << 20)
    busy = clash(one / "file", two / "file")
    guard = guard_of(store)
    one.process.kill()
    good = ended(one.process, 10)
    # Pages that are mapped already can be written to for ever.
    busy[0].kill()
    good &= all([ended(p, 5) for p in busy])
    if not good:
        for minor in minors:
            (CONNECTIONS / str(minor) / "abort").write_text("1")
    for process in busy:
        process.kill()
        process.communicate()
    one.kill()
    two.kill()
    assert good, "the daemon's end hangs, or calls in its mounts"
    wait_for(lambda: guard not in guards(store), "the guard's end")


def test_what_it_holds(store, mnt):
    guard = guard_of(store)
    wait_for(lambda: devices(guard) == 1, "the clone")
    links = [os.readlink(f"/proc/{guard}/fd/{fd}")
             for fd in sorted(os.listdir(f"/proc/{guard}/fd"), key=int)]
    assert links[:3] == ["/dev/null"] * 3
    assert links[3].startswith("socket:")
    assert "pidfd" in links[4]
    assert links[5:] == ["/dev/fuse"]
    assert os.readlink(f"/proc/{guard}/cwd") == "/"
    assert os.getsid(guard) == guard
    assert Path(f"/proc/{guard}/comm").read_text() == "coppice-guard\n"
    mnt.umount()
    assert not guards(store)


def test_its_name_is_longer_than_the_command(store, tmp):
    (tmp / "m").mkdir()
    store.coppice("mount", "store", "m", cwd=tmp)
    assert len(guards(store)) == 1
    store.coppice("umount", tmp / "m")
    wait_for(lambda: not guards(store), "its end")


def test_mounts_come_and_go(store, mnt, tmp):
    guard = guard_of(store)
    (tmp / "other").mkdir()
    for _ in range(20):
        store.coppice("mount", "-o", "state=main", store.path, tmp / "other")
        wait_for(lambda: devices(guard) == 2, "the clone")
        store.coppice("umount", tmp / "other")
        wait_for(lambda: devices(guard) == 1, "the end of the session")
    assert guard_of(store) == guard


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT,
                                    signal.SIGHUP])
def test_a_signal_to_both(store, mnt, number):
    """The guard neither ends before the daemon nor stays behind."""
    guard = guard_of(store)
    os.kill(guard, number)
    assert (mnt / "main").is_dir()
    assert guard_of(store) == guard
    mnt.process.send_signal(number)
    assert mnt.process.wait(20 * SLOWER) == 0
    assert not guards(store)


def test_killed_itself(store, mnt, tmp):
    """The daemon goes on, and says so."""
    guard = guard_of(store)
    os.kill(guard, signal.SIGKILL)
    wait_for(lambda: "guard process" in mnt.stderr(), "the log line")
    mnt.allow(rf".*the guard process {guard} has ended: if the daemon is "
              "killed, mounts may hang until umount -f\n")
    (tmp / "other").mkdir()
    store.coppice("mount", store.path, tmp / "other")
    (tmp / "other" / "main" / "file").write_text("text")
    assert (mnt / "main" / "file").read_text() == "text"
    store.coppice("umount", tmp / "other")
    assert not os.path.exists(f"/proc/{guard}")


def test_stopped_itself(store, mnt, tmp):
    """A stopped guard does not keep a mount from ending."""
    guard = guard_of(store)
    (tmp / "other").mkdir()
    store.coppice("mount", store.path, tmp / "other")
    os.kill(guard, signal.SIGSTOP)
    store.coppice("umount", tmp / "other")
    wait_for(lambda: not os.path.exists(f"/proc/{guard}"), "its end")
    wait_for(lambda: "guard process" in mnt.stderr(), "the log line")
    mnt.allow(rf".*the guard process {guard} does not answer: .*\n")
    assert (mnt / "main").is_dir()
