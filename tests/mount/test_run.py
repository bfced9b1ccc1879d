# SPDX-License-Identifier: LGPL-2.1-or-later
"""coppice run: commands in forks of their own."""
import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from conftest import COPPICE, SLOWER, wait_for
from linux import can_unshare, in_namespace, lock_conflict

pytestmark = [
    pytest.mark.skipif(not can_unshare(),
                       reason="cannot make a mount namespace"),
    pytest.mark.usefixtures("alone")]


class Place:
    """A store in which main has a file, and the directory where main stands."""

    def __init__(self, store, how):
        self.store = store
        mnt = store.mount()
        (mnt / "main" / "src" / "lib").mkdir(parents=True)
        (mnt / "main" / "src" / "file").write_text("base\n")
        self.at = mnt / "main"
        self.options = []
        if how == "whole":
            return
        mnt.umount()
        self.at = store.dir / "alone"
        self.at.mkdir()
        if how == "alone":
            store.mount("alone", "state=main")
        else:
            self.options = ["--from", "main", "--at", str(self.at)]

    def __call__(self, *args, code=0, cwd=None, env=None):
        """Run; what was printed on standard output and standard error."""
        if not cwd:
            cwd = self.store.dir if self.options else self.at
        done = subprocess.run(
            [COPPICE, "run", "-s", self.store.path, *self.options, *args],
            cwd=cwd, env={**os.environ, **(env or {})}, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * SLOWER,
            check=False)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def sh(self, *args, **keywords):
        """The last argument is a script."""
        return self(*args[:-1], "--", "sh", "-ec", args[-1], **keywords)

    def main(self):
        return self.store.verb("ls", "main").split()


@pytest.fixture(params=["whole", "alone", "unmounted"])
def place(request, store):
    return Place(store, request.param)


@pytest.fixture
def whole(store):
    return Place(store, "whole")


def kept(done):
    """The fork that standard error names as kept."""
    return re.search(r"'(\S+)' is kept\n", done.stderr)[1]


# ---- The fork ---------------------------------------------------------------


def test_a_changed_fork_is_kept(place):
    done = place.sh("pwd; cat src/file; echo new >src/new; echo $PWD")
    assert done.stdout == f"{place.at}\nbase\n{place.at}\n"
    fork = kept(done)
    assert re.fullmatch(r"main@run-[0-9a-f]{8}", fork)
    assert place.store.names() == ["main", fork]
    assert place.store.verb("cat", f"{fork}:/src/new") == "new\n"
    assert place.main() == ["src"]
    assert place.store.verb("ls", "main:/src").split() == ["file", "lib"]


def test_an_unchanged_fork_is_not(place):
    done = place("--", "cat", "src/file")
    assert (done.stdout, done.stderr) == ("base\n", "")
    assert place.store.names() == ["main"]


def test_unchanged_although_the_source_has_changed(whole):
    whole.sh(f"{COPPICE} run -s {whole.store.path} --join --from main -- "
             "touch elsewhere")
    assert whole.store.names() == ["main"]
    assert whole.main() == ["elsewhere", "src"]


def test_changed_although_it_was_forked_since(whole):
    done = whole.sh(f"""
        touch mine
        {COPPICE} fork -s {whole.store.path} $COPPICE_RUN_FORK main@more
    """)
    assert whole.store.names() == ["main", "main@more", kept(done)]


def test_keep_and_drop(place):
    done = place("--keep", "--name", "main@mine", "--", "true")
    assert kept(done) == "main@mine"
    place.sh("--drop", "touch lost")
    place.sh("--drop", "touch lost; exit 3", code=3)
    assert place.store.names() == ["main", "main@mine"]
    # The name is taken: nothing is run.
    done = place.sh("--name", "main@mine", "echo run", code=125)
    assert done.stdout == ""
    assert done.stderr == "coppice: cannot make 'main@mine': the name is taken\n"


