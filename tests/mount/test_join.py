# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice join: the changes of a state, brought into a fork."""
import json
import os
import subprocess
import time

import pytest

from conftest import COPPICE


def run(store, *args, code=0):
    done = subprocess.run([COPPICE, "join", "-s", str(store.path), *args],
                          capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def contents(top):
    """Paths, kinds, link counts, modes and contents."""
    found = {}
    for root, dirs, files in os.walk(top):
        for name in dirs + files:
            full = os.path.join(root, name)
            st = os.lstat(full)
            text = None
            if os.path.isfile(full):
                with open(full, "rb") as file:
                    text = file.read()
            found[os.path.relpath(full, top)] = (
                st.st_mode, st.st_nlink, st.st_size, text)
    return found


@pytest.fixture
def pair(mnt, main):
    """A fork, and changes of all kinds on both sides."""
    (main / "dir" / "sub").mkdir(parents=True)
    for i in range(30):
        (main / "dir" / f"f{i}").write_text(f"{i} " * 40000)
    os.link(main / "dir" / "f0", main / "link")
    fork = mnt / "main@try"
    fork.mkdir()
    (fork / "dir" / "f1").rename(fork / "dir" / "sub" / "moved")
    with open(fork / "dir" / "f2", "r+", encoding="ascii") as file:
        file.write("changed")
    (fork / "dir" / "f3").unlink()
    (fork / "new" / "deep").mkdir(parents=True)
    (fork / "new" / "deep" / "file").write_text("new" * 50000)
    os.chmod(fork / "dir" / "f4", 0o600)
    os.setxattr(fork / "dir" / "f5", "user.small", b"x")
    os.setxattr(fork / "dir" / "f5", "user.big", b"x" * 3000)
    os.link(fork / "dir" / "f6", fork / "another")
    (fork / "dir" / "f7").unlink()
    (fork / "dir" / "f7").write_text("made anew")
    (main / "dir" / "f1").write_text("edited in main")
    (main / "dir" / "f8").rename(main / "f8")
    (main / "dir").rename(main / "folder")
    contents(main), contents(fork)
    return main, fork


def test_both_sides(store, pair):
    main, fork = pair
    said = run(store, "main@try").stdout.splitlines()
    folder = main / "folder"
    assert "R\t/folder/f1 -> /folder/sub/moved" in said
    assert "+\t/new/deep/file" in said and "-\t/folder/f3" in said
    assert (folder / "sub" / "moved").read_text() == "edited in main"
    assert not (folder / "f1").exists() and not (folder / "f3").exists()
    assert (folder / "f2").read_text().startswith("changed 2 ")
    assert (main / "new" / "deep" / "file").read_text() == "new" * 50000
    assert (folder / "f4").stat().st_mode & 0o777 == 0o600
    assert os.getxattr(folder / "f5", "user.big") == b"x" * 3000
    assert os.path.samefile(main / "another", folder / "f6")
    assert (folder / "f6").stat().st_nlink == 2
    assert (folder / "f0").stat().st_nlink == 2
    assert (folder / "f7").read_text() == "made anew"
    assert (main / "f8").exists()
    # Again, there is nothing to do; back, both are the same.
    assert run(store, "main@try").stdout == ""
    run(store, "main", "--into", "main@try")
    assert contents(main) == contents(fork)
    assert run(store, "main@try").stdout == ""
    assert run(store, "main", "--into", "main@try").stdout == ""


def test_a_fork_without_changes_gets_the_tree(store, mnt, main):
    """Both share all blocks then, and snapshots of before are kept."""
    (main / "dir").mkdir()
    for i in range(50):
        (main / "dir" / f"f{i}").write_text(f"{i} " * 5000)
    (main / ".snap" / "before").mkdir()
    other, fork = mnt / "main@other", mnt / "main@try"
    other.mkdir(), fork.mkdir()
    before = contents(main)
    with open(main / "dir" / "f1", encoding="ascii") as file:
        for i in range(25):
            (fork / "dir" / f"f{i}").write_text(os.urandom(8000).hex())
        (fork / "dir" / "f30").unlink()
        (other / "dir" / "f40").write_text("other")
        said = run(store, "main@try").stdout.splitlines()
        assert len(said) == 26
        assert file.read() == (fork / "dir" / "f1").read_text()
    assert contents(main) == contents(fork)
    assert contents(main / ".snap" / "before") == before
    assert json.loads(store.verb("show", "--json", "main"))["unchanged"]
    assert json.loads(store.verb("du", "--json", "main"))["states"][0][
        "unique"] == 0
    # The other fork still knows what it has in common with both.
    assert run(store, "main@other").stdout == "M\t/dir/f40\n"
    assert run(store, "main@other", "--into", "main@try").stdout == \
        "M\t/dir/f40\n"
    assert run(store, "main@try").stdout == ""
    assert contents(main) == contents(fork)


def test_open_files_of_a_fork_without_changes(store, mnt, main):
    for name in "gone", "anew", "other":
        (main / name).write_text(name)
    fork = mnt / "main@try"
    fork.mkdir()
    (fork / "gone").unlink()
    (fork / "anew").unlink()
    (fork / "anew").write_text("made anew")
    with open(main / "gone", encoding="ascii") as gone, \
            open(main / "anew", encoding="ascii") as anew:
        run(store, "main@try")
        assert gone.read() == "gone"
        assert anew.read() == "made anew"
    assert contents(main) == contents(fork)


def test_only_what_is_new(store, pair):
    main, fork = pair
    run(store, "main@try")
    (main / "folder" / "f2").write_text("main goes on")
    (fork / "dir" / "f9").write_text("so does the fork")
    assert run(store, "main@try").stdout == "M\t/folder/f9\n"
    assert (main / "folder" / "f2").read_text() == "main goes on"


def test_conflicts(store, mnt, main):
    for name in "edit", "gone", "moved", "mode":
        (main / name).write_text(name)
    fork = mnt / "main@try"
    fork.mkdir()
    for top in main, fork:
        (top / "edit").write_text(f"edit of {top.name}")
        (top / "moved").rename(top / f"moved-{top.name}")
        (top / "made").write_text(f"made in {top.name}")
    (main / "gone").unlink()
    (fork / "gone").write_text("edited")
    os.chmod(main / "mode", 0o600)
    os.chmod(fork / "mode", 0o640)
    before = contents(main)
    done = run(store, "main@try", code=1)
    assert sorted(done.stdout.splitlines()) == [
        "C\tadd/add\t/made", "C\tedit/delete\t/gone", "C\tedit/edit\t/edit",
        "C\tmode\t/mode", "C\trename/rename\t/moved-main"]
    assert "5 conflicts" in done.stderr
    assert contents(main) == before
    rows = json.loads(run(store, "-n", "--json", "--ours", "--theirs=ed*",
                          "main@try").stdout)["rows"]
    assert [(row["op"], row["path"], row["decided"]) for row in rows
            if row["op"] != "="] == [("M", "/edit", ["edit/edit"])]
    assert contents(main) == before
    run(store, "--theirs", "--ours=made", "main@try")
    assert (main / "edit").read_text() == "edit of main@try"
    assert (main / "gone").read_text() == "edited"
    assert (main / "made").read_text() == "made in main"
    assert (main / "moved-main@try").read_text() == "moved"
    assert not (main / "moved-main").exists()
    assert (main / "mode").stat().st_mode & 0o777 == 0o640
    # A second join finds nothing to do.
    assert run(store, "main@try").stdout == ""


def test_cycle(store, mnt, main):
    (main / "a").mkdir()
    (main / "b").mkdir()
    fork = mnt / "main@try"
    fork.mkdir()
    (main / "a").rename(main / "b" / "a")
    (fork / "b").rename(fork / "a" / "b")
    assert "cycle" in run(store, "main@try", code=1).stdout
    run(store, "--theirs", "main@try")
    assert (main / "a" / "b").is_dir()


def test_open_files(store, pair):
    main, _ = pair
    with open(main / "folder" / "f2", "rb") as changed, \
            open(main / "folder" / "f3", "rb") as deleted:
        text = deleted.read()
        run(store, "main@try")
        assert changed.read().startswith(b"changed")
        deleted.seek(0)
        assert deleted.read() == text


def test_options(store, pair):
    main, fork = pair
    assert "changes of its own" in run(store, "--ff-only", "main@try",
                                       code=1).stderr
    (fork / ".snap" / "one").mkdir()
    (fork / "dir" / "f10").write_text("ten")
    (fork / ".snap" / "two").mkdir()
    said = run(store, "--base", "main@try~one", "--into", "main",
               "main@try~two").stdout
    assert said == "M\t/folder/f10\n"
    assert (main / "folder" / "f3").exists()


def test_bad_input(store, mnt, main):
    (mnt / "other").mkdir()
    (main / ".snap" / "one").mkdir()
    assert "no version in common" in run(store, "other", "--into", "main",
                                         code=1).stderr
    assert "no such state" in run(store, "nothing", code=1).stderr
    assert "no such state" in run(store, "main", "--into", "nothing",
                                  code=1).stderr
    assert "is a snapshot" in run(store, "other", "--into", "main~one",
                                  code=1).stderr
    assert "into itself" in run(store, "main", "--into", "main",
                                code=1).stderr
    assert "is gone" in run(store, "other", code=1).stderr
    assert "contradict" in run(store, "--ours", "--theirs", "main",
                               code=2).stderr


def test_refresh(store, pair):
    main, fork = pair
    done = subprocess.run(
        [COPPICE, "refresh", "-s", str(store.path), "main@try"],
        capture_output=True, text=True, check=True)
    assert "R\t/dir -> /folder" in done.stdout
    assert (fork / "folder" / "sub" / "moved").read_text() == "edited in main"
    run(store, "main@try")
    assert contents(main) == contents(fork)
    done = subprocess.run(
        [COPPICE, "refresh", "-s", str(store.path), "main"],
        capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is gone" in done.stderr


def test_kill(make_store):
    """A daemon that is killed during a join leaves the tree as it was, or
    joined."""
    store = make_store()
    mnt = store.mount()
    main, fork = mnt / "main", mnt / "main@try"
    for i in range(300):
        (main / f"f{i}").write_text("old")
    fork.mkdir()
    for i in range(300):
        (fork / f"f{i}").write_text("new")
        (fork / f"f{i}").rename(fork / f"g{i}")
    subprocess.run([COPPICE, "sync", "-s", str(store.path)], check=True)
    for delay in 0.002, 0.01, 0.03:
        with subprocess.Popen([COPPICE, "join", "-s", str(store.path),
                               "main@try"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as joining:
            time.sleep(delay)
            mnt.kill()
        mnt = store.mount()
        main = mnt / "main"
        names = {path.name[0] for path in main.iterdir()}
        texts = {path.read_text() for path in main.iterdir()}
        assert (names, texts) in (({"f"}, {"old"}), ({"g"}, {"new"}))
        assert len(list(main.iterdir())) == 300
    run(store, "main@try")
    assert {path.read_text() for path in main.iterdir()} == {"new"}
