# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors of the library.

Each is an OSError of the class that Python has for its errno.  For example, a
missing state or path raises FileNotFoundError, a change of a snapshot OSError
with errno.EROFS, the use of a parent process's handle ChildProcessError.
"""
import errno


class MissingPath(FileNotFoundError, KeyError):
    """A state, as a mapping, has no file of this path."""


class Conflicts(FileExistsError):
    """A join found conflicts, and changed nothing."""

    count = 0  #: the files in conflict


def make_error(number: int, message: str) -> OSError:
    """Return the exception for an errno value and a message.

    For ENOMEM, raise MemoryError.
    """
    if number == errno.ENOMEM:
        raise MemoryError(message)
    return OSError(number, message)
