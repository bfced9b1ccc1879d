# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers of states and inodes when all of them have been given out."""

import errno
import os
import struct

from linux import handle_of, open_handle, opened, raises

STATES = 1 << 27
INODES = 1 << 36


def set_counters(store, inode=None, state=None):
    """Let a store that is not mounted go on from these numbers."""
    path = store.path / "data.mdb"
    data = bytearray(path.read_bytes())
    key, at, found = b"\x01counters", 0, 0
    while (at := data.find(key, at)) >= 0:
        at += len(key)
        # LMDB has the value right behind the key; older pages do no harm.
        if inode:
            struct.pack_into(">Q", data, at + 8, inode)
        if state:
            struct.pack_into(">Q", data, at + 16, state)
        found += 1
    assert found
    path.write_bytes(data)


def number(path):
    return int(os.getxattr(path, "user.coppice.number"))


def test_numbers_of_deleted_states(store):
    set_counters(store, state=STATES + 2)
    mount = store.mount()
    old = mount / "old"
    old.mkdir()
    assert number(old) == 2
    (old / "file").write_text("old")
    handle, root = handle_of(old / "file"), handle_of(old)
    with opened(mount.path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.close(open_handle(fd, handle))
    with opened(old / "file", os.O_RDONLY) as file:
        store.verb("rm", "old")
        with raises(errno.ESTALE):
            os.fstat(file)
    mount.umount()

    set_counters(store, state=STATES + 2)
    mount = store.mount()
    new = mount / "new"
    new.mkdir()
    assert number(new) == 2
    (new / "file").write_text("new")
    with opened(mount.path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        for stale in handle, root:
            with raises(errno.ESTALE):
                os.close(open_handle(fd, stale))
        file = open_handle(fd, handle_of(new / "file"))
        assert os.read(file, 10) == b"new"
        os.close(file)
    os.mkdir(new / ".snap" / "s")
    assert number(new / ".snap" / "s") == 3
    mount.umount()
    store.check()


def test_inode_numbers_used_up(store):
    set_counters(store, inode=INODES - 1)
    mount = store.mount()
    main = mount / "main"
    (main / "last").write_text("text")
    assert (main / "last").stat().st_ino & (INODES - 1) == INODES - 1
    for make in (lambda path: path.write_text("x"), os.mkdir, os.mkfifo,
                 lambda path: os.symlink("x", path)):
        with raises(errno.ENOSPC):
            make(main / "no")
    with raises(errno.ENOSPC):
        os.symlink("main", mount / "link")
    os.rename(main / "last", main / "renamed")
    (mount / "main@fork").mkdir()
    assert (mount / "main@fork" / "renamed").read_text() == "text"
    assert os.listdir(main) == ["renamed"]
    mount.umount()
    store.check()
