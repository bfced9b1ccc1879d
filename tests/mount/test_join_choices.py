# SPDX-License-Identifier: LGPL-2.1-or-later
"""Conflicts of joins: plans that are edited, both files kept, lines merged."""
import json
import os

import pytest

from conftest import COPPICE
from test_join import contents, run


@pytest.fixture
def fork(mnt, main):
    """Changes of both sides, some of them conflicts."""
    (main / "dir").mkdir()
    for name in "edit", "gone", "kept", "free", "moved", "mode", "dir/in":
        (main / name).write_text(f"{name}\n")
    fork = mnt / "main@try"
    fork.mkdir()
    for top in main, fork:
        (top / "edit").write_text(f"edit of {top.name}\n")
        (top / "made").write_text(f"made in {top.name}\n")
    (main / "gone").unlink()
    (fork / "gone").write_text("edited\n")
    (fork / "free").write_text("only there\n")
    (fork / "kept").unlink()
    (fork / "moved").rename(fork / "dir" / "moved")
    os.chmod(fork / "mode", 0o600)
    (fork / "new").mkdir()
    (fork / "new" / "file").write_text("new\n")
    return fork


def plan_of(store, *args, code=1):
    return json.loads(run(store, "-n", "--json", *args, "main@try",
                          code=code).stdout)


def rows_of(plan):
    return {row["path"]: row for row in plan["rows"]}


def resolve(store, tmp, plan, *args, code=0):
    (tmp / "plan").write_text(json.dumps(plan))
    return run(store, f"--resolve={tmp / 'plan'}", *args, "main@try",
               code=code)


def test_plan(store, main, fork):
    before = contents(main)
    plan = plan_of(store)
    assert plan["plan"] == 1
    assert [plan[side]["name"] for side in ("source", "into")] == [
        "main@try", "main"]
    assert all(plan[side]["version"] > 0 and len(plan[side]["changes"]) == 32
               for side in ("source", "into"))
    assert len(plan["bases"]) == 1
    assert {(row["op"], row["path"], *row["conflicts"])
            for row in plan["rows"]} == {
        ("C", "/edit", "edit/edit"), ("C", "/gone", "edit/delete"),
        ("C", "/made", "add/add"), ("M", "/free"), ("-", "/kept"),
        ("R", "/dir/moved"), ("M", "/mode"), ("+", "/new"),
        ("+", "/new/file")}
    rows = rows_of(plan)
    assert all(row["choose"] is None for row in plan["rows"])
    assert rows["/edit"]["ours"] == rows["/edit"]["theirs"] == ["content"]
    assert (rows["/gone"]["ours"], rows["/gone"]["theirs"]) == (
        ["presence"], ["content"])
    assert (rows["/mode"]["ours"], rows["/mode"]["theirs"]) == ([], ["mode"])
    assert rows["/dir/moved"]["theirs"] == ["name"]
    assert rows["/edit"]["choices"] == ["ours", "theirs", "both"]
    assert rows["/free"]["choices"] == ["ours", "theirs"]
    assert contents(main) == before
    # With --json=lines: the same plan, the first line without rows.
    lines = [json.loads(line) for line in run(
        store, "-n", "--json=lines", "main@try",
        code=1).stdout.splitlines()]
    assert lines[1:] == plan["rows"]
    assert list(lines[0]) == [key for key in plan if key != "rows"]
    assert lines[0]["into"]["changes"] == plan["into"]["changes"]
    # Whoever has decided is named.
    rows = rows_of(plan_of(store, "--ours", code=0))
    assert (rows["/edit"]["op"], rows["/edit"]["decided"]) == (
        "=", ["edit/edit"])


def half(plan):
    """Choose something of everything."""
    rows = rows_of(plan)
    for path, choice in {"/edit": "both", "/gone": "theirs", "/made": "ours",
                         "/kept": "ours", "/dir/moved": "ours",
                         "/new": "ours"}.items():
        rows[path]["choose"] = choice


