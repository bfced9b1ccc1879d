# SPDX-License-Identifier: LGPL-2.1-or-later
"""`coppice diff`: against a walk over both trees and diff(1), over random
histories; what it prints; and what it refuses."""
import errno
import json
import os
import random
import re
import socket
import stat
import subprocess

import pytest

from conftest import COPPICE, wait_for

FIELDS = ["content", "mode", "owner", "xattr", "device", "times", "entries"]
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory",
         stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "character device",
         stat.S_IFBLK: "block device"}
INO = (1 << 36) - 1


def plain(name):
    """Bytes that are not UTF-8 as Python has them: see escaped_name.h."""
    return name and re.sub("[\uef80-\uefff]",
                           lambda m: chr(ord(m[0]) - 0xef00 + 0xdc00), name)


def rows_of(store, a, b, *args):
    result = store.coppice("diff", "-s", store.path, "--json=lines", *args, a,
                           b, code=None)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == bool(rows), result.stderr
    assert not result.stderr
    for row in rows:
        row["path"], row["from"] = plain(row["path"]), plain(row["from"])
    return rows


# ---- The oracle: a walk over both trees ------------------------------------


class Inode:
    def __init__(self, path):
        st = os.lstat(path)
        self.ino = st.st_ino & INO
        self.kind = stat.S_IFMT(st.st_mode)
        self.content = b""
        if self.kind == stat.S_IFREG:
            self.content = path.read_bytes()
        elif self.kind == stat.S_IFLNK:
            self.content = os.fsencode(os.readlink(path))
        self.entries = []
        self.mode = stat.S_IMODE(st.st_mode)
        self.owner = st.st_uid, st.st_gid
        self.device = st.st_rdev
        self.times = st.st_mtime_ns
        self.xattr = {name: os.getxattr(path, name, follow_symlinks=False)
                      for name in os.listxattr(path, follow_symlinks=False)}
        self.names = []  # (number of the parent, name, path)

    def fields(self, other):
        return [name for name in FIELDS
                if getattr(self, name) != getattr(other, name)]


class Tree:
    """All inodes of a state, by number, and by path."""

    def __init__(self, root):
        self.inodes = {}
        self.paths = {}
        self.add(root, "/", (0, ""))
        self.visit(root, "/")

    def add(self, path, inner, name):
        inode = Inode(path)
        inode = self.inodes.setdefault(inode.ino, inode)
        inode.names.append((*name, inner))
        self.paths[inner] = inode
        return inode

    def visit(self, root, inner):
        here = self.paths[inner]
        directory = root / inner[1:]
        for entry in sorted(os.listdir(directory)):
            below = inner.rstrip("/") + "/" + entry
            child = self.add(directory / entry, below, (here.ino, entry))
            here.entries.append((entry, child.ino))
            if child.kind == stat.S_IFDIR:
                self.visit(root, below)

    def dir_like(self, path, other):
        """The directory of the other tree that stands for this one."""
        here = self.paths[path]
        if here.ino in other.inodes:
            return other.inodes[here.ino]
        twin = self.child_like(path, other)
        return twin if twin and twin.kind == stat.S_IFDIR else None

    def child_like(self, path, other):
        """Return what has replaced an inode of this tree alone."""
        head, _, name = path.rpartition("/")
        parent = self.dir_like(head or "/", other)
        if not parent or parent.kind != stat.S_IFDIR:
            return None
        found = other.paths.get(
            parent.names[0][2].rstrip("/") + "/" + name)
        if found and found.ino not in self.inodes and \
                found.kind == self.paths[path].kind:
            return found
        return None


