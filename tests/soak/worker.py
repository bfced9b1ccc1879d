# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker of the soak: random work in states of its own, and their model."""
import contextlib
import ctypes
import errno
import mmap
import os
import random
import threading
import time
import traceback

PAGE = 4096
CHUNK = 65536
FILES = 25   # in a tree, at most
STATES = 6   # of a worker, at most
SNAPS = 4    # of a fork, at most
LOSS = 6     # seconds that a crash may lose


FAULT_LOSS = 30  # the same if the disk failed shortly before
FAULTS = (errno.EIO, errno.ENOSPC)


class Wrong(Exception):
    pass


class Refused(Exception):
    """A step failed, as it may while the disk does: nothing is wrong."""


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


def punch(fd, offset, size):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, 3, ctypes.c_int64(offset), ctypes.c_int64(size)):
        raise OSError(ctypes.get_errno(), "fallocate")


def copy(source, target, size):
    """Copy by copy_file_range(2), between mounts, too."""
    done = 0
    while done < size:
        n = os.copy_file_range(source, target, size - done, done, done)
        if not n:
            raise Wrong(f"a copy ends after {done} of {size}")
        done += n


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
        self.refused = 0
        self.doing = "beginning"
        self.since = time.monotonic()  # of the step being done
        self.slowest = (0, "nothing")

    # ---- Steps --------------------------------------------------------------

    def step(self, model, action, between=(), failed=lambda: ()):
        """Do it; a crash may leave what was before, after, or in between;
        a failure also what failed() lists."""
        old = self.history[-1]
        self.history += [[None, each] for each in [*between, model]]
        try:
            action()
        except OSError as problem:
            if problem.errno not in FAULTS or not self.soak.faulty():
                raise
            self.settle([old[1], *between, model, *failed()])
            raise Refused from problem
        for entry in old, *self.history[-1 - len(between):-1]:
            entry[0] = time.monotonic()
        self.model = model

    def settle(self, models):
        """A step failed: nothing of it was done, all, or a part."""
        found = self.found()
        for model in models:
            if model == found:
                break
        else:
            raise Wrong(f"{self.prefix}: what a fault left never was: " +
                        self.nearest(found))
        for entry in self.history:
            entry[0] = entry[0] or time.monotonic()
        self.history.append([None, model])
        self.model = model

    def change(self, name, tree, action):
        self.step({**self.model, name: tree}, action)

    def path(self, name, *more):
        """Through whatever mount."""
        return os.path.join(self.soak.reach(name, self.rng), *more)

    def forks(self):
        return [name for name in self.model if "/" not in name]

    def snapshots(self, fork):
        return [name for name in self.model if name.startswith(f"{fork}/")]

    def new_name(self):
        self.serial += 1
        return f"s{self.serial}"

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
            def left(cut):
                return {**self.model, fork: {**tree,
                                             name: new[:cut] + old[cut:]}}

            self.step(left(len(new)), lambda: self.put(fd, part, at),
                      [left(cut) for cut in cuts],
                      lambda: [left(cut) for cut in range(0, end, CHUNK)])
        finally:
            os.close(fd)

    def put(self, fd, part, at):
        """Write it, by one call or through a map."""
        # A large part would reach the server in pieces from a map.
        if len(part) > 5000 or self.rng.random() < 0.7:
            done = os.pwrite(fd, part, at)
            if done != len(part):
                raise OSError(errno.ENOSPC, "a short write")
            return
        size = os.fstat(fd).st_size
        if size < at + len(part):
            os.pwrite(fd, part, at)
            return
        try:
            area = mmap.mmap(fd, size)
        except OSError as problem:
            if problem.errno != errno.ENODEV:
                raise
            os.pwrite(fd, part, at)
            return
        with area:
            area[at:at + len(part)] = part
            try:
                area.flush()
            except OSError:
                # The kernel keeps what it could not write.
                area.close()
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                raise

    def op_append(self, fork, tree):
        name = self.some_file(tree)
        if name and len(tree[name]) < 400000:
            part = self.rng.randbytes(self.rng.choice([1, 100, 4096, 30000]))
            with self.opened(fork, name, os.O_WRONLY | os.O_APPEND) as fd:
                old = tree[name]
                new = old + part
                end = len(new)
                cuts = [cut for cut in (-len(old) // PAGE * -PAGE,
                                        end // PAGE * PAGE)
                        if len(old) < cut < end]
                self.step({**self.model, fork: {**tree, name: new}},
                          lambda: os.write(fd, part),
                          [{**self.model, fork: {**tree, name: new[:cut]}}
                           for cut in cuts])

    def op_punch(self, fork, tree):
        name = self.some_file(tree)
        if name and tree[name]:
            old = tree[name]
            at = self.rng.randrange(len(old))
            size = self.rng.randrange(1, len(old) - at + 1)
            new = old[:at] + bytes(size) + old[at + size:]
            with self.opened(fork, name, os.O_WRONLY) as fd:
                self.change(fork, {**tree, name: new},
                            lambda: punch(fd, at, size))

    def op_copy(self, fork, tree):
        """A whole file from another state; what can be shared, is."""
        source = self.rng.choice(sorted(self.model))
        name = self.some_file(self.model[source])
        to = f"c{self.rng.randrange(3)}"
        content = self.model[source].get(name)
        if not content or to in tree:
            return
        tree = {**tree, to: b""}
        between = []
        paths = [os.path.join(self.soak.mnt, source, name),
                 os.path.join(self.soak.mnt, fork, to)]
        if len(content) < 40000:
            # Between mounts the kernel copies pages.
            paths = [self.path(source, name), self.path(fork, to)]
            between = [{**self.model, fork: {**tree, to: content[:cut]}}
                       for cut in range(PAGE, len(content), PAGE)]
        holder = []
        self.change(fork, tree, lambda: holder.append(
            os.open(paths[1], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)))
        try:
            fd = os.open(paths[0], os.O_RDONLY)
            try:
                self.step({**self.model, fork: {**tree, to: content}},
                          lambda: copy(fd, holder[0], len(content)), between)
            finally:
                os.close(fd)
        finally:
            os.close(holder[0])

    @contextlib.contextmanager
    def opened(self, fork, name, flags):
        fd = os.open(self.path(fork, name), flags)
        try:
            yield fd
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
            root = self.path(fork)
            self.change(fork, new, lambda: os.rename(
                os.path.join(root, name), os.path.join(root, to)))

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
        try:
            with self.opened(self.prefix, "", os.O_RDONLY) as fd:
                os.fsync(fd)
        except OSError as problem:
            if problem.errno not in FAULTS or not self.soak.faulty():
                raise
            raise Refused from problem
        self.history = [[None, self.model]]

    def op_sync(self, fork, tree):
        if self.rng.random() < 0.1:
            self.sync()

    OPS = ([op_write] * 14 + [op_append] * 3 + [op_punch] + [op_copy] * 2 +
           [op_truncate] * 2 + [op_unlink] * 4 +
           [op_rename] * 2 + [op_symlink] + [op_snapshot] * 3 + [op_fork] * 2 +
           [op_delete] + [op_read] * 2 + [op_sync])

    def rest(self):
        """Bursts, and pauses in which a server goes to sleep."""
        if self.soak.gaps and self.rng.random() < 0.2:
            self.doing = "resting"
            time.sleep(self.rng.uniform(0.001, 0.06))

    def work(self):
        fork = self.rng.choice(self.forks())
        op = self.rng.choice(self.OPS)
        self.since, self.doing = time.monotonic(), op.__name__
        try:
            op(self, fork, self.model[fork])
            self.count += 1
        except Refused:
            self.refused += 1
        except OSError:
            # The daemon was killed: what was begun may be there.
            if not self.soak.killed.wait(5):
                raise
        self.slowest = max(self.slowest, (time.monotonic() - self.since,
                                          self.doing))
        self.since, self.doing = time.monotonic(), "waiting"

    def run(self):
        try:
            while self.soak.park(self):
                self.work()
                self.rest()
        except BaseException as problem:  # reported by the main thread
            self.soak.fail(f"{self.prefix}, {self.doing}: {problem!r}\n"
                           f"{traceback.format_exc()}")

    # ---- What must be found -------------------------------------------------

    def witnesses(self, name, tree):
        """Return what each mount shows of a state that one showed wrong."""
        words = []
        for path in self.soak.paths(name):
            try:
                found = read_tree(path)
            except OSError as problem:
                words.append(f"{path}: {problem}")
                continue
            words.append(f"{path}: " + (difference(found, tree) or "right"))
        return "; now " + "; ".join(words)

    def compare(self, name, tree):
        found = read_tree(self.path(name))
        if found != tree:
            if self.soak.killed.is_set():
                raise OSError(errno.ENOTCONN, "killed meanwhile")
            raise Wrong(f"{name} is not as it was: {difference(found, tree)}" +
                        self.witnesses(name, tree))

    def found(self):
        """Read a state through the mount into a model."""
        model = {}
        for fork in os.listdir(self.soak.mnt):
            if fork.split("@")[0].split("~")[0] != self.prefix:
                continue
            model[fork] = read_tree(self.path(fork))
            for snapshot in os.listdir(self.path(f"{fork}/.snap")):
                name = f"{fork}/.snap/{snapshot}"
                model[name] = read_tree(self.path(name))
        return model

    def verify(self):
        found = self.found()
        if found != self.model:
            raise Wrong(f"{self.prefix}: not as it was: " +
                        self.nearest(found))

    def nearest(self, found):
        """Describe how a found file differs from the most similar one."""
        def distance(model):
            return sum(found.get(name) != model.get(name)
                       for name in {**found, **model})
        age, model = min(
            enumerate(model for _, model in reversed(self.history)),
            key=lambda pair: distance(pair[1]))
        words = [f"{age} steps of {len(self.history)} before the last"]
        if not distance(model):
            # The directory had this content, but not when it was read.
            model = self.history[-1][1]
        for name in {**found, **model}:
            if found.get(name) != model.get(name):
                words.append(f"{name}: " + (
                    difference(found[name], model[name])
                    if name in found and name in model
                    else "is there" if name in found else "is missing"))
                words.append(self.witnesses(name, model.get(name, {})))
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
        limit = LOSS * self.soak.slower
        if killed - self.soak.fault_time < FAULT_LOSS:
            limit += FAULT_LOSS
        if lost > limit:
            raise Wrong(f"{self.prefix}: {lost:.1f} seconds are lost")
        self.soak.lost = max(self.soak.lost, lost)
        self.model = model
        self.history = [[None, model]]
