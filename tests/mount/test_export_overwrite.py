# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice export --overwrite: a directory with files becomes what a state is."""
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess

import pytest

from conftest import COPPICE, SLOWER
from test_import import (RULES, ROOT, Tree, filtered,  # noqa: F401
                         paths, tree_without_sizes)


def exported(store, to, *args, state="main", code=0):
    result = store.coppice("export", "-s", store.path, "--json", "--overwrite",
                           *args, "--to", to, state, code=code)
    return json.loads(result.stdout)


def changes(answer):
    return [answer[key] for key in ("added", "changed", "deleted",
                                    "bytes_written", "failed")]


def times_separate(top, seen):
    """Let files with different contents have different times."""
    for root, _, files in os.walk(top):
        for name in files:
            path = os.path.join(root, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).digest()
            while seen.setdefault(os.stat(path).st_mtime_ns, digest) != digest:
                os.utime(path, ns=(10 ** 18, 10 ** 18 + len(seen)))


def ctimes(top):
    return {os.path.join(root, name):
            os.lstat(os.path.join(root, name)).st_ctime_ns
            for root, dirs, files in os.walk(top) for name in dirs + files}


@pytest.mark.parametrize("mounted", [True, False])
def test_random(store, tmp, mounted):
    """A directory follows a state forth and back, and what is right stays."""
    seed = random.randrange(10 ** 9)
    print("seed", seed)
    tree, seen = Tree(tmp / "source", random.Random(seed)), {}
    for _ in range(120):
        tree.add()
    if mounted:
        store.mount()
    wanted = []
    for turn in range(3):
        times_separate(tree.path, seen)
        store.verb("import", "--from", tree.path, f"--snapshot={turn}", "main")
        wanted.append(tree_without_sizes(tree.path))
        for _ in range(20):
            tree.mutate()
    to = tmp / "to"
    for turn in 0, 1, 2, 0, 2:
        args = ["--overwrite", "--delete", "--to", to, f"main~{turn}"]
        if turn == 1:
            args.insert(0, "--checksum")
        foretold = store.verb("export", "-n", *args).splitlines()
        told = store.verb("export", "-v", *args).splitlines()
        assert sorted(told) == sorted(foretold)
        got = tree_without_sizes(to)
        assert got.keys() == wanted[turn].keys()
        for name, row in wanted[turn].items():
            assert row == got[name], name
        before = ctimes(to)
        for more in [], ["--checksum"]:
            answer = exported(store, to, "--delete", *more,
                              state=f"main~{turn}")
            assert changes(answer) == [0] * 5
        assert ctimes(to) == before


@pytest.fixture
def place(store, mnt, tmp):
    """A state, and a directory that is the same."""
    top = mnt / "main"
    (top / "dir").mkdir()
    (top / "dir" / "file").write_text("content")
    (top / "file").write_text("content")
    (top / "large").write_bytes(bytes(range(256)) * 4096)
    to = tmp / "to"
    store.verb("export", "--to", to, "main")
    return to


def test_kinds_of_changes(store, mnt, place):
    """Contents, attributes, types and names; what is right is not written."""
    inode = os.stat(place / "large").st_ino
    os.utime(place / "large", (1, 1))
    os.chmod(place / "dir" / "file", 0o600)
    os.setxattr(place / "dir", "user.extra", b"value")
    (place / "extra").write_text("extra")
    lines = store.verb("export", "-n", "--overwrite", "--to", place,
                       "main").splitlines()
    assert sorted(lines) == ["M\t/", "M\t/dir", "M\t/dir/file",
                             "M\t/large"]
    assert exported(store, place, "-n")["changed"] == 4
    answer = exported(store, place)
    assert changes(answer) == [0, 4, 0, 0, 0]
    assert (answer["files"], answer["directories"]) == (3, 2)
    assert os.stat(place / "large").st_ino == inode
    assert os.listxattr(place / "dir") == []
    assert (place / "extra").exists()
    with open(mnt / "main" / "large", "r+b") as file:
        file.seek(500000)
        file.write(b"changed")
    answer = exported(store, place, "--delete")
    assert answer["deleted"] == 1 and answer["bytes_written"] >= 1 << 20
    assert os.stat(place / "large").st_ino != inode
    assert (place / "large").read_bytes() == (
        mnt / "main" / "large").read_bytes()
    assert sorted(os.listdir(place)) == ["dir", "file", "large"]


