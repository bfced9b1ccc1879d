# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that keep a mount from being unmounted or ending are named."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from conftest import SLOWER
from linux import in_namespace, opened, run


# No other test's namespace has the mounts.
pytestmark = pytest.mark.usefixtures("alone")


@contextlib.contextmanager
def process(*command, **keywords):
    """A process that has said a line and stays."""
    child = subprocess.Popen(
        [os.fspath(c) for c in command], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, **keywords)
    try:
        assert child.stdout.readline() == "ready\n"
        yield child.pid
    finally:
        child.kill()
        child.communicate()


def shell(script, *args, **keywords):
    return process("sh", "-ec", script + "; echo ready; read x", "sh", *args,
                   **keywords)


def refusal(store, mnt):
    return store.coppice("umount", mnt.path, code=1).stderr


MAPS = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    area = mmap.mmap(file.fileno(), 4096)
print("ready", flush=True)
sys.stdin.read()
"""


def test_who_uses_it(store, mnt, main):
    (main / "file").write_bytes(bytes(4096))
    for holder in (shell("true", cwd=main), shell("exec 5<$1", main / "file"),
                   process(sys.executable, "-c", MAPS, main / "file")):
        with holder as pid:
            assert re.search(rf"in use by {pid} \(\S+\)$", refusal(store, mnt))


def test_many_use_it(store, mnt, main):
    """A few are named; a name is what the process gave itself."""
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(shell("true", cwd=main))
                for _ in range(8)]
        found = re.search(r"in use by (.*) and 3 more$", refusal(store, mnt))
        named = re.findall(r"(\d+) \(sh\)", found[1])
        assert len(named) == 5 and set(map(int, named)) <= set(pids)
    rename = r'printf "a\tb" > /proc/$$/comm'
    with shell(rename, cwd=main) as pid:
        assert f"in use by {pid} (a?b)\n" in refusal(store, mnt)


def test_a_mount_in_it(store, mnt, main):
    (main / "inner").mkdir()
    run("mount", "-t", "tmpfs", "none", main / "inner")
    try:
        assert f"by the mount at '{main}/inner'" in refusal(store, mnt)
    finally:
        run("umount", main / "inner")


def test_the_command_itself(store, mnt, main):
    result = store.coppice("umount", mnt.path, cwd=main, code=1)
    assert "this command" in result.stderr


def test_nobody_is_found_who_uses_it(store, mnt, main):
    """A descriptor in a socket's queue is in no process's list.  The command
    tries again, but not for ever."""
    with contextlib.ExitStack() as stack:
        one, two = map(stack.enter_context, socket.socketpair())
        with opened(main, os.O_PATH) as fd:
            socket.send_fds(one, [b"x"], [fd])
        assert refusal(store, mnt).endswith(": it is in use\n")
    assert unmount(store, mnt.path) == ""
    mnt.process.wait(60 * SLOWER)


def unmount(store, path):
    """Unmount: soon, all is saved and the mount is gone here.  Return what
    is printed about other places."""
    begin = time.monotonic()
    said = store.coppice("umount", path).stderr
    assert time.monotonic() - begin < 20 * SLOWER
    return said


def test_another_namespace_has_it(store, mnt, main):
    (main / "file").write_text("x")
    with process(*in_namespace(store.dir), "sh", "-c",
                 "echo ready; read x") as pid:
        said = unmount(store, mnt.path)
        assert re.search(rf"elsewhere: .*namespace.* {pid} \(sh\)$", said)
    mnt.process.wait(60 * SLOWER)


def test_it_is_mounted_twice(store, mnt, tmp):
    (tmp / "second").mkdir()
    run("mount", "--bind", mnt.path, tmp / "second")
    said = unmount(store, mnt.path)
    assert f"mounted at '{tmp}/second'" in said
    assert unmount(store, tmp / "second") == ""
    mnt.process.wait(60 * SLOWER)


def test_a_file_is_open_in_a_mount_that_has_no_place(store, mnt, main, tmp):
    (main / "file").write_text("x")
    (tmp / "second").mkdir()
    run("mount", "--bind", mnt.path, tmp / "second")
    with shell("exec 5<$1", tmp / "second" / "main" / "file") as pid:
        run("umount", "-i", "-l", tmp / "second")
        # The open file keeps the file system in use, but not the first mount.
        said = unmount(store, mnt.path)
        assert re.search(rf"elsewhere: .*in use by {pid} \(sh\)$", said)
    mnt.process.wait(60 * SLOWER)
