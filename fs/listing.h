/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the directories whose entries are states.
 */
#ifndef COPPICE_LISTING_H
#define COPPICE_LISTING_H

#include "inode.h"

/*
 * Call fn for the entries after *off, as fs_readdir() does.  -EAGAIN: there are
 * more entries, after the new *off, to be read in another hold of the lock.
 * May release the lock.
 */
int state_dir_readdir(struct fs *fs, node_t node, off_t *off, bool plus,
                      fs_readdir_fn *fn, void *arg);
/* Free the listings that are kept between calls. */
void listings_release(struct fs *fs);

#endif
