# SPDX-License-Identifier: LGPL-2.1-or-later
"""The layers of the source tree: which folder may include what, what is where."""
import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
LAYERS = ["store", "snapshot", "fs", "tools"]  # each knows those before it
ROOMS = ["fs", "fs/fuse", "fs/daemon"]  # so do these
FOLDERS = {*LAYERS, "tests", "man"}
FILES = {"meson.build", "meson_options.txt", "README.md", "COPYING"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def sources(folder):
    return sorted(p for p in (TOP / folder).rglob("*.[ch]"))


def includes(path):
    return INCLUDE.findall(path.read_text())


def test_there_are_sources():
    for layer in LAYERS:
        assert sources(layer), layer


@pytest.mark.parametrize("header, home", [
    (r"lmdb\.h", "store"), (r"zstd.*\.h|zdict\.h", "store"),
    (r"xxh(ash|3)\.h", "store"), (r"git2.*\.h", "fs"),
    (r"(fuse3?/.*|fuse_.*)\.h", "fs/fuse")])
def test_libraries_are_included_in_one_folder(header, home):
    for layer in LAYERS:
        for path in sources(layer):
            for kind, name in includes(path):
                if kind == "<" and re.fullmatch(header, name):
                    assert path.is_relative_to(TOP / home), \
                        f"{path} includes <{name}>"


@pytest.mark.parametrize("layer", LAYERS)
def test_no_folder_includes_one_above(layer):
    above = LAYERS[LAYERS.index(layer) + 1:]
    names = {p.name for folder in above for p in sources(folder)}
    own = {p.name for folder in LAYERS[:LAYERS.index(layer) + 1]
           for p in sources(folder)}
    for path in sources(layer):
        for kind, name in includes(path):
            parts = Path(name).parts
            assert not set(parts) & set(above), f"{path} includes {name}"
            if kind == '"' and len(parts) == 1 and name in names:
                assert name in own, f"{path} includes {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_includes_a_later_one(room):
    later = {p.name for folder in ROOMS[ROOMS.index(room) + 1:]
             for p in (TOP / folder).glob("*.h")}
    for path in (TOP / room).glob("*.[ch]"):
        for kind, name in includes(path):
            if kind == '"':
                assert Path(name).name not in later, \
                    f"{path} includes {name}"


@pytest.mark.parametrize("layer", LAYERS)
def test_own_headers_are_there(layer):
    known = {p.name for folder in LAYERS[:LAYERS.index(layer) + 1]
             for p in sources(folder)}
    for path in sources(layer):
        for kind, name in includes(path):
            if kind == '"':
                assert Path(name).name in known, f"{path} includes {name}"


# The sources of a folder that include each other's headers, and why they may.
CIRCLES = {
    ("store", "commit", "reservation"):
        "a commit reserves space; a change of the size waits for a commit",
    ("store", "refill", "write"):
        "a commit in two sources: refill.c writes with the functions of write.c",
    ("store", "disk_env", "shadow"):
        "the file is opened through a shadow of it, which is an opening, too",
    ("snapshot", "forest", "number", "position"):
        "struct forest owns what the others keep",
    ("fs", "acl", "xattr"):
        "an ACL is stored as an xattr; setting that xattr sets the ACL",
    ("fs", "orphan", "orphan_cleanup"):
        "an orphan that stays is given to the thread that deletes orphans",
}


def includes_within(folder, suffix):
    """Return which others of the folder each source or header includes."""
    paths = list((TOP / folder).glob(f"*{suffix}"))
    names = {p.stem for p in paths}
    return {p.stem: {Path(name).stem for kind, name in includes(p)
                     if kind == '"'} & names - {p.stem} for p in paths}


def circles(graph):
    """The groups of nodes that reach each other."""
    reach = {node: set(nexts) for node, nexts in graph.items()}
    for middle in graph:
        for node in graph:
            if middle in reach[node]:
                reach[node] |= reach[middle]
    return {tuple(sorted(other for other in reach[node]
                         if node in reach[other]))
            for node in graph if node in reach[node]}


def test_circles():
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}) == {("a", "b")}


