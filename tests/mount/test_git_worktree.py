# SPDX-License-Identifier: LGPL-2.1-or-later
"""git coppice-worktree: forks of a state with a repository in it."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import COPPICE, SLOWER
from linux import git_env

TOOLS = Path(__file__).resolve().parents[2] / "tools"

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git")


class Git:
    def __init__(self, home, repo):
        self.env = git_env(home)
        self.env["PATH"] = f"{TOOLS}:{COPPICE.parent}:{self.env['PATH']}"
        self.repo = repo

    def __call__(self, *args, cwd=None, code=0):
        done = subprocess.run(["git", *args], cwd=cwd or self.repo,
                              env=self.env, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60 * SLOWER,
                              check=False)
        assert done.returncode == code, done
        return done.stderr if code else done.stdout

    def worktree(self, *args, **keywords):
        return self("coppice-worktree", *args, **keywords)


@pytest.fixture
def git(main, tmp):
    """A repository with a hundred files; the branch other has changed ten."""
    repo = main / "src" / "project"
    repo.mkdir(parents=True)
    git = Git(tmp, repo)
    git("init", "-q", "-b", "trunk")
    for i in range(100):
        (repo / f"f{i}").write_text(f"{i}\n")
    git("add", ".")
    git("commit", "-qm", "first")
    git("checkout", "-q", "-b", "other")
    for i in range(10):
        (repo / f"f{i}").write_text(f"other {i}\n")
    git("commit", "-qam", "second")
    git("checkout", "-q", "trunk")
    # Entries as young as the index would be read again in any case.
    for i in range(100):
        os.utime(repo / f"f{i}", (1e9, 1e9))
    git("update-index", "--refresh")
    return git


def test_the_index_stays_valid(git, mnt):
    """diff-files does not look into files: it lists those whose attributes
    are not what the index has."""
    (mnt / "main@fork").mkdir()
    copy = mnt / "main@fork" / "src" / "project"
    assert git("diff-files", cwd=copy) == ""
    shutil.copytree(git.repo, git.repo.parent / "copy")
    assert git("diff-files", cwd=git.repo.parent / "copy") != ""


def test_only_what_differs_is_written(git, mnt):
    new = Path(git.worktree("add", "main@fix", "other").rstrip("\n"))
    assert new == mnt / "main@fix" / "src" / "project"
    assert git("status", "--porcelain", "--branch", cwd=new) == "## other\n"
    assert (new / "f3").read_text() == "other 3\n"
    assert (git.repo / "f3").read_text() == "3\n"
    written = [i for i in range(100)
               if os.stat(new / f"f{i}").st_ctime_ns !=
               os.stat(git.repo / f"f{i}").st_ctime_ns]
    assert written == list(range(10))


def test_commits_come_back_by_fetch(git, store):
    new = git.worktree("add", "-b", "main@fix", "fix").rstrip("\n")
    Path(new, "f0").write_text("fixed\n")
    git("commit", "-qam", "fix", cwd=new)
    assert git("branch", "--format=%(refname:short)") == "other\ntrunk\n"
    assert "has commits of its own: get them with 'git fetch " in \
        git.worktree("remove", "main@fix", code=128)
    git("fetch", "-q", new, "fix:fix")
    assert git("show", "fix:f0") == "fixed\n"
    git.worktree("remove", "main@fix")
    assert store.names() == ["main"]


def test_list(git, store):
    git.worktree("add", "main@a", "other")
    git.worktree("add", "main@b", "trunk~0")
    store.verb("fork", "main", "empty")
    subprocess.run(["rm", "-r", git.repo.parents[2] / "empty" / "src"],
                   check=True)
    head = git("rev-parse", "HEAD").strip()
    other = git("rev-parse", "other").strip()
    top = git.repo.parents[2]
    assert git.worktree("list").splitlines() == [
        f"{top}/main/src/project  {head[:10]} [trunk]",
        f"{top}/main@a/src/project  {other[:10]} [other]",
        f"{top}/main@b/src/project  {head[:10]} (detached HEAD)"]
    assert git.worktree("list", "--porcelain").split("\n\n")[1:] == [
        f"worktree {top}/main@a/src/project\nHEAD {other}\n"
        "branch refs/heads/other",
        f"worktree {top}/main@b/src/project\nHEAD {head}\ndetached", ""]


def test_remove_what_has_changes(git, store):
    new = Path(git.worktree("add", "main@a").rstrip("\n"))
    (new / "untracked").touch()
    assert "contains modified or untracked files" in \
        git.worktree("remove", "main@a", code=128)
    git.worktree("remove", "--force", "main@a")
    assert store.names() == ["main"]


def test_a_checkout_that_is_not_possible_leaves_no_fork(git, store):
    (git.repo / "f3").write_text("in the way\n")
    assert "would be overwritten by checkout" in \
        git.worktree("add", "main@a", "other", code=1)
    (git.repo / ".git" / "index.lock").touch()
    assert "a git command is running in" in \
        git.worktree("add", "main@a", code=128)
    (git.repo / ".git" / "index.lock").unlink()
    git("config", "core.worktree", git.repo)
    assert "names '" in git.worktree("add", "main@a", code=128)
    assert store.names() == ["main"]


def test_bad_input(git, store, tmp):
    for args, code, says in (
            ([], 129, "usage: git coppice-worktree add"),
            (["add"], 129, "usage: "),
            (["add", "main@a", "none"], 128, "invalid reference: none"),
            (["add", "a/b"], 128, "'a/b' is not the name of a fork"),
            (["add", "main"], 128, "cannot make 'main': the name is taken"),
            (["remove", "main"], 128, "the fork that this repository is in"),
            (["remove", "none"], 128, "not a fork with this repository")):
        assert says in git.worktree(*args, code=code)
    assert "is not inside a mounted store" in subprocess.run(
        ["sh", "-c", "git init -q out && cd out && git coppice-worktree list"],
        cwd=tmp, env=git.env, text=True, capture_output=True,
        check=False).stderr
    git("worktree", "add", "-q", git.repo.parent / "linked", "other")
    assert "is a linked worktree" in git.worktree(
        "add", "main@a", cwd=git.repo.parent / "linked", code=128)
    git("clone", "-q", "--separate-git-dir", tmp / "elsewhere", git.repo,
        git.repo.parent / "clone")
    assert "is outside of the state" in git.worktree(
        "add", "main@a", cwd=git.repo.parent / "clone", code=128)
    mnt = store.mount("alone", "state=main")
    assert "is a mount of one state" in git.worktree(
        "list", cwd=mnt / "src" / "project", code=128)
    assert store.names() == ["main"]
