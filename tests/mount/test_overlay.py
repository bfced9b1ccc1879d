# SPDX-License-Identifier: LGPL-2.1-or-later
"""overlayfs with a fork as its upper directory and states as its lower ones,
as containers have it."""
import ctypes
import errno
import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from conftest import wait_for
from linux import handle_of, libc, raises, renameat2, run, RENAME_EXCHANGE

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
IDS_FIRST, IDS = 100000, 65536


def in_user_namespace(command, cwd):
    """Run it as root of a user namespace with a range of ids of its own, as
    an ordinary user's containers run.  Its exit code and what it printed."""
    def enter():
        os.setgroups([])
        os.setresgid(IDS_FIRST, IDS_FIRST, IDS_FIRST)
        os.setresuid(IDS_FIRST, IDS_FIRST, IDS_FIRST)
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
            os._exit(77)
        os.write(begun[1], b"x")
        os.read(mapped[0], 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    begun, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(begun[0])
            os.close(mapped[1])
            os.chdir(cwd)
            enter()
            with open("output", "wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            os.execvp(command[0], command)
        finally:
            os._exit(255)
    os.close(begun[1])
    os.close(mapped[0])
    if os.read(begun[0], 1):
        for name in "uid_map", "gid_map":
            Path(f"/proc/{child}/{name}").write_text(f"0 {IDS_FIRST} {IDS}")
        os.write(mapped[1], b"x")
    os.close(begun[0])
    os.close(mapped[1])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 77:
        pytest.skip("no user namespaces")
    return code, (cwd / "output").read_text(errors="replace")


class Overlay:
    def __init__(self, path):
        self.path = path
        self.mounted = False
        path.mkdir()

    def mount(self, lower, upper, work, *options):
        lower = ":".join(map(str, lower))
        options = ",".join([f"lowerdir={lower}", f"upperdir={upper}",
                            f"workdir={work}", *options])
        wait_for(lambda: self.mounted_with(options), "layers in use", 60)
        self.mounted = True

    def mounted_with(self, options):
        """Mount it.  False: a mount unmounted here is still part of a
        namespace that another test has, and its layers are in use."""
        if not libc.mount(b"overlay", os.fsencode(self.path), b"overlay", 0,
                          options.encode()):
            return True
        err = ctypes.get_errno()
        if err != errno.EBUSY:
            raise OSError(err, os.strerror(err), options)
        return False

    def umount(self):
        if self.mounted:
            run("umount", self.path)
            self.mounted = False

    def __truediv__(self, name):
        return self.path / name


@pytest.fixture
def overlay(tmp, mnt):
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        pytest.skip("the kernel has no overlayfs")
    overlay = Overlay(tmp / "overlay")
    yield overlay
    overlay.umount()


def is_whiteout(path):
    st = os.lstat(path)
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


@pytest.fixture
def layers(mnt, main):
    """A snapshot below, a fork's directories above."""
    (main / "dir").mkdir()
    (main / "dir" / "inner").write_text("inner")
    (main / "file").write_text("lower")
    os.setxattr(main / "file", "user.x", b"1")
    (main / ".snap" / "base").mkdir()
    fork = mnt / "main@box"
    fork.mkdir()
    (fork / "upper").mkdir()
    (fork / "work").mkdir()
    return main / ".snap" / "base", fork / "upper", fork / "work"


def test_fork_as_upper_directory(overlay, layers):
    lower, upper, work = layers
    overlay.mount([lower], upper, work)
    with open(overlay / "file", "a") as file:
        file.write(" and upper")
    assert (upper / "file").read_text() == "lower and upper"
    assert os.getxattr(upper / "file", "user.x") == b"1"
    # Each is a rename with a whiteout, or a whiteout put in place.
    os.rename(overlay / "file", overlay / "moved")
    assert is_whiteout(upper / "file")
    os.unlink(overlay / "dir" / "inner")
    assert is_whiteout(upper / "dir" / "inner")
    shutil.rmtree(overlay / "dir")
    assert is_whiteout(upper / "dir")
    assert sorted(os.listdir(overlay.path)) == ["moved"]
    (overlay / "dir").mkdir()
    assert os.getxattr(upper / "dir", "trusted.overlay.opaque") == b"y"
    assert os.listdir(overlay / "dir") == []
    renameat2(overlay / "dir", overlay / "moved", RENAME_EXCHANGE)
    assert (overlay / "dir").read_text() == "lower and upper"
    assert sorted(os.listdir(lower)) == ["dir", "file"]
    assert (lower / "file").read_text() == "lower"


@pytest.mark.parametrize("options", [[], ["redirect_dir=on", "index=on"]])
def test_layers_in_one_mount_without_handles(store, tmp, options):
    """overlayfs finds a lower file by the handle that it noted in the upper
    one, once the kernel has dropped it; Linux 6.16 answers ESTALE then."""
    mnt = store.mount(options="nfs_export=off")
    main = mnt / "main"
    with raises(errno.EOPNOTSUPP):
        handle_of(main)
    for name in "lower", "upper", "work":
        (main / name).mkdir()
    (main / "lower" / "file").write_text("lower")
    overlay = Overlay(tmp / "overlay")
    args = [main / "lower"], main / "upper", main / "work"
    try:
        overlay.mount(*args, *options)
        with open(overlay / "file", "a") as file:
            file.write(" and upper")
        overlay.umount()
        overlay.mount(*args, *options)
        Path("/proc/sys/vm/drop_caches").write_text("2")
        for _ in range(3):
            assert (overlay / "file").read_text() == "lower and upper"
            assert os.listdir(overlay.path) == ["file"]
    finally:
        overlay.umount()


def test_upper_directory_is_forked(overlay, mnt, layers):
    """A snapshot of a container's fork holds the container."""
    lower, upper, work = layers
    overlay.mount([lower], upper, work)
    os.rename(overlay / "file", overlay / "moved")
    with open(overlay / "moved", "a") as file:
        os.mkdir(mnt / "main@box@copy")
        file.write("later")
        file.flush()
        shutil.rmtree(overlay / "dir")
    overlay.umount()
    copy = mnt / "main@box@copy"
    overlay.mount([lower], copy / "upper", copy / "work")
    assert sorted(os.listdir(overlay.path)) == ["dir", "moved"]
    assert (overlay / "moved").read_text() == "lower"
    assert (overlay / "dir" / "inner").read_text() == "inner"


@pytest.mark.parametrize("options", [
    [], ["redirect_dir=on", "index=on", "xino=on", "metacopy=on"],
    ["redirect_dir=on", "nfs_export=on", "index=on"]])
def test_overlay_of_a_state_mounted_alone(store, overlay, layers, options):
    """Its root as lower directory, another one's below it."""
    lower, upper, work = layers
    box = store.mount("box", "state=main@box")
    base = store.mount("base", "state=main,snapdir=disabled")
    (lower.parent.parent / "dir" / "inner").write_text("newer")
    overlay.mount([base.path, lower], box / "upper", box / "work", *options)
    assert (overlay / "dir" / "inner").read_text() == "newer"
    os.chmod(overlay / "dir" / "inner", 0o600)
    os.link(overlay / "file", overlay / "second")
    (overlay / "second").write_text("written")
    assert sorted(os.listdir(overlay.path)) == ["dir", "file", "second"]
    if "redirect_dir=on" in options:
        os.rename(overlay / "dir", overlay / "dir2")
        assert (overlay / "dir2" / "inner").read_text() == "newer"
    overlay.umount()
    overlay.mount([base.path, lower], box / "upper", box / "work", *options)
    for name in "file", "second":
        assert (overlay / name).read_text() == "written"
    os.unlink(overlay / "file")
    overlay.umount()
    overlay.mount([base.path, lower], box / "upper", box / "work", *options)
    assert "file" not in os.listdir(overlay.path)
    assert (overlay / "second").read_text() == "written"
    overlay.umount()
    box.umount()
    base.umount()


NAMES = "abcdef"


def some_operation(rng):
    """A call, as a function of the directory it is for."""
    def path(top):
        return os.path.join(top, *where, name)

    def write(top):
        fd = os.open(path(top), os.O_CREAT | os.O_WRONLY | flag, 0o644)
        os.write(fd, data)
        os.close(fd)

    def read(top):
        with open(path(top), "rb") as file:
            return file.read()

    def rename(top):
        os.rename(path(top), os.path.join(top, *to))

    where = [rng.choice(NAMES) for _ in range(rng.choice([0, 0, 1, 2]))]
    to = [rng.choice(NAMES) for _ in range(rng.choice([1, 1, 2]))]
    name = rng.choice(NAMES)
    data = rng.randbytes(rng.choice([0, 10, 5000]))
    flag = rng.choice([0, os.O_TRUNC, os.O_APPEND, os.O_EXCL])
    mode = rng.choice([0o600, 0o644, 0o755])
    return rng.choice([
        write, write, write, read, rename, rename, rename, rename,
        lambda top: os.mkdir(path(top)), lambda top: os.mkdir(path(top)),
        lambda top: os.rmdir(path(top)), lambda top: os.unlink(path(top)),
        lambda top: os.unlink(path(top)),
        lambda top: os.symlink("target", path(top)),
        lambda top: os.truncate(path(top), 100),
        lambda top: os.chmod(path(top), mode),
        lambda top: sorted(os.listdir(path(top)))])


def outcome(operation, top):
    try:
        return operation(top)
    except OSError as error:
        return error.errno


def tree(top):
    seen = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            full = os.path.join(directory, name)
            st = os.lstat(full)
            what = [st.st_mode]
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(full))
            elif stat.S_ISREG(st.st_mode):
                with open(full, "rb") as file:
                    what.append(file.read())
            seen[os.path.relpath(full, top)] = what
    return seen


def test_overlay_is_as_a_directory(overlay, mnt, main, tmp):
    """Random calls have the same results, and leave the same tree."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    copy = tmp / "copy"
    copy.mkdir()
    for _ in range(200):
        operation = some_operation(rng)
        assert outcome(operation, copy) == outcome(operation, main), seed
    (main / ".snap" / "base").mkdir()
    fork = mnt / "main@box"
    fork.mkdir()
    for name in "upper", "work":
        shutil.rmtree(fork / name, ignore_errors=True)
        (fork / name).mkdir()
    args = [main / ".snap" / "base"], fork / "upper", fork / "work"
    overlay.mount(*args, "redirect_dir=on")
    for i in range(600):
        operation = some_operation(rng)
        got = outcome(operation, overlay.path)
        # A directory that the lower layer has a part in, and that one alone.
        if got != errno.EXDEV:
            assert got == outcome(operation, copy), (seed, i)
        if i == 300:
            overlay.umount()
            overlay.mount(*args, "redirect_dir=on")
    assert tree(overlay.path) == tree(copy), seed


def test_overlay_of_an_ordinary_user(overlay, layers, mnt):
    """In a user namespace the marks are user.overlay.* attributes."""
    box = mnt / "main@box" / "user"
    box.mkdir()
    os.chown(box, IDS_FIRST, IDS_FIRST)
    os.chmod(layers[0].parent.parent, 0o755)
    script = f"""set -e
        mkdir upper work merged lower
        echo low > lower/file; mkdir lower/dir; echo x > lower/dir/x
        mount -t overlay overlay -o userxattr,upperdir=upper,workdir=work,\
lowerdir=lower:{layers[0]} merged
        echo more >> merged/file
        mv merged/file merged/moved
        rm -r merged/dir
        mkdir merged/dir
        ls -A merged merged/dir
        cat merged/moved
    """
    code, output = in_user_namespace(["sh", "-c", script], box)
    assert code == 0, output
    assert output == "merged:\ndir\nmoved\n\nmerged/dir:\nlow\nmore\n"
    assert is_whiteout(box / "upper" / "file")
    assert os.lstat(box / "upper" / "file").st_uid == IDS_FIRST
    assert os.getxattr(box / "upper" / "dir", "user.overlay.opaque") == b"y"


IMAGES = """set -e
export HOME=$PWD/home XDG_RUNTIME_DIR=$PWD/run
export _CONTAINERS_USERNS_CONFIGURED=done
export _CONTAINERS_ROOTLESS_UID=65534 _CONTAINERS_ROOTLESS_GID=65534
mkdir -p root/bin home run
cp "$(command -v busybox)" root/bin/
for name in sh mv rm mkdir chown; do ln -s busybox root/bin/$name; done
tar cf image.tar -C root .
work() {
	buildah --root "$PWD/store" --runroot "$PWD/run/b" \\
		--storage-driver "$driver" "$@"
}
inside() {
	mounted=$(work mount "$box")
	chroot "$mounted" /bin/sh -ec "$1"
	work umount "$box"
}
driver=$1
box=$(work from scratch)
work add "$box" image.tar /
inside 'echo hello > /file; mkdir /dir; echo x > /dir/x; chown 12:34 /file'
work commit "$box" one
box=$(work from localhost/one)
inside 'mv /file /moved; rm -r /dir; mkdir /dir; rm /bin/chown; mv /bin /sbin'
work commit "$box" two
box=$(work from localhost/two)
mounted=$(work mount "$box")
cd "$mounted"
test "$(cat moved)" = hello
test "$(stat -c %u:%g moved)" = 12:34
test ! -e file -a ! -e bin -a ! -e sbin/chown -a ! -e dir/x
sbin/busybox true
"""


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_storage_of_rootless_containers(overlay, mnt, main, driver):
    for program in "buildah", "busybox", "chroot":
        if not shutil.which(program):
            pytest.skip(f"no {program}")
    user = main / "user"
    user.mkdir()
    os.chown(user, IDS_FIRST, IDS_FIRST)
    code, output = in_user_namespace(
        ["bash", "-c", IMAGES, "bash", driver], user)
    assert code == 0, output
