# SPDX-License-Identifier: LGPL-2.1-or-later
"""libcoppice's interface: what programs were linked with stays as it is.

The baseline is tests/unit/libcoppice.abi.  After an addition it is written anew:

    abidw --headers-dir tools/lib --drop-private-types --no-show-locs \
        --no-comp-dir-path --no-corpus-path --exported-interfaces-only \
        build/tools/lib/libcoppice.so.0 >tests/unit/libcoppice.abi
"""
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("COPPICE_BUILD", TOP / "build"))
LIBRARY = BUILD / "tools" / "lib" / "libcoppice.so.0"
BASELINE = Path(__file__).with_name("libcoppice.abi")


@pytest.fixture
def library():
    if not LIBRARY.exists():
        pytest.skip("libcoppice is not built")
    return LIBRARY


def test_abi(library):
    if not shutil.which("abidiff"):
        pytest.skip("there is no abidiff (package abigail-tools)")
    if platform.machine() != "x86_64":
        pytest.skip("the baseline is of another machine")
    result = subprocess.run(
        ["abidiff", "--no-unreferenced-symbols", "--headers-dir2",
         TOP / "tools" / "lib", BASELINE, library],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout


def test_exported_names(library):
    """Exactly the functions of the header, under their version."""
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    exported = {line.split()[2] for line in out.splitlines()}
    header = (TOP / "tools" / "lib" / "coppice.h").read_text()
    declared = set(re.findall(r"^COPPICE_API[^(]*?\b(coppice_\w+)\(", header,
                              re.MULTILINE))
    assert len(declared) > 30
    assert exported == {f"{name}@@COPPICE_0" for name in declared} | {
        "COPPICE_0"}


def test_header_stands_alone():
    """The header compiles by itself, in C and in C++."""
    header = TOP / "tools" / "lib" / "coppice.h"
    for compiler in (["cc", "-std=c99", "-xc"], ["c++", "-xc++"]):
        if not shutil.which(compiler[0]):
            pytest.skip(f"there is no {compiler[0]}")
        subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror",
                        "-Wno-pragma-once-outside-header", "-fsyntax-only",
                        header], check=True)


def test_functions_are_in_the_pages():
    header = (TOP / "tools" / "lib" / "coppice.h").read_text()
    pages = "".join((TOP / "man" / f"{page}.scd").read_text()
                    for page in ("coppice.3", "libcoppice-batch.3"))
    for name in re.findall(r"^COPPICE_API[^(]*?\b(coppice_\w+)\(", header,
                           re.MULTILINE):
        assert name in pages, name