def expected(a, b, everything):
    silent = set() if everything else {"times", "entries"}
    rows = []

    def add(op, path, inode, source=None, fields=()):
        rows.append((op, path, source, KINDS[inode.kind], inode.ino,
                     tuple(fields)))

    for ino in sorted(a.inodes.keys() | b.inodes.keys()):
        old, new = a.inodes.get(ino), b.inodes.get(ino)
        if not new:
            for *_, path in old.names:
                if not a.child_like(path, b):
                    add("-", path, old)
        elif not old:
            for *_, path in new.names:
                twin = b.child_like(path, a)
                if not twin:
                    add("+", path, new)
                    continue
                fields = twin.fields(new)
                if new.kind == stat.S_IFDIR and \
                        len(twin.entries) == len(new.entries):
                    fields = [f for f in fields if f != "entries"]
                if set(fields) - silent:
                    add("M", path, new, None, fields)
        else:
            fields = old.fields(new)
            names_a = {name[:2]: name[2] for name in old.names}
            names_b = {name[:2]: name[2] for name in new.names}
            lost = sorted(names_a.keys() - names_b.keys())
            got = sorted(names_b.keys() - names_a.keys())
            for i in range(max(len(lost), len(got))):
                if i >= len(lost):
                    add("+", names_b[got[i]], new, None, fields)
                elif i >= len(got):
                    add("-", names_a[lost[i]], old, None, fields)
                else:
                    add("R", names_b[got[i]], new, names_a[lost[i]], fields)
            if set(fields) - silent:
                for name in names_a.keys() & names_b.keys():
                    add("M", names_b[name], new, None, fields)
    return sorted(rows, key=str)


def told(rows):
    return sorted(((row["op"], row["path"], row["from"], row["type"],
                    row["inode"], tuple(row["fields"])) for row in rows),
                  key=str)


def check_against_diff(root_a, root_b, rows):
    """Check the rows against the differences that diff(1) finds."""
    result = subprocess.run(
        ["diff", "-rq", "--no-dereference", root_a, root_b], check=False,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="surrogateescape")
    assert result.returncode < 2 or "fifo" in result.stderr, result.stderr
    # diff(1) does not compare FIFOs and devices.
    seen = re.sub(r"^File [^|]+? is a (fifo|character special file) while "
                  r"file [^|]+? is a \1$", "", result.stdout,
                  flags=re.MULTILINE).strip()
    if seen:
        assert rows, seen
    paths = {row[key] for row in rows for key in ("path", "from")}
    for old, new in re.findall(r"^Files (.+) and (.+) differ$", result.stdout,
                               re.MULTILINE):
        inner = "/" + os.path.relpath(new, root_b)
        assert inner == "/" + os.path.relpath(old, root_a)
        assert any(path and (inner + "/").startswith(path.rstrip("/") + "/")
                   for path in paths), inner


# ---- Random histories ------------------------------------------------------


