# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores and mounts for the tests, and the watch over them.

A test gets a private directory, makes its stores there and mounts them with
`coppice mount -f` as a child process.  What the daemon writes to its standard
error while a test passes, fails the test if it looks like trouble.  A test that
takes too long has its mounts aborted, so that it fails instead of hanging.
"""
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get(
    "COPPICE_BUILD", Path(__file__).resolve().parents[2] / "build"))
COPPICE = BUILD / "tools" / "coppice"
CONNECTIONS = Path("/sys/fs/fuse/connections")
SCRATCH = os.environ.get("COPPICE_TEST_DIR", "/var/tmp")
# The factor by which all may be slower than the plain build.
SLOWER = float(os.environ.get("COPPICE_TEST_SLOWER", "1"))
# Tests with a sanitizer: those that take long do less.
SANITIZED = SLOWER > 1
# The ways in which a test may be run: see pytest_collection_modifyitems().
WAYS = {"mounted", "unmounted", "whole", "alone"}

SUSPICIOUS = re.compile(
    r"error|warning|fatal|traceback|fault|crash|abort|assert|sanitizer|"
    r"uninitiali[sz]ed|corrupt|damage|leak|cannot|fail|^==\d+==",
    re.IGNORECASE | re.MULTILINE)


def wait_for(condition, what, seconds=20):
    """Poll until the condition holds."""
    end = time.monotonic() + seconds * SLOWER
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.005)


def mounts():
    """The table of mounts, as (mount point, type, source, device)."""
    table = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        fields = left.split()
        kind, source = right.split()[:2]
        table.append((fields[4], kind, source, fields[2]))
    return table


def mounted(path):
    return any(target == str(path) for target, *_ in mounts())


class Mount:
    """A mount by a foreground process of its own."""

    def __init__(self, store, path, options, environment):
        self.store = store
        self.path = Path(path)
        self.allowed = []
        self.killed = False
        self.path.mkdir(exist_ok=True)
        self.log = store.dir / f"{self.path.name}.stderr"
        command = [COPPICE, "mount", "-f"]
        if options:
            command += ["-o", options]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, store.path, self.path], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, **environment})
        wait_for(self._ready, f"the mount on {self.path}")

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"mount ended with {self.process.returncode}: {self.stderr()}")
        return mounted(self.path)

    def __truediv__(self, name):
        return self.path / name

    def __fspath__(self):
        return str(self.path)

    def __str__(self):
        return str(self.path)

    def stderr(self):
        return self.log.read_text(errors="replace")

    def allow(self, pattern):
        """This in the daemon's standard error is what the test wants."""
        self.allowed.append(pattern)

    def umount(self):
        """Unmount as a user does; the daemon must end well."""
        result = self.store.coppice("umount", self.path)
        assert not mounted(self.path)
        code = self.process.wait(60 * SLOWER)
        assert code == 0, f"the daemon ended with {code}: {self.stderr()}"
        return result

    def kill(self):
        """End the daemon as a crash does."""
        self.killed = True
        self.process.kill()
        self.process.wait()
        subprocess.run(["umount", "-l", self.path], check=False,
                       stderr=subprocess.DEVNULL)
        wait_for(lambda: not mounted(self.path), "the dead mount to go")

    def abort(self):
        for target, kind, _, device in mounts():
            if target == str(self.path) and kind == "fuse.coppice":
                minor = device.split(":")[1]
                try:
                    (CONNECTIONS / minor / "abort").write_text("1")
                except OSError:
                    pass
        if self.process.poll() is None:
            self.process.kill()

    def finish(self):
        """Unmount at the end of a test, in whatever state the mount is."""
        code = self.process.poll()
        assert self.killed or not code, f"the daemon ended with {code}"
        # Files that a caught exception keeps open would keep the mount busy.
        gc.collect()
        if self.process.poll() is None and mounted(self.path):
            self.umount()
        elif mounted(self.path):
            self.kill()
        elif self.process.poll() is None:
            self.process.wait(20 * SLOWER)

    def check_stderr(self):
        text = self.stderr()
        for pattern in self.allowed:
            text = re.sub(pattern, "", text)
        found = SUSPICIOUS.search(text)
        assert not found, f"suspicious words of the daemon: {text}"


