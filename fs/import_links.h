/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inodes of the source that have several names, and what they have become
 * in the state.
 */
#ifndef COPPICE_IMPORT_LINKS_H
#define COPPICE_IMPORT_LINKS_H

#include "import_tree.h"

/* Note what an inode of the source has become.  The first note counts. */
int import_links_add(struct importing *im, const struct import_attr *attr,
                     uint64_t ino);
/* Return true if it is noted, and names of it are still to come. */
bool import_links_has(struct importing *im, const struct import_attr *attr);
/*
 * Return the inode that one of the source has become, for a further name.  The
 * last of its names ends what is in memory of it.  false: it is not known.
 */
bool import_links_take(struct importing *im, const struct import_attr *attr,
                       uint64_t *ret_ino);
/* Return true if an inode of the source has become this one. */
bool import_links_claimed(struct importing *im, uint64_t ino);
void import_links_release(struct importing *im);

#endif
