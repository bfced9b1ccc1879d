# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Rust crates: their own tests, and an example seen through a mount."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import BUILD, SLOWER

LONGEST = 2 ** 62  # bytes of a file
CRATES = Path(__file__).resolve().parents[2] / "tools" / "rust"
LIBRARY = BUILD / "tools" / "lib"


def sanitizer():
    """Return the sanitizer of the build: "asan", "tsan" or ""."""
    code = (LIBRARY / "libcoppice.so").read_bytes()
    return next((name for name in ("asan", "tsan")
                 if f"__{name}_init".encode() in code), "")


SANITIZER = sanitizer()

pytestmark = [
    pytest.mark.skipif(not shutil.which("cargo"), reason="no cargo"),
    pytest.mark.skipif(SANITIZER == "tsan", reason="ThreadSanitizer cannot see "
                       "the locks of Rust's standard library"),
]


def output(*command):
    return subprocess.run(command, text=True, check=True,
                          stdout=subprocess.PIPE).stdout


def runner():
    """Return the variable that has cargo load the sanitizer's runtime before
    all else into the tests, and into no compiler."""
    host = re.search(r"^host: (.*)$", output("rustc", "-vV"), re.MULTILINE)[1]
    library = output("cc", "-print-file-name=libasan.so").strip()
    name = f"CARGO_TARGET_{host.upper().replace('-', '_')}_RUNNER"
    return {name: f"env LD_PRELOAD={library}"}


def cargo(tmp, *args, code=0):
    """Run cargo, whose exit code must be `code`, and return what it prints."""
    env = {**os.environ, "CARGO_TARGET_DIR": str(BUILD / "rust"),
           "COPPICE_LIB_DIR": str(LIBRARY), "LD_LIBRARY_PATH": str(LIBRARY),
           "TMPDIR": str(tmp), "RUST_BACKTRACE": "0"}
    if SANITIZER:
        env |= runner()
    done = subprocess.run(
        ["cargo", args[0], "--offline", "--locked", *args[1:]], cwd=CRATES,
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300 * SLOWER, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_crates(tmp):
    out = cargo(tmp, "test", "--workspace", "--tests")
    assert "readers_see_a_batch_whole ... ok" in out
    assert "every_function_is_declared ... ok" in out


@pytest.mark.skipif(bool(SANITIZER), reason="the examples in the documentation are "
                    "programs that cargo does not run with a runner")
def test_documentation(tmp):
    out = cargo(tmp, "test", "-p", "coppice", "--doc")
    assert "src/lib.rs" in out


def test_validator(tmp, make_store):
    """Its example follows forks of a chain; a mount shows them."""
    store = make_store()
    out = cargo(tmp, "run", "--example", "validator", store.path, "3", "200")
    assert "28 forks" in out and "slots are whole" in out
    mnt = store.mount()
    forks = {path.name for path in mnt.path.iterdir()}
    assert {"main", "crash", "alfred", "elly", "cory", "cory-3"} <= forks
    for name in "alfred", "elly", "cory":
        fork = mnt / name
        assert (fork / "finalized").read_text() == "slot-1"
        assert (fork / "accounts" / "07" / "107").stat().st_size == 1000
        assert len(list((fork / "accounts").iterdir())) == 100
        for slot in (fork / ".snap").iterdir():
            assert len(list((slot / "accounts" / "42").iterdir())) == 10
    assert len(list((mnt / "alfred" / ".snap").iterdir())) == 2


def kv(tmp, store, *args, **keywords):
    return cargo(tmp, "run", "--quiet", "--example", "kv", store.path, *args,
                 **keywords)


def test_key_value(tmp, store):
    """Revisions of a key, forks and joins of keys."""
    kv(tmp, store)
    assert kv(tmp, store, "revisions", "main", "limit") == \
        "r1\t5\nr3\t6\nr4\t8\n"
    mnt = store.mount()
    assert (mnt / "main" / "limit").read_text() == "8"
    assert (mnt / "main" / ".snap" / "r2" / "user" / "ann").exists()
    assert not (mnt / "main" / "user" / "ann").exists()


def test_packages(tmp, store):
    """States of a system: tried, switched to, gone back to, expired."""
    out = cargo(tmp, "run", "--quiet", "--example", "packages", store.path)
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        ["1", "initial"], *([n, "transaction"] for n in "278")]
    mnt = store.mount()
    assert (mnt / "system" / "bin" / "sh").read_text().startswith("shell 6 ")
    assert (mnt / "system" / ".snap" / "2" / "bin" / "vi").exists()
    assert (mnt / "cache" / "editor-1" / "share" / "vi" / "help").exists()
    # Readers beside the daemon: this one, and that in C.
    assert cargo(tmp, "run", "--quiet", "--example", "packages", store.path,
                 "list") == out
    assert output(LIBRARY / "examples" / "packages", store.path, "list") == out


def test_beside_a_mount(tmp, store, mnt):
    """Changes go through the daemon, and both sides see them."""
    (mnt / "main" / "written").write_text("by the mount")
    kv(tmp, store, "put", "main", "d/one", "1", "d/two", "2", "e", "3")
    assert (mnt / "main" / "d" / "two").read_text() == "2"
    assert kv(tmp, store, "list", "main", "d") == "one\ntwo\n"
    assert kv(tmp, store, "list", "main", "", "writ") == "written\n"
    (mnt / "main" / ".snap" / "monday").mkdir()
    store.verb("sync")
    assert kv(tmp, store, "get", "main~monday", "written") == "by the mount\n"
    assert "no key 'none'" in kv(tmp, store, "get", "main", "none", code=1)


@pytest.mark.skipif(bool(SANITIZER), reason="AddressSanitizer ends programs "
                    "that ask for so much memory")
def test_a_value_may_be_longer_than_memory(tmp, store, mnt):
    (mnt / "main" / "sparse").touch()
    os.truncate(mnt / "main" / "sparse", LONGEST)
    (mnt / "main" / ".snap" / "one").mkdir()
    store.verb("sync")
    out = kv(tmp, store, "get", "main~one", "sparse", code=1)
    assert out == "kv: out of memory for the value of a key\n"
