/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories whose entries are states: the root directory and each fork's
 * .snap.  Also the attributes of every node that is not in a tree.
 */
#ifndef COPPICE_STATE_DIR_H
#define COPPICE_STATE_DIR_H

#include "inode.h"

int state_dir_getattr(struct fs *fs, node_t node, struct stat *ret_st);
int state_dir_setattr(struct fs *fs, node_t node, unsigned set,
                      const struct stat *to);
int state_dir_readlink(struct fs *fs, node_t node, char *ret_target);
int state_dir_lookup(struct fs *fs, node_t parent, const char *name,
                     struct fs_entry *ret_entry);
/* Lock NOT held. */
int state_dir_mkdir(struct fs *fs, node_t parent, const char *name, mode_t mode,
                    const struct fs_cred *cred, struct fs_entry *ret_entry);
int state_dir_unlink(struct fs *fs, node_t parent, const char *name);
int state_dir_rmdir(struct fs *fs, node_t parent, const char *name);
/* Rename; at least one of the parents is not in a tree. */
int state_dir_rename(struct fs *fs, node_t parent, const char *name,
                     node_t new_parent, const char *new_name, unsigned flags);
/* Return the entry that is a state's root directory. */
int state_dir_entry(struct fs *fs, struct state *state,
                    struct fs_entry *ret_entry);

#endif
