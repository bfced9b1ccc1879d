# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sizes of all tests: full, quick, and just enough to try the code."""
from dataclasses import dataclass


# The share of a run's time after which each test begins no further round.  The
# tests run in this order: the most important ones first.
SHARES = {"small": 13, "slots": 10, "forks": 11, "latency": 12, "stream": 8,
          "space": 8, "backup": 8, "clone": 5, "delete": 9, "work": 20,
          "million": 16}


@dataclass(frozen=True)
class Sizes:
    name: str = "full"
    seconds: int = 3600        # no test begins after that
    rounds: int = 3
    small_files: int = 10000
    slot_files: int = 100000
    slot_updates: int = 20000
    slot_filler: int = 200
    slot_rounds: int = 5
    slots_at: tuple = (1, 1000, 10000)
    slots_at_peers: tuple = (1, 1000)  # btrfs takes some ms a snapshot
    states: tuple = (1, 1000, 100000)
    states_peers: int = 1000
    state_files: tuple = (100, 1000000)
    snaps: int = 1000
    forks: int = 10000
    forks_peers: int = 1000
    fork_files: int = 10000
    appends: int = 1000
    load_seconds: float = 10
    stream_mib: int = 1024
    random_writes: int = 20000
    releases: int = 20
    tree: str = "/usr/share"   # what is backed up
    clone_packages: int = 1000
    clone_files: int = 100     # in each of them
    delete_files: int = 1000000
    many_files: int = 1000000
    sql_rows: int = 20000
    pgbench_seconds: int = 20
    pgbench_scale: int = 5
    packages: int = 300        # what npm installs
    build: bool = True         # compile a project


FULL = Sizes()

QUICK = Sizes(
    name="quick", seconds=150, small_files=1000, slot_files=10000,
    slot_updates=2000, slot_filler=50, slot_rounds=3, slots_at=(1, 200),
    slots_at_peers=(1,), states=(1, 1000), states_peers=1, state_files=(100,),
    snaps=200, forks=500, forks_peers=100, fork_files=1000, appends=100,
    load_seconds=1.5, stream_mib=128, random_writes=2000, releases=3,
    tree="/usr/include", clone_packages=50, delete_files=10000, many_files=0,
    sql_rows=1000, pgbench_seconds=3, pgbench_scale=1,
    packages=50, build=False)

SMOKE = Sizes(
    name="smoke", seconds=600, rounds=1, small_files=50, slot_files=200,
    slot_updates=50, slot_filler=5, slot_rounds=1, slots_at=(1, 10),
    slots_at_peers=(1,), states=(1, 20), states_peers=20, state_files=(10,),
    snaps=10, forks=10, forks_peers=5, fork_files=100, appends=5,
    load_seconds=0.3, stream_mib=4, random_writes=20, releases=2,
    tree="/usr/include/linux", clone_packages=2, clone_files=10,
    delete_files=500, many_files=300, sql_rows=20, pgbench_seconds=1,
    pgbench_scale=1, packages=3, build=False)
