# SPDX-License-Identifier: LGPL-2.1-or-later
"""`coppice cat` and `ls`: files of states, mounted or not; and the ways to name
them."""
import json
import os
import re
import subprocess

import pytest

from conftest import COPPICE

TEXT = "one\ntwo\n"


class Files:
    """A store with some files in main and a snapshot of it, mounted or not."""

    def __init__(self, store, mounted):
        self.store = store
        self.mnt = store.mount()
        main = self.mnt / "main"
        (main / "dir" / "sub").mkdir(parents=True)
        (main / "dir" / "file").write_text(TEXT)
        self.big = os.urandom(300000)
        with open(main / "big", "wb") as file:
            file.write(self.big)
            file.truncate(5000000)
            file.seek(3000001)
            file.write(b"end")
        (main / "link").symlink_to("dir/file")
        (main / "dirlink").symlink_to("dir")
        (main / "empty").touch()
        os.mkfifo(main / "fifo")
        (main / ".snap" / "monday").mkdir()
        (main / "dir" / "file").write_text("changed\n")
        (main / "dir" / "a\nb").touch()
        if not mounted:
            self.mnt.umount()

    def __call__(self, verb, *args, code=0):
        result = subprocess.run(
            [COPPICE, verb, "-s", self.store.path, *args], check=False,
            stdin=subprocess.DEVNULL, capture_output=True)
        assert result.returncode == code, result
        if code == 1:
            assert re.fullmatch(rb"coppice: .+\n", result.stderr), result
        return result.stdout


@pytest.fixture(params=["mounted", "unmounted"])
def files(request, store):
    return Files(store, request.param == "mounted")


def test_cat(files):
    assert files("cat", "main:/dir/file") == b"changed\n"
    assert files("cat", "main~monday:/dir/file") == TEXT.encode()
    assert files("cat", "main~1:dir/file", code=1) == b""
    assert files("cat", "main:/dir//./sub/../file", "main:/empty",
                 "main~1:/dir/file") == b"changed\n" + TEXT.encode()
    assert files("cat", "main/.snap/monday:/dir/file") == TEXT.encode()
    big = files.big + bytes(3000001 - 300000) + b"end"
    assert files("cat", "main:/big") == big.ljust(5000000, b"\0")


def test_cat_keeps_holes(files, tmp):
    for data in b"", b"before":
        with open(tmp / "copy", "wb") as file:
            file.write(data)
            file.flush()
            subprocess.run([COPPICE, "cat", "-s", files.store.path,
                            "main:/big"], check=True, stdout=file)
        expected = files.big + bytes(3000001 - 300000) + b"end"
        assert (tmp / "copy").read_bytes() == \
            data + expected.ljust(5000000, b"\0")
        assert (tmp / "copy").stat().st_blocks * 512 < 1000000


def test_cat_refuses(files):
    for arg in ("main:/dir", "main:/link", "main:/fifo", "main:/nothing",
                "main:/dirlink/file", "main:/dir/file/more", "main:/dir/file/",
                "nobody:/file", "main~7:/file", "main:/" + "n" * 300,
                "main:/" + "n/" * 4000, "main", "main:/", b"main:/\xff",
                "main~@never:/file"):
        assert files("cat", arg, code=1) == b""
    files("cat", code=2)


def test_ls(files):
    names = b"big\ndir\ndirlink\nempty\nfifo\nlink\n"
    assert files("ls", "main:/") == names
    assert files("ls", "main") == names
    assert files("ls", "main~monday:/dir") == b"file\nsub\n"
    assert files("ls", "main:/dir/") == b"a\\012b\nfile\nsub\n"
    assert files("ls", "main:/dir/file") == b"file\n"
    assert files("ls", "main:/dirlink") == b"dirlink\n"
    assert files("ls", "main:/dir/sub") == b""
    lines = files("ls", "-l", "main:/").decode().splitlines()
    assert re.fullmatch(r"-rw\S+ +1 \S+ +\S+ +5000000 20\S+Z big", lines[0])
    assert lines[1].startswith("drwx")
    assert lines[5].endswith(" link -> dir/file")


def test_ls_json(files):
    rows = {row["name"]: row
            for row in json.loads(files("ls", "--json", "main:/"))}
    assert rows["link"]["target"] == "dir/file"
    assert rows["big"]["size"] == 5000000
    assert rows["big"]["type"] == "file" and rows["big"]["target"] is None
    assert rows["dir"]["links"] == 3
    lines = files("ls", "--json=lines", "main:/").splitlines()
    assert [json.loads(line) for line in lines] == [
        rows[name] for name in sorted(rows)]
    assert files("ls", "--json", "main:/dir/sub") == b"[]\n"


def test_ls_refuses(files):
    for arg in "main:/nothing", "nobody:/", "main:/link/":
        assert files("ls", arg, code=1) == b""
    files("ls", code=2)
    files("ls", "main", "main", code=2)


def test_many_entries(store, mnt, main):
    for i in range(1000):
        (main / f"{i:04}").touch()
    assert store.verb("ls", "main").split() == [f"{i:04}" for i in range(1000)]


def test_paths_in_a_mount(store, mnt, main):
    (main / "dir").mkdir()
    (main / "dir" / "file").write_text("1")
    (main / "link").symlink_to("dir")
    (main / ".snap" / "monday").mkdir()
    (main / "dir" / "file").write_text("22")

    def cat(path, code=0, **keywords):
        return store.coppice("cat", path, code=code, **keywords).stdout

    assert cat(main / "dir" / "file") == "22"
    assert cat(main / ".snap" / "monday" / "dir" / "file") == "1"
    assert cat(mnt / "main~1" / "dir" / "file") == "1"
    # The system resolves what is in front of the last name.
    assert cat(main / "link" / "file") == "22"
    assert cat("dir/file", cwd=main) == "22"
    assert cat("./file", cwd=main / "dir") == "22"
    assert cat("../main/dir/file", cwd=main / "dir", code=1) == ""
    assert cat("../dir/file", cwd=main / "dir") == "22"
    (mnt / "alone").mkdir()
    assert "is not there" in store.coppice(
        "cat", main / "gone" / "x", code=1).stderr.replace(
            "there is no such file", "is not there")
    for path in mnt, mnt / "nobody" / "file", main / "gone" / ".." / "dir":
        assert cat(path, code=1) == ""
    # A state can be named where the path selects the store.
    assert store.coppice("ls", main / "dir").stdout == "file\n"
    assert store.coppice("ls", "main~1:/dir", cwd=main).stdout == "file\n"


def test_a_mount_of_one_state_and_of_a_directory(store, mnt, main):
    (main / "a" / "b").mkdir(parents=True)
    (main / "a" / "b" / "file").write_text("text")
    alone = store.mount("alone", "state=main")
    assert store.verb("cat", alone / "a" / "b" / "file") == "text"
    place = store.dir / "bound"
    place.mkdir()
    if subprocess.run(["mount", "--bind", main / "a", place],
                      check=False).returncode:
        pytest.skip("cannot bind")
    try:
        assert store.verb("cat", place / "b" / "file") == "text"
    finally:
        subprocess.run(["umount", place], check=True)
