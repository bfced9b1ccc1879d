# SPDX-License-Identifier: LGPL-2.1-or-later
"""Count the tests that passed, failed and were skipped."""
import os

import pytest


def pytest_configure(config):
    config.coppice_outcomes = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Each test counts once, whichever of its phases failed."""
    outcome = yield
    report = outcome.get_result()
    item.coppice_failed = report.failed
    outcomes = item.config.coppice_outcomes
    order = ["passed", "skipped", "failed"]
    worst = max(outcomes.get(item.nodeid, "passed"), report.outcome,
                key=order.index)
    outcomes[item.nodeid] = worst


def pytest_sessionfinish(session):
    counts = os.environ.get("COPPICE_COUNTS")
    if counts:
        by_name = session.config.coppice_outcomes
        outcomes = list(by_name.values())
        with open(counts, "a") as file:
            for name in "passed", "failed", "skipped":
                print(outcomes.count(name), name, file=file)
            for test, outcome in by_name.items():
                if outcome == "failed":
                    print(1, "failure", test, file=file)
