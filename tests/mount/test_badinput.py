# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths that are no store, impossible mount points, and hostile clients of the
socket: a clear sentence and the right exit code, and the mount lives on."""
import contextlib
import errno
import fcntl
import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from conftest import COPPICE, SLOWER, mounted
from linux import as_user, opened


def complains(store, code, *args):
    """One sentence on standard error, nothing on standard output."""
    result = store.coppice(*args, code=code)
    assert result.stdout == ""
    assert re.fullmatch(r"coppice: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


# ---- Stores -----------------------------------------------------------------

def store_bytes(path, change):
    data = path / "data.mdb"
    data.write_bytes(change(bytearray(data.read_bytes())))


def newer(data):
    """The format's version, behind the magic word in the store's record."""
    at = 0
    while (at := data.find(b"coppice\0", at)) >= 0:
        data[at + 8:at + 12] = (2).to_bytes(4, "big")
        at += 1
    return data


def unknown_feature(data):
    at = 0
    while (at := data.find(b"coppice\0", at)) >= 0:
        data[at + 12 + 16:at + 12 + 24] = (1 << 40).to_bytes(8, "big")
        at += 1
    return data


@pytest.mark.parametrize("change, code, words", [
    (newer, 1, "newer"),
    (unknown_feature, 1, "newer"),
    (lambda data: b"", 1, "not a store"),
    (lambda data: b"junk" * 1000, 1, "not a store"),
    (lambda data: random.Random(1).randbytes(100000), 1, "not a store"),
    (lambda data: data[:4096], 3, "damaged"),
    (lambda data: data[:5000], 3, "damaged"),
    (lambda data: data[:8192], 3, "damaged"),
    (lambda data: data[:8192] + bytes(len(data) - 8192), 3, "damaged"),
    (lambda data: bytes(8192) + data[8192:], 3, "damaged"),
    (lambda data: data.replace(b"coppice\0", b"somebody"), 1, "not a store"),
])
def test_not_our_store(store, tmp, change, code, words):
    store_bytes(store.path, change)
    store.damaged = True
    (tmp / "dir").mkdir()
    for args in (["list", "-s", store.path], ["fork", "-s", store.path, "x"],
                 ["mount", store.path, tmp / "dir"],
                 ["mount", "-f", store.path, tmp / "dir"]):
        sentence = complains(store, code, *args)
        assert re.search(words, sentence), sentence
        assert str(store.path) in sentence
    assert not mounted(tmp / "dir")


def test_cut_off(store, mnt):
    """A file that lost its end is damage, not a crash."""
    for i in range(50):
        (mnt / "main" / f"{i}").write_bytes(os.urandom(50000))
    mnt.umount()
    intact = (store.path / "data.mdb").read_bytes()
    rng = random.Random(2)
    store.damaged = True
    for _ in range(30):
        store_bytes(store.path, lambda _: intact[:rng.randrange(len(intact))])
        for args in ["list", "-s", store.path], ["check", store.path]:
            result = subprocess.run(
                [str(COPPICE), *map(str, args)], check=False,
                stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert result.returncode in (0, 3), result
    (store.path / "data.mdb").write_bytes(intact)
    store.damaged = False


def test_data_that_is_no_file(store, tmp):
    os.unlink(store.path / "data.mdb")
    os.mkdir(store.path / "data.mdb")
    store.damaged = True
    complains(store, 1, "list", "-s", store.path)
    shutil.rmtree(store.path / "data.mdb")
    complains(store, 1, "list", "-s", store.path)


def test_locked_by_another(store, tmp):
    (tmp / "dir").mkdir()
    with opened(store.path / "lock", os.O_RDWR | os.O_CREAT) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for args in (["list", "-s", store.path],
                     ["mount", store.path, tmp / "dir"]):
            assert "process" in complains(store, 1, *args)


def test_read_only_disk(make_store, tmp):
    (tmp / "disk").mkdir()
    (tmp / "mnt").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp / "disk"],
                      check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs")
    store = make_store("disk/store")
    store.verb("fork", "main@a")
    subprocess.run(["mount", "-o", "remount,ro", tmp / "disk"], check=True)
    assert store.names() == ["main", "main@a"]
    store.coppice("check", store.path)
    for args in (["fork", "-s", store.path, "main@b"],
                 ["rm", "-s", store.path, "main@a"],
                 ["resize", "-s", store.path, "1G"],
                 ["mount", store.path, tmp / "mnt"],
                 ["mount", "-f", store.path, tmp / "mnt"],
                 ["init", tmp / "disk" / "another"]):
        complains(store, 1, *args)
    subprocess.run(["mount", "-o", "remount,rw", tmp / "disk"], check=True)


@pytest.mark.parametrize("crashed", [False, True])
def test_mount_of_read_only_disk(make_store, tmp, crashed):
    """-o ro serves it; the daemon is found by mount and by store."""
    for name in "disk", "second", "third":
        (tmp / name).mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp / "disk"],
                      check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs")
    store = make_store("disk/store")
    mnt = store.mount()
    (mnt / "main" / "file").write_bytes(b"content" * 10000)
    (mnt / "main" / ".snap" / "monday").mkdir()
    store.verb("sync")
    if crashed:
        mnt.kill()
    else:
        mnt.umount()
    subprocess.run(["mount", "-o", "remount,ro", tmp / "disk"], check=True)
    intact = (store.path / "data.mdb").read_bytes()
    assert "-o ro" in complains(store, 1, "mount", store.path, tmp / "second")
    mnt = store.mount("again", options="ro")
    assert (mnt / "main" / "file").read_bytes() == b"content" * 10000
    assert os.listdir(mnt / "main" / ".snap" / "monday") == ["file"]
    with opened(mnt / "main" / "file") as fd:
        os.fsync(fd)
    # The daemon answers, whichever way it is asked.
    assert store.names() == ["main", "main~monday"]
    assert json.loads(store.coppice("show", "--json", mnt / "main").stdout)
    assert "read-only" in complains(store, 1, "fork", "-s", store.path, "x")
    store.coppice("check", "--data", store.path)
    # Other mounts are its own, and read-only as well.
    assert "-o ro" in complains(store, 1, "mount", store.path, tmp / "second")
    store.coppice("mount", "-o", "ro,state=main", store.path, tmp / "second")
    assert os.listdir(tmp / "second") == ["file"]
    store.coppice("umount", tmp / "second")
    # Not even root can have it otherwise.
    subprocess.run(["mount", "-o", "remount,rw", mnt], check=False)
    for change in (lambda: (mnt / "main" / "file").write_bytes(b"x"),
                   lambda: (mnt / "main" / "file").chmod(0o600),
                   lambda: (mnt / "main" / "new").mkdir(),
                   lambda: (mnt / "new").mkdir(),
                   lambda: (mnt / "main").rename(mnt / "renamed"),
                   lambda: (mnt / "main" / "file").unlink(),
                   lambda: os.truncate(mnt / "main" / "file", 0),
                   lambda: os.setxattr(mnt / "main" / "file", "user.x", b""),
                   lambda: os.link(mnt / "main" / "file",
                                   mnt / "main" / "link")):
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.EROFS
    mnt.umount()
    # In the background as well.
    store.coppice("mount", "-o", "ro", store.path, tmp / "third")
    assert (tmp / "third" / "main" / "file").stat().st_size == 70000
    store.coppice("umount", tmp / "third")
    assert (store.path / "data.mdb").read_bytes() == intact
    subprocess.run(["mount", "-o", "remount,rw", tmp / "disk"], check=True)
    mnt = store.mount("writable")
    (mnt / "main" / "file").write_bytes(b"x")


def test_read_only_elsewhere(make_store, tmp):
    """A writer keeps readers of a read-only view away, and they it."""
    for name in "view", "second":
        (tmp / name).mkdir()
    store = make_store()
    store.verb("fork", "main@a")
    subprocess.run(["mount", "--bind", store.path, tmp / "view"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", tmp / "view"],
                   check=True)
    with opened(store.path / "lock", os.O_RDWR) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for args in (["list", "-s", tmp / "view"],
                     ["mount", "-o", "ro", tmp / "view", tmp / "second"]):
            assert "process" in complains(store, 1, *args)
    store.coppice("mount", "-o", "ro", tmp / "view", tmp / "second")
    assert sorted(os.listdir(tmp / "second")) == ["main", "main@a"]
    # The same store by its other name.
    assert store.names() == ["main", "main@a"]
    assert "read-only" in complains(store, 1, "fork", "-s", store.path, "x")
    store.coppice("umount", tmp / "second")
    store.verb("fork", "main@b")


# ---- Mount points -----------------------------------------------------------

def test_mount_point_not_empty(store, tmp):
    (tmp / "dir").mkdir()
    (tmp / "dir" / "file").write_text("x")
    assert "not empty" in complains(store, 1, "mount", store.path,
                                    tmp / "dir")
    store.mount("dir", options="nonempty")
    assert os.listdir(tmp / "dir") == ["main"]


# ---- The socket -------------------------------------------------------------

def connect(store):
    client = socket.socket(socket.AF_UNIX)
    # The path may be longer than an address can be.
    with opened(store.path, os.O_PATH) as fd:
        client.connect(f"/proc/self/fd/{fd}/control")
    client.settimeout(30 * SLOWER)
    return client


def talk(client, data):
    """Send it, close for writing, and read what comes."""
    got = b""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while part := client.recv(65536):
            got += part
    client.close()
    return got


def alive(mnt, seconds=8):
    """Check that the daemon serves files at once, and the command soon."""
    began = time.monotonic()
    (mnt / "main" / "alive").write_text("yes")
    assert (mnt / "main" / "alive").read_text() == "yes"
    assert time.monotonic() - began < 3 * SLOWER
    assert "main" in mnt.store.names()
    assert time.monotonic() - began < seconds * SLOWER


GARBAGE = [
    b"", b"\n", b"\n" * 1000, b"{", b"{}", b"{}\n", b"[]\n", b"null\n", b"1\n",
    b'"x"\n', b"\xff\xfe\x00\n", b"\0" * 70000, b"x" * 70000, b"[" * 60000 +
    b"\n", b'{"verb":' * 5000 + b"\n", b'{"verb":null}\n', b'{"verb":"no"}\n',
    b'{"verb":"mount"}\n', b'{"verb":"umount-wait"}\n', b'{"verb":"rm"}\n',
    b'{"verb":"rm","name":"' + b"a" * 60000 + b'"}\n',
    b'{"verb":"fork","name":"a/b"}\n', b'{"verb":"fork","name":".."}\n',
    b'{"verb":"resize","size":-5}\n', b'{"verb":"resize","size":1e400}\n',
    b'{"verb":"list","verb":"rm"}\n', b'{"verb":"check","data":[]}\n',
    b'{"verb":"default","name":{}}\n', b'{"verb":"show","name":[0,1,300]}\n',
    b'{"verb":"list"}\n{"verb":"stat"}\n{"verb":"nonsense"}\n',
]


def test_garbage(store, mnt):
    for data in GARBAGE:
        for line in talk(connect(store), data).splitlines():
            answer = json.loads(line)
            assert isinstance(answer, dict)
    alive(mnt)
    assert store.names() == ["main"]


def test_random_bytes_and_cuts(store, mnt):
    rng = random.Random(3)
    whole = b'{"verb":"fork","name":"main@x","source":"main"}\n'
    for i in range(150):
        client = connect(store)
        if i % 2:
            data = whole[:rng.randrange(len(whole))]
        else:
            data = rng.randbytes(rng.randrange(2000))
        client.sendall(data)
        client.close()
    alive(mnt)
    assert store.names() == ["main"]


def test_many_connections(store, mnt):
    """More than there are places, and none says anything."""
    clients = [connect(store) for _ in range(64)]
    extra = []
    for _ in range(60):
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        with opened(store.path, os.O_PATH) as fd, \
                contextlib.suppress(BlockingIOError):
            client.connect(f"/proc/self/fd/{fd}/control")
        extra.append(client)
    alive(mnt, 30)
    for client in clients + extra:
        client.close()
    alive(mnt)


def test_never_reads(store, mnt):
    """Asks for a lot and does not take it: others are served, and umount."""
    for i in range(300):
        os.mkdir(mnt / ("main@" + "x" * 200 + f"{i}"))
    clients = [connect(store) for _ in range(4)]
    for client in clients:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(2000):
                client.send(b'{"verb":"list","all":true}\n')
    alive(mnt)
    began = time.monotonic()
    mnt.umount()
    assert time.monotonic() - began < 15 * SLOWER
    for client in clients:
        client.close()


def test_stops_in_the_middle(store, mnt):
    """An import that sends nothing and an export that reads nothing do not keep
    a store from being unmounted."""
    (mnt / "main" / "large").write_bytes(os.urandom(4 << 20))
    clients = []
    for verb in ["import", "export"]:
        client, (ours, theirs) = connect(store), socket.socketpair()
        request = json.dumps({"verb": verb, "name": "main"}) + "\n"
        socket.send_fds(client, [request.encode()], [theirs.fileno()])
        theirs.close()
        clients.append((client, ours))
    # The daemon has read the requests.
    assert clients[1][1].recv(1)
    mnt.umount()
    for client, ours in clients:
        answer = json.loads(client.makefile().readline())
        assert answer == {"error": "the store is being closed",
                          "errno": errno.EAGAIN}
        client.close()
        ours.close()


def test_flood(store, mnt):
    """Many requests of several clients at once are all answered."""
    end = time.monotonic() + 2

    def flood():
        client = connect(store)
        file = client.makefile("rb")
        while time.monotonic() < end:
            client.sendall(b'{"verb":"stat"}\n' * 20)
            for _ in range(20):
                assert json.loads(file.readline())["ok"]
        client.close()

    threads = [threading.Thread(target=flood) for _ in range(6)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        alive(mnt)
    for thread in threads:
        thread.join()


def attach(store, text, sealed=True,
           first=b'{"verb":"list","attached":true}\n', second=b""):
    """Return the answer to a request in a memory file."""
    seals = 0x2 | 0x4 | 0x8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
    fd = os.memfd_create("request", os.MFD_ALLOW_SEALING)
    os.write(fd, text)
    if sealed:
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    client = connect(store)
    socket.send_fds(client, [first], [fd])
    os.close(fd)
    # A refused request is answered, and nothing after it is read.
    with contextlib.suppress(BrokenPipeError):
        client.sendall(second)
        client.shutdown(socket.SHUT_WR)
    with client, client.makefile("rb") as answer:
        return json.loads(answer.readline())


def test_attached_requests(store, mnt):
    """Long requests come in sealed memory files, and in no others."""
    whole = json.dumps({"verb": "list", "padding": "x" * 100000}).encode()
    assert attach(store, whole)["row"]["name"] == "main"
    for answer in [attach(store, whole, sealed=False), attach(store, b""),
                   attach(store, whole[:-1]), attach(store, b"[]"),
                   attach(store, b'{"verb":"rm","name":"main"}'),
                   json.loads(talk(connect(store), b'{"verb":"list",'
                                   b'"attached":true}\n'))]:
        assert "attached request" in answer["error"]
    # The second line has to bring the descriptor that the first promises.
    whole = json.dumps({"verb": "export", "name": "main"}).encode()
    for line in b'{"descriptor":true}\n', b"{", b"":
        answer = attach(store, whole, first=b'{"verb":"export","attached":true,'
                        b'"descriptor":true}\n', second=line)
        assert "attached request" in answer["error"]
    alive(mnt)
    assert store.names() == ["main"]


def test_descriptors_nobody_asked_for(store, mnt):
    """They are closed, and a mount of something else is refused."""
    pid = mnt.process.pid
    alive(mnt)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    with opened("/dev/null") as null:
        for _ in range(50):
            client = connect(store)
            socket.send_fds(client, [b'{"verb":"mount","mountpoint":"/"}\n'],
                            [null] * 3)
            answer = json.loads(client.makefile("rb").readline())
            assert "error" in answer
            client.close()
    alive(mnt)
    deadline = time.monotonic() + 10 * SLOWER
    while len(os.listdir(f"/proc/{pid}/fd")) > before + 2:
        assert time.monotonic() < deadline, "descriptors are left open"
        time.sleep(0.02)


def test_others_may_not_ask(store, mnt, tmp):
    """Not even if the socket's mode lets them connect."""
    os.chmod(store.path, 0o755)
    os.chmod(store.path / "control", 0o666)

    def ask():
        client = connect(store)
        with contextlib.suppress(BrokenPipeError):
            client.sendall(b'{"verb":"fork","name":"main@theirs"}\n')
        answer = client.makefile("rb").readline()
        if b"only the store's owner" not in answer:
            raise OSError(errno.EEXIST, "was answered")
    assert as_user(ask) == 0
    os.chmod(store.path / "control", 0o600)
    assert as_user(lambda: connect(store)) == errno.EACCES
    assert store.names() == ["main"]
