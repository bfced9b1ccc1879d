# SPDX-License-Identifier: LGPL-2.1-or-later
"""A few seconds of the soak, which runs for any time by
tests/soak/run."""
import os
import sys
import time
from pathlib import Path

import pytest

from conftest import COPPICE, SLOWER

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))
from soak import Soak  # noqa: E402


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_soak():
    seed = int(time.time())
    # No file but a sanitizer's own may be loaded before it.
    soak = Soak(COPPICE, 10 * min(SLOWER, 2), seed, slower=SLOWER,
                faults=SLOWER == 1)
    try:
        soak.run()
    except Exception as problem:
        raise AssertionError(
            f"seed {seed}: {problem}; {soak.summary()}") from problem
    finally:
        soak.fail("it is over")
        soak.clean()
    print(soak.summary())