class History:
    """Random changes of a directory."""

    def __init__(self, rng, root):
        self.rng, self.root = rng, root

    def every(self, kind=None):
        found = []
        for top, dirs, files in os.walk(self.root):
            names = [*(dirs if kind != "file" else ()),
                     *(files if kind != "dir" else ())]
            found += [os.path.join(top, name) for name in names]
        return sorted(found)

    def some(self, kind=None):
        found = self.every(kind)
        return self.rng.choice(found) if found else None

    def place(self):
        top = self.rng.choice([str(self.root), *self.every("dir")])
        return os.path.join(top, self.rng.choice(
            ["a", "b", "c", "d e", "\xe4\udcff", "f\ng", "h"]))

    def bytes(self):
        size = self.rng.choice([0, 5, 200, 300, 5000, 70000, 140000])
        return bytes([self.rng.randrange(3)]) * size

    def write(self):
        path = self.some("file")
        if path and stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, "r+b") as file:
                file.seek(self.rng.choice([0, 10, 60000, 200000]))
                file.write(self.bytes())

    def truncate(self):
        path = self.some("file")
        if path and stat.S_ISREG(os.lstat(path).st_mode):
            os.truncate(path, self.rng.choice([0, 7, 65536, 100000]))

    def make(self):
        path = self.place()
        if not os.path.lexists(path):
            with open(path, "wb") as file:
                file.write(self.bytes())

    def replace(self):
        """Replace a file as editors do, often by the same content."""
        path = self.some("file")
        if not path or not stat.S_ISREG(os.lstat(path).st_mode):
            return
        with open(path, "rb") as file:
            data = file.read()
        with open(path + "~", "wb") as file:
            file.write(data if self.rng.random() < .5 else self.bytes())
        os.chmod(path + "~", stat.S_IMODE(os.lstat(path).st_mode))
        os.rename(path + "~", path)

    def again(self):
        """A directory goes, and one with the same files comes."""
        path = self.some("dir")
        if path:
            copy = path + "~"
            subprocess.run(["cp", "-a", path, copy], check=True)
            subprocess.run(["rm", "-r", path], check=True)
            os.rename(copy, path)

    def mkdir(self):
        path = self.place()
        if not os.path.lexists(path):
            os.mkdir(path)

    def special(self):
        path = self.place()
        if os.path.lexists(path):
            return
        how = self.rng.randrange(3)
        if how == 0:
            os.symlink(self.rng.choice(["x", "y" * 400]), path)
        elif how == 1:
            os.mkfifo(path)
        else:
            os.mknod(path, 0o600 | stat.S_IFCHR,
                     os.makedev(1, self.rng.randrange(4)))

    def link(self):
        path, to = self.some("file"), self.place()
        if path and not os.path.lexists(to):
            os.link(path, to, follow_symlinks=False)

    def rename(self):
        path, to = self.some(), self.place()
        if path:
            try:
                os.rename(path, to)
            except OSError:
                pass

    def remove(self):
        path = self.some()
        if path:
            subprocess.run(["rm", "-r", path], check=True)

    def attributes(self):
        path = self.some()
        if not path or stat.S_ISLNK(os.lstat(path).st_mode):
            return
        how = self.rng.randrange(4)
        if how == 0:
            os.chmod(path, self.rng.choice([0o700, 0o755, 0o600]))
        elif how == 1:
            os.utime(path, ns=(1, self.rng.randrange(3)))
        elif how == 2 and stat.S_ISREG(os.lstat(path).st_mode):
            os.setxattr(path, "user.x", b"v" * self.rng.choice([1, 2, 900]))
        elif os.geteuid() == 0:
            os.lchown(path, self.rng.randrange(3), 0)

    def step(self):
        self.rng.choice([
            self.write, self.write, self.truncate, self.make, self.make,
            self.make, self.replace, self.replace, self.again, self.mkdir,
            self.mkdir, self.special, self.link, self.link, self.rename,
            self.rename, self.rename, self.remove, self.attributes,
            self.attributes])()


def test_random_histories(store, mnt):
    seed = int(os.environ.get("COPPICE_SEED") or random.randrange(1 << 32))
    print(f"COPPICE_SEED={seed}")
    rng = random.Random(seed)
    states = ["main", "other"]
    (mnt / "other").mkdir()
    seen = []
    for _ in range(8):
        # The same changes to two states, which have no inode in common.
        common = rng.randrange(1 << 32)
        for state in "main", "other":
            history = History(random.Random(common), mnt / state)
            for _ in range(6):
                history.step()
        source = rng.choice(states)
        name = f"{source}@{len(states)}"
        (mnt / name).mkdir()
        states.append(name)
        for state in rng.sample(states, 2):
            history = History(rng, mnt / state)
            for _ in range(rng.choice([1, 3, 10])):
                history.step()
        for a, b in rng.sample([(a, b) for a in states for b in states], 5):
            everything = rng.random() < .5
            rows = rows_of(store, a, b, *["-a"] * everything)
            old, new = Tree(mnt / a), Tree(mnt / b)
            assert told(rows) == expected(old, new, everything), (a, b)
            check_against_diff(mnt / a, mnt / b, rows)
        seen.append((a, b, everything, told(rows), len(states)))
    a, b, everything, rows, _ = seen[-1]
    mnt.umount()
    assert told(rows_of(store, a, b, *["-a"] * everything)) == rows


