# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls that would take for ever, or as long as somebody likes: others go on,
and who made them can be killed."""
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conftest import SLOWER, wait_for
from linux import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, fallocate, opened

END = 1 << 62
GIB = 1 << 30

ALLOCATE = """
import os, sys
os.posix_fallocate(int(sys.argv[1]), 0, int(sys.argv[2]))
"""


def test_holes_without_end(main):
    """More such calls than there may be threads to serve them."""
    with opened(main / "far", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"x", END - 2)
        threads = [threading.Thread(target=fallocate, args=(
            fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, END - 4096))
            for _ in range(25)]
        for thread in threads:
            thread.start()
        (main / "meanwhile").write_text("x")
        for thread in threads:
            thread.join()
        assert os.pread(fd, 1, END - 2) == b"x"
        assert os.lseek(fd, 0, os.SEEK_DATA) == (END - 2) & ~0xffff


def test_who_allocates_is_killed(main):
    """A killed fallocate(2) ends soon, though much of it is left to do."""
    space = os.statvfs(main)
    size = min(space.f_bavail * space.f_frsize * 3 // 4, 100 * GIB)
    if size < 4 * GIB:
        pytest.skip("there is too little room for a call that takes long")
    for attempt in range(20):
        with opened(main / f"file{attempt}", os.O_RDWR | os.O_CREAT) as fd:
            child = subprocess.Popen(
                [sys.executable, "-c", ALLOCATE, str(fd), str(size)],
                pass_fds=[fd])
            wchan = Path(f"/proc/{child.pid}/wchan")
            wait_for(lambda: "request_wait" in wchan.read_text()
                     or child.poll() is not None, "the call to begin")
            child.kill()
            child.wait(60 * SLOWER)
            os.unlink(main / f"file{attempt}")
            # Some are too quick for us, and some have not begun.
            if 0 < os.fstat(fd).st_blocks * 512 < size:
                return
    raise AssertionError("no call was given up")


def test_a_signal_that_does_not_kill(main):
    """is no reason to give up."""
    space = os.statvfs(main)
    size = min(space.f_bavail * space.f_frsize // 2, 8 * GIB)
    if size < GIB:
        pytest.skip("there is too little room for a call that takes long")
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with opened(main / "file", os.O_RDWR | os.O_CREAT) as fd:
            fallocate(fd, 0, 0, size)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (main / "file").stat().st_size == size
