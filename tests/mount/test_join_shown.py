# SPDX-License-Identifier: LGPL-2.1-or-later
"""Joins in what other verbs show of states and files."""
import os
import re

import pytest

from test_join import run


@pytest.fixture
def joined(store, mnt, main):
    """main with one join into it before its snapshot, and one after."""
    for name in "a", "b", "c":
        (main / name).write_text(name)
    for name in "one", "two":
        (mnt / f"main@{name}").mkdir()
    (main / "c").write_text("main's own")
    (mnt / "main@one" / "a").write_text("from one")
    run(store, "main@one")
    (main / ".snap" / "between").mkdir()
    (main / "c").write_text("main's own again")
    (mnt / "main@two" / "b").write_text("from two")
    run(store, "main@two")
    return store


@pytest.fixture(params=["mounted", "unmounted"])
def shown(request, joined, mnt):
    if request.param == "unmounted":
        mnt.umount()
    return joined


def names(row):
    return [join["name"] for join in row["joined"]]


def test_show_and_list(shown):
    row = shown.json("show", "main")
    assert names(row) == ["main@one", "main@two"]
    assert all(set(join) == {"name", "number", "version", "sequence", "time"}
               for join in row["joined"])
    assert names(shown.json("show", "main~between")) == ["main@one"]
    assert "Joined       main@one,main@two\n" in shown.verb("show", "main")
    assert "Joined       -\n" in shown.verb("show", "main@one")
    assert {row["name"]: names(row) for row in shown.json("list")} == {
        "main": ["main@one", "main@two"], "main~between": ["main@one"],
        "main@one": [], "main@two": []}
    assert shown.verb("list", "--joined").splitlines() == [
        "main", "main~between"]
    assert shown.verb("list", "-Ho", "name,joined", "--sort=-joined"
                      ).splitlines()[:2] == [
        "main\tmain@one,main@two", "main~between\tmain@one"]


def test_log(shown):
    def brought(path):
        return [(row["state"], row["joined"])
                for row in shown.json("log", f"main:{path}")]

    assert brought("/a") == [("main~between", "main@one")]
    assert brought("/b") == [("main", "main@two"), ("main~between", None)]
    assert brought("/c")[0] == ("main", None)
    assert shown.verb("log", "main:/b").splitlines()[0].endswith(
        "main  /b  (joined from main@two)")


def test_tree(shown):
    lines = [re.sub(r"^(\| )*|  .*", "", line)
             for line in shown.verb("tree").splitlines()]
    assert lines[lines.index("* main") + 1] == "|\\ main@two"
    assert lines[lines.index("* main~between") + 1] == "|\\ main@one"
    nodes = shown.json("tree")
    by_state = {state["name"]: node for node in nodes
                for state in node["states"]}
    versions = {node["version"] for node in nodes}
    for state, other in ("main", "main@two"), ("main~between", "main@one"):
        joins = by_state[state]["joins"]
        assert [join["name"] for join in joins] == [other]
        assert joins[0]["version"] in versions
    assert not by_state["main@one"]["joins"]
    assert shown.verb("tree", "--dot").count("[style=dashed") == 2


def test_a_join_is_forgotten_with_its_state(joined):
    joined.verb("rm", "main@one")
    assert names(joined.json("show", "main")) == ["main@two"]
    assert joined.verb("tree", "--dot").count("[style=dashed") == 1


def test_names_that_are_no_text(store, mnt, main):
    fork = os.fsencode(mnt) + b"/main@\xff\xe9"
    os.mkdir(fork)
    with open(fork + b"/new", "w", encoding="ascii") as new:
        new.write("new")
    store.coppice("join", "-s", store.path, os.fsdecode(b"main@\xff\xe9"))
    assert "main@\udcff\udce9" in store.verb("list", "-Ho", "joined", "--joined")
    store.verb("tree")
