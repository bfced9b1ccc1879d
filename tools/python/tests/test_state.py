# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading states."""
import errno
from collections.abc import Mapping

import coppice
import pytest

VALUES = {"a": b"1", "dir/b": b"22", "dir/deep/er/c": b"333", "dir/d": b"",
          "e-large": bytes(range(256)) * 1000}


@pytest.fixture
def state(store, put):
    put("main", VALUES)
    with store.open("main") as state:
        yield state


def test_a_state_is_a_mapping(state):
    assert isinstance(state, Mapping)
    assert dict(state) == VALUES
    assert list(state) == sorted(VALUES)
    assert len(state) == 5
    assert "dir/b" in state
    assert b"dir/b" in state
    assert "dir" not in state
    assert "a/x" not in state
    assert 7 not in state
    assert state.get("nothing") is None
    assert state.get("nothing", b"x") == b"x"
    assert state.get("a/x") is None
    with pytest.raises(KeyError):
        state["nothing"]
    with pytest.raises(FileNotFoundError, match="cannot read 'nothing'"):
        state["nothing"]
    with pytest.raises(IsADirectoryError):
        state["dir"]
    with pytest.raises(ValueError):
        state["a\0b"]
    assert state != state.store.open("main")
    assert len({state, state}) == 1


def test_ranges(state):
    large = VALUES["e-large"]
    assert state.read("e-large", 100000, 1000) == large[100000:101000]
    assert state.read("e-large", 255990, 1000) == large[255990:]
    assert state.read("e-large", 100000) == large[100000:]
    assert state.read("e-large", 300000) == b""
    assert state.read("a", 0, 0) == b""
    buffer = bytearray(10)
    assert state.read_into("e-large", buffer, 300) == 10
    assert buffer == large[300:310]
    assert state.read_into("a", memoryview(buffer)[5:]) == 1
    assert buffer[5:6] == b"1"
    with pytest.raises(BufferError):
        state.read_into("a", b"constant")


@pytest.mark.parametrize("length", [4095, 4096, 4097, 8192, 70000])
def test_lengths_about_the_first_guess(store, main, put, length):
    value = bytes(i * 7 % 251 for i in range(length))
    put("main", {"a": value}, snapshot="s")
    assert main["a"] == value
    assert main.get_many(["a", "a"]) == [value, value]
    assert store.open("main~s").get_many(["a"], room=1) == [value]


def test_get_many(store, state):
    keys = [*VALUES, "nothing", "a/x"]
    wanted = [*VALUES.values(), None, None]
    assert state.get_many(keys) == wanted
    assert state.get_many(keys, default=b"-")[-1] == b"-"
    assert state.get_many([]) == []
    store.snapshot("main", "s")
    snapshot = store.open("main~s")
    assert snapshot.get_many(keys * 10 + ["a", "x"] * 1000) == \
        wanted * 10 + [b"1", None] * 1000
    with pytest.raises(IsADirectoryError, match="'dir' in 'main'"):
        state.get_many(["a", "dir"])


def test_stat(state):
    stat = state.stat("dir/b")
    assert stat.type is coppice.Type.FILE
    assert stat.mode == 0o100644
    assert stat.bytes == 2
    assert state.stat("dir").type is coppice.Type.DIRECTORY
    assert state.stat().bytes == 3
    assert state.stat("dir/deep").mode == 0o040755
    with pytest.raises(FileNotFoundError):
        state.stat("nothing")


def test_entries(state):
    assert [entry.name for entry in state.entries("dir")] == ["b", "d", "deep"]
    assert [entry.name for entry in state.entries("dir", "d")] == ["d", "deep"]
    unsorted = state.entries("dir", sort=False)
    assert {entry.name for entry in unsorted} == {"b", "d", "deep"}
    assert list(unsorted) == []
    entry = next(state.entries("dir", "deep"))
    assert entry.type is coppice.Type.DIRECTORY
    assert entry.number == state.stat("dir/deep").number
    with pytest.raises(NotADirectoryError):
        state.entries("a")


def test_scan(state):
    assert list(state.scan("dir/d")) == ["dir/d", "dir/deep/er/c"]
    assert list(state.scan("dir/")) == ["dir/b", "dir/d", "dir/deep/er/c"]
    assert list(state.scan("d")) == ["dir/b", "dir/d", "dir/deep/er/c"]
    assert list(state.scan("nothing/x")) == []
    assert list(state.scan("a/x")) == []


def test_paths_that_are_no_text(main, put):
    put("main", {b"\xff/\xfe": b"1", "grün": b"2"})
    assert list(main) == ["grün", "\udcff/\udcfe"]
    assert main["\udcff/\udcfe"] == b"1"
    assert main["grün".encode()] == b"2"


def test_diff(store, state, put):
    store.snapshot("main", "s")
    before = store.open("main~s")
    with state.batch() as batch:
        batch["a"] = b"changed"
        batch["new"] = b"n"
        del batch["dir/d"]
        batch.rename("dir/b", "dir/moved")
    found = {what.path: what for what in before.diff(state)}
    assert {path: what.change.name for path, what in found.items()
            if what.type is coppice.Type.FILE and what.path != "dir"} == {
        "a": "MODIFIED", "new": "ADDED", "dir/d": "REMOVED",
        "dir/moved": "RENAMED"}
    assert found["dir/moved"].source == "dir/b"
    assert (found["a"].old_bytes, found["a"].new_bytes) == (1, 7)
    seen = []
    assert before.diff(state, each=seen.append) == []
    assert {what.path for what in seen} == set(found)

    def fail(what):
        raise LookupError(what.path)

    with pytest.raises(LookupError):
        before.diff(state, each=fail)
    assert before.diff(before) == []


def test_a_deleted_state(store, put):
    store.fork(None, "short")
    put("short", {"a": b"1"}, snapshot="s")
    fork, snapshot = store.open("short"), store.open("short~s")
    store.remove("short", snapshots=True)
    with pytest.raises(OSError) as failure:
        fork["a"]
    assert failure.value.errno == errno.ESTALE
    assert "ESTALE" in repr(fork) or "deleted" in repr(fork)
    assert snapshot["a"] == b"1"
