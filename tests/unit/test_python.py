# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package for Python.  Its own tests run in processes of their own."""
import re
import shutil
import subprocess
import sys

import pytest
from python_package import BUILD, SOURCE, TOP, environment, run


@pytest.mark.parametrize("file", sorted(
    path.name for path in (SOURCE / "tests").glob("test_*.py")))
def test_package(file, tmp_path):
    run("-X", "dev", "-W", "error", "-m", "pytest", "-q", "-p",
        "no:cacheprovider", "--basetemp", tmp_path / "own",
        SOURCE / "tests" / file)


DOCUMENTATION = """if True:
    import doctest, sys
    import coppice
    sys.path.insert(0, sys.argv[1] + "/examples")
    import keyvalue
    results = [
        doctest.testmod(coppice), doctest.testmod(keyvalue),
        doctest.testfile(sys.argv[1] + "/README.md", module_relative=False)]
    sys.exit(any(r.failed for r in results) or not all(
        r.attempted for r in results))
"""


def test_documentation():
    run("-W", "error", "-c", DOCUMENTATION, SOURCE)


@pytest.fixture(scope="module")
def header():
    return (TOP / "tools" / "lib" / "coppice.h").read_text()


def functions_of(header):
    found = set(re.findall(r"^COPPICE_API[^;]*?\b(coppice_\w+)\(", header,
                           re.MULTILINE))
    assert len(found) > 35
    return found


def test_every_declaration_of_the_header_is_seen(header):
    names = functions_of(header) | set(
        re.findall(r"\b(COPPICE_[A-Z_]+)\s*=", header))
    missing = run("-c", "import sys\n"
                  "from coppice._libcoppice import lib\n"
                  "print(*set(sys.argv[1:]) - set(dir(lib)))", *names)
    assert missing.split() == []
    structs = set(re.findall(r"^struct (coppice\w*)", header, re.MULTILINE))
    assert len(structs) > 10
    run("-c", "import sys\n"
        "from coppice._libcoppice import ffi\n"
        "for name in sys.argv[1:]: ffi.typeof('struct ' + name)", *structs)


def test_every_function_is_bound(header):
    package = "".join(path.read_text()
                      for path in (SOURCE / "coppice").glob("*.py"))
    bound = set(re.findall(r"lib\.(coppice_\w+)", package))
    missing = functions_of(header) - bound
    assert not missing, f"to be added to tools/python/coppice: {missing}"


def test_wheel(tmp_path):
    """A wheel is built without a network, and what is in it works."""
    for module in "setuptools", "wheel":
        pytest.importorskip(module, reason=f"python3-{module} is missing")
    env = environment()
    if "LD_PRELOAD" in env:
        pytest.skip("the compiler does not run with AddressSanitizer")
    # The build leaves files beside its sources.
    copy = shutil.copytree(SOURCE, tmp_path / "source")
    env["CFLAGS"] = "-O0"
    env["PKG_CONFIG_PATH"] = str(BUILD / "meson-uninstalled")
    result = subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel"], cwd=copy, env=env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=100)
    assert result.returncode == 0, result.stdout
    wheel, = (copy / "dist").glob("*.whl")
    assert "-abi3-" in wheel.name
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    env["PYTHONPATH"] = str(tmp_path / "unpacked")
    env["LD_LIBRARY_PATH"] = str(BUILD / "tools" / "lib")
    result = subprocess.run(
        [sys.executable, "-c", "import coppice, sys\n"
         "coppice.Store(sys.argv[1], create=True).close()\n"
         "print(coppice.__file__)", tmp_path / "store"], cwd=tmp_path,
        env=env, check=True, stdout=subprocess.PIPE, text=True)
    assert result.stdout.startswith(str(tmp_path / "unpacked"))


def test_every_module_says_its_licence_and_is_installed():
    built = (SOURCE / "coppice" / "meson.build").read_text()
    for path in SOURCE.rglob("*.py*"):
        if path.name == "py.typed" or "__pycache__" in path.parts:
            continue
        assert "SPDX-License-Identifier: LGPL-2.1-or-later" in \
            "".join(path.read_text().splitlines()[:2]), path
        if path.parent.name == "coppice":
            assert f"'{path.name}'" in built, path
