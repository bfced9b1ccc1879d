# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package for Python as it was built, for tests in other processes."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
SOURCE = TOP / "tools" / "python"
BUILD = Path(os.environ.get("COPPICE_BUILD", TOP / "build")).resolve()
BUILT = BUILD / "tools" / "python"
EXTENSION = BUILT / "coppice" / "_libcoppice.abi3.so"


def with_library(library):
    """Return the environment of a Python process that loads a library of ours."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    needs = subprocess.run(["ldd", library], capture_output=True, text=True,
                           check=True).stdout
    if "libtsan" in needs:
        pytest.skip("the interpreter is not built with ThreadSanitizer")
    runtime = re.search(r"libasan\S* => (\S+)", needs)
    if runtime:
        # The interpreter itself does not free all of its memory.
        env |= {"LD_PRELOAD": runtime[1], "PYTHONMALLOC": "malloc",
                "ASAN_OPTIONS": env.get("ASAN_OPTIONS", "") +
                ":detect_leaks=0"}
    return env


def environment():
    """Return the environment of a process that imports the package."""
    if not EXTENSION.exists():
        pytest.skip("the package was not built: python3-cffi is missing")
    return with_library(EXTENSION) | {"PYTHONPATH": str(BUILT)}


def run(*command):
    result = subprocess.run(
        [sys.executable, *map(str, command)], env=environment(), cwd=BUILT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=100)
    assert result.returncode == 0, result.stdout
    return result.stdout
