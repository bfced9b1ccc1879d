# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice restore: files, directories and forks, back to what a state had."""
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from conftest import COPPICE, SLOWER


def contents(top):
    """Paths, inode numbers in their state, times and contents."""
    found = {}
    for root, dirs, files in os.walk(top):
        for name in dirs + files:
            full = os.path.join(root, name)
            st = os.lstat(full)
            text = None
            if os.path.isfile(full) and not os.path.islink(full):
                with open(full, "rb") as file:
                    text = file.read()
            found[os.path.relpath(full, top)] = (
                st.st_ino & (1 << 36) - 1, st.st_mode, st.st_nlink,
                st.st_size, st.st_mtime_ns, text)
    return found


@pytest.fixture
def history(mnt, main):
    """A snapshot, and changes of all kinds after it."""
    for name in "a", "b":
        (main / name / "sub").mkdir(parents=True)
        for i in range(20):
            (main / name / f"f{i}").write_text(f"{name} {i}")
            (main / name / "sub" / f"g{i}").write_text(f"{name} {i}" * 5000)
    os.link(main / "a" / "f0", main / "a" / "link")
    (main / ".snap" / "monday").mkdir()
    (main / "a" / "f1").write_text("changed")
    (main / "a" / "f2").unlink()
    (main / "a" / "f3").rename(main / "a" / "sub" / "moved")
    (main / "a" / "new").mkdir()
    (main / "a" / "new" / "file").write_text("new")
    os.chmod(main / "a" / "f4", 0o600)
    (main / "a" / "f5").unlink()
    (main / "a" / "f5").write_text("another")
    (main / "b" / "sub" / "g0").write_text("changed, too")
    return main / ".snap" / "monday"


def look_around(*tops):
    """Have it all in the kernels' caches, missing names included."""
    for top in tops:
        contents(top)
        for name in "f2", "f3", "nothing":
            assert not (top / "a" / name).exists()


def test_directory(store, mnt, main, history):
    other = store.mount("second")
    alone = store.mount("alone", "state=main")
    b = contents(main / "b")
    before = contents(main)
    look_around(main, other / "main", alone)
    undo = store.verb("restore", "main~monday:/a").strip()
    for top in main, other / "main", alone:
        assert contents(top / "a") == contents(history / "a")
        assert contents(top / "b") == b
        assert not (top / "a" / "new").exists()
    assert undo.startswith("main~before-restore-20")
    # And back again.
    snapshot = main / ".snap" / undo.split("~")[1]
    assert contents(snapshot) == before
    look = contents(other / "main")
    assert look != before
    store.verb("restore", "--no-undo", undo + ":/a")
    for top in main, other / "main", alone:
        assert contents(top) == before
    assert sorted(os.listdir(main / ".snap")) == sorted(
        ["monday", undo.split("~")[1]])


def test_file(store, mnt, main, history):
    other = store.mount("second")
    look_around(main, other / "main")
    with open(main / "a" / "f1") as file, \
            open(other / "main" / "a" / "f5") as replaced:
        for name in "f1", "f2", "f4", "f5":
            store.coppice("restore", "--no-undo", history / "a" / name)
            for top in mnt, other:
                path = top / "main" / "a" / name
                assert path.read_text() == f"a {name[1:]}"
                assert os.stat(path).st_mode & 0o777 == 0o644
                assert os.stat(path).st_ino & (1 << 36) - 1 == \
                    os.stat(history / "a" / name).st_ino & (1 << 36) - 1
        assert file.read() == "a 1"
        # A file that lost its name stays what it was.
        assert replaced.read() == "another"
    # f3 still exists at another name: this is a new file.
    store.verb("restore", "main~monday:/a/f3")
    assert (main / "a" / "f3").read_text() == "a 3"
    assert (main / "a" / "sub" / "moved").read_text() == "a 3"
    assert not os.path.samefile(main / "a" / "f3", main / "a" / "sub" / "moved")


def test_whole_fork(store, mnt, main, history):
    other = store.mount("second")
    alone = store.mount("alone", "state=main")
    look_around(main, other / "main", alone)
    with open(other / "main" / "a" / "new" / "file") as gone, \
            open(main / "a" / "f1") as kept:
        start = time.monotonic()
        store.verb("restore", "main~monday")
        assert time.monotonic() - start < 20 * SLOWER
        for top in main, other / "main", alone:
            assert contents(top) == contents(history)
        assert kept.read() == "a 1"
        with pytest.raises(OSError):
            gone.read()
    (main / "a" / "f1").write_text("goes on")
    assert (other / "main" / "a" / "f1").read_text() == "goes on"


