/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of states; most functions of state_change.c are declared in fs.h.
 */
#ifndef COPPICE_STATE_CHANGE_H
#define COPPICE_STATE_CHANGE_H

#include "inode.h"

/* Set the times of the root directory after a change of its entries. */
void root_touch(struct fs *fs);

#endif
