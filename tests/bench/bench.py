# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of the benchmark: what is built, what is there, what is left of time.

Tests are given this; each asks for the systems that it compares.
"""
import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

import machine
import peers
from measure import Results
from sizes import SHARES

SOURCE = Path(__file__).resolve().parents[2]
EXAMPLE = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
ONE, ROAM = "one processor", "free to roam"


class Bench:
    def __init__(self, sizes, build, work, repo=None, tags="v*.0",
                 make="make -j2", passthrough=None, tree=None):
        self.sizes = sizes
        self.build = build
        self.work = work
        self.repo = repo
        self.tag_pattern = tags
        self.make = make
        self.passthrough = passthrough
        self.tree = Path(tree or sizes.tree).resolve()
        self.results = Results()
        self.end = self.deadline = time.monotonic() + sizes.seconds
        self.scratch = work / "scratch"  # what tests share, on the native disk

    # ---- Programs -----------------------------------------------------------

    @property
    def coppice(self):
        return self.build / "tools" / "coppice"

    def program(self, name):
        """One of the C programs of this directory; Missing if not built."""
        path = self.build / "tests" / "bench" / name
        if not path.exists():
            raise machine.Missing(f"{name} could not be built")
        return path

    def find(self, build=True):
        """All that is run; without `build`, what is there already."""
        if build:
            self._compile()
        if not self.coppice.exists():
            raise SystemExit(f"run: no {self.coppice}")
        if not self.passthrough and (self.build / "passthrough_ll").exists():
            self.passthrough = self.build / "passthrough_ll"

    def _compile(self):
        """Coppice and the programs, without debugging."""
        if not (self.build / "build.ninja").exists():
            machine.talk("meson", "setup", self.build, SOURCE,
                         "--buildtype=release")
        machine.talk("ninja", "-C", self.build, "tools/coppice", "bench")
        if not self.passthrough:
            self._compile_passthrough()

    def _compile_passthrough(self):
        """libfuse's own example, from the source that its package brings."""
        if not EXAMPLE.exists():
            return
        flags = machine.run("pkg-config", "--cflags", "--libs", "fuse3")
        path = self.build / "passthrough_ll"
        with contextlib.suppress(machine.Failed):
            machine.run("cc", "-O2", "-w", EXAMPLE, "-o", path, *flags.split())

    # ---- Systems ------------------------------------------------------------

    @contextlib.contextmanager
    def systems(self, *kinds):
        """Start them, those that are there; stop them whatever happens."""
        with contextlib.ExitStack() as stack:
            started = []
            for kind in kinds:
                peer = peers.KINDS[kind](self, self.work / kind)
                try:
                    peer.require()
                except machine.Missing as why:
                    self.results.leave_out(peer.name, why)
                    continue
                peer.stop()  # what an interrupted run may have left
                stack.callback(peer.stop)
                try:
                    peer.start()
                except machine.Failed as error:
                    if kind.startswith("coppice"):
                        raise
                    self.results.leave_out(peer.name, error)
                    continue
                started.append(peer)
            yield started

    @contextlib.contextmanager
    def mode(self, name, started):
        """Client and daemons where the mode wants them: gives the client's
        processors."""
        where = machine.one_cpu() if name == ONE else set(machine.cpus())
        pids = [pid for peer in started for pid in peer.pids()]
        machine.pin(pids, where)
        try:
            yield where
        finally:
            machine.pin([pid for peer in started for pid in peer.pids()],
                        set(machine.cpus()))

    @contextlib.contextmanager
    def load(self, *command, cpus=None):
        """Something that runs meanwhile."""
        process = machine.start(*command, cpus=cpus)
        try:
            yield process
        finally:
            machine.end(process)

    def rounds(self, count=None):
        """Fewer than wanted when time runs out, but one at least."""
        for i in range(count or self.sizes.rounds):
            if i and self.out_of_time():
                return
            yield i

    def begin(self, section):
        """A test begins; its share of the time, if it is to have any."""
        self.results.section = section
        now = time.monotonic()
        share = self.sizes.seconds * SHARES[section] / sum(SHARES.values())
        if not self.sizes.many_files:  # then there is one test fewer
            share *= 1.2
        self.deadline = min(self.end, now + share)
        return now < self.end

    def out_of_time(self):
        return time.monotonic() > self.deadline

    def attempt(self, what, function, *arguments):
        """Call it with this run first; if it fails, others still go on."""
        try:
            if time.monotonic() > self.end:
                raise machine.Missing("no time left")
            function(self, *arguments)
        except machine.Missing as why:
            self.results.leave_out(what, why)
        except (machine.Failed, OSError, sqlite3.Error) as error:
            self.results.failures.append(f"{what}: {error}")

    def part(self, what, function, *arguments):
        """The same, unless the test has used up its share of the time."""
        if self.out_of_time():
            self.results.leave_out(what, "no time left")
        else:
            self.attempt(what, function, *arguments)

    # ---- Sources ------------------------------------------------------------

    def tags(self, count):
        """The newest releases of the project in --repo, oldest first."""
        if not self.repo:
            raise machine.Missing("no --repo with a project's history")
        tags = machine.run("git", "-C", self.repo, "tag", "--list",
                           self.tag_pattern, "--sort=version:refname").split()
        if len(tags) < 2:
            raise machine.Missing(f"fewer than two tags like "
                                  f"{self.tag_pattern} in {self.repo}")
        return tags[-count:]

    def release(self, tag):
        """The tree of a tag, in a directory of its own."""
        tree = self.scratch / "releases" / tag
        if not tree.exists():
            tree.mkdir(parents=True)
            machine.run("tar", "xf", self.archive(tag), "-C", tree)
        return tree

    def archive(self, tag):
        path = self.scratch / f"{tag}.tar"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            machine.run("git", "-C", self.repo, "archive", "-o", path, tag)
        return path

    def text(self):
        """A file of source text and documents, some ten MiB."""
        path = self.scratch / "text"
        if path.exists():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        left = 64 << 20
        with open(path, "wb") as out:
            for root in ("/usr/include", "/usr/lib/python3", "/usr/share",
                         str(SOURCE)):
                for file in sorted(Path(root).rglob("*")):
                    if left <= 0:
                        return path
                    if file.suffix in (".c", ".h", ".py", ".txt", ".html",
                                       ".pl", ".pm") and file.is_file():
                        left -= out.write(file.read_bytes()[:left])
        return path

    def clean(self):
        shutil.rmtree(self.scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.work.rmdir()

    def revision(self):
        try:
            return machine.run("git", "-C", SOURCE, "describe", "--always",
                               "--dirty").strip()
        except (machine.Failed, OSError):
            return "unknown"
