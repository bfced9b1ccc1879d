/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inodes of the source that have several names, and the inodes of the state
 * that correspond to them.
 */
#ifndef COPPICE_IMPORT_LINKS_H
#define COPPICE_IMPORT_LINKS_H

#include "import_tree.h"

/* Note the state's inode for one of the source; the first note counts. */
int import_links_add(struct importing *im, const struct import_attr *attr,
                     uint64_t ino);
/* Return true if the inode is noted, and further names are expected. */
bool import_links_has(struct importing *im, const struct import_attr *attr);
/*
 * Return the state's inode for a further name of the source's inode.  The note
 * is freed with the last name.  false: the inode is not noted.
 */
bool import_links_take(struct importing *im, const struct import_attr *attr,
                       uint64_t *ret_ino);
/* Return true if the state's inode `ino` was noted for one of the source. */
bool import_links_claimed(struct importing *im, uint64_t ino);
void import_links_release(struct importing *im);

#endif
