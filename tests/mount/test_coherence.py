# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several mounts of one state, at random: a few seconds of what
tests/soak/coherence.py does for any time."""
import os
import sys
import time
from pathlib import Path

import pytest

from conftest import BUILD, SLOWER

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))
from coherence import MODES, coherence  # noqa: E402


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no /dev/fuse")
@pytest.mark.parametrize("mode", MODES)
def test_mounts_agree(mode):
    problem = coherence(BUILD, mode, int(time.time()), 2,
                        hang=20 * min(SLOWER, 3))
    assert not problem
