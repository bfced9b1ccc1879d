# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots that go by rules: prune, and those that the daemon makes by time."""
import re

import pytest

from conftest import SANITIZED, wait_for

UTC = re.compile(r"main~\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def snapshots(store, fork="main"):
    return store.verb("list", fork, "--sort", "created").split()


def prune(store, *args):
    """The action on each state, and its reason."""
    return {row["name"]: (row["action"], row["reason"])
            for row in store.json("prune", *args)}


@pytest.fixture(params=["mounted", "unmounted"])
def snapped(request, store):
    """A fork with five snapshots."""
    mnt = store.mount()
    for i in range(5):
        (mnt / "main" / "file").write_text(str(i))
        (mnt / "main" / ".snap" / f"s{i}").mkdir()
    store.mnt = mnt
    if request.param == "unmounted":
        mnt.umount()
        store.mnt = None
    return store


def test_keep_last(snapped):
    dry = prune(snapped, "--keep-last", "2", "--dry-run")
    assert len(snapshots(snapped)) == 5
    assert prune(snapped, "--keep-last", "2") == dry == {
        "main~s4": ("keep", "last"), "main~s3": ("keep", "last"),
        "main~s2": ("remove", "no rule keeps it"),
        "main~s1": ("remove", "no rule keeps it"),
        "main~s0": ("remove", "no rule keeps it")}
    assert snapshots(snapped) == ["main~s3", "main~s4"]
    if snapped.mnt:
        assert sorted(p.name for p in
                      (snapped.mnt / "main" / ".snap").iterdir()) == ["s3", "s4"]
    snapped.verb("gc")
    assert snapped.json("gc", "--no-wait")["backlog"] == 0
    snapped.check()


def test_what_is_held_or_the_default_stays(snapped):
    snapped.verb("hold", "keep", "main~s0")
    snapped.verb("default", "main~s1")
    assert prune(snapped, "--keep-last", "1") == {
        "main~s4": ("keep", "last"),
        "main~s3": ("remove", "no rule keeps it"),
        "main~s2": ("remove", "no rule keeps it"),
        "main~s1": ("keep", "the default state"),
        "main~s0": ("keep", "held by a tag")}
    assert snapshots(snapped) == ["main~s0", "main~s1", "main~s4"]


def test_the_newest_stays_unless_told(snapped):
    snapped.verb("hold", "keep", "main~s2")
    assert prune(snapped, "--keep-tag", "keep")["main~s4"] == \
        ("keep", "the newest of its fork")
    assert snapshots(snapped) == ["main~s2", "main~s4"]
    prune(snapped, "--keep-tag", "keep", "--all")
    assert snapshots(snapped) == ["main~s2"]


def test_ttl(snapped):
    snapped.verb("set", "ttl=1s", "main~s0", "main~s1")
    snapped.verb("set", "ttl=1h", "main~s2")
    snapped.verb("fork", "-p", "ttl=1s", "main@brief")
    snapped.verb("snap", "main@brief", "one")
    snapped.verb("fork", "-p", "ttl=1s", "main@held")
    snapped.verb("snap", "main@held", "one")
    snapped.verb("hold", "keep", "main@held~one")
    wait_for(lambda: prune(snapped, "--expired", "-n")["main@held"][1] !=
             "its ttl of 1s has not passed", "the ttl")
    # The other rules leave them alone.
    assert prune(snapped, "--keep-last", "1", "-n", "main")["main~s0"] == \
        ("keep", "its ttl of 1s has passed")
    plan = prune(snapped, "--expired")
    assert plan["main~s1"] == ("remove", "its ttl of 1s has passed")
    assert plan["main~s2"] == ("keep", "its ttl of 1h has not passed")
    # The rule says nothing about states without a ttl.
    assert "main~s3" not in plan and "main~s4" not in plan
    assert plan["main@brief~one"] == ("remove", "its fork is removed")
    assert plan["main@held"] == ("keep", "a tag holds a snapshot of it")
    assert sorted(snapped.verb("list").split()) == \
        ["main", "main@held", "main@held~one", "main~s2", "main~s3", "main~s4"]


def test_forks_are_pruned_on_their_own(snapped):
    snapped.verb("fork", "main", "other")
    for i in range(3):
        snapped.verb("snap", "other", f"o{i}")
    prune(snapped, "--keep-last", "1", "other")
    assert snapshots(snapped, "other") == ["other~o2"]
    assert len(snapshots(snapped)) == 5
    prune(snapped, "--keep-last", "1")
    assert snapshots(snapped) == ["main~s4"]
    assert snapshots(snapped, "other") == ["other~o2"]


def test_keep_free(snapped):
    assert prune(snapped, "--keep-free", "1K")["main~s0"] == \
        ("keep", "enough space is free")
    assert len(snapshots(snapped)) == 5
    # Never enough: all but the newest go.
    assert prune(snapped, "--keep-free", "900T")["main~s0"][0] == "remove"
    assert snapshots(snapped) == ["main~s4"]


def test_bad_policies_delete_nothing(snapped):
    for bad in [[], ["--all"], ["--keep-last", "0"], ["--keep-last", "x"],
                ["--keep-daily", "-1"], ["--keep-within", "1w"],
                ["--keep-within", "0d"], ["--keep-free", "much"],
                ["main", "-n"]]:
        result = snapped.coppice("prune", "-s", snapped.path, *bad, code=2)
        assert result.stdout == ""
    for bad in ["nobody", "main~s0"]:
        snapped.coppice("prune", "-s", snapped.path, "--keep-last", "1", bad,
                        code=1)
    assert len(snapshots(snapped)) == 5


# ---- Snapshots by time ---------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="waits for intervals: shown without")
def test_autosnap(store):
    mnt = store.mount(options="autosnap=6s,keep=last:2")
    store.verb("snap", "main", "mine")
    mine = 1
    for i in range(3):
        (mnt / "main" / "file").write_text(str(i))
        wait_for(lambda: len(snapshots(store)) > min(i, 1) + mine and
                 store.json("show", "main")["unchanged"], "a snapshot")
    # The rules are applied after the snapshot was made.
    wait_for(lambda: len(snapshots(store)) == 2 + mine, "the rules")
    names = snapshots(store)
    assert "main~mine" in names and len(names) == 2 + mine
    assert all(UTC.fullmatch(name) for name in names if name != "main~mine")
    newest = names[-1].partition("~")[2]
    assert (mnt / "main" / ".snap" / newest / "file").read_text() == "2"
    # A fork that changes shows that an interval has passed for the other, too.
    (mnt / "other").mkdir()
    (mnt / "other" / "file").write_text("1")
    wait_for(lambda: snapshots(store, "other"), "a snapshot")
    assert snapshots(store) == names
    mnt.umount()
    store.check()


def test_autosnap_of_one_state(store):
    whole = store.mount()
    (whole / "other").mkdir()
    mnt = store.mount("one", options="state=other,autosnap=6s")
    (mnt / "file").write_text("1")
    (whole / "main" / "file").write_text("1")
    wait_for(lambda: snapshots(store, "other"), "a snapshot")
    assert snapshots(store) == []


def test_bad_options(store):
    path = store.path.parent / "mnt"
    path.mkdir()
    for bad in ["autosnap=5s", "autosnap=", "autosnap=6", "autosnap=often",
                "autosnap=6s,keep=last", "autosnap=6s,keep=first:3",
                "autosnap=6s,keep=last:0", "keep=last:3"]:
        result = store.coppice("mount", "-o", bad, store.path, path,
                               code=2)
        assert "keep" in result.stderr or "autosnap" in result.stderr
        # The message tells what would be taken.
        assert bad == "keep=last:3" or "such as" in result.stderr
