# SPDX-License-Identifier: LGPL-2.1-or-later
"""Joins, clones and restorations of files as operations of a batch."""
import json
import os
import subprocess
import threading

import pytest

from conftest import COPPICE
from test_batch import batch, everything, killed, op


def join(name, source, **more):
    return op("join", name=name, **{"from": source}, **more)


def clone(name, path, source, **more):
    return op("clone", name=name, path=path, **{"from": source}, **more)


def restore(name, path, source, **more):
    return op("restore", name=name, path=path, **{"from": source}, **more)


def tree(root):
    """The files below a directory, and what is in them."""
    return {str(path.relative_to(root)): path.read_text()
            for path in sorted(root.rglob("*")) if path.is_file()}


def states(store):
    """Return all that is visible of states but their trees, and their versions:
    reading a fork as of one instant gives it another one."""
    rows, *others = everything(store)
    for row in rows:
        del row["version"]
    return rows, others


def joins(store, fork):
    shown = json.loads(store.verb("show", "--json", fork))
    return sorted(row["name"] for row in shown["joined"])


class Place:
    """A store with three forks, served by a daemon or not."""

    def __init__(self, store, mounted):
        self.store, self.mounted = store, mounted
        mnt = store.mount()
        main = mnt / "main"
        (main / "dir").mkdir()
        for name in "a", "b", "dir/c", "dir/d":
            (main / name).write_text(f"old {name}")
        store.verb("snap", "main", "old")
        for fork in "one", "two":
            store.verb("fork", "main", fork)
            (mnt / fork / "dir" / fork).write_text(fork)
        (mnt / "one" / "a").write_text("one")
        (mnt / "two" / "b").write_text("two")
        (main / "dir" / "c").write_text("new")
        if not mounted:
            mnt.umount()

    def trees(self, *forks):
        """Return the content of the forks, through a mount."""
        mnt = self.store.mounts[0] if self.mounted else \
            self.store.mount("look")
        result = [tree(mnt / fork) for fork in forks]
        if not self.mounted:
            mnt.umount()
        return result if len(forks) > 1 else result[0]

    def batch(self, *lines, **more):
        return batch(self.store, *lines, **more)


@pytest.fixture(params=["unmounted", "mounted"])
def place(request, store):
    result = Place(store, request.param == "mounted")
    yield result
    store.check()


JOINED = {"a": "one", "b": "two", "dir/c": "new", "dir/d": "old dir/d",
          "dir/one": "one", "dir/two": "two"}


def test_each_sees_what_was_done_before(place):
    rows = place.batch(
        op("fork", source="main", name="try"),
        join("try", "one"),
        op("rename", name="try", to="tried"),
        join("tried", "two"),
        clone("tried", "/dir/copy", "tried", from_path="/dir"),
        op("snap", fork="tried", name="s"),
        restore("tried", "/dir/copy/c", "main~old", from_path="/dir/c"),
        op("fork", source="tried~s", name="from-s"),
        op("fork", name="new"),
        clone("new", "/all", "tried", from_path="/"),
        join("main", "tried"),
        restore("two", "/", "main"),
        op("rm", name="one"))
    assert [row["name"] for row in rows] == [
        "try", "try", "tried", "tried", "tried", "tried~s", "tried",
        "from-s", "new", "new", "main", "two", "one"]
    copied = {"dir/copy/" + name[4:]: text for name, text in JOINED.items()
              if name.startswith("dir/")}
    tried = {**JOINED, **copied, "dir/copy/c": "old dir/c"}
    assert place.trees("main", "two", "tried", "from-s", "new") == [
        tried, tried, tried, {**JOINED, **copied},
        {"all/" + name: text for name, text in tried.items()}]
    # recorded, so that nothing is left to be joined
    assert place.store.verb("join", "two", "--into", "tried") == ""
    assert joins(place.store, "main") == ["tried"]


