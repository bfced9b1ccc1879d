# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores for the tests of the package."""
import coppice
import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(path):
    with coppice.Store(path, create=True) as store:
        yield store


@pytest.fixture
def main(store):
    with store.open("main") as main:
        yield main


@pytest.fixture
def put(store):
    """Change files of a fork: a value of None deletes."""
    def put(fork, values, **options):
        with store.open(fork) as state, state.batch(**options) as batch:
            for key, value in values.items():
                if value is None:
                    del batch[key]
                else:
                    batch[key] = value
    return put
