# SPDX-License-Identifier: LGPL-2.1-or-later
"""System calls that Python does not have, and small helpers around others."""
import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import time

import pytest

from conftest import BUILD, SCRATCH, mounts

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4
FALLOC_KEEP_SIZE = 1
FALLOC_PUNCH_HOLE = 2
FALLOC_COLLAPSE_RANGE = 8
FALLOC_ZERO_RANGE = 16
FALLOC_INSERT_RANGE = 32
F_OFD_SETLK = 37
CLOCK_REALTIME_COARSE = 5
CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2
INO_MASK = (1 << 36) - 1


def _check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def renameat2(old, new, flags):
    _check(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD,
                          os.fsencode(new), flags))


def handle_of(path):
    """The file's handle as (type, bytes)."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    _check(libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle,
                                  ctypes.byref(ctypes.c_int()), 0))
    size, kind = struct.unpack_from("Ii", handle.raw)
    return kind, handle.raw[8:8 + size]


def open_handle(mount_fd, handle, flags=os.O_RDONLY):
    kind, data = handle
    return _check(libc.open_by_handle_at(
        mount_fd, struct.pack("Ii", len(data), kind) + data, flags))


def linkat_fd(fd, new):
    """Give the open file a name."""
    _check(libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD,
                       os.fsencode(new), AT_SYMLINK_FOLLOW))


def fallocate(fd, mode, offset, length):
    _check(libc.fallocate(fd, mode, ctypes.c_int64(offset),
                          ctypes.c_int64(length)))


def statx_btime(path):
    """Birth time as (seconds, nanoseconds); None if there is none."""
    buffer = ctypes.create_string_buffer(256)
    _check(libc.statx(AT_FDCWD, os.fsencode(path), 0, 0x800, buffer))
    mask, = struct.unpack_from("I", buffer.raw, 0)
    if not mask & 0x800:
        return None
    return struct.unpack_from("qI", buffer.raw, 0x50)


def utimens(path, atime, mtime):
    """Times as (seconds, nanoseconds), of any size."""
    times = struct.pack("qqqq", *atime, *mtime)
    _check(libc.utimensat(AT_FDCWD, os.fsencode(path), times, 0))


# Numbers that all architectures have in common.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
CLONE_NEWUSER = 0x10000000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = 1, 4
AT_EMPTY_PATH, MOUNT_ATTR_IDMAP = 0x1000, 0x100000


def user_namespace(inside, outside, count):
    """A descriptor of a user namespace with these users and groups."""
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        child.stdin.write(b"x\n")
        child.stdin.flush()
        child.stdout.readline()  # it is in its namespace
        for name in "uid", "gid":
            with open(f"/proc/{child.pid}/{name}_map", "w") as file:
                file.write(f"{inside} {outside} {count}")
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY)


@contextlib.contextmanager
def idmapped(source, target, first, count):
    """The tree of a mount mounted a second time, where the owners 0, 1, ... are
    first, first + 1, ..."""
    # Until the daemon has answered the first request, the kernel refuses.
    os.listdir(source)
    namespace = user_namespace(0, first, count)
    tree = _check(libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(source),
                               OPEN_TREE_CLONE))
    try:
        attr = struct.pack("QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace)
        _check(libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attr,
                            len(attr)))
        _check(libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD,
                            os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH))
    finally:
        os.close(tree)
        os.close(namespace)
    try:
        yield
    finally:
        subprocess.run(["umount", "-i", target], check=True)


class AsyncWriter:
    """One write at a time by io_submit(2), of whole maps."""
    SETUP, DESTROY, GETEVENTS, SUBMIT = 206, 207, 208, 209  # x86_64

    def __init__(self):
        self.context = ctypes.c_ulong(0)
        _check(libc.syscall(self.SETUP, 1, ctypes.byref(self.context)))

    def begin(self, fd, area, offset):
        address = ctypes.addressof(ctypes.c_char.from_buffer(area))
        iocb = ctypes.create_string_buffer(struct.pack(
            "QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, address, len(area), offset,
            0, 0, 0))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(iocb))
        assert _check(libc.syscall(self.SUBMIT, self.context, 1,
                                   pointers)) == 1

    def end(self):
        event = ctypes.create_string_buffer(32)
        assert _check(libc.syscall(self.GETEVENTS, self.context, 1, 1, event,
                                   None)) == 1
        return struct.unpack("QQqq", event.raw)[2]

    def close(self):
        _check(libc.syscall(self.DESTROY, self.context))


def pieces(fd):
    """The data of a file as [(start, end)], by SEEK_DATA and SEEK_HOLE."""
    size = os.fstat(fd).st_size
    found, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        assert at > start
        found.append((start, at))
    return found


# The errors of requests once the daemon of a mount has died: ENOTCONN is the
# rule, ECONNABORTED is for what was queued at that moment, and ECONNREFUSED for
# a mount whose INIT had not been answered.
DISCONNECTED = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED)


@contextlib.contextmanager
def raises(*numbers):
    """The block fails with one of these errno values."""
    with pytest.raises(OSError) as caught:
        yield
    names = [errno.errorcode[n] for n in numbers]
    got = errno.errorcode.get(caught.value.errno, caught.value.errno)
    assert got in names, f"{got}, not {' or '.join(names)}"


@contextlib.contextmanager
def opened(path, flags=os.O_RDONLY, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def run(*command, cwd=None, env=None, code=0, timeout=300):
    """Run a program; what it prints."""
    result = subprocess.run(
        [os.fspath(c) for c in command], cwd=cwd, env=env, timeout=timeout,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert result.returncode == code, (
        command, result.returncode, result.stdout[-2000:],
        result.stderr[-4000:])
    return result.stdout.decode(errors="surrogateescape")


# argv: "map" or "write", and a file.  Both change all pages of it for ever; as
# they do so through two mounts, the pages of the mapping are written back by
# invalidations, of which one or another is always under way.
CLASH = """
import mmap, os, sys
what, path = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
size = os.fstat(fd).st_size
pages = mmap.mmap(fd, size) if what == "map" else None
first = True
while True:
    if pages:
        for i in range(0, size, 4096):
            pages[i:i + 5] = b"dirty"
    else:
        os.pwrite(fd, b"x" * size, 0)
    if first:
        print("began", flush=True)
    first = False
