# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice manifest: lists with digests that mtree's programs read, and their
comparison with a state."""
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess

import pytest

NAMES = ["plain", "with space", "tab\there", "new\nline", "back\\slash", "#x",
         "a=b", "star*", "q?", "[x]", "\xe4\xf6", b"\xff\xfe".decode(
             "utf-8", "surrogateescape")]


@pytest.fixture
def tree(store, mnt, main):
    for i, name in enumerate(NAMES):
        (main / name).write_bytes(os.urandom(i * 1000))
    (main / "dir" / "deeper").mkdir(parents=True)
    (main / "dir" / "deeper" / "file").write_text("x" * 300000)
    with open(main / "dir" / "holes", "wb") as file:
        file.truncate(1 << 20)
        file.seek(700000)
        file.write(b"in the middle")
    (main / "dir" / "empty").touch()
    os.link(main / "plain", main / "dir" / "again")
    os.symlink("deeper/fi le", main / "dir" / "link")
    os.symlink("t" * 4000, main / "long")
    os.mkfifo(main / "dir" / "fifo")
    os.mknod(main / "dir" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(main / "plain", 12, 34)
    os.chmod(main / "plain", 0o4751)
    os.utime(main / "plain", ns=(1, -1500000000))
    os.mkdir(main / ".snap" / "s")
    return store


def files(main):
    """The paths as in a manifest, in its order."""
    def walk(path, name):
        yield name, path
        if not path.is_symlink() and path.is_dir():
            for entry in sorted(os.listdir(path), key=os.fsencode):
                yield from walk(path / entry, f"{name}/{entry}")
    return list(walk(main, "."))


def unescape(text):
    return re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1], 8)]),
                  text.encode()).decode("utf-8", "surrogateescape")


def manifest(store, *args):
    lines = store.verb("manifest", *args).splitlines()
    assert lines[0] == "#mtree"
    found = {}
    for line in lines[1:]:
        name, *words = line.split(" ")
        found[unescape(name)] = dict(word.split("=", 1) for word in words)
    assert len(found) == len(lines) - 1
    return found


def test_what_is_listed(tree, main):
    found = manifest(tree, "main~s")
    assert list(found) == [name for name, _ in files(main)]
    for name, path in files(main):
        entry, st = found[name], os.lstat(path)
        assert int(entry["mode"], 8) == st.st_mode & 0o7777
        assert int(entry["uid"]) == st.st_uid
        assert int(entry["gid"]) == st.st_gid
        assert int(entry["nlink"]) == st.st_nlink
        sec, nsec = entry["time"].split(".")
        assert int(sec) * 10 ** 9 + int(nsec) == st.st_mtime_ns
        if stat.S_ISREG(st.st_mode):
            data = path.read_bytes()
            assert entry["type"] == "file"
            assert int(entry["size"]) == len(data)
            assert entry["sha256digest"] == hashlib.sha256(data).hexdigest()
        elif stat.S_ISLNK(st.st_mode):
            assert entry["type"] == "link"
            assert unescape(entry["link"]) == os.readlink(path)
        else:
            assert "size" not in entry and "sha256digest" not in entry
    assert found["./dir/null"]["device"] == "native,1,3"
    assert found["./dir/fifo"]["type"] == "fifo"


def test_a_part(tree, main):
    whole = manifest(tree, "main~s")
    part = manifest(tree, "main~s:/dir")
    assert part == {name.replace("./dir", ".", 1): entry
                    for name, entry in whole.items()
                    if name == "./dir" or name.startswith("./dir/")}
    assert manifest(tree, f"{main}/dir") == part
    assert list(manifest(tree, "main:/dir/deeper/file")) == ["."]


def test_unmounted_is_the_same(tree, mnt):
    mounted = tree.verb("manifest", "main")
    assert mounted == tree.verb("manifest", "main~s")
    mnt.umount()
    assert tree.verb("manifest", "main") == mounted


def test_digests(tree, main):
    found = manifest(tree, "--hash=xxh3", "main")
    assert re.fullmatch("[0-9a-f]{32}", found["./dir/holes"]["xxh3"])
    # XXH3 with 128 bits of nothing
    assert found["./dir/empty"]["xxh3"] == "99aa06d3014798d86001c324468d497f"
    assert "sha256digest" not in found["./plain"]
    if shutil.which("xxhsum"):
        said = subprocess.check_output(
            ["xxhsum", "-H2", main / "dir" / "holes"], text=True)
        assert said.split()[0] == found["./dir/holes"]["xxh3"]
    found = manifest(tree, "--hash=none", "main")
    assert not {"xxh3", "sha256digest"} & set(found["./plain"])


def test_json(tree, main):
    rows = tree.json("manifest", "main")
    lines = tree.verb("manifest", "--json=lines", "main").splitlines()
    assert [json.loads(line) for line in lines] == rows
    at = {row["path"]: row for row in rows}
    assert at["./plain"]["mode"] == 0o4751 and at["./plain"]["sec"] == -2
    assert at["./dir/link"]["link"] == "deeper/fi le"
    assert at["./dir/link"]["sha256"] is None
    assert len(rows) == len(files(main))


@pytest.mark.parametrize("form", [[], ["--json=lines"], ["--hash=xxh3"]])
def test_verifying(tree, main, tmp, form):
    saved = tmp / "manifest"
    saved.write_text(tree.verb("manifest", *form, "main"))

    def verify(state, code):
        return tree.coppice("manifest", "-s", tree.path, f"--verify={saved}",
                            state, code=code).stdout.splitlines()

    assert verify("main", 0) == verify("main~s", 0) == []
    with open(main / "dir" / "holes", "r+b") as file:
        file.write(b"x")
    os.utime(main / "dir" / "holes",
             ns=(0, os.stat(main / ".snap/s/dir/holes").st_mtime_ns))
    digest = "xxh3" if "--hash=xxh3" in form else "sha256"
    assert verify("main", 1) == [f"changed: ./dir/holes: {digest} differs"]
    os.truncate(main / "with space", 7)
    os.unlink(main / "dir" / "link")
    os.symlink("elsewhere", main / "dir" / "link")
    os.chmod(main / "q?", 0o600)
    os.unlink(main / "#x")
    os.mkdir(main / "#x")
    os.unlink(main / "new\nline")
    (main / "more").touch()
    said = verify("main", 1)
    assert "extra: ./more" in said
    assert "missing: ./new\\012line" in said
    assert any(re.fullmatch(
        rf"changed: \./with space: .*size 1000 is 7, {digest} differs", line)
        for line in said)
    assert "changed: ./#x: type file is dir" in said
    assert any(re.match(r"changed: \./q\?: mode 0644 is 0600$", line)
               for line in said)
    assert any(re.match(r"changed: \./dir/link: .*link differs$", line)
               for line in said)
    assert verify("main~s", 0) == []


def test_relative_manifests(tree, tmp):
    """Manifests with names and "..", /set, and continued lines."""
    saved = tmp / "manifest"
    saved.write_text(
        "#mtree v2.0\n\n/set type=file uid=0\n.  type=dir\n"
        "  plain uid=12 \\\n    mode=4751\n"
        "dir type=dir nlink=77 flags=none\n deeper type=dir\n"
        "  file size=300000 time=1.5 \n ..\n..\nnowhere optional\n"
        "/unset uid\nlong type=link\n")
    said = tree.coppice("manifest", "-s", tree.path, "--verify", saved,
                        "main", code=1).stdout
    assert re.search(r"^changed: \./dir/deeper/file: time 1\.500000000 is "
                     r"\d+\.\d{9}$", said, re.M)
    assert said.count("changed:") == 1 and "missing:" not in said
    assert "extra: ./dir/null" in said
    text = saved.read_text()
    again = tree.coppice("manifest", "-s", tree.path, "--verify=-", "main",
                         code=2)
    assert "names no files" in again.stderr
    assert text == saved.read_text()


@pytest.mark.skipif(not shutil.which("bsdtar"), reason="no bsdtar")
def test_bsdtar_reads_it(tree, main, tmp):
    (tmp / "manifest").write_text(tree.verb("manifest", "main"))
    result = subprocess.run(
        ["bsdtar", "-cf", "-", f"@{tmp}/manifest"], cwd=main, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    copy = tmp / "copy"
    copy.mkdir()
    subprocess.run(["bsdtar", "-xpf", "-"], cwd=copy, input=result.stdout,
                   check=True)
    for name, path in files(main):
        other, st, is_ = copy / name, os.lstat(path), os.lstat(copy / name)
        assert stat.S_IFMT(st.st_mode) == stat.S_IFMT(is_.st_mode), name
        if not path.is_symlink() and path.is_file():
            assert other.read_bytes() == path.read_bytes()


@pytest.mark.skipif(not shutil.which("mtree"), reason="no mtree")
def test_mtree_reads_it(tree, main, tmp):
    (tmp / "manifest").write_text(tree.verb("manifest", "main"))
    command = ["mtree", "-p", main, "-f", tmp / "manifest"]
    same = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          errors="replace")
    assert same.returncode == 0, same.stdout
    (main / "plain").write_text("other")
    changed = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                             errors="replace")
    assert changed.returncode == 2 and "plain" in changed.stdout


def test_bad_input(tree, tmp):
    def fails(*args, code):
        result = tree.coppice("manifest", "-s", tree.path, *args, code=code)
        assert result.stdout == ""
        return result.stderr

    for arg in ("nobody", "main:/nothing", "main:/plain/x", "main~x"):
        assert re.fullmatch(r"coppice: .+\n", fails(arg, code=1))
        saved = tmp / "good"
        saved.write_text(". type=dir\n")
        assert re.fullmatch(r"coppice: .+\n",
                            fails(f"--verify={saved}", arg, code=2))
    fails("--hash=md5", "main", code=2)
    fails("main", "main~s", code=2)
    fails("--verify=x", "--json", "main", code=2)
    assert "No such file" in fails(f"--verify={tmp}/none", "main", code=2)
    for text in ("{\n", "{}\n", "a size=x\n", "a mode=9\n", "..\n",
                 "a time=x\n", "/nonsense\n", "\0\n", '{"path":1}\n'):
        saved = tmp / "bad"
        saved.write_text(text)
        assert "line 1 " in fails(f"--verify={saved}", "main", code=2), text
    saved.write_text("")
    assert "names no files" in fails(f"--verify={saved}", "main", code=2)