def test_join(place):
    place.sh("--join", "echo joined >src/file; touch new")
    assert place.store.names() == ["main"]
    assert place.main() == ["new", "src"]
    assert place.store.verb("cat", "main:/src/file") == "joined\n"


def test_a_failed_command_is_not_joined(place):
    done = place.sh("--join", "touch new; exit 9", code=9)
    assert place.main() == ["src"]
    assert "failed with 9" in done.stderr
    assert place.store.names() == ["main", kept(done)]
    place("--join", "--", "false", code=1)
    assert len(place.store.names()) == 2


def test_conflict(whole):
    done = whole.sh("--join", f"""
        echo mine >src/file
        {COPPICE} run -s {whole.store.path} --join --from main -- \
            sh -c 'echo theirs >src/file'
    """, code=124)
    fork = kept(done)
    assert done.stderr == (
        "C\tedit/edit\t/src/file\n"
        f"coppice: cannot join '{fork}' into 'main': 1 conflict; '{fork}' is "
        "kept\n")
    assert (whole.at / "src" / "file").read_text() == "theirs\n"
    assert whole.store.verb("cat", f"{fork}:/src/file") == "mine\n"


@pytest.mark.parametrize("policy", ["queue", "first"])
def test_policy_when_the_source_has_moved_on(whole, policy):
    done = whole.sh("--join", f"--policy={policy}", f"""
        touch mine
        {COPPICE} run -s {whole.store.path} --join --from main -- touch theirs
    """, code=0 if policy == "queue" else 124)
    if policy == "queue":
        assert whole.main() == ["mine", "src", "theirs"]
        assert whole.store.names() == ["main"]
    else:
        assert whole.main() == ["src", "theirs"]
        assert "has changes of its own; " in done.stderr
        assert whole.store.names() == ["main", kept(done)]


@pytest.mark.parametrize("retries, runs, outcome", [
    (1, 2, "refused"), (2, 3, "joined")])
def test_retry(whole, retries, runs, outcome):
    """Two runs are not the first."""
    done = whole.sh("--join", "--policy=first", f"--retry={retries}",
                    "--name", "main@try", "--json=lines", f"""
        ls src
        touch src/mine
        [ -e src/two ] || {COPPICE} run -s {whole.store.path} --from main \\
            --join -- sh -c '[ -e src/one ] && touch src/two || touch src/one'
    """, code=0 if outcome == "joined" else 124)
    row = json.loads(done.stdout)
    assert (row["runs"], row["outcome"]) == (runs, outcome)
    # Each begins with what the others have joined, and nothing else.
    assert done.stderr.split() == [
        "file", "lib", "file", "lib", "one",
        *(["file", "lib", "one", "two"] if outcome == "joined" else [])]
    assert whole.store.names() == (
        ["main"] if outcome == "joined" else ["main", "main@try"])


@pytest.mark.parametrize("policy", ["queue", "first"])
def test_retry_after_a_conflict(whole, policy):
    """The second run finds what the first one was in conflict with."""
    done = whole.sh("--join", f"--policy={policy}", "--retry=1", "--name",
                    "main@try", f"""
        cat src/file
        echo mine >>src/file
        grep -q theirs src/file || {COPPICE} run -s {whole.store.path} \
            --from main --join -- sh -c 'echo theirs >>src/file'
    """)
    assert done.stdout == "base\nbase\ntheirs\n"
    assert done.stderr == ("" if policy == "first" else
                           "C\tedit/edit\t/src/file\n"
                           "coppice: cannot join 'main@try' into 'main': 1 "
                           "conflict; the command is run again\n")
    assert (whole.at / "src" / "file").read_text() == "base\ntheirs\nmine\n"
    assert whole.store.names() == ["main"]


