# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file `log` of a store: what fsync has put there, before and after a
crash of the daemon."""
import os
import shutil

from linux import opened, run


def append(path, data):
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
        os.write(fd, data)
        os.fsync(fd)


def log_of(store):
    return store.path / "log"


def crash(store):
    """A store whose last changes are in its log."""
    mnt = store.mount()
    for i in range(20):
        append(mnt / "main" / "file", b"line %d\n" % i)
    assert log_of(store).exists()
    mnt.kill()
    return b"".join(b"line %d\n" % i for i in range(20))


def test_it_is_there_while_it_is_used(store):
    mnt = store.mount()
    assert not log_of(store).exists()
    append(mnt / "main" / "file", b"data")
    assert log_of(store).stat().st_size == 8 << 20
    mnt.umount()
    assert not log_of(store).exists()


def test_mounted_again(store):
    data = crash(store)
    mnt = store.mount()
    assert not log_of(store).exists()
    assert (mnt / "main" / "file").read_bytes() == data


def test_verb_without_a_mount(store, tmp):
    data = crash(store)
    assert [row["name"] for row in store.json("list")] == ["main"]
    assert not log_of(store).exists()
    assert store.coppice("cat", "-s", store.path,
                         "main:/file").stdout == data.decode()


def test_check(store):
    data = crash(store)
    store.check()
    assert not log_of(store).exists()
    assert (store.mount() / "main" / "file").read_bytes() == data


def test_without_the_log(store):
    """A missing log is reported, and the committed changes are there."""
    mnt = store.mount()
    (mnt / "main" / "old").write_text("old")
    store.verb("sync")
    mnt.umount()
    crash(store)
    log_of(store).unlink()
    result = store.coppice("list", "-s", store.path)
    assert "has lost its file 'log'" in result.stderr
    assert (store.mount() / "main" / "old").read_text() == "old"


def test_copied_with_the_log(store, make_store):
    """A copy of all files after a crash is as good as the store."""
    data = crash(store)
    copy = make_store("copy")
    for name in ("data.mdb", "log"):
        shutil.copy(store.path / name, copy.path / name)
    mnt = copy.mount()
    mnt.allow("was copied")
    assert (mnt / "main" / "file").read_bytes() == data


def test_off(store):
    mnt = store.mount(options="log=off")
    append(mnt / "main" / "file", b"data")
    assert not log_of(store).exists()
    mnt.kill()
    assert (store.mount() / "main" / "file").read_bytes() == b"data"


def test_copy_of_a_mounted_store(store, tmp):
    mnt = store.mount()
    append(mnt / "main" / "file", b"data")
    store.coppice("copy", store.path, tmp / "copy")
    assert not (tmp / "copy" / "log").exists()
    assert run("stat", "-c", "%s", log_of(store)) == f"{8 << 20}\n"
    append(mnt / "main" / "file", b"more")
    mnt.kill()
    assert (store.mount() / "main" / "file").read_bytes() == b"datamore"
