#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several mounts of one state against a model and each other.  As root.

   tests/soak/coherence.py [--build DIR] [--seed N] [--seconds S]
                           [--mode MODE]... [--mounts N] [--workers N]
                           [--steps N] [--hang S] [--keep]

Mode `model` is repeated exactly by its seed (with one worker); see
coherence.c.  `remount` is `model` with mounts that come and go.
"""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from bed import ROOT, Bed, Broken, helper, stacks_command  # noqa: E402

MODES = ["model", "remount", "models", "storm", "partial", "truncate", "gaps"]
COMING = ["remount", "partial", "truncate"]  # mounts come meanwhile


def coherence(build, mode, seed, seconds, mounts=3, workers=3, steps=0,
              hang=20, keep=False):
    """Run one mode on a store of its own; what is wrong, or ''."""
    bed = Bed(build / "tools" / "coppice", name="coherence")
    try:
        bed.init()
        whole = bed.mount("whole")
        dirs = [whole / "main"]
        for i in range(1, mounts):
            if mode in COMING:
                (bed.dir / f"m{i}").mkdir()
                dirs.append(bed.dir / f"m{i}")
            elif i == 3:  # the whole store twice
                dirs.append(bed.mount(
                    f"m{i}", "snapdir=disabled" if seed % 2 else "") / "main")
            else:
                # Without OPEN requests, or (with a .snap) with them.
                dirs.append(bed.mount(f"m{i}", "state=main" + (
                    ",snapdir=hidden" if (seed >> i) % 2 else "")))
        script = bed.dir / "remount"
        script.write_text(
            '#!/bin/sh\ncase $1 in\n'
            f'mount) exec {bed.coppice} mount -o state=main {bed.store} "$2";;'
            f'\n*) exec {bed.coppice} umount "$2";;\nesac\n')
        script.chmod(0o755)
        command = [helper(build, "coherence"),
                   {"remount": "model", "models": "model"}.get(mode, mode),
                   "-s", seed, "-t", seconds, "-n", steps, "-H", hang,
                   "-x", stacks_command(bed.process.pid)]
        if mode in COMING:
            command += ["-r", script]
        if mode in ("model", "remount", "models"):
            command += ["-S"]
        command += ["-w", {"model": 1, "remount": 1, "partial": mounts,
                           "truncate": mounts, "gaps": mounts}.get(mode, workers)]
        print(f"--- {mode}, seed {seed}", flush=True)
        result = subprocess.run([*map(str, command), *map(str, dirs)],
                                stdin=subprocess.DEVNULL, check=False)
        if result.returncode:
            return (f"{mode}, seed {seed}: " +
                    ("hang" if result.returncode == 3 else "failed"))
        if mode in COMING:
            for path in dirs[1:]:
                if os.path.ismount(path):
                    bed.mounts[path] = os.minor(os.stat(path).st_dev)
        bed.end()
        if text := bed.stderr():
            return f"{mode}, seed {seed}: the daemon said {text[:2000]}"
        return ""
    except (Broken, subprocess.SubprocessError, OSError) as problem:
        return f"{mode}, seed {seed}: {problem}"
    finally:
        if keep:
            print(f"left in {bed.dir}")
        else:
            bed.clean()


def main():
    parser = argparse.ArgumentParser(description="Several mounts at once.")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=5,
                        help="of each mode")
    parser.add_argument("--mode", action="append", choices=MODES)
    parser.add_argument("--mounts", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--hang", type=float, default=20)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("needs root")
    problems = []
    for mode in args.mode or MODES:
        problem = coherence(args.build.resolve(), mode, args.seed,
                            args.seconds, args.mounts, args.workers,
                            args.steps, args.hang, args.keep)
        print(problem or f"{mode}: good", flush=True)
        problems += [problem] if problem else []
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
