# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice tree: the lineage, drawn and as data."""
import json
import os
import random
import re
import shutil
import subprocess

import pytest


def drawn(store):
    """The drawing without times and sizes."""
    lines = store.verb("tree").splitlines()
    for line in lines:
        assert re.fullmatch(
            r"|(\| )*(\* .+?  \S+Z  \S+, frees \S+|o \S+Z|\|/)", line), line
    return [re.sub(r"(  |(?<=o )).*", "", line).rstrip() for line in lines]


def change(path):
    with open(path / "changes", "a") as file:
        file.write("x")


@pytest.fixture
def lineage(store, mnt, main):
    for day in ("a", "b"):
        change(main)
        os.mkdir(main / ".snap" / day)
    os.mkdir(mnt / "main~b@one")
    os.mkdir(mnt / "main~a@two")
    change(mnt / "main~a@two")
    os.mkdir(mnt / "main~a@two" / ".snap" / "c")
    os.mkdir(mnt / "alone")
    change(main)
    return store


def test_drawing(lineage):
    assert drawn(lineage) == [
        "* main",
        "| * main~b@one",
        "|/",
        "* main~b",
        "| * main~a@two",
        "| * main~a@two~c",
        "|/",
        "* main~a",
        "",
        "* alone",
    ]


def test_unmounted_is_the_same(lineage, mnt):
    mounted = lineage.verb("tree"), lineage.json("tree")
    mnt.umount()
    assert (lineage.verb("tree"), lineage.json("tree")) == mounted


def test_states_of_one_version(lineage, mnt):
    os.mkdir(mnt / "main" / ".snap" / "d")
    os.mkdir(mnt / "main" / ".snap" / "e")
    assert "* main~d, main~e" in drawn(lineage)


def test_versions_without_a_name(lineage, mnt):
    lineage.verb("rm", "main~b")
    assert drawn(lineage)[:4] == ["* main", "| * main~b@one", "|/", "o"]
    # One child is left: the version does not matter any more.
    lineage.verb("rm", "main~b@one")
    assert drawn(lineage)[:5] == ["* main~a@two", "* main~a@two~c",
                                  "| * main", "|/", "* main~a"]


def test_json(lineage):
    rows = lineage.json("tree")
    lines = lineage.verb("tree", "--json=lines").splitlines()
    assert [json.loads(line) for line in lines] == rows
    at = {row["version"]: row for row in rows}
    of = {state["name"]: row for row in rows for state in row["states"]}
    assert set(of) == set(lineage.names())
    shown = {row["name"]: row for row in lineage.json("list")}
    for name, row in of.items():
        (state,) = [s for s in row["states"] if s["name"] == name]
        for key in ("snapshot", "created", "bytes", "exclusive"):
            assert state[key] == shown[name][key]
    seen = set()
    for row in rows:
        assert row["parent"] is None or row["parent"] in seen
        seen.add(row["version"])
    assert at[of["main"]["parent"]] == of["main~b"]
    assert of["alone"]["parent"] is None


def test_dot(lineage, mnt):
    os.mkdir(mnt / 'quo"te\\d')
    dot = lineage.verb("tree", "--dot")
    assert dot.startswith("digraph lineage {\n") and dot.endswith("}\n")
    assert 'label="quo\\"te\\\\d\\n20' in dot
    assert dot.count(" -> ") == len(
        [row for row in lineage.json("tree") if row["parent"]])
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=dot, text=True, check=True,
                       stdout=subprocess.DEVNULL)


def test_random_lineages(store, mnt, main):
    """The column of a state leads to the state that it was made from."""
    rng = random.Random(9)
    for i in range(60):
        forks = [name for name in store.names() if "~" not in name]
        fork = rng.choice(forks)
        what = rng.random()
        if what < 0.4:
            change(mnt / fork)
            os.mkdir(mnt / fork / ".snap" / f"s{i}")
        elif what < 0.8:
            store.verb("fork", rng.choice(store.names()), f"f{i}")
        elif fork != "main":
            store.verb("rm", "-r", fork)
    rows = {row["version"]: row for row in store.json("tree")}

    def path(row):
        name = ", ".join(state["name"] for state in row["states"]) or "o"
        return [name] + (path(rows[row["parent"]]) if row["parent"] else [])

    below = []  # the path of what stands in each column, upwards
    found = []
    for line in reversed(drawn(store)):
        if not line:
            below = []
            continue
        column = line.count("| ")
        line = line[2 * column:]
        if line == "|/":
            below[column + 1:] = [below[column]]
            continue
        name = line[2:] if line.startswith("* ") else "o"
        below[column:] = [[name] + (below[column] if below else [])]
        found.append(below[column])
    assert sorted(found) == sorted(path(row) for row in rows.values())


def test_bad_input(store, tmp):
    store.coppice("tree", "--dot", "--json", "-s", store.path, code=2)
    store.coppice("tree", "--json=xml", "-s", store.path, code=2)
    store.coppice("tree", "-s", store.path, "main", code=2)
    result = store.coppice("tree", "-s", tmp / "nothing", code=1)
    assert re.fullmatch(r"coppice: .+\n", result.stderr)
