/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the symlinks of the directory that lists the forks. */
#ifndef COPPICE_SNAPSHOT_CHECK_SYMLINK_H
#define COPPICE_SNAPSHOT_CHECK_SYMLINK_H

#include "check.h"

/* Check both records of each symlink. */
int check_symlinks(struct check *check);

#endif
