#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The slot workload through the package for Python.

    PYTHONPATH=BUILD/tools/python tests/bench/python_slot.py STORE [SLOTS]

Each slot is one durable batch that overwrites 20,000 of 100,000 records of 1 kB
and has a snapshot.  Slots that put each record on its own and slots that use
update() take turns.  Each begins when the one before is committed.  Prints lines
of JSON: medians of milliseconds without the first slots, which prepare the
intent log, and reads a second; `cpu`: of the processor's time.
"""
import json
import random
import statistics
import sys
import time

import coppice

FILES, UPDATES, VALUE, READS, FIRST = 100000, 20000, 1000, 50000, 4


def run_slot(main, name, values, each):
    start, cpu = time.perf_counter(), time.process_time()
    own = time.thread_time()
    with main.batch(snapshot=name, durable=True) as batch:
        if each:
            for key, value in values.items():
                batch[key] = value
        else:
            batch.update(values)
        filled, own = time.perf_counter(), time.thread_time() - own
    end = time.perf_counter()
    return {"fill": filled - start, "fill_cpu": own, "commit": end - filled,
            "cpu": time.process_time() - cpu}


def read(state, keys, many):
    start, cpu = time.perf_counter(), time.thread_time()
    if many:
        for i in range(0, len(keys), 1000):
            state.get_many(keys[i:i + 1000], room=VALUE + 1)
    else:
        for key in keys:
            state[key]
    return {"per_s": len(keys) / (time.perf_counter() - start),
            "per_cpu_s": len(keys) / (time.thread_time() - cpu)}


def show(what, figures):
    print(json.dumps({"what": what, **{name: round(value, 1)
                                       for name, value in figures.items()}}))


def run(path, slots):
    chance = random.Random(1)
    keys = [f"d{i % 100:03}/k{i}" for i in range(FILES)]
    with coppice.Store(path, create=True, memory=1 << 30) as store:
        main = store.open("main")
        with main.batch(durable=True) as batch:
            batch.update((key, chance.randbytes(VALUE)) for key in keys)
        runs = {"update()": [], "single puts": []}
        for slot in range(FIRST + slots):
            values = {key: chance.randbytes(VALUE)
                      for key in chance.sample(keys, UPDATES)}
            each = slot % 2 == 1
            store.sync()
            found = run_slot(main, f"slot-{slot}", values, each)
            if slot >= FIRST:
                runs["single puts" if each else "update()"].append(found)
        for what, found in runs.items():
            show(what, {name: statistics.median(one[name] for one in found)
                        * 1e3 for name in found[0]})
        old = store.open(f"main~slot-{slots // 2}")
        wanted = chance.choices(keys, k=READS)
        for what, state in ("newest", main), ("old", old):
            show(f"reads, {what}", read(state, wanted, False))
            show(f"get_many(), {what}", read(state, wanted, True))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python_slot.py STORE [SLOTS]")
    run(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 12)
