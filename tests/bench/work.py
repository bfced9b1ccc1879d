# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real work: unpacking, git, grep, databases; builds and more in projects.py."""
import contextlib
import os
import pwd
import re
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import machine
import projects

TITLE = "Real work"
KINDS = ("coppice", "coppice-fork", "native", "btrfs", "passthrough", "overlay")


def _keep(bench, peer, test, seconds):
    bench.results.add(test, peer.name, seconds, "s")


def _source(bench, peer, tags):
    """Unpack a release and look through it.  FUSE fetches the attributes of a
    file again after its content was read, so the third time is the warm one."""
    tree = peer.tree / "source"
    tree.mkdir()
    _keep(bench, peer, "untar", machine.timed(
        "tar", "xf", bench.archive(tags[-1]), "-C", tree))
    for test in "grep -r", "grep -r, again", "grep -r, third time":
        _keep(bench, peer, test, machine.timed(
            "grep", "-r", "no such words", tree, good=(0, 1)))
    peer.cold()
    _keep(bench, peer, "grep -r, cold", machine.timed(
        "grep", "-r", "no such words", tree, good=(0, 1)))
    _keep(bench, peer, "rm -rf of it", machine.timed("rm", "-rf", tree))


def _settle(clone):
    """Date the index later than all files.  git reads those again that were
    written in the same second as the index: more of them on a faster file
    system, and a different number each time."""
    later = time.time() + 2
    os.utime(clone / ".git" / "index", (later, later))


def _git(bench, peer, tags):
    """The work tree is the peer's; the objects stay where they are."""
    clone = peer.tree / "clone"
    machine.run("git", "clone", "-q", "-s", "-n", bench.repo, clone)

    def git(test, *arguments):
        _keep(bench, peer, test, machine.timed(
            "git", "-C", clone, "-c", "advice.detachedHead=false", "-c",
            "maintenance.auto=false", *arguments))

    git("git checkout, first", "checkout", "-q", tags[0])
    _settle(clone)
    for test in "git status", "git status, again", "git status, third time":
        git(test, "status", "--porcelain")
    git("git checkout, far release", "checkout", "-q", tags[-1])
    _settle(clone)
    git("git status after it", "status", "--porcelain")
    machine.run("rm", "-rf", clone)


def _sqlite(bench, peer):
    """One transaction a row, then many rows in one, then reading."""
    rows = bench.sizes.sql_rows
    path = peer.tree / "database"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("create table t (id integer primary key, data blob)")
        begin = time.monotonic()
        for i in range(rows // 20):
            db.execute("insert into t values (?, ?)", (i, os.urandom(200)))
        spent = time.monotonic() - begin
        bench.results.add("SQLite, durable transactions", peer.name,
                          rows // 20 / spent, "a second")
        begin = time.monotonic()
        db.execute("begin")
        for i in range(rows, 21 * rows):
            db.execute("insert into t values (?, ?)", (i, os.urandom(200)))
        db.execute("commit")
        db.execute("select count(*) from t where data > x'80'").fetchone()
        _keep(bench, peer, f"SQLite, {20 * rows:,} rows in one transaction",
              time.monotonic() - begin)
    path.unlink()


def _postgres_programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    pgbench = shutil.which("pgbench")
    if not found or not (pgbench or (found[-1].parent / "pgbench").exists()):
        raise machine.Missing("no PostgreSQL with initdb and pgbench")
    if not machine.is_root() or not shutil.which("runuser"):
        raise machine.Missing("needs root, and runuser")
    try:
        pwd.getpwnam("postgres")
    except KeyError as error:
        raise machine.Missing("no user postgres") from error
    return found[-1].parent, pgbench or found[-1].parent / "pgbench"


def _pgbench(bench, peer):
    programs, pgbench = _postgres_programs()
    if peer.name == "passthrough_ll":
        raise machine.Missing("passthrough_ll makes every file root's")
    data = peer.tree / "postgres"
    data.mkdir()
    shutil.chown(data, "postgres")

    def postgres(*command):
        return machine.run("runuser", "-u", "postgres", "--", *command,
                           cwd="/")

    try:
        postgres("test", "-w", data)
    except machine.Failed as error:
        raise machine.Missing("the user postgres cannot reach --dir") from error
    cluster = data / "cluster"
    postgres(programs / "initdb", "-A", "trust", cluster)
    server = (programs / "pg_ctl", "-w", "-D", cluster, "-l", data / "log")
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="bench-") as socket:
        shutil.chown(socket, "postgres")
        postgres(*server, "-o", f"-k {socket} -h ''", "start")
        _pgbench_run(bench, peer, postgres, pgbench, server, socket)
    shutil.rmtree(data)


def _pgbench_run(bench, peer, postgres, pgbench, server, socket):
    where = ("-h", socket, "-U", "postgres")
    try:
        postgres(pgbench, *where, "-q", "-i", "-s",
                 str(bench.sizes.pgbench_scale), "postgres")
        out = postgres(pgbench, *where, "-c", "2", "-j", "2", "-T",
                       str(bench.sizes.pgbench_seconds), "postgres")
        rate = re.search(r"tps = ([0-9.]+)", out)
        bench.results.add("pgbench", peer.name, float(rate[1]), "a second")
    finally:
        postgres(*server, "-m", "immediate", "stop")


def run(bench):
    tags = None
    try:
        tags = bench.tags(bench.sizes.releases)
    except machine.Missing as why:
        bench.results.leave_out("untar, grep, git", why)
    projects.run(bench)
    with bench.systems(*KINDS) as peers:
        # Long tests run once.
        for number in bench.rounds():
            for peer in peers:
                if tags and number == 0:
                    bench.attempt(f"a source tree on {peer.name}", _source,
                                  peer, tags)
                if tags:
                    bench.attempt(f"git on {peer.name}", _git, peer, tags)
                bench.attempt(f"SQLite on {peer.name}", _sqlite, peer)
            for peer in peers if number == 0 else ():
                bench.attempt(f"pgbench on {peer.name}", _pgbench, peer)
