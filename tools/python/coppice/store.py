# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores."""
import datetime
import os
import warnings
import weakref
from typing import Any, Callable, List, Optional, Union

from ._call import Rows, Text, check, decode, encode, in_callback, sized
from ._handle import Owner
from ._libcoppice import ffi, lib
from .batch import Batch
from .errors import Conflicts
from .records import Info, Stats, make_info, make_stats
from .state import State

Time = Union[int, datetime.datetime]


def _abandon(owner: Owner, path: str) -> None:
    warnings.warn(f"the store '{path}' was not closed", ResourceWarning,
                  stacklevel=2)
    owner.abandon()


def _nanoseconds(time: Time) -> int:
    if isinstance(time, int):
        return time
    since = time.astimezone(datetime.timezone.utc) - datetime.datetime(
        1970, 1, 1, tzinfo=datetime.timezone.utc)
    return since // datetime.timedelta(microseconds=1) * 1000


class Store:
    """An open store of states.

    path: its directory.  create: make the store if there is none; it then has
    one fork, `main`, which is empty.  read_only: refuse changes.
    memory: bytes for caches and unsaved changes.  commit_ms: the longest age of
    an unsaved change.  0 stands for the default of either: see coppice.h.

    Any thread may use a store and its states.  A process that was forked opens
    the store itself.  One process, or the daemon of the store's mounts, changes
    a store; others can read it at the same time, with read_only, and see the
    last commit: see coppice(3).  Functions take states by name: FORK,
    FORK~SNAPSHOT, FORK~N, FORK~@TIME: see coppice-concepts(7).
    """

    def __init__(self, path: "Union[Text, os.PathLike[Any]]", *,
                 create: bool = False, read_only: bool = False,
                 memory: int = 0, commit_ms: int = 0) -> None:
        self.path = os.fsdecode(path)
        ret = ffi.new("struct coppice **")
        options = sized("options")
        options.memory, options.commit_ms = memory, commit_ms
        flags = (lib.COPPICE_CREATE if create else 0) | \
            (lib.COPPICE_READ_ONLY if read_only else 0)
        check(lib.coppice_open(encode(os.fsencode(path)), flags, options, ret))
        self._owner = Owner(ret[0])
        self._finalizer = weakref.finalize(self, _abandon, self._owner,
                                           self.path)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<coppice.Store {self.path!r}>"

    def _use(self) -> Any:
        """Return the handle.  Pass it on without keeping it."""
        handle = self._owner.token
        if handle is None:
            raise ValueError("the store is closed")
        return handle

    def close(self) -> None:
        """Make all changes durable, and close the store and all that is open
        in it.

        Wait for the calls of other threads; later calls raise ValueError.
        """
        if in_callback():
            raise RuntimeError("a callback cannot close a store")
        self._owner.close()
        self._finalizer.detach()

    @property
    def closed(self) -> bool:
        return self._owner.token is None

    def sync(self) -> None:
        """Wait until all changes made before the call are durable."""
        check(lib.coppice_sync(self._use()))

    def stats(self) -> Stats:
        """Return figures of the store."""
        stats = sized("stats")
        check(lib.coppice_stats(self._use(), stats))
        return make_stats(stats)

    def reclaim(self) -> None:
        """Wait until the space of all deleted states is free, durably.

        The space of snapshots that are still open, here or in another process,
        is freed later.
        """
        check(lib.coppice_reclaim(self._use()))

    def event_fd(self) -> int:
        """Return a descriptor that becomes readable when states have changed.

        Use it with select, selectors or an event loop's add_reader().  It
        belongs to the store, and is closed with it: reset it only with
        event_clear().
        """
        return int(check(lib.coppice_event_fd(self._use())))

    def event_clear(self) -> bool:
        """Make the descriptor unreadable until the next change.

        Return True if there may have been changes since the last call.  Look at
        the states afterwards: then no change is missed.
        """
        return bool(check(lib.coppice_event_clear(self._use())))

    # ---- States -------------------------------------------------------------

    def open(self, name: Text) -> State:
        """Return an open state.

        The content of a snapshot stays readable even if it is deleted.  A fork
        is followed when it is renamed.
        """
        ret = ffi.new("struct coppice_state **")
        handle = self._use()
        try:
            check(lib.coppice_state_open(handle, encode(name), ret))
            return State(self, ret[0])
        finally:
            del handle

    def list(self, fork: Optional[Text] = None,
             each: Optional[Callable[[Info], object]] = None) -> "List[Info]":
        """Return the snapshots of a fork, or all forks, in order of the names.

        each: call this with each state, and return an empty list.  An exception
        of it ends the list, and is raised.
        """
        found: List[Info] = []
        name = ffi.NULL if fork is None else encode(fork)
        Rows(make_info, each or found.append).run(
            lib.coppice_list, self._use(), name, lib.python_info)
        return found

    def fork(self, source: Optional[Text], name: Text, *,
             unique: bool = False) -> str:
        """Make a fork of a state, or an empty one if source is None.

        unique: add a suffix if the name is taken.  Return the fork's name.
        """
        ret = ffi.new("char[]", lib.COPPICE_NAME_SIZE)
        check(lib.coppice_fork(
            self._use(), ffi.NULL if source is None else encode(source),
            encode(name), lib.COPPICE_UNIQUE if unique else 0, ret))
        return decode(ret)

    def snapshot(self, fork: Text, name: Text) -> None:
        """Make a snapshot of a fork; it is then found as FORK~NAME."""
        check(lib.coppice_snapshot(self._use(), encode(fork), encode(name)))

    def remove(self, name: Text, *, snapshots: bool = False) -> None:
        """Delete a state.

        Its space is freed in the background.  snapshots: delete those of a
        fork, too.
        """
        check(lib.coppice_remove(self._use(), encode(name),
                                 lib.COPPICE_SNAPSHOTS if snapshots else 0))

    def expire(self, fork: Text, before: Time = 2**63 - 1,
               keep: int = 0) -> int:
        """Delete snapshots of a fork; return how many.

        before: delete those made before this time, in nanoseconds since 1970 or
        as a datetime.  The `keep` newest ones and held ones are kept.
        """
        ret = ffi.new("uint64_t *")
        check(lib.coppice_expire(self._use(), encode(fork),
                                 _nanoseconds(before), keep, ret))
        return int(ret[0])

    def rename(self, name: Text, to: Text) -> None:
        """Rename a fork, or a snapshot within its fork."""
        check(lib.coppice_rename(self._use(), encode(name), encode(to)))

    def swap(self, a: Text, b: Text) -> None:
        """Exchange the names of two forks, or of two snapshots of a fork."""
        check(lib.coppice_swap(self._use(), encode(a), encode(b)))

    def reset(self, fork: Text, source: Text,
              undo: Optional[Text] = None) -> None:
        """Give a fork the content of another state, in one step.

        undo: the name of a snapshot of the fork as it was before.
        """
        check(lib.coppice_reset(self._use(), encode(fork), encode(source),
                                ffi.NULL if undo is None else encode(undo)))

    def hold(self, name: Text, tag: Text) -> None:
        """Protect a state from deletion by a tag."""
        check(lib.coppice_hold(self._use(), encode(name), encode(tag)))

    def release(self, name: Text, tag: Text) -> None:
        """Remove a tag that protects a state."""
        check(lib.coppice_release(self._use(), encode(name), encode(tag)))

    def set_property(self, name: Text, key: Text,
                     value: Optional[Text]) -> None:
        """Set a property of a state, or remove it if value is None."""
        check(lib.coppice_set(self._use(), encode(name), encode(key),
                              ffi.NULL if value is None else encode(value)))

    def get_property(self, name: Text, key: Text) -> str:
        """Return a property of a state.  OSError, ENODATA: it is not set."""
        size = 256
        while True:
            buffer = ffi.new("char[]", size)
            length = check(lib.coppice_property(
                self._use(), encode(name), encode(key), buffer, size))
            if length < size:
                return decode(buffer)
            size = length + 1

    # ---- Changing -----------------------------------------------------------

    def batch(self, snapshot: Optional[Text] = None,
              durable: bool = False) -> Batch:
        """Return a batch of changes of one fork or several.

        snapshot: the name of a snapshot that each fork with changes gets in the
        same step.  durable: the commit waits until all is on the disk.
        """
        return Batch(self, snapshot, durable)

    def join(self, source: Text, into: Text, *, prefer: Optional[str] = None,
             dry_run: bool = False) -> None:
        """Join a state into a fork by a three-way merge, in one step.

        prefer: "ours" decides each conflict for the fork, "theirs" for the
        other state; if None, a conflict raises Conflicts and nothing is
        changed.  dry_run: change nothing in any case.
        """
        flags = {None: 0, "ours": lib.COPPICE_OURS,
                 "theirs": lib.COPPICE_THEIRS}
        if prefer not in flags:
            raise ValueError(f"prefer is \"ours\" or \"theirs\": {prefer!r}")
        ret = ffi.new("uint64_t *")
        try:
            check(lib.coppice_join(
                self._use(), encode(source), encode(into), flags[prefer] |
                (lib.COPPICE_DRY_RUN if dry_run else 0), ret))
        except FileExistsError as error:
            conflicts = Conflicts(error.errno, error.strerror)
            conflicts.count = int(ret[0])
            raise conflicts from None