def test_join_into_another(whole):
    whole.store.verb("fork", "main", "main@next")
    whole.sh("--join", "--into", "main@next", "touch new")
    assert whole.main() == ["src"]
    assert whole.store.verb("ls", "main@next").split() == ["new", "src"]
    whole.store.verb("snap", "main", "s")
    for source, into in ("main", "main@next"), ("main~s", "main"):
        done = whole("--join", "--from", source, "--into", into, "--retry=1",
                     "--", "touch", "more", code=125)
        assert done.stderr == (
            f"coppice: --retry would fork '{source}' again, which does not "
            f"have what was joined into '{into}' meanwhile\n")
    whole.sh("--join", "--into", "main", "--retry=1", "touch more")
    assert whole.main() == ["more", "src"]


def test_a_joined_fork_with_snapshots_is_kept(whole):
    done = whole.sh("--join", "touch new; mkdir .snap/mine")
    assert "is joined, and kept: " in done.stderr
    assert len(whole.store.names()) == 3
    assert whole.main() == ["new", "src"]


def test_a_snapshot_where_its_fork_stands(whole):
    (whole.at / ".snap" / "old").mkdir()
    (whole.at / "src" / "file").write_text("new\n")
    done = whole.sh("--from", "main~old", "--join",
                    "pwd; cat src/file; touch new")
    assert done.stdout == f"{whole.at}\nbase\n"
    assert whole.main() == ["new", "src"]
    assert (whole.at / "src" / "file").read_text() == "new\n"


# ---- The place --------------------------------------------------------------


def test_the_working_directory_is_the_same(place):
    cwd = place.at / "src" / "lib"
    if place.options:
        pytest.skip("there is no such directory without a mount")
    done = place.sh("--join", "pwd; echo $PWD; touch here", cwd=cwd)
    assert done.stdout == f"{cwd}\n{cwd}\n"
    assert (cwd / "here").exists()


def test_from_outside_it_is_the_root(whole):
    done = whole.sh("--from", "main", "pwd; echo $PWD", cwd=whole.store.dir,
                    env={"PWD": str(whole.store.dir)})
    assert done.stdout == f"{whole.at}\n{whole.at}\n"


def test_at(whole, tmp):
    (tmp / "at" / "deep").mkdir(parents=True)
    cwd = whole.at / "src"
    done = whole.sh("--at", tmp / "at", "pwd; ls ..", cwd=cwd)
    assert done.stdout == f"{tmp}/at/src\nsrc\n"
    assert os.listdir(tmp / "at") == ["deep"]


def test_others_do_not_see_it(whole):
    """Others see neither the fork at the place nor the mount."""
    with subprocess.Popen(
            [COPPICE, "run", "--drop", "--", "sh", "-ec",
             "touch new; echo ready; read line; ls"],
            cwd=whole.at, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True) as run:
        assert run.stdout.readline() == "ready\n"
        assert whole.main() == ["src"]
        assert os.listdir(whole.at) == ["src"]
        # Whatever is joined meanwhile, it stays where it is.
        whole.sh("--join", "touch other")
        assert run.communicate("go\n")[0] == "new\nsrc\n"
    assert whole.main() == ["other", "src"]


