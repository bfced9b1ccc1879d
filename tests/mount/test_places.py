# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store and state that an argument names, in any working directory."""
import json
import os
import time

from conftest import COPPICE, mounted, wait_for
from linux import next_second, run


def alone(script, *args):
    """Run it in a mount namespace that has none of the stores mounted here.

    It is shell: `says CODE PATTERN COMMAND` expects both of the command.
    """
    before = r"""
        set -eu
        for m in $(grep " fuse.coppice " /proc/self/mounts | cut -d" " -f2); do
            umount -l "$m"
        done
        says() {
            code=$1 pattern=$2
            shift 2
            got=0
            said=$("$@" 2>&1) || got=$?
            case $said in $pattern) ;; *) got="$got: $said" ;; esac
            [ "$got" = "$code" ] || { echo "$*: $got"; exit 1; }
        }
        """
    run("unshare", "--mount", "--propagation=private", "sh", "-c",
        before + script, "sh", COPPICE, *args)


def test_the_only_store(make_store, tmp):
    """Verbs that lose nothing take it; those that delete want it said."""
    one, two = make_store("one"), make_store("two")
    os.chown(two.path, 65534, 65534)
    for path in two.path.iterdir():
        os.chown(path, 65534, 65534)
    (tmp / "m").mkdir()
    (tmp / "m2").mkdir()
    alone(r"""
        coppice=$1 one=$2 two=$3 m=$4 m2=$5
        cd /
        says 2 "*COPPICE_STORE*" $coppice list
        $coppice mount $one $m
        says 0 "main~*" $coppice snap main
        says 0 "" $coppice snap main monday
        says 0 "" $coppice fork main@try
        says 0 "*main@try*" $coppice list
        says 0 "" $coppice default main
        says 0 "" $coppice sync
        says 2 "*-s '$one'*" $coppice rm main@try
        says 2 "*-s '$one'*" $coppice rename main@try x
        [ -d $m/main@try ]
        # one store, however often it is mounted
        $coppice mount -o state=main $one $m2
        says 0 "" $coppice fork main@again
        $coppice umount $m2
        # -s and the variable come first
        COPPICE_STORE=$two $coppice fork in-two
        says 0 "*in-two*" $coppice list -s $two
        # two stores: one has to be chosen, but a path chooses
        $coppice mount $two $m2
        says 2 "*COPPICE_STORE*" $coppice snap main again
        says 0 "" $coppice snap $m/main again
        (cd $m && says 0 "*main@try*" $coppice list)
        # those of others are none of mine
        says 0 "" setpriv --reuid=65534 --clear-groups $coppice snap main mine
        says 0 "*main~mine*" $coppice list -s $two
        $coppice umount $m $m2
        """, one.path, two.path, tmp / "m", tmp / "m2")
    assert "main~again" in one.names()
    assert "main~mine" not in one.names()


def test_a_store_instead_of_a_state(store, tmp):
    path = store.path
    verbs = (["list"], ["show"], ["snap"], ["rm"], ["rename", ..., "x"],
             ["default"], ["sync"], ["fork", ..., "x"])
    for verb, *more in verbs:
        arguments = [a if a is not ... else path for a in more] or [path]
        complaint = store.coppice(verb, *arguments, code=1).stderr
        assert f"-s '{path}'" in complaint, complaint
        # relative to where it is
        arguments = [a if a is not ... else path.name for a in more] or [
            path.name]
        complaint = store.coppice(verb, *arguments, cwd=tmp, code=1).stderr
        assert f"-s '{path.name}'" in complaint, complaint
    store.coppice("list", "-s", path)
    complaint = store.coppice("list", tmp, code=1).stderr
    assert " -s " not in complaint and "not inside" in complaint


def test_relative_paths_in_a_fork(store, mnt, main):
    """.snap/monday, as it is said in the fork."""
    (main / "file").write_text("x")
    store.coppice("snap", ".snap/monday", cwd=main)
    store.coppice("snap", "./.snap/tuesday", cwd=main)
    assert sorted(os.listdir(main / ".snap")) == ["monday", "tuesday"]

    def name(path, cwd):
        return json.loads(store.coppice("show", "--json", path, cwd=cwd
                                        ).stdout)["name"]

    assert name(".snap/monday", main) == "main~monday"
    assert name("monday", main / ".snap") == "main~monday"
    assert name(".", main / ".snap" / "monday") == "main~monday"
    assert name("..", main / ".snap") == "main"
    store.coppice("fork", ".snap/monday", "redo", cwd=main)
    assert (mnt / "redo" / "file").read_text() == "x"
    store.coppice("fork", "main/.snap/monday", "redo2", cwd=mnt.path)
    store.coppice("rename", ".snap/monday", "mon", cwd=main)
    store.coppice("rm", ".snap/mon", cwd=main)
    assert os.listdir(main / ".snap") == ["tuesday"]
    store.coppice("rm", "main/.snap/tuesday", cwd=mnt.path)


