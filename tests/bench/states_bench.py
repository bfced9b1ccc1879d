#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What many states cost: makes a store with N snapshots of main, each with a
changed file, and times verbs and calls on it.  As root, with the Python package
built.

   tests/bench/states_bench.py DIR [N] [--build DIR]

DIR must not exist, and is left with the store.
"""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
parser = argparse.ArgumentParser(description="Many states.")
parser.add_argument("dir", type=Path)
parser.add_argument("count", nargs="?", type=int, default=1000000)
parser.add_argument("--build", type=Path, default=ROOT / "build")
args = parser.parse_args()
sys.path.insert(0, str(args.build / "tools" / "python"))
import coppice  # noqa: E402

COPPICE = args.build / "tools" / "coppice"
STORE = args.dir / "store"
MOUNT = args.dir / "mnt"


def timed(what, action):
    begin = time.monotonic()
    action()
    print(f"{what:48} {time.monotonic() - begin:8.3f} s", flush=True)


def verb(*words):
    timed(" ".join(map(str, words)), lambda: subprocess.run(
        [COPPICE, words[0], "-s", STORE, *words[1:]], check=True,
        stdout=subprocess.DEVNULL))


def make(store):
    """Make the snapshots; print what each tenth of them took."""
    part = max(1, args.count // 10)
    main = store.open("main")
    begin = time.monotonic()
    for i in range(args.count):
        with main.batch(snapshot=f"s{i}") as batch:
            batch[f"f{i % 1000}"] = str(i).encode()
        if i % part == part - 1:
            now = time.monotonic()
            print(f"{i + 1} snapshots: {1e6 * (now - begin) / part:.1f} us each",
                  flush=True)
            begin = now


def calls():
    middle = args.count // 2
    timed("read a file of an old snapshot", lambda: (
        MOUNT / f"main~s{middle}" / "f0").read_bytes())
    timed("read one of FORK~N", lambda: (
        MOUNT / f"main~{middle}" / "f0").read_bytes())
    timed("fork an old snapshot", lambda: (
        MOUNT / f"main~s{middle}@fork").mkdir())
    timed("snapshot", lambda: (MOUNT / "main" / ".snap" / "new").mkdir())
    timed("delete a snapshot", lambda: (
        MOUNT / "main" / ".snap" / "s1").rmdir())
    timed("list .snap", lambda: os.listdir(MOUNT / "main" / ".snap"))


MOUNT.mkdir(parents=True)
with coppice.Store(STORE, create=True) as made:
    make(made)
verb("list")
verb("list", "--json=lines")
verb("list", "--sort=-created")
verb("prune", "-n", "--keep-daily=7", "--keep-last=1000", "main")
verb("gc")
verb("show", f"main~s{args.count // 2}")
verb("show", f"main~{args.count // 2}")
timed("mount", lambda: subprocess.run([COPPICE, "mount", STORE, MOUNT],
                                      check=True))
try:
    calls()
    verb("list")
finally:
    subprocess.run([COPPICE, "umount", MOUNT], check=True)
