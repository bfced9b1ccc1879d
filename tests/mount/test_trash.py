# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deleted states that come back: -o trash=, undelete, and what empties it."""
import os
import subprocess

import pytest

from conftest import COPPICE, wait_for


def fails(store, verb, *args):
    """The message of a verb that fails."""
    result = store.coppice(verb, "-s", store.path, *args, code=1)
    return result.stderr.strip().removeprefix("coppice: ")


def listing(store):
    return [row["name"] for row in store.json("undelete", "--list")]


@pytest.fixture(params=["mounted", "unmounted"])
def kept(request, store):
    """A store that keeps deleted states, with a fork and its snapshot."""
    mnt = store.mount(options="trash=7d,rmdir=always")
    (mnt / "main@try").mkdir()
    (mnt / "main@try" / "file").write_text("work")
    (mnt / "main@try" / ".snap" / "one").mkdir()
    (mnt / "main@try" / "file").write_text("more")
    store.mnt = mnt
    if request.param == "unmounted":
        mnt.umount()
        store.mnt = None
    return store


def test_a_fork_comes_back_with_its_snapshots(kept):
    kept.verb("set", "user:who=me", "main@try")
    kept.verb("rm", "-r", "main@try")
    assert kept.verb("list").split() == ["main"]
    assert fails(kept, "show", "main@try") == \
        "cannot show 'main@try': there is no such state"
    [row] = kept.json("undelete", "--list")
    assert row["name"] == "main@try" and row["snapshots"] == 1
    assert row["deleted"] < row["expires"] and row["frees"] > 0
    assert "main@try" in kept.verb("undelete", "-l")
    # Nothing of it goes in the background.
    assert kept.json("gc")["trash"] == 1
    assert kept.verb("undelete", "main@try") == "main@try\n"
    assert kept.verb("list").split() == ["main", "main@try", "main@try~one"]
    assert " me " in kept.verb("get", "user:who", "main@try")
    assert kept.verb("cat", "main@try:/file") == "more"
    assert kept.verb("cat", "main@try~one:/file") == "work"
    assert listing(kept) == []
    if kept.mnt:
        assert (kept.mnt / "main@try" / "file").read_text() == "more"
        (kept.mnt / "main@try" / "new").write_text("")
    kept.check()


def test_names(kept):
    kept.verb("rm", "main@try~one")
    kept.verb("snap", "main@try", "one")
    assert fails(kept, "undelete", "main@try~one") == \
        "cannot undelete 'main@try~one': the name is taken (see --as)"
    assert fails(kept, "undelete", "main@try~one", "--as", "a/b") == \
        "cannot undelete 'main@try~one': 'a/b' is not a possible name"
    assert fails(kept, "undelete", "nothing") == \
        "cannot undelete 'nothing': it is not in the trash " \
        "(see 'coppice undelete --list')"
    kept.verb("rm", "main@try~one")
    first, second = (row["number"]
                     for row in kept.json("undelete", "--list"))
    assert kept.json("undelete", "main@try~one") == \
        [{"name": "main@try~one", "number": second}]
    assert kept.verb("undelete", "--number", str(first), "--as", "zero") == \
        "main@try~zero\n"
    assert kept.verb("cat", "main@try~zero:/file") == "work"
    assert kept.verb("cat", "main@try~one:/file") == "more"
    assert fails(kept, "undelete", "--number", str(first)) == \
        f"cannot undelete 'number {first}': it is not in the trash " \
        "(see 'coppice undelete --list')"


def test_a_snapshot_whose_fork_is_deleted(kept):
    kept.verb("rm", "-r", "main@try")
    assert fails(kept, "undelete", "main@try~one") == \
        "cannot undelete 'main@try~one': its fork is deleted; undelete " \
        "that, or make a fork of it with --as"
    assert kept.verb("undelete", "main@try~one", "--as", "saved") == "saved\n"
    assert kept.verb("cat", "saved:/file") == "work"
    assert listing(kept) == ["main@try"]
    kept.check()


def test_what_does_not_come_back(kept):
    kept.verb("rm", "--now", "main@try~one")
    assert listing(kept) == []
    kept.verb("rm", "main@try")
    assert listing(kept) == ["main@try"]
    assert kept.json("gc", "--trash")["trash"] == 0
    assert listing(kept) == []
    assert fails(kept, "undelete", "main@try").startswith("cannot undelete")
    assert kept.json("gc")["backlog"] == 0
    kept.check()


