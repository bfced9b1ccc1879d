# SPDX-License-Identifier: LGPL-2.1-or-later
"""FORK~N and FORK~@TIME: found by position, and nothing is lost by that."""
import errno
import os

import pytest

from linux import raises, run
from test_command import coppice  # noqa: F401 (a fixture)


def names(coppice):
    return [name.partition("~")[2] for name in
            coppice("list", "main").split()]


@pytest.fixture
def window(coppice):
    """Snapshots called by numbers, of which the oldest have expired."""
    for i in range(1, 7):
        coppice("snap", "main", str(i))
    coppice("rm", "main~1", "main~2")
    assert names(coppice) == ["3", "4", "5", "6"]
    return coppice


def test_expiry_that_is_run_again(window):
    """main~1 and main~2 are names at first, and positions the second time."""
    complaint = window.store.coppice("rm", "-s", window.store.path, "main~1",
                                     "main~2", code=1).stderr
    assert "'main~6'" in complaint and "--positional" in complaint
    assert names(window) == ["3", "4", "5", "6"]


@pytest.mark.parametrize("name", ["main~1", "main~2", "main~@now",
                                  "main~@2999-01-01", "main~@-0s"])
def test_positions_are_refused(window, name):
    assert "--positional" in window.fails("rm", name)
    assert "--positional" in window.fails("rm", "-r", name)
    assert "--positional" in window.fails("rename", name, "other")
    assert names(window) == ["3", "4", "5", "6"]
    # and read by all the same
    assert window.store.json("show", name)["fork"] == "main"
    window("fork", name, "reads-by-position")
    # what is no position either is not there
    assert "no such" in window.fails("rm", "main~7")
    assert "no such" in window.fails("rename", "main~99", "x")


def test_positional(window):
    window("rename", "main~3", "three")
    window("rename", "main~4", "four")
    window("rename", "main~5", "five")
    window("rename", "main~6", "six")
    window("rename", "--positional", "main~1", "newest")
    # all are looked up first: neither is another one when its turn comes
    window("rm", "--positional", "main~2", "main~1")
    assert names(window) == ["four", "three"]
    window("rm", "--positional", "main~@now", "main~three")
    assert names(window) == []
    window.fails("rm", "--positional", "main~1")
    window.fails("rm", "--positional", "main~monday")


def test_positional_where_a_name_is_a_position(window):
    """Among 3, 4, 5, 6, main~3 is one by name and another by position."""
    for verb in ["rm"], ["rename"]:
        args = ["x"] if verb == ["rename"] else []
        assert "name" in window.fails(*verb, "--positional", "main~3", *args)
        # nor is 6 the sixth, of which there is none
        assert "name" in window.fails(*verb, "--positional", "main~6", *args)
    assert names(window) == ["3", "4", "5", "6"]
    # what can be done is done
    window.store.coppice("rm", "-s", window.store.path, "--positional",
                         "main~3", "main~1", code=1)
    assert names(window) == ["3", "4", "5"]
    # a name is never a position by another form of it
    window("rm", "--positional", "main/.snap/3")
    window("rm", "main/.snap/4")
    assert names(window) == ["5"]


def test_names_that_read_as_positions(coppice):
    def said(*args):
        return coppice.store.coppice(args[0], "-s", coppice.store.path,
                                     *args[1:]).stderr

    for name in "7", "007", "@now", "@2026-11-20", "@-2h":
        assert "position" in said("snap", "main", name)
    for name in "seven", "20261120", "2026-11-20", "7th", "@never":
        assert said("snap", "main", name) == ""
    assert said("snap", "main") == ""
    assert "position" in said("rename", "main~seven", "9")
    coppice("fork", "main", "seven")
    assert said("rename", "seven", "7") == ""


def test_paths_by_position(store, mnt, main):
    """The links of a mount hide nothing."""
    for name in "one", "two", "three":
        (main / ".snap" / name).mkdir()
    latest = store.dir / "latest"
    os.symlink("latest-snapshot", latest)
    os.symlink(mnt / "main~1", store.dir / "latest-snapshot")
    for path in (mnt / "main~1", f"{mnt}/main~1/", f"{mnt}/main~1/.",
                 mnt / "main~@now", latest):
        for verb in ["rm", path], ["rm", "-s", store.path, path], \
                ["rename", path, "x"]:
            result = store.coppice(*verb, code=1)
            assert "--positional" in result.stderr
    result = store.coppice("rm", "main~1", cwd=mnt.path, code=1)
    assert "--positional" in result.stderr
    assert sorted(os.listdir(main / ".snap")) == ["one", "three", "two"]
    store.coppice("rm", "--positional", mnt / "main~2", latest)
    assert os.listdir(main / ".snap") == ["one"]
    store.coppice("rm", mnt / "main~one")
    # the directory itself has a name
    (main / ".snap" / "four").mkdir()
    store.coppice("rm", ".", cwd=mnt / "main~1")
    assert os.listdir(main / ".snap") == []


def test_calls_by_position(mnt, main):
    """A state cannot be changed through a mount by a name with ~."""
    for name in "one", "two", "3":
        (main / ".snap" / name).mkdir()
    mnt.allow(r"snapshots with names such as '3'.*position afterwards")
    for name in "main~1", "main~2", "main~3", "main~two", "main~@now":
        path = mnt / name
        with raises(errno.ENOTDIR):
            os.rmdir(path)
        with raises(errno.EPERM):
            os.unlink(path)
        with raises(errno.EPERM):
            os.rename(path, mnt / "other")
        with raises(errno.EPERM):
            os.rename(path, main / ".snap" / "other")
        with raises(errno.ENOTDIR):
            os.rename(f"{path}/", main / ".snap" / "other")
        with raises(errno.EEXIST):
            os.mkdir(path)
        with raises(errno.EPERM, errno.EINVAL, errno.ENOTDIR):
            os.rename(main, path)
        run("rm", "-rf", path, code=1)
        run("rmdir", f"{path}/", code=1)
    assert sorted(os.listdir(main / ".snap")) == ["3", "one", "two"]
    assert mnt.stderr().count("'~3'") == 1
    (main / ".snap" / "4").mkdir()
    assert mnt.stderr().count("position") == 1
