# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon that a mount starts in a mount namespace of its own, or in a
chroot: which store it opens, and where it lives.  Mounts whose owners are
mapped."""
import errno
import hashlib
import os
import platform
import socket
import struct
import subprocess

import pytest

from conftest import COPPICE, daemons, wait_for
from linux import as_user, idmapped, in_namespace, run

@pytest.fixture
def unshare(tmp):
    """Run a script in a new mount namespace; what it prints."""
    if subprocess.run(["unshare", "-m", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("cannot make a mount namespace")

    def call(script, *args):
        return run(*in_namespace(tmp), "sh", "-ec", script, "sh", *args)
    return call


def write_whose(store, text):
    mnt = store.mount(f"write-{text}")
    (mnt / "main" / "whose").write_text(text)
    mnt.umount()


def digest(store):
    return hashlib.sha256((store.path / "data.mdb").read_bytes()).hexdigest()


def daemon_namespace(store):
    """The mount namespace of the daemon that listens on the store's socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(store.path / "control"))
        cred = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return os.readlink(f"/proc/{struct.unpack('iII', cred)[0]}/ns/mnt")


def test_chroot_with_another_store_of_that_path(make_store, unshare, tmp):
    """The store of the chroot is served, the one outside is not opened."""
    outside, inside = make_store("store"), make_store("inside")
    write_whose(outside, "outside")
    write_whose(inside, "inside")
    before = digest(outside)
    (tmp / "root").mkdir()
    (tmp / "mnt").mkdir()
    script = """
        mount --rbind / "$1"
        mount --bind "$2" "$1/$3"
        chroot "$1" "$5" mount "$3" "$4"
        cat "$1/$4/main/whose"
        chroot "$1" "$5" umount "$4"
    """
    out = unshare(script, tmp / "root", inside.path, outside.path,
                  tmp / "mnt", COPPICE)
    assert out == "inside"
    assert digest(outside) == before
    wait_for(lambda: not daemons(inside), "the daemon to end")


def test_chroot_with_a_store_of_its_own(unshare, tmp):
    """The path of the store exists only inside."""
    for name in "root", "only-there", "mnt":
        (tmp / name).mkdir()
    script = """
        mount --rbind / "$1"
        mount -t tmpfs none "$1/$2"
        chroot "$1" "$4" init "$2/store"
        chroot "$1" "$4" mount "$2/store" "$3"
        ls "$1/$3"
        chroot "$1" "$4" umount "$3"
    """
    assert unshare(script, tmp / "root", tmp / "only-there", tmp / "mnt",
                   COPPICE) == "main\n"


# In a namespace within that of a shell: a mount, for as long as nothing is read.
INNER = """
    readlink /proc/self/ns/mnt
    unshare -m --propagation private sh -ec '
        readlink /proc/self/ns/mnt
        "$1" mount "$2" "$3"
        echo ready
        read line
        "$1" umount "$3"
    ' sh "$@"
    true # so that the shell stays
"""