@pytest.mark.parametrize("args, message", [
    (("--list", "main"), "--list takes no states"),
    ((), "no state is given"),
    (("--number", "x"), "--number takes the number of a state, not 'x'"),
    (("--number", "0"), "--number takes the number of a state, not '0'"),
    (("a", "b", "--as", "c"), "--as takes one state"),
    (("a", "--number", "1"), "give names or --number")])
def test_usage(store, args, message):
    result = store.coppice("undelete", "-s", store.path, *args, code=2)
    assert message in result.stderr


def test_rmdir_and_paths(store):
    mnt = store.mount(options="trash=1h,rmdir=always")
    (mnt / "main@try").mkdir()
    (mnt / "main@try" / "file").write_text("work")
    (mnt / "main" / ".snap" / "one").mkdir()
    (mnt / "main@try").rmdir()
    (mnt / "main" / ".snap" / "one").rmdir()
    assert sorted(listing(store)) == ["main@try", "main~one"]
    for path in mnt / "main@try", mnt / "main" / ".snap" / "one":
        assert not path.exists()
        subprocess.run([COPPICE, "undelete", path], check=True)
        assert path.is_dir()
    assert (mnt / "main@try" / "file").read_text() == "work"


def test_what_is_open(store):
    """An open file is stale while its state is deleted, and works again
    afterwards."""
    mnt = store.mount(options="trash=1h")
    (mnt / "main@try").mkdir()
    with open(mnt / "main@try" / "file", "w+", buffering=1) as f:
        f.write("one\n")
        (mnt / "main@try" / "gone").write_text("x" * 100000)
        with open(mnt / "main@try" / "gone"):
            (mnt / "main@try" / "gone").unlink()
            store.verb("rm", "main@try")
            with pytest.raises(OSError):
                os.pwrite(f.fileno(), b"x", 0)
        store.verb("undelete", "main@try")
        os.pwrite(f.fileno(), b"ONE", 0)
    assert (mnt / "main@try" / "file").read_text() == "ONE\n"
    # The unlinked file is cleaned up as any other.
    mnt.umount()
    mnt = store.mount()
    mnt.umount()
    store.check()


def test_the_time_is_kept_and_passes(store):
    mnt = store.mount(options="trash=1s")
    mnt.umount()
    mnt = store.mount()
    (mnt / "main@try").mkdir()
    store.verb("rm", "main@try")
    wait_for(lambda: not listing(store), "its time to pass")
    mnt.umount()
    store.mount(options="trash=0")
    (mnt / "main@try").mkdir()
    store.verb("rm", "main@try")
    assert listing(store) == []


@pytest.mark.parametrize("value", ["x", "-1s", "1", "200000w", ""])
def test_bad_values(store, value):
    result = store.coppice("mount", "-o", f"trash={value}", store.path,
                           "/nowhere", code=2)
    assert f"bad value in mount option 'trash={value}'" in result.stderr


def test_an_expired_snapshot_comes_back(store):
    """Snapshots that prune and keep= delete go to the trash, too."""
    mnt = store.mount(options="trash=1h")
    for i in range(3):
        (mnt / "main" / "file").write_text(str(i))
        store.verb("snap", "main", f"s{i}")
    store.verb("prune", "--keep-last", "1")
    assert sorted(listing(store)) == ["main~s0", "main~s1"]
    store.verb("undelete", "main~s0", "main~s1")
    assert (mnt / "main~3" / "file").read_text() == "0"


def test_a_full_store_takes_what_is_deleted(store):
    """Deleting gives space back even so, and pruning for space empties it."""
    store.verb("resize", "40M")
    mnt = store.mount(options="trash=1h")
    (mnt / "main@big").mkdir()
    (mnt / "main@big" / "file").write_bytes(os.urandom(20 << 20))
    store.verb("sync")
    store.verb("rm", "main@big")
    assert listing(store) == ["main@big"]

    def write():
        try:
            (mnt / "main" / "file").write_bytes(os.urandom(20 << 20))
        except OSError:
            return False
        return True
    wait_for(write, "space")
    assert listing(store) == []
    store.verb("snap", "main", "one")
    (mnt / "main" / "file").unlink()
    store.verb("snap", "main", "two")
    (mnt / "main@try").mkdir()
    store.verb("rm", "main@try")
    store.verb("prune", "--keep-free", "25M")
    assert listing(store) == []
    assert store.verb("list").split() == ["main", "main~two"]
    mnt.umount()
    store.check()


def test_forks_of_run_pass_by(store):
    mnt = store.mount(options="trash=7d")
    for how in ["--drop", "--join"]:
        subprocess.run([COPPICE, "run", how, "touch", how[2:]],
                       cwd=mnt / "main", check=True)
    assert os.listdir(mnt / "main") == ["join"]
    assert listing(store) == []