# ---- By hand ---------------------------------------------------------------


class Pair:
    """main and main@new, which differ in a bit of everything."""

    def __init__(self, store, mounted):
        self.store = store
        mnt = store.mount()
        main = mnt / "main"
        (main / "dir" / "sub").mkdir(parents=True)
        (main / "dir" / "text").write_text("one\ntwo\nthree\n")
        (main / "dir" / "binary").write_bytes(b"\0\1\2")
        (main / "gone").write_text("gone\n")
        (main / "old").write_text("same\n")
        (main / "link").symlink_to("nowhere")
        os.link(main / "dir" / "text", main / "twin")
        (mnt / "main@new").mkdir()
        new = mnt / "main@new"
        (new / "dir" / "text").write_text("one\n2\nthree\n")
        (new / "dir" / "binary").write_bytes(b"\0\1\3")
        (new / "gone").unlink()
        (new / "old").rename(new / "dir" / "new")
        (new / "made\n\\").write_text("made\n")
        (new / "dir" / "sub").chmod(0o700)
        if mounted:
            self.mnt = mnt
        else:
            mnt.umount()

    def __call__(self, *args, code=1):
        return self.store.coppice("diff", "-s", self.store.path, *args,
                                  code=code)

    def text(self, *args):
        return sorted(self(*args, "main", "main@new").stdout.splitlines())


@pytest.fixture(params=["mounted", "unmounted"])
def pair(request, store):
    return Pair(store, request.param == "mounted")


def test_text(pair):
    assert pair.text() == sorted([
        "M\t/dir/text", "M\t/twin", "M\t/dir/binary", "-\t/gone",
        "R\t/old -> /dir/new", "+\t/made\\012\\134", "M\t/dir/sub"])
    assert pair.text("-a") == sorted([*pair.text(), "M\t/", "M\t/dir"])
    assert "R\tF\t/old\t/dir/new" in pair.text("-FH")
    assert "M\t/\t/dir/sub" in pair.text("-F")
    assert all(re.match(r"20\d\d-\d\d-\d\dT[\d:.]+Z\t[-M+R]\t/", line)
               for line in pair.text("-t"))
    assert pair.text("--name-only") == sorted([
        "/dir/text", "/twin", "/dir/binary", "/gone", "/dir/new",
        "/made\\012\\134", "/dir/sub"])
    raw = pair("-z", "main", "main@new").stdout.split("\0")
    assert "+\t/made\n\\" in raw
    assert "R\t/old" in raw and "/dir/new" in raw


def test_the_other_way(pair):
    lines = pair("main@new", "main").stdout.splitlines()
    assert "+\t/gone" in lines and "R\t/dir/new -> /old" in lines


def test_stat(pair):
    text = pair("--stat", "main", "main@new").stdout
    assert " M /dir/text | 14 -> 12 (-2)\n" in text
    assert " - /gone | 5 -> - (-5)\n" in text
    assert text.endswith(
        " 4 modified, 1 added, 1 removed, 1 renamed; +5 -9\n")


def test_json(pair):
    rows = json.loads(pair("--json", "main", "main@new").stdout)
    by_path = {row["path"]: row for row in rows}
    assert set(rows[0]) == {"op", "path", "from", "type", "inode", "size",
                            "old_size", "fields", "time"}
    text = by_path["/dir/text"]
    assert (text["op"], text["size"], text["old_size"]) == ("M", 12, 14)
    assert text["fields"] == ["content", "times"]
    assert by_path["/gone"]["size"] is None
    assert by_path["/gone"]["old_size"] == 5
    assert by_path["/dir/new"]["from"] == "/old"
    assert by_path["/dir/sub"]["fields"] == ["mode"]
    assert by_path["/dir/sub"]["type"] == "directory"
    assert rows == [json.loads(line) for line in pair(
        "--json=lines", "main", "main@new").stdout.splitlines()]


