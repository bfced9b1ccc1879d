# SPDX-License-Identifier: LGPL-2.1-or-later
""".snap in every directory: symlinks to the snapshots that have it."""
import errno
import glob
import os
import shutil
import socket
import subprocess

import pytest

from conftest import SLOWER, wait_for
from linux import raises


@pytest.fixture
def tree(main):
    """a/b with a file, in two snapshots; between them it is renamed."""
    (main / "a" / "b").mkdir(parents=True)
    (main / "a" / "b" / "file").write_text("monday")
    (main / ".snap" / "monday").mkdir()
    (main / "a" / "b" / "file").write_text("tuesday")
    (main / "a" / "new").mkdir()
    (main / "a").rename(main / "x")
    (main / "x" / "b").rename(main / "deep")
    (main / "x" / "deeper").mkdir()
    (main / "deep").rename(main / "x" / "deeper" / "b")
    (main / ".snap" / "tuesday").mkdir()
    return main


def test_links_lead_to_the_directory(tree, mnt):
    b = tree / "x" / "deeper" / "b"
    assert os.readlink(b / ".snap" / "monday") == \
        "../../../../.snap/monday/a/b"
    assert os.readlink(b / ".snap" / "tuesday") == \
        "../../../../.snap/tuesday/x/deeper/b"
    assert (b / ".snap" / "monday" / "file").read_text() == "monday"
    assert (b / ".snap" / "tuesday" / "file").read_text() == "tuesday"
    assert os.path.samefile(b / ".snap" / "monday",
                            tree / ".snap" / "monday" / "a" / "b")
    assert sorted(os.listdir(b / ".snap")) == ["monday", "tuesday"]
    assert os.listdir(tree / "x" / "new" / ".snap") == ["tuesday"]
    assert not (tree / "x" / "new" / ".snap" / "monday").exists()
    for entry in os.scandir(b / ".snap"):
        assert entry.is_symlink()
        assert entry.stat(follow_symlinks=False).st_ino == entry.inode()
        assert entry.stat(follow_symlinks=False).st_size == len(
            os.readlink(entry.path))
    # The root's has the snapshots themselves, those of other forks their own.
    assert not os.path.islink(tree / ".snap" / "monday")
    (mnt / "main@try").mkdir()
    assert os.listdir(mnt / "main@try" / "x" / ".snap") == []


def test_links_as_arguments_of_verbs(store, tree):
    b = tree / "x" / "deeper" / "b"
    store.coppice("clone", b / ".snap" / "monday", tree / "copy")
    assert (tree / "copy" / "file").read_text() == "monday"
    store.coppice("clone", b / ".snap" / "tuesday" / "file", tree / "other")
    assert (tree / "other").read_text() == "tuesday"


def test_never_listed(store, tree):
    assert ".snap" not in os.listdir(tree / "x")
    visible = store.mount("visible", "snapdir=visible")
    assert ".snap" in os.listdir(visible / "main")
    assert ".snap" not in os.listdir(visible / "main" / "x")
    assert (visible / "main" / "x" / ".snap" / "monday").is_dir()
    shutil.rmtree(tree / "x")
    assert os.listdir(tree) == []


def test_moves_are_followed(store, tree, mnt):
    """Entries that kernels have cached follow, in this mount and others."""
    other = store.mount("second")
    alone = store.mount("alone", "state=main,snapdir=hidden")
    places = [("x", "deeper", "b"), ("b2",), ("x", "b3"), ("x", "new", "b4")]
    for old, new in zip(places, places[1:]):
        for top in tree, other / "main", alone.path:
            link = os.path.join(top, *old, ".snap", "monday")
            assert os.readlink(link) == \
                "../" * (len(old) + 1) + ".snap/monday/a/b"
            with open(os.path.join(link, "file")) as file:
                assert file.read() == "monday"
        os.rename(tree.joinpath(*old), tree.joinpath(*new))
    os.rename(tree / ".snap" / "monday", tree / ".snap" / "sunday")
    for top in tree, other / "main", alone.path:
        snap = os.path.join(top, *places[-1], ".snap")
        assert os.readlink(os.path.join(snap, "sunday")) == \
            "../../../../.snap/sunday/a/b"
        assert sorted(os.listdir(snap)) == ["sunday", "tuesday"]
        assert not os.path.lexists(os.path.join(snap, "monday"))
    (tree / ".snap" / "wednesday").mkdir()
    os.rmdir(tree / ".snap" / "tuesday")
    for top in tree, other / "main", alone.path:
        snap = os.path.join(top, *places[-1], ".snap")
        assert sorted(os.listdir(snap)) == ["sunday", "wednesday"]


def test_an_entry_of_that_name_wins(store, tree, mnt):
    root = store.mount("root", "snapdir=root")
    assert (root / "main" / ".snap" / "monday").is_dir()
    assert not (root / "main" / "x" / ".snap").exists()
    assert (tree / "x" / ".snap" / "monday").is_dir()
    (root / "main" / "x" / ".snap").mkdir()
    (root / "main" / "x" / ".snap" / "own").touch()
    assert os.listdir(tree / "x" / ".snap") == ["own"]
    assert ".snap" in os.listdir(tree / "x")
    shutil.rmtree(tree / "x" / ".snap")
    assert os.listdir(tree / "x" / ".snap") == ["monday", "tuesday"]