def test_a_moved_store(make_store, tmp):
    """A mount knows its store by more than the path it had."""
    store = make_store()
    mnt = store.mount()
    alone = store.mount("alone", "state=main")
    (mnt / "main" / "file").write_text("x")
    old, store.path = store.path, tmp / "moved"
    os.rename(old, store.path)

    def look():
        assert os.getxattr(mnt, "user.coppice.store") == bytes(store.path)
        assert os.getxattr(mnt / "main" / "file", "user.coppice.store"
                           ) == bytes(store.path)
        store.coppice("snap", mnt / "main")
        store.coppice("fork", mnt / "main" / "file", "forked")
        assert "forked" in store.coppice("list", cwd=mnt / "main").stdout
        store.coppice("rm", mnt / "forked")
        store.coppice("sync", mnt.path)
        # a mount of one state does not report it: nor is it guessed
        complaint = store.coppice("snap", alone.path, code=1).stderr
        assert "moved" in complaint
        assert "moved" in store.coppice("list", cwd=alone.path, code=1).stderr
        store.verb("snap", "main")

    look()
    # another store where it was
    other = make_store()
    assert other.path == old
    look()
    assert other.names() == ["main"]
    other_mnt = other.mount("other")
    look()
    assert other.names() == ["main"]
    assert json.loads(other.coppice("show", "--json", other_mnt / "main")
                      .stdout)["snapshots"] == 0
    # what was written last is saved, and the other's socket is left alone
    (alone / "last").write_text("last")
    alone.umount()
    mnt.umount()
    assert not (store.path / "control").exists()
    other.coppice("fork", "-s", old, "main@still")
    assert (other_mnt / "main@still").exists()
    mnt = store.mount()
    assert (mnt / "main" / "last").read_text() == "last"


def test_umount_of_a_moved_store_waits(store, tmp):
    """umount returns when all is on the disk, though it finds no socket."""
    alone = store.mount("alone", "state=main")
    store.verb("sync")
    store.path = store.path.rename(tmp / "moved")
    for i in range(50):
        (alone / f"{i}").write_bytes(os.urandom(20000))
    store.coppice("umount", alone.path)
    assert not mounted(alone.path)
    alone.killed = True
    alone.process.kill()
    alone.process.wait()
    mnt = store.mount()
    assert len(os.listdir(mnt / "main")) == 50


def snapshot_by_time(store):
    """The name of a snapshot made in the second that it is called by; the
    machine may stand still between the two."""
    while True:
        wait_for(lambda: 0.05 < time.time() % 1 < 0.8, "the middle of a second")
        stamp = store.verb("snap", "main").strip().partition("~")[2]
        created, = [row["created"] for row in store.json("list")
                    if row["name"] == f"main~{stamp}"]
        if created[:19] == stamp[:19]:
            return stamp


def test_a_second_counts_to_its_end(store, mnt, main):
    """A snapshot called by the time is found by it."""
    next_second()
    stamp = snapshot_by_time(store)
    link = f"main/.snap/{stamp}"
    assert os.readlink(mnt / f"main~@{stamp}") == link
    assert os.readlink(mnt / f"main~@{stamp[:16]}Z") == link
    assert os.readlink(mnt / f"main~@{stamp[:10]}Z") == link
    assert os.readlink(mnt / f"main~@{stamp[11:]}") == link
    assert os.readlink(mnt / f"main~@{stamp[11:16]}Z") == link
    assert os.readlink(mnt / "main~@today") == link
    next_second()
    (main / ".snap" / "later").mkdir()
    assert os.readlink(mnt / f"main~@{stamp}") == link
    assert os.readlink(mnt / "main~@today") == "main/.snap/later"
    assert not os.path.lexists(mnt / "main~@yesterday")


def test_links_to_snapshots(mnt, main, tmp):
    """Programs that archive links archive it; a slash at the end mostly follows."""
    (main / "file").write_text("x")
    (main / ".snap" / "monday").mkdir()
    listing = run("sh", "-c", f"tar -C {mnt} -cf - main~monday | tar -tvf -")
    assert "main~monday -> main/.snap/monday" in listing
    listing = run("sh", "-c", f"tar -C {mnt}/main~monday -cf - . | tar -tf -")
    assert "./file" in listing.split()
    run("cp", "-a", f"{mnt}/main~monday/", tmp / "copy")
    assert (tmp / "copy" / "file").read_text() == "x"
    assert run("find", f"{mnt}/main~1/", "-name", "file").strip()
    assert run("find", f"{mnt}/main~1", "-name", "file") == ""
