/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a store in a directory, in one step. */
#ifndef COPPICE_STORE_MAKE_H
#define COPPICE_STORE_MAKE_H

#include <sys/types.h>

struct store_params;

/*
 * Make a store with its first fork, main, in a directory that is empty or
 * missing.  `mode` is that of the fork's root directory.  -EEXIST: the
 * directory has a store; -ENOTEMPTY: it has other files; -EBUSY: another
 * process is making a store there.
 */
int store_make(const char *path, const struct store_params *params,
               mode_t mode);

#endif
