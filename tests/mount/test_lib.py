# SPDX-License-Identifier: LGPL-2.1-or-later
"""libcoppice beside mounts: through the daemon, and the states in both."""
import array
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BUILD
from python_package import with_library

LIBRARY = BUILD / "tools" / "lib" / "libcoppice.so.0"
CLIENT = Path(__file__).with_name("lib_client.py")
READ_ONLY, PARENTS, DURABLE = 1, 1, 1


class Client:
    """A process with the library."""

    def __init__(self, store, flags=0):
        self.store = store
        self.process = subprocess.Popen(
            [sys.executable, CLIENT, LIBRARY], env=with_library(LIBRARY),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.run("open", str(store.path), flags)

    def call(self, *command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, *command):
        result, message = self.call(*command)
        assert not message, (command, message)
        return result

    def fail(self, err, *command):
        result, message = self.call(*command)
        assert result == -err, (command, result, message)
        return message

    def end(self):
        self.run("close")
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture
def client(store):
    """Makes clients; what is left of them is killed."""
    made = []

    def make(flags=0):
        made.append(Client(store, flags))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.wait()
        one.process.stdin.close()
        one.process.stdout.close()


def test_unmounted(store, client):
    one = client()
    one.run("put", "main", "dir/key", "value", PARENTS)
    one.run("commit", DURABLE, "s1")
    one.run("put", "main", "dir/key", "newer", 0)
    one.run("commit", 0, None)
    reader = client(READ_ONLY)
    assert reader.run("get", "main~s1", "dir/key") == "value"
    one.end()
    assert reader.run("get", "main", "dir/key") == "newer"
    mnt = store.mount()
    assert (mnt / "main" / "dir" / "key").read_text() == "newer"
    assert (mnt / "main" / ".snap" / "s1" / "dir" / "key").read_text() == \
        "value"
    (mnt / "main" / "dir" / "key").write_text("by the mount")
    subprocess.run(["sync", mnt / "main" / "dir" / "key"], check=True)
    assert reader.run("get", "main", "dir/key") == "by the mount"
    reader.end()


def test_through_the_daemon(store, client):
    mnt = store.mount()
    main = mnt / "main"
    (main / "old").write_text("old")
    one = client()
    one.run("put", "main", "a/b/new", "new", PARENTS)
    one.run("put", "main", "old", "replaced" * 1000, 0)
    assert (main / "old").read_text() == "old"
    assert not (main / "a").exists()
    one.run("commit", 0, "s1")
    # Nothing of it is stale in the mount.
    assert (main / "old").read_text() == "replaced" * 1000
    assert (main / "a" / "b" / "new").read_text() == "new"
    assert (main / ".snap" / "s1" / "a" / "b" / "new").read_text() == "new"
    assert one.run("get", "main", "a/b/new") == "new"
    one.run("fork", "main~s1", "try", 0, None)
    assert (mnt / "try" / "old").exists()
    one.run("delete", "try", "old", 0)
    one.run("commit", 0, None)
    assert not (mnt / "try" / "old").exists()
    assert one.fail(errno.ENOENT, "get", "try", "old")
    one.run("snapshot", "try", "s2")
    one.run("rename", "try", "tried")
    assert (mnt / "tried" / ".snap" / "s2").is_dir()
    one.run("reset", "main", "tried~s2", "undo")
    assert not (main / "old").exists()
    assert (main / ".snap" / "undo" / "old").exists()
    one.run("remove", "tried", 1)
    assert not (mnt / "tried").exists()
    one.run("reclaim")
    one.end()


def test_events_through_the_daemon(store, client):
    mnt = store.mount()
    one, reader = client(), client(READ_ONLY)
    for c in one, reader:
        c.run("event_fd")
        c.run("event_clear")
    (mnt / "main" / "file").write_text("by the mount")
    subprocess.run(["sync", mnt / "main" / "file"], check=True)
    for c in one, reader:
        while not c.run("wait"):
            pass
        assert c.run("get", "main", "file") == "by the mount"
    one.run("fork", "main", "try", 0, None)
    while not reader.run("wait"):
        pass
    assert reader.run("get", "try", "file") == "by the mount"
    one.end()
    reader.end()


def test_names_that_are_no_text_through_the_daemon(store, client):
    mnt = store.mount()
    one = client()
    one.run("put", "main", "d\udcff/\udcfe", "value", PARENTS)
    one.run("commit", 0, "s\udcff")
    one.run("fork", "main~s\udcff", "f\udcff", 0, None)
    one.run("rename", "f\udcff", "g\udcff")
    assert (mnt / "g\udcff" / "d\udcff" / "\udcfe").read_text() == "value"
    assert os.listdir(mnt / "main" / ".snap") == ["s\udcff"]
    assert one.run("get", "g\udcff", "d\udcff/\udcfe") == "value"
    one.run("remove", "g\udcff", 0)
    one.run("reclaim")
    assert one.fail(errno.ENOENT, "remove", "g\udcff", 0)
    one.end()


def test_errors_through_the_daemon(store, client):
    mnt = store.mount()
    one = client()
    one.run("put", "main", "first", "x", 0)
    one.run("put", "main", "no/parent", "x", 0)
    assert "no/parent" in one.fail(errno.ENOENT, "commit", 0, "never")
    assert os.listdir(mnt / "main") == []
    assert one.fail(errno.EEXIST, "fork", "main", "main", 0, None)
    assert one.fail(errno.ENOENT, "snapshot", "none", "s")
    one.end()


def test_the_daemon_ends(store, client):
    mnt = store.mount()
    (mnt / "main" / "file").write_text("kept")
    one = client()
    one.run("snapshot", "main", "s1")
    one.run("put", "main", "file", "lost", 0)
    mnt.umount()
    # The batch is not made; what there is can be read.
    assert "ended" in one.fail(errno.ECONNRESET, "commit", 0, None)
    assert one.fail(errno.ECONNRESET, "snapshot", "main", "s2")
    assert one.run("get", "main", "file") == "kept"
    one.run("close")
    one.run("open", str(store.path), 0)
    one.run("put", "main", "file", "written", 0)
    one.run("commit", DURABLE, None)
    one.end()


def test_a_client_is_killed_in_the_middle_of_a_batch(store, client):
    mnt = store.mount()
    (mnt / "main" / "file").write_text("kept")
    (mnt / "main" / ".snap" / "s1").mkdir()
    store.verb("sync")
    one, two = client(), client()
    assert one.run("get", "main~s1", "file") == "kept"
    one.run("put", "main", "file", "lost", 0)
    one.process.kill()
    one.process.wait()
    # Nothing of it is left: neither its changes nor its hold of the snapshot.
    assert (mnt / "main" / "file").read_text() == "kept"
    two.run("put", "main", "file", "newer", 0)
    two.run("commit", 0, None)
    two.run("remove", "main~s1", 0)
    two.run("reclaim")
    assert store.json("gc", "--no-wait")["backlog"] == 0
    two.end()


def test_the_daemon_is_killed(store, client):
    mnt = store.mount()
    (mnt / "main" / "file").write_text("kept")
    one = client()
    one.run("snapshot", "main", "s1")
    mnt.kill()
    assert one.fail(errno.ECONNRESET, "snapshot", "main", "s2")
    assert one.run("get", "main~s1", "file") == "kept"
    one.run("close")
    one.run("open", str(store.path), 0)
    assert one.run("get", "main~s1", "file") == "kept"
    one.end()


def request(store, message, fd):
    """Send a request to the daemon, with a descriptor."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(store.path / "control"))
        fds = [] if fd is None else [
            (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        control.sendmsg([json.dumps(message).encode() + b"\n"], fds)
        return json.loads(control.makefile().readline())


def memfd(data, seal=True):
    import fcntl
    fd = os.memfd_create("batch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, 1033, 2 | 4 | 8)  # F_ADD_SEALS: shrink, grow, write
    return fd


def test_hostile_batches(store):
    mnt = store.mount()
    head = b"CpBa\0\1\0\0"
    number = int(os.getxattr(mnt / "main", "user.coppice.number"))
    state = b"\1\0" + number.to_bytes(8, "big") + b"\0\0\0\0"
    put = b"\3\0\0\1x" + (1).to_bytes(8, "big") + b"v"
    refused = [
        b"", b"CpBa", b"CpBa\0\2\0\0", b"other data", head + b"\0\0",
        head + b"\x07\0", head + put, head + state + put,
        head + state + put[:-1], head + b"\1\x80" + state[2:],
        head + b"\3\0\0\1x" + b"\xff" * 8, head + b"\3\0\xff\xffx",
        head + b"\2\0" + b"\xff" * 12,
        *(head + b"\6\0" + len(path).to_bytes(2, "big") + path
          for path in (b"..", b"a/../b", b"/a", b"a/", b"a//b", b"a\0b",
                       b"x" * 256, b"a/" * 2100 + b"a")),
    ]
    for data in refused:
        fd = memfd(data)
        answer = request(store, {"verb": "apply"}, fd)
        os.close(fd)
        assert answer.get("error"), (data, answer)
    for fd in (None, memfd(head + state, seal=False),
               os.open("/dev/zero", os.O_RDONLY)):
        answer = request(store, {"verb": "apply"}, fd)
        assert answer["errno"] == errno.EINVAL
        if fd is not None:
            os.close(fd)
    fd = memfd(head)
    assert request(store, {"verb": "apply", "snapshot": 5}, fd)["error"]
    assert request(store, {"verb": "apply"}, fd).get("ok")
    os.close(fd)
    assert os.listdir(mnt / "main") == []


def test_example(store, tmp):
    """The validator; its states are browsed through a mount."""
    validator = BUILD / "tools" / "lib" / "examples" / "validator"

    def run(*args):
        return subprocess.run([validator, *map(str, args)], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    # Ten names, and two further children of each name of the two chains.
    assert "32 forks, " in run("run", store.path, 3, 300)
    head = run("read", store.path, "elly~1")
    run("crash", store.path, "elly")
    assert run("read", store.path, "elly") == head
    mnt = store.mount()
    assert (mnt / "elly" / "head").read_text() + "\n" == head
    slots = os.listdir(mnt / "cory" / ".snap")
    assert len(slots) == 3
    for slot in slots:
        name, number = (mnt / "cory" / ".snap" / slot / "head"
                        ).read_text().split()
        assert (name, f"slot-{number}") == ("cory", slot)
    assert len(os.listdir(mnt / "main" / "accounts" / "3")) == 63


EXAMPLES = BUILD / "tools" / "lib" / "examples"


def run_example(name, *args):
    return subprocess.run([EXAMPLES / name, *args], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def test_example_of_keys(store):
    """Revisions of a key, forks and joins of keys; a mount shows them."""
    def kv(*args):
        return run_example("kv", store.path, *args)

    kv()
    assert kv("revisions", "main", "limit") == "r1\t5\nr3\t6\nr4\t8\n"
    assert kv("ancestors", "main~r4") == "main\n"
    mnt = store.mount()
    assert (mnt / "main" / "limit").read_text() == "8"
    assert sorted(os.listdir(mnt / "main" / ".snap")) == ["r1", "r2", "r3",
                                                          "r4"]
    # Through the daemon.
    kv("put", "main", "user/dora", "1")
    assert (mnt / "main" / "user" / "dora").read_text() == "1"
    assert "user/dora\n" in kv("list", "main")


def test_example_of_packages(store):
    """States of a system: tried, switched to, gone back to, expired."""
    out = run_example("packages", store.path)
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        ["1", "initial"], *([n, "transaction"] for n in "278")]
    mnt = store.mount()
    assert (mnt / "system" / "bin" / "vi").read_text() == "editor"
    assert (mnt / "system" / "bin" / "sh").read_text() == "shell 6"
    assert sorted(os.listdir(mnt / "cache")) == [
        "editor-1", "shell-1", "shell-5", "shell-6"]
    assert run_example("packages", store.path, "list") == out
