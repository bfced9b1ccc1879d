# SPDX-License-Identifier: LGPL-2.1-or-later
"""Generate the extension module coppice._libcoppice from coppice.h.

    build_extension.py HEADER OUTPUT.c

setup.py calls `installed()` instead.
"""
import re
import subprocess
import sys
from pathlib import Path

import cffi

MODULE = "coppice._libcoppice"

# Declared besides the header: the callbacks, and a function of SOURCE.
OWN_DECLARATIONS = """
extern "Python" int python_info(void *, const struct coppice_info *);
extern "Python" int python_difference(void *,
                                      const struct coppice_difference *);
int python_put_many(struct coppice_batch *, struct coppice_state *,
                    const char *, const char *, const uint64_t *, size_t,
                    unsigned);
"""

TYPES = """
typedef int... uid_t;
typedef int... gid_t;
typedef int... mode_t;
"""

SOURCE = """
#include <string.h>
#include <coppice.h>

/*
 * Add `count` puts to a batch in one call.  paths: one after the other, each
 * with its NUL.  values: one after the other; sizes: of each, in bytes.
 */
static int python_put_many(struct coppice_batch *batch,
                           struct coppice_state *fork, const char *paths,
                           const char *values, const uint64_t *sizes,
                           size_t count, unsigned flags)
{
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		err = coppice_batch_put(batch, fork, paths, values, sizes[i],
		                        flags);
		paths += strlen(paths) + 1;
		values += sizes[i];
	}
	return err;
}
"""


def declarations(header):
    """Return the C declarations of coppice.h without the preprocessor's lines."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    text = re.sub(r"^#\s*ifdef __cplusplus$.*?^#\s*endif$", "", text,
                  flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\s*#(?:.*\\\n)*.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\bCOPPICE_API\b", "", text)


def builder(header):
    """Return the cffi.FFI of the library whose header is at a path."""
    ffi = cffi.FFI()
    ffi.cdef(TYPES + declarations(Path(header).read_text("utf-8")) +
             OWN_DECLARATIONS)
    return ffi


def installed():
    """Return the cffi.FFI that makes the module for the installed library."""
    options = subprocess.run(
        ["pkg-config", "--cflags-only-I", "libcoppice"], check=True,
        stdout=subprocess.PIPE, text=True).stdout.split()
    folders = [option[2:] for option in options] + ["/usr/include"]
    found = [Path(folder, "coppice.h") for folder in folders
             if Path(folder, "coppice.h").exists()]
    if not found:
        raise SystemExit("coppice.h is not installed")
    ffi = builder(found[0])
    ffi.set_source_pkgconfig(MODULE, ["libcoppice"], SOURCE,
                             py_limited_api=True)
    return ffi


def main():
    ffi = builder(sys.argv[1])
    ffi.set_source(MODULE, SOURCE, py_limited_api=True)
    ffi.emit_c_code(sys.argv[2])


if __name__ == "__main__":
    main()
