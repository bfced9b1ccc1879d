# SPDX-License-Identifier: LGPL-2.1-or-later
"""All kinds of work at once, for a given time, against a model.

Several workers write, read, fork, snapshot and delete in states of their own,
through several mounts, in bursts and with pauses.  Meanwhile

* the store is unmounted and mounted again, or the daemon is killed: then every
  worker's states must be as they were at one moment, not before its last fsync
  and not more than some seconds ago;
* mounts come and go, now and then many;
* a call of the daemon on its disk fails, once or a few times: a step may then
  fail, wholly or not at all, and after it everything goes on;
* an ordinary user does what he can to get in the way (hostile.py);
* several mounts of one state are compared (coherence.c).

Whoever makes no progress hangs: the daemon's stacks are in the report.  Memory,
descriptors, the store's file and its deadlists must not grow, since there is
never more in the store than so much.
"""
import contextlib
import errno
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from bed import Bed, Broken, helper, stacks_command
from faults import Faults
from worker import Worker, Wrong

HANG = 60        # seconds without progress, if nothing else is asked for
FAULT_END = 20   # seconds until a fault that went must be forgotten
CROWD = 16       # mounts
# Lines that the log may have when the disk fails.
FAULT_WORDS = re.compile(
    r"^.*(commit|writ|sync|[Nn]o space|full|Input/output error).*\n?", re.M)


