# SPDX-License-Identifier: LGPL-2.1-or-later
"""Batches."""
import errno
import os

import pytest


def test_changes(main):
    with main.batch() as batch:
        batch["a/b"] = b"1"
        batch["c"] = bytearray(b"2")
        batch["d"] = memoryview(b"-33-")[1:3]
        batch.mkdir("new/dir")
        batch.rename("c", "moved/c")
        assert list(main) == []
    assert dict(main) == {"a/b": b"1", "d": b"33", "moved/c": b"2"}
    assert main.stat("new/dir").bytes == 0
    with main.batch() as batch:
        batch.delete("missing", missing_ok=True)
        batch.mkdir("a", exist_ok=True)
        batch.delete("a", recursive=True)
        del batch["d"]
    assert dict(main) == {"moved/c": b"2"}


def test_update(main):
    values = {f"k{i // 100}/{i}": os.urandom(i) for i in range(1000)}
    with main.batch() as batch:
        batch.update(values)
        batch.update([("pair", bytearray(b"2")), (b"bytes", memoryview(b"3"))])
        batch.update({})
    found = dict(main)
    assert found.pop("pair") == b"2"
    assert found.pop("bytes") == b"3"
    assert found == values
    with pytest.raises(ValueError), main.batch() as batch:
        batch.update({"ok": b"", "a\0b": b""})
    with pytest.raises(TypeError), main.batch() as batch:
        batch.update({"text": "text"})
    with pytest.raises(OSError, match="'a//b'") as failure, \
            main.batch() as batch:
        batch.update({"a//b": b""})
    assert failure.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError), main.batch() as batch:
        batch.update({"no/parent": b""}, parents=False)
    assert len(main) == 1002


def test_an_exception_discards(main):
    with pytest.raises(LookupError):
        with main.batch() as batch:
            batch["a"] = b"1"
            raise LookupError
    assert list(main) == []


def test_an_error_changes_nothing(store, main):
    with pytest.raises(FileNotFoundError, match="'missing' in 'main'"):
        with main.batch(snapshot="never") as batch:
            batch["a"] = b"1"
            del batch["missing"]
    assert list(main) == []
    assert store.list("main") == []
    # A batch that failed can be completed.
    batch = store.batch()
    batch[main]["a"] = b"1"
    batch[main].rename("b", "c")
    with pytest.raises(FileNotFoundError):
        batch.commit()
    batch.discard()
    with pytest.raises(ValueError, match="batch is closed"):
        batch.commit()


def test_several_forks(store, main):
    store.fork("main", "try")
    fork = store.open("try")
    with store.batch(snapshot="slot-1", durable=True) as batch:
        ours, theirs = batch[main], batch[fork]
        for i in range(10):
            ours[f"k{i}"] = b"main"
            theirs[f"k{i}"] = b"try"
    assert store.open("main~slot-1")["k9"] == b"main"
    assert store.open("try~slot-1")["k9"] == b"try"
    with pytest.raises(FileExistsError):
        with fork.batch(snapshot="slot-1") as changes:
            changes["k0"] = b"x"
            changes.batch[main]["k0"] = b"x"
    assert main["k0"] == b"main"


def test_attributes(store, main):
    with store.batch() as batch:
        batch.attributes(file_mode=0o600, directory_mode=0o700)
        batch[main]["dir/a"] = b""
    assert main.stat("dir/a").mode == 0o100600
    assert main.stat("dir").mode == 0o040700
    assert main.stat("dir/a").uid == os.geteuid()
    with pytest.raises(OSError), store.batch() as batch:
        batch.attributes(file_mode=0o10000)


def test_snapshots_are_not_changed(store, main):
    store.snapshot("main", "s")
    with pytest.raises(OSError) as failure, \
            store.open("main~s").batch() as batch:
        batch["a"] = b""
    assert failure.value.errno == errno.EROFS


def test_values_that_are_none(main):
    with main.batch() as batch:
        with pytest.raises(TypeError):
            batch["a"] = "text"
        with pytest.raises(TypeError):
            batch["a"] = None
    assert list(main) == []


def test_a_failed_put_gives_the_buffer_back(main):
    value = bytearray(b"1")
    with pytest.raises(OSError) as failure:
        main.batch().put("a//b", value)
    value += b"2"  # while its traceback is kept
    assert failure.value.errno == errno.EINVAL
