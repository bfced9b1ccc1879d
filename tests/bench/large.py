#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a large store is as fast as a small one: imports N files in pieces,
makes M snapshots with a changed file in each, and times mounting, forks,
look-ups and lists with the first piece alone, with all files, and with all
states.  As root, with the Python package built.

   tests/bench/large.py DIR [N [M]] [--build DIR]

DIR must not exist, and is left with the store.  The pieces are read from
/dev/shm.
"""
import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIECES = 100
SAMPLES = 1000
parser = argparse.ArgumentParser(description="A large store.")
parser.add_argument("dir", type=Path)
parser.add_argument("files", nargs="?", type=int, default=10_000_000)
parser.add_argument("states", nargs="?", type=int, default=100_000)
parser.add_argument("--build", type=Path, default=ROOT / "build")
args = parser.parse_args()
sys.path.insert(0, str(args.build / "tools" / "python"))
import coppice  # noqa: E402

COPPICE = args.build / "tools" / "coppice"
STORE = args.dir / "store"
MOUNT = args.dir / "mnt"
A_PIECE = args.files // PIECES
A_DIR = 100


def run(verb, *words):
    subprocess.run([COPPICE, verb, *map(str, words)], check=True,
                   stdout=subprocess.DEVNULL)


def seconds(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def name_of(number):
    return f"{number // A_DIR}/{number % A_DIR}"


def source_make(path):
    rng = random.Random(1)
    for i in range(A_PIECE):
        if i % A_DIR == 0:
            (path / f"{i // A_DIR}").mkdir()
        (path / name_of(i)).write_bytes(rng.randbytes(1000))


def daemon_pid():
    """The daemon that has the store's lock."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mount" in words and os.fsencode(STORE) in words:
            return int(process.name)
    sys.exit("the daemon was not found")


def times(action, count=SAMPLES):
    """The median and the 99th percentile, in microseconds."""
    took = sorted(1e6 * seconds(lambda i=i: action(i)) for i in range(count))
    return f"{statistics.median(took):.0f}/{took[len(took) * 99 // 100]:.0f}"


def rss(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def mount():
    return seconds(lambda: run("mount", STORE, MOUNT))


def measure(what, pieces):
    """One line of figures."""
    rng = random.Random(2)
    clean = mount()
    (MOUNT / "main" / "unsaved").write_text("x")
    pid = daemon_pid()
    os.kill(pid, 9)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)
    run("umount", MOUNT)
    killed = mount()

    def read(_):
        piece, file = rng.randrange(pieces), rng.randrange(A_PIECE)
        (MOUNT / "main" / f"p{piece}" / name_of(file)).read_bytes()

    def names(_):
        piece = rng.randrange(pieces)
        folder = rng.randrange(A_PIECE // A_DIR)
        os.listdir(MOUNT / "main" / f"p{piece}" / f"{folder}")

    forks = times(lambda i: (MOUNT / f"main@fork{i}").mkdir())
    first = times(read)
    lists = times(names)
    print(f"{what:24} mount {clean:.2f} s, after kill -9 {killed:.2f} s; "
          f"[us, p50/p99] fork {forks}, read {first}, list {lists}; "
          f"daemon {rss(daemon_pid())} MiB, "
          f"file {(STORE / 'data.mdb').stat().st_blocks >> 11} MiB",
          flush=True)
    for i in range(SAMPLES):
        (MOUNT / f"main@fork{i}").rmdir()
    run("umount", MOUNT)


def snapshots_make():
    with coppice.Store(STORE) as store:
        main = store.open("main")
        for i in range(args.states):
            with main.batch(snapshot=f"s{i}") as batch:
                batch[f"p{i % PIECES}/0/0"] = str(i).encode()


def main():
    MOUNT.mkdir(parents=True)
    with coppice.Store(STORE, create=True) as store:
        with store.open("main") as fork, fork.batch() as batch:
            for piece in range(PIECES):
                batch.mkdir(f"p{piece}")
    source = Path(tempfile.mkdtemp(prefix="coppice-large-", dir="/dev/shm"))
    try:
        source_make(source)
        for piece in range(PIECES):
            took = seconds(lambda p=piece: run(
                "import", "-s", STORE, f"main:/p{p}", "--from", source))
            if piece == 0:
                measure(f"{A_PIECE} files", 1)
            if piece % 10 == 9 or piece == 0:
                print(f"piece {piece + 1}: {A_PIECE / took:.0f} files/s",
                      flush=True)
        measure(f"{args.files} files", PIECES)
        took = seconds(snapshots_make)
        print(f"{args.states} snapshots: {1e6 * took / args.states:.0f} us each")
        measure(f"and {args.states} states", PIECES)
    finally:
        shutil.rmtree(source)


main()
