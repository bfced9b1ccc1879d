# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operations on states that happen all or not at all."""
import json
import os
import random
import re
import subprocess
import threading
from pathlib import Path

import pytest

from conftest import COPPICE
from test_init import preload

MANUAL = Path(__file__).resolve().parents[2] / "man" / "coppice-batch.1.scd"


def batch(store, *lines, code=0, options=()):
    """The rows of a batch; or, if it is to fail, its one sentence."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n"
                   for line in lines)
    result = subprocess.run(
        [COPPICE, "batch", "--json", *options, "-s", store.path, "-"],
        input=text, capture_output=True, text=True, check=False)
    assert result.returncode == code, result
    if code == 0:
        assert result.stderr == ""
        return json.loads(result.stdout)
    assert result.stdout == ""
    sentence, = result.stderr.splitlines()
    return sentence.removeprefix("coppice: ")


def op(what, **arguments):
    return {"op": what, **arguments}


def everything(store):
    """Return all that is visible of all states, but for their sizes."""
    rows = store.json("list", "-o", "name,number,version,created,origin")
    return rows, store.json("get"), store.json("holds"), \
        store.verb("default").strip()


@pytest.fixture(params=["unmounted", "mounted"])
def place(request, store):
    """A store with something in it, with and without a daemon."""
    store.verb("snap", "main", "one")
    store.verb("fork", "main", "other")
    store.verb("set", "com.example:id=1", "other")
    store.verb("hold", "tag", "main~one")
    if request.param == "mounted":
        store.mount()
    return store


def test_each_sees_what_was_done_before(place):
    rows = batch(
        place,
        op("fork", source="main", name="new", set={"description": "made"}),
        "", "  ",
        op("snap", fork="new", name="first"),
        op("set", name="new~first", key="com.example:id", value="2"),
        op("hold", name="new~first", tag="keep"),
        op("swap", name="new", **{"with": "other"}),
        op("rename", name="new", to="former"),
        op("unset", name="former", key="com.example:id"),
        op("release", name="main~one", tag="tag"),
        op("rm", name="main~one"),
        op("default", name="other"),
        op("check", name="other~first", if_exists=["former", "main"],
           if_not_exists="new"))
    assert [row["line"] for row in rows] == [1, *range(4, 14)]
    assert [row["name"] for row in rows] == [
        "new", "new~first", "new~first", "new~first", "other", "former",
        "former", "main~one", "main~one", "other", "other~first"]
    shown = {row["name"]: row for row in place.json(
        "list", "-o", "name,number,version")}
    assert sorted(shown) == ["former", "main", "other", "other~first"]
    for row in rows[-1], rows[-2]:
        assert {k: row[k] for k in ("name", "number", "version")} == \
            shown[row["name"]]
    assert rows[8]["version"] is None
    values = {(row["name"], row["property"]): row["value"]
              for row in place.json("get")}
    assert values["other", "description"] == "made"
    assert values["other~first", "com.example:id"] == "2"
    assert ("former", "com.example:id") not in values
    assert [row["name"] for row in place.json("holds")] == ["other~first"]
    assert place.verb("default").strip() == "other"


DONE = (
    op("fork", source="main", name="new", set={"quota": "1G"}),
    op("snap", fork="main", name="two"), op("snap", fork="main"),
    op("rename", name="other", to="another"),
    op("release", name="main~one", tag="tag"), op("rm", name="main~one"),
    op("hold", name="main~two", tag="x"),
    op("set", name="main", key="quota", value="1M"),
    op("unset", name="another", key="com.example:id"),
    op("swap", name="main", **{"with": "another"}),
    op("default", name="main"), op("rm", name="another", recursive=False,
                                   if_exists="another"))


def test_a_failure_undoes_all(place):
    before = everything(place)
    last = {"with": "nothing", **op("swap", name="new")}
    assert batch(place, *DONE[:-1], last, code=1) == \
        "line 12: cannot swap 'nothing': there is no such state"
    assert everything(place) == before
    # the fork of the last line has snapshots
    assert batch(place, *DONE, code=1) == \
        "line 12: cannot delete 'another': it has snapshots"
    assert everything(place) == before
    batch(place, *DONE[:-1])
    assert everything(place) != before


def test_dry_run(place):
    before = everything(place)
    rows = batch(place, *DONE[:-1], options=["-n"])
    assert len(rows) == len(DONE) - 1
    assert {row["number"] for row in rows} == {None}
    assert "line 12: " in batch(place, *DONE, code=1, options=["-n"])
    assert everything(place) == before


def test_conditions(place):
    def show(name):
        return json.loads(place.verb("show", "--json", name))

    def fails(**conditions):
        return batch(place, op("fork", name="q"), op(
            "snap", fork="main", name="x", **conditions),
            code=1).removeprefix("line 2: ")

    was = show("main")
    assert fails(if_exists=["other", "nobody"]) == \
        "cannot find 'nobody': there is no such state"
    assert fails(if_not_exists="q") == "'q' exists"
    assert fails(if_not_exists=["r", "main~one"]) == "'main~one' exists"
    assert fails(if_number=77) == f"'main' has the number {was['number']}, not 77"
    assert fails(if_version=77) == \
        f"'main' is at version {was['version']}, not 77"
    assert fails(if_unchanged=False) == \
        "'main' has not changed since it was made, snapshotted or forked"
    mounts = place.mounts or [place.mount()]
    (mounts[0] / "main" / "file").write_text("x")
    assert fails(if_unchanged=True) == \
        "'main' has changed since it was made, snapshotted or forked"
    batch(place, op("snap", fork="main", name="x", if_unchanged=False,
                    if_version=was["version"], if_number=was["number"],
                    if_exists=[], if_not_exists=["main~x"]))
    # done once: doing it again changes nothing
    assert "is at version" in fails(if_version=was["version"])


@pytest.mark.parametrize("line, sentence", [
    ("nonsense", "not a JSON object: "), ("[1]", "not a JSON object"),
    ('{"op": "rm", "name": "a"', "not a JSON object: "),
    ("{}", 'there is no "op"'), ('{"op": 1}', 'there is no "op"'),
    ('{"op": "fly"}', "there is no operation 'fly'"),
    ('{"op": "rm", "name": "a", "to": "b"}', "'rm' has no key \"to\""),
    ('{"op": "rm", "name": "a", "name": "b"}', "duplicate object key"),
    ('{"op": "rm", "name": 1}', '"name" is not a text'),
    ('{"op": "rm", "name": "a", "recursive": "yes"}',
     '"recursive" is not true or false'),
    ('{"op": "rm"}', "'rm' needs a \"name\""),
    ('{"op": "snap"}', "'snap' needs a \"fork\""),
    ('{"op": "rm", "name": "main", "if_version": "1"}',
     '"if_version" is not a number'),
    ('{"op": "rm", "name": "main", "if_version": -1}',
     '"if_version" is not a number'),
    ('{"op": "rm", "name": "main", "if_exists": [1]}',
     '"if_exists" is not a name or an array of names'),
    ('{"op": "fork", "name": "main@x", "if_number": 1}',
     '"if_number" needs a "source"'),
    ('{"op": "fork", "name": "x", "set": {"a:b": 1}}',
     '"set" is not an object of texts'),
    ('{"op": "fork", "name": "x", "set": {"quota": "much"}}', "quota"),
    ('{"op": "set", "name": "main", "key": "a:b"}', "value"),
    ('{"op": "snap", "fork": "main", "name": ""}', "not a possible name"),
    ('{"op": "rename", "name": "main~1", "to": "x"}', "by position"),
    ('{"op": "rm", "name": "%s"}' % ("x" * 5000), "name")])
def test_bad_lines(store, line, sentence):
    store.verb("snap", "main", "one")
    before = everything(store)
    said = batch(store, op("fork", source="main", name="new"), "", line, code=1)
    assert said.startswith("line 3: ") and sentence in said
    assert everything(store) == before


def test_limits(store, tmp):
    line = json.dumps(op("check", name="main"))
    assert batch(store, *[line] * 100001, code=1) == \
        "a batch has at most 100000 operations"
    assert "too large" in batch(store, " " * (32 << 20), code=1)
    assert batch(store) == []
    for name in tmp / "nowhere", tmp:
        result = store.coppice("batch", "-s", store.path, name, code=1)
        assert len(result.stderr.splitlines()) == 1
    store.coppice("batch", "-s", store.path, code=2)


def test_long_batches(place):
    """Longer than a line of the daemon's socket, and with more operations than
    a memtable has at first."""
    count = 5000
    large = op("set", name="main", key="a:b", value="x" * 4000)
    before = everything(place)
    forks = [op("fork", source="main", name=f"f{i}") for i in range(count)]
    ends = [op("rm", name=f"f{i}") for i in range(count)]
    wrong = op("rm", name="nobody")
    assert batch(place, *forks, *ends, wrong, code=1).startswith(
        f"line {2 * count + 1}: ")
    assert everything(place) == before
    rows = batch(place, *forks, *ends)
    assert len(rows) == 2 * count
    assert len(batch(place, *[large] * 100)) == 100
    place.check()


def test_mounts_see_all_of_it_or_none(store):
    """Readers meanwhile find the pair in one place or in the other."""
    mnt = store.mount()
    other = store.mount("other")
    (mnt / "main" / "file").write_text("x")
    batch(store, op("fork", source="main", name="a"),
          op("fork", source="main", name="b"))
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(tuple(sorted(os.listdir(other.path))))

    reader = threading.Thread(target=read)
    reader.start()
    for old, new in [("ab", "cd"), ("cd", "ab")] * 10:
        batch(store, *[op("rename", name=x, to=y) for x, y in zip(old, new)])
        assert sorted(os.listdir(mnt.path)) == [*new, "main"]
        for x, y in zip(old, new):
            assert not (other / x).exists()
            assert (other / y / "file").read_text() == "x"
    stop.set()
    reader.join()
    assert seen <= {("a", "b", "main"), ("c", "d", "main")}


def test_whole_forks_are_restored(store):
    mnt, alone = store.mount(), store.mount("alone", "state=main")
    (mnt / "main" / "file").write_text("good")
    store.verb("snap", "main", "good")
    (mnt / "main" / "file").write_text("bad")
    (mnt / "main" / "more").write_text("bad")
    assert (alone / "more").read_text() == "bad"
    restore = op("restore", name="main", **{"from": "main~good"})
    before = everything(store)
    assert "line 3" in batch(store, op("snap", fork="main", name="bad"),
                             restore, op("rm", name="nobody"), code=1)
    batch(store, op("snap", fork="main", name="bad"), restore, options=["-n"])
    assert everything(store) == before
    assert (alone / "file").read_text() == "bad"
    assert "it is a snapshot" in batch(
        store, {**restore, "name": "main~good"}, code=1)
    batch(store, op("snap", fork="main", name="bad"), restore,
          op("fork", source="main", name="copy"))
    for path in mnt / "main", alone.path, mnt / "copy":
        assert (path / "file").read_text() == "good"
        assert not (path / "more").exists()
    batch(store, {**restore, "from": "main~bad"}, restore,
          {**restore, "from": "main~bad"})
    assert (alone / "more").read_text() == "bad"
    assert (mnt / "copy" / "file").read_text() == "good"


# ---- Crashes ------------------------------------------------------------------

CALLS_MOST = 300


def killed(store, text):
    """Run a batch on the store as it is, killed in front of the first call that
    changes a file, the second one, and so on; yield after each."""
    done = store.dir / "done"
    data = (store.path / "data.mdb").read_bytes()
    for call in range(1, CALLS_MOST):
        (store.path / "data.mdb").write_bytes(data)
        done.unlink(missing_ok=True)
        result = subprocess.run(
            [COPPICE, "batch", "-s", store.path, "-"], input=text, text=True,
            capture_output=True, check=False, env={**os.environ, **preload(
                COPPICE_CALL=f"{call} 0 {done}")})
        if not done.exists():
            assert result.returncode == 0, result
            return
        store.check()
        yield
    raise AssertionError("it never came to an end")


def test_killed_at_any_moment(store):
    """Killed before each call that changes a file: all is done, or nothing."""
    came = set()
    text = "".join(json.dumps(o) + "\n" for o in DONE[:-1])
    store.verb("snap", "main", "one")
    store.verb("fork", "main", "other")
    store.verb("set", "com.example:id=1", "other")
    store.verb("hold", "tag", "main~one")
    before = store.names()
    for _ in killed(store, text):
        names = store.names()
        came.add(names == before)
        if names != before:
            assert [n for n in names if "Z" not in n] == [
                "another", "another~two", "main", "new"]
            assert len(names) == 5
            assert len(store.json("holds")) == 1
    assert came == {True, False}


def test_daemon_killed_while_batches_run(store):
    """Pairs are made and removed; after kill -9 there is no half of one."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    mnt = store.mount()
    stop = threading.Event()

    def work():
        i = 0
        while not stop.is_set():
            i += 1
            pair = [op("fork", source="main", name=f"{x}{i}") for x in "ab"]
            if i > 1:
                pair += [op("rm", name=f"{x}{i - 1}") for x in "ab"]
            subprocess.run(
                [COPPICE, "batch", "-s", store.path, "-"], text=True,
                input="".join(json.dumps(o) + "\n" for o in pair),
                capture_output=True, check=False)

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(rng.randrange(2000)):
        os.listdir(mnt.path)
    mnt.kill()
    stop.set()
    worker.join()
    names = [name for name in store.names() if name != "main"]
    assert sorted(n[1:] for n in names if n[0] == "a") == \
        sorted(n[1:] for n in names if n[0] == "b")
    assert len(names) <= 2


