# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples of coppice-run(1), with a small agent and a small make."""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import COPPICE, SLOWER
from linux import can_unshare

PAGE = Path(__file__).resolve().parents[2] / "man" / "coppice-run.1.scd"
# Each leaves a file that is called by what it was asked to do.
AGENT = """#!/bin/sh
pwd >"agent ${1-}"
"""
MAKE = """#!/bin/sh
pwd >"make ${1-}"
cat source
"""


def examples():
    """The blocks of code of the section."""
    section = re.search(r"^# EXAMPLES\n(.*?)^# ",
                        PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^```\n(.*?)^```\n", section, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not can_unshare(), reason="cannot make a mount namespace")
@pytest.mark.usefixtures("alone")
def test_examples(store, mnt, main, tmp):
    project = main / "project"
    project.mkdir()
    (project / "source").write_text("monday\n")
    (main / ".snap" / "monday").mkdir()
    (project / "source").write_text("today\n")
    bin_dir = tmp / "bin"
    bin_dir.mkdir()
    for name, text in ("agent", AGENT), ("make", MAKE):
        (bin_dir / name).write_text(text)
        (bin_dir / name).chmod(0o755)
    path = f"{bin_dir}:{COPPICE.parent}:{os.environ['PATH']}"

    def run(script):
        script = script.replace("/mnt/", f"{mnt}/")
        return subprocess.run(
            ["sh", "-c", script.replace("--count 100", "--count 12")],
            cwd=project, env={**os.environ, "PATH": path}, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * SLOWER,
            check=True).stdout

    tests, trial, ten, counting, many, old, keep, clean = examples()
    assert run(tests) == "today\n"
    where = f"{project}\n"
    assert (project / "agent mend the parser").read_text() == where
    assert (project / "make check").read_text() == where

    assert "+\t/project/make upgrade" in run(trial)
    assert (project / "make upgrade").read_text() == where
    assert store.names() == ["main", "main~monday"]

    run(ten)
    for i in range(10):
        assert (project / f"agent task {i}").read_text() == where

    run(counting)
    assert (project / "counter").read_text() == "10\n"

    run(many)
    rows = [json.loads(line)
            for line in (project / "results").read_text().splitlines()]
    assert sorted(row["index"] for row in rows) == list(range(12))
    assert {row["outcome"] for row in rows} == {"dropped"}
    (project / "results").unlink()

    assert run(old) == "monday\n"
    assert "main@agent-7\n" in run(keep)
    run(clean)
    assert (project / "agent ").read_text() == where
    assert store.names() == ["main", "main~monday", "main@agent-7"]