"""


def git_env(home):
    """For git: an author, nobody's configuration, and no maintenance that goes
    on in the background, where it would keep a mount in use."""
    return {**os.environ, "HOME": os.fspath(home), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "maintenance.auto",
            "GIT_CONFIG_VALUE_0": "false"}


def as_user(function, uid=65534, gid=65534, groups=()):
    """Call it in a child with these identities: 0, or the errno it met."""
    child = os.fork()
    if not child:
        code = 255
        try:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            function()
            code = 0
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def lock_conflict(path, kind, command=fcntl.F_SETLK, start=0, length=0):
    """Return True if another process is refused this lock."""
    def attempt():
        with opened(path, os.O_RDWR) as fd:
            lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
            fcntl.fcntl(fd, command, lock)
    result = as_user(attempt, 0, 0)
    assert result in (0, errno.EAGAIN, errno.EACCES)
    return result != 0


def next_second():
    """Returns in the first moments of another second of the clock."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.01)


def tree_digest(path):
    """Return a digest of a tree and its attributes, without atimes."""
    seen = {}
    for directory, names, files in os.walk(os.fsencode(path)):
        for name in sorted(names + files):
            full = os.path.join(directory, name)
            st = os.lstat(full)
            what = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns,
                    st.st_nlink if not os.path.isdir(full) else 0]
            if os.path.islink(full):
                what.append(os.readlink(full))
            elif os.path.isfile(full):
                with open(full, "rb") as file:
                    what.append(hash(file.read()))
            seen[os.path.relpath(full, os.fsencode(path))] = what
    return seen


def tree_of(path):
    """Return all that cp -a keeps, by path; inodes as numbers of first use."""
    seen, found = {}, {}
    for root, dirs, files in os.walk(path):
        dirs.sort()
        for name in [".", *dirs, *sorted(files)]:
            full = os.path.normpath(os.path.join(root, name))
            st = os.lstat(full)
            relative = os.path.relpath(full, path)
            content = None
            if os.path.islink(full):
                content = os.readlink(full)
            elif os.path.isfile(full):
                with open(full, "rb") as file:
                    content = file.read()
            xattrs = {name: os.getxattr(full, name, follow_symlinks=False)
                      for name in os.listxattr(full, follow_symlinks=False)}
            links = None
            if os.path.isfile(full) and st.st_nlink > 1:
                links = seen.setdefault(st.st_ino, relative)
            found[relative] = (
                st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink,
                st.st_size, st.st_rdev, content, xattrs, links)
    return found


def can_unshare():
    """Return true if a mount namespace can be made."""
    return subprocess.run(["unshare", "-m", "true"],
                          stderr=subprocess.DEVNULL).returncode == 0


# Unmounts what other tests have mounted.
WITHOUT_OTHERS = f"""
    keep=$1
    shift
    for at in $(cut -d" " -f2,3 /proc/self/mounts | tr " " :); do
        case "$keep/ $PWD/ {BUILD}/" in
        "${{at%:*}}"/* | *" ${{at%:*}}"/*) continue ;;
        esac
        case $at in
        "$keep"/*) ;;
        "{SCRATCH}"/coppice-* | *:fuse.coppice)
            umount -i -l "${{at%:*}}" 2>/dev/null || : ;;
        esac
    done
    exec "$@"
"""


def in_namespace(tmp):
    """The beginning of a command line: the rest is run in a mount namespace of
    its own, which has the mounts below tmp, but none of other tests.  It would
    keep their daemons from ending."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-c",
            WITHOUT_OTHERS, "sh", os.fspath(tmp)]


@contextlib.contextmanager
def own_namespace():
    """Have a mount namespace, if possible.  What is mounted there is not in
    those that other tests make meanwhile."""
    if not can_unshare():
        yield
        return
    with contextlib.ExitStack() as stack:
        namespace, root, cwd = (stack.enter_context(opened(path)) for path in
                                ("/proc/self/ns/mnt", "/", "."))
        _check(libc.unshare(CLONE_NEWNS))
        try:
            _check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
            for target, kind, *_ in mounts():
                if any(f"{path}/".startswith(f"{target}/")
                       for path in (SCRATCH, BUILD, os.getcwd())):
                    continue
                if kind == "fuse.coppice" or \
                        target.startswith(f"{SCRATCH}/coppice-"):
                    libc.umount2(os.fsencode(target), MNT_DETACH)
            yield
        finally:
            # A thread may have been started meanwhile that shares these.
            _check(libc.unshare(CLONE_FS))
            _check(libc.setns(namespace, CLONE_NEWNS))
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(cwd)


def options_of(path, field=5):
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if fields[4] == str(path):
            return fields[field].split(",")
    raise AssertionError("not mounted")


def super_options_of(path):
    """Those of the file system rather than of the mount."""
    return options_of(path, -1)