# ---- The manual ---------------------------------------------------------------

def examples():
    blocks = re.findall(r"^```\n(.*?)^```", MANUAL.read_text(), re.M | re.S)
    return [block.splitlines() for block in blocks]


def test_examples_of_the_manual(store):
    short, switch, back, jobs, agents = examples()
    store.verb("fork", "main", "system")
    store.verb("fork", "main", "system@7.2")
    numbers = {row["name"]: row["number"] for row in store.json("list")}
    batch(store, *short)
    assert store.json("show", "system")["number"] == numbers["system@7.2"]
    assert store.names() == [
        "main", "system", "system@7.2", "system@7.2~before-7.2"]
    store.verb("rm", "-r", "system@7.2")
    store.verb("rm", "system")
    store.verb("fork", "main", "system")
    store.verb("fork", "system", "system@7.2")
    before = everything(store)
    rows = batch(store, *switch)
    assert rows[0]["name"] == "system"
    assert store.names() == [
        "main", "system", "system@7.1", "system@7.1~before-7.2"]
    assert store.verb("default").strip() == "system"
    described = {row["name"]: row["value"] for row in store.json("get")
                 if row["property"] == "description"}
    assert described == {"system": "7.2", "system@7.1": "7.1, replaced by 7.2"}
    assert [row["name"] for row in store.json("holds")] == \
        ["system@7.1~before-7.2"]
    # once is enough
    after = everything(store)
    batch(store, *switch, code=1)
    assert everything(store) == after != before
    number = rows[-1]["number"]
    batch(store, *[line.replace("5}", f"{number}}}") for line in back])
    assert store.names() == [
        "main", "system", "system~before-7.2", "system@7.2"]
    batch(store, *[line.replace("5}", f"{number}}}") for line in back], code=1)
    store.verb("fork", "main", "job-1")
    store.verb("fork", "main", "job-2")
    batch(store, *jobs)
    assert {"job-1", "job-2"} <= set(store.names())
    mnt = store.mount()
    (mnt / "main" / "README").write_text("read me")
    for number in 1, 2, 3:
        fork = mnt / f"main@agent-{number}"
        fork.mkdir()
        (fork / f"work-{number}").write_text("done")
        (fork / "x.lock").write_text(str(number))
    (mnt / "main@agent-2" / "cache").mkdir()
    (fork / "README").write_text("changed")
    (fork / "README2").write_text("x")
    (mnt / "main@agent-1" / "README2").write_text("y")
    assert batch(store, *agents, code=1) == \
        "line 3: cannot join 'main@agent-3' into 'next': 1 conflict, the " \
        "first in '/README2'"
    (fork / "README2").unlink()
    batch(store, *agents)
    assert sorted(os.listdir(mnt / "main")) == [
        "README", "README2", "cache", "work-1", "work-3", "x.lock"]
    assert (mnt / "main" / "README").read_text() == "read me"
    assert (mnt / "main" / "x.lock").read_text() == "3"
    assert "main~round-1" in store.names()