def test_patch(pair, tmp):
    patch = pair("--patch", "main", "main@new").stdout
    assert "--- a/dir/text\n+++ b/dir/text\n@@ -1,3 +1,3 @@\n one\n-two\n" \
        "+2\n three\n" in patch
    assert "Binary files a/dir/binary and b/dir/binary differ\n" in patch
    assert "--- a/gone\n+++ /dev/null\n" in patch
    assert "--- /dev/null\n+++ b/made\\012\\134\n" in patch
    (tmp / "dir").mkdir()
    for name in "dir/text", "twin":
        (tmp / name).write_text("one\ntwo\nthree\n")
    (tmp / "gone").write_text("gone\n")
    subprocess.run(["patch", "-p1", "-d", tmp], input=patch, text=True,
                   check=False, stdout=subprocess.DEVNULL)
    assert (tmp / "dir" / "text").read_text() == "one\n2\nthree\n"
    assert not (tmp / "gone").exists()


def test_paths(pair):
    assert pair("main", "main@new", "/twin").stdout == "M\t/twin\n"
    assert pair("main", "main@new", "gone", "made\n\\").stdout == \
        "-\t/gone\n+\t/made\\012\\134\n"
    lines = pair("main:/dir", "main@new:/dir").stdout.splitlines()
    assert sorted(lines) == ["M\t/dir/binary", "M\t/dir/sub", "M\t/dir/text",
                             "R\t/old -> /dir/new"]
    assert pair("main:/dir", "main@new:/dir/", code=2)
    assert pair("main:/dir", "main@new:/dir", "sub").stdout == "M\t/dir/sub\n"
    assert pair("main", "main@new", "link", code=0).stdout == ""


def test_same(pair):
    assert pair("main", "main", code=0).stdout == ""
    assert pair("--json", "main", "main", code=0).stdout == "[]\n"
    assert pair("--stat", "main", "main", code=0).stdout == ""


def test_refused(pair):
    before = pair.store.names()
    for args in (["main"], [], ["main", "main@new", "--json=xml"],
                 ["--stat", "--patch", "main", "main@new"],
                 ["-q", "main", "main@new"]):
        result = pair(*args, code=2)
        assert "Usage:" in result.stderr
    for args in (["nobody", "main"], ["main", "nobody"],
                 ["main", "main@new", "nothing"], ["main", "main~7"],
                 ["main:/dir", "main@new:/gone"],
                 ["main", os.fsdecode(b"main@\xff")],
                 ["main", "main@new", "x" * 5000],
                 ["main", "n" * 2000], ["/", "main"]):
        result = pair(*args, code=2)
        assert result.stdout == ""
        assert re.fullmatch(r"coppice: .+\n", result.stderr), result.stderr
    assert pair.store.names() == before


def test_paths_in_a_mount(store, mnt, main):
    (main / "dir").mkdir()
    (main / "dir" / "file").write_text("1")
    (main / ".snap" / "monday").mkdir()
    (main / "dir" / "file").write_text("22")
    (main / "outside").write_text("1")

    def lines(*args):
        return store.coppice("diff", *args, code=1).stdout.splitlines()

    snap = main / ".snap" / "monday"
    assert lines(snap, main) == ["M\t/dir/file", "+\t/outside"]
    assert lines(snap / "dir", main / "dir") == ["M\t/dir/file"]
    assert lines(mnt / "main~1" / "dir", main / "dir") == ["M\t/dir/file"]
    # The second is not there in one of them.
    assert lines(snap / "outside", main / "outside") == ["+\t/outside"]
    assert store.coppice("diff", snap / "dir", main, code=2).stderr
    assert store.coppice("diff", mnt, main, code=2).stderr
    assert lines("main~monday:/dir", main / "dir") == ["M\t/dir/file"]


