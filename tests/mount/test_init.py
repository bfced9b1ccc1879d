# SPDX-License-Identifier: LGPL-2.1-or-later
"""A store is made whole or not at all, and on machines with larger pages."""

import errno
import os
import re
import subprocess

import pytest

from conftest import BUILD, COPPICE

CALLS_MOST = 400  # that change files, while a store is made


def preload(**variables):
    """The environment of a program that has calls.c in front of libc."""
    library = BUILD / "tests" / "mount" / "libcalls.so"
    if not library.exists():
        pytest.skip(f"there is no {library}")
    if b"__asan_init" in COPPICE.read_bytes():
        pytest.skip("the sanitizer makes these calls before it can be asked")
    return {"LD_PRELOAD": str(library),
            **{name: str(value) for name, value in variables.items()}}


def coppice(*args, environment=None):
    return subprocess.run([COPPICE, *args], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})})


def init_with(tmp, path, call, error):
    """Make a store; one call fails, or (error 0) the program is killed in front
    of it.  The call, None if it did not come so far; how the program ended."""
    done = tmp / "done"
    done.unlink(missing_ok=True)
    result = coppice("init", path, environment=preload(
        COPPICE_CALL=f"{call} {error} {done}"))
    return done.read_text() if done.exists() else None, result


def expect_store(path):
    result = coppice("check", path)
    assert result.returncode == 0, result
    assert coppice("list", "-s", path).stdout.split() == ["main"]


def content(path):
    return sorted(os.listdir(path)) if path.exists() else None


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_failed_init_leaves_nothing(tmp, error, there):
    store, failures = tmp / "store", 0
    for call in range(1, CALLS_MOST):
        if there:
            (store / "lost+found").mkdir(parents=True)
        before = content(store)
        reached, result = init_with(tmp, store, call, error)
        if result.returncode:
            assert reached and result.returncode == 1, result
            assert re.fullmatch(
                rf"coppice: cannot make a store in '{store}': .+\n",
                result.stderr.splitlines(True)[-1]), result
            # The next one moves away files that cannot be removed.
            rest = content(store)
            if rest != before:
                assert reached in ("unlink", "rmdir"), (reached, rest)
                assert coppice("init", store).returncode == 0
            failures += 1
        if store.exists() and (store / "data.mdb").exists():
            expect_store(store)
        subprocess.run(["rm", "-rf", store], check=True)
        if not reached:
            assert failures > 10
            return
    assert False, "more calls than that"


def test_killed_init(tmp):
    """Whenever it ends, there is a store, or what the next one makes a store."""
    store, halves = tmp / "store", 0
    for call in range(1, CALLS_MOST):
        reached, result = init_with(tmp, store, call, 0)
        if not reached:
            assert result.returncode == 0
            assert content(store) == ["data.mdb"]
            assert halves > 10
            return
        if (store / "data.mdb").exists():
            assert coppice("init", store).returncode == 1
        else:
            if content(store):
                halves += 1
                for verb in (["list", "-s", store], ["check", store],
                             ["mount", "-f", store, tmp]):
                    complaint = coppice(*verb)
                    assert complaint.returncode, complaint
                    assert re.search("coppice init (again|makes one)",
                                     complaint.stderr), (verb, complaint)
            assert coppice("init", store).returncode == 0
            assert content(store) == ["data.mdb"]
        expect_store(store)
        subprocess.run(["rm", "-rf", store], check=True)
    assert False, "more calls than that"


def test_files_of_others_stay(tmp):
    for name in "file", "unfinished/file":
        path = tmp / "store" / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        assert coppice("init", tmp / "store").returncode == 1
        assert path.read_text() == "mine"
        subprocess.run(["rm", "-r", tmp / "store"], check=True)


def test_two_at_once(tmp):
    """One of them makes the store; the others report why they do not."""
    for i in range(10):
        store = tmp / f"store{i}"
        all_of_them = [subprocess.Popen(
            [COPPICE, "init", store], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(4)]
        errors = [p.communicate()[1] for p in all_of_them]
        assert sorted(p.returncode for p in all_of_them) == [0, 1, 1, 1], errors
        for p, complaint in zip(all_of_them, errors):
            assert p.returncode == 0 or re.search(
                "there is a store already|another process is making one",
                complaint), complaint
        assert content(store) == ["data.mdb"]
        expect_store(store)


def use(mnt, text):
    fork, snapshot = f"main@{text}", f"main/.snap/{text}"
    (mnt / "main" / "file").write_text(text)
    (mnt / fork).mkdir()
    (mnt / snapshot).mkdir()
    (mnt / "main" / "large").write_bytes(text.encode() * 300000)
    for path in "main", fork, snapshot:
        assert (mnt / path / "file").read_text() == text


@pytest.mark.parametrize("size", [16384, 65536])
def test_larger_pages(make_store, tmp, size):
    """The pages of a store have 4 KiB on each machine, whatever its own have."""
    pages = preload(COPPICE_PAGES=size)
    assert coppice("init", tmp / "made", environment=pages).returncode == 0
    data = (tmp / "made" / "data.mdb").read_bytes()
    assert data[40:44] == (4096).to_bytes(4, "little")
    expect_store(tmp / "made")
    # Made there, used here, and the other way round.
    store = make_store()
    (tmp / "made" / "data.mdb").rename(store.path / "data.mdb")
    for i, environment in enumerate(({}, pages, {}, pages)):
        mnt = store.mount(environment=environment)
        if i:
            assert (mnt / "main" / "large").read_bytes() == (
                f"text{i - 1}".encode() * 300000)
        use(mnt, f"text{i}")
        mnt.umount()
        assert coppice("check", "--data", store.path,
                       environment=pages).returncode == 0
    store.check()
    # One of the two meta pages is damaged: the other one is used.
    with open(store.path / "data.mdb", "r+b") as file:
        file.seek(16)
        file.write(b"\xa5" * 8)
    mnt = store.mount("ro", options="ro", environment=pages)
    mnt.allow(".*one of its two meta pages is damaged.*\n")
    assert (mnt / "main" / "file").read_text() == "text3"
    mnt.umount()
    assert "repaired" in store.coppice("check", "--repair", store.path).stdout
