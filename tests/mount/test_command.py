# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs: the same on a mounted store, through its daemon, and on one that
is not mounted."""
import errno
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from conftest import COPPICE, SLOWER

FIELDS = {"name", "fork", "snapshot", "default", "created", "origin",
          "unchanged", "inodes", "bytes", "exclusive", "snapshots", "number",
          "version", "parent", "creator", "description", "held", "joined"}


class Either:
    """A store with some states, mounted or not."""

    def __init__(self, store, stays_mounted):
        self.store = store
        mnt = store.mount()
        (mnt / "main" / "file").write_text("x" * 1000)
        (mnt / "main" / "dir").mkdir()
        self.mnt = mnt if stays_mounted else None
        if not stays_mounted:
            mnt.umount()

    def __call__(self, *args, **keywords):
        return self.store.verb(*args, **keywords)

    def reads(self, state, name="file"):
        """Return the content of a file of a state, mounted or not."""
        mnt = self.mnt or self.store.mount("later")
        path = mnt / state / name
        text = path.read_text() if path.exists() else None
        if not self.mnt:
            mnt.umount()
        return text

    def fails(self, *args, code=1):
        """One sentence on standard error, nothing on standard output."""
        result = self.store.coppice(args[0], "-s", self.store.path, *args[1:],
                                    code=code)
        assert result.stdout == ""
        if code == 1:
            assert re.fullmatch(r"coppice: .+\n", result.stderr), result.stderr
        return result.stderr


@pytest.fixture(params=["mounted", "unmounted"])
def coppice(request, store):
    return Either(store, request.param == "mounted")


def test_fork(coppice):
    coppice("fork", "main@try")
    coppice("fork", "main", "other")
    coppice("fork", "plain")
    coppice("fork", "main@try", "deep")
    assert coppice.store.names() == ["deep", "main", "main@try", "other",
                                     "plain"]
    assert coppice.reads("deep") == "x" * 1000
    assert coppice.store.json("show", "deep")["origin"] == "main@try"
    assert coppice.reads("plain") is None
    assert coppice.store.json("show", "plain")["origin"] is None


def test_fork_complaints(coppice):
    coppice("fork", "main@try")
    assert "taken" in coppice.fails("fork", "main@try")
    coppice.fails("fork", "nobody", "new")
    coppice.fails("fork", "nobody@new")
    coppice.fails("fork", ".bad", code=1)
    coppice.fails("fork", "main", "a/b")
    coppice.fails("fork", "main", "n" * 256)
    coppice.fails("fork", code=2)
    coppice.fails("fork", "a", "b", "c", code=2)
    coppice.fails("fork", "--nonsense", "a", code=2)
    assert coppice.store.names() == ["main", "main@try"]


def test_snap(coppice):
    assert coppice("snap", "main", "monday") == ""
    assert coppice("snap", "main~tuesday") == ""
    before = int(time.time())
    name = coppice("snap").strip()
    after = time.time()
    fork, _, stamp = name.partition("~")
    assert fork == "main"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp)
    seconds = int(subprocess.check_output(["date", "-d", stamp, "+%s"]))
    assert before <= seconds <= after
    assert coppice.store.names() == sorted(
        ["main", "main~monday", "main~tuesday", name])
    # two of a second have names of their own
    names = {coppice("snap", "main") for _ in range(4)}
    assert len(names) == 4
    assert {n.strip() for n in names} < set(coppice.store.names())
    coppice.fails("snap", "main", "monday")
    coppice.fails("snap", "main~monday", "x")
    coppice.fails("snap", "nobody", "x")
    coppice.fails("snap", "main", "a~b")
    coppice.fails("snap", "a", "b", "c", code=2)


def test_fork_of_a_snapshot(coppice):
    coppice("snap", "main", "monday")
    coppice("fork", "main~monday", "redo")
    coppice("fork", "main~1@other")
    coppice("fork", "main~@now", "third")
    assert coppice.reads("redo") == "x" * 1000
    rows = {row["name"]: row for row in coppice.store.json("list")}
    assert rows["redo"]["origin"] == "main~monday"
    assert rows["main~1@other"]["origin"] == "main~monday"


def test_list(coppice):
    for name in "b", "a", "main@try":
        coppice("fork", "main", name)
    for name in "2", "1":
        coppice("snap", "main", name)
    coppice("snap", "a", "x")
    everything = ["a", "a~x", "b", "main", "main~1", "main~2", "main@try"]
    assert coppice.store.names() == everything
    assert coppice("list", "main").split() == ["main~1", "main~2"]
    assert coppice("list", "b") == ""
    assert [row["name"] for row in coppice.store.json("list")] == everything
    assert [row["name"] for row in coppice.store.json("list", "a")
            ] == ["a~x"]
    lines = coppice("list", "-l").splitlines()
    assert len(lines) == len(everything) + 1
    assert [line.split()[-1] for line in lines[1:]] == everything
    coppice.fails("list", "nobody")


def test_empty_list_is_json(coppice):
    assert coppice.store.json("list", "main") == []


def test_sync(store, mnt, main):
    """Durable, as sync(1) does not make it."""
    (main / "file").write_text("x")
    store.verb("sync")
    (main / "second").write_text("y")
    store.coppice("sync", main)
    mnt.kill()
    store.verb("sync")
    mnt = store.mount()
    assert (mnt / "main" / "file").read_text() == "x"
    assert (mnt / "main" / "second").read_text() == "y"


@pytest.mark.parametrize("verb", [
    ["default", "b"], ["default", "--none"], ["rename", "b", "c"],
    ["rename", "main~s", "t"], ["rm", "b"], ["rm", "main~s"], ["snap", "main"],
    ["fork", "main", "new"]], ids=" ".join)
def test_sync_of_one_change(store, mnt, verb):
    """A change of any kind is saved, also if it is the only one."""
    store.verb("fork", "main", "b")
    store.verb("snap", "main", "s")
    store.verb("default", "main")
    mnt.umount()
    mnt = store.mount()
    store.verb("sync")
    store.verb(*verb)

    def seen():
        return store.names(), store.coppice(
            "default", "-s", store.path, code=None).stdout

    after = seen()
    store.verb("sync")
    mnt.kill()
    mnt = store.mount()
    assert seen() == after


def test_names_of_any_bytes(store, mnt):
    """Text has the bytes, JSON has private characters for what is not UTF-8."""
    name = b"main@\xff\xfe-\xc3\xbc"
    os.mkdir(os.path.join(os.fsencode(mnt), name))
    out = subprocess.run([COPPICE, "list", "-s", store.path],
                         stdout=subprocess.PIPE, check=True).stdout
    assert name in out.split(b"\n")
    assert "main@\uefff\uefffe-ü".replace("\uefffe", "\ueffe") in [
        row["name"] for row in store.json("list")]
    subprocess.run([COPPICE, "rename", "-s", store.path, name, b"\xfd"],
                   check=True)
    assert sorted(os.listdir(os.fsencode(mnt))) == [b"main", b"\xfd"]
    subprocess.run([COPPICE, "rm", "-s", store.path, b"\xfd"], check=True)
    assert os.listdir(mnt) == ["main"]


def test_list_json_is_an_element_a_line(coppice):
    coppice("fork", "main@try")
    lines = coppice("list", "--json").splitlines()
    assert lines[0] == "[" and lines[-1] == "]"
    for line in lines[1:-1]:
        assert set(json.loads(line.rstrip(","))) == FIELDS
    rows = [json.loads(line)
            for line in coppice("list", "--json=lines").splitlines()]
    assert rows == json.loads(coppice("list", "--json"))
    assert coppice("list", "--json=lines", "main") == ""
    assert "=lines" in coppice.fails("list", "--json=yaml", code=2)


def test_show(coppice):
    coppice("snap", "main", "monday")
    row = coppice.store.json("show", "main~monday")
    assert set(row) == FIELDS
    assert row["name"] == "main~monday"
    assert row["fork"] == "main"
    assert row["snapshot"] is True
    assert row["default"] is False
    assert row["inodes"] == 3
    assert row["bytes"] == 1024  # in blocks of 512
    assert row["snapshots"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z",
                        row["created"])
    row = coppice.store.json("show", "main")
    assert row["fork"] is None
    assert row["snapshot"] is False
    assert row["default"] is False
    assert row["snapshots"] == 1
    assert row["origin"] is None
    text = coppice("show", "main")
    assert re.search(r"^Name +main$", text, re.MULTILINE)
    for name in "main~1", "main~@now", "main/.snap/monday":
        assert coppice.store.json("show", name)["name"] == "main~monday"
    coppice.fails("show", "nobody")
    coppice.fails("show", "main~2")
    coppice.fails("show", "main~@nonsense")
    coppice.fails("show", code=2)


def test_rename(coppice):
    coppice("fork", "main@try")
    coppice("snap", "main@try", "monday")
    coppice("rename", "main@try", "winner")
    coppice("rename", "winner~monday", "tuesday")
    assert coppice.store.names() == ["main", "winner", "winner~tuesday"]
    assert coppice.reads("winner~tuesday") == "x" * 1000
    assert coppice.reads("main@try") is None
    coppice.fails("rename", "winner", "main")
    coppice.fails("rename", "nobody", "x")
    coppice.fails("rename", "winner", ".x")
    coppice.fails("rename", "winner", code=2)


def test_rm(coppice):
    for name in "a", "b", "c":
        coppice("fork", "main", name)
    coppice("snap", "c", "monday")
    coppice("rm", "a", "b")
    assert coppice.store.names() == ["c", "c~monday", "main"]
    coppice.fails("rm", "c")
    coppice("rm", "c~monday")
    coppice("snap", "c", "tuesday")
    coppice("rm", "-r", "c")
    assert coppice.store.names() == ["main"]
    coppice.fails("rm", "nobody")
    coppice.fails("rm", code=2)
    assert coppice.reads("a") is None
    coppice("fork", "a")
    # the others are deleted even if one cannot be
    coppice("fork", "b")
    coppice.fails("rm", "a", "nobody", "b")
    assert coppice.store.names() == ["main"]


def test_default(coppice):
    """There is none in a new store."""
    result = coppice.store.coppice("default", "-s", coppice.store.path)
    assert result.stdout == "" and "no default" in result.stderr
    assert coppice.store.json("default") == {"name": None}
    coppice("default", "main")
    assert coppice("default") == "main\n"
    assert coppice.store.json("default") == {"name": "main"}
    assert coppice.store.json("show", "main")["default"] is True
    coppice("fork", "main", "next")
    coppice("default", "next")
    assert coppice("default") == "next\n"
    coppice("fork", "new")
    assert coppice.store.json("show", "new")["origin"] == "next"
    assert coppice.reads("new") == "x" * 1000
    coppice.fails("rm", "next")
    coppice("rm", "main")
    assert coppice("snap").startswith("next~")
    coppice.fails("default", "nobody")
    coppice.fails("default", "--none", "next", code=2)
    coppice("default", "--none")
    assert coppice.store.json("default") == {"name": None}
    coppice("fork", "newer")
    assert coppice.store.json("show", "newer")["origin"] is None
    coppice("rm", "-r", "next")


def test_snap_without_a_fork(coppice):
    """The default, that of the current directory, or the only one."""
    assert coppice("snap").startswith("main~")
    coppice("fork", "main", "other")
    assert "which fork" in coppice.fails("snap", code=2)
    if coppice.mnt:
        assert coppice("snap", cwd=coppice.mnt / "other").startswith("other~")
        assert coppice("snap", cwd=coppice.mnt / "main" / "dir"
                       ).startswith("main~")
        coppice.fails("snap", code=2)
    coppice("default", "main")
    assert coppice("snap").startswith("main~")
    coppice("default", "--none")
    coppice("rm", "-r", "main", "other")
    coppice.fails("snap", code=2)


def test_changes_show_in_the_mount(store, mnt):
    """They show even if the kernel has cached that a name is missing."""
    for _ in range(2):
        assert not (mnt / "main@try").exists()
        store.verb("fork", "main@try")
        assert (mnt / "main@try").exists()
        assert "main@try" in os.listdir(mnt)
        store.verb("rename", "main@try", "other")
        assert not (mnt / "main@try").exists()
        assert (mnt / "other").is_dir()
        assert not (mnt / "other" / ".snap" / "s").exists()
        store.verb("snap", "other", "s")
        assert (mnt / "other" / ".snap" / "s").is_dir()
        store.verb("rm", "-r", "other")
        assert not (mnt / "other").exists()
        assert os.listdir(mnt) == ["main"]


def test_paths_instead_of_names(store, mnt, main):
    """A path in a mount names the state and the store."""
    def name(*path, **keywords):
        return json.loads(store.coppice("show", "--json", *path,
                                        **keywords).stdout)["name"]

    (main / "dir").mkdir()
    (main / ".snap" / "monday").mkdir()
    (mnt / "main@try").mkdir()
    assert name(main) == "main"
    assert name(main / "dir") == "main"
    assert name(mnt / "main@try" / "dir") == "main@try"
    assert name(main / ".snap" / "monday" / "dir") == "main~monday"
    assert name(mnt / "main~monday") == "main~monday"
    assert name(main / ".snap") == "main"
    assert name(".", cwd=main / "dir") == "main"
    assert name("main@try", cwd=mnt.path) == "main@try"
    assert name("main~1", cwd=mnt.path) == "main~monday"
    assert name("main", cwd=main / "dir") == "main"
    # relative to elsewhere
    root = mnt.path
    assert name(f"{root.name}/main", cwd=root.parent) == "main"
    assert name(f"{root.name}/main@try/dir", cwd=root.parent) == "main@try"
    assert "main@try" in store.coppice("list", root.name,
                                       cwd=root.parent).stdout
    store.coppice("sync", root.name, cwd=root.parent)
    # A name is not a path, whatever else has selected the store.
    for verb in "sync", "gc":
        store.coppice(verb, "-s", store.path, "main", cwd=store.path, code=1)
    store.coppice("fork", f"{root.name}/main", f"{root.name}/far",
                  cwd=root.parent)
    store.coppice("rm", f"{root.name}/far", cwd=root.parent)
    alone = store.mount("alone", "state=main@try")
    assert name(alone / "dir") == "main@try"
    assert name(alone.path) == "main@try"

    store.coppice("fork", main, mnt / "main@new")
    store.coppice("fork", mnt / "other")
    store.coppice("snap", main / "dir", "tuesday")
    store.coppice("snap", main / ".snap" / "friday")
    assert set(store.coppice("list", mnt.path).stdout.split()) == {
        "main", "main~monday", "main~tuesday", "main~friday", "main@try",
        "main@new", "other"}
    assert store.coppice("list", main / "dir").stdout.split() == [
        "main~friday", "main~monday", "main~tuesday"]
    assert store.coppice("list", cwd=main / "dir").stdout.startswith("main\n")
    store.coppice("rename", mnt / "other", "another")
    store.coppice("rm", mnt / "main@new", main / ".snap" / "friday")
    store.coppice("rm", "another", cwd=mnt.path)
    assert set(os.listdir(mnt)) == {"main", "main@try"}


def test_a_path_below_is_not_the_state(store, mnt, main):
    """rm of something inside a fork must not delete the fork."""
    (mnt / "main@try").mkdir()
    (mnt / "main@try" / "dir").mkdir()
    store.coppice("rm", mnt / "main@try" / "dir", code=1)
    store.coppice("rm", "dir", cwd=mnt / "main@try", code=1)
    store.coppice("rm", "./dir", cwd=mnt / "main@try", code=1)
    store.coppice("rename", mnt / "main@try" / "dir", "x", code=1)
    store.coppice("rm", mnt.path, code=1)
    assert (mnt / "main@try" / "dir").is_dir()


def test_which_store(make_store, tmp):
    """-s before and after the verb, and COPPICE_STORE."""
    one, two = make_store("one"), make_store("two")
    one.verb("fork", "in-one")
    two.verb("fork", "in-two")
    assert "in-one" in one.coppice("-s", one.path, "list").stdout
    assert "in-two" in one.coppice("-s", one.path, "list", "-s", two.path
                                   ).stdout
    env = {**os.environ, "COPPICE_STORE": str(two.path)}
    assert "in-two" in one.coppice("list", env=env).stdout
    assert "in-one" in one.coppice("list", "-s", one.path, env=env).stdout
    mnt = two.mount()
    result = one.coppice("show", "-s", one.path, mnt / "main", code=1)
    assert str(two.path) in result.stderr
    one.coppice("show", tmp, code=1)
    one.coppice("list", "-s", tmp / "nowhere", code=1)
    one.coppice("list", "-s", tmp, code=1)


def test_help_and_version(tmp):
    def run(*args, code=0):
        result = subprocess.run([COPPICE, *args], capture_output=True,
                                text=True, stdin=subprocess.DEVNULL)
        assert result.returncode == code, result
        return result.stdout if not code else result.stderr

    assert re.fullmatch(r"coppice \d+\.\d+\.\d+\n", run("--version"))
    overview = run("help")
    assert overview == run("--help") == run("-h")
    verbs = set(re.findall(r"^  ([a-z]+) +\S", overview, re.MULTILINE))
    assert verbs >= {"init", "mount", "umount", "fork", "snap", "list", "show",
                     "rename", "rm", "default", "sync"}
    for verb in verbs:
        text = run("help", verb)
        assert text.startswith(f"Usage: coppice {verb} ")
        assert text == run(verb, "--help") == run(verb, "-h")
        assert max(map(len, text.splitlines())) <= 80
        # coppice run leaves the low numbers to its command, as env(1) does.
        usage = 125 if verb == "run" else 2
        assert f"help {verb}" in run(verb, "--nonsense", code=usage)
    run(code=2)
    run("nonsense", code=2)
    run("help", "nonsense", code=2)
    run("--nonsense", code=2)


COMPLETIONS = Path(__file__).resolve().parents[2] / "tools" / "completions"
COMPLETE = """
source "$0"
compopt() { :; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_coppice
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_completion(store):
    """Verbs, options, states and deleted states, of a store that is named by
    the option or the variable."""
    path = f"{COPPICE.parent}:{os.environ['PATH']}"

    def complete(*words, **variables):
        result = subprocess.run(
            ["bash", "-c", COMPLETE, COMPLETIONS / "coppice.bash", "coppice",
             *words], capture_output=True, text=True, check=True,
            env={**os.environ, "PATH": path, **variables})
        assert result.stderr == ""
        return result.stdout.split()

    mnt = store.mount(options="trash=7d")
    store.verb("fork", "main", "main@other")
    (mnt / "gone").mkdir()
    store.verb("rm", "gone")
    here = ["-s", str(store.path)]
    assert complete("ex") == ["export"]
    assert complete("help", "sn") == ["snap"]
    assert "--to" in complete("export", "--")
    assert complete(*here, "show", "ma") == ["main", "main@other"]
    assert complete("show", *here, "main@") == ["main@other"]
    assert complete("show", "main@", COPPICE_STORE=str(store.path)) == [
        "main@other"]
    assert complete(*here, "import", "--from", "=", "/tmp", "main@") == [
        "main@other"]
    assert complete("undelete", *here, "") == ["gone"]


def test_init(make_store, tmp):
    def init(*args):
        return subprocess.run([COPPICE, "init", *args], capture_output=True,
                              stdin=subprocess.DEVNULL, text=True)

    assert init(tmp / "new").returncode == 0
    (tmp / "empty").mkdir()
    assert init(tmp / "empty").returncode == 0
    for directory in "new", "empty":
        result = init(tmp / directory)
        assert result.returncode == 1
        assert re.fullmatch(r"coppice: .+\n", result.stderr)
    (tmp / "full").mkdir()
    (tmp / "full" / "file").write_text("mine")
    assert init(tmp / "full").returncode == 1
    assert os.listdir(tmp / "full") == ["file"]
    (tmp / "file").write_text("mine")
    assert init(tmp / "file").returncode == 1
    assert init(tmp / "no" / "where").returncode == 1
    assert init("--chunk-size=128K", "--max-size=1G", tmp / "o").returncode == 0
    for bad in ("--chunk-size=100", "--chunk-size=1M", "--chunk-size=big",
                "--max-size=-1", "--max-size=100K", "--node-size=5000",
                "--node-size=1000", "--nonsense"):
        assert init(bad, tmp / "bad").returncode == 2
        assert not (tmp / "bad").exists()
    assert init().returncode == 2


@pytest.mark.parametrize("size", ["4K", "16K", "128K"])
def test_chunk_sizes(make_store, size):
    store = make_store("other", [f"--chunk-size={size}"])
    mnt = store.mount()
    data = os.urandom(500001)
    (mnt / "main" / "file").write_bytes(data)
    (mnt / "main@a").mkdir()
    with open(mnt / "main@a" / "file", "r+b") as file:
        file.seek(123456)
        file.write(b"changed")
    assert (mnt / "main" / "file").read_bytes() == data
    assert (mnt / "main@a" / "file").read_bytes() == (
        data[:123456] + b"changed" + data[123463:])
    mnt.umount()
    mnt = store.mount()
    assert (mnt / "main" / "file").read_bytes() == data


def test_init_follows_umask_and_owner(tmp, make_store):
    store = make_store()
    st = os.stat(store.mount() / "main")
    assert (st.st_uid, st.st_mode & 0o7777) == (os.geteuid(), 0o755)


def test_closed_output(store):
    """`coppice list | head` is no complaint that goes on and on."""
    for i in range(50):
        store.verb("fork", f"fork-{i:03}" + "n" * 200)
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run([COPPICE, "list", "-s", store.path], stdout=write,
                            stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert result.returncode != 0
    assert len(result.stderr.splitlines()) <= 1


def test_full_output(store):
    with open("/dev/full", "w") as full:
        result = subprocess.run([COPPICE, "list", "-s", store.path],
                                stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert os.strerror(errno.ENOSPC) in result.stderr


@pytest.mark.limit(120)
def test_list_of_many_states_streams(store, mnt):
    """The first lines come long before the last."""
    for i in range(2000):
        os.mkdir(mnt / f"main@{i:05}")
    with subprocess.Popen([COPPICE, "list", "--json", "-s", store.path],
                          stdout=subprocess.PIPE, text=True) as process:
        rows = json.load(process.stdout)
    assert process.returncode == 0
    assert len(rows) == 2001
    assert [row["name"] for row in rows] == sorted(r["name"] for r in rows)
    mnt.umount()
    assert len(store.names()) == 2001


def test_store_of_another_process(store, mnt, tmp):
    """Opened by someone who does not answer: one clear sentence."""
    os.unlink(store.path / "control")
    mnt.allow("cannot remove '.*/control'")
    result = store.coppice("list", "-s", store.path, code=1)
    assert re.fullmatch(r"coppice: .+\n", result.stderr)
    run_umount = subprocess.run(["umount", mnt.path])
    assert run_umount.returncode == 0
    mnt.process.wait(60 * SLOWER)


def without_descriptors(*args):
    """Run the command with the three standard descriptors closed; return its
    exit code."""
    script = 'exec "$0" "$@" <&- >&- 2>&-'
    return subprocess.run(["sh", "-c", script, COPPICE, *map(str, args)],
                          timeout=120 * SLOWER).returncode


def test_closed_descriptors(store):
    """Nothing of the store gets their numbers: output would go there."""
    source = store.dir / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(200000))
    store.verb("import", "--from", source, "main")
    assert without_descriptors("cat", "-s", store.path, "main:/file") == 1
    assert without_descriptors("list", "-s", store.path) == 1
    assert without_descriptors("snap", "-s", store.path, "main", "one") == 0
    assert store.names() == ["main", "main~one"]


def test_messages_about_options_begin_like_others(store):
    for option in ("--bogus", "-Z"):
        result = store.coppice("gc", option, code=2)
        assert result.stderr.startswith("coppice gc: "), result.stderr
