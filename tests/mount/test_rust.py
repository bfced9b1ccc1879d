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


def test_beside_a_mount(tmp, store, mnt):
    """Changes go through the daemon, and both sides see them."""
    def kv(*args, **keywords):
        return cargo(tmp, "run", "--quiet", "--example", "kv", store.path,
                     *args, **keywords)

    (mnt / "main" / "written").write_text("by the mount")
    kv("main", "put", "d/one", "1", "d/two", "2", "e", "3")
    assert (mnt / "main" / "d" / "two").read_text() == "2"
    assert kv("main", "list", "d") == "one\ntwo\n"
    assert kv("main", "list", "", "writ") == "written\n"
    (mnt / "main" / ".snap" / "monday").mkdir()
    store.verb("sync")
    assert kv("main~monday", "get", "written") == "by the mount"
    assert "no key 'none'" in kv("main", "get", "none", code=1)


@pytest.mark.skipif(bool(SANITIZER), reason="AddressSanitizer ends programs "
                    "that ask for so much memory")
def test_a_value_may_be_longer_than_memory(tmp, store, mnt):
    (mnt / "main" / "sparse").touch()
    os.truncate(mnt / "main" / "sparse", LONGEST)
    (mnt / "main" / ".snap" / "one").mkdir()
    store.verb("sync")
    out = cargo(tmp, "run", "--quiet", "--example", "kv", store.path,
                "main~one", "get", "sparse", code=1)
    assert out == "kv: out of memory for the value of a key\n"
