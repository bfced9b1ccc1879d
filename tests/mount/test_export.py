# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice export: a directory becomes what a state is, past the kernel."""
import json
import os
import random
import shutil
import subprocess

import pytest

from conftest import COPPICE, SLOWER
from test_import import (RULES, ROOT, Tree, filtered,  # noqa: F401
                         holes, paths, tree_without_sizes)


@pytest.mark.parametrize("mounted", [True, False])
def test_random(store, tmp, mounted):
    """An imported tree is exported as it was."""
    seed = random.randrange(10 ** 9)
    print("seed", seed)
    tree = Tree(tmp / "source", random.Random(seed))
    for _ in range(150):
        tree.add()
    if mounted:
        store.mount()
    store.verb("import", "--from", tree.path, "--snapshot=old", "main")
    wanted, chunks = tree_without_sizes(tree.path), holes(tree.path)
    for _ in range(20):
        tree.mutate()
    store.verb("import", "--from", tree.path, "main")
    store.verb("export", "--to", tmp / "old", "main~old")
    assert tree_without_sizes(tmp / "old") == wanted
    for path, found in holes(tmp / "old").items():
        assert found == chunks[path] or not found - {0}, path
    (tmp / "new").mkdir()
    answer = store.json("export", "--to", tmp / "new", "main")
    assert tree_without_sizes(tmp / "new") == tree_without_sizes(tree.path)
    assert answer["failed"] == 0 and answer["name"] == "main"
    assert set(answer) == {"name", "files", "directories", "bytes", "added",
                           "changed", "deleted", "bytes_written", "failed"}
    assert (answer["changed"], answer["deleted"]) == (0, 0)
    assert answer["added"] == len(tree_without_sizes(tree.path)) - 1
    # An import of it changes no content.
    answer = json.loads(store.verb("import", "--json", "--from", tmp / "new",
                                   "main"))
    assert (answer["bytes_new"], answer["added"], answer["deleted"]) == (
        0, 0, 0)


@pytest.mark.skipif(not shutil.which("rsync"), reason="there is no rsync")
@pytest.mark.parametrize("mounted", [True, False])
def test_rules(store, tmp, filtered, mounted):  # noqa: F811
    """Rules select what they select for rsync."""
    store.verb("import", "--from", filtered, "main")
    if mounted:
        store.mount()
    for i, rules in enumerate(RULES):
        there, to = tmp / "there", tmp / f"to{i}"
        subprocess.run(["rsync", "-a", *rules, f"{filtered}/", there],
                       check=True)
        store.verb("export", "--to", to, *rules, "main")
        assert paths(to) == paths(there), rules
        shutil.rmtree(there)


def test_progress_and_sync(store, mnt, tmp):
    """Progress is shown on stderr, and not as output."""
    (mnt / "main" / "dir").mkdir()
    (mnt / "main" / "dir" / "file").write_text("content")
    result = store.coppice("export", "-s", store.path, "--progress", "--fsync",
                           "--to", tmp / "to", "main")
    assert result.stdout == ""
    assert not result.stderr.replace("\r", "").replace("\033[K", "") or (
        "files" in result.stderr)
    assert (tmp / "to" / "dir" / "file").read_text() == "content"


def test_below(store, mnt, tmp):
    """A directory of a state, with one name of a file that has others."""
    (mnt / "main" / "dir").mkdir()
    (mnt / "main" / "file").write_text("content")
    os.link(mnt / "main" / "file", mnt / "main" / "dir" / "link")
    store.verb("export", "--to", tmp / "to", "main:/dir")
    assert os.listdir(tmp / "to") == ["link"]
    assert (tmp / "to" / "link").read_text() == "content"


def test_refused(store, mnt, tmp):
    """A refused export prints one sentence and makes nothing."""
    (mnt / "main" / "file").write_text("content")
    full = tmp / "full"
    full.mkdir()
    (full / "x").touch()

    def refused(*args, code=1):
        result = store.coppice("export", "-s", store.path, *args, code=code)
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1 or code == 2, result
        return result.stderr

    assert "not empty" in refused("--to", full, "main")
    assert os.listdir(full) == ["x"]
    refused("--to", full / "x", "main")
    refused("--to", tmp / "none" / "none", "main")
    refused("--to", tmp / "new", "none")
    refused("--to", tmp / "new", "main:/none")
    assert "is not a directory" in refused("--to", tmp / "new", "main:/file")
    refused("--to", tmp / "new", "--exclude-from", tmp / "none", "main")
    refused("--to", tmp / "new", "--filter=nonsense", "main", code=2)
    refused("main", code=2)
    refused("--to", tmp / "new", code=2)
    assert not (tmp / "new").exists()


@pytest.mark.skipif(not ROOT, reason="changes its user")
def test_user(make_store, tmp):
    """A user's export belongs to the user, and lends no rights of the user to
    others; devices are reported."""
    os.chmod(tmp, 0o755)
    source = tmp / "source"
    source.mkdir()
    for name, owner in [("file", 5), ("own", 65534)]:
        (source / name).write_text("content")
        os.chown(source / name, owner, owner)
        os.chmod(source / name, 0o6755)
    (source / "dir").mkdir()
    os.chmod(source / "dir", 0o2755)
    os.mknod(source / "device", 0o20666, os.makedev(1, 3))
    home = tmp / "home"
    home.mkdir()
    store = make_store("home/store")
    store.verb("import", "--from", source, "main")
    for root, _, files in os.walk(home):
        for path in [root, *(os.path.join(root, name) for name in files)]:
            os.chown(path, 65534, 65534)
    result = subprocess.run(
        [COPPICE, "export", "-s", store.path, "--to", home / "to", "main"],
        capture_output=True, text=True, user=65534, group=65534,
        extra_groups=[], timeout=60 * SLOWER)
    assert result.returncode == 1
    assert result.stderr == "coppice: device: Operation not permitted\n"
    assert (home / "to" / "file").read_text() == "content"
    assert os.stat(home / "to" / "file").st_uid == 65534
    assert [os.stat(home / "to" / name).st_mode & 0o7777
            for name in ["file", "own", "dir"]] == [0o755, 0o6755, 0o2755]
