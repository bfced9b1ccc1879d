# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limit of the processors' latency while requests follow each other."""
import struct
import time
from pathlib import Path

import pytest

from conftest import wait_for
from linux import can_unshare, own_namespace, run

DEVICE = Path("/dev/cpu_dma_latency")


@pytest.fixture
def written(tmp):
    """A file in place of the device, in a namespace: what the daemon has
    written to it."""
    if not can_unshare():
        pytest.skip("cannot make a mount namespace")
    if not DEVICE.exists():
        pytest.skip(f"there is no {DEVICE}")
    file = tmp / "device"
    file.touch()

    def values():
        return [value for value, in struct.iter_unpack("=i", file.read_bytes())]

    with own_namespace():
        run("mount", "--bind", file, DEVICE)
        yield values


def stir(path):
    """Make a hundred requests or more; how many there could be in a second."""
    begin = time.monotonic()
    for _ in range(100):
        path.touch()
    return 100 / (time.monotonic() - begin)


def test_many_requests(written, store):
    path = store.mount().path / "main" / "file"
    path.touch()

    rates = []

    def is_limited():
        rates.append(stir(path))
        return written()

    try:
        limit, *_ = wait_for(is_limited, "the limit")
    except AssertionError:
        if max(rates) < 5000:
            pytest.skip(f"only {max(rates):.0f} requests a second")
        raise
    assert limit in (0, 2)
    assert wait_for(lambda: written()[1:], "its end")[0] > 1000000


def test_off(written, store):
    path = store.mount(options="cpu_latency=off").path / "main" / "file"
    for _ in range(10):
        stir(path)
    assert not written()


@pytest.mark.parametrize("value", ["no", "", "0"])
def test_bad_values(store, tmp, value):
    (tmp / "dir").mkdir()
    result = store.coppice("mount", "-o", f"cpu_latency={value}", store.path,
                           tmp / "dir", code=2)
    assert "bad value in mount option 'cpu_latency=" in result.stderr
