# SPDX-License-Identifier: LGPL-2.1-or-later
"""States, which are mappings of paths to contents, and their directories."""
import threading
from collections.abc import Mapping
from typing import (TYPE_CHECKING, Any, Callable, Iterable, Iterator, List,
                    Optional)

from ._call import Rows, Text, check, encode, sized
from ._handle import Handle
from ._libcoppice import ffi, lib
from .batch import Batch, Changes
from .errors import MissingPath
from .records import (Difference, Entry, Info, Stat, Type, make_difference,
                      make_entry, make_info, make_stat)

if TYPE_CHECKING:
    from .store import Store

ROOM = 4096  # first guess at the length of a value
MANY = 1024  # reads in one call, where they need not be of one instant

new_buffer = ffi.new_allocator(should_clear_after_alloc=False)


class State(Handle, Mapping[str, bytes]):
    """An open fork or snapshot; Store.open() returns it.

    Its keys as a mapping are the paths of all files, its values their contents
    (bytes).  A mapping of a fork shows the fork as it is at each call.  Two
    State objects are equal only if they are the same object; equal contents
    have the same info().version.
    """

    _what = "state"

    def __init__(self, store: "Store", pointer: Any) -> None:
        self.store = store
        self._handle = store._owner.adopt(pointer, lib.coppice_state_close)
        store._owner.register(self)

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        try:
            return f"<coppice.State {self.name!r}>"
        except (OSError, ValueError) as error:
            return f"<coppice.State: {error}>"

    def info(self) -> Info:
        """Return information about the state."""
        info = sized("info")
        check(lib.coppice_info(self._use(), info))
        return make_info(info)

    @property
    def name(self) -> str:
        """The full name, FORK or FORK~SNAPSHOT, that the state has now."""
        return self.info().name

    # ---- Reading ------------------------------------------------------------

    def __getitem__(self, path: Text) -> bytes:
        """Return the content of a file."""
        try:
            return self.read(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = MissingPath(error.errno, error.strerror)
        raise missing

    def read(self, path: Text, offset: int = 0,
             size: Optional[int] = None) -> bytes:
        """Return `size` bytes of a file from an offset on (None: all of them).

        Return fewer only at the end of the file.
        """
        key = encode(path)
        room = ROOM if size is None else size
        while True:
            buffer = new_buffer("char[]", room)
            done = lib.coppice_get(self._use(), key, offset, buffer, room)
            if done < room or size is not None:
                return bytes(ffi.buffer(buffer, check(done)))
            # All of it in one call: a fork may change between two.
            room = max(2 * room, self.stat(path).bytes - offset + 1)

    def read_into(self, path: Text, buffer: Any, offset: int = 0) -> int:
        """Fill a writable buffer from an offset on; return how many bytes."""
        with ffi.from_buffer(buffer, require_writable=True) as room:
            return check(lib.coppice_get(self._use(), encode(path), offset,
                                         room, len(room)))

    def get_many(self, paths: Iterable[Text], default: Any = None, *,
                 room: int = ROOM) -> List[Any]:
        """Return the contents of files, or `default` for those missing.

        They are of one instant of the state, unless it is a fork that another
        process may change.  room: a length in bytes that most contents do not
        exceed.
        """
        keys = [encode(path) for path in paths]
        if not self.info().read_only:
            return self._get_some(keys, default, room)
        found: List[Any] = []
        for i in range(0, len(keys), MANY):
            found += self._get_some(keys[i:i + MANY], default, room)
        return found

    def _get_some(self, keys: List[bytes], default: Any, room: int) \
            -> List[Any]:
        texts = [ffi.from_buffer(key + b"\0") for key in keys]
        rooms = [room] * len(keys)
        while True:
            buffer = new_buffer("char[]", sum(rooms))
            gets = ffi.new("struct coppice_get[]", len(keys))
            at = 0
            for get, text, size in zip(gets, texts, rooms):
                get.path, get.buffer, get.size = text, buffer + at, size
                at += size
            check(lib.coppice_get_many(self._use(), gets, len(keys)))
            full = [i for i, get in enumerate(gets)
                    if get.result == get.size]
            if not full:
                break
            for i in full:
                rooms[i] = max(2 * rooms[i], self._length(keys[i]) + 1)
        return [ffi.buffer(get.buffer, get.result)[:] if get.result >= 0
                else self._absent(key, get.result, default)
                for key, get in zip(keys, gets)]

    def _length(self, path: bytes) -> int:
        try:
            return self.stat(path).bytes
        except OSError:
            return 0

    def _absent(self, path: bytes, result: int, default: Any) -> Any:
        """Return `default` if a read failed because the path is missing."""
        try:
            check(result)
        except (FileNotFoundError, NotADirectoryError):
            return default
        except OSError as error:
            # The library describes errors of calls, not of single reads.
            name = path.decode("utf-8", "replace")
            reason = f"cannot read '{name}' in '{self.name}'"
            raise OSError(error.errno, reason) from None
        return default

    def stat(self, path: Text = "") -> Stat:
        """Return the attributes of a file or directory; "" is the root."""
        stat = sized("stat")
        check(lib.coppice_stat(self._use(), encode(path), stat))
        return make_stat(stat)

    def __contains__(self, path: object) -> bool:
        """Return true if there is a file of this path."""
        if not isinstance(path, (str, bytes)):
            return False
        try:
            return self.stat(path).type is Type.FILE
        except (FileNotFoundError, NotADirectoryError):
            return False

    # ---- Directories --------------------------------------------------------

    def entries(self, path: Text = "", prefix: Text = "", *,
                sort: bool = True) -> "Scan":
        """Return an iterator over the entries of a directory.

        prefix: only those whose names begin with it.  sort: in the order of the
        names' bytes, and all as of this moment, unless another process may
        change the fork.
        """
        return Scan(self, encode(path), encode(prefix), sort)

    def scan(self, prefix: Text = "") -> Iterator[str]:
        """Return an iterator over the paths of files that begin with a prefix.

        Within a directory they are in the order of the names.
        """
        above, _, name = encode(prefix).rpartition(b"/")
        return self._scan(above, name)

    def _scan(self, path: bytes, prefix: bytes) -> Iterator[str]:
        try:
            entries = list(self.entries(path, prefix))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = entry.name.encode("utf-8", "surrogateescape")
            below = path + b"/" + name if path else name
            if entry.type is Type.DIRECTORY:
                yield from self._scan(below, b"")
            elif entry.type is Type.FILE:
                yield below.decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return self.scan()

    def __len__(self) -> int:
        """Return the number of files.  All directories are read."""
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """Return true if there is a file."""
        return any(True for _ in self)

    # ---- Changing and comparing ---------------------------------------------

    def batch(self, snapshot: Optional[Text] = None,
              durable: bool = False) -> Changes:
        """Return changes of this fork, to be used in a `with` statement.

        They are made in one step when the statement ends.  snapshot: the name
        of a snapshot made in the same step, unless there are no changes.
        durable: wait until all is on the disk.
        """
        return Batch(self.store, snapshot, durable)[self]

    def diff(self, other: "State",
             each: Optional[Callable[[Difference], object]] = None) \
            -> List[Difference]:
        """Return the files that differ between this state and another.

        each: call this with each file, and return an empty list.  An exception
        of it ends the comparison, and is raised.
        """
        found: List[Difference] = []
        Rows(make_difference, each or found.append).run(
            lib.coppice_diff, self._use(), other._use(),
            lib.python_difference)
        return found


class Scan(Handle):
    """An iterator over the entries of a directory; see State.entries()."""

    _what = "scan"

    def __init__(self, state: State, path: bytes, prefix: bytes,
                 sort: bool) -> None:
        self._lock = threading.Lock()
        self._entry = sized("entry")
        ret = ffi.new("struct coppice_scan **")
        handle = state._use()
        try:
            check(lib.coppice_scan_open(
                handle, path, prefix, lib.COPPICE_SORTED if sort else 0, ret))
            owner = state.store._owner
            self._handle = owner.adopt(ret[0], lib.coppice_scan_close, handle)
            owner.register(self)
        finally:
            del handle

    def __iter__(self) -> "Scan":
        return self

    def __next__(self) -> Entry:
        with self._lock:
            if self._handle is None:
                raise StopIteration
            handle = self._use()  # has the entry's name, too
            try:
                if check(lib.coppice_scan_next(handle, self._entry)):
                    return make_entry(self._entry)
            finally:
                del handle
            self.close()
        raise StopIteration