def test_locks_hold_outside_of_the_namespace(store):
    """Locks in the fork that is mounted for the command are the store's."""
    place = Place(store, "alone")
    code = ("import fcntl; file = open('src/file', 'r+'); "
            "fcntl.lockf(file, fcntl.LOCK_EX); print('ready', flush=True); "
            "input()")
    with subprocess.Popen(
            [COPPICE, "run", "--name", "main@run", "--drop", "--",
             sys.executable, "-c", code], cwd=place.at, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == "ready\n"
        other = store.mount("other", "state=main@run,locks=store")
        assert lock_conflict(other / "src" / "file", fcntl.F_WRLCK)
        run.communicate("go\n")
    assert run.returncode == 0


def test_flags_of_the_mount(store):
    Place(store, "alone")
    show = 'grep " $PWD " /proc/self/mountinfo | tail -n 1 | cut -d " " -f 6'
    for options, flags in ("", "rw,nosuid,nodev"), ("dev,suid", "rw"), \
            ("noexec", "rw,nosuid,nodev,noexec"):
        store.mounts[-1].umount()
        alone = store.mount("alone", f"state=main,{options}".rstrip(","))
        done = subprocess.run([COPPICE, "run", "--", "sh", "-c", show],
                              cwd=alone, text=True, capture_output=True,
                              check=True)
        assert done.stdout.strip().replace(",relatime", "") == flags


def test_chroot_to_a_directory_that_is_no_mount(whole, tmp):
    """The mount of the fork shows nowhere else, although others are shared."""
    root = tmp / "root"
    (root / "all").mkdir(parents=True)
    for name in os.listdir("/"):
        (root / name).symlink_to(f"all/{name}")
    script = f"""
        mount --rbind / {root}/all
        mount --make-rshared {root}/all
        chroot {root} sh -ec '
            cd {whole.at}
            {COPPICE} run --name main@run --join -- sh -ec "
                touch new
                grep -c main@run /proc/self/mountinfo
                grep -c main@run /proc/\\$PPID/mountinfo || :
            "'
    """
    done = subprocess.run(
        [*in_namespace(whole.store.dir), "sh", "-ec", script],
        text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n0\n"), done.stderr
    assert whole.main() == ["new", "src"]


def test_a_state_that_is_swapped_meanwhile(whole):
    """The working directory stays in the fork, whatever has the name."""
    whole.store.verb("fork", "other")
    whole.sh("--name", "main@run", "--keep", f"""
        touch before
        {COPPICE} swap -s {whole.store.path} main other
        ls before
        touch after
    """)
    assert whole.store.verb("ls", "main@run").split() == ["after", "before",
                                                          "src"]
    assert whole.store.verb("ls", "other").split() == ["src"]
    assert whole.main() == []


def test_properties(whole):
    whole("--keep", "-p", "description=task 7", "--set=ttl=7d", "--", "true")
    fork = whole.store.names()[1]
    assert "task 7" in whole.store.verb("get", "description", fork)
    assert "is not KEY=VALUE" in whole("-p", "x", "--", "true",
                                       code=125).stderr
    assert "cannot set 'ttl'" in whole("-p", "ttl=x", "--", "true",
                                       code=125).stderr


def test_run_within_a_run(place):
    done = place.sh("--join", f"""
        touch outer
        {COPPICE} run --join -- sh -c 'ls; pwd; echo $COPPICE_RUN_FORK >fork'
        ls
    """)
    assert done.stdout.split() == ["outer", "src", str(place.at), "fork",
                                   "outer", "src"]
    assert place.main() == ["fork", "outer", "src"]
    fork = place.store.verb("cat", "main:/fork")
    assert re.fullmatch(r"main(@run-[0-9a-f]{8}){2}\n", fork)
    assert place.store.names() == ["main"]


def test_a_directory_that_the_fork_does_not_have(whole):
    whole.store.verb("fork", "main", "main@less")
    (whole.at / "later").mkdir()
    done = whole("--from", "main@less", "--", "pwd", cwd=whole.at / "later",
                 code=125)
    assert done.stderr == (f"coppice: cannot start in '{whole.at}@less/later' "
                           "of the fork: No such file or directory\n")
    assert whole.store.names() == ["main", "main@less"]


# ---- Bad input --------------------------------------------------------------


def test_wrong_usage(whole):
    for args, says in (
            (["--join", "--keep"],
             "--join, --keep and --drop exclude each other"),
            (["--into", "main"], "--into, --policy and --retry need --join"),
            (["--join", "--policy", "last"],
             "--policy is queue or first, not 'last'"),
            (["--count", "0"], "'0' is not a count from 1 to 100000"),
            (["--jobs", "-1"], "'-1' is not a number from 1 to 100000"),
            (["--json=x"], "--json is an array, or =lines; not 'x'")):
        done = whole(*args, "--", "touch", "new", code=125)
        assert f"coppice run: {says}\n" in done.stderr
    assert "Usage: coppice run" in whole(code=125).stderr
    assert whole.store.names() == ["main"]


def test_what_cannot_be(whole):
    whole.store.verb("snap", "main", "s")
    for args, says in (
            (["--from", "none"], "cannot fork 'none': there is no such state"),
            (["--from", "main~n"],
             "cannot show 'main~n': there is no such state"),
            (["--join", "--into", "none"],
             "cannot show 'none': there is no such state"),
            (["--join", "--into", "main~s"],
             "cannot join into 'main~s': it is a snapshot"),
            (["--at", "/none"],
             "cannot mount on '/none': No such file or directory"),
            (["--at", "/dev/null"],
             "cannot mount on '/dev/null': it is not a directory"),
            (["--name", "a/b"], "cannot make 'a/b': not a possible name")):
        done = whole(*args, "--", "touch", "new", code=125)
        assert done.stderr == f"coppice: {says}\n"
    assert whole.store.names() == ["main", "main~s"]


def test_a_state_that_is_not_mounted(store):
    done = store.coppice("run", "-s", store.path, "true", code=125)
    assert done.stderr == ("coppice: 'main' is not mounted here: give the "
                           "directory to mount its fork on with --at\n")
    assert store.names() == ["main"]


def test_commands_that_cannot_be_run(place):
    assert "cannot run 'none-such'" in place("none-such", code=127).stderr
    assert "cannot run './src'" in place("./src", code=126).stderr
    assert place.store.names() == ["main"]


# ---- Signals ----------------------------------------------------------------


def begin(place, script, *options, **keywords):
    """Start a run whose script prints "ready"."""
    run = subprocess.Popen(
        [COPPICE, "run", *options, "--", "sh", "-c", script], cwd=place.at,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **keywords)
    assert run.stdout.readline() == "ready\n"
    return run


def test_killed_command(whole):
    done = whole.sh("touch new; kill -9 $$", code=137)
    assert f"signal 9 has ended the command; '{kept(done)}' is kept" in \
        done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT,
                                    signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(whole, number):
    run = begin(whole, "echo ready; exec sleep 1000", "--drop")
    run.send_signal(number)
    run.communicate()
    assert run.returncode == 128 + number
    assert whole.store.names() == ["main"]


def test_a_signal_that_the_command_handles(whole):
    run = begin(whole, """
        trap 'touch handled; exit 0' TERM
        echo ready
        while :; do read line || :; done
    """, "--join")
    run.terminate()
    run.communicate()
    assert run.returncode == 0
    assert whole.main() == ["handled", "src"]


def test_a_killed_run_leaves_its_fork(whole):
    run = begin(whole, "touch new; echo ready; read line; touch later; "
                       "echo end >&2", "--join")
    run.kill()
    run.wait()
    fork = whole.store.names()[1]
    assert re.fullmatch(r"main@run-[0-9a-f]{8}", fork)
    # The command goes on.
    run.stdin.write("go\n")
    run.stdin.close()
    assert run.stderr.read() == "end\n"
    assert whole.store.verb("ls", fork).split() == ["later", "new", "src"]
    assert whole.main() == ["src"]


# On a terminal of its own, as a shell with job control: runs its arguments in
# a group of their own in the foreground, and prints how it went on.
SHELL = """
import os, pty, signal, sys
pid, terminal = pty.fork()
if not pid:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if not job:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.argv[1], sys.argv[1:])
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            print("ended", os.waitstatus_to_exitcode(status), flush=True)
            os._exit(0)
        os.tcsetpgrp(0, os.getpid())
        print("stopped", flush=True)
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)
text = b""
keys = [(b"ready", b"\\x1a"), (b"stopped", b""), (b"again", b"\\x03")]
while True:
    try:
        text += os.read(terminal, 1000)
    except OSError:
        break
    while keys and keys[0][0] in text:
        os.write(terminal, keys.pop(0)[1])
os.waitpid(pid, 0)
print(text.decode())
"""


def test_terminal(whole):
    """Ctrl-Z stops both, the shell continues both, Ctrl-C ends the command."""
    script = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGCONT, lambda *_: print("again", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""
    done = subprocess.run(
        [sys.executable, "-c", SHELL, COPPICE, "run", "--drop", "--",
         sys.executable, "-c", script], cwd=whole.at, capture_output=True, text=True,
        timeout=60 * SLOWER, check=True)
    # The keys make the terminal drop what it has not shown, ends of lines for
    # example; SIGCONT may come twice, from the shell and passed on.
    said = re.findall("ready|stopped|again|ended|[0-9]+", done.stdout)
    assert [*dict.fromkeys(said)] == ["ready", "stopped", "again", "ended",
                                      "130"]
    assert whole.store.names() == ["main"]


def test_processes_left_behind(whole):
    """They go on in the fork until that is deleted, and meet ESTALE then."""
    code = """
import os, sys
fd = os.open("mine", os.O_CREAT | os.O_WRONLY)
if os.fork():
    os._exit(0)
sys.stdin.readline()
try:
    os.write(fd, b"late")
    print("written")
except OSError as error:
    print(error.errno)
"""
    with subprocess.Popen(
            [COPPICE, "run", "--join", "--", sys.executable, "-c", code],
            cwd=whole.at, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True) as run:
        assert run.wait(60 * SLOWER) == 0
        assert whole.main() == ["mine", "src"]
        assert run.communicate("go\n")[0] == f"{errno.ESTALE}\n"


# ---- Several ----------------------------------------------------------------


def test_count(place):
    done = place.sh("--count", "5", "--join", "--jobs=2",
                    "cat; touch new-$COPPICE_RUN_INDEX")
    assert done.stderr == ""
    assert place.main() == [*(f"new-{i}" for i in range(5)), "src"]
    assert place.store.names() == ["main"]


def test_count_with_failures(whole):
    done = whole.sh("--count", "4", "--name", "x", "--json=lines", """
        echo $COPPICE_RUN_INDEX $COPPICE_RUN_FORK
        case $COPPICE_RUN_INDEX in
        1) touch new ;;
        2) exit 7 ;;
        3) touch new; kill -9 $$ ;;
        esac
    """, code=7)
    rows = sorted(map(json.loads, done.stdout.splitlines()),
                  key=lambda row: row["index"])
    assert [[*row.values()] for row in rows] == [
        [0, "x-0", 0, None, "dropped", False, None, 1],
        [1, "x-1", 0, None, "kept", True, None, 1],
        [2, "x-2", 7, None, "dropped", False, None, 1],
        [3, "x-3", 137, 9, "kept", True, None, 1]]
    assert sorted(done.stderr.splitlines()) == [f"{i} x-{i}" for i in range(4)]
    assert whole.store.names() == ["main", "x-1", "x-3"]


def test_at_most_so_many_at_a_time(whole, tmp):
    """The first two wait for each other; each looks how many there are."""
    whole.sh("--count", "6", "--jobs", "2", "--drop", f"""
        cd {tmp}
        touch run-$COPPICE_RUN_INDEX began-$COPPICE_RUN_INDEX
        if [ $COPPICE_RUN_INDEX -lt 2 ]; then
            until [ -e began-0 ] && [ -e began-1 ]; do :; done
        fi
        [ $(ls run-* | wc -l) -le 2 ]
        rm run-$COPPICE_RUN_INDEX
    """)


def test_no_more_are_started_after_a_signal(whole):
    run = begin(whole, "echo ready; exec sleep 1000", "--drop", "--count=3",
                "--jobs=1")
    run.terminate()
    run.communicate()
    assert run.returncode == 143
    assert whole.store.names() == ["main"]
