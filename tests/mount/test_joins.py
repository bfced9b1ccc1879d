# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ten processes that join into one fork: some of the thousand joins that
tests/soak/joins.py does."""
import os
import sys
from pathlib import Path

import pytest

from conftest import BUILD
from linux import can_unshare

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))
from joins import POLICIES, joins  # noqa: E402


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no /dev/fuse")
@pytest.mark.skipif(not can_unshare(), reason="cannot make a mount namespace")
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_lost(policy):
    assert not joins(BUILD, policy, 30)