class Companion:
    """A program that runs beside the workers for a while."""

    def __init__(self, soak, name, command, seconds):
        self.name = name
        self.output = soak.bed.dir / f"{name}.out"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [*map(str, command)], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True)
        self.end = time.monotonic() + seconds + 2 * soak.hang

    def poll(self):
        code = self.process.poll()
        if code is None and time.monotonic() > self.end:
            raise Wrong(f"{self.name} does not end: {self.text()}")
        if code:
            raise Wrong(f"{self.name} ended with {code}: {self.text()}")
        return code

    def text(self):
        return self.output.read_text(errors="replace")[-20000:]

    def stop(self):
        """Before a crash takes its mounts away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)


class Soak:
    def __init__(self, coppice, seconds, seed, directory=None, slower=1,
                 kills=True, faults=True, hostile=True, mounts=3, hang=HANG,
                 only=None):
        self.build = Path(coppice).resolve().parents[1]
        self.seconds = seconds
        self.rng = random.Random(seed)
        self.slower = slower
        self.hang = hang * slower
        self.only = only  # names of the events that may be, or None
        self.since = time.monotonic()  # of what the main thread does
        self.bed = Bed(coppice, directory, "soak", "memory=48M")
        self.log = self.bed.log
        self.dir = self.bed.dir
        self.mnt = self.dir / "mnt"
        self.kills = kills
        self.hostile = hostile
        self.extra = mounts - 1
        self.faults = None
        if faults:
            self.faults = Faults(helper(self.build, "fault.so"),
                                 self.dir / "faults")
            self.bed.environment.update(self.faults.environment)
        self.gaps = True
        self.fault_time = -1e9
        self.roots = {}    # of a state's mounts: name: paths
        self.without_snapdir = set()  # of these, the ones that have no .snap
        self.companions = []
        self.serial = 0
        self.workers = []
        self.problem = None
        self.lock = threading.Condition()
        self.parked = 0          # lock
        self.holding = True      # lock: workers are to wait
        self.ended = False       # lock
        self.killed = threading.Event()
        self.lost = 0
        self.last = "the beginning"
        self.samples = []
        self.counts = dict.fromkeys(
            ["remounts", "kills", "checks", "mounts", "crowds", "faults",
             "hits", "comparisons", "nuisances"], 0)

    # ---- For workers --------------------------------------------------------

    def park(self, worker):
        """Between two steps; False: it is over."""
        with self.lock:
            if self.holding:
                worker.doing = "waiting"
                self.parked += 1
                self.lock.notify_all()
                self.lock.wait_for(lambda: not self.holding or self.ended)
                self.parked -= 1
                worker.since = time.monotonic()
            return not self.ended

    def fail(self, problem):
        with self.lock:
            self.problem = self.problem or problem
            self.ended = True
            self.lock.notify_all()

    def faulty(self):
        """Return True if a failure may be the disk's."""
        return time.monotonic() < self.fault_time + FAULT_END * self.slower

    def reach(self, name, rng):
        """The path of a state, or of a fork's .snap, in some mount."""
        return rng.choice(self.paths(name))

    def paths(self, name):
        fork, _, rest = name.partition("/")
        roots = [self.mnt / name]
        for root in self.roots.get("", []):
            roots.append(root / name)
        for root in self.roots.get(fork, []):
            if not rest:
                roots.append(root)
            elif root not in self.without_snapdir:
                roots.append(root / rest)
        return roots

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
        return os.path.relpath(self.bed.store / "control")

    # ---- The daemon ---------------------------------------------------------

    def mount_more(self):
        """Another mount: of a worker's state, or of the whole store."""
        state = self.rng.choice(
            [worker.prefix for worker in self.workers] + ["main", ""])
        self.serial += 1
        # A state alone: without OPEN requests, or (with a .snap) with them.
        snapdir = state and self.rng.random() < 0.5
        path = self.bed.mount(f"m{self.serial}", ",".join(filter(None, [
            state and f"state={state}", snapdir and "snapdir=hidden"])))
        if state and not snapdir:
            self.without_snapdir.add(path)
        self.roots.setdefault(state, []).append(path)
        self.counts["mounts"] += 1

    def umount_one(self):
        state = self.rng.choice([s for s in self.roots if self.roots[s]])
        path = self.roots[state].pop()
        self.bed.umount(path)
        path.rmdir()

    def mount(self):
        self.killed.clear()
        self.bed.mount("mnt")
        self.roots = {}
        for _ in range(self.extra):
            self.mount_more()

    def umount(self):
        for path in reversed(list(self.bed.mounts)):
            self.bed.umount(path)
        code = self.bed.process.wait(120 * self.slower)
        self.bed.process = None
        if code:
            raise Wrong(f"the daemon ended with {code}")

    def kill(self):
        self.bed.process.kill()
        when = time.monotonic()
        self.bed.process.wait()
        self.killed.set()
        return when

    def check(self, *options):
        result = self.bed.run("check", *options, self.bed.store, check=False,
                              timeout=600 * self.slower)
        if result.returncode:
            raise Wrong(f"the check found: {result.stdout}{result.stderr}")
        self.counts["checks"] += 1

    # ---- Hangs --------------------------------------------------------------

    def watch(self):
        """Called while the main thread waits: the companions are well."""
        self.since = time.monotonic()
        for companion in list(self.companions):
            if companion.poll() is not None:
                self.companions.remove(companion)

    def hung(self):
        """Return the worker that makes no progress, or ''."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.doing != "waiting" and now - worker.since > self.hang:
                return f"{worker.prefix} hangs in {worker.doing}"
        # The main thread compares all of the workers' states at times.
        if now - self.since > 3 * self.hang:
            return "the main thread hangs"
        return ""

    def watch_for_hangs(self):
        """Watch from a thread of its own: a worker that hangs cannot report it."""
        while not self.ended:
            time.sleep(0.5)
            if not (what := self.hung()):
                continue
            stacks = self.bed.stacks()
            clients = subprocess.run(
                stacks_command(os.getpid(), False), shell=True, check=False,
                stdout=subprocess.PIPE, text=True, errors="replace").stdout
            self.fail(f"{what}\nthe daemon:\n{stacks}\nits clients:\n"
                      f"{clients}")
            self.bed.abort()

    def hold(self):
        """Have all workers wait."""
        with self.lock:
            self.holding = True
            self.lock.wait_for(
                lambda: self.ended or self.parked == len(self.workers))
            self.since = time.monotonic()

    def go_on(self):
        with self.lock:
            self.holding = False
            self.lock.notify_all()

    @contextlib.contextmanager
    def alone(self, companions=True):
        """The workers wait, and the companions go, if asked for."""
        if companions:
            for companion in self.companions:
                companion.stop()
            self.companions = []
        self.hold()
        if self.problem:
            raise Wrong(self.problem)
        yield
        self.go_on()

    # ---- Turns of events ----------------------------------------------------

    def event_remount(self):
        with self.alone():
            self.umount()
            self.mount()
            for worker in self.workers:
                worker.history = [[None, worker.model]]
                worker.verify()
            self.counts["remounts"] += 1

    def event_crash(self):
        for companion in self.companions:
            companion.stop()
        self.companions = []
        when = self.kill()
        # Until all have noticed the dead mounts stay: nobody is to write into
        # the directories below.
        self.hold()
        if self.problem:
            return
        for path in list(self.bed.mounts):
            subprocess.run(["umount", "-l", path], check=True)
            del self.bed.mounts[path]
        self.bed.process = None
        self.mount()
        for worker in self.workers:
            worker.recover(when)
        self.counts["kills"] += 1
        self.go_on()

    def event_mount(self):
        self.mount_more()

    def event_umount(self):
        if any(self.roots.values()) and not self.companions:
            with self.alone(False):
                self.umount_one()

    def event_check(self):
        self.check()

    def event_gaps(self):
        self.gaps = not self.gaps

    def event_fault(self):
        """The disk fails, once or a few times; what is compared beside must
        not meet it."""
        if not self.faults or self.companions:
            return
        kind = self.rng.choice(["sync", "sync", "write", "meta", "allocate"])
        before = self.faults.hits()
        self.fault_time = time.monotonic()
        self.faults.arm(kind, self.rng.choice([errno.EIO, errno.ENOSPC]),
                        self.rng.choice([1, 1, 1, 2, 5]),
                        self.rng.choice([0, 0, 1, 3]))
        end = time.monotonic() + 8
        while self.faults.armed() and time.monotonic() < end and \
                not self.problem:
            time.sleep(0.05)
            self.watch()
        self.faults.disarm()
        self.fault_time = time.monotonic()
        self.counts["faults"] += 1
        self.counts["hits"] += self.faults.hits() - before
        # All is well soon; without help.
        end = self.fault_time + FAULT_END * self.slower
        while not self.problem and time.monotonic() < end:
            if self.works_again():
                self.fault_time = time.monotonic()
                return
            time.sleep(0.1)
        if not self.problem:
            raise Wrong(f"{FAULT_END} s after a fault of {kind} ended the "
                        f"store still refuses: {self.log.read_text()[-2000:]}")

    def works_again(self):
        path = self.mnt / "main" / "probe"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return False
        try:
            os.pwrite(fd, b"probe", 0)
            os.fsync(fd)
            os.unlink(path)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def spell(self):
        """Return how long a companion works: not much of a short soak."""
        return min(self.rng.uniform(2, 20), max(2, self.seconds / 4))

    def event_compare(self):
        """Several mounts of main against a model and each other."""
        if self.companions:
            return
        seconds = self.spell()
        dirs = [self.mnt / "main"] + self.roots.get("main", []) + [
            root / "main" for root in self.roots.get("", [])]
        self.serial += 1
        top = f"compare{self.serial}"
        (self.mnt / "main" / top).mkdir()
        self.companions.append(Companion(
            self, "coherence",
            [helper(self.build, "coherence"),
             self.rng.choice(["model", "storm", "partial", "truncate"]),
             "-s", self.rng.randrange(1 << 30), "-t", seconds,
             "-w", self.rng.choice([2, 3]), "-H", self.hang,
             "-x", stacks_command(self.bed.process.pid),
             *(root / top for root in dirs)], seconds))
        self.counts["comparisons"] += 1

    def event_crowd(self):
        """Many mounts, and a client with pauses in each."""
        if self.companions:
            return
        states = ["main"] * (CROWD - 4) + ["", "", "w0", "w0"]
        paths = []
        for state in states:
            self.serial += 1
            paths.append(self.bed.mount(f"m{self.serial}",
                                        f"state={state}" if state else ""))
        seconds = self.spell()
        dirs = [path if state == "main" else path / "main"
                for path, state in zip(paths, states) if state != "w0"]
        crowd = Companion(
            self, "crowd",
            [helper(self.build, "coherence"), "gaps",
             "-s", self.rng.randrange(1 << 30), "-t", seconds,
             "-w", len(dirs), "-H", self.hang,
             "-x", stacks_command(self.bed.process.pid), *dirs], seconds)
        while crowd.poll() is None and not self.problem:
            time.sleep(0.1)
            self.watch()
        crowd.stop()
        for path in paths:
            self.bed.umount(path)
            path.rmdir()
        self.counts["crowds"] += 1

    def event_nuisance(self):
        """An ordinary user gets in the way."""
        if not self.hostile or any(c.name == "hostile"
                                   for c in self.companions):
            return
        place = self.mnt / "main" / "hostile"
        place.mkdir(exist_ok=True)
        place.chmod(0o777)
        seconds = self.spell()
        self.companions.append(Companion(
            self, "hostile",
            [sys.executable, Path(__file__).parent / "hostile.py", place,
             self.rng.randrange(1 << 30), seconds], seconds))
        self.counts["nuisances"] += 1

    def events(self):
        events = ([self.event_remount, self.event_check, self.event_mount,
                   self.event_umount, self.event_gaps, self.event_crowd] +
                  [self.event_fault] * 2 + [self.event_compare] * 2 +
                  [self.event_nuisance] * 2)
        if self.kills:
            events += [self.event_crash] * 3
        if self.only is not None:
            events = [event for event in events
                      if event.__name__ in [f"event_{n}" for n in self.only]]
        return events or [lambda: None]

    # ---- What must not grow -------------------------------------------------

    def sample(self):
        pid = self.bed.process.pid
        sample = {"fds": len(os.listdir(f"/proc/{pid}/fd"))}
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            key, value = line.split(":", 1)
            if key in ("RssAnon", "Threads"):
                sample[key] = int(value.split()[0])
        sample["file"] = (self.bed.store / "data.mdb").stat().st_blocks // 2
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
        slack = {"fds": 200, "RssAnon": 60 << 10, "Threads": 60,
                 "file": 64 << 10, "lists": 2 << 10, "backlog": 200}
        for key, room in slack.items():
            before = max(s[key] for s in self.samples[third:2 * third])
            after = max(s[key] for s in self.samples[2 * third:])
            if after > before * 1.5 + room:
                bad.append(f"{key} grew from {before} to {after}")
        return bad

    # ---- All of it ----------------------------------------------------------

    def begin(self, workers):
        self.bed.init()
        self.bed.mount("mnt")
        self.workers = [Worker(self, n, self.rng.random())
                        for n in range(workers)]
        for worker in self.workers:
            worker.begin()
        for _ in range(self.extra):
            self.mount_more()
        threading.Thread(target=self.watch_for_hangs, daemon=True).start()
        for worker in self.workers:
            worker.start()
        self.go_on()

    def turns(self):
        end = time.monotonic() + self.seconds
        turn = time.monotonic() + min(2, self.seconds / 10)
        deck = []
        while time.monotonic() < end and not self.problem:
            time.sleep(min(0.25, max(0, end - time.monotonic())))
            self.sample()
            self.watch()
            if time.monotonic() < turn:
                continue
            self.since = time.monotonic()
            # Each of them once before any comes again.
            deck = deck or self.rng.sample(self.events(), len(self.events()))
            event = deck.pop()
            self.last = getattr(event, "__name__", "")
            event()
            turn = time.monotonic() + self.rng.uniform(
                0.2, max(0.4, min(6, self.seconds / 20)))

    def finish(self):
        while self.companions and not self.problem:
            time.sleep(0.1)
            self.watch()
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
        text = self.bed.stderr()
        if self.counts["hits"]:
            text = FAULT_WORDS.sub("", text)
        if text:
            raise Wrong(f"the daemon said: {text[:3000]}")

    def run(self, workers=3):
        self.begin(workers)
        try:
            self.turns()
        except (Wrong, Broken, OSError, subprocess.SubprocessError) as problem:
            # A worker that fell may be the reason.
            self.fail(f"{self.last}: " + (
                str(problem) if isinstance(problem, (Wrong, Broken))
                else traceback.format_exc()))
        self.finish()

    def summary(self):
        steps = sum(worker.count for worker in self.workers)
        refused = sum(worker.refused for worker in self.workers)
        slowest = max((worker.slowest for worker in self.workers),
                      default=(0, ""))
        most = {key: max(s[key] for s in self.samples)
                for key in self.samples[0]} if self.samples else {}
        return (f"{steps} steps, {refused} refused, the longest "
                f"{slowest[0]:.1f} s ({slowest[1]}); "
                f"at most {self.lost:.1f} s lost; " +
                ", ".join(f"{v} {k}" for k, v in self.counts.items()) +
                "; at most " + ", ".join(f"{k} {v}" for k, v in most.items()))

    def clean(self):
        for companion in self.companions:
            with contextlib.suppress(subprocess.SubprocessError):
                companion.stop()
        self.bed.clean()
