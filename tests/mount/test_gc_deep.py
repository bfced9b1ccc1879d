# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice gc --deep: what no fork has any more is freed, and joins never take a
base of which a part is gone."""
import os
import subprocess

import pytest

from conftest import COPPICE

MIB = 1 << 20


@pytest.fixture(params=["mounted", "unmounted"])
def forked(request, store):
    """Two forks of a version with 6 MiB that both have replaced."""
    mnt = store.mount()
    main = mnt / "main"
    (main / "old").write_bytes(os.urandom(4 * MIB))
    (main / "kept").write_text("one\n")
    (mnt / "main@base").mkdir()
    base = mnt / "main@base"
    (base / "big").write_bytes(os.urandom(6 * MIB))
    for name in "a", "b":
        (mnt / f"main@base@{name}").mkdir()
    store.verb("sync")
    store.verb("rm", "main@base")
    for name in "a", "b":
        fork = mnt / f"main@base@{name}"
        (fork / "big").unlink()
        (fork / name).write_text(name)
    store.verb("gc")
    store.mnt = mnt
    if request.param == "unmounted":
        mnt.umount()
        store.mnt = None
    return store


def test_frees(forked):
    [row] = forked.json("gc", "--deep", "--dry-run")
    assert 6 * MIB < row["frees"] < 7 * MIB
    assert row["forks"] == ["main@base@a", "main@base@b"]
    free = forked.json("gc", "--no-wait")["free_bytes"]
    said = forked.verb("gc", "--deep")
    assert "main@base@a main@base@b" in said and "6.0M" in said
    forked.verb("sync")
    forked.verb("sync")
    assert forked.json("gc", "--no-wait")["free_bytes"] > free + 5 * MIB
    assert forked.json("gc", "--deep", "--dry-run") == []
    for name in "a", "b":
        assert forked.verb("cat", f"main@base@{name}:/{name}") == name
        assert forked.verb("cat", f"main@base@{name}:/kept") == "one\n"
    forked.check()
    forked.verb("rm", "main@base@a")
    forked.verb("gc")
    forked.check()
    assert forked.verb("cat", "main@base@b:/kept") == "one\n"


def test_joins_take_an_older_base(forked):
    forked.verb("gc", "--deep")
    forked.verb("join", "main@base@b", "--into", "main@base@a")
    for name in "a", "b":
        assert forked.verb("cat", f"main@base@a:/{name}") == name
    assert forked.verb("cat", "main@base@a:/kept") == "one\n"
    # A joined version is a base, and stays one.
    forked.verb("gc", "--deep")
    forked.verb("join", "main@base@a", "--into", "main@base@b")
    forked.check()


def test_joins_without_a_base_are_refused(store, mnt):
    (mnt / "tree").mkdir()
    (mnt / "tree" / "big").write_bytes(os.urandom(MIB))
    for name in "a", "b":
        (mnt / f"tree@{name}").mkdir()
    store.verb("rm", "tree")
    for name in "a", "b":
        (mnt / f"tree@{name}" / "big").unlink()
        (mnt / f"tree@{name}" / name).write_text(name)
    store.verb("gc", "--deep")
    before = store.verb("ls", "tree@a:/")
    result = store.coppice("join", "-s", store.path, "tree@b", "--into",
                           "tree@a", code=None)
    assert result.returncode and result.stderr.startswith("coppice: cannot")
    assert store.verb("ls", "tree@a:/") == before


def damage(store, content):
    """Change a byte of the only place in the store that has the content."""
    path = store.path / "data.mdb"
    data = path.read_bytes()
    at = data.index(content)
    assert content not in data[at + 1:]
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(bytes([content[0] ^ 1]))


@pytest.mark.parametrize("hurt", ["own", "shared"])
def test_repair_of_a_swept_store(store, mnt, hurt):
    """Each fork keeps its files, those of the hollow version included, but for
    the one that was damaged."""
    files = {name: os.urandom(200_000) for name in
             ("shared", "kept", "gone", "a", "b", "own")}
    base = mnt / "main@base"
    base.mkdir()
    for name in "shared", "kept", "gone":
        (base / name).write_bytes(files[name])
    for name in "a", "b":
        fork = mnt / f"main@base@{name}"
        fork.mkdir()
    base.rmdir()
    for name in "a", "b":
        fork = mnt / f"main@base@{name}"
        (fork / "gone").unlink()
        (fork / name).write_bytes(files[name])
    (mnt / "main@base@a" / "own").write_bytes(files["own"])
    store.verb("gc", "--deep")
    mnt.umount()
    assert store.json("gc", "--deep", "--dry-run") == []
    damage(store, files[hurt][100:200])
    assert "chunk" in store.coppice("check", "--data", store.path,
                                    code=None).stdout
    store.coppice("check", "--repair", store.path, code=None)
    store.coppice("check", "--data", store.path)
    again = store.mount("again")
    for name in "a", "b":
        fork = again / f"main@base@{name}"
        for file in "shared", "kept", name:
            if file != hurt:
                assert (fork / file).read_bytes() == files[file]
    if hurt != "own":
        own = again / "main@base@a" / "own"
        assert own.read_bytes() == files["own"]


def test_killed_in_the_middle(store, mnt):
    for i in range(4):
        (mnt / f"t{i}").mkdir()
        for j in range(300):
            (mnt / f"t{i}" / f"{j}").write_bytes(os.urandom(5000))
        for name in "a", "b", "c":
            (mnt / f"t{i}@{name}").mkdir()
        store.verb("rm", f"t{i}")
        for name in "a", "b", "c":
            for j in range(299):
                (mnt / f"t{i}@{name}" / f"{j}").unlink()
            (mnt / f"t{i}@{name}" / "own").write_text(name)
    mnt.umount()
    for delay in 0.005, 0.02, 0.05, 0.1:
        process = subprocess.Popen([COPPICE, "gc", "-s", store.path, "--deep"],
                                   stdout=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        store.verb("check", "--data")
    store.verb("gc", "--deep")
    assert store.json("gc", "--deep", "--dry-run") == []
    for i in range(4):
        assert store.verb("cat", f"t{i}@a:/own") == "a"


def test_usage(store):
    for args in ("--dry-run",), ("--deep", "--dry-run", "--trash"):
        result = store.coppice("gc", "-s", store.path, *args, code=2)
        assert "--dry-run goes with --deep alone" in result.stderr