def test_into_another_place(store, mnt, main, history):
    (mnt / "main@try").mkdir()
    shutil.rmtree(mnt / "main@try" / "a")
    store.verb("restore", "--no-undo", "--into", "main@try", "main~monday:/a")
    assert contents(mnt / "main@try" / "a") == contents(history / "a")
    store.verb("restore", "--no-undo", "--into", "main@try:/b/x",
               "main~monday:/a/f2")
    assert (mnt / "main@try" / "b" / "x").read_text() == "a 2"
    store.verb("restore", "--no-undo", "--into=main@try", "main:/a/new/file")
    assert (mnt / "main@try" / "a" / "new" / "file").read_text() == "new"
    assert os.listdir(mnt / "main@try" / ".snap") == []


def test_dry_run(store, mnt, main, history):
    before = contents(main)
    lines = store.verb("restore", "-n", "main~monday:/a").splitlines()
    assert sorted(line.split() for line in lines) == sorted(
        [["R", "/a/sub/moved", "->", "/a/f3"], ["-", "/a/new"],
         ["-", "/a/new/file"], ["+", "/a/f2"], ["M", "/a/f1"],
         ["M", "/a/f4"], ["M", "/a/f5"]]
    )
    rows = json.loads(store.verb("restore", "-n", "--json", "main~monday"))
    assert ("+", "/a/f2") in [(row["op"], row["path"]) for row in rows]
    assert contents(main) == before
    assert os.listdir(main / ".snap") == ["monday"]


def test_without_a_mount(store, mnt, main, history):
    wanted = contents(history)
    store.mounts[0].umount()
    store.verb("restore", "main~monday:/a")
    store.verb("restore", "main~monday:/b")
    assert contents(store.mount() / "main") == wanted


def test_killed_in_the_middle(store, mnt, main):
    """Either all of the directory is restored, or nothing."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    top = main / "top"
    for i in range(40):
        (top / f"d{i}").mkdir(parents=True)
        for j in range(50):
            (top / f"d{i}" / f"f{j}").write_text(f"{i} {j}" * 10)
    (main / ".snap" / "monday").mkdir()
    wanted = contents(top)
    mount = mnt
    for i in range(5):
        top = mount / "main" / "top"
        for j in range(0, 40, 1 + i):
            shutil.rmtree(top / f"d{j}", ignore_errors=True)
        (top / f"new{i}").write_text("new")
        before = contents(top)
        store.verb("sync")
        with subprocess.Popen(
                [COPPICE, "restore", "--no-undo", "-s", store.path,
                 "main~monday:/top"], stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + rng.random() * 0.15
            while time.monotonic() < end and process.poll() is None:
                pass
            if rng.random() < 0.5:
                store.verb("sync")
            store.mounts[-1].kill()
            process.wait()
        mount = store.mount(f"mnt{i}")
        assert contents(mount / "main" / "top") in (before, wanted)
        store.verb("check")


def test_bad_input(store, mnt, main, history):
    before = contents(main)
    for args, words in [
            (["nothing:/a"], "there is no such state"),
            (["main~monday:/nothing"], "there is no such file"),
            (["main:/a"], "restore with --into"),
            (["--into", "nothing", "main~monday:/a"], "no such state"),
            (["--into", "main~monday", "main:/a"], "it is a snapshot"),
            (["--into", "main:/no/where", "main~monday:/a"], "is missing"),
            (["--into", "main:/a/f1/x", "main~monday:/a"], "is missing"),
            (["--into", "main:/a/../x", "main~monday:/a"], "possible path"),
            (["--into", "main:/", "main~monday:/a/f1"], "root directory"),
            (["main~monday:/a/f1/x"], "not a directory")]:
        error = store.coppice("restore", "-s", store.path, *args,
                              code=1).stderr
        assert words in error, error
        assert error.count("\n") == 1
    store.coppice("restore", "-s", store.path, code=2)
    store.coppice("restore", "-s", store.path, "--json=xml", "main~1", code=2)
    assert contents(main) == before
    assert os.listdir(main / ".snap") == ["monday"]


@pytest.mark.parametrize("paths", [("", ""), ("", ":/a"), (":/a", ":/b")],
                         ids=["whole", "mixed", "parts"])
def test_two_at_once(store, mnt, main, history, paths):
    """Two restorations are done one after the other, each as a whole."""
    (main / ".snap" / "tuesday").mkdir()
    sources = [main / ".snap" / name for name in ("monday", "tuesday")]
    for _ in range(4):
        both = [subprocess.Popen(
            [COPPICE, "restore", "-s", store.path,
             f"main~{source.name}{path}"], stdout=subprocess.DEVNULL)
            for source, path in zip(sources, paths)]
        assert [process.wait(60 * SLOWER) for process in both] == [0, 0]
        for top in "a", "b":
            assert contents(main / top) in [contents(source / top)
                                            for source in sources]
        if paths == (":/a", ":/b"):
            assert contents(main / "a") == contents(sources[0] / "a")
            assert contents(main / "b") == contents(sources[1] / "b")
    mnt.umount()
    store.check()
