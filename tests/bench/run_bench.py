#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time what `coppice run` adds to a command, as root.

Makes a store in a scratch directory with a tree of some files, and mounts it
whole or its fork main alone.  Bare commands and runs take turns; prints p50 and
p99 of the time from the start to the end of each, and the processor time of the
command with its children and of the daemon (means).  Then a hundred at once: as
processes, and by --count.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
QUIET = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]


def daemon_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def one(argv):
    """Run it; the time that it took, and that of processors."""
    begin = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=QUIET)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    assert status == 0, argv
    return seconds, usage.ru_utime + usage.ru_stime


def at_once(argvs):
    begin = time.perf_counter()
    pids = [os.posix_spawn(argv[0], argv, os.environ, file_actions=QUIET)
            for argv in argvs]
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    return time.perf_counter() - begin


def alone(kinds, rounds, daemon):
    seconds = {name: [] for name in kinds}
    cpu = {name: [0.0, 0.0] for name in kinds}
    for _ in range(rounds):
        for name, argv in kinds.items():
            before = daemon_seconds(daemon)
            wall, used = one(argv)
            seconds[name].append(wall)
            cpu[name][0] += used
            cpu[name][1] += daemon_seconds(daemon) - before
    for name, times in seconds.items():
        times.sort()
        p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
        used, served = (value / rounds * 1000 for value in cpu[name])
        print(f"  {name:28} p50 {statistics.median(times) * 1000:6.2f} ms"
              f"  p99 {p99 * 1000:6.2f} ms"
              f"  processor {used:5.2f} + daemon {served:5.2f} ms", flush=True)


def measure(coppice, main, rounds, daemon):
    os.chdir(main)
    run = [coppice, "run"]
    alone({"true": ["/bin/true"],
           "touch": ["/bin/touch", "file"],
           "coppice --version": [coppice, "--version"],
           "run -- true": [*run, "--", "/bin/true"],
           "run --drop -- touch": [*run, "--drop", "--", "/bin/touch", "new"],
           "run --join -- touch": [*run, "--join", "--", "/bin/touch", "file"],
           }, rounds, daemon)
    for name, argvs in (
            ("true", [["/bin/true"]] * 100),
            ("run -- true", [[*run, "--", "/bin/true"]] * 100),
            ("run --join -- touch",
             [[*run, "--join", "--", "/bin/touch", f"f{i}"]
              for i in range(100)]),
            ("run --count=100 -- true",
             [[*run, "--count=100", "--", "/bin/true"]])):
        times = [at_once(argvs) for _ in range(5)]
        print(f"  100 at once: {name:28} {statistics.median(times) * 10:6.2f} "
              "ms each", flush=True)
    os.chdir("/")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--build", type=Path, default=TOP / "build")
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    coppice = str((args.build / "tools" / "coppice").resolve())
    scratch = args.scratch.resolve()
    store, mnt = scratch / "store", scratch / "mnt"
    mnt.mkdir(parents=True)
    subprocess.run([coppice, "init", store], check=True)
    try:
        for title, options, root in (("the whole store", [], mnt / "main"),
                                     ("-o state=main", ["-o", "state=main"],
                                      mnt)):
            daemon = subprocess.Popen([coppice, "mount", "-f", *options, store,
                                       mnt])
            while not os.path.ismount(mnt):
                time.sleep(0.01)
            for i in range(1000):
                (root / f"base{i}").write_text("base")
            print(f"{title}, load {os.getloadavg()[0]:.1f}:", flush=True)
            measure(coppice, root, args.rounds, daemon.pid)
            subprocess.run([coppice, "umount", mnt], check=True)
            daemon.wait()
    finally:
        if os.path.ismount(mnt):
            subprocess.run([coppice, "umount", mnt], check=False)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
