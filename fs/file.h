/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The size of a file.
 */
#ifndef COPPICE_FILE_H
#define COPPICE_FILE_H

#include "inode.h"

/*
 * Change the size and store the inode.  A truncation frees at most one piece of
 * the tail.  -EAGAIN: call orphan_finish() to free the rest.
 */
int file_resize(struct vnode *v, uint64_t size);
/*
 * Return -EAGAIN if a truncation has left a tail that must be freed before
 * bytes or extents are added from `off` on: call orphan_finish(), and again.
 */
int file_clear_tail(struct vnode *v, uint64_t off);

#endif
