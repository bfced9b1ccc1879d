# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that people run, in a fork."""
import os
import random
import shutil
import socket
import stat
import subprocess
import sys

import pytest

from conftest import SANITIZED, SLOWER
from linux import git_env, raises, run, tree_digest

TREES = ["/usr/include"] if SANITIZED else ["/usr/include", "/usr/share/doc"]
RSYNC = ["rsync", "-aHAX", "--delete"]


def rsync_finds_nothing(source, target):
    changes = run(*RSYNC, "--checksum", "--dry-run", "--itemize-changes",
                  f"{source}/", f"{target}/")
    assert changes == ""


def odd_tree(top):
    """Make a tree with what backups stumble over."""
    rng = random.Random(1)
    top.mkdir()
    for mode in 0, 0o111, 0o200, 0o444, 0o777, 0o4755, 0o2755, 0o6711, 0o1644:
        path = top / f"mode-{mode:o}"
        path.write_bytes(rng.randbytes(100))
        path.chmod(mode)
    for mode in 0o1777, 0o2775, 0o500, 0o311:
        path = top / f"dir-{mode:o}"
        path.mkdir()
        (path / "inside").write_text("x")
        path.chmod(mode)
    for size in 0, 1, 255, 256, 257, 4095, 4096, 65535, 65536, 65537, 300000:
        (top / f"size-{size}").write_bytes(rng.randbytes(size))
    (top / "zeroes").write_bytes(bytes(200000))
    (top / "empty").mkdir()
    for i in range(50):
        os.link(top / "size-4096", top / f"link-{i}")
    os.link(top / "mode-4755", top / "empty" / "link")
    os.symlink("size-1", top / "symlink")
    os.symlink("/nowhere/at/all", top / "dangling")
    os.symlink("x" * 4000, top / "long-symlink")
    os.link(top / "symlink", top / "linked-symlink", follow_symlinks=False)
    os.mkfifo(top / "fifo", 0o640)
    os.mknod(top / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(top / "block", stat.S_IFBLK | 0o660, os.makedev(259, 1048575))
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.open(top, os.O_RDONLY)
        sock.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    for name in (b"new\nline", b" leading", b"trailing ", b"-dash", b"\xff\xfe",
                 b"*?[", b"\\", "ünïcödé".encode(), b"n" * 255, b"\x01\x7f"):
        with open(os.path.join(os.fsencode(top), name), "wb") as file:
            file.write(name)
    with open(top / "sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
    os.setxattr(top / "size-1", "user.small", b"value")
    os.setxattr(top / "size-1", "trusted.mine", b"\x00\xff")
    os.setxattr(top / "size-255", "user.larger", rng.randbytes(3000))
    os.setxattr(top / "empty", "user.empty", b"")
    os.chown(top / "size-256", 12345, 54321)
    os.chown(top / "symlink", 1, 2, follow_symlinks=False)
    os.utime(top / "size-257", ns=(0, 1))
    os.utime(top / "size-4095", ns=(0, -(10**18)))
    os.utime(top / "size-65535", ns=(0, 5 * 10**18 + 123456789))
    os.utime(top / "dangling", ns=(0, 10**18), follow_symlinks=False)
    if shutil.which("setfacl"):
        run("setfacl", "-m", "u:1234:rwx,g:99:r", top / "size-65536")
        run("setfacl", "-d", "-m", "u:1234:rx", top / "dir-1777")


@pytest.fixture
def odd(tmp):
    odd_tree(tmp / "odd")
    return tmp / "odd"


def test_rsync_odd_tree(odd, main):
    run(*RSYNC, f"{odd}/", f"{main}/")
    rsync_finds_nothing(odd, main)


def test_rsync_odd_tree_back_from_a_snapshot(odd, tmp, main):
    run(*RSYNC, f"{odd}/", f"{main}/")
    (main / ".snap" / "monday").mkdir()
    run("rm", "-rf", main / "dir-500", main / "size-1", main / "link-3")
    (main / "size-4096").write_text("changed, under every name")
    rsync_finds_nothing(odd, main / ".snap" / "monday")
    run(*RSYNC, f"{main}/.snap/monday/", f"{tmp}/back/")
    rsync_finds_nothing(odd, tmp / "back")


@pytest.mark.limit(240)
@pytest.mark.parametrize("tree", TREES)
def test_rsync_real_tree(tree, store, mnt):
    run(*RSYNC, f"{tree}/", f"{mnt}/main/")
    rsync_finds_nothing(tree, mnt / "main")
    mnt.umount()
    mnt = store.mount()
    rsync_finds_nothing(tree, mnt / "main")


@pytest.mark.limit(180)
def test_backup_day_by_day(tmp, main):
    """rsync --delete and a snapshot, again and again."""
    source = tmp / "source"
    shutil.copytree("/usr/include/linux", source, symlinks=True)
    rng = random.Random(2)
    for day in range(5):
        run(*RSYNC, f"{source}/", f"{main}/")
        (main / ".snap" / f"day-{day}").mkdir()
        run("cp", "-a", source, tmp / f"day-{day}")
        files = sorted(p for p in source.rglob("*") if p.is_file())
        for path in rng.sample(files, 20):
            path.unlink()
        for path in rng.sample(sorted(set(files)), 20):
            if path.exists():
                path.write_bytes(rng.randbytes(rng.randrange(20000)))
        (source / f"new-{day}").mkdir()
        (source / f"new-{day}" / "file").write_text("x" * day)
    for day in range(5):
        rsync_finds_nothing(tmp / f"day-{day}", main / ".snap" / f"day-{day}")
        run("diff", "-r", "--no-dereference", tmp / f"day-{day}",
            main / ".snap" / f"day-{day}")


def test_cp_a_and_diff(work, odd):
    run("cp", "-a", odd, work / "copy")
    rsync_finds_nothing(odd, work / "copy")
    run("cp", "-a", work / "copy", work / "again")
    rsync_finds_nothing(odd, work / "again")
    (work / "again" / "size-300000").write_text("other")
    differ = run("diff", "-rq", work / "copy" / "empty",
                 work / "again" / "empty")
    assert differ == ""
    run("cmp", work / "copy" / "size-300000", work / "again" / "size-300000",
        code=1)


def test_cp_between_states(mnt, main):
    """diff, cp and tar must not take the two for the same files."""
    (main / "dir").mkdir()
    for i in range(20):
        (main / "dir" / f"{i}").write_text(f"{i}\n" * 100)
    (mnt / "main@other").mkdir()
    (mnt / "main@other" / "dir" / "7").write_text("seven\n")
    report = run("diff", "-rq", main, mnt / "main@other", code=1)
    assert report.count("differ") == 1 and "dir/7" in report
    run("cp", "-a", main / "dir", mnt / "main@other" / "dir2")
    run("diff", "-r", main / "dir", mnt / "main@other" / "dir2")
    run("cp", main / "dir" / "3", mnt / "main@other" / "dir" / "3")
    both = run("tar", "cf", "-", "-C", mnt, "main", "main@other")
    assert both.count("ustar") >= 60


def test_mv_between_states_copies(mnt, main):
    (main / "dir").mkdir()
    (main / "dir" / "file").write_text("moved")
    (mnt / "main@other").mkdir()
    shutil.rmtree(mnt / "main@other" / "dir")
    run("mv", main / "dir", mnt / "main@other" / "dir")
    assert not (main / "dir").exists()
    assert (mnt / "main@other" / "dir" / "file").read_text() == "moved"


def test_tar(work, odd, tmp):
    names = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    run("tar", *names, "-C", odd, "-cf", work / "odd.tar", ".")
    (work / "out").mkdir()
    said = subprocess.run(
        ["tar", *names, "-C", work / "out", "-xpSf", work / "odd.tar"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=100 * SLOWER,
        check=True)
    assert b"acl" not in said.stderr, said.stderr
    run("rm", work / "out" / "socket", "-f")
    (odd / "socket").unlink()
    os.utime(odd, ns=(10**18, 10**18))
    os.utime(work / "out", ns=(10**18, 10**18))
    # tar keeps whole seconds in its plain format
    changes = run(*RSYNC, "--checksum", "--dry-run", "--itemize-changes",
                  "--modify-window=1", f"{odd}/", f"{work}/out/")
    assert [line for line in changes.splitlines() if "cd+" in line] == []
    run("tar", "-C", work, "--compare", "-f", work / "odd.tar", "-C",
        work / "out")


def git(where, *args):
    return run("git", "-c", "safe.directory=*", *args, cwd=where,
               env=git_env(where))


@pytest.mark.limit(120)
def test_git(mnt, main):
    repo = main / "repo"
    shutil.copytree("/usr/include/linux", repo, symlinks=True)
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    (repo / "new").write_text("x\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "two")
    git(repo, "gc", "-q", "--prune=now")
    git(repo, "fsck", "--strict")
    git(repo, "checkout", "-q", "HEAD~1")
    assert not (repo / "new").exists()
    git(repo, "checkout", "-q", "-")
    assert git(repo, "status", "--porcelain") == ""
    git(repo, "worktree", "add", "-q", "../second")
    assert git(main / "second", "status", "--porcelain") == ""


def test_git_index_survives_a_fork(mnt, main):
    """A forked checkout is not hashed again."""
    repo = main / "repo"
    repo.mkdir()
    git(repo, "init", "-q")
    for i in range(200):
        (repo / f"{i}").write_text(f"{i}")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    # Past the second in which the index was written, or git hashes anyway.
    for path in repo.glob("[0-9]*"):
        os.utime(path, ns=(10**18, 10**18))
    git(repo, "add", "-A")
    assert git(repo, "status", "--porcelain") == ""
    (mnt / "main@fork").mkdir()
    fork = mnt / "main@fork" / "repo"
    # diff-files compares the index's stat data alone, without refreshing it.
    assert git(fork, "diff-files", "--name-only") == ""
    (fork / "7").write_text("other")
    assert git(fork, "diff-files", "--name-only").split() == ["7"]
    assert git(repo, "diff-files", "--name-only") == ""


def test_find(mnt, work, odd):
    run("cp", "-a", odd, work / "odd")
    count = run("find", work / "odd", "-printf", "x").count("x")
    assert count == run("find", odd, "-printf", "x").count("x")
    assert len(run("find", work, "-samefile", work / "odd" / "link-7"
                   ).split()) == 51
    assert run("find", work / "odd", "-type", "p").split() == [
        str(work / "odd" / "fifo")]
    assert ".snap" not in run("find", mnt)


def test_compile_and_run(work):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    (work / "hello.c").write_text(
        '#include <stdio.h>\nint main(void)\n'
        '{ puts("hello from a fork"); return 0; }\n')
    run("cc", "-g", "-O1", "-o", work / "hello", work / "hello.c")
    assert run(work / "hello") == "hello from a fork\n"
    (work.parent / "main@work@next").mkdir()
    assert run(work.parent / "main@work@next" / "hello"
               ) == "hello from a fork\n"


def test_text_file_busy(work):
    shutil.copy("/bin/sleep", work / "sleep")
    child = subprocess.Popen([work / "sleep", "60"])
    try:
        with raises(26):  # ETXTBSY
            os.open(work / "sleep", os.O_WRONLY)
    finally:
        child.kill()
        child.wait()


def test_make_in_parallel(work):
    if not shutil.which("make") or not shutil.which("cc"):
        pytest.skip("no make or no C compiler")
    src = work / "src"
    src.mkdir()
    for i in range(12):
        (src / f"f{i}.c").write_text(f"int f{i}(void) {{ return {i}; }}\n")
    calls = " + ".join(f"f{i}()" for i in range(12))
    decls = "\n".join(f"int f{i}(void);" for i in range(12))
    (src / "main.c").write_text(
        f"{decls}\nint main(void) {{ return {calls} == 66 ? 0 : 1; }}\n")
    (src / "Makefile").write_text(
        "OBJS = $(patsubst %.c,%.o,$(wildcard *.c))\n"
        "prog: $(OBJS)\n\tcc -o $@ $^\n%.o: %.c\n\tcc -c -o $@ $<\n")
    run("make", "-j4", cwd=src)
    run(src / "prog")
    assert "up to date" in run("make", cwd=src)


def test_sqlite_wal(work):
    sqlite3 = pytest.importorskip("sqlite3")
    path = work / "db"
    writer = sqlite3.connect(path)
    assert writer.execute("pragma journal_mode=wal").fetchone() == ("wal",)
    writer.execute("create table t (n integer)")
    reader = sqlite3.connect(path)
    for i in range(50):
        with writer:
            writer.execute("insert into t values (?)", (i,))
        assert reader.execute("select count(*) from t").fetchone() == (i + 1,)
    (work.parent / "main@work@copy").mkdir()
    fork = sqlite3.connect(work.parent / "main@work@copy" / "db")
    assert fork.execute("select sum(n) from t").fetchone() == (1225,)
    with fork:
        fork.execute("delete from t")
    assert reader.execute("select count(*) from t").fetchone() == (50,)
    assert fork.execute("pragma integrity_check").fetchone() == ("ok",)
    for database in writer, reader, fork:
        database.close()


def test_snapshot_digest_never_changes(main, odd):
    run("cp", "-a", odd, main / "odd")
    (main / ".snap" / "kept").mkdir()
    before = tree_digest(main / ".snap" / "kept")
    run("rm", "-rf", main / "odd")
    (main / "odd").mkdir()
    (main / "odd" / "size-1").write_text("new file with an old name")
    assert tree_digest(main / ".snap" / "kept") == before


def test_python_module(work):
    (work / "module.py").write_text("print('imported')\n")
    assert run(sys.executable, "-c", "import module", cwd=work,
               env={"PYTHONPATH": str(work)}) == "imported\n"
    assert list((work / "__pycache__").iterdir())
