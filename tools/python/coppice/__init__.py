# SPDX-License-Identifier: LGPL-2.1-or-later
"""Coppice: a store of forkable states.

>>> import coppice, tempfile
>>> directory = tempfile.TemporaryDirectory()
>>> store = coppice.Store(directory.name + "/store", create=True)
>>> main = store.open("main")

A state is a mapping of paths to contents.  Changes are made by batches, each in
one step, and can be made durable and get a snapshot in that step.

>>> with main.batch(snapshot="slot-1", durable=True) as batch:
...     batch["accounts/alfred"] = b"100"
...     batch["accounts/benny"] = b"7"
>>> main["accounts/alfred"]
b'100'
>>> list(main)
['accounts/alfred', 'accounts/benny']

Forks and snapshots are made in constant time, of any state.

>>> store.fork("main~slot-1", "try")
'try'
>>> fork = store.open("try")
>>> with fork.batch() as batch:
...     del batch["accounts/benny"]
>>> [(what.change.name, what.path) for what in main.diff(fork)]
[('REMOVED', 'accounts/benny')]
>>> store.close()
>>> directory.cleanup()
"""
from ._call import decode as _decode
from ._libcoppice import lib as _lib
from .batch import Batch, Changes
from .errors import Conflicts, MissingPath
from .records import Change, Difference, Entry, Info, Stat, Stats, Type
from .state import Scan, State
from .store import Store

__all__ = ["Batch", "Change", "Changes", "Conflicts", "Difference", "Entry",
           "Info", "MissingPath", "Scan", "Stat", "State", "Stats", "Store",
           "Type"]
__version__ = _decode(_lib.coppice_version())