class LeakChecks:
    """The commands that are checked for leaks when they end.  The check takes
    longer than the command, and LeakSanitizer has hung in it.  So a command
    that each test runs is checked once with each of its options."""

    REPEATED = {"init", "umount", "check"}

    def __init__(self):
        self.done = set()

    def environment(self, verb, *args):
        """The variables for a command that is to succeed; None: as here."""
        if not SANITIZED:
            return None
        what = (verb, *(arg for arg in map(str, args) if arg.startswith("-")))
        if verb not in self.REPEATED or what not in self.done:
            self.done.add(what)
            return None
        options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        return {**os.environ, "ASAN_OPTIONS": options}


leak_checks = LeakChecks()


class Store:
    """A store in the test's directory."""

    def __init__(self, directory, name="store", options=()):
        self.dir = directory
        self.path = directory / name
        self.mounts = []
        self.damaged = False  # by the test, on purpose
        self.coppice("init", *options, self.path)

    def coppice(self, *args, code=0, **keywords):
        """Run the command; its exit code must be `code`; None: any."""
        keywords.setdefault("timeout", 120 * SLOWER)
        if code == 0 and args:
            keywords.setdefault("env", leak_checks.environment(*args))
        result = subprocess.run(
            [str(COPPICE), *map(str, args)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="surrogateescape", **keywords)
        assert code in (result.returncode, None), (args, result)
        return result

    def verb(self, verb, *args, **keywords):
        """A verb on this store; what it prints."""
        return self.coppice(verb, "-s", self.path, *args, **keywords).stdout

    def json(self, verb, *args):
        return json.loads(self.verb(verb, "--json", *args))

    def names(self):
        return self.verb("list").splitlines()

    def mount(self, name="mnt", options="", environment=None):
        """environment: variables that the daemon has besides its own."""
        mount = Mount(self, self.dir / name, options, environment or {})
        self.mounts.append(mount)
        return mount

    def check(self):
        """Check the store, whatever was done to it."""
        if self.damaged or not (self.path / "data.mdb").exists():
            return
        result = subprocess.run(
            [COPPICE, "check", "--data", self.path], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=120 * SLOWER, check=False,
            env=leak_checks.environment("check", "--data"))
        assert result.returncode == 0, f"the check found: {result.stdout}"

    def data_bytes(self):
        """Return the bytes of the disk that data.mdb takes, preallocated ones
        included."""
        return (self.path / "data.mdb").stat().st_blocks * 512

    def data_size(self):
        """Up to the last page that was written."""
        return (self.path / "data.mdb").stat().st_size


class Watchdog:
    """Aborts the mounts of a test that takes too long."""

    def __init__(self):
        self.stores = []
        self.late = False
        self.timer = None

    def start(self, seconds):
        self.timer = threading.Timer(seconds, self._bite)
        self.timer.daemon = True
        self.timer.start()

    def _bite(self):
        self.late = True
        for store in self.stores:
            for mount in store.mounts:
                mount.abort()
        # Whatever child still runs or waits is of this test.
        for child in children(os.getpid()):
            try:
                os.kill(child, signal.SIGKILL)
            except OSError:
                pass

    def stop(self):
        self.timer.cancel()


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            direct = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, direct):
            found += [child, *children_quietly(child)]
    return found


def children_quietly(pid):
    try:
        return children(pid)
    except OSError:
        return []


