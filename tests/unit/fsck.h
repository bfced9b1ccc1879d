/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The whole of a store held against the rules of the lineage: what is counted
 * against what is there, deadlists against trees, blocks against what can be
 * reached.  Fails the test where they differ.
 */
#ifndef COPPICE_FSCK_H
#define COPPICE_FSCK_H

#include "snapshot.h"

struct fsck; /* what lies in the file, read while no store was open */

struct fsck *fsck_read(const char *path);
void fsck_destroy(struct fsck *fsck);
uint64_t fsck_blocks(const struct fsck *fsck);
uint64_t fsck_list_entries(const struct fsck *fsck);
uint64_t fsck_shared(const struct fsck *fsck); /* dedup references and counts */

/*
 * The forest has just been opened from that file, and had been drained before
 * it was closed.  Nothing may have been changed since.
 */
void fsck_check(const struct fsck *fsck, struct forest *forest);

#endif