def check_half(main):
    assert (main / "edit").read_text() == "edit of main\n"
    assert (main / "edit~main@try").read_text() == "edit of main@try\n"
    assert (main / "gone").read_text() == "edited\n"
    assert (main / "made").read_text() == "made in main\n"
    assert (main / "kept").read_text() == "kept\n"
    assert (main / "moved").exists() and not (main / "dir" / "moved").exists()
    assert (main / "free").read_text() == "only there\n"
    assert (main / "mode").stat().st_mode & 0o777 == 0o600
    assert not (main / "new").exists()


def test_resolve(store, tmp, main, fork):
    plan = plan_of(store)
    half(plan)
    said = resolve(store, tmp, plan).stdout.splitlines()
    assert "+\t/edit~main@try" in said and "+\t/gone" in said
    check_half(main)
    # The fork was joined: changes that were not taken are not offered again.
    assert run(store, "main@try").stdout == ""
    # The other way round, not to take it was a change of main.
    run(store, "main", "--into", "main@try")
    assert not (fork / "new").exists()
    assert contents(main) == contents(fork)


def test_resolve_unmounted(store, mnt, tmp, main, fork):
    mnt.umount()
    plan = plan_of(store)
    half(plan)
    resolve(store, tmp, plan)
    check_half(store.mount() / "main")


def test_nothing_taken(store, tmp, main, fork):
    """Only the join is recorded, as by git merge -s ours."""
    before = contents(main)
    plan = plan_of(store)
    for row in plan["rows"]:
        row["choose"] = "ours"
    assert resolve(store, tmp, plan).stdout == ""
    assert contents(main) == before
    assert run(store, "main@try").stdout == ""
    # A file that changes again is a conflict: neither lost nor joined.
    (fork / "free").write_text("changed again")
    assert run(store, "main@try", code=1).stdout == "C\tedit/edit\t/free\n"


def test_rows_may_be_few_and_lines(store, tmp, main, fork):
    """Rows that are left out are as planned."""
    lines = run(store, "-n", "--json=lines", "--theirs", "main@try"
                ).stdout.splitlines()
    row = {"path": "/free", "choose": "ours"}
    (tmp / "plan").write_text(f"{lines[0]}\n{json.dumps(row)}\n")
    run(store, "--theirs", f"--resolve={tmp / 'plan'}", "main@try")
    assert (main / "free").read_text() == "free\n"
    assert (main / "edit").read_text() == "edit of main@try\n"
    assert (main / "new" / "file").exists()


def test_stale(store, tmp, main, fork):
    plan = plan_of(store, "--theirs", code=0)
    # Reading is no change, and neither is a snapshot.
    contents(main), contents(fork)
    (main / ".snap" / "now").mkdir()
    resolve(store, tmp, plan, "-n", "--theirs")
    for top in fork, main:
        before = contents(main)
        (top / "free").write_text("other")
        changed = contents(main)
        assert f"the plan is stale: '{top.name}' has changed" in resolve(
            store, tmp, plan, "--theirs", code=1).stderr
        assert contents(main) == changed
        assert top is main or changed == before
        plan = plan_of(store, "--theirs", code=0)
    resolve(store, tmp, plan, "--theirs")
    assert "the plan is stale" in resolve(store, tmp, plan, "--theirs",
                                          code=1).stderr


