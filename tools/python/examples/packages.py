#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The states of a package manager: install, go back, try, search, expire.

    packages.py STORE

Each state of the system is a snapshot of the fork `system`.  Its record lies in
the state itself, in `.state.json`: number, name, description, type, time, and
the packages with the reason why each is installed.
"""
import hashlib
import json
import sys
import time

import coppice

RECORD = ".state.json"


class System:
    """The states of a system in a store."""

    def __init__(self, store):
        self.store = store
        for fork in "system", "cache":
            if fork not in {info.name for info in store.list()}:
                store.fork(None, fork)
        self.fork = store.open("system")
        self.cache = store.open("cache")

    # ---- The cache ----------------------------------------------------------

    def fetch(self, content):
        """Keep a file in the cache, by its hash.

        The store keeps equal contents once, the installed files included.
        """
        name = hashlib.sha256(content).hexdigest()
        if name not in self.cache:
            with self.cache.batch() as batch:
                batch[f"{name[:2]}/{name}"] = content
        return f"{name[:2]}/{name}"

    # ---- States -------------------------------------------------------------

    def record(self, number=None):
        """Return the record of a state, or of the system as it is now."""
        if number is None:
            return json.loads(self.fork.get(RECORD, b"null"))
        with self.store.open(f"system~{number}") as state:
            return json.loads(state[RECORD])

    def states(self):
        """Return the records of all states, the oldest first."""
        return sorted((self.record(info.name.partition("~")[2])
                       for info in self.store.list("system")),
                      key=lambda record: record["number"])

    def change(self, name, description, install=(), remove=(),
               kind="transaction", fork=None):
        """Install and remove packages in one step, and keep the state.

        install: (package, reason, {path: content}) each.  Return its number.
        """
        fork = fork or self.fork
        last = json.loads(fork.get(RECORD, b'{"packages": {}}'))
        packages = dict(last["packages"])
        number = max([0, *(record["number"] for record in self.states())]) + 1
        with fork.batch(snapshot=str(number), durable=True) as batch:
            for package in remove:
                for path in packages.pop(package)["files"]:
                    del batch[path]
            for package, reason, files in install:
                packages[package] = {"reason": reason, "files": list(files)}
                for path, content in files.items():
                    batch[path] = self.cache[self.fetch(content)]
            batch[RECORD] = json.dumps({
                "number": number, "name": name, "description": description,
                "type": kind, "time": time.time(),
                "packages": packages}).encode()
        return number

    def go_back(self, number, undo):
        """Give the system the content of an earlier state, in one step."""
        self.store.reset("system", f"system~{number}", undo=undo)

    def files_changed(self, a, b):
        with self.store.open(f"system~{a}") as old, \
                self.store.open(f"system~{b}") as new:
            return sorted((what.change.value, what.path)
                          for what in old.diff(new)
                          if what.type is coppice.Type.FILE
                          and what.path != RECORD)

    def search(self, text):
        """Return the numbers of states with a text in their record."""
        return [record["number"] for record in self.states()
                if text in json.dumps(record)]

    def expire(self, keep, kinds=("transaction",)):
        """Delete old states of some types; those that are pinned stay."""
        old = [record["number"] for record in self.states()
               if record["type"] in kinds]
        gone = []
        for number in old[:len(old) - keep]:
            try:
                self.store.remove(f"system~{number}")
            except OSError:
                continue  # it is held
            gone.append(number)
        return gone


def demonstrate(store):
    system = System(store)
    shell = {"bin/sh": b"shell" * 4000}
    editor = {"bin/vi": b"editor" * 9000, "share/vi/help": b"help" * 100}
    first = system.change("base", "a shell", [("shell", "required", shell)],
                          kind="initial")
    second = system.change("editor", "on request of a user",
                           [("editor", "explicit", editor)])
    assert system.files_changed(first, second) == [
        ("+", "bin/vi"), ("+", "share/vi/help")]
    assert system.record()["packages"]["editor"]["reason"] == "explicit"

    # Try an upgrade in a fork while the system stays as it is.
    trial = store.open(store.fork("system", "trial"))
    with trial.batch() as batch:
        batch["bin/sh"] = b"broken"
    assert system.fork["bin/sh"] == shell["bin/sh"]
    store.remove(trial.name)

    third = system.change("cleanup", "editor removed", remove=["editor"])
    assert "bin/vi" not in system.fork
    store.hold(f"system~{second}", "pinned")
    system.go_back(second, undo="4")
    assert system.fork["bin/vi"] == editor["bin/vi"]
    assert system.record()["name"] == "editor"
    store.remove("system~4")
    for i in range(5):
        system.change(f"update {i}", "weekly", [("shell", "required", {
            "bin/sh": b"shell %d" % i})])
    assert system.search("weekly") == [4, 5, 6, 7, 8]
    gone = system.expire(keep=2)
    assert gone == [third, 4, 5, 6]
    assert [record["number"] for record in system.states()] == [
        first, second, 7, 8]
    for record in system.states():
        print(f"{record['number']:3}  {record['type']:12} {record['name']:10} "
              f"{record['description']}")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: packages.py STORE")
    with coppice.Store(sys.argv[1], create=True) as store:
        demonstrate(store)


if __name__ == "__main__":
    main()
