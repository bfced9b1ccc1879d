# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package for Python beside mounts: its examples, and the daemon."""
import subprocess

from python_package import BUILD, SOURCE, run

EXAMPLES = SOURCE / "examples"


def test_validator(store):
    run("-W", "error", EXAMPLES / "validator.py", "--slots", 6,
                "--puts", 300, "--keep", 4, store.path)
    mnt = store.mount()
    snapshots = mnt / "main" / ".snap"
    assert sorted(path.name for path in snapshots.iterdir()) == [
        "slot-3", "slot-4", "slot-5", "slot-6"]
    for slot in snapshots.iterdir():
        assert slot.name == "slot-" + (slot / "head").read_text()
    # The slot in which the crash was has left nothing.
    assert (mnt / "main" / "head").read_text() == "6"
    names = {path.name for path in mnt.path.iterdir()}
    assert {"alfred", "elly", "cory", "dian-second", "cory-third"} <= names
    assert {path.name for path in (mnt / "cory" / "blocks").iterdir()} == {
        "alfred", "boris", "claire", "chris", "diaz", "cory"}
    assert (mnt / "dian-third" / "head").read_text() == "dian-third"
    # A file of the mount is a value of the package.
    (mnt / "elly" / "from-the-mount").write_text("a value")
    mnt.umount()
    run("-c", "import coppice, sys\n"
                "with coppice.Store(sys.argv[1], read_only=True) as store:\n"
                "    elly = store.open('elly')\n"
                "    assert elly['from-the-mount'] == b'a value'\n",
                store.path)


def test_packages(store):
    output = run("-W", "error", EXAMPLES / "packages.py", store.path)
    assert [line.split("\t")[:2] for line in output.splitlines()] == [
        ["1", "initial"], *([n, "transaction"] for n in "278")]
    mnt = store.mount()
    assert (mnt / "system" / "bin" / "sh").read_text().startswith("shell 6 ")
    assert (mnt / "system" / ".snap" / "2" / "bin" / "vi").exists()
    assert (mnt / "cache" / "editor-1" / "share" / "vi" / "help").exists()
    # Readers beside the daemon: this one, and that in C.
    assert run(EXAMPLES / "packages.py", store.path, "list") == output
    packages = BUILD / "tools" / "lib" / "examples" / "packages"
    assert subprocess.run([packages, store.path, "list"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout == output


def test_key_value(store):
    def keyvalue(*args):
        return run("-W", "error", EXAMPLES / "keyvalue.py", store.path, *args)

    keyvalue()
    assert keyvalue("revisions", "main", "limit") == "r1\t5\nr3\t6\nr4\t8\n"
    mnt = store.mount()
    assert (mnt / "main" / "limit=").read_text() == "8"
    keyvalue("put", "main", "user/dora", "1", "a//b", "2")
    assert (mnt / "main" / "user" / "dora=").read_text() == "1"
    store.verb("sync")
    assert keyvalue("get", "main", "a//b") == "2\n"
    assert keyvalue("list", "main", "user/d") == "user/dora\n"
    assert keyvalue("ancestors", "main~r4") == "main\n"


THROUGH_THE_DAEMON = """if True:
    import sys
    import coppice
    with coppice.Store(sys.argv[1]) as store:
        main = store.open("main")
        store.sync()
        assert main["from-the-mount"] == b"1"
        with main.batch(snapshot="both") as batch:
            batch["from-python"] = b"2"
        store.fork("main~both", "fork")
        with store.open("fork").batch() as batch:
            batch.update({f"many/{i}": b"%d" % i for i in range(600)})
        print(len(store.open("fork")), len(main))
        store.remove("fork")
        store.reclaim()
        assert store.stats().reclaiming == 0
"""


def test_changes_go_through_the_daemon(store):
    mnt = store.mount()
    (mnt / "main" / "from-the-mount").write_text("1")
    assert run("-c", THROUGH_THE_DAEMON, store.path) == "602 2\n"
    assert (mnt / "main" / "from-python").read_text() == "2"
    assert (mnt / "main" / ".snap" / "both" / "from-python").exists()
    assert not (mnt / "fork").exists()
