# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice import: a state becomes what a directory is, past the kernel."""
import json
import os
import random
import shutil
import signal
import stat
import struct
import subprocess

import pytest

from conftest import COPPICE, SLOWER, wait_for
from linux import pieces, tree_of

KIB = 1 << 10
ROOT = os.geteuid() == 0


def acl(*entries):
    """An ACL as the kernel's xattrs have it."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in entries)


def some_acl(rng):
    return acl((1, rng.randrange(8), 0xffffffff), (2, 6, rng.randrange(1, 99)),
               (4, rng.randrange(8), 0xffffffff), (16, 7, 0xffffffff),
               (32, rng.randrange(8), 0xffffffff))


class Tree:
    """A random tree of everything that a file system has."""

    def __init__(self, path, rng):
        self.path, self.rng = path, rng
        path.mkdir()
        self.dirs, self.files = [path], []
        self.count = 0

    def content(self):
        size = self.rng.choice([0, 1, 100, 256, 257, 4000, 64 * KIB,
                                64 * KIB + 1, 150 * KIB, 300 * KIB])
        return self.rng.randbytes(size)

    def add(self):
        rng, self.count = self.rng, self.count + 1
        path = rng.choice(self.dirs) / f"n{self.count}-é"
        kind = rng.randrange(12)
        if kind < 2 and len(self.dirs) < 12:
            path.mkdir()
            self.dirs.append(path)
        elif kind == 2:
            os.symlink("x" * rng.choice([1, 30, 1000]), path)
        elif kind == 3:
            os.mkfifo(path)
        elif kind == 4 and ROOT:
            os.mknod(path, 0o20644, os.makedev(1, rng.randrange(9)))
        elif kind == 5 and self.files:
            os.link(rng.choice(self.files), path)
            self.files.append(path)
        elif kind == 6:
            with open(path, "wb") as file:
                file.truncate(rng.choice([1000, 64 * KIB, 1 << 20]))
                if rng.randrange(2):
                    file.seek(rng.randrange(500 * KIB))
                    file.write(b"in the middle")
            self.files.append(path)
        else:
            path.write_bytes(self.content())
            self.files.append(path)
        self.adorn(path)

    def adorn(self, path):
        """Give it owners, a mode, attributes and times."""
        rng = self.rng
        link = path.is_symlink()
        is_dir = not link and path.is_dir()
        fifo = not link and not is_dir and not path.is_file()
        if ROOT and rng.randrange(2):
            os.chown(path, rng.randrange(99), rng.randrange(99),
                     follow_symlinks=False)
        if not link and rng.randrange(2):
            os.chmod(path, rng.choice([0o700, 0o4755, 0o2644, 0o1777]))
        if not link and not fifo and not rng.randrange(4):
            os.setxattr(path, f"user.{rng.randrange(3)}",
                        rng.randbytes(rng.choice([0, 10, 500])))
        if not link and not fifo and not rng.randrange(6):
            os.setxattr(path, "system.posix_acl_access", some_acl(rng))
        if is_dir and not rng.randrange(6):
            os.setxattr(path, "system.posix_acl_default", some_acl(rng))
        if rng.randrange(2):
            at = rng.randrange(2 ** 60)
            os.utime(path, ns=(at, at), follow_symlinks=False)

    def mutate(self):
        rng = self.rng
        kind = rng.randrange(9)
        path = rng.choice(self.files)
        if kind == 0:
            path.unlink()
            self.files.remove(path)
        elif kind == 1:
            path.write_bytes(self.content())
        elif kind == 2:
            with open(path, "r+b") as file:
                file.seek(rng.randrange(100 * KIB))
                file.write(b"changed")
        elif kind == 3:
            os.truncate(path, rng.randrange(100 * KIB))
        elif kind == 4:
            path.unlink()
            path.mkdir()
            self.files.remove(path)
            self.dirs.append(path)
        elif kind == 5 and len(self.dirs) > 3:
            path = rng.choice(self.dirs[1:])
            shutil.rmtree(path)
            if rng.randrange(2):
                path.write_bytes(b"was a directory")
            self.dirs = [d for d in self.dirs if d.exists() and d.is_dir()]
            self.files = [f for f in self.files if f.exists()]
            if path.exists():
                self.files.append(path)
        elif kind == 6:
            to = rng.choice(self.files)
            os.replace(path, to)
            self.files = [f for f in self.files if f.exists()]
        elif kind == 7:
            for name in os.listxattr(path):
                os.removexattr(path, name)
        else:
            self.adorn(rng.choice(self.dirs + self.files))
        while len(self.files) < 20:
            self.add()


def holes(path):
    """The holes of all sparse files, in chunks."""
    found = {}
    for root, _, files in os.walk(path):
        for name in files:
            full = os.path.join(root, name)
            if not os.path.isfile(full) or os.path.islink(full):
                continue
            with open(full, "rb") as file:
                parts = pieces(file.fileno())
            chunks = {i for start, end in parts
                      for i in range(start >> 16, (end + 65535) >> 16)}
            found[os.path.relpath(full, path)] = chunks
    return found


def tree_without_sizes(path):
    """tree_of(), without the sizes of directories."""
    return {name: row[:5] + row[5 + stat.S_ISDIR(row[0]):]
            for name, row in tree_of(path).items()}


def same(source, state):
    wanted, got = tree_without_sizes(source), tree_without_sizes(state)
    assert wanted.keys() == got.keys()
    for name, row in wanted.items():
        assert row == got[name], name
    wanted, got = holes(source), holes(state)
    for path, chunks in got.items():
        # A file within a chunk is kept whole.
        assert chunks == wanted[path] or not chunks - {0}, path


@pytest.mark.parametrize("mounted", [True, False])
def test_random(store, tmp, mounted):
    """Imports of a tree that changes give what the tree has."""
    seed = random.randrange(10 ** 9)
    print("seed", seed)
    tree = Tree(tmp / "source", random.Random(seed))
    mnt = store.mount() if mounted else None
    for _ in range(150):
        tree.add()
    for turn in range(6):
        args = ["--checksum"] if turn == 3 else []
        store.verb("import", "--from", tree.path, *args, "main")
        if not mounted:
            mnt = store.mount()
        same(tree.path, mnt / "main")
        if not mounted:
            mnt.umount()
        for _ in range(15):
            tree.mutate()


def imported(store, source, *args, state="main", code=0):
    result = store.coppice("import", "-s", store.path, "--json", "--from",
                           source, *args, state, code=code)
    return json.loads(result.stdout)


def test_unchanged(store, mnt, tmp):
    """Files that have not changed on either side are not read again."""
    source = tmp / "source"
    source.mkdir()
    for i in range(300):
        (source / str(i)).write_bytes(b"x" * i)
    first = imported(store, source)
    assert first["files"] == 300 and first["bytes_read"] == 300 * 299 // 2
    # Files that are as new as a tick of the clock are read once more.
    wait_for(lambda: imported(store, source)["bytes_read"] == 0, "no change")
    before = store.json("show", "main")
    answer = imported(store, source)
    assert {answer[key] for key in
            ("added", "changed", "deleted", "bytes_read")} == {0}
    assert store.json("show", "main")["inodes"] == before["inodes"]
    # Neither a change of the source nor of the state is missed, whatever the
    # times say.
    st = os.stat(source / "200")
    (source / "200").write_bytes(b"y" * 200)
    os.utime(source / "200", ns=(st.st_atime_ns, st.st_mtime_ns))
    (mnt / "main" / "100").write_bytes(b"z" * 100)
    os.utime(mnt / "main" / "100",
             ns=(st.st_atime_ns, os.stat(source / "100").st_mtime_ns))
    assert imported(store, source)["changed"] == 2
    same(source, mnt / "main")


def test_ignore_ctime(store, mnt, tmp):
    """--ignore-ctime compares only size and mtime, as rsync does."""
    source = tmp / "source"
    source.mkdir()
    (source / "file").write_text("before")
    imported(store, source)
    st = os.stat(source / "file")
    (source / "file").write_text("after!")
    os.setxattr(source / "file", "user.key", b"value")
    os.utime(source / "file", ns=(st.st_atime_ns, st.st_mtime_ns))
    assert imported(store, source, "--ignore-ctime")["bytes_read"] == 0
    file = mnt / "main" / "file"
    assert file.read_text() == "before"
    assert os.getxattr(file, "user.key") == b"value"
    imported(store, source, "--ignore-ctime", "--checksum")
    assert file.read_text() == "after!"


RULES = [
    ["--exclude=*.o"],
    ["--exclude=/a"],
    ["--exclude=a/"],
    ["--exclude=a/b"],
    ["--exclude=/a/*/c"],
    ["--exclude=a/**/c"],
    ["--exclude=**/c"],
    ["--exclude=/a/***"],
    ["--include=*/", "--include=*.o", "--exclude=*"],
    ["--include=/a/", "--include=/a/b/***", "--exclude=*"],
    ["--filter=+ /a/", "--filter=- /*/", "--filter=- ?"],
    ["--exclude=[a-b]*", "--include=c"],
    ["--exclude=[!a]"],
    ["--exclude=x\\*y"],
    ["--exclude=- *.o", "--exclude=+ *", "--exclude=*"],
    ["--exclude=b*/"],
    ["--exclude=**a/c**"],
]


@pytest.fixture
def filtered(tmp):
    source = tmp / "source"
    for path in ("a/b/c", "a/b.o", "b/a/c", "b/c.o", "a/x/y/c", "c", "x*y",
                 "bb/a/b/c/d", "d.o/file", "a/b/e/f.o"):
        file = source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(path)
    return source


def paths(top):
    return sorted(os.path.relpath(os.path.join(root, name), top)
                  for root, dirs, files in os.walk(top)
                  for name in dirs + files)


@pytest.mark.skipif(not shutil.which("rsync"), reason="there is no rsync")
def test_rules(store, mnt, tmp, filtered):
    """Rules select what they select for rsync, also in what is deleted."""
    for i, rules in enumerate(RULES):
        there = tmp / "there"
        subprocess.run(["rsync", "-a", *rules, f"{filtered}/", there],
                       check=True)
        imported(store, filtered, *rules, state=f"new{i}")
        assert paths(mnt / f"new{i}") == paths(there), rules
        shutil.rmtree(there)
        # Everything is there, and less in the source: then with deletion.
        less = tmp / "less"
        subprocess.run(["rsync", "-a", f"{filtered}/", there], check=True)
        imported(store, filtered, state=f"all{i}")
        less.mkdir()
        for extra in ([], ["--delete-excluded"]):
            subprocess.run(["rsync", "-a", "--delete", *extra, *rules,
                            f"{less}/", there], check=True,
                           stderr=subprocess.DEVNULL)
            imported(store, less, *extra, *rules, state=f"all{i}")
            assert paths(mnt / f"all{i}") == paths(there), (rules, extra)
        shutil.rmtree(there)
        less.rmdir()


def test_many_rules(store, mnt, tmp, filtered):
    """More rules than a line of the control socket holds."""
    rules = tmp / "rules"
    rules.write_text("".join(f"/none/{'x' * 200}{i}\n" for i in range(2000)) +
                     "*.o\n")
    args = ["--exclude-from", rules]
    imported(store, filtered, *args)
    wanted = [path for path in paths(filtered) if ".o" not in path]
    assert paths(mnt / "main") == wanted
    imported(store, filtered)
    store.verb("export", *args, "--to", tmp / "to", "main")
    assert paths(tmp / "to") == wanted


@pytest.fixture
def source(tmp):
    """A directory with some files."""
    source = tmp / "source"
    (source / "dir").mkdir(parents=True)
    for i in range(10):
        (source / "dir" / f"file{i}").write_bytes(os.urandom(1000 * i))
    (source / "file").write_text("file")
    return source


@pytest.mark.parametrize("mounted", [True, False])
def test_new_state(store, source, mounted):
    """A state that does not exist is made, a snapshot with it."""
    mnt = store.mount() if mounted else None
    imported(store, source, "--snapshot=first", state="new")
    imported(store, source, state="main@fork")
    (source / "file").write_text("changed")
    imported(store, source, "--snapshot=second", state="new")
    if not mounted:
        mnt = store.mount()
    same(source, mnt / "new")
    assert (mnt / "new~first" / "file").read_text() == "file"
    assert (mnt / "new~second" / "file").read_text() == "changed"
    assert (mnt / "main@fork" / "file").read_text() == "file"
    assert sorted(os.listdir(mnt)) == ["main", "main@fork", "new"]


def test_below(store, mnt, source):
    """The destination can be a directory; nothing else is touched."""
    (mnt / "main" / "a" / "b").mkdir(parents=True)
    (mnt / "main" / "a" / "b" / "old").write_text("old")
    (mnt / "main" / "a" / "other").write_text("other")
    os.link(mnt / "main" / "a" / "other", mnt / "main" / "a" / "b" / "file")
    imported(store, source, state="main:/a/b")
    same(source, mnt / "main" / "a" / "b")
    assert (mnt / "main" / "a" / "other").read_text() == "other"
    # A missing directory is made in an existing one.
    imported(store, source, state="main:/a/c")
    same(source, mnt / "main" / "a" / "c")
    imported(store, source, state="new:/d/")
    same(source, mnt / "new" / "d")
    result = store.coppice("import", "-s", store.path, "--from", source,
                           "main:/x/y", code=1)
    assert result.stderr == ("coppice: cannot import into 'main:/x/y': "
                             "there is no such file\n")
    store.verb("import", "--from", source, "main:/a/other", code=1)


def test_dry_run(store, mnt, source):
    """-n and -v print what differs, as `diff` does; -n changes nothing."""
    old = mnt / "main" / "old"
    old.write_text("old")
    (mnt / "main" / "file").write_text("other")
    lines = store.verb("import", "-n", "--from", source, "main").splitlines()
    assert old.exists()
    assert any(line == "-\t/old" for line in lines)
    assert sum(line[0] == "+" for line in lines) == 11, lines
    assert "M\t/file" in lines, lines
    answer = imported(store, source, "-n")
    assert (answer["added"], answer["deleted"]) == (11, 1)
    assert store.verb("import", "-v", "--from", source,
                      "main").splitlines() == lines
    assert store.verb("import", "-v", "--from", source, "main") == ""
    same(source, mnt / "main")


def test_no_delete(store, mnt, source):
    """--no-delete keeps what the source does not have."""
    (mnt / "main" / "old").write_text("old")
    (mnt / "main" / "file" / "in the way").mkdir(parents=True)
    answer = imported(store, source, "--no-delete", code=1)
    assert answer["deleted"] == 0 and answer["failed"] == 1
    assert (mnt / "main" / "old").exists()
    assert (mnt / "main" / "file").is_dir()
    imported(store, source)
    same(source, mnt / "main")


@pytest.mark.skipif(not ROOT, reason="changes its user")
def test_unreadable(make_store, tmp, source):
    """Unreadable files are listed, and left in the state as they were; all
    else is imported."""
    os.chmod(tmp, 0o755)
    home = tmp / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)

    def coppice(*args):
        return subprocess.run(
            [COPPICE, *args], capture_output=True, text=True, user=65534,
            group=65534, extra_groups=[], timeout=60 * SLOWER)

    assert coppice("init", home / "s").returncode == 0
    for path in [source, source / "dir"]:
        os.chown(path, 65534, 65534)
    assert coppice("import", "-s", home / "s", "--from", source,
                   "main").returncode == 0
    (source / "dir" / "file1").write_text("unreadable")
    os.chmod(source / "dir" / "file1", 0)
    (source / "closed").mkdir(mode=0)
    (source / "file").write_text("changed")
    os.mknod(source / "device", 0o20666, os.makedev(1, 3))
    result = coppice("import", "-s", home / "s", "--from", source, "main")
    assert result.returncode == 1
    assert sorted(result.stderr.splitlines()) == [
        "coppice: closed: Permission denied",
        "coppice: device: only root can import devices",
        "coppice: dir/file1: Permission denied"]
    found = coppice("cat", "-s", home / "s", "main:/file").stdout
    assert found == "changed"
    for path, size in [("dir", 1000), ("", 7)]:
        rows = json.loads(coppice("ls", "-s", home / "s", "--json",
                                  f"main:/{path}").stdout)
        assert size in [row["size"] for row in rows if row["uid"] == 65534]
    assert coppice("check", home / "s").returncode == 0


def test_refused(store, mnt, source, tmp):
    """A refused import prints one sentence and changes nothing."""
    store.verb("snap", "main", "there")

    def refused(*args, code=1):
        result = store.coppice("import", "-s", store.path, *args, code=code)
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1 or code == 2, result
        return result.stderr

    assert "snapshot" in refused("--from", source, "main~there")
    assert "'there'" in refused("--from", source, "--snapshot=there", "main")
    assert "No such file" in refused("--from", tmp / "none", "main")
    assert "Not a dir" in refused("--from", source / "file", "main")
    assert "'a/b'" in refused("--from", source, "--snapshot=a/b", "main")
    assert "'a~b'" in refused("--from", source, "--snapshot=a~b", "main")
    assert "'there'" in refused("-n", "--from", source, "--snapshot=there",
                                "main")
    refused("--from", source, "none@fork")
    refused("--from", source, "a/b")
    refused("--from", source, "none:/dir/dir")
    assert "begins with '/'" in refused("--from", source, "main:dir")
    (mnt / "main" / "file").touch()
    assert "main:/file': it is not a dir" in refused("--from", source,
                                                     "main:/file")
    (mnt / "main" / "file").unlink()
    refused("--from", source, "--exclude-from", tmp / "none", "main")
    refused("main", code=2)
    refused("--from", source, code=2)
    refused("--from", source, "--filter=nonsense", "main", code=2)
    assert sorted(os.listdir(mnt)) == ["main"]
    assert os.listdir(mnt / "main") == []


def test_quota(store, mnt, source):
    """A quota that is too small refuses all of it."""
    store.verb("set", "quota=20K", "main")
    result = store.coppice("import", "-s", store.path, "--from", source, "main",
                           code=1)
    assert "quota" in result.stderr and result.stderr.count("\n") == 1
    assert os.listdir(mnt / "main") == []


def test_full(make_store, tmp):
    """A full store is one sentence, and nothing has changed."""
    store = make_store(options=["--max-size=8M"])
    source = tmp / "source"
    source.mkdir()
    for i in range(30):
        (source / str(i)).write_bytes(os.urandom(1 << 20))
    result = store.coppice("import", "-s", store.path, "--from", source, "main",
                           code=1)
    assert "is full" in result.stderr and result.stderr.count("\n") == 1
    assert store.verb("ls", "main:/") == ""


@pytest.mark.parametrize("mounted", [True, False])
def test_killed(store, tmp, mounted):
    """An import that is killed leaves nothing."""
    source = tmp / "source"
    source.mkdir()
    for i in range(3000):
        (source / str(i)).write_bytes(os.urandom(2000))
    mnt = store.mount() if mounted else None
    for victim in range(3):
        process = subprocess.Popen(
            [COPPICE, "import", "-s", store.path, "--progress", "--from",
             source, "main"], stderr=subprocess.PIPE)
        process.stderr.read(1)  # it has begun to show how far it is
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        state = store.verb("ls", "main:/")
        assert state == "" or state.count("\n") == 3000
    if mounted:
        mnt.umount()
    store.check()
    imported(store, source)
    same(source, store.mount("later") / "main")


def test_written_meanwhile(store, mnt, tmp):
    """An import into a state that is written to all the time gives up, and
    loses nothing of what is written."""
    source = tmp / "source"
    source.mkdir()
    for i in range(300):
        (source / str(i)).write_bytes(os.urandom(2000))
    writer = subprocess.Popen(
        ["sh", "-c", f"while :; do echo x > '{mnt}/main/written'; done"])
    try:
        result = store.coppice("import", "-s", store.path, "--from", source,
                               "main", code=None)
    finally:
        writer.kill()
        writer.wait()
    if result.returncode:
        assert result.stderr.count("\n") == 1
        assert "written to" in result.stderr
        assert os.listdir(mnt / "main") == ["written"]
    else:
        assert (mnt / "main" / "299").exists()


def test_another_try(store, mnt, source):
    """An import that is done again reads all of the source again."""
    (mnt / "main" / "dir").mkdir()
    for _ in range(10):
        run = subprocess.Popen([
            COPPICE, "import", "-s", store.path, "--from", source, "main:/dir"])
        # In some rounds the first try alone has these in its way.
        for i in range(100):
            (mnt / "main" / "written").write_text(str(i))
        if run.wait() == 0:
            same(source, mnt / "main" / "dir")


def test_seen_at_once(store, mnt, source):
    """No mount shows what was before an import."""
    other = store.mount("other", "state=main")
    imported(store, source)
    for top in (mnt / "main", other.path):
        same(source, top)
    (source / "file").write_text("changed")
    (source / "dir" / "file3").unlink()
    imported(store, source)
    for top in (mnt / "main", other.path):
        same(source, top)


def test_one_file_system(store, mnt, source, tmp):
    """-x does not enter what is mounted in the source, and an import of the
    directory that has the store leaves the store out."""
    there = store.dir / "source" / "dir" / "mnt"
    inner = store.mount("source/dir/mnt")
    (inner / "main" / "file").write_text("file")
    imported(store, source, "-x", state="backup")
    assert os.listdir(mnt / "backup" / "dir" / "mnt") == []
    assert there.is_dir()
    inner.umount()
    result = store.coppice("import", "-s", store.path, "-x", "--from",
                           store.dir, "--exclude=*.stderr", "whole")
    assert result.stderr == "coppice: store: left out: it is the store\n"
    assert not (mnt / "whole" / "store").exists()
    assert (mnt / "whole" / "source" / "file").exists()
