# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package for Python.  Its own tests run in processes of their own."""
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
SOURCE = TOP / "tools" / "python"
BUILD = Path(os.environ.get("COPPICE_BUILD", TOP / "build")).resolve()
BUILT = BUILD / "tools" / "python"
EXTENSION = BUILT / "coppice" / "_libcoppice.abi3.so"


def environment():
    """Return the environment of a process that imports the package."""
    if not EXTENSION.exists():
        pytest.skip("the package was not built: python3-cffi is missing")
    env = {**os.environ, "PYTHONPATH": str(BUILT),
           "PYTHONDONTWRITEBYTECODE": "1"}
    needs = subprocess.run(["ldd", EXTENSION], capture_output=True, text=True,
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


def run(*command):
    result = subprocess.run(
        [sys.executable, *map(str, command)], env=environment(), cwd=BUILT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=100)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.parametrize("file", sorted(
    path.name for path in (SOURCE / "tests").glob("test_*.py")))
def test_package(file, tmp_path):
    run("-X", "dev", "-W", "error", "-m", "pytest", "-q", "-p",
        "no:cacheprovider", "--basetemp", tmp_path / "own",
        SOURCE / "tests" / file)


@pytest.mark.parametrize("file", ["__init__.py"])
def test_documentation(file):
    run("-W", "error", "-c", "import coppice, doctest, sys\n"
        "failed, tried = doctest.testmod(coppice)\n"
        "sys.exit(failed or not tried)")


def build_extension():
    environment()
    spec = importlib.util.spec_from_file_location(
        "build_extension", SOURCE / "build_extension.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_declaration_of_the_header_is_seen():
    header = (TOP / "tools" / "lib" / "coppice.h").read_text()
    declared = build_extension().declarations(header)
    for word in "#", "COPPICE_API", "/*", "extern":
        assert word not in declared
    functions = set(re.findall(r"^COPPICE_API[^;]*?\b(coppice_\w+)\(", header,
                               re.MULTILINE))
    assert len(functions) > 35
    names = functions | set(re.findall(r"\b(COPPICE_[A-Z_]+)\s*=", header))
    missing = run("-c", "import sys\n"
                  "from coppice._libcoppice import lib\n"
                  "print(*set(sys.argv[1:]) - set(dir(lib)))", *names)
    assert missing.split() == []


def test_every_function_is_bound():
    header = (TOP / "tools" / "lib" / "coppice.h").read_text()
    functions = set(re.findall(r"^COPPICE_API[^;]*?\b(coppice_\w+)\(", header,
                               re.MULTILINE))
    package = "".join(path.read_text()
                      for path in (SOURCE / "coppice").glob("*.py"))
    bound = set(re.findall(r"lib\.(coppice_\w+)", package))
    assert functions == bound, "tools/python/coppice calls all of coppice.h"


def test_every_module_says_its_licence_and_is_installed():
    built = (SOURCE / "coppice" / "meson.build").read_text()
    for path in SOURCE.rglob("*.py*"):
        if path.name == "py.typed" or "__pycache__" in path.parts:
            continue
        assert "SPDX-License-Identifier: LGPL-2.1-or-later" in \
            path.read_text().splitlines()[0], path
        if path.parent.name == "coppice":
            assert f"'{path.name}'" in built, path
