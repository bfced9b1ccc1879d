/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Quotas of forks.  A part of snapshot.h: include that.  Lock held. */
#ifndef COPPICE_SNAPSHOT_QUOTA_H
#define COPPICE_SNAPSHOT_QUOTA_H

#include <stdint.h>

struct state;

/* Bytes that an inode counts besides the blocks of its data. */
enum { QUOTA_INODE = 512 };

/* Return the bytes of a state that count against a quota. */
uint64_t quota_used(const struct state *state);
/* Return the state's quota in bytes; UINT64_MAX: it has none.  -EUCLEAN. */
int quota_get(struct state *state, uint64_t *ret_bytes);
/*
 * Check that the state may grow by so many inodes and 512-byte blocks.
 * -EDQUOT: not within its quota.
 */
int quota_check(struct state *state, uint64_t inodes, uint64_t blocks);
/*
 * Check that the state may have so many inodes and blocks in all, instead of
 * its present ones.  Any quota allows a state to shrink.  -EDQUOT.
 */
int quota_check_total(struct state *state, uint64_t inodes, uint64_t blocks);
/*
 * Apply the value of the property "quota", a number of bytes; NULL: no quota.
 */
int quota_apply(struct state *state, const char *value);

#endif
