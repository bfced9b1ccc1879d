# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process of test_locks.py: it does what it reads from standard input."""
import fcntl
import json
import os
import signal
import struct
import sys

KINDS = {"read": fcntl.F_RDLCK, "write": fcntl.F_WRLCK, "none": fcntl.F_UNLCK}
COMMANDS = {
    "posix": (fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW),
    "ofd": (fcntl.F_OFD_GETLK, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW)}
FLOCK = "hhqqi4x"


class Interrupted(Exception):
    """Raised by the handler of SIGUSR1: else Python makes the call again."""


def interrupted(*_):
    raise Interrupted


def do(what, *args):
    if what == "open":
        return os.open(args[0], os.O_RDWR | os.O_CREAT)
    if what == "close":
        return os.close(args[0]) or 0
    if what == "flock":
        fd, operation = args
        return fcntl.flock(fd, operation) or 0
    # fd, read, write or none, start, length, and what is to be done
    fd, kind, start, length, how = args
    asked = struct.pack(FLOCK, KINDS[kind], os.SEEK_SET, start, length, 0)
    command = COMMANDS[what][["test", "set", "wait"].index(how)]
    found = struct.unpack(FLOCK, fcntl.fcntl(fd, command, asked))
    if how != "test":
        return 0
    return [next(k for k, n in KINDS.items() if n == found[0]), *found[2:]]


def main():
    signal.signal(signal.SIGUSR1, interrupted)
    print('"ready"', flush=True)
    for line in sys.stdin:
        try:
            result = do(*json.loads(line))
        except OSError as error:
            result = error.errno
        except Interrupted:
            result = "interrupted"
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
