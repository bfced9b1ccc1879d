# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice du: what states take, and what deleting them frees."""
import json
import os
import random
import re
import socket
import time

import pytest

MIB = 1 << 20


def stat(store):
    """The daemon's figures of the store's file."""
    fd = os.open(store.path, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/self/fd/{fd}/control")
        os.close(fd)
        client.sendall(b'{"verb":"stat"}\n')
        line = b""
        while not line.endswith(b"\n"):
            line += client.recv(65536)
    return json.loads(line)


def used(store):
    """Bytes of the file that are in use when all deletions are done."""
    deadline = time.monotonic() + 60
    while True:
        store.verb("sync")
        now = stat(store)
        if not now["backlog"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Pages that a commit frees can be used by later ones.
    for _ in range(3):
        store.verb("default")
        store.verb("sync")
    now = stat(store)
    return now["file_bytes"] - now["free_bytes"]


def write(path, rng, size):
    path.write_bytes(rng.randbytes(size))


@pytest.fixture
def lineage(store, mnt, main):
    """main, three snapshots of it, and two forks that share with them."""
    rng = random.Random(5)
    for day in ("a", "b", "c"):
        write(main / "changes", rng, 4 * MIB)
        write(main / f"of-{day}", rng, MIB)
        os.mkdir(main / ".snap" / day)
    os.mkdir(mnt / "main@one")
    os.mkdir(mnt / "main@two")
    write(mnt / "main@one" / "new", rng, 2 * MIB)
    for state in ("main", "main@two"):
        os.unlink(mnt / state / "of-a")
    store.verb("sync")
    return store


def rows(store, *states):
    answer = store.json("du", *states)
    return {row["name"]: row for row in answer["states"]}, answer["frees"]


def near(figure, expected, slack=MIB // 4):
    assert abs(figure - expected) <= slack, (figure, expected)


def test_figures(lineage):
    found, frees = rows(lineage)
    assert frees is None
    assert set(found) == set(lineage.names())
    near(found["main~a"]["unique"], 4 * MIB)
    near(found["main~b"]["unique"], 4 * MIB)
    near(found["main~c"]["unique"], 0)
    near(found["main@one"]["unique"], 2 * MIB)
    near(found["main~a"]["referenced"], 5 * MIB)
    near(found["main~c"]["referenced"], 7 * MIB)
    near(found["main"]["referenced"], 6 * MIB)
    near(found["main@one"]["referenced"], 9 * MIB)
    for row in found.values():
        assert row["shared"] == max(row["referenced"] - row["unique"], 0)
        near(row["bytes"], row["referenced"])
        near(row["ratio"], 1, 0.05)
    shown = lineage.json("show", "main~b")
    assert shown["exclusive"] == found["main~b"]["unique"]


@pytest.mark.parametrize("states, size", [
    (["main~a"], 4),
    (["main~a", "main~b"], 8),
    (["main~b", "main~c"], 4),
    (["main~c", "main@one", "main@two"], 2),
    # Both main and main@two have dropped of-a; what they were made from waits
    # until one of them is left.
    (["main~a", "main~b", "main~c", "main@one"], 10),
    (["main@one", "main~c", "main~b", "main~a", "main@two", "main~a"], 11),
])
def test_deleting_frees_what_it_said(lineage, states, size):
    before = used(lineage)
    frees = rows(lineage, *states)[1]
    near(frees, size * MIB)
    lineage.verb("rm", *dict.fromkeys(states))
    # Pages are freed whole, and a commit writes some anew.
    near(before - used(lineage), frees, MIB // 2)


def test_recursive(lineage):
    lineage.verb("default", "--none")
    before = used(lineage)
    found, frees = rows(lineage, "-r", "main")
    assert list(found) == ["main", "main~a", "main~b", "main~c"]
    assert frees == rows(lineage, *found)[1]
    lines = lineage.verb("du", "-r", "main", "main@one").splitlines()
    assert len(lines) == 7 and lines[-1].startswith("Deleting them")
    lineage.verb("rm", "-r", "main")
    near(before - used(lineage), frees, MIB // 2)


def test_compressed(store, mnt, main):
    (main / "text").write_bytes(b"all work and no play\n" * 100000)
    row = rows(store, "main")[0]["main"]
    assert row["bytes"] >= 2100000
    assert row["referenced"] < 100000
    assert row["ratio"] == pytest.approx(row["bytes"] / row["referenced"])


def test_copies_count_once(store, mnt, main):
    write(main / "file", random.Random(6), 2 * MIB)
    os.mkdir(mnt / "other")
    (mnt / "other" / "copy").write_bytes((main / "file").read_bytes())
    (main / "copy").write_bytes((main / "file").read_bytes())
    found = rows(store)[0]
    near(found["main"]["referenced"], 2 * MIB)
    near(found["main"]["bytes"], 4 * MIB)
    near(found["other"]["referenced"], 0)


def test_text(lineage):
    lines = lineage.verb("du").splitlines()
    assert lines[0].split() == ["UNIQUE", "SHARED", "STORED", "SIZE", "RATIO",
                                "NAME"]
    assert [line.split()[-1] for line in lines[1:]] == lineage.names()
    lines = lineage.verb("du", "main~a", "main~b").splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"Deleting them together frees 8\.\dM\.", lines[3])
    assert len(lineage.verb("du", "main").splitlines()) == 2


def test_unmounted_is_the_same(lineage, mnt):
    states = ["main~b", "main@two", "main~1"]
    mounted = lineage.verb("du", *states), lineage.json("du")
    mnt.umount()
    assert (lineage.verb("du", *states), lineage.json("du")) == mounted


def test_bad_input(lineage):
    for states in (["nobody"], ["main", "nobody"], ["main~x"], [""]):
        result = lineage.coppice("du", "-s", lineage.path, *states, code=1)
        assert result.stdout == ""
        assert re.fullmatch(r"coppice: .+\n", result.stderr)
    lineage.coppice("du", "--nonsense", code=2)


def test_thousands_of_names(store, mnt, main):
    """More than fit a line of the socket, with every verb that takes many."""
    names = [f"main~{i:02}{'x' * 240}" for i in range(4)]
    for name in names:
        os.mkdir(main / ".snap" / name.removeprefix("main~"))
    many = names * 300
    rows = store.json("du", *many)["states"]
    assert {row["name"] for row in rows} == set(names)
    store.verb("set", "user:key=value", *many)
    store.verb("unset", "user:key", *names)
    store.verb("hold", "tag", *names)
    assert len(store.json("holds", *names)) == len(names)
    store.verb("release", "tag", *names)
    for i in range(400):
        os.mkdir(main / ".snap" / f"{i:03}{'y' * 200}")
    store.verb("rm", *(f"main~{i:03}{'y' * 200}" for i in range(400)))
    assert len(os.listdir(main / ".snap")) == len(names)
    mnt.umount()
    assert len(store.json("du", *many)["states"]) == len(rows)
