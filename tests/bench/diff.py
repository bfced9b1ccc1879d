#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time `coppice diff` of ten changes in a tree of many files.

Makes a store in a scratch directory, or uses one that an earlier run has kept;
mounts it, forks the tree, changes ten files in the fork, and prints medians: of a
request on an open connection (the work of the daemon), and of the command.
"""
import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ROUNDS = 31


def make(root, files):
    for i in range(0, files, 1000):
        directory = root / f"d{i // 100000}" / f"d{i // 1000}"
        directory.mkdir(parents=True)
        here = os.open(directory, os.O_RDONLY)
        for k in range(min(1000, files - i)):
            fd = os.open(f"f{k}", os.O_CREAT | os.O_WRONLY, dir_fd=here)
            os.write(fd, b"%d\n" % (i + k))
            os.close(fd)
        os.close(here)


def change(root, files):
    """Ten changes, far apart."""
    for i in range(10):
        at = i * files // 10
        path = (root / f"d{at // 100000}" / f"d{at // 1000}" / f"f{at % 1000}")
        if i < 6:
            path.write_text("changed")
        elif i < 8:
            path.rename(path.with_name("renamed"))
        elif i < 9:
            path.unlink()
        else:
            path.with_name("new").write_text("new")


def request_ms(store, request):
    times = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(store / "control"))
        file = connection.makefile("rb")
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            connection.sendall(json.dumps(request).encode() + b"\n")
            rows = 0
            while "row" in json.loads(file.readline()):
                rows += 1
            times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000, rows


def command_ms(*command):
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000000)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--build", type=Path, default=TOP / "build")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    coppice = args.build / "tools" / "coppice"
    store, mnt = args.scratch / "store", args.scratch / "mnt"
    there = (store / "data.mdb").exists()
    mnt.mkdir(parents=True, exist_ok=True)
    if not there:
        subprocess.run([coppice, "init", store], check=True)
    subprocess.run([coppice, "mount", store, mnt], check=True)
    try:
        if not there:
            begin = time.monotonic()
            make(mnt / "main", args.files)
            print(f"made {args.files} files in "
                  f"{time.monotonic() - begin:.0f} s", flush=True)
        if not (mnt / "main@ten").exists():
            (mnt / "main@ten").mkdir()
            change(mnt / "main@ten", args.files)
            subprocess.run([coppice, "sync", "-s", store], check=True)
        for a, b in ("main", "main@ten"), ("main@ten", "main"):
            ms, rows = request_ms(store, {"verb": "diff", "a": a, "b": b})
            print(f"diff {a} {b}: request {ms:.2f} ms, {rows} rows")
            ms = command_ms(coppice, "diff", "-s", store, a, b)
            print(f"diff {a} {b}: command {ms:.2f} ms")
    finally:
        subprocess.run([coppice, "umount", mnt], check=True)
    ms = command_ms(coppice, "diff", "-s", store, "main", "main@ten")
    print(f"diff main main@ten: command {ms:.2f} ms, not mounted")
    if not args.keep:
        shutil.rmtree(args.scratch)


if __name__ == "__main__":
    main()
