#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that join into one fork all the time: nothing is lost.  As root.

   tests/soak/joins.py [--build DIR] [--policy queue|first]... [--count N]
                       [--processes N] [--keep]

Each join adds a file, and a line to a file of the process; each fifth also
counts up in a file that all have in common, so that what others joined
meanwhile is a conflict under either policy.  A run whose fork is not joined is
done again.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from bed import ROOT, Bed, Broken  # noqa: E402

POLICIES = ["queue", "first"]
WORK = """
    me=$1 number=$2
    touch files/$me-$number
    echo $number >>lines/$me
    if [ $((number % 5)) = 0 ]; then
        read count who <shared
        echo $((count + 1)) $me-$number >shared
    fi
"""


def work(bed, main, policy, me, count):
    """Do all of one process's joins; how many runs it took."""
    runs = 0
    for number in range(count):
        outcome = None
        while outcome != "joined":
            done = subprocess.run(
                [bed.coppice, "run", "--join", "--policy", policy,
                 "--json=lines", "--", "sh", "-ec", WORK, "sh", str(me),
                 str(number)], cwd=main, text=True, capture_output=True,
                check=False)
            runs += 1
            if done.returncode not in (0, 124):
                raise Broken(f"{me}-{number} ended with {done.returncode}: "
                             f"{done.stdout}{done.stderr}")
            row = json.loads(done.stdout)
            outcome = row["outcome"]
            if outcome != "joined":
                bed.run("rm", "-s", bed.store, row["fork"])
    return runs


def missing(main, processes, count):
    """Describe what the fork does not have, or has too much of; '': nothing."""
    files = sorted(f"{me}-{number}" for me in range(processes)
                   for number in range(count))
    if sorted(os.listdir(main / "files")) != files:
        return "files are missing"
    numbers = [str(number) for number in range(count)]
    for me in range(processes):
        if (main / "lines" / str(me)).read_text().split() != numbers:
            return f"lines of process {me} are missing"
    shared = int((main / "shared").read_text().split()[0])
    if shared != processes * len(range(0, count, 5)):
        return f"the common count is {shared}"
    return ""


def joins(build, policy, count, processes=10, keep=False):
    """Join that often altogether; what is wrong, or ''."""
    bed = Bed(build / "tools" / "coppice", name="joins")
    begin = time.monotonic()
    try:
        bed.init()
        main = bed.mount("mnt") / "main"
        (main / "files").mkdir()
        (main / "lines").mkdir()
        (main / "shared").write_text("0 nobody\n")
        with ThreadPoolExecutor(processes) as pool:
            runs = sum(pool.map(
                lambda me: work(bed, main, policy, me, count // processes),
                range(processes)))
        seconds = time.monotonic() - begin
        print(f"{policy}: {count // processes * processes} joins by {runs} "
              f"runs in {seconds:.1f} s", flush=True)
        problem = missing(main, processes, count // processes)
        if bed.run("list", "-s", bed.store).stdout != "main\n":
            problem = problem or "forks were left"
        bed.end()
        problem = problem or bed.stderr()[:2000]
        return problem and f"{policy}: {problem}"
    except (Broken, subprocess.SubprocessError, OSError) as problem:
        return f"{policy}: {problem}"
    finally:
        if keep:
            print(f"left in {bed.dir}")
        else:
            bed.clean()


def main():
    parser = argparse.ArgumentParser(description="Joins into one fork.")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--policy", action="append", choices=POLICIES)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("needs root")
    problems = [joins(args.build.resolve(), policy, args.count,
                      args.processes, args.keep)
                for policy in args.policy or POLICIES]
    sys.exit("\n".join(filter(None, problems)) or 0)


if __name__ == "__main__":
    main()
