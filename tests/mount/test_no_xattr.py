# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts without extended attributes."""
import errno
import os
import stat
import struct

import pytest

from linux import as_user, raises

ANYONE = 0xffffffff
# For a user, and a mask wider than what the group has.
LIST = struct.pack("<I" + 5 * "HHI", 2, 1, 6, ANYONE, 2, 4, 1234,
                   4, 0, ANYONE, 0x10, 4, ANYONE, 0x20, 0, ANYONE)
CAPABILITY = struct.pack("<IIIII", 0x2000001, 1 << 10, 0, 0, 0)


@pytest.fixture
def bare(store, mnt, main):
    """The state main without xattrs; `main` has them."""
    path = store.mount("bare", "state=main,xattr=off").path
    os.chmod(path, 0o755)
    return path


def test_calls_fail(bare, main):
    (main / "file").write_text("x")
    os.setxattr(main / "file", "user.a", b"1")
    for _ in range(2):
        with raises(errno.EOPNOTSUPP):
            os.getxattr(bare / "file", "user.a")
        with raises(errno.EOPNOTSUPP):
            os.setxattr(bare / "file", "user.b", b"2")
        with raises(errno.EOPNOTSUPP):
            os.setxattr(bare / "file", "system.posix_acl_access", LIST)
        with raises(errno.EOPNOTSUPP):
            os.listxattr(bare / "file")
        with raises(errno.EOPNOTSUPP):
            os.removexattr(bare / "file", "user.a")
    assert os.listxattr(main / "file") == ["user.a"]


def test_other_mounts_keep_theirs(bare, main):
    (bare / "file").write_text("x")
    os.setxattr(main / "file", "user.a", b"1")
    (bare / "file").write_text("y")
    (bare / "file").rename(bare / "moved")
    os.chmod(bare / "moved", 0o600)
    assert os.getxattr(main / "moved", "user.a") == b"1"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("change", [
    lambda path: path.write_text("y"),
    lambda path: os.truncate(path, 1),
    lambda path: os.chown(path, 1234, 1234)])
def test_changes_remove_capabilities(bare, main, change):
    (main / "file").write_text("text")
    os.setxattr(main / "file", "security.capability", CAPABILITY)
    change(bare / "file")
    with raises(errno.ENODATA):
        os.getxattr(main / "file", "security.capability")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_modes_decide_and_lists_are_inherited(bare, main):
    (main / "file").write_text("x")
    os.setxattr(main / "file", "system.posix_acl_access", LIST)

    def read(path, uid, gid):
        return as_user(path.read_text, uid, gid)

    os.chmod(main.parent, 0o755)
    os.chmod(main, 0o755)
    assert read(main / "file", 1234, 1234) == 0
    assert read(main / "file", 4321, 0) == errno.EACCES
    assert read(bare / "file", 1234, 1234) == errno.EACCES
    assert read(bare / "file", 4321, 0) == 0
    (main / "dir").mkdir()
    os.setxattr(main / "dir", "system.posix_acl_default", LIST)
    (bare / "dir" / "file").write_text("x")
    assert stat.S_IMODE(os.stat(bare / "dir" / "file").st_mode) == 0o640
    assert os.getxattr(main / "dir" / "file",
                       "system.posix_acl_access") == LIST


@pytest.mark.parametrize("value", ["no", "", "off,xattr=x"])
def test_bad_values(store, tmp, value):
    (tmp / "dir").mkdir()
    result = store.coppice("mount", "-o", f"xattr={value}", store.path,
                           tmp / "dir", code=2)
    assert "bad value in mount option 'xattr=" in result.stderr
