/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The size of a file.
 */
#ifndef COPPICE_FILE_H
#define COPPICE_FILE_H

#include "inode.h"

/*
 * Change the size and store the inode.  A truncation frees at most PIECE_ITEMS
 * extents.  -EAGAIN: the size is changed; call orphan_finish() to free the rest
 * of the tail.
 */
int file_resize(struct vnode *v, uint64_t size);
/*
 * Return -EAGAIN if a truncation has left a tail that must be freed before
 * bytes or extents are added from `off` on: call orphan_finish(), then this
 * function again.
 */
int file_clear_tail(struct vnode *v, uint64_t off);

#endif