def test_not_there(store, tree, mnt):
    assert not (tree / ".snap" / "monday" / "a" / ".snap").exists()
    assert not (tree / "x" / "deeper" / "b" / "file" / ".snap").exists()
    disabled = store.mount("disabled", "snapdir=disabled")
    assert not (disabled / "main" / "x" / ".snap").exists()
    alone = store.mount("alone", "state=main,snapdir=disabled")
    assert not (alone / "x" / ".snap").exists()


def test_nothing_can_be_changed_in_it(tree):
    snap = tree / "x" / ".snap"
    for change in [
            lambda: os.mkdir(snap / "new"),
            lambda: os.mkdir(snap / "monday"),
            lambda: os.symlink("x", snap / "new"),
            lambda: os.mkfifo(snap / "new"),
            lambda: (snap / "new").write_text("x"),
            lambda: os.unlink(snap / "monday"),
            lambda: os.rmdir(snap / "monday"),
            lambda: os.rename(snap / "monday", snap / "new"),
            lambda: os.rename(snap / "monday", tree / "new"),
            lambda: os.rename(tree / "x" / "new", snap / "new"),
            lambda: os.link(snap / "monday", tree / "new",
                            follow_symlinks=False),
            lambda: os.chmod(snap, 0o777),
            lambda: os.utime(snap / "monday", follow_symlinks=False),
            lambda: os.rmdir(snap),
            lambda: os.rename(snap, tree / "new"),
            lambda: os.mkdir(snap)]:
        with raises(errno.EPERM, errno.EEXIST, errno.EROFS, errno.ENOTDIR,
                    errno.ENOENT, errno.EXDEV):
            change()
    assert sorted(os.listdir(snap)) == ["monday", "tuesday"]
    assert sorted(os.listdir(tree / ".snap")) == ["monday", "tuesday"]


def test_many_snapshots_stream(tree, store):
    for i in range(1500):
        (tree / ".snap" / f"s{i:04}").mkdir()
    snap = tree / "x" / "deeper" / "b" / ".snap"
    with os.scandir(snap) as entries:
        first = next(entries)
        (tree / ".snap" / "late").mkdir()
        os.rmdir(tree / ".snap" / "s0700")
        rest = [entry.name for entry in entries]
    assert {f"s{i:04}" for i in range(1500) if i != 700} <= {
        first.name, *rest}
    assert len(os.listdir(snap)) == 1502


@pytest.mark.skipif(not (shutil.which("smbd") and shutil.which("smbclient") and
                         glob.glob("/usr/lib/*/samba/vfs/shadow_copy2.so")),
                    reason="needs samba, samba-vfs-modules and smbclient")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_samba_shows_previous_versions(store, mnt, main, tmp):
    names = ["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z"]
    (main / "a").mkdir()
    for name in names:
        (main / "a" / "file").write_text(name)
        (main / ".snap" / name).mkdir()
    (main / "a").rename(main / "b")
    (main / "b" / "file").write_text("now")
    os.chmod(main, 0o755)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = tmp / "smb.conf"
    for directory in "lock", "state", "cache", "private", "pid", "ncalrpc":
        (tmp / "smb" / directory).mkdir(parents=True)
    config.write_text(f"""
[global]
  server role = standalone server
  map to guest = Bad User
  interfaces = lo
  bind interfaces only = yes
  smb ports = {port}
  disable netbios = yes
  load printers = no
  lock directory = {tmp}/smb/lock
  state directory = {tmp}/smb/state
  cache directory = {tmp}/smb/cache
  private dir = {tmp}/smb/private
  pid directory = {tmp}/smb/pid
  ncalrpc dir = {tmp}/smb/ncalrpc
  log file = {tmp}/smb/log
[share]
  path = {main}
  guest ok = yes
  force user = root
  vfs objects = shadow_copy2
  shadow:snapdir = .snap
  shadow:snapdirseverywhere = yes
  shadow:format = %Y-%m-%dT%H:%M:%SZ
""")

    def smbclient(commands):
        return subprocess.run(
            ["smbclient", "-N", "-p", str(port), "//127.0.0.1/share", "-s",
             str(config), "-c", commands], capture_output=True, text=True,
            timeout=60 * SLOWER, check=False, cwd=tmp).stdout

    with subprocess.Popen(
            ["smbd", "--foreground", "--no-process-group", "-s", str(config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL) as smbd:
        try:
            wait_for(lambda: "file" in smbclient("ls b/*"), "smbd")
            info = smbclient("allinfo b/file")
            for name in names:
                stamp = name.replace("-", ".").replace("T", "-").replace(
                    ":", ".")[:-1]
                assert f"@GMT-{stamp}" in info, info
            smbclient("get @GMT-2026.11.20-10.00.00/b/file old")
            assert (tmp / "old").read_text() == names[0]
            assert "file" in smbclient("ls @GMT-2026.11.21-10.00.00/b/*")
        finally:
            smbd.kill()
