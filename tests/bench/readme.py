#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make the tables of the project's README from the results of a full run.

    readme.py RESULTS.json [--picture FILE.svg]

prints them as Markdown.  Rows that the run has no figures of are left out, and
named on the standard error.  The first system's figures are bold where none of a
peer are better.  The picture has bars of the rows that are marked for it.
"""
import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

import report  # noqa: E402
from bench import ONE, ROAM  # noqa: E402
from measure import Row  # noqa: E402

MORE_IS_BETTER = ("MiB/s", "a second")


@dataclass(frozen=True)
class Line:
    """A line of a table; its cells have a figure for each of the parts."""
    label: str
    section: str
    parts: tuple  # pairs of a test and "median" or "p99"
    mode: str
    drawn: bool   # in the picture, too


def line(label, section, *tests, mode="", p99=False, drawn=False):
    kinds = ("median", "p99") if p99 else ("median",)
    return Line(label, section,
                tuple((test, kind) for test in tests for kind in kinds), mode,
                drawn)


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple  # a title, and systems: the first that was measured counts
    lines: tuple


NATIVE = "the native file system"  # stands for its name

FILES = Table("A file system beside its peers", (
    ("Coppice", "coppice"), ("one state alone", "coppice, one state"),
    (NATIVE, NATIVE), ("btrfs", "btrfs"), ("btrfs zstd:3", "btrfs zstd:3"),
    ("passthrough_ll", "passthrough_ll"), ("fuse-overlayfs", "fuse-overlayfs"),
), (
    line("fork of 1,000,000 files, p50 / p99", "forks",
         "fork, 1,000,000 files", mode=ONE, p99=True),
    line("fork beside 100,000 others, p50 / p99", "forks",
         "fork, 100,000 states", mode=ONE, p99=True),
    line("fork while a file is being written, p50 / p99", "forks",
         "fork while a file is written", mode=ONE, p99=True),
    line("20,000 overwrites, then a snapshot on disk", "slots",
         "slot 1,000 through the mount, durable", mode=ONE, drawn=True),
    line("create / read / read again a file of 1 kB", "small", "create",
         "read", "cached open", mode=ROAM, drawn=True),
    line("overwrite / rename / unlink it", "small", "overwrite", "rename",
         "unlink", mode=ROAM),
    line("append 4 KiB and fsync", "latency", "append 4 KiB and fsync",
         mode=ROAM, drawn=True),
    line("the same by four writers at once", "latency",
         "append 4 KiB and fsync, four writers", mode=ROAM, drawn=True),
    line("small operations under a writer, p50 / p99", "latency",
         "all while a file is written", mode=ROAM, p99=True),
    line("write 1 GiB and fsync: noise / text", "stream",
         "write and fsync, incompressible", "write and fsync, text"),
    line("read it cold", "stream", "read, cold, incompressible",
         "read, cold, text", drawn=True),
    line("4 KiB at random places, then fsync", "stream",
         "4 KiB over random pages, fsync at the end"),
    line("copy 114,000 small files: clone / cp -a", "clone",
         "clone, or cp --reflink, 114,001 entries",
         "cp -a, 114,001 entries", drawn=True),
    line("delete 1,000,000 files: gone / space back", "delete",
         "delete 1,000,000 files: the name",
         "delete 1,000,000 files: the space"),
    line("untar / `grep -r` / `git status` after a checkout", "work", "untar",
         "grep -r", "git status"),
    line("`git clone` / `npm ci`", "work", "git clone --no-hardlinks",
         "npm ci, 300 packages"),
    line("SQLite, durable transactions", "work",
         "SQLite, durable transactions"),
    line("pgbench, transactions", "work", "pgbench"),
))

BACKUPS = Table("Backups", (
    ("coppice import", "coppice import"), ("rsync onto Coppice", "coppice"),
    ("borg", "borg zstd,3"), ("restic", "restic"),
    ("rsync onto btrfs", "btrfs zstd:3", "btrfs"),
    ("rsync --link-dest", "rsync --link-dest"),
), (
    line("20 releases of git, all kept: time", "space", "keep 20 releases",
         drawn=True),
    line("the same: space", "space", "space of 20 releases", drawn=True),
    line("/usr/share: first / nothing changed", "backup", "first",
         "nothing changed", drawn=True),
    line("the same: restored", "backup", "restored", drawn=True),
    line("the same: space", "backup", "space of it"),
    line("1,000,000 files of 1 kB: first / nothing changed", "million",
         "rsync or import, all new", "rsync or import, nothing changed"),
))
TABLES = FILES, BACKUPS


class Run:
    """The rows of a run, by what they measured."""

    def __init__(self, data):
        self.native = data["machine"]["file_system"]
        self.rows = {}
        for row in data["rows"]:
            key = row["section"], row["test"], row["mode"], row["system"]
            self.rows[key] = Row(*key[:2], key[3], key[2], row["unit"],
                                 row["values"],
                                 [row["p99"]] if "p99" in row else [])

    def row(self, what, test, column):
        """Return the row of one of a column's systems, or None."""
        names = (self.native if name == NATIVE else name
                 for name in column[1:])
        found = (self.rows.get((what.section, test, what.mode, name))
                 for name in names)
        return next((row for row in found if row), None)

    def figures(self, what, column):
        """Return a list of the row and the figure of each part; None if
        missing."""
        rows = [(self.row(what, test, column), kind)
                for test, kind in what.parts]
        return [(row, getattr(row, kind)) if row else None
                for row, kind in rows]


