# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limit of the processors' latency while requests follow each other."""
import os
import struct

import pytest

from conftest import daemons, wait_for

DEVICE = "/dev/cpu_dma_latency"


def limit():
    """Return the machine's present limit in microseconds."""
    with open(DEVICE, "rb") as device:
        return struct.unpack("i", device.read(4))[0]


@pytest.fixture(autouse=True)
def device():
    try:
        limit()
    except OSError as error:
        pytest.skip(f"no limit of the processors' latency: {error}")


def has_device(store):
    (pid,) = daemons(store)
    return DEVICE in [os.readlink(f"/proc/{pid}/fd/{fd}")
                      for fd in os.listdir(f"/proc/{pid}/fd")]


def test_many_requests(store, main):
    """The limit may be another mount's; that there is one is what counts."""
    def stirred():
        for _ in range(100):
            (main / "file").touch()
            os.utime(main / "file", ns=(0, 0))
        return limit() <= 2

    wait_for(stirred, "the limit")
    assert has_device(store)


def test_off(store):
    store.mount(options="cpu_latency=off")
    assert not has_device(store)


@pytest.mark.parametrize("value", ["no", "", "0"])
def test_bad_values(store, tmp, value):
    (tmp / "dir").mkdir()
    result = store.coppice("mount", "-o", f"cpu_latency={value}", store.path,
                           tmp / "dir", code=2)
    assert "bad value in mount option 'cpu_latency=" in result.stderr
