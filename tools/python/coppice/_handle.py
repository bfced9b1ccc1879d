# SPDX-License-Identifier: LGPL-2.1-or-later
"""Handles of the library, and when they are released.

Threads may close what other threads are using.  So a handle is released by the
destructor of a cffi object: close() drops the reference of the Python object,
and a call in progress, which has one on the interpreter's stack, keeps the
handle until it returns.  A store is closed when the last handle of what was
opened in it has been released.

For this, no frame may have a handle in a variable when an exception leaves it,
or when it calls the library with a callback: a traceback would keep the frame
and its handle, and so the store would stay open.
"""
import errno
import os
import threading
import weakref
from queue import SimpleQueue
from typing import Any, Callable, Optional, Set

from ._call import check
from ._libcoppice import ffi, lib


class Owner:
    """An open store of the library, and the handles of what is open in it."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closing = False  # guarded by the lock
        # Guarded by the lock, except for removals.
        self._children: "weakref.WeakSet[Handle]" = weakref.WeakSet()
        # Destructors run anywhere: these two need no lock.
        self._live: Set[object] = set()
        self._released: "SimpleQueue[None]" = SimpleQueue()
        # The calls in progress of the store itself count like its children.
        self.token = self.adopt(pointer, None)

    def adopt(self, pointer: Any, release: Optional[Callable[[Any], object]],
              keep: Any = None) -> Any:
        """Return a handle that is released with its last reference.

        keep: a handle that must be released later than this one.
        """
        live, released, key = self._live, self._released, object()
        live.add(key)

        def end(_: Any, keep: Any = keep) -> None:
            if release is not None:
                release(pointer)
            live.discard(key)
            released.put(None)

        return ffi.gc(pointer, end)

    def register(self, child: "Handle") -> None:
        """Add an object that close() closes, too."""
        with self._lock:
            if not self._closing:
                self._children.add(child)
                return
        child.close()
        raise ValueError("the store is closed")

    def close(self) -> None:
        """Close all children and the store; wait for calls in progress."""
        if os.getpid() != self._process:
            raise ChildProcessError(
                errno.ECHILD, "the store was opened by another process: each "
                "process opens it itself")
        with self._lock:
            if self._closing:
                return
            self._closing = True
            children = list(self._children)
        for child in children:
            child.close()
        self.token = None
        while self._live:
            self._released.get()
        check(lib.coppice_close(self._pointer))

    def abandon(self) -> None:
        """Close the store of a Store object that was not closed."""
        if os.getpid() == self._process:
            self.close()


class Handle:
    """An object that has a handle of the library until it is closed."""

    _handle: Any = None
    _what = "object"

    def _use(self) -> Any:
        """Return the handle.  Pass it on without keeping it."""
        handle = self._handle
        if handle is None:
            raise ValueError(f"the {self._what} is closed")
        return handle

    def close(self) -> None:
        """Release the handle; later uses raise ValueError.  Idempotent."""
        self._handle = None

    @property
    def closed(self) -> bool:
        return self._handle is None
