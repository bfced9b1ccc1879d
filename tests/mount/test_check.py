# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice check: on a store that is mounted and in use, and on one that is not;
intact ones and damaged ones."""
import errno
import json
import os
import random
import re
import subprocess
import threading

import pytest

from conftest import COPPICE
from linux import opened

KEYS = {"kind", "state", "path", "inode", "version", "block", "text"}


def fill(main):
    (main / "dir").mkdir()
    for i in range(300):
        (main / "dir" / f"file-{i}").write_text(f"{i} " * (i + 1))
    (main / "big").write_bytes(os.urandom(500_000))


def check(store, *args, code=0):
    return store.coppice("check", *args, store.path, code=code).stdout


def nodes(path):
    """Find possible tree nodes in data.mdb by their first bytes: leaves, and
    delta-compressed nodes without a base (a checksum, zstd's magic number)."""
    data = path.read_bytes()
    return [match.start() for match in re.finditer(
        rb"O\0.{8}\x28\xb5\x2f\xfd|N.{8}\0.\0", data, re.DOTALL)]


def damage(store, place):
    """Change a byte, so that the check finds fault with a tree node."""
    file = store.path / "data.mdb"
    intact = file.read_bytes()
    for at in nodes(file):
        data = bytearray(intact)
        data[at + 20] ^= 0x10
        file.write_bytes(data)
        result = subprocess.run([COPPICE, "check", "--json", store.path],
                                stdout=subprocess.PIPE, check=False)
        if result.returncode == 3 and place in result.stdout:
            return json.loads(result.stdout)
    raise AssertionError("no tree node was hit")


def test_sound(store):
    assert check(store) == "no damage found\n"
    mnt = store.mount()
    fill(mnt / "main")
    (mnt / "main" / ".snap" / "monday").mkdir()
    (mnt / "main@fork").mkdir()
    (mnt / "main@fork" / "big").unlink()
    (mnt / "tree").mkdir()
    fill(mnt / "tree")
    assert check(store) == "no damage found\n"
    assert check(store, "--data") == "no damage found\n"
    assert json.loads(check(store, "--json")) == []
    mnt.umount()
    assert check(store, "--data") == "no damage found\n"


def test_in_use(store):
    """While files come and go, and states with them."""
    mnt = store.mount()
    fill(mnt / "main")
    done = threading.Event()
    rounds = 0

    def churn():
        i = 0
        while not done.is_set():
            i += 1
            fork = mnt / f"main@{i}"
            fork.mkdir()
            for j in range(0, 300, 3):
                (fork / "dir" / f"file-{j}").write_text("changed" * i)
                (mnt / "main" / "dir" / f"file-{j + 1}").unlink(
                    missing_ok=True)
                (mnt / "main" / "dir" / f"new-{i}-{j}").write_text("new")
            store.coppice("rm", "-s", store.path, f"main@{i}")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        while rounds < 15:
            rounds += 1
            assert check(store, "--data") == "no damage found\n"
    finally:
        done.set()
        thread.join()


def test_damage(store):
    mnt = store.mount()
    fill(mnt / "main")
    mnt.umount()
    store.damaged = True
    findings = damage(store, b'"node"')
    assert all(set(finding) == KEYS for finding in findings)
    node = next(f for f in findings if f["kind"] == "node")
    assert node["state"] == "main"
    assert node["block"] > 0
    text = check(store, code=3).splitlines()
    assert text[-1] == f"{len(findings)} finding" + "s" * (len(findings) > 1)
    assert any(line.startswith("node: main") for line in text)
    # The daemon finds the same.
    mnt = store.mount("again")
    mnt.allow(r"(?m)^.*damage.*$")
    assert json.loads(check(store, "--json", code=3)) == findings


def test_damaged_files(store):
    """Damaged files cannot be read; all others can."""
    mnt = store.mount()
    fill(mnt / "main")
    good = {p.name: p.read_text() for p in (mnt / "main" / "dir").iterdir()}
    mnt.umount()
    store.damaged = True
    findings = damage(store, b'"lost"')
    lost = {f["path"] for f in findings if f["kind"] == "lost"}
    assert lost and all(path.startswith("/dir/file-") for path in lost)
    mnt = store.mount("again")
    mnt.allow(r"(?m)^.*damage.*$")
    for name, text in good.items():
        path = mnt / "main" / "dir" / name
        if f"/dir/{name}" in lost:
            with pytest.raises(OSError):
                path.read_text()
        else:
            try:
                assert path.read_text() == text
            except OSError:
                # Its own items are split by the damaged node.
                assert len(lost) < 100
    # A damaged block is reported once, with its number.
    for path in sorted(lost) * 2:
        with pytest.raises(OSError):
            (mnt / f"main{path}").read_text()
    lines = mnt.stderr().splitlines()
    block = next(f["block"] for f in findings if f["kind"] == "node")
    assert len(lines) == 1, lines
    assert f"block {block} of the store '{store.path}' is damaged" in lines[0]


def test_repair(store):
    """Damaged parts are cut out; all else is as it was."""
    mnt = store.mount()
    fill(mnt / "main")
    (mnt / "main" / ".snap" / "monday").mkdir()
    good = {p.name: p.read_text() for p in (mnt / "main" / "dir").iterdir()}
    result = store.coppice("check", "--repair", store.path, code=1)
    assert "is mounted" in result.stderr and result.stdout == ""
    mnt.umount()
    assert check(store, "--repair") == "no damage found\n"
    damage(store, b'"lost"')
    data = (store.path / "data.mdb").read_bytes()
    rows = json.loads(check(store, "--repair", "--dry-run", "--json", code=3))
    assert (store.path / "data.mdb").read_bytes() == data
    assert json.loads(check(store, "--repair", "--json")) == rows
    assert (store.path / "data.mdb.damaged").read_bytes() == data
    assert not (store.path / "repair").exists()
    assert check(store, "--data") == "no damage found\n"
    store.coppice("check", "--dry-run", store.path, code=2)
    reported = {row["path"] for row in rows}
    mnt = store.mount("again")
    for top in [mnt / "main", mnt / "main" / ".snap" / "monday"]:
        files = {p.name: p.read_text() for p in (top / "dir").iterdir()
                 if f"/dir/{p.name}" not in reported}
        assert all(good[name] == text for name, text in files.items())
        assert all(name in files or f"/dir/{name}" in reported
                   for name in good)
    (mnt / "main" / "new").write_text("new")
    assert check(store, "--data") == "no damage found\n"


def test_complaints(store, tmp):
    (tmp / "file").write_text("")
    (tmp / "empty").mkdir()
    for path in [tmp / "nothing", tmp / "empty", tmp / "file"]:
        result = store.coppice("check", path, code=1)
        assert result.stderr.startswith("coppice: cannot ")
        assert result.stdout == ""
    store.coppice("check", store.path, store.path, code=2)
    store.coppice("check", "--nonsense", store.path, code=2)


@pytest.mark.limit(120)
def test_damage_under_a_mount(store):
    """Pages are changed under a live daemon: it reads what was written, or
    says that it cannot; and all is well again when they are as they were."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    mnt = store.mount()
    good = {f"{i}": rng.randbytes(rng.randrange(1, 40_000))
            for i in range(200)}
    for name, data in good.items():
        (mnt / "main" / name).write_bytes(data)
    mnt.umount()
    # Little memory, so that nothing stays cached.
    mnt = store.mount("again", options="memory=256K")
    mnt.allow(r"(?m)^.*(damage|missing).*$")

    def read(name):
        with opened(mnt / "main" / name) as fd:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.read(fd, 1 << 20)

    lost = 0
    with opened(store.path / "data.mdb", os.O_RDWR) as file:
        pages = os.fstat(file).st_size // 4096
        for _ in range(400):
            # The head of a page, which LMDB follows, and any other place.
            at = rng.randrange(pages) * 4096 + rng.choice(
                [rng.randrange(32), rng.randrange(4096)])
            old = os.pread(file, 1, at)
            os.pwrite(file, rng.randbytes(1), at)
            for name in rng.sample(sorted(good), 10):
                try:
                    assert read(name) == good[name]
                except OSError as error:
                    assert error.errno == errno.EIO, error
                    lost += 1
            os.pwrite(file, old, at)
        # The end of the file is missing.
        intact = os.pread(file, pages * 4096, 0)
        half = len(intact) // 2
        os.ftruncate(file, half)
        missing = 0
        for name, data in good.items():
            try:
                assert read(name) == data
            except OSError as error:
                assert error.errno == errno.EIO, error
                missing += 1
        assert missing > 0
        check(store, "--data", code=3)
        os.pwrite(file, intact[half:], half)
    assert mnt.process.poll() is None
    for name, data in good.items():
        assert read(name) == data
    print(f"{lost} of 4000 could not be read")
    lines = mnt.stderr().splitlines()
    assert len(lines) == len(set(lines)), "a block is reported twice"
    mnt.umount()
    check(store, "--data")


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("at, size", [(16, 8), (0, 4096), (40, 4)])
def test_damaged_meta_page(store, tmp, page, at, size):
    """The other one serves for reading, and to mend it."""
    mnt = store.mount()
    for i in range(2):
        (mnt / "main" / f"{i}").write_bytes(b"x" * 10000)
        store.verb("sync")
    mnt.umount()
    data = store.path / "data.mdb"
    with opened(data, os.O_RDWR) as fd:
        os.pwrite(fd, b"\xa5" * size, page * 4096 + at)
    before = data.read_bytes()
    said = "one of its two meta pages is damaged"
    assert said in store.coppice("list", "-s", store.path).stderr
    result = store.coppice("mount", store.path, tmp / "mnt", code=3)
    assert "can only be mounted with -o ro" in result.stderr
    assert "can only be read" in store.coppice(
        "snap", "-s", store.path, "main", code=3).stderr
    mnt = store.mount("ro", options="ro")
    mnt.allow(f".*{said}.*\n")
    assert (mnt / "main" / "0").read_bytes() == b"x" * 10000
    mnt.umount()
    assert f"page {page} of data.mdb (meta) is damaged" in store.coppice(
        "check", store.path, code=3).stdout
    assert data.read_bytes() == before
    store.coppice("check", "--repair", "--dry-run", store.path, code=3)
    assert data.read_bytes() == before
    assert "repaired" in store.coppice("check", "--repair", store.path).stdout
    store.check()
    mnt = store.mount("again")
    assert (mnt / "main" / "0").read_bytes() == b"x" * 10000
    (mnt / "main" / "new").write_bytes(b"new")


def test_cut_off_is_read(store):
    """A store whose end is missing is read-only; the rest can be read."""
    mnt = store.mount()
    (mnt / "main" / "first").write_bytes(b"x" * 1000)
    store.verb("sync")
    (mnt / "main" / "last").write_bytes(os.urandom(3000000))
    store.verb("sync")
    mnt.umount()
    data = store.path / "data.mdb"
    intact = data.read_bytes()
    store.damaged = True
    tried = 0
    for missing in range(4096, 2000000, 300000):
        os.truncate(data, len(intact) - missing)
        result = store.coppice("list", "-s", store.path, code=None)
        if result.returncode:
            assert "damaged" in result.stderr
            continue
        assert result.stdout == "main\n"
        tried += "its end is missing" in result.stderr
        store.coppice("snap", "-s", store.path, "main", code=3)
        assert data.stat().st_size == len(intact) - missing
    print(f"{tried} of 7 could be read")
