# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds, medians, and what a run finds."""
import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    """One test of one system in one mode; what all rounds gave."""
    section: str
    test: str
    system: str
    mode: str
    unit: str
    values: list = field(default_factory=list)
    p99s: list = field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def p99(self):
        return statistics.median(self.p99s) if self.p99s else None

    def as_json(self):
        row = {"section": self.section, "test": self.test,
               "system": self.system, "mode": self.mode,
               "median": self.median, "unit": self.unit,
               "rounds": len(self.values), "values": self.values}
        if self.p99s:
            row["p99"] = self.p99
        return row


def systems_of(rows):
    """Return the names of systems: Coppice first, then as met."""
    names = dict.fromkeys(row.system for row in rows)
    return sorted(names, key=lambda name: name != "coppice")


class Results:
    """Rows by test, mode and system, in the order they were first met."""

    def __init__(self):
        self.section = ""
        self.table = {}
        self.left_out = {}
        self.failures = []

    def add(self, test, system, value, unit, mode="", p99=None):
        key = (self.section, test, mode, system)
        row = self.table.setdefault(
            key, Row(self.section, test, system, mode, unit))
        row.values.append(value)
        if p99 is not None:
            row.p99s.append(p99)

    def add_op(self, test, system, op, mode="", key="mean"):
        """A line of one of the programs, in microseconds."""
        self.add(test, system, op[key], "µs", mode, op["p99"])

    def leave_out(self, what, why):
        self.left_out[what] = str(why)

    def rows(self):
        return list(self.table.values())
