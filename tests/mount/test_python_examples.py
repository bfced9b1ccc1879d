# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the examples of the package for Python write, seen through a mount."""
from python_package import SOURCE, run

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
    assert len(output.splitlines()) == 4
    mnt = store.mount()
    assert (mnt / "system" / "bin" / "sh").read_text() == "shell 4"
    assert (mnt / "system" / ".snap" / "2" / "bin" / "vi").exists()


def test_key_value(store):
    run("-W", "error", EXAMPLES / "keyvalue.py", store.path)
    mnt = store.mount()
    assert (mnt / "main" / "limit=").read_text() == "7"
