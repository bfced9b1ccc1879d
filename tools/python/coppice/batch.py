# SPDX-License-Identifier: LGPL-2.1-or-later
"""Batches: changes of files that are made in one step."""
import os
import threading
from array import array
from collections.abc import Mapping
from itertools import islice
from typing import (TYPE_CHECKING, Any, Iterable, List, Optional, Tuple,
                    Union)

from ._call import Text, check, encode
from ._handle import Handle
from ._libcoppice import ffi, lib

if TYPE_CHECKING:
    from .state import State
    from .store import Store

PARENTS = lib.COPPICE_PARENTS
RECURSIVE = lib.COPPICE_RECURSIVE
LENIENT = lib.COPPICE_LENIENT

PIECE = 256  # values of update() that are copied at once

Value = Any  # bytes, or anything with the buffer protocol


class Batch(Handle):
    """Changes of one fork or several; Store.batch() returns it.

    `batch[fork]` takes the changes of a fork.  Nothing is changed before
    commit(), which a `with` statement calls if it ends without an exception.
    """

    _what = "batch"

    def __init__(self, store: "Store", snapshot: Optional[Text] = None,
                 durable: bool = False) -> None:
        self._lock = threading.Lock()
        self._snapshot = ffi.NULL if snapshot is None else encode(snapshot)
        self._durable = durable
        self._keep = store  # its last reference would close the store
        ret = ffi.new("struct coppice_batch **")
        handle = store._use()
        try:
            check(lib.coppice_batch_new(handle, ret))
            self._handle = store._owner.adopt(ret[0],
                                              lib.coppice_batch_discard)
            store._owner.register(self)
        finally:
            del handle

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def __getitem__(self, fork: "State") -> "Changes":
        """Return the object that takes the changes of a fork."""
        return Changes(self, fork)

    def attributes(self, *, uid: Optional[int] = None,
                   gid: Optional[int] = None, file_mode: int = 0o644,
                   directory_mode: int = 0o755) -> None:
        """Set the attributes of files and directories made from now on.

        uid, gid: None stands for those of the process.
        """
        with self._lock:
            check(lib.coppice_batch_attributes(
                self._use(), os.geteuid() if uid is None else uid,
                os.getegid() if gid is None else gid, file_mode,
                directory_mode))

    def commit(self) -> None:
        """Make all changes in one step.

        After an error nothing has changed, and the batch is as it was.  But if
        the changes were made and cannot be made durable, it is empty.
        """
        with self._lock:
            check(lib.coppice_batch_commit(
                self._use(), lib.COPPICE_DURABLE if self._durable else 0,
                self._snapshot))

    def discard(self) -> None:
        """Drop the changes.  The batch cannot be used any more."""
        self.close()


class Changes:
    """The changes of a fork in a batch, in the order in which they are made.

    An error of a change is raised here or by the commit.
    """

    def __init__(self, batch: Batch, fork: "State") -> None:
        self.batch = batch
        self.fork = fork
        self._lock = batch._lock

    def __enter__(self) -> "Changes":
        return self

    def __exit__(self, *failure: object) -> None:
        self.batch.__exit__(*failure)

    def __setitem__(self, path: Text, value: Value) -> None:
        """Make a value the content of a file, which is made if missing.

        Missing directories of its path are made, too.
        """
        self.put(path, value)

    def __delitem__(self, path: Text) -> None:
        """Delete a file or an empty directory."""
        self.delete(path)

    def put(self, path: Text, value: Value, *, parents: bool = True) -> None:
        """Make a value the content of a file, which is made if missing.

        parents: make missing directories of its path, too.
        """
        if not isinstance(value, bytes):
            # This releases the buffer even if a traceback keeps this frame.
            with ffi.from_buffer(value) as data:
                self._put(path, data, parents)
        else:
            self._put(path, value, parents)

    def _put(self, path: Text, data: Any, parents: bool) -> None:
        with self._lock:
            check(lib.coppice_batch_put(
                self.batch._use(), self.fork._use(), encode(path), data,
                len(data), PARENTS if parents else 0))

    def update(self, values: Union["Mapping[Any, Value]",
                                   Iterable[Tuple[Text, Value]]], *,
               parents: bool = True) -> None:
        """Put each value of a mapping, or of pairs of a path and a value.

        For many values this is faster than a put() of each.  After an
        exception some of the values are in the batch.
        """
        pairs = iter(values.items() if isinstance(values, Mapping) else values)
        flags = PARENTS if parents else 0
        while True:
            piece = list(islice(pairs, PIECE))
            if not piece:
                break
            self._put_many(piece, flags)

    def _put_many(self, pairs: List[Tuple[Text, Value]], flags: int) -> None:
        paths = b"\0".join([
            path.encode("utf-8", "surrogateescape") if isinstance(path, str)
            else path for path, _ in pairs])
        if paths.count(b"\0") != len(pairs) - 1:
            raise ValueError("a path has a NUL in it")
        sizes = array("Q", [
            len(value) if isinstance(value, bytes)
            else memoryview(value).nbytes for _, value in pairs])
        with self._lock:
            check(lib.python_put_many(
                self.batch._use(), self.fork._use(), paths,
                b"".join([value for _, value in pairs]),
                ffi.from_buffer("uint64_t[]", sizes), len(pairs), flags))

    def delete(self, path: Text, *, recursive: bool = False,
               missing_ok: bool = False) -> None:
        """Delete a file or an empty directory.

        recursive: delete a directory with all that is in it.
        missing_ok: accept that the path is missing.
        """
        flags = (RECURSIVE if recursive else 0) | \
            (LENIENT if missing_ok else 0)
        with self._lock:
            check(lib.coppice_batch_delete(
                self.batch._use(), self.fork._use(), encode(path), flags))

    def rename(self, path: Text, to: Text, *, parents: bool = True) -> None:
        """Rename a file or directory.

        A file of the new name, or an empty directory, is replaced.
        """
        with self._lock:
            check(lib.coppice_batch_rename(
                self.batch._use(), self.fork._use(), encode(path), encode(to),
                PARENTS if parents else 0))

    def mkdir(self, path: Text, *, parents: bool = True,
              exist_ok: bool = False) -> None:
        """Make a directory."""
        flags = (PARENTS if parents else 0) | (LENIENT if exist_ok else 0)
        with self._lock:
            check(lib.coppice_batch_mkdir(
                self.batch._use(), self.fork._use(), encode(path), flags))
