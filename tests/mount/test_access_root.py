# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts that only root may use, where nothing checks permissions."""
import errno
import os
import stat
import struct
import subprocess

import pytest

from conftest import COPPICE
from linux import as_user, raises, super_options_of


@pytest.fixture(params=["access=root", "access=root,state=main"])
def tree(request, store):
    """The state main in a mount of root's."""
    mount = store.mount("tree", request.param)
    os.chmod(mount.path, 0o755)
    assert not {"default_permissions", "allow_other"} & set(
        super_options_of(mount.path))
    return mount.path if "state" in request.param else mount / "main"


def acl(*entries):
    """The xattr of an ACL; entries: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in entries)


ANYONE = 0xffffffff
LIST = acl((1, 6, ANYONE), (2, 4, 65534), (4, 0, ANYONE), (0x10, 4, ANYONE),
           (0x20, 0, ANYONE))


def test_only_root_enters(tree):
    (tree / "file").write_text("x")
    os.chmod(tree / "file", 0o666)
    os.chmod(tree, 0o777)
    assert as_user(lambda: os.stat(tree / "file")) == errno.EACCES
    assert as_user(lambda: (tree / "file").read_text()) == errno.EACCES
    assert as_user(lambda: (tree / "new").write_text("x")) == errno.EACCES


def test_root_may_do_all_but_execute(tree):
    (tree / "dir").mkdir()
    (tree / "dir" / "file").write_text("#!/bin/sh\n")
    for name in "dir/file", "dir":
        os.chown(tree / name, 65534, 65534)
        os.chmod(tree / name, 0)
    file = tree / "dir" / "file"
    assert os.access(tree / "dir", os.R_OK | os.W_OK | os.X_OK)
    assert os.access(file, os.R_OK | os.W_OK)
    assert not os.access(file, os.X_OK)
    with raises(errno.EACCES):
        subprocess.run([file], check=False)
    os.chmod(file, 0o010)
    assert os.access(file, os.X_OK)
    assert subprocess.run([file], check=False).returncode == 0
    file.write_text("written")
    assert file.read_text() == "written"
    assert not os.access(tree / "dir" / "none", os.F_OK)
    os.chdir(tree / "dir")
    os.chdir("/")


def test_attributes_of_a_changed_directory(tree):
    before = os.stat(tree)
    (tree / "dir").mkdir()
    (tree / "dir" / "file").write_text("x")
    after = os.stat(tree)
    assert after.st_nlink == before.st_nlink + 1
    assert after.st_mtime_ns > before.st_mtime_ns
    before = os.stat(tree / "dir")
    (tree / "dir" / "file").rename(tree / "file")
    assert os.stat(tree / "dir").st_mtime_ns > before.st_mtime_ns
    assert os.listdir(tree / "dir") == []


def test_modes_of_new_files(tree):
    """The umask, and default ACLs, which replace it."""
    old = os.umask(0o027)
    try:
        (tree / "file").write_text("x")
        (tree / "dir").mkdir()
        os.setxattr(tree / "dir", "system.posix_acl_default", LIST)
        os.umask(0o777)
        (tree / "dir" / "file").write_text("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(tree / "file").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(tree / "dir").st_mode) == 0o750
    inherited = tree / "dir" / "file"
    assert stat.S_IMODE(os.stat(inherited).st_mode) == 0o640
    assert os.getxattr(inherited, "system.posix_acl_access") == LIST


def test_acl_changes_the_mode_and_the_mode_the_acl(tree):
    file = tree / "file"
    file.write_text("x")
    os.chmod(file, 0o777)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o777
    os.setxattr(file, "system.posix_acl_access", LIST)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o640
    os.chmod(file, 0o670)
    mask = os.getxattr(file, "system.posix_acl_access")[-16:-8]
    assert mask == struct.pack("<HHI", 0x10, 7, ANYONE)


def test_other_mounts_see_changes_and_check_permissions(store, tree):
    mount = store.mount("checked", "state=main")
    other = mount.path
    os.chmod(other, 0o755)
    (tree / "file").write_text("x")
    os.chmod(tree / "file", 0o600)
    assert stat.S_IMODE(os.stat(other / "file").st_mode) == 0o600
    assert as_user(lambda: (other / "file").read_text()) == errno.EACCES
    os.setxattr(tree / "file", "system.posix_acl_access", LIST)
    assert as_user(lambda: (other / "file").read_text()) == 0
    (other / "dir").mkdir()
    assert (tree / "dir").is_dir()
    (tree / "file").rename(tree / "dir" / "moved")
    assert not (other / "file").exists()
    (other / "dir" / "moved").unlink()
    assert os.listdir(tree / "dir") == []


@pytest.mark.parametrize("options,code,why", [
    ("access=root,allow_other", 1, "exclude each other"),
    ("access=all", 2, "bad value in mount option 'access=all'"),
    ("access=", 2, "bad value in mount option 'access='"),
])
def test_bad_options(store, tmp, options, code, why):
    (tmp / "mnt").mkdir()
    result = store.coppice("mount", "-o", options, store.path, tmp / "mnt",
                           code=code)
    assert why in result.stderr
    assert not os.path.ismount(tmp / "mnt")


def test_ordinary_users_cannot_ask_for_it(store, tmp):
    (tmp / "mnt").mkdir()
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         COPPICE, "mount", "-o", "access=root", store.path, tmp / "mnt"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "only root can mount with access=root" in result.stderr
