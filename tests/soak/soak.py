# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything at once, for as long as it is told to, against a model.

Several workers write, read, fork, snapshot and delete in states of their own.
Now and then the store is unmounted and mounted again, or the daemon is killed:
then every worker's states must be as they were at one moment, not before its
last fsync and not more than some seconds ago.  Memory, descriptors, the store's
file and its kill lists must not grow, since there is never more in the store
than so much.
"""
import contextlib
import errno
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import traceback
from pathlib import Path

PAGE = 4096
FILES = 25   # in a tree, at most
STATES = 6   # of a worker, at most
SNAPS = 4    # of a fork, at most
LOSS = 6     # seconds that a crash may lose


class Wrong(Exception):
    pass


def read_tree(root):
    """Path → bytes of a file, None for a directory, text for a symlink."""
    tree = {}

    def stop(problem):
        raise problem

    for directory, names, files in os.walk(root, onerror=stop):
        for name in names + files:
            path = os.path.join(directory, name)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                tree[key] = os.readlink(path)
            elif os.path.isdir(path):
                tree[key] = None
            else:
                with open(path, "rb") as file:
                    tree[key] = file.read()
    return tree


def difference(found, tree):
    """A few words on what is not the same."""
    words = []
    for key in sorted({**found, **tree}):
        a, b = found.get(key, "nothing"), tree.get(key, "nothing")
        if isinstance(a, bytes) and isinstance(b, bytes) and a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y),
                      min(len(a), len(b)))
            words.append(f"{key} from {at} of {len(a)}, {len(b)} expected")
        elif a != b:
            words.append(f"{key} is {str(a)[:20]}, {str(b)[:20]} expected")
    return "; ".join(words[:5])


class Worker(threading.Thread):
    """Its states are the forks whose names begin with its own.

    A model is {name: tree}; a snapshot's name is FORK/.snap/SNAPSHOT.  Models
    and trees are never changed, only replaced.  history has all that may be
    found after a crash: (when it was left behind, model), the newest last.
    """

    def __init__(self, soak, number, seed):
        super().__init__(daemon=True)
        self.soak = soak
        self.prefix = f"w{number}"
        self.rng = random.Random(seed)
        self.model = {}
        self.history = [[None, {}]]
        self.count = 0
        self.serial = 0

    # ---- Steps --------------------------------------------------------------

    def step(self, model, action, between=()):
        """Do it; a crash may leave what was before, after, or in between."""
        old = self.history[-1]
        self.history += [[None, each] for each in [*between, model]]
        action()
        for entry in old, *self.history[-1 - len(between):-1]:
            entry[0] = time.monotonic()
        self.model = model

    def change(self, name, tree, action):
        self.step({**self.model, name: tree}, action)

    def path(self, name, *more):
        return os.path.join(self.soak.mnt, name, *more)

    def forks(self):
        return [name for name in self.model if "/" not in name]

    def snapshots(self, fork):
        return [name for name in self.model if name.startswith(f"{fork}/")]

    def new_name(self):
        self.serial += 1
        return f"n{self.serial}"

    def begin(self):
        self.step({self.prefix: {}}, lambda: os.mkdir(self.path(self.prefix)))
        self.sync()

    # ---- What it does -------------------------------------------------------

    def op_write(self, fork, tree):
        """A new file, or a part of an old one."""
        name = f"d{self.rng.randrange(3)}/f{self.rng.randrange(FILES // 2)}"
        directory = os.path.dirname(name)
        if directory not in tree:
            self.change(fork, {**tree, directory: None},
                        lambda: os.mkdir(self.path(fork, directory)))
            tree = self.model[fork]
        flags = os.O_RDWR
        if name not in tree:
            flags |= os.O_CREAT | os.O_EXCL
            tree = {**tree, name: b""}
            holder = []
            self.change(fork, tree, lambda: holder.append(
                os.open(self.path(fork, name), flags, 0o644)))
            fd = holder[0]
        else:
            fd = os.open(self.path(fork, name), flags)
        try:
            old = tree[name]
            at = self.rng.choice([0, len(old), self.rng.randrange(100000)])
            size = self.rng.choice([10, 1000, 5000, 60000, 100000])
            part = self.rng.randbytes(size // 2) + b"same" * (size // 8)
            new = old[:at].ljust(at, b"\0") + part + old[at + len(part):]
            # The kernel sends a page that is written in part on its own.
            end = at + len(part)
            cuts = [cut for cut in (-at // PAGE * -PAGE, end // PAGE * PAGE)
                    if at < cut < end]
            self.step({**self.model, fork: {**tree, name: new}},
                      lambda: os.pwrite(fd, part, at),
                      [{**self.model, fork: {
                          **tree, name: new[:cut] + old[cut:]}}
                       for cut in cuts])
        finally:
            os.close(fd)

    def some_file(self, tree):
        names = [name for name in tree if isinstance(tree[name], bytes)]
        return self.rng.choice(names) if names else None

    def op_truncate(self, fork, tree):
        name = self.some_file(tree)
        if name:
            size = self.rng.randrange(len(tree[name]) + 1)
            self.change(fork, {**tree, name: tree[name][:size]},
                        lambda: os.truncate(self.path(fork, name), size))

    def op_unlink(self, fork, tree):
        name = self.some_file(tree)
        if name:
            rest = {k: v for k, v in tree.items() if k != name}
            self.change(fork, rest,
                        lambda: os.unlink(self.path(fork, name)))

    def op_rename(self, fork, tree):
        name = self.some_file(tree)
        if name:
            to = f"r{self.rng.randrange(5)}"
            new = {k: v for k, v in tree.items() if k != name}
            new[to] = tree[name]
            self.change(fork, new, lambda: os.rename(
                self.path(fork, name), self.path(fork, to)))

    def op_symlink(self, fork, tree):
        name = f"l{self.rng.randrange(5)}"
        if name in tree:
            rest = {k: v for k, v in tree.items() if k != name}
            self.change(fork, rest,
                        lambda: os.unlink(self.path(fork, name)))
        else:
            self.change(fork, {**tree, name: "x" * (self.serial % 50 + 1)},
                        lambda: os.symlink("x" * (self.serial % 50 + 1),
                                           self.path(fork, name)))

    def op_snapshot(self, fork, tree):
        snapshots = self.snapshots(fork)
        if len(snapshots) >= SNAPS:
            name = self.rng.choice(snapshots)
            rest = {k: v for k, v in self.model.items() if k != name}
            self.step(rest, lambda: os.rmdir(self.path(name)))
        else:
            name = f"{fork}/.snap/{self.new_name()}"
            self.step({**self.model, name: tree},
                      lambda: os.mkdir(self.path(name)))

    def op_fork(self, fork, tree):
        if len(self.forks()) >= STATES:
            return self.op_delete(fork, tree)
        source = self.rng.choice([fork, *self.snapshots(fork)])
        name = f"{source.replace('/.snap/', '~')}@{self.new_name()}"
        if len(name) > 60:  # a chain of forks that has become long
            name = f"{self.prefix}@{self.new_name()}"
            source = self.prefix
        if source in self.model:
            self.step({**self.model, name: self.model[source]},
                      lambda: os.mkdir(self.path(name)))
        return None

    def op_delete(self, fork, tree):
        if fork == self.prefix or len(self.forks()) < 3:
            return
        rest = {k: v for k, v in self.model.items()
                if k != fork and not k.startswith(f"{fork}/")}
        self.step(rest, lambda: self.soak.ask(
            verb="rm", name=fork, recursive=True))

    def op_read(self, fork, tree):
        name = self.rng.choice([fork, *self.snapshots(fork)])
        self.compare(name, self.model[name])

    def sync(self):
        with contextlib.closing(Descriptor(self.path(self.prefix))) as fd:
            os.fsync(fd.number)
        self.history = [[None, self.model]]

    def op_sync(self, fork, tree):
        if self.rng.random() < 0.1:
            self.sync()

    OPS = ([op_write] * 14 + [op_truncate] * 2 + [op_unlink] * 3 +
           [op_rename] * 2 + [op_symlink] + [op_snapshot] * 3 + [op_fork] * 2 +
           [op_delete] + [op_read] * 2 + [op_sync])

    def run(self):
        try:
            while self.soak.park(self):
                fork = self.rng.choice(self.forks())
                try:
                    self.rng.choice(self.OPS)(self, fork, self.model[fork])
                    self.count += 1
                except OSError:
                    # The daemon was killed: what was begun may be there.
                    if not self.soak.killed.wait(5):
                        raise
        except BaseException as problem:  # told by the main thread
            self.soak.fail(f"{self.prefix}: {problem!r}\n"
                           f"{traceback.format_exc()}")

    # ---- What must be found -------------------------------------------------

    def compare(self, name, tree):
        found = read_tree(self.path(name))
        if found != tree:
            if self.soak.killed.is_set():
                raise OSError(errno.ENOTCONN, "killed meanwhile")
            raise Wrong(f"{name} is not as it was: {difference(found, tree)}")

    def found(self):
        """Its model, as the mount tells it."""
        model = {}
        for fork in os.listdir(self.soak.mnt):
            if fork.split("@")[0].split("~")[0] != self.prefix:
                continue
            model[fork] = read_tree(self.path(fork))
            for snapshot in os.listdir(self.path(fork, ".snap")):
                name = f"{fork}/.snap/{snapshot}"
                model[name] = read_tree(self.path(name))
        return model

    def verify(self):
        if self.found() != self.model:
            raise Wrong(f"{self.prefix}: not as it was")

    def nearest(self, found):
        """How far what was found is from what is most like it."""
        def distance(model):
            return sum(found.get(name) != model.get(name)
                       for name in {**found, **model})
        age, model = min(
            enumerate(model for _, model in reversed(self.history)),
            key=lambda pair: distance(pair[1]))
        words = [f"{age} steps of {len(self.history)} before the last"]
        for name in {**found, **model}:
            if found.get(name) != model.get(name):
                words.append(f"{name}: " + (
                    difference(found[name], model[name])
                    if name in found and name in model
                    else "is there" if name in found else "is missing"))
        return "; ".join(words)

    def recover(self, killed):
        """After a crash: go on from what is there."""
        found = self.found()
        for left, model in reversed(self.history):
            if model == found:
                break
        else:
            raise Wrong(f"{self.prefix}: what a crash left never was: " +
                        self.nearest(found))
        lost = killed - left if left else 0
        if lost > LOSS * self.soak.slower:
            raise Wrong(f"{self.prefix}: {lost:.1f} seconds are lost")
        self.soak.lost = max(self.soak.lost, lost)
        self.model = model
        self.history = [[None, model]]


class Descriptor:
    def __init__(self, path):
        self.number = os.open(path, os.O_RDONLY)

    def close(self):
        os.close(self.number)


class Soak:
    def __init__(self, coppice, seconds, seed, directory=None, slower=1,
                 kills=True):
        self.coppice = str(coppice)
        self.seconds = seconds
        self.rng = random.Random(seed)
        self.slower = slower
        self.kills = kills
        self.dir = Path(tempfile.mkdtemp(prefix="coppice-soak-",
                                         dir=directory or "/var/tmp"))
        self.store = self.dir / "store"
        self.mnt = self.dir / "mnt"
        self.log = self.dir / "stderr"
        self.process = None
        self.workers = []
        self.problem = None
        self.lock = threading.Condition()
        self.parked = 0          # lock
        self.holding = True      # lock: workers are to wait
        self.ended = False       # lock
        self.killed = threading.Event()
        self.lost = 0
        self.samples = []
        self.counts = {"remounts": 0, "kills": 0, "checks": 0}

    # ---- For workers --------------------------------------------------------

    def park(self, worker):
        """Between two steps; False: it is over."""
        with self.lock:
            if self.holding:
                self.parked += 1
                self.lock.notify_all()
                self.lock.wait_for(lambda: not self.holding or self.ended)
                self.parked -= 1
            return not self.ended

    def fail(self, problem):
        with self.lock:
            self.problem = self.problem or problem
            self.ended = True
            self.lock.notify_all()

    def ask(self, **request):
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(f"/proc/self/cwd/{self.address()}")
                client.sendall(json.dumps(request).encode() + b"\n")
                line = client.makefile("rb").readline()
            except OSError as error:
                raise OSError(errno.ENOTCONN, "no daemon") from error
        if not line:
            raise OSError(errno.ENOTCONN, "no answer")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer

    def address(self):
        return os.path.relpath(self.store / "control")

    # ---- The daemon ---------------------------------------------------------

    def mount(self):
        self.killed.clear()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.coppice, "mount", "-f", "-o", "memory=48M", self.store,
                 self.mnt], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60 * self.slower
        while not os.path.ismount(self.mnt):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Wrong(f"cannot mount: {self.log.read_text()}")
            time.sleep(0.01)

    def umount(self):
        subprocess.run([self.coppice, "umount", self.mnt], check=True,
                       timeout=300 * self.slower)
        if code := self.process.wait(120 * self.slower):
            raise Wrong(f"the daemon ended with {code}")

    def kill(self):
        self.process.kill()
        when = time.monotonic()
        self.process.wait()
        self.killed.set()
        return when

    def check(self, *options):
        result = subprocess.run([self.coppice, "check", *options, self.store],
                                stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, timeout=600 * self.slower)
        if result.returncode:
            raise Wrong(f"the check found: {result.stdout}{result.stderr}")
        self.counts["checks"] += 1

    # ---- Turns of events ----------------------------------------------------

    def hold(self):
        with self.lock:
            self.holding = True
            if not self.lock.wait_for(
                    lambda: self.ended or self.parked == len(self.workers),
                    120 * self.slower):
                raise Wrong("a worker hangs")

    def go_on(self):
        with self.lock:
            self.holding = False
            self.lock.notify_all()

    def remount(self):
        self.hold()
        if self.problem:
            return
        self.umount()
        self.mount()
        for worker in self.workers:
            worker.history = [[None, worker.model]]
            worker.verify()
        self.counts["remounts"] += 1
        self.go_on()

    def crash(self):
        when = self.kill()
        # Until all have noticed the dead mount stays: nobody is to write into
        # the directory below.
        self.hold()
        if self.problem:
            return
        subprocess.run(["umount", "-l", self.mnt], check=True)
        self.mount()
        for worker in self.workers:
            worker.recover(when)
        self.counts["kills"] += 1
        self.go_on()

    def sample(self):
        """What must not grow."""
        pid = self.process.pid
        sample = {"fds": len(os.listdir(f"/proc/{pid}/fd"))}
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            key, value = line.split(":", 1)
            if key in ("RssAnon", "Threads"):
                sample[key] = int(value.split()[0])
        sample["file"] = (self.store / "data.mdb").stat().st_blocks // 2
        stat = self.ask(verb="stat")
        sample["lists"] = stat["list_bytes"] // 1024
        sample["backlog"] = stat["backlog"]
        self.samples.append(sample)

    def grown(self):
        """The last third of the time against the one before."""
        third = len(self.samples) // 3
        if third < 20:
            return []
        bad = []
        slack = {"fds": 30, "RssAnon": 40 << 10, "Threads": 10,
                 "file": 32 << 10, "lists": 2 << 10, "backlog": 200}
        for key, room in slack.items():
            before = max(s[key] for s in self.samples[third:2 * third])
            after = max(s[key] for s in self.samples[2 * third:])
            if after > before * 1.5 + room:
                bad.append(f"{key} grew from {before} to {after}")
        return bad

    # ---- All of it ----------------------------------------------------------

    def run(self, workers=3):
        subprocess.run([self.coppice, "init", self.store], check=True)
        self.mnt.mkdir()
        self.mount()
        self.workers = [Worker(self, n, self.rng.random())
                        for n in range(workers)]
        for worker in self.workers:
            worker.begin()
            worker.start()
        self.go_on()
        end = time.monotonic() + self.seconds
        turn = time.monotonic() + 2
        while time.monotonic() < end and not self.problem:
            time.sleep(min(0.25, max(0, end - time.monotonic())))
            self.sample()
            if time.monotonic() < turn:
                continue
            turn = time.monotonic() + self.rng.uniform(1, 6)
            events = [self.remount, self.check]
            if self.kills:
                events += [self.crash] * 3
            self.rng.choice(events)()
        if not self.problem:
            self.hold()
        if not self.problem:
            for worker in self.workers:
                worker.verify()
        with self.lock:
            self.ended = True
            self.lock.notify_all()
        if self.problem:
            raise Wrong(self.problem)
        self.umount()
        self.check("--data")
        if bad := self.grown():
            raise Wrong("; ".join(bad))
        if text := self.log.read_text(errors="replace"):
            raise Wrong(f"the daemon said: {text[:3000]}")

    def summary(self):
        steps = sum(worker.count for worker in self.workers)
        most = {key: max(s[key] for s in self.samples)
                for key in self.samples[0]} if self.samples else {}
        return (f"{steps} steps, {self.counts['kills']} kills (at most "
                f"{self.lost:.1f} s lost), "
                f"{self.counts['remounts']} remounts, "
                f"{self.counts['checks']} checks; at most " +
                ", ".join(f"{k} {v}" for k, v in most.items()))

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        subprocess.run(["umount", "-l", self.mnt], check=False,
                       stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)
