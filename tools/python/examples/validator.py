#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The states of a chain validator: one for each slot, several forks at once.

    validator.py [--slots N] [--puts N] [--keep N] STORE

The store must not have been used before.  A block is a fork of its parent's
block: any block, however old, can get any number of children, while all of them
are open.  The slots of a chain are snapshots of one fork.
"""
import argparse
import os
import random
import signal
import subprocess
import sys

import coppice

ACCOUNTS = 5  # times the puts of a slot
VALUE = 1000  # bytes
CHAINS = [["alfred", "benny", "chase", "dian", "elly"],
          ["alfred", "boris", "claire", "chris", "diaz", "cory"]]


def key(account):
    return f"accounts/{account % 16:x}/{account:06}"


def slot_values(slot, puts):
    """Return what a slot writes.  It depends on the slot's number alone."""
    chance = random.Random(slot)
    return {key(account): chance.randbytes(VALUE)
            for account in chance.sample(range(ACCOUNTS * puts), puts)}


def genesis(store, puts):
    with store.open("main") as main, \
            main.batch(snapshot="genesis", durable=True) as batch:
        batch.update((key(i), b"genesis".ljust(VALUE))
                     for i in range(ACCOUNTS * puts))


def run_slots(store, first, last, puts):
    """Write slots, each in one step that is durable and has a snapshot."""
    with store.open("main") as main:
        for slot in range(first, last):
            with main.batch(snapshot=f"slot-{slot}", durable=True) as batch:
                batch["head"] = b"%d" % slot
                batch.update(slot_values(slot, puts))


def check_slot(store, slot, puts):
    with store.open(f"main~slot-{slot}") as state:
        values = slot_values(slot, puts)
        assert state["head"] == b"%d" % slot
        assert state.get_many(values) == list(values.values())


# ---- Forks ------------------------------------------------------------------

def add_block(store, parent, name):
    """Make a block: a fork of a state, with its own changes.  Return it open."""
    state = store.open(store.fork(parent, name))
    with state.batch() as batch:
        batch["head"] = name.encode()
        batch[f"blocks/{name}"] = parent.encode()
        batch[key(len(name))] = f"by {name}".encode()
    return state


def follow_forks(store):
    """Follow both chains at once; then every block gets two more children."""
    blocks = {"alfred": add_block(store, "main~genesis", "alfred")}
    for step in range(1, max(map(len, CHAINS))):
        for chain in CHAINS:
            if step < len(chain):
                blocks[chain[step]] = add_block(store, chain[step - 1],
                                                chain[step])
    for name in list(blocks):
        for child in f"{name}-second", f"{name}-third":
            blocks[child] = add_block(store, name, child)
    for name, block in blocks.items():
        assert block["head"] == name.encode()
    # Each block has its ancestors' changes and no others.
    for chain in CHAINS:
        seen = {path.split("/")[1] for path in blocks[chain[-1]].scan("blocks/")}
        assert seen == set(chain)
    return blocks


# ---- A crash ----------------------------------------------------------------

def crash(path, slot, puts):
    """End in the middle of a slot, as a crash does.  Runs in a child."""
    store = coppice.Store(path)
    batch = store.open("main").batch(snapshot=f"slot-{slot}", durable=True)
    batch.update(slot_values(slot, puts))
    batch["head"] = b"never"
    os.kill(os.getpid(), signal.SIGKILL)


def survive_a_crash(path, slot, puts):
    child = subprocess.run([sys.executable, __file__, "--crash", str(slot),
                            "--puts", str(puts), path])
    assert child.returncode == -signal.SIGKILL
    with coppice.Store(path) as store:
        names = {info.name for info in store.list("main")}
        assert f"main~slot-{slot}" not in names
        assert store.open("main")["head"] == b"%d" % (slot - 1)
        check_slot(store, slot - 1, puts)


# ---- All --------------------------------------------------------------------

def run(path, slots, puts, keep):
    with coppice.Store(path, create=True) as store:
        genesis(store, puts)
        run_slots(store, 1, slots + 1, puts)
        for slot in range(1, slots + 1):
            check_slot(store, slot, puts)
        blocks = follow_forks(store)
        old, new = (store.open(f"main~slot-{slot}")
                    for slot in (slots - 1, slots))
        changed = {what.path for what in old.diff(new)
                   if what.type is coppice.Type.FILE}
        assert changed == {"head", *slot_values(slots, puts)}
        expired = store.expire("main", keep=keep)
        store.reclaim()
        # An expired snapshot is still the parent of forks.
        assert blocks["cory"][key(ACCOUNTS * puts - 1)].startswith(b"genesis")
        print(f"{slots} slots, {len(blocks)} blocks, {len(changed)} files "
              f"changed by the last slot, {expired} snapshots expired")
    survive_a_crash(path, slots + 1, puts)
    print("a crash in the middle of a slot left the slot before it")


def main():
    parser = argparse.ArgumentParser(
        description="the states of a chain validator")
    parser.add_argument("--slots", type=int, default=20)
    parser.add_argument("--puts", type=int, default=20000)
    parser.add_argument("--keep", type=int, default=5)
    parser.add_argument("--crash", type=int, help=argparse.SUPPRESS)
    parser.add_argument("store")
    args = parser.parse_args()
    if args.crash:
        crash(args.store, args.crash, args.puts)
    else:
        run(args.store, args.slots, args.puts, args.keep)


if __name__ == "__main__":
    main()
