/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding the store of a mount.  The mount's source is the path of the store at
 * the time of mounting; the store may have been moved since, and another store
 * may have the path now.
 */
#ifndef COPPICE_MOUNT_STORE_H
#define COPPICE_MOUNT_STORE_H

#include "mountinfo.h"

/*
 * Find the directory of the mount's store; `path` is in the mount.  -ESTALE:
 * the store was moved and the mount does not report the new path (a mount of
 * one state never does); or the mount's daemon has died.
 */
int mount_store_find(const char *path, const struct mount_entry *mount,
                     char ret_store[PATH_MAX]);

#endif