def daemons(store):
    """Processes that have the store's data open."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}")
                     for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if str(store.path / "data.mdb") in links:
            found.append(int(pid))
    return found


def daemons_left(store):
    """Those that do not end by themselves."""
    end = time.monotonic() + 20 * SLOWER
    while (left := daemons(store)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


# The leak check at a process's end stops its threads, which a kill may end first.
KILLED_AT_ITS_END = re.compile(
    r"(==\d+==Unable to get registers from thread \d+\.\n)+")


def sanitizer_logs():
    prefix = os.environ.get("COPPICE_SANITIZER_LOG")
    if not prefix:
        return []
    return list(Path(prefix).parent.glob(Path(prefix).name + "*"))


@pytest.fixture
def tmp():
    """A private directory that other users can reach."""
    path = Path(tempfile.mkdtemp(prefix="coppice-test-", dir=SCRATCH))
    path.chmod(0o755)
    yield path
    for target, *_ in mounts():
        if target.startswith(f"{path}/"):
            subprocess.run(["umount", "-l", target], check=False)
    shutil.rmtree(path, ignore_errors=True)


def detach_others(tmp, stores):
    """Unmount other mounts that a failed test left below tmp: they would keep
    the stores' own mounts from ending."""
    own = {str(mount) for store in stores for mount in store.mounts}
    for target, *_ in reversed(mounts()):
        if target.startswith(f"{tmp}/") and target not in own:
            subprocess.run(["umount", "-i", "-l", target], check=False)


@pytest.fixture
def make_store(request, tmp):
    """Stores as a test wants them, cleaned up behind it."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse")
    if os.geteuid():
        pytest.skip("needs root")
    limit = request.node.get_closest_marker("limit")
    dog = Watchdog()
    dog.start((limit.args[0] if limit else 60) * SLOWER)
    before = set(sanitizer_logs())

    def make(name="store", options=()):
        store = Store(tmp, name, options)
        dog.stores.append(store)
        return store

    yield make
    problems = []
    failed = getattr(request.node, "coppice_failed", False)
    if failed:
        detach_others(tmp, dog.stores)
    for store in dog.stores:
        for mount in reversed(store.mounts):
            try:
                mount.finish()
                mount.check_stderr()
            except (AssertionError, subprocess.SubprocessError) as problem:
                # The report of a failed test may hold files open.
                if "in use" not in str(problem) or not failed:
                    problems.append(str(problem))
                mount.abort()
                mount.kill()
        for pid in daemons_left(store):
            problems.append(f"a daemon was left behind: {pid}")
            os.kill(pid, signal.SIGKILL)
        try:
            store.check()
        except (AssertionError, subprocess.SubprocessError) as problem:
            problems.append(str(problem))
    dog.stop()
    if dog.late:
        problems.append("the test took too long: its mounts were aborted")
    for log in set(sanitizer_logs()) - before:
        text = log.read_text(errors="replace")
        if not KILLED_AT_ITS_END.fullmatch(text):
            problems.append(text)
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def alone():
    """The test has a mount namespace without other tests' mounts.  Namespaces
    that it makes would copy these, and keep them for as long as it takes."""
    from linux import own_namespace  # which needs this file
    with own_namespace():
        yield


@pytest.fixture
def store(make_store):
    """An empty store, not mounted."""
    return make_store()


@pytest.fixture
def mnt(store):
    """A whole store, mounted; store.path and mnt.store lead to it."""
    return store.mount()


@pytest.fixture
def main(mnt):
    """The fork main of a mounted store."""
    return mnt / "main"


@pytest.fixture
def work(main):
    """A fork of a fork that has something in it: an ordinary place to work."""
    (main / "base").mkdir()
    (main / "base" / "file").write_bytes(b"base\n" * 1000)
    path = main.parent / "main@work"
    path.mkdir()
    return path


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "limit(seconds): how long a test may take (60)")


def pytest_collection_modifyitems(config, items):
    """With COPPICE_TEST_WAYS=one, run a test that can be run mounted and
    unmounted in one way alone: the tests of a file take turns."""
    if os.environ.get("COPPICE_TEST_WAYS") != "one":
        return
    files, dropped = {}, []
    for item in items:
        names = item.callspec.id.split("-") if hasattr(item, "callspec") else []
        if WAYS.isdisjoint(names):
            continue
        rest = tuple(name for name in names if name not in WAYS)
        tests = files.setdefault(item.path, {})
        tests.setdefault((item.originalname, rest), []).append(item)
    for tests in files.values():
        for number, same in enumerate(tests.values()):
            del same[number % len(same)]
            dropped += same
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]
