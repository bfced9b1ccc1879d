# SPDX-License-Identifier: LGPL-2.1-or-later
"""libcoppice as it is installed: a program is built with pkg-config, and run."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("COPPICE_BUILD", TOP / "build"))
EXAMPLE = TOP / "tools" / "lib" / "examples" / "kv.c"
SANITIZERS = {b"__asan_init": "-fsanitize=address,undefined",
              b"__tsan_init": "-fsanitize=thread"}


def output(*command, **keywords):
    return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, **keywords).stdout


def test_pkg_config(tmp_path):
    if not (BUILD / "build.ninja").exists():
        pytest.skip("there is no build to install")
    if not shutil.which("pkg-config"):
        pytest.skip("there is no pkg-config")
    root, program = tmp_path / "root", tmp_path / "kv"
    output("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet",
           "--destdir", root)
    description, = root.rglob("libcoppice.pc")
    env = {**os.environ, "PKG_CONFIG_PATH": str(description.parent),
           "PKG_CONFIG_SYSROOT_DIR": str(root)}
    flags = output("pkg-config", "--cflags", "--libs", "libcoppice", env=env)
    library, = root.rglob("libcoppice.so.0")
    code = library.read_bytes()
    flags += " ".join(f for name, f in SANITIZERS.items() if name in code)
    output("cc", "-Wall", "-Wextra", "-Werror", EXAMPLE, "-o", program,
           *flags.split())
    env["LD_LIBRARY_PATH"] = str(library.parent)
    assert "M user/bob\n" in output(program, tmp_path / "store", env=env)
    assert output(program, tmp_path / "store", "get", "main~r2", "user/bob",
                  env=env) == "2\n"
    # The header and the description have all that a program needs.
    assert sorted(path.name for path in root.rglob("*.h")) == ["coppice.h"]
    version = output("pkg-config", "--modversion", "libcoppice", env=env)
    assert f'version: \'{version.strip()}\'' in (TOP / "meson.build").read_text()
