# SPDX-License-Identifier: LGPL-2.1-or-later
"""`coppice find`: versions of files by name, against a look into every state."""
import fnmatch
import json
import os
import random
import re

import pytest

from linux import run
from test_diff import History


def rows_of(store, *args):
    lines = store.verb("find", "--json=lines", *args).splitlines()
    return [json.loads(line) for line in lines]


def runs(rows):
    return sorted((row["path"], row["first"], row["last"]) for row in rows)


class Past:
    """A store with a history of main, and a fork of it, mounted or not."""

    def __init__(self, store, mounted):
        self.store = store
        mnt = store.mount()
        main = mnt / "main"
        (main / "etc").mkdir()
        (main / "etc" / "fstab").write_text("1")
        (main / "etc" / "hosts").write_text("1")
        (main / ".snap" / "a").mkdir()
        (main / "etc" / "fstab").write_text("22")
        (main / ".snap" / "b").mkdir()
        (main / ".snap" / "c").mkdir()
        (main / "etc").rename(main / "conf")
        (main / ".snap" / "d").mkdir()
        (main / "conf" / "fstab").unlink()
        (main / ".snap" / "e").mkdir()
        (main / "fstab").write_text("new")
        (mnt / "main@try").mkdir()
        (mnt / "main@try" / "fstab").write_text("of the fork")
        (mnt / "main@try" / "fstab.old").write_text("")
        if not mounted:
            mnt.umount()


@pytest.fixture(params=["mounted", "unmounted"])
def past(request, store):
    return Past(store, request.param == "mounted")


def test_all_states(past):
    expected = [("/conf/fstab", "main~b", "main~d"),
                ("/etc/fstab", "main~a", "main~a"),
                ("/fstab", "main", "main"),
                ("/fstab", "main@try", "main@try")]
    assert runs(rows_of(past.store, "fstab")) == expected
    assert runs(rows_of(past.store, "--all-states", "fstab")) == expected
    assert runs(rows_of(past.store, "fst?b*"))[-1] == (
        "/fstab.old", "main@try", "main@try")
    assert runs(rows_of(past.store, "hosts")) == [
        ("/conf/hosts", "main~a", "main")]


def test_some_states(past):
    assert runs(rows_of(past.store, "fstab", "main~c", "main~a")) == [
        ("/etc/fstab", "main~a", "main~a"), ("/etc/fstab", "main~c", "main~c")]
    assert runs(rows_of(past.store, "fstab", "main@try")) == [
        ("/fstab", "main@try", "main@try")]
    assert rows_of(past.store, "fstab", "main~e") == []


def test_paths(past):
    assert runs(rows_of(past.store, "/etc/fstab")) == [
        ("/etc/fstab", "main~a", "main~a"),
        ("/etc/fstab", "main~b", "main~c")]
    assert runs(rows_of(past.store, "etc/h*")) == [
        ("/etc/hosts", "main~a", "main~c")]
    assert runs(rows_of(past.store, "/^.conf.[fh](o|x)sts$/")) == [
        ("/conf/hosts", "main~d", "main")]
    assert runs(rows_of(past.store, "conf")) == [("/conf", "main~d", "main")]


def test_text_and_json(past):
    lines = past.store.verb("find", "hosts").splitlines()
    assert re.fullmatch(r" +1  20\S+Z  /conf/hosts  main~a .. main", lines[0])
    row = json.loads(past.store.verb("find", "--json", "hosts"))[0]
    assert set(row) == {"path", "type", "inode", "size", "modified", "first",
                        "first_created", "last", "last_created"}
    assert row["last_created"] is None and row["first_created"]
    assert past.store.verb("find", "--json", "nothing") == "[]\n"


def test_refused(past):
    for args in (["fstab", "nobody"], ["/(/"], [""], ["x" * 2000],
                 ["fstab", "main~99"]):
        result = past.store.coppice("find", "-s", past.store.path, *args,
                                    code=1)
        assert result.stdout == ""
        assert re.fullmatch(r"coppice: .+\n", result.stderr), result.stderr
    for args in [], ["--all-states", "x", "main"]:
        past.store.coppice("find", "-s", past.store.path, *args, code=2)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_replaced_and_moved_in_one_step(store, main, what):
    """A version that ends is described as in its last state, though an equal
    file has replaced it in the state in which its directory has moved."""
    old = main / "top" / "old"
    old.mkdir(parents=True)
    (old / "file").write_text("x")
    (main / ".snap" / "one").mkdir()
    inode = matching(main, lambda path, name: name == "file")
    if what == "file":
        (old / "again").write_text("x")
        (old / "again").rename(old / "file")
    else:
        run("cp", "-a", old, main / "top" / "again")
        run("rm", "-r", old)
        (main / "top" / "again").rename(old)
    (main / "top").rename(main / "elsewhere")
    (main / ".snap" / "two").mkdir()
    row, = rows_of(store, "/top/old/file", "main~one", "main~two")
    assert {row["path"]: row["inode"]} == inode
    assert (row["first"], row["last"]) == ("main~one", "main~one")


def matching(root, match):
    """Path, inode, size, mode and so on of what matches in a state."""
    found = {}
    for top, dirs, names in os.walk(root):
        for name in [*dirs, *names]:
            path = os.path.join(top, name)
            inner = "/" + os.path.relpath(path, root)
            if match(inner, name):
                found[inner] = os.lstat(path).st_ino & ((1 << 36) - 1)
    return found


@pytest.mark.parametrize("pattern, match", [
    ("[ac]", lambda path, name: name in "ac"),
    ("/b", lambda path, name: path == "/b"),
    ("*/b/*", lambda path, name: fnmatch.fnmatchcase(path, "*/b/*")),
    ("/a.*[bh]$/", lambda path, name: re.search(r"a.*[bh]\Z", path, re.S))])
def test_random_histories(store, mnt, main, pattern, match):
    """Each state has exactly the versions of which the rows span it."""
    seed = int(os.environ.get("COPPICE_SEED") or random.randrange(1 << 32))
    print(f"COPPICE_SEED={seed}")
    history = History(random.Random(seed), main)
    states = {}
    for i in range(15):
        for _ in range(8):
            history.step()
        (main / ".snap" / f"{i:02}").mkdir()
        states[f"main~{i:02}"] = matching(main, match)
    states["main"] = states["main~14"]
    names = list(states)
    told = {name: [] for name in names}
    for row in rows_of(store, pattern, *names):
        span = names[names.index(row["first"]):names.index(row["last"]) + 1]
        for name in span:
            told[name].append(row)
    for name in names:
        # A file replaced by an equal one is the same version.
        assert len(states[name]) == len(told[name]), name
    for row in rows_of(store, pattern, *names):
        last = os.fsdecode(re.sub(
            "[\uef80-\uefff]", lambda m: chr(ord(m[0]) - 0xef00 + 0xdc00),
            row["path"]).encode(errors="surrogateescape"))
        assert states[row["last"]][last] == row["inode"]
