# SPDX-License-Identifier: LGPL-2.1-or-later
"""A project with many small packages, which npm can install without a network."""
import base64
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile

import machine

FILES = 20  # modules in each package
REGISTRY = "https://registry.npmjs.org"


def _archive(name, source):
    """Return a package as npm packs it; the same bytes for the same name."""
    modules = {f"lib/module{i}.js": source(name, i) for i in range(FILES)}
    modules["package.json"] = json.dumps(
        {"name": name, "version": "1.0.0", "main": "lib/module0.js"})
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for path, text in modules.items():
                entry = tarfile.TarInfo(f"package/{path}")
                entry.mode, entry.size = 0o644, len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def _words():
    """Return a function that makes modules: 2 kB of words in the mean."""
    numbers = random.Random(1)
    words = ["".join(numbers.choices("abcdefghijklmnopqrstuvwxyz",
                                     k=numbers.randint(2, 9)))
             for _ in range(2000)]

    def source(name, number):
        numbers = random.Random(f"{name} {number}")
        size = 5 + int(numbers.expovariate(1 / 300))
        return " ".join(numbers.choices(words, k=size)) + "\n"
    return source


class Packages:
    """A project, and npm's cache of all that it depends on, on the native
    disk."""

    def __init__(self, directory, count):
        self.dir = directory
        self.cache = directory / "cache"
        self.count = count

    def _npm(self, *arguments, **options):
        """The user's own settings and cache are left alone."""
        return machine.timed(
            "npm", *arguments, "--cache", self.cache, "--userconfig",
            self.dir / "npmrc", "--offline", "--ignore-scripts", "--no-audit",
            "--no-fund", "--no-update-notifier", **options)

    def make(self):
        """Write the project, and fill the cache."""
        if not shutil.which("npm"):
            raise machine.Missing("no npm")
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        source, archives = _words(), []
        project = {"name": "project", "version": "1.0.0", "dependencies": {}}
        locked = {"": project}
        for number in range(self.count):
            name = f"package-{number}"
            data = _archive(name, source)
            archives.append(self.dir / f"{name}-1.0.0.tgz")
            archives[-1].write_bytes(data)
            project["dependencies"][name] = "1.0.0"
            digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
            locked[f"node_modules/{name}"] = {
                "version": "1.0.0", "integrity": f"sha512-{digest}",
                "resolved": f"{REGISTRY}/{name}/-/{archives[-1].name}"}
        self._write("package.json", project)
        self._write("package-lock.json", {
            "name": "project", "version": "1.0.0", "lockfileVersion": 3,
            "requires": True, "packages": locked})
        self._npm("cache", "add", *archives)

    def _write(self, name, content):
        (self.dir / name).write_text(json.dumps(content))

    def install(self, tree):
        """Install into a new directory; returns the seconds it took."""
        tree.mkdir()
        for name in "package.json", "package-lock.json":
            shutil.copy(self.dir / name, tree)
        seconds = self._npm("ci", cwd=tree)
        found = sum(not name.startswith(".")
                    for name in os.listdir(tree / "node_modules"))
        if found != self.count:
            raise machine.Failed(f"npm ci installed {found} packages of "
                                 f"{self.count}")
        return seconds
