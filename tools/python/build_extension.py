# SPDX-License-Identifier: LGPL-2.1-or-later
"""Generate the extension module coppice._libcoppice from coppice.h.

    build_extension.py HEADER OUTPUT.c

setup.py uses `builder()` instead.
"""
import re
import sys

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
    """Return the cffi.FFI that makes the module; header: text of coppice.h."""
    ffi = cffi.FFI()
    ffi.cdef(TYPES + declarations(header) + OWN_DECLARATIONS)
    ffi.set_source(MODULE, SOURCE, libraries=["coppice"],
                   py_limited_api=True)
    return ffi


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        builder(file.read()).emit_c_code(sys.argv[2])


if __name__ == "__main__":
    main()