def test_checksum(store, mnt, place):
    """A change that keeps size and time is found only with -c."""
    st = os.stat(place / "file")
    (place / "file").write_text("CONTENT")
    os.utime(place / "file", ns=(st.st_atime_ns, st.st_mtime_ns))
    assert changes(exported(store, place))[1] == 0
    assert changes(exported(store, place, "-c", "-n"))[1] == 1
    assert (place / "file").read_text() == "CONTENT"
    assert changes(exported(store, place, "-c")) == [0, 1, 0, 7, 0]
    assert (place / "file").read_text() == "content"


def test_in_the_way(store, mnt, place):
    """A directory gives way to a file where it may be deleted."""
    (place / "file").unlink()
    (place / "file").mkdir()
    (place / "file" / "kept").write_text("kept")
    (place / "large").unlink()
    (place / "large").mkdir()
    shutil.rmtree(place / "dir")
    (place / "dir").write_text("in the way")
    for args in ["-n"], []:
        result = store.coppice("export", "-s", store.path, "--overwrite", *args,
                               "--to", place, "main", code=1)
        assert result.stderr == "coppice: file: Directory not empty\n"
    assert (place / "file" / "kept").read_text() == "kept"
    assert (place / "dir" / "file").read_text() == "content"
    assert (place / "large").stat().st_size == 1 << 20
    rule = "--exclude=kept"
    result = store.coppice("export", "-s", store.path, "--overwrite",
                           "--delete", rule, "--to", place, "main", code=1)
    assert result.stderr == "coppice: file: Directory not empty\n"
    exported(store, place, "--delete")
    assert (place / "file").read_text() == "content"


def test_excluded_in_the_way(store, mnt, place):
    """An excluded entry stays, even if the state has another type there."""
    (place / "file").unlink()
    (place / "file").mkdir()
    (place / "file" / "kept").write_text("kept")
    shutil.rmtree(place / "dir")
    (place / "dir").write_text("kept")
    for more in ["-n"], []:
        result = store.coppice(
            "export", "-s", store.path, "--overwrite", "--delete",
            "--include=/dir/", "--exclude=/dir", "--exclude=file/", *more,
            "--to", place, "main", code=1)
        assert sorted(result.stderr.splitlines()) == [
            "coppice: dir: File exists", "coppice: file: Directory not empty"]
    assert (place / "file" / "kept").read_text() == "kept"
    assert (place / "dir").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_other_file_systems_stay(store, mnt, place):
    """Files of another disk that is mounted in the directory are not extra."""
    (mnt / "main" / "disk").mkdir()
    (mnt / "main" / "disk" / "new").write_text("new")
    disk = place / "disk"
    disk.mkdir()
    with contextlib.ExitStack() as stack:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
        stack.callback(subprocess.run, ["umount", "-l", disk], check=True)
        (disk / "dir").mkdir()
        (disk / "dir" / "kept").write_text("kept")
        (place / "extra").write_text("extra")
        answer = exported(store, place, "--delete")
        assert answer["deleted"] == 1
        assert (disk / "dir" / "kept").read_text() == "kept"
        assert (disk / "new").read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_owner(store, mnt, place):
    """The owner of a file may have it open: it does not become root's."""
    os.chown(place / "file", 65534, 65534)
    with open(place / "file", "r+") as file:
        assert changes(exported(store, place, "-n"))[1] == 1
        assert changes(exported(store, place))[1] == 1
        file.write("changed")
    assert (place / "file").read_text() == "content"
    assert os.stat(place / "file").st_uid == 0
    assert changes(exported(store, place)) == [0] * 5