def test_while_it_is_written_to(store, mnt, main):
    """One instant, whatever goes on; and nothing is left of it."""
    for i in range(300):
        (main / f"a{i}").write_text("1")
    (mnt / "main@old").mkdir()
    for i in range(300):
        (main / f"a{i}").write_text("22")
    process = subprocess.Popen(
        [COPPICE, "diff", "-s", store.path, "--json=lines", "main@old",
         "main"], stdout=subprocess.PIPE, text=True)
    rows = [json.loads(process.stdout.readline())]
    for i in range(300):
        (main / f"a{i}").write_text("333")
        (main / f"b{i}").write_text("1")
    rows += [json.loads(line) for line in process.stdout]
    process.stdout.close()
    assert process.wait() == 1
    assert sorted(row["path"] for row in rows) == sorted(
        f"/a{i}" for i in range(300))
    sizes = {row["size"] for row in rows}
    assert sizes in ({2}, {3}), sizes
    assert store.json("show", "main")["unchanged"] is False


def test_readers_that_go_away(store, mnt, main):
    for i in range(3000):
        (main / f"file{i}").touch()
    (mnt / "empty").mkdir()
    for _ in range(3):
        process = subprocess.Popen(
            [COPPICE, "diff", "-s", store.path, "empty", "main"],
            stdout=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        process.wait()
    assert len(rows_of(store, "empty", "main")) == 3000


def test_only_the_owner_is_answered(store, mnt, main):
    """A state has names in directories that others must not read."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (main / "secret").mkdir(mode=0o700)
    (main / "secret" / "name").touch()
    (mnt / "empty").mkdir()
    os.chmod(store.path.parent, 0o755)
    result = store.coppice("diff", "-s", store.path, "empty", "main", code=2,
                           user=12345, group=12345, extra_groups=[])
    assert result.stdout == ""
    assert re.fullmatch(r"coppice: .+\n", result.stderr), result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("request_", [
    {"verb": "diff", "a": "main~a", "b": "main~b", "paths": [], "all": False,
     "patch": False},
    {"verb": "search", "pattern": "*"}], ids=["diff", "find"])
def test_a_client_that_stops_reading(store, mnt, main, request_):
    """The client does not block others, and holds nothing once it is gone."""
    (main / ".snap" / "a").mkdir()
    for i in range(5000):
        (main / f"file{i:04}{'x' * 200}").touch()
    (main / ".snap" / "b").mkdir()
    with socket.socket(socket.AF_UNIX) as client:
        fd = os.open(store.path, os.O_PATH)
        client.connect(f"/proc/self/fd/{fd}/control")
        os.close(fd)
        client.sendall(json.dumps(request_).encode() + b"\n")
        assert client.recv(1, socket.MSG_PEEK)
        # Its buffer is full, and stays so.
        (main / "more").write_text("x")
        (main / ".snap" / "c").mkdir()
        (main / ".snap" / "a").rmdir()
        store.verb("rm", "main~b")
        store.verb("sync")
        assert store.verb("list").split() == ["main", "main~c"]
        if request_["verb"] == "diff":
            assert store.json("gc", "--no-wait")["backlog"] > 0
    wait_for(lambda: not store.json("gc", "--no-wait")["backlog"],
             "the versions to be released")
    mnt.umount()
    store.check()


def test_patch_of_a_binary_in_small_chunks(make_store):
    """A NUL in the first 8000 bytes makes a file binary, as for git; here it is
    in the second chunk."""
    store = make_store("small", ["--chunk-size=4K"])
    mnt = store.mount()
    store.verb("fork", "main", "main@new")
    (mnt / "main@new" / "binary").write_bytes(b"x" * 7999 + b"\0")
    (mnt / "main@new" / "text").write_bytes(b"x" * 8000 + b"\0")
    patch = store.coppice("diff", "-s", store.path, "--patch", "main",
                          "main@new", code=1).stdout
    assert "Binary files /dev/null and b/binary differ\n" in patch
    assert "+++ b/text\n" in patch
