# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small files: one operation after the other on thousands of them."""
import time

import machine
from bench import ONE, ROAM

TITLE = "Small files of 1,000 bytes"
SIZE = "1000"


def _round(bench, peer, mode, cpus, number):
    files = str(bench.sizes.small_files)
    directory = peer.tree / f"small-{number}-{mode.split()[0]}"
    directory.mkdir()

    def phases(*names):
        return machine.ops(bench.program("small"), directory, files, SIZE,
                           *names, cpus=cpus)

    def keep(test, op):
        bench.results.add_op(test, peer.name, op, mode)

    for name, op in phases("create", "read").items():
        keep(name, op)
    keep("cached open", phases("read")["read"])
    keep("overwrite", phases("overwrite")["overwrite"])
    if machine.is_root():
        peer.sync()
        machine.drop_caches(2)
        keep("stat, first", phases("stat")["stat"])
    else:
        bench.results.leave_out("stat, first", "needs root")
    keep("stat, cached", phases("stat")["stat"])
    for name, op in phases("rename", "unlink").items():
        keep(name, op)


def _idle(bench, peer):
    seconds = 3 if bench.sizes.name == "full" else 1
    for pid in peer.pids():
        before = machine.cpu_seconds(pid)
        time.sleep(seconds)
        used = (machine.cpu_seconds(pid) - before) / seconds
        bench.results.add("processor time of the idle daemon", peer.name,
                          used * 1000, "ms/s")


def run(bench):
    with bench.systems("coppice", "coppice-fork", "native", "btrfs",
                       "passthrough", "overlay") as peers:
        for number in bench.rounds():
            for mode in (ONE, ROAM):
                with bench.mode(mode, peers) as cpus:
                    for peer in peers:
                        bench.attempt(f"small files on {peer.name}", _round,
                                      peer, mode, cpus, number)
        for peer in peers:
            _idle(bench, peer)