# ---- Text -------------------------------------------------------------------

def _figure(value):
    """Three figures."""
    if value >= 1000:
        digits = len(str(round(value))) - 3
        value = round(value / 10 ** digits) * 10 ** digits
    return report.number(value)


def _is_best(cells):
    """Whether no peer has a better figure, for any part."""
    own, *others = cells
    for i, (row, value) in enumerate(own):
        rest = [cell[i][1] for cell in others
                if cell[i] and not cell[i][0].system.startswith("coppice")]
        if rest and (max(rest) > value if row.unit in MORE_IS_BETTER
                     else min(rest) < value):
            return False
    return True


def _cell(parts):
    if not any(parts):
        return ""
    return " / ".join(_figure(part[1]) if part else "–" for part in parts)


def _line(run, what, columns):
    """Return the cells of a line, or None if the first system has none."""
    cells = [run.figures(what, column) for column in columns]
    if not all(cells[0]):
        return None
    units = [row.unit for row, _ in cells[0]]
    unit = " / ".join(units if len(set(units)) > 1 else units[:1])
    texts = [_cell(parts) for parts in cells]
    if _is_best(cells):
        texts[0] = f"**{texts[0]}**"
    return [f"{what.label} [{unit}]", *texts]


def _measured(run, table):
    """Return the columns that have a figure."""
    return [column for column in table.columns
            if any(any(run.figures(what, column)) for what in table.lines)]


def _names(run, columns):
    return [run.native if column[0] == NATIVE else column[0]
            for column in columns]


def missing(run):
    """Return the labels of lines that the run has no figures of."""
    return [what.label for table in TABLES for what in table.lines
            if not _line(run, what, table.columns)]


def markdown(run):
    out = []
    for table in TABLES:
        columns = _measured(run, table)
        lines = [found for what in table.lines
                 if (found := _line(run, what, columns))]
        if not lines:
            continue
        names = _names(run, columns)
        out += [f"| {' | '.join(['', *names])} |",
                "|" + "---|" * (len(names) + 1)]
        out += [f"| {' | '.join(cells)} |" for cells in lines]
        out.append("")
    return "\n".join(out)


# ---- Picture ----------------------------------------------------------------

def _drawn(run):
    """Return the rows of the picture, each test called by its label."""
    rows = []
    for table in TABLES:
        for what in table.lines:
            for test, kind in what.parts if what.drawn else ():
                label = what.label
                if len(what.parts) > 1:
                    label = f"{label}: {test}"
                rows += [Row("", label, row.system, "", row.unit, row.values)
                         for column in table.columns
                         if (row := run.row(what, test, column))]
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, metavar="RESULTS.json")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg")
    options = parser.parse_args()
    run = Run(json.loads(options.results.read_text()))
    print(markdown(run), end="")
    for label in missing(run):
        print(f"no figures: {label}", file=sys.stderr)
    if options.picture:
        options.picture.write_text(report.picture(_drawn(run), "Coppice"))


if __name__ == "__main__":
    main()
