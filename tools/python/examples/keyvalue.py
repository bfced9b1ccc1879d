#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A key-value store with revisions: each is a snapshot; work is done in a fork,
and its keys are joined back.

    keyvalue.py STORE                   make revisions, forks and joins
    keyvalue.py STORE get STATE KEY     print a value: of main, or main~REVISION
    keyvalue.py STORE put FORK KEY VALUE [KEY VALUE]...
    keyvalue.py STORE list STATE [PREFIX]
    keyvalue.py STORE revisions FORK KEY
    keyvalue.py STORE ancestors STATE

A key is any text.  It becomes a path: its part after the last slash is a file,
whose name ends with "=", so that `a` and `a/b` can both be keys.
"""
import sys
import urllib.parse

import coppice


def to_prefix(key):
    """Return the prefix of the paths of all keys that begin with a text."""
    *above, last = [
        urllib.parse.quote(part, safe=" !@:+,~").replace(".", "%2E")
        for part in key.split("/")]
    return "/".join([*(part or "%" for part in above), last])


def to_path(key):
    """Return the path of a key.

    >>> to_path("user/7/name"), to_path("a//b/.."), to_path("")
    ('user/7/name=', 'a/%/b/%2E%2E=', '=')
    """
    return to_prefix(key) + "="


def to_key(path):
    """Return the key of a path.

    >>> [to_key(to_path(key)) for key in ("a//b/..", "/", "", "%=", "ü")]
    ['a//b/..', '/', '', '%=', 'ü']
    """
    parts = path[:-1].split("/")
    return "/".join("" if part == "%" else urllib.parse.unquote(part)
                    for part in parts)


class KeyValue:
    """One branch of a key-value store."""

    def __init__(self, store, branch="main"):
        self.store = store
        self.state = store.open(branch)

    def get(self, key, default=None):
        return self.state.get(to_path(key), default)

    def set(self, values, revision=None):
        """Set keys, in one durable step; None deletes.

        revision: keep the result as a revision of this name.
        """
        with self.state.batch(snapshot=revision, durable=True) as batch:
            for key, value in values.items():
                if value is None:
                    batch.delete(to_path(key), missing_ok=True)
                else:
                    batch[to_path(key)] = value

    def scan(self, prefix=""):
        """Return the keys that begin with a prefix, and their values."""
        paths = list(self.state.scan(to_prefix(prefix)))
        return dict(zip(map(to_key, paths), self.state.get_many(paths)))

    def revisions(self, key):
        """Return (revision, value) for each change of a key, oldest first."""
        found = []
        for info in sorted(self.store.list(self.state.name),
                           key=lambda info: info.number):
            with self.store.open(info.name) as state:
                value = state.get(to_path(key))
            if value != (found[-1][1] if found else None):
                found.append((info.name.partition("~")[2], value))
        return found

    def compare(self, a, b):
        """Return the keys that differ between two revisions."""
        with self.store.open(f"{self.state.name}~{a}") as old, \
                self.store.open(f"{self.state.name}~{b}") as new:
            return sorted(to_key(what.path) for what in old.diff(new)
                          if what.type is coppice.Type.FILE)

    def fork(self, branch):
        return KeyValue(self.store,
                        self.store.fork(self.state.name, branch))

    def ancestors(self):
        """Return the names of the states that the branch grew from."""
        names, name = [], self.state.info().origin
        while name:
            names.append(name)
            try:
                with self.store.open(name) as state:
                    name = state.info().origin
            except FileNotFoundError:
                break
        return names

    def join(self, other, prefer=None):
        """Bring in what changed in another branch since it was forked."""
        self.store.join(other.state.name, self.state.name, prefer=prefer)


# ---- A demonstration --------------------------------------------------------

def make_revisions(main):
    main.set({"user/ann": b"1", "user/bob": b"1", "limit": b"5"}, "r1")
    main.set({"user/bob": b"2"}, "r2")
    main.set({"limit": b"6"}, "r3")
    assert main.get("user/ann") == b"1"
    assert main.get("user/eve") is None
    assert main.scan("user/") == {"user/ann": b"1", "user/bob": b"2"}
    assert list(main.scan("u")) == ["user/ann", "user/bob"]
    assert main.compare("r1", "r2") == ["user/bob"]
    assert main.revisions("user/bob") == [("r1", b"1"), ("r2", b"2")]


def join_forks(main):
    # Two branches change different keys; both changes are joined.
    trial = main.fork("trial")
    again = trial.fork("again")
    assert again.ancestors() == ["trial", "main"]
    trial.set({"user/carl": b"1", "user/ann": None})
    main.set({"limit": b"7"})
    main.join(trial)
    assert main.scan() == {"limit": b"7", "user/bob": b"2", "user/carl": b"1"}

    # The same key on both sides is a conflict, which changes nothing.
    again.set({"limit": b"8"})
    main.set({"limit": b"9"})
    try:
        main.join(again)
        raise AssertionError("there was no conflict")
    except coppice.Conflicts as conflicts:
        assert conflicts.count == 1 and main.get("limit") == b"9"
    main.join(again, prefer="theirs")
    assert main.get("limit") == b"8"
    main.store.snapshot("main", "r4")
    for branch in again, trial:
        main.store.remove(branch.state.name)


def demonstrate(store):
    main = KeyValue(store)
    make_revisions(main)
    join_forks(main)


# ---- From the shell ---------------------------------------------------------

def read(keys, verb, args):
    """Return the lines that a verb prints."""
    if verb == "get":
        value = keys.get(*args)
        if value is None:
            sys.exit(f"keyvalue.py: no key '{args[0]}'")
        return [value.decode()]
    if verb == "list":
        return list(keys.scan(*args))
    if verb == "revisions":
        return [f"{revision}\t{'-' if value is None else value.decode()}"
                for revision, value in keys.revisions(*args)]
    return keys.ancestors()


ARGUMENTS = {"get": (1, 1), "list": (0, 1), "revisions": (1, 1),
             "ancestors": (0, 0)}


def main():
    path, verb, state = (sys.argv[1:4] + [None] * 3)[:3]
    args = sys.argv[4:]
    if path and not verb:
        with coppice.Store(path, create=True) as store:
            demonstrate(store)
    elif verb == "put" and args and len(args) % 2 == 0:
        with coppice.Store(path, create=True) as store:
            KeyValue(store, state).set(dict(zip(
                args[::2], (value.encode() for value in args[1::2]))))
    elif state and verb in ARGUMENTS and \
            ARGUMENTS[verb][0] <= len(args) <= ARGUMENTS[verb][1]:
        with coppice.Store(path, read_only=True) as store:
            print(*read(KeyValue(store, state), verb, args), sep="\n")
    else:
        sys.exit("usage: keyvalue.py STORE [VERB STATE [KEY [VALUE]...]]")


if __name__ == "__main__":
    main()
