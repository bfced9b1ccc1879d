# SPDX-License-Identifier: LGPL-2.1-or-later
"""Large files: from end to end, mapped, and at random."""
import machine

TITLE = "Large files"


def _rate(op):
    return op["bytes"] / op["seconds"] / (1 << 20)


def _round(bench, peer, data):
    io, file = bench.program("io"), peer.tree / f"large-{data}"
    text = [bench.text()] if data == "text" else []

    def keep(test, op):
        bench.results.add(f"{test}, {data}", peer.name, _rate(op), "MiB/s")

    keep("write and fsync", machine.ops(
        io, "write", file, str(bench.sizes.stream_mib), *text)["write"])
    peer.cold()
    keep("read, cold" if machine.is_root() else "read",
         machine.ops(io, "read", file)["read"])
    keep("read mapped, cached", machine.ops(io, "mmap", file)["mmap"])
    if data == "incompressible":
        op = machine.ops(io, "random", file,
                         str(bench.sizes.random_writes))["random"]
        bench.results.add("4 KiB over random pages, fsync at the end",
                          peer.name, _rate(op), "MiB/s")
    file.unlink()
    peer.sync()


def run(bench):
    with bench.systems("coppice", "native", "btrfs", "btrfs-zstd",
                       "passthrough") as peers:
        for _ in bench.rounds():
            for data in ("incompressible", "text"):
                for peer in peers:
                    bench.attempt(f"large files of {data} on {peer.name}",
                                  _round, peer, data)