BAD = [
    (lambda plan: plan["rows"].append({"path": "/none", "choose": "ours"}),
     "row 10 of the plan: the join has nothing to do at '/none'"),
    (lambda plan: plan["rows"].append(plan["rows"][2]), "is in row 3 already"),
    (lambda plan: plan["rows"].insert(1, 7),
     "row 2 of the plan is not an object with a"),
    (lambda plan: plan["rows"][0].update(choose="mine"),
     "row 1 of the plan: \"choose\" of"),
    (lambda plan: rows_of(plan)["/free"].update(choose="both"),
     "\"both\" cannot be chosen for '/free'"),
    (lambda plan: plan.pop("plan"), "no plan of coppice join"),
    (lambda plan: plan.update(plan=2), "has version 2"),
    (lambda plan: plan["into"].pop("changes"), "has no \"into\""),
    (lambda plan: plan["into"].update(state=77),
     "the plan is for a join into 'main'"),
    (lambda plan: plan.update(rows={}), "no \"rows\""),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_plans(store, tmp, main, fork, number):
    change, message = BAD[number]
    before = contents(main)
    plan = plan_of(store, "--ours", code=0)
    change(plan)
    said = resolve(store, tmp, plan, "--ours", code=1).stderr
    assert message in said and said.count("\n") == 1
    assert contents(main) == before


def test_bad_files(store, tmp, main):
    for text in "", "{", "[]", '{"plan": 1}\n{"path"', '{"plan":1,"plan":2}':
        (tmp / "plan").write_text(text)
        said = run(store, f"--resolve={tmp / 'plan'}", "main", code=1).stderr
        assert "plan" in said and said.count("\n") == 1
    assert "cannot open" in run(store, "--resolve=/nowhere", "main",
                                code=1).stderr


def test_one_file_with_two_names(store, tmp, mnt, main):
    (main / "one").write_text("one")
    fork = mnt / "main@try"
    fork.mkdir()
    os.link(fork / "one", fork / "two")
    os.link(fork / "one", fork / "three")
    plan = plan_of(store, code=0)
    rows_of(plan)["/two"]["choose"] = "ours"
    rows_of(plan)["/three"]["choose"] = "theirs"
    assert "choose differently" in resolve(store, tmp, plan, code=1).stderr
    rows_of(plan)["/three"]["choose"] = None
    resolve(store, tmp, plan)
    assert sorted(p.name for p in main.iterdir()) == ["one"]


def test_long_plan(store, tmp, mnt, main):
    """A plan that is longer than a line of the control socket."""
    fork = mnt / "main@try"
    fork.mkdir()
    for i in range(2000):
        (fork / f"a-file-with-a-longer-name-{i}").write_text("x")
    plan = plan_of(store, code=0)
    for row in plan["rows"]:
        row["choose"] = "ours" if row["path"].endswith("7") else None
    resolve(store, tmp, plan)
    assert len(list(main.iterdir())) == 1800


# ---- Both kept ----------------------------------------------------------------

def test_keep_both(store, mnt, main, fork):
    (main / "edit~main@try").write_text("taken")
    (fork / "other").write_text("x" * 100)
    (main / "other").mkdir()
    long = "l" * 255
    for top in main, fork:
        (top / long).write_text(f"long of {top.name}")
    said = run(store, "--keep-both", "main@try").stdout.splitlines()
    assert "+\t/edit~main@try~2" in said
    assert (main / "edit").read_text() == "edit of main\n"
    assert (main / "edit~main@try~2").read_text() == "edit of main@try\n"
    assert (main / "edit~main@try").read_text() == "taken"
    assert (main / "made").read_text() == "made in main\n"
    assert (main / "made~main@try").read_text() == "made in main@try\n"
    assert (main / "gone").read_text() == "edited\n"
    assert (main / "other").is_dir()
    assert (main / "other~main@try").read_text() == "x" * 100
    cut = "l" * (255 - len("~main@try")) + "~main@try"
    assert (main / long).read_text() == "long of main"
    assert (main / cut).read_text() == "long of main@try"
    assert run(store, "main@try").stdout == ""


def test_keep_both_of_some(store, main, fork):
    done = run(store, "--keep-both=ma*", "main@try", code=1)
    assert "2 conflicts" in done.stderr
    assert "/made" not in done.stdout
    os.chmod(main / "mode", 0o640)
    done = run(store, "--keep-both", "main@try", code=1)
    assert done.stdout == "C\tmode\t/mode\n"
    run(store, "--keep-both", "--ours", "main@try")
    assert (main / "mode").stat().st_mode & 0o777 == 0o640
    assert (main / "edit~main@try").exists()


def test_keep_both_of_a_snapshot(store, main, fork):
    (fork / ".snap" / "monday").mkdir()
    run(store, "--keep-both", "--into", "main", "main@try~monday")
    assert (main / "edit~main@try~monday").read_text() == \
        "edit of main@try\n"


# ---- Lines --------------------------------------------------------------------

LINES = [f"line {i}\n" for i in range(40)]


def lines(**changed):
    return "".join(changed.get(f"l{i}", line)
                   for i, line in enumerate(LINES))


@pytest.fixture
def texts(store, mnt, main):
    if b"libgit2.so" not in COPPICE.read_bytes():
        pytest.skip("built without libgit2")
    for name in "a.c", "b.c", "clash.c", "big", "zero", "sub":
        (main / name).write_text(lines())
    (main / "big").write_text(lines() * 1000)
    fork = mnt / "main@try"
    fork.mkdir()
    for top, at in (main, 3), (fork, 30):
        (top / "a.c").write_text(lines(**{f"l{at}": f"{top.name}\n"}))
        (top / "b.c").write_text(lines(**{f"l{at}": "", "l39": "end"}))
        (top / "clash.c").write_text(lines(l5=f"{top.name}\n"))
        (top / "zero").write_text(lines(**{f"l{at}": f"{top.name}\0\n"}))
        with open(top / "big", "r+", encoding="ascii") as big:
            big.seek(at * 1000)
            big.write(top.name.upper()[:4])
    (fork / "b.c").rename(fork / "moved.c")
    return fork


def test_text(store, main, texts):
    done = run(store, "--text", "main@try", code=1)
    assert sorted(done.stdout.splitlines()) == [
        "C\tedit/edit\t/clash.c", "C\tedit/edit\t/zero"]
    with open(main / "a.c", encoding="ascii") as opened:
        said = run(store, "--text", "--theirs=clash.c", "--ours=zero",
                   "main@try").stdout.splitlines()
        merged = lines(l3="main\n", l30="main@try\n")
        assert opened.read() == (main / "a.c").read_text() == merged
    assert "M\t/a.c" in said
    assert (main / "moved.c").read_text() == lines(l3="", l30="", l39="end")
    assert "main@try" in (main / "clash.c").read_text()
    big = (main / "big").read_text()
    assert big[3000:3004] == big[30000:30004] == "MAIN"
    assert run(store, "main@try").stdout == ""
    # Back, the merged lines come.
    run(store, "main", "--into", "main@try")
    assert contents(main) == contents(texts)


def test_text_of_some(store, mnt, main, texts):
    mnt.umount()
    done = run(store, "--text=*.c", "main@try", code=1)
    assert sorted(done.stdout.splitlines()) == [
        "C\tedit/edit\t/big", "C\tedit/edit\t/clash.c",
        "C\tedit/edit\t/zero"]
    run(store, "--text=*.c", "--keep-both", "main@try")
    main = store.mount() / "main"
    assert (main / "a.c").read_text() == lines(l3="main\n",
                                               l30="main@try\n")
    assert (main / "clash.c~main@try").exists()


def test_text_and_a_plan(store, tmp, main, texts):
    plan = plan_of(store, "--text")
    rows = rows_of(plan)
    assert rows["/a.c"]["text"] and not rows["/clash.c"]["text"]
    rows["/a.c"]["choose"] = "theirs"
    rows["/clash.c"]["choose"] = "both"
    rows["/zero"]["choose"] = "ours"
    resolve(store, tmp, plan, "--text")
    assert (main / "a.c").read_text() == lines(l30="main@try\n")
    assert (main / "clash.c~main@try").exists()
    assert "main\0" in (main / "zero").read_text()
