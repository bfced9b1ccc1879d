# SPDX-License-Identifier: LGPL-2.1-or-later
"""A store in a private directory with several mounts, and their end, whatever
state they are in."""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = Path("/sys/fs/fuse/connections")


class Broken(Exception):
    pass


def helper(build, name):
    """A program of this directory; this tree's, if the build has no tests."""
    for folder in build, ROOT / "build":
        path = folder / "tests" / "soak" / name
        if path.exists():
            return path
    raise Broken(f"tests/soak/{name} is not built")


def mount_fusectl():
    """Mount fusectl, without which a hung mount cannot be ended."""
    if CONNECTIONS.is_dir() and not os.path.ismount(CONNECTIONS):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", CONNECTIONS],
                       check=False)


def stacks_command(pid, debugger=True):
    """A shell command that prints the stacks of a process."""
    quiet = "2>/dev/null"
    command = (f"for t in /proc/{pid}/task/*; do echo $t $(cat $t/comm) "
               f"$(cat $t/wchan {quiet}); cat $t/stack {quiet}; done")
    # A thread that hangs in the kernel does not stop for a debugger.
    if debugger and shutil.which("gdb"):
        command += (f"; timeout -s KILL 20 gdb -p {pid} -batch -nx "
                    f"-ex 'thread apply all bt 24' {quiet} </dev/null")
    elif debugger and shutil.which("eu-stack"):
        command += f"; timeout -s KILL 20 eu-stack -p {pid} {quiet}"
    return command


class Bed:
    """The first mount is a child that serves them all."""

    def __init__(self, coppice, directory=None, name="bed", options="",
                 environment=None):
        self.coppice = str(coppice)
        self.dir = Path(tempfile.mkdtemp(prefix=f"coppice-{name}-",
                                         dir=directory or "/var/tmp"))
        self.dir.chmod(0o755)
        self.store = self.dir / "store"
        self.log = self.dir / "stderr"
        self.options = options
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.mounts = {}  # path: the minor number of its device
        mount_fusectl()

    def run(self, *args, check=True, timeout=120):
        result = subprocess.run(
            [self.coppice, *map(str, args)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", timeout=timeout)
        if check and result.returncode:
            raise Broken(f"coppice {' '.join(map(str, args))}: "
                         f"{result.stdout}{result.stderr}")
        return result

    def init(self, *options):
        self.run("init", *options, self.store)

    def mount(self, name, options=""):
        """Mount on a directory of that name; its path."""
        path = self.dir / name
        path.mkdir(exist_ok=True)
        options = ",".join(filter(None, [self.options, options]))
        options = ["-o", options] if options else []
        if self.process:
            self.run("mount", *options, self.store, path)
        else:
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [self.coppice, "mount", "-f", *options, self.store, path],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=self.environment)
            end = time.monotonic() + 60
            while not os.path.ismount(path):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Broken(f"cannot mount: {self.stderr()}")
                time.sleep(0.01)
        self.mounts[path] = os.minor(os.stat(path).st_dev)
        return path

    def umount(self, path):
        self.run("umount", path)
        del self.mounts[path]

    def stderr(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stacks(self):
        if not self.process or self.process.poll() is not None:
            return "the daemon has ended"
        return subprocess.run(
            stacks_command(self.process.pid), shell=True, timeout=120,
            stdout=subprocess.PIPE, text=True, errors="replace").stdout

    def end(self):
        """Unmount as a user does: the daemon ends well, the check finds nothing."""
        for path in reversed(list(self.mounts)):
            self.umount(path)
        code = self.process.wait(120)
        self.process = None
        if code:
            raise Broken(f"the daemon ended with {code}: {self.stderr()}")
        self.check()

    def check(self):
        result = self.run("check", "--data", self.store, check=False,
                          timeout=600)
        if result.returncode:
            raise Broken(f"the check found: {result.stdout}{result.stderr}")

    def abort(self):
        """End these mounts, and no others, though calls hang in them."""
        for number in self.mounts.values():
            try:
                (CONNECTIONS / str(number) / "abort").write_text("1")
            except OSError:
                pass

    def clean(self):
        if self.process and self.process.poll() is None:
            self.abort()
            self.process.kill()
            self.process.wait()
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        for target in [line.split()[4] for line in table]:
            if target.startswith(f"{self.dir}/"):
                subprocess.run(["umount", "-l", target], check=False,
                               stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)