def test_joins_are_recorded_and_undone(place):
    before = states(place.store), place.trees("main", "one", "two")
    lines = [join("main", "one"), join("main", "two"),
             restore("main", "/a", "main~old", undo=True),
             clone("one", "/two", "two", from_path="/")]
    for options, more in ((), [op("rm", name="nobody")]), (["-n"], []):
        place.batch(*lines, *more, code=1 if more else 0, options=options)
        assert joins(place.store, "main") == []
        assert (states(place.store),
                place.trees("main", "one", "two")) == before
    place.batch(*lines)
    assert joins(place.store, "main") == ["one", "two"]
    assert place.trees("main") == {**JOINED, "a": "old a"}
    undo, = [name for name in place.store.names() if "before-restore" in name]
    place.batch(op("restore", name="main", **{"from": undo}))
    assert place.trees("main") == JOINED
    # only what is new since; of the second one nothing is
    for _ in range(2):
        place.batch(join("main", "one", if_exists=undo), join("main", "two"))
        main, two = place.trees("main", "two")
        assert main == {
            **JOINED, **{"two/" + name: text for name, text in two.items()}}


def test_conditions(place):
    """They hold of what the fork was before the trees were built."""
    version = json.loads(place.store.verb("show", "--json", "main"))["version"]
    line = join("main", "one", if_version=version, if_unchanged=False)
    check = op("check", name="main", if_version=version, if_unchanged=False)
    place.batch(check, line, clone("two", "/x", "main", from_path="/a"),
                options=["-n"])
    version = json.loads(place.store.verb("show", "--json", "main"))["version"]
    for lines in [join("main", "one", if_version=version - 1)], \
            [check, join("main", "one", if_version=version + 1)]:
        assert "is at version" in place.batch(*lines, code=1)
    place.batch(join("main", "one", if_version=version))
    assert "is at version" in place.batch(
        join("main", "one", if_version=version), code=1)


def test_conflicts(place):
    conflict = [op("fork", source="one", name="x"), restore("x", "/a", "x"),
                op("fork", source="main", name="y"),
                restore("y", "/a", "main", from_path="/b")]
    said = place.batch(*conflict, join("y", "x"), code=1)
    assert said == "line 5: cannot join 'x' into 'y': 1 conflict, the first " \
        "in '/a'"
    for choice, text in {"ours": "old b", "theirs": "one"}.items():
        place.batch(*conflict, join("y", "x", **{choice: "/a"}))
        assert place.trees("y")["a"] == text
        place.batch(op("rm", name="x"), op("rm", name="y"))
    said = place.batch(join("main", "one", ours=True, theirs=True), code=1)
    assert said.startswith("line 1: ") and "contradict" in said
    assert "has changes of its own" in place.batch(
        join("main", "one", ff_only=True), code=1)
    place.batch(op("fork", source="main", name="z"), restore("z", "/b", "two"),
                join("main", "z", ff_only=True))
    assert place.trees("main")["b"] == "two"


@pytest.mark.parametrize("line, sentence", [
    (op("join", name="main"), "'join' needs a \"from\""),
    (join("main", "main"), "into itself"),
    (join("main~old", "one"), "is a snapshot"),
    (join("main", "nobody"), "no such state"),
    (join("main", "one", base="nobody"), "no such state"),
    (join("main", "one", theirs=False), "\"theirs\" is not true or a pattern"),
    (join("main", "empty"), "no version in common"),
    (clone("main", "/a", "one", from_path="/b"), "it exists"),
    (clone("main", "/", "one"), "it exists"),
    (clone("main", "/x", "one", from_path="/x"), "no such file"),
    (clone("main", "/x/y", "one", from_path="/b"), "no such file"),
    (clone("main", "/a/y", "one", from_path="/b"), "not a directory"),
    (clone("main~old", "/x", "one", from_path="/b"), "snapshot"),
    (op("clone", name="main", **{"from": "one"}), "'clone' needs a \"path\""),
    (restore("main", "/x", "one"), "no such file"),
    (restore("main", "/x/y", "one", from_path="/a"), "is missing"),
    (restore("main~old", "/a", "one"), "is a snapshot"),
    (restore("main", "/", "one", from_path="/a"), "root directory"),
    (clone("small", "/x", "two", from_path="/"), "quota"),
    (restore("small", "/", "two"), "quota"),
    (op("clone", name="main", path="/" + "x" * 300, **{"from": "one"},
        from_path="/a"), "name")])
