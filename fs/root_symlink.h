/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Symlinks that users make in the root directory.
 */
#ifndef COPPICE_ROOT_SYMLINK_H
#define COPPICE_ROOT_SYMLINK_H

#include "inode.h"

/* Make a symlink; `parent` must be the root directory.  Lock NOT held. */
int root_symlink_make(struct fs *fs, node_t parent, const char *name,
                      const char *target, const struct fs_cred *cred,
                      struct fs_entry *ret_entry);
struct fs_entry root_symlink_entry(const struct fs *fs,
                                   const struct symlink *link);
int root_symlink_getattr(struct fs *fs, node_t node, struct stat *ret_st);
int root_symlink_setattr(struct fs *fs, node_t node, unsigned set,
                         const struct stat *to);
/* Rename within the root directory; flags as of rename(2). */
int root_symlink_move(struct fs *fs, struct symlink *link, const char *new_name,
                      unsigned flags);

#endif
