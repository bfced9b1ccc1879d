# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build the package for an installed libcoppice, by pkg-config."""
import subprocess

from setuptools import setup

setup(
    name="coppice",
    version=subprocess.run(["pkg-config", "--modversion", "libcoppice"],
                           check=True, stdout=subprocess.PIPE,
                           text=True).stdout.strip(),
    description="A store of forkable states",
    license="LGPL-2.1-or-later",
    packages=["coppice"],
    package_data={"coppice": ["py.typed", "*.pyi"]},
    python_requires=">=3.9",
    install_requires=["cffi>=1.15"],
    cffi_modules=["build_extension.py:installed"],
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
