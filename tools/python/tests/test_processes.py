# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several processes with one store."""
import errno
import os
import re
import subprocess
import sys

import coppice
import pytest

READER = """if True:
    import sys
    import coppice
    store = coppice.Store(sys.argv[1], read_only=True)
    old = store.open("main~one")
    for line in sys.stdin:
        print(old["a"].decode(), store.open("main")["a"].decode(),
              [info.name for info in store.list("main")], flush=True)
    store.close()
"""


def test_another_process_reads(path, store, put):
    put("main", {"a": b"1"}, snapshot="one", durable=True)
    with subprocess.Popen([sys.executable, "-c", READER, path], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) \
            as reader:

        def ask():
            print("?", file=reader.stdin, flush=True)
            return reader.stdout.readline()

        assert ask() == "1 1 ['main~one']\n"
        put("main", {"a": b"2"}, snapshot="two", durable=True)
        assert ask() == "1 2 ['main~one', 'main~two']\n"
        # A snapshot that a process has open stays readable for it.
        store.remove("main~one")
        store.sync()
        assert ask() == "1 2 ['main~two']\n"
        reader.stdin.close()
    assert reader.returncode == 0
    store.reclaim()
    assert store.open("main~two")["a"] == b"2"


def test_one_process_writes(path, store):
    script = "import coppice, sys; coppice.Store(sys.argv[1])"
    other = subprocess.run([sys.executable, "-c", script, path], text=True,
                           stderr=subprocess.PIPE)
    assert other.returncode == 1
    assert f"Errno {errno.EBUSY}" in other.stderr
    assert re.search(rf"process {os.getpid()} \(.*\) writes to it; for several "
                     "to write, mount it first", other.stderr)
    with pytest.raises(OSError) as failure:
        coppice.Store(path, read_only=True)
    assert failure.value.errno == errno.EBUSY