def test_bad_lines(store, line, sentence):
    place = Place(store, False)
    before = states(store)
    said = place.batch(
        op("fork", name="empty"),
        op("fork", name="small", set={"quota": "1K"}),
        op("snap", fork="main", name="now"), line, code=1)
    assert said.startswith("line 4: ") and sentence in said
    assert states(store) == before
    store.check()


def test_many_joins(store):
    """Joined one after the other, into a fork that the batch makes."""
    mnt = store.mount()
    count = 40
    batch(store, *[op("fork", source="main", name=f"f{i}")
                   for i in range(count)])
    for i in range(count):
        (mnt / f"f{i}" / f"file{i}").write_text(str(i))
    batch(store, op("fork", source="main", name="all"),
          *[join("all", f"f{i}") for i in range(count)],
          join("main", "all"))
    assert tree(mnt / "main") == {f"file{i}": str(i) for i in range(count)}
    assert len(joins(store, "all")) == count
    store.check()


def test_too_many_trees(store):
    line = op("restore", name="main", **{"from": "main"})
    assert batch(store, *[line] * 1001, code=1) == \
        "a batch has at most 1000 operations that clone, join or restore"


def test_open_files_and_other_mounts(store):
    """Other mounts see all of it at once; what is open stays readable."""
    mnt, alone = store.mount(), store.mount("alone", "state=main")
    (mnt / "main" / "gone").write_text("gone")
    (mnt / "main" / "a").write_text("old")
    batch(store, op("fork", source="main", name="try"))
    (mnt / "try" / "gone").unlink()
    (mnt / "try" / "a").write_text("new")
    with open(alone / "gone", encoding="ascii") as gone, \
            open(mnt / "main" / "a", encoding="ascii") as a:
        assert (alone / "a").read_text() == "old"
        batch(store, join("main", "try"), clone("main", "/b", "try",
                                                from_path="/a"))
        assert gone.read() == "gone" and a.read() == "new"
        for path in mnt / "main", alone.path:
            assert tree(path) == {"a": "new", "b": "new"}
    store.check()


def test_written_to_meanwhile(store):
    """A fork that is written to all the time loses nothing to a batch."""
    mnt = store.mount()
    batch(store, op("fork", source="main", name="try"))
    (mnt / "try" / "dir").mkdir()
    for i in range(200):
        (mnt / "try" / "dir" / str(i)).write_text("x")
    written, stop = [], threading.Event()

    def write():
        while not stop.is_set():
            (mnt / "main" / f"w{len(written)}").write_text("w")
            written.append(f"w{len(written)}")

    writer = threading.Thread(target=write)
    writer.start()
    results = set()
    for _ in range(5):
        text = "".join(json.dumps(line) + "\n" for line in (
            clone("main", "/copy", "try", from_path="/dir"),
            op("snap", fork="main", name="s"),
            restore("main", "/copy", "main~s", from_path="/copy/0")))
        result = subprocess.run(
            [COPPICE, "batch", "-s", store.path, "-"], input=text, text=True,
            capture_output=True, check=False)
        results.add(result.stderr)
        if not result.returncode:
            break
    stop.set()
    writer.join()
    assert results <= {
        "", "coppice: line 1: the fork is written to all the time\n",
        "coppice: line 3: the fork is written to all the time\n"}
    names = set(os.listdir(mnt / "main"))
    assert set(written) <= names
    assert ("copy" in names) == ("" in results) == \
        ("main~s" in store.names())
    store.check()


# ---- Crashes ------------------------------------------------------------------


def test_killed_at_any_moment(store):
    """Killed before each call that changes a file: all is done, or nothing."""
    place = Place(store, False)
    lines = (op("fork", source="main", name="try"), join("try", "one"),
             clone("try", "/copy", "try", from_path="/dir"), join("main", "try"),
             restore("two", "/b", "main~old", undo=True), op("rm", name="one"))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    came = set()
    before = store.names()
    for _ in killed(store, text):
        names = [n for n in store.names() if "before-restore" not in n]
        files = store.verb("ls", "main:/").split()
        came.add(names == before)
        if names == before:
            assert joins(store, "main") == [] and "copy" not in files
        else:
            assert names == ["main", "main~old", "try", "two"]
            assert "copy" in files
            assert joins(store, "main") == ["try"]
    assert came == {True, False}
    assert place.trees("main")["copy/one"] == "one"