def test_circles_of_includes_are_known():
    found = set()
    for folder in (*LAYERS, *ROOMS[1:], "store/check", "snapshot/fsck"):
        assert not circles(includes_within(folder, ".h")), folder
        found |= {(folder, *circle)
                  for circle in circles(includes_within(folder, ".c"))}
    assert found == set(CIRCLES)


def tracked():
    result = subprocess.run(
        ["git", "-C", TOP, "-c", "safe.directory=*", "ls-files", "-z"],
        capture_output=True, text=True)
    if result.returncode or not result.stdout:
        pytest.skip("not a checkout of git")
    return [Path(name) for name in result.stdout.split("\0") if name]


def test_top_level_is_as_it_should_be():
    top = {p.parts[0] for p in tracked()}
    folders = {p.parts[0] for p in tracked() if len(p.parts) > 1}
    hidden = {name for name in top if name.startswith(".")}
    assert folders - hidden <= FOLDERS
    assert top - folders - hidden <= FILES


def test_every_source_is_built():
    for layer in LAYERS:
        for path in (TOP / layer).rglob("*.c"):
            built = (path.parent / "meson.build").read_text()
            assert f"'{path.name}'" in built, path
    for folder in "unit", "crash":
        built = (TOP / "tests" / folder / "meson.build").read_text()
        for path in (TOP / "tests" / folder).glob("*.c"):
            name = path.stem.removeprefix("test_")
            assert f"'{name}'" in built or f"'{path.name}'" in built, path


def test_every_source_says_its_licence():
    for layer in [*LAYERS, "tests"]:
        for path in sources(layer):
            first = path.read_text().splitlines()[0]
            assert first == "/* SPDX-License-Identifier: LGPL-2.1-or-later */", \
                path


def test_every_rust_source_says_its_licence():
    paths = sorted((TOP / "tools" / "rust").rglob("*.rs"))
    assert paths
    for path in paths:
        first = path.read_text().splitlines()[0]
        assert first == "// SPDX-License-Identifier: LGPL-2.1-or-later", path


def test_every_verb_has_its_page():
    table = (TOP / "tools" / "coppice.c").read_text()
    verbs = set(re.findall(r"&command_([a-z]+)", table))
    assert len(verbs) > 5
    pages = {p.name.removeprefix("coppice-").removesuffix(".1.scd")
             for p in (TOP / "man").glob("coppice-*.1.scd")}
    assert pages == verbs
    overview = (TOP / "man" / "coppice.1.scd").read_text()
    for verb in verbs:
        assert f"*coppice-{verb}*(1)" in overview, verb
    titles = re.findall(r'\{"([^"]+)",\s*\{&command_', table)
    assert titles == re.findall(r"^## (.+)$", overview, re.MULTILINE)
    listed = (TOP / "man" / "meson.build").read_text()
    for page in (TOP / "man").glob("*.scd"):
        assert f"'{page.name.removesuffix('.scd')}'" in listed


def test_pages_have_the_summaries_of_the_help():
    """The NAME of a verb's page is the line that `coppice help` prints."""
    for path in (TOP / "tools").glob("*.c"):
        for verb, summary in re.findall(
                r'\.name = "([a-z]+)",.*?\.summary = "([^"]*)"',
                path.read_text(), re.DOTALL):
            page = (TOP / "man" / f"coppice-{verb}.1.scd").read_text()
            name = summary[0].lower() + summary[1:]
            assert f"\ncoppice-{verb} - {name}\n" in page


def test_options_are_in_the_pages():
    """Each long option of a verb's table is described in its page."""
    for path in (TOP / "tools").glob("*.c"):
        text = path.read_text()
        verb = re.search(r"const struct command command_([a-z]+) =", text)
        if not verb:
            continue
        page = (TOP / "man" / f"coppice-{verb[1]}.1.scd").read_text()
        for option in re.findall(r'\{"([a-z-]+)", (?:no|required)_argument',
                                 text):
            assert f"--{option}" in page, (path, option)
