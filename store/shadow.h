/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening data.mdb read-only at one of its two meta pages, whatever the state
 * of the other.  LMDB reads both and chooses by itself.  So it opens a file in
 * memory that begins like data.mdb, but with meta pages that leave no choice;
 * the rest is then mapped from data.mdb itself.  Inside store/ only.
 */
#ifndef COPPICE_SHADOW_H
#define COPPICE_SHADOW_H

#include "disk.h"
#include "meta.h"

/* Open disk.fd at this meta page.  Nothing is written. */
int shadow_open(struct disk *disk, const struct meta *meta,
                struct opening **ret_opening);

#endif
