# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limit of the processors' latency while requests follow each other."""
import struct
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
    for _ in range(100):
        path.touch()


def test_many_requests(written, store):
    path = store.mount().path / "main" / "file"
    path.touch()

    def is_limited():
        stir(path)
        return written()

    limit, *_ = wait_for(is_limited, "the limit")
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
