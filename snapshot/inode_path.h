/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The path of an inode, found by the back references of a tree. */
#ifndef COPPICE_INODE_PATH_H
#define COPPICE_INODE_PATH_H

#include "item.h"

enum { INODE_PATH_SIZE = 4096 };

/*
 * Return the path of the inode, or of the entry `name` of it if that is not
 * NULL; it begins with '/' and lies in `out`.  NULL: it has none, a back
 * reference is damaged, or the path is too long.
 */
const char *inode_path(item_seek_fn *seek, void *arg, uint64_t ino,
                       const char *name, size_t name_len,
                       char out[INODE_PATH_SIZE]);

#endif
