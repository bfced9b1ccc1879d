# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes, processors and caches of the machine that is measured on."""
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path


class Failed(Exception):
    """A command failed; what it said."""


class Missing(Exception):
    """Something that a test or a peer needs is not there; what."""


def is_root():
    return os.geteuid() == 0


def _setup(cpus):
    """Run in a child first: the parent handles the terminal's ctrl-C."""
    def setup():
        os.setsid()
        if cpus:
            os.sched_setaffinity(0, cpus)
    return setup


def start(*command, cpus=None, cwd=None, env=None, log=subprocess.DEVNULL,
          stdout=None):
    """Start a process in a session of its own; the caller ends it."""
    return subprocess.Popen(
        [os.fspath(c) for c in command], cwd=cwd, env=env,
        stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log,
        preexec_fn=_setup(cpus))


def end(process, seconds=30):
    """End a process and what it started; returns whether it went by itself."""
    if process is None:
        return True
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def run(*command, cpus=None, cwd=None, env=None, good=(0,)):
    """Run a program to its end; what it printed."""
    process = start(*command, cpus=cpus, cwd=cwd, env=env,
                    log=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        out, err = process.communicate()
    except BaseException:
        end(process, 5)
        raise
    if process.returncode not in good:
        words = " ".join(os.fspath(c) for c in command)
        raise Failed(f"{words}: exit {process.returncode}: "
                     f"{err.decode(errors='replace')[-600:].strip()}")
    return out.decode(errors="replace")


def talk(*command):
    """Run a program that reports its progress, on our standard error."""
    process = start(*command, log=sys.stderr)
    try:
        code = process.wait()
    finally:
        end(process)
    if code:
        raise Failed(f"{command[0]}: exit {code}")


def run_piped(*command, **options):
    """Run a program whose output, much of it, nobody wants.  It goes through a
    pipe: some programs do nothing at all when it is /dev/null."""
    run("sh", "-c", '"$@" | cat >/dev/null', "sh", *command, **options)


def read_tree(path):
    """Every byte of it."""
    run_piped("tar", "cf", "-", "-C", path, ".")


def run_json(*command, **options):
    """Run a program that prints lines of JSON; the list of them."""
    out = run(*command, **options)
    return [json.loads(line) for line in out.splitlines() if line]


def ops(*command, **options):
    """The same by the key "op"."""
    return {line["op"]: line for line in run_json(*command, **options)}


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cost(function, *arguments):
    """Call it.  Returns the seconds that passed, and the processor time of the
    programs that it ran."""
    begin, used = time.monotonic(), _children()
    function(*arguments)
    return time.monotonic() - begin, _children() - used


def timed(*command, **options):
    """Seconds that a program took."""
    begin = time.monotonic()
    run(*command, **options)
    return time.monotonic() - begin


# ---- Processors -------------------------------------------------------------

def cpus():
    return sorted(os.sched_getaffinity(0))


def one_cpu():
    """The last one: the first ones take more of the interrupts."""
    return {cpus()[-1]}


def pin(pids, where):
    """Move processes with all their threads."""
    for pid in pids:
        for _ in range(3):  # threads that start meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(task.name), where)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid, key="RssAnon"):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def available():
    """Bytes of memory that programs and a tmpfs may take."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


# ---- Mounts and caches ------------------------------------------------------

def mounted(path):
    """Whether something is mounted exactly there."""
    path = os.path.realpath(path)
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == path for line in table)


def file_system(path):
    """The type of the file system that holds the path."""
    return run("stat", "-f", "-c", "%T", path).strip().replace(
        "ext2/ext3", "ext4")


def drop_caches(what=3):
    """1: pages, 2: names and inodes, 3: both."""
    Path("/proc/sys/vm/drop_caches").write_text(f"{what}\n")


def disk_bytes(path):
    return int(run("du", "-sx", "--block-size=1", path, good=(0, 1)).split()[0])


def wait_for(condition, what, seconds=30):
    end_time = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_time:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.01)


def describe(path):
    """Describe this machine for a reader of the figures."""
    info = Path("/proc/cpuinfo").read_text()
    model = [line.partition(":")[2].strip() for line in info.splitlines()
             if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {"kernel": os.uname().release, "processors": len(cpus()),
            "processor": model[0] if model else os.uname().machine,
            "memory_bytes": int(memory) * 1024,
            "load": os.getloadavg()[0], "file_system": file_system(path)}
