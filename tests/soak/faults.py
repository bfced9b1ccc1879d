# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arming the faults of fault.c."""
import errno
import mmap
import struct
from pathlib import Path

KINDS = ["write", "meta", "sync", "allocate"]


class Faults:
    def __init__(self, library, path):
        self.path = Path(path)
        self.path.write_bytes(bytes(16 * len(KINDS)))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.environment = {"LD_PRELOAD": str(library),
                            "COPPICE_FAULT": str(self.path)}

    def _read(self, kind):
        return struct.unpack_from("iiii", self.map, 16 * KINDS.index(kind))

    def arm(self, kind, error=errno.EIO, count=1, skip=0):
        """The next calls of that kind fail, after `skip` that do not."""
        hits = self._read(kind)[3]
        struct.pack_into("iiii", self.map, 16 * KINDS.index(kind), 0, error,
                         skip, hits)
        struct.pack_into("i", self.map, 16 * KINDS.index(kind), count)

    def disarm(self):
        """Remove all faults, those that never happened included."""
        for kind in KINDS:
            struct.pack_into("i", self.map, 16 * KINDS.index(kind), 0)

    def hits(self):
        return sum(self._read(kind)[3] for kind in KINDS)

    def armed(self):
        return any(self._read(kind)[0] > 0 for kind in KINDS)
