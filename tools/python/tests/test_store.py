# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores and their states."""
import datetime
import errno
import select
import time

import coppice
import pytest


def names(store, fork=None):
    return [info.name for info in store.list(fork)]


def test_open(path):
    with pytest.raises(FileNotFoundError, match="store"):
        coppice.Store(path)
    with coppice.Store(path, create=True) as store:
        assert names(store) == ["main"]
        assert store.path == str(path)
        assert store.stats().states == 1
        with pytest.raises(OSError) as failure:
            coppice.Store(path)
        assert failure.value.errno == errno.EBUSY
    # Existing stores are opened; memory and age are accepted.
    with coppice.Store(bytes(path), create=True, memory=1 << 26,
                       commit_ms=100) as store:
        assert names(store) == ["main"]


def test_read_only(path, store, put):
    put("main", {"a": b"1"})
    store.close()
    with coppice.Store(path, read_only=True) as store:
        with store.open("main") as main:
            assert main["a"] == b"1"
        with pytest.raises(OSError) as failure:
            store.fork("main", "x")
        assert failure.value.errno == errno.EROFS


def test_forks_and_snapshots(store, put):
    put("main", {"a": b"1"})
    store.snapshot("main", "one")
    put("main", {"a": b"2"})
    assert store.fork("main~one", "try") == "try"
    assert store.fork("main", "try", unique=True) == "try-2"
    assert store.fork(None, "empty") == "empty"
    with pytest.raises(FileExistsError, match="'try'"):
        store.fork("main", "try")
    with pytest.raises(FileNotFoundError, match="'nothing'"):
        store.fork("nothing", "x")
    assert names(store) == ["empty", "main", "try", "try-2"]
    assert names(store, "main") == ["main~one"]
    assert store.open("try")["a"] == b"1"
    assert store.open("try-2")["a"] == b"2"
    assert not store.open("empty")
    store.rename("try", "tried")
    store.swap("tried", "main")
    assert store.open("main")["a"] == b"1"
    store.swap("tried", "main")
    store.reset("main", "tried", undo="before")
    assert store.open("main")["a"] == b"1"
    assert store.open("main~before")["a"] == b"2"
    with pytest.raises(OSError) as failure:
        store.remove("main")
    assert failure.value.errno in (errno.ENOTEMPTY, errno.EBUSY)
    store.snapshot("tried", "s")
    store.remove("tried", snapshots=True)
    assert names(store) == ["empty", "main", "try-2"]
    store.reclaim()
    assert store.stats().reclaiming == 0


def test_info(store, put):
    put("main", {"a/b": b"123"}, snapshot="one")
    info = store.open("main~one").info()
    assert info.name == "main~one"
    assert info.read_only is True
    assert info.files == 3
    assert info.bytes >= 3
    assert abs(info.created - time.time_ns()) < 3600 * 10**9
    main = store.open("main").info()
    assert main.read_only is False
    assert main.snapshots == 1
    assert info.fork == main.number


def test_list_with_a_callback(store):
    for i in range(50):
        store.fork(None, f"f{i:02}")
    seen = []
    assert store.list(each=seen.append) == []
    assert seen == store.list()

    def fail(info):
        if info.name == "f40":
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        store.list(each=fail)
    # A callback may call the library, and fail in it.
    with pytest.raises(FileNotFoundError):
        store.list(each=lambda info: store.open("missing"))


def test_expire(store):
    for i in range(6):
        store.snapshot("main", f"s{i}")
    store.hold("main~s0", "mine")
    assert store.expire("main", before=0) == 0
    assert store.expire("main", keep=3) == 2
    assert names(store, "main") == ["main~s0", "main~s3", "main~s4", "main~s5"]
    later = datetime.datetime.now() + datetime.timedelta(hours=1)
    assert store.expire("main", before=later, keep=1) == 2
    store.release("main~s0", "mine")
    assert store.expire("main") == 2
    with pytest.raises(FileNotFoundError):
        store.expire("nothing")


def test_times_before_a_snapshot(store):
    store.snapshot("main", "s")
    created = store.open("main~s").info().created
    assert store.expire("main", before=created) == 0
    moment = datetime.datetime.fromtimestamp(
        created // 10**9, datetime.timezone.utc)
    assert store.expire("main", before=moment) == 0
    assert store.expire("main", before=created + 1) == 1


def test_events(store, put):
    poll = select.poll()
    poll.register(store.event_fd(), select.POLLIN)
    assert store.event_fd() == store.event_fd()
    assert not store.event_clear()
    put("main", {"key": b"value"})
    assert poll.poll(0)
    assert store.event_clear()
    assert not poll.poll(0)
    assert not store.event_clear()


def test_holds(store):
    store.snapshot("main", "s")
    store.hold("main~s", "tag")
    with pytest.raises(OSError) as failure:
        store.remove("main~s")
    assert failure.value.errno == errno.EBUSY
    store.release("main~s", "tag")
    store.remove("main~s")


def test_properties(store):
    with pytest.raises(OSError) as failure:
        store.get_property("main", "test:colour")
    assert failure.value.errno == errno.ENODATA
    store.set_property("main", "test:colour", "grün")
    assert store.get_property("main", "test:colour") == "grün"
    store.set_property("main", "test:colour", "x" * 700)
    assert store.get_property("main", "test:colour") == "x" * 700
    store.set_property("main", "test:colour", None)
    with pytest.raises(OSError):
        store.get_property("main", "test:colour")


def test_join(store, put):
    put("main", {"a": b"1", "b": b"1"})
    store.fork("main", "try")
    put("try", {"a": b"2"})
    put("main", {"b": b"2"})
    store.join("try", "main", dry_run=True)
    assert store.open("main")["a"] == b"1"
    store.join("try", "main")
    assert dict(store.open("main")) == {"a": b"2", "b": b"2"}
    put("try", {"a": b"ours", "b": b"ours"})
    put("main", {"a": b"theirs", "b": b"theirs"})
    for dry_run in False, True:
        with pytest.raises(coppice.Conflicts) as failure:
            store.join("try", "main", dry_run=dry_run)
        assert failure.value.count == 2
    assert store.open("main")["a"] == b"theirs"
    store.join("try", "main", prefer="theirs")
    assert store.open("main")["a"] == b"ours"
    with pytest.raises(ValueError):
        store.join("try", "main", prefer="mine")


@pytest.mark.parametrize("name", ["a\0b", b"a\0b"])
def test_a_nul_in_a_name(store, name):
    with pytest.raises(ValueError):
        store.fork("main", name)
    with pytest.raises(ValueError):
        store.open(name)
