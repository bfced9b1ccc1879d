# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls of the library: text in and out, errors, callbacks."""
import threading
from typing import Any, Callable, Optional, Union

from ._libcoppice import ffi, lib
from .errors import make_error

Text = Union[str, bytes]


def encode(text: Text) -> bytes:
    """Return a name or a path as the bytes that the library takes."""
    data = text.encode("utf-8", "surrogateescape") \
        if isinstance(text, str) else text
    if b"\0" in data:
        raise ValueError("a name or path has a NUL in it")
    return data


def decode(text: Any) -> str:
    """Return a `char *` as text; bytes that are not UTF-8 become surrogates."""
    return str(ffi.string(text), "utf-8", "surrogateescape")


def check(result: int) -> int:
    """Return the result of a call, or raise the error that it stands for."""
    if result < 0:
        raise make_error(-result, decode(lib.coppice_error()))
    return result


def sized(kind: str) -> Any:
    """Return a new struct of the library, with its size set."""
    struct = ffi.new(f"struct coppice_{kind} *")
    struct.size = ffi.sizeof(struct[0])
    return struct


_callbacks = threading.local()


def in_callback() -> bool:
    """Return true in a callback of a function of the library."""
    return getattr(_callbacks, "depth", 0) > 0


class Rows:
    """Rows that a function of the library passes to a callback.

    An exception of `each` ends the function, and is raised by run().
    """

    def __init__(self, convert: Callable[[Any], Any],
                 each: Callable[[Any], object]) -> None:
        self._convert = convert
        self._each = each
        self._failure: Optional[BaseException] = None

    def run(self, function: Callable[..., int], *args: Any) -> None:
        """Call a function of the library with `args`, which end with its
        callback, and with the callback's argument."""
        argument = ffi.new_handle(self)
        try:
            result = function(*args, argument)
            if self._failure is not None:
                raise self._failure
            check(result)
        finally:
            self._failure = None
            del args

    def call(self, row: Any) -> int:
        _callbacks.depth = getattr(_callbacks, "depth", 0) + 1
        try:
            self._each(self._convert(row))
        except BaseException as failure:
            self._failure = failure
            return 1
        finally:
            _callbacks.depth -= 1
        return 0


@ffi.def_extern(error=1)  # type: ignore[misc]
def python_info(argument: Any, info: Any) -> int:
    rows: Rows = ffi.from_handle(argument)
    return rows.call(info)


@ffi.def_extern(error=1)  # type: ignore[misc]
def python_difference(argument: Any, what: Any) -> int:
    rows: Rows = ffi.from_handle(argument)
    return rows.call(what)
