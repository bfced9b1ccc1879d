# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records that the library returns.  Times are nanoseconds since 1970."""
import enum
from typing import Any, Dict, NamedTuple, Optional

from ._call import decode
from ._libcoppice import lib


class Type(enum.Enum):
    """The type of a file."""

    FILE = lib.COPPICE_FILE
    DIRECTORY = lib.COPPICE_DIRECTORY
    SYMLINK = lib.COPPICE_SYMLINK
    OTHER = lib.COPPICE_OTHER


class Change(enum.Enum):
    """How a file differs between two states."""

    ADDED = "+"
    REMOVED = "-"
    MODIFIED = "M"
    RENAMED = "R"


class Info(NamedTuple):
    """A state."""

    name: str  #: full: FORK or FORK~SNAPSHOT
    origin: str  #: the state it was made from, or ""
    number: int  #: no other state of the store has it
    fork: int  #: of a snapshot: the number of its fork; else 0
    version: int  #: equal versions have equal content
    created: int
    files: int  #: files and directories, the root included
    bytes: int  #: of the files' contents
    exclusive: int  #: stored bytes that deleting it alone would free
    snapshots: int  #: of a fork
    read_only: bool  #: a snapshot


class Stat(NamedTuple):
    """The attributes of a file."""

    type: Type
    mode: int  #: as st_mode
    uid: int
    gid: int
    links: int
    number: int  #: of the inode; the same in every state
    bytes: int  #: length; of a directory: number of entries
    modified: int
    changed: int
    born: int


class Entry(NamedTuple):
    """An entry of a directory."""

    name: str
    type: Type
    number: int  #: of the inode


class Difference(NamedTuple):
    """A file that differs between two states, a and b."""

    change: Change
    type: Type
    path: str  #: in b, or in a if it was removed
    source: Optional[str]  #: of a renamed file: its path in a
    number: int  #: of the inode
    old_bytes: int  #: lengths; 0: not in that state
    new_bytes: int


class Stats(NamedTuple):
    """Figures of a store."""

    used_bytes: int  #: of the store's file, in use
    free_bytes: int  #: of the store's file, free for new data
    avail_bytes: int  #: that can still be written
    pending_bytes: int  #: changed, and not durable yet
    reclaiming: int  #: versions of deleted states still to be freed
    states: int  #: forks and snapshots
    commits: int  #: since the store was opened


TYPES = {kind.value: kind for kind in Type}
CHANGES = {ord(change.value): change for change in Change}


def _fields(record: Any, struct: Any, **others: Any) -> Dict[str, Any]:
    """Return the fields of a record; those not in `others` are numbers."""
    return {name: others[name] if name in others else getattr(struct, name)
            for name in record._fields}


def make_info(info: Any) -> Info:
    return Info(**_fields(Info, info, name=decode(info.name),
                          origin=decode(info.origin),
                          read_only=bool(info.read_only)))


def make_stat(stat: Any) -> Stat:
    return Stat(**_fields(Stat, stat, type=TYPES[stat.type]))


def make_entry(entry: Any) -> Entry:
    return Entry(decode(entry.name), TYPES[entry.type], entry.number)


def make_difference(what: Any) -> Difference:
    # "from" is a keyword of Python.
    source = getattr(what, "from")
    return Difference(CHANGES[what.change], TYPES[what.type],
                      decode(what.path), decode(source) if source else None,
                      what.number, what.old_bytes, what.new_bytes)


def make_stats(stats: Any) -> Stats:
    return Stats(**_fields(Stats, stats))
