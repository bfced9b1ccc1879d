#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The states of a package manager: install, try, switch, go back, search,
expire.

    packages.py STORE             run some transactions and check them
    packages.py STORE list        print the states that are kept

Each state of the system is a snapshot of the fork `system`.  Its record lies in
the state itself, in `.state`: number, name, description, type, time, and the
packages with the reason why each is installed.  The fork `cache` has one
directory for each package, with the package's files where the system has them:
its layout.  The store keeps equal contents once, those of the cache and of all
states.
"""
import errno
import sys
import time

import coppice

RECORD = ".state"


def to_text(record):
    """Return a record as lines of a key, a space and a value."""
    lines = [f"{key} {value}" for key, value in record.items()
             if key != "packages"]
    lines += [f"package {name} {reason}"
              for name, reason in sorted(record["packages"].items())]
    return "\n".join(lines) + "\n"


def to_record(text):
    record = {"packages": {}}
    for line in text.decode().splitlines():
        key, _, value = line.partition(" ")
        if key == "package":
            name, _, reason = value.partition(" ")
            record["packages"][name] = reason
        else:
            record[key] = int(value) if key in ("number", "time") else value
    return record


class System:
    """The states of a system in a store."""

    def __init__(self, store, create=True):
        self.store = store
        if create:
            for fork in {"system", "cache"} - {i.name for i in store.list()}:
                store.fork(None, fork)
        self.fork = store.open("system")
        self.cache = store.open("cache")

    def fetch(self, package, files):
        """Bring a package to the cache, if it is not there."""
        if package not in self.cached():
            with self.cache.batch() as batch:
                batch.update((f"{package}/{path}", content)
                             for path, content in files.items())

    def cached(self):
        return [entry.name for entry in self.cache.entries()]

    def layout(self, package):
        """Return the files of a package: their paths and contents."""
        paths = list(self.cache.scan(f"{package}/"))
        return zip((path[len(package) + 1:] for path in paths),
                   self.cache.get_many(paths))

    # ---- Changes ------------------------------------------------------------

    def next_number(self):
        return max((record["number"] for record in self.states()), default=0) \
            + 1

    def prepare(self, batch, number, name, description, install=(),
                remove=()):
        """Fill in the changes of a fork.

        install: packages and the reason for each.  remove: packages.
        """
        text = batch.fork.get(RECORD)
        packages = to_record(text)["packages"] if text else {}
        for package in remove:
            del packages[package]
            for path, _ in self.layout(package):
                del batch[path]
        for package, reason in dict(install).items():
            packages[package] = reason
            batch.update(self.layout(package))
        batch[RECORD] = to_text({
            "number": number, "name": name, "description": description,
            "type": "transaction" if text else "initial",
            "time": int(time.time()), "packages": packages}).encode()

    def change(self, *change, **changes):
        """Change the system in one step, and keep the state: see prepare().

        Return its number.
        """
        number = self.next_number()
        with self.fork.batch(snapshot=str(number), durable=True) as batch:
            self.prepare(batch, number, *change, **changes)
        return number

    def try_out(self, *change, **changes):
        """Make a change in a fork, which is returned."""
        name = self.store.fork("system", "trial", unique=True)
        trial = self.store.open(name)
        with trial.batch() as batch:
            self.prepare(batch, self.next_number(), *change, **changes)
        return trial

    def switch(self, trial):
        """Switch to a trial fork in one step, and keep the state."""
        number, name = to_record(trial[RECORD])["number"], trial.name
        self.store.reset("system", name)
        self.store.snapshot("system", str(number))
        self.store.remove(name)
        self.store.sync()
        return number

    def go_back(self, number):
        """Give the system the content of an earlier state, in one step."""
        self.store.reset("system", f"system~{number}")
        self.store.sync()

    # ---- States -------------------------------------------------------------

    def states(self):
        """Return the records of all states, the oldest first."""
        records = []
        for info in self.store.list("system"):
            with self.store.open(info.name) as state:
                records.append(to_record(state[RECORD]))
        return sorted(records, key=lambda record: record["number"])

    def compare(self, a, b):
        with self.store.open(f"system~{a}") as old, \
                self.store.open(f"system~{b}") as new:
            return sorted((what.path, what.change.value)
                          for what in old.diff(new)
                          if what.type is coppice.Type.FILE
                          and what.path != RECORD)

    def search(self, text):
        """Return the numbers of the states with a text in their records."""
        return [record["number"] for record in self.states()
                if text in to_text(record)]

    def expire(self, keep):
        """Delete all but the newest transactions; pinned states stay."""
        old = [record["number"] for record in self.states()
               if record["type"] == "transaction"]
        gone = []
        for number in old[:len(old) - keep]:
            try:
                self.store.remove(f"system~{number}")
                gone.append(number)
            except OSError as error:
                if error.errno != errno.EBUSY:  # it is pinned
                    raise
        return gone

    def clean(self):
        """Delete the packages of the cache that no state has."""
        used = set().union(to_record(self.fork[RECORD])["packages"],
                           *(record["packages"] for record in self.states()))
        gone = sorted(set(self.cached()) - used)
        with self.cache.batch(durable=True) as batch:
            for package in gone:
                batch.delete(package, recursive=True)
        return gone

    def print(self):
        for record in self.states():
            print(*(record[key] for key in (
                "number", "type", "name", "description")), sep="\t")


# ---- A demonstration --------------------------------------------------------

def shell(version):
    return b"shell %d " % version * 4000


def transactions(system):
    """Make the first states: two changes, an upgrade tried first, a removal."""
    editor = {"bin/vi": b"editor", "share/vi/help": b"help"}
    system.fetch("shell-1", {"bin/sh": shell(1)})
    system.fetch("shell-2", {"bin/sh": shell(2)})
    system.fetch("editor-1", editor)
    base = system.change("base", "a shell", {"shell-1": "required"})
    second = system.change("editor", "on request of a user",
                           {"editor-1": "explicit"})
    assert system.compare(base, second) == [(path, "+") for path in editor]
    record = to_record(system.fork[RECORD])
    assert record["packages"]["editor-1"] == "explicit"

    # Try an upgrade in a fork while the system stays as it is.
    trial = system.try_out("upgrade", "was tried first",
                           {"shell-2": "required"}, ["shell-1"])
    assert system.fork["bin/sh"] == shell(1)
    assert trial["bin/sh"] == shell(2)
    assert system.switch(trial) == 3
    assert system.fork["bin/sh"] == shell(2)
    system.change("cleanup", "the editor is removed", remove=["editor-1"])
    assert "bin/vi" not in system.fork


def demonstrate(system):
    """Go back, upgrade every week, and let old states expire."""
    transactions(system)
    system.store.hold("system~2", "pinned")
    system.go_back(2)
    assert system.fork["bin/vi"] == b"editor"
    assert system.fork["bin/sh"] == shell(1)
    installed = "shell-1"
    for version in range(3, 7):
        package = f"shell-{version}"
        system.fetch(package, {"bin/sh": shell(version)})
        system.change(f"update {version}", "weekly", {package: "required"},
                      [installed])
        installed = package
    assert system.search("weekly") == [5, 6, 7, 8]
    assert system.expire(2) == [3, 4, 5, 6]
    assert system.clean() == ["shell-2", "shell-3", "shell-4"]
    system.store.reclaim()
    assert system.store.open("system~2")["bin/sh"] == shell(1)
    system.print()


def main():
    lists = sys.argv[2:] == ["list"]
    if len(sys.argv) != 2 and not lists:
        sys.exit("usage: packages.py STORE [list]")
    with coppice.Store(sys.argv[1], create=not lists,
                       read_only=lists) as store:
        if lists:
            System(store, create=False).print()
        else:
            demonstrate(System(store))


if __name__ == "__main__":
    main()
