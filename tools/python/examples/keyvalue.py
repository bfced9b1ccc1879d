#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A key-value store with revisions, forks and joins.

    keyvalue.py STORE

A key is any text.  It becomes a path: its part behind the last slash is a file,
whose name ends with "=", so that `a` and `a/b` can both be keys.
"""
import sys
import urllib.parse

import coppice


def to_prefix(key):
    """Return what the paths of all keys that begin with a text begin with."""
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
        """Set keys, in one step; None deletes.  revision: keep it as that."""
        with self.state.batch(snapshot=revision) as batch:
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


def demonstrate(store):
    main = KeyValue(store)
    main.set({"user/1": b"alfred", "user/2": b"benny", "limit": b"10"}, "r1")
    main.set({"user/2": b"boris"}, "r2")
    main.set({"limit": b"20"}, "r3")
    assert main.get("user/1") == b"alfred"
    assert main.get("user/9") is None
    assert main.scan("user/") == {"user/1": b"alfred", "user/2": b"boris"}
    assert list(main.scan("u")) == ["user/1", "user/2"]
    assert main.revisions("user/2") == [("r1", b"benny"), ("r2", b"boris")]

    # Two branches change different keys; both changes are joined.
    trial = main.fork("trial")
    again = trial.fork("again")
    trial.set({"user/3": b"claire", "user/1": None})
    main.set({"limit": b"30"})
    assert again.ancestors() == ["trial", "main"]
    main.join(trial)
    assert main.scan() == {"limit": b"30", "user/2": b"boris",
                           "user/3": b"claire"}
    # The same key in both is a conflict, which changes nothing.
    again.set({"limit": b"7"})
    main.set({"limit": b"8"})
    try:
        main.join(again)
        raise AssertionError("there was no conflict")
    except coppice.Conflicts:
        assert main.get("limit") == b"8"
    main.join(again, prefer="theirs")
    assert main.get("limit") == b"7"
    print(main.scan())


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: keyvalue.py STORE")
    with coppice.Store(sys.argv[1], create=True) as store:
        demonstrate(store)


if __name__ == "__main__":
    main()
