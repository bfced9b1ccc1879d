# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors of the library.

Each is an OSError of the class that Python has for its errno: a state or path
that is missing is a FileNotFoundError, a change of a snapshot an OSError with
errno.EROFS, a handle of the parent process a ChildProcessError.
"""
import errno


class MissingPath(FileNotFoundError, KeyError):
    """A state, as a mapping, has no file of this path."""


class Conflicts(FileExistsError):
    """A join found conflicts, and changed nothing."""

    count = 0  #: the files in conflict


def make_error(number: int, message: str) -> OSError:
    """Return the exception for an errno value and a message."""
    if number == errno.ENOMEM:
        raise MemoryError(message)
    return OSError(number, message)