def test_nothing_outside(store, mnt, place, tmp):
    """No symlink or hard link lets a change leave the directory."""
    outside = tmp / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    os.chmod(outside, 0o711)
    shutil.rmtree(place / "dir")
    os.symlink(outside, place / "dir")
    (place / "large").unlink()
    os.symlink(outside / "file", place / "large")
    # The same content, but another mode.
    shutil.copy2(place / "file", outside / "linked")
    (place / "file").unlink()
    os.chmod(outside / "linked", 0o600)
    os.link(outside / "linked", place / "file")
    before = {name: os.stat(outside / name) for name in os.listdir(outside)}
    exported(store, place, "--delete")
    assert not (place / "dir").is_symlink()
    assert (place / "dir" / "file").read_text() == "content"
    assert not (place / "large").is_symlink()
    assert os.stat(place / "file").st_mode == os.stat(
        mnt / "main" / "file").st_mode
    assert os.stat(place / "file").st_nlink == 1
    assert sorted(os.listdir(outside)) == ["file", "linked"]
    assert (outside / "file").read_text() == "outside"
    assert os.stat(outside).st_mode & 0o777 == 0o711
    for name, st in before.items():
        now = os.stat(outside / name)
        assert (now.st_ino, now.st_mode, now.st_mtime_ns) == (
            st.st_ino, st.st_mode, st.st_mtime_ns)


def test_links(store, mnt, place):
    """Names of one file become that, and names of two files are parted."""
    top = mnt / "main"
    os.link(top / "file", top / "link")
    (top / "other").write_text("content")
    os.utime(top / "other", ns=(0, os.stat(top / "file").st_mtime_ns))
    shutil.copy2(place / "file", place / "link")
    os.link(place / "file", place / "other")
    assert changes(exported(store, place, "-n"))[1] >= 2
    exported(store, place)
    assert (place / "file").samefile(place / "link")
    assert not (place / "file").samefile(place / "other")
    assert (place / "other").read_text() == "content"
    assert changes(exported(store, place)) == [0] * 5


@pytest.mark.skipif(not shutil.which("rsync"), reason="there is no rsync")
def test_rules(store, tmp, filtered):  # noqa: F811
    """Excluded files are neither written nor deleted, as for rsync."""
    store.verb("import", "--from", filtered, "main")
    more = tmp / "more"
    shutil.copytree(filtered, more)
    for path in ("a/b/new", "a/new.o", "d.o/new", "x", "new/c", "new/a/b/c"):
        (more / path).parent.mkdir(parents=True, exist_ok=True)
        (more / path).write_text("new")
    for i, rules in enumerate(RULES[::3]):
        there, to = tmp / f"there{i}", tmp / f"to{i}"
        for top in there, to:
            shutil.copytree(more, top)
        subprocess.run(["rsync", "-a", "--delete", *rules, f"{filtered}/",
                        there], check=True)
        exported(store, to, "--delete", *rules)
        assert paths(to) == paths(there), rules