def daemon_namespaces(store, script, *args):
    """Return where the daemon runs that INNER, called by the script, starts: in
    a namespace outside of both, in the outer one, or in the inner one."""
    with subprocess.Popen(
            [*in_namespace(store.dir), "sh", "-ec", script, "sh",
             *map(os.fspath, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        seen = [shell.stdout.readline().strip() for _ in range(3)]
        assert seen[2] == "ready"
        at = daemon_namespace(store)
        shell.communicate("end\n")
        assert shell.returncode == 0
    wait_for(lambda: not daemons(store), "the daemon to end")
    if at not in seen:
        return "outside"
    return "outer" if at == seen[0] else "inner"


def test_the_daemon_leaves_all_namespaces_with_that_store(store, unshare, tmp):
    (tmp / "mnt").mkdir()
    assert daemon_namespaces(store, INNER, COPPICE, store.path,
                             tmp / "mnt") == "outside"


@pytest.mark.parametrize("enter", ["exec sh", 'exec chroot "$5" sh'])
def test_the_daemon_stays_where_the_store_has_its_path(store, unshare, tmp,
                                                       enter):
    """The daemon runs as far out as it can: in an ancestor's chroot, if any."""
    for name in "mnt", "elsewhere", "root":
        (tmp / name).mkdir()
    script = f"""
        mount --bind "$4" "$2"
        mount --rbind / "$5"
        {enter} -ec "$6" sh "$1" "$2" "$3"
    """
    assert daemon_namespaces(store, script, COPPICE, tmp / "elsewhere",
                             tmp / "mnt", store.path, tmp / "root",
                             INNER) == "outer"


def test_the_daemon_stays_with_a_writable_store(store, unshare, tmp):
    """The daemon does not run where the directory is read-only."""
    for name in "mnt", "elsewhere":
        (tmp / name).mkdir()
    script = """
        mount --bind "$4" "$2"
        mount -o remount,bind,ro "$2"
        unshare -m --propagation private sh -ec '
            mount -o remount,bind,rw "$2"
            "$1" mount "$2" "$3"
            touch "$3/main/file"
            ls "$3/main"
            "$1" umount "$3"
        ' sh "$@"
        true # so that the shell stays
    """
    assert unshare(script, COPPICE, tmp / "elsewhere", tmp / "mnt",
                   store.path) == "file\n"


FIRST = 100000


@pytest.fixture
def mapped(mnt, tmp):
    """The store once more, its users 0 to 999 shown from FIRST on."""
    if tuple(map(int, platform.release().split(".")[:2])) < (6, 12):
        pytest.skip("this kernel has no idmapped FUSE mounts")
    path = tmp / "mapped"
    path.mkdir()
    with idmapped(mnt.path, path, FIRST, 1000):
        yield path


def as_mapped(function, user=0):
    return as_user(function, FIRST + user, FIRST + user)


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def test_idmapped_owners(main, mapped):
    (main / "file").touch()
    os.chown(main / "file", 5, 6)
    assert owner(mapped / "main" / "file") == (FIRST + 5, FIRST + 6)
    os.chown(mapped / "main" / "file", FIRST + 7, FIRST + 8)
    assert owner(main / "file") == (7, 8)
    assert as_mapped((mapped / "main" / "new").touch) == 0
    assert as_mapped((mapped / "main" / "dir").mkdir) == 0
    assert as_mapped(lambda: (mapped / "main" / "link").symlink_to("x")) == 0
    assert as_mapped(lambda: os.mkfifo(mapped / "main" / "fifo")) == 0
    for name in "new", "dir", "link", "fifo":
        assert owner(main / name) == (0, 0)
    # Root has no number there, and nobody's rights of others.
    with pytest.raises(OSError) as caught:
        (mapped / "main" / "roots").touch()
    assert caught.value.errno == errno.EOVERFLOW
    assert as_mapped((mapped / "main" / "x").touch, 9) == errno.EACCES
    os.chown(main, 9, 9)
    assert as_mapped((mapped / "main" / "x").touch, 9) == 0
    assert owner(main / "x") == (9, 9)


def test_idmapped_states(mnt, main, mapped):
    """Forks and snapshots are made and deleted by whom the map makes root."""
    for path in mapped / "main@try", mapped / "main" / ".snap" / "a":
        assert as_mapped(path.mkdir, 1) == errno.EACCES
        assert as_mapped(path.mkdir) == 0
        assert owner(path) == (FIRST, FIRST)
    assert as_mapped((mapped / "main~a@redo").mkdir) == 0
    assert as_mapped((mapped / "plain").mkdir) == 0
    assert owner(mnt / "plain") == (0, 0)
    assert as_mapped(lambda: (mapped / "plain").rename(mapped / "b")) == 0
    assert as_mapped((mapped / "main" / ".snap" / "a").rmdir, 1) == errno.EACCES
    assert as_mapped((mapped / "main" / ".snap" / "a").rmdir) == 0
    assert as_mapped((mapped / "main@try").rmdir) == 0
    assert sorted(os.listdir(mnt)) == ["b", "main", "main~a@redo"]


def test_idmapped_privileges(main, mapped):
    """The set-user-ID bit goes when another than root allocates; trusted
    attributes are root's."""
    for name in "by-user", "by-root":
        (main / name).touch()
        os.chown(main / name, 5, 5)
        os.chmod(main / name, 0o6777)

    def allocate(path):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 4096)

    assert as_mapped(lambda: allocate(mapped / "main" / "by-user"), 5) == 0
    assert os.stat(main / "by-user").st_mode & 0o7777 == 0o777
    allocate(mapped / "main" / "by-root")
    assert os.stat(main / "by-root").st_mode & 0o7777 == 0o6777
    os.setxattr(main / "by-user", "trusted.x", b"1")
    os.setxattr(main / "by-user", "user.y", b"1")

    def sees_nothing_trusted():
        assert os.listxattr(mapped / "main" / "by-user") == ["user.y"]

    assert as_mapped(sees_nothing_trusted, 5) == 0
    assert sorted(os.listxattr(mapped / "main" / "by-user")) == [
        "trusted.x", "user.y"]
