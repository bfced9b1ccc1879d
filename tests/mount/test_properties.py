# SPDX-License-Identifier: LGPL-2.1-or-later
"""Properties of states, tags that hold them, and what `list` selects by."""
import errno
import json
import os

import pytest


@pytest.fixture(params=["mounted", "unmounted"])
def states(request, store):
    """A store with a fork, two snapshots and another fork."""
    mnt = store.mount()
    (mnt / "main" / "file").write_text("1")
    (mnt / "main" / ".snap" / "one").mkdir()
    (mnt / "main" / ".snap" / "two").mkdir()
    (mnt / "main@try").mkdir()
    if request.param == "unmounted":
        mnt.umount()
    store.mnt = mnt if request.param == "mounted" else None
    return store


def fails(store, *args, code=1):
    result = store.coppice(args[0], "-s", store.path, *args[1:], code=code)
    assert result.stdout == ""
    if code == 1:
        assert result.stderr.startswith("coppice: ")
        assert result.stderr.count("\n") == 1
    return result.stderr


def value(store, key, state):
    [row] = store.json("get", key, state)
    return row["value"], row["source"]


def listed(store, *args):
    return store.verb("list", *args).split()


def test_set_get_unset(states):
    states.verb("set", "com.example:id=7", "main", "main@try")
    states.verb("set", "description=first", "main~one")
    assert value(states, "com.example:id", "main") == ("7", "local")
    assert value(states, "com.example:id", "main~one") == ("7", "inherited")
    assert value(states, "description", "main~one") == ("first", "local")
    assert value(states, "description", "main") == (None, None)
    assert value(states, "creator", "main~one") == (str(os.getuid()), None)
    states.verb("rename", "main", "renamed")
    assert value(states, "com.example:id", "renamed") == ("7", "local")
    states.verb("fork", "renamed", "new")
    assert value(states, "com.example:id", "new") == (None, None)
    states.verb("unset", "com.example:id", "renamed", "main@try")
    assert value(states, "com.example:id", "renamed~one") == (None, None)
    assert {row["property"] for row in states.json("get")} == \
        {"creator", "description"}
    states.check()


def test_values_are_any_text(states):
    text = "täb\tand\nnewline" + "x" * 3900
    states.verb("set", "a:b=" + text, "main")
    states.verb("set", "a:=", "main")
    assert value(states, "a:b", "main") == (text, "local")
    assert value(states, "a:", "main") == ("", "local")
    line = states.verb("get", "-H", "a:b", "main")
    assert line.count("\n") == 1 and "\\t" in line and "\\n" in line


def test_bad_properties_change_nothing(states):
    before = states.json("get")
    for bad in ["colour=red", "creator=5", "a b:=1", "ttl=soon", "ttl=0s",
                "quota=much", "quota=0", "a:b=" + "x" * 4001, "a:b=\a",
                ":" * 257 + "=1", b"a:b=\xff"]:
        fails(states, "set", bad, "main")
    assert "snapshot" in fails(states, "set", "quota=1G", "main", "main~one")
    fails(states, "set", "a:b=1", "main", "nobody")
    fails(states, "set", "a:b", "main", code=2)
    fails(states, "set", "a:b=1", code=2)
    fails(states, "unset", "a:b", "main")
    fails(states, "unset", "creator", "main")
    fails(states, "get", "all", "main", "nobody")
    fails(states, "get", "-o", "colour", "all", "main", code=2)
    fails(states, "fork", "-p", "ttl=soon", "new")
    fails(states, "snap", "-p", "nothing", "main", "new", code=2)
    assert states.json("get") == before


def test_many_states_at_once(states):
    names = [f"main~s{i:04}-" + "x" * 200 for i in range(300)]
    for name in names[:3]:
        states.verb("snap", name)
    # The last one is missing: more than one request, and nothing is set.
    fails(states, "set", "a:b=1", *names[:3] * 40, "main~missing")
    assert states.json("list", "main", "--where", "a:b") == []
    states.verb("set", "a:b=1", *names[:3] * 40)
    assert len(states.json("list", "main", "--where", "a:b=1")) == 3


def test_holds(states):
    states.verb("hold", "keep", "main~one", "main@try")
    states.verb("hold", "also", "main~one")
    assert [(r["name"], r["tag"]) for r in states.json("holds")] == \
        [("main~one", "also"), ("main~one", "keep"), ("main@try", "keep")]
    assert "'also'" in fails(states, "rm", "main~one")
    assert "'main~one'" in fails(states, "rm", "-r", "main")
    assert "'keep'" in fails(states, "rm", "main@try")
    fails(states, "hold", "keep", "main", "main~one")
    fails(states, "hold", "keep", "nobody")
    fails(states, "hold", "", "main")
    fails(states, "release", "other", "main~one")
    assert len(states.json("holds")) == 3
    if states.mnt:
        with pytest.raises(OSError) as error:
            (states.mnt / "main" / ".snap" / "one").rmdir()
        assert error.value.errno == errno.EBUSY
        with pytest.raises(OSError) as error:
            (states.mnt / "main@try").rmdir()
        assert error.value.errno == errno.EBUSY
    states.verb("release", "also", "main~one")
    fails(states, "rm", "main~one")
    states.verb("release", "keep", "main~one", "main@try")
    states.verb("rm", "-r", "main", "main@try")
    assert states.json("get") == [] and states.json("holds") == []
    states.check()


