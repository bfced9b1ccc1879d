/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The symlinks of the directory that lists the forks. */
#ifndef COPPICE_SNAPSHOT_REPAIR_SYMLINK_H
#define COPPICE_SNAPSHOT_REPAIR_SYMLINK_H

#include "repair_plan.h"

/* Reserve the inode numbers of the symlinks. */
int plan_symlinks(struct plan *p);
/* Write the symlinks to the new store, after the names of the states. */
int repair_symlinks(struct repair *repair);

#endif
