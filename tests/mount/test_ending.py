# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands that meet a daemon that is ending: they wait for its end."""
import signal
import subprocess

import pytest

from conftest import COPPICE, SANITIZED, wait_for
from linux import run

COMMANDS = 6  # at a time


def begin(store, *args):
    return subprocess.Popen(
        [COPPICE, args[0], "-s", store.path, *args[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


def asks(process):
    """Return True if the process has connected and waits for an answer."""
    with open(f"/proc/{process.pid}/wchan") as file:
        return "poll" in file.read()


@pytest.mark.parametrize("round_number", range(5))
def test_asked_while_it_ends(store, round_number):
    """Those that were connected, and those that come later; each change is
    made once."""
    mnt = store.mount()
    mnt.process.send_signal(signal.SIGSTOP)
    try:
        snaps = [begin(store, "snap", "main", f"s{i}")
                 for i in range(COMMANDS)]
        lists = [begin(store, "list") for _ in range(COMMANDS)]
        for command in snaps + lists:
            wait_for(lambda: asks(command), "the request")
        run("umount", "-i", "-l", mnt.path)
    finally:
        mnt.process.send_signal(signal.SIGCONT)
    lists += [begin(store, "list") for _ in range(COMMANDS)]
    for command in snaps + lists:
        out, complaint = command.communicate()
        assert (command.returncode, complaint) == (0, ""), command.args
    assert mnt.process.wait() == 0
    assert store.names() == ["main", *sorted(
        f"main~s{i}" for i in range(COMMANDS))]


def test_list_against_mount_and_umount(store, tmp):
    (tmp / "m").mkdir()
    for _ in range(4 if SANITIZED else 15):
        lister = subprocess.Popen(
            ["sh", "-c", 'for i in 1 2 3 4 5 6 7 8; do "$1" list -s "$2"; '
             '"$1" check "$2" || exit; done', "sh", COPPICE, store.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        store.coppice("mount", store.path, tmp / "m")
        store.coppice("umount", tmp / "m")
        out, complaint = lister.communicate()
        assert (lister.returncode, complaint) == (0, "")
        assert out == "main\nno damage found\n" * 8