def test_properties_survive_a_crash_of_the_daemon(store):
    mnt = store.mount()
    (mnt / "main" / ".snap" / "one").mkdir()
    store.verb("set", "a:b=1", "main~one")
    store.verb("hold", "keep", "main~one")
    store.verb("sync")
    mnt.kill()
    assert value(store, "a:b", "main~one") == ("1", "local")
    fails(store, "rm", "main~one")
    store.check()


def test_xattrs(store, mnt):
    store.verb("set", "description=text", "main")
    store.verb("set", "com.example:id=7", "main")
    (mnt / "main" / ".snap" / "one").mkdir()
    assert os.getxattr(mnt / "main", "user.coppice.description") == b"text"
    one = mnt / "main" / ".snap" / "one"
    assert os.getxattr(one, "user.coppice.com.example:id") == b"7"
    with pytest.raises(OSError) as error:
        os.getxattr(one, "user.coppice.description")
    assert error.value.errno == errno.ENODATA
    assert os.listxattr(mnt / "main") == []


def test_list_selects(states):
    states.verb("set", "description=the first try", "main@try")
    states.verb("set", "com.example:id=7", "main")
    assert listed(states, "--grep", "try") == ["main@try"]
    assert listed(states, "--grep", "one") == ["main~one"]
    assert listed(states, "--where", "com.example:id=7") == \
        ["main", "main~one", "main~two"]
    assert listed(states, "--where", "com.example:id=8") == []
    assert listed(states, "--where", "description") == ["main@try"]
    assert listed(states, "--where", "description", "--grep", "one") == []
    assert len(listed(states, "--since", "-1h")) == 4
    assert listed(states, "--since", "2100-01-01") == []
    assert listed(states, "--until", "-1h") == []
    assert len(listed(states, "--until", "2100-01-01")) == 4
    assert len(listed(states, "--since", "today", "--until", "today")) == 4
    if states.mnt:
        (states.mnt / "main" / "more").write_text("1")
        assert "main" not in listed(states, "--unchanged")
    assert "main~two" in listed(states, "--unchanged")
    fails(states, "list", "--since", "soon", code=2)
    fails(states, "list", "-o", "colour", code=2)
    fails(states, "list", "--sort", "colour", code=2)
    fails(states, "list", "--where", "a b")


def test_list_sorts_and_shows_columns(states):
    states.verb("set", "com.example:id=2", "main")
    states.verb("set", "com.example:id=1", "main~two")
    assert listed(states, "--sort", "com.example:id") == \
        ["main~two", "main", "main~one", "main@try"]
    assert listed(states, "--sort", "-com.example:id") == \
        ["main", "main~one", "main~two", "main@try"]
    assert listed(states, "--sort", "created") == \
        ["main", "main~one", "main~two", "main@try"]
    assert listed(states, "--sort", "-created") == \
        ["main@try", "main~two", "main~one", "main"]
    assert listed(states, "-H", "-o", "name,com.example:id", "main") == \
        ["main~one", "2", "main~two", "1"]
    rows = states.json("list", "-o", "name,com.example:id", "--sort", "-name")
    assert rows[0] == {"name": "main~two", "com.example:id": "1"}
    lines = states.verb("list", "--json=lines", "--sort", "name")
    assert [json.loads(line)["name"] for line in lines.splitlines()] == \
        ["main", "main@try", "main~one", "main~two"]
    titles = states.verb("list", "-o", "name,size,org:ticket").splitlines()[0]
    assert titles.split() == ["NAME", "SIZE", "org:ticket"]


def test_a_package_manager_keeps_its_states(store, mnt):
    """A state of the system is a fork; its record is in properties."""
    def commit(source, name, kind, description, reasons, packages):
        store.verb("fork", source, name, "-p", "description=" + description,
                   "-p", "org.example:type=" + kind,
                   "-p", "org.example:entries=" + json.dumps(reasons))
        for package, version in packages.items():
            (mnt / name / package).write_text(version)

    def current():
        return store.verb("default").strip()

    def states(*select):
        rows = store.json("list", "-o", "name,description,org.example:type,"
                          "org.example:entries,created,number", "--sort",
                          "created", "--where", "org.example:type", *select)
        return [(row["name"], row["description"],
                 json.loads(row["org.example:entries"])) for row in rows]

    commit("main", "1", "manual", "installation",
           [{"id": "base", "reason": "user"}], {"base": "1"})
    store.verb("default", "1")
    # Install into a fork, and switch.
    commit("1", "2", "manual", "install editor",
           [{"id": "base", "reason": "user"},
            {"id": "editor", "reason": "user"},
            {"id": "library", "reason": "dependency of editor"}],
           {"editor": "1", "library": "1"})
    store.verb("default", "2")
    assert (mnt / current() / "editor").exists()
    # An upgrade that fails: roll back.
    commit("2", "3", "automatic", "upgrade", [{"id": "base"}], {"base": "2"})
    store.verb("default", "3")
    store.verb("set", "org.example:broken=does not boot", "3")
    store.verb("default", "2")
    assert (mnt / current() / "base").read_text() == "1"
    assert [name for name, _, _ in states()] == ["1", "2", "3"]
    assert states("--grep", "editor") == [
        ("2", "install editor",
         [{"id": "base", "reason": "user"}, {"id": "editor", "reason": "user"},
          {"id": "library", "reason": "dependency of editor"}])]
    # Expire what is broken, but neither the default nor what is held.
    store.verb("hold", "first", "1")
    for name in listed(store, "--where", "org.example:broken"):
        store.verb("rm", name)
    fails(store, "rm", "1")
    fails(store, "rm", "2")
    mnt.umount()
    mnt = store.mount()
    assert [name for name, _, _ in states()] == ["1", "2"]
    assert (mnt / current() / "editor").read_text() == "1"