def begin_and_kill(command):
    """Kill it when it has printed something: on a terminal, line by line."""
    terminal, slave = os.openpty()
    process = subprocess.Popen(command, stdout=slave)
    os.close(slave)
    # An error: it had nothing to print, and has ended.
    with contextlib.suppress(OSError):
        os.read(terminal, 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.close(terminal)


@pytest.mark.parametrize("mounted", [True, False])
def test_killed(store, tmp, mounted):
    """An export that is killed leaves each file old or new, and another one
    goes on where it ended."""
    source = tmp / "source"
    source.mkdir()
    for i in range(500):
        (source / str(i)).write_bytes(b"old" * 500)
    store.verb("import", "--from", source, "--snapshot=old", "main")
    for i in range(500):
        (source / str(i)).write_bytes(b"newer" * 500)
    store.verb("import", "--from", source, "main")
    if mounted:
        store.mount()
    to = tmp / "to"
    store.verb("export", "--to", to, "main~old")
    (to / "extra").write_text("extra")
    command = [COPPICE, "export", "-s", store.path, "-v", "--overwrite",
               "--delete", "--to", to, "main"]
    for _ in range(2):
        begin_and_kill(command)
        names = [name for name in os.listdir(to) if name.isdigit()]
        assert len(names) == 500
        for name in names:
            assert (to / name).read_bytes() in (b"old" * 500, b"newer" * 500)
    (to / ".coppice-export.0123456789abcdef").write_text("left")
    exported(store, to, "--delete", "--exclude=.coppice*")
    assert tree_without_sizes(to) == tree_without_sizes(source)


def test_interrupted_first(store, tmp):
    """An export into a new directory that was killed can be completed."""
    source = tmp / "source"
    source.mkdir()
    for i in range(500):
        (source / str(i)).write_bytes(b"content" * 200)
    store.verb("import", "--from", source, "main")
    begin_and_kill([COPPICE, "export", "-s", store.path, "-v", "--to",
                    tmp / "to", "main"])
    exported(store, tmp / "to")
    assert tree_without_sizes(tmp / "to") == tree_without_sizes(source)


def test_store_stays(make_store, tmp):
    """The store is neither the target nor deleted in it."""
    home = tmp / "home"
    home.mkdir()
    store = make_store("home/store")
    (home / "extra").touch()
    result = store.coppice("export", "-s", store.path, "--overwrite",
                           "--delete", "--to", store.path, "main", code=1)
    assert "it is the store" in result.stderr
    result = store.coppice("export", "-s", store.path, "--overwrite",
                           "--delete", "--to", home, "main", code=1)
    assert result.stderr == "coppice: store: Device or resource busy\n"
    assert os.listdir(home) == ["store"]
    store.check()


def test_refused(store, mnt, place, tmp):
    """A refused export prints one sentence and changes nothing."""
    (mnt / "main" / "new").touch()
    before = ctimes(place)
    result = store.coppice("export", "-s", store.path, "--to", place, "main",
                           code=1)
    assert "is not empty, and there is no --overwrite" in result.stderr
    store.coppice("export", "-s", store.path, "-n", "--to", place, "main",
                  code=1)
    store.coppice("export", "-s", store.path, "--delete", "--to", place, "main",
                  code=2)
    store.coppice("export", "-s", store.path, "--overwrite", "--to",
                  place / "file", "main", code=1)
    store.coppice("export", "-s", store.path, "--overwrite", "--to", place,
                  "main:/none", code=1)
    lines = store.verb("export", "-n", "--to", tmp / "none", "main")
    assert sorted(lines.splitlines()) == [
        "+\t/dir", "+\t/dir/file", "+\t/file", "+\t/large", "+\t/new"]
    assert not (tmp / "none").exists()
    assert ctimes(place) == before


@pytest.mark.skipif(not ROOT, reason="changes its user")
def test_user(make_store, tmp):
    """A user's directory: modes that are in the way, and owners that the user
    cannot give."""
    os.chmod(tmp, 0o755)
    source = tmp / "source"
    (source / "closed").mkdir(parents=True)
    (source / "closed" / "file").write_text("content")
    (source / "readonly").write_text("content")
    os.setxattr(source / "readonly", "user.name", b"value")
    os.chmod(source / "readonly", 0o444)
    (source / "setuid").write_text("content")
    os.chmod(source / "setuid", 0o4755)
    os.chmod(source / "closed", 0o500)
    home = tmp / "home"
    home.mkdir()
    store = make_store("home/store")
    store.verb("import", "--from", source, "main")
    for root, _, files in os.walk(home):
        for path in [root, *(os.path.join(root, name) for name in files)]:
            os.chown(path, 65534, 65534)

    def run():
        result = subprocess.run(
            [COPPICE, "export", "-s", store.path, "--json", "--overwrite",
             "--delete", "--to", home / "to", "main"], capture_output=True,
            text=True, user=65534, group=65534, extra_groups=[],
            timeout=60 * SLOWER)
        assert result.stderr == ""
        return changes(json.loads(result.stdout))

    run()
    assert run() == [0] * 5
    os.chmod(home / "to" / "closed", 0)
    os.setxattr(home / "to" / "readonly", "user.name", b"other")
    os.chmod(home / "to" / "setuid", 0o4755)
    assert run()[1] == 3
    assert os.getxattr(home / "to" / "readonly", "user.name") == b"value"
    assert [os.stat(home / "to" / name).st_mode & 0o7777
            for name in ["closed", "readonly", "setuid"]] == [
                0o500, 0o444, 0o755]
    # A file is missing in a directory that cannot be written to.
    (home / "to" / "closed" / "file").unlink()
    assert run()[0] == 1
