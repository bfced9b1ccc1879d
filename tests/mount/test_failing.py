# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that fails for a while: those who wait for it hear of it, nothing is
lost as long as the daemon runs, and it is saved without anybody's help."""
import errno
import os
import re

import pytest

from conftest import BUILD, SLOWER, wait_for
from linux import opened, raises

FIRST = r"coppice: cannot write to the store '.*': (.*); its changes are kept " \
    r"in memory, and this is tried again\n"
LAST = r"coppice: the store '.*' can be written again: its changes are saved " \
    r"\(\d+ tries in \d+ s had failed\)\n"
ALWAYS = 1000000


class Disk:
    """
    A file system under a mount that fails on demand.  Without the intent log
    each fsync is a commit.
    """

    def __init__(self, store, options="log=off"):
        library = BUILD / "tests" / "mount" / "libfailing.so"
        if not library.exists():
            pytest.skip(f"there is no {library}")
        self.order = store.dir / "fail"
        sanitizer = os.environ.get("ASAN_OPTIONS", "")
        self.mount = store.mount(options=options, environment={
            "LD_PRELOAD": str(library), "COPPICE_FAIL": str(self.order),
            "ASAN_OPTIONS": f"{sanitizer}:verify_asan_link_order=0"})
        self.mount.allow(FIRST)
        self.mount.allow(LAST)

    def fail(self, what, error, count):
        new = self.order.with_suffix(".new")
        new.write_text(f"{what} {error} {count}\n")
        new.rename(self.order)

    def mend(self):
        self.order.unlink()

    def recovered(self):
        """The daemon says that it is over; nobody has asked it to."""
        wait_for(lambda: re.search(LAST, self.mount.stderr()),
                 "the disk to be written again")


@pytest.fixture
def disk(store):
    return Disk(store)


def sync(path):
    with opened(path) as fd:
        os.fsync(fd)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("what", ["write", "sync", "meta"])
def test_once(store, disk, what, error):
    main = disk.mount / "main"
    (main / "before").write_bytes(b"before")
    sync(main)
    (main / "file").write_bytes(b"file" * 10000)
    disk.fail(what, error, 1)
    with raises(error):
        sync(main)
    assert not disk.order.exists()
    if error == errno.EIO:
        (main / "meanwhile").write_bytes(b"meanwhile")
    assert (main / "before").read_bytes() == b"before"
    assert (main / "file").read_bytes() == b"file" * 10000
    disk.recovered()
    (main / "after").write_bytes(b"after")
    sync(main)
    log = disk.mount.stderr()
    assert re.findall(FIRST, log) == [os.strerror(error)]
    assert len(re.findall(LAST, log)) == 1
    disk.mount.kill()
    main = store.mount("again") / "main"
    assert (main / "before").read_bytes() == b"before"
    assert (main / "file").read_bytes() == b"file" * 10000
    assert (main / "after").read_bytes() == b"after"
    if error == errno.EIO:
        assert (main / "meanwhile").read_bytes() == b"meanwhile"


def test_for_a_while(store, disk):
    """Changes made meanwhile are kept, and saved when the disk works."""
    main = disk.mount / "main"
    disk.fail("meta", errno.EIO, ALWAYS)
    for i in range(30):
        (main / f"{i}").write_bytes(b"%d" % i)
        if i % 10 == 0:
            with raises(errno.EIO):
                sync(main)
    (disk.mount / "main@fork").mkdir()
    (main / "5").unlink()
    assert (main / "7").read_bytes() == b"7"
    disk.mend()
    disk.recovered()
    disk.mount.kill()
    mnt = store.mount("again")
    for i in range(30):
        assert (mnt / "main@fork" / f"{i}").read_bytes() == b"%d" % i
    assert not (mnt / "main" / "5").exists()


def test_full_for_a_while(disk):
    """A writer gets ENOSPC; what may make room is let through."""
    main = disk.mount / "main"
    (main / "file").write_bytes(b"x" * 100000)
    disk.fail("write", errno.ENOSPC, ALWAYS)
    with raises(errno.ENOSPC):
        sync(main)
    with raises(errno.ENOSPC):
        (main / "new").write_bytes(b"new")
    (main / "file").unlink()
    disk.mend()
    disk.recovered()
    (main / "new").write_bytes(b"new")
    sync(main)


def test_loss_is_reported(store, disk):
    """Changes that cannot be saved at the end are lost, and counted in the log."""
    main = disk.mount / "main"
    (main / "saved").write_bytes(b"saved")
    sync(main)
    (main / "lost").write_bytes(b"x" * 100000)
    disk.fail("sync", errno.EIO, ALWAYS)
    said = "the last changes could not be saved: Input/output error; those " \
        r"of the last \d+ seconds \(about \d+ KiB\) are lost"
    result = store.coppice("umount", disk.mount, code=1)
    assert re.fullmatch(f"coppice: {said}\n", result.stderr)
    assert disk.mount.process.wait(60 * SLOWER) == 1
    disk.mount.allow(f"coppice: .*{said}\n")
    disk.mount.killed = True  # and not the test's fault
    assert os.listdir(store.mount("again") / "main") == ["saved"]


@pytest.mark.parametrize("what", ["write", "sync"])
def test_a_change_that_should_be_durable(store, what):
    """With -o sync the change fails, and leaves nothing open or looked up."""
    disk = Disk(store, "sync,log=off")
    main = disk.mount / "main"
    (main / "file").write_bytes(b"file")
    (main / "empty").touch()
    for change in (lambda: os.open(main / "new", os.O_CREAT | os.O_RDWR),
                   lambda: os.open(main / "file", os.O_TRUNC | os.O_RDWR),
                   (main / "directory").mkdir, (main / "empty").unlink,
                   lambda: (main / "file").chmod(0o600)):
        disk.fail(what, errno.EIO, 1)
        with raises(errno.EIO):
            change()
        (main / "after").touch()  # which is saved with all before
        (main / "after").unlink()
    assert sorted(os.listdir(main)) == ["directory", "file", "new"]
    disk.mount.umount()
    main = store.mount("again") / "main"
    assert sorted(os.listdir(main)) == ["directory", "file", "new"]


@pytest.mark.parametrize("what", ["write", "sync"])
def test_log_that_cannot_be_written(store, what):
    """The commit makes up for it, once or always."""
    disk = Disk(store, "log=on")
    main = disk.mount / "main"
    (main / "file").write_bytes(b"first")
    sync(main)
    assert (store.path / "log").exists()
    for i in range(5):
        (main / "file").write_bytes(b"file" * i)
        disk.fail(what, errno.EIO, 1)
        sync(main)
        assert not disk.order.exists()
    (main / "last").write_bytes(b"last")
    disk.fail(what, errno.EIO, ALWAYS)
    with raises(errno.EIO):
        sync(main)
    disk.mend()
    disk.recovered()
    disk.mount.kill()
    main = store.mount("again") / "main"
    assert (main / "file").read_bytes() == b"file" * 4
    assert (main / "last").read_bytes() == b"last"
