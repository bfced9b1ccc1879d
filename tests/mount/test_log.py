# SPDX-License-Identifier: LGPL-2.1-or-later
"""`coppice log`: the versions of a file through snapshots, forks and renames."""
import json
import os
import re

import pytest


class History:
    """A store with a history of main, and a fork of it, mounted or not."""

    def __init__(self, store, mounted):
        self.store = store
        mnt = store.mount()
        main = mnt / "main"
        self.main = main
        self.count = 0
        (main / "file").write_text("1")
        (main / "still").write_text("always")
        self.snap()
        (main / "file").write_text("22")
        self.snap()
        self.snap()
        (main / "dir").mkdir()
        (main / "file").rename(main / "dir" / "moved")
        self.snap()
        # Editors write files in this way.
        (main / "dir" / "new").write_text("333")
        (main / "dir" / "new").rename(main / "dir" / "moved")
        self.snap()
        os.utime(main / "dir" / "moved", (1, 1))
        self.snap()
        (main / "gone").write_text("gone")
        self.snap()
        (main / "gone").unlink()
        self.snap()
        (mnt / "main@try").mkdir()
        fork = mnt / "main@try"
        (fork / "dir" / "moved").chmod(0o600)
        (fork / ".snap" / "a").mkdir()
        (fork / "dir" / "moved").write_text("4444")
        (main / "dir" / "moved").write_text("not of the fork")
        if not mounted:
            mnt.umount()

    def snap(self):
        self.count += 1
        (self.main / ".snap" / f"s{self.count}").mkdir()

    def __call__(self, *args, code=0):
        result = self.store.coppice("log", "-s", self.store.path, *args,
                                    code=code)
        if code == 1:
            assert re.fullmatch(r"coppice: .+\n", result.stderr), result
        return result.stdout

    def rows(self, *args):
        rows = json.loads(self("--json", *args))
        lines = self("--json=lines", *args).splitlines()
        assert [json.loads(line) for line in lines] == rows
        return [(row["op"], row["state"], row["last"], row["path"],
                 *row["fields"]) for row in rows]


@pytest.fixture(params=["mounted", "unmounted"])
def log(request, store):
    return History(store, request.param == "mounted")


OLD = [("R", "main~s4", "main~s4", "/dir/moved"),
       ("M", "main~s2", "main~s3", "/file", "content", "times"),
       ("+", "main~s1", "main~s1", "/file")]


def test_through_renames_and_forks(log):
    assert log.rows("main@try:/dir/moved") == [
        ("M", "main@try", "main@try", "/dir/moved", "content", "times"),
        ("M", "main@try~a", "main@try~a", "/dir/moved", "mode"),
        ("M", "main~s5", "main~s8", "/dir/moved", "content", "times"), *OLD]
    assert log.rows("main~s6:/dir/moved")[0] == (
        "M", "main~s5", "main~s6", "/dir/moved", "content", "times")
    assert log.rows("main~s4:/dir/moved") == OLD


def test_times_alone(log):
    assert log.rows("-a", "main~s8:/dir/moved")[:2] == [
        ("M", "main~s6", "main~s8", "/dir/moved", "times"),
        ("M", "main~s5", "main~s5", "/dir/moved", "content", "times")]


def test_of_the_path_alone(log):
    assert log.rows("--no-follow", "main~s8:/dir/moved") == [
        ("M", "main~s5", "main~s8", "/dir/moved", "content", "times"),
        ("+", "main~s4", "main~s4", "/dir/moved")]
    assert log.rows("--no-follow", "main~s3:/file") == OLD[1:]


def test_that_never_changed(log):
    assert log.rows("main@try:/still") == [
        ("+", "main~s1", "main@try", "/still")]


def test_directory(log):
    assert log.rows("main~s8:/dir") == [
        ("M", "main~s5", "main~s8", "/dir", "times", "entries"),
        ("+", "main~s4", "main~s4", "/dir")]
    assert log.rows("main~s2:/")[0][0] == "+"


def test_deleted(log):
    assert "--deleted" in log.store.coppice(
        "log", "-s", log.store.path, "main:/gone", code=1).stderr
    expected = [("-", "main~s8", "main", "/gone"),
                ("+", "main~s7", "main~s7", "/gone")]
    assert log.rows("--deleted", "main:/gone") == expected
    # In the fork, too.
    assert log.rows("--deleted", "main@try:/gone") == [
        ("-", "main~s8", "main@try", "/gone"), expected[1]]
    assert log.rows("--deleted", "main:/file")[0][:2] == ("-", "main~s4")
    assert log("--deleted", "main:/never", code=1) == ""


def test_text(log):
    lines = log("main~s4:/dir/moved").splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"20\S+Z  R +2  - +main~s4  /file -> /dir/moved",
                        lines[0])
    assert re.fullmatch(r"20\S+Z  M +2  content,times +main~s2  /file",
                        lines[1])
    assert log("main@try:/dir/moved").startswith("now ")


def test_refused(log):
    for arg in ("nobody:/file", "main:/nothing", "main~99:/file",
                "main:/dir/moved/more", "main:/" + "n" * 5000):
        assert log(arg, code=1) == ""
    log(code=2)
    log("main:/a", "main:/b", code=2)


def test_paths_in_a_mount(store, mnt, main):
    (main / "dir").mkdir()
    (main / "dir" / "file").write_text("1")
    (main / ".snap" / "monday").mkdir()
    (main / "dir" / "file").write_text("22")
    assert len(store.coppice("log", main / "dir" / "file").stdout
               .splitlines()) == 2
    (main / "dir" / "file").unlink()
    (main / "dir").rmdir()
    lines = store.coppice("log", "--deleted", main / "dir" / "file"
                          ).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["-", "+"]


def test_many_snapshots(store, mnt, main):
    (main / "file").write_text("x")
    (main / "other").write_text("x")
    for i in range(300):
        if i % 100 == 50:
            (main / "file").write_text("x" * i)
        (main / "other").write_text(str(i))
        (main / ".snap" / f"{i}").mkdir()
    lines = store.verb("log", "main:/file").splitlines()
    assert len(lines) == 4
    assert len(store.verb("log", "main:/other").splitlines()) == 300
